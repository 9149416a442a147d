mod installs;
mod replaced;
mod rules;
mod spread;
mod ways;

use std::collections::BTreeMap;

use super::*;
use crate::approval::{Part, RosterDevice, Step, StopOrder, Terms, path};
use crate::label::{LabelSelector, Labels};
use crate::manifest::{InstallKind, PatchClass};
use crate::phase::Code;
use crate::sign::{LocalKey, Signer as _};
use crate::trust::Status;
use crate::version::Release;
use crate::window::{Freeze, Opening, Scope, Window, openings};
use jiff::SignedDuration;
use proptest::prelude::*;

fn id<T: std::str::FromStr<Err = crate::id::IdError>>(text: &str) -> T {
    text.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Monday.
fn now() -> Timestamp {
    at("2026-11-23T12:00:00Z")
}

fn bundle() -> Bundle {
    Bundle {
        step: Step {
            path: "bundles/pump/5/manifest.json".to_owned(),
            length: 900,
            sha256: Digest::of(b"release 5"),
            product: id("pump"),
            release: Release(5),
            hardware: vec![id("rev-a"), id("rev-b")],
        },
        version: "5.0.0".parse().unwrap(),
        class: PatchClass::Routine,
        min_release: Release(3),
        status: Status::Current,
        floors: vec![
            Floor { release: Release(5), floor: Release(3), status: Status::Current },
            Floor { release: Release(9), floor: Release(6), status: Status::Current },
        ],
        budget_secs: 600,
        revert_budget_secs: 300,
        return_to_service: false,
        installer: InstallKind::Slots,
        data: None,
        payload_bytes: 1 << 20,
        risks: Vec::new(),
    }
}

fn device(name: &str, ward: &str) -> RosterDevice {
    let key = LocalKey::from_seed(&zeroize::Zeroizing::new([1; 32]));
    RosterDevice {
        id: id(name),
        report_key: key.public(),
        product: id("pump"),
        hardware: id("rev-a"),
        ward: id(ward),
        labels: Labels::default(),
    }
}

fn pinned(path: String) -> Pinned {
    Pinned { length: 1, sha256: Digest::of(path.as_bytes()), path }
}

fn calendar(ward: &str, windows: &[&str], freezes: &[&str]) -> (Pinned, Calendar) {
    let scope = Scope::Ward(id(ward));
    let calendar = Calendar {
        windows: windows.iter().map(|w| Window::parse_weekly(w).unwrap()).collect(),
        freezes: freezes.iter().map(|f| f.parse::<Freeze>().unwrap()).collect(),
        ..Calendar::empty(id("riverside"), scope.clone(), "Europe/Vienna".to_owned())
    };
    (pinned(path::calendar(&scope)), calendar)
}

fn facts(devices: Vec<RosterDevice>, calendars: Vec<(Pinned, Calendar)>) -> Facts {
    let roster = Roster::new(id("riverside"), Part::ALL, devices);
    Facts {
        hdo: id("riverside"),
        bundle: bundle(),
        releases: Vec::new(),
        rosters: vec![(pinned(path::roster(Part::ALL)), roster)],
        calendars,
        approvals: Vec::new(),
        stops: Vec::new(),
    }
}

fn gate(soak_secs: u32) -> Wave {
    Wave {
        needs_server: true,
        needs_signature: false,
        min_confirmed_percent: 100,
        max_failures: 0,
        max_failed_percent: 100,
        soak_secs,
    }
}

fn request() -> Request {
    let wave = |size| WaveSpec { size, gate: gate(0) };
    Request {
        approval: id("pump-5"),
        selector: Selector::default(),
        waves: vec![wave(WaveSize::Count(1)), wave(WaveSize::Rest)],
        cap: 1,
        slack_secs: 300,
        slots_per_device: 1,
        not_before: now(),
        spread_secs: Some(0),
        horizon_secs: 14 * 86_400,
        deadline: None,
        max_attempts: 1,
        retry_wait_secs: 0,
        attempt_timeout_secs: 3_600,
        leases: false,
        permit_downgrade: false,
        supersedes: BTreeSet::new(),
        reuse_slots: false,
        ticket: "CHG-1".to_owned(),
    }
}

fn runs(name: &str, release: u64) -> Known {
    let running = Running {
        version: format!("{release}.0.0").parse().unwrap(),
        release: Release(release),
        manifest: Digest::of(format!("release {release}").as_bytes()),
    };
    Known {
        id: id(name),
        ward: None,
        product: None,
        running: Some(running),
        installs: None,
        proven: true,
        settled: true,
    }
}

fn unproven(name: &str, release: u64) -> Known {
    Known { proven: false, settled: false, ..runs(name, release) }
}

fn approval(name: &str, manifest: &[u8], devices: &[(&str, &str, &str)]) -> Approval {
    let slots = |(device, start, end): &(&str, &str, &str)| DeviceSlots {
        steps: Vec::new(),
        id: id(device),
        wave: 0,
        slots: vec![Slot { start: at(start), end: at(end) }],
    };
    let terms = Terms {
        id: id(name),
        hdo: id("riverside"),
        created: now(),
        expires: at("2026-12-31T00:00:00Z"),
        steps: vec![Step { sha256: Digest::of(manifest), ..bundle().step }],
        supersedes: Vec::new(),
        waves: vec![gate(0)],
        max_attempts: 1,
        retry_wait_secs: 0,
        attempt_timeout_secs: 3_600,
        needs_lease: false,
        ward_cap: 1,
        permit_downgrade: false,
        operator_document: pinned(path::operator_document(&id(name))),
    };
    Approval { terms, devices: devices.iter().map(slots).collect() }
}

fn reasons(plan: &Plan) -> BTreeMap<&str, Code> {
    plan.blocked.iter().map(|b| (b.id.as_str(), b.reason.code)).collect()
}

#[test]
fn one_ward_with_a_cap_of_one_takes_its_devices_one_after_another() {
    let devices = vec![device("p1", "icu"), device("p2", "icu"), device("p3", "icu")];
    let facts = facts(devices, vec![calendar("icu", &["tue 02:00 1h"], &[])]);
    let plan = plan(&facts, &request(), &[], now()).unwrap();
    let slots: Vec<_> = plan.devices.iter().map(|d| (d.id.as_str(), d.wave, d.slots[0].start.to_string())).collect();
    assert_eq!(
        slots,
        [
            ("p1", 0, "2026-11-24T01:00:00Z".to_owned()),
            ("p2", 1, "2026-11-24T01:20:00Z".to_owned()),
            ("p3", 1, "2026-11-24T01:40:00Z".to_owned())
        ]
    );
    assert_eq!(plan.expected_finish, at("2026-11-24T02:00:00Z"));
    assert_eq!((plan.waves[0].devices, plan.waves[1].devices), (1, 2));
    assert_eq!(plan.wards[0].zone, "Europe/Vienna");
}

/// A calendar of the hospital or of one device.
fn layer(scope: Scope, windows: &[&str], freezes: &[&str]) -> (Pinned, Calendar) {
    let (_, calendar) = calendar("icu", windows, freezes);
    (pinned(path::calendar(&scope)), Calendar { scope, ..calendar })
}

#[test]
fn the_hospitals_calendar_and_a_devices_own_narrow_its_wards() {
    let devices = vec![device("p1", "icu"), device("p2", "icu"), device("p3", "attic")];
    let hospital = layer(Scope::Hospital, &[], &["2026-11-24"]);
    let own = layer(Scope::Device(id("p1")), &["daily 03:00 2h"], &[]);
    let pins = vec![own.0.clone(), hospital.0.clone(), pinned(path::calendar(&Scope::Ward(id("icu"))))];
    let calendars = vec![calendar("icu", &["daily 02:00 2h"], &[]), hospital, own];
    let facts = facts(devices, calendars);
    let out = plan(&facts, &request(), &[], now()).unwrap();
    assert_eq!(reasons(&out), BTreeMap::from([("p3", Code::NoCalendar)]), "a freeze opens nothing");
    let slots: Vec<_> = out.devices.iter().map(|d| (d.id.as_str(), d.slots[0].start.to_string())).collect();
    assert_eq!(
        slots,
        [("p1", "2026-11-25T02:00:00Z".to_owned()), ("p2", "2026-11-25T02:20:00Z".to_owned())],
        "Tuesday is frozen; p2 is in the wave after p1's"
    );
    assert_eq!(out.wards[0].calendars, pins);

    // What p1 cannot use of its ward's time, another can.
    let all = vec![WaveSpec { size: WaveSize::Rest, gate: gate(0) }];
    let out = plan(&facts, &Request { waves: all, ..request() }, &[], now()).unwrap();
    assert_eq!(out.devices[1].slots[0].start, at("2026-11-25T01:00:00Z"));

    // With windows of its own, the hospital's calendar is enough for a ward that has none.
    let facts = Facts { calendars: vec![layer(Scope::Hospital, &["daily 02:00 2h"], &[])], ..facts };
    assert!(plan(&facts, &request(), &[], now()).unwrap().blocked.is_empty());
}

#[test]
fn a_calendar_that_cannot_be_used_is_named() {
    let mut broken = calendar("icu", &["daily 02:00 2h"], &[]);
    broken.1.zone = "Europe/Wien".to_owned();
    let out = plan(&facts(vec![device("p1", "icu")], vec![broken]), &request(), &[], now()).unwrap();
    assert_eq!(reasons(&out), BTreeMap::from([("p1", Code::NoCalendar)]));
    assert!(out.blocked[0].reason.text.contains("Europe/Wien"), "{:?}", out.blocked);
}

#[test]
fn a_device_that_missed_a_turn_does_not_overtake_the_waves_before_it_in_the_next() {
    let devices = vec![device("a", "icu"), device("b", "lab")];
    let calendars = vec![calendar("icu", &["tue 02:00 20m"], &[]), calendar("lab", &["thu,fri 02:00 20m"], &[])];
    // Until Tuesday week: a's second chance is the last thing that fits, so b, in the wave after it, has none.
    let request = Request { slots_per_device: 3, horizon_secs: 8 * 86_400, ..request() };
    let plan = plan(&facts(devices, calendars), &request, &[], now()).unwrap();
    let starts = |i: usize| plan.devices[i].slots.iter().map(|s| s.start).collect::<Vec<_>>();
    assert_eq!(starts(0), [at("2026-11-24T01:00:00Z"), at("2026-12-01T01:00:00Z")]);
    assert_eq!(starts(1), [at("2026-11-26T01:00:00Z")], "Friday would be before a's second turn");
}

#[test]
fn each_device_that_is_left_out_has_its_own_reason() {
    let mut devices = vec![
        device("ahead", "icu"),
        device("ancient", "icu"),
        device("current", "icu"),
        device("monitor", "icu"),
        device("nowhere", "attic"),
        device("old-board", "icu"),
        device("secured", "icu"),
        device("sleeper", "lab"),
    ];
    devices[3].product = id("monitor");
    devices[5].hardware = id("rev-0");
    let calendars = vec![calendar("icu", &["tue 02:00 1h"], &[]), calendar("lab", &["mon 02:00 19m"], &[])];
    let mut facts = facts(devices, calendars);
    let inventory = [
        runs("ahead", 7),
        runs("ancient", 2),
        runs("current", 5),
        runs("secured", 9),
        Known { running: None, ward: Some(id("icu")), product: Some(id("pump")), ..unproven("pending", 1) },
    ];
    let mut request = request();
    let out = plan(&facts, &request, &inventory, now()).unwrap();
    let mut expected = BTreeMap::from([
        ("ahead", Code::Downgrade),
        ("ancient", Code::TooOldToStart),
        ("current", Code::UpToDate),
        ("nowhere", Code::NoCalendar),
        ("old-board", Code::WrongHardware),
        ("pending", Code::Pending),
        ("secured", Code::BelowFloor),
        ("sleeper", Code::NoOpening),
    ]);
    assert_eq!(reasons(&out), expected, "a monitor is not among all pumps");
    assert!(out.devices.is_empty());
    assert!(out.to_approval(&signing(), now()).is_err(), "nothing is approved for nobody");

    // A permit is no way below the floor.
    request.permit_downgrade = true;
    request.selector.wards = [id("icu"), id("lab")].into();
    request.selector.devices = [id("monitor"), id("ghost")].into();
    let out = plan(&facts, &request, &inventory, now()).unwrap();
    expected.retain(|name, _| !["ahead", "nowhere"].contains(name));
    expected.extend([("monitor", Code::WrongProduct), ("ghost", Code::Pending)]);
    assert_eq!(reasons(&out), expected);
    assert_eq!(out.devices.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["ahead"]);

    facts.bundle.status = Status::Withdrawn;
    let out = plan(&facts, &request, &inventory, now()).unwrap();
    assert!(reasons(&out).iter().all(|(name, code)| *code == Code::Withdrawn || ["pending", "ghost"].contains(name)));
}

#[test]
fn devices_are_selected_by_signed_labels_and_by_what_they_run() {
    let labelled =
        |name: &str, ward: &str, labels: &str| RosterDevice { labels: labels.parse().unwrap(), ..device(name, ward) };
    let devices = vec![
        labelled("a", "icu", "area=icu kind=bedside"),
        labelled("b", "icu", "area=icu kind=mobile"),
        labelled("c", "lab", "area=lab kind=bedside"),
        labelled("d", "lab", "kind=bedside"),
    ];
    let calendars = vec![calendar("icu", &["daily 02:00 3h"], &[]), calendar("lab", &["daily 02:00 3h"], &[])];
    let facts = facts(devices, calendars);
    let stranger = |running| Known { running, ward: Some(id("icu")), product: Some(id("pump")), ..unproven("e", 1) };
    let silent = |name: &str| Known { running: None, ..runs(name, 1) };
    let inventory = [runs("a", 3), runs("b", 4), runs("c", 4), silent("d"), stranger(None)];
    let planned = |selector: Selector| {
        let out = plan(&facts, &Request { selector, ..request() }, &inventory, now()).unwrap();
        let left_out: Vec<_> = reasons(&out).into_iter().map(|(name, code)| (name.to_owned(), code)).collect();
        assert_eq!(out.recompute(&facts).unwrap(), out, "what it was computed from stands in it");
        (out.devices.iter().map(|d| d.id.to_string()).collect::<Vec<_>>().join(" "), left_out)
    };
    let labels = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<LabelSelector>();
    let of = |texts: &[&str]| Selector { labels: labels(texts), ..Selector::default() };
    let pending = ("e".to_owned(), Code::Pending);
    assert_eq!(planned(Selector::default()), ("a b c d".to_owned(), vec![pending.clone()]));
    assert_eq!(planned(of(&["kind=bedside"])), ("a c d".to_owned(), vec![]), "nobody has signed labels for e");
    assert_eq!(planned(of(&["kind=bedside", "area=icu"])).0, "a");
    assert_eq!(planned(of(&["kind=bedside", "area=icu", "area=lab"])).0, "a c");
    assert_eq!(planned(Selector { wards: [id("lab")].into(), ..of(&["kind=bedside"]) }).0, "c d");
    assert_eq!(planned(Selector { devices: [id("b")].into(), ..of(&["area=lab"]) }).0, "b c");

    let running = |range: &str, selector| Selector { running: Some(range.parse().unwrap()), ..selector };
    let unknown = |name: &str| (name.to_owned(), Code::RunningUnknown);
    assert_eq!(planned(running("3", Selector::default())), ("a".to_owned(), vec![unknown("d"), pending]));
    let icu = Selector { wards: [id("icu")].into(), ..of(&["area=icu"]) };
    assert_eq!(planned(running("4..9", icu)), ("b".to_owned(), vec![]));
    let named = Selector { devices: [id("a"), id("b"), id("d")].into(), ..Selector::default() };
    let other = ("a".to_owned(), Code::OtherRelease);
    assert_eq!(planned(running("4", named)), ("b".to_owned(), vec![other, unknown("d")]));
}

#[test]
fn a_wave_is_filled_up_with_the_next_device_that_has_an_opening() {
    let devices = vec![device("a", "lab"), device("b", "icu"), device("c", "icu")];
    let facts =
        facts(devices, vec![calendar("icu", &["daily 02:00 3h"], &[]), calendar("lab", &["mon 02:00 19m"], &[])]);
    let out = plan(&facts, &request(), &[], now()).unwrap();
    assert_eq!(reasons(&out), BTreeMap::from([("a", Code::NoOpening)]));
    assert_eq!(out.devices.iter().map(|d| (d.id.as_str(), d.wave)).collect::<Vec<_>>(), [("b", 0), ("c", 1)]);
}

#[test]
fn who_finds_no_room_in_as_many_openings_as_are_looked_at_hears_until_when_they_go() {
    let mut hourly = calendar("icu", &["mon 02:00 19m"], &[]);
    let start = "2026-11-23T13:30:00".parse().unwrap();
    let rule = Box::new("FREQ=HOURLY".parse().unwrap());
    hourly.1.windows[0].begins = crate::window::Recurrence::Rule { start, rule, except: BTreeSet::new() };
    let facts = facts(vec![device("a", "icu")], vec![hourly]);
    let text = |request: &Request| {
        let out = plan(&facts, request, &[], now()).unwrap();
        (out.blocked[0].reason.code, out.blocked[0].reason.text.clone())
    };
    // 999 of them, and 1,001.
    let over = |hours: u32| Request { horizon_secs: hours * 3_600, ..request() };
    let (code, all) = text(&over(999));
    assert!(code == Code::NoOpening && all.contains("to the plan's horizon; "), "{all}");
    let last = now() + SignedDuration::from_mins(999 * 60 + 49);
    let ends = format!(" in their first 1000 openings, the last until {}; ", crate::clock::format_utc(last));
    let deadline = Some(now() + SignedDuration::from_hours(1_001));
    for request in [over(1_001), Request { deadline, ..over(2_000) }] {
        let (code, cut) = text(&request);
        assert!(code == Code::NoOpening && cut.contains(&ends) && cut.contains("later --not-before"), "{cut}");
        assert!(!cut.contains("horizon"), "{cut}");
    }
    let soon = Request { deadline: Some(last), ..over(2_000) };
    assert_eq!(text(&soon).0, Code::PastDeadline, "all before it were looked at");
}

#[test]
fn an_approval_with_nothing_left_to_do_is_replaced_and_one_with_more_to_do_blocks() {
    let devices = vec![device("a", "icu"), device("b", "icu"), device("c", "lab")];
    let calendars = vec![calendar("icu", &["daily 02:00 3h"], &[]), calendar("lab", &["daily 02:00 3h"], &[])];
    let mut facts = facts(devices, calendars);
    let (start, end) = ("2026-11-25T01:00:00Z", "2026-11-25T01:20:00Z");
    facts.approvals = vec![approval("pump-4", b"release 4", &[("a", start, end), ("c", start, end)])];
    let mut icu = request();
    icu.selector.wards = [id("icu")].into();

    // c may still act on it: it is not ours to replace unasked.
    let out = plan(&facts, &icu, &[runs("a", 3)], now()).unwrap();
    assert_eq!(reasons(&out), BTreeMap::from([("a", Code::ConflictingApprovals)]));
    assert!(out.supersedes.is_empty());

    // c is done with it, so that all that is left of it is in the plan.
    let out = plan(&facts, &icu, &[runs("a", 3), runs("c", 4)], now()).unwrap();
    assert_eq!((out.blocked.len(), &out.supersedes), (0, &BTreeSet::from([id("pump-4")])));

    // Asked for, it goes; so does one that is stopped, or whose slots are over.
    icu.supersedes = [id("pump-4")].into();
    assert!(plan(&facts, &icu, &[], now()).unwrap().blocked.is_empty());
    icu.supersedes.clear();
    assert!(plan(&facts, &icu, &[], at("2026-11-25T01:20:00Z")).unwrap().blocked.is_empty());
    let stop = |counter, stopped| {
        let mut order = StopOrder::next(facts.hdo.clone(), id("pump-4"), None, stopped, now()).unwrap();
        order.counter = counter;
        VerifiedStop::kept(&order.sign(&[]).unwrap()).unwrap()
    };
    let (stop, lift) = (stop(1, true), stop(2, false));
    facts.stops = vec![stop];
    assert!(plan(&facts, &icu, &[], now()).unwrap().blocked.is_empty());
    facts.stops.push(lift);
    assert_eq!(plan(&facts, &icu, &[], now()).unwrap().blocked.len(), 1, "a lift brings it back");

    icu.supersedes = [id("pump-3")].into();
    assert!(matches!(plan(&facts, &icu, &[], now()), Err(PlanError::NoSuchApproval(_))));
}

#[test]
fn an_approval_stays_where_a_device_that_it_leads_on_finds_no_slot_in_the_plan() {
    let devices = vec![device("a", "icu"), device("b", "lab"), device("c", "icu"), device("d", "icu")];
    let calendars = vec![calendar("icu", &["daily 02:00 3h"], &[]), calendar("lab", &["daily 02:00 19m"], &[])];
    let mut facts = facts(devices, calendars);
    let (start, end) = ("2026-11-25T01:00:00Z", "2026-11-25T01:20:00Z");
    let slots = |devices: &[&'static str]| devices.iter().map(|d| (*d, start, end)).collect::<Vec<_>>();
    facts.approvals = vec![
        approval("pump-3", b"release 3", &slots(&["a", "d"])),
        approval("pump-4", b"release 4", &slots(&["a", "b", "c"])),
    ];
    let mut asked = request();
    let inventory = ["a", "b", "d"].map(|name| runs(name, 2)).into_iter().chain([runs("c", 4)]).collect::<Vec<_>>();
    facts.bundle.min_release = Release(0);
    let out = plan(&facts, &asked, &inventory, now()).unwrap();
    // b has slots by pump-4 and none by the plan; a waits with it, and so d, whose approval holds for a as well.
    assert!(out.supersedes.is_empty(), "{:?}", out.supersedes);
    let conflict = Code::ConflictingApprovals;
    assert_eq!(reasons(&out), BTreeMap::from([("a", conflict), ("b", Code::NoOpening), ("d", conflict)]));
    let text = |name: &str| &out.blocked.iter().find(|b| b.id.as_str() == name).unwrap().reason.text;
    assert!(text("a").contains("--supersedes pump-4"), "{}", text("a"));
    assert!(text("b").ends_with("approval pump-4, by which it has slots, stays"), "{}", text("b"));
    assert_eq!(out.devices.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["c"]);
    assert_eq!(out.recompute(&facts).unwrap(), out, "that c is done stands in it");

    // Asked for, it goes, and the device that is left with nothing says so.
    asked.supersedes = [id("pump-4")].into();
    let out = plan(&facts, &asked, &inventory, now()).unwrap();
    assert_eq!(out.supersedes, BTreeSet::from([id("pump-3"), id("pump-4")]));
    assert_eq!(reasons(&out), BTreeMap::from([("b", Code::NoOpening)]));
    assert!(out.blocked[0].reason.text.contains("pump-4, by which it has slots, is replaced"), "{:?}", out.blocked);
    // Nor is anything said where it was done with it.
    let inventory = ["a", "d"].map(|name| runs(name, 2)).into_iter().chain([runs("b", 4), runs("c", 4)]);
    let out = plan(&facts, &request(), &inventory.collect::<Vec<_>>(), now()).unwrap();
    assert_eq!(out.supersedes, BTreeSet::from([id("pump-3"), id("pump-4")]));
    assert!(!out.blocked[0].reason.text.contains("pump-4"), "{:?}", out.blocked);
}

#[test]
fn a_plan_holds_whose_word_it_was_computed_from_on_the_way_too() {
    let devices = vec![device("a", "icu"), device("c", "icu"), device("x", "lab"), device("y", "lab")];
    let calendars = vec![calendar("icu", &["daily 02:00 3h"], &[]), calendar("lab", &["daily 02:00 3h"], &[])];
    let mut facts = facts(devices, calendars);
    facts.bundle.min_release = Release(0);
    let (start, end) = ("2026-11-25T01:00:00Z", "2026-11-25T01:20:00Z");
    let slots = |devices: [&'static str; 2]| devices.map(|d| (d, start, end));
    facts.approvals = vec![
        approval("pump-3", b"release 3", &slots(["a", "y"])),
        approval("pump-4", b"release 4", &slots(["a", "x"])),
    ];
    let mut icu = request();
    icu.selector.wards = [id("icu")].into();
    // y is done with pump-3, which has nothing left to do until a is kept by pump-4.
    let inventory = [runs("a", 2), runs("c", 2), runs("x", 2), runs("y", 3)];
    let out = plan(&facts, &icu, &inventory, now()).unwrap();
    assert!(out.blocked[0].reason.text.contains("--supersedes pump-4"), "{:?}", out.blocked);
    assert_eq!(out.recompute(&facts).unwrap(), out);
}

#[test]
fn a_plan_holds_who_gave_slots_back_in_wards_that_it_left_out_at_last() {
    let devices = vec![device("b", "lab"), device("c", "icu"), device("e", "lab"), device("y", "lab")];
    let calendars = vec![calendar("icu", &["daily 02:00 3h"], &[]), calendar("lab", &["tue 02:00 20m"], &[])];
    let mut facts = facts(devices, calendars);
    facts.bundle.min_release = Release(0);
    let (early, late) = ("2026-11-23T13:00:00Z", "2026-11-23T13:20:00Z");
    facts.approvals = vec![
        approval("pump-3", b"release 3", &[("y", "2026-11-24T01:00:00Z", "2026-11-24T01:20:00Z")]),
        approval("pump-4", b"release 4", &[("b", early, late), ("e", early, late)]),
    ];
    let mut asked = Request { horizon_secs: 3 * 86_400, supersedes: [id("pump-3")].into(), ..request() };
    asked.selector.devices = ["b", "c", "e"].map(id).into();
    // y is done with pump-3, so that b has a slot and e has none; then pump-4 stays for both.
    let out = plan(&facts, &asked, &["b", "c", "e"].map(|name| runs(name, 2)), now()).unwrap();
    assert!(out.blocked[0].reason.text.ends_with("approval pump-4, by which it has slots, stays"), "{:?}", out.blocked);
    let inventory = [runs("b", 2), runs("c", 2), runs("e", 2), runs("y", 3)];
    let out = plan(&facts, &asked, &inventory, now()).unwrap();
    assert!(out.blocked[0].reason.text.contains("--supersedes pump-4"), "{:?}", out.blocked);
    assert_eq!(out.settled, [], "no slot of the ward is in the plan");
    assert_eq!(out.recompute(&facts).unwrap(), out);
}

#[test]
fn slots_of_other_approvals_count_against_the_wards_cap() {
    let devices = vec![device("a", "icu"), device("b", "icu")];
    let mut facts = facts(devices, vec![calendar("icu", &["tue 02:00 1h"], &[])]);
    facts.approvals = vec![approval("other", b"other", &[("b", "2026-11-24T01:05:00Z", "2026-11-24T01:25:00Z")])];
    let mut request = request();
    request.selector.devices = [id("a")].into();
    let out = plan(&facts, &request, &[], now()).unwrap();
    assert_eq!(out.devices[0].slots[0].start, at("2026-11-24T01:25:00Z"));
    request.cap = 2;
    let out = plan(&facts, &request, &[], now()).unwrap();
    assert_eq!(out.devices[0].slots[0].start, at("2026-11-24T01:00:00Z"));
}

#[test]
fn requests_that_contradict_themselves_are_refused() {
    let facts = facts(vec![device("a", "icu"), device("b", "icu")], vec![calendar("icu", &["daily 02:00 3h"], &[])]);
    let wave = |size| WaveSpec { size, gate: gate(0) };
    let broken: [fn(&mut Request); 6] = [
        |r| r.cap = 0,
        |r| r.waves.clear(),
        |r| r.waves.reverse(),
        |r| r.slots_per_device = 17,
        |r| r.waves[0].size = WaveSize::Percent(101),
        |r| r.horizon_secs = u32::MAX,
    ];
    for change in broken {
        let mut request = request();
        change(&mut request);
        assert!(matches!(plan(&facts, &request, &[], now()), Err(PlanError::Request(_))), "{request:?}");
    }
    let one = Request { waves: vec![wave(WaveSize::Count(1))], ..request() };
    assert!(matches!(plan(&facts, &one, &[], now()), Err(PlanError::LeftOver(1))));
    let nobody = Request { selector: Selector { wards: [id("lab")].into(), ..Selector::default() }, ..request() };
    assert!(matches!(plan(&facts, &nobody, &[], now()), Err(PlanError::NoDevice(_))));
}

#[test]
fn a_tampered_plan_is_not_what_the_facts_lead_to() {
    let facts = facts(vec![device("a", "icu")], vec![calendar("icu", &["daily 02:00 3h"], &[])]);
    let plan = plan(&facts, &request(), &[], now()).unwrap();
    let bytes = plan.to_bytes().unwrap();
    assert_eq!(Plan::parse(&bytes).unwrap(), plan);
    assert_eq!(plan.recompute(&facts).unwrap(), plan);
    let mut other = plan.clone();
    other.devices[0].slots[0].start = now();
    assert_ne!(other.recompute(&facts).unwrap(), other);
    assert_ne!(other.digest().unwrap(), plan.digest().unwrap());
}

#[test]
fn no_device_counts_as_silent_within_the_budgets_of_a_step() {
    let mut facts = facts(vec![device("a", "icu")], vec![calendar("icu", &["tue 02:00 10h"], &[])]);
    facts.bundle.budget_secs = 2 * 3_600;
    facts.releases = vec![Bundle { budget_secs: 4 * 3_600, ..ways::release(4, 1) }];
    let silence = |request: &Request, from: u64| {
        let out = plan(&facts, request, &[runs("a", from)], now()).unwrap();
        assert_eq!(out.recompute(&facts).unwrap(), out);
        let (approval, _) = out.to_approval(&signing(), now()).unwrap();
        assert_eq!(approval.terms.attempt_timeout_secs, out.request.attempt_timeout_secs, "what is shown is signed");
        approval.terms.attempt_timeout_secs
    };
    let hour = Request { slots_per_device: 1, ..request() };
    assert_eq!(silence(&hour, 3), 2 * 3_600 + 300, "its install and its way back");
    assert_eq!(silence(&hour, 2), 4 * 3_600 + 300, "by way of 4, which takes longer");
    assert_eq!(silence(&Request { attempt_timeout_secs: 86_400, ..hour }, 2), 86_400, "as it was asked for");
}

#[test]
fn a_device_is_lost_when_no_slot_holds_the_install_any_more() {
    let facts = facts(vec![device("a", "icu")], vec![calendar("icu", &["tue 02:00 1h"], &[])]);
    let plan = plan(&facts, &request(), &[], now()).unwrap();
    assert!(plan.lost(at("2026-11-24T01:05:00Z")).is_empty(), "15 of 20 minutes are left, as many as it needs");
    assert_eq!(plan.lost(at("2026-11-24T01:05:01Z")).len(), 1);
}

fn signing() -> Signing {
    Signing { approver: "kim".to_owned(), meaning: "approved".to_owned(), reason: "CVE-2026-1".to_owned() }
}
