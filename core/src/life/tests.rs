use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::openeox::Core;
use super::*;
use crate::clock::{day_of, parse_day};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn day(text: &str) -> Date {
    parse_day(text).unwrap()
}

fn dates(ga: &str, sales: &str, eol: &str, eos: &str) -> Dates {
    let date = |text: &str| (!text.is_empty()).then(|| day(text));
    Dates {
        general_availability: date(ga),
        end_of_sales: date(sales),
        end_of_life: date(eol),
        end_of_support: date(eos),
    }
}

fn change(when: &str, dates: Dates) -> Change {
    Change {
        at: at(when),
        by: "ada".parse().unwrap(),
        why: "as planned".to_owned(),
        releases: None,
        dates,
        short_notice: None,
        earlier: None,
        components: Vec::new(),
        not_covered: Vec::new(),
    }
}

fn begun() -> Life {
    let first = change("2026-01-10T09:00:00Z", dates("2026-01-01", "2028-06-01", "2029-01-01", "2031-01-01"));
    Life::begin("pump".parse().unwrap(), first).unwrap()
}

#[test]
fn a_stage_begins_on_its_day() {
    let life = begun();
    for (on, stage) in [
        ("2025-12-31", Stage::Development),
        ("2026-01-01", Stage::Support),
        ("2028-12-31", Stage::Support),
        ("2029-01-01", Stage::LimitedSupport),
        ("2030-12-31", Stage::LimitedSupport),
        ("2031-01-01", Stage::EndOfSupport),
    ] {
        assert_eq!(life.standing(None, day(on)).stage, stage, "{on}");
    }
    for stage in Stage::ALL {
        assert_eq!(stage.as_str().parse(), Ok(stage));
    }
}

#[test]
fn releases_end_by_themselves_and_with_their_product_at_the_latest() {
    let own = |range: &str, when: &str, eol: &str, eos: &str| Change {
        releases: Some(range.parse().unwrap()),
        dates: Dates { general_availability: None, ..dates("", "", eol, eos) },
        short_notice: Some("the old line".to_owned()),
        earlier: Some("the old line".to_owned()),
        ..change(when, Dates::default())
    };
    let life = begun().then(own("1..3", "2026-02-01T00:00:00Z", "2027-01-01", "2028-01-01")).unwrap();
    let life = life.then(own("4..5", "2026-02-02T00:00:00Z", "2033-01-01", "2040-01-01")).unwrap();
    let stage = |release, on: &str| life.standing(Some(Release(release)), day(on)).stage;
    assert_eq!((stage(2, "2027-06-01"), stage(3, "2028-01-01")), (Stage::LimitedSupport, Stage::EndOfSupport));
    assert_eq!((stage(9, "2028-01-01"), stage(4, "2031-01-01")), (Stage::Support, Stage::EndOfSupport));
    assert_eq!(life.ranges().len(), 2);
    let overlap = life.then(own("3..4", "2026-03-01T00:00:00Z", "2027-01-01", "2028-01-01"));
    assert!(matches!(overlap, Err(LifeError::Overlap { .. })));
}

#[test]
fn an_end_is_announced_two_years_ahead_or_the_reason_stands_in_the_history() {
    let when = "2026-02-28T12:00:00Z";
    let soon = change(when, dates("2026-01-01", "", "", "2028-02-27"));
    let short = Life::begin("pump".parse().unwrap(), soon.clone()).unwrap_err();
    let expected = LifeError::ShortNotice { what: "end of support", date: day("2028-02-27"), first: day("2028-02-28") };
    assert_eq!(short, expected);
    let reasoned = Change { short_notice: Some("the chip is gone".to_owned()), ..soon };
    Life::begin("pump".parse().unwrap(), reasoned).unwrap();
    Life::begin("pump".parse().unwrap(), change(when, dates("2026-01-01", "", "", "2028-02-28"))).unwrap();
    // It was announced in time, and moves later when less than two years are left: nothing is owed.
    let later = change("2030-06-01T00:00:00Z", dates("2026-01-01", "2028-06-01", "2029-01-01", "2031-06-01"));
    begun().then(later).unwrap();
}

#[test]
fn a_date_moves_earlier_with_a_reason_only() {
    let earlier = change("2026-03-01T00:00:00Z", dates("2026-01-01", "2028-06-01", "2028-12-31", "2031-01-01"));
    let (was, date) = (day("2029-01-01"), day("2028-12-31"));
    assert_eq!(begun().then(earlier.clone()), Err(LifeError::Earlier { what: "end of life", was, date }));
    let life = begun().then(Change { earlier: Some("a supplier left".to_owned()), ..earlier }).unwrap();
    assert_eq!(life.dates(None).end_of_life, Some(date));
    // A range that takes an end from before the product's is earlier than what hospitals could read.
    let range = Change {
        releases: Some("1..2".parse().unwrap()),
        ..change("2026-03-02T00:00:00Z", dates("", "", "2028-06-02", ""))
    };
    assert!(matches!(life.then(range), Err(LifeError::Earlier { .. })));
}

#[test]
fn dates_that_contradict_one_another_are_refused() {
    for (bad, why) in [
        (dates("", "", "2030-01-01", ""), "no general availability"),
        (dates("2030-01-01", "", "2029-01-01", ""), "before the general availability"),
        (dates("2026-01-01", "", "2031-01-01", "2030-01-01"), "before the end of life"),
        (dates("2026-01-01", "2031-01-01", "", "2030-01-01"), "still sold"),
    ] {
        let refused = Life::begin("pump".parse().unwrap(), change("2026-01-10T09:00:00Z", bad)).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let silent = Change { why: " ".to_owned(), ..change("2026-02-01T00:00:00Z", begun().dates(None)) };
    assert_eq!(begun().then(silent), Err(LifeError::Text { field: "why" }));
    assert_eq!(begun().then(change("2026-01-10T09:00:00Z", begun().dates(None))), Err(LifeError::NotLater));
}

#[test]
fn what_is_no_longer_covered_is_said_once_support_is_limited() {
    let mut first = change("2026-01-10T09:00:00Z", dates("2026-01-01", "", "2029-01-01", "2031-01-01"));
    first.not_covered = vec!["the Bluetooth stack".to_owned()];
    first.components =
        vec![ComponentEnd { component: "pkg:generic/openssl@1.1.1".to_owned(), end_of_support: day("2027-05-01") }];
    let life = Life::begin("pump".parse().unwrap(), first).unwrap();
    let on = |text: &str| life.standing(Some(Release(1)), day(text));
    assert!(on("2027-04-30").not_covered.is_empty() && on("2027-04-30").ended_components.is_empty());
    assert_eq!(on("2027-05-01").ended_components.len(), 1);
    assert_eq!(on("2029-01-01").not_covered, ["the Bluetooth stack"]);
}

#[test]
fn a_later_history_begins_with_the_earlier_one_and_no_bytes_pass_that_break_a_rule() {
    let moved = change("2027-01-01T00:00:00Z", dates("2026-01-01", "2028-06-01", "2030-01-01", "2032-01-01"));
    let longer = begun().then(moved).unwrap();
    assert_eq!(longer.extends(&begun()).unwrap().len(), 1);
    assert_eq!(begun().extends(&longer), Err(LifeError::Rewritten));
    let mut rewritten = longer.clone();
    rewritten.changes[0].why = "as always".to_owned();
    assert_eq!(rewritten.extends(&begun()), Err(LifeError::Rewritten));
    let bytes = longer.to_bytes().unwrap();
    assert_eq!(Life::parse(&bytes).unwrap(), longer);
    let text = String::from_utf8(bytes).unwrap();
    for (from, to) in [("2032-01-01", "2027-02-01"), ("2027-01-01T00", "2025-01-01T00"), ("suture-life", "suture-love")]
    {
        assert!(Life::parse(text.replace(from, to).as_bytes()).is_err(), "{to}");
    }
    assert_eq!(longer.as_of(day("2026-12-31")), Some(begun()));
    assert_eq!(longer.as_of(day("2026-01-09")), None);
}

#[test]
fn notice_counts_from_the_day_on_which_it_is_given() {
    let life = begun();
    let made = at("2026-01-10T09:00:00Z");
    life.is_new_at(0, made + SignedDuration::from_hours(24 * 30)).unwrap();
    life.is_new_at(0, made - SignedDuration::from_mins(10)).unwrap();
    for other in [made + SignedDuration::from_hours(24 * 31), made - SignedDuration::from_mins(11)] {
        assert_eq!(life.is_new_at(0, other), Err(LifeError::NotNow { at: made }));
        life.is_new_at(1, other).unwrap();
    }
}

/// Mandatory tests of OpenEoX Core 1.0 CSD01, section 7.1, and the required properties of its schema.
fn holds(core: &Core) {
    let value = serde_json::to_value(core).unwrap();
    let fields: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    for required in ["$schema", "end_of_life", "end_of_security_support", "last_updated"] {
        assert!(fields.contains(&required), "{required} is missing");
    }
    let known =
        ["$schema", "end_of_life", "end_of_sales", "end_of_security_support", "general_availability", "last_updated"];
    assert!(fields.iter().all(|field| known.contains(field)), "{fields:?}");
    assert_eq!(value["$schema"], "https://docs.oasis-open.org/openeox/v1.0/schema/core.json");
    let instant = |field: &str| match value.get(field).and_then(|v| v.as_str()) {
        None | Some("tba") => None,
        Some(text) => Some(text.parse::<Timestamp>().unwrap()),
    };
    instant("last_updated").unwrap();
    let ends: Vec<_> =
        ["end_of_sales", "end_of_security_support", "end_of_life"].into_iter().filter_map(instant).collect();
    assert!(instant("general_availability").is_none_or(|ga| ends.iter().all(|end| ga <= *end)), "7.1.3");
    if let Some(life) = instant("end_of_life") {
        assert!(ends.iter().all(|end| *end <= life), "7.1.1: {value}");
        assert!(!value.to_string().contains("tba"), "7.1.2");
    }
}

#[test]
fn openeox_names_last_days_and_its_own_rules_hold() {
    let core = Core::of(&begun(), None);
    assert_eq!(core.end_of_life, "2030-12-31T23:59:59Z");
    assert_eq!(core.end_of_security_support, "2028-12-31T23:59:59Z");
    assert_eq!(core.end_of_sales.as_deref(), Some("2028-05-31T23:59:59Z"));
    assert_eq!(core.general_availability.as_deref(), Some("2026-01-01T00:00:00Z"));
    holds(&core);
    let open = change("2026-01-10T09:00:00Z", dates("2026-01-01", "", "", ""));
    let open = Core::of(&Life::begin("pump".parse().unwrap(), open).unwrap(), Some(Release(1)));
    assert_eq!((open.end_of_life.as_str(), open.end_of_security_support.as_str()), ("tba", "tba"));
    holds(&open);
}

proptest! {
    /// Whatever is announced in whatever order: what was admitted can be read, extends all before it, stages only advance
    /// with time, and a date that ended up earlier, or near, has its reason in the history.
    #[test]
    fn histories_hold_their_rules(steps in proptest::collection::vec(
        (1_i64..400, proptest::option::of(0_i32..4), -500_i64..4_000, 0_i64..2_000, any::<bool>(), any::<bool>()), 1..12,
    )) {
        let mut now = at("2026-01-10T09:00:00Z");
        let mut life = begun();
        for (wait, range, eol, more, short, earlier) in steps {
            now += SignedDuration::from_hours(24 * wait);
            let end = |days: i64| day_of(now + SignedDuration::from_hours(24 * days));
            let reason = |given: bool| given.then(|| "a reason".to_owned());
            let new = Change {
                at: now,
                releases: range.map(|n| format!("{}..{}", n, n + 1).parse().unwrap()),
                dates: Dates { end_of_life: Some(end(eol)), end_of_support: Some(end(eol + more)), ..begun().dates(None) },
                short_notice: reason(short),
                earlier: reason(earlier),
                ..change("2026-01-10T09:00:00Z", Dates::default())
            };
            let Ok(longer) = life.then(new.clone()) else { continue };
            prop_assert_eq!(longer.extends(&life).unwrap(), std::slice::from_ref(&new));
            prop_assert_eq!(&Life::parse(&longer.to_bytes().unwrap()).unwrap(), &longer);
            for release in [None, Some(Release(0)), Some(Release(2)), Some(Release(9))] {
                let (was, is) = (life.dates(release), longer.dates(release));
                if let (Some(was), Some(is)) = (was.end_of_support, is.end_of_support) && is < was {
                    prop_assert!(new.earlier.is_some(), "{} < {}", is, was);
                    let two_years = day_of(now).checked_add(jiff::Span::new().years(2)).unwrap();
                    prop_assert!(is >= two_years || new.short_notice.is_some());
                }
                holds(&Core::of(&longer, release));
                let mut last = Stage::Development;
                for year in 2025..2045 {
                    let stage = longer.standing(release, Date::constant(year, 7, 1)).stage;
                    prop_assert!(last <= stage);
                    last = stage;
                }
            }
            life = longer;
        }
    }
}
