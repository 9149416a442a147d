//! Why a device that runs an exposed bundle still does.

use serde::{Deserialize, Serialize};

use crate::decision::Choice;
use crate::rollout::{Standing, State};

/// Why a device stays exposed. Each names the nearest thing that would end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// No bundle is known to be free of it.
    NoFix,
    /// There is one, and the hospital has approved none for the device.
    NotApproved,
    /// The hospital has said that it does not install it.
    Declined,
    /// The hospital has said that it does not install it yet.
    Deferred,
    /// A rollout is bringing one; the device has not begun.
    Waiting,
    /// A rollout is bringing one, and is paused; the device has not begun.
    Paused,
    /// It is being installed.
    Installing,
    /// It was tried and failed, or the device fell back.
    Failed,
    /// The device began, and has said nothing since for longer than it may.
    Silent,
    /// Its slots ended, or its rollout did, before it began.
    Missed,
    /// Its rollout was stopped, withdrawn or replaced before it began.
    Stopped,
    /// It had been confirmed on one, and runs this again.
    WentBack,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::NoFix,
        Self::NotApproved,
        Self::Declined,
        Self::Deferred,
        Self::Waiting,
        Self::Paused,
        Self::Installing,
        Self::Failed,
        Self::Silent,
        Self::Missed,
        Self::Stopped,
        Self::WentBack,
    ];

    /// The name on the wire and in CSV.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoFix => "no_fix",
            Self::NotApproved => "not_approved",
            Self::Declined => "declined",
            Self::Deferred => "deferred",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Installing => "installing",
            Self::Failed => "failed",
            Self::Silent => "silent",
            Self::Missed => "missed",
            Self::Stopped => "stopped",
            Self::WentBack => "went_back",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|w| w.as_str() == name)
    }

    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoFix => "no bundle is known to be free of it",
            Self::NotApproved => "nothing is approved for it",
            Self::Declined => "the hospital has declined the fix",
            Self::Deferred => "the hospital has deferred the fix",
            Self::Waiting => "a rollout is bringing the fix",
            Self::Paused => "the rollout that brings the fix is paused",
            Self::Installing => "the fix is being installed",
            Self::Failed => "the fix failed",
            Self::Silent => "it began the fix and fell silent",
            Self::Missed => "its slots for the fix are over",
            Self::Stopped => "its rollout of the fix was stopped or replaced",
            Self::WentBack => "it was confirmed on the fix and runs this again",
        }
    }
}

/// A device's place in the rollout of a fix: of several the one that goes on, else the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// How the rollout stands.
    pub rollout: Course,
    /// What the device counts as in it.
    pub standing: Standing,
}

/// How a rollout stands, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It runs.
    Runs,
    /// It is paused.
    Paused,
    /// It was aborted, stopped or replaced.
    Ended,
    /// It is over by itself: complete, or its time has passed.
    Over,
}

impl Course {
    /// Of a rollout in a state, whose approval has expired or not.
    pub const fn of(state: State, is_expired: bool) -> Self {
        match state {
            State::Aborted | State::Superseded => Self::Ended,
            State::Running if !is_expired => Self::Runs,
            State::Paused if !is_expired => Self::Paused,
            State::Running | State::Paused | State::Expired | State::Complete => Self::Over,
        }
    }

    /// Whether it may yet bring something.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Runs | Self::Paused)
    }
}

/// Why a device that runs an exposed bundle still does. `fix`: whether there is one that comes after what it runs; `decided`: what
/// the hospital has said last of such a one, where nothing has answered that since.
pub fn why(place: Option<Place>, fix: bool, decided: Option<Choice>) -> Why {
    let Some(Place { rollout, standing }) = place else {
        return match (fix, decided) {
            (false, _) => Why::NoFix,
            (true, None) => Why::NotApproved,
            (true, Some(Choice::Declined)) => Why::Declined,
            (true, Some(Choice::Deferred)) => Why::Deferred,
        };
    };
    match (standing, rollout) {
        (Standing::Failed | Standing::Retrying, _) => Why::Failed,
        (Standing::TimedOut, _) => Why::Silent,
        (Standing::Confirmed, _) => Why::WentBack,
        // Also in a rollout that is over: there too it times out.
        (Standing::Begun, _) => Why::Installing,
        (Standing::Ended, _) | (Standing::Awaited | Standing::Missed, Course::Ended) => Why::Stopped,
        (Standing::Missed, _) | (Standing::Awaited, Course::Over) => Why::Missed,
        (Standing::Awaited, Course::Paused) => Why::Paused,
        (Standing::Awaited, Course::Runs) => Why::Waiting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fix_under_way_is_the_reason_before_what_was_decided_and_both_before_that_there_is_none() {
        let place = |rollout, standing| Some(Place { rollout, standing });
        let said = [
            (why(None, false, Some(Choice::Declined)), Why::NoFix),
            (why(None, true, None), Why::NotApproved),
            (why(None, true, Some(Choice::Declined)), Why::Declined),
            (why(None, true, Some(Choice::Deferred)), Why::Deferred),
            (why(place(Course::Runs, Standing::Awaited), true, Some(Choice::Deferred)), Why::Waiting),
            (why(place(Course::Runs, Standing::Awaited), false, None), Why::Waiting),
            (why(place(Course::Paused, Standing::Awaited), true, None), Why::Paused),
            (why(place(Course::Paused, Standing::Begun), true, None), Why::Installing),
            (why(place(Course::Over, Standing::Begun), true, None), Why::Installing),
            (why(place(Course::Over, Standing::TimedOut), true, None), Why::Silent),
            (why(place(Course::Over, Standing::Failed), true, None), Why::Failed),
            (why(place(Course::Runs, Standing::Retrying), true, None), Why::Failed),
            (why(place(Course::Over, Standing::Awaited), true, None), Why::Missed),
            (why(place(Course::Ended, Standing::Awaited), true, None), Why::Stopped),
            (why(place(Course::Runs, Standing::Ended), true, None), Why::Stopped),
            (why(place(Course::Over, Standing::Confirmed), true, None), Why::WentBack),
        ];
        for (n, (found, expected)) in said.into_iter().enumerate() {
            assert_eq!(found, expected, "{n}");
        }
    }

    #[test]
    fn names_read_back() {
        for why in Why::ALL {
            assert_eq!(Why::from_name(why.as_str()), Some(why));
        }
        assert_eq!(Why::from_name("sheer luck"), None);
    }

    #[test]
    fn only_what_runs_or_is_paused_and_has_not_expired_is_open() {
        for state in State::ALL {
            for expired in [false, true] {
                let course = Course::of(state, expired);
                let open = !expired && matches!(state, State::Running | State::Paused);
                assert_eq!(course.is_open(), open, "{}", state.as_str());
                let taken_back = matches!(state, State::Aborted | State::Superseded);
                assert_eq!(course == Course::Ended, taken_back, "{}", state.as_str());
            }
        }
    }
}
