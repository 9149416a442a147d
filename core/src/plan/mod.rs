//! From signed facts to slots: which devices install a bundle, in which waves, at which instants.
//!
//! [`plan`] is pure: the same facts, request, inventory and instant give the same bytes, whatever order they come in. So
//! an approver who did not make a plan can have it computed again and see whether it is what the signed facts lead to.
//!
//! What holds by signature, whatever the server does: the devices, their slots, that a later wave's slots begin only
//! after an earlier wave's have ended (first slots after first slots, second after second, and so on), that no more than
//! `cap` devices of a ward have a slot at any instant, and that a wave with a human gate begins once the hospital has opened
//! it by a signature. What trusts the server, and is marked so: that a wave's other gate is kept shut until the wave before
//! has proven itself.

mod bundle;
mod calendars;
mod compute;
mod eligible;
mod sign;
mod suggestion;
mod timetable;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::bundle::{Bundle, BundleError, Floor};
pub use self::compute::{PlanError, plan};
pub use self::sign::Signing;
pub use self::suggestion::{Deadline, Suggestion};
use crate::approval::{Approval, DeviceSlots, Pinned, Roster, SignedDocument, Slot, VerifiedStop, Wave, first_broken};
use crate::clock::utc;
use crate::digest::Digest;
use crate::id::{ApprovalId, DeviceId, HdoId, ProductId, WardId};
use crate::label::LabelSelector;
use crate::limits::{
    MAX_APPROVAL_DEVICES, MAX_ATTEMPT_TIMEOUT_SECS, MAX_HORIZON_SECS, MAX_PLAN_BYTES, MAX_RETRY_WAIT_SECS,
    MAX_SELECTED_LABELS, MAX_SLOTS_PER_DEVICE, MAX_SUPERSEDED, MAX_TEXT_BYTES, MAX_WAVES,
};
use crate::phase::Reason;
use crate::report::Running;
use crate::version::ReleaseRange;
use crate::window::Calendar;

/// What both sides have signed, verified.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The hospital.
    pub hdo: HdoId,
    /// The bundle, from the catalog.
    pub bundle: Bundle,
    /// The rosters that the approvals repository lists.
    pub rosters: Vec<(Pinned, Roster)>,
    /// The calendars that it lists.
    pub calendars: Vec<(Pinned, Calendar)>,
    /// The approvals that it lists.
    pub approvals: Vec<Approval>,
    /// The stop orders and lifts that are known.
    pub stops: Vec<VerifiedStop>,
}

/// What the server says that a device runs. Believed for what it is: it can keep a device out of a plan, never bring one in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The device.
    pub id: DeviceId,
    /// The ward that the server has it in.
    pub ward: Option<WardId>,
    /// The product that the server has it for.
    pub product: Option<ProductId>,
    /// What runs.
    pub running: Option<Running>,
    /// Whether a report says so that verifies against the roster's key; the device's word then, not the server's.
    pub proven: bool,
}

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
    /// How long a slot lasts beyond the bundle's budgets: time for the device to come out of use.
    pub slack_secs: u32,
    /// How many slots a device gets, where the calendar has room: chances, should it be in use in the first.
    pub slots_per_device: u32,
    /// No slot begins before it.
    #[serde(with = "utc")]
    pub not_before: Timestamp,
    /// How long after `not_before` the last slot may end.
    pub horizon_secs: u32,
    /// Tries that a device has.
    pub max_attempts: u32,
    /// How long a device waits after a try that failed, in seconds; for each further one twice as long.
    pub retry_wait_secs: u32,
    /// How long a device that has begun may say nothing before it counts as failed, in seconds.
    pub attempt_timeout_secs: u32,
    /// Whether devices need a lease of the server's besides their slots.
    pub leases: bool,
    /// Whether a device may go to a lower release.
    pub permit_downgrade: bool,
    /// Approvals that this one replaces, beside those that it replaces by itself.
    pub supersedes: BTreeSet<ApprovalId>,
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

/// A plan: what an approval of it would sign, what it was computed from, and whom it leaves out and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Always `suture-plan`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// When it was computed.
    #[serde(with = "utc")]
    pub created: Timestamp,
    /// What was asked for.
    pub request: Request,
    /// The bundle.
    pub bundle: Bundle,
    /// The rosters that it was computed from, ascending by path.
    pub rosters: Vec<Pinned>,
    /// The wards with planned devices, ascending.
    pub wards: Vec<PlannedWard>,
    /// What the server said of the selected devices, ascending by id.
    pub inventory: Vec<Known>,
    /// All approvals that it replaces: those asked for, and those that have nothing left to do beside it.
    pub supersedes: BTreeSet<ApprovalId>,
    /// The waves.
    pub waves: Vec<PlannedWave>,
    /// The devices that it names, ascending by id.
    pub devices: Vec<DeviceSlots>,
    /// The selected devices that it leaves out, ascending by id.
    pub blocked: Vec<Blocked>,
    /// When the last device's first slot ends.
    #[serde(with = "utc")]
    pub expected_finish: Timestamp,
    /// When the last slot ends.
    #[serde(with = "utc")]
    pub expires: Timestamp,
}

/// A ward with planned devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedWard {
    /// The ward.
    pub ward: WardId,
    /// The time zone that its people read times in.
    pub zone: String,
    /// The calendars that bind its planned devices, ascending by path.
    pub calendars: Vec<Pinned>,
    /// Its planned devices, ascending.
    pub devices: Vec<DeviceId>,
}

/// A wave, as it came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedWave {
    /// What must hold before it begins and before the next does. All but the hospital's signature is kept by the server; a
    /// server that lies opens it early, never outside slots.
    pub gate: Wave,
    /// How many devices.
    pub devices: u32,
    /// When its first slot begins.
    #[serde(with = "utc")]
    pub begins: Timestamp,
    /// When the last of its devices' first slots ends.
    #[serde(with = "utc")]
    pub ends: Timestamp,
}

/// A selected device that the plan leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blocked {
    /// The device.
    pub id: DeviceId,
    /// Why.
    pub reason: Reason,
}

impl SignedDocument for Plan {
    const TYPE: &'static str = "suture-plan";
    const MAX_BYTES: u64 = MAX_PLAN_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let waves = self.waves.len();
        self.request.broken_rule().or_else(|| {
            first_broken(&[
                (self.devices.len() <= MAX_APPROVAL_DEVICES, "devices lists too many"),
                (self.devices.iter().all(|d| (d.wave as usize) < waves), "a device is in a wave that does not exist"),
            ])
        })
    }
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
            (self.horizon_secs > 0 && i64::from(self.horizon_secs) <= MAX_HORIZON_SECS, "the horizon is over 400 days"),
            (
                self.supersedes.len() <= MAX_SUPERSEDED && !self.supersedes.contains(&self.approval),
                "supersedes lists too many",
            ),
            (self.selector.labels.len() <= MAX_SELECTED_LABELS, "the selector names more than 64 labels"),
            (self.ticket.len() <= MAX_TEXT_BYTES, "the ticket is too long"),
        ])
    }
}

impl Plan {
    /// The digest that people compare and `approve` names.
    ///
    /// # Errors
    ///
    /// The plan breaks a rule of its own.
    pub fn digest(&self) -> Result<Digest, crate::approval::DocumentError> {
        Ok(Digest::of(&self.to_bytes()?))
    }

    /// The same plan, computed from facts of one's own. It differs where the facts do, or where it was tampered with.
    ///
    /// # Errors
    ///
    /// As [`plan`].
    pub fn recompute(&self, facts: &Facts) -> Result<Self, PlanError> {
        plan(facts, &self.request, &self.inventory, self.created)
    }

    /// Devices that can no longer be installed in any of their slots.
    pub fn lost(&self, now: Timestamp) -> Vec<&DeviceId> {
        let need = self.bundle.need();
        let fits = |s: &Slot| s.end.duration_since(s.start.max(now)) >= need;
        self.devices.iter().filter(|d| !d.slots.iter().any(fits)).map(|d| &d.id).collect()
    }
}

#[cfg(test)]
mod tests;
