//! A person at the device, who confirms each slot; that confirmation is the claim.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use suture_core::clock::{format_utc, utc, whole_second};
use suture_core::id::ApprovalId;
use suture_core::phase::{Code, Reason};

use super::Claim;
use crate::durable::{self, DurableError};
use crate::machine::{Trouble, Window};

const CONFIRMATION: &str = "confirmation.json";
const QUESTION: &str = "question.json";
/// How long a person's word holds: what they saw at the device an hour ago says nothing of now.
const CONFIRMATION_LIFE: SignedDuration = SignedDuration::from_mins(10);
/// How long a question stands that has no slot's end: past the switch it is asked until somebody comes, a day at a time.
const QUESTION_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// What a person is asked for: left where `suture-agent confirm` finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The approval.
    pub approval: ApprovalId,
    /// The slot's first instant.
    #[serde(with = "utc")]
    pub slot_start: Timestamp,
    /// A later answer comes too late for this slot. Past the switch, where it is asked once more: a day from when it was asked,
    /// and it is asked again then.
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

/// Claims by what the person has said, and asks where nothing was said.
pub(super) fn claim(state_dir: &Path, approval: &ApprovalId, window: &Window, now: Timestamp) -> Claim {
    match durable::read_json::<Confirmation>(&state_dir.join(CONFIRMATION)) {
        Ok(Some(c)) if c.approval == *approval && c.slot_start == window.start && c.is_fresh(now) => Claim::Held,
        answer => Claim::Refused(Trouble::new(ask(state_dir, approval, window, answer.err()))),
    }
}

/// Whether somebody has said it a short while ago, whichever slot it was for: the slot may be over, and what has begun must end.
/// Asks where nobody has.
pub(super) fn claim_again(state_dir: &Path, approval: &ApprovalId, now: Timestamp) -> Claim {
    let unreadable = match durable::read_json::<Confirmation>(&state_dir.join(CONFIRMATION)) {
        Ok(Some(c)) if c.approval == *approval && c.is_fresh(now) => return Claim::Held,
        answer => answer.err(),
    };
    let before = question(state_dir).ok().flatten().filter(|q| q.approval == *approval);
    let slot_start = before.as_ref().map_or_else(|| whole_second(now), |q| q.slot_start);
    let latest = now.checked_add(QUESTION_LIFE).map_or(Timestamp::MAX, whole_second);
    // It is asked every few seconds: the disk is not written each time.
    let left = before.as_ref().map_or(SignedDuration::ZERO, |q| q.latest.duration_since(now));
    let stands = left > QUESTION_LIFE / 2 && left <= QUESTION_LIFE;
    let question = Question { approval: approval.clone(), slot_start, latest };
    let asked = if stands { Ok(()) } else { durable::write_json(&state_dir.join(QUESTION), &question, durable::OPEN) };
    let text = match (asked, unreadable) {
        (Err(e), _) => format!("a person must confirm once more, and the question cannot be written down: {e}"),
        (Ok(()), Some(e)) => format!("the confirmation cannot be read ({e}); run `suture-agent confirm` again"),
        (Ok(()), None) => {
            "the update has begun, and whether the device is in use now nobody has said in the last ten minutes: a \
                           person at the device must run `suture-agent confirm` once more"
                .to_owned()
        }
    };
    Claim::Refused(Trouble::new(Reason::new(Code::PersonNeeded, text)))
}

/// A confirmation serves once.
pub(super) fn release(state_dir: &Path) -> Result<(), Reason> {
    durable::remove(&state_dir.join(CONFIRMATION))
        .and_then(|()| durable::remove(&state_dir.join(QUESTION)))
        .map_err(|e| Reason::new(Code::InterlockUnknown, format!("the confirmation cannot be removed: {e}")))
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
    use super::super::Interlock;
    use super::super::tests::{noon, slot};
    use super::*;

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

    #[tokio::test]
    async fn past_the_switch_a_word_that_has_aged_is_asked_for_again_until_somebody_comes() {
        let dir = tempfile::tempdir().unwrap();
        let person = Interlock::new(None, dir.path());
        let id: ApprovalId = "a1".parse().unwrap();
        person.claim(&id, &slot(), noon()).await;
        confirm(dir.path(), &question(dir.path()).unwrap().unwrap(), noon()).unwrap();
        let later = |hours| noon() + SignedDuration::from_hours(hours);
        // A blink: the word of a minute ago holds.
        person.claim_again(&id, noon() + SignedDuration::from_mins(1)).await.unwrap();
        let morning = later(7);
        let asked = person.claim_again(&id, morning).await.unwrap_err();
        assert_eq!(asked.reason.code, Code::PersonNeeded);
        assert!(asked.reason.text.contains("suture-agent confirm"), "{}", asked.reason.text);
        // The slot is over; the question is not, and is written once.
        let first = question(dir.path()).unwrap().unwrap();
        assert_eq!((first.slot_start, first.latest), (slot().start, later(7 + 24)));
        person.claim_again(&id, later(8)).await.unwrap_err();
        assert_eq!(question(dir.path()).unwrap().unwrap(), first);
        person.claim_again(&id, later(20)).await.unwrap_err();
        assert_eq!(question(dir.path()).unwrap().unwrap().latest, later(20 + 24));
        // Nor does a clock that was set back leave one that stands for years.
        person.claim_again(&id, later(-1)).await.unwrap_err();
        assert_eq!(question(dir.path()).unwrap().unwrap().latest, later(23));
        confirm(dir.path(), &first, morning).unwrap();
        person.claim_again(&id, morning).await.unwrap();
        person.claim_again(&"a2".parse().unwrap(), morning).await.unwrap_err();
    }
}
