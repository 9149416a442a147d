//! Which part of a hospital's devices one file is about, so that a device or an operator reads one small file of many.
//!
//! A part is told by the first bits of the SHA-256 of a device's id. So everybody finds a device's file without an index,
//! the parts come out about equally large whatever the ids look like, and a part that grew too large falls into two halves
//! without a change to any other.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::DeviceId;

/// The most bits that tell a part: a million parts.
const MAX_BITS: u32 = 20;

/// The devices whose id has a SHA-256 that begins with certain bits; text and JSON form: these bits, as in `0110`, or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Part {
    bits: u32,
    number: u32,
}

/// Why a text names no part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a part of the devices is 1 to {MAX_BITS} binary digits, or `all`")]
pub struct PartError;

impl Part {
    /// All devices.
    pub const ALL: Self = Self { bits: 0, number: 0 };

    /// The equal parts that all devices fall into, ascending; `count` is rounded up to a power of two, a million at most.
    pub fn split(count: u32) -> impl Iterator<Item = Self> {
        let bits = bits_of(count);
        (0..1u32 << bits).map(move |number| Self { bits, number })
    }

    /// The one of [`Part::split`] that a device is in.
    pub fn of(device: &DeviceId, count: u32) -> Self {
        let bits = bits_of(count);
        Self { bits, number: first_bits(device, bits) }
    }

    /// Every part that a device is in, from all devices to the smallest.
    pub fn holding(device: &DeviceId) -> impl Iterator<Item = Self> {
        let digits = first_bits(device, MAX_BITS);
        (0..=MAX_BITS).map(move |bits| Self { bits, number: digits >> (MAX_BITS - bits) })
    }

    /// Its place in [`Part::split`], counted from 0.
    pub fn number(self) -> usize {
        self.number as usize
    }

    /// Whether a device is in it.
    pub fn holds(self, device: &DeviceId) -> bool {
        first_bits(device, self.bits) == self.number
    }

    /// Its two halves; none where it is as small as a part can be.
    pub fn halves(self) -> Option<[Self; 2]> {
        let half = |last| Self { bits: self.bits + 1, number: self.number << 1 | last };
        (self.bits < MAX_BITS).then(|| [half(0), half(1)])
    }

    /// Whether some device could be in both.
    pub fn overlaps(self, other: Self) -> bool {
        let bits = self.bits.min(other.bits);
        self.number >> (self.bits - bits) == other.number >> (other.bits - bits)
    }
}

/// The bits that tell `count` parts apart.
fn bits_of(count: u32) -> u32 {
    count.max(1).checked_next_power_of_two().map_or(MAX_BITS, u32::trailing_zeros).min(MAX_BITS)
}

fn first_bits(device: &DeviceId, bits: u32) -> u32 {
    let [a, b, c, d, ..] = *Digest::of(device.as_str().as_bytes()).as_bytes();
    u32::from_be_bytes([a, b, c, d]).checked_shr(32 - bits).unwrap_or(0)
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == 0 {
            return f.write_str("all");
        }
        write!(f, "{:0width$b}", self.number, width = self.bits as usize)
    }
}

impl FromStr for Part {
    type Err = PartError;
    fn from_str(text: &str) -> Result<Self, PartError> {
        if text == "all" {
            return Ok(Self::ALL);
        }
        let bits = u32::try_from(text.len()).map_err(|_| PartError)?;
        if !(1..=MAX_BITS).contains(&bits) || !text.bytes().all(|b| matches!(b, b'0' | b'1')) {
            return Err(PartError);
        }
        Ok(Self { bits, number: u32::from_str_radix(text, 2).map_err(|_| PartError)? })
    }
}

impl TryFrom<String> for Part {
    type Error = PartError;
    fn try_from(text: String) -> Result<Self, PartError> {
        text.parse()
    }
}

impl From<Part> for String {
    fn from(part: Part) -> Self {
        part.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> impl Iterator<Item = DeviceId> {
        (0..2_000).map(|n| format!("pump-{n}").parse().unwrap())
    }

    #[test]
    fn every_device_is_in_just_one_part_and_the_parts_are_about_equally_large() {
        for count in [1, 2, 16, 64] {
            let mut sizes = vec![0; count as usize];
            for device in devices() {
                let mut holding = Part::split(count).filter(|p| p.holds(&device));
                let part = holding.next().unwrap();
                assert_eq!((part, holding.next()), (Part::of(&device, count), None));
                assert!(Part::holding(&device).any(|p| p == part));
                sizes[part.number()] += 1;
            }
            let fair = 2_000 / count;
            assert!(sizes.iter().all(|n| (fair / 3..=fair * 3).contains(n)), "{count}: {sizes:?}");
        }
    }

    #[test]
    fn a_part_falls_into_halves_that_hold_what_it_held() {
        let part: Part = "0110".parse().unwrap();
        let [low, high] = part.halves().unwrap();
        assert_eq!((low.to_string(), high.to_string()), ("01100".to_owned(), "01101".to_owned()));
        for device in devices() {
            assert_eq!(part.holds(&device), low.holds(&device) != high.holds(&device));
        }
        assert_eq!(Part::ALL.halves().map(|h| h.map(|p| p.to_string())), Some(["0".to_owned(), "1".to_owned()]));
        let mut smallest = Part::ALL;
        while let Some([_, half]) = smallest.halves() {
            smallest = half;
        }
        assert_eq!(smallest.to_string().len(), MAX_BITS as usize);
    }

    #[test]
    fn parts_overlap_where_one_lies_in_the_other() {
        let overlap = |a: &str, b: &str| a.parse::<Part>().unwrap().overlaps(b.parse().unwrap());
        assert!(overlap("all", "0110") && overlap("01", "0110") && overlap("0110", "01") && overlap("1", "1"));
        assert!(!overlap("0", "1") && !overlap("010", "0110") && !overlap("0110", "10"));
    }

    #[test]
    fn only_their_own_text_names_them() {
        for part in [Part::ALL].into_iter().chain(Part::split(8)) {
            assert_eq!(part.to_string().parse(), Ok(part));
        }
        for bad in ["", "2", "0b1", "+1", " 1", "ALL", "000000000000000000000"] {
            assert_eq!(bad.parse::<Part>(), Err(PartError), "{bad}");
        }
    }
}
