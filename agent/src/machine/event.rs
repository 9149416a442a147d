//! What happens to the machine, and what a transition comes to.

use serde::{Deserialize, Serialize};
use suture_core::phase::{Phase, Reason};

use super::state::{Attempt, State, Subject, Trouble, Window};

/// What the approvals and the catalog say when nothing is to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nothing {
    /// The approval that the reason tells of, where it is one.
    pub about: Option<Subject>,
    /// `idle`, `waiting`, or the outcome that ends the approval for this device.
    pub phase: Phase,
    /// Why.
    pub reason: Reason,
    /// The counter of the stop order that ends it, where one does.
    pub stop: Option<u64>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The agent was started again, and has asked nothing yet.
    Started,
    /// What was under way goes on. `switched`: the link names the new version.
    Resumed {
        /// Whether the link names the attempt's slot.
        switched: bool,
    },
    /// Something is to be installed: the attempt that approvals and catalog ask for.
    Chosen(Attempt),
    /// Nothing is, or no longer.
    Nothing(Nothing),
    /// What was being done cannot go on now; it is tried again later.
    Hindered(Trouble),
    /// What was fetched can never be installed here.
    Unusable(Reason),
    /// All chunks are there and verified.
    Fetched,
    /// The new version lies whole in its slot.
    Staged,
    /// What was fetched is not, or no longer, what was signed.
    Damaged(Reason),
    /// The slot is open and nothing stands in the way.
    Open(Window),
    /// The interlock is held.
    Claimed,
    /// Whether the interlock is held is not known.
    Unclear(Trouble),
    /// The link names the new version.
    Switched,
    /// The device's software was restarted.
    Restarted,
    /// The new version proved its health.
    Healthy,
    /// It did, and its manifest asks for a person's check before the device is in clinical use again.
    Unchecked,
    /// A person has checked the device: who, how that is known, and why.
    Checked(Reason),
    /// A person has checked the device and found it unfit: who, how that is known, and what was found.
    Unfit(Reason),
    /// It did not, or what was being done failed.
    Broken(Reason),
    /// The old version runs again.
    Reverted,
    /// The interlock is released.
    Released,
    /// A person says that the device is in order again.
    Recovered,
}

/// What is to be done. Each can be done twice with the effect of once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Fetch manifest, indexes and chunks.
    Fetch,
    /// Write the slot that is not in use.
    Stage,
    /// Ask whether the slot is open and what stands in the way.
    Gate,
    /// Claim the interlock.
    Claim,
    /// Make the link name the new version.
    Switch,
    /// Restart the device's software.
    Restart,
    /// Probe its health.
    Probe,
    /// Make the link name the old version and restart.
    Revert,
    /// Raise the release floor where the attempt was confirmed, then release the interlock.
    Release,
}

/// What a report is to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The attempt or approval, if it tells of one.
    pub subject: Option<Subject>,
    /// How far it got.
    pub phase: Phase,
    /// Why no further.
    pub reason: Option<Reason>,
    /// The counter of the stop order that is obeyed, where one is.
    #[serde(default)]
    pub stop: Option<u64>,
    /// Whether the approval leads no further on this device.
    #[serde(default)]
    pub permanent: bool,
}

/// A try that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub attempt: Attempt,
    /// Why.
    pub reason: Reason,
    /// Whether it is the last, whatever the reason: the bundle can never be installed, or a person has to come.
    pub for_good: bool,
}

/// A transition's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The next state.
    pub state: State,
    /// What is to be reported, in this order.
    pub told: Vec<Told>,
    /// The try that is now used up.
    pub spends: Option<Attempt>,
    /// The try that has now succeeded.
    pub succeeds: Option<Attempt>,
    /// The try that has now failed.
    pub fails: Option<Failure>,
    /// What is to be done next.
    pub action: Option<Action>,
}

/// An event that cannot happen in the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the machine is {state}, where {event:?} cannot happen")]
pub struct MachineError {
    /// The state's name.
    pub state: &'static str,
    /// The event's name.
    pub event: &'static str,
}

impl Event {
    /// The name in the table.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Resumed { .. } => "resumed",
            Self::Chosen(_) => "chosen",
            Self::Nothing(_) => "nothing",
            Self::Hindered(_) => "hindered",
            Self::Unusable(_) => "unusable",
            Self::Fetched => "fetched",
            Self::Staged => "staged",
            Self::Damaged(_) => "damaged",
            Self::Open(_) => "open",
            Self::Claimed => "claimed",
            Self::Unclear(_) => "unclear",
            Self::Switched => "switched",
            Self::Restarted => "restarted",
            Self::Healthy => "healthy",
            Self::Unchecked => "unchecked",
            Self::Checked(_) => "checked",
            Self::Unfit(_) => "unfit",
            Self::Broken(_) => "broken",
            Self::Reverted => "reverted",
            Self::Released => "released",
            Self::Recovered => "recovered",
        }
    }
}

impl Step {
    pub(super) fn to(state: State) -> Self {
        let action = state.duty();
        Self { state, told: Vec::new(), spends: None, succeeds: None, fails: None, action }
    }

    pub(super) fn tell(mut self, attempt: &Attempt, phase: Phase, reason: Option<Reason>) -> Self {
        self.told.push(Told { subject: Some(attempt.subject()), phase, reason, stop: None, permanent: false });
        self
    }

    /// Tells that the try has failed, and has it remembered.
    pub(super) fn fail(mut self, attempt: &Attempt, phase: Phase, reason: Reason, for_good: bool) -> Self {
        self.told.push(Told {
            subject: Some(attempt.subject()),
            phase,
            reason: Some(reason.clone()),
            stop: None,
            // Whoever keeps the count of tries says so.
            permanent: false,
        });
        self.fails = Some(Failure { attempt: attempt.clone(), reason, for_good });
        self
    }

    /// Tells that the try has succeeded, and has it remembered.
    pub(super) fn succeed(mut self, attempt: &Attempt) -> Self {
        self.succeeds = Some(attempt.clone());
        self.tell(attempt, Phase::Confirmed, None)
    }

    pub(super) fn spend(mut self, attempt: &Attempt) -> Self {
        self.spends = Some(attempt.clone());
        self
    }
}
