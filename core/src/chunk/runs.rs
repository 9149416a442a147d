//! An index told by another one that the receiver holds: most chunks of a new version are those of the old one.
//!
//! No authority: what is put together counts only if it has the digest that the manifest pins.
//!
//! ```text
//! magic "SUTURER1"   8 bytes
//! base               SHA-256 of the index that is held, 32 bytes
//! until the end:     first and count of entries of the base, u32 each, little endian; count of new entries, u32; these, as
//!                    an index has them
//! ```

use std::collections::HashMap;

use super::{ChunkError, ENTRY_BYTES, Entry, Index, entry, index_bytes, put_entry};
use crate::digest::Digest;

const MAGIC: &[u8; 8] = b"SUTURER1";

impl Index {
    /// This index, told by `base`, whose digest is `base_sha256`.
    pub fn to_runs(&self, base: &Self, base_sha256: &Digest) -> Vec<u8> {
        let mut places: HashMap<&Entry, usize> = HashMap::with_capacity(base.entries.len());
        for (place, entry) in base.entries.iter().enumerate() {
            places.entry(entry).or_insert(place);
        }
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(base_sha256.as_bytes());
        let mut rest = self.entries.as_slice();
        while let Some(next) = rest.first() {
            let first = places.get(next).copied().unwrap_or(0);
            let there = base.entries.get(first..).unwrap_or_default();
            let count = rest.iter().zip(there).take_while(|(new, old)| new == old).count();
            let (_, after) = rest.split_at(count);
            let fresh = after.iter().take_while(|entry| !places.contains_key(entry)).count();
            let (fresh, after) = after.split_at(fresh);
            for number in [first, count, fresh.len()] {
                // An index has far fewer entries than that.
                out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
            }
            fresh.iter().for_each(|entry| put_entry(&mut out, entry));
            rest = after;
        }
        out
    }

    /// Which index a telling begins with.
    pub fn base_of_runs(runs: &[u8]) -> Option<Digest> {
        let (base, _) = runs.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
        Some(Digest::from_bytes(*base))
    }

    /// Puts an index of `length` bytes together from what was told of it and its base.
    ///
    /// # Errors
    ///
    /// It is told otherwise than [`Index::to_runs`] does, or of another length.
    pub fn from_runs(runs: &[u8], base: &Self, length: u64) -> Result<Self, ChunkError> {
        let mut rest = runs.strip_prefix(MAGIC).and_then(|rest| rest.get(32..)).ok_or(ChunkError::Magic)?;
        let mut entries = Vec::new();
        while let Some((head, after)) = rest.split_first_chunk::<12>() {
            let [first, count, fresh] = numbers(head);
            let copied =
                first.checked_add(count).and_then(|end| base.entries.get(first..end)).ok_or(ChunkError::Runs)?;
            let bytes = fresh.checked_mul(ENTRY_BYTES).ok_or(ChunkError::Runs)?;
            let (rows, after) = after.split_at_checked(bytes).ok_or(ChunkError::Runs)?;
            // Attack: a few bytes that tell of an index without end.
            let sum = entries.len().saturating_add(count).saturating_add(fresh);
            if index_bytes(sum as u64) > length || count.saturating_add(fresh) == 0 {
                return Err(ChunkError::Runs);
            }
            entries.extend_from_slice(copied);
            entries.extend(rows.as_chunks::<ENTRY_BYTES>().0.iter().map(entry));
            rest = after;
        }
        let whole = rest.is_empty() && index_bytes(entries.len() as u64) == length;
        if whole { Self::new(entries) } else { Err(ChunkError::Runs) }
    }
}

fn numbers(head: &[u8; 12]) -> [usize; 3] {
    let number = |bytes: [u8; 4]| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *head;
    [number([a, b, c, d]), number([e, f, g, h]), number([i, j, k, l])]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(names: &[u8]) -> Index {
        let entry = |name: &u8| Entry { sha256: Digest::of(&[*name]), length: 1 + u32::from(*name) };
        Index::new(names.iter().map(entry).collect()).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_told_is_put_together_again(
            old in prop::collection::vec(0_u8..40, 1..60),
            new in prop::collection::vec(0_u8..50, 1..60),
        ) {
            let (old, new) = (index(&old), index(&new));
            let runs = new.to_runs(&old, &Digest::of(b"base"));
            prop_assert_eq!(Index::base_of_runs(&runs), Some(Digest::of(b"base")));
            let length = new.to_bytes().len() as u64;
            prop_assert_eq!(&Index::from_runs(&runs, &old, length).unwrap(), &new);
            for other in [length - 1, length + 1, length - ENTRY_BYTES as u64, length + ENTRY_BYTES as u64] {
                prop_assert!(Index::from_runs(&runs, &old, other).is_err());
            }
        }

        #[test]
        fn whatever_is_told_is_put_together_or_refused(
            tail in prop::collection::vec(any::<u8>(), 0..200),
            numbers in prop::collection::vec(0_u32..8, 0..12),
        ) {
            let mut runs = MAGIC.to_vec();
            runs.extend([0; 32]);
            runs.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
            runs.extend(tail);
            if let Ok(index) = Index::from_runs(&runs, &index(&[1, 2, 3, 4, 5]), index_bytes(7)) {
                prop_assert_eq!(index.entries().len(), 7);
            }
        }
    }

    #[test]
    fn a_few_new_chunks_cost_a_few_bytes() {
        let old: Vec<u8> = (0..200).collect();
        let mut new = old.clone();
        new[50] = 201;
        new.insert(150, 202);
        let runs = index(&new).to_runs(&index(&old), &Digest::of(b"base"));
        // Three runs, two new entries.
        assert_eq!(runs.len(), 40 + 3 * 12 + 2 * ENTRY_BYTES);
        let same = index(&old).to_runs(&index(&old), &Digest::of(b"base"));
        assert_eq!(same.len(), 40 + 12);
    }

    #[test]
    fn runs_that_tell_of_too_much_or_nothing_are_refused() {
        let base = index(&[1, 2, 3]);
        let told = |numbers: &[u32]| {
            let mut runs = MAGIC.to_vec();
            runs.extend([0; 32]);
            runs.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
            Index::from_runs(&runs, &base, index_bytes(6))
        };
        assert!(told(&[0, 3, 0, 0, 3, 0]).is_ok());
        for bad in [
            &[][..],
            &[0, 3, 0, 0, 3, 0, 0, 1, 0],
            &[0, 0, 0],
            &[0, 4, 0],
            &[3, 1, 0],
            &[u32::MAX, u32::MAX, 0],
            &[0, 1, 1],
            &[0, 1, u32::MAX],
            &[0, 1],
        ] {
            assert!(told(bad).is_err(), "{bad:?}");
        }
        assert!(Index::from_runs(b"SUTUREI1", &base, index_bytes(6)).is_err());
        assert_eq!(Index::base_of_runs(b"SUTURER1"), None);
    }
}
