//! A set of a rollout's waves.

use crate::approval::{Gates, Wave};

/// Some waves of a rollout, counted from 0: a bit for each, since there are at most 32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaveSet(u32);

const _: () = assert!(crate::limits::MAX_WAVES <= u32::BITS as usize);

impl WaveSet {
    /// These waves; what is beyond the last that there can be is in no set.
    pub fn of(waves: impl IntoIterator<Item = u32>) -> Self {
        Self(waves.into_iter().filter_map(|wave| 1u32.checked_shl(wave)).fold(0, |bits, bit| bits | bit))
    }

    /// The waves that wait for the hospital's signature, whether or not they have it.
    pub fn gated(waves: &[Wave]) -> Self {
        Self::of((0..).zip(waves).filter(|(_, wave)| wave.needs_signature).map(|(number, _)| number))
    }

    /// The waves that a document opens; without one none.
    pub fn opened(gates: Option<&Gates>) -> Self {
        Self::of(gates.into_iter().flat_map(|gates| &gates.open).map(|open| open.wave))
    }

    /// As it is stored.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// As it was stored.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether it holds a wave.
    pub fn holds(self, wave: u32) -> bool {
        1u32.checked_shl(wave).is_some_and(|bit| self.0 & bit != 0)
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its waves that are not in another.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Its waves, ascending.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        (0..u32::BITS).filter(move |wave| self.holds(*wave))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_it_was_made_of() {
        let set = WaveSet::of([0, 3, 31, 32, 99]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 31]);
        assert_eq!(WaveSet::from_bits(set.bits()), set);
        assert_eq!(set.without(WaveSet::of([3, 4])), WaveSet::of([0, 31]));
        assert!(!set.holds(32) && !set.is_empty() && set.without(set).is_empty() && WaveSet::opened(None).is_empty());
        let wave = |needs_signature| Wave {
            needs_server: true,
            needs_signature,
            min_confirmed_percent: 100,
            max_failures: 0,
            max_failed_percent: 100,
            soak_secs: 0,
        };
        assert_eq!(WaveSet::gated(&[wave(false), wave(true), wave(true)]), WaveSet::of([1, 2]));
    }
}
