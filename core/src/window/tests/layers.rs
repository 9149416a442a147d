//! What several calendars open together.

use super::*;

fn of(scope: Scope, calendar: Calendar) -> Calendar {
    Calendar { scope, ..calendar }
}

fn together(layers: &[&Calendar], from: &str, until: &str) -> Vec<String> {
    openings(layers, at(from), at(until), 100).unwrap().iter().map(|o| format!("{} {}", o.start, o.end)).collect()
}

#[test]
fn the_most_restrictive_wins() {
    let hospital = of(Scope::Hospital, calendar("UTC", &["daily 22:00 8h"], &["2026-12-24..2026-12-26"]));
    let ward = calendar("Europe/Vienna", &["wed,thu 02:00 4h"], &[]);
    let pump = of(Scope::Device("pump-7".parse().unwrap()), calendar("UTC", &["thu 03:00 30m", "fri 03:00 30m"], &[]));
    let (from, until) = ("2026-12-16T00:00:00Z", "2026-12-27T00:00:00Z");
    // Christmas Eve is a Thursday.
    let both = [
        "2026-12-16T01:00:00Z 2026-12-16T05:00:00Z",
        "2026-12-17T01:00:00Z 2026-12-17T05:00:00Z",
        "2026-12-23T01:00:00Z 2026-12-23T05:00:00Z",
    ];
    assert_eq!(together(&[&hospital, &ward], from, until), both);
    assert_eq!(together(&[&ward, &hospital], from, until), both);
    assert_eq!(together(&[&hospital, &ward, &pump], from, until), ["2026-12-17T03:00:00Z 2026-12-17T03:30:00Z"]);
}

#[test]
fn a_layer_without_windows_only_freezes_and_by_its_own_clock() {
    let hospital = of(Scope::Hospital, calendar("Pacific/Auckland", &[], &["2026-12-24"]));
    let ward = calendar("UTC", &["daily 10:00 4h"], &[]);
    assert_eq!(
        together(&[&hospital, &ward], "2026-12-22T12:00:00Z", "2026-12-25T12:00:00Z"),
        [
            "2026-12-22T12:00:00Z 2026-12-22T14:00:00Z",
            // Midnight in Auckland cuts this one; the next begins before midnight there, and is dropped whole.
            "2026-12-23T10:00:00Z 2026-12-23T11:00:00Z",
            "2026-12-25T10:00:00Z 2026-12-25T12:00:00Z",
        ]
    );
    assert_eq!(together(&[&hospital], "2026-12-22T12:00:00Z", "2026-12-25T12:00:00Z"), [""; 0]);
    assert_eq!(together(&[], "2026-12-22T12:00:00Z", "2026-12-25T12:00:00Z"), [""; 0]);
}

#[test]
fn what_one_layer_leaves_in_pieces_stays_in_pieces() {
    let hospital = of(Scope::Hospital, calendar("UTC", &["daily 00:00 24h"], &[]));
    let ward = calendar("UTC", &["daily 01:00 1h", "daily 02:00 1h", "daily 05:00 1h"], &[]);
    assert_eq!(
        together(&[&hospital, &ward], "2026-12-22T00:00:00Z", "2026-12-23T00:00:00Z"),
        ["2026-12-22T01:00:00Z 2026-12-22T03:00:00Z", "2026-12-22T05:00:00Z 2026-12-22T06:00:00Z"]
    );
}

#[test]
fn a_rule_has_its_exceptions_and_its_end() {
    let window = |rule: &str, except: &[&str]| Window {
        begins: Recurrence::Rule {
            start: parse_local("2026-03-22T02:30").unwrap(),
            rule: Box::new(rule.parse().unwrap()),
            except: except.iter().map(|e| e.parse().unwrap()).collect(),
        },
        duration_secs: 3_600,
    };
    let ruled = |window| {
        let calendar = Calendar { windows: vec![window], ..calendar("Europe/Vienna", &[], &[]) };
        assert_eq!(Calendar::parse(&calendar.to_bytes().unwrap()).unwrap(), calendar);
        shown(&calendar, "2026-03-01T00:00:00Z", "2026-05-01T00:00:00Z")
    };
    let [first, skipped, third, fourth] = [
        "2026-03-22T01:30:00Z 2026-03-22T02:30:00Z",
        "2026-03-29T01:00:00Z 2026-03-29T02:00:00Z",
        "2026-04-05T00:30:00Z 2026-04-05T01:30:00Z",
        "2026-04-12T00:30:00Z 2026-04-12T01:30:00Z",
    ];
    assert_eq!(ruled(window("FREQ=WEEKLY;COUNT=3", &[])), [first, skipped, third]);
    assert_eq!(ruled(window("FREQ=WEEKLY;COUNT=4", &["2026-03-29"])), [first, third, fourth]);
    assert_eq!(ruled(window("FREQ=WEEKLY;COUNT=4", &["2026-03-29T02:30", "2026-04-05T02:00"])), [first, third, fourth]);
    // UNTIL in UTC speaks of the instant at which the window does begin, which is not the one on the wall.
    assert_eq!(ruled(window("FREQ=WEEKLY;UNTIL=20260329T010000Z", &[])), [first, skipped]);
    assert_eq!(ruled(window("FREQ=WEEKLY;UNTIL=20260329T005959Z", &[])), [first]);
    assert_eq!(ruled(window("FREQ=WEEKLY;UNTIL=20260329T023000", &[])), [first, skipped]);
    assert_eq!(ruled(window("FREQ=WEEKLY;UNTIL=20260329T022959", &[])), [first]);
}

#[test]
fn a_rule_that_takes_too_long_is_refused_by_name() {
    let window = Window {
        begins: Recurrence::Rule {
            start: parse_local("2001-01-01T00:00").unwrap(),
            rule: Box::new("FREQ=SECONDLY;COUNT=99999999".parse().unwrap()),
            except: BTreeSet::new(),
        },
        duration_secs: 1,
    };
    let calendar = Calendar { windows: vec![window], ..calendar("UTC", &[], &[]) };
    let error = openings(&[&calendar], at("2026-03-01T00:00:00Z"), at("2026-05-01T00:00:00Z"), 3).unwrap_err();
    assert!(error.to_string().contains("ward icu: the rule FREQ=SECONDLY;COUNT=99999999"), "{error}");
}

fn layer() -> impl Strategy<Value = (usize, Vec<Window>, Vec<(i64, i64)>)> {
    let windows = prop::collection::vec(windows(), 0..3);
    (0..ZONES.len(), windows, prop::collection::vec((0i64..9, 0i64..2), 0..2))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn layers_open_what_each_of_them_opens(begin in 28_900_000i64..34_187_040, layers in prop::collection::vec(layer(), 1..4)) {
        let from = Timestamp::from_second(begin * 60).unwrap();
        let until = from + SignedDuration::from_hours(7 * 24);
        let calendars: Vec<Calendar> = layers.into_iter().map(|(zone, windows, frozen)| {
            let mut c = calendar(ZONES[zone], &[], &[]);
            let first = c.time_zone().unwrap().to_datetime(from).date();
            c.windows = windows;
            c.freezes = frozen.iter().map(|(offset, more)| {
                let first = first.saturating_add(jiff::Span::new().days(*offset));
                Freeze { first, last: first.saturating_add(jiff::Span::new().days(*more)) }
            }).collect();
            c
        }).collect();
        let all: Vec<&Calendar> = calendars.iter().collect();
        let minutes = |open: &[Opening]| -> BTreeSet<Timestamp> {
            open.iter().flat_map(|o| (0..o.end.duration_since(o.start).as_mins()).map(|n| o.start + SignedDuration::from_mins(n))).collect()
        };
        let found = openings(&all, from, until, 1_000).unwrap();
        prop_assert!(found.windows(2).all(|w| w[0].end < w[1].start), "disjoint, apart, ascending: {found:?}");

        // Each layer's windows under the freezes of all, and then what all have in common.
        let freezing: Vec<Calendar> = calendars.iter().map(|c| Calendar { windows: Vec::new(), ..c.clone() }).collect();
        let one = |c: &Calendar| {
            let layers: Vec<&Calendar> = freezing.iter().chain([c]).collect();
            minutes(&openings(&layers, from, until, 1_000).unwrap())
        };
        let open = calendars.iter().filter(|c| !c.windows.is_empty()).map(one);
        let expected = open.reduce(|a, b| a.intersection(&b).copied().collect()).unwrap_or_default();
        prop_assert_eq!(minutes(&found), expected);
    }
}
