//! From a file to windows and freezes.

use std::collections::BTreeSet;

use jiff::Span;
use jiff::civil::{Date, DateTime};

use super::super::{Exception, Freeze, Recurrence, Recurring, Rule, Window, parse_duration};
use super::event::Event;
use super::line::{Property, properties};
use super::when::{Clock, When, iana};
use super::{IcsError, Imported, Reading};
use crate::limits::{MAX_EXCEPTIONS, MAX_FREEZES, MAX_ICS_BYTES, MAX_ICS_EVENTS, MAX_WINDOWS};

/// Reads a file.
///
/// # Errors
///
/// It is no iCalendar, or says what a calendar cannot: then nothing of it is taken.
pub fn import(text: &str, reading: &Reading) -> Result<Imported, IcsError> {
    if text.len() > MAX_ICS_BYTES {
        return Err(IcsError::TooLong);
    }
    let file = File::read(text)?;
    let clock = Clock::new(&file.zone(reading)?, reading)?;
    let mut imported = Imported {
        zone: clock.name.clone(),
        windows: Vec::new(),
        freezes: Vec::new(),
        recurring: Vec::new(),
        cancelled: Vec::new(),
    };
    for event in &file.events {
        if event.is_cancelled() {
            imported.cancelled.push(event.summary());
            continue;
        }
        // An instance without a UID is nobody's: it stands by itself.
        let belongs = |e: &&Event| moved(e).is_some() && e.uid().is_some() && e.uid() == event.uid();
        let instances = file.events.iter().filter(belongs);
        Reader { event, clock: &clock }.read(instances, &mut imported)?;
        if imported.windows.len() > MAX_WINDOWS || imported.freezes.len().max(imported.recurring.len()) > MAX_FREEZES {
            return Err(event.error(format!("a calendar has at most {MAX_WINDOWS} windows and {MAX_FREEZES} freezes")));
        }
    }
    Ok(imported)
}

/// The instance of a recurring event that an event stands in for.
fn moved(event: &Event) -> Option<&Property> {
    event.all("RECURRENCE-ID").next()
}

struct File {
    events: Vec<Event>,
    /// X-WR-TIMEZONE, by which many programs name the zone of all.
    zone: Option<String>,
}

impl File {
    fn read(text: &str) -> Result<Self, IcsError> {
        let mut file = Self { events: Vec::new(), zone: None };
        // The components that are open, outermost first.
        let mut open: Vec<String> = Vec::new();
        let mut calendars = 0;
        let mut last = 1;
        for property in properties(text.strip_prefix('\u{feff}').unwrap_or(text))? {
            let bad = |what| Err(IcsError::Line { line: property.line, what });
            last = property.line;
            match (property.name.as_str(), open.as_slice()) {
                ("BEGIN", inside) => {
                    let name = property.value.to_ascii_uppercase();
                    match (name.as_str(), inside) {
                        ("VCALENDAR", []) => calendars += 1,
                        (_, []) => return bad("it stands outside of a VCALENDAR"),
                        ("VEVENT", [_]) if file.events.len() >= MAX_ICS_EVENTS => return Err(IcsError::TooLong),
                        ("VEVENT", [_]) => file.events.push(Event::default()),
                        _ if inside.len() >= 8 => return bad("components are nested too deeply"),
                        _ => {}
                    }
                    open.push(name);
                }
                ("END", [.., innermost]) if property.value.eq_ignore_ascii_case(innermost) => drop(open.pop()),
                ("END", _) => return bad("it ends what did not begin"),
                (_, []) => return bad("it stands outside of a VCALENDAR"),
                ("X-WR-TIMEZONE", [_]) => file.zone = Some(property.text()),
                (_, [_, component]) if component == "VEVENT" => {
                    if let Some(event) = file.events.last_mut() {
                        event.add(property);
                    }
                }
                // Alarms, to-dos, and the definitions of zones, for which the IANA's are taken.
                _ => {}
            }
        }
        if !open.is_empty() || calendars == 0 {
            return Err(IcsError::Line { line: last, what: "the file ends before its VCALENDAR does" });
        }
        Ok(file)
    }

    /// The zone that the calendar is in: what was said, what the file says of itself, what all of its events are in.
    fn zone(&self, reading: &Reading) -> Result<String, IcsError> {
        if let Some(zone) = reading.zone.clone().or_else(|| self.zone.clone()) {
            return Ok(zone);
        }
        let starts = self.events.iter().flat_map(|e| e.all("DTSTART"));
        let named =
            |p: &Property| When::all(p).into_iter().flatten().filter_map(|w| w.zone().map(str::to_owned)).next();
        let zones: BTreeSet<String> = starts.filter_map(named).map(|zone| iana(&zone, reading)).collect();
        // One that is UTC beside another says an instant, and not where people live.
        let local: Vec<&String> = zones.iter().filter(|z| *z != "UTC" || zones.len() == 1).collect();
        match local.as_slice() {
            [one] => Ok((*one).clone()),
            _ => Err(IcsError::NoZone(zones.into_iter().collect::<Vec<_>>().join(", "))),
        }
    }
}

/// A rule whose UNTIL is the first instant of the date that is written.
fn until_midnight(rule: &str) -> String {
    let part = |part: &str| match part.split_once('=') {
        Some(("UNTIL", date)) if date.len() == 8 => format!("{part}T000000"),
        _ => part.to_owned(),
    };
    rule.split(';').map(part).collect::<Vec<_>>().join(";")
}

struct Reader<'a> {
    event: &'a Event,
    clock: &'a Clock<'a>,
}

impl Reader<'_> {
    fn read<'e>(&self, instances: impl Iterator<Item = &'e Event>, into: &mut Imported) -> Result<(), IcsError> {
        let event = self.event;
        let whens = self.whens(event.one("DTSTART")?)?;
        let [start] = whens.as_slice() else { return Err(event.error("it has no DTSTART")) };
        // Section 3.3.10: where the start is a date, so is UNTIL.
        let is_date = matches!(start, When::Date(_));
        let written = |value: &str| if is_date { until_midnight(value) } else { value.to_owned() };
        let rule = event.one("RRULE")?.map(|p| written(&p.value).parse::<Rule>()).transpose();
        let rule = rule.map_err(|e| event.error(e.to_string()))?;
        let except = self.exceptions(instances)?;
        if let When::Date(first) = start {
            return self.freeze((*first, self.last_date(*first)?), rule, &except, into);
        }
        if rule.is_some() && !self.clock.shows(*start) {
            return Err(event.error(format!(
                "it recurs by the clock of {}, and the calendar is in {}; put it in a calendar of that zone",
                start.zone().unwrap_or("another zone"),
                self.clock.name
            )));
        }
        let secs = self.length(*start)?;
        let local = self.local(*start)?;
        if event.is_freeze() {
            let last = local.checked_add(Span::new().seconds(i64::from(secs) - 1)).map_or(local, |t| t);
            return self.freeze((local.date(), last.date()), rule, &except, into);
        }
        let taken = |start| except.iter().any(|e| e.takes(start));
        let mut once = Vec::new();
        match rule {
            // An instance that was moved stands by itself.
            Some(rule) if moved(event).is_none() => into.windows.push(Window {
                begins: Recurrence::Rule { start: local, rule: Box::new(rule), except: except.clone() },
                duration_secs: secs,
            }),
            _ if moved(event).is_some() || !taken(local) => once.push(local),
            _ => {}
        }
        for property in event.all("RDATE") {
            if property.value.contains('/') {
                return Err(event.error("an RDATE is a period with an end of its own; make it an event"));
            }
            for when in self.whens(Some(property))? {
                if let When::Date(_) = when {
                    return Err(event.error("it begins at a time, and an RDATE of it names none; write the time too"));
                }
                let start = self.local(when)?;
                // Section 3.8.5.1: what is taken out is taken out of RDATE's as of the rule's.
                if !taken(start) {
                    once.push(start);
                }
            }
        }
        let single = |start| Window { begins: Recurrence::Once { start }, duration_secs: secs };
        into.windows.extend(once.into_iter().map(single));
        Ok(())
    }

    fn whens<'p>(&self, property: Option<&'p Property>) -> Result<Vec<When<'p>>, IcsError> {
        let Some(property) = property else { return Ok(Vec::new()) };
        let all = When::all(property);
        all.ok_or_else(|| self.event.error(format!("{} {:?} is no date and no time", property.name, property.text())))
    }

    fn local(&self, when: When<'_>) -> Result<DateTime, IcsError> {
        let local = self.clock.local(when)?;
        local.ok_or_else(|| {
            self.event.error(format!("it begins in an hour that {} has twice; move it", self.clock.name))
        })
    }

    fn exception(&self, when: When<'_>) -> Result<Exception, IcsError> {
        match when {
            When::Date(date) => Ok(Exception::Date(date)),
            when => self.local(when).map(Exception::Start),
        }
    }

    /// What is taken out of an event: by itself, and by its instances, which were moved or cancelled.
    fn exceptions<'e>(&self, instances: impl Iterator<Item = &'e Event>) -> Result<BTreeSet<Exception>, IcsError> {
        let event = self.event;
        let mut except = BTreeSet::new();
        for property in event.all("EXDATE") {
            for when in self.whens(Some(property))? {
                except.insert(self.exception(when)?);
            }
        }
        for instance in instances {
            let Some(id) = moved(instance) else { continue };
            if id.param("RANGE").is_some() {
                return Err(instance.error("it moves this and all later ones; end the one event and begin another"));
            }
            for when in self.whens(Some(id))? {
                except.insert(self.exception(when)?);
            }
        }
        if except.len() > MAX_EXCEPTIONS {
            return Err(event.error(format!("it has more than {MAX_EXCEPTIONS} exceptions")));
        }
        Ok(except)
    }

    /// How long a window is: what the clock shows from start to end, for that is what was meant.
    fn length(&self, start: When<'_>) -> Result<u32, IcsError> {
        let event = self.event;
        let (end, duration) = (event.one("DTEND")?, event.one("DURATION")?);
        let secs = match (self.whens(end)?.as_slice(), duration) {
            ([end], None) => {
                let passes = self.local(*end)?.duration_since(self.local(start)?).as_secs();
                u32::try_from(passes).ok().filter(|secs| *secs > 0)
            }
            ([], Some(duration)) => parse_duration(duration.value.trim_start_matches('+')).ok(),
            _ => None,
        };
        secs.ok_or_else(|| event.error("it has no length: a DTEND after its DTSTART, or a DURATION"))
    }

    /// The last day of an event of whole days; DTEND is the day after it.
    fn last_date(&self, first: Date) -> Result<Date, IcsError> {
        let event = self.event;
        let last = match (self.whens(event.one("DTEND")?)?.as_slice(), event.one("DURATION")?) {
            ([], None) => Some(first),
            ([When::Date(end)], None) => end.yesterday().ok(),
            ([], Some(duration)) => parse_duration(&duration.value)
                .ok()
                .filter(|secs| secs % 86_400 == 0)
                .and_then(|secs| first.checked_add(Span::new().days(i64::from(secs) / 86_400 - 1)).ok()),
            _ => None,
        };
        last.filter(|last| first <= *last)
            .ok_or_else(|| event.error("it has whole days, and no last one after its first"))
    }

    fn freeze(
        &self,
        (first, last): (Date, Date),
        rule: Option<Rule>,
        except: &BTreeSet<Exception>,
        into: &mut Imported,
    ) -> Result<(), IcsError> {
        let event = self.event;
        if event.all("RDATE").next().is_some() || (rule.is_some() && moved(event).is_some()) {
            return Err(event.error("a freeze recurs by a rule alone; write an event for each of its other dates"));
        }
        let date = |exception: &Exception| match exception {
            Exception::Start(start) => Exception::Date(start.date()),
            date @ Exception::Date(_) => *date,
        };
        let except: BTreeSet<Exception> = except.iter().map(date).collect();
        let Some(rule) = rule else {
            // An instance that was moved stands by itself.
            if moved(event).is_some() || !except.contains(&Exception::Date(first)) {
                into.freezes.push(Freeze { first, last });
            }
            return Ok(());
        };
        let days = first.until(last).map_or(0, |span| span.get_days()).saturating_add(1);
        let recurring = Recurring { first, days: u32::try_from(days).unwrap_or(0), rule: Box::new(rule), except };
        if !recurring.is_orderly() {
            return Err(event.error("a freeze recurs by days or longer, for at most 60 days each time"));
        }
        into.recurring.push(recurring);
        Ok(())
    }
}
