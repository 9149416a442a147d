//! From a calendar to a file.

use std::fmt::Write as _;

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};

use super::super::{Calendar, Day, Exception, Recurrence, Recurring, WindowError};
use crate::digest::Digest;

/// How far the zone's clock changes are written out: ten years.
const ZONE_YEARS: i64 = 10;

/// Writes a calendar, as it is at `now`. What recurs each week begins in the week of `now`, since an event has to begin
/// somewhere.
///
/// # Errors
///
/// The zone is unknown.
pub fn export(calendar: &Calendar, now: Timestamp) -> Result<String, WindowError> {
    let zone = calendar.time_zone()?;
    let stamp = Offset::UTC.to_datetime(now).strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut out = Lines(String::new());
    for line in ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Suture//suturectl//EN", "CALSCALE:GREGORIAN"] {
        out.line(line);
    }
    out.line(&format!("X-WR-CALNAME:{}", calendar.scope));
    out.line(&format!("X-WR-TIMEZONE:{}", calendar.zone));
    definition(&mut out, calendar, &zone, now);
    let today = zone.to_datetime(now).date();
    let mut event = |name: &str, body: &[String]| {
        // The same event has the same name in every export.
        let uid = Digest::of(format!("{} {} {}", calendar.hdo, calendar.scope, body.join("\n")).as_bytes()).to_string();
        out.line("BEGIN:VEVENT");
        out.line(&format!("UID:{}@suture", uid.get(..32).unwrap_or(&uid)));
        out.line(&format!("DTSTAMP:{stamp}"));
        out.line(&format!("SUMMARY:{name}"));
        body.iter().for_each(|line| out.line(line));
        out.line("END:VEVENT");
    };
    let local = |name: &str, at: DateTime| format!("{name};TZID={}:{}", calendar.zone, at.strftime("%Y%m%dT%H%M%S"));
    for window in &calendar.windows {
        let mut body = Vec::new();
        match &window.begins {
            Recurrence::Weekly { days, start } => {
                let first = today.series(Span::new().days(1)).take(7).find(|d| days.contains(&Day::of(*d)));
                body.push(local("DTSTART", first.unwrap_or(today).to_datetime(*start)));
                body.push(format!("RRULE:{}", super::super::Rule::weekly(days)));
            }
            Recurrence::Once { start } => body.push(local("DTSTART", *start)),
            Recurrence::Rule { start, rule, except } => {
                body.push(local("DTSTART", *start));
                body.push(format!("RRULE:{rule}"));
                body.extend(except.iter().map(|e| match e {
                    Exception::Date(date) => format!("EXDATE;VALUE=DATE:{}", basic(*date)),
                    Exception::Start(at) => local("EXDATE", *at),
                }));
            }
        }
        body.push(format!("DURATION:PT{}S", window.duration_secs));
        event("Maintenance window", &body);
    }
    for freeze in &calendar.freezes {
        let after = freeze.last.tomorrow().unwrap_or(freeze.last);
        let body = [
            format!("DTSTART;VALUE=DATE:{}", basic(freeze.first)),
            format!("DTEND;VALUE=DATE:{}", basic(after)),
            "CATEGORIES:FREEZE".to_owned(),
        ];
        event("Freeze", &body);
    }
    for Recurring { first, days, rule, except } in &calendar.recurring {
        let after = first.checked_add(Span::new().days(i64::from(*days))).unwrap_or(*first);
        let mut body = vec![
            format!("DTSTART;VALUE=DATE:{}", basic(*first)),
            format!("DTEND;VALUE=DATE:{}", basic(after)),
            format!("RRULE:{rule}"),
            "CATEGORIES:FREEZE".to_owned(),
        ];
        body.extend(except.iter().map(|e| match e {
            Exception::Date(date) => format!("EXDATE;VALUE=DATE:{}", basic(*date)),
            Exception::Start(at) => format!("EXDATE;VALUE=DATE:{}", basic(at.date())),
        }));
        event("Freeze", &body);
    }
    out.line("END:VCALENDAR");
    Ok(out.0)
}

/// The zone's clock changes, which a file has to define itself (section 3.6.5): one part for each, from the one before
/// `now` on.
fn definition(out: &mut Lines, calendar: &Calendar, zone: &TimeZone, now: Timestamp) {
    let end = now.saturating_add(SignedDuration::from_hours(24 * 366 * ZONE_YEARS)).unwrap_or(now);
    let mut changes: Vec<Timestamp> = zone.preceding(now).take(1).map(|t| t.timestamp()).collect();
    changes.extend(zone.following(now).map(|t| t.timestamp()).take_while(|t| *t < end));
    out.line("BEGIN:VTIMEZONE");
    out.line(&format!("TZID:{}", calendar.zone));
    if changes.is_empty() {
        observance(out, zone, Timestamp::UNIX_EPOCH, zone.to_offset(now));
    }
    for at in changes {
        let before = at.checked_sub(SignedDuration::from_secs(1)).map_or(at, |t| t);
        observance(out, zone, at, zone.to_offset(before));
    }
    out.line("END:VTIMEZONE");
}

fn observance(out: &mut Lines, zone: &TimeZone, at: Timestamp, from: Offset) {
    let info = zone.to_offset_info(at);
    let name = if info.dst().is_dst() { "DAYLIGHT" } else { "STANDARD" };
    out.line(&format!("BEGIN:{name}"));
    out.line(&format!("DTSTART:{}", from.to_datetime(at).strftime("%Y%m%dT%H%M%S")));
    out.line(&format!("TZOFFSETFROM:{}", offset(from)));
    out.line(&format!("TZOFFSETTO:{}", offset(info.offset())));
    out.line(&format!("TZNAME:{}", info.abbreviation()));
    out.line(&format!("END:{name}"));
}

fn offset(offset: Offset) -> String {
    let secs = offset.seconds();
    let (sign, secs) = (if secs < 0 { '-' } else { '+' }, secs.unsigned_abs());
    let mut text = format!("{sign}{:02}{:02}", secs / 3_600, secs / 60 % 60);
    if secs % 60 != 0 {
        let _ = write!(text, "{:02}", secs % 60);
    }
    text
}

fn basic(date: Date) -> String {
    date.strftime("%Y%m%d").to_string()
}

/// Lines of at most 75 bytes, folded (section 3.1).
struct Lines(String);

impl Lines {
    fn line(&mut self, text: &str) {
        let mut bytes = 0;
        for c in text.chars() {
            if bytes + c.len_utf8() > 75 {
                self.0.push_str("\r\n ");
                bytes = 1;
            }
            self.0.push(c);
            bytes += c.len_utf8();
        }
        self.0.push_str("\r\n");
    }
}
