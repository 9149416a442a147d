//! An opening, and the instant at which a local time is reached.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// A half-open interval in which devices may be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opening {
    /// Its first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
}

/// Rule 1: the first instant at which the zone's clock shows `local` or later.
pub(super) fn first_instant(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            // Read by the later offset, a time inside the gap names an instant shortly before the jump.
            let before_the_jump = after.to_timestamp(local).ok()?;
            zone.following(before_the_jump).map(|t| t.timestamp()).find(|t| zone.to_datetime(*t) >= local)
        }
    }
}
