//! A time of the day, on some days: `mon-fri 07:00-18:00`, `22:00-06:00`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, ToSpan as _};
use serde::{Deserialize, Serialize};

use crate::window::{Day, TextError, civil_time, parse_days, parse_time};

const HOURS: &str = "times of the day like `07:00-18:00`, `mon-fri 07:00-18:00` or, over midnight, `22:00-06:00`";

/// From one time of the day to another, by the wall clock. An end that is not after the start is the next day's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// The days on which it begins; at least one.
    pub days: BTreeSet<Day>,
    /// Its first instant.
    #[serde(with = "civil_time")]
    pub start: Time,
    /// The first instant after it.
    #[serde(with = "civil_time")]
    pub end: Time,
}

impl Hours {
    /// When it begins and ends, of the time that begins on that date.
    pub fn on(&self, date: Date) -> Option<(DateTime, DateTime)> {
        if !self.days.contains(&Day::of(date)) {
            return None;
        }
        let over: Span = if self.end > self.start { 0.days() } else { 1.days() };
        Some((date.to_datetime(self.start), date.checked_add(over).ok()?.to_datetime(self.end)))
    }

    /// Whether the wall clock shows a time in it.
    pub fn holds(&self, local: DateTime) -> bool {
        let today = local.date();
        let dates = [Some(today), today.yesterday().ok()];
        dates.into_iter().flatten().filter_map(|date| self.on(date)).any(|(from, to)| from <= local && local < to)
    }
}

impl FromStr for Hours {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let bad = || TextError { text: text.chars().take(100).collect(), expected: HOURS };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, times) = match *words.as_slice() {
            [times] => ("daily", times),
            [days, times] => (days, times),
            _ => return Err(bad()),
        };
        let days = parse_days(days).ok_or_else(bad)?;
        let (start, end) = times.split_once('-').ok_or_else(bad)?;
        let start = parse_time(start).ok_or_else(bad)?;
        let end = if end == "24:00" { Time::midnight() } else { parse_time(end).ok_or_else(bad)? };
        Ok(Self { days, start, end })
    }
}

/// The text that its `FromStr` reads.
impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days.len() < Day::ALL.len() {
            let names: Vec<_> = self.days.iter().map(|d| d.as_str()).collect();
            write!(f, "{} ", names.join(","))?;
        }
        let time = |t: Time| t.strftime(if t.second() == 0 { "%H:%M" } else { "%H:%M:%S" }).to_string();
        write!(f, "{}-{}", time(self.start), time(self.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_shown() {
        for text in
            ["07:00-18:00", "mon,tue,wed,thu,fri 07:00-18:00", "22:00-06:00", "sat,sun 00:00-00:00", "01:02:03-04:05"]
        {
            assert_eq!(text.parse::<Hours>().unwrap().to_string(), text);
        }
        assert_eq!("mon-tue 07:00-24:00".parse::<Hours>().unwrap().to_string(), "mon,tue 07:00-00:00");
        for bad in ["", "07:00", "7:00-18:00", "07:00-25:00", "someday 07:00-18:00", "mon 07:00 - 18:00"] {
            assert!(bad.parse::<Hours>().is_err(), "{bad}");
        }
    }

    #[test]
    fn it_holds_from_its_start_to_its_end_and_over_midnight() {
        // 2026-11-27 is a Friday.
        let at = |text: &str| text.parse::<DateTime>().unwrap();
        let cases = [
            ("mon-fri 07:00-18:00", "2026-11-27T07:00", true),
            ("mon-fri 07:00-18:00", "2026-11-27T17:59:59", true),
            ("mon-fri 07:00-18:00", "2026-11-27T18:00", false),
            ("mon-fri 07:00-18:00", "2026-11-28T12:00", false),
            ("fri 22:00-06:00", "2026-11-28T05:59", true),
            ("fri 22:00-06:00", "2026-11-27T05:59", false),
            ("fri 22:00-06:00", "2026-11-28T06:00", false),
            ("00:00-00:00", "2026-11-28T23:59:59", true),
            ("sat 00:00-00:00", "2026-11-29T00:00", false),
        ];
        for (hours, local, holds) in cases {
            assert_eq!(hours.parse::<Hours>().unwrap().holds(at(local)), holds, "{hours} at {local}");
        }
    }
}
