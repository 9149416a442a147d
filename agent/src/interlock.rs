//! The device's own word on whether it is in clinical use. It fails closed.
//!
//! DESIGN, rule 3: the interlock is a claim. Once it is held, the device's software refuses clinical use until it is
//! released. Unknown, stale or unreachable means not now. Without such a signal a person at the device confirms for each
//! slot, and that confirmation is the claim. No remote party has a part in it.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use suture_core::clock::{format_utc, utc, whole_second};
use suture_core::id::ApprovalId;
use suture_core::phase::{Code, Reason};

use crate::config::Command;
use crate::durable::{self, DurableError};
use crate::machine::{Trouble, Window};
use crate::process::{self, Ending};

const CONFIRMATION: &str = "confirmation.json";
const QUESTION: &str = "question.json";
/// How long a person's word holds: what they saw at the device an hour ago says nothing of now.
const CONFIRMATION_LIFE: SignedDuration = SignedDuration::from_mins(10);

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
#[derive(Debug)]
pub enum Interlock {
    /// By a program of the device's maker.
    Program(Command),
    /// By a person, whose confirmation lies in this directory.
    Person(PathBuf),
}

/// What a person is asked for: left where `suture-agent confirm` finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The approval.
    pub approval: ApprovalId,
    /// The slot's first instant.
    #[serde(with = "utc")]
    pub slot_start: Timestamp,
    /// A later answer comes too late for this slot.
    #[serde(with = "utc")]
    pub latest: Timestamp,
}

/// A person's word that the device may be updated in one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    /// The approval.
    pub approval: ApprovalId,
    /// The slot's first instant.
    #[serde(with = "utc")]
    pub slot_start: Timestamp,
    /// When it was given.
    #[serde(with = "utc")]
    pub at: Timestamp,
}

impl Confirmation {
    /// Given a short while ago, and not in the future, as before a clock was set back.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.at);
        !age.is_negative() && age <= CONFIRMATION_LIFE
    }
}

impl Interlock {
    /// The configured program, else a person's confirmation in the state directory.
    pub fn new(program: Option<&Command>, state_dir: &Path) -> Self {
        match program {
            Some(command) => Self::Program(command.clone()),
            None => Self::Person(state_dir.to_owned()),
        }
    }

    /// Claims. Can be repeated while the claim is held.
    pub async fn claim(&self, approval: &ApprovalId, window: &Window, now: Timestamp) -> Claim {
        match self {
            Self::Program(command) => match process::run(command, &["claim"], None).await {
                Ending::Exit(0) => Claim::Held,
                Ending::Exit(1) => {
                    let text = "the device is in clinical use; it is asked again until the slot ends";
                    Claim::Refused(Trouble::new(Reason::new(Code::InUse, text)))
                }
                ending => {
                    let text = format!("the interlock's program {ending}; whether the device is in use is not known");
                    Claim::Unclear(Trouble::new(Reason::new(Code::InterlockUnknown, text)))
                }
            },
            Self::Person(state_dir) => match durable::read_json::<Confirmation>(&state_dir.join(CONFIRMATION)) {
                Ok(Some(c)) if c.approval == *approval && c.slot_start == window.start && c.is_fresh(now) => {
                    Claim::Held
                }
                answer => Claim::Refused(Trouble::new(ask(state_dir, approval, window, answer.err()))),
            },
        }
    }

    /// Releases. Can be repeated; that nothing was held is no fault.
    pub async fn release(&self) -> Result<(), Reason> {
        match self {
            Self::Program(command) => match process::run(command, &["release"], None).await {
                Ending::Exit(0) => Ok(()),
                ending => {
                    let text = format!(
                        "the interlock's program {ending} when it was to release; the device may refuse clinical use \
                         until it does, and it is tried again"
                    );
                    Err(Reason::new(Code::InterlockUnknown, text))
                }
            },
            // A confirmation serves once.
            Self::Person(state_dir) => durable::remove(&state_dir.join(CONFIRMATION))
                .and_then(|()| durable::remove(&state_dir.join(QUESTION)))
                .map_err(|e| Reason::new(Code::InterlockUnknown, format!("the confirmation cannot be removed: {e}"))),
        }
    }
}

/// Leaves the question for `suture-agent confirm`, and says so.
fn ask(state_dir: &Path, approval: &ApprovalId, window: &Window, unreadable: Option<DurableError>) -> Reason {
    let question = Question { approval: approval.clone(), slot_start: window.start, latest: window.latest };
    let asked = durable::write_json(&state_dir.join(QUESTION), &question, durable::OPEN);
    let text = match (asked, unreadable) {
        (Err(e), _) => format!("a person must confirm, and the question cannot be written down: {e}"),
        (Ok(()), Some(e)) => format!("the confirmation cannot be read ({e}); run `suture-agent confirm` again"),
        (Ok(()), None) => {
            format!("a person at the device must run `suture-agent confirm` before {}", format_utc(window.latest))
        }
    };
    Reason::new(Code::PersonNeeded, text)
}

/// What a person is asked for at present, if anything is.
pub fn question(state_dir: &Path) -> Result<Option<Question>, DurableError> {
    durable::read_json(&state_dir.join(QUESTION))
}

/// Writes a person's answer: yes, in this slot.
pub fn confirm(state_dir: &Path, question: &Question, now: Timestamp) -> Result<(), DurableError> {
    let Question { approval, slot_start, latest: _ } = question.clone();
    let confirmation = Confirmation { approval, slot_start, at: whole_second(now) };
    durable::write_json(&state_dir.join(CONFIRMATION), &confirmation, durable::OPEN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn program(script: &str) -> Interlock {
        let argv = vec!["/bin/sh".into(), "-c".into(), script.into()];
        Interlock::Program(Command { argv, timeout: Duration::from_millis(300) })
    }

    fn noon() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn slot() -> Window {
        Window { start: noon(), latest: noon() + SignedDuration::from_mins(10) }
    }

    #[tokio::test]
    async fn only_exit_code_zero_is_a_claim() {
        let id: ApprovalId = "a1".parse().unwrap();
        assert_eq!(program("exit 0").claim(&id, &slot(), noon()).await, Claim::Held);
        let Claim::Refused(t) = program("exit 1").claim(&id, &slot(), noon()).await else { panic!() };
        assert_eq!(t.reason.code, Code::InUse);
        for script in ["exit 2", "kill -9 $$", "sleep 60"] {
            let Claim::Unclear(t) = program(script).claim(&id, &slot(), noon()).await else { panic!("{script}") };
            assert_eq!(t.reason.code, Code::InterlockUnknown);
        }
        let nowhere = Interlock::Program(Command { argv: vec!["/nowhere".into()], timeout: Duration::from_secs(1) });
        assert!(matches!(nowhere.claim(&id, &slot(), noon()).await, Claim::Unclear(_)));
        assert!(nowhere.release().await.is_err());
    }

    #[tokio::test]
    async fn a_person_confirms_one_slot_of_one_approval_once() {
        let dir = tempfile::tempdir().unwrap();
        let person = Interlock::new(None, dir.path());
        let (id, other): (ApprovalId, ApprovalId) = ("a1".parse().unwrap(), "a2".parse().unwrap());
        assert!(matches!(person.claim(&id, &slot(), noon()).await, Claim::Refused(_)));
        let question = question(dir.path()).unwrap().unwrap();
        assert_eq!((&question.approval, question.latest), (&id, slot().latest));
        confirm(dir.path(), &question, noon()).unwrap();
        let day = SignedDuration::from_hours(24);
        let tomorrow = Window { start: slot().start + day, latest: slot().latest + day };
        assert!(matches!(person.claim(&other, &slot(), noon()).await, Claim::Refused(_)));
        assert!(matches!(person.claim(&id, &tomorrow, noon()).await, Claim::Refused(_)));
        for stale in [noon() + CONFIRMATION_LIFE + SignedDuration::from_secs(1), noon() - SignedDuration::from_secs(1)]
        {
            assert!(matches!(person.claim(&id, &slot(), stale).await, Claim::Refused(_)), "{stale}");
        }
        assert_eq!(person.claim(&id, &slot(), noon()).await, Claim::Held);
        person.release().await.unwrap();
        person.release().await.unwrap();
        assert!(super::question(dir.path()).unwrap().is_none());
        assert!(matches!(person.claim(&id, &slot(), noon()).await, Claim::Refused(_)));
        std::fs::write(dir.path().join(CONFIRMATION), b"{").unwrap();
        assert!(matches!(person.claim(&id, &slot(), noon()).await, Claim::Refused(_)));
    }
}
