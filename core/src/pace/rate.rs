//! A rate as network engineers write it, in bits a second.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{LEAST_RATE_BITS, MOST_RATE_BITS};

/// Bits a second; 0 is nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Rate(u64);

/// Why something is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no rate; it is written like 20Mbit, 500kbit or 1Gbit (a second), and is {least} to {most}, or 0 for nothing",
    least = Rate(LEAST_RATE_BITS),
    most = Rate(MOST_RATE_BITS)
)]
pub struct RateError(String);

impl Rate {
    /// Nothing at all.
    pub const NOTHING: Self = Self(0);

    /// Bits a second.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whole bytes a second.
    pub const fn bytes(self) -> u64 {
        self.0 / 8
    }

    /// Whether nothing may flow.
    pub const fn is_nothing(self) -> bool {
        self.0 == 0
    }
}

impl TryFrom<u64> for Rate {
    type Error = RateError;
    fn try_from(bits: u64) -> Result<Self, RateError> {
        match bits {
            0 | LEAST_RATE_BITS..=MOST_RATE_BITS => Ok(Self(bits)),
            _ => Err(RateError(format!("{bits}bit"))),
        }
    }
}

impl From<Rate> for u64 {
    fn from(rate: Rate) -> Self {
        rate.0
    }
}

const UNITS: [(&str, u64); 4] = [("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];

impl FromStr for Rate {
    type Err = RateError;
    fn from_str(text: &str) -> Result<Self, RateError> {
        let bad = || RateError(text.chars().take(40).collect());
        if text == "0" {
            return Ok(Self::NOTHING);
        }
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, unit) = text.split_at(digits);
        let unit = unit.strip_suffix("/s").unwrap_or(unit);
        let (_, bits) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        let number: u64 = number.parse().map_err(|_| bad())?;
        number.checked_mul(*bits).ok_or_else(bad)?.try_into().map_err(|_| bad())
    }
}

/// The text that its `FromStr` reads.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, bits)| self.0 > 0 && self.0.is_multiple_of(*bits)) {
            Some((name, bits)) => write!(f, "{}{name}", self.0 / bits),
            None => f.write_str("0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_shown_and_nothing_else_is() {
        for (text, bits) in [("20Mbit", 20_000_000), ("1500kbit", 1_500_000), ("0", 0), ("1Gbit", 1_000_000_000)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.bits(), rate.to_string().as_str()), (bits, text));
        }
        assert_eq!("2Mbit/s".parse::<Rate>().unwrap().to_string(), "2Mbit");
        assert_eq!("300000bit".parse::<Rate>().unwrap().to_string(), "300kbit");
        for bad in ["", "20", "Mbit", "-1Mbit", "1.5Mbit", "20MB", "20mbit", "8kbit", "1bit", "99999Gbit", "0Mbitx"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
        assert!("18446744073709551615Gbit".parse::<Rate>().is_err());
    }

    #[test]
    fn a_document_holds_no_rate_that_nobody_may_write() {
        assert_eq!(serde_json::from_str::<Rate>("20000000").unwrap().to_string(), "20Mbit");
        assert!(serde_json::from_str::<Rate>("1000").is_err());
    }
}
