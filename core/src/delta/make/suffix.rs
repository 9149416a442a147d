//! The suffixes of a text in their order, and the longest of a needle's beginnings that stands in it.
//!
//! Built by induced sorting (Nong, Zhang and Chan, "Linear suffix array construction by almost pure induced-sorting", 2009):
//! sort the suffixes that begin a valley, by recursion over names for their pieces; then each of the others finds its place
//! next to one that is already placed. Linear in time; about 8 bytes of memory for each of text while building and 5 after.

#![expect(clippy::indexing_slicing, reason = "places and ranks of one text index arrays of its own length")]

/// No place.
const NONE: u32 = u32::MAX;

/// A letter of a text: a byte, or a name in the recursion.
trait Letter: Copy + Eq + Ord {
    fn rank(self) -> usize;
}

impl Letter for u8 {
    fn rank(self) -> usize {
        usize::from(self)
    }
}

impl Letter for u32 {
    fn rank(self) -> usize {
        self as usize
    }
}

/// Which suffixes are smaller than the one behind them ("S"; the others are "L"), a bit each.
struct Rising(Vec<u64>);

impl Rising {
    fn of<L: Letter>(text: &[L]) -> Self {
        let mut bits = vec![0_u64; text.len() / 64 + 1];
        let mut rising = false;
        for i in (0..text.len().saturating_sub(1)).rev() {
            rising = match text[i].cmp(&text[i + 1]) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Equal => rising,
                std::cmp::Ordering::Greater => false,
            };
            bits[i / 64] |= u64::from(rising) << (i % 64);
        }
        Self(bits)
    }

    fn at(&self, i: usize) -> bool {
        self.0[i / 64] >> (i % 64) & 1 == 1
    }

    /// Whether a valley begins here: this suffix rises and the one before it does not.
    fn valley(&self, i: usize) -> bool {
        i > 0 && self.at(i) && !self.at(i - 1)
    }
}

/// The places where the suffixes of each first letter begin: those that fall, then those that rise.
struct Buckets {
    falling: Vec<u32>,
    rising: Vec<u32>,
}

impl Buckets {
    fn of<L: Letter>(text: &[L], letters: usize, rising: &Rising) -> Self {
        let mut falls = vec![0_u32; letters];
        let mut rises = vec![0_u32; letters];
        for (i, letter) in text.iter().enumerate() {
            let counts = if rising.at(i) { &mut rises } else { &mut falls };
            counts[letter.rank()] += 1;
        }
        let mut place = 0;
        for (fall, rise) in falls.iter_mut().zip(&mut rises) {
            let (f, r) = (*fall, *rise);
            *fall = place;
            *rise = place + f;
            place += f + r;
        }
        Self { falling: falls, rising: rises }
    }
}

/// Places all suffixes, given the valleys in their order.
fn induce<L: Letter>(text: &[L], order: &mut [u32], valleys: &[u32], rising: &Rising, buckets: &Buckets) {
    order.fill(NONE);
    let mut next = buckets.rising.clone();
    for &valley in valleys {
        let place = &mut next[text[valley as usize].rank()];
        order[*place as usize] = valley;
        *place += 1;
    }
    let mut next = buckets.falling.clone();
    let last = text.len() - 1;
    let place = &mut next[text[last].rank()];
    order[*place as usize] = last as u32;
    *place += 1;
    for i in 0..order.len() {
        let suffix = order[i];
        if suffix == NONE || suffix == 0 {
            continue;
        }
        let before = suffix as usize - 1;
        if !rising.at(before) {
            let place = &mut next[text[before].rank()];
            order[*place as usize] = before as u32;
            *place += 1;
        }
    }
    // The rising ones again, now from the back of each letter: where the next letter's falling ones begin.
    next.copy_from_slice(&buckets.falling);
    next.push(text.len() as u32);
    for i in (0..order.len()).rev() {
        let suffix = order[i];
        if suffix == NONE || suffix == 0 {
            continue;
        }
        let before = suffix as usize - 1;
        if rising.at(before) {
            let place = &mut next[text[before].rank() + 1];
            *place -= 1;
            order[*place as usize] = before as u32;
        }
    }
}

fn sort<L: Letter>(text: &[L], letters: usize) -> Vec<u32> {
    let n = text.len();
    if n < 2 {
        return (0..n as u32).collect();
    }
    let rising = Rising::of(text);
    let buckets = Buckets::of(text, letters, &rising);
    let mut order = vec![NONE; n];
    let valleys: Vec<u32> = (1..n).filter(|i| rising.valley(*i)).map(|i| i as u32).collect();
    induce(text, &mut order, &valleys, &rising, &buckets);
    if valleys.is_empty() {
        return order;
    }

    // Name the pieces from valley to valley by their order; valleys are never neighbours, so half the places are enough.
    let mut sorted: Vec<u32> = order.iter().copied().filter(|i| rising.valley(*i as usize)).collect();
    let mut names = vec![0_u32; n / 2 + 1];
    for (rank, valley) in valleys.iter().enumerate() {
        names[*valley as usize / 2] = rank as u32;
    }
    let end = |valley: u32| valleys.get(names[valley as usize / 2] as usize + 1).map_or(n, |next| *next as usize + 1);
    let mut fresh = Vec::with_capacity(sorted.len());
    let mut name = 0_u32;
    for (i, &valley) in sorted.iter().enumerate() {
        if i > 0 {
            let before = sorted[i - 1];
            let (a, b) = (before as usize..end(before), valley as usize..end(valley));
            // A piece that ends with the text is like no other.
            let same = a.len() == b.len() && a.end < n && b.end < n && text[a] == text[b];
            name += u32::from(!same);
        }
        fresh.push(name);
    }
    let mut shorter = vec![0_u32; valleys.len()];
    for (&valley, name) in sorted.iter().zip(fresh) {
        shorter[names[valley as usize / 2] as usize] = name;
    }
    drop(names);
    if (name as usize) + 1 < valleys.len() {
        let ranks = sort(&shorter, name as usize + 1);
        for (place, rank) in sorted.iter_mut().zip(ranks) {
            *place = valleys[rank as usize];
        }
    }
    induce(text, &mut order, &sorted, &rising, &buckets);
    order
}

/// A text with its suffixes in order.
#[derive(Debug)]
pub(crate) struct Suffixes {
    text: Vec<u8>,
    order: Vec<u32>,
    /// Where the suffixes that begin with each two or three bytes begin in `order`, and one more: the end.
    heads: Vec<u32>,
    head_bytes: usize,
}

/// A needle's longest beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it stands in the text.
    pub(crate) place: usize,
    /// How long it is; 0 where not one byte is found.
    pub(crate) length: usize,
}

/// Beginnings of one length that are looked at in search of the nearest.
const MAX_TWINS: usize = 24;

pub(crate) fn common(a: &[u8], b: &[u8]) -> usize {
    let mut n = 0;
    let words = a.chunks_exact(8).zip(b.chunks_exact(8));
    for (x, y) in words {
        let x = u64::from_le_bytes(x.try_into().unwrap_or_default());
        let y = u64::from_le_bytes(y.try_into().unwrap_or_default());
        if x != y {
            return n + (x ^ y).trailing_zeros() as usize / 8;
        }
        n += 8;
    }
    n + a[n..].iter().zip(&b[n..]).take_while(|(x, y)| x == y).count()
}

impl Suffixes {
    /// Sorts the suffixes of a text of less than 4 GiB.
    pub(crate) fn of(text: Vec<u8>) -> Self {
        let order = sort(&text, 256);
        let head_bytes = if text.len() > 4 << 20 { 3 } else { 2 };
        let mut heads = vec![0_u32; (1 << (8 * head_bytes)) + 1];
        let mut padded = text.clone();
        padded.extend_from_slice(&[0; 3]);
        for window in padded.windows(head_bytes).take(text.len()) {
            heads[Self::head(window) + 1] += 1;
        }
        drop(padded);
        let mut sum = 0;
        for head in &mut heads {
            sum += *head;
            *head = sum;
        }
        Self { text, order, heads, head_bytes }
    }

    fn head(bytes: &[u8]) -> usize {
        bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The longest beginning of `needle`; of several places the nearest to `near`, as far as they are looked at.
    pub(crate) fn longest(&self, needle: &[u8], near: i64) -> Found {
        let nothing = Found { place: 0, length: 0 };
        let Some(head) = needle.get(..self.head_bytes) else { return nothing };
        let head = Self::head(head);
        let (mut low, mut high) = (self.heads[head] as usize, self.heads[head + 1] as usize);
        if low == high {
            return nothing;
        }
        // What all between the two ends share with the needle need not be compared again.
        let (mut low_common, mut high_common) = (0, 0);
        let mut best = nothing;
        let mut best_rank = low;
        while low < high {
            let middle = low + (high - low) / 2;
            let place = self.order[middle] as usize;
            let known = low_common.min(high_common);
            let suffix = &self.text[place..];
            let known = known.min(suffix.len());
            let length = known + common(&needle[known..], &suffix[known..]);
            if length > best.length {
                best = Found { place, length };
                best_rank = middle;
            }
            if length == needle.len() {
                break;
            }
            if suffix.get(length).is_some_and(|byte| *byte > needle[length]) {
                high = middle;
                high_common = length;
            } else {
                low = middle + 1;
                low_common = length;
            }
        }
        self.nearest_twin(needle, best, best_rank, near)
    }

    fn nearest_twin(&self, needle: &[u8], best: Found, rank: usize, near: i64) -> Found {
        let away = |place: usize| (place as i64 - near).unsigned_abs();
        let wanted = &needle[..best.length];
        let mut nearest = best;
        let before = self.order[..rank].iter().rev().take(MAX_TWINS);
        let behind = self.order[rank + 1..].iter().take(MAX_TWINS);
        let twin = |place: &&u32| self.text[**place as usize..].starts_with(wanted);
        for &place in before.take_while(twin).chain(behind.take_while(twin)) {
            if away(place as usize) < away(nearest.place) {
                nearest.place = place as usize;
            }
        }
        nearest
    }
}

#[cfg(test)]
mod tests {
    use super::{Suffixes, sort};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn suffixes_are_in_order(text in prop::collection::vec(0_u8..4, 0..300)) {
            let mut expected: Vec<u32> = (0..text.len() as u32).collect();
            expected.sort_by_key(|i| &text[*i as usize..]);
            prop_assert_eq!(sort(&text, 256), expected);
        }

        #[test]
        fn the_longest_beginning_is_found(
            text in prop::collection::vec(0_u8..3, 0..200),
            needle in prop::collection::vec(0_u8..3, 3..40),
        ) {
            let longest = (0..=needle.len()).rev().find(|n| text.windows(*n.max(&1)).any(|w| w.starts_with(&needle[..*n])));
            let found = Suffixes::of(text.clone()).longest(&needle, 0);
            let longest = longest.unwrap_or(0);
            if longest >= 2 {
                prop_assert_eq!(found.length, longest);
                prop_assert_eq!(&text[found.place..found.place + longest], &needle[..longest]);
            }
        }
    }
}
