//! The tree: hashes as in RFC 6962, section 2.1, with SHA-256.
//!
//! Perfect subtrees never change once they are full. They are what is stored, each under one number: [`Place::number`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};

/// The hash of a leaf: `SHA-256(0x00 || data)`.
pub fn leaf_hash(data: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(&[0]);
    hasher.update(data);
    hasher.finish()
}

/// The hash of two subtrees: `SHA-256(0x01 || left || right)`. The first byte keeps a node from being passed off as a leaf.
pub(super) fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(&[1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    hasher.finish()
}

/// The hash of neighbouring perfect subtrees, each smaller than the one before it; none where there is none.
pub(super) fn fold(peaks: impl DoubleEndedIterator<Item = Digest>) -> Option<Digest> {
    peaks.rev().reduce(|right, left| node_hash(&left, &right))
}

/// How many entries the tree has, and the hash that stands for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// How many.
    pub size: u64,
    /// The root's hash.
    pub root: Digest,
}

impl Head {
    /// Before the first entry: the root is SHA-256 of nothing.
    pub fn empty() -> Self {
        Self { size: 0, root: Digest::of(b"") }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.size, self.root)
    }
}

/// A perfect subtree: `2^level` leaves, from `index * 2^level` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// How high its root stands over the leaves.
    pub level: u32,
    /// How many of its size stand before it.
    pub index: u64,
}

impl Place {
    /// Its number in the order in which the whole tree is read from left to right: leaves have the even numbers, and no two
    /// subtrees the same one.
    pub fn number(&self) -> u64 {
        let half = 1_u64.checked_shl(self.level).unwrap_or(0);
        self.index.saturating_mul(half.saturating_mul(2)).saturating_add(half.saturating_sub(1))
    }

    /// The perfect subtrees of which the leaves from `from` up to `to` consist, the largest first; `from` is a multiple of the
    /// smallest power of two that is not below their count.
    pub(super) fn cover(from: u64, to: u64) -> Vec<Self> {
        let (mut places, mut at) = (Vec::new(), from);
        while at < to {
            let level = to.saturating_sub(at).ilog2();
            places.push(Self { level, index: at.checked_shr(level).unwrap_or(0) });
            at = at.saturating_add(1_u64.checked_shl(level).unwrap_or(u64::MAX));
        }
        places
    }
}

/// The right edge of a tree: all that is needed to add to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Default for Frontier {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Frontier {
    /// Of no entries.
    pub const EMPTY: Self = Self { size: 0, peaks: Vec::new() };

    /// The subtrees of which the edge of a tree of that size consists.
    pub fn places(size: u64) -> Vec<Place> {
        Place::cover(0, size)
    }

    /// An edge of which these are the subtrees, as [`Frontier::places`] lists them; none where there are more or fewer.
    pub fn of(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Adds an entry, and says which subtrees are full with it: the leaf first.
    pub fn push(&mut self, payload_sha256: &Digest) -> Vec<(Place, Digest)> {
        let mut place = Place { level: 0, index: self.size };
        let mut hash = leaf_hash(payload_sha256.as_bytes());
        let mut full = vec![(place, hash)];
        while place.index & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = node_hash(&left, &hash);
            place = Place { level: place.level.saturating_add(1), index: place.index >> 1 };
            full.push((place, hash));
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
        full
    }

    /// How far it reaches.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The tree's head.
    pub fn head(&self) -> Head {
        fold(self.peaks.iter().copied()).map_or_else(Head::empty, |root| Head { size: self.size, root })
    }
}
