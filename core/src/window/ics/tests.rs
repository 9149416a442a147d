use super::*;
use crate::window::{Calendar, Scope, openings};
use jiff::Timestamp;
use proptest::prelude::*;

fn file(events: &[&str]) -> String {
    let events: Vec<_> = events.iter().map(|e| format!("BEGIN:VEVENT\n{e}\nEND:VEVENT\n")).collect();
    format!("BEGIN:VCALENDAR\nVERSION:2.0\n{}END:VCALENDAR\n", events.concat())
}

fn vienna() -> Reading {
    Reading { zone: Some("Europe/Vienna".to_owned()), ..Reading::default() }
}

fn windows(events: &[&str]) -> Vec<String> {
    import(&file(events), &vienna()).unwrap().windows.iter().map(ToString::to_string).collect()
}

fn refusal(events: &[&str]) -> String {
    import(&file(events), &vienna()).unwrap_err().to_string()
}

/// As a change board's program writes it: folded lines, carriage returns, a zone's definition, an alarm, escapes.
#[test]
fn a_change_boards_file_is_read() {
    let text = "\u{feff}BEGIN:VCALENDAR\r\nPRODID:-//Example//Board 3.1//EN\r\nVERSION:2.0\r\n\
        BEGIN:VTIMEZONE\r\nTZID:W. Europe Standard Time\r\nBEGIN:STANDARD\r\nDTSTART:16010101T030000\r\n\
        TZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n\
        BEGIN:VEVENT\r\nUID:1@board\r\nSUMMARY:ICU\\, patch\r\n  night\r\n\
        DTSTART;TZID=\"W. Europe Standard Time\":20261110T010000\r\nDTEND;TZID=\"W. Europe Standard Time\":20261110T030000\r\n\
        RRULE:FREQ=MONTHLY;BYDAY=2TU\r\nEXDATE;TZID=W. Europe Standard Time:20261208T010000,20270112T010000\r\n\
        BEGIN:VALARM\r\nTRIGGER:-PT15M\r\nDTSTART:19700101T000000\r\nEND:VALARM\r\nEND:VEVENT\r\n\
        BEGIN:VEVENT\r\nUID:1@board\r\nSUMMARY:moved\r\nRECURRENCE-ID;TZID=W. Europe Standard Time:20270209T010000\r\n\
        DTSTART;TZID=W. Europe Standard Time:20270211T220000\r\nDURATION:PT90M\r\nEND:VEVENT\r\n\
        BEGIN:VEVENT\r\nUID:2@board\r\nSUMMARY:Christmas\r\nDTSTART;VALUE=DATE:20261224\r\nDTEND;VALUE=DATE:20270103\r\nEND:VEVENT\r\n\
        BEGIN:VEVENT\r\nUID:3@board\r\nSUMMARY:off\r\nSTATUS:CANCELLED\r\nDTSTART:20261201T010000Z\r\nEND:VEVENT\r\n\
        END:VCALENDAR\r\n";
    assert_eq!(import(text, &Reading::default()), Err(IcsError::Zone("W. Europe Standard Time".to_owned())));
    let aliases = BTreeMap::from([("W. Europe Standard Time".to_owned(), "Europe/Vienna".to_owned())]);
    let read = import(text, &Reading { aliases, ..Reading::default() }).unwrap();
    assert_eq!(read.zone, "Europe/Vienna");
    assert_eq!(
        read.windows.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "2026-11-10T01:00:00 FREQ=MONTHLY;BYDAY=2TU -2026-12-08T01:00:00 -2027-01-12T01:00:00 -2027-02-09T01:00:00 2h",
            "2027-02-11T22:00:00 1h30m",
        ]
    );
    assert_eq!(read.freezes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2026-12-24..2027-01-02"]);
    assert_eq!(read.cancelled, ["off"]);
}

#[test]
fn an_instant_is_turned_into_the_calendars_clock() {
    assert_eq!(windows(&["DTSTART:20261201T010000Z\nDTEND:20261201T020000Z"]), ["2026-12-01T02:00:00 1h"]);
    let york = "DTSTART;TZID=America/New_York:20261201T010000\nDURATION:PT1H";
    assert_eq!(windows(&[york]), ["2026-12-01T07:00:00 1h"]);
    assert_eq!(
        windows(&["DTSTART:20261201T010000\nDURATION:P1D\nRDATE:20261205T010000"]).len(),
        2,
        "floating, and once more"
    );
    // On its clock an event that lasts from one to four lasts three hours, in the night of the jump as in any other.
    assert_eq!(windows(&["DTSTART:20260329T010000\nDTEND:20260329T040000"]), ["2026-03-29T01:00:00 3h"]);
    // 02:30 comes twice that night; the second cannot be said.
    assert_eq!(windows(&["DTSTART:20261025T003000Z\nDURATION:PT1H"]), ["2026-10-25T02:30:00 1h"]);
    assert!(refusal(&["SUMMARY:late\nDTSTART:20261025T013000Z\nDURATION:PT1H"]).contains("twice"));
    assert!(refusal(&[&format!("{york}\nRRULE:FREQ=DAILY")]).contains("America/New_York"));
    // Neither event has a UID: the moved one is not an instance of the other.
    let (ruled, moved) =
        ("DTSTART:20261201T010000\nDURATION:PT1H\nRRULE:FREQ=DAILY", "DTSTART:20261203T050000\nDURATION:PT1H");
    let moved = format!("RECURRENCE-ID:20261202T010000\n{moved}");
    assert_eq!(windows(&[ruled, &moved]), ["2026-12-01T01:00:00 FREQ=DAILY 1h", "2026-12-03T05:00:00 1h"]);
    // An exception that takes the only start leaves nothing.
    assert_eq!(windows(&["DTSTART:20261201T010000\nDURATION:PT1H\nEXDATE:20261201T010000"]), [""; 0]);
}

/// Whatever a date was written by: DTSTART, RRULE or RDATE.
#[test]
fn what_is_excepted_moved_or_cancelled_is_taken_out_of_further_dates_too() {
    let event = "UID:1\nDTSTART:20261201T010000\nDURATION:PT1H\nRDATE:20261205T010000,20261212T010000";
    let left = ["2026-12-01T01:00:00 1h", "2026-12-12T01:00:00 1h"];
    assert_eq!(windows(&[&format!("{event}\nEXDATE:20261205T010000")]), left);
    assert_eq!(windows(&[&format!("{event}\nEXDATE;VALUE=DATE:20261205")]), left);
    let instance = "UID:1\nRECURRENCE-ID:20261205T010000\nDTSTART:20261206T050000\nDURATION:PT1H";
    assert_eq!(windows(&[event, &format!("{instance}\nSTATUS:CANCELLED")]), left);
    assert_eq!(windows(&[event, instance]), [left[0], left[1], "2026-12-06T05:00:00 1h"]);
    // Midnight was not said.
    let day = "SUMMARY:a\nDTSTART:20261201T010000\nDURATION:PT1H\nRDATE;VALUE=DATE:20261205";
    assert!(refusal(&[day]).contains("\"a\": it begins at a time, and an RDATE of it names none"));
}

#[test]
fn an_instance_of_a_freeze_that_was_moved_or_cancelled_is_taken_out_of_it() {
    let read = |event: &str, instance: &str| {
        let read = import(&file(&[event, &format!("UID:1\n{instance}")]), &vienna()).unwrap();
        let all = |texts: &mut dyn Iterator<Item = String>| texts.collect::<Vec<_>>().join(" ");
        (
            all(&mut read.recurring.iter().map(ToString::to_string)),
            all(&mut read.freezes.iter().map(ToString::to_string)),
        )
    };
    let days = "UID:1\nDTSTART;VALUE=DATE:20261201\nRRULE:FREQ=DAILY";
    let timed = "UID:1\nCATEGORIES:FREEZE\nDTSTART:20261201T220000\nDTEND:20261201T230000\nRRULE:FREQ=DAILY";
    let cancelled = "STATUS:CANCELLED\nDTSTART;VALUE=DATE:20261205\nRECURRENCE-ID";
    let left = |freezes: &str| ("1 day from 2026-12-01, FREQ=DAILY -2026-12-05".to_owned(), freezes.to_owned());
    assert_eq!(read(days, &format!("{cancelled};VALUE=DATE:20261205")), left(""));
    assert_eq!(read(timed, &format!("{cancelled}:20261205T210000Z")), left(""));
    let moved = "DTSTART;VALUE=DATE:20270105\nRECURRENCE-ID;VALUE=DATE:20261205";
    assert_eq!(read(days, moved), left("2027-01-05"));
    let once = "UID:1\nDTSTART;VALUE=DATE:20261205";
    assert_eq!(read(once, moved), (String::new(), "2027-01-05".to_owned()));
    assert!(
        refusal(&[days, &format!("UID:1\n{}", moved.replace("-ID;", "-ID;RANGE=THISANDFUTURE;"))])
            .contains("all later ones")
    );
}

#[test]
fn a_freeze_with_times_recurs_by_the_calendars_own_clock_alone() {
    // Tuesdays at 21:00 in New York.
    let freeze = "SUMMARY:board\nCATEGORIES:FREEZE\nDTSTART:20261202T020000Z\nDURATION:PT3H";
    let weekly = format!("{freeze}\nRRULE:FREQ=WEEKLY;BYDAY=WE");
    let york = |event: &str| {
        let reading = Reading { zone: Some("America/New_York".to_owned()), ..Reading::default() };
        import(&file(&[event]), &reading)
    };
    let error = york(&weekly).unwrap_err().to_string();
    assert!(
        error.contains("\"board\": it recurs by the clock of UTC") && error.contains("America/New_York"),
        "{error}"
    );
    let rome = weekly.replace("DTSTART:20261202T020000Z", "DTSTART;TZID=Europe/Rome:20261202T020000");
    assert!(york(&rome).unwrap_err().to_string().contains("the clock of Europe/Rome"));
    assert_eq!(york(freeze).unwrap().freezes, ["2026-12-01".parse().unwrap()], "once is an instant");
    assert_eq!(york(&weekly.replace("020000Z", "020000")).unwrap().recurring.len(), 1);
}

#[test]
fn the_files_zone_is_said_by_somebody() {
    let zone = |events: &[&str], reading: &Reading| import(&file(events), reading).map(|i| i.zone);
    let none = Reading::default();
    assert_eq!(zone(&["DTSTART;TZID=Asia/Tokyo:20261201T010000\nDURATION:PT1H"], &none), Ok("Asia/Tokyo".to_owned()));
    assert_eq!(zone(&["DTSTART:20261201T010000Z\nDURATION:PT1H"], &none), Ok("UTC".to_owned()));
    let named = file(&["DTSTART:20261201T010000\nDURATION:PT1H"]).replace("VERSION:2.0", "X-WR-TIMEZONE:Asia/Tokyo");
    assert_eq!(import(&named, &none).unwrap().zone, "Asia/Tokyo");
    assert_eq!(import(&named, &vienna()).unwrap().zone, "Europe/Vienna");
    assert_eq!(zone(&["DTSTART:20261201T010000\nDURATION:PT1H"], &none), Err(IcsError::NoZone(String::new())));
    let two = [
        "DTSTART;TZID=Asia/Tokyo:20261201T010000\nDURATION:PT1H",
        "DTSTART;TZID=Europe/Rome:20261201T010000\nDURATION:PT1H",
    ];
    assert_eq!(zone(&two, &none), Err(IcsError::NoZone("Asia/Tokyo, Europe/Rome".to_owned())));
}

#[test]
fn whole_days_are_frozen_and_what_is_called_a_freeze() {
    let frozen = |event: &str| -> Vec<String> {
        import(&file(&[event]), &vienna()).unwrap().freezes.iter().map(ToString::to_string).collect()
    };
    assert_eq!(frozen("DTSTART;VALUE=DATE:20261224"), ["2026-12-24"]);
    assert_eq!(frozen("DTSTART;VALUE=DATE:20261224\nDURATION:P2D"), ["2026-12-24..2026-12-25"]);
    assert_eq!(
        frozen("CATEGORIES:IT,Freeze\nDTSTART:20261224T220000\nDTEND:20261225T060000"),
        ["2026-12-24..2026-12-25"]
    );
    assert_eq!(frozen("CATEGORIES:FREEZE\nDTSTART:20261224T220000\nDTEND:20261225T000000"), ["2026-12-24"]);
    let recurs = |event: &str| import(&file(&[event]), &vienna()).unwrap().recurring[0].to_string();
    let yearly = "SUMMARY:New Year\nDTSTART;VALUE=DATE:20270101\nRRULE:FREQ=YEARLY";
    assert_eq!(recurs(yearly), "1 day from 2027-01-01, FREQ=YEARLY");
    let board = "DTSTART;VALUE=DATE:20260907\nDTEND;VALUE=DATE:20260909\nRRULE:FREQ=MONTHLY;BYDAY=1MO;UNTIL=20271231\n\
                 EXDATE;VALUE=DATE:20261207";
    assert!(recurs(board).starts_with("2 days from 2026-09-07, FREQ=MONTHLY;"), "{}", recurs(board));
    assert!(recurs(board).ends_with(" -2026-12-07"), "{}", recurs(board));
    assert!(refusal(&[&format!("{yearly}\nRDATE;VALUE=DATE:20270601")]).contains("New Year"));
    let hourly = yearly.replace("YEARLY", "HOURLY");
    assert!(refusal(&[&hourly]).contains("by days"));
}

#[test]
fn what_cannot_be_said_is_refused_by_name() {
    for (event, named) in [
        ("SUMMARY:a\nDURATION:PT1H", "\"a\": it has no DTSTART"),
        ("SUMMARY:a\nDTSTART:20261301T010000\nDURATION:PT1H", "DTSTART \"20261301T010000\" is no date"),
        ("SUMMARY:a\nDTSTART:20261201T010000", "no length"),
        ("SUMMARY:a\nDTSTART:20261201T010000\nDTEND:20261201T010000", "no length"),
        ("SUMMARY:a\nDTSTART:20261201T010000\nDURATION:-PT1H", "no length"),
        ("SUMMARY:a\nDTSTART:20261201T010000\nDTSTART:20261202T010000\nDURATION:PT1H", "more than one DTSTART"),
        (
            "SUMMARY:a\nDTSTART:20261201T010000\nDURATION:PT1H\nRRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY",
            "more than one RRULE",
        ),
        ("SUMMARY:a\nDTSTART:20261201T010000\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20261231", "a date alone"),
        ("SUMMARY:a\nDTSTART:20261201T010000\nDURATION:PT1H\nRDATE;VALUE=PERIOD:20261201T010000/PT1H", "period"),
        ("UID:7@board\nDTSTART:20261201T010000", "\"7@board\""),
        ("DTSTART;TZID=Mars/Olympus:20261201T010000\nDURATION:PT1H", "Mars/Olympus"),
    ] {
        let error = refusal(&[event]);
        assert!(error.contains(named), "{event}: {error}");
    }
    let ruled = "UID:1\nDTSTART:20261201T010000\nDURATION:PT1H\nRRULE:FREQ=DAILY";
    let later = "UID:1\nRECURRENCE-ID;RANGE=THISANDFUTURE:20261205T010000\nDTSTART:20261205T020000\nDURATION:PT1H";
    assert!(refusal(&[ruled, later]).contains("all later ones"));

    for (text, named) in [
        ("", "ends before"),
        ("BEGIN:VCALENDAR\n", "ends before"),
        ("BEGIN:VEVENT\nEND:VEVENT\n", "line 1: it stands outside"),
        ("SUMMARY:a\n", "line 1"),
        ("BEGIN:VCALENDAR\nEND:VEVENT\n", "line 2: it ends"),
        ("BEGIN:VCALENDAR\nnothing\nEND:VCALENDAR\n", "line 2"),
        ("BEGIN:VCALENDAR\nX;A=\"b:c\nEND:VCALENDAR\n", "line 2: a quoted"),
        (" BEGIN:VCALENDAR\n", "line 1: it goes on"),
    ] {
        let error = import(text, &vienna()).unwrap_err().to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
    assert_eq!(import(&" ".repeat((1 << 20) + 1), &vienna()), Err(IcsError::TooLong));
    assert_eq!(import(&file(&["DTSTART:20261201T010000\nDURATION:PT1H"; 1_001]), &vienna()), Err(IcsError::TooLong));
    let many = import(&file(&["SUMMARY:many\nDTSTART:20261201T010000\nDURATION:PT1H"; 65]), &vienna());
    assert!(many.unwrap_err().to_string().contains("at most 64 windows"));
}

fn calendar(zone: &str, windows: Vec<Window>, freezes: &[&str]) -> Calendar {
    Calendar {
        windows,
        freezes: freezes.iter().map(|f| f.parse().unwrap()).collect(),
        ..Calendar::empty("riverside".parse().unwrap(), Scope::Ward("icu".parse().unwrap()), zone.to_owned())
    }
}

#[test]
fn what_is_written_is_read_by_others_and_defines_its_zone() {
    let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
    let c =
        calendar("Europe/Vienna", vec![Window::parse_weekly("sat,sun 02:00 2h").unwrap()], &["2026-12-24..2027-01-02"]);
    let text = export(&c, now).unwrap();
    assert_eq!(text, export(&c, now).unwrap());
    assert!(text.lines().all(|line| line.len() <= 75) && text.ends_with("END:VCALENDAR\r\n"));
    for part in [
        "X-WR-TIMEZONE:Europe/Vienna\r\n",
        // The change before the export, and the first after it: 01:00 UTC, which the clock before it shows as 03:00 and 02:00.
        "BEGIN:STANDARD\r\nDTSTART:20261025T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nTZNAME:CET\r\nEND:STANDARD\r\n",
        "BEGIN:DAYLIGHT\r\nDTSTART:20270328T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nTZNAME:CEST\r\nEND:DAYLIGHT\r\n",
        "DTSTART;TZID=Europe/Vienna:20261128T020000\r\nRRULE:FREQ=WEEKLY;BYDAY=SA,SU\r\nDURATION:PT7200S\r\n",
        "DTSTART;VALUE=DATE:20261224\r\nDTEND;VALUE=DATE:20270103\r\nCATEGORIES:FREEZE\r\n",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    let utc = export(&calendar("UTC", Vec::new(), &["2026-12-24"]), now).unwrap();
    assert!(
        utc.contains("BEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0000\r\nTZOFFSETTO:+0000\r\n"),
        "{utc}"
    );
}

fn any_window() -> impl Strategy<Value = Window> {
    let weekly = ("(daily|mon|tue,thu|fri-sun)", 0u32..24, 1u32..3_000)
        .prop_map(|(days, hour, minutes)| Window::parse_weekly(&format!("{days} {hour:02}:30 {minutes}m")).unwrap());
    let once = (1u32..29, 0u32..24)
        .prop_map(|(day, hour)| Window::parse_once(&format!("2026-12-{day:02}T{hour:02}:00 45m")).unwrap());
    let rule = (
        prop::sample::select(vec![
            "FREQ=MONTHLY;BYDAY=2TU",
            "FREQ=DAILY;COUNT=9",
            "FREQ=WEEKLY;UNTIL=20270101T000000Z;BYDAY=MO,WE",
            "FREQ=HOURLY;INTERVAL=5",
        ]),
        prop::collection::btree_set(
            prop::sample::select(vec!["2026-12-08", "2026-12-01T02:30:00", "2026-12-09"]),
            0..3,
        ),
        0u32..24,
    );
    let rule = rule.prop_map(|(rule, except, hour)| Window {
        begins: crate::window::Recurrence::Rule {
            start: format!("2026-12-01T{hour:02}:30:00").parse().unwrap(),
            rule: Box::new(rule.parse().unwrap()),
            except: except.iter().map(|e| e.parse().unwrap()).collect(),
        },
        duration_secs: 3_600,
    });
    prop_oneof![weekly, once, rule]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_exported_and_read_again_opens_the_same(
        zone in prop::sample::select(vec!["Europe/Vienna", "America/New_York", "UTC", "Australia/Lord_Howe", "Africa/Casablanca"]),
        windows in prop::collection::vec(any_window(), 0..5),
        frozen in prop::collection::vec(prop::sample::select(vec!["2026-12-24", "2026-12-05..2026-12-07", "2027-01-01"]), 1..3),
    ) {
        let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let c = calendar(zone, windows, &frozen);
        let read = import(&export(&c, now).unwrap(), &Reading::default()).unwrap();
        prop_assert_eq!((&read.zone, &read.freezes, &read.recurring), (&c.zone, &c.freezes, &c.recurring));
        let again = Calendar { windows: read.windows, ..c.clone() };
        let until = "2027-03-01T00:00:00Z".parse().unwrap();
        // What recurs each week begins in the week of the export.
        let from = "2026-12-06T12:00:00Z".parse().unwrap();
        let (was, is) = (openings(&[&c], from, until, 1_000).unwrap(), openings(&[&again], from, until, 1_000).unwrap());
        let whole = |o: &crate::window::Opening| o.start > from;
        prop_assert_eq!(is.into_iter().filter(whole).collect::<Vec<_>>(), was.into_iter().filter(whole).collect::<Vec<_>>());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(BEGIN:VCALENDAR\r?\n)?((BEGIN|END|DTSTART|RRULE|EXDATE|X)[;:=\"A-Z0-9,/-]{0,24}\r?\n|[^\u{0}]{0,12}\n){0,12}(END:VCALENDAR\n)?") {
        let _ = import(&text, &vienna());
    }
}
