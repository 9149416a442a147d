//! What a person asks of a plan.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::approval::{Wave, first_broken};
use crate::clock::{utc, utc_or_none};
use crate::id::{ApprovalId, DeviceId, WardId};
use crate::label::LabelSelector;
use crate::limits::{
    MAX_ATTEMPT_TIMEOUT_SECS, MAX_HORIZON_SECS, MAX_RETRY_WAIT_SECS, MAX_SELECTED_LABELS, MAX_SLOTS_PER_DEVICE,
    MAX_SUPERSEDED, MAX_TEXT_BYTES, MAX_WAVES,
};
use crate::version::ReleaseRange;

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The id that the approval will have.
    pub approval: ApprovalId,
    /// Which devices.
    pub selector: Selector,
    /// How they are split into waves.
    pub waves: Vec<WaveSpec>,
    /// How many devices of one ward may have a slot at any instant.
    pub cap: u32,
    /// How long a slot lasts beyond the bundle's budgets: time for the device to come out of use. It lasts no less than the
    /// device needs to look at what is staged ([`super::Bundle::preparation`]).
    pub slack_secs: u32,
    /// How many slots a device gets for each step, where the calendar has room: chances, should it be in use in the first.
    pub slots_per_device: u32,
    /// Over how much time starts are spread that would else fall on an opening's first instant, in seconds, as far as the
    /// opening has room for it. None: a second for each device of the wave, and ten minutes at most.
    pub spread_secs: Option<u32>,
    /// No slot begins before it.
    #[serde(with = "utc")]
    pub not_before: Timestamp,
    /// How long after `not_before` the last slot may end.
    pub horizon_secs: u32,
    /// No slot ends after it, whatever the horizon.
    #[serde(with = "utc_or_none")]
    pub deadline: Option<Timestamp>,
    /// Tries that a device has at each step.
    pub max_attempts: u32,
    /// How long a device waits after a try that failed, in seconds; for each further one twice as long.
    pub retry_wait_secs: u32,
    /// How long a device that has begun may say nothing before it counts as failed, in seconds. A plan raises it to what its
    /// longest install and the way back may take.
    pub attempt_timeout_secs: u32,
    /// Whether devices need a lease of the server's besides their slots.
    pub leases: bool,
    /// Whether a device may go to a lower release.
    pub permit_downgrade: bool,
    /// Approvals that this one replaces, beside those that it replaces by itself.
    pub supersedes: BTreeSet<ApprovalId>,
    /// Whether slots of replaced approvals are given out again at once. A device that has not heard that its approval was
    /// replaced, because it cannot be reached or the server keeps it from it, may then be down beside the cap.
    pub reuse_slots: bool,
    /// The hospital's change ticket.
    pub ticket: String,
}

/// Which devices: all of the bundle's product that stand in one of these wards and have these labels, and those that are
/// named. Without a ward any ward will do, and without labels any labels; only where devices are named and neither a ward nor
/// a label is, there are no others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// In one of these wards.
    pub wards: BTreeSet<WardId>,
    /// With these labels, by the signed roster.
    pub labels: LabelSelector,
    /// These devices, whatever their product, ward and labels: one that does not fit is blocked by name.
    pub devices: BTreeSet<DeviceId>,
    /// Of all these, those that run one of these releases. One that is named is blocked where it runs another, and every one
    /// is blocked of which it is not known what it runs. The server's word, which can narrow the selection so, never widen it.
    pub running: Option<ReleaseRange>,
}

/// A wave, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaveSpec {
    /// How many devices.
    pub size: WaveSize,
    /// What must hold before the next begins.
    pub gate: Wave,
}

/// How many devices a wave takes, in ascending order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaveSize {
    /// So many.
    Count(u32),
    /// So many of a hundred of all that can be planned, rounded up.
    Percent(u32),
    /// All that are left; the last wave.
    Rest,
}

impl Request {
    /// The first rule that does not hold, if one does not.
    pub fn broken_rule(&self) -> Option<&'static str> {
        let size = |w: &WaveSpec| match w.size {
            WaveSize::Count(n) => n > 0,
            WaveSize::Percent(p) => (1..=100).contains(&p),
            WaveSize::Rest => true,
        };
        let rest = self.waves.iter().position(|w| w.size == WaveSize::Rest);
        first_broken(&[
            (!self.waves.is_empty() && self.waves.len() <= MAX_WAVES, "waves lists none, or more than 32"),
            (self.waves.iter().all(size), "a wave takes no device, or more than 100 percent"),
            (rest.is_none_or(|i| i + 1 == self.waves.len()), "a wave follows the one that takes the rest"),
            (self.waves.iter().all(|w| w.gate.min_confirmed_percent <= 100), "a gate asks for more than 100 percent"),
            (self.cap > 0, "the cap is 0: no device could ever be installed"),
            (self.slack_secs <= 86_400, "the slack is more than a day"),
            ((1..=MAX_SLOTS_PER_DEVICE).contains(&(self.slots_per_device as usize)), "a device gets 1 to 16 slots"),
            (self.waves.iter().all(|w| w.gate.max_failed_percent <= 100), "a gate lets more than 100 percent fail"),
            ((1..=10).contains(&self.max_attempts), "max_attempts is not 1 to 10"),
            (self.retry_wait_secs <= MAX_RETRY_WAIT_SECS, "a retry waits for more than a day"),
            (
                (1..=MAX_ATTEMPT_TIMEOUT_SECS).contains(&self.attempt_timeout_secs),
                "the attempt's timeout is not one second to 7 days",
            ),
            (self.spread_secs.is_none_or(|s| s <= 86_400), "starts are spread over more than a day"),
            (
                self.deadline.is_none_or(|deadline| self.not_before < deadline),
                "the deadline is not after the first instant at which a slot may begin",
            ),
            (self.horizon_secs > 0 && i64::from(self.horizon_secs) <= MAX_HORIZON_SECS, "the horizon is over 400 days"),
            (
                self.supersedes.len() <= MAX_SUPERSEDED && !self.supersedes.contains(&self.approval),
                "supersedes lists too many",
            ),
            (self.selector.labels.len() <= MAX_SELECTED_LABELS, "the selector names more than 64 labels"),
            (self.ticket.len() <= MAX_TEXT_BYTES, "the ticket is too long"),
        ])
    }

    /// The last instant at which a slot may end, where none begins before `begins`: the deadline, or the horizon where that
    /// comes first.
    pub fn until(&self, begins: Timestamp) -> Timestamp {
        let horizon = begins.saturating_add(SignedDuration::from_secs(self.horizon_secs.into())).unwrap_or(begins);
        self.deadline.map_or(horizon, |deadline| deadline.min(horizon))
    }
}
