//! Ways over other releases, and around what the manufacturer warns of.

use super::*;
use crate::manifest::Risk;

/// Release `n`, which takes `least` or later as a start.
pub(super) fn release(n: u64, least: u64) -> Bundle {
    let step = Step {
        path: format!("bundles/pump/{n}/manifest.json"),
        sha256: Digest::of(format!("release {n}").as_bytes()),
        release: Release(n),
        ..bundle().step
    };
    Bundle { step, version: format!("{n}.0.0").parse().unwrap(), min_release: Release(least), ..bundle() }
}

fn risk(from: &str, hardware: &[&str]) -> Risk {
    Risk {
        from: from.parse().unwrap(),
        hardware: hardware.iter().map(|h| id(h)).collect(),
        text: "the alarm stays silent".to_owned(),
        url: "https://acme.example/fsn/12".to_owned(),
    }
}

/// Pumps in `icu`, each named for what it runs, and the releases that lead to 7.
pub(super) fn world(devices: &[(&str, u64)], mut releases: Vec<Bundle>) -> (Facts, Vec<Known>) {
    let roster = devices.iter().map(|(name, _)| device(name, "icu")).collect();
    let mut facts = facts(roster, vec![calendar("icu", &["daily 02:00 4h"], &[])]);
    facts.bundle = releases.pop().unwrap();
    let status = |b: &Bundle| Floor { release: b.step.release, floor: Release(0), status: b.status };
    facts.bundle.floors = releases.iter().chain([&facts.bundle]).map(status).collect();
    facts.releases = releases;
    let inventory = devices.iter().map(|(name, runs_release)| runs(name, *runs_release)).collect();
    (facts, inventory)
}

pub(super) fn everyone() -> Request {
    let waves = vec![WaveSpec { size: WaveSize::Rest, gate: gate(0) }];
    Request { waves, slots_per_device: 2, ..request() }
}

/// By device, the releases that it installs.
fn ways(plan: &Plan) -> BTreeMap<&str, Vec<u64>> {
    let steps: Vec<u64> = plan.steps().map(|b| b.step.release.0).collect();
    let way = |d: &DeviceSlots| match d.steps.as_slice() {
        [] => steps.clone(),
        some => some.iter().map(|n| steps[*n as usize]).collect(),
    };
    plan.devices.iter().map(|d| (d.id.as_str(), way(d))).collect()
}

#[test]
fn a_device_that_is_too_old_goes_by_way_of_releases_that_take_it_and_shares_the_approval() {
    let mut third = release(3, 1);
    third.budget_secs = 1_500;
    let releases = vec![release(2, 0), third, release(5, 3), release(7, 3)];
    let (facts, inventory) = world(&[("one", 1), ("six", 6), ("three", 3), ("two", 2)], releases);
    let out = plan(&facts, &everyone(), &inventory, now()).unwrap();
    let expected = [("one", vec![3, 7]), ("six", vec![7]), ("three", vec![7]), ("two", vec![3, 7])];
    assert_eq!(ways(&out), BTreeMap::from(expected), "5 is not needed, and 2 takes nobody further than 3 does");
    assert_eq!(out.way.iter().map(|b| b.step.release.0).collect::<Vec<_>>(), [3]);

    // A slot for each step, the next when the one before has ended, each long enough for the longer of the two; and then
    // as many again.
    let length = SignedDuration::from_secs(1_500 + 300 + 300);
    let one = &out.devices[0];
    assert_eq!((one.slots.len(), out.devices[1].slots.len()), (4, 2));
    assert!(out.devices.iter().flat_map(|d| &d.slots).all(|s| s.end.duration_since(s.start) == length));
    assert_eq!(one.slots[1].start, one.slots[0].end);
    let turn = |d: &DeviceSlots| d.slots[out.steps_of(d) - 1].end;
    assert_eq!(out.expected_finish, out.devices.iter().map(turn).max().unwrap(), "when the last step has had its turn");
    assert_eq!(out.waves[0].ends, out.expected_finish);

    let (approval, _) = out.to_approval(&signing(), now()).unwrap();
    assert_eq!(approval.terms.steps.iter().map(|s| s.release.0).collect::<Vec<_>>(), [3, 7]);
    assert!(approval.seal().is_ok());
    assert_eq!(out.recompute(&facts).unwrap(), out);

    // With one slot left where two steps are to be taken, it is too late.
    let late = |d: &DeviceSlots| d.slots[d.slots.len() - 1].start;
    assert_eq!(out.lost(late(one)), [&id::<DeviceId>("one")], "the others have later slots, as many as they need");
}

#[test]
fn where_no_way_leads_the_reason_says_so() {
    let withdrawn = |mut b: Bundle| {
        b.status = Status::Withdrawn;
        b
    };
    let other_board = |mut b: Bundle| {
        b.step.hardware = vec![id("rev-b")];
        b
    };
    for (releases, said) in [
        (vec![release(7, 3)], "no other release that the manufacturer lists"),
        (vec![withdrawn(release(3, 1)), release(7, 3)], "no other release that the manufacturer lists"),
        (vec![other_board(release(3, 1)), release(7, 3)], "no other release that the manufacturer lists"),
        (vec![release(2, 1), release(7, 3)], "release 2 could be installed on it, and none of them leads on"),
    ] {
        let (facts, inventory) = world(&[("one", 1), ("six", 6)], releases);
        let out = plan(&facts, &everyone(), &inventory, now()).unwrap();
        assert_eq!(reasons(&out), BTreeMap::from([("one", Code::TooOldToStart)]));
        assert!(out.blocked[0].reason.text.contains(said), "{}", out.blocked[0].reason);
        assert!(out.blocked[0].reason.text.contains("its signed report says that it runs release 1"));
        assert_eq!(ways(&out), BTreeMap::from([("six", vec![7])]));
        assert!(out.way.is_empty(), "nobody needs what nobody is left for");
    }
    // A security floor that a release has brought is not gone below on the way.
    let (mut facts, inventory) = world(&[("one", 1)], vec![release(3, 1), release(7, 3)]);
    facts.bundle.floors[0] = Floor { release: Release(1), floor: Release(4), status: Status::Current };
    let out = plan(&facts, &everyone(), &inventory, now()).unwrap();
    assert_eq!(reasons(&out), BTreeMap::from([("one", Code::TooOldToStart)]));
}

#[test]
fn a_way_goes_around_what_the_manufacturer_warns_of_or_is_blocked_with_the_warning() {
    let mut seventh = release(7, 1);
    seventh.risks = vec![risk("1..2", &["rev-a"])];
    let (facts, inventory) = world(&[("one", 1), ("two", 2), ("three", 3)], vec![release(4, 2), seventh.clone()]);
    let mut other = facts.clone();
    let out = plan(&facts, &everyone(), &inventory, now()).unwrap();
    assert_eq!(ways(&out), BTreeMap::from([("two", vec![4, 7]), ("three", vec![7])]));
    assert_eq!(reasons(&out), BTreeMap::from([("one", Code::KnownRisk)]));
    let text = &out.blocked[0].reason.text;
    assert!(text.contains("the alarm stays silent (https://acme.example/fsn/12)"), "{text}");

    // On a board that it is not about, nothing is in the way.
    other.rosters[0].1.devices.iter_mut().for_each(|d| d.hardware = id("rev-b"));
    let out = plan(&other, &everyone(), &inventory, now()).unwrap();
    assert_eq!((ways(&out).len(), out.blocked.len(), out.way.len()), (3, 0, 0));

    // A warning of an edge on the way is gone around too, and one of a way down holds as well.
    let mut fourth = release(4, 1);
    fourth.risks = vec![risk("1", &[])];
    let (facts, inventory) = world(&[("one", 1)], vec![release(3, 1), fourth, release(7, 3)]);
    let out = plan(&facts, &everyone(), &inventory, now()).unwrap();
    assert_eq!(ways(&out), BTreeMap::from([("one", vec![3, 7])]));
    let mut down = release(7, 1);
    down.risks = vec![risk("9", &[])];
    let (facts, inventory) = world(&[("nine", 9)], vec![down]);
    let out = plan(&facts, &Request { permit_downgrade: true, ..everyone() }, &inventory, now()).unwrap();
    assert_eq!(reasons(&out), BTreeMap::from([("nine", Code::KnownRisk)]));
}

#[test]
fn ways_that_need_more_steps_than_an_approval_has_are_left_out_and_the_short_ones_stay() {
    // A chain from 1 to 40, one release at a time; and from 30 on one may leap.
    let chain: Vec<Bundle> = (2..=39).map(|n| release(n, n - 1)).chain([release(40, 30)]).collect();
    let (facts, inventory) = world(&[("early", 2), ("late", 25), ("near", 35)], chain);
    let out = plan(&facts, &everyone(), &inventory, now()).unwrap();
    assert_eq!(ways(&out)["near"], [40]);
    assert_eq!(ways(&out)["late"], [26, 27, 28, 29, 30, 40]);
    assert_eq!(reasons(&out), BTreeMap::from([("early", Code::TooOldToStart)]));
    assert!(out.blocked[0].reason.text.contains("takes 29 steps"), "{}", out.blocked[0].reason);
    // Six steps in each turn leave a device room for two turns, and no slot beyond the bound.
    let lots = plan(&facts, &Request { slots_per_device: 16, ..everyone() }, &inventory, now()).unwrap();
    assert_eq!(lots.devices.iter().map(|d| d.slots.len()).collect::<Vec<_>>(), [12, 16]);

    // Two boards of which each has releases of its own: together they are too many.
    let board = |mut b: Bundle, hardware: &str| {
        b.step.hardware = vec![id(hardware)];
        b
    };
    let own = |hardware, odd| (2..=20).filter(move |n| n % 2 == odd).map(move |n| board(release(n, n - 2), hardware));
    let mut releases: Vec<Bundle> = own("rev-a", 0).chain(own("rev-b", 1)).collect();
    releases.sort_by_key(|b| b.step.release);
    releases.push(release(40, 19));
    let (mut facts, inventory) = world(&[("a", 2), ("b", 1)], releases);
    facts.rosters[0].1.devices[1].hardware = id("rev-b");
    let out = plan(&facts, &everyone(), &inventory, now()).unwrap();
    assert_eq!(reasons(&out), BTreeMap::from([("a", Code::TooManySteps)]), "{:?}", out.blocked);
    assert!(out.steps().count() <= MAX_STEPS);
}

#[test]
fn who_loses_the_way_back_is_listed_with_the_reason() {
    let (mut facts, mut inventory) =
        world(&[("a", 3), ("b", 4), ("c", 5), ("d", 6), ("e", 6)], vec![release(4, 0), release(5, 0), release(7, 3)]);
    inventory.pop();
    facts.bundle.floors = vec![
        Floor { release: Release(4), floor: Release(0), status: Status::Withdrawn },
        Floor { release: Release(5), floor: Release(0), status: Status::Superseded },
    ];
    let told = |facts: &Facts| {
        let out = plan(facts, &everyone(), &inventory, now()).unwrap();
        out.no_way_back.iter().map(|b| (b.id.to_string(), b.reason.code)).collect::<Vec<_>>()
    };
    let row = |name: &str, code| (name.to_owned(), code);
    assert_eq!(
        told(&facts),
        [row("a", Code::NotInCatalog), row("b", Code::Withdrawn), row("d", Code::NotInCatalog)],
        "5 is there to be had, and of e nothing is known that would be lost"
    );
    facts.bundle.floors.push(Floor { release: Release(7), floor: Release(5), status: Status::Current });
    assert_eq!(
        told(&facts),
        [
            row("a", Code::BelowFloor),
            row("b", Code::BelowFloor),
            row("d", Code::NotInCatalog),
            row("e", Code::RunningUnknown)
        ]
    );
}

/// By trying all: the fewest steps from a release to the last of `releases`, over at most a handful.
fn fewest(from: u64, hardware: &str, releases: &[Bundle]) -> Option<usize> {
    let last = releases.last().unwrap();
    let mut reached = BTreeSet::from([from]);
    for steps in 1..=releases.len() {
        let next = |r: &u64| {
            let r = *r;
            releases
                .iter()
                .filter(move |b| {
                    r < b.step.release.0
                        && b.min_release.0 <= r
                        && b.status != Status::Withdrawn
                        && b.step.hardware.contains(&id(hardware))
                        && b.risks.iter().all(|k| !k.binds(Release(r), &id(hardware)))
                })
                .map(|b| b.step.release.0)
        };
        reached = reached.iter().flat_map(next).collect();
        if reached.contains(&last.step.release.0) {
            return Some(steps);
        }
    }
    None
}

proptest! {
    /// Against trying all ways: a device is planned by one of the fewest steps, each of which the manufacturer lets it take;
    /// where there is none, it is left out.
    #[test]
    fn a_way_is_one_that_the_manufacturer_allows_and_none_is_shorter(
        between in prop::collection::vec((0u64..9, 0u8..4, prop::option::of((1u64..9, 0u64..3))), 8),
        starts in prop::collection::vec((1u64..9, any::<bool>()), 1..6),
    ) {
        let releases: Vec<Bundle> = (2u64..).zip(&between).map(|(n, (least, kind, warned))| {
            let mut b = release(n, (*least).min(n - 1));
            // The last can be had on every board, and is not withdrawn: the others as it comes.
            if n < 9 {
                match kind {
                    0 => b.status = Status::Withdrawn,
                    1 => b.step.hardware = vec![id("rev-b")],
                    _ => {}
                }
            }
            b.risks = warned.iter().map(|(from, more)| risk(&format!("{from}..{}", from + more), &["rev-a"])).collect();
            b
        }).collect();
        let names: Vec<String> = (0..starts.len()).map(|n| format!("d{n}")).collect();
        let devices: Vec<(&str, u64)> = names.iter().map(String::as_str).zip(starts.iter().map(|s| s.0)).collect();
        let (mut facts, inventory) = world(&devices, releases.clone());
        for (device, (_, other)) in facts.rosters[0].1.devices.iter_mut().zip(&starts) {
            device.hardware = id(if *other { "rev-b" } else { "rev-a" });
        }
        let out = plan(&facts, &everyone(), &inventory, now()).unwrap();
        let ways = ways(&out);
        for ((name, runs), (_, other)) in devices.iter().zip(&starts) {
            let hardware = if *other { "rev-b" } else { "rev-a" };
            let expected = fewest(*runs, hardware, &releases);
            prop_assert_eq!(ways.get(name).map(Vec::len), expected, "{} runs {} on {}", name, runs, hardware);
            let mut at = *runs;
            for to in ways.get(name).into_iter().flatten() {
                let b = releases.iter().find(|b| b.step.release.0 == *to).unwrap();
                prop_assert!(b.min_release.0 <= at && at < *to && b.status != Status::Withdrawn);
                prop_assert!(b.step.hardware.contains(&id(hardware)) && b.risk(Release(at), &id(hardware)).is_none());
                at = *to;
            }
        }
        if !out.devices.is_empty() {
            prop_assert!(out.to_approval(&signing(), now()).unwrap().0.seal().is_ok());
        }
    }
}
