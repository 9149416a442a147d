//! What a delta is made of, so that each of its parts can be fetched by itself and again.
//!
//! A delta's bytes, all numbers little endian:
//!
//! ```text
//! magic "SUTURED"    7 bytes
//! format             u8
//! old payload        SHA-256, 32 bytes; length, u64
//! new payload        SHA-256, 32 bytes; length, u64
//! count              u32, the regions
//! per region:        the bytes of its map, u32; the number of its frames, u32;
//!                    per frame: the bytes that it makes, u32; the bytes that it has, u32
//! behind the head:   per region its map and its frames, as long as the head says; then nothing
//! ```

use super::{DeltaError, rule};
use crate::digest::Digest;
use crate::limits::{
    MAX_DELTA_FRAME_BYTES, MAX_DELTA_HEAD_BYTES, MAX_DELTA_MAP_BYTES, MAX_DELTA_OUTPUT_BYTES, MAX_DELTA_REGION_BYTES,
};

const MAGIC: &[u8; 7] = b"SUTURED";

/// What the bytes behind a head mean: it changes with whatever makes another payload of the same delta, the coder's models
/// and what is guessed of programs included. A server drops what it made under another number, and a device takes none of another. `tests/recorded.rs` holds
/// deltas of this number.
pub const FORMAT: u8 = 2;

/// What a head says of a frame, in bytes.
const FRAME_FIELDS: usize = 8;

/// The head of a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What it is applied to.
    pub old: Payload,
    /// What it makes.
    pub new: Payload,
    /// The new payload's regions, in order.
    pub regions: Vec<Region>,
}

/// Which payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// SHA-256 of all its bytes.
    pub sha256: Digest,
    /// How many they are.
    pub length: u64,
}

/// A run of the new payload with one map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// How many bytes its map has.
    pub map_bytes: u32,
    /// Its frames, in order.
    pub frames: Vec<Frame>,
}

/// A run of a region that is made by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// How many bytes of the new payload it makes.
    pub length: u32,
    /// How many bytes it has.
    pub bytes: u32,
}

impl Region {
    /// How many bytes of the new payload its frames make.
    pub fn length(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.length)).sum()
    }

    /// How many bytes its map and its frames have.
    pub fn bytes(&self) -> u64 {
        u64::from(self.map_bytes) + self.frames.iter().map(|frame| u64::from(frame.bytes)).sum::<u64>()
    }

    fn check(&self) -> Result<(), DeltaError> {
        let check = |holds: bool, why| if holds { Ok(()) } else { Err(rule("head", why)) };
        check(self.map_bytes as usize <= MAX_DELTA_MAP_BYTES, "a map is too large")?;
        check(!self.frames.is_empty(), "a region without frames")?;
        check(self.length() <= u64::from(MAX_DELTA_REGION_BYTES), "a region is too long")?;
        for frame in &self.frames {
            check(frame.length > 0, "a frame that makes nothing")?;
            check(frame.length <= MAX_DELTA_OUTPUT_BYTES, "a frame makes too much")?;
            check(frame.bytes as usize <= MAX_DELTA_FRAME_BYTES, "a frame is too large")?;
        }
        Ok(())
    }
}

impl Head {
    /// Its bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DeltaError> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(FORMAT);
        for payload in [&self.old, &self.new] {
            bytes.extend_from_slice(payload.sha256.as_bytes());
            bytes.extend_from_slice(&payload.length.to_le_bytes());
        }
        let count = |count: usize| u32::try_from(count).map_err(|_| rule("head", "it is too large"));
        bytes.extend_from_slice(&count(self.regions.len())?.to_le_bytes());
        for region in &self.regions {
            bytes.extend_from_slice(&region.map_bytes.to_le_bytes());
            bytes.extend_from_slice(&count(region.frames.len())?.to_le_bytes());
            for frame in &region.frames {
                bytes.extend_from_slice(&frame.length.to_le_bytes());
                bytes.extend_from_slice(&frame.bytes.to_le_bytes());
            }
        }
        self.check(bytes.len())?;
        Ok(bytes)
    }

    /// Reads the head at the beginning of `bytes`, which may go on behind it; says how many bytes it took.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), DeltaError> {
        let mut fields = Fields(bytes.get(..MAX_DELTA_HEAD_BYTES).unwrap_or(bytes));
        if &fields.array::<7>()? != MAGIC {
            return Err(rule("head", "this is no delta"));
        }
        if fields.array()? != [FORMAT] {
            return Err(rule("head", "it is of a format of another release of this program"));
        }
        let (old, new) = (fields.payload()?, fields.payload()?);
        let mut regions = Vec::new();
        for _ in 0..fields.number()? {
            let map_bytes = fields.number()?;
            let count = fields.number()?;
            // Memory follows the bytes that are there, not the counts that they claim: a region without frames, which would
            // take four times as much, ends the reading.
            let mut frames = Vec::with_capacity((count as usize).min(fields.0.len() / FRAME_FIELDS));
            for _ in 0..count {
                frames.push(Frame { length: fields.number()?, bytes: fields.number()? });
            }
            let region = Region { map_bytes, frames };
            region.check()?;
            regions.push(region);
        }
        let length = bytes.len().min(MAX_DELTA_HEAD_BYTES) - fields.0.len();
        let head = Self { old, new, regions };
        head.check(length)?;
        Ok((head, length))
    }

    fn check(&self, length: usize) -> Result<(), DeltaError> {
        if length > MAX_DELTA_HEAD_BYTES {
            return Err(rule("head", "it is too large"));
        }
        self.regions.iter().try_for_each(Region::check)?;
        if self.regions.iter().map(Region::length).sum::<u64>() != self.new.length {
            return Err(rule("head", "the frames do not add up to the new payload"));
        }
        Ok(())
    }
}

/// What has not been read yet.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DeltaError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(rule("head", "it ends in the middle"))?;
        self.0 = rest;
        Ok(*field)
    }

    fn number(&mut self) -> Result<u32, DeltaError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn payload(&mut self) -> Result<Payload, DeltaError> {
        let sha256 = Digest::from_bytes(self.array()?);
        Ok(Payload { sha256, length: u64::from_le_bytes(self.array()?) })
    }
}
