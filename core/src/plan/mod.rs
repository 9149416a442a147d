//! From signed facts to slots: which devices install a bundle, in which waves, at which instants.
//!
//! [`plan`] is pure: the same facts, request, inventory and instant give the same bytes, whatever order they come in. So
//! an approver who did not make a plan can have it computed again and see whether it is what the signed facts lead to.
//!
//! What holds by signature, whatever the server does: the devices, their steps and slots, that a later wave's slots begin
//! only after an earlier wave's have ended (first turns after first turns, second after second, and so on), that no more than
//! `cap` devices of a ward have a slot at any instant, and that a wave with a human gate begins once the hospital has opened
//! it by a signature. A device that is kept from hearing that its approval was replaced goes on by the old one: so the slots of
//! replaced approvals are taken for all but their own device, until they are over (`taken`). What trusts the server, and is
//! marked so: that a wave's other gate is kept shut until the wave before has proven itself.
//!
//! Where the manufacturer does not let a device go to the bundle at once, the approval has more steps than one (`way`). A
//! turn then is a slot for each of the device's steps, one after another, each long enough for the longest step of all; what
//! an earlier one has left may hold a later step, for slots are the device's and not a step's. A device is done, and confirmed
//! for its gate, when the last step runs, and no sooner; it has failed with any of them. Tries are counted for each step by
//! itself.

mod back;
mod bundle;
mod calendars;
mod compute;
mod eligible;
mod fill;
mod installs;
mod request;
mod sign;
mod suggestion;
mod taken;
mod timetable;
mod touched;
mod way;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::bundle::{Bundle, BundleError, Floor};
pub use self::compute::{PlanError, plan};
pub use self::installs::Installs;
pub use self::request::{Request, Selector, WaveSize, WaveSpec};
pub use self::sign::Signing;
pub use self::suggestion::{Deadline, Suggestion};
use crate::approval::{Approval, DeviceSlots, Pinned, Roster, SignedDocument, Slot, VerifiedStop, Wave, first_broken};
use crate::clock::{utc, utc_or_none};
use crate::digest::Digest;
use crate::id::{ApprovalId, DeviceId, HdoId, ProductId, WardId};
use crate::limits::{MAX_APPROVAL_DEVICES, MAX_PLAN_BYTES, MAX_STEPS};
use crate::phase::Reason;
use crate::report::Running;
use crate::window::Calendar;

/// What both sides have signed, verified.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The hospital.
    pub hdo: HdoId,
    /// The bundle, from the catalog.
    pub bundle: Bundle,
    /// Other releases of its product, from the catalog: those that a way to it may lead over, in no order.
    pub releases: Vec<Bundle>,
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
    /// What installs on it, and the data that lie on it, by its last check-in; none where it has never said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installs: Option<Installs>,
    /// Whether a report says what runs that verifies against the roster's key; the device's word then, not the server's.
    pub proven: bool,
    /// Whether that report also says that nothing is under way: what runs is what the device has confirmed, or fell back to.
    pub settled: bool,
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
    /// What was asked for. `attempt_timeout_secs` is no less than [`Plan::need`], whatever was.
    pub request: Request,
    /// The bundle.
    pub bundle: Bundle,
    /// What some devices install before it, ascending by release. All of it and the bundle are the steps of one approval; each
    /// device takes those that its entry in `devices` says.
    pub way: Vec<Bundle>,
    /// The rosters that it was computed from, ascending by path.
    pub rosters: Vec<Pinned>,
    /// The wards with planned devices, ascending.
    pub wards: Vec<PlannedWard>,
    /// What the server said of the selected devices, and of others that came in, ascending by id.
    pub inventory: Vec<Known>,
    /// Devices that have slots left by approvals that are replaced, and of which those are not counted, ascending: they have
    /// proven that they run what those lead to. An approver asks for that proof anew.
    pub settled: Vec<DeviceId>,
    /// Slots of replaced approvals that are given out again, as the request asks for, while their devices may not have heard
    /// that: until when. The ward's cap then trusts the server.
    #[serde(with = "utc_or_none")]
    pub reuses_until: Option<Timestamp>,
    /// All approvals that it replaces: those asked for, and those that have nothing left to do beside it, because each device
    /// that would still act on them has slots by the plan.
    pub supersedes: BTreeSet<ApprovalId>,
    /// The waves.
    pub waves: Vec<PlannedWave>,
    /// The devices that it names, ascending by id.
    pub devices: Vec<DeviceSlots>,
    /// The selected devices that it leaves out, ascending by id.
    pub blocked: Vec<Blocked>,
    /// The planned devices that no approval can lead back to what they run now, ascending by id, each with the reason.
    pub no_way_back: Vec<Blocked>,
    /// When the last device has had its first turn: where all goes well, the bundle runs everywhere by then.
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
    /// When the last of its devices has had its first turn, every step of it.
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
                (self.way.len() < MAX_STEPS, "way lists too many releases"),
                (self.settled.len() <= MAX_APPROVAL_DEVICES, "settled lists too many"),
                (self.devices.iter().all(|d| (d.wave as usize) < waves), "a device is in a wave that does not exist"),
            ])
        })
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

    /// What the approval installs, one after another, the bundle last.
    pub fn steps(&self) -> impl Iterator<Item = &Bundle> {
        self.way.iter().chain([&self.bundle])
    }

    /// The least that each slot must last: the longest install of all, and its way back.
    pub fn need(&self) -> SignedDuration {
        self.steps().map(Bundle::need).max().unwrap_or(SignedDuration::ZERO)
    }

    /// How much longer each slot lasts than that.
    pub fn room(&self) -> SignedDuration {
        room(&self.request, &self.steps().collect::<Vec<_>>())
    }

    /// Devices that it names although they have never said what installs on them: they refuse by themselves what is made for
    /// another installer.
    pub fn unsaid(&self) -> impl Iterator<Item = &DeviceId> {
        let said: BTreeSet<_> = self.inventory.iter().filter(|k| k.installs.is_some()).map(|k| &k.id).collect();
        self.devices.iter().map(|d| &d.id).filter(move |id| !said.contains(id))
    }

    /// How many steps a device takes.
    pub fn steps_of(&self, device: &DeviceSlots) -> usize {
        if device.steps.is_empty() { self.steps().count() } else { device.steps.len() }
    }

    /// Devices that have no longer as many slots that hold an install as they have steps to take.
    pub fn lost(&self, now: Timestamp) -> Vec<&DeviceId> {
        let need = self.need();
        let fits = |s: &&Slot| s.end.duration_since(s.start.max(now)) >= need;
        let has_time = |d: &&DeviceSlots| d.slots.iter().filter(fits).count() >= self.steps_of(d);
        self.devices.iter().filter(|d| !has_time(d)).map(|d| &d.id).collect()
    }
}

/// How much longer a slot lasts than install and way back: as long as was asked for, and no less than a device needs before it
/// can begin. Without any, the latest instant to begin would be the slot's first, and past before the device has looked.
fn room(request: &Request, steps: &[&Bundle]) -> SignedDuration {
    let slack = SignedDuration::from_secs(request.slack_secs.into());
    steps.iter().map(|b| b.preparation()).fold(slack, SignedDuration::max)
}

#[cfg(test)]
mod tests;
