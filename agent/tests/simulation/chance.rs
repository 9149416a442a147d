//! Chance that can be repeated: the same seed leads to the same simulation, wherever and whenever it is run.

use jiff::SignedDuration;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        // So that neighbours do not begin alike.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5375_7475_7265)
    }

    /// One of its own for a part of the simulation, so that what happens in one part shifts nothing in another.
    pub(crate) fn fork(&self, part: u64) -> Self {
        Self::new(self.0.rotate_left(17) ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..bound`; 0 where there is none.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// One of `from..=to`.
    pub(crate) fn between(&mut self, from: u32, to: u32) -> u32 {
        let width = u64::from(to.saturating_sub(from)) + 1;
        from + u32::try_from(self.below(width)).unwrap()
    }

    /// Whether the one of so many percent has come up.
    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < u64::from(percent)
    }

    pub(crate) fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.below(items.len() as u64)).unwrap()].clone()
    }

    /// A time in whole seconds.
    pub(crate) fn secs(&mut self, from: u32, to: u32) -> SignedDuration {
        SignedDuration::from_secs(self.between(from, to).into())
    }
}
