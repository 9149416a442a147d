//! Whether a staged version may be switched to now: the hospital's signature where the wave waits for it, time, slot and the
//! server's word, decided purely.
//!
//! What is not here needs the device or the network: refreshing once more, hashing the slot again and the interlock come
//! after, in that order (Order on the device, 8). All of it can only make the device wait.

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::Slot;
use suture_core::clock::format_utc;
use suture_core::manifest::Install;
use suture_core::phase::{Code, Reason};
use suture_core::select::slot_at;

use crate::machine::{Trouble, Window};

/// The server's word on the approval, as far as it was heard this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Go.
    Go,
    /// Not now, and why.
    Wait(Reason),
    /// The server answered and said nothing of this approval.
    Silent,
    /// The server did not answer.
    Unheard,
}

/// What is asked.
#[derive(Debug)]
pub struct Question<'a> {
    /// The device's slots by the approval, ascending.
    pub slots: &'a [Slot],
    /// The manufacturer's word on how long install and way back take.
    pub install: &'a Install,
    /// Why the hospital's signature holds the wave back, by what was refreshed last; none where it does not.
    pub unsigned: Option<&'a Reason>,
    /// Why nothing is begun, where a person at the device has said so.
    pub held: Option<&'a Reason>,
    /// Why the next try has to wait, and until when, where it does.
    pub retry: Option<(Reason, Timestamp)>,
    /// Whether the wave waits for the server's word.
    pub needs_server: bool,
    /// The server's word.
    pub word: Word,
}

/// The window in which the switch may be made and in which `now` lies, or what stands in the way.
pub fn ask(question: &Question<'_>, now: Timestamp) -> Result<Window, Trouble> {
    let Some(slot) = slot_at(question.slots, now) else {
        return Err(Trouble::new(Reason::new(Code::SlotsOver, "the last slot has ended; plan a new one")));
    };
    // A person at the device has the last word on that nothing begins, and is told of it first.
    if let Some(reason) = question.held {
        return Err(Trouble::new(reason.clone()));
    }
    // Rule 2: a human gate is opened by the hospital's signature, and by nothing that the server says or keeps
    // silent about. Asked before the slot, so that people hear of it while there is time to sign.
    if let Some(reason) = question.unsigned {
        return Err(Trouble::new(reason.clone()));
    }
    if let Some((reason, until)) = &question.retry {
        return Err(Trouble::until(reason.clone(), *until));
    }
    if now < slot.start {
        let text = format!("the slot begins at {}", format_utc(slot.start));
        return Err(Trouble::until(Reason::new(Code::BeforeSlot, text), slot.start));
    }
    let Install { kind: _, budget_secs, revert_budget_secs, return_to_service: _, data: _ } = question.install;
    let both = i64::from(*budget_secs).saturating_add(i64::from(*revert_budget_secs));
    let latest = slot.end.checked_sub(SignedDuration::from_secs(both)).unwrap_or(Timestamp::MIN);
    if latest < now {
        let next = question.slots.iter().find(|s| s.start >= slot.end).map(|s| s.start);
        let text = format!(
            "install and way back take up to {both} s, and the slot ends at {}{}",
            format_utc(slot.end),
            next.map_or_else(String::new, |n| format!("; the next begins at {}", format_utc(n)))
        );
        return Err(Trouble { reason: Reason::new(Code::SlotTooShort, text), until: next });
    }
    // Rule 2: the server may only narrow. A wave that asks for its word stays shut without it; elsewhere its word
    // counts where it is heard.
    match (&question.word, question.needs_server) {
        (Word::Go, _) | (Word::Silent | Word::Unheard, false) => Ok(Window { start: slot.start, latest }),
        (Word::Wait(reason), _) => Err(Trouble::new(reason.clone())),
        (Word::Silent, true) => {
            Err(Trouble::new(Reason::new(Code::WaveClosed, "the server has not opened this device's wave yet")))
        }
        (Word::Unheard, true) => {
            let text = "this wave needs the server's word, and the server cannot be reached";
            Err(Trouble::new(Reason::new(Code::ServerUnreachable, text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::manifest::InstallKind;

    fn at(minute: i64) -> Timestamp {
        "2026-11-24T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
    }

    fn code(word: Word, needs_server: bool, now: Timestamp) -> Result<Window, Code> {
        let slots = [Slot { start: at(0), end: at(30) }, Slot { start: at(60), end: at(90) }];
        let install = Install {
            kind: InstallKind::Slots,
            budget_secs: 300,
            revert_budget_secs: 300,
            return_to_service: false,
            data: None,
        };
        let here = Reason::new(Code::HeldHere, "held");
        let question = |unsigned, retry, held| {
            let word = word.clone();
            let question = Question { slots: &slots, install: &install, unsigned, held, retry, needs_server, word };
            ask(&question, now).map_err(|t| t.reason.code)
        };
        let asked = question(None, None, None);
        // Whatever else is so, the hospital's signature is missed where it is missing.
        let unsigned = Reason::new(Code::SignatureNeeded, "not signed");
        let retry = || Some((Reason::new(Code::RetryWait, "later"), at(1_000)));
        let held = question(Some(&unsigned), retry(), None);
        let over = asked == Err(Code::SlotsOver);
        let early = question(None, retry(), None);
        let here = question(Some(&unsigned), retry(), Some(&here));
        assert_eq!(
            here,
            Err(if over { Code::SlotsOver } else { Code::HeldHere }),
            "whoever holds it here hears that first"
        );
        assert_eq!(early, Err(if over { Code::SlotsOver } else { Code::RetryWait }), "no slot opens for it sooner");
        assert_eq!(held, Err(if over { Code::SlotsOver } else { Code::SignatureNeeded }));
        asked
    }

    #[test]
    fn the_slot_must_be_open_and_hold_install_and_way_back() {
        let go = || Word::Go;
        assert_eq!(code(go(), true, at(-1)), Err(Code::BeforeSlot));
        assert_eq!(code(go(), true, at(0)), Ok(Window { start: at(0), latest: at(20) }));
        assert_eq!(code(go(), true, at(20)), Ok(Window { start: at(0), latest: at(20) }));
        assert_eq!(code(go(), true, at(21)), Err(Code::SlotTooShort));
        assert_eq!(code(go(), true, at(30)), Err(Code::BeforeSlot), "the end is outside; the next one is waited for");
        assert_eq!(code(go(), true, at(90)), Err(Code::SlotsOver));
    }

    #[test]
    fn the_server_can_only_narrow() {
        let paused = || Word::Wait(Reason::new(Code::Paused, "paused"));
        for needs in [false, true] {
            assert!(code(Word::Go, needs, at(1)).is_ok());
            assert_eq!(code(paused(), needs, at(1)), Err(Code::Paused));
            assert_eq!(code(Word::Go, needs, at(-1)), Err(Code::BeforeSlot), "its go opens no slot");
        }
        assert!(code(Word::Silent, false, at(1)).is_ok() && code(Word::Unheard, false, at(1)).is_ok());
        assert_eq!(code(Word::Silent, true, at(1)), Err(Code::WaveClosed));
        assert_eq!(code(Word::Unheard, true, at(1)), Err(Code::ServerUnreachable));
    }
}
