//! Old to new by chunks alone, for `tests/load/pairs.sh`: what a device would fetch that has the old payload and no delta,
//! computed from core's cutter, index and stored form, without a server. The file that `make` writes holds the index and the
//! chunks that the old payload lacks, each with its stored length, as the wire carries it; `apply` needs that file and the
//! old payload, and verifies every chunk.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use clap::{Parser, Subcommand};
use suture_core::chunk::{self, Entry, Index};
use suture_core::digest::Digest;
use suture_ctl::bundle::tree;

/// Old to new by chunks alone.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a tree as the payload that `suturectl bundle build` makes of it
    Pack {
        /// The directory
        tree: PathBuf,
        /// The payload to write
        payload: PathBuf,
    },
    /// Print the length of the payload's chunk index
    Index {
        /// The payload
        payload: PathBuf,
    },
    /// Write what a device that has OLD fetches in order to have NEW
    Make {
        /// The payload that it has; /dev/null if it has none
        old: PathBuf,
        /// The payload that it wants
        new: PathBuf,
        /// What it fetches
        fetched: PathBuf,
    },
    /// Put the new payload together from the old one and from what was fetched
    Apply {
        /// The payload that the device has
        old: PathBuf,
        /// What it fetched
        fetched: PathBuf,
        /// The payload to write
        new: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Pack { tree, payload } => {
            let out = create(&payload)?;
            tree::archive(&tree, out).map_err(|failure| anyhow!(failure.to_text()))?;
            Ok(())
        }
        Command::Index { payload } => {
            let mut entries = Vec::new();
            for raw in chunk::cut(open(&payload)?) {
                let raw = raw.with_context(|| format!("reading {}", payload.display()))?;
                entries.push(Entry { sha256: Digest::of(&raw), length: u32::try_from(raw.len())? });
            }
            writeln!(std::io::stdout(), "{}", Index::new(entries)?.to_bytes().len()).context("writing")
        }
        Command::Make { old, new, fetched } => make(&old, &new, &fetched),
        Command::Apply { old, fetched, new } => apply(&old, &fetched, &new),
    }
}

fn make(old: &Path, new: &Path, fetched: &Path) -> anyhow::Result<()> {
    let mut known = places(old)?;
    let mut entries = Vec::new();
    let mut missing = Vec::new();
    for raw in chunk::cut(open(new)?) {
        let raw = raw.with_context(|| format!("reading {}", new.display()))?;
        let entry = Entry { sha256: Digest::of(&raw), length: u32::try_from(raw.len())? };
        entries.push(entry);
        if known.insert(entry.sha256, 0).is_none() {
            let stored = chunk::encode(&raw, chunk::LEVEL)?;
            missing.extend_from_slice(&u32::try_from(stored.len())?.to_le_bytes());
            missing.extend_from_slice(&stored);
        }
    }
    let index = Index::new(entries)?.to_bytes();
    let mut out = BufWriter::new(create(fetched)?);
    out.write_all(&u32::try_from(index.len())?.to_le_bytes())?;
    out.write_all(&index)?;
    out.write_all(&missing)?;
    out.flush().with_context(|| format!("writing {}", fetched.display()))
}

fn apply(old: &Path, fetched: &Path, new: &Path) -> anyhow::Result<()> {
    let known = places(old)?;
    let (old, fetched) = (open(old)?, open(fetched)?);
    let length = u64::from(number(&fetched, 0)?);
    ensure!(length < fetched.metadata()?.len(), "the file ends in its index");
    let mut bytes = vec![0; usize::try_from(length)?];
    fetched.read_exact_at(&mut bytes, 4)?;
    let index = Index::parse(&bytes)?;
    let mut came: HashMap<Digest, (u64, u32)> = HashMap::new();
    let mut next = 4 + length;
    let mut out = BufWriter::new(create(new)?);
    for entry in index.entries() {
        let (file, offset, stored) = if let Some(offset) = known.get(&entry.sha256) {
            (&old, *offset, entry.length)
        } else if let Some((offset, stored)) = came.get(&entry.sha256) {
            (&fetched, *offset, *stored)
        } else {
            let stored = number(&fetched, next)?;
            came.insert(entry.sha256, (next + 4, stored));
            let offset = next + 4;
            next = offset + u64::from(stored);
            (&fetched, offset, stored)
        };
        ensure!(stored <= entry.length, "a chunk's stored form is longer than the chunk");
        let mut bytes = vec![0; stored as usize];
        file.read_exact_at(&mut bytes, offset)?;
        out.write_all(&chunk::decode(&bytes, entry)?)?;
    }
    ensure!(next == fetched.metadata()?.len(), "something stands behind the last chunk");
    out.flush().with_context(|| format!("writing {}", new.display()))
}

/// Where each chunk of a payload stands in it.
fn places(payload: &Path) -> anyhow::Result<HashMap<Digest, u64>> {
    let mut places = HashMap::new();
    let mut offset = 0;
    for raw in chunk::cut(open(payload)?) {
        let raw = raw.with_context(|| format!("reading {}", payload.display()))?;
        places.entry(Digest::of(&raw)).or_insert(offset);
        offset += raw.len() as u64;
    }
    Ok(places)
}

fn number(file: &File, offset: u64) -> anyhow::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, offset).context("the file ends early")?;
    Ok(u32::from_le_bytes(bytes))
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("reading {}", path.display()))
}

fn create(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("creating {}", path.display()))
}
