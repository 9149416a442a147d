//! Bytes that are like none of the old payload: literals, and repeats of what the frame has already.

use super::coder::{Bit, Coder};
use super::model::{Number, STEADY, Symbols};

/// The shortest repeat.
pub(crate) const MIN_REPEAT: usize = 3;

/// A piece of a fresh run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Literal,
    /// So many bytes that stand this far back.
    Repeat {
        distance: usize,
        length: usize,
    },
}

#[derive(Debug)]
pub(crate) struct Fresh {
    kinds: Vec<Bit>,
    literals: Symbols<8>,
    again: Vec<Bit>,
    which: Symbols<2>,
    lengths: Number,
    distances: Number,
    history: usize,
    last: [usize; 4],
}

impl Fresh {
    pub(crate) fn new() -> Self {
        Self {
            kinds: vec![Bit::default(); 8],
            literals: Symbols::new(256, STEADY),
            again: vec![Bit::default(); 8],
            which: Symbols::new(1, STEADY),
            lengths: Number::new(2),
            distances: Number::new(4),
            history: 0,
            last: [1, 2, 4, 8],
        }
    }

    /// Codes `bytes[from..to]`; what stands before is known. `tokens` are the encoder's; afterwards the bytes are true.
    pub(crate) fn code<C: Coder>(&mut self, coder: &mut C, bytes: &mut [u8], from: usize, to: usize, tokens: &[Token]) {
        let mut tokens = tokens.iter();
        let mut at = from;
        while at < to {
            let token = tokens.next().copied().unwrap_or(Token::Literal);
            at += self.token(coder, bytes, at, to, token).max(1);
        }
    }

    fn token<C: Coder>(&mut self, coder: &mut C, bytes: &mut [u8], at: usize, to: usize, token: Token) -> usize {
        let repeats = to - at >= MIN_REPEAT && {
            let repeats = token != Token::Literal;
            match self.kinds.get_mut(self.history) {
                Some(kind) => coder.bit(kind, STEADY, repeats),
                None => repeats,
            }
        };
        let context = self.history;
        self.history = (self.history << 1 | usize::from(repeats)) & 7;
        if !repeats {
            let before = at.checked_sub(1).and_then(|before| bytes.get(before)).map_or(0, |byte| usize::from(*byte));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = self.literals.code(coder, before, u32::from(*byte)) as u8;
            }
            return 1;
        }
        let (distance, length) = match token {
            Token::Repeat { distance, length } => (distance, length),
            Token::Literal => (0, 0),
        };
        let known = self.last.iter().position(|last| *last == distance);
        let again = match self.again.get_mut(context) {
            Some(again) => coder.bit(again, STEADY, known.is_some()),
            None => false,
        };
        let length = length.saturating_sub(MIN_REPEAT) as u64;
        let length = self.lengths.code(coder, usize::from(again), length);
        let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(MIN_REPEAT).min(to - at);
        let distance = if again {
            let which = self.which.code(coder, 0, known.unwrap_or(0) as u32) as usize;
            let distance = self.last.get(which).copied().unwrap_or(1);
            if let Some(used) = self.last.get_mut(..=which) {
                used.rotate_right(1);
            }
            distance
        } else {
            let class = (length - MIN_REPEAT).min(3);
            let distance = self.distances.code(coder, class, distance.saturating_sub(1) as u64);
            let distance = usize::try_from(distance).unwrap_or(usize::MAX).saturating_add(1);
            self.last.rotate_right(1);
            if let Some(first) = self.last.first_mut() {
                *first = distance;
            }
            distance
        };
        if !C::ENCODES {
            repeat(bytes, at, distance, length);
        }
        length
    }
}

/// Copies from `distance` back; what would stand before the frame is zeros.
fn repeat(bytes: &mut [u8], at: usize, distance: usize, length: usize) {
    for i in at..at.saturating_add(length) {
        let byte = i.checked_sub(distance).and_then(|from| bytes.get(from)).copied().unwrap_or(0);
        if let Some(to) = bytes.get_mut(i) {
            *to = byte;
        }
    }
}
