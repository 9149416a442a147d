//! What a device says of itself, signed with its report key. Gates count nothing else.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::Head;
use crate::clock::utc;
use crate::digest::{Digest, Hasher};
use crate::id::{ApprovalId, DeviceId, HdoId, ProductId};
use crate::json::{self, JsonError};
use crate::limits::MAX_REPORT_BYTES;
use crate::phase::{Phase, Reason};
use crate::progress::Sources;
use crate::sign::{PublicKey, SignError, Signature, Signer};
use crate::trust::Edition;
use crate::version::{Release, Version};

/// One report. Its canonical bytes are what is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Always `suture-report`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// The hospital.
    pub hdo: HdoId,
    /// The device.
    pub device: DeviceId,
    /// Counts up by one over the device's reports, from 1.
    pub number: u64,
    /// When it was written, by the device's clock.
    #[serde(with = "utc")]
    pub at: Timestamp,
    /// The product.
    pub product: ProductId,
    /// What runs.
    pub running: Running,
    /// Whether that lies on the disk as it was signed, where it was looked at.
    pub integrity: Option<Integrity>,
    /// The attempt that it tells of.
    pub approval: Option<ApprovalId>,
    /// The bundle of that attempt.
    pub manifest: Option<Digest>,
    /// How far it got.
    pub phase: Phase,
    /// Why no further.
    pub reason: Option<Reason>,
    /// The counter of the stop order that it obeys, where it is stopped by one: an answer to that order and those before,
    /// and to none that is signed later.
    pub stop: Option<u64>,
    /// Whether the approval leads no further on this device: what failed would fail again, or no try is left. Only a lift
    /// after a stop, or a new approval, lets it begin again.
    #[serde(default)]
    pub permanent: bool,
    /// Where the bytes of that bundle came from, once they are all there.
    pub sources: Option<Sources>,
    /// How long its own installs and ways back took.
    #[serde(default)]
    pub took: Took,
    /// Versions and digests of the metadata that the device verified last.
    pub catalog: Option<Seen>,
    /// The same of the approvals.
    pub approvals: Option<Seen>,
    /// What it remembers of the server's audit record, and what it holds against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordSeen>,
    /// How far its own log reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogHead>,
}

/// A server's audit record as a device knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordSeen {
    /// The last head that went on from the one before.
    pub head: Head,
    /// What is wrong with what the server shows now; none where it goes on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

/// How many lines a device's own log has had, and the hash over all of them. Text form: `<line>:<sha256>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// The last line's number.
    pub line: u64,
    /// Its hash, over those before it too.
    pub sha256: Digest,
}

impl fmt::Display for LogHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.sha256)
    }
}

/// What a device runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// For people.
    pub version: Version,
    /// Its place in the product's order.
    pub release: Release,
    /// The manifest's digest.
    pub manifest: Digest,
}

/// What the device found when it last compared what runs with its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Integrity {
    /// When it began to look, by the device's clock.
    #[serde(with = "utc")]
    pub at: Timestamp,
    /// What is not as it was signed; none where all is.
    pub drift: Option<String>,
}

/// How long a device's own installs and ways back took: the longest of the last few, 0 where none is remembered. Its gate
/// asks for so much of a slot where that is more than the manufacturer's budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Took {
    /// An install, in seconds.
    pub install_secs: u32,
    /// A way back.
    pub revert_secs: u32,
}

/// Metadata that a device verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Version of the root.
    pub root: u64,
    /// Version of the targets metadata.
    pub targets: u64,
    /// SHA-256 of the targets metadata.
    pub targets_sha256: Digest,
}

/// What a device has seen of both repositories, signed apart from any report and said at every check-in.
///
/// Reports tell of phases, and a device to which nothing happens writes none. This is how its hospital learns, without
/// having to believe the server, that it has verified the same metadata as everybody else. It holds neither time nor number:
/// a server that repeats an old one shows what the device has truly seen, and can hide only what is newer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    /// Always `suture-sighting`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// The hospital.
    pub hdo: HdoId,
    /// The device.
    pub device: DeviceId,
    /// The catalog that it verified last.
    pub catalog: Option<Seen>,
    /// The approvals that it verified last.
    pub approvals: Option<Seen>,
    /// The head of the server's audit record that it remembers: whoever has read the record finds a fork by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Head>,
}

impl Sighting {
    /// The value of `_type`.
    pub const TYPE: &'static str = "suture-sighting";

    /// What a device has seen.
    pub fn new(hdo: HdoId, device: DeviceId, catalog: Option<Seen>, approvals: Option<Seen>) -> Self {
        Self { kind: Self::TYPE.to_owned(), hdo, device, catalog, approvals, audit: None }
    }

    /// And of the audit record.
    #[must_use]
    pub fn with_audit(self, audit: Option<Head>) -> Self {
        Self { audit, ..self }
    }

    /// Signs. The signature alone travels: the rest stands beside it in the check-in.
    pub fn sign(&self, key: &dyn Signer) -> Result<Signature, ReportError> {
        Ok(key.sign(&json::to_canonical(self)?)?)
    }

    /// Refuses what the device's report key has not signed.
    pub fn verify(&self, key: &PublicKey, signature: &Signature) -> Result<(), ReportError> {
        Ok(key.verify(&json::to_canonical(self)?, signature)?)
    }
}

/// A report as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Canonical JSON.
    pub payload: Vec<u8>,
    /// Over the payload.
    pub signature: Signature,
}

/// Why a report was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Longer than a report can be.
    #[error("the report has {0} bytes, more than {MAX_REPORT_BYTES}")]
    TooLong(usize),
    /// Not strict JSON of a report's shape.
    #[error("the report cannot be read")]
    Json(#[from] JsonError),
    /// Its `_type` is another.
    #[error("this is no report but {0:?}")]
    Kind(String),
    /// The signature is not the device's.
    #[error("the report is not signed by the device's report key")]
    Signature(#[from] SignError),
}

/// What a person compares at the device before it is confirmed: SHA-256 over the SHA-256 of the TLS public key
/// (SubjectPublicKeyInfo, DER) and the report key's 32 bytes. Both parts can be had from a server that is not trusted and
/// be put together again by whoever signs the roster.
pub fn fingerprint(tls_key_sha256: &Digest, report_key: &PublicKey) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(tls_key_sha256.as_bytes());
    hasher.update(report_key.as_bytes());
    hasher.finish()
}

impl Report {
    /// The value of `_type`.
    pub const TYPE: &'static str = "suture-report";

    /// Whether it answers to a stop order of that counter: that order, or a later one, is obeyed.
    pub fn obeys(&self, counter: u64) -> bool {
        self.phase == Phase::Stopped && self.stop.is_some_and(|stop| stop >= counter)
    }

    /// Signs.
    pub fn sign(&self, key: &dyn Signer) -> Result<Signed, ReportError> {
        let payload = json::to_canonical(self)?;
        let signature = key.sign(&payload)?;
        Ok(Signed { payload, signature })
    }
}

impl Seen {
    /// The edition of the targets metadata.
    pub fn edition(&self) -> Edition {
        Edition { version: self.targets, sha256: self.targets_sha256 }
    }
}

impl Signed {
    /// Verifies the received bytes, then reads them.
    pub fn verify(&self, key: &PublicKey) -> Result<Report, ReportError> {
        if self.payload.len() > MAX_REPORT_BYTES {
            return Err(ReportError::TooLong(self.payload.len()));
        }
        key.verify(&self.payload, &self.signature)?;
        let report: Report = json::from_slice(&self.payload)?;
        if report.kind == Report::TYPE { Ok(report) } else { Err(ReportError::Kind(report.kind)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_TEXT_BYTES;
    use crate::phase::Code;
    use crate::sign::LocalKey;

    fn report(text: String) -> Report {
        let manifest = Digest::of(b"m");
        Report {
            kind: Report::TYPE.to_owned(),
            hdo: "riverside".parse().unwrap(),
            device: "pump-1".parse().unwrap(),
            number: 1,
            at: "2026-11-24T12:00:00Z".parse().unwrap(),
            product: "pump".parse().unwrap(),
            running: Running { version: "1.0.0".parse().unwrap(), release: Release(1), manifest },
            integrity: None,
            approval: None,
            manifest: None,
            phase: Phase::Held,
            reason: Some(Reason { code: Code::StateDamaged, text }),
            stop: None,
            permanent: false,
            sources: None,
            took: Took::default(),
            catalog: None,
            approvals: None,
            record: None,
            log: None,
        }
    }

    #[test]
    fn a_sighting_is_the_devices_own_and_of_just_those_metadata() {
        let key = LocalKey::from_seed(&zeroize::Zeroizing::new([7; 32]));
        let seen = |n: u64| Some(Seen { root: 1, targets: n, targets_sha256: Digest::of(&[n as u8]) });
        let sighting = |device: &str, catalog, approvals| {
            Sighting::new("riverside".parse().unwrap(), device.parse().unwrap(), catalog, approvals)
        };
        let signature = sighting("pump-1", seen(3), seen(4)).sign(&key).unwrap();
        sighting("pump-1", seen(3), seen(4)).verify(&key.public(), &signature).unwrap();
        let others = [
            sighting("pump-2", seen(3), seen(4)),
            sighting("pump-1", seen(4), seen(3)),
            sighting("pump-1", seen(3), None),
            sighting("pump-1", seen(3), seen(5)),
            sighting("pump-1", seen(3), seen(4)).with_audit(Some(Head::empty())),
        ];
        for other in others {
            assert!(other.verify(&key.public(), &signature).is_err(), "{other:?}");
        }
        let stranger = LocalKey::from_seed(&zeroize::Zeroizing::new([8; 32])).public();
        assert!(sighting("pump-1", seen(3), seen(4)).verify(&stranger, &signature).is_err());
    }

    #[test]
    fn an_answer_is_to_the_order_that_it_names_and_to_none_that_is_signed_later() {
        let mut report = report(String::new());
        (report.phase, report.stop) = (Phase::Stopped, Some(5));
        assert_eq!([4, 5, 6].map(|counter| report.obeys(counter)), [true, true, false]);
        report.stop = None;
        assert!(!report.obeys(0), "it names none");
        (report.phase, report.stop) = (Phase::Waiting, Some(5));
        assert!(!report.obeys(5), "it is not stopped");
    }

    #[test]
    fn a_report_that_would_not_fit_into_an_answer_is_refused_and_no_honest_one_is_that_long() {
        let key = LocalKey::from_seed(&zeroize::Zeroizing::new([7; 32]));
        let long = report("x".repeat(MAX_REPORT_BYTES)).sign(&key).unwrap();
        assert!(matches!(long.verify(&key.public()), Err(ReportError::TooLong(_))));
        let mut honest = report(String::new());
        honest.sources = Some(Sources {
            total_bytes: u64::MAX >> 11,
            slot_a_bytes: u64::MAX >> 11,
            slot_b_bytes: u64::MAX >> 11,
            delta_made_bytes: u64::MAX >> 11,
            chunk_made_bytes: u64::MAX >> 11,
            delta_bytes: u64::MAX >> 11,
            chunk_bytes: u64::MAX >> 11,
        });
        let head = Head { size: u64::MAX >> 11, root: Digest::of(b"root") };
        let doubt = Some("\"é".repeat(MAX_TEXT_BYTES / 3));
        honest.record = Some(RecordSeen { head, doubt });
        honest.log = Some(LogHead { line: u64::MAX >> 11, sha256: Digest::of(b"log") });
        honest.reason = Some(Reason::new(Code::StateDamaged, "\"é".repeat(MAX_REPORT_BYTES)));
        honest.sign(&key).unwrap().verify(&key.public()).unwrap();
    }
}
