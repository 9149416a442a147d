//! An approval that a hospital has signed, for tests.

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{Approval, DeviceSlots, Pinned, Slot, Step, Terms, Wave, path};
use suture_core::digest::Digest;
use suture_core::manifest::manifest_path;
use suture_core::version::Release;

pub(crate) fn id<T: std::str::FromStr<Err = suture_core::id::IdError>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A wave whose devices wait for the server's word, and where `needs_signature` is set for the hospital's too.
pub(crate) fn wave(needs_signature: bool) -> Wave {
    Wave {
        needs_server: true,
        needs_signature,
        min_confirmed_percent: 100,
        max_failures: 0,
        max_failed_percent: 100,
        soak_secs: 0,
    }
}

/// Release 2 of the pump for pump-1, pump-2 and so on, one device in each wave, in the last hour before `end`; signed 15
/// hours before it.
pub(crate) fn approval(name: &str, end: Timestamp, waves: &[Wave]) -> Approval {
    let terms = Terms {
        id: id(name),
        hdo: id("riverside"),
        created: end - SignedDuration::from_hours(15),
        expires: end,
        steps: vec![Step {
            path: manifest_path(&id("pump"), Release(2)),
            length: 1,
            sha256: Digest::of(b"manifest"),
            product: id("pump"),
            release: Release(2),
            hardware: vec![id("rev-a")],
        }],
        supersedes: Vec::new(),
        waves: waves.to_vec(),
        max_attempts: 1,
        retry_wait_secs: 0,
        attempt_timeout_secs: 3_600,
        needs_lease: false,
        ward_cap: 1,
        permit_downgrade: false,
        operator_document: Pinned::of(path::operator_document(&id(name)), b"for people"),
    };
    let slots = vec![Slot { start: end - SignedDuration::from_hours(1), end }];
    let device = |wave: u32| DeviceSlots {
        id: id(&format!("pump-{}", wave + 1)),
        wave,
        steps: Vec::new(),
        slots: slots.clone(),
    };
    let devices = (0..).zip(waves).map(|(wave, _)| device(wave)).collect();
    Approval { terms, devices }
}
