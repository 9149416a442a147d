//! A bundle on the manufacturer's disk, between `build` and `publish`.
//!
//! ```text
//! manifest.json           canonical; its SHA-256 is the bundle's identity
//! indexes/<sha256>        chunk indexes, as the manifest pins them
//! documents/<sha256>      documents, as the manifest pins them
//! packs/00000.pack        chunks in stored form, one behind another, each once
//! packs/00000.list        what is in the pack, one chunk a line: SHA-256, raw length, stored length
//! targets.json            after `sign`: the catalog's next targets metadata, which list the manifest
//! role                    after `sign --role`: whose targets metadata they are, where they are a delegated role's
//! ```
//!
//! The same specification and files give the same bytes on every machine: nothing here holds a time, an owner, a path of
//! the machine or the order of a directory.

pub mod build;
pub mod documents;
pub mod pack;
pub mod spec;
pub mod tree;
pub mod upload;
pub mod verify;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use suture_core::chunk::{Entry, Index};
use suture_core::digest::Digest;
use suture_core::limits::{
    MAX_DOCUMENT_BYTES, MAX_INDEX_BYTES, MAX_MANIFEST_BYTES, MAX_TARGET_PATH_BYTES, MAX_TARGETS_BYTES,
};
use suture_core::manifest::{Manifest, Payload};

pub use build::{Options, build};
pub use documents::{DocumentSummary, summaries};
pub use pack::Packs;
pub use upload::{Uploaded, upload};
pub use verify::{Checked, verify};

use crate::failure::{Exit, Failure, OrFail as _, Outcome};
use crate::files::{self, Access};

/// A bundle's directory, its manifest and indexes read and verified; its chunks are verified by [`verify()`].
#[derive(Debug)]
pub struct Bundle {
    directory: PathBuf,
    /// The manifest.
    pub manifest: Manifest,
    /// Its bytes.
    pub manifest_bytes: Vec<u8>,
    /// The payloads' indexes, in the manifest's order.
    pub indexes: Vec<Index>,
}

impl Bundle {
    /// Opens a directory that `build` made.
    pub fn open(directory: &Path) -> Outcome<Self> {
        let manifest_bytes = required(&directory.join("manifest.json"), MAX_MANIFEST_BYTES)?;
        let manifest =
            Manifest::parse(&manifest_bytes).map_err(|e| damaged(&directory.join("manifest.json")).because(&e))?;
        let canonical = manifest.to_bytes().or_fail(|| "the manifest cannot be written".to_owned())?;
        if canonical != manifest_bytes {
            return Err(Failure::untrusted(format!(
                "{} is not in canonical form",
                directory.join("manifest.json").display()
            ))
            .next("it was edited by hand; build the bundle again"));
        }
        let mut indexes = Vec::with_capacity(manifest.payloads.len());
        for payload in &manifest.payloads {
            indexes.push(index_of(directory, payload)?);
        }
        Ok(Self { directory: directory.to_owned(), manifest, manifest_bytes, indexes })
    }

    /// The bundle's identity.
    pub fn sha256(&self) -> Digest {
        Digest::of(&self.manifest_bytes)
    }

    /// The chunks that it needs, each once, in the order of first use.
    pub fn chunks(&self) -> Vec<Entry> {
        let mut seen = HashSet::new();
        self.indexes.iter().flat_map(|i| i.entries()).filter(|e| seen.insert(e.sha256)).copied().collect()
    }

    /// The chunks that it has.
    pub fn packs(&self) -> Outcome<Packs> {
        Packs::open(&self.directory.join("packs"))
    }

    /// The documents' bytes, in the manifest's order, verified.
    pub fn documents(&self) -> Outcome<Vec<Vec<u8>>> {
        let mut documents = Vec::with_capacity(self.manifest.documents.len());
        for d in &self.manifest.documents {
            let path = self.directory.join("documents").join(d.sha256.to_string());
            let bytes = required(&path, MAX_DOCUMENT_BYTES)?;
            if Digest::of(&bytes) != d.sha256 || bytes.len() as u64 != d.length {
                return Err(damaged(&path));
            }
            documents.push(bytes);
        }
        Ok(documents)
    }

    /// The signed targets metadata, once there are any.
    pub fn targets(&self) -> Outcome<Option<Vec<u8>>> {
        Ok(files::read(&self.directory.join("targets.json"), MAX_TARGETS_BYTES)?)
    }

    /// The delegated role whose they are; none where they are the catalog's own.
    pub fn role(&self) -> Outcome<Option<String>> {
        let role = files::read(&self.directory.join("role"), MAX_TARGET_PATH_BYTES as u64)?;
        role.map(|bytes| String::from_utf8(bytes).map_err(|e| damaged(&self.directory.join("role")).because(&e)))
            .transpose()
    }

    /// Keeps signed targets metadata for `publish`: the catalog's own, or a delegated role's.
    pub fn set_targets(&self, targets: &[u8], role: Option<&str>) -> Outcome {
        let path = self.directory.join("role");
        match role {
            Some(role) => files::write(&path, role.as_bytes(), Access::Public)?,
            None => files::remove(&path)?,
        }
        Ok(files::write(&self.directory.join("targets.json"), targets, Access::Public)?)
    }
}

fn index_of(directory: &Path, payload: &Payload) -> Outcome<Index> {
    let path = directory.join("indexes").join(payload.index_sha256.to_string());
    let bytes = required(&path, MAX_INDEX_BYTES)?;
    if Digest::of(&bytes) != payload.index_sha256 || bytes.len() as u64 != payload.index_length {
        return Err(damaged(&path));
    }
    let index = Index::parse(&bytes).map_err(|e| damaged(&path).because(&e))?;
    if index.total_length() != payload.length {
        return Err(damaged(&path));
    }
    Ok(index)
}

fn required(path: &Path, limit: u64) -> Outcome<Vec<u8>> {
    files::read(path, limit)?.ok_or_else(|| {
        Failure::new(format!("there is no {}", path.display()))
            .next("name a directory that `suturectl bundle build` made")
    })
}

fn damaged(path: &Path) -> Failure {
    Failure::new(format!("{} is damaged: it is not what the manifest pins", path.display()))
        .exit(Exit::Untrusted)
        .next("build the bundle again")
}

#[cfg(test)]
pub(crate) mod tests;
