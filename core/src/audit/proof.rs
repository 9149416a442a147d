//! Proofs: which hashes they consist of (RFC 6962, sections 2.1.1 and 2.1.2), and how they are verified (RFC 9162, sections
//! 2.1.3.2 and 2.1.4.2).
//!
//! | attack | stopped by |
//! | --- | --- |
//! | an entry that is not in the record shown as one of it | [`includes`] |
//! | a record that was cut, reordered or rewritten since it was last seen | [`extends`] |
//! | a proof without end | no more hashes than the tree is high: every further one is refused |

use super::tree::{Head, Place, fold, leaf_hash, node_hash};
use crate::digest::Digest;

/// Leaves that stand together under one node, from the first up to, and without, the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(u64, u64);

impl Span {
    /// The perfect subtrees of which it consists.
    pub fn places(&self) -> Vec<Place> {
        Place::cover(self.0, self.1)
    }

    /// Its hash, from those of its subtrees, in their order.
    pub fn hash(&self, places: impl DoubleEndedIterator<Item = Digest>) -> Option<Digest> {
        fold(places)
    }
}

/// The largest power of two below `n`; `n` is 2 at least.
fn split(n: u64) -> u64 {
    1_u64.checked_shl(n.saturating_sub(1).ilog2()).unwrap_or(0)
}

/// The hashes that prove that the entry at `index` (from 0) is one of the first `size`, in their order. None where it is not.
pub fn inclusion(index: u64, size: u64) -> Option<Vec<Span>> {
    if index >= size {
        return None;
    }
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(Span(middle, to));
            to = middle;
        } else {
            path.push(Span(from, middle));
            from = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The hashes that prove that the first `old` of `new` entries are those of the tree that had `old`. None where that tree is
/// the larger one; nothing has to be proven of one of no entries.
pub fn consistency(old: u64, new: u64) -> Option<Vec<Span>> {
    if old > new {
        return None;
    }
    if old == 0 || old == new {
        return Some(Vec::new());
    }
    let (mut from, mut to, mut path) = (0, new, Vec::new());
    // Whether the old tree is a subtree of the new one as it stands: then its hash is known to whoever asks.
    let mut whole = true;
    while to > old {
        let middle = from + split(to - from);
        if old <= middle {
            path.push(Span(middle, to));
            to = middle;
        } else {
            path.push(Span(from, middle));
            from = middle;
            whole = false;
        }
    }
    if !whole {
        path.push(Span(from, to));
    }
    path.reverse();
    Some(path)
}

/// Whether the payload of that digest stands at `index` (from 0) of the tree.
pub fn includes(head: &Head, index: u64, payload_sha256: &Digest, path: &[Digest]) -> bool {
    if index >= head.size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, head.size - 1, leaf_hash(payload_sha256.as_bytes()));
    for other in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(other, &hash);
            (at, last) = up_to_the_next_turn(at, last);
        } else {
            hash = node_hash(&hash, other);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && hash == head.root
}

/// Whether the tree of `new` begins with all that the tree of `old` had.
pub fn extends(old: &Head, new: &Head, path: &[Digest]) -> bool {
    if old.size == 0 || old.size >= new.size {
        let begun = old.size == 0 && old.root == Head::empty().root;
        return path.is_empty() && (old == new || (begun && new.size > 0));
    }
    // Where the old tree is a subtree of the new one, its hash is the first of the proof and is not sent.
    let (first, rest) = match (old.size.is_power_of_two(), path.split_first()) {
        (true, Some(_)) => (&old.root, path),
        (false, Some((first, rest))) => (first, rest),
        (_, None) => return false,
    };
    let (mut at, mut last) = (old.size - 1, new.size - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (mut before, mut after) = (*first, *first);
    for other in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            before = node_hash(other, &before);
            after = node_hash(other, &after);
            (at, last) = up_to_the_next_turn(at, last);
        } else {
            after = node_hash(&after, other);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && before == old.root && after == new.root
}

/// Past the levels at which the right edge has no left neighbour.
fn up_to_the_next_turn(mut at: u64, mut last: u64) -> (u64, u64) {
    while at & 1 == 0 && at != 0 {
        (at, last) = (at >> 1, last >> 1);
    }
    (at, last)
}
