//! Which days a rule names.

use jiff::civil::{Date, DateTime};

use super::{Day, Frequency, NthDay, Rule};

impl Rule {
    /// The rule with what it leaves open taken from the first start (RFC 5545, section 3.3.10, last but one paragraph).
    pub(super) fn filled(&self, first: DateTime) -> Self {
        let mut rule = self.clone();
        let one = |n: i8| [i16::from(n)].into();
        let day = NthDay { nth: 0, day: Day::of(first.date()) };
        let no_day = rule.month_days.is_empty() && rule.days.is_empty();
        match rule.freq {
            Frequency::Yearly if no_day && rule.year_days.is_empty() => {
                if rule.week_numbers.is_empty() {
                    rule.month_days = one(first.day());
                    if rule.months.is_empty() {
                        rule.months = one(first.month());
                    }
                } else {
                    rule.days = [day].into();
                }
            }
            Frequency::Monthly if no_day => rule.month_days = one(first.day()),
            Frequency::Weekly if no_day => rule.days = [day].into(),
            _ => {}
        }
        for (set, shorter, own) in [
            (&mut rule.hours, Frequency::Hourly, first.hour()),
            (&mut rule.minutes, Frequency::Minutely, first.minute()),
            (&mut rule.seconds, Frequency::Secondly, first.second()),
        ] {
            if set.is_empty() && self.freq < shorter {
                *set = one(own);
            }
        }
        rule
    }

    /// Whether each of its parts that speak of days allows this one.
    pub(super) fn allows(&self, date: Date) -> bool {
        let (day, length) = (i16::from(date.day()), i16::from(date.days_in_month()));
        let (of_year, year_length) = (date.day_of_year(), date.days_in_year());
        let either = |set: &std::collections::BTreeSet<i16>, nth: i16, of: i16| {
            set.is_empty() || set.contains(&nth) || set.contains(&(nth - of - 1))
        };
        (self.months.is_empty() || self.months.contains(&i16::from(date.month())))
            && either(&self.month_days, day, length)
            && either(&self.year_days, of_year, year_length)
            && (self.week_numbers.is_empty() || {
                let (number, weeks) = week_number(date, self.week_start).unwrap_or((0, 0));
                either(&self.week_numbers, number, weeks)
            })
            && (self.days.is_empty() || self.names_day(date, (day, length), (of_year, year_length)))
    }

    /// BYDAY; a number counts in the month, or in the year where the rule names no months.
    fn names_day(&self, date: Date, in_month: (i16, i16), in_year: (i16, i16)) -> bool {
        let by_year = self.freq == Frequency::Yearly && self.months.is_empty();
        let (place, length) = if by_year { in_year } else { in_month };
        let nth = (place - 1) / 7 + 1;
        let from_the_end = -((length - place) / 7 + 1);
        let fits = |d: &NthDay| d.day == Day::of(date) && (d.nth == 0 || d.nth == nth || d.nth == from_the_end);
        self.days.iter().any(fits)
    }
}

/// The first day of the week that a date is in.
pub(super) fn week_of(date: Date, week_start: Day) -> Option<Date> {
    let place = |d: Day| Day::ALL.into_iter().position(|x| x == d).unwrap_or(0);
    let back = (place(Day::of(date)) + 7 - place(week_start)) % 7;
    date.checked_sub(jiff::Span::new().days(i64::try_from(back).ok()?)).ok()
}

/// A date's week of the year and how many weeks that year has. A week belongs to the year in which four of its days lie.
fn week_number(date: Date, week_start: Day) -> Option<(i16, i16)> {
    let fourth = week_of(date, week_start)?.checked_add(jiff::Span::new().days(3)).ok()?;
    let number = (fourth.day_of_year() - 1) / 7 + 1;
    Some((number, number + (fourth.days_in_year() - fourth.day_of_year()) / 7))
}
