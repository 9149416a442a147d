//! Recurrence rules, by RFC 5545, section 3.3.10: `FREQ=MONTHLY;BYDAY=2TU` is each month's second Tuesday.
//!
//! A rule is read together with a first start, the property DTSTART, which fills in what the rule leaves open and before
//! which it yields nothing. It is expanded in local time: what the zone's clock makes of a start is the opening's matter.
//! Where the standard leaves a choice, this is taken:
//!
//! - A first start that does not fit its own rule is none; the rule alone says when.
//! - BYDAY with and without numbers are alternatives: a day that fits either is in.
//! - BYWEEKNO without BYDAY is the week's day on which the first start falls.
//! - BYSETPOS counts in the whole week, month or year, also in the one in which the first start lies.
//! - COUNT counts starts that an exception takes away, as the standard has it.

mod days;
mod error;
mod expand;
mod text;

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

pub use self::error::RuleError;
pub(super) use self::expand::Starts;
use super::Day;
use crate::limits::MAX_RULE_TIMES;

/// A recurrence rule; text and JSON form: what follows `RRULE:`, in one spelling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    freq: Frequency,
    interval: u32,
    end: End,
    week_start: Day,
    months: BTreeSet<i16>,
    week_numbers: BTreeSet<i16>,
    year_days: BTreeSet<i16>,
    month_days: BTreeSet<i16>,
    days: BTreeSet<NthDay>,
    hours: BTreeSet<i16>,
    minutes: BTreeSet<i16>,
    seconds: BTreeSet<i16>,
    positions: BTreeSet<i16>,
}

/// FREQ: the period that a rule goes by, from the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Frequency {
    Yearly,
    Monthly,
    Weekly,
    Daily,
    Hourly,
    Minutely,
    Secondly,
}

/// What ends a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Never,
    /// COUNT: after so many starts.
    Count(u32),
    /// UNTIL in UTC: no start after that instant.
    Instant(Timestamp),
    /// UNTIL without a zone: no start after the clock shows that.
    Local(DateTime),
}

/// BYDAY: the `nth` such day of the month or year, from its end where negative; each where 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct NthDay {
    nth: i16,
    day: Day,
}

impl Rule {
    /// Each week on these days, at the time of the first start.
    pub(super) fn weekly(days: &BTreeSet<Day>) -> Self {
        let days = days.iter().map(|day| NthDay { nth: 0, day: *day }).collect();
        Self { days, ..Self::every(Frequency::Weekly) }
    }

    fn every(freq: Frequency) -> Self {
        Self {
            freq,
            interval: 1,
            end: End::Never,
            week_start: Day::Mon,
            months: BTreeSet::new(),
            week_numbers: BTreeSet::new(),
            year_days: BTreeSet::new(),
            month_days: BTreeSet::new(),
            days: BTreeSet::new(),
            hours: BTreeSet::new(),
            minutes: BTreeSet::new(),
            seconds: BTreeSet::new(),
            positions: BTreeSet::new(),
        }
    }

    /// Whether it yields no more than one start a day.
    pub(super) fn is_of_days(&self) -> bool {
        let times = [&self.hours, &self.minutes, &self.seconds];
        self.freq <= Frequency::Daily && times.iter().all(|set| set.is_empty())
    }

    /// The instant after which nothing begins, where UNTIL names one.
    pub(super) const fn until(&self) -> Option<Timestamp> {
        if let End::Instant(until) = self.end { Some(until) } else { None }
    }

    /// Whether it ends by itself, by COUNT.
    const fn is_counted(&self) -> bool {
        matches!(self.end, End::Count(_))
    }

    /// What the table of section 3.3.10 forbids, and what would yield more than anybody reads.
    fn broken_rule(&self) -> Option<&'static str> {
        let numbered = self.days.iter().any(|d| d.nth != 0);
        let by_others = [
            &self.months,
            &self.week_numbers,
            &self.year_days,
            &self.month_days,
            &self.hours,
            &self.minutes,
            &self.seconds,
        ]
        .iter()
        .any(|set| !set.is_empty());
        let times = |set: &BTreeSet<i16>| set.len().max(1);
        let a_day = times(&self.hours) * times(&self.minutes) * times(&self.seconds);
        crate::approval::first_broken(&[
            (self.week_numbers.is_empty() || self.freq == Frequency::Yearly, "BYWEEKNO goes with FREQ=YEARLY alone"),
            (
                self.year_days.is_empty()
                    || !matches!(self.freq, Frequency::Daily | Frequency::Weekly | Frequency::Monthly),
                "BYYEARDAY does not go with FREQ=DAILY, WEEKLY and MONTHLY",
            ),
            (self.month_days.is_empty() || self.freq != Frequency::Weekly, "BYMONTHDAY does not go with FREQ=WEEKLY"),
            (
                !numbered || matches!(self.freq, Frequency::Monthly | Frequency::Yearly),
                "BYDAY with numbers, like 2TU, goes with FREQ=MONTHLY and YEARLY alone",
            ),
            (!numbered || self.week_numbers.is_empty(), "BYDAY with numbers, like 2TU, does not go with BYWEEKNO"),
            (
                self.positions.is_empty() || by_others || !self.days.is_empty(),
                "BYSETPOS needs another BY... that it picks from",
            ),
            (a_day <= MAX_RULE_TIMES, "it begins more than 288 times a day"),
        ])
    }
}

impl Frequency {
    /// All, from the longest.
    const ALL: [Self; 7] =
        [Self::Yearly, Self::Monthly, Self::Weekly, Self::Daily, Self::Hourly, Self::Minutely, Self::Secondly];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Yearly => "YEARLY",
            Self::Monthly => "MONTHLY",
            Self::Weekly => "WEEKLY",
            Self::Daily => "DAILY",
            Self::Hourly => "HOURLY",
            Self::Minutely => "MINUTELY",
            Self::Secondly => "SECONDLY",
        }
    }

    /// Seconds of its period, where it is shorter than a day.
    const fn seconds(self) -> Option<i64> {
        match self {
            Self::Hourly => Some(3_600),
            Self::Minutely => Some(60),
            Self::Secondly => Some(1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
