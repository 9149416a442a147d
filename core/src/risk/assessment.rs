//! One assessment, of one group of devices.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Exploitability, Likelihood, Severity, Treatment, last_day};
use crate::approval::{RosterDevice, SignedDocument, first_broken};
use crate::clock::{day, day_of, utc};
use crate::digest::Digest;
use crate::id::{DeviceId, HdoId, OperatorName, ProductId, WardId};
use crate::json;
use crate::label::{LabelSelector, Labels};
use crate::limits::{
    MAX_ASSESSMENT_BYTES, MAX_COMPENSATING, MAX_GROUP_DEVICES, MAX_GROUP_WARDS, MAX_SELECTED_LABELS, MAX_TEXT_BYTES,
};
use crate::series::placed;
use crate::sign::PublicKey;
use crate::version::{Release, ReleaseRange};
use crate::word::Spoken;

/// Which devices: all of the product that stand in one of these wards and have these labels, and those that are named.
/// Without ward and label, and where none is named: all of the product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The product.
    pub product: ProductId,
    /// Running, or about to run, one of these releases; none: whatever they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub releases: Option<ReleaseRange>,
    /// In one of these wards.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub wards: BTreeSet<WardId>,
    /// With these labels.
    #[serde(default, skip_serializing_if = "LabelSelector::is_empty")]
    pub labels: LabelSelector,
    /// These, whatever their ward and labels.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub devices: BTreeSet<DeviceId>,
}

/// What of a device says whether it is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its id.
    pub id: &'a DeviceId,
    /// Its product.
    pub product: &'a ProductId,
    /// Where it stands.
    pub ward: &'a WardId,
    /// What else is said of it.
    pub labels: &'a Labels,
}

impl<'a> From<&'a RosterDevice> for Member<'a> {
    fn from(device: &'a RosterDevice) -> Self {
        Self { id: &device.id, product: &device.product, ward: &device.ward, labels: &device.labels }
    }
}

impl Group {
    /// Its name: the SHA-256 of what it says.
    pub fn digest(&self) -> Digest {
        // A group is of strings and sets of them; such a value always has canonical bytes.
        Digest::of(&json::to_canonical(self).unwrap_or_default())
    }

    /// Whether a release is meant.
    pub fn names(&self, release: Release) -> bool {
        self.releases.is_none_or(|range| range.contains(release))
    }

    /// Whether a device is in it, whatever it runs.
    pub fn holds(&self, device: &Member<'_>) -> bool {
        if *device.product != self.product {
            return false;
        }
        let is_named = self.devices.contains(device.id);
        let only_named = !self.devices.is_empty() && self.wards.is_empty() && self.labels.is_empty();
        let stands_there = self.wards.is_empty() || self.wards.contains(device.ward);
        is_named || (!only_named && stands_there && self.labels.matches(device.labels))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.product)?;
        if let Some(range) = self.releases {
            write!(f, "@{range}")?;
        }
        let wards: Vec<&str> = self.wards.iter().map(WardId::as_str).collect();
        let devices: Vec<&str> = self.devices.iter().map(DeviceId::as_str).collect();
        let mut parts = Vec::new();
        if !wards.is_empty() {
            parts.push(format!("in {}", wards.join(" or ")));
        }
        if !self.labels.is_empty() {
            parts.push(format!("with {}", self.labels));
        }
        match devices.as_slice() {
            [] => {}
            [first, .., last] if devices.len() > 4 => {
                parts.push(format!("{} devices, {first} to {last}", devices.len()))
            }
            few => parts.push(few.join(", ")),
        }
        if parts.is_empty() { write!(f, ", all") } else { write!(f, " {}", parts.join(", and ")) }
    }
}

/// What was found, and what is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assessment {
    /// Always `suture-risk`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// Its place in the hospital's register, from 1, without gaps.
    pub number: u64,
    /// SHA-256 of the one before; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// Which devices.
    pub group: Group,
    /// What may happen, in a sentence.
    pub hazard: String,
    /// How often.
    pub likelihood: Likelihood,
    /// How bad.
    pub severity: Severity,
    /// How easily.
    pub exploitability: Exploitability,
    /// What is done.
    pub treatment: Treatment,
    /// Why that.
    pub reason: String,
    /// What protects the devices, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compensating: Vec<String>,
    /// Who has looked at it, as the hospital calls them.
    pub reviewer: String,
    /// The last day on which it holds.
    #[serde(with = "day")]
    pub expires: Date,
    /// The key that signs this; none where whoever says it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
    /// Who says it.
    pub name: OperatorName,
    /// When, by their clock.
    #[serde(with = "utc")]
    pub assessed_at: Timestamp,
}

impl SignedDocument for Assessment {
    const TYPE: &'static str = "suture-risk";
    const MAX_BYTES: u64 = MAX_ASSESSMENT_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let said = |text: &str| !text.trim().is_empty() && text.len() <= MAX_TEXT_BYTES;
        let texts = [&self.hazard, &self.reason, &self.reviewer];
        let group = &self.group;
        let today = day_of(self.assessed_at);
        first_broken(&[
            (placed(self.number, self.previous.as_ref()), "the first names none before it, each other one does"),
            (texts.iter().all(|text| said(text)), "hazard, reason or reviewer is not said, or at too great length"),
            (
                self.compensating.len() <= MAX_COMPENSATING && self.compensating.iter().all(|text| said(text)),
                "it has more than 32 compensating controls, or one without a sentence",
            ),
            (
                self.treatment == Treatment::Mitigation || !self.compensating.is_empty(),
                "a risk is accepted, or met later, behind something that protects the devices meanwhile",
            ),
            (
                group.wards.len() <= MAX_GROUP_WARDS
                    && group.devices.len() <= MAX_GROUP_DEVICES
                    && group.labels.len() <= MAX_SELECTED_LABELS,
                "the group names too many wards, labels or devices",
            ),
            (
                today <= self.expires && self.expires <= last_day(None, today),
                "it holds until before it was made, or for more than a year",
            ),
        ])
    }
}

impl Spoken for Assessment {
    fn key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }

    fn name(&self) -> &OperatorName {
        &self.name
    }

    fn place(&self) -> (u64, Option<Digest>) {
        (self.number, self.previous)
    }
}
