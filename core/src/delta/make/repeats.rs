//! Repeats within a frame, for its fresh runs.

use super::suffix::common;
use crate::delta::fresh::{MIN_REPEAT, Token};

const HASH_BITS: u32 = 16;
const MAX_TRIES: usize = 48;
const NONE: u32 = u32::MAX;

/// Finds repeats of what stands before in the frame.
pub(crate) struct Finder<'a> {
    bytes: &'a [u8],
    heads: Vec<u32>,
    chain: Vec<u32>,
    /// Places before this one are in the chains.
    entered: usize,
    last: [usize; 4],
}

impl<'a> Finder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            heads: vec![NONE; 1 << HASH_BITS],
            chain: vec![NONE; bytes.len()],
            entered: 0,
            last: [1, 2, 4, 8],
        }
    }

    fn hash(&self, at: usize) -> Option<usize> {
        let word = self.bytes.get(at..)?.first_chunk::<4>()?;
        Some((u32::from_le_bytes(*word).wrapping_mul(2_654_435_761) >> (32 - HASH_BITS)) as usize)
    }

    fn enter(&mut self, to: usize) {
        while self.entered < to {
            let at = self.entered;
            self.entered += 1;
            let Some(hash) = self.hash(at) else { continue };
            if let (Some(head), Some(link)) = (self.heads.get_mut(hash), self.chain.get_mut(at)) {
                *link = std::mem::replace(head, at as u32);
            }
        }
    }

    /// The best repeat at a place, with what it is worth.
    fn best(&self, at: usize, to: usize) -> Option<(Token, i64)> {
        let rest = self.bytes.get(at..to)?;
        let mut best = None;
        let mut worth = 0;
        for distance in self.last {
            let Some(from) = at.checked_sub(distance) else { continue };
            let length = common(self.bytes.get(from..).unwrap_or_default(), rest);
            let gain = length as i64 * 6 - 9;
            if length >= MIN_REPEAT && gain > worth {
                worth = gain;
                best = Some(Token::Repeat { distance, length });
            }
        }
        let mut place = self.hash(at).and_then(|hash| self.heads.get(hash).copied()).unwrap_or(NONE);
        for _ in 0..MAX_TRIES {
            if place == NONE {
                break;
            }
            let from = place as usize;
            let length = common(self.bytes.get(from..).unwrap_or_default(), rest);
            let distance = at - from;
            let gain = length as i64 * 6 - 10 - i64::from(distance.ilog2());
            if length >= MIN_REPEAT && gain > worth {
                worth = gain;
                best = Some(Token::Repeat { distance, length });
            }
            place = self.chain.get(from).copied().unwrap_or(NONE);
        }
        best.map(|token| (token, worth))
    }

    /// The tokens of a fresh run.
    pub(crate) fn tokens(&mut self, from: usize, to: usize) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut at = from;
        while at < to {
            self.enter(at);
            let Some((token, worth)) = self.best(at, to) else {
                tokens.push(Token::Literal);
                at += 1;
                continue;
            };
            self.enter(at + 1);
            if self.best(at + 1, to).is_some_and(|(_, next)| next > worth + 3) {
                tokens.push(Token::Literal);
                at += 1;
                continue;
            }
            tokens.push(token);
            if let Token::Repeat { distance, length } = token {
                let end = self.last.iter().position(|last| *last == distance).unwrap_or(3);
                if let Some(used) = self.last.get_mut(..=end) {
                    used.rotate_right(1);
                }
                if let Some(first) = self.last.first_mut() {
                    *first = distance;
                }
                at += length;
            }
        }
        tokens
    }
}
