//! The hospital's word that a bundle may be installed: on which devices, in which slots, in which order.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{SignedDocument, first_broken, strictly_ascending};
use crate::clock::utc;
use crate::digest::Digest;
use crate::id::{ApprovalId, DeviceId, HardwareId, HdoId, ProductId};
use crate::limits::{MAX_APPROVAL_BYTES, MAX_APPROVAL_DEVICES, MAX_SLOTS_PER_DEVICE, MAX_WAVES};
use crate::version::Release;

/// The hospital's word that a bundle may be installed: on which devices, in which slots, in which order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Always `suture-approval`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// Its id, also the rollout's.
    pub id: ApprovalId,
    /// The hospital.
    pub hdo: HdoId,
    /// When it was signed.
    #[serde(with = "utc")]
    pub created: Timestamp,
    /// From then on nothing is begun by it. Not before the last slot ends.
    #[serde(with = "utc")]
    pub expires: Timestamp,
    /// What is installed, in this order; all of one product.
    pub steps: Vec<Step>,
    /// Earlier approvals that it replaces.
    pub supersedes: Vec<ApprovalId>,
    /// The rosters that it was planned from.
    pub rosters: Vec<Pinned>,
    /// Waves in order.
    pub waves: Vec<Wave>,
    /// The devices, ascending by id.
    pub devices: Vec<DeviceSlots>,
    /// Tries that a device has, by this approval.
    pub max_attempts: u32,
    /// Whether the steps may lead to a lower release than the one that runs. Spent on the device with the attempt.
    pub permit_downgrade: bool,
    /// The document with names, reason and ticket.
    pub operator_document: Pinned,
}

/// One bundle of an approval, with the fields that must equal the catalog's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its path in the catalog.
    pub path: String,
    /// The manifest's length in bytes.
    pub length: u64,
    /// The manifest's SHA-256.
    pub sha256: Digest,
    /// The product.
    pub product: ProductId,
    /// The release.
    pub release: Release,
    /// The hardware revisions.
    pub hardware: Vec<HardwareId>,
}

/// A target file, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// Its path in the approvals repository.
    pub path: String,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// What must hold before the wave after this one may begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// Whether its devices wait until the server says that the wave is open. This gate trusts the server: a server that
    /// lies opens it early, and never outside a device's slots.
    pub needs_server: bool,
    /// Least share of the wave's devices that must be confirmed before the next wave opens, in percent.
    pub min_confirmed_percent: u32,
    /// Devices of the wave that may fail or fall back before the rollout pauses itself.
    pub max_failures: u32,
    /// How long after the last confirmation the next wave opens, in seconds.
    pub soak_secs: u32,
}

/// When one device may install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSlots {
    /// The device.
    pub id: DeviceId,
    /// Its wave, counted from 0.
    pub wave: u32,
    /// Its slots, ascending, disjoint.
    pub slots: Vec<Slot>,
}

/// A half-open interval in which a device may install.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Its first instant.
    #[serde(with = "utc")]
    pub start: Timestamp,
    /// The first instant after it.
    #[serde(with = "utc")]
    pub end: Timestamp,
}

impl SignedDocument for Approval {
    const TYPE: &'static str = "suture-approval";
    const MAX_BYTES: u64 = MAX_APPROVAL_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let product = self.steps.first().map(|s| &s.product);
        let waves = self.waves.len();
        let slots_ok = |d: &DeviceSlots| {
            !d.slots.is_empty()
                && d.slots.len() <= MAX_SLOTS_PER_DEVICE
                && d.slots.iter().all(|s| s.start < s.end && s.end <= self.expires)
                && d.slots.iter().zip(d.slots.iter().skip(1)).all(|(a, b)| a.end <= b.start)
        };
        first_broken(&[
            (!self.steps.is_empty() && self.steps.len() <= 16, "steps lists none, or more than 16"),
            (self.steps.iter().all(|s| Some(&s.product) == product), "its steps are of more than one product"),
            (waves > 0 && waves <= MAX_WAVES, "waves lists none, or too many"),
            (self.waves.iter().all(|w| w.min_confirmed_percent <= 100), "a wave asks for more than 100 percent"),
            (!self.devices.is_empty() && self.devices.len() <= MAX_APPROVAL_DEVICES, "devices lists none, or too many"),
            (strictly_ascending(self.devices.iter().map(|d| &d.id)), "devices are not in ascending order, each once"),
            (self.devices.iter().all(|d| (d.wave as usize) < waves), "a device is in a wave that does not exist"),
            (
                self.devices.iter().all(slots_ok),
                "a device's slots are missing, too many, empty, overlapping or end after it",
            ),
            (self.created < self.expires, "it expires before it was created"),
            ((1..=10).contains(&self.max_attempts), "max_attempts is not 1 to 10"),
            (
                self.supersedes.len() <= 64 && !self.supersedes.contains(&self.id),
                "supersedes lists itself, or too many",
            ),
        ])
    }
}

impl Approval {
    /// The slots of a device, if the approval names it.
    pub fn device(&self, id: &DeviceId) -> Option<&DeviceSlots> {
        self.devices.binary_search_by(|d| d.id.cmp(id)).ok().and_then(|i| self.devices.get(i))
    }
}
