//! What the hospital signs: approvals, rosters, calendars' home and stop orders, as targets of its approvals repository.
//!
//! Devices fetch these documents, so they hold opaque ids and instants only. Names, reasons and tickets stand in an
//! operator document that the approval pins by digest and that devices do not fetch.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::utc;
use crate::digest::Digest;
use crate::id::{ApprovalId, DeviceId, HardwareId, HdoId, ProductId, WardId};
use crate::json::{self, JsonError};
use crate::limits::{
    MAX_APPROVAL_BYTES, MAX_APPROVAL_DEVICES, MAX_ROSTER_BYTES, MAX_ROSTER_DEVICES, MAX_SLOTS_PER_DEVICE,
    MAX_STOP_BYTES, MAX_TEXT_BYTES, MAX_WAVES,
};
use crate::sign::PublicKey;
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

/// Devices that the hospital has confirmed, with the keys that their reports are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// Always `suture-roster`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// Its devices, ascending by id.
    pub devices: Vec<RosterDevice>,
}

/// A device on a roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterDevice {
    /// Its id.
    pub id: DeviceId,
    /// The key that its reports are signed with.
    pub report_key: PublicKey,
    /// Its product.
    pub product: ProductId,
    /// Its hardware revision.
    pub hardware: HardwareId,
    /// Where it stands.
    pub ward: WardId,
}

/// An order that nothing more is begun by an approval, or its lifting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopOrder {
    /// Always `suture-stop`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The approval.
    pub approval: ApprovalId,
    /// Counts up over the stops and lifts of one approval; the highest is in force.
    pub counter: u64,
    /// Stopped, or lifted again.
    pub stopped: bool,
}

/// What people read of an approval; devices do not fetch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorDocument {
    /// Always `suture-operator-document`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The approval.
    pub approval: ApprovalId,
    /// Who signed, by name.
    pub approver: String,
    /// What the signature means, as in 21 CFR 11.50: `approved`, `reviewed`.
    pub meaning: String,
    /// Why.
    pub reason: String,
    /// The hospital's change ticket.
    pub ticket: String,
    /// Digest of the plan that was approved.
    pub plan_sha256: Digest,
}

/// Why a document of the approvals repository was refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Longer than such a document may be.
    #[error("the {kind} has {length} bytes, more than {limit}")]
    TooLong {
        /// What it was read as.
        kind: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        limit: u64,
    },
    /// Not strict JSON of the document's shape.
    #[error("the {kind} cannot be read")]
    Json {
        /// What it was read as.
        kind: &'static str,
        /// Why.
        source: JsonError,
    },
    /// Readable, but it contradicts itself or a bound.
    #[error("the {kind} is not valid: {rule}")]
    Rule {
        /// What it was read as.
        kind: &'static str,
        /// What does not hold.
        rule: &'static str,
    },
}

/// Where approvals, rosters, calendars and stops are listed in the approvals repository.
pub mod path {
    use super::*;

    /// An approval: `approvals/<id>.json`.
    pub fn approval(id: &ApprovalId) -> String {
        format!("approvals/{id}.json")
    }

    /// The operators' document of an approval: `operator/<id>.json`.
    pub fn operator_document(id: &ApprovalId) -> String {
        format!("operator/{id}.json")
    }

    /// A roster: `rosters/<n>.json`.
    pub fn roster(n: u32) -> String {
        format!("rosters/{n}.json")
    }

    /// A ward's calendar: `calendars/<ward>.json`.
    pub fn calendar(ward: &WardId) -> String {
        format!("calendars/{ward}.json")
    }

    /// The stop order of an approval: `stops/<id>.json`.
    pub fn stop(id: &ApprovalId) -> String {
        format!("stops/{id}.json")
    }
}

/// A document with a kind, a bound and rules of its own.
pub trait SignedDocument: Serialize + serde::de::DeserializeOwned {
    /// The value of its `_type`.
    const TYPE: &'static str;
    /// Its bound in bytes.
    const MAX_BYTES: u64;

    /// Its `_type` and `format`.
    fn header(&self) -> (&str, u32);

    /// The first rule that does not hold, if one does not.
    fn broken_rule(&self) -> Option<&'static str>;

    /// Reads and validates.
    fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() as u64 > Self::MAX_BYTES {
            return Err(DocumentError::TooLong { kind: Self::TYPE, length: bytes.len(), limit: Self::MAX_BYTES });
        }
        let document: Self =
            json::from_slice(bytes).map_err(|source| DocumentError::Json { kind: Self::TYPE, source })?;
        document.check()?;
        Ok(document)
    }

    /// Validates and writes the canonical bytes.
    fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        self.check()?;
        json::to_canonical(self).map_err(|source| DocumentError::Json { kind: Self::TYPE, source })
    }

    /// Validates.
    fn check(&self) -> Result<(), DocumentError> {
        let (kind, format) = self.header();
        let rule = if kind != Self::TYPE {
            Some("_type names another kind of document")
        } else if format != 1 {
            Some("format is not 1: this program is too old for it")
        } else {
            self.broken_rule()
        };
        rule.map_or(Ok(()), |rule| Err(DocumentError::Rule { kind: Self::TYPE, rule }))
    }
}

/// The first text whose condition does not hold.
pub(crate) fn first_broken(rules: &[(bool, &'static str)]) -> Option<&'static str> {
    rules.iter().find(|(holds, _)| !holds).map(|(_, text)| *text)
}

fn strictly_ascending<T: Ord>(mut items: impl Iterator<Item = T>) -> bool {
    let Some(mut last) = items.next() else { return true };
    items.all(|item| {
        let up = last < item;
        last = item;
        up
    })
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

impl SignedDocument for Roster {
    const TYPE: &'static str = "suture-roster";
    const MAX_BYTES: u64 = MAX_ROSTER_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        first_broken(&[
            (self.devices.len() <= MAX_ROSTER_DEVICES, "devices lists too many"),
            (strictly_ascending(self.devices.iter().map(|d| &d.id)), "devices are not in ascending order, each once"),
        ])
    }
}

impl SignedDocument for StopOrder {
    const TYPE: &'static str = "suture-stop";
    const MAX_BYTES: u64 = MAX_STOP_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        first_broken(&[(self.counter > 0, "counter is 0; the first is 1")])
    }
}

impl SignedDocument for OperatorDocument {
    const TYPE: &'static str = "suture-operator-document";
    const MAX_BYTES: u64 = MAX_STOP_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let texts = [&self.approver, &self.meaning, &self.reason, &self.ticket];
        first_broken(&[(texts.iter().all(|t| t.len() <= MAX_TEXT_BYTES), "a text is too long")])
    }
}
