//! One file that says who has the pump: an infusion, an update, or, when it is not there, nobody.
//!
//! Taking it is one link(2) of a finished file, so that an infusion and an update that come at the same instant cannot both
//! succeed, and nobody reads half of it. It outlives the program: a pump that restarts is still claimed.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context as _, bail};

const UPDATE: &str = "update";
const INFUSION: &str = "infusion";

/// The interlock's file.
pub(crate) struct Interlock {
    file: PathBuf,
}

/// What became of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The pump refuses infusions until it is released.
    Held,
    /// An infusion runs.
    InUse,
}

impl Interlock {
    pub(crate) fn at(file: PathBuf) -> Self {
        Self { file }
    }

    /// Claims the pump for an update.
    pub(crate) fn claim(&self) -> anyhow::Result<Claim> {
        Ok(if self.take(UPDATE)? == UPDATE { Claim::Held } else { Claim::InUse })
    }

    /// Ends a claim, if there is one.
    pub(crate) fn release(&self) -> anyhow::Result<()> {
        self.give_back(UPDATE)
    }

    /// Whether an infusion runs now; false while an update has the pump.
    pub(crate) fn begin_infusion(&self) -> anyhow::Result<bool> {
        Ok(self.take(INFUSION)? == INFUSION)
    }

    /// Ends the infusion, if there is one.
    pub(crate) fn end_infusion(&self) -> anyhow::Result<()> {
        self.give_back(INFUSION)
    }

    /// Takes the pump for `who` unless it is taken; says who has it now.
    fn take(&self, who: &'static str) -> anyhow::Result<&'static str> {
        let draft = self.file.with_extension(format!("{who}.{}", std::process::id()));
        fs::write(&draft, who).with_context(|| format!("writing {}", draft.display()))?;
        let taken = fs::hard_link(&draft, &self.file);
        fs::remove_file(&draft).with_context(|| format!("removing {}", draft.display()))?;
        match taken {
            Ok(()) => Ok(who),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match self.holder()? {
                Some(holder) => Ok(holder),
                None => bail!("{} was given back in this instant; ask again", self.file.display()),
            },
            Err(error) => Err(error).with_context(|| format!("taking {}", self.file.display())),
        }
    }

    fn give_back(&self, who: &'static str) -> anyhow::Result<()> {
        if self.holder()? == Some(who) {
            fs::remove_file(&self.file).with_context(|| format!("removing {}", self.file.display()))?;
        }
        Ok(())
    }

    fn holder(&self) -> anyhow::Result<Option<&'static str>> {
        match fs::read_to_string(&self.file) {
            Ok(text) if text == UPDATE => Ok(Some(UPDATE)),
            Ok(text) if text == INFUSION => Ok(Some(INFUSION)),
            Ok(text) => bail!("{} names a holder that is unknown: {text:?}", self.file.display()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", self.file.display())),
        }
    }
}
