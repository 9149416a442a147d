//! Time as the signed documents write it, and the clock as an argument.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// Where the programs get the time from; a test hands in its own.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Whether it is known to be late, so that nothing can be said to lie in the future by it.
    fn is_known_to_be_late(&self) -> bool {
        false
    }
}

/// Writes an instant with whole seconds, `2026-11-24T15:00:00Z`, the only form that TUF metadata allows.
pub fn format_utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads exactly the form that [`format_utc`] writes; anything else, though it may name the same instant, is refused,
/// so that two readers cannot disagree.
pub fn parse_utc(text: &str) -> Option<Timestamp> {
    let at: Timestamp = text.parse().ok()?;
    (format_utc(at) == text).then_some(at)
}

/// `at` without its fraction of a second.
pub fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// For `#[serde(with = "suture_core::clock::utc")]` on a [`Timestamp`].
pub mod utc {
    use super::*;

    /// Writes as [`format_utc`] does.
    pub fn serialize<S: Serializer>(at: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format_utc(*at))
    }

    /// Reads as [`parse_utc`] does.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(d)?;
        parse_utc(&text)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is not a UTC instant like 2026-11-24T15:00:00Z")))
    }
}

/// The same for an instant that may be missing: JSON's null.
pub mod utc_or_none {
    use serde::Serialize as _;

    use super::*;

    /// Writes as [`format_utc`] does.
    pub fn serialize<S: Serializer>(at: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
        at.map(format_utc).serialize(s)
    }

    /// Reads as [`parse_utc`] does.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
        Option::<String>::deserialize(d)?
            .map(|text| parse_utc(&text).ok_or_else(|| D::Error::custom("not a UTC instant")))
            .transpose()
    }
}

/// For `#[serde(with = "suture_core::clock::day")]` on a [`jiff::civil::Date`]: `2027-01-15` and no other form.
pub mod day {
    use jiff::civil::Date;

    use super::*;

    /// Writes `2027-01-15`.
    pub fn serialize<S: Serializer>(date: &Date, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(date)
    }

    /// Reads just that.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Date, D::Error> {
        let text = String::deserialize(d)?;
        parse_day(&text).ok_or_else(|| D::Error::custom(format_args!("{text:?} is not a date like 2027-01-15")))
    }
}

/// The same for a day that may be missing.
pub mod day_or_none {
    use jiff::civil::Date;
    use serde::Serialize as _;

    use super::*;

    /// Writes `2027-01-15`, or null.
    pub fn serialize<S: Serializer>(date: &Option<Date>, s: S) -> Result<S::Ok, S::Error> {
        date.map(|date| date.to_string()).serialize(s)
    }

    /// Reads just that.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Date>, D::Error> {
        Option::<String>::deserialize(d)?
            .map(|text| parse_day(&text).ok_or_else(|| D::Error::custom("not a date like 2027-01-15")))
            .transpose()
    }
}

/// Reads a day as documents write it, `2027-01-15`; anything else, though it may name the same day, is refused.
pub fn parse_day(text: &str) -> Option<jiff::civil::Date> {
    let date: jiff::civil::Date = text.parse().ok()?;
    (date.to_string() == text).then_some(date)
}

/// The day of an instant, in UTC.
pub fn day_of(at: Timestamp) -> jiff::civil::Date {
    jiff::tz::TimeZone::UTC.to_datetime(at).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_second_utc_dates_are_read() {
        assert!(parse_utc("2026-11-24T15:00:00Z").is_some());
        for bad in [
            "2026-11-24T15:00:00.5Z",
            "2026-11-24T15:00:00+00:00",
            "2026-11-24",
            "2026-11-24t15:00:00z",
            "2026-11-24 15:00:00Z",
        ] {
            assert!(parse_utc(bad).is_none(), "{bad}");
        }
    }
}
