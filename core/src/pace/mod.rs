//! How much a hospital's devices may fetch, and when: the hospital's word on its own network.
//!
//! It is an operator's setting that the server keeps and obeys. It is not signed: who can change it can make devices wait
//! for what was approved, which whoever has the server can do anyway.

mod bucket;
mod hours;
mod rate;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

pub use self::bucket::Bucket;
pub use self::hours::Hours;
pub use self::rate::{Rate, RateError};
use crate::limits::{LEAST_RATE_BITS, MAX_FETCHING_DEVICES, MAX_PERIODS};

/// What may be fetched at once; what is not there is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// By all of the hospital together.
    pub rate: Option<Rate>,
    /// By each device.
    pub device_rate: Option<Rate>,
    /// How many devices may fetch at once.
    pub streams: Option<u32>,
}

/// Limits at a time of the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// When.
    pub hours: Hours,
    /// What holds then.
    pub limits: Limits,
}

/// A hospital's limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timetable {
    /// The IANA name of the zone whose clock the periods go by.
    pub zone: Option<String>,
    /// At these times. Where several hold at once, the strictest of each limit does.
    pub periods: Vec<Period>,
    /// At all other times.
    pub otherwise: Limits,
}

/// Why limits were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// Nothing is limited.
    #[error("nothing is limited; name --rate, --device-rate or --streams, or clear what holds")]
    Nothing,
    /// Nobody at all is no number of devices.
    #[error("streams: 1 to {MAX_FETCHING_DEVICES} devices may fetch at once; a rate of 0 lets none")]
    Streams,
    /// Less than a transfer can live by.
    #[error("{streams} devices at {rate} have less than {least} each; let fewer fetch at once", least = least())]
    Crowd {
        /// How many.
        streams: u32,
        /// All together.
        rate: Rate,
    },
    /// Hours of no zone.
    #[error("the hours are by no clock yet; name the zone, like --zone Europe/Vienna")]
    NoZone,
    /// A zone that is none.
    #[error("{0:?} is no IANA time zone that this program knows; it is written like Europe/Vienna")]
    Zone(String),
    /// Two zones.
    #[error("the other periods are by the clock of {0}; clear them first, or use it")]
    OtherZone(String),
    /// Too many.
    #[error("there are {MAX_PERIODS} periods already; clear one first")]
    Periods,
    /// There is no such period.
    #[error("no limits are set for {0}; `suturectl transfer show` lists what is")]
    NoPeriod(String),
}

fn least() -> String {
    Rate::try_from(LEAST_RATE_BITS).map(|rate| rate.to_string()).unwrap_or_default()
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }

    /// Whether nothing may be fetched.
    pub fn is_closed(&self) -> bool {
        [self.rate, self.device_rate].into_iter().flatten().any(Rate::is_nothing)
    }

    /// How many devices may fetch at once. Also where nobody has said so: of a rate that all share, each that fetches has
    /// enough that its transfer is not taken for a dead one.
    pub fn places(&self) -> usize {
        let shared = self.rate.map(|rate| (rate.bits() / LEAST_RATE_BITS).max(1));
        let said = self.streams.map(u64::from);
        let most = [shared, said].into_iter().flatten().min();
        most.and_then(|most| usize::try_from(most).ok()).unwrap_or(MAX_FETCHING_DEVICES).min(MAX_FETCHING_DEVICES)
    }

    fn check(&self) -> Result<(), LimitsError> {
        if self.is_free() {
            return Err(LimitsError::Nothing);
        }
        let streams = self.streams.unwrap_or(1);
        if streams == 0 || streams as usize > MAX_FETCHING_DEVICES {
            return Err(LimitsError::Streams);
        }
        match self.rate.filter(|rate| !rate.is_nothing()) {
            Some(rate) if rate.bits() / u64::from(streams) < LEAST_RATE_BITS => {
                Err(LimitsError::Crowd { streams, rate })
            }
            _ => Ok(()),
        }
    }

    /// Of each limit the stricter.
    fn strictest(self, other: Self) -> Self {
        fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            a.into_iter().chain(b).min()
        }
        Self {
            rate: least(self.rate, other.rate),
            device_rate: least(self.device_rate, other.device_rate),
            streams: least(self.streams, other.streams),
        }
    }
}

impl Timetable {
    /// What holds at that instant.
    pub fn at(&self, now: Timestamp) -> Limits {
        self.zone().map_or(self.otherwise, |zone| self.on_clock(zone.to_datetime(now)))
    }

    /// Where nothing may be fetched at `now`: when something may again; none where that is not within two weeks.
    pub fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        let zone = self.zone()?;
        let mut day = zone.to_datetime(now).date().yesterday().ok()?;
        let mut changes = Vec::new();
        for _ in 0..16 {
            let times = self.periods.iter().filter_map(|period| period.hours.on(day));
            changes.extend(times.flat_map(|(from, to)| [from, to]).filter_map(|at| zone.to_timestamp(at).ok()));
            day = day.tomorrow().ok()?;
        }
        changes.sort_unstable();
        changes.into_iter().find(|at| *at > now && !self.at(*at).is_closed())
    }

    /// With these limits at these hours, or at all other times, in the place of what was set for them.
    ///
    /// # Errors
    ///
    /// Limits that cannot be held, and hours of no zone or of another than the rest.
    pub fn with(mut self, zone: Option<&str>, hours: Option<Hours>, limits: Limits) -> Result<Self, LimitsError> {
        limits.check()?;
        if let Some(name) = zone {
            let others = self.periods.iter().any(|p| Some(&p.hours) != hours.as_ref());
            if let Some(known) = self.zone.as_ref().filter(|known| *known != name && others) {
                return Err(LimitsError::OtherZone(known.clone()));
            }
            // Upper and lower case are the database's to say: kept as it writes it.
            let found = TimeZoneDatabase::bundled().get(name).ok();
            let known = found.as_ref().and_then(TimeZone::iana_name);
            self.zone = Some(known.ok_or_else(|| LimitsError::Zone(name.chars().take(64).collect()))?.to_owned());
        }
        let Some(hours) = hours else {
            self.otherwise = limits;
            return Ok(self);
        };
        if self.zone.is_none() {
            return Err(LimitsError::NoZone);
        }
        let count = self.periods.len();
        match self.periods.iter_mut().find(|p| p.hours == hours) {
            Some(period) => period.limits = limits,
            None if count < MAX_PERIODS => self.periods.push(Period { hours, limits }),
            None => return Err(LimitsError::Periods),
        }
        Ok(self)
    }

    /// Without what was set for these hours.
    ///
    /// # Errors
    ///
    /// Where nothing was.
    pub fn without(mut self, hours: &Hours) -> Result<Self, LimitsError> {
        let before = self.periods.len();
        self.periods.retain(|p| p.hours != *hours);
        if self.periods.len() == before { Err(LimitsError::NoPeriod(hours.to_string())) } else { Ok(self) }
    }

    fn zone(&self) -> Option<TimeZone> {
        TimeZoneDatabase::bundled().get(self.zone.as_ref()?).ok()
    }

    fn on_clock(&self, local: DateTime) -> Limits {
        let holding = self.periods.iter().filter(|p| p.hours.holds(local)).map(|p| p.limits);
        holding.reduce(Limits::strictest).unwrap_or(self.otherwise)
    }
}

#[cfg(test)]
mod tests;
