//! Orders to begin nothing more by an approval, and their lifting.
//!
//! An order is a file of its own, signed by the approvals root's targets keys as metadata are, so that it can reach a device
//! by any way: the server, a stick, a relay, a file on the device. Any one of the keys stops; it takes the threshold to
//! lift. Attacks stopped here:
//!
//! | attack | stopped by |
//! | --- | --- |
//! | an order that no approver of this hospital signed | [`VerifiedStop::verify`], the one loop that counts signatures |
//! | a lift by fewer than approve | [`VerifiedStop::verify`], the threshold where `stopped` is false |
//! | an old lift that is played again after a new stop | the counter, [`VerifiedStop::is_news_after`] |
//! | a lift that undoes a stop which its signers had not seen | [`StopOrder::next`]: its counter is the next after that of the stop that it lifts, and never the time; of a tie a stop wins, [`VerifiedStop::is_news_after`] |
//! | a lift of a counter that no later stop exceeds | [`StopOrder::is_ahead`]: it is not taken; and once its signers have left, [`VerifiedStop::outlives`] |
//! | an order of another hospital that signs with the same key | `hdo` in what is signed |
//! | one approver's clock, far ahead, that would lock the device's | `signed_at` is for people, and proves no time |
//!
//! Whoever steals one approver's key can stop every approval, and nothing else. An order of a counter far ahead of the time cannot
//! be lifted before that time; what it stops is approved anew under another id.

use std::ops::Deref;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{DocumentError, SignedDocument, first_broken};
use super::path;
use crate::clock::{format_utc, utc, whole_second};
use crate::id::{ApprovalId, HdoId};
use crate::json::JsonError;
use crate::limits::{MAX_LIFT_AHEAD, MAX_STOP_BYTES, MAX_STOP_COUNTER};
use crate::phase::Code;
use crate::sign::Signer;
use crate::trust::{Role, Root, Targets, TrustError, Verified, beside};

/// Who speaks for stop orders: whoever speaks for what is approved.
const ROLE: Role = Role::Targets;

/// An order that nothing more is begun by an approval, or its lifting. What is signed, and as such no authority: see
/// [`VerifiedStop`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopOrder {
    /// Always `suture-stop`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// The approval.
    pub approval: ApprovalId,
    /// Counts up over the stops and lifts of one approval, with gaps; the highest is in force. A lift's is one above that of the
    /// stop that it lifts.
    pub counter: u64,
    /// Stopped, or lifted again.
    pub stopped: bool,
    /// When it was signed, by the signer's clock. For people: it proves no time.
    #[serde(with = "utc")]
    pub signed_at: Timestamp,
}

/// Why a stop order was refused.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Its outer form, or what is signed in it.
    #[error("the stop order is refused")]
    Document(#[from] DocumentError),
    /// No envelope of signatures.
    #[error("this is no stop order in its envelope of signatures")]
    Envelope(#[source] TrustError),
    /// A stop that no approver has signed.
    #[error("the stop order for {approval} is signed by none of the hospital's approvers")]
    Unsigned {
        /// The approval.
        approval: ApprovalId,
    },
    /// A lift that too few have signed.
    #[error("the lift for {approval} is signed by {valid} of the hospital's approvers where {threshold} are needed")]
    TooFew {
        /// The approval.
        approval: ApprovalId,
        /// Distinct keys with a valid signature.
        valid: usize,
        /// How many it takes.
        threshold: usize,
    },
    /// It is of another hospital.
    #[error("the order for {approval} is of hospital {theirs}, not of {ours}")]
    OtherHospital {
        /// The approval.
        approval: ApprovalId,
        /// Whose it is.
        theirs: HdoId,
        /// Whose it should be.
        ours: HdoId,
    },
    /// It is not the file that the hospital's approvals list.
    #[error("the stop order is not the one that the hospital's approvals list")]
    Unlisted(#[source] TrustError),
    /// The counter cannot be counted up.
    #[error(
        "the orders for {0} have come to the highest counter; what is stopped stays stopped: approve it anew under \
         another id"
    )]
    CounterSpent(ApprovalId),
    /// A lift of a stop whose signer's clock was far ahead.
    #[error(
        "the lift for {0} has a counter that lies far ahead of the time, as the stop has that it lifts; what is stopped stays \
         stopped until then: approve it anew under another id"
    )]
    Ahead(ApprovalId),
    /// A key's holder could not sign.
    #[error("the stop order could not be signed")]
    Sign(#[source] TrustError),
}

impl StopError {
    /// The class of attack, or of fault, for reports and monitoring.
    pub fn code(&self) -> Code {
        match self {
            Self::Document(_) | Self::CounterSpent(_) | Self::Ahead(_) => Code::BadMetadata,
            Self::Envelope(e) | Self::Sign(e) | Self::Unlisted(e) => e.code(),
            Self::Unsigned { .. } | Self::TooFew { .. } => Code::BadSignature,
            Self::OtherHospital { .. } => Code::WrongHospital,
        }
    }
}

impl SignedDocument for StopOrder {
    const TYPE: &'static str = "suture-stop";
    const MAX_BYTES: u64 = MAX_STOP_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        first_broken(&[
            (self.counter > 0, "counter is 0; the first is 1"),
            (self.counter <= MAX_STOP_COUNTER, "counter is greater than 2^53 - 1"),
        ])
    }
}

impl StopOrder {
    /// The order after `last`, the highest counter that the signer knows of; none where there was no order.
    ///
    /// The counter of a stop is also no less than the time in Unix seconds, so that an approver who cannot reach the server, and has
    /// seen none of the orders before, still signs one that counts. That of a lift is not: it lifts what its signers have seen, and
    /// no stop that somebody has signed since.
    ///
    /// # Errors
    ///
    /// The counters are used up.
    pub fn next(
        hdo: HdoId,
        approval: ApprovalId,
        last: Option<u64>,
        stopped: bool,
        now: Timestamp,
    ) -> Result<Self, StopError> {
        let after = last.map_or(1, |last| last.saturating_add(1));
        let counter = match stopped {
            // A lift of the highest counter is outdone by a stop of the same.
            true => after.max(seconds(now)).min(MAX_STOP_COUNTER),
            false => after,
        };
        if counter > MAX_STOP_COUNTER {
            return Err(StopError::CounterSpent(approval));
        }
        let kind = Self::TYPE.to_owned();
        Ok(Self { kind, format: 1, hdo, approval, counter, stopped, signed_at: whole_second(now) })
    }

    /// Signs: a stop by one key or more, a lift by as many as there are at hand.
    ///
    /// # Errors
    ///
    /// A rule does not hold, or a key does not sign.
    pub fn sign(&self, signers: &[&dyn Signer]) -> Result<Vec<u8>, StopError> {
        self.check()?;
        let value = serde_json::to_value(self).map_err(|e| shape(JsonError::Shape(e)))?;
        beside::sign(ROLE, value, signers).map_err(StopError::Sign)
    }

    /// Reads what an envelope says, whoever signed it: for showing it to somebody who is to sign it. No authority.
    ///
    /// # Errors
    ///
    /// It is too long, no envelope, or breaks a rule.
    pub fn read_unverified(bytes: &[u8]) -> Result<Self, StopError> {
        read(&open(bytes)?)
    }

    /// Adds one signature to an envelope that goes from hand to hand. The signer must have looked at what it says.
    ///
    /// # Errors
    ///
    /// It is no stop order, or the key does not sign.
    pub fn countersign(bytes: &[u8], signer: &dyn Signer) -> Result<Vec<u8>, StopError> {
        Self::read_unverified(bytes)?;
        let signed = beside::countersign(ROLE, bytes, signer).map_err(StopError::Sign)?;
        open(&signed)?;
        Ok(signed)
    }

    /// Whether it is a lift whose counter lies further ahead of the time than a clock goes wrong. Nobody takes such a lift: no stop that
    /// is signed by the time would count after it. It fails closed: what is stopped stays stopped until that time.
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        !self.stopped && self.counter > seconds(now.saturating_add(MAX_LIFT_AHEAD).unwrap_or(now))
    }

    /// What an order weighs where a device asks whether it is younger than a failure, which is measured by the time: its counter, or for a
    /// lift also when it was signed.
    pub fn weight(&self) -> u64 {
        if self.stopped { self.counter } else { self.counter.max(seconds(self.signed_at)) }
    }

    /// For people: what it orders, of which approval, and since when.
    pub fn to_text(&self) -> String {
        let (what, id) = (if self.stopped { "stop order for" } else { "lift of the stop of" }, &self.approval);
        format!("{what} {id}, counter {}, signed {}", self.counter, format_utc(self.signed_at))
    }
}

/// A stop order or lift that enough of the hospital's approvers have signed, with its bytes as received. Only the functions
/// below make one, so whoever holds it need not ask again who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedStop {
    order: StopOrder,
    bytes: Vec<u8>,
}

impl VerifiedStop {
    /// Verifies an envelope by the targets keys of the hospital's approvals root: a stop by any one of them, a lift by their
    /// threshold.
    ///
    /// # Errors
    ///
    /// It is too long, unreadable, of another hospital, or signed by too few.
    pub fn verify(root: &Verified<Root>, hdo: &HdoId, bytes: &[u8]) -> Result<Self, StopError> {
        let file = open(bytes)?;
        let order = read(&file)?;
        if order.hdo != *hdo {
            return Err(foreign(order, hdo));
        }
        let signed = if order.stopped { file.by_any(root, ROLE) } else { file.by_threshold(root, ROLE) };
        signed.map_err(|e| match e {
            TrustError::Threshold { .. } if order.stopped => StopError::Unsigned { approval: order.approval.clone() },
            TrustError::Threshold { valid, threshold, .. } => {
                StopError::TooFew { approval: order.approval.clone(), valid, threshold }
            }
            other => StopError::Envelope(other),
        })?;
        Ok(Self { order, bytes: bytes.to_vec() })
    }

    /// An order that the hospital's targets metadata list: by their signatures the threshold stands for it, whoever signed
    /// it first, and whether or not that signer is still an approver.
    ///
    /// # Errors
    ///
    /// It is unreadable, of another hospital, or not the one that is listed for its approval.
    pub fn listed(targets: &Verified<Targets>, hdo: &HdoId, bytes: &[u8]) -> Result<Self, StopError> {
        let order = read(&open(bytes)?)?;
        if order.hdo != *hdo {
            return Err(foreign(order, hdo));
        }
        targets.verify_target(&path::stop(&order.approval), bytes).map_err(StopError::Unlisted)?;
        Ok(Self { order, bytes: bytes.to_vec() })
    }

    /// An order that this program verified when it came, kept in its own store since. It stays in force though its signer
    /// has left: by a root that no longer names the key it would not verify. Never for bytes from anywhere else.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn kept(bytes: &[u8]) -> Result<Self, StopError> {
        Ok(Self { order: StopOrder::read_unverified(bytes)?, bytes: bytes.to_vec() })
    }

    /// The envelope as received.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it takes the place of `known`, an order for the same approval: the higher counter does, and of two with the
    /// same counter the stop.
    pub fn is_news_after(&self, known: &Self) -> bool {
        (self.order.counter, self.order.stopped) > (known.order.counter, known.order.stopped)
    }

    /// Whether it takes the place of `known` although that counts higher: a stop does, of a lift that nobody stands for any more, by
    /// `stands`. Not the very stop that was lifted: when an approver leaves, what was lifted stays so.
    pub fn outlives(&self, known: &Self, stands: impl FnOnce(&Self) -> bool) -> bool {
        let lifted = self.order.counter.checked_add(1) == Some(known.order.counter);
        self.order.stopped && !known.order.stopped && !lifted && !stands(known)
    }

    /// Whether some of these orders, taken together, stop the approval.
    pub fn stops<'a>(orders: impl IntoIterator<Item = &'a Self>, approval: &ApprovalId) -> bool {
        Self::in_force(orders, approval).is_some()
    }

    /// The one of these orders that stops the approval, where the newest of them is a stop.
    pub fn in_force<'a>(orders: impl IntoIterator<Item = &'a Self>, approval: &ApprovalId) -> Option<&'a Self> {
        let newest = orders.into_iter().filter(|s| s.approval == *approval).max_by_key(|s| (s.counter, s.stopped));
        newest.filter(|s| s.stopped)
    }
}

impl Deref for VerifiedStop {
    type Target = StopOrder;
    fn deref(&self) -> &StopOrder {
        &self.order
    }
}

/// The time as orders count it.
fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_second()).unwrap_or(0)
}

fn foreign(order: StopOrder, ours: &HdoId) -> StopError {
    StopError::OtherHospital { approval: order.approval, theirs: order.hdo, ours: ours.clone() }
}

fn open(bytes: &[u8]) -> Result<beside::Beside, StopError> {
    if bytes.len() as u64 > MAX_STOP_BYTES {
        let too_long = DocumentError::TooLong { kind: StopOrder::TYPE, length: bytes.len(), limit: MAX_STOP_BYTES };
        return Err(too_long.into());
    }
    beside::Beside::open(ROLE, bytes).map_err(StopError::Envelope)
}

fn read(file: &beside::Beside) -> Result<StopOrder, StopError> {
    let order = view(file.signed())?;
    order.check()?;
    Ok(order)
}

/// The typed view of the value whose canonical bytes are verified.
fn view(signed: &Value) -> Result<StopOrder, StopError> {
    StopOrder::deserialize(signed).map_err(|e| shape(JsonError::Shape(e)))
}

fn shape(source: JsonError) -> StopError {
    DocumentError::Json { kind: StopOrder::TYPE, source }.into()
}

#[cfg(test)]
mod tests;
