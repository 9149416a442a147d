//! Payloads as chunks: cut where their content says, named by digest, compressed once.
//!
//! Attacks: an index that sends a reader far beyond the payload that was promised, and a stored chunk that unpacks to
//! gigabytes. Hence an [`Index`] is read strictly and must add up to its own total before anything is fetched, and
//! [`decode`] unpacks into a buffer of the length that the index pins and verifies the digest of what came out.
//!
//! An index's bytes, all numbers little endian:
//!
//! ```text
//! magic "SUTUREI1"   8 bytes
//! total              u64, the payload's length
//! count              u32
//! count times:       SHA-256 of the raw chunk, 32 bytes; its raw length, u32
//! ```

mod runs;

use std::borrow::Cow;
use std::io::{self, Read};

use fastcdc::v2020::{self, Normalization};
use zstd::zstd_safe;

use crate::digest::Digest;
use crate::limits::{CHUNK_AVG_BYTES, CHUNK_MAX_BYTES, CHUNK_MIN_BYTES, MAX_INDEX_BYTES};

const MAGIC: &[u8; 8] = b"SUTUREI1";
const HEAD_BYTES: usize = 8 + 8 + 4;
const ENTRY_BYTES: usize = 32 + 4;

/// The level that bundles are compressed with: chunks are compressed once and fetched by a fleet.
pub const LEVEL: i32 = 19;

/// One chunk of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// SHA-256 of its raw bytes.
    pub sha256: Digest,
    /// How many raw bytes it has; 1 to [`CHUNK_MAX_BYTES`].
    pub length: u32,
}

/// The chunks of a payload, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    entries: Vec<Entry>,
    /// Where each begins in the payload.
    offsets: Vec<u64>,
    total: u64,
}

/// Why an index, or a chunk against its entry, was refused.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The index does not begin as one, or is of another format.
    #[error("this is no chunk index of format 1")]
    Magic,
    /// The index has fewer or more bytes than its count asks for, or more than any may have.
    #[error("the chunk index has {actual} bytes where its count asks for {expected} (at most {MAX_INDEX_BYTES})")]
    IndexLength {
        /// What its count asks for.
        expected: u64,
        /// What there is.
        actual: u64,
    },
    /// The index lists nothing.
    #[error("the chunk index lists no chunk")]
    Empty,
    /// An entry has a length that no chunk has.
    #[error("chunk {ordinal} of the index has {length} bytes, not 1 to {CHUNK_MAX_BYTES}")]
    EntryLength {
        /// Its place.
        ordinal: usize,
        /// Its length.
        length: u32,
    },
    /// The entries do not add up to the total.
    #[error("the chunks of the index add up to {sum} bytes, the index says {total}")]
    Total {
        /// What they add up to.
        sum: u64,
        /// What the index says.
        total: u64,
    },
    /// An index is told by another one in a way that makes no sense.
    #[error("the chunk index is told by another one as no server does")]
    Runs,
    /// A stored chunk is longer than its raw form.
    #[error("the stored form of chunk {chunk} has {stored} bytes, its raw form {raw}")]
    StoredLength {
        /// First digits of its digest.
        chunk: String,
        /// The stored form's length.
        stored: usize,
        /// The raw form's length.
        raw: u32,
    },
    /// A stored chunk is not exactly one zstd frame, or one that holds more than the chunk.
    #[error("the stored form of chunk {chunk} is not one zstd frame of {raw} bytes")]
    Frame {
        /// First digits of its digest.
        chunk: String,
        /// The raw form's length.
        raw: u32,
    },
    /// The raw bytes are not those that the digest names.
    #[error("the bytes of chunk {chunk} have another digest")]
    Digest {
        /// First digits of its digest.
        chunk: String,
    },
    /// A chunk to be stored is empty or too long, or the compressor failed.
    #[error("a chunk of {length} bytes cannot be stored")]
    Encode {
        /// How long it is.
        length: usize,
        /// What the compressor said, if it was asked.
        source: Option<io::Error>,
    },
}

impl Index {
    /// An index of these chunks, in this order.
    pub fn new(entries: Vec<Entry>) -> Result<Self, ChunkError> {
        if entries.is_empty() {
            return Err(ChunkError::Empty);
        }
        let bytes = index_bytes(entries.len() as u64);
        if bytes > MAX_INDEX_BYTES {
            return Err(ChunkError::IndexLength { expected: bytes, actual: bytes });
        }
        let mut total = 0_u64;
        let mut offsets = Vec::with_capacity(entries.len());
        for (ordinal, entry) in entries.iter().enumerate() {
            if entry.length == 0 || entry.length as usize > CHUNK_MAX_BYTES {
                return Err(ChunkError::EntryLength { ordinal, length: entry.length });
            }
            offsets.push(total);
            total = total.saturating_add(u64::from(entry.length));
        }
        Ok(Self { entries, offsets, total })
    }

    /// Reads an index; only what [`Index::to_bytes`] writes is read.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChunkError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(ChunkError::Magic)?;
        let actual = bytes.len() as u64;
        let too_short = || ChunkError::IndexLength { expected: HEAD_BYTES as u64, actual };
        let (total, rest) = rest.split_first_chunk::<8>().ok_or_else(too_short)?;
        let (count, rest) = rest.split_first_chunk::<4>().ok_or_else(too_short)?;
        let (total, count) = (u64::from_le_bytes(*total), u32::from_le_bytes(*count));
        let expected = index_bytes(u64::from(count));
        if expected != actual || actual > MAX_INDEX_BYTES {
            return Err(ChunkError::IndexLength { expected, actual });
        }
        let (rows, _) = rest.as_chunks::<ENTRY_BYTES>();
        let index = Self::new(rows.iter().map(entry).collect())?;
        if index.total != total {
            return Err(ChunkError::Total { sum: index.total, total });
        }
        Ok(index)
    }

    /// The bytes whose SHA-256 a manifest pins.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + self.entries.len() * ENTRY_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.total.to_le_bytes());
        // `new` bounds the count by MAX_INDEX_BYTES, far below u32::MAX.
        out.extend_from_slice(&u32::try_from(self.entries.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.entries.iter().for_each(|entry| put_entry(&mut out, entry));
        out
    }

    /// The chunks in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The payload's length in bytes.
    pub fn total_length(&self) -> u64 {
        self.total
    }

    /// Where the chunk at `ordinal` begins in the payload.
    pub fn offset(&self, ordinal: usize) -> Option<u64> {
        self.offsets.get(ordinal).copied()
    }
}

fn entry(row: &[u8; ENTRY_BYTES]) -> Entry {
    let [sha256 @ .., a, b, c, d] = *row;
    Entry { sha256: Digest::from_bytes(sha256), length: u32::from_le_bytes([a, b, c, d]) }
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.extend_from_slice(entry.sha256.as_bytes());
    out.extend_from_slice(&entry.length.to_le_bytes());
}

const fn index_bytes(count: u64) -> u64 {
    HEAD_BYTES as u64 + count * ENTRY_BYTES as u64
}

/// Cuts a payload into chunks; see [`cut`].
pub struct Cutter<R> {
    source: R,
    buffer: Vec<u8>,
    /// What of `buffer` is still to be cut.
    start: usize,
    end: usize,
    ended: bool,
    masks: (u64, u64),
}

/// Cuts what `source` yields where its content says (FastCDC, 2020 form, normalisation 1, sizes from
/// [`crate::limits`]), so that an insertion moves few cuts. The same bytes are always cut at the same places: the cuts
/// are part of the format.
pub fn cut<R: Read>(source: R) -> Cutter<R> {
    Cutter {
        source,
        buffer: vec![0; 4 * CHUNK_MAX_BYTES],
        start: 0,
        end: 0,
        ended: false,
        masks: v2020::select_masks(CHUNK_AVG_BYTES, Normalization::Level1),
    }
}

impl<R: Read> Cutter<R> {
    /// Reads on until a longest chunk is there or the source has ended.
    fn fill(&mut self) -> io::Result<()> {
        if self.end - self.start >= CHUNK_MAX_BYTES || self.ended {
            return Ok(());
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while let Some(free) = self.buffer.get_mut(self.end..).filter(|free| !free.is_empty()) {
            match self.source.read(free) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => self.end += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Cutter<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(e) = self.fill() {
            // Nothing comes after an error: a reader that goes on would cut at other places.
            (self.start, self.end, self.ended) = (0, 0, true);
            return Some(Err(e));
        }
        let waiting = self.buffer.get(self.start..self.end).filter(|bytes| !bytes.is_empty())?;
        let (short, long) = self.masks;
        let sizes = (CHUNK_MIN_BYTES, CHUNK_AVG_BYTES, CHUNK_MAX_BYTES);
        let (_, length) = v2020::cut(waiting, sizes.0, sizes.1, sizes.2, short, long, short << 1, long << 1);
        let chunk = waiting.get(..length.max(1))?.to_vec();
        self.start += chunk.len();
        Some(Ok(chunk))
    }
}

/// The stored form of a chunk: one zstd frame, or the raw bytes where a frame would not be shorter.
pub fn encode(raw: &[u8], level: i32) -> Result<Vec<u8>, ChunkError> {
    if raw.is_empty() || raw.len() > CHUNK_MAX_BYTES {
        return Err(ChunkError::Encode { length: raw.len(), source: None });
    }
    let frame = zstd::bulk::compress(raw, level)
        .map_err(|source| ChunkError::Encode { length: raw.len(), source: Some(source) })?;
    Ok(if frame.len() < raw.len() { frame } else { raw.to_vec() })
}

/// The raw bytes of a stored chunk, of exactly the length and digest of `entry`. Takes no more memory than that length,
/// whatever the stored form claims.
pub fn decode<'a>(stored: &'a [u8], entry: &Entry) -> Result<Cow<'a, [u8]>, ChunkError> {
    let chunk = || entry.sha256.short();
    let length = entry.length as usize;
    if length > CHUNK_MAX_BYTES || stored.len() > length {
        return Err(ChunkError::StoredLength { chunk: chunk(), stored: stored.len(), raw: entry.length });
    }
    let raw = if stored.len() == length {
        Cow::Borrowed(stored)
    } else {
        let frame = || ChunkError::Frame { chunk: chunk(), raw: entry.length };
        // One frame and nothing behind it: the stored form of a chunk has one reading.
        if zstd_safe::find_frame_compressed_size(stored).ok() != Some(stored.len()) {
            return Err(frame());
        }
        // In one pass into a buffer that is there already: the window that a frame asks for is never allocated.
        let raw = zstd::bulk::decompress(stored, length).map_err(|_| frame())?;
        if raw.len() != length {
            return Err(frame());
        }
        Cow::Owned(raw)
    };
    if Digest::of(&raw) == entry.sha256 { Ok(raw) } else { Err(ChunkError::Digest { chunk: chunk() }) }
}

#[cfg(test)]
mod tests;
