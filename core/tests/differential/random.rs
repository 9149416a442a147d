//! Chance that can be repeated: case `n` is the same wherever and whenever it is made.

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(case: u64) -> Self {
        // So that neighbours do not begin alike.
        Self(case.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5375_7475_7265)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..bound`; 0 where there is none.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }

    /// Whether the one of so many percent has come up.
    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }
}
