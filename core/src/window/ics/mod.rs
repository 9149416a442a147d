//! iCalendar files, RFC 5545: what change boards keep, read into a calendar and written from one.
//!
//! Read are events. What a file says of a time is taken as this:
//!
//! - An event with times is a window, of the length that its clock shows from start to end. One of whole days is a freeze
//!   of these dates; so is, for the dates that it touches, one with times that has the category `FREEZE`.
//! - RRULE, EXDATE and RDATE are kept, an instance that was moved (RECURRENCE-ID) is taken out and put where it was moved,
//!   and what is cancelled is left out and named.
//! - A calendar has one zone. Its events are in it, or in none (floating); an event in UTC or in another zone is turned into
//!   the calendar's where it happens once, and refused where it recurs, for the two clocks change on different days.
//!
//! What cannot be said in a calendar is refused by the event's summary: nothing is left out silently.

mod event;
mod export;
mod import;
mod line;
mod when;

use std::collections::BTreeMap;

pub use self::export::export;
pub use self::import::import;
use super::{Freeze, Recurring, Window};

/// What to make of names in a file.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The calendar's zone, where it is not the file's own.
    pub zone: Option<String>,
    /// IANA zones by the names that the file has for them, as in `W. Europe Standard Time`.
    pub aliases: BTreeMap<String, String>,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The IANA name of the zone.
    pub zone: String,
    /// Its windows.
    pub windows: Vec<Window>,
    /// Its frozen dates.
    pub freezes: Vec<Freeze>,
    /// Those that recur.
    pub recurring: Vec<Recurring>,
    /// Events that are cancelled, by their summaries.
    pub cancelled: Vec<String>,
}

/// Why a file is no calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IcsError {
    /// It is longer than such a file may be, or has more events.
    #[error("an iCalendar file has at most {} KiB and {} events", crate::limits::MAX_ICS_BYTES >> 10, crate::limits::MAX_ICS_EVENTS)]
    TooLong,
    /// It is no iCalendar at all, or breaks off.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// An event cannot be read, or cannot be said in a calendar.
    #[error("event {summary:?}: {what}")]
    Event {
        /// Its summary, or its UID.
        summary: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Nobody says which zone.
    #[error("the file's events are in no zone or in several ({0}); say which is the calendar's with --zone")]
    NoZone(String),
    /// A zone's name is not an IANA name.
    #[error("{0:?} is no IANA time zone; say which it is with --zone-alias \"{0}=Europe/Vienna\"")]
    Zone(String),
}

#[cfg(test)]
mod tests;
