//! Calendars as people type them: `sat,sun 02:00 2h`, `2026-11-24T17:00 30m`, `2026-12-24..2027-01-02`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time};

use super::{Day, Freeze, Recurrence, Window};

/// Why a text is no window, freeze or duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct TextError {
    /// What was typed.
    pub text: String,
    /// What is understood, with an example.
    pub expected: &'static str,
}

const WEEKLY: &str = "a weekly window like `sat,sun 02:00 2h` or `mon-fri 22:30 90m`: days, start, length";
const ONCE: &str = "a single window like `2026-11-24T17:00 30m`: local date and time, length";
const FREEZE: &str = "a frozen date like 2026-12-24, or dates like 2026-12-24..2027-01-02, the last included";
const LOCAL: &str = "a local date and time like 2026-11-24T17:00";
const DURATION: &str = "a length of time like 2h, 90m, 1h30m, 45s or 14d";

pub(super) fn error(text: &str, expected: &'static str) -> TextError {
    TextError { text: text.chars().take(100).collect(), expected }
}

/// A local date and time, `2026-11-24T17:00` or with seconds.
///
/// # Errors
///
/// Anything else.
pub fn parse_local(text: &str) -> Result<DateTime, TextError> {
    let parts = text.split_once('T').and_then(|(date, time)| Some((parse_date(date)?, parse_time(time)?)));
    parts.map(|(date, time)| DateTime::from_parts(date, time)).ok_or_else(|| error(text, LOCAL))
}

/// Seconds of `1d`, `2h`, `90m`, `45s` and of their sums, larger units first, or as RFC 5545 writes them, `PT1H30M`.
///
/// # Errors
///
/// Anything else, nothing at all, and more than `u32` holds.
pub fn parse_duration(text: &str) -> Result<u32, TextError> {
    let bad = || error(text, DURATION);
    let plain = text.strip_prefix('P').map(|iso| plain_duration(iso).ok_or_else(bad)).transpose()?;
    let mut rest = plain.as_deref().unwrap_or(text);
    let mut total: u32 = 0;
    let mut units: &[(char, u32)] = &[('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?);
        let unit = tail.chars().next().ok_or_else(bad)?;
        let place = units.iter().position(|(name, _)| *name == unit).ok_or_else(bad)?;
        let (_, secs) = units.get(place).ok_or_else(bad)?;
        units = units.get(place + 1..).unwrap_or_default();
        let count: u32 = digits.parse().map_err(|_| bad())?;
        total = count.checked_mul(*secs).and_then(|s| total.checked_add(s)).ok_or_else(bad)?;
        rest = tail.get(unit.len_utf8()..).unwrap_or_default();
    }
    if total == 0 { Err(bad()) } else { Ok(total) }
}

/// What follows the `P` of RFC 5545's form, section 3.3.6, in ours. An `M` is minutes after a `T` and would be months before.
fn plain_duration(iso: &str) -> Option<String> {
    let (days, time) = iso.split_once('T').unwrap_or((iso, "0S"));
    let only = |text: &str, units: &str| text.chars().all(|c| c.is_ascii_digit() || units.contains(c));
    let plain = format!("{days}{}", if time == "0S" { "" } else { time }).to_ascii_lowercase();
    (only(days, "WD") && only(time, "HMS") && !time.is_empty()).then_some(plain)
}

impl Window {
    /// Reads `DAYS START LENGTH`; days as a list of names and ranges, or `daily`.
    ///
    /// # Errors
    ///
    /// Anything else.
    pub fn parse_weekly(text: &str) -> Result<Self, TextError> {
        let bad = || error(text, WEEKLY);
        let [days, start, length] = <[&str; 3]>::try_from(words(text)).map_err(|_| bad())?;
        let days = parse_days(days).ok_or_else(bad)?;
        let start = parse_time(start).ok_or_else(bad)?;
        let duration_secs = parse_duration(length).map_err(|_| bad())?;
        Ok(Self { begins: Recurrence::Weekly { days, start }, duration_secs })
    }

    /// Reads `DATE'T'TIME LENGTH`.
    ///
    /// # Errors
    ///
    /// Anything else.
    pub fn parse_once(text: &str) -> Result<Self, TextError> {
        let bad = || error(text, ONCE);
        let [start, length] = <[&str; 2]>::try_from(words(text)).map_err(|_| bad())?;
        let start = parse_local(start).map_err(|_| bad())?;
        let duration_secs = parse_duration(length).map_err(|_| bad())?;
        Ok(Self { begins: Recurrence::Once { start }, duration_secs })
    }
}

impl FromStr for Freeze {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let bad = || error(text, FREEZE);
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last) = (parse_date(first).ok_or_else(bad)?, parse_date(last).ok_or_else(bad)?);
        if first <= last { Ok(Self { first, last }) } else { Err(bad()) }
    }
}

/// The text that [`Window::parse_weekly`] or [`Window::parse_once`] reads; a rule with its first start before it and its
/// exceptions behind it.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.begins {
            Recurrence::Weekly { days, start } => {
                let names: Vec<_> = days.iter().map(|d| d.as_str()).collect();
                write!(f, "{} {}", names.join(","), start.strftime("%H:%M:%S"))?;
            }
            Recurrence::Once { start } => write!(f, "{}", start.strftime("%Y-%m-%dT%H:%M:%S"))?,
            Recurrence::Rule { start, rule, except } => {
                write!(f, "{} {rule}", start.strftime("%Y-%m-%dT%H:%M:%S"))?;
                for exception in except {
                    write!(f, " -{exception}")?;
                }
            }
        }
        f.write_str(" ")?;
        let mut rest = self.duration_secs;
        for (unit, secs) in [("h", 3_600), ("m", 60), ("s", 1)] {
            if rest >= secs {
                write!(f, "{}{unit}", rest / secs)?;
                rest %= secs;
            }
        }
        Ok(())
    }
}

/// The text that its `FromStr` reads.
impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first.strftime("%Y-%m-%d"))?;
        if self.first == self.last { Ok(()) } else { write!(f, "..{}", self.last.strftime("%Y-%m-%d")) }
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

pub(super) fn parse_date(text: &str) -> Option<Date> {
    Date::strptime("%Y-%m-%d", text).ok().filter(|d| d.strftime("%Y-%m-%d").to_string() == text)
}

pub(crate) fn parse_time(text: &str) -> Option<Time> {
    let whole = if text.len() == 5 { format!("{text}:00") } else { text.to_owned() };
    Time::strptime("%H:%M:%S", &whole).ok().filter(|t| t.strftime("%H:%M:%S").to_string() == whole)
}

pub(crate) fn parse_days(text: &str) -> Option<BTreeSet<Day>> {
    if text == "daily" {
        return Some(Day::ALL.into());
    }
    let day = |name: &str| Day::ALL.into_iter().position(|d| d.as_str() == name);
    let mut days = BTreeSet::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (day(from)?, day(to)?);
        // `sat-mon` goes over the end of the week.
        let count = (to + 7 - from) % 7 + 1;
        days.extend(Day::ALL.into_iter().cycle().skip(from).take(count));
    }
    Some(days)
}
