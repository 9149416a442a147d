//! What a delta copies from: a payload in a slot, or nothing.

use std::io;

use suture_core::delta::Source;
use suture_core::digest::Digest;
use suture_core::limits::MAX_DELTA_HELD;
use suture_core::manifest::{Payload, PayloadFormat};

use crate::install::{Side, Slots, View};

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

/// A payload that a slot says it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// Its digest, as the slot's manifest has it.
    pub(super) sha256: Digest,
    side: Side,
    format: PayloadFormat,
}

/// The payloads of that name in the slots, the one in use first. What a slot says of itself is no authority: what it really
/// holds shows when it is read.
pub(super) fn held(slots: &Slots, payload: &Payload) -> Vec<Held> {
    let mut held: Vec<Held> = Vec::new();
    let Ok(Some(current)) = slots.current() else { return held };
    for side in [current, current.other()] {
        let Ok(Some((manifest, _))) = slots.manifest(side) else { continue };
        for old in manifest.payloads.iter().filter(|old| old.name == payload.name && old.sha256 != payload.sha256) {
            if held.len() < MAX_DELTA_HELD && held.iter().all(|held| held.sha256 != old.sha256) {
                held.push(Held { sha256: old.sha256, side, format: old.format });
            }
        }
    }
    held
}

/// Opens the payload of that digest, or says why it cannot serve.
pub(super) fn open(slots: &Slots, payload: &Payload, held: &[Held], sha256: &Digest) -> Result<Old, String> {
    if *sha256 == Digest::of(b"") {
        return Ok(Old::Nothing);
    }
    let held =
        held.iter().find(|held| held.sha256 == *sha256).ok_or("it begins with what this device does not hold")?;
    let path = slots.path(held.side).join(payload.name.as_str());
    let view = View::open(held.format, &path);
    view.map(Old::Slot).map_err(|e| format!("slot {} cannot be read: {e}", held.side.as_str()))
}
