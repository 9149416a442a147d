//! Fetching: what the device lacks of a bundle, and nothing else.
//!
//! ```text
//! <state_dir>/fetch/<manifest digest>/manifest.json
//!                                    /<payload>.index     verified by digest
//!                                    /<payload>.part      as long as the payload; its chunks at their places
//!                                    /<payload>.rest      what came of a chunk that was cut
//!                                    /<payload>.wrong     there once a delta was wrong: how often, and with what
//! ```
//!
//! What lies on disk is hashed again on every start, so a cut resumes from exactly the chunks that are missing. Chunks that
//! a slot holds already are taken from there; those that are like something in a slot are made from it by a delta, where the
//! server has one. The rest is asked for in runs; a chunk that a payload holds twice comes once. A chunk counts when its raw
//! bytes have the digest that the signed manifest leads to; where they come from is of no account.

mod counters;
mod delta;
mod error;
mod holes;
mod index;
mod part;
mod rest;
mod room;
pub(crate) mod sources;
mod transfer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use suture_core::chunk::Index;
use suture_core::digest::Digest;
use suture_core::limits::MAX_MANIFEST_BYTES;
use suture_core::manifest::{Manifest, Payload};
use suture_core::select::Choice;
use suture_core::trust::Repository;

use crate::backoff::{Backoff, Random};
use crate::client::{Chunks, Deltas, Files, Indexes, Which};
use crate::data;
use crate::durable::{self, DurableError};
use crate::install::{Installer, Payloads};
use error::{sentence, wrong};

pub use counters::Counters;
pub use error::FetchError;
pub use part::{Part, Verified};
pub use room::Room;
pub use transfer::complete;

/// One bundle on its way.
#[derive(Debug, Clone)]
pub struct Fetch {
    dir: PathBuf,
    /// The manifest's digest.
    digest: Digest,
    installer: Installer,
    counters: Arc<Counters>,
    room: Room,
    keeps_data: bool,
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
    pub fn new(state_dir: &Path, manifest: &Digest, installer: Installer, counters: Arc<Counters>) -> Self {
        let dir = state_dir.join("fetch").join(manifest.to_string());
        Self { dir, digest: *manifest, installer, counters, room: Room::default(), keeps_data: false }
    }

    /// The same, within that room.
    pub fn within(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// The same, where the device's data can be kept over an update that converts them.
    pub fn keeping_data(self, keeps_data: bool) -> Self {
        Self { keeps_data, ..self }
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
        let versions = Arc::new(self.installer.versions().await);
        let mut parts = Vec::new();
        for payload in &manifest.payloads {
            let index = self.index(client, payload, &versions).await?;
            let (path, versions, counters) = (self.part(payload), versions.clone(), self.counters.clone());
            let (name, room) = (payload.clone(), self.room.clone());
            // Reading a disk full of chunks takes its time: not on the thread that serves the network.
            let reading = self.counters.reads();
            let part = tokio::task::spawn_blocking(move || {
                let _reading = reading;
                let part = Part::open(path, index, counters.clone())?.within(room);
                let held: Vec<Digest> = versions.iter().map(|version| version.digest).collect();
                if !counters.is_seeded(part.path(), &held, part.missing_bytes()) {
                    part.seed(&versions, &name);
                    counters.seeded(part.path(), &held, part.missing_bytes());
                }
                Ok::<_, FetchError>(Arc::new(part))
            });
            parts.push((payload, part.await.map_err(|_| FetchError::Lost)??));
        }
        let missing = parts.iter().fold(0_u64, |sum, (_, p)| sum.saturating_add(p.missing_bytes()));
        let unpacked = self.installer.contract().room().map(|place| (place, manifest.total_length()));
        self.room.check((&self.dir, missing), unpacked)?;
        let patience = patience(missing);
        for (payload, part) in parts {
            let wrong = self.dir.join(format!("{}.wrong", payload.name));
            let task = delta::Task { versions: versions.clone(), payload: payload.clone(), wrong, patience };
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
        // Accident: what is damaged here is none of the manufacturer's doing, and comes again.
        if Digest::of(&bytes) != self.digest {
            return Err(wrong(&path.display().to_string(), &"it has changed since it came"));
        }
        let manifest = Manifest::parse(&bytes).map_err(|e| FetchError::Unusable(sentence(&e)))?;
        let mut payloads = Vec::new();
        for payload in manifest.payloads {
            let path = self.index_path(&payload);
            let index = durable::read(&path, payload.index_length)?.unwrap_or_default();
            if Digest::of(&index) != payload.index_sha256 {
                return Err(wrong(&path.display().to_string(), &"it is gone, or has changed since it came"));
            }
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

    /// Order on the device, 6: by exact length and hash, strictly parsed, equal to the must-match fields.
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
        if !equal {
            return Err(FetchError::Unusable(
                "the manifest is of another product, release or hardware than approved".to_owned(),
            ));
        }
        if let Some(refusal) = self.installer.refusal(&manifest) {
            return Err(FetchError::Unusable(refusal));
        }
        refuse_risk(&manifest, choice)?;
        let running = self.installer.running().await.map_err(FetchError::Running)?.map(|version| version.manifest);
        data::refuse(running.as_ref(), &manifest, self.keeps_data).map_err(FetchError::Data)?;
        Ok(manifest)
    }

    fn part(&self, payload: &Payload) -> PathBuf {
        self.dir.join(format!("{}.part", payload.name))
    }

    fn index_path(&self, payload: &Payload) -> PathBuf {
        self.dir.join(format!("{}.index", payload.name))
    }
}

/// A plan leads over no update that the manufacturer warns of; whoever has signed one all the same, or did not know what runs
/// here, is stopped by the device itself, before a byte of the payload is fetched.
fn refuse_risk(manifest: &Manifest, choice: &Choice) -> Result<(), FetchError> {
    let Some(from) = choice.from else { return Ok(()) };
    match manifest.risk(from, &choice.hardware) {
        Some(risk) => Err(FetchError::Risk { from, hardware: choice.hardware.clone(), warning: risk.to_string() }),
        None => Ok(()),
    }
}
