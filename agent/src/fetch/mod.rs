//! Fetching: what the device lacks of a bundle, and nothing else.
//!
//! ```text
//! <state_dir>/fetch/<manifest digest>/manifest.json
//!                                    /<payload>.index     verified by digest
//!                                    /<payload>.part      as long as the payload; its chunks at their places
//!                                    /<payload>.chunks    there once a delta has failed: why only chunks are fetched
//! ```
//!
//! What lies on disk is hashed again on every start, so a cut resumes from exactly the chunks that are missing. Chunks that
//! a slot holds already are taken from there; those that are like something in a slot are made from it by a delta, where the
//! server has one. The rest is asked for in runs; a chunk that a payload holds twice comes once.
//! A chunk counts when its raw bytes have the digest that the signed manifest leads to; where they come from is of no account.

mod counters;
mod delta;
mod part;
mod transfer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use suture_core::chunk::{ChunkError, Index};
use suture_core::digest::Digest;
use suture_core::limits::MAX_MANIFEST_BYTES;
use suture_core::manifest::{Manifest, ManifestError, Payload};
use suture_core::phase::{Code, Reason};
use suture_core::select::Choice;
use suture_core::trust::Repository;

use crate::backoff::{Backoff, Random};
use crate::client::{Chunks, ClientError, Deltas, Files, Indexes, Which};
use crate::durable::{self, DurableError};
use crate::install::{InstallError, Payloads, Slots};

pub use counters::Counters;
pub use part::{Part, Verified};
pub use transfer::complete;

/// Beside what the bundle needs, for the journal, the reports and everybody else on the disk.
const SPARE_BYTES: u64 = 16 << 20;

/// Why a bundle is not there yet, or never will be.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The disk.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What came is not what was signed. It is not kept; another try may bring the right bytes.
    #[error("{what} is not what was signed: {why}")]
    WrongBytes {
        /// What came.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// What was signed can never be installed here.
    #[error("the bundle cannot be used: {0}")]
    Unusable(String),
    /// The bundle does not fit.
    #[error("{needed} bytes are needed on the disk of {}, {free} are free", path.display())]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// What is needed.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// A worker of the fetch ended without a word.
    #[error("a part of the fetch ended by itself")]
    Lost,
}

impl FetchError {
    /// Whether trying again can never help.
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Unusable(_))
    }

    /// The reason for people and reports.
    pub fn reason(&self) -> Reason {
        let full = |e: &io::Error| matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let code = match self {
            Self::Client(e) => e.code(),
            Self::Durable(e) if e.is_full() => Code::DiskFull,
            Self::Io { source, .. } if full(source) => Code::DiskFull,
            Self::NoRoom { .. } => Code::DiskFull,
            Self::Durable(_) | Self::Io { .. } | Self::Lost => Code::Transfer,
            Self::WrongBytes { .. } => Code::WrongBytes,
            Self::Unusable(_) => Code::BadMetadata,
        };
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Reason::new(code, text)
    }

    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }

    fn chunk(error: &ChunkError) -> Self {
        Self::WrongBytes { what: "a chunk".to_owned(), why: error.to_string() }
    }
}

/// One bundle on its way.
#[derive(Debug, Clone)]
pub struct Fetch {
    dir: PathBuf,
    slots: Slots,
    counters: Arc<Counters>,
}

/// A bundle that is there: its manifest's bytes and its payloads.
#[derive(Debug)]
pub struct Fetched {
    /// The manifest, as signed.
    pub manifest: Vec<u8>,
    /// Its payloads.
    pub payloads: Payloads,
}

impl Fetch {
    /// The fetch of the bundle with that manifest.
    pub fn new(state_dir: &Path, manifest: &Digest, slots: Slots, counters: Arc<Counters>) -> Self {
        Self { dir: state_dir.join("fetch").join(manifest.to_string()), slots, counters }
    }

    /// Brings all of the bundle to disk, or says why not. What is there stays there. For deltas that are being made it waits
    /// as long as `patience` says of the bytes of the bundle.
    pub async fn run<C: Files + Chunks + Deltas + Indexes>(
        &self,
        client: &mut C,
        catalog: &Repository,
        choice: &Choice,
        retry: (Backoff, Random),
        patience: impl Fn(u64) -> Duration,
    ) -> Result<(), FetchError> {
        durable::make_dir(&self.dir)?;
        let manifest = self.manifest(client, catalog, choice).await?;
        self.counters.begin(&self.dir, manifest.total_length());
        let mut parts = Vec::new();
        for payload in &manifest.payloads {
            let index = self.index(client, payload).await?;
            let (path, slots, counters) = (self.part(payload), self.slots.clone(), self.counters.clone());
            let name = payload.clone();
            // Reading a disk full of chunks takes its time: not on the thread that serves the network.
            let part = tokio::task::spawn_blocking(move || {
                let part = Part::open(path, index, counters)?;
                part.seed(&slots, &name);
                Ok::<_, FetchError>(Arc::new(part))
            });
            parts.push((payload, part.await.map_err(|_| FetchError::Lost)??));
        }
        self.check_room(&manifest, &parts)?;
        let patience = patience(parts.iter().fold(0, |sum, (_, part)| part.missing_bytes().saturating_add(sum)));
        for (payload, part) in parts {
            let refused = self.dir.join(format!("{}.chunks", payload.name));
            let task = delta::Task { slots: self.slots.clone(), payload: payload.clone(), refused, patience };
            delta::complete(client, task, &part, &retry).await?;
            complete(client, &payload.index_sha256, &part, &retry).await?;
            tokio::task::spawn_blocking(move || part.sync()).await.map_err(|_| FetchError::Lost)??;
        }
        Ok(())
    }

    /// What the installer needs. Everything must be there.
    pub fn fetched(&self) -> Result<Fetched, FetchError> {
        let path = self.dir.join("manifest.json");
        let gone = || FetchError::WrongBytes { what: path.display().to_string(), why: "it is gone".to_owned() };
        let bytes = durable::read(&path, MAX_MANIFEST_BYTES)?.ok_or_else(gone)?;
        let manifest = Manifest::parse(&bytes).map_err(|e| FetchError::Unusable(sentence(&e)))?;
        let mut payloads = Vec::new();
        for payload in manifest.payloads {
            let index = durable::read(&self.index_path(&payload), payload.index_length)?.ok_or_else(gone)?;
            let part = self.part(&payload);
            payloads.push((payload, part, index));
        }
        Ok(Fetched { manifest: bytes, payloads })
    }

    /// Whether every chunk on disk is the one that its index names: tells damage on disk from a manifest that
    /// contradicts itself.
    pub fn is_whole(&self) -> bool {
        let Ok(fetched) = self.fetched() else { return false };
        fetched.payloads.iter().all(|(payload, _, index)| {
            Index::parse(index).is_ok_and(|index| {
                Part::open(self.part(payload), index, Arc::default()).is_ok_and(|p| p.missing().is_empty())
            })
        })
    }

    /// Removes what was fetched, once it lies in a slot or is not wanted any more.
    pub fn discard_all(state_dir: &Path) -> Result<(), DurableError> {
        durable::remove_tree(&state_dir.join("fetch"))
    }

    /// Removes what was fetched of other bundles.
    pub fn keep_only(state_dir: &Path, manifest: &Digest) -> Result<(), DurableError> {
        let dir = state_dir.join("fetch");
        let Ok(entries) = std::fs::read_dir(&dir) else { return Ok(()) };
        for entry in entries {
            let entry = entry.map_err(DurableError::io("list", &dir))?;
            if entry.file_name().to_str() != Some(manifest.to_string().as_str()) {
                durable::remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    /// TRUST, order on the device, 6: by exact length and hash, strictly parsed, equal to the must-match fields.
    async fn manifest(
        &self,
        files: &mut impl Files,
        catalog: &Repository,
        choice: &Choice,
    ) -> Result<Manifest, FetchError> {
        let step = &choice.step;
        let path = self.dir.join("manifest.json");
        let kept = durable::read(&path, step.length).ok().flatten();
        let bytes = match kept.filter(|bytes| Digest::of(bytes) == step.sha256) {
            Some(bytes) => bytes,
            None => {
                let unlisted = || FetchError::Unusable(format!("the catalog no longer lists {}", step.path));
                let name = catalog.file_name(&step.path).ok_or_else(unlisted)?;
                let bytes = files.target(Which::Catalog, &name, step.length).await?;
                catalog.verify_target(&step.path, &bytes).map_err(|e| wrong("the manifest", &e))?;
                if Digest::of(&bytes) != step.sha256 {
                    return Err(wrong("the manifest", &"it is not the one that the hospital approved"));
                }
                durable::write(&path, &bytes, durable::OPEN)?;
                bytes
            }
        };
        let manifest = Manifest::parse(&bytes).map_err(|e| FetchError::Unusable(sentence(&e)))?;
        let equal = manifest.product == step.product
            && manifest.release == step.release
            && manifest.hardware == step.hardware
            && manifest.path() == step.path;
        if equal {
            Ok(manifest)
        } else {
            Err(FetchError::Unusable(
                "the manifest is of another product, release or hardware than approved".to_owned(),
            ))
        }
    }

    async fn index<C: Files + Indexes>(&self, client: &mut C, payload: &Payload) -> Result<Index, FetchError> {
        let path = self.index_path(payload);
        let what = format!("the chunk index of payload {}", payload.name);
        let kept = durable::read(&path, payload.index_length).ok().flatten();
        let bytes = match kept.filter(|bytes| Digest::of(bytes) == payload.index_sha256) {
            Some(bytes) => bytes,
            None => {
                let name = format!("documents/{}", payload.index_sha256);
                let bytes = match self.told_index(client, payload).await {
                    Some(bytes) => bytes,
                    None => client.target(Which::Catalog, &name, payload.index_length).await?,
                };
                if bytes.len() as u64 != payload.index_length || Digest::of(&bytes) != payload.index_sha256 {
                    return Err(wrong(&what, &"it has another length or digest"));
                }
                durable::write(&path, &bytes, durable::OPEN)?;
                bytes
            }
        };
        let index = Index::parse(&bytes).map_err(|e| FetchError::Unusable(e.to_string()))?;
        if index.total_length() == payload.length {
            Ok(index)
        } else {
            Err(FetchError::Unusable(format!("{what} does not add up to the payload's length")))
        }
    }

    /// The index, put together from one that a slot has and what the server tells of it by that. None where that does not
    /// yield what the manifest pins, for whatever reason: then the whole is fetched.
    async fn told_index(&self, client: &mut impl Indexes, payload: &Payload) -> Option<Vec<u8>> {
        let (slots, name) = (self.slots.clone(), payload.name.clone());
        let held = tokio::task::spawn_blocking(move || slots.indexes(&name)).await.ok()?;
        let digests: Vec<Digest> = held.iter().map(|(sha256, _)| *sha256).collect();
        if digests.is_empty() {
            return None;
        }
        let told = client.index(&payload.index_sha256, &digests, payload.index_length).await;
        let runs = told.inspect_err(|e| tracing::debug!(error = %e, "the chunk index is fetched as a whole")).ok()?;
        let base = Index::base_of_runs(&runs)?;
        let (_, base) = held.into_iter().find(|(sha256, _)| *sha256 == base)?;
        let bytes = Index::from_runs(&runs, &base, payload.index_length).ok()?.to_bytes();
        (Digest::of(&bytes) == payload.index_sha256).then_some(bytes)
    }

    /// TRUST, order on the device, 6: free space before the first chunk is fetched. Room is needed for what is missing here
    /// and for all of it, unpacked, in the slot.
    fn check_room(&self, manifest: &Manifest, parts: &[(&Payload, Arc<Part>)]) -> Result<(), FetchError> {
        let missing = parts.iter().fold(0_u64, |sum, (_, p)| sum.saturating_add(p.missing_bytes()));
        let unpacked = manifest.total_length();
        let device = |path: &Path| {
            std::fs::metadata(path)
                .map(|m| std::os::unix::fs::MetadataExt::dev(&m))
                .map_err(FetchError::io("look at", path))
        };
        let check = |path: &Path, needed: u64| {
            let (needed, free) = (needed.saturating_add(SPARE_BYTES), durable::free_bytes(path)?);
            if needed > free { Err(FetchError::NoRoom { path: path.to_owned(), needed, free }) } else { Ok(()) }
        };
        if device(&self.dir)? == device(self.slots.dir())? {
            check(&self.dir, missing.saturating_add(unpacked))
        } else {
            check(&self.dir, missing)?;
            check(self.slots.dir(), unpacked)
        }
    }

    fn part(&self, payload: &Payload) -> PathBuf {
        self.dir.join(format!("{}.part", payload.name))
    }

    fn index_path(&self, payload: &Payload) -> PathBuf {
        self.dir.join(format!("{}.index", payload.name))
    }
}

impl From<&InstallError> for Reason {
    fn from(error: &InstallError) -> Self {
        let code = match error {
            e if e.is_full() => Code::DiskFull,
            InstallError::WrongBytes { .. } => Code::WrongBytes,
            InstallError::Link(_) | InstallError::Manifest { .. } => Code::StateDamaged,
            _ => Code::InstallFailed,
        };
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            text.push_str(&format!(": {source}"));
        }
        Self::new(code, text)
    }
}

fn wrong(what: &str, why: &dyn std::fmt::Display) -> FetchError {
    FetchError::WrongBytes { what: what.to_owned(), why: why.to_string() }
}

fn sentence(error: &ManifestError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::{Side, bundle};

    /// Tells an index by another one, or lies, and counts what it was asked for.
    struct Server {
        runs: Result<Vec<u8>, ClientError>,
        whole: Vec<u8>,
        asked: Vec<&'static str>,
    }

    impl Files for Server {
        async fn metadata(&mut self, _: Which, _: &str, _: u64) -> Result<Option<Vec<u8>>, ClientError> {
            Ok(None)
        }

        async fn target(&mut self, _: Which, name: &str, _: u64) -> Result<Vec<u8>, ClientError> {
            assert_eq!(name, format!("documents/{}", Digest::of(&self.whole)));
            self.asked.push("whole");
            Ok(self.whole.clone())
        }
    }

    impl Indexes for Server {
        async fn index(&mut self, index: &Digest, held: &[Digest], _: u64) -> Result<Vec<u8>, ClientError> {
            assert_eq!((*index, held.len()), (Digest::of(&self.whole), 1));
            self.asked.push("runs");
            match &self.runs {
                Ok(runs) => Ok(runs.clone()),
                Err(_) => Err(ClientError::NotFound { call: "the index", text: String::new() }),
            }
        }
    }

    #[tokio::test]
    async fn an_index_is_told_by_the_slots_and_a_lie_costs_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let slots = Slots::new(&dir.path().join("slots"));
        std::fs::create_dir(slots.dir()).unwrap();
        let (_, one, payloads) = bundle(dir.path(), 1, &[1; 900_000]);
        slots.write(&one, &payloads).unwrap();
        slots.switch(Side::A).unwrap();
        let (base, base_sha256) = (Index::parse(&payloads[0].2).unwrap(), Digest::of(&payloads[0].2));
        let (manifest, _, payloads) = bundle(dir.path(), 2, &[2; 500_000]);
        let (payload, whole) = (&manifest.payloads[0], payloads[0].2.clone());
        let index = Index::parse(&whole).unwrap();
        let good = index.to_runs(&base, &base_sha256);
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let refused = Err(ClientError::NotFound { call: "the index", text: String::new() });
        let told = [
            (Ok(good), vec!["runs"]),
            (refused, vec!["runs", "whole"]),
            (Ok(flipped), vec!["runs", "whole"]),
            (Ok(Vec::new()), vec!["runs", "whole"]),
            (Ok(base.to_runs(&base, &base_sha256)), vec!["runs", "whole"]),
            (Ok(index.to_runs(&base, &Digest::of(b"stranger"))), vec!["runs", "whole"]),
        ];
        for (place, (runs, asked)) in told.into_iter().enumerate() {
            let state = dir.path().join(place.to_string());
            let fetch = Fetch::new(&state, &Digest::of(b"manifest"), slots.clone(), Arc::default());
            durable::make_dir(&fetch.dir).unwrap();
            let mut server = Server { runs, whole: whole.clone(), asked: Vec::new() };
            assert_eq!(fetch.index(&mut server, payload).await.unwrap(), index);
            assert_eq!(server.asked, asked, "{place}");
            // Kept, it is asked for no more.
            assert_eq!(fetch.index(&mut server, payload).await.unwrap(), index);
            assert_eq!(server.asked.len(), asked.len());
        }
    }
}
