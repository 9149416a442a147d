//! Models of more than a bit: symbols and numbers, as walks over the bits of a [`Coder`].

use super::coder::{Bit, Coder, Limit};

/// Learns what stays.
pub(crate) const STEADY: Limit = Limit(255);

/// Symbols of `BITS` bits, each bit modelled behind those above it; one such tree for every context.
#[derive(Debug)]
pub(crate) struct Symbols<const BITS: u32> {
    nodes: Vec<Bit>,
    limit: Limit,
}

impl<const BITS: u32> Symbols<BITS> {
    pub(crate) fn new(contexts: usize, limit: Limit) -> Self {
        Self { nodes: vec![Bit::default(); contexts << BITS], limit }
    }

    /// Codes a symbol; a context that there is not is one that learns nothing.
    #[inline]
    pub(crate) fn code<C: Coder>(&mut self, coder: &mut C, context: usize, symbol: u32) -> u32 {
        let base = context << BITS;
        let mut unknown = [];
        let nodes = self.nodes.get_mut(base..base + (1 << BITS)).unwrap_or(&mut unknown);
        let mut node = 1;
        for i in (0..BITS).rev() {
            let bit = symbol >> i & 1 == 1;
            let bit = match nodes.get_mut(node) {
                Some(model) => coder.bit(model, self.limit, bit),
                None => coder.raw(32_768, bit),
            };
            node = node << 1 | usize::from(bit);
        }
        node as u32 & ((1 << BITS) - 1)
    }
}

/// Numbers of up to 63 bits, small ones cheap: how many bits (a symbol), the two bits below the highest (modelled by that),
/// the rest.
#[derive(Debug)]
pub(crate) struct Number {
    lengths: Symbols<6>,
    heads: Symbols<2>,
}

impl Number {
    pub(crate) fn new(contexts: usize) -> Self {
        Self { lengths: Symbols::new(contexts, STEADY), heads: Symbols::new(contexts << 6, STEADY) }
    }

    pub(crate) fn code<C: Coder>(&mut self, coder: &mut C, context: usize, value: u64) -> u64 {
        let length = self.lengths.code(coder, context, 64 - value.leading_zeros());
        // The highest bit is one; of the rest the first two are modelled.
        let rest = length.saturating_sub(1);
        if rest == 0 {
            return u64::from(length);
        }
        let head_bits = rest.min(2);
        let tail_bits = rest - head_bits;
        let head = (value >> tail_bits) as u32 & ((1 << head_bits) - 1);
        let head = self.heads.code(coder, context << 6 | length as usize, head << (2 - head_bits)) >> (2 - head_bits);
        let tail = coder.plain(tail_bits, value & ((1 << tail_bits) - 1));
        1 << rest | u64::from(head) << tail_bits | tail
    }
}

/// Numbers with a sign, both of one model.
#[derive(Debug)]
pub(crate) struct Signed {
    number: Number,
    signs: Vec<Bit>,
}

impl Signed {
    pub(crate) fn new(contexts: usize) -> Self {
        Self { number: Number::new(contexts), signs: vec![Bit::default(); contexts << 1] }
    }

    /// The least i64 has a size that [`Number`] cannot tell: it is told as minus zero.
    pub(crate) fn code<C: Coder>(&mut self, coder: &mut C, context: usize, value: i64) -> i64 {
        let size = self.number.code(coder, context, value.unsigned_abs() & (i64::MAX as u64)) as i64;
        let negative = match self.signs.get_mut(context << 1 | usize::from(size == 0)) {
            Some(sign) => coder.bit(sign, STEADY, value < 0),
            None => coder.raw(32_768, value < 0),
        };
        match (size, negative) {
            (0, true) => i64::MIN,
            (size, true) => -size,
            (size, false) => size,
        }
    }
}
