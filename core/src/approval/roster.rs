//! The devices that a hospital has confirmed.

use serde::{Deserialize, Serialize};

use super::document::{SignedDocument, first_broken, strictly_ascending};
use super::part::Part;
use crate::id::{DeviceId, HardwareId, HdoId, ProductId, WardId};
use crate::label::Labels;
use crate::limits::{MAX_ROSTER_BYTES, MAX_ROSTER_DEVICES};
use crate::sign::PublicKey;

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
    /// Which of its devices this roster can list.
    pub part: Part,
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
    /// What else the hospital says of it. Rosters that were signed before there were labels say nothing.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl Roster {
    /// A roster of these devices, which it puts in order.
    pub fn new(hdo: HdoId, part: Part, mut devices: Vec<RosterDevice>) -> Self {
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        Self { kind: Self::TYPE.to_owned(), format: 1, hdo, part, devices }
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
            (self.devices.iter().all(|d| self.part.holds(&d.id)), "a device belongs on another roster"),
        ])
    }
}
