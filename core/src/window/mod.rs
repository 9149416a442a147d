//! Calendars: when devices may be touched, in the wall-clock time that the people around them live by.
//!
//! A hospital has one, each ward may have one, and a device may have one of its own. These are layers: a device may be
//! touched when all the calendars that bind it allow that. The rules, which [`openings`] obeys and the tests hold it to:
//!
//! 1. A window begins at the first instant at which the calendar's clock shows its start or later. So a start in the hour
//!    that the clock skips moves to the first instant after the gap, and a start in the hour that it repeats is the first
//!    of the two.
//! 2. A window's length is time that passes, not time that the clock shows: two hours are two hours in every night.
//! 3. A window that begins on a frozen date is dropped whole. One that runs into a frozen date is cut where that date
//!    begins. A date that any layer freezes, by its own clock, is frozen for the windows of all.
//! 4. Openings that overlap or touch are one.
//! 5. What is open in each layer that has windows is open. A layer without windows only freezes; where no layer has any,
//!    nothing is open.
//!
//! Local time is resolved by the time zone rules built into this program, not by the machine's: everyone who computes a
//! plan with one version of it gets the same instants. A calendar is a signed document of the approvals repository;
//! devices never read it, they see instants only.

mod civil;
mod exception;
pub mod ics;
mod layer;
mod opening;
mod recurring;
mod rule;
mod scope;
mod text;

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

pub(crate) use self::civil::time as civil_time;
pub use self::exception::Exception;
pub use self::layer::{Openings, openings};
pub use self::opening::Opening;
pub use self::recurring::Recurring;
pub use self::rule::{Rule, RuleError};
pub use self::scope::Scope;
pub use self::text::{TextError, parse_duration, parse_local};
pub(crate) use self::text::{parse_days, parse_time};
use crate::approval::{SignedDocument, first_broken};
use crate::id::HdoId;
use crate::limits::{
    MAX_CALENDAR_BYTES, MAX_EXCEPTIONS, MAX_FREEZES, MAX_HORIZON_SECS, MAX_WINDOW_SECS, MAX_WINDOWS,
    MAX_ZONE_NAME_BYTES,
};

/// Maintenance windows, and dates on which nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// Always `suture-calendar`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// What it binds.
    pub scope: Scope,
    /// The IANA name of its time zone, as in `Europe/Vienna`.
    pub zone: String,
    /// When devices may be touched.
    pub windows: Vec<Window>,
    /// When they may not, whatever the windows say.
    pub freezes: Vec<Freeze>,
    /// And when they may not again and again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recurring: Vec<Recurring>,
}

/// A time in which devices may be touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When it begins.
    pub begins: Recurrence,
    /// How long it lasts, in seconds that pass.
    pub duration_secs: u32,
}

/// When a window begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Recurrence {
    /// Each week.
    Weekly {
        /// On these days; at least one.
        days: BTreeSet<Day>,
        /// At this time of the day.
        #[serde(with = "civil::time")]
        start: Time,
    },
    /// Once.
    Once {
        /// At this local date and time.
        #[serde(with = "civil::date_time")]
        start: DateTime,
    },
    /// By a recurrence rule of RFC 5545.
    Rule {
        /// Not before this local date and time, DTSTART, which fills in what the rule leaves open.
        #[serde(with = "civil::date_time")]
        start: DateTime,
        /// The rule, RRULE.
        rule: Box<Rule>,
        /// What is taken out of it, EXDATE.
        except: BTreeSet<Exception>,
    },
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "they say what they are")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Dates on which nothing begins, first and last included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// The first.
    #[serde(with = "civil::date")]
    pub first: Date,
    /// The last; equal to the first for a single day.
    #[serde(with = "civil::date")]
    pub last: Date,
}

/// Why a calendar yields no openings at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The zone's name is in no version of the IANA database that this program knows.
    #[error(
        "the calendar of {scope}: {zone:?} is no IANA time zone that this program knows; it is written like Europe/Vienna"
    )]
    Zone {
        /// What the calendar binds.
        scope: Scope,
        /// What stands in its calendar.
        zone: String,
    },
    /// More time was asked for than a calendar is expanded over.
    #[error("a calendar is expanded over at most {} days at once", MAX_HORIZON_SECS / 86_400)]
    Horizon,
    /// A recurrence rule takes too long to expand.
    #[error("the calendar of {scope}: {source}")]
    Rule {
        /// What the calendar binds.
        scope: Scope,
        /// Why.
        source: RuleError,
    },
}

impl Calendar {
    /// A calendar without windows.
    pub fn empty(hdo: HdoId, scope: Scope, zone: String) -> Self {
        let (windows, freezes, recurring) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind: Self::TYPE.to_owned(), format: 1, hdo, scope, zone, windows, freezes, recurring }
    }

    /// The rules of its zone.
    ///
    /// # Errors
    ///
    /// [`WindowError::Zone`] where no zone has that name.
    pub fn time_zone(&self) -> Result<TimeZone, WindowError> {
        TimeZoneDatabase::bundled()
            .get(&self.zone)
            .map_err(|_| WindowError::Zone { scope: self.scope.clone(), zone: self.zone.clone() })
    }

    /// The local dates of `[since, before)` on which nothing may begin; ascending, and apart from one another.
    ///
    /// # Errors
    ///
    /// [`WindowError::Zone`], and [`WindowError::Rule`] where a rule takes too long to expand.
    pub fn frozen(&self, since: Date, before: Date) -> Result<Vec<Freeze>, WindowError> {
        let zone = self.time_zone()?;
        let mut all = self.freezes.clone();
        for recurring in &self.recurring {
            let dates = recurring.dates(since, before, &zone);
            all.extend(dates.map_err(|source| WindowError::Rule { scope: self.scope.clone(), source })?);
        }
        all.retain(|f| since <= f.last && f.first < before);
        all.sort_unstable_by_key(|f| (f.first, f.last));
        let mut apart: Vec<Freeze> = Vec::with_capacity(all.len());
        for freeze in all {
            match apart.last_mut().filter(|before| freeze.first <= before.last) {
                Some(before) => before.last = before.last.max(freeze.last),
                None => apart.push(freeze),
            }
        }
        Ok(apart)
    }
}

impl SignedDocument for Calendar {
    const TYPE: &'static str = "suture-calendar";
    const MAX_BYTES: u64 = MAX_CALENDAR_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let zone = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-' | b'+');
        let lasts = |w: &Window| (1..=MAX_WINDOW_SECS).contains(&w.duration_secs);
        let begins = |w: &Window| match &w.begins {
            Recurrence::Weekly { days, .. } => !days.is_empty(),
            Recurrence::Once { start } => plausible(start.date()),
            Recurrence::Rule { start, except, .. } => plausible(start.date()) && except.len() <= MAX_EXCEPTIONS,
        };
        first_broken(&[
            (
                !self.zone.is_empty() && self.zone.len() <= MAX_ZONE_NAME_BYTES && self.zone.bytes().all(zone),
                "zone is not an IANA name like Europe/Vienna",
            ),
            (self.windows.len() <= MAX_WINDOWS, "windows lists too many"),
            (
                !self.windows.is_empty() || !self.freezes.is_empty() || !self.recurring.is_empty(),
                "it has neither windows nor freezes, and so says nothing",
            ),
            (self.windows.iter().all(lasts), "a window lasts no time at all, or more than 7 days"),
            (
                self.windows.iter().all(begins),
                "a window has no day, lies outside the years 2000 to 2199, or has too many exceptions",
            ),
            (self.freezes.len() <= MAX_FREEZES && self.recurring.len() <= MAX_FREEZES, "freezes lists too many"),
            (
                self.recurring.iter().all(Recurring::is_orderly),
                "a freeze recurs by the hour, lasts no day or more than 60, or has too many exceptions",
            ),
            (self.freezes.iter().all(|f| f.first <= f.last), "a freeze ends before it begins"),
        ])
    }
}

/// Years that no arithmetic on them can leave the calendar.
fn plausible(date: Date) -> bool {
    (2000..2200).contains(&date.year())
}

impl Day {
    /// All, from Monday on.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    /// The name in JSON and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }

    /// The day that a date falls on.
    pub fn of(date: Date) -> Self {
        match date.weekday() {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

#[cfg(test)]
mod tests;
