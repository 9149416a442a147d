//! Rules as RFC 5545 writes them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::{Day, End, Frequency, NthDay, Rule, RuleError};
use crate::limits::{MAX_RULE_BYTES, MAX_RULE_INTERVAL};

/// `20261224T020000`, as iCalendar writes local times.
const BASIC: &str = "%Y%m%dT%H%M%S";
const UNTIL: &str =
    "UNTIL=20261224T020000Z, an instant in UTC, or UNTIL=20261224T020000, local; a date alone says not which";

fn value(part: &str, expected: &'static str) -> RuleError {
    RuleError::Value { part: part.chars().take(100).collect(), expected }
}

impl FromStr for Rule {
    type Err = RuleError;

    /// Reads a rule, with `RRULE:` before it or without, in any order and any case.
    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text.len() > MAX_RULE_BYTES {
            return Err(RuleError::TooLong);
        }
        let upper = text.trim().to_ascii_uppercase();
        let body = upper.strip_prefix("RRULE:").unwrap_or(&upper);
        let mut rule = Self::every(Frequency::Daily);
        let mut seen = BTreeSet::new();
        // A trailing semicolon is common and means nothing.
        for part in body.strip_suffix(';').unwrap_or(body).split(';') {
            let unknown = || RuleError::Part { part: part.chars().take(100).collect() };
            let (name, list) = part.split_once('=').ok_or_else(unknown)?;
            if !seen.insert(name) {
                return Err(unknown());
            }
            match name {
                "FREQ" => {
                    let found = Frequency::ALL.into_iter().find(|f| f.as_str() == list);
                    rule.freq = found.ok_or_else(|| value(part, "a frequency, as in FREQ=WEEKLY"))?;
                }
                "INTERVAL" => {
                    let good = number(list).filter(|n| (1..=MAX_RULE_INTERVAL).contains(n));
                    rule.interval = good.ok_or_else(|| value(part, "an interval from 1 to 10000"))?;
                }
                "COUNT" => {
                    let good = number(list).filter(|n| *n > 0);
                    rule.end = End::Count(good.ok_or_else(|| value(part, "a count of starts, as in COUNT=12"))?);
                }
                "UNTIL" => rule.end = until(list).ok_or_else(|| value(part, UNTIL))?,
                "WKST" => rule.week_start = day(list).ok_or_else(|| value(part, "a day, as in WKST=MO"))?,
                "BYMONTH" => rule.months = set(part, list, 1..=12, false)?,
                "BYWEEKNO" => rule.week_numbers = set(part, list, 1..=53, true)?,
                "BYYEARDAY" => rule.year_days = set(part, list, 1..=366, true)?,
                "BYMONTHDAY" => rule.month_days = set(part, list, 1..=31, true)?,
                "BYHOUR" => rule.hours = set(part, list, 0..=23, false)?,
                "BYMINUTE" => rule.minutes = set(part, list, 0..=59, false)?,
                "BYSECOND" => rule.seconds = set(part, list, 0..=59, false)?,
                "BYSETPOS" => rule.positions = set(part, list, 1..=366, true)?,
                "BYDAY" => {
                    let days: Option<_> = list.split(',').map(nth_day).collect();
                    rule.days =
                        days.ok_or_else(|| value(part, "a list of days, as in BYDAY=SA,SU or BYDAY=2TU,-1FR"))?;
                }
                _ => return Err(unknown()),
            }
        }
        if !seen.contains("FREQ") {
            return Err(RuleError::NoFrequency);
        }
        if seen.contains("COUNT") && seen.contains("UNTIL") {
            return Err(RuleError::TwoEnds);
        }
        rule.broken_rule().map_or(Ok(rule), |broken| Err(RuleError::Rule(broken)))
    }
}

/// A number in digits alone, so without a sign.
fn number<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A number with a sign or without.
fn signed(text: &str) -> Option<i16> {
    match text.strip_prefix('-') {
        Some(digits) => number::<i16>(digits).map(|n| -n),
        None => number(text.strip_prefix('+').unwrap_or(text)),
    }
}

/// A list of numbers whose size is in `range`, below zero only where that counts from the end.
fn set(
    part: &str,
    list: &str,
    range: std::ops::RangeInclusive<i16>,
    from_the_end: bool,
) -> Result<BTreeSet<i16>, RuleError> {
    let good = |n: &i16| range.contains(&n.abs()) && (*n >= 0 || from_the_end);
    let numbers: Option<_> = list.split(',').map(|n| signed(n).filter(good)).collect();
    numbers
        .ok_or_else(|| value(part, "a list of numbers that RFC 5545 allows there, as in BYMONTH=1,7 or BYMONTHDAY=-1"))
}

fn until(text: &str) -> Option<End> {
    match text.strip_suffix('Z') {
        Some(utc) => Offset::UTC.to_timestamp(basic(utc)?).ok().map(End::Instant),
        None => basic(text).map(End::Local),
    }
}

fn basic(text: &str) -> Option<DateTime> {
    DateTime::strptime(BASIC, text).ok().filter(|t| t.strftime(BASIC).to_string() == text)
}

/// The two letters of a day.
fn letters(day: Day) -> String {
    day.as_str().chars().take(2).collect::<String>().to_ascii_uppercase()
}

fn day(text: &str) -> Option<Day> {
    Day::ALL.into_iter().find(|d| letters(*d) == text)
}

fn nth_day(text: &str) -> Option<NthDay> {
    let (nth, name) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let nth = if nth.is_empty() { 0 } else { signed(nth).filter(|n| (1..=53).contains(&n.abs()))? };
    Some(NthDay { nth, day: day(name)? })
}

/// The one spelling: parts in the order of RFC 5545, what is understood anyway left out.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FREQ={}", self.freq.as_str())?;
        match self.end {
            End::Never => {}
            End::Count(n) => write!(f, ";COUNT={n}")?,
            End::Instant(at) => write!(f, ";UNTIL={}Z", Offset::UTC.to_datetime(at).strftime(BASIC))?,
            End::Local(at) => write!(f, ";UNTIL={}", at.strftime(BASIC))?,
        }
        if self.interval != 1 {
            write!(f, ";INTERVAL={}", self.interval)?;
        }
        for (name, set) in [("BYSECOND", &self.seconds), ("BYMINUTE", &self.minutes), ("BYHOUR", &self.hours)] {
            list(f, name, set.iter())?;
        }
        list(
            f,
            "BYDAY",
            self.days.iter().map(|d| match d.nth {
                0 => letters(d.day),
                nth => format!("{nth}{}", letters(d.day)),
            }),
        )?;
        for (name, set) in [
            ("BYMONTHDAY", &self.month_days),
            ("BYYEARDAY", &self.year_days),
            ("BYWEEKNO", &self.week_numbers),
            ("BYMONTH", &self.months),
            ("BYSETPOS", &self.positions),
        ] {
            list(f, name, set.iter())?;
        }
        if self.week_start == Day::Mon { Ok(()) } else { write!(f, ";WKST={}", letters(self.week_start)) }
    }
}

fn list(f: &mut fmt::Formatter<'_>, name: &str, items: impl Iterator<Item = impl fmt::Display>) -> fmt::Result {
    for (place, item) in items.enumerate() {
        if place == 0 { write!(f, ";{name}={item}")? } else { write!(f, ",{item}")? }
    }
    Ok(())
}

/// Of a signed calendar, where a rule has one spelling.
impl TryFrom<String> for Rule {
    type Error = RuleError;
    fn try_from(text: String) -> Result<Self, RuleError> {
        let rule: Self = text.parse()?;
        if rule.to_string() == text { Ok(rule) } else { Err(RuleError::Rule("it is not written in its one spelling")) }
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}
