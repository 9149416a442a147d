//! Every byte of a bundle against its manifest, as a device will check it, before anybody signs.

use serde::Serialize;
use suture_core::archive::{Kind, Reader};
use suture_core::chunk;
use suture_core::digest::{Digest, Hasher};
use suture_core::manifest::PayloadFormat;

use super::{Bundle, Packs};
use crate::failure::{Exit, Failure, Outcome};

/// A bundle that verifies, in numbers.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// The bundle's identity.
    pub manifest_sha256: Digest,
    /// Payloads in the manifest's order.
    pub payloads: Vec<CheckedPayload>,
    /// Different chunks.
    pub chunks: u64,
    /// Their bytes in stored form: what is uploaded to an empty server, and fetched by an empty device.
    pub stored_bytes: u64,
}

/// A payload that verifies.
#[derive(Debug, Clone, Serialize)]
pub struct CheckedPayload {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub length: u64,
    /// Its chunks.
    pub chunks: u64,
    /// Where it is a tree.
    pub tree: Option<Tree>,
}

/// What a tree holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// Its directories.
    pub directories: u64,
    /// Its files.
    pub files: u64,
    /// Its symbolic links.
    pub links: u64,
}

/// Verifies manifest, indexes, chunks, payload digests, trees and documents.
pub fn verify(bundle: &Bundle) -> Outcome<Checked> {
    bundle.documents()?;
    let packs = bundle.packs()?;
    let mut payloads = Vec::with_capacity(bundle.indexes.len());
    for (payload, index) in bundle.manifest.payloads.iter().zip(&bundle.indexes) {
        let mut source = Unpacked {
            packs: &packs,
            entries: index.entries(),
            hasher: Hasher::default(),
            chunk: Vec::new(),
            at: 0,
            failure: None,
        };
        let tree = match payload.format {
            PayloadFormat::Image => {
                let copied = std::io::copy(&mut source, &mut std::io::sink());
                copied.map(|_| None).map_err(|e| Failure::of(Exit::Untrusted, &e))
            }
            PayloadFormat::Tree => count(&mut source).map(Some).map_err(|e| Failure::of(Exit::Untrusted, &e)),
        };
        let tree = match source.failure.take() {
            Some(failure) => return Err(failure),
            None => tree?,
        };
        if source.hasher.finish() != payload.sha256 {
            return Err(Failure::untrusted(format!(
                "payload {} has another digest than the manifest says",
                payload.name
            )));
        }
        payloads.push(CheckedPayload {
            name: payload.name.to_string(),
            length: payload.length,
            chunks: index.entries().len() as u64,
            tree,
        });
    }
    let chunks = bundle.chunks();
    Ok(Checked {
        manifest_sha256: bundle.sha256(),
        payloads,
        chunks: chunks.len() as u64,
        stored_bytes: chunks.iter().map(|c| packs.stored_length(&c.sha256)).sum(),
    })
}

fn count(source: &mut Unpacked<'_>) -> Result<Tree, suture_core::archive::ArchiveError> {
    let mut tree = Tree::default();
    let mut reader = Reader::new(source)?;
    while let Some(entry) = reader.next_entry()? {
        match entry.kind {
            Kind::Directory => tree.directories += 1,
            Kind::File { .. } => tree.files += 1,
            Kind::Link { .. } => tree.links += 1,
        }
    }
    Ok(tree)
}

/// A payload's bytes out of its chunks, each verified.
struct Unpacked<'a> {
    packs: &'a Packs,
    entries: &'a [chunk::Entry],
    hasher: Hasher,
    chunk: Vec<u8>,
    at: usize,
    /// What an [`std::io::Error`] cannot carry in full.
    failure: Option<Failure>,
}

impl Unpacked<'_> {
    fn advance(&mut self, entry: &chunk::Entry) -> Outcome {
        let stored = self.packs.required(&entry.sha256)?;
        let raw = chunk::decode(&stored, entry)
            .map_err(|e| Failure::of(Exit::Untrusted, &e).next("build the bundle again"))?;
        self.hasher.update(&raw);
        (self.chunk, self.at) = (raw.into_owned(), 0);
        Ok(())
    }
}

impl std::io::Read for Unpacked<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.at >= self.chunk.len() {
            let Some((entry, rest)) = self.entries.split_first() else { return Ok(0) };
            if let Err(failure) = self.advance(entry) {
                let text = failure.message.clone();
                self.failure = Some(failure);
                return Err(std::io::Error::other(text));
            }
            self.entries = rest;
        }
        let left = self.chunk.get(self.at..).unwrap_or_default();
        let n = left.len().min(out.len());
        for (to, from) in out.iter_mut().zip(left) {
            *to = *from;
        }
        self.at += n;
        Ok(n)
    }
}
