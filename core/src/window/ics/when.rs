//! Dates and times of a file, by the calendar's clock.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

use super::line::Property;
use super::{IcsError, Reading};

/// A DATE or a DATE-TIME, as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum When<'a> {
    /// A whole day.
    Date(Date),
    /// A time on the clock of no zone.
    Floating(DateTime),
    /// A time in UTC.
    Utc(DateTime),
    /// A time on the clock of a zone, by the file's name for it.
    In(DateTime, &'a str),
}

impl<'a> When<'a> {
    /// The values of a property; none where one is no date and no time.
    pub(super) fn all(property: &'a Property) -> Option<Vec<Self>> {
        property.value.split(',').map(|text| Self::of(text, property.param("TZID"))).collect()
    }

    /// One value.
    pub(super) fn of(text: &str, zone: Option<&'a str>) -> Option<Self> {
        if let Some(utc) = text.strip_suffix('Z') {
            return basic(utc).map(Self::Utc);
        }
        if text.len() == 8 {
            let date = Date::strptime("%Y%m%d", text).ok()?;
            return (date.strftime("%Y%m%d").to_string() == text && plausible(date)).then_some(Self::Date(date));
        }
        let local = basic(text)?;
        Some(zone.map_or(Self::Floating(local), |zone| Self::In(local, zone)))
    }

    /// The zone that it names.
    pub(super) fn zone(self) -> Option<&'a str> {
        match self {
            Self::Date(_) | Self::Floating(_) => None,
            Self::Utc(_) => Some("UTC"),
            Self::In(_, zone) => Some(zone),
        }
    }
}

fn basic(text: &str) -> Option<DateTime> {
    const BASIC: &str = "%Y%m%dT%H%M%S";
    let local = DateTime::strptime(BASIC, text).ok()?;
    (local.strftime(BASIC).to_string() == text && plausible(local.date())).then_some(local)
}

/// Years that a calendar can be about, and that no arithmetic leaves.
fn plausible(date: Date) -> bool {
    (1970..2200).contains(&date.year())
}

/// The calendar's clock, and the file's names for zones.
pub(super) struct Clock<'a> {
    pub(super) name: String,
    zone: TimeZone,
    reading: &'a Reading,
}

impl<'a> Clock<'a> {
    /// The clock of the zone that the file calls `name`.
    pub(super) fn new(name: &str, reading: &'a Reading) -> Result<Self, IcsError> {
        let name = iana(name, reading);
        let zone = TimeZoneDatabase::bundled().get(&name).map_err(|_| IcsError::Zone(name.clone()))?;
        Ok(Self { name, zone, reading })
    }

    /// Whether what the file says there is said by this clock.
    pub(super) fn shows(&self, when: When<'_>) -> bool {
        when.zone().is_none_or(|zone| iana(zone, self.reading) == self.name)
    }

    /// What this clock shows then; none where it shows that twice and means the second.
    pub(super) fn local(&self, when: When<'_>) -> Result<Option<DateTime>, IcsError> {
        let (local, zone) = match when {
            When::Date(date) => return Ok(Some(date.at(0, 0, 0, 0))),
            When::Floating(local) => return Ok(Some(local)),
            _ if self.shows(when) => match when {
                When::Utc(local) | When::In(local, _) => return Ok(Some(local)),
                _ => return Ok(None),
            },
            When::Utc(local) => (local, TimeZone::fixed(Offset::UTC)),
            When::In(local, name) => {
                let name = iana(name, self.reading);
                (local, TimeZoneDatabase::bundled().get(&name).map_err(|_| IcsError::Zone(name))?)
            }
        };
        let Some(instant) = super::super::opening::first_instant(&zone, local) else { return Ok(None) };
        let shown = self.zone.to_datetime(instant);
        let first = match self.zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(shown).ok() == Some(instant),
            _ => true,
        };
        Ok(first.then_some(shown))
    }
}

/// The IANA name of a zone that the file names.
pub(super) fn iana(name: &str, reading: &Reading) -> String {
    reading.aliases.get(name).map_or(name, String::as_str).to_owned()
}
