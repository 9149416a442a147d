use super::*;
use proptest::prelude::*;

fn at(text: &str) -> DateTime {
    text.parse().unwrap()
}

/// When everything in these tests is over.
const END: &str = "2200-01-01T00:00:00";

/// At most `count` starts; those of `from` on.
fn starts(rule: &str, first: &str, from: &str, count: usize) -> Vec<String> {
    let rule: Rule = rule.parse().unwrap();
    Starts::new(&rule, at(first), at(from), at(END))
        .take(count)
        .map(|s| s.unwrap().strftime("%Y-%m-%dT%H:%M").to_string())
        .collect()
}

/// The dates alone, from the first start on.
fn dates(rule: &str, first: &str, count: usize) -> Vec<String> {
    starts(rule, first, first, count).into_iter().map(|s| s[..10].to_owned()).collect()
}

#[test]
fn the_standards_examples_come_out_as_it_says() {
    let first = "1997-09-02T09:00:00";
    for (rule, expected) in [
        ("FREQ=DAILY;INTERVAL=10;COUNT=5", &["1997-09-02", "1997-09-12", "1997-09-22", "1997-10-02", "1997-10-12"][..]),
        (
            "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=TU,TH;COUNT=4",
            &["1997-09-02", "1997-09-04", "1997-09-16", "1997-09-18"],
        ),
        ("FREQ=MONTHLY;COUNT=3;BYDAY=1FR", &["1997-09-05", "1997-10-03", "1997-11-07"]),
        ("FREQ=MONTHLY;COUNT=3;BYDAY=-2MO", &["1997-09-22", "1997-10-20", "1997-11-17"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-3;COUNT=3", &["1997-09-28", "1997-10-29", "1997-11-28"]),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13;COUNT=3", &["1998-02-13", "1998-03-13", "1998-11-13"]),
        ("FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13;COUNT=3", &["1997-09-13", "1997-10-11", "1997-11-08"]),
        ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", &["1997-09-04", "1997-10-07", "1997-11-06"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2;COUNT=3", &["1997-09-29", "1997-10-30", "1997-11-27"]),
        ("FREQ=YEARLY;BYDAY=TH;BYMONTH=3;COUNT=4", &["1998-03-05", "1998-03-12", "1998-03-19", "1998-03-26"]),
        (
            "FREQ=YEARLY;INTERVAL=3;COUNT=4;BYYEARDAY=1,100,200",
            &["2000-01-01", "2000-04-09", "2000-07-18", "2003-01-01"],
        ),
        ("FREQ=YEARLY;BYDAY=20MO;COUNT=3", &["1998-05-18", "1999-05-17", "2000-05-15"]),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO;COUNT=3", &["1998-05-11", "1999-05-17", "2000-05-15"]),
    ] {
        assert_eq!(dates(rule, first, 9), expected, "{rule}");
    }
    assert_eq!(
        starts("FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T170000", first, first, 9),
        ["1997-09-02T09:00", "1997-09-02T12:00", "1997-09-02T15:00"]
    );
    assert_eq!(
        starts("FREQ=MINUTELY;INTERVAL=90;COUNT=3", first, first, 9),
        ["1997-09-02T09:00", "1997-09-02T10:30", "1997-09-02T12:00"]
    );
    assert_eq!(
        starts("FREQ=DAILY;BYHOUR=9,10;BYMINUTE=0,40;COUNT=5", first, first, 9),
        ["1997-09-02T09:00", "1997-09-02T09:40", "1997-09-02T10:00", "1997-09-02T10:40", "1997-09-03T09:00"]
    );
    let election = "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8";
    assert_eq!(dates(election, "1996-11-05T09:00:00", 3), ["1996-11-05", "2000-11-07", "2004-11-02"]);
    // WKST makes a difference.
    let (rule, first) = ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU", "1997-08-05T09:00:00");
    assert_eq!(dates(rule, first, 9), ["1997-08-05", "1997-08-10", "1997-08-19", "1997-08-24"]);
    let sunday = format!("{rule};WKST=SU");
    assert_eq!(dates(&sunday, first, 9), ["1997-08-05", "1997-08-17", "1997-08-19", "1997-08-31"]);
}

#[test]
fn what_a_rule_leaves_open_is_the_first_starts() {
    for (rule, first, expected) in [
        ("FREQ=YEARLY", "2024-02-29T02:00:00", &["2024-02-29", "2028-02-29"]),
        ("FREQ=MONTHLY", "2026-01-31T02:00:00", &["2026-01-31", "2026-03-31"]),
        ("FREQ=YEARLY;BYMONTH=6,7", "2026-01-31T02:00:00", &["2026-07-31", "2027-07-31"]),
        ("FREQ=WEEKLY", "2026-11-26T02:00:00", &["2026-11-26", "2026-12-03"]),
        // A Thursday; week 53 of 2026 is the one before New Year's week.
        ("FREQ=YEARLY;BYWEEKNO=53", "2026-11-26T02:00:00", &["2026-12-31", "2032-12-30"]),
        ("FREQ=YEARLY;BYWEEKNO=-1", "2026-11-26T02:00:00", &["2026-12-31", "2027-12-30"]),
        // The first start does not fit: it is none.
        ("FREQ=WEEKLY;BYDAY=MO", "2026-11-26T02:00:00", &["2026-11-30", "2026-12-07"]),
        // Either with a number or without.
        ("FREQ=MONTHLY;BYDAY=MO,1TU", "2026-11-26T02:00:00", &["2026-11-30", "2026-12-01"]),
    ] {
        assert_eq!(dates(rule, first, 2), expected, "{rule}");
    }
}

#[test]
fn what_never_comes_ends_and_what_is_far_is_reached() {
    for rule in [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30",
    ] {
        assert!(dates(rule, "2000-01-01T00:00:00", 1).is_empty(), "{rule}");
    }
    // Not counted, so not walked to.
    let far = starts("FREQ=MINUTELY;INTERVAL=7", "2000-01-01T00:00:00", "2199-12-31T23:50:00", 9);
    assert_eq!(far, ["2199-12-31T23:54"]);
    let rule: Rule = "FREQ=SECONDLY;COUNT=2000000".parse().unwrap();
    let mut counted = Starts::new(&rule, at("2000-01-01T00:00:00"), at("2001-01-01T00:00:00"), at(END));
    assert!(matches!(counted.next(), Some(Err(RuleError::Endless { .. }))));
    assert_eq!(counted.next(), None);
}

#[test]
fn a_rule_is_read_in_any_order_and_written_in_one() {
    for (typed, canonical) in [
        ("RRULE:byday=su,sa;freq=weekly;", "FREQ=WEEKLY;BYDAY=SA,SU"),
        ("FREQ=MONTHLY;BYDAY=+2TU,-1FR,MO;INTERVAL=1;WKST=MO", "FREQ=MONTHLY;BYDAY=-1FR,MO,2TU"),
        (
            "BYSETPOS=-1;BYSECOND=0;BYMINUTE=30;BYHOUR=2;BYMONTHDAY=1;BYMONTH=3;FREQ=YEARLY;WKST=SU;UNTIL=20301231T000000Z",
            "FREQ=YEARLY;UNTIL=20301231T000000Z;BYSECOND=0;BYMINUTE=30;BYHOUR=2;BYMONTHDAY=1;BYMONTH=3;BYSETPOS=-1;WKST=SU",
        ),
    ] {
        let rule: Rule = typed.parse().unwrap();
        assert_eq!(rule.to_string(), canonical);
        assert_eq!(canonical.parse::<Rule>().unwrap(), rule);
        assert_eq!(serde_json::from_value::<Rule>(canonical.into()).unwrap(), rule);
        assert!(serde_json::from_value::<Rule>(typed.into()).is_err(), "a signed calendar has one spelling");
    }
}

#[test]
fn what_is_no_rule_is_named() {
    for (text, named) in [
        ("", "\"\""),
        ("every tuesday", "EVERY TUESDAY"),
        ("BYDAY=SA", "no FREQ"),
        ("FREQ=FORTNIGHTLY", "FORTNIGHTLY"),
        ("FREQ=DAILY;FREQ=DAILY", "twice"),
        ("FREQ=DAILY;BYEASTER=0", "BYEASTER"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL=0"),
        ("FREQ=DAILY;INTERVAL=+2", "INTERVAL=+2"),
        ("FREQ=DAILY;COUNT=0", "COUNT=0"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20301231T000000Z", "both"),
        ("FREQ=DAILY;UNTIL=20301231", "a date alone"),
        ("FREQ=DAILY;UNTIL=20301332T000000Z", "UNTIL=20301332"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR=24"),
        ("FREQ=DAILY;BYHOUR=-1", "BYHOUR=-1"),
        ("FREQ=DAILY;BYMONTHDAY=0", "BYMONTHDAY=0"),
        ("FREQ=DAILY;BYMONTH=1,,2", "BYMONTH"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY=XX"),
        ("FREQ=WEEKLY;BYDAY=\u{e9}", "BYDAY"),
        ("FREQ=WEEKLY;BYDAY=2TU", "MONTHLY and YEARLY"),
        ("FREQ=MONTHLY;BYDAY=0TU", "BYDAY=0TU"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY does not go"),
        ("FREQ=MONTHLY;BYYEARDAY=1", "BYYEARDAY does not go"),
        ("FREQ=MONTHLY;BYWEEKNO=1", "BYWEEKNO goes"),
        ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO", "BYWEEKNO"),
        ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS"),
        ("FREQ=DAILY;BYHOUR=1,2,3,4,5;BYMINUTE=0,1,2,3,4,5,6,7,8,9;BYSECOND=0,1,2,3,4,5", "288"),
    ] {
        let error = text.parse::<Rule>().unwrap_err().to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
    assert_eq!("FREQ=DAILY;".repeat(60).parse::<Rule>(), Err(RuleError::TooLong));
}

/// Rules of every kind, as text.
fn rules() -> impl Strategy<Value = String> {
    let freq = prop::sample::select(Frequency::ALL.map(Frequency::as_str).to_vec());
    let part = prop_oneof![
        "(BYMONTH=(1|2|12)(,[3-9])?)",
        "(BYMONTHDAY=(1|-1|31|-31)(,1[0-9])?)",
        "(BYDAY=(MO|TU,SU|1WE|-1FR,TH))",
        "(BYHOUR=(0|23|1,13))",
        "(BYMINUTE=(0|59|15,30))",
        "(BYSETPOS=(1|-1|2))",
        "(BYWEEKNO=(1|53|-1))",
        "(BYYEARDAY=(1|366|-366|-1))",
        "(WKST=(SU|WE))",
    ];
    (freq, 1u32..5, prop::collection::btree_set(part, 0..4)).prop_map(|(freq, interval, parts)| {
        let parts: Vec<String> = parts.into_iter().collect();
        format!("FREQ={freq};INTERVAL={interval};{}", parts.join(";"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_rule_with_one_spelling_or_refused(text in "(FREQ=[A-Z]{0,8}|BY[A-Z]{0,8}=[-+0-9A-Z,]{0,8}|;|=|[^\u{0}]){0,12}") {
        if let Ok(rule) = text.parse::<Rule>() {
            let written = rule.to_string();
            prop_assert_eq!(written.parse::<Rule>().unwrap().to_string(), written);
        }
    }

    /// The week of the year as ISO 8601 has it, whose weeks begin on Mondays, over every turn of the year.
    #[test]
    fn weeks_are_those_of_the_iso(week in 1i16..54, year in 2024i16..2100) {
        let rule: Rule = format!("FREQ=YEARLY;BYWEEKNO={week};BYDAY=MO,TU,WE,TH,FR,SA,SU").parse().unwrap();
        let last: Rule = "FREQ=YEARLY;BYWEEKNO=-1;BYDAY=MO,TU,WE,TH,FR,SA,SU".parse().unwrap();
        let (from, until) = (jiff::civil::date(year, 1, 1), jiff::civil::date(year + 1, 1, 1));
        let first = at("2020-01-01T00:00:00");
        let found = |rule| -> Vec<_> {
            Starts::new(rule, first, from.at(0, 0, 0, 0), until.at(0, 0, 0, 0)).map(|s| s.unwrap().date()).collect()
        };
        let days: Vec<_> = from.series(jiff::Span::new().days(1)).take_while(|d| *d < until).collect();
        let in_week = |n: i16| days.iter().copied().filter(|d| i16::from(d.iso_week_date().week()) == n).collect::<Vec<_>>();
        prop_assert_eq!(found(&rule), in_week(week));
        let is_last = |d: &&jiff::civil::Date| d.iso_week_date().week() == d.iso_week_date().weeks_in_year();
        prop_assert_eq!(found(&last), days.iter().filter(is_last).copied().collect::<Vec<_>>());
    }

    #[test]
    fn starting_later_leaves_out_what_was_before_and_nothing_else(
        text in rules(), day in 0i64..3_000, later in 0i64..900_000, count in prop::option::of(1u32..40),
    ) {
        let counted = count.map(|n| format!("{text};COUNT={n}"));
        let Ok(rule) = counted.unwrap_or(text).parse::<Rule>() else { return Ok(()) };
        let first = at("2024-01-01T02:30:00").saturating_add(jiff::Span::new().hours(day * 7));
        let from = first.saturating_add(jiff::Span::new().minutes(later));
        // What takes too long to expand is said so, and that is another test's.
        let all: Vec<_> = Starts::new(&rule, first, first, at(END)).take(300).map_while(Result::ok).collect();
        prop_assert!(all.windows(2).all(|w| w[0] < w[1]), "ascending: {all:?}");
        prop_assert!(all.iter().all(|s| *s >= first));
        let late: Vec<_> = Starts::new(&rule, first, from, at(END)).take(300).map_while(Result::ok).collect();
        let expected: Vec<_> = all.iter().copied().filter(|s| *s >= from).collect();
        prop_assert_eq!(&late[..expected.len().min(late.len())], &expected[..expected.len().min(late.len())]);
        prop_assert!(all.len() < 300 && late.len() == expected.len() || late.len() >= expected.len());
    }
}
