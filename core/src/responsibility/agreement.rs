//! What both sides agree on: the manufacturer signs it, the hospital consents.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Holder, Task};
use crate::approval::{SignedDocument, first_broken};
use crate::clock::{day, day_or_none, utc};
use crate::digest::Digest;
use crate::id::{HdoId, OperatorName, ProductId};
use crate::life::Stage;
use crate::limits::{MAX_AGREEMENT_BYTES, MAX_TEXT_BYTES};
use crate::series::placed;
use crate::sign::PublicKey;
use crate::word::Spoken;

/// Who does one task in one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreed {
    /// The task.
    pub task: Task,
    /// The stage.
    pub stage: Stage,
    /// Who.
    pub holder: Holder,
    /// What both note on it: a contract's number, what is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What the manufacturer proposes to one hospital for one product. In force once the hospital has consented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Always `suture-agreement`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// The product.
    pub product: ProductId,
    /// Its place among the proposals to this hospital for this product, from 1, without gaps.
    pub number: u64,
    /// SHA-256 of the one before; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// Where it is not as usual.
    pub cells: Vec<Agreed>,
    /// The first day on which it holds.
    #[serde(with = "day")]
    pub from: Date,
    /// The first day on which it holds no more; none: until another takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "day_or_none")]
    pub until: Option<Date>,
    /// Why.
    pub reason: String,
    /// The manufacturer's key that signs this; none where whoever says it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
    /// Who says it.
    pub name: OperatorName,
    /// When, by their clock.
    #[serde(with = "utc")]
    pub proposed_at: Timestamp,
}

/// The hospital's word that it agrees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Always `suture-consent`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// The product.
    pub product: ProductId,
    /// The agreement's number.
    pub number: u64,
    /// The agreement's SHA-256, signature included.
    pub agreement_sha256: Digest,
    /// The hospital's key that signs this; none where whoever says it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
    /// Who says it.
    pub name: OperatorName,
    /// When, by their clock.
    #[serde(with = "utc")]
    pub consented_at: Timestamp,
}

impl SignedDocument for Agreement {
    const TYPE: &'static str = "suture-agreement";
    const MAX_BYTES: u64 = MAX_AGREEMENT_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let places: BTreeSet<_> = self.cells.iter().map(|cell| (cell.task, cell.stage)).collect();
        let plain = |text: &str| text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control);
        first_broken(&[
            (placed(self.number, self.previous.as_ref()), "the first names none before it, each other one does"),
            // As many as there are tasks and stages, for each can be there once.
            (places.len() == self.cells.len(), "it says twice who does a task in a stage"),
            (self.cells.iter().all(|cell| plain(&cell.note)), "a note is too long, or has more than one line"),
            (!self.reason.trim().is_empty() && plain(&self.reason), "it does not say why, or at too great length"),
            (self.until.is_none_or(|until| self.from < until), "it ends before it begins"),
        ])
    }
}

impl Spoken for Agreement {
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

impl SignedDocument for Consent {
    const TYPE: &'static str = "suture-consent";
    const MAX_BYTES: u64 = MAX_AGREEMENT_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        first_broken(&[(self.number > 0, "it agrees to number 0, and agreements count from 1")])
    }
}

impl Spoken for Consent {
    fn key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }

    fn name(&self) -> &OperatorName {
        &self.name
    }

    fn place(&self) -> (u64, Option<Digest>) {
        (self.number, Some(self.agreement_sha256))
    }
}

impl Consent {
    /// Whether it is to this very agreement.
    pub fn is_to(&self, agreement: &Agreement, sha256: Digest) -> bool {
        (&self.hdo, &self.product, self.number, self.agreement_sha256)
            == (&agreement.hdo, &agreement.product, agreement.number, sha256)
    }
}
