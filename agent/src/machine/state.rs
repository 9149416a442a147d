//! The states, each with the facts that are true in it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::{utc, utc_or_none};
use suture_core::digest::Digest;
use suture_core::id::ApprovalId;
use suture_core::phase::{Code, Phase, Reason};
use suture_core::retry::Policy;
use suture_core::version::Release;

use super::event::Action;

/// A bundle, as the approval and the catalog agree on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// The manifest's path in the catalog.
    pub path: String,
    /// The manifest's digest, which is the bundle's identity.
    pub manifest: Digest,
    /// Its place in the product's order.
    pub release: Release,
}

/// One try at one step of one approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The approval.
    pub approval: ApprovalId,
    /// What it installs.
    pub bundle: Bundle,
    /// Which try by this approval, from 1.
    pub number: u32,
    /// The security floor that the catalog's word gives the bundle; in force on the device once it is confirmed.
    pub floor: Release,
    /// How often and after what wait the hospital has signed that it may be tried.
    pub policy: Policy,
    /// The counter of the newest order for the approval that was heard of when it was chosen; 0: of none.
    pub order: u64,
    /// How much longer than signed the next try waits, should this one fail: of a quarter, out of 0 to `u32::MAX`.
    pub jitter: u32,
}

/// What a report tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The approval.
    pub approval: ApprovalId,
    /// The bundle, where one is known.
    pub manifest: Option<Digest>,
}

/// What stands in the way, and until when, where that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// Why not.
    pub reason: Reason,
    /// When it may end by itself.
    #[serde(with = "utc_or_none")]
    pub until: Option<Timestamp>,
}

/// When a switch may be made: in `[start, latest]`, so that what is left of the slot holds install and way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The slot's first instant.
    #[serde(with = "utc")]
    pub start: Timestamp,
    /// The last instant at which a switch may be made.
    #[serde(with = "utc")]
    pub latest: Timestamp,
}

/// What follows once the interlock is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum After {
    /// The new version proved its health.
    Confirmed(Attempt),
    /// It did, and a person has checked the device.
    Checked(Attempt),
    /// The old version runs again.
    FellBack(Attempt, Reason),
    /// Nothing was switched; the attempt waits on.
    Wait(Attempt, Trouble),
    /// A person has put the device in order.
    Recovered(Reason),
}

/// What the device is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum State {
    /// There is no attempt.
    Idle {
        /// What the reason tells of, where it is one approval.
        about: Option<Subject>,
        /// `idle`, `waiting`, or the outcome of the last attempt.
        phase: Phase,
        /// Why there is none.
        reason: Reason,
    },
    /// Manifest, indexes and chunks are on their way.
    Fetching {
        /// The attempt.
        attempt: Attempt,
        /// Why it does not get on.
        trouble: Option<Trouble>,
    },
    /// All chunks are there; the slot that is not in use is being written.
    Staging {
        /// The attempt.
        attempt: Attempt,
        /// Why it does not get on.
        trouble: Option<Trouble>,
    },
    /// The new version lies whole in the slot that is not in use.
    Waiting {
        /// The attempt.
        attempt: Attempt,
        /// What must come first; none just after staging.
        trouble: Option<Trouble>,
    },
    /// The interlock is being claimed.
    Claiming {
        /// The attempt.
        attempt: Attempt,
        /// When the switch may be made.
        window: Window,
        /// What it waited for before.
        trouble: Option<Trouble>,
    },
    /// The link is being switched. The interlock is held.
    Switching {
        /// The attempt.
        attempt: Attempt,
        /// When the switch may be made.
        window: Window,
    },
    /// The device's software is being restarted. The interlock is held.
    Restarting {
        /// The attempt.
        attempt: Attempt,
        /// How often the agent itself was started again meanwhile.
        resumes: u32,
        /// Why it is not restarted yet, where the interlock was asked once more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<Trouble>,
    },
    /// The new version is to prove its health. The interlock is held.
    Confirming {
        /// The attempt.
        attempt: Attempt,
        /// How often the agent itself was started again meanwhile.
        resumes: u32,
    },
    /// The new version is confirmed, and a person is to check the device. The interlock is held until then.
    Checking {
        /// The attempt.
        attempt: Attempt,
        /// Since when: what was signed of an earlier check is no word on this one.
        #[serde(with = "utc")]
        since: Timestamp,
        /// What is waited for, for people.
        reason: Reason,
    },
    /// The old version is being put back. The interlock is held.
    Reverting {
        /// The attempt.
        attempt: Attempt,
        /// Why.
        reason: Reason,
        /// How often it failed.
        failures: u32,
        /// How often the agent itself was started again meanwhile.
        #[serde(default, skip_serializing_if = "is_none_yet")]
        starts: u32,
        /// Whether it was restarted, and is to prove that it is well.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        restarted: bool,
        /// Why it is not put back yet, where the interlock was asked once more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<Trouble>,
    },
    /// It is over; the interlock is being released.
    Releasing {
        /// What follows.
        after: After,
        /// Why the interlock is not released yet.
        trouble: Option<Trouble>,
    },
    /// Only a person can go on.
    Held {
        /// The attempt that could be neither finished nor reverted. The interlock is still held for it.
        attempt: Option<Attempt>,
        /// Why.
        reason: Reason,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_none_yet(starts: &u32) -> bool {
    *starts == 0
}

impl State {
    /// A device that has nothing to do.
    pub fn rest() -> Self {
        let reason = Reason::new(Code::NothingApproved, "nothing is approved for this device yet");
        Self::Idle { about: None, phase: Phase::Idle, reason }
    }

    /// The name in the table.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Idle { .. } => "idle",
            Self::Fetching { .. } => "fetching",
            Self::Staging { .. } => "staging",
            Self::Waiting { .. } => "waiting",
            Self::Claiming { .. } => "claiming",
            Self::Switching { .. } => "switching",
            Self::Restarting { .. } => "restarting",
            Self::Confirming { .. } => "confirming",
            Self::Checking { .. } => "checking",
            Self::Reverting { .. } => "reverting",
            Self::Releasing { .. } => "releasing",
            Self::Held { .. } => "held",
        }
    }

    /// What is to be done in it. Each can be done twice with the effect of once.
    pub const fn duty(&self) -> Option<Action> {
        match self {
            Self::Idle { .. } | Self::Checking { .. } | Self::Held { .. } => None,
            Self::Fetching { .. } => Some(Action::Fetch),
            Self::Staging { .. } => Some(Action::Stage),
            Self::Waiting { .. } => Some(Action::Gate),
            Self::Claiming { .. } => Some(Action::Claim),
            Self::Switching { .. } => Some(Action::Switch),
            Self::Restarting { .. } => Some(Action::Restart),
            Self::Confirming { .. } => Some(Action::Probe),
            Self::Reverting { .. } => Some(Action::Revert),
            Self::Releasing { .. } => Some(Action::Release),
        }
    }

    /// The same where the counter of the newest order for the approval is this one.
    pub(super) fn heard(mut self, order: u64) -> Self {
        if let Self::Fetching { attempt, .. } | Self::Staging { attempt, .. } | Self::Waiting { attempt, .. } =
            &mut self
        {
            attempt.order = attempt.order.max(order);
        }
        self
    }

    /// Whether a start of the agent counts against the version that is restarted, or put back: it may have taken the device down.
    pub const fn counts_starts(&self) -> bool {
        matches!(self, Self::Restarting { .. } | Self::Confirming { .. } | Self::Reverting { .. })
    }

    /// Whether the device is past the point where an attempt may be given up, or a person is needed: what is approved
    /// is not asked.
    pub const fn is_committed(&self) -> bool {
        !matches!(self, Self::Idle { .. } | Self::Fetching { .. } | Self::Staging { .. } | Self::Waiting { .. })
    }

    /// The attempt, if there is one.
    pub const fn attempt(&self) -> Option<&Attempt> {
        match self {
            Self::Idle { .. } => None,
            Self::Held { attempt, .. } => attempt.as_ref(),
            Self::Fetching { attempt, .. }
            | Self::Staging { attempt, .. }
            | Self::Waiting { attempt, .. }
            | Self::Claiming { attempt, .. }
            | Self::Switching { attempt, .. }
            | Self::Restarting { attempt, .. }
            | Self::Confirming { attempt, .. }
            | Self::Checking { attempt, .. }
            | Self::Reverting { attempt, .. } => Some(attempt),
            Self::Releasing { after, .. } => match after {
                After::Confirmed(attempt)
                | After::Checked(attempt)
                | After::FellBack(attempt, _)
                | After::Wait(attempt, _) => Some(attempt),
                After::Recovered(_) => None,
            },
        }
    }

    /// How it is told to people and to the server.
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Idle { phase, .. } if !phase.is_outcome() => *phase,
            Self::Idle { .. } => Phase::Idle,
            Self::Fetching { .. } | Self::Staging { .. } => Phase::Fetching,
            Self::Waiting { trouble: None, .. } => Phase::Staged,
            Self::Waiting { trouble: Some(_), .. } | Self::Claiming { .. } => Phase::Waiting,
            Self::Switching { .. } => Phase::Installing,
            Self::Restarting { .. } => Phase::Restarting,
            Self::Confirming { .. } | Self::Reverting { .. } => Phase::Confirming,
            Self::Releasing { trouble: Some(_), .. } => Phase::Held,
            Self::Releasing { after, .. } => match after {
                After::Confirmed(_) | After::Checked(_) => Phase::Confirmed,
                After::FellBack(..) => Phase::FellBack,
                After::Wait(..) => Phase::Waiting,
                After::Recovered(_) => Phase::Idle,
            },
            Self::Checking { .. } | Self::Held { .. } => Phase::Held,
        }
    }

    /// As [`State::trouble`], without what has ended by now: once the quiet hours are over, a fetch goes on in the same
    /// state.
    pub fn trouble_at(&self, now: Timestamp) -> Option<(&Reason, Option<Timestamp>)> {
        let is_over = |until: Option<Timestamp>| until.is_some_and(|until| until <= now);
        self.trouble().filter(|(reason, until)| reason.code != Code::QuietHours || !is_over(*until))
    }

    /// Why it is not further, and until when, where that is known.
    pub fn trouble(&self) -> Option<(&Reason, Option<Timestamp>)> {
        match self {
            Self::Reverting { trouble: Some(t), .. } => Some((&t.reason, t.until)),
            Self::Idle { reason, .. }
            | Self::Held { reason, .. }
            | Self::Checking { reason, .. }
            | Self::Reverting { reason, .. } => Some((reason, None)),
            Self::Fetching { trouble, .. }
            | Self::Staging { trouble, .. }
            | Self::Waiting { trouble, .. }
            | Self::Restarting { trouble, .. } => trouble.as_ref().map(|t| (&t.reason, t.until)),
            Self::Releasing { after, trouble } => match (trouble, after) {
                (Some(t), _) => Some((&t.reason, t.until)),
                (None, After::FellBack(_, reason) | After::Recovered(reason)) => Some((reason, None)),
                (None, After::Wait(_, t)) => Some((&t.reason, t.until)),
                (None, After::Confirmed(_) | After::Checked(_)) => None,
            },
            Self::Claiming { .. } | Self::Switching { .. } | Self::Confirming { .. } => None,
        }
    }
}

impl Window {
    /// Whether a switch may be made at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.start <= now && now <= self.latest
    }

    /// How long that is so yet.
    pub fn left(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.latest.duration_since(now)).unwrap_or_default()
    }
}

impl Trouble {
    /// A trouble that may end at any time.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, until: None }
    }

    /// A trouble that ends at `until`.
    pub const fn until(reason: Reason, until: Timestamp) -> Self {
        Self { reason, until: Some(until) }
    }
}

impl Attempt {
    /// Whether the other is the same try at the same bundle.
    pub fn is_same(&self, other: &Self) -> bool {
        self.approval == other.approval && self.bundle == other.bundle && self.number == other.number
    }

    /// By what its tries are counted.
    pub fn tried(&self) -> (ApprovalId, Digest, Policy) {
        (self.approval.clone(), self.bundle.manifest, self.policy)
    }

    /// What a report on it tells of.
    pub fn subject(&self) -> Subject {
        Subject { approval: self.approval.clone(), manifest: Some(self.bundle.manifest) }
    }
}
