//! The chunk that is on its way: what came of it before the line was cut, or the agent ended, does not come again.
//!
//! It lies beside the payload's file, in stored form behind the chunk's digest. Nothing of it is believed: the chunk is
//! verified once it is whole. Where the parts do not go together, as when another server stores the chunk otherwise, it is
//! asked for whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use suture_core::digest::Digest;
use suture_core::limits::CHUNK_MAX_STORED_BYTES;

use super::FetchError;
use super::error::wrong;
use crate::checkpoint::{self, Step};
use crate::client::Piece;
use crate::durable;

/// Of a digest.
const DIGEST_BYTES: usize = 32;

/// What came of a chunk, and of which.
#[derive(Debug, Default)]
pub(super) struct Rest {
    path: PathBuf,
    chunk: Option<Digest>,
    bytes: BytesMut,
    /// Whether the call under way began within it.
    is_spliced: bool,
}

impl Rest {
    /// What was kept beside the payload's file. What cannot be read is as if it were not there.
    pub(super) fn open(part: &Path) -> Self {
        let path = part.with_extension("rest");
        let most = (DIGEST_BYTES + CHUNK_MAX_STORED_BYTES) as u64;
        let kept = durable::read(&path, most).ok().flatten().unwrap_or_default();
        let (digest, bytes) = kept.split_at_checked(DIGEST_BYTES).unwrap_or_default();
        let chunk = Digest::try_from(digest).ok();
        Self { path, chunk, bytes: bytes.into(), is_spliced: false }
    }

    /// A call begins that asks for this chunk first. How many bytes of it are there; what is there of another is forgotten.
    pub(super) fn begin(&mut self, first: &Digest) -> u32 {
        if self.chunk != Some(*first) {
            self.chunk = None;
            self.bytes.clear();
        }
        self.is_spliced = !self.bytes.is_empty();
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    /// A piece of this chunk has come. The chunk, where that was the last of it.
    pub(super) fn take(&mut self, chunk: &Digest, piece: Piece) -> Result<Option<Bytes>, FetchError> {
        let Piece { stored, left, .. } = piece;
        self.is_spliced &= !self.bytes.is_empty();
        // Most come whole.
        if self.bytes.is_empty() && left == 0 {
            return Ok(Some(stored));
        }
        // Attack: a chunk without end.
        let most = CHUNK_MAX_STORED_BYTES.saturating_sub(self.bytes.len()).saturating_sub(stored.len());
        if self.bytes.len().saturating_add(stored.len()) > CHUNK_MAX_STORED_BYTES {
            return Err(wrong("a chunk", &"it is longer than any"));
        }
        if self.bytes.is_empty() {
            self.chunk = Some(*chunk);
            self.bytes.reserve(stored.len().saturating_add(most.min(left as usize)));
        }
        self.bytes.extend_from_slice(&stored);
        Ok((left == 0).then(|| {
            self.chunk = None;
            self.bytes.split().freeze()
        }))
    }

    /// How many bytes are there.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A chunk was wrong. Whether that may be for what was there of it before; nothing is any more.
    pub(super) fn is_to_blame(&mut self) -> bool {
        self.chunk = None;
        self.bytes.clear();
        std::mem::take(&mut self.is_spliced)
    }

    /// Leaves for the next start what is there. A power cut may take it: it is not worth waiting for the disk, which would
    /// hold the next call up.
    pub(super) fn keep(&self) {
        let kept = match self.chunk {
            Some(digest) if !self.bytes.is_empty() => self.write(&digest),
            _ => remove(&self.path),
        };
        if let Err(e) = kept {
            tracing::debug!(path = %self.path.display(), error = %e, "what came of a chunk is not kept");
        }
    }

    fn write(&self, digest: &Digest) -> io::Result<()> {
        let beside = self.path.with_extension("rest.new");
        checkpoint::file(Step::Write, &self.path)?;
        fs::write(&beside, [digest.as_bytes().as_slice(), &self.bytes].concat())?;
        checkpoint::file(Step::Rename, &self.path)?;
        fs::rename(beside, &self.path)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stored: &[u8], left: u32) -> Piece {
        Piece { ordinal: 0, stored: Bytes::copy_from_slice(stored), left }
    }

    /// Attack: HTTP/2 frames of one byte each.
    #[test]
    fn a_chunk_in_pieces_of_a_byte_takes_the_memory_of_a_chunk() {
        let raw: Vec<u8> = (0..CHUNK_MAX_STORED_BYTES).map(|at| (at % 251) as u8).collect();
        let (mut rest, chunk) = (Rest::default(), Digest::of(&raw));
        for (at, byte) in raw.iter().enumerate() {
            let left = u32::try_from(raw.len() - at - 1).unwrap();
            let whole = rest.take(&chunk, piece(&[*byte], left)).unwrap();
            assert!(rest.bytes.capacity() <= CHUNK_MAX_STORED_BYTES, "{}", rest.bytes.capacity());
            assert_eq!(whole.is_some(), left == 0);
            assert!(whole.is_none_or(|whole| whole == raw));
        }
        assert_eq!(rest.len(), 0);
    }

    #[test]
    fn what_came_is_there_after_a_restart_and_for_that_chunk_alone() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("app.part");
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let mut rest = Rest::open(&part);
        assert_eq!(rest.begin(&one), 0);
        assert_eq!(rest.take(&one, piece(b"o", 2)).unwrap(), None);
        rest.keep();
        assert_eq!(Rest::open(&part).begin(&two), 0);
        let mut rest = Rest::open(&part);
        assert_eq!(rest.begin(&one), 1);
        assert_eq!(rest.take(&one, piece(b"ne", 0)).unwrap().unwrap(), "one");
        // The chunk was wrong: nothing of it is there any more, and the call had gone on within it.
        assert!(rest.is_to_blame() && !rest.is_to_blame());
        rest.keep();
        assert_eq!((Rest::open(&part).begin(&one), fs::read_dir(dir.path()).unwrap().count()), (0, 0));
        // Damage on disk, or another program's file.
        for damage in [&[7; 31][..], &vec![7; 40 + CHUNK_MAX_STORED_BYTES]] {
            fs::write(part.with_extension("rest"), damage).unwrap();
            assert_eq!(Rest::open(&part).begin(&Digest::from_bytes([7; 32])), 0);
        }
    }

    #[test]
    fn a_chunk_has_an_end() {
        let (mut rest, chunk) = (Rest::default(), Digest::of(b"endless"));
        let half = vec![0; CHUNK_MAX_STORED_BYTES / 2];
        for _ in 0..2 {
            assert_eq!(rest.take(&chunk, piece(&half, u32::MAX)).unwrap(), None);
        }
        assert!(rest.take(&chunk, piece(&[0], 0)).is_err());
    }
}
