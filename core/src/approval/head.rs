//! The head of an approval: what all its devices read, with the pins of the shards of which each reads its own.

use serde::{Deserialize, Serialize};

use super::document::{DocumentError, SignedDocument, first_broken, hold};
use super::part::Part;
use super::pinned::Pinned;
use super::slots::{DeviceSlots, SlotShard};
use super::terms::Terms;
use super::{gates::Opened, path, whole::Approval};
use crate::digest::Digest;
use crate::id::DeviceId;
use crate::limits::{MAX_APPROVAL_BYTES, MAX_APPROVAL_DEVICES, MAX_SLOT_SHARDS};

/// The head of an approval, which the targets metadata list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Always `suture-approval`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// What holds for all devices.
    pub terms: Terms,
    /// How many devices the shards name together.
    pub devices: u32,
    /// The shards, by [`Part::split`]: a power of two of them.
    pub shards: Vec<ShardPin>,
}

/// A shard, pinned; its path follows from its place in the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardPin {
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

impl SignedDocument for Head {
    const TYPE: &'static str = "suture-approval";
    const MAX_BYTES: u64 = MAX_APPROVAL_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        self.terms.broken_rule().or_else(|| {
            first_broken(&[
                ((1..=MAX_APPROVAL_DEVICES).contains(&(self.devices as usize)), "it names no device, or too many"),
                (
                    self.shards.len().is_power_of_two() && self.shards.len() <= MAX_SLOT_SHARDS,
                    "shards are no power of two, or too many",
                ),
                (self.shards.iter().all(|s| s.length <= SlotShard::MAX_BYTES), "a shard is too long"),
            ])
        })
    }
}

impl Head {
    /// The pins of all shards, in order.
    pub fn shards(&self) -> impl Iterator<Item = (Part, Pinned)> {
        let count = u32::try_from(self.shards.len()).unwrap_or(u32::MAX);
        Part::split(count).zip(&self.shards).map(|(part, pin)| (part, self.pinned(part, *pin)))
    }

    /// The pin of the only shard that can name a device; none where the head is not valid.
    pub fn shard_of(&self, device: &DeviceId) -> Option<(Part, Pinned)> {
        let part = Part::of(device, u32::try_from(self.shards.len()).ok()?);
        Some((part, self.pinned(part, *self.shards.get(part.number())?)))
    }

    fn pinned(&self, part: Part, ShardPin { length, sha256 }: ShardPin) -> Pinned {
        Pinned { path: path::slots(&self.terms.id, part), length, sha256 }
    }

    /// Reads a shard: the bytes that are pinned, of this approval, within its waves and its time.
    fn read(&self, part: Part, pinned: &Pinned, bytes: &[u8]) -> Result<Vec<DeviceSlots>, DocumentError> {
        pinned.verify(bytes)?;
        let shard = SlotShard::parse(bytes)?;
        let waves = self.terms.waves.len();
        let in_time = |d: &DeviceSlots| d.slots.last().is_none_or(|s| s.end <= self.terms.expires);
        hold(
            SlotShard::TYPE,
            &[
                (shard.approval == self.terms.id && shard.part == part, "it is another shard, or another approval's"),
                (shard.devices.iter().all(|d| (d.wave as usize) < waves), "a device is in a wave that does not exist"),
                (shard.devices.iter().all(in_time), "a device's slots end after the approval"),
                (
                    shard.devices.iter().all(|d| d.leads_through(&self.terms)),
                    "a device's steps are not the approval's, or do not end with its last",
                ),
                (shard.devices.len() <= self.devices as usize, "it names more devices than the head counts"),
            ],
        )?;
        Ok(shard.devices)
    }

    /// The approval as one device reads it, of its own shard's bytes.
    ///
    /// No wave counts as opened by signature in it: that is another document's to say, and the caller's to add.
    ///
    /// # Errors
    ///
    /// The bytes are not what is pinned, or break a rule.
    pub fn share(self, device: &DeviceId, shard: &[u8]) -> Result<Share, DocumentError> {
        let missing = DocumentError::Rule { kind: Self::TYPE, rule: "it has no shard for a device" };
        let (part, pinned) = self.shard_of(device).ok_or(missing)?;
        let mine = self.read(part, &pinned, shard)?.into_iter().find(|d| d.id == *device);
        Ok(Share { terms: self.terms, mine, opened: Opened::Nothing })
    }

    /// The whole approval, of the bytes of all its shards, in their order.
    ///
    /// # Errors
    ///
    /// A shard is missing, is not what is pinned, or breaks a rule; or together they name other than `devices` devices.
    pub fn whole<B: AsRef<[u8]>>(self, shards: &[B]) -> Result<Approval, DocumentError> {
        hold(Self::TYPE, &[(shards.len() == self.shards.len(), "not all of its shards are there")])?;
        let mut devices = Vec::new();
        for ((part, pinned), bytes) in self.shards().zip(shards) {
            devices.extend(self.read(part, &pinned, bytes.as_ref())?);
        }
        hold(Self::TYPE, &[(devices.len() == self.devices as usize, "its shards name more or fewer devices")])?;
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        let approval = Approval { terms: self.terms, devices };
        approval.check()?;
        Ok(approval)
    }
}

/// An approval as one device reads it: the terms, what it says of this device alone, and which waves are opened by
/// signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// What holds for all devices.
    pub terms: Terms,
    /// The device's wave and slots, if the approval names it.
    pub mine: Option<DeviceSlots>,
    /// The waves that the hospital has opened by its signature, as far as that is known.
    pub opened: Opened,
}

impl Share {
    /// Whether the device's wave waits for the hospital's signature, so that it must be known which waves are open.
    pub fn needs_signature(&self) -> bool {
        let wave = |mine: &DeviceSlots| self.terms.waves.get(mine.wave as usize);
        self.mine.as_ref().and_then(wave).is_some_and(|w| w.needs_signature)
    }
}
