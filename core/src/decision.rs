//! A hospital's word that it does not install a bundle, or not yet: a risk that it accepts, for so long, behind something
//! else that protects the devices.
//!
//! It is a record and no authority: what installs nothing is that nobody approves. Whoever holds a key signs it with that all
//! the same ([`VerifiedDecision`]), so that the record is theirs and not the server's.

mod stated;

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

pub use self::stated::{Stated, VerifiedDecision};

use crate::clock::{day, day_of};
use crate::digest::Digest;
use crate::id::ProductId;
use crate::limits::{MAX_REVIEW_DAYS, MAX_TEXT_BYTES};
use crate::version::Release;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// It is not installed.
    Declined,
    /// It is not installed yet.
    Deferred,
}

impl Choice {
    /// The name in the store, on the wire and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Declined => "declined",
            Self::Deferred => "deferred",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Choice {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Declined, Self::Deferred]
            .into_iter()
            .find(|c| c.as_str() == text)
            .ok_or("a bundle is `declined` or `deferred`")
    }
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The product.
    pub product: ProductId,
    /// The release.
    pub release: Release,
    /// The plan that it is about; none where it is about the bundle as such.
    pub plan_sha256: Option<Digest>,
    /// What was decided.
    pub choice: Choice,
    /// Why.
    pub reason: String,
    /// What protects the devices meanwhile.
    pub compensating: String,
    /// When it is looked at again.
    #[serde(with = "day")]
    pub review: Date,
}

/// Why a decision is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// A text is missing or too long.
    #[error("{field}: a sentence of 1 to {MAX_TEXT_BYTES} bytes is needed, for the record")]
    Text {
        /// Which.
        field: &'static str,
    },
    /// The review is in the past, or so far ahead that nobody will be there.
    #[error("the review on {review} is not between today and {MAX_REVIEW_DAYS} days ahead")]
    Review {
        /// When it would be.
        review: Date,
    },
}

impl Decision {
    /// Validates, as of now.
    ///
    /// # Errors
    ///
    /// It says not why, not what protects the devices meanwhile, or not when it is looked at again.
    pub fn check(&self, now: Timestamp) -> Result<(), DecisionError> {
        for (field, text) in [("reason", &self.reason), ("compensating", &self.compensating)] {
            if text.trim().is_empty() || text.len() > MAX_TEXT_BYTES {
                return Err(DecisionError::Text { field });
            }
        }
        let first = day_of(now);
        let last = first.checked_add(MAX_REVIEW_DAYS.days()).unwrap_or(Date::MAX);
        if (first..=last).contains(&self.review) { Ok(()) } else { Err(DecisionError::Review { review: self.review }) }
    }

    /// By how many days its review is overdue; none where it is not. A day counts until its end, in UTC.
    pub fn overdue_days(&self, now: Timestamp) -> Option<i64> {
        let late = self.review.until(day_of(now)).map_or(0, |span| i64::from(span.get_days()));
        (late > 0).then_some(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deferred(review: &str) -> Decision {
        Decision {
            product: "pump".parse().unwrap(),
            release: Release(2),
            plan_sha256: None,
            choice: Choice::Deferred,
            reason: "the ward is rebuilt".to_owned(),
            compensating: "the pumps are on a network of their own".to_owned(),
            review: review.parse().unwrap(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_decision_says_why_what_protects_meanwhile_and_until_when() {
        let now = at("2026-11-24T23:00:00Z");
        for review in ["2026-11-24", "2027-01-15", "2028-11-23"] {
            deferred(review).check(now).unwrap();
        }
        for review in ["2026-11-23", "2028-11-24"] {
            assert!(matches!(deferred(review).check(now), Err(DecisionError::Review { .. })), "{review}");
        }
        type Bend = fn(&mut Decision);
        let bends: [(Bend, &str); 3] = [
            (|d| d.reason = " ".to_owned(), "reason"),
            (|d| d.compensating.clear(), "compensating"),
            (|d| d.reason = "x".repeat(MAX_TEXT_BYTES + 1), "reason"),
        ];
        for (bend, field) in bends {
            let mut decision = deferred("2027-01-15");
            bend(&mut decision);
            assert_eq!(decision.check(now), Err(DecisionError::Text { field }));
        }
    }

    #[test]
    fn a_review_is_overdue_from_the_day_after() {
        let decision = deferred("2027-01-15");
        for (now, days) in [
            ("2027-01-15T23:59:59Z", None),
            ("2027-01-16T00:00:00Z", Some(1)),
            ("2027-03-16T12:00:00Z", Some(60)),
            ("2026-11-24T00:00:00Z", None),
        ] {
            assert_eq!(decision.overdue_days(at(now)), days, "{now}");
        }
    }

    #[test]
    fn a_choice_has_one_name() {
        for choice in [Choice::Declined, Choice::Deferred] {
            assert_eq!(choice.as_str().parse(), Ok(choice));
        }
        assert!("delayed".parse::<Choice>().is_err());
    }
}
