//! What a device may install, decided by the device alone from what both sides have signed.
//!
//! The order is TRUST.md's "Order on the device", steps 3 to 5; the first rule that fails is the reason that people see.
//! Time, power, disk, interlock, the server's word and the hospital's on the device's wave come later, in the slot: they can
//! only make it wait.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::approval::{Share, Slot, Step, VerifiedStop};
use crate::digest::Digest;
use crate::id::{ApprovalId, DeviceId, HardwareId, HdoId, ProductId};
use crate::phase::{Code, Reason};
use crate::report::Running;
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
    /// Tries spent by approval.
    pub attempts: BTreeMap<ApprovalId, u32>,
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
    /// Why it may be fetched and must not be begun: the hospital has not opened the device's wave by its signature, or
    /// whether it has cannot be read. None where the wave is open, or asks for no signature.
    pub unsigned: Option<Reason>,
    /// Whether it leads to a lower release, by permit.
    pub downgrade: bool,
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
                let rank = says(reason.code);
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

/// How much a refused approval says of the device: one that does not name it least, one that it has fulfilled most.
const fn says(code: Code) -> u8 {
    match code {
        Code::NotForThisDevice | Code::WrongHospital => 0,
        Code::Superseded => 1,
        Code::UpToDate => 3,
        _ => 2,
    }
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
    if VerifiedStop::stops(stops, id) {
        return Err(Reason::new(Code::StopOrder, format!("the hospital has stopped approval {id}")));
    }
    let over = mine.slots.iter().all(|s| s.end <= now) || approval.expires <= now;
    let done = facts.running.as_ref().is_some_and(|r| approval.steps.last().is_some_and(|s| s.sha256 == r.manifest));
    if done {
        return Err(Reason::new(Code::UpToDate, format!("what approval {id} asks for runs already")));
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
    let after = running.and_then(|r| approval.steps.iter().position(|s| s.sha256 == r.manifest)).map_or(0, |i| i + 1);
    let (Some(step), Some(mine)) = (approval.steps.get(after), mine) else {
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
    let spent = facts.attempts.get(&approval.id).copied().unwrap_or(0);
    if spent >= approval.max_attempts {
        return no(Code::AttemptsSpent, format!("approval {} allows {spent} tries, all spent", approval.id));
    }
    let needs_server = approval.waves.get(mine.wave as usize).is_none_or(|w| w.needs_server);
    Selection::Chosen(Box::new(Choice {
        approval: approval.id.clone(),
        step: step.clone(),
        slots: mine.slots.iter().copied().filter(|s| s.end > now).collect(),
        needs_server,
        // DESIGN, rule 2: a human gate is the hospital's own. It holds back the install and not the fetching.
        unsigned: opened.missing(approval, mine.wave),
        downgrade,
        floor: entry.floor,
    }))
}

/// The slot that `now` lies in, else the next one.
pub fn slot_at(slots: &[Slot], now: Timestamp) -> Option<Slot> {
    slots.iter().copied().find(|s| now < s.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::{DeviceSlots, Gates, OpenWave, Opened, Pinned, StopOrder, Terms, Wave, path};

    type Entries = BTreeMap<String, (u64, Digest, CatalogEntry)>;

    impl Catalog for Entries {
        fn entry(&self, path: &str) -> Option<(u64, Digest, CatalogEntry)> {
            self.get(path).cloned()
        }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).unwrap()
    }

    fn digest(release: u64) -> Digest {
        Digest::of(&release.to_be_bytes())
    }

    fn step(release: u64) -> Step {
        Step {
            path: format!("bundles/pump/{release}/manifest.json"),
            length: 100 + release,
            sha256: digest(release),
            product: "pump".parse().unwrap(),
            release: Release(release),
            hardware: vec!["rev-a".parse().unwrap(), "rev-b".parse().unwrap()],
        }
    }

    fn catalog() -> Entries {
        let entry = |release: u64| {
            let s = step(release);
            let entry = CatalogEntry {
                product: s.product,
                release: s.release,
                version: format!("1.{release}.0").parse().unwrap(),
                hardware: s.hardware,
                min_release: Release(0),
                status: Status::Current,
                floor: Release(0),
            };
            (s.path, (s.length, s.sha256, entry))
        };
        [entry(1), entry(2), entry(3)].into_iter().collect()
    }

    fn wave(needs_signature: bool) -> Wave {
        Wave { needs_server: true, needs_signature, min_confirmed_percent: 100, max_failures: 0, soak_secs: 0 }
    }

    fn approval(id: &str, release: u64) -> Share {
        let terms = Terms {
            id: id.parse().unwrap(),
            hdo: "riverside".parse().unwrap(),
            created: at(0),
            expires: at(1_000),
            steps: vec![step(release)],
            supersedes: vec![],
            waves: vec![wave(false)],
            max_attempts: 1,
            permit_downgrade: false,
            operator_document: Pinned::of("operator/x.json".to_owned(), b""),
        };
        let slots = vec![Slot { start: at(100), end: at(200) }];
        Share {
            terms,
            mine: Some(DeviceSlots { id: "pump-1".parse().unwrap(), wave: 0, slots }),
            opened: Opened::Nothing,
        }
    }

    fn facts(release: u64) -> Facts {
        Facts {
            hdo: "riverside".parse().unwrap(),
            device: "pump-1".parse().unwrap(),
            product: "pump".parse().unwrap(),
            hardware: "rev-a".parse().unwrap(),
            running: Some(Running {
                version: "1.0.0".parse().unwrap(),
                release: Release(release),
                manifest: digest(release),
            }),
            floor: Release(0),
            attempts: BTreeMap::new(),
        }
    }

    fn code(selection: Selection) -> Option<Code> {
        match selection {
            Selection::Chosen(_) => None,
            Selection::Nothing { reason, .. } => Some(reason.code),
        }
    }

    #[test]
    fn what_both_sides_signed_for_this_device_is_chosen() {
        let Selection::Chosen(choice) = select(&facts(1), &catalog(), &[approval("a1", 2)], &[], at(50)) else {
            panic!("nothing was chosen");
        };
        assert_eq!((choice.step.release, choice.downgrade, choice.needs_server), (Release(2), false, true));
    }

    /// Each row bends one thing of a choice that would be made, and names the reason that must come out.
    #[test]
    fn each_refusal_has_its_own_reason() {
        type Bend = fn(&mut Facts, &mut Entries, &mut Share, &mut Timestamp);
        let path = "bundles/pump/2/manifest.json";
        let rows: Vec<(Code, Bend)> = vec![
            (Code::WrongHospital, |_, _, a, _| a.terms.hdo = "hilltop".parse().unwrap()),
            (Code::NotForThisDevice, |f, _, _, _| f.device = "pump-2".parse().unwrap()),
            (Code::SlotsOver, |_, _, _, now| *now = at(200)),
            (Code::SlotsOver, |_, _, a, now| {
                a.terms.expires = at(150);
                *now = at(150);
            }),
            (Code::UpToDate, |f, _, _, _| *f = facts(2)),
            (Code::NotInCatalog, |_, c, _, _| c.clear()),
            (Code::NotInCatalog, |_, _, a, _| a.terms.steps[0].sha256 = digest(9)),
            (Code::NotInCatalog, |_, _, a, _| a.terms.steps[0].length += 1),
            (Code::NotInCatalog, |_, _, a, _| a.terms.steps[0].release = Release(3)),
            (Code::NotInCatalog, |_, _, a, _| a.terms.steps[0].hardware.truncate(1)),
            (Code::NotInCatalog, |_, _, a, _| a.terms.steps[0].path = "bundles/pump/3/manifest.json".to_owned()),
            (Code::WrongProduct, |f, _, _, _| f.product = "monitor".parse().unwrap()),
            (Code::WrongHardware, |f, _, _, _| f.hardware = "rev-c".parse().unwrap()),
            (Code::BelowFloor, |f, _, _, _| f.floor = Release(3)),
            (Code::Downgrade, |f, _, _, _| *f = facts(3)),
            (Code::AttemptsSpent, |f, _, a, _| {
                f.attempts.insert(a.terms.id.clone(), 1);
            }),
        ];
        for (i, (wanted, bend)) in rows.into_iter().enumerate() {
            let (mut f, mut c, mut a, mut now) = (facts(1), catalog(), approval("a1", 2), at(50));
            bend(&mut f, &mut c, &mut a, &mut now);
            assert_eq!(code(select(&f, &c, &[a], &[], now)), Some(wanted), "row {i}");
        }
        for (wanted, status, min_release) in
            [(Code::Withdrawn, Status::Withdrawn, 0), (Code::TooOldToStart, Status::Current, 2)]
        {
            let mut c = catalog();
            let entry = c.get_mut(path).unwrap();
            (entry.2.status, entry.2.min_release) = (status, Release(min_release));
            assert_eq!(code(select(&facts(1), &c, &[approval("a1", 2)], &[], at(50))), Some(wanted));
        }
    }

    #[test]
    fn a_permit_allows_the_downgrade_but_never_lowers_the_floor() {
        let mut permit = approval("a1", 2);
        permit.terms.permit_downgrade = true;
        assert_eq!(code(select(&facts(3), &catalog(), std::slice::from_ref(&permit), &[], at(50))), None);
        let floored = Facts { floor: Release(3), ..facts(3) };
        assert_eq!(code(select(&floored, &catalog(), &[permit], &[], at(50))), Some(Code::BelowFloor));
    }

    #[test]
    fn two_open_approvals_are_no_word_unless_one_supersedes_the_other() {
        let (old, mut new) = (approval("a1", 2), approval("a2", 3));
        let both = [old.clone(), new.clone()];
        assert_eq!(code(select(&facts(1), &catalog(), &both, &[], at(50))), Some(Code::ConflictingApprovals));
        new.terms.supersedes = vec![old.terms.id.clone()];
        // Also where the new one does not name the device: it withdraws the old one all the same.
        let Selection::Chosen(choice) = select(&facts(1), &catalog(), &[old.clone(), new.clone()], &[], at(50)) else {
            panic!("nothing was chosen");
        };
        assert_eq!(choice.approval, new.terms.id);
        new.mine = None;
        assert_eq!(code(select(&facts(1), &catalog(), &[old, new], &[], at(50))), Some(Code::Superseded));
    }

    #[test]
    fn the_highest_counter_of_stops_and_lifts_is_in_force() {
        let stop = |counter, stopped| {
            let order = StopOrder {
                kind: "suture-stop".to_owned(),
                format: 1,
                hdo: "riverside".parse().unwrap(),
                approval: "a1".parse().unwrap(),
                counter,
                stopped,
                signed_at: at(0),
            };
            VerifiedStop::kept(&order.sign(&[]).unwrap()).unwrap()
        };
        let with = |stops: &[VerifiedStop]| code(select(&facts(1), &catalog(), &[approval("a1", 2)], stops, at(50)));
        assert_eq!(with(&[stop(1, true)]), Some(Code::StopOrder));
        assert_eq!(with(&[stop(2, false), stop(1, true)]), None);
        assert_eq!(with(&[stop(2, false), stop(3, true)]), Some(Code::StopOrder));
    }

    /// The approval `a1`, its device in the second of two waves that wait for a signature, and of those waves one is open.
    fn gated(open: Option<u32>) -> Share {
        let mut share = approval("a1", 2);
        share.terms.waves = vec![wave(true); 2];
        share.mine.as_mut().unwrap().wave = 1;
        if let Some(wave) = open {
            let mut gates = Gates::new(&share.terms, digest(0));
            let note = Pinned::of(path::gate_note(&share.terms.id, wave), b"note");
            gates.open.push(OpenWave { wave, opened: at(10), note });
            share.opened = Opened::By(gates);
        }
        share
    }

    #[test]
    fn a_wave_that_waits_for_a_signature_may_be_fetched_and_not_begun() {
        let unsigned = |share: Share| match select(&facts(1), &catalog(), &[share], &[], at(50)) {
            Selection::Chosen(choice) => choice.unsigned.map(|r| r.code),
            Selection::Nothing { reason, .. } => panic!("{reason}"),
        };
        assert_eq!(unsigned(gated(None)), Some(Code::SignatureNeeded), "closed unless opened");
        assert_eq!(unsigned(gated(Some(0))), Some(Code::SignatureNeeded), "another wave's opening");
        assert_eq!(unsigned(gated(Some(1))), None);
        let foreign = Share { terms: Terms { id: "a2".parse().unwrap(), ..gated(None).terms }, ..gated(Some(1)) };
        assert_eq!(unsigned(foreign), Some(Code::SignatureNeeded), "another approval's opening");
        let lost = Opened::Unknown(Reason::new(Code::WrongBytes, "other bytes"));
        assert_eq!(unsigned(Share { opened: lost.clone(), ..gated(None) }), Some(Code::WrongBytes));
        assert_eq!(unsigned(Share { opened: lost, ..approval("a1", 2) }), None, "it needs none");
        let mut beyond = gated(Some(1));
        beyond.mine.as_mut().unwrap().wave = 7;
        assert_eq!(unsigned(beyond), Some(Code::SignatureNeeded), "a wave that does not exist");
    }

    #[test]
    fn an_open_wave_lifts_nothing_else() {
        let order = StopOrder::next("riverside".parse().unwrap(), "a1".parse().unwrap(), None, true, at(0)).unwrap();
        let stop = VerifiedStop::kept(&order.sign(&[]).unwrap()).unwrap();
        assert_eq!(code(select(&facts(1), &catalog(), &[gated(Some(1))], &[stop], at(50))), Some(Code::StopOrder));
        assert_eq!(code(select(&facts(1), &catalog(), &[gated(Some(1))], &[], at(200))), Some(Code::SlotsOver));
        assert_eq!(code(select(&facts(3), &catalog(), &[gated(Some(1))], &[], at(50))), Some(Code::Downgrade));
    }

    #[test]
    fn steps_are_taken_in_order() {
        let mut two = approval("a1", 2);
        two.terms.steps.push(step(3));
        let chosen = |release| match select(&facts(release), &catalog(), std::slice::from_ref(&two), &[], at(50)) {
            Selection::Chosen(choice) => Some(choice.step.release.0),
            Selection::Nothing { .. } => None,
        };
        assert_eq!((chosen(1), chosen(2), chosen(3)), (Some(2), Some(3), None));
    }
}
