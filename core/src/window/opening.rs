//! From a calendar to instants.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::{Calendar, Day, Recurrence, Window, WindowError};
use crate::limits::{MAX_HORIZON_SECS, MAX_OPENINGS, MAX_WINDOW_SECS};

/// A half-open interval in which a ward's devices may be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opening {
    /// Its first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
}

/// What a calendar opens in `[from, until)`: ascending, disjoint, clipped to the two, whole seconds, at most `max` of
/// them (and never more than [`MAX_OPENINGS`]), the earliest.
///
/// # Errors
///
/// The zone is unknown, or `from` and `until` are further apart than calendars are expanded over.
pub fn openings(
    calendar: &Calendar,
    from: Timestamp,
    until: Timestamp,
    max: usize,
) -> Result<Vec<Opening>, WindowError> {
    let zone = calendar.time_zone()?;
    if until.duration_since(from) > SignedDuration::from_secs(MAX_HORIZON_SECS) {
        return Err(WindowError::Horizon);
    }
    let (from, until) = (ceiling(from), ceiling(until));
    let max = max.min(MAX_OPENINGS);
    let mut found: Vec<Opening> = Vec::new();
    // The longest window may have begun that long ago; a day more covers what the zone's offset and a gap can shift.
    let reach = SignedDuration::from_secs(i64::from(MAX_WINDOW_SECS) + 86_400);
    let mut date = zone.to_datetime(from.saturating_sub(reach).unwrap_or(from)).date();
    let last = zone.to_datetime(until).date();
    while date <= last {
        // Starts are resolved by a rule that never goes backwards, so later dates begin no earlier: once one more than
        // was asked for is open, what stands before it can grow no more.
        if found.len() > max {
            break;
        }
        let mut today: Vec<Opening> = calendar
            .windows
            .iter()
            .filter_map(|w| starts_on(w, date).and_then(|start| open(calendar, &zone, start, w.duration_secs)))
            .filter_map(|o| clip(o, from, until))
            .collect();
        today.sort_unstable();
        today.into_iter().for_each(|o| merge(&mut found, o));
        let Ok(next) = date.tomorrow() else { break };
        date = next;
    }
    found.truncate(max);
    Ok(found)
}

/// The local start that a window has on a date, if it has one.
fn starts_on(window: &Window, date: Date) -> Option<DateTime> {
    match &window.begins {
        Recurrence::Weekly { days, start } => days.contains(&Day::of(date)).then(|| date.to_datetime(*start)),
        Recurrence::Once { start } => (start.date() == date).then_some(*start),
    }
}

/// Rules 1 to 3 on one window.
fn open(calendar: &Calendar, zone: &TimeZone, start: DateTime, duration_secs: u32) -> Option<Opening> {
    let start = first_instant(zone, start)?;
    let end = start.checked_add(SignedDuration::from_secs(i64::from(duration_secs))).ok()?;
    let end = first_frozen(calendar, zone, start, end).unwrap_or(end);
    (start < end).then_some(Opening { start, end })
}

/// Rule 1: the first instant at which the zone's clock shows `local` or later.
fn first_instant(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
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

/// Rule 3: the first instant in `[start, end)` at which the zone's clock shows a frozen date.
///
/// Dates change at local midnight and where the clock jumps, so these are the only instants to look at.
fn first_frozen(calendar: &Calendar, zone: &TimeZone, start: Timestamp, end: Timestamp) -> Option<Timestamp> {
    if calendar.freezes.is_empty() {
        return None;
    }
    let mut at = start;
    while at < end {
        let local = zone.to_datetime(at);
        if calendar.is_frozen(local.date()) {
            return Some(at);
        }
        let midnight =
            local.date().tomorrow().ok().and_then(|d| zone.to_offset(at).to_timestamp(d.at(0, 0, 0, 0)).ok());
        let jump = zone.following(at).next().map(|t| t.timestamp());
        at = midnight.into_iter().chain(jump).min()?;
    }
    None
}

fn clip(opening: Opening, from: Timestamp, until: Timestamp) -> Option<Opening> {
    let clipped = Opening { start: opening.start.max(from), end: opening.end.min(until) };
    (clipped.start < clipped.end).then_some(clipped)
}

/// Rule 4. `next` begins no earlier than the last of `found`.
fn merge(found: &mut Vec<Opening>, next: Opening) {
    match found.last_mut() {
        Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
        _ => found.push(next),
    }
}

/// The first whole second that is not before `at`.
fn ceiling(at: Timestamp) -> Timestamp {
    let whole = crate::clock::whole_second(at);
    if whole < at { whole.checked_add(SignedDuration::from_secs(1)).unwrap_or(whole) } else { whole }
}
