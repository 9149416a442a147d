//! The hospital's word that a bundle may be installed: on which devices, in which slots, in which order.
//!
//! As people plan it and as operators and the server read it, it is one thing. As it is signed it is a head and shards, so
//! that an approval of 10,000 devices costs each of them a few dozen kilobytes: about as many shards as a shard has devices,
//! which makes the sum of the two that a device reads least.

use super::document::{DocumentError, SignedDocument as _, hold, strictly_ascending};
use super::gates::Opened;
use super::head::{Head, ShardPin, Share};
use super::part::Part;
use super::path;
use super::pinned::Pinned;
use super::slots::{DeviceSlots, SlotShard};
use super::terms::Terms;
use crate::id::DeviceId;
use crate::limits::{MAX_APPROVAL_DEVICES, MAX_APPROVAL_SLOTS, MAX_SLOT_SHARDS};

/// About how many bytes a shard's pin takes in the head, a device in its shard beside its id, and a slot.
const PIN_BYTES: usize = 95;
/// See [`PIN_BYTES`].
const DEVICE_BYTES: usize = 32;
/// See [`PIN_BYTES`].
const SLOT_BYTES: usize = 60;

/// The hospital's word that a bundle may be installed, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// What holds for all devices.
    pub terms: Terms,
    /// The devices, ascending by id.
    pub devices: Vec<DeviceSlots>,
}

/// An approval in the form that is signed: the head for the targets metadata, and the files that it pins.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Its head.
    pub head: Head,
    /// The head's bytes.
    pub head_bytes: Vec<u8>,
    /// The shards with their bytes, in order.
    pub shards: Vec<(Pinned, Vec<u8>)>,
}

impl Approval {
    /// Validates.
    ///
    /// # Errors
    ///
    /// It breaks a rule.
    pub fn check(&self) -> Result<(), DocumentError> {
        self.terms.check()?;
        let waves = self.terms.waves.len();
        let orderly = |d: &DeviceSlots| d.is_orderly() && d.slots.last().is_none_or(|s| s.end <= self.terms.expires);
        hold(
            Head::TYPE,
            &[
                ((1..=MAX_APPROVAL_DEVICES).contains(&self.devices.len()), "devices lists none, or too many"),
                (
                    self.devices.iter().map(|d| d.slots.len()).sum::<usize>() <= MAX_APPROVAL_SLOTS,
                    "its devices have too many slots together",
                ),
                (
                    strictly_ascending(self.devices.iter().map(|d| &d.id)),
                    "devices are not in ascending order, each once",
                ),
                (self.devices.iter().all(|d| (d.wave as usize) < waves), "a device is in a wave that does not exist"),
                (
                    self.devices.iter().all(|d| d.leads_through(&self.terms)),
                    "a device's steps are not the approval's, or do not end with its last",
                ),
                (
                    self.devices.iter().all(orderly),
                    "a device's slots are missing, too many, empty, overlapping or end after it",
                ),
            ],
        )
    }

    /// Validates, and cuts it into a head and shards.
    ///
    /// # Errors
    ///
    /// It breaks a rule, or a bound.
    pub fn seal(&self) -> Result<Sealed, DocumentError> {
        self.check()?;
        let count = self.shard_count();
        let mut parts: Vec<Vec<DeviceSlots>> = vec![Vec::new(); count as usize];
        for device in &self.devices {
            if let Some(part) = parts.get_mut(Part::of(&device.id, count).number()) {
                part.push(device.clone());
            }
        }
        let id = &self.terms.id;
        let mut shards = Vec::with_capacity(parts.len());
        for (part, devices) in Part::split(count).zip(parts) {
            let shard = SlotShard { kind: SlotShard::TYPE.to_owned(), format: 1, approval: id.clone(), part, devices };
            let bytes = shard.to_bytes()?;
            shards.push((Pinned::of(path::slots(id, part), &bytes), bytes));
        }
        let pin = |(pinned, _): &(Pinned, Vec<u8>)| ShardPin { length: pinned.length, sha256: pinned.sha256 };
        let head = Head {
            kind: Head::TYPE.to_owned(),
            format: 1,
            terms: self.terms.clone(),
            devices: u32::try_from(self.devices.len()).unwrap_or(u32::MAX),
            shards: shards.iter().map(pin).collect(),
        };
        Ok(Sealed { head_bytes: head.to_bytes()?, head, shards })
    }

    /// The power of two that makes head and shard together about as short as they can be: near the square root of twice the
    /// number of devices, where each has a few slots.
    fn shard_count(&self) -> u32 {
        let size =
            |d: &DeviceSlots| d.id.as_str().len() + DEVICE_BYTES + SLOT_BYTES * d.slots.len() + 3 * d.steps.len();
        let bytes: usize = self.devices.iter().map(size).sum();
        let mut count = 1;
        while count < MAX_SLOT_SHARDS && 2 * count * count * PIN_BYTES < bytes {
            count *= 2;
        }
        u32::try_from(count).unwrap_or(1)
    }

    /// The wave and slots of a device, if the approval names it.
    pub fn device(&self, id: &DeviceId) -> Option<&DeviceSlots> {
        self.devices.binary_search_by(|d| d.id.cmp(id)).ok().and_then(|i| self.devices.get(i))
    }

    /// The approval as a device reads it; which waves are opened by signature is the caller's to add.
    pub fn share(&self, device: &DeviceId) -> Share {
        Share { terms: self.terms.clone(), mine: self.device(device).cloned(), opened: Opened::Nothing }
    }
}

#[cfg(test)]
mod tests;
