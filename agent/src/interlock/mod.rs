//! The device's own word on whether it is in clinical use. It fails closed.
//!
//! Rule 3: the interlock is a claim. Once it is held, the device's software refuses clinical use until it is
//! released. Unknown, stale or unreachable means not now. Without such a signal a person at the device confirms for each
//! slot, and that confirmation is the claim. No remote party has a part in it.
//!
//! A claim outlives the agent: it ends by a release and by nothing else. So the agent may be killed, and the power may fail,
//! in the middle of an install, and the device is not taken into use before it is over. A person's word is no such claim: it
//! says how the device was when it was given, and nothing keeps others from the device. So whatever the interlock is, it is
//! asked once more after a start of the agent, before the device is restarted: see [`Interlock::claim_again`].

mod lock_file;
mod person;
mod program;
mod socket;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use suture_core::id::ApprovalId;
use suture_core::phase::{Code, Reason};

use crate::config::{Command, Signal};
use crate::machine::{Trouble, Window};

pub use self::person::{Question, confirm, question};

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Held: the device refuses clinical use.
    Held,
    /// Not held, for certain.
    Refused(Trouble),
    /// Perhaps held: it must be released before anything else.
    Unclear(Trouble),
}

/// How the device is asked.
#[derive(Debug, Clone)]
pub enum Interlock {
    /// By a program of the device's maker.
    Program(Command),
    /// Over a socket of the device's own software.
    Socket(PathBuf, Duration),
    /// By a file that whoever holds the device has made.
    LockFile(PathBuf),
    /// By a person, whose confirmation lies in this directory.
    Person(PathBuf),
}

impl Claim {
    /// The device is in clinical use.
    fn in_use() -> Self {
        let text = "the device is in clinical use; it is asked again until the slot ends";
        Self::Refused(Trouble::new(Reason::new(Code::InUse, text)))
    }

    fn unclear(text: String) -> Self {
        Self::Unclear(Trouble::new(Reason::new(Code::InterlockUnknown, text)))
    }
}

impl Interlock {
    /// As configured, else a person's confirmation in the state directory.
    pub fn new(signal: Option<&Signal>, state_dir: &Path) -> Self {
        match signal.cloned() {
            Some(Signal::Program(command)) => Self::Program(command),
            Some(Signal::Socket { path, timeout }) => Self::Socket(path, timeout),
            Some(Signal::LockFile(path)) => Self::LockFile(path),
            None => Self::Person(state_dir.to_owned()),
        }
    }

    /// Which one it is, for people.
    pub fn name(&self) -> String {
        match self {
            Self::Program(command) => {
                format!("the interlock's program {}", command.argv.first().map_or("", String::as_str))
            }
            Self::Socket(path, _) => format!("the interlock's socket {}", path.display()),
            Self::LockFile(path) => format!("the lock file {}", path.display()),
            Self::Person(_) => "the person whose confirmation is waited for".to_owned(),
        }
    }

    /// Claims. Can be repeated while the claim is held.
    pub async fn claim(&self, approval: &ApprovalId, window: &Window, now: Timestamp) -> Claim {
        match self.clone() {
            Self::Program(command) => program::claim(&command).await,
            Self::Socket(path, timeout) => socket::claim(&path, timeout, approval).await,
            Self::LockFile(path) => beside(move || lock_file::claim(&path)).await.unwrap_or_else(lost),
            Self::Person(state_dir) => {
                let (approval, window) = (approval.clone(), *window);
                let claim = beside(move || person::claim(&state_dir, &approval, &window, now));
                claim.await.unwrap_or_else(lost)
            }
        }
    }

    /// Claims what was held already, as the power failed or as somebody far away spoke: whether it still is. Only a clear no
    /// counts. Accident: what does not answer may be the new version's software, which does not come up; the claim was made, it
    /// ends by no cut, and the way back must not wait for an answer for ever.
    pub async fn claim_again(&self, approval: &ApprovalId, now: Timestamp) -> Result<(), Trouble> {
        let claim = match self.clone() {
            Self::Program(command) => program::claim(&command).await,
            Self::Socket(path, timeout) => socket::claim(&path, timeout, approval).await,
            Self::LockFile(path) => beside(move || lock_file::claim(&path)).await.unwrap_or_else(lost),
            Self::Person(state_dir) => {
                let approval = approval.clone();
                beside(move || person::claim_again(&state_dir, &approval, now)).await.unwrap_or_else(lost)
            }
        };
        match claim {
            Claim::Held => Ok(()),
            Claim::Refused(Trouble { reason, .. }) if reason.code == Code::InUse => {
                let text = "the device is in clinical use; it is asked again until it is free";
                Err(Trouble::new(Reason::new(Code::InUse, text)))
            }
            Claim::Refused(trouble) => Err(trouble),
            Claim::Unclear(trouble) => {
                tracing::warn!(reason = %trouble.reason, "the device was claimed before, and counts as held");
                Ok(())
            }
        }
    }

    /// Releases. Can be repeated; that nothing was held is no fault.
    pub async fn release(&self) -> Result<(), Reason> {
        let ended = || Err(still_held("the agent was ending"));
        match self.clone() {
            Self::Program(command) => program::release(&command).await,
            Self::Socket(path, timeout) => socket::release(&path, timeout).await,
            Self::LockFile(path) => beside(move || lock_file::release(&path)).await.unwrap_or_else(ended),
            Self::Person(state_dir) => beside(move || person::release(&state_dir)).await.unwrap_or_else(ended),
        }
    }
}

/// Files of which others have a part, on disks that may be others' too: on a thread of its own, so that nobody else waits
/// where the disk does. Without a time limit: what was given up could still be done later, and a claim that comes after its
/// release would keep the device out of use for good.
async fn beside<T: Send + 'static>(files: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(files).await.ok()
}

/// The thread ended early, as it does when the agent ends. What it did is not known.
fn lost() -> Claim {
    Claim::unclear("the agent was ending as it claimed; whether the device is held is not known".to_owned())
}

/// That a release failed, and what follows from it.
fn still_held(what: &str) -> Reason {
    let text = format!(
        "{what} when it was to release; the device may refuse clinical use until it does, and it is tried again"
    );
    Reason::new(Code::InterlockUnknown, text)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    pub(super) fn noon() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    pub(super) fn slot() -> Window {
        Window { start: noon(), latest: noon() + SignedDuration::from_mins(10) }
    }

    #[tokio::test]
    async fn what_was_held_is_lost_by_a_clear_no_and_not_by_silence() {
        let dir = tempfile::tempdir().unwrap();
        let id: ApprovalId = "a1".parse().unwrap();
        let program = |script: &str| {
            let argv = vec!["/bin/sh".into(), "-c".into(), script.into()];
            Interlock::Program(Command { argv, timeout: Duration::from_secs(10) })
        };
        program("exit 0").claim_again(&id, noon()).await.unwrap();
        let used = program("exit 1").claim_again(&id, noon()).await.unwrap_err();
        assert_eq!(used.reason.code, Code::InUse);
        // The new version's software does not come up: the way back does not wait for it.
        program("exit 2").claim_again(&id, noon()).await.unwrap();
        let nobody = Interlock::Socket(dir.path().join("nobody"), Duration::from_secs(1));
        nobody.claim_again(&id, noon()).await.unwrap();
        let lock = dir.path().join("lock");
        Interlock::LockFile(lock.clone()).claim_again(&id, noon()).await.unwrap();
        Interlock::LockFile(lock.clone()).claim_again(&id, noon()).await.unwrap();
        std::fs::write(&lock, "pump 4711\n").unwrap();
        let used = Interlock::LockFile(lock).claim_again(&id, noon()).await.unwrap_err();
        assert_eq!(used.reason.code, Code::InUse);
    }
}
