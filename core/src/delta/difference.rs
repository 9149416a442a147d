//! How copied bytes differ from what they were guessed to be: mostly not at all.
//!
//! Block by block, first the references and then the bytes between them.

use super::coder::{Bit, Coder};
use super::model::{Number, STEADY, Signed, Symbols};
use super::reference::{KINDS, Site};

/// References whose correction is remembered.
const CORRECTIONS: usize = 4_096;

/// What has been learned of the differences in a frame.
#[derive(Debug)]
pub(crate) struct Differences {
    /// Runs of bytes that are as guessed.
    runs: Number,
    /// Whether a byte differs, by which of the eight before it do.
    flags: Vec<Bit>,
    bytes: Symbols<8>,
    /// Which of the last eight bytes differed, the last one lowest.
    history: u8,
    last: u8,
    references: References,
}

/// What has been learned of references.
#[derive(Debug)]
struct References {
    /// Whether one is as guessed, by its kind and by how the last ones of its kind were.
    hits: Vec<Bit>,
    /// Whether one that is not is as it was.
    kept: Vec<Bit>,
    history: [u8; KINDS],
    errors: Signed,
    /// By what is referred to: it, and by how much the guess was wrong.
    corrections: Vec<(u64, u64)>,
}

impl Differences {
    pub(crate) fn new() -> Self {
        Self {
            runs: Number::new(1),
            flags: vec![Bit::of(8_000); 256],
            bytes: Symbols::new(512, STEADY),
            history: 0,
            last: 0,
            references: References {
                hits: vec![Bit::of(60_000); KINDS << 8],
                kept: vec![Bit::default(); KINDS],
                history: [0xff; KINDS],
                errors: Signed::new(KINDS),
                corrections: vec![(0, 0); CORRECTIONS],
            },
        }
    }

    /// Codes the differences of one block; afterwards `bytes` holds the true ones. An encoder is given these in `truth`.
    pub(crate) fn code<C: Coder>(&mut self, coder: &mut C, bytes: &mut [u8], truth: &[u8], sites: &[Site]) {
        for site in sites {
            self.references.code(coder, bytes, truth, site);
        }
        let mut sites = sites.iter().peekable();
        let mut at = 0;
        while at < bytes.len() {
            if self.history == 0 {
                let mut run = 0;
                if C::ENCODES {
                    run = super::make::common(bytes.get(at..).unwrap_or_default(), truth.get(at..).unwrap_or_default());
                }
                let left = bytes.len() - at;
                run = usize::try_from(self.runs.code(coder, 0, run as u64)).unwrap_or(left).min(left);
                at += run;
                if at < bytes.len() {
                    self.byte(coder, bytes, truth, at);
                    at += 1;
                }
                continue;
            }
            // References are true by now.
            while sites.next_if(|site| site.at as usize + site.width() <= at).is_some() {}
            if let Some(site) = sites.next_if(|site| site.at as usize <= at) {
                at = site.at as usize + site.width();
                continue;
            }
            let differs = C::ENCODES && bytes.get(at) != truth.get(at);
            let differs = match self.flags.get_mut(usize::from(self.history)) {
                Some(flag) => coder.bit(flag, STEADY, differs),
                None => differs,
            };
            if differs {
                self.byte(coder, bytes, truth, at);
            } else {
                self.history <<= 1;
            }
            at += 1;
        }
    }

    /// A byte that differs.
    fn byte<C: Coder>(&mut self, coder: &mut C, bytes: &mut [u8], truth: &[u8], at: usize) {
        let Some(byte) = bytes.get_mut(at) else { return };
        let difference = truth.get(at).map_or(0, |truth| truth.wrapping_sub(*byte));
        let context = if self.history & 1 == 1 { 256 + usize::from(self.last) } else { usize::from(self.history) };
        let difference = self.bytes.code(coder, context, u32::from(difference)) as u8;
        *byte = byte.wrapping_add(difference);
        self.history = self.history << 1 | 1;
        self.last = difference;
    }
}

impl References {
    fn code<C: Coder>(&mut self, coder: &mut C, bytes: &mut [u8], truth: &[u8], site: &Site) {
        let place = site.at as usize..site.at as usize + site.width();
        let kind = site.kind as usize;
        let slot = (site.target.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize % CORRECTIONS;
        let correction = match self.corrections.get(slot) {
            Some((target, correction)) if *target == site.target => *correction,
            _ => 0,
        };
        let guess = site.trim(site.guess.wrapping_add(correction));
        let old = bytes.get(place.clone()).map_or(0, read);
        let value = truth.get(place.clone()).map_or(0, read);

        let history = self.history.get(kind).copied().unwrap_or(0);
        let hit = match self.hits.get_mut(kind << 8 | usize::from(history)) {
            Some(model) => coder.bit(model, STEADY, value == guess),
            None => true,
        };
        if let Some(history) = self.history.get_mut(kind) {
            *history = *history << 1 | u8::from(hit);
        }
        let mut value = value;
        if hit {
            value = guess;
        } else {
            let kept = old != guess
                && match self.kept.get_mut(kind) {
                    Some(model) => coder.bit(model, STEADY, value == old),
                    None => false,
                };
            if kept {
                value = old;
            } else {
                let error = site.sign(value.wrapping_sub(guess));
                let error = self.errors.code(coder, kind, error) as u64;
                value = site.trim(guess.wrapping_add(error));
                if let Some(correction_) = self.corrections.get_mut(slot) {
                    *correction_ = (site.target, correction.wrapping_add(error));
                }
            }
        }
        if let Some(bytes) = bytes.get_mut(place) {
            let value = value.to_le_bytes();
            bytes.iter_mut().zip(value).for_each(|(to, from)| *to = from);
        }
    }
}

/// Up to eight bytes as a number.
fn read(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
