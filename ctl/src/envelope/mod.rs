//! A publication on its way from signer to signer, as a file.
//!
//! ```text
//! {"_type": "suture-envelope", "format": 1, "repository": "approvals", "hdo": "riverside",
//!  "root": BASE64, "targets": BASE64, "delegated": {ROLE: BASE64, ...}, "files": {PATH: BASE64, ...}}
//! ```
//!
//! `root` is the repository's next root, `targets` its next targets metadata, `delegated` the next metadata of roles that the
//! catalog delegates to, each with the signatures that it has so far; one of them is there. `files` are the files that are
//! new in it, with what each signer of a new approval states beside the signature ([`Stated`]).
//!
//! Attack: whoever has touched the file since the last signer. An envelope is believed in nothing. It is bounded, strict,
//! and refused as a whole where anything in it does not fit; what it proposes is compared with what the signer's own home
//! has verified; and what a signer is shown comes from the very bytes that are signed.

mod change;
mod delegated;
mod documents;
mod gates;
mod listed;
mod stated;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::id::HdoId;
use suture_core::limits::{MAX_DELEGATIONS, MAX_ENVELOPE_BYTES, MAX_ENVELOPE_FILES};
use suture_core::trust::{Delegated, Proposal, Proposed, Root, Targets, delegated_name};

pub use change::{Change, metadata};
pub use delegated::delegated;
pub use documents::documents;
pub use gates::opened;
pub use listed::{catalog, listed};
pub use stated::Stated;

use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files::{self, Access};
use crate::repository::InForce;
use crate::trust_store::Which;

const TYPE: &str = "suture-envelope";
const FORMAT: u32 = 1;

/// The publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Of which repository.
    pub which: Which,
    /// Of which hospital, where it is an approvals repository.
    pub hdo: Option<HdoId>,
    /// The next root, as far as it is signed.
    pub root: Option<Vec<u8>>,
    /// The next targets metadata, as far as they are signed.
    pub targets: Option<Vec<u8>>,
    /// The next metadata of roles that the catalog delegates to, by name, as far as they are signed.
    pub delegated: Delegated<Vec<u8>>,
    /// The files that are new, by path.
    pub files: BTreeMap<String, Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    _type: String,
    format: u32,
    repository: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hdo: Option<HdoId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    targets: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    delegated: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
}

fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::untrusted(format!("the envelope is refused: {why}"))
        .next("ask whoever made it for another; sign nothing that you cannot read")
}

impl Envelope {
    /// An empty one, of this home's repository.
    pub fn new(context: &Context<'_>, which: Which) -> Outcome<Self> {
        let hdo = match which {
            Which::Catalog => None,
            Which::Approvals => Some(context.home.server()?.hdo()?),
        };
        Ok(Self { which, hdo, root: None, targets: None, delegated: Delegated::new(), files: BTreeMap::new() })
    }

    /// Reads the form; nothing of it is verified yet.
    ///
    /// # Errors
    ///
    /// It is too long, not strict JSON, or not of this form.
    pub fn parse(bytes: &[u8]) -> Outcome<Self> {
        if bytes.len() as u64 > MAX_ENVELOPE_BYTES {
            return Err(refused(format!("it has more than {MAX_ENVELOPE_BYTES} bytes")));
        }
        let written: Written =
            suture_core::json::from_slice(bytes).map_err(|e| refused("it cannot be read").because(&e))?;
        let Written { _type, format, repository, hdo, root, targets, delegated, files } = written;
        if _type != TYPE || format != FORMAT {
            return Err(refused("it is no suture-envelope of format 1"));
        }
        let which = match (repository.as_str(), &hdo) {
            ("catalog", None) => Which::Catalog,
            ("approvals", Some(_)) => Which::Approvals,
            _ => return Err(refused("it is neither of the catalog nor of a hospital's approvals")),
        };
        if which == Which::Approvals && !delegated.is_empty() {
            return Err(refused("it holds metadata of delegated roles, and approvals delegate nothing"));
        }
        if root.is_none() && targets.is_none() && delegated.is_empty() {
            return Err(refused("it holds neither a root nor targets metadata"));
        }
        if delegated.len() > MAX_DELEGATIONS {
            return Err(refused(format!("it holds metadata of more than {MAX_DELEGATIONS} delegated roles")));
        }
        if files.len() > MAX_ENVELOPE_FILES {
            return Err(refused(format!("it holds more than {MAX_ENVELOPE_FILES} files")));
        }
        let decoded = |what: &str, text: String| {
            BASE64.decode(text).map_err(|e| refused(format!("its {what} is no base64")).because(&e))
        };
        Ok(Self {
            which,
            hdo,
            root: root.map(|text| decoded("root", text)).transpose()?,
            targets: targets.map(|text| decoded("targets", text)).transpose()?,
            delegated: delegated
                .into_iter()
                .map(|(role, text)| decoded(&format!("role {role:?}"), text).map(|bytes| (role, bytes)))
                .collect::<Outcome<_>>()?,
            files: files
                .into_iter()
                .map(|(path, text)| decoded(&format!("file {path:?}"), text).map(|bytes| (path, bytes)))
                .collect::<Outcome<_>>()?,
        })
    }

    /// Reads the file of an envelope.
    ///
    /// # Errors
    ///
    /// There is none, or as [`Envelope::parse`].
    pub fn open(path: &Path) -> Outcome<Self> {
        Self::parse(&files::need(path, MAX_ENVELOPE_BYTES)?)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Outcome<Vec<u8>> {
        let text = |bytes: &Vec<u8>| BASE64.encode(bytes);
        let written = Written {
            _type: TYPE.to_owned(),
            format: FORMAT,
            repository: self.which.as_str().to_owned(),
            hdo: self.hdo.clone(),
            root: self.root.as_ref().map(text),
            targets: self.targets.as_ref().map(text),
            delegated: self.delegated.iter().map(|(role, bytes)| (role.clone(), text(bytes))).collect(),
            files: self.files.iter().map(|(path, bytes)| (path.clone(), text(bytes))).collect(),
        };
        let bytes =
            suture_core::json::to_canonical(&written).or_fail(|| "the envelope cannot be written".to_owned())?;
        if bytes.len() as u64 > MAX_ENVELOPE_BYTES {
            return Err(Failure::new(format!("the envelope would have more than {MAX_ENVELOPE_BYTES} bytes"))
                .next("publish less at once: fewer devices in one approval"));
        }
        Ok(bytes)
    }

    /// Writes it into a new file.
    ///
    /// # Errors
    ///
    /// There is such a file already: somebody's signature may be in it.
    pub fn create(&self, path: &Path) -> Outcome {
        files::create(path, &self.to_bytes()?).map_err(|e| Failure::from(e).next("--envelope FILE, with another name"))
    }

    /// Puts it in the place of what it was, with one more signature.
    pub fn replace(&self, path: &Path) -> Outcome {
        Ok(files::write(path, &self.to_bytes()?, Access::Public)?)
    }

    /// What a file of it is called where nobody says otherwise: `approvals-targets-7.envelope.json`.
    pub fn default_name(&self) -> Outcome<String> {
        let mut name = self.which.as_str().to_owned();
        if let Some(root) = &self.root {
            name.push_str(&format!("-root-{}", suture_core::trust::Metadata::version(&*Proposed::<Root>::read(root)?)));
        }
        if let Some(targets) = &self.targets {
            let targets = Proposed::<Targets>::read(targets)?;
            name.push_str(&format!("-targets-{}", suture_core::trust::Metadata::version(&*targets)));
        }
        for (role, bytes) in &self.delegated {
            let file = delegated_name(role, suture_core::trust::Metadata::version(&*Proposed::<Targets>::read(bytes)?));
            name.push_str(&format!("-{}", file.trim_end_matches(".json")));
        }
        Ok(format!("{name}.envelope.json"))
    }

    /// Verifies that it follows from what is in force, and that its files are what its targets metadata list, byte for byte.
    /// Who has signed it is another question: see [`Proposal::wants`].
    ///
    /// # Errors
    ///
    /// It does not follow, breaks a rule, has expired, or a file is another than is listed.
    pub fn propose(&self, in_force: InForce<'_>, now: Timestamp) -> Outcome<Proposal> {
        self.propose_after(in_force, &Delegated::new(), now)
    }

    /// As [`Envelope::propose`], where `before` are the metadata of delegated roles in force.
    pub fn propose_after(
        &self,
        in_force: InForce<'_>,
        before: &Delegated<Vec<u8>>,
        now: Timestamp,
    ) -> Outcome<Proposal> {
        let (root, targets) = (self.root.as_deref(), self.targets.as_deref());
        let proposal = match self.which {
            Which::Catalog => Proposal::delegating(in_force, (root, targets), (before, &self.delegated), now)?,
            Which::Approvals => Proposal::read(in_force, root, targets, now)?,
        };
        if !self.files.is_empty() && proposal.targets.is_none() && proposal.delegated.is_empty() {
            return Err(refused("it holds files, and no targets metadata that could list them"));
        }
        for (path, bytes) in &self.files {
            for targets in lists(&proposal).filter(|targets| targets.target(path).is_some()) {
                targets.verify_target(path, bytes)?;
            }
        }
        Ok(proposal)
    }

    /// The files that the targets metadata do not list themselves. Other documents must pin each of them.
    pub fn unlisted(&self, proposal: &Proposal) -> BTreeSet<&str> {
        let listed = |path: &str| lists(proposal).any(|targets| targets.target(path).is_some());
        self.files.keys().map(String::as_str).filter(|path| !listed(path)).collect()
    }
}

/// All metadata of a proposal that may list files.
fn lists(proposal: &Proposal) -> impl Iterator<Item = &Targets> {
    proposal.targets.iter().chain(proposal.delegated.values()).map(|targets| &**targets)
}
