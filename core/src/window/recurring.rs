//! Dates that are frozen again and again: each turn of the year, each first week of a month.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::Span;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::rule::Starts;
use super::text::{TextError, error, parse_date};
use super::{Exception, Freeze, Rule, RuleError, civil, plausible};
use crate::limits::{MAX_EXCEPTIONS, MAX_RECURRING_FREEZE_DAYS};

const LEAP: &str = "the same dates each year, for only some years have 29 February; \
                    write it by itself, as in 02-20..02-28, 02-29 and 03-01..03-05";

/// Dates on which nothing begins, as often as a rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recurring {
    /// The first of these dates the first time, DTSTART.
    #[serde(with = "civil::date")]
    pub first: Date,
    /// How many dates each time.
    pub days: u32,
    /// When again, RRULE; by days or longer.
    pub rule: Box<Rule>,
    /// The times that are left out, EXDATE.
    pub except: BTreeSet<Exception>,
}

impl Recurring {
    /// What is frozen of `[since, before)`, and what of it begins earlier, by the clock of `zone`; ascending.
    pub(super) fn dates(&self, since: Date, before: Date, zone: &TimeZone) -> Result<Vec<Freeze>, RuleError> {
        let more = Span::new().days(i64::from(self.days.saturating_sub(1)));
        let from = since.checked_sub(more).unwrap_or(since);
        let [first, from, before] = [self.first, from, before].map(|date| date.to_datetime(Time::midnight()));
        // UNTIL stands in UTC (section 3.3.10), dates are local.
        let ended = self.rule.until().map(|until| zone.to_datetime(until).date());
        let mut dates: Vec<Freeze> = Vec::new();
        for start in Starts::new(&self.rule, first, from, before) {
            let start = start?;
            let first = start.date();
            if ended.is_some_and(|ended| ended < first) || self.except.iter().any(|e| e.takes(start)) {
                continue;
            }
            dates.push(Freeze { first, last: first.checked_add(more).unwrap_or(Date::MAX) });
        }
        Ok(dates)
    }

    /// Whether it can be expanded at all.
    pub(super) fn is_orderly(&self) -> bool {
        plausible(self.first)
            && (1..=MAX_RECURRING_FREEZE_DAYS).contains(&self.days)
            && self.except.len() <= MAX_EXCEPTIONS
            && self.rule.is_of_days()
    }
}

/// `12-24..01-02`, or `12-24`: the same dates of each year. `02-29` stands by itself.
impl FromStr for Recurring {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let bad = || error(text, "dates of each year like 12-24..01-02, the last included, or one like 12-24");
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        // A leap year, so that each date is one.
        let day = |text: &str| parse_date(&format!("2000-{text}")).ok_or_else(bad);
        let (first, mut last) = (day(first)?, day(last)?);
        let (leap, wraps) = (day("02-29")?, last < first);
        // A rule's dates are as many each time, and begin on one that the year has.
        let among = if wraps { first <= leap || leap <= last } else { first <= leap && leap <= last };
        if among && first != last {
            return Err(error(text, LEAP));
        }
        if wraps {
            last = last.checked_add(Span::new().years(1)).map_err(|_| bad())?;
        }
        let days = first.until(last).map_err(|_| bad())?.get_days().saturating_add(1);
        let rule = "FREQ=YEARLY".parse().map_err(|_| bad())?;
        Ok(Self { first, days: u32::try_from(days).map_err(|_| bad())?, rule: Box::new(rule), except: BTreeSet::new() })
    }
}

impl fmt::Display for Recurring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = if self.days == 1 { "day" } else { "days" };
        write!(f, "{} {days} from {}, {}", self.days, self.first.strftime("%Y-%m-%d"), self.rule)?;
        self.except.iter().try_for_each(|exception| write!(f, " -{exception}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn dates(recurring: &Recurring, since: &str, before: &str) -> Vec<String> {
        recurring.dates(date(since), date(before), &TimeZone::UTC).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_years_dates_are_frozen_over_its_end_too() {
        let turn: Recurring = "12-24..01-02".parse().unwrap();
        assert_eq!(turn.days, 10);
        let expected = ["2026-12-24..2027-01-02", "2027-12-24..2028-01-02"];
        assert_eq!(dates(&turn, "2026-11-01", "2028-01-01"), expected);
        assert_eq!(dates(&turn, "2027-01-02", "2027-12-24"), expected[..1], "what has begun is frozen still");
        assert!(dates(&turn, "2027-01-03", "2027-12-24").is_empty());
        assert_eq!(dates(&"02-29".parse().unwrap(), "2026-01-01", "2029-01-01"), ["2028-02-29"]);
        for bad in ["12-24..", "24-12", "2026-12-24", "02-30", ""] {
            assert!(bad.parse::<Recurring>().is_err(), "{bad}");
        }
    }

    /// What is counted in a leap year is a day longer than in another, and what begins on 29 February is in no other.
    #[test]
    fn each_years_dates_have_the_29th_of_february_alone_or_not_at_all() {
        for over in ["02-20..03-01", "02-20..02-29", "02-29..03-05", "01-15..02-29", "12-31..02-29", "02-28..02-29"] {
            let error = over.parse::<Recurring>().unwrap_err().to_string();
            assert!(error.contains("by itself, as in 02-20..02-28, 02-29 and 03-01..03-05"), "{error}");
        }
        let frozen = |parts: &[&str], year: i16| -> Vec<String> {
            let each = |text: &&str| dates(&text.parse().unwrap(), &format!("{year}-01-01"), &format!("{year}-12-01"));
            parts.iter().flat_map(each).collect()
        };
        let whole = ["02-20..02-28", "02-29", "03-01"];
        assert_eq!(frozen(&whole, 2027), ["2027-02-20..2027-02-28", "2027-03-01"]);
        assert_eq!(frozen(&whole, 2028), ["2028-02-20..2028-02-28", "2028-02-29", "2028-03-01"]);
        let late = ["02-29", "03-01..03-05"];
        assert_eq!(frozen(&late, 2027), ["2027-03-01..2027-03-05"]);
        assert_eq!(frozen(&late, 2028), ["2028-02-29", "2028-03-01..2028-03-05"]);
        // Over the turn of the year into February.
        assert_eq!(frozen(&["12-31..02-28"], 2028), ["2027-12-31..2028-02-28"]);
    }

    #[test]
    fn a_rule_says_when_again_and_an_exception_takes_one_out() {
        let rule = |text: &str| Box::new(text.parse::<Rule>().unwrap());
        let first = Recurring {
            first: date("2026-10-05"),
            days: 2,
            rule: rule("FREQ=MONTHLY;BYDAY=1MO"),
            except: [Exception::Date(date("2026-12-07"))].into(),
        };
        assert_eq!(
            dates(&first, "2026-11-01", "2027-02-01"),
            ["2026-11-02..2026-11-03", "2027-01-04..2027-01-05"],
            "not December's"
        );
        assert!(first.is_orderly());
        assert!(!Recurring { rule: rule("FREQ=HOURLY"), ..first.clone() }.is_orderly(), "dates have no hours");
        assert!(!Recurring { days: 0, ..first.clone() }.is_orderly());
        let ends = Recurring { rule: rule("FREQ=MONTHLY;BYDAY=1MO;UNTIL=20261103T000000Z"), ..first };
        assert_eq!(dates(&ends, "2026-11-01", "2027-02-01"), ["2026-11-02..2026-11-03"]);
    }
}
