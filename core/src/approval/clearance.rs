//! A hospital's word from afar that a device was clinically checked after its update and may be in clinical use again; or that
//! it was found unfit, and its old version is to come back.
//!
//! Rule 3: no remote party can override the interlock. A device that waits for a check holds its interlock until a
//! person at the device says that it is checked, or until it reads this: signed by as many of the hospital's approvers as it
//! takes to approve, for to let a device back to patients is no less than to let it be changed. Attacks stopped here:
//!
//! | attack | stopped by |
//! | --- | --- |
//! | a captured server that releases a device | [`VerifiedClearance::verify`], the one loop that counts signatures |
//! | a thief of one approver's key | the threshold, where the hospital has one; the device says who signed |
//! | one that was signed for another device, or another hospital | `device` and `hdo` in what is signed |
//! | one of an earlier check, played again after the same bundle has come back | [`Clearance::answers`]: `reported_at` |
//! | one that is signed beforehand, for a check that nobody has made | `reported_at`: the device's own signed report has it |
//! | a word that is bent into its opposite | `unfit` is signed; who signs both for one check leaves it to the server which comes first |
//!
//! It opens nothing else: it installs nothing, and a device that waits for no check passes it over.

use std::ops::Deref;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{DocumentError, SignedDocument, first_broken};
use crate::clock::{format_utc, utc};
use crate::digest::Digest;
use crate::id::{ApprovalId, DeviceId, HdoId};
use crate::json::JsonError;
use crate::limits::{MAX_PERSON_BYTES, MAX_STOP_BYTES, MAX_TEXT_BYTES};
use crate::sign::Signer;
use crate::trust::{Role, Root, TrustError, Verified, beside};

/// Who speaks for it: whoever speaks for what is approved.
const ROLE: Role = Role::Targets;

/// That a device was checked. What is signed, and as such no authority: see [`VerifiedClearance`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clearance {
    /// Always `suture-clearance`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// The device.
    pub device: DeviceId,
    /// By which approval it was updated.
    pub approval: ApprovalId,
    /// To which bundle.
    pub manifest: Digest,
    /// When the device reported, by its own clock and signature, that it waits for this check.
    #[serde(with = "utc")]
    pub reported_at: Timestamp,
    /// The check has failed: the old version is to come back.
    #[serde(default, skip_serializing_if = "crate::manifest::is_false")]
    pub unfit: bool,
    /// Who says it.
    pub by: String,
    /// What was checked, and how, or what was found.
    pub reason: String,
    /// When it was signed, by the signer's clock. For people: it proves no time.
    #[serde(with = "utc")]
    pub signed_at: Timestamp,
}

/// Why one was refused.
#[derive(Debug, thiserror::Error)]
pub enum ClearanceError {
    /// Its outer form, or what is signed in it.
    #[error("the release is refused")]
    Document(#[from] DocumentError),
    /// No envelope of signatures.
    #[error("this is no release in its envelope of signatures")]
    Envelope(#[source] TrustError),
    /// Too few have signed.
    #[error("the release of {device} is signed by {valid} of the hospital's approvers where {threshold} are needed")]
    TooFew {
        /// Which device.
        device: DeviceId,
        /// Distinct keys with a valid signature.
        valid: usize,
        /// How many it takes.
        threshold: usize,
    },
    /// It is of another hospital.
    #[error("the release of {device} is of hospital {theirs}, not of {ours}")]
    OtherHospital {
        /// Which device.
        device: DeviceId,
        /// Whose it is.
        theirs: HdoId,
        /// Whose it should be.
        ours: HdoId,
    },
    /// A key's holder could not sign.
    #[error("the release could not be signed")]
    Sign(#[source] TrustError),
}

impl SignedDocument for Clearance {
    const TYPE: &'static str = "suture-clearance";
    const MAX_BYTES: u64 = MAX_STOP_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let plain = |text: &str, most: usize| {
            !text.trim().is_empty() && text.len() <= most && !text.chars().any(char::is_control)
        };
        first_broken(&[
            (plain(&self.by, MAX_PERSON_BYTES), "by is empty, too long, or of several lines"),
            (plain(&self.reason, MAX_TEXT_BYTES), "reason is empty, too long, or of several lines"),
        ])
    }
}

impl Clearance {
    /// Signs, by as many keys as there are at hand.
    ///
    /// # Errors
    ///
    /// A rule does not hold, or a key does not sign.
    pub fn sign(&self, signers: &[&dyn Signer]) -> Result<Vec<u8>, ClearanceError> {
        self.check()?;
        let value = serde_json::to_value(self).map_err(|e| shape(JsonError::Shape(e)))?;
        beside::sign(ROLE, value, signers).map_err(ClearanceError::Sign)
    }

    /// Reads what an envelope says, whoever signed it: for showing it to somebody who is to sign it. No authority.
    ///
    /// # Errors
    ///
    /// It is too long, no envelope, or breaks a rule.
    pub fn read_unverified(bytes: &[u8]) -> Result<Self, ClearanceError> {
        read(&open(bytes)?)
    }

    /// Adds one signature to an envelope that goes from hand to hand. The signer must have looked at what it says.
    ///
    /// # Errors
    ///
    /// It is none, or the key does not sign.
    pub fn countersign(bytes: &[u8], signer: &dyn Signer) -> Result<Vec<u8>, ClearanceError> {
        Self::read_unverified(bytes)?;
        let signed = beside::countersign(ROLE, bytes, signer).map_err(ClearanceError::Sign)?;
        open(&signed)?;
        Ok(signed)
    }

    /// Whether it is the word on the check that a device waits for, since `since` by its own clock, after that update.
    pub fn answers(&self, device: &DeviceId, approval: &ApprovalId, manifest: &Digest, since: Timestamp) -> bool {
        self.device == *device && self.approval == *approval && self.manifest == *manifest && self.reported_at >= since
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let Self { device, approval, by, reason, .. } = self;
        let at = format_utc(self.signed_at);
        let found = if self.unfit { "found unfit: its old version is to come back" } else { "may be in clinical use" };
        format!("{device} was checked after {approval} and {found}, says {by} at {at}: {reason}")
    }
}

/// One that enough of the hospital's approvers have signed, with its bytes as received. Only [`VerifiedClearance::verify`]
/// makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedClearance {
    clearance: Clearance,
    bytes: Vec<u8>,
}

impl VerifiedClearance {
    /// Verifies an envelope by the threshold of the targets keys of the hospital's approvals root.
    ///
    /// # Errors
    ///
    /// It is too long, unreadable, of another hospital, or signed by too few.
    pub fn verify(root: &Verified<Root>, hdo: &HdoId, bytes: &[u8]) -> Result<Self, ClearanceError> {
        let file = open(bytes)?;
        let clearance = read(&file)?;
        let device = clearance.device.clone();
        if clearance.hdo != *hdo {
            return Err(ClearanceError::OtherHospital { device, theirs: clearance.hdo, ours: hdo.clone() });
        }
        file.by_threshold(root, ROLE).map_err(|e| match e {
            TrustError::Threshold { valid, threshold, .. } => ClearanceError::TooFew { device, valid, threshold },
            other => ClearanceError::Envelope(other),
        })?;
        Ok(Self { clearance, bytes: bytes.to_vec() })
    }

    /// The envelope as received.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Deref for VerifiedClearance {
    type Target = Clearance;
    fn deref(&self) -> &Clearance {
        &self.clearance
    }
}

fn open(bytes: &[u8]) -> Result<beside::Beside, ClearanceError> {
    if bytes.len() as u64 > MAX_STOP_BYTES {
        let too_long = DocumentError::TooLong { kind: Clearance::TYPE, length: bytes.len(), limit: MAX_STOP_BYTES };
        return Err(too_long.into());
    }
    beside::Beside::open(ROLE, bytes).map_err(ClearanceError::Envelope)
}

fn read(file: &beside::Beside) -> Result<Clearance, ClearanceError> {
    let signed: &Value = file.signed();
    let clearance = Clearance::deserialize(signed).map_err(|e| shape(JsonError::Shape(e)))?;
    clearance.check()?;
    Ok(clearance)
}

fn shape(source: JsonError) -> ClearanceError {
    DocumentError::Json { kind: Clearance::TYPE, source }.into()
}

#[cfg(test)]
mod tests;
