//! What an approval says to all of its devices alike.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{DocumentError, SignedDocument as _, first_broken};
use super::head::Head;
use super::path;
use super::pinned::Pinned;
use crate::clock::utc;
use crate::digest::Digest;
use crate::id::{ApprovalId, HardwareId, HdoId, ProductId};
use crate::limits::{MAX_ATTEMPT_TIMEOUT_SECS, MAX_RETRY_WAIT_SECS, MAX_STEPS, MAX_SUPERSEDED, MAX_WAVES};
use crate::version::Release;

/// What an approval says to all of its devices alike. Opaque ids and instants only: every device reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
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
    /// Waves in order.
    pub waves: Vec<Wave>,
    /// Tries that a device has, by this approval. Counted on the device.
    pub max_attempts: u32,
    /// How long a device waits after a try that failed before it begins the next, in seconds; for each further try twice as
    /// long. Kept by the device.
    pub retry_wait_secs: u32,
    /// How long a device that has begun may say nothing before it counts as failed, in seconds. Kept by the server: it
    /// pauses a rollout for it, and the device goes on.
    pub attempt_timeout_secs: u32,
    /// Whether a device needs a lease of the server's besides its slot. It only narrows: without one the device waits.
    pub needs_lease: bool,
    /// How many devices of a ward may be down at once. The slots keep it by signature; where leases are asked for, the
    /// server keeps it also for devices that are down beyond their slots.
    pub ward_cap: u32,
    /// Whether the steps may lead to a lower release than the one that runs. Spent on the device with the attempt.
    pub permit_downgrade: bool,
    /// The document with names, reason, ticket and the rosters that it was planned from, which no device reads.
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

/// What must hold before this wave's devices may begin, and what before the next wave's may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// Whether its devices wait until the server says that the wave is open. This gate trusts the server: a server that
    /// lies opens it early, and never outside a device's slots.
    pub needs_server: bool,
    /// Whether its devices wait until the hospital has opened this very wave by a signature of its approvers, see
    /// [`super::Gates`]. It stands before this wave, as `needs_server` does; the first wave may have one too. It is met
    /// beside the other gate and not in its place, and holds against a server that lies.
    pub needs_signature: bool,
    /// Least share of the wave's devices that must be confirmed before the next wave opens, in percent.
    pub min_confirmed_percent: u32,
    /// Devices of the wave that may fail or fall back before the rollout pauses itself.
    pub max_failures: u32,
    /// The same as a share of the wave's devices, in percent: whichever is passed first.
    pub max_failed_percent: u32,
    /// How long after the last confirmation the next wave opens, in seconds.
    pub soak_secs: u32,
}

impl Terms {
    /// Validates.
    pub(super) fn check(&self) -> Result<(), DocumentError> {
        let rule = |rule| Err(DocumentError::Rule { kind: Head::TYPE, rule });
        self.broken_rule().map_or(Ok(()), rule)
    }

    /// The first rule that does not hold, if one does not.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        let product = self.steps.first().map(|s| &s.product);
        first_broken(&[
            (!self.steps.is_empty() && self.steps.len() <= MAX_STEPS, "steps lists none, or more than 16"),
            (self.steps.iter().all(|s| Some(&s.product) == product), "its steps are of more than one product"),
            (!self.waves.is_empty() && self.waves.len() <= MAX_WAVES, "waves lists none, or too many"),
            (self.waves.iter().all(|w| w.min_confirmed_percent <= 100), "a wave asks for more than 100 percent"),
            (self.created < self.expires, "it expires before it was created"),
            (self.waves.iter().all(|w| w.max_failed_percent <= 100), "a wave lets more than 100 percent fail"),
            ((1..=10).contains(&self.max_attempts), "max_attempts is not 1 to 10"),
            (self.retry_wait_secs <= MAX_RETRY_WAIT_SECS, "a retry waits for more than a day"),
            (
                (1..=MAX_ATTEMPT_TIMEOUT_SECS).contains(&self.attempt_timeout_secs),
                "attempt_timeout_secs is not one second to 7 days",
            ),
            (self.ward_cap > 0, "the ward's cap is 0"),
            (
                self.supersedes.len() <= MAX_SUPERSEDED && !self.supersedes.contains(&self.id),
                "supersedes lists itself, or too many",
            ),
            (
                self.operator_document.path == path::operator_document(&self.id),
                "its operators' document is another approval's",
            ),
        ])
    }
}
