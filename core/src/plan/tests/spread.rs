//! Starts that are spread, deadlines, and what a slot is not given up for.

use super::*;

fn wards(devices: usize, wards: usize) -> Vec<RosterDevice> {
    (0..devices).map(|n| device(&format!("d{n:03}"), &format!("w{}", n % wards))).collect()
}

fn at_once(cap: u32, spread_secs: Option<u32>) -> Request {
    let waves = vec![WaveSpec { size: WaveSize::Rest, gate: gate(0) }];
    Request { waves, cap, spread_secs, ..request() }
}

fn starts(plan: &Plan) -> Vec<i64> {
    let first = at("2026-11-24T01:00:00Z");
    plan.devices.iter().map(|d| d.slots[0].start.duration_since(first).as_secs()).collect()
}

#[test]
fn nothing_stampedes_at_an_openings_first_instant() {
    let calendars: Vec<_> = (0..10).map(|n| calendar(&format!("w{n}"), &["tue 02:00 2h"], &[])).collect();
    let facts = facts(wards(40, 10), calendars);
    let out = plan(&facts, &at_once(4, Some(0)), &[], now()).unwrap();
    assert_eq!(starts(&out), [0; 40], "unless they are told to");
    let out = plan(&facts, &at_once(4, None), &[], now()).unwrap();
    assert_eq!(starts(&out), (0..40).collect::<Vec<_>>(), "a second apart, where nobody said how far");
    let out = plan(&facts, &at_once(4, Some(600)), &[], now()).unwrap();
    assert_eq!(starts(&out), (0..40).map(|n| n * 15).collect::<Vec<_>>());
    assert_eq!(out.recompute(&facts).unwrap(), out);

    // One device alone begins at once.
    let mut alone = at_once(4, Some(600));
    alone.selector.devices = [id("d000")].into();
    assert_eq!(starts(&plan(&facts, &alone, &[], now()).unwrap()), [0]);
}

#[test]
fn spreading_takes_no_more_than_the_room_that_an_opening_has_left() {
    // Twenty minutes each, one at a time: of two hours six devices leave nothing, and five leave twenty minutes.
    let calendars = || vec![calendar("w0", &["tue 02:00 2h"], &[])];
    let six = facts(wards(6, 1), calendars());
    let out = plan(&six, &at_once(1, Some(3_600)), &[], now()).unwrap();
    assert_eq!(starts(&out), [0, 1_200, 2_400, 3_600, 4_800, 6_000]);
    let five = facts(wards(5, 1), calendars());
    let out = plan(&five, &at_once(1, Some(3_600)), &[], now()).unwrap();
    assert!(out.devices.iter().all(|d| d.slots[0].end <= at("2026-11-24T03:00:00Z")), "{:?}", starts(&out));

    // Where another approval has what would have been room, the spread gives way and the night is not lost.
    let mut taken = facts(wards(2, 1), calendars());
    taken.rosters[0].1.devices.push(device("other", "w0"));
    let (start, end) = ("2026-11-24T01:20:00Z", "2026-11-24T03:00:00Z");
    taken.approvals = vec![approval("other", b"other", &[("other", start, end)])];
    let mut request = at_once(1, Some(3_600));
    request.selector.devices = [id("d000"), id("d001")].into();
    let out = plan(&taken, &request, &[], now()).unwrap();
    assert_eq!(starts(&out)[0], 0);
}

#[test]
fn no_slot_ends_after_the_deadline_and_who_finds_none_is_left_out_for_it() {
    let facts = facts(wards(5, 1), vec![calendar("w0", &["tue,thu 02:00 1h"], &[])]);
    let plan_by = |deadline: Option<&str>, horizon_secs| {
        let request = Request { deadline: deadline.map(at), horizon_secs, ..at_once(1, Some(0)) };
        plan(&facts, &request, &[], now()).unwrap()
    };
    let long = 14 * 86_400;
    let out = plan_by(Some("2026-11-25T00:00:00Z"), long);
    assert_eq!(out.devices.len(), 3, "those of Tuesday");
    assert_eq!(reasons(&out), BTreeMap::from([("d003", Code::PastDeadline), ("d004", Code::PastDeadline)]));
    assert!(out.blocked[0].reason.text.contains("the deadline, 2026-11-25T00:00:00Z"), "{}", out.blocked[0].reason);
    assert!(out.expires <= at("2026-11-25T00:00:00Z"));
    // A slot that would end a second after it is none.
    let out = plan_by(Some("2026-11-24T01:59:59Z"), long);
    assert_eq!(out.devices.len(), 2);
    assert!(plan_by(Some("2026-11-26T02:00:00Z"), long).blocked.is_empty());
    // Whichever comes first is the reason.
    let out = plan_by(Some("2026-12-24T00:00:00Z"), 86_400);
    assert_eq!(reasons(&out), BTreeMap::from([("d003", Code::NoOpening), ("d004", Code::NoOpening)]));

    let past = Request { deadline: Some(now()), ..at_once(1, None) };
    assert!(matches!(plan(&facts, &past, &[], now()), Err(PlanError::Request(_))));
    let spread = Request { spread_secs: Some(86_401), ..request() };
    assert!(matches!(plan(&facts, &spread, &[], now()), Err(PlanError::Request(_))));
}
