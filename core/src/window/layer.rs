//! What all the calendars that bind a device open together: rules 3 to 5.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::opening::{Opening, first_instant};
use super::rule::{Rule, Starts};
use super::{Calendar, Freeze, Recurrence, Window, WindowError};
use crate::limits::{MAX_HORIZON_SECS, MAX_OPENINGS, MAX_WINDOW_SECS};

/// What calendars open together in `[from, until)`: ascending, disjoint, clipped to the two, whole seconds, at most `max`
/// of them (and never more than [`MAX_OPENINGS`]), the earliest.
///
/// # Errors
///
/// A zone is unknown, a rule takes too long to expand, or `from` and `until` are further apart than calendars are expanded
/// over.
pub fn openings(
    layers: &[&Calendar],
    from: Timestamp,
    until: Timestamp,
    max: usize,
) -> Result<Vec<Opening>, WindowError> {
    if until.duration_since(from) > SignedDuration::from_secs(MAX_HORIZON_SECS) {
        return Err(WindowError::Horizon);
    }
    Openings::new(layers, from, until)?.take(max.min(MAX_OPENINGS)).collect()
}

/// The openings of [`openings`], one after another, over any time.
pub struct Openings<'a> {
    frozen: Frozen,
    /// Those that have windows.
    layers: Vec<Layer<'a>>,
    from: Timestamp,
    until: Timestamp,
}

impl<'a> Openings<'a> {
    /// Those of `layers` in `[from, until)`.
    ///
    /// # Errors
    ///
    /// A zone is unknown, or a rule by which dates are frozen takes too long to expand.
    pub fn new(layers: &[&'a Calendar], from: Timestamp, until: Timestamp) -> Result<Self, WindowError> {
        let mut clocks = Vec::new();
        for calendar in layers {
            clocks.push((*calendar, calendar.time_zone()?));
        }
        let (from, until) = (ceiling(from), ceiling(until));
        let frozen = Frozen::new(&clocks, from, until)?;
        let open = clocks.iter().filter(|(calendar, _)| !calendar.windows.is_empty());
        let layers = open.map(|(calendar, zone)| Layer::new(calendar, zone, from, until)).collect();
        Ok(Self { frozen, layers, from, until })
    }

    /// The next, or none once one of the layers opens no more.
    fn advance(&mut self) -> Result<Option<Opening>, WindowError> {
        loop {
            let (mut start, mut end) = (self.from, self.until);
            for layer in &mut self.layers {
                let Some(open) = layer.head(&self.frozen, self.until)? else { return Ok(None) };
                (start, end) = (start.max(open.start), end.min(open.end));
            }
            if self.layers.is_empty() || start >= self.until {
                return Ok(None);
            }
            // Whatever ends first can be part of no later one. A layer's own openings do not touch, so these do not either.
            self.layers.iter_mut().for_each(|layer| layer.forget(end));
            self.from = self.from.max(end);
            if start < end {
                return Ok(Some(Opening { start, end }));
            }
        }
    }
}

impl Iterator for Openings<'_> {
    type Item = Result<Opening, WindowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.layers.clear();
        }
        next
    }
}

/// The frozen dates of all layers, each by its own clock.
struct Frozen(Vec<(Vec<Freeze>, TimeZone)>);

impl Frozen {
    /// Those that can touch a window which is open in `[from, until)`.
    fn new(clocks: &[(&Calendar, TimeZone)], from: Timestamp, until: Timestamp) -> Result<Self, WindowError> {
        let reach = SignedDuration::from_secs(i64::from(MAX_WINDOW_SECS)) + SignedDuration::from_hours(48);
        let [from, until] = [from.saturating_sub(reach), until.saturating_add(reach)].map(|at| at.unwrap_or(from));
        let dates = |(calendar, zone): &(&Calendar, TimeZone)| {
            let dates = calendar.frozen(zone.to_datetime(from).date(), zone.to_datetime(until).date())?;
            Ok((dates, zone.clone()))
        };
        clocks.iter().map(dates).collect::<Result<_, _>>().map(Self)
    }

    /// The first instant in `[start, end)` at which a layer's clock shows a date that it freezes.
    fn first(&self, start: Timestamp, end: Timestamp) -> Option<Timestamp> {
        self.0.iter().filter_map(|(dates, zone)| first_frozen(dates, zone, start, end)).min()
    }
}

/// Dates change at local midnight and where the clock jumps, so these are the only instants to look at.
fn first_frozen(dates: &[Freeze], zone: &TimeZone, start: Timestamp, end: Timestamp) -> Option<Timestamp> {
    if dates.is_empty() {
        return None;
    }
    let mut at = start;
    while at < end {
        let local = zone.to_datetime(at);
        if is_frozen(dates, local.date()) {
            return Some(at);
        }
        let midnight =
            local.date().tomorrow().ok().and_then(|d| zone.to_offset(at).to_timestamp(d.at(0, 0, 0, 0)).ok());
        let jump = zone.following(at).next().map(|t| t.timestamp());
        at = midnight.into_iter().chain(jump).min()?;
    }
    None
}

/// Whether a date is among some that are ascending and apart.
fn is_frozen(dates: &[Freeze], date: Date) -> bool {
    dates.get(dates.partition_point(|f| f.last < date)).is_some_and(|f| f.first <= date)
}

/// A calendar with windows, as far as it was read.
struct Layer<'a> {
    calendar: &'a Calendar,
    windows: Vec<Begins<'a>>,
    /// The opening that the next window may still be one with.
    growing: Option<Opening>,
    /// The next opening that is whole.
    head: Option<Opening>,
}

impl<'a> Layer<'a> {
    fn new(calendar: &'a Calendar, zone: &TimeZone, from: Timestamp, until: Timestamp) -> Self {
        // The longest window may have begun that long ago; a day more covers what the zone's offset and a gap can shift.
        let day = SignedDuration::from_hours(24);
        let reach = SignedDuration::from_secs(i64::from(MAX_WINDOW_SECS)) + day;
        let since = zone.to_datetime(from.saturating_sub(reach).unwrap_or(from));
        let before = zone.to_datetime(until.saturating_add(day).unwrap_or(until));
        let windows = calendar.windows.iter().map(|window| Begins::new(window, zone, since, before)).collect();
        Self { calendar, windows, growing: None, head: None }
    }

    /// Its next opening, which it keeps until it is told to forget it.
    fn head(&mut self, frozen: &Frozen, until: Timestamp) -> Result<Option<Opening>, WindowError> {
        while self.head.is_none() {
            let mut next: Option<(Timestamp, &mut Begins<'a>)> = None;
            for window in &mut self.windows {
                let peeked =
                    window.peek().map_err(|source| WindowError::Rule { scope: self.calendar.scope.clone(), source })?;
                if let Some(start) = peeked.filter(|s| *s < until && next.as_ref().is_none_or(|(n, _)| s < n)) {
                    next = Some((start, window));
                }
            }
            let Some((start, window)) = next else {
                self.head = self.growing.take();
                break;
            };
            window.next = None;
            let lasts = SignedDuration::from_secs(i64::from(window.window.duration_secs));
            let Ok(end) = start.checked_add(lasts) else { continue };
            let end = frozen.first(start, end).unwrap_or(end);
            match &mut self.growing {
                _ if end <= start => {}
                Some(growing) if start <= growing.end => growing.end = growing.end.max(end),
                growing => self.head = growing.replace(Opening { start, end }),
            }
        }
        Ok(self.head)
    }

    fn forget(&mut self, until: Timestamp) {
        self.head = self.head.filter(|head| head.end > until);
    }
}

/// The instants at which a window begins: rule 1.
struct Begins<'a> {
    window: &'a Window,
    zone: TimeZone,
    starts: Source,
    /// The next, once it was looked for.
    next: Option<Timestamp>,
}

enum Source {
    Rule(Box<Starts>),
    Once(Option<DateTime>),
}

impl<'a> Begins<'a> {
    /// Of what begins from `since` on, and before `before`, by the zone's clock.
    fn new(window: &'a Window, zone: &TimeZone, since: DateTime, before: DateTime) -> Self {
        let rule = |rule: &Rule, first: DateTime| Source::Rule(Box::new(Starts::new(rule, first, since, before)));
        let starts = match &window.begins {
            Recurrence::Weekly { days, start } => rule(&Rule::weekly(days), anchor(since.date()).to_datetime(*start)),
            Recurrence::Once { start } => Source::Once(Some(*start)),
            Recurrence::Rule { start, rule: by, .. } => rule(by, *start),
        };
        Self { window, zone: zone.clone(), starts, next: None }
    }

    fn peek(&mut self) -> Result<Option<Timestamp>, super::RuleError> {
        while self.next.is_none() {
            let start = match &mut self.starts {
                Source::Rule(starts) => starts.next().transpose()?,
                Source::Once(start) => start.take(),
            };
            let Some(start) = start else { break };
            self.next = match &self.window.begins {
                Recurrence::Rule { except, .. } if except.iter().any(|e| e.takes(start)) => continue,
                _ => first_instant(&self.zone, start),
            };
            if let (Recurrence::Rule { rule, .. }, Some(next)) = (&self.window.begins, self.next)
                && rule.until().is_some_and(|until| next > until)
            {
                self.next = None;
                self.starts = Source::Once(None);
            }
        }
        Ok(self.next)
    }
}

/// A day before any that matters, so that a weekly window has a first start to count from.
fn anchor(since: Date) -> Date {
    since.yesterday().unwrap_or(since)
}

/// The first whole second that is not before `at`.
fn ceiling(at: Timestamp) -> Timestamp {
    let whole = crate::clock::whole_second(at);
    if whole < at { whole.checked_add(SignedDuration::from_secs(1)).unwrap_or(whole) } else { whole }
}
