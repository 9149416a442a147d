//! Events that a device has seen, signed with its report key.
//!
//! They travel beside the reports, in a check-in, and not as reports: a report moves a rollout and its numbers have no gap,
//! an event does neither. A server that does not know them yet ignores them, and they wait on the device.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::id::{DeviceId, HdoId};
use crate::json::{self, JsonError};
use crate::limits::{MAX_EVENT_BATCH, MAX_EVENT_BATCH_BYTES};
use crate::sign::{PublicKey, SignError, Signature, Signer};

/// An event with its number, which counts up by one over the device's events, from 1. An event that is folded into an
/// earlier one, which nobody has yet, keeps that one's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbered {
    /// The number.
    pub number: u64,
    /// What happened.
    pub event: Event,
}

/// Some of a device's events, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Always `suture-events`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// The hospital.
    pub hdo: HdoId,
    /// The device.
    pub device: DeviceId,
    /// The events.
    pub events: Vec<Numbered>,
}

/// A batch as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBatch {
    /// Canonical JSON.
    pub payload: Vec<u8>,
    /// Over the payload.
    pub signature: Signature,
}

/// Why a batch was refused.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// Longer than it can be.
    #[error("the events have {0} bytes, more than {MAX_EVENT_BATCH_BYTES}")]
    TooLong(usize),
    /// More events than one batch has.
    #[error("{0} events are more than the {MAX_EVENT_BATCH} of one batch")]
    TooMany(usize),
    /// Not strict JSON of its shape.
    #[error("the events cannot be read")]
    Json(#[from] JsonError),
    /// Its `_type` is another.
    #[error("these are no events but {0:?}")]
    Kind(String),
    /// Of another device, or not in the order of their numbers.
    #[error("the events are not {0}")]
    Foreign(String),
    /// The signature is not the device's.
    #[error("the events are not signed by the device's report key")]
    Signature(#[from] SignError),
}

impl Batch {
    /// The value of `_type`.
    pub const TYPE: &'static str = "suture-events";

    /// Signs.
    pub fn sign(&self, key: &dyn Signer) -> Result<SignedBatch, BatchError> {
        let payload = json::to_canonical(self)?;
        let signature = key.sign(&payload)?;
        Ok(SignedBatch { payload, signature })
    }
}

impl SignedBatch {
    /// Verifies the received bytes, then reads them, as those of a device.
    pub fn verify(&self, key: &PublicKey, hdo: &HdoId, device: &DeviceId) -> Result<Batch, BatchError> {
        if self.payload.len() > MAX_EVENT_BATCH_BYTES {
            return Err(BatchError::TooLong(self.payload.len()));
        }
        key.verify(&self.payload, &self.signature)?;
        let batch: Batch = json::from_slice(&self.payload)?;
        if batch.kind != Batch::TYPE {
            return Err(BatchError::Kind(batch.kind));
        }
        if batch.events.len() > MAX_EVENT_BATCH {
            return Err(BatchError::TooMany(batch.events.len()));
        }
        if batch.hdo != *hdo || batch.device != *device {
            return Err(BatchError::Foreign(format!("those of hdo/{hdo}/device/{device}")));
        }
        if !batch.events.is_sorted_by(|a, b| a.number < b.number) {
            return Err(BatchError::Foreign("in the order of their numbers".to_owned()));
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Kind, Observer, What};
    use crate::limits::{MAX_EVENT_DETAIL_BYTES, MAX_EVENT_SUBJECT_BYTES};
    use crate::sign::LocalKey;

    fn batch(numbers: &[u64]) -> Batch {
        let at = "2026-11-24T12:00:00Z".parse().unwrap();
        let events = numbers.iter().map(|number| {
            let (subject, detail) = ("\"".repeat(MAX_EVENT_SUBJECT_BYTES), "\"".repeat(MAX_EVENT_DETAIL_BYTES));
            let what = What::new(
                Kind::RestartedUnexpectedly,
                Observer::Device,
                "riverside".parse().ok().as_ref(),
                &subject,
                &detail,
            );
            Numbered { number: *number, event: Event { count: u64::MAX >> 11, ..Event::once(what, at) } }
        });
        Batch {
            kind: Batch::TYPE.to_owned(),
            hdo: "riverside".parse().unwrap(),
            device: "pump-1".parse().unwrap(),
            events: events.collect(),
        }
    }

    #[test]
    fn a_batch_is_the_devices_own_in_order_and_bounded_and_the_longest_honest_one_fits() {
        let key = LocalKey::from_seed(&zeroize::Zeroizing::new([7; 32]));
        let stranger = LocalKey::from_seed(&zeroize::Zeroizing::new([8; 32]));
        let (hdo, device) = ("riverside".parse().unwrap(), "pump-1".parse().unwrap());
        let all: Vec<u64> = (1..=MAX_EVENT_BATCH as u64).collect();
        let signed = batch(&all).sign(&key).unwrap();
        assert_eq!(signed.verify(&key.public(), &hdo, &device).unwrap(), batch(&all));
        let refused = |signed: &SignedBatch, key: &LocalKey, device: &str| {
            signed.verify(&key.public(), &hdo, &device.parse().unwrap()).unwrap_err()
        };
        assert!(matches!(refused(&signed, &stranger, "pump-1"), BatchError::Signature(_)));
        assert!(matches!(refused(&signed, &key, "pump-2"), BatchError::Foreign(_)));
        assert!(matches!(refused(&batch(&[2, 1]).sign(&key).unwrap(), &key, "pump-1"), BatchError::Foreign(_)));
        let long: Vec<u64> = (1..=4 * MAX_EVENT_BATCH as u64).collect();
        let long = batch(&long).sign(&key).unwrap();
        assert!(matches!(refused(&long, &key, "pump-1"), BatchError::TooLong(_) | BatchError::TooMany(_)));
        let other = Batch { kind: "suture-report".to_owned(), ..batch(&[1]) }.sign(&key).unwrap();
        assert!(matches!(refused(&other, &key, "pump-1"), BatchError::Kind(_)));
    }
}
