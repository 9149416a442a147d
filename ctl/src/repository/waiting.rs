//! What came of signing: published, or waiting for others.

use std::path::{Path, PathBuf};

use serde::Serialize;
use suture_core::sign::PublicKey;
use suture_core::trust::Want;

use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::Outcome;

/// What came of a command that signs.
#[derive(Debug)]
#[must_use = "what waits for others is not in force"]
pub enum Done<T> {
    /// It is in force.
    Published(T),
    /// Others must sign it first.
    Waiting(Waiting),
}

/// A publication that others must sign first.
#[derive(Debug, Serialize)]
pub struct Waiting {
    /// Always false.
    published: bool,
    /// `catalog` or `approvals`.
    repository: &'static str,
    /// Where it was written.
    envelope: PathBuf,
    /// Who has signed and who may yet.
    signatures: Vec<Signatures>,
}

/// The state of one set of keys that must sign.
#[derive(Debug, Serialize)]
pub struct Signatures {
    role: &'static str,
    /// Which delegated role it is, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    delegated: Option<String>,
    /// Version of the root that names the keys; for a delegated role, of the targets that do.
    named_by: u64,
    threshold: usize,
    missing: usize,
    signed: Vec<PublicKey>,
    may_sign: Vec<PublicKey>,
}

impl From<&Want> for Signatures {
    fn from(want: &Want) -> Self {
        Self {
            role: want.role.as_str(),
            delegated: want.delegated.clone(),
            named_by: want.named_by,
            threshold: want.threshold,
            missing: want.missing(),
            signed: want.signed.iter().copied().collect(),
            may_sign: want.open.iter().copied().collect(),
        }
    }
}

impl Signatures {
    /// For people.
    pub fn to_text(&self) -> String {
        let Self { role, delegated, named_by, threshold, missing, signed, may_sign } = self;
        let (role, keys) = match delegated {
            Some(name) => (name.as_str(), "targets"),
            None => (*role, "root"),
        };
        let mut text = format!("{role}: {} of {threshold} signatures by the keys of {keys} {named_by}\n", signed.len());
        for key in signed {
            text.push_str(&format!("  signed by    {key}\n"));
        }
        if *missing > 0 {
            for key in may_sign {
                text.push_str(&format!("  may sign     {key}\n"));
            }
        }
        text
    }
}

impl Waiting {
    /// Writes an envelope into a new file.
    ///
    /// # Errors
    ///
    /// There is such a file already.
    pub(crate) fn write(envelope: &Envelope, wants: &[Want], file: Option<&Path>) -> Outcome<Self> {
        let path = match file {
            Some(path) => path.to_owned(),
            None => PathBuf::from(envelope.default_name()?),
        };
        envelope.create(&path)?;
        Ok(Self::of(envelope, wants, path))
    }

    /// An envelope that lies in a file.
    pub(crate) fn of(envelope: &Envelope, wants: &[Want], path: PathBuf) -> Self {
        Self {
            published: false,
            repository: envelope.which.as_str(),
            envelope: path,
            signatures: wants.iter().map(Signatures::from).collect(),
        }
    }

    /// Prints it as the command's result.
    pub fn print(&self, context: &mut Context<'_>) -> Outcome {
        context.print.result(self, Self::to_text)
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let Self { published: _, repository, envelope, signatures } = self;
        let signatures: String = signatures.iter().map(Signatures::to_text).collect();
        format!(
            "NOT in force yet: others must sign it too\n{signatures}next: hand {} to them; each says \
             `suturectl {repository} sign FILE --key KEY`, and the last one publishes it\n",
            envelope.display()
        )
    }
}
