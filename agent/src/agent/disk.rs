//! A disk that fails: full, broken, or for reading alone.
//!
//! The journal is written before each side effect, so whoever cannot write it does nothing. What can be done is to say so:
//! at each check-in, at the device, and in the log once. A cycle that could not write something is followed by ones that try
//! to write first of all, and begin nothing before they have.

use suture_core::phase::{Code, Reason};

use super::{Agent, AgentError, chain};
use crate::journal::JournalError;
use crate::machine::State;
use crate::stops::KeepError;

impl Agent {
    /// Something failed that the device cannot go on without. The log says so once.
    pub(super) fn found(&mut self, error: &AgentError) {
        self.fails = true;
        let reason = error.reason();
        if self.unwritten.found(reason.clone()) {
            tracing::error!(%reason, "this is tried again, said at each check-in, and not said here again");
        }
    }

    /// A cycle has passed without any such thing.
    pub(super) fn can_write(&self) {
        if self.unwritten.over() {
            tracing::info!("what the agent has to write down is written down again; it goes on");
        }
    }

    /// Where the last cycle failed, or this agent begins past the claim: whether what is written now comes to the disk. Not a
    /// word of it is news.
    pub(super) fn prove_disk(&mut self) -> Result<(), AgentError> {
        // Accident: a disk that is full, and a device that starts again and again. What is repeated at a start may restart it.
        let begins = !self.resumed && self.journal.state().is_committed();
        if self.unwritten.reason().is_none() && !begins {
            return Ok(());
        }
        self.journal.write_again()?;
        // Rule 3: never while in use. Hours may have passed, and a person's word is none on now.
        if self.unwritten.reason().is_some() {
            self.asks_once_more = true;
            self.took.stood_still();
        }
        // Attack: a disk that has no room between claim and switch, and has some after a stop order, or over a changed slot. It
        // is a cut as that of the power is, and all is asked again.
        if let State::Claiming { .. } | State::Switching { .. } = self.journal.state() {
            self.resumed = false;
        }
        // Rule 5: past the switch the journal alone decides whether the device finishes. That no status can be written
        // is said at the pass's end.
        if self.journal.state().is_committed() {
            return Ok(());
        }
        Ok(self.write_live()?)
    }
}

impl AgentError {
    /// Why nothing is begun, for the hospital and for people at the device.
    pub fn reason(&self) -> Reason {
        let disk = match self {
            Self::Durable(e) | Self::Journal(JournalError::Disk(e)) => Some(e),
            Self::Stops(KeepError::Disk { source, .. }) => Some(source),
            _ => None,
        };
        let code = match (self, disk) {
            (_, Some(e)) if e.is_full() => Code::DiskFull,
            (Self::Client(e), _) => e.code(),
            (Self::Unsaid(e), _) => Reason::from(e).code,
            _ => Code::StateDamaged,
        };
        let what = match (self, disk) {
            (_, Some(_)) => "the agent cannot write down what it is to do, so it begins nothing",
            (Self::Unsaid(_), _) => {
                "the device is kept from use where it is claimed, and the installer is asked again; if it cannot say, the old version \
                 comes back, or a person is to come"
            }
            _ => "the agent cannot go on, and begins nothing",
        };
        Reason::new(code, format!("{what}: {}", chain(self)))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::durable::DurableError;

    #[test]
    fn a_full_disk_is_told_from_one_that_fails_and_each_names_its_file() {
        let at = |kind: io::ErrorKind| DurableError::io("write", Path::new("/s/journal.json.tmp"))(kind.into());
        let full = AgentError::from(JournalError::from(at(io::ErrorKind::StorageFull))).reason();
        assert!(full.code == Code::DiskFull && full.text.contains("/s/journal.json.tmp"), "{full}");
        let of = |e: AgentError| e.reason().code;
        assert_eq!(of(at(io::ErrorKind::QuotaExceeded).into()), Code::DiskFull);
        assert_eq!(of(at(io::ErrorKind::ReadOnlyFilesystem).into()), Code::StateDamaged);
        assert_eq!(of(JournalError::from(at(io::ErrorKind::Other)).into()), Code::StateDamaged);
        let approval = "a1".parse().unwrap();
        assert_eq!(of(KeepError::Disk { approval, source: at(io::ErrorKind::StorageFull) }.into()), Code::DiskFull);
    }
}
