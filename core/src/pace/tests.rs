use super::*;

fn rate(text: &str) -> Option<Rate> {
    Some(text.parse().unwrap())
}

fn hours(text: &str) -> Option<Hours> {
    Some(text.parse().unwrap())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn clinical() -> Timetable {
    let day = Limits { rate: rate("20Mbit"), device_rate: rate("2Mbit"), streams: Some(8) };
    let lunch = Limits { rate: rate("50Mbit"), device_rate: rate("1Mbit"), streams: None };
    let night = Limits { rate: rate("200Mbit"), ..Limits::default() };
    Timetable::default()
        .with(Some("Europe/Berlin"), hours("mon-fri 07:00-18:00"), day)
        .and_then(|t| t.with(None, hours("12:00-13:00"), lunch))
        .and_then(|t| t.with(None, None, night))
        .unwrap()
}

#[test]
fn the_hospitals_clock_decides_and_of_several_the_strictest() {
    let timetable = clinical();
    // Friday, 06:59 and 07:00 in Berlin, in winter.
    assert_eq!(timetable.at(at("2026-11-27T05:59:59Z")).rate, rate("200Mbit"));
    let day = timetable.at(at("2026-11-27T06:00:00Z"));
    assert_eq!((day.rate, day.device_rate, day.streams), (rate("20Mbit"), rate("2Mbit"), Some(8)));
    let both = timetable.at(at("2026-11-27T11:30:00Z"));
    assert_eq!((both.rate, both.device_rate, both.streams), (rate("20Mbit"), rate("1Mbit"), Some(8)));
    // Saturday: only the lunch hour.
    assert_eq!(timetable.at(at("2026-11-28T11:30:00Z")).rate, rate("50Mbit"));
    // Summer: an hour earlier in UTC.
    assert_eq!(timetable.at(at("2026-07-24T05:00:00Z")).streams, Some(8));
    assert_eq!(Timetable::default().at(at("2026-07-24T05:00:00Z")), Limits::default());
}

#[test]
fn nothing_by_day_says_when_something_is() {
    let nothing = Limits { rate: Some(Rate::NOTHING), ..Limits::default() };
    let timetable = Timetable::default().with(Some("Europe/Berlin"), hours("07:00-18:00"), nothing).unwrap();
    let noon = at("2026-11-27T11:00:00Z");
    assert!(timetable.at(noon).is_closed());
    assert_eq!(timetable.opens(noon), Some(at("2026-11-27T17:00:00Z")));
    // Another period follows in which nothing may be fetched either.
    let longer = timetable.with(None, hours("17:00-20:00"), nothing).unwrap();
    assert_eq!(longer.opens(noon), Some(at("2026-11-27T19:00:00Z")));
    let never = longer.with(None, None, nothing).unwrap();
    assert_eq!(never.opens(noon), None);
}

#[test]
fn what_cannot_be_held_is_refused_with_what_can() {
    let empty = Timetable::default;
    let some = Limits { streams: Some(8), ..Limits::default() };
    let cases = [
        (empty().with(None, None, Limits::default()), LimitsError::Nothing),
        (empty().with(None, hours("07:00-18:00"), some), LimitsError::NoZone),
        (empty().with(Some("Mars/Dome"), None, some), LimitsError::Zone("Mars/Dome".to_owned())),
        (empty().with(None, None, Limits { streams: Some(0), ..some }), LimitsError::Streams),
        (
            clinical().with(Some("Europe/London"), hours("01:00-02:00"), some),
            LimitsError::OtherZone("Europe/Berlin".to_owned()),
        ),
        (clinical().without(&hours("01:00-02:00").unwrap()), LimitsError::NoPeriod("01:00-02:00".to_owned())),
        (
            empty().with(None, None, Limits { rate: rate("1Mbit"), streams: Some(100), ..some }),
            LimitsError::Crowd { streams: 100, rate: rate("1Mbit").unwrap() },
        ),
    ];
    for (result, error) in cases {
        assert_eq!(result, Err(error));
    }
    let mut full = clinical();
    for hour in 0..MAX_PERIODS - 2 {
        full = full.with(None, hours(&format!("{hour:02}:00-{hour:02}:30")), some).unwrap();
    }
    assert_eq!(full.clone().with(None, hours("23:00-23:01"), some), Err(LimitsError::Periods));
    // What is there can be set anew, and taken away.
    let less = full.with(None, hours("12:00-13:00"), some).unwrap().without(&hours("12:00-13:00").unwrap()).unwrap();
    assert_eq!(less.periods.len(), MAX_PERIODS - 1);
}

#[test]
fn nobody_is_given_a_share_that_a_transfer_cannot_live_by() {
    let of = |rate, streams| Limits { rate, streams, device_rate: None }.places();
    assert_eq!(of(None, None), MAX_FETCHING_DEVICES);
    assert_eq!(of(rate("20Mbit"), Some(8)), 8);
    assert_eq!(of(rate("20Mbit"), None), 78);
    assert_eq!(of(rate("256kbit"), None), 1);
}

#[test]
fn it_is_kept_as_a_document() {
    let text = serde_json::to_string(&clinical()).unwrap();
    assert_eq!(serde_json::from_str::<Timetable>(&text).unwrap(), clinical());
    assert!(serde_json::from_str::<Timetable>(&text.replace("zone", "zome")).is_err());
}
