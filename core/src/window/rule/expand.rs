//! From a rule to its starts, in local time, ascending.

use std::collections::VecDeque;

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Span};

use super::days::week_of;
use super::{End, Frequency, Rule, RuleError};
use crate::limits::MAX_RULE_STEPS;

/// The starts of a rule. It ends with the rule, where nobody looks any more, and after [`MAX_RULE_STEPS`] with an error.
pub(in crate::window) struct Starts {
    rule: Rule,
    first: DateTime,
    from: DateTime,
    until: DateTime,
    /// The next period, counted from the one that the first start lies in.
    period: i64,
    /// What is left of the period before.
    found: VecDeque<DateTime>,
    left: Option<u32>,
    steps: usize,
    over: bool,
}

impl Starts {
    /// Those of `rule` with a first start that are not before `from`, and before `until`.
    pub(in crate::window) fn new(rule: &Rule, first: DateTime, from: DateTime, until: DateTime) -> Self {
        let left = if let End::Count(n) = rule.end { Some(n) } else { None };
        let rule = rule.filled(first);
        let mut starts =
            Self { rule, first, from, until, period: 0, found: VecDeque::new(), left, steps: 0, over: false };
        // Who counts has to begin at the beginning. Nobody else has to.
        if !starts.rule.is_counted() {
            starts.period = starts.before(from).max(0);
        }
        starts
    }

    /// A period of the rule that `at` is not before.
    fn before(&self, at: DateTime) -> i64 {
        let (at, first) = (at.max(self.first), self.first);
        let (to, begin) = (at.date(), first.date());
        let months = |d: Date| i64::from(d.year()) * 12 + i64::from(d.month());
        let days = || i64::from(to.since(begin).map_or(0, |span| span.get_days()));
        let units = match self.rule.freq {
            Frequency::Yearly => i64::from(to.year()) - i64::from(begin.year()),
            Frequency::Monthly => months(to) - months(begin),
            Frequency::Weekly => days() / 7,
            Frequency::Daily => days(),
            Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => {
                let period = self.rule.freq.seconds().unwrap_or(1);
                at.duration_since(first).as_secs() / period
            }
        };
        // One earlier: a week and an hour may begin before what lies in them.
        units / i64::from(self.rule.interval) - 1
    }

    /// The starts that lie in the next period; none once there is no next one.
    fn fill(&mut self) -> Option<()> {
        let number = self.period.checked_mul(i64::from(self.rule.interval))?;
        self.period = self.period.checked_add(1)?;
        self.steps = self.steps.saturating_add(1);
        let first = self.first.date();
        let (begin, count) = match self.rule.freq {
            Frequency::Yearly => {
                let year = i16::try_from(i64::from(first.year()).checked_add(number)?).ok()?;
                let begin = Date::new(year, 1, 1).ok()?;
                (begin, begin.days_in_year())
            }
            Frequency::Monthly => {
                let begin = first.first_of_month().checked_add(Span::new().try_months(number).ok()?).ok()?;
                (begin, i16::from(begin.days_in_month()))
            }
            Frequency::Weekly => {
                let week = week_of(first, self.rule.week_start)?;
                (week.checked_add(Span::new().try_weeks(number).ok()?).ok()?, 7)
            }
            Frequency::Daily => (first.checked_add(Span::new().try_days(number).ok()?).ok()?, 1),
            Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => {
                let begin = self.time_of(number)?;
                if begin >= self.until {
                    return None;
                }
                let found = self.times(begin)?;
                self.take(found);
                return Some(());
            }
        };
        if begin.at(0, 0, 0, 0) >= self.until {
            return None;
        }
        let found = self.days(begin, count);
        self.take(found);
        Some(())
    }

    /// Keeps what BYSETPOS picks of a period's starts.
    fn take(&mut self, mut found: Vec<DateTime>) {
        self.steps = self.steps.saturating_add(found.len());
        if !self.rule.positions.is_empty() {
            let picked = |n: &i16| match usize::from(n.unsigned_abs()) {
                nth if *n > 0 => nth.checked_sub(1),
                nth => found.len().checked_sub(nth),
            };
            let mut places: Vec<usize> = self.rule.positions.iter().filter_map(picked).collect();
            places.sort_unstable();
            places.dedup();
            found = places.into_iter().filter_map(|place| found.get(place).copied()).collect();
        }
        self.found.extend(found.into_iter().filter(|at| *at >= self.first));
    }

    /// The starts on the days of a period, ascending.
    fn days(&self, begin: Date, count: i16) -> Vec<DateTime> {
        let dates = begin.series(Span::new().days(1)).take(usize::try_from(count).unwrap_or(0));
        let rule = &self.rule;
        let times = || {
            rule.hours.iter().flat_map(move |h| {
                rule.minutes.iter().flat_map(move |m| rule.seconds.iter().filter_map(move |s| time(*h, *m, *s)))
            })
        };
        dates.filter(|d| rule.allows(*d)).flat_map(|d| times().map(move |t| d.to_datetime(t))).collect()
    }

    /// Where a period that is shorter than a day begins.
    fn time_of(&self, number: i64) -> Option<DateTime> {
        let first = self.first;
        let begin = match self.rule.freq {
            Frequency::Hourly => first.date().at(first.hour(), 0, 0, 0),
            Frequency::Minutely => first.date().at(first.hour(), first.minute(), 0, 0),
            _ => first,
        };
        let away = number.checked_mul(self.rule.freq.seconds()?)?;
        begin.checked_add(SignedDuration::from_secs(away)).ok()
    }

    /// The starts in a period that is shorter than a day; where its day is not the rule's, the next is one of another day.
    fn times(&mut self, at: DateTime) -> Option<Vec<DateTime>> {
        if !self.rule.allows(at.date()) {
            let midnight = at.date().tomorrow().ok()?.at(0, 0, 0, 0);
            let step = self.rule.freq.seconds()?.checked_mul(i64::from(self.rule.interval))?;
            let away = midnight.duration_since(self.time_of(0)?).as_secs();
            self.period = self.period.max(away / step + i64::from(away % step != 0));
            return Some(Vec::new());
        }
        let rule = &self.rule;
        let among = |set: &std::collections::BTreeSet<i16>, own: i8| set.is_empty() || set.contains(&i16::from(own));
        let hour = among(&rule.hours, at.hour());
        let minute = rule.freq == Frequency::Hourly || among(&rule.minutes, at.minute());
        let second = rule.freq != Frequency::Secondly || among(&rule.seconds, at.second());
        if !(hour && minute && second) {
            return Some(Vec::new());
        }
        let own = |n: i8| std::collections::BTreeSet::from([i16::from(n)]);
        let minutes = if rule.freq == Frequency::Hourly { rule.minutes.clone() } else { own(at.minute()) };
        let seconds = if rule.freq == Frequency::Secondly { own(at.second()) } else { rule.seconds.clone() };
        let hour = i16::from(at.hour());
        let times = minutes.iter().flat_map(|m| seconds.iter().filter_map(move |s| time(hour, *m, *s)));
        Some(times.map(|t| at.date().to_datetime(t)).collect())
    }
}

fn time(hour: i16, minute: i16, second: i16) -> Option<Time> {
    Time::new(hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?, 0).ok()
}

impl Iterator for Starts {
    type Item = Result<DateTime, RuleError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            while let Some(at) = self.found.pop_front() {
                if matches!(self.rule.end, End::Local(until) if at > until) {
                    self.over = true;
                    return None;
                }
                if let Some(left) = &mut self.left {
                    let Some(fewer) = left.checked_sub(1) else {
                        self.over = true;
                        return None;
                    };
                    *left = fewer;
                }
                if at >= self.from && at < self.until {
                    return Some(Ok(at));
                }
            }
            if self.steps > MAX_RULE_STEPS {
                self.over = true;
                return Some(Err(RuleError::Endless { rule: self.rule.to_string() }));
            }
            if self.fill().is_none() {
                self.over = true;
            }
        }
        None
    }
}
