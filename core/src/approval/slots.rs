//! When each device may install, in shards: a device reads its own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{SignedDocument, first_broken, strictly_ascending};
use super::part::Part;
use super::terms::{Step, Terms};
use crate::clock::utc;
use crate::id::{ApprovalId, DeviceId};
use crate::limits::{MAX_APPROVAL_DEVICES, MAX_SLOTS_BYTES, MAX_SLOTS_PER_DEVICE};

/// When one device may install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSlots {
    /// The device.
    pub id: DeviceId,
    /// Its wave, counted from 0.
    pub wave: u32,
    /// Which of the approval's steps it takes, counted from 0, ascending, the last among them; none written: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<u32>,
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

impl DeviceSlots {
    /// The steps that it takes, in their order.
    pub fn path<'a>(&self, terms: &'a Terms) -> Vec<&'a Step> {
        match self.steps.as_slice() {
            [] => terms.steps.iter().collect(),
            some => some.iter().filter_map(|n| terms.steps.get(*n as usize)).collect(),
        }
    }

    /// Whether it takes steps that the approval has, one after another, and at the end the last: a device is done when the
    /// last step of its approval runs.
    pub(super) fn leads_through(&self, terms: &Terms) -> bool {
        let ascends = self.steps.iter().zip(self.steps.iter().skip(1)).all(|(a, b)| a < b);
        ascends && self.steps.last().is_none_or(|last| *last as usize + 1 == terms.steps.len())
    }

    /// Whether it has slots, not too many, each of some length, one after another.
    pub(super) fn is_orderly(&self) -> bool {
        (1..=MAX_SLOTS_PER_DEVICE).contains(&self.slots.len())
            && self.slots.iter().all(|s| s.start < s.end)
            && self.slots.iter().zip(self.slots.iter().skip(1)).all(|(a, b)| a.end <= b.start)
    }
}

/// The devices of one part that an approval names, with their slots. The approval's head pins it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotShard {
    /// Always `suture-slots`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The approval.
    pub approval: ApprovalId,
    /// Which devices it may name: the approval names no others of this part.
    pub part: Part,
    /// Those that the approval names, ascending by id; it may be none.
    pub devices: Vec<DeviceSlots>,
}

impl SignedDocument for SlotShard {
    const TYPE: &'static str = "suture-slots";
    const MAX_BYTES: u64 = MAX_SLOTS_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        first_broken(&[
            (self.devices.len() <= MAX_APPROVAL_DEVICES, "devices lists too many"),
            (strictly_ascending(self.devices.iter().map(|d| &d.id)), "devices are not in ascending order, each once"),
            (self.devices.iter().all(|d| self.part.holds(&d.id)), "a device belongs in another shard"),
            (
                self.devices.iter().all(DeviceSlots::is_orderly),
                "a device's slots are missing, too many, empty or overlapping",
            ),
        ])
    }
}
