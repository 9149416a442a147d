//! What a delta copies from: a payload in a slot, or nothing.

use std::io;

use suture_core::delta::Source;
use suture_core::digest::Digest;
use suture_core::limits::MAX_DELTA_HELD;
use suture_core::manifest::Payload;

use crate::install::{Version, View};

/// An open old payload.
#[derive(Debug)]
pub(super) enum Old {
    /// No bytes.
    Nothing,
    /// A slot's.
    Slot(View),
}

impl Source for Old {
    fn length(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Slot(view) => view.length(),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Nothing if offset == 0 && buffer.is_empty() => Ok(()),
            Self::Nothing => Err(io::ErrorKind::UnexpectedEof.into()),
            Self::Slot(view) => view.read_at(offset, buffer),
        }
    }
}

/// A payload that a version says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// Its digest, as the version's manifest has it.
    pub(super) sha256: Digest,
    /// Which of the versions.
    version: usize,
    payload: Payload,
}

/// The payloads of that name in the versions. What lies beside a version is no authority: what it really holds shows when it
/// is read.
pub(super) fn held(versions: &[Version], payload: &Payload) -> Vec<Held> {
    let mut held: Vec<Held> = Vec::new();
    for (place, version) in versions.iter().enumerate() {
        let others = |old: &&Payload| old.name == payload.name && old.sha256 != payload.sha256;
        for old in version.manifest.payloads.iter().filter(others) {
            if held.len() < MAX_DELTA_HELD && held.iter().all(|held| held.sha256 != old.sha256) {
                held.push(Held { sha256: old.sha256, version: place, payload: old.clone() });
            }
        }
    }
    held
}

/// Opens the payload of that digest, or says why it cannot serve.
pub(super) fn open(versions: &[Version], held: &[Held], sha256: &Digest) -> Result<Old, String> {
    if *sha256 == Digest::of(b"") {
        return Ok(Old::Nothing);
    }
    let held = held.iter().find(|held| held.sha256 == *sha256);
    let held = held.and_then(|held| Some((versions.get(held.version)?, &held.payload)));
    let (version, payload) = held.ok_or("it begins with what this device does not hold")?;
    let view = version.view(payload);
    view.map(Old::Slot).map_err(|e| format!("slot {} cannot be read: {e}", version.side.as_str()))
}
