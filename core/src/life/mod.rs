//! The life of a product: in which stage of its support it is, by dates that the manufacturer has signed.
//!
//! IMDRF/CYBER WG/N70 ("Principles and Practices for the Cybersecurity of Legacy Medical Devices") divides a device's life into
//! [`Stage`]s. The manufacturer's declaration of an end of life begins limited support; with the end of support the hospital
//! carries most of the responsibility for the device's security. N70 asks that these dates are said at least two years ahead,
//! and actively; FDA's premarket guidance of 2025 (VI.A) wants the end of support in the labelling, with the transfer of risk
//! that it brings.
//!
//! The document is a history: a list of changes, each with who made it, when and why. What holds is read off it
//! ([`Life::dates`]), so that no date can change without its history ([`history`]). It is listed in the catalog under
//! [`path`], so that a server can neither forge it nor show an older one, and a later one must begin with all that an earlier one said
//! ([`Life::extends`]), so that not even the manufacturer's keys rewrite the past unnoticed: the server checks that on
//! publication, and every operator's program against what it has read before.
//!
//! | attack | stopped by |
//! | --- | --- |
//! | a life cycle that the server made up, or an older one | the catalog lists it, signed |
//! | a history that was rewritten, an earlier date that was never announced | [`Life::extends`] |
//! | two years of notice faked by a date of long ago | [`Life::is_new_at`], on publication |

mod change;
pub mod history;
pub mod openeox;
mod stage;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

pub use self::change::{Change, ComponentEnd};
pub use self::history::LifeError;
pub use self::stage::{Dates, Stage};

use crate::approval::{SignedDocument, first_broken};
use crate::id::ProductId;
use crate::limits::{MAX_LIFE_BYTES, MAX_LIFE_CHANGE_AGE, MAX_LIFE_CHANGES, MAX_SIGNER_AHEAD};
use crate::version::{Release, ReleaseRange};

/// Where the catalog lists a product's life: `life/<product>.json`.
pub fn path(product: &ProductId) -> String {
    format!("life/{product}.json")
}

/// The product whose life is listed under a path; none where it is no such path.
pub fn product_of(path: &str) -> Option<ProductId> {
    path.strip_prefix("life/")?.strip_suffix(".json")?.parse().ok()
}

/// A product's life with all its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Life {
    /// Always `suture-life`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The product.
    pub product: ProductId,
    /// What was said, oldest first; never nothing.
    changes: Vec<Change>,
}

/// What holds of a release, or of the product as such, on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The stage.
    pub stage: Stage,
    /// By these dates.
    pub dates: Dates,
    /// What the manufacturer covers no longer: sentences of its own, where support is limited or over.
    pub not_covered: Vec<String>,
    /// Components whose own support is over.
    pub ended_components: Vec<ComponentEnd>,
}

impl SignedDocument for Life {
    const TYPE: &'static str = "suture-life";
    const MAX_BYTES: u64 = MAX_LIFE_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let bounded = first_broken(&[(
            (1..=MAX_LIFE_CHANGES).contains(&self.changes.len()),
            "it says nothing, or has more than 512 changes",
        )]);
        bounded.or_else(|| history::broken(&self.changes).map(|e| e.rule()))
    }
}

impl Life {
    /// The first word on a product.
    ///
    /// # Errors
    ///
    /// The change breaks a rule of [`history`].
    pub fn begin(product: ProductId, change: Change) -> Result<Self, LifeError> {
        history::admit(&[], &change)?;
        Ok(Self { kind: Self::TYPE.to_owned(), format: 1, product, changes: vec![change] })
    }

    /// With one change more.
    ///
    /// # Errors
    ///
    /// The change breaks a rule of [`history`], or there are too many.
    pub fn then(&self, change: Change) -> Result<Self, LifeError> {
        history::admit(&self.changes, &change)?;
        let mut life = self.clone();
        life.changes.push(change);
        Ok(life)
    }

    /// All changes, oldest first.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The newest change.
    pub fn newest(&self) -> Option<&Change> {
        self.changes.last()
    }

    /// What it says besides an earlier one, which it must extend.
    ///
    /// # Errors
    ///
    /// It does not begin with all that the earlier one said.
    pub fn extends(&self, earlier: &Self) -> Result<&[Change], LifeError> {
        let same = self.product == earlier.product;
        self.changes.strip_prefix(earlier.changes.as_slice()).filter(|_| same).ok_or(LifeError::Rewritten)
    }

    /// Refuses changes after the first `known` ones that were not made lately, by a clock that may differ a little.
    ///
    /// # Errors
    ///
    /// One is of another time: notice of two years counts from the day on which it was given.
    pub fn is_new_at(&self, known: usize, now: Timestamp) -> Result<(), LifeError> {
        let lately = |change: &Change| {
            let age = now.duration_since(change.at);
            -MAX_SIGNER_AHEAD <= age && age <= MAX_LIFE_CHANGE_AGE
        };
        match self.changes.iter().skip(known).find(|change| !lately(change)) {
            None => Ok(()),
            Some(change) => Err(LifeError::NotNow { at: change.at }),
        }
    }

    /// The newest change of a scope; none: of the product as such.
    pub fn change_of(&self, releases: Option<ReleaseRange>) -> Option<&Change> {
        self.changes.iter().rev().find(|change| change.releases == releases)
    }

    /// The ranges of releases that have dates of their own, ascending.
    pub fn ranges(&self) -> Vec<ReleaseRange> {
        let mut ranges: Vec<_> = self.changes.iter().filter_map(|change| change.releases).collect();
        ranges.sort_unstable();
        ranges.dedup();
        ranges
    }

    /// The newest change on the range that a release is in.
    fn of_release(&self, release: Release) -> Option<&Change> {
        self.changes.iter().rev().find(|c| c.releases.is_some_and(|range| range.contains(release)))
    }

    /// The dates of a release, or with none of the product as such. A release ends with its product at the latest.
    pub fn dates(&self, release: Option<Release>) -> Dates {
        let product = self.change_of(None).map(|c| c.dates).unwrap_or_default();
        match release.and_then(|release| self.of_release(release)) {
            None => product,
            Some(own) => own.dates.within(product),
        }
    }

    /// What holds on a day.
    pub fn standing(&self, release: Option<Release>, day: Date) -> Standing {
        let dates = self.dates(release);
        let stage = dates.stage(day);
        let own = release.and_then(|release| self.of_release(release));
        let said: Vec<&Change> = self.change_of(None).into_iter().chain(own).collect();
        let not_covered = match stage {
            Stage::Development | Stage::Support => Vec::new(),
            Stage::LimitedSupport | Stage::EndOfSupport => said.iter().flat_map(|c| &c.not_covered).cloned().collect(),
        };
        let components = said.iter().flat_map(|c| &c.components);
        let ended_components = components.filter(|c| c.end_of_support <= day).cloned().collect();
        Standing { stage, dates, not_covered, ended_components }
    }

    /// The document as it was on a day, in UTC; none before its first word.
    pub fn as_of(&self, day: Date) -> Option<Self> {
        let said = self.changes.iter().take_while(|change| crate::clock::day_of(change.at) <= day);
        let changes: Vec<_> = said.cloned().collect();
        (!changes.is_empty()).then(|| Self { changes, ..self.clone() })
    }
}
