//! Why the device is not further: for each thing that it waits for what is wrong, what happens by itself, and what a person can
//! do. Rule 9.
//!
//! The sentence that says what is wrong comes with the reason, from whoever knows which thing it is about. The other two
//! depend on the reason's code and the machine's state alone, and stand in `next`: every code has them.

mod next;

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::phase::{Code, Reason};

use self::next::{Next, next};
use crate::interlock::Question;
use crate::machine::{After, State};

/// All that is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Whys {
    /// What, the machine's own first.
    pub waits: Vec<Why>,
    /// What a person at the device is asked: `suture-agent confirm` answers it.
    pub question: Option<Question>,
}

/// One thing that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Why {
    /// What kind of reason; stable, for programs.
    pub code: String,
    /// What is wrong, or under way, with which thing.
    pub text: String,
    /// When it may end by itself, where that is known: UTC.
    pub until: Option<String>,
    /// What happens by itself.
    pub by_itself: String,
    /// What a person can do.
    pub you_can: String,
}

impl Why {
    /// Of a reason, in a state of the machine.
    pub fn of(reason: &Reason, until: Option<Timestamp>, state: &State) -> Self {
        let Next { by_itself, you_can } = next(reason.code, state);
        Self {
            code: reason.code.to_string(),
            text: reason.text.clone(),
            until: until.map(format_utc),
            by_itself: by_itself.to_owned(),
            you_can: you_can.to_owned(),
        }
    }

    /// What is under way, where that is no reason.
    pub fn under_way(code: &str, text: impl Into<String>, by_itself: &str, you_can: &str) -> Self {
        let (by_itself, you_can) = (by_itself.to_owned(), you_can.to_owned());
        Self { code: code.to_owned(), text: text.into(), until: None, by_itself, you_can }
    }

    /// What it waits for, on one line.
    pub fn line(&self) -> String {
        let until = self.until.as_ref().map(|until| format!(" (until {until})")).unwrap_or_default();
        format!("{}: {}{until}", self.code, self.text)
    }
}

impl Whys {
    /// For people.
    pub fn text(&self) -> String {
        if self.waits.is_empty() {
            return "nothing is waited for\n".to_owned();
        }
        let mut out = String::new();
        for why in &self.waits {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{}", why.line());
            let _ = writeln!(out, "  by itself  {}", why.by_itself);
            let _ = writeln!(out, "  you can    {}", why.you_can);
        }
        out
    }
}

/// Why the machine is not further, by its state alone. `at`: what has ended by then is waited for no more.
pub fn machine(state: &State, at: Option<Timestamp>) -> Option<Why> {
    let trouble = at.map_or_else(|| state.trouble(), |at| state.trouble_at(at));
    match (trouble, state) {
        (Some((reason, until)), _) => Some(Why::of(reason, until, state)),
        (None, State::Fetching { .. } | State::Idle { .. }) => None,
        (None, State::Staging { .. }) => Some(Why::under_way(
            "staging",
            "the new version is being written beside the one that runs",
            "It goes on until the new version is whole, then waits for its slot.",
            "Nothing needs to be done; the device may be used, and may be switched off.",
        )),
        (None, State::Waiting { .. }) => Some(Why::under_way(
            "staged",
            "the new version is whole on the device, and whether it may be installed is about to be asked",
            "It asks within the next minutes.",
            "Nothing needs to be done; the device may be used.",
        )),
        (None, State::Claiming { .. }) => Some(Why::under_way(
            "claiming",
            "the device's own software is being asked to refuse clinical use for the update",
            "It begins as soon as that is granted, and asks again while the slot is open where it is not.",
            "Nothing needs to be done. To keep it from beginning: `suture-agent hold --reason TEXT`.",
        )),
        (None, State::Switching { .. } | State::Restarting { .. } | State::Confirming { .. }) => Some(Why::under_way(
            state.phase().as_str(),
            "the new version is being installed, and the device is out of clinical use meanwhile",
            "It finishes, or goes back to the old version where the new one does not prove its health.",
            "Wait, and leave the device switched on. After a power cut it takes this up by itself; where a person had to confirm, it \
             asks for that once more first.",
        )),
        (None, State::Releasing { after: After::Confirmed(_) | After::Checked(_) | After::FellBack(..), .. }) => {
            Some(Why::under_way(
                "releasing",
                "the update is over, and the device's own software is being told that it may be used again",
                "It is told within seconds, and again until it has heard it.",
                "Wait until it says that it may be used.",
            ))
        }
        (None, State::Releasing { .. } | State::Reverting { .. } | State::Checking { .. } | State::Held { .. }) => None,
    }
}

/// That the device is no hospital's, or cannot read whose it is: `fault` says which.
pub fn unknown(fault: &str) -> Why {
    Why::under_way(
        "not-enrolled",
        fault,
        "Nothing: without keys of its own the device asks nobody, and nothing is installed. What is installed goes on running.",
        "Ask those who enrol devices for a token, run `suture-agent enroll --token-file -`, paste it, and read them the fingerprint.",
    )
}

/// That the device leaves its hospital.
pub fn leaves() -> Why {
    Why::under_way(
        "leaving",
        "a person at the device has it leave its hospital, which has not heard that yet",
        "Nothing is begun any more. It tells its hospital as soon as the server can be reached, and wipes its keys then.",
        "Nothing needs to be done where the server can be reached; else `suture-agent leave --untold`, and tell the hospital.",
    )
}

/// That a delta of the server's was wrong.
pub fn wrong_delta(text: &str) -> Why {
    let by_itself =
        "What it was to make is fetched whole instead; nothing of it is installed unless it is what was signed.";
    Why::under_way(
        Code::WrongBytes.as_str(),
        text,
        by_itself,
        "Tell those who run the update server, where it comes again.",
    )
}

#[cfg(test)]
mod tests;
