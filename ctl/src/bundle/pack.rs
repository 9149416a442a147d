//! Packs: chunks in stored form, one behind another, with a list beside each.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use suture_core::digest::Digest;
use suture_core::limits::{CHUNK_MAX_BYTES, PACK_BYTES};

use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files;

/// A list of a pack of the smallest chunks.
const MAX_LIST_BYTES: u64 = 512 << 20;

fn pack_path(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("{number:05}.pack"))
}

fn list_path(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("{number:05}.list"))
}

/// Writes packs of at most [`PACK_BYTES`], in the order in which chunks are put.
#[derive(Debug)]
pub struct PackWriter {
    directory: PathBuf,
    number: usize,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    pack: BufWriter<File>,
    list: BufWriter<File>,
    length: usize,
}

impl PackWriter {
    /// Packs in an empty directory.
    pub fn new(directory: &Path) -> Outcome<Self> {
        fs::create_dir(directory).or_fail(|| format!("cannot create {}", directory.display()))?;
        Ok(Self { directory: directory.to_owned(), number: 0, open: None })
    }

    /// Adds a chunk's stored form.
    pub fn put(&mut self, sha256: &Digest, raw_length: usize, stored: &[u8]) -> Outcome {
        if self.open.as_ref().is_some_and(|o| o.length + stored.len() > PACK_BYTES) {
            self.close()?;
        }
        let number = self.number;
        let failed = || format!("cannot write pack {number} in {}", self.directory.display());
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let pack = File::create_new(pack_path(&self.directory, number)).or_fail(failed)?;
                let list = File::create_new(list_path(&self.directory, number)).or_fail(failed)?;
                none.insert(Open { pack: BufWriter::new(pack), list: BufWriter::new(list), length: 0 })
            }
        };
        open.length += stored.len();
        open.pack.write_all(stored).or_fail(failed)?;
        writeln!(open.list, "{sha256} {raw_length} {}", stored.len()).or_fail(failed)
    }

    /// Flushes the last pack.
    pub fn close(&mut self) -> Outcome {
        if let Some(Open { mut pack, mut list, .. }) = self.open.take() {
            let flushed = pack.flush().and_then(|()| list.flush());
            flushed.or_fail(|| format!("cannot write pack {} in {}", self.number, self.directory.display()))?;
            self.number += 1;
        }
        Ok(())
    }
}

/// A bundle's packs, opened for reading in any order.
#[derive(Debug)]
pub struct Packs {
    files: Vec<File>,
    chunks: HashMap<Digest, Place>,
}

/// Where a chunk's stored form is.
#[derive(Debug, Clone, Copy)]
struct Place {
    pack: usize,
    offset: u64,
    stored: u32,
}

impl Packs {
    /// Opens all packs of a directory.
    pub fn open(directory: &Path) -> Outcome<Self> {
        let mut packs = Self { files: Vec::new(), chunks: HashMap::new() };
        while let Some(list) = files::read(&list_path(directory, packs.files.len()), MAX_LIST_BYTES)? {
            let number = packs.files.len();
            let damaged = || {
                Failure::untrusted(format!("{} is damaged", list_path(directory, number).display()))
                    .next("build the bundle again")
            };
            let text = String::from_utf8(list).map_err(|_| damaged())?;
            if !text.ends_with('\n') {
                return Err(damaged());
            }
            let mut offset = 0_u64;
            for line in text.lines() {
                let (sha256, stored) = parse_line(line).ok_or_else(damaged)?;
                packs.chunks.insert(sha256, Place { pack: number, offset, stored });
                offset = offset.saturating_add(u64::from(stored));
            }
            let path = pack_path(directory, number);
            packs.files.push(File::open(&path).or_fail(|| format!("cannot read {}", path.display()))?);
        }
        Ok(packs)
    }

    /// A chunk's stored form, unverified; `None` where the bundle does not hold it.
    pub fn stored(&self, sha256: &Digest) -> Outcome<Option<Vec<u8>>> {
        let Some(place) = self.chunks.get(sha256) else { return Ok(None) };
        let Some(file) = self.files.get(place.pack) else { return Ok(None) };
        let mut bytes = vec![0; place.stored as usize];
        file.read_exact_at(&mut bytes, place.offset)
            .or_fail(|| format!("cannot read chunk {} from pack {}", sha256.short(), place.pack))?;
        Ok(Some(bytes))
    }

    /// A chunk's stored form, which has to be there.
    pub fn required(&self, sha256: &Digest) -> Outcome<Vec<u8>> {
        self.stored(sha256)?.ok_or_else(|| {
            Failure::untrusted(format!("the bundle lacks chunk {sha256}")).next("build the bundle again")
        })
    }

    /// How many chunks there are.
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes of a chunk's stored form; 0 where the bundle does not hold it.
    pub fn stored_length(&self, sha256: &Digest) -> u64 {
        self.chunks.get(sha256).map_or(0, |p| u64::from(p.stored))
    }
}

fn parse_line(line: &str) -> Option<(Digest, u32)> {
    let mut words = line.split(' ');
    let (sha256, raw, stored) = (words.next()?, words.next()?, words.next()?);
    let (raw, stored): (usize, u32) = (raw.parse().ok()?, stored.parse().ok()?);
    let sane = words.next().is_none() && raw <= CHUNK_MAX_BYTES && stored as usize <= raw && stored > 0;
    Some((sha256.parse().ok()?, stored)).filter(|_| sane)
}
