//! Slots of approvals that were stopped or replaced: taken until they are over, save for their own device.

use super::*;

const TUESDAY: (&str, &str) = ("2026-11-24T01:05:00Z", "2026-11-24T01:25:00Z");

/// Two pumps of one ward, an hour on Tuesday, and an approval that leads to release 4.
fn two(devices: &[&str]) -> Facts {
    let mut facts = facts(vec![device("a", "icu"), device("b", "icu")], vec![calendar("icu", &["tue 02:00 1h"], &[])]);
    let slots: Vec<_> = devices.iter().map(|name| (*name, TUESDAY.0, TUESDAY.1)).collect();
    facts.approvals = vec![approval("other", b"release 4", &slots)];
    facts
}

fn for_a() -> Request {
    let mut request = request();
    request.selector.devices = [id("a")].into();
    request
}

fn start(facts: &Facts, request: &Request, known: &[Known]) -> Timestamp {
    let out = plan(facts, request, known, now()).unwrap();
    assert_eq!(out.recompute(facts).unwrap(), out, "what it was computed from stands in it");
    out.devices[0].slots[0].start
}

#[test]
fn the_slots_of_a_stopped_approval_count_for_a_lift_would_bring_them_back() {
    let mut facts = two(&["a", "b"]);
    let order = StopOrder::next(facts.hdo.clone(), id("other"), None, true, now()).unwrap();
    facts.stops = vec![VerifiedStop::kept(&order.sign(&[]).unwrap()).unwrap()];
    assert_eq!(start(&facts, &for_a(), &[]), at(TUESDAY.1), "b has its slot again once the stop is lifted");
    let replacing = Request { supersedes: [id("other")].into(), ..for_a() };
    assert_eq!(start(&facts, &replacing, &[]), at(TUESDAY.1), "and has it still, where it hears of neither");
}

#[test]
fn the_slots_of_a_replaced_approval_are_taken_for_all_but_their_own_device() {
    let first = at("2026-11-24T01:00:00Z");
    let replacing = Request { supersedes: [id("other")].into(), ..for_a() };
    assert_eq!(start(&two(&["a"]), &replacing, &[]), first, "a is down once, by the old or by the new");
    let both = two(&["a", "b"]);
    assert_eq!(start(&both, &replacing, &[]), at(TUESDAY.1), "b may not have heard of it");
    assert_eq!(start(&both, &Request { cap: 2, ..replacing.clone() }, &[]), first);

    // Replaced before, by one that has nothing to do with these two.
    let mut before = two(&["b"]);
    let mut third = approval("third", b"release 4", &[("elsewhere", TUESDAY.0, TUESDAY.1)]);
    third.terms.supersedes = vec![id("other")];
    before.approvals.push(third);
    assert_eq!(start(&before, &for_a(), &[]), at(TUESDAY.1));

    // Over is over.
    let late = plan(&both, &replacing, &[], at(TUESDAY.1)).unwrap();
    assert_eq!(late.devices[0].slots[0].start, at(TUESDAY.1));
}

/// Attack: a device that was revoked, enrols again under its id, and is confirmed: what was signed for it counts again.
#[test]
fn the_slots_of_a_device_on_no_roster_are_taken_in_every_ward_for_it_may_come_back() {
    let mut facts = two(&["b"]);
    facts.rosters[0].1.devices.retain(|d| d.id.as_str() != "b");
    assert_eq!(start(&facts, &for_a(), &[]), at(TUESDAY.1), "b is in no ward now, and may be in any later");
    assert_eq!(start(&facts, &Request { cap: 2, ..for_a() }, &[]), at("2026-11-24T01:00:00Z"));

    // Replaced, it counts for whoever has not heard of it; what no roster's key proves is no proof.
    let replacing = Request { supersedes: [id("other")].into(), ..for_a() };
    assert_eq!(start(&facts, &replacing, &[]), at(TUESDAY.1));
    let out = plan(&facts, &replacing, &[runs("a", 3), runs("b", 4)], now()).unwrap();
    assert_eq!((out.devices[0].slots[0].start, &out.settled[..]), (at(TUESDAY.1), &[][..]));
    assert_eq!(out.recompute(&facts).unwrap(), out);

    // A hospital that knows it gone for good says so, and signs it.
    let request = Request { reuse_slots: true, ..replacing };
    assert_eq!(start(&facts, &request, &[]), at("2026-11-24T01:00:00Z"));
    assert_eq!(plan(&facts, &request, &[], now()).unwrap().reuses_until, Some(at(TUESDAY.1)));

    // Until they end, and no longer.
    let late = plan(&facts, &for_a(), &[], at(TUESDAY.1)).unwrap();
    assert_eq!(late.devices[0].slots[0].start, at(TUESDAY.1));
}

#[test]
fn a_hospital_may_give_the_slots_out_again_and_that_is_signed() {
    let facts = two(&["a", "b"]);
    let request = Request { supersedes: [id("other")].into(), reuse_slots: true, ..for_a() };
    let out = plan(&facts, &request, &[], now()).unwrap();
    assert_eq!(out.devices[0].slots[0].start, at("2026-11-24T01:00:00Z"));
    assert_eq!(out.reuses_until, Some(at(TUESDAY.1)));
    let strict = plan(&facts, &Request { reuse_slots: false, ..request.clone() }, &[], now()).unwrap();
    assert_eq!(strict.reuses_until, None);
    assert_ne!(strict.digest().unwrap(), out.digest().unwrap());
    // What stays in force beside the plan is never given out.
    let beside = Request { supersedes: BTreeSet::new(), ..request };
    assert_eq!(start(&two(&["b"]), &beside, &[]), at(TUESDAY.1));
}

#[test]
fn a_device_that_has_proven_to_be_done_gives_its_slots_back() {
    let facts = two(&["a", "b"]);
    let (first, later) = (at("2026-11-24T01:00:00Z"), at(TUESDAY.1));
    let replacing = Request { supersedes: [id("other")].into(), ..for_a() };
    let with = |b: Known| start(&facts, &replacing, &[runs("a", 3), b]);
    assert_eq!(with(runs("b", 4)), first);
    assert_eq!(with(unproven("b", 4)), later, "the server says so");
    assert_eq!(with(Known { settled: false, ..runs("b", 4) }), later, "it may fall back and try again");
    assert_eq!(with(runs("b", 3)), later);
    let out = plan(&facts, &replacing, &[runs("a", 3), runs("b", 4)], now()).unwrap();
    assert_eq!(out.settled, [id("b")]);

    // Where another could have led it off that again, and this one back to it, what it once said proves nothing.
    for permits in [0, 1] {
        let mut both = facts.clone();
        both.approvals.push(approval("down", b"release 3", &[("b", TUESDAY.0, TUESDAY.1)]));
        both.approvals[permits].terms.permit_downgrade = true;
        let request = Request { supersedes: [id("other"), id("down")].into(), ..for_a() };
        assert_eq!(start(&both, &request, &[runs("a", 3), runs("b", 4)]), later);
    }
}

#[test]
fn an_approval_is_replaced_by_what_devices_outside_the_plan_have_said_and_that_stands_in_it() {
    let facts = two(&["a", "b"]);
    let out = plan(&facts, &for_a(), &[runs("a", 3), runs("b", 4)], now()).unwrap();
    assert_eq!(out.supersedes, BTreeSet::from([id("other")]), "b is done with it");
    assert_eq!(out.inventory.iter().map(|k| k.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(out.recompute(&facts).unwrap(), out);
}

#[test]
fn who_finds_no_slot_hears_what_it_loses_by_what_was_asked_for_in_whatever_order_approvals_are_listed() {
    let mut facts = two(&["a"]);
    facts.approvals.push(approval("another", b"release 4", &[("a", TUESDAY.0, TUESDAY.1)]));
    let supersedes: BTreeSet<_> = [id("other"), id("another")].into();
    let request = Request { supersedes, deadline: Some(at("2026-11-23T20:00:00Z")), ..for_a() };
    let one = plan(&facts, &request, &[], now()).unwrap();
    let text = &one.blocked[0].reason.text;
    assert!(text.ends_with("approval another, by which it has slots, is replaced all the same"), "{text}");
    facts.approvals.reverse();
    assert_eq!(plan(&facts, &request, &[], now()).unwrap(), one);
}

#[test]
fn planned_again_every_device_keeps_its_place() {
    let devices: Vec<_> = (0..6).map(|n| device(&format!("d{n}"), "icu")).collect();
    let mut facts = facts(devices, vec![calendar("icu", &["daily 02:00 2h"], &[])]);
    let waves = vec![WaveSpec { size: WaveSize::Rest, gate: gate(0) }];
    let first = Request { waves, slots_per_device: 2, ..request() };
    let old = plan(&facts, &first, &[], now()).unwrap();
    facts.approvals = vec![old.to_approval(&signing(), now()).unwrap().0];
    let again = Request { approval: id("again"), supersedes: [id("pump-5")].into(), ..first };
    assert_eq!(plan(&facts, &again, &[], now()).unwrap().devices, old.devices);
}
