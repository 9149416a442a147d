//! An adaptive binary range coder: every question is a bit, and every kind of question has a model that learns how it is
//! answered.
//!
//! [`Coder`] is both directions. What is coded is written once, as a walk over models that hands [`Coder::bit`] the answer
//! and takes the answer back: an [`Encoder`] writes what it is handed, a [`Decoder`] ignores that and says what was written.
//! So the two cannot come apart.
//!
//! A hostile run of bytes decodes to some answers, never to an error in here: behind its end a decoder reads zeros, for the
//! encoder leaves them out. Whoever decodes bounds the number of questions, and asks [`Decoder::finish`] in the end.

use super::DeltaError;

/// How sure of a bit a model may become: 1 in 65,536 / this.
const MARGIN: u32 = 24;
/// Bits that one renormalisation moves.
const STEP_BITS: u32 = 32;
/// Zeros at the end that are not written: at most the last value's own bytes.
const MAX_MISSING: usize = 8;

/// What one bit is expected to be: a probability of 22 bits, and below it how often it was seen, up to the model's limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bit(u32);

impl Default for Bit {
    fn default() -> Self {
        Self(1 << 31)
    }
}

/// How fast a model forgets: it moves by 1 / (times seen + 1.5) of its error, and the count stops here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit(pub(crate) u32);

/// 65,536 / (n + 1.5), for the counts that a model has.
const RECIPROCALS: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        #[expect(clippy::indexing_slicing, reason = "n is below 256")]
        {
            table[n] = (131_072 / (2 * n + 3)) as u32;
        }
        n += 1;
    }
    table
};

impl Bit {
    /// A model that begins sure to `ones` in 65,536.
    pub(crate) fn of(ones: u16) -> Self {
        Self(u32::from(ones) << 16 | 2)
    }

    /// The chance of a one, in 65,536.
    pub(crate) fn chance(self) -> u32 {
        (self.0 >> 16).clamp(MARGIN, 65_536 - MARGIN)
    }

    pub(crate) fn learn(&mut self, bit: bool, limit: Limit) {
        let count = self.0 & 1_023;
        let chance = self.0 >> 10;
        let rate = RECIPROCALS.get(count as usize).copied().unwrap_or(256);
        let chance = if bit {
            chance + ((u64::from(4_194_303 - chance) * u64::from(rate)) >> 16) as u32
        } else {
            chance - ((u64::from(chance) * u64::from(rate)) >> 16) as u32
        };
        self.0 = chance << 10 | if count < limit.0 { count + 1 } else { count };
    }
}

/// One direction of the coder.
pub(crate) trait Coder {
    /// Whether what is handed in counts.
    const ENCODES: bool;

    /// Codes a bit that is one in `chance` of 65,536 cases (1 to 65,535).
    fn raw(&mut self, chance: u32, bit: bool) -> bool;

    /// Codes a bit by its model, which learns from it.
    fn bit(&mut self, model: &mut Bit, limit: Limit, bit: bool) -> bool {
        let bit = self.raw(model.chance(), bit);
        model.learn(bit, limit);
        bit
    }

    /// Codes `count` bits of which nothing is known, at most sixteen.
    fn even(&mut self, count: u32, value: u64) -> u64;

    /// Codes the low `count` bits of a value of which nothing is known, high bits first.
    fn plain(&mut self, count: u32, value: u64) -> u64 {
        let mut sum = 0;
        let mut left = count;
        while left > 0 {
            let n = left.min(16);
            left -= n;
            sum = sum << n | self.even(n, value >> left & ((1 << n) - 1));
        }
        sum
    }
}

/// Writes bits.
#[derive(Debug)]
pub(crate) struct Encoder {
    low: u64,
    range: u64,
    out: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self { low: 0, range: u64::MAX, out: Vec::new() }
    }

    fn step(&mut self) {
        if self.range >> STEP_BITS == 0 {
            self.out.extend_from_slice(&((self.low >> STEP_BITS) as u32).to_be_bytes());
            self.low <<= STEP_BITS;
            self.range <<= STEP_BITS;
        }
    }

    fn carry(&mut self) {
        for byte in self.out.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }

    /// The bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        // The value in the range with the most zeros behind it: they need not be written.
        let zeros = 63 - self.range.leading_zeros();
        let mask = (1_u64 << zeros) - 1;
        let (value, carry) = self.low.overflowing_add(mask);
        if carry {
            self.carry();
        }
        self.out.extend_from_slice(&(value & !mask).to_be_bytes());
        let end = self.out.len();
        let zeros = self.out.iter().rev().take(MAX_MISSING).take_while(|byte| **byte == 0).count();
        self.out.truncate(end - zeros);
        self.out
    }
}

impl Coder for Encoder {
    const ENCODES: bool = true;

    fn raw(&mut self, chance: u32, bit: bool) -> bool {
        let bound = (self.range >> 16) * u64::from(chance);
        if bit {
            self.range = bound;
        } else {
            let (low, carry) = self.low.overflowing_add(bound);
            if carry {
                self.carry();
            }
            self.low = low;
            self.range -= bound;
        }
        self.step();
        bit
    }

    fn even(&mut self, count: u32, value: u64) -> u64 {
        self.range >>= count;
        let (low, carry) = self.low.overflowing_add(self.range * value);
        if carry {
            self.carry();
        }
        self.low = low;
        self.step();
        value
    }
}

/// Reads bits.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    code: u64,
    range: u64,
    rest: &'a [u8],
    missing: usize,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { code: 0, range: u64::MAX, rest: bytes, missing: 0 };
        decoder.code = u64::from(decoder.next()) << STEP_BITS;
        decoder.code |= u64::from(decoder.next());
        decoder
    }

    fn next(&mut self) -> u32 {
        if let Some((head, rest)) = self.rest.split_first_chunk() {
            self.rest = rest;
            return u32::from_be_bytes(*head);
        }
        let mut word = [0; 4];
        let n = self.rest.len();
        word.iter_mut().zip(self.rest).for_each(|(to, from)| *to = *from);
        self.missing = self.missing.saturating_add(4 - n);
        self.rest = &[];
        u32::from_be_bytes(word)
    }

    #[inline]
    fn step(&mut self) {
        if self.range >> STEP_BITS == 0 {
            self.code = self.code << STEP_BITS | u64::from(self.next());
            self.range <<= STEP_BITS;
        }
    }

    /// Everything has been asked: nothing may be left, and nothing may have been missing.
    pub(crate) fn finish(self) -> Result<(), DeltaError> {
        if self.rest.is_empty() && self.missing <= MAX_MISSING { Ok(()) } else { Err(DeltaError::Code) }
    }
}

impl Coder for Decoder<'_> {
    const ENCODES: bool = false;

    #[inline]
    fn raw(&mut self, chance: u32, _: bool) -> bool {
        let bound = (self.range >> 16) * u64::from(chance);
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        self.step();
        bit
    }

    fn even(&mut self, count: u32, _: u64) -> u64 {
        self.range >>= count;
        // A code that no encoder writes may be behind the last part.
        let value = (self.code / self.range).min((1 << count) - 1);
        self.code -= self.range * value;
        self.step();
        value
    }
}
