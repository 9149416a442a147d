//! What a device may install, decided by the device alone from what both sides have signed.
//!
//! The order is "Order on the device", steps 3 to 5; the first rule that fails is the reason that people see.
//! Time, power, disk, interlock, the server's word and the hospital's on the device's wave come later, in the slot: they can
//! only make it wait.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::approval::{Share, Slot, Step, Terms, VerifiedStop};
use crate::digest::Digest;
use crate::id::{ApprovalId, DeviceId, HardwareId, HdoId, ProductId};
use crate::phase::{Code, Reason};
use crate::report::Running;
use crate::retry::{Policy, Tries};
use crate::trust::{CatalogEntry, Repository, Status};
use crate::version::Release;

/// What the device knows of itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its hospital, from its enrolment.
    pub hdo: HdoId,
    /// Its id, from its enrolment.
    pub device: DeviceId,
    /// Its product, provisioned.
    pub product: ProductId,
    /// Its hardware revision, provisioned.
    pub hardware: HardwareId,
    /// What runs; `None` on a device that was never provisioned with software.
    pub running: Option<Running>,
    /// Highest security floor that a confirmed release has brought; it never sinks.
    pub floor: Release,
    /// What it has tried, by approval and by the bundle of its step: no step uses up the tries of another.
    pub tries: BTreeMap<(ApprovalId, Digest), Tries>,
}

/// The catalog as the choice needs it; a verified [`Repository`] is one.
pub trait Catalog {
    /// What the catalog lists under a path: length, digest and the manufacturer's word.
    fn entry(&self, path: &str) -> Option<(u64, Digest, CatalogEntry)>;
}

impl Catalog for Repository {
    fn entry(&self, path: &str) -> Option<(u64, Digest, CatalogEntry)> {
        let target = self.target(path)?;
        Some((target.length, target.sha256, CatalogEntry::of(target)?))
    }
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// By which approval.
    pub approval: ApprovalId,
    /// The bundle.
    pub step: Step,
    /// The device's slots.
    pub slots: Vec<Slot>,
    /// Whether its wave waits for the server's word.
    pub needs_server: bool,
    /// Whether it asks the server for a lease before it begins.
    pub needs_lease: bool,
    /// How often it may try.
    pub policy: Policy,
    /// What it has tried of this step.
    pub tries: Tries,
    /// Why it may be fetched and must not be begun: the hospital has not opened the device's wave by its signature, or
    /// whether it has cannot be read. None where the wave is open, or asks for no signature.
    pub unsigned: Option<Reason>,
    /// Whether it leads to a lower release, by permit.
    pub downgrade: bool,
    /// What runs, from which it leads there.
    pub from: Option<Release>,
    /// The device's hardware revision.
    pub hardware: HardwareId,
    /// The floor that the release brings once it is confirmed.
    pub floor: Release,
}

/// The choice, or the first reason why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// May be fetched now and installed in a slot.
    Chosen(Box<Choice>),
    /// Not, or not any more.
    Nothing {
        /// Why.
        reason: Reason,
        /// The approval that it is about, where it is about one.
        approval: Option<ApprovalId>,
    },
}

impl Selection {
    fn nothing(approval: Option<&ApprovalId>, code: Code, text: impl Into<String>) -> Self {
        Self::Nothing { reason: Reason::new(code, text), approval: approval.cloned() }
    }
}

/// Chooses. `approvals` are all that the hospital's verified repository lists, as this device reads them; `stops` come from
/// wherever they reached the device.
pub fn select(
    facts: &Facts,
    catalog: &impl Catalog,
    approvals: &[Share],
    stops: &[VerifiedStop],
    now: Timestamp,
) -> Selection {
    let superseded: BTreeSet<&ApprovalId> =
        approvals.iter().map(|a| &a.terms).filter(|t| t.hdo == facts.hdo).flat_map(|t| &t.supersedes).collect();
    let mut open = Vec::new();
    let mut first_no: Option<(Selection, u8)> = None;
    for approval in approvals {
        match admissible(facts, approval, &superseded, stops, now) {
            Ok(()) => open.push(approval),
            Err(reason) => {
                let rank = says(reason.code, is_told(facts, approval));
                if first_no.as_ref().is_none_or(|(_, best)| rank > *best) {
                    first_no = Some((Selection::Nothing { reason, approval: Some(approval.terms.id.clone()) }, rank));
                }
            }
        }
    }
    match open.as_slice() {
        [] => first_no.map_or_else(
            || Selection::nothing(None, Code::NothingApproved, "the hospital has approved nothing for this device"),
            |(no, _)| no,
        ),
        [one] => choose(facts, catalog, one, now),
        // Two words at once are no word: neither, and both named.
        [a, b, ..] => {
            let text = format!(
                "approvals {} and {} are both open for this device; supersede one of them",
                a.terms.id, b.terms.id
            );
            Selection::nothing(None, Code::ConflictingApprovals, text)
        }
    }
}

/// How much a refused approval says of the device: one that does not name it least, one that it has fulfilled more, and one
/// that it has come to fulfil by another most, for of that it has not told yet.
const fn says(code: Code, is_told: bool) -> u8 {
    match code {
        Code::NotForThisDevice | Code::WrongHospital => 0,
        Code::Superseded => 1,
        Code::UpToDate if is_told => 3,
        Code::UpToDate => 4,
        _ => 2,
    }
}

/// Whether the device has tried the last step of an approval, and has told what that came to.
fn is_told(facts: &Facts, Share { terms, .. }: &Share) -> bool {
    last_tries(facts, terms).is_some_and(|tries| tries.spent > 0)
}

/// What the device has tried of an approval's last step.
fn last_tries<'a>(facts: &'a Facts, terms: &Terms) -> Option<&'a Tries> {
    terms.steps.last().and_then(|last| facts.tries.get(&(terms.id.clone(), last.sha256)))
}

/// Whether an approval is in force and names this device.
fn admissible(
    facts: &Facts,
    Share { terms: approval, mine, .. }: &Share,
    superseded: &BTreeSet<&ApprovalId>,
    stops: &[VerifiedStop],
    now: Timestamp,
) -> Result<(), Reason> {
    let id = &approval.id;
    if approval.hdo != facts.hdo {
        let text = format!("approval {id} is of hospital {}, this device belongs to {}", approval.hdo, facts.hdo);
        return Err(Reason::new(Code::WrongHospital, text));
    }
    let Some(mine) = mine.as_ref().filter(|m| m.id == facts.device) else {
        return Err(Reason::new(Code::NotForThisDevice, format!("approval {id} does not name this device")));
    };
    if superseded.contains(id) {
        return Err(Reason::new(Code::Superseded, format!("another approval took the place of {id}")));
    }
    let over = mine.slots.iter().all(|s| s.end <= now) || approval.expires <= now;
    let done = facts.running.as_ref().is_some_and(|r| approval.steps.last().is_some_and(|s| s.sha256 == r.manifest));
    // Before a stop order, which holds back what is not begun: here nothing is left to begin.
    if done {
        return Err(Reason::new(Code::UpToDate, format!("what approval {id} asks for runs already")));
    }
    // A permit is used up, and so is what it permits. Accident: another approval has led the device on; this one would lead it back in
    // its next slot, or stand against that other.
    if last_tries(facts, approval).is_some_and(Tries::is_done) {
        let text =
            format!("what approval {id} asks for was installed here, and the device has gone on since; plan a new one");
        return Err(Reason::new(Code::AttemptsSpent, text));
    }
    if VerifiedStop::stops(stops, id) {
        return Err(Reason::new(Code::StopOrder, format!("the hospital has stopped approval {id}")));
    }
    if over {
        return Err(Reason::new(Code::SlotsOver, format!("the last slot of approval {id} has ended; plan a new one")));
    }
    Ok(())
}

/// The next step of the one approval that is open, checked against the catalog and the device.
fn choose(facts: &Facts, catalog: &impl Catalog, share: &Share, now: Timestamp) -> Selection {
    let Share { terms: approval, mine, opened } = share;
    let no = |code, text: String| Selection::nothing(Some(&approval.id), code, text);
    let running = facts.running.as_ref();
    let (Some(step), Some(mine)) = (next_step(facts, catalog, share), mine) else {
        return no(Code::UpToDate, format!("what approval {} asks for runs already", approval.id));
    };
    let name = format!("{} release {}", step.product, step.release);

    // Attack: the hospital's key, or a mistake, names what the manufacturer never published under that name.
    let Some((length, sha256, entry)) = catalog.entry(&step.path) else {
        return no(Code::NotInCatalog, format!("the manufacturer's catalog does not list {name}"));
    };
    let equal = length == step.length
        && sha256 == step.sha256
        && entry.product == step.product
        && entry.release == step.release
        && entry.hardware == step.hardware;
    if !equal {
        return no(
            Code::NotInCatalog,
            format!("the catalog lists another bundle as {name} than the hospital approved"),
        );
    }
    if entry.status == Status::Withdrawn {
        return no(Code::Withdrawn, format!("the manufacturer has withdrawn {name}"));
    }
    if step.product != facts.product {
        return no(Code::WrongProduct, format!("{name} is not for this device, a {}", facts.product));
    }
    if !step.hardware.contains(&facts.hardware) {
        return no(Code::WrongHardware, format!("{name} is not for hardware {}", facts.hardware));
    }
    if step.release < facts.floor {
        return no(Code::BelowFloor, format!("{name} is below the security floor, release {}", facts.floor));
    }
    let present = running.map(|r| r.release);
    let downgrade = present.is_some_and(|p| step.release < p);
    if downgrade && !approval.permit_downgrade {
        let text = format!("{name} is older than what runs, and approval {} permits no downgrade", approval.id);
        return no(Code::Downgrade, text);
    }
    if !downgrade && present.is_some_and(|p| p < entry.min_release) {
        let text = format!("{name} can be reached from release {} only; approve that first", entry.min_release);
        return no(Code::TooOldToStart, text);
    }
    let policy = Policy::of(approval);
    let tries = facts.tries.get(&(approval.id.clone(), step.sha256)).cloned().unwrap_or_default();
    if let Some(reason) = tries.exhausted(policy, &format!("approval {} of {name}", approval.id)) {
        return Selection::Nothing { reason, approval: Some(approval.id.clone()) };
    }
    let needs_server = approval.waves.get(mine.wave as usize).is_none_or(|w| w.needs_server);
    Selection::Chosen(Box::new(Choice {
        approval: approval.id.clone(),
        step: step.clone(),
        slots: mine.slots.iter().copied().filter(|s| s.end > now).collect(),
        needs_server,
        needs_lease: approval.needs_lease,
        policy,
        tries,
        // Rule 2: a human gate is the hospital's own. It holds back the install and not the fetching.
        unsigned: opened.missing(approval, mine.wave),
        downgrade,
        from: present,
        hardware: facts.hardware.clone(),
        // Attack: a floor above every release, after which the device would take nothing any more, whoever's keys are let out
        // then. A release that runs forbids what is below it, and no more.
        floor: entry.floor.min(step.release),
    }))
}

/// The step that a device is at: of those that it takes, the one after what runs. Where what runs is none of them, the first
/// that lies above it and takes it as a start, so that a device that has come some of the way otherwise goes on from there;
/// where none lies above, the last, which is then a downgrade. None where the last one runs, or the approval does not name it.
pub fn next_step<'a>(facts: &Facts, catalog: &impl Catalog, Share { terms, mine, .. }: &'a Share) -> Option<&'a Step> {
    let path = mine.as_ref()?.path(terms);
    let Some(running) = &facts.running else { return path.first().copied() };
    if let Some(at) = path.iter().position(|step| step.sha256 == running.manifest) {
        return path.get(at.checked_add(1)?).copied();
    }
    let mut above = path.iter().filter(|step| running.release < step.release);
    let starts =
        |step: &&&Step| catalog.entry(&step.path).is_some_and(|(_, _, entry)| entry.min_release <= running.release);
    above.clone().find(starts).or_else(|| above.next()).or(path.last()).copied()
}

/// The slot that `now` lies in, else the next one.
pub fn slot_at(slots: &[Slot], now: Timestamp) -> Option<Slot> {
    slots.iter().copied().find(|s| now < s.end)
}

#[cfg(test)]
mod tests;
