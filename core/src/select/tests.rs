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
    Wave {
        needs_server: true,
        needs_signature,
        min_confirmed_percent: 100,
        max_failures: 0,
        max_failed_percent: 100,
        soak_secs: 0,
    }
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
        retry_wait_secs: 0,
        attempt_timeout_secs: 3_600,
        needs_lease: false,
        ward_cap: 1,
        permit_downgrade: false,
        operator_document: Pinned::of("operator/x.json".to_owned(), b""),
    };
    let slots = vec![Slot { start: at(100), end: at(200) }];
    Share {
        terms,
        mine: Some(DeviceSlots { id: "pump-1".parse().unwrap(), wave: 0, steps: vec![], slots }),
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
        tries: BTreeMap::new(),
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
            f.tries.insert((a.terms.id.clone(), digest(2)), Tries::default().spend());
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
fn a_floor_above_the_release_that_brings_it_counts_as_that_release() {
    let mut catalog = catalog();
    for (floor, kept) in [(0, 0), (1, 1), (2, 2), (3, 2), (u64::MAX, 2)] {
        catalog.get_mut("bundles/pump/2/manifest.json").unwrap().2.floor = Release(floor);
        let Selection::Chosen(choice) = select(&facts(1), &catalog, &[approval("a1", 2)], &[], at(50)) else {
            panic!("nothing was chosen");
        };
        assert_eq!(choice.floor, Release(kept));
    }
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

/// Whichever way another approval has led the device since: up, over a release between, or down by a permit.
#[test]
fn an_approval_that_the_device_has_fulfilled_leads_it_nowhere_any_more() {
    let (mut done, next) = (approval("a1", 2), approval("a2", 3));
    done.terms.permit_downgrade = true;
    done.terms.max_attempts = 2;
    let mut facts = facts(2);
    let tried = (done.terms.id.clone(), done.terms.steps[0].sha256);
    facts.tries.insert(tried.clone(), Tries::default().spend().succeed());
    let both = [done.clone(), next];
    let on = |facts: &Facts, approvals: &[Share]| match select(facts, &catalog(), approvals, &[], at(50)) {
        Selection::Chosen(choice) => Ok(choice.approval.to_string()),
        Selection::Nothing { reason, approval } => Err((reason.code, approval.unwrap().to_string())),
    };
    assert_eq!(on(&facts, &both), Ok("a2".to_owned()));
    for runs in [1, 3] {
        facts.running = self::facts(runs).running;
        assert_eq!(on(&facts, &[done.clone()]), Err((Code::AttemptsSpent, "a1".to_owned())), "{runs}");
    }
    // Nor where the hospital stops it and lets it go on, for the sake of others.
    let again = facts.tries[&tried].clone().lifted(u64::MAX);
    facts.tries.insert(tried, again);
    assert_eq!(on(&facts, &[done.clone()]), Err((Code::AttemptsSpent, "a1".to_owned())));
    assert_eq!(on(&facts, &both), Err((Code::UpToDate, "a2".to_owned())));
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
fn steps_are_taken_in_order_and_each_has_its_own_tries() {
    let mut two = approval("a1", 2);
    two.terms.steps.push(step(3));
    let mut tried = facts(2);
    tried.tries.insert((two.terms.id.clone(), digest(2)), Tries::default().spend());
    assert_eq!(code(select(&tried, &catalog(), std::slice::from_ref(&two), &[], at(50))), None);
    tried.tries.insert((two.terms.id.clone(), digest(3)), Tries::default().spend());
    let spent = select(&tried, &catalog(), std::slice::from_ref(&two), &[], at(50));
    assert_eq!(code(spent), Some(Code::AttemptsSpent));
    let chosen = |release| match select(&facts(release), &catalog(), std::slice::from_ref(&two), &[], at(50)) {
        Selection::Chosen(choice) => Some(choice.step.release.0),
        Selection::Nothing { .. } => None,
    };
    assert_eq!((chosen(1), chosen(2), chosen(3)), (Some(2), Some(3), None));
}

/// Releases 2, 4 and 6 in one approval, of which 4 takes no start below 2 and 6 none below 4.
#[test]
fn a_device_begins_with_the_first_step_above_what_runs_and_takes_those_alone_that_are_its_own() {
    let mut entries = Entries::new();
    for (release, least) in [(2, 0), (4, 2), (6, 4)] {
        let s = step(release);
        let (_, _, entry) = catalog().remove("bundles/pump/1/manifest.json").unwrap();
        let entry = CatalogEntry { release: s.release, min_release: Release(least), ..entry };
        entries.insert(s.path, (s.length, s.sha256, entry));
    }
    let mut three = approval("a1", 2);
    three.terms.steps = vec![step(2), step(4), step(6)];
    let begins = |steps: &[u32], runs: u64| {
        let mut share = three.clone();
        share.mine.as_mut().unwrap().steps = steps.to_vec();
        match select(&facts(runs), &entries, &[share], &[], at(50)) {
            Selection::Chosen(choice) => Ok(choice.step.release.0),
            Selection::Nothing { reason, .. } => Err(reason.code),
        }
    };
    let all: Vec<_> = (1..=6).map(|runs| begins(&[], runs)).collect();
    assert_eq!(all, [Ok(2), Ok(4), Ok(4), Ok(6), Ok(6), Err(Code::UpToDate)]);
    // One that runs what no step brings goes on from there: 3 and 5 came by another way.
    assert_eq!(begins(&[1, 2], 3), Ok(4));
    assert_eq!(begins(&[1, 2], 1), Err(Code::TooOldToStart), "the step that it would need is not its own");
    assert_eq!(begins(&[2], 4), Ok(6));
    assert_eq!(begins(&[2], 2), Err(Code::TooOldToStart));
    assert_eq!(begins(&[1, 2], 7), Err(Code::Downgrade), "above all of them, the last is what is asked for");

    // A first step that does not take what runs is passed over for one that does.
    let (_, _, entry) = entries.get_mut("bundles/pump/4/manifest.json").unwrap();
    entry.min_release = Release(3);
    let (_, _, entry) = entries.get_mut("bundles/pump/6/manifest.json").unwrap();
    entry.min_release = Release(1);
    let mut share = three.clone();
    share.mine.as_mut().unwrap().steps = vec![1, 2];
    let chosen = select(&facts(2), &entries, &[share], &[], at(50));
    assert!(matches!(chosen, Selection::Chosen(choice) if choice.step.release == Release(6)));
}
