mod layers;
mod zones;

use super::*;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

/// Zones with a half-hour step, a skipped day, jumps at midnight, no jumps, and the usual ones.
const ZONES: [&str; 9] = [
    "Europe/Vienna",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Havana",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Kathmandu",
    "UTC",
];

fn calendar(zone: &str, windows: &[&str], freezes: &[&str]) -> Calendar {
    let window = |t: &&str| Window::parse_weekly(t).or_else(|_| Window::parse_once(t)).unwrap();
    Calendar {
        windows: windows.iter().map(window).collect(),
        freezes: freezes.iter().map(|t| t.parse().unwrap()).collect(),
        ..Calendar::empty("riverside".parse().unwrap(), icu(), zone.to_owned())
    }
}

fn icu() -> Scope {
    Scope::Ward("icu".parse().unwrap())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn shown(calendar: &Calendar, from: &str, until: &str) -> Vec<String> {
    openings(&[calendar], at(from), at(until), 100).unwrap().iter().map(|o| format!("{} {}", o.start, o.end)).collect()
}

#[test]
fn a_start_in_the_missing_hour_moves_to_the_first_instant_that_exists() {
    // Vienna, 29 March 2026: 02:00 is followed by 03:00, at 01:00 UTC.
    let c = calendar("Europe/Vienna", &["sun 02:30 2h"], &[]);
    assert_eq!(
        shown(&c, "2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z"),
        ["2026-03-29T01:00:00Z 2026-03-29T03:00:00Z"]
    );
}

#[test]
fn a_start_in_the_repeated_hour_takes_the_first_and_lasts_as_long_as_ever() {
    // Vienna, 25 October 2026: 03:00 is followed by 02:00, at 01:00 UTC.
    let c = calendar("Europe/Vienna", &["sun 02:30 2h"], &[]);
    assert_eq!(
        shown(&c, "2026-10-24T00:00:00Z", "2026-10-26T00:00:00Z"),
        ["2026-10-25T00:30:00Z 2026-10-25T02:30:00Z"]
    );
}

#[test]
fn a_freeze_drops_what_begins_on_it_and_cuts_what_runs_into_it() {
    let c = calendar("Europe/Vienna", &["daily 22:00 4h"], &["2026-12-24..2026-12-25"]);
    assert_eq!(
        shown(&c, "2026-12-23T12:00:00Z", "2026-12-27T12:00:00Z"),
        ["2026-12-23T21:00:00Z 2026-12-23T23:00:00Z", "2026-12-26T21:00:00Z 2026-12-27T01:00:00Z"]
    );
}

#[test]
fn a_freeze_recurs_until_the_date_that_the_calendars_own_clock_shows_then() {
    let last = |zone: &str, until: &str| {
        let c = Calendar {
            recurring: vec![Recurring {
                first: "2026-12-01".parse().unwrap(),
                days: 1,
                rule: Box::new(format!("FREQ=DAILY;UNTIL={until}").parse().unwrap()),
                except: BTreeSet::new(),
            }],
            ..calendar(zone, &["daily 22:00 1h"], &[])
        };
        let open = openings(&[&c], at("2026-12-02T12:00:00Z"), at("2026-12-20T00:00:00Z"), 1).unwrap();
        // The first evening on which something opens again is the one after the last that is frozen.
        c.time_zone().unwrap().to_datetime(open[0].start).date().yesterday().unwrap().to_string()
    };
    assert_eq!(last("Europe/Vienna", "20261209T230000Z"), "2026-12-10", "midnight in Vienna");
    assert_eq!(last("Europe/Vienna", "20261209T225959Z"), "2026-12-09");
    assert_eq!(last("Pacific/Kiritimati", "20261209T100000Z"), "2026-12-10", "14 hours before UTC");
    assert_eq!(last("America/New_York", "20261210T030000Z"), "2026-12-09");
    assert_eq!(last("America/New_York", "20261210T000000"), "2026-12-10", "by the clock itself");
}

#[test]
fn overlapping_and_touching_openings_are_one() {
    let c = calendar("UTC", &["mon 01:00 2h", "mon 02:00 2h", "2026-11-23T04:00 30m", "mon 06:00 1h"], &[]);
    assert_eq!(
        shown(&c, "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
        ["2026-11-23T01:00:00Z 2026-11-23T04:30:00Z", "2026-11-23T06:00:00Z 2026-11-23T07:00:00Z"]
    );
}

#[test]
fn what_is_asked_for_bounds_what_is_answered() {
    let c = calendar("UTC", &["daily 01:00 1h"], &[]);
    let from = at("2026-11-23T01:30:00.5Z");
    let two = openings(&[&c], from, at("2027-01-01T00:00:00Z"), 2).unwrap();
    assert_eq!(two[0], Opening { start: at("2026-11-23T01:30:01Z"), end: at("2026-11-23T02:00:00Z") });
    assert_eq!(two[1].start, at("2026-11-24T01:00:00Z"));
    assert_eq!(two.len(), 2);
    assert_eq!(openings(&[&c], from, from, 2).unwrap(), []);
    assert_eq!(openings(&[&c], from, at("2028-11-23T00:00:00Z"), 2), Err(WindowError::Horizon));
}

#[test]
fn a_zone_that_does_not_exist_is_named() {
    let error =
        openings(&[&calendar("Europe/Wien", &[], &[])], at("2026-11-23T00:00:00Z"), at("2026-11-24T00:00:00Z"), 1);
    assert!(error.unwrap_err().to_string().contains("\"Europe/Wien\""));
}

#[test]
fn a_signed_calendar_survives_its_bytes_and_breaks_no_rule() {
    let c = calendar("Europe/Vienna", &["sat,sun 02:00 2h", "2026-11-24T17:03:10 10m"], &["2026-12-24..2027-01-02"]);
    let bytes = c.to_bytes().unwrap();
    assert_eq!(Calendar::parse(&bytes).unwrap(), c);
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(r#"{"weekly":{"days":["sat","sun"],"start":"02:00:00"}}"#), "{text}");
    assert!(text.contains(r#""scope":{"ward":"icu"}"#), "{text}");
    assert!(calendar("UTC", &[], &[]).broken_rule().is_some_and(|rule| rule.contains("says nothing")));
    for (from, to) in [
        ("{\"ward\":\"icu\"}", "\"ward\""),
        ("\"02:00:00\"", "\"2:00:00\""),
        ("\"2026-12-24\"", "\"2026-12-32\""),
        ("\"2026-12-24\"", "\"2027-12-24\""),
        ("[\"sat\",\"sun\"]", "[]"),
        ("7200", "0"),
        ("7200", "604801"),
        ("2026-11-24T17:03:10", "1999-11-24T17:03:10"),
        ("Europe/Vienna", "../etc/passwd"),
        ("suture-calendar", "suture-roster"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        assert!(Calendar::parse(changed.as_bytes()).is_err(), "{to}");
    }
}

#[test]
fn what_people_type_is_read_one_way_or_not_at_all() {
    for (typed, canonical) in [
        ("sat,sun 02:00 2h", "sat,sun 02:00:00 2h"),
        ("fri-mon 22:30:05 90m", "mon,fri,sat,sun 22:30:05 1h30m"),
        ("  daily   00:00  1h30m5s ", "mon,tue,wed,thu,fri,sat,sun 00:00:00 1h30m5s"),
        ("mon 01:00 1d", "mon 01:00:00 24h"),
    ] {
        let window = Window::parse_weekly(typed).unwrap();
        assert_eq!(window.to_string(), canonical);
        assert_eq!(Window::parse_weekly(canonical).unwrap(), window);
    }
    for bad in ["", "sat 02:00", "sat 2:00 2h", "sat 24:00 2h", "caturday 02:00 2h", "sat, 02:00 2h", "sat 02:00 2"] {
        assert!(Window::parse_weekly(bad).is_err(), "{bad}");
    }
    for bad in ["0s", "h", "1m1h", "1h1h", "-1h", "1.5h", "4294967296s", "99999d", "1é", "2h "] {
        assert!(parse_duration(bad).is_err(), "{bad}");
    }
    assert_eq!(parse_duration("14d2h"), Ok(14 * 86_400 + 7_200));
    for (iso, secs) in [("PT2H", 7_200), ("PT1H30M", 5_400), ("P1D", 86_400), ("P1DT5S", 86_405), ("P1W", 604_800)] {
        assert_eq!(parse_duration(iso), Ok(secs), "{iso}");
    }
    for bad in ["P", "PT", "P1M", "P2H", "PT1D", "P1DT", "-PT2H", "pt2h", "PT2HT"] {
        assert!(parse_duration(bad).is_err(), "{bad}");
    }
    for bad in ["2026-11-24 17:00 10m", "2026-11-24T17 10m", "2026-02-29T17:00 10m"] {
        assert!(Window::parse_once(bad).is_err(), "{bad}");
    }
    for bad in ["2026-12-24..2026-12-23", "24.12.2026", "2026-12-24..", "..2026-12-24"] {
        assert!(bad.parse::<Freeze>().is_err(), "{bad}");
    }
    assert_eq!("2026-12-24..2026-12-24".parse::<Freeze>().unwrap().to_string(), "2026-12-24");
}

/// The rules once more, by walking the ward's clock minute by minute instead of by computing.
fn open_minutes(calendar: &Calendar, from: Timestamp, days: i64) -> BTreeSet<Timestamp> {
    let zone = calendar.time_zone().unwrap();
    let minute = |n: i64| from + SignedDuration::from_mins(n);
    let clock: Vec<(Timestamp, DateTime)> =
        (-9 * 1440..(days + 9) * 1440).map(|n| (minute(n), zone.to_datetime(minute(n)))).collect();
    let mut dates: Vec<Date> = clock.iter().map(|(_, local)| local.date()).collect();
    dates.push("2011-12-30".parse().unwrap()); // a date that Apia's clock never showed
    dates.sort_unstable();
    dates.dedup();
    let frozen = |date: Date| calendar.freezes.iter().any(|f| f.first <= date && date <= f.last);
    let mut open = BTreeSet::new();
    for window in &calendar.windows {
        for date in &dates {
            let local = match &window.begins {
                Recurrence::Weekly { days, start } if days.contains(&Day::of(*date)) => date.to_datetime(*start),
                Recurrence::Once { start } if start.date() == *date => *start,
                // Rules have tests of their own.
                _ => continue,
            };
            if local < clock[0].1 {
                continue;
            }
            let begin = clock.iter().position(|(_, shown)| *shown >= local);
            let lasts = usize::try_from(window.duration_secs / 60).unwrap();
            let minutes = clock.iter().skip(begin.unwrap_or(clock.len())).take(lasts);
            open.extend(minutes.take_while(|(_, shown)| !frozen(shown.date())).map(|(t, _)| *t));
        }
    }
    open.retain(|t| from <= *t && *t < minute(days * 1440));
    open
}

fn windows() -> impl Strategy<Value = Window> {
    let days = prop::collection::btree_set(prop::sample::select(Day::ALL.to_vec()), 1..7);
    // Mostly at night, where clocks jump.
    let hour = prop_oneof![3 => 0i8..4, 1 => Just(23i8), 1 => 0i8..24];
    (days, hour, 0i8..60, prop_oneof![1u32..300, 1u32..10_080]).prop_map(|(days, hour, minute, minutes)| Window {
        begins: Recurrence::Weekly { days, start: jiff::civil::time(hour, minute, 0, 0) },
        duration_secs: minutes * 60,
    })
}

proptest! {
    /// What recurs is the same as its dates, each written out.
    #[test]
    fn a_freeze_that_recurs_is_each_of_its_dates(
        zone in prop::sample::select(ZONES.to_vec()),
        begin in 0i64..9_000,
        windows in prop::collection::vec(windows(), 1..3),
        (offset, days, every) in (0i64..40, 1u32..9, 1u32..15),
    ) {
        let mut ruled = calendar(zone, &[], &[]);
        ruled.windows = windows;
        let mut written = ruled.clone();
        let from = Timestamp::from_second(946_684_800 + begin * 86_400).unwrap();
        let until = from + SignedDuration::from_hours(24 * 40);
        let span = |days: i64| jiff::Span::new().days(days);
        let first = ruled.time_zone().unwrap().to_datetime(from).date().checked_sub(span(offset)).unwrap();
        let rule = Box::new(format!("FREQ=DAILY;INTERVAL={every}").parse().unwrap());
        ruled.recurring.push(Recurring { first, days, rule, except: BTreeSet::new() });
        written.freezes = (0..120).map(|n| {
            let first = first.checked_add(span(n * i64::from(every))).unwrap();
            Freeze { first, last: first.checked_add(span(i64::from(days) - 1)).unwrap() }
        }).collect();
        let open = |calendar: &Calendar| openings(&[calendar], from, until, 1_000).unwrap();
        prop_assert_eq!(open(&ruled), open(&written));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn openings_are_what_the_wards_clock_shows(
        zone in prop::sample::select(ZONES.to_vec()),
        // Minutes since 2000, until 2035.
        begin in 15_778_080i64..34_187_040,
        windows in prop::collection::vec(windows(), 0..4),
        frozen in prop::collection::vec((0i64..9, 0i64..3), 0..3),
    ) {
        let mut c = calendar(zone, &[], &[]);
        c.windows = windows;
        let tz = c.time_zone().unwrap();
        let somewhere = Timestamp::from_second(begin * 60).unwrap();
        // Two days before the next jump, where there is one: that is where mistakes live.
        let jump = tz.following(somewhere).next().map_or(somewhere, |t| t.timestamp());
        let from = Timestamp::from_second((jump.as_second() - 2 * 86_400) / 60 * 60).unwrap();
        let first = tz.to_datetime(from).date();
        c.freezes = frozen.iter().map(|(offset, more)| {
            let first = first.saturating_add(jiff::Span::new().days(*offset));
            Freeze { first, last: first.saturating_add(jiff::Span::new().days(*more)) }
        }).collect();

        let until = from + SignedDuration::from_hours(7 * 24);
        let found = openings(&[&c], from, until, 1_000).unwrap();
        prop_assert!(found.iter().all(|o| from <= o.start && o.start < o.end && o.end <= until));
        prop_assert!(found.windows(2).all(|w| w[0].end < w[1].start), "disjoint, apart, ascending: {found:?}");
        let minutes: BTreeSet<Timestamp> = found.iter().flat_map(|o| {
            let count = o.end.duration_since(o.start).as_mins();
            (0..count).map(|n| o.start + SignedDuration::from_mins(n))
        }).collect();
        prop_assert_eq!(minutes, open_minutes(&c, from, 7));

        // Fewer are the first of many.
        let fewer = openings(&[&c], from, until, 2).unwrap();
        prop_assert_eq!(&found[..fewer.len()], &fewer[..]);
        prop_assert_eq!(fewer.len(), found.len().min(2));
    }
}
