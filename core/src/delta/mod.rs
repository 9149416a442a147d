//! A new payload out of an old one that the device has, and of few bytes more.
//!
//! A delta is a [`Head`] and, for each run of the new payload of up to 64 MiB (a *region*), a [`Map`] and *frames*. The map
//! says which runs of the region are like runs of the old payload, wherever these stand there: the copies. A frame makes a
//! run of the region, at most 4 MiB: it reads the copied bytes out of the old payload, corrects them, and brings what no
//! copy covers. A frame needs its map and no other frame. It begins and ends where chunks of the new payload do, so what it
//! makes is verified by the signed chunk index at once, and a cut costs the frame that was on its way.
//!
//! What is told is told to an adaptive range coder (`coder`), with models for each kind of thing: where copies are (`map`),
//! how copied bytes differ (`difference`), fresh bytes (`fresh`). A frame that copies nothing may be packed in one piece
//! instead (`packed`): all frames of a delta from nothing are such, and a device with nothing fetches them.
//!
//! In a program that has changed a little, nearly everything has moved a little, and whatever says where something is says
//! something else: calls, addresses, relocations. The copies say where everything went, so both sides guess what these
//! places say now (`binary`, `elf`, `reference`, `loaded`, `arm`, `object`), and only what was guessed wrong is told.
//!
//! # Attacks
//!
//! Nothing of a delta is signed, and no part of it has to be: whoever made it, chunks come out that the index names, or are
//! refused. So whoever sends one can only waste a device's time and memory. Hence:
//!
//! - every length stands in the head, which has 128 KiB at most, and is bounded there before a part is fetched (`limits`,
//!   `MAX_DELTA_..`);
//! - a map has at most 131,072 copies, and no copy reaches outside the old payload or its region, or over another one in it;
//! - a frame makes as many bytes as the head says, reads each copied byte once, of each program at most its headers and
//!   symbols, and asks its coder a bounded number of questions for each byte that it makes, whatever it says: there is nothing
//!   in it that grows;
//! - memory while applying: 16 MiB (`MAX_DELTA_MEMORY`). They are the bytes made (4 MiB), the frame that is applied and the
//!   part that comes meanwhile (2 MiB each), the map (3 MiB of copies and where they lead, 1 MiB of programs), the models, a
//!   program's symbols and the head (1 MiB each). Where the largest map is decoded, nothing is made yet;
//! - a part that is cut, or goes on, is refused.
//!
//! Behind that a frame's bytes mean *some* new bytes, right or wrong. If the chunks that a frame yields are not those of the
//! index, the frame and its map are thrown away.

mod arm;
mod binary;
mod coder;
mod difference;
mod elf;
mod frame;
mod fresh;
mod head;
mod loaded;
pub mod make;
mod map;
mod model;
mod object;
mod packed;
mod reference;

use std::io;

pub use head::{FORMAT, Frame, Head, Payload, Region};
pub use make::make;
pub use map::Map;

/// Random reads of a payload: the old one where a delta is applied, both where one is made.
pub trait Source {
    /// How many bytes it has.
    fn length(&self) -> u64;
    /// Fills the buffer with what stands at this offset; all of it, or an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl Source for &[u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from =
            usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).and_then(|b| b.get(..buffer.len()));
        match from {
            Some(from) => {
                buffer.copy_from_slice(from);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Why a delta was refused.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// Bytes are left over, or were missing.
    #[error("a part of the delta has more or fewer bytes than it needs")]
    Code,
    /// Something reaches further than it may.
    #[error("the delta's {part} breaks a rule: {rule}")]
    Rule {
        /// Which part.
        part: &'static str,
        /// What does not hold.
        rule: &'static str,
    },
    /// The old or new payload cannot be read.
    #[error("cannot read the {which} payload")]
    Read {
        /// `old` or `new`.
        which: &'static str,
        /// Why.
        source: io::Error,
    },
}

pub(crate) fn rule(part: &'static str, rule: &'static str) -> DeltaError {
    DeltaError::Rule { part, rule }
}

#[cfg(test)]
mod tests;
