//! The answer to a letter.

use serde::{Deserialize, Serialize};

use super::said;
use crate::digest::Digest;
use crate::limits::MAX_TEXT_BYTES;

/// That somebody has read a letter of the other side, and what they say to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// The letter's number in the other side's series.
    pub number: u64,
    /// SHA-256 of the letter.
    pub sha256: Digest,
    /// What is done about it.
    pub text: String,
}

impl Acknowledgement {
    /// The first rule that does not hold.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        let rules = [
            (self.number > 0, "it acknowledges letter 0, and letters count from 1"),
            (said(&self.text, MAX_TEXT_BYTES), "the acknowledgement does not say what is done, or at too great length"),
        ];
        crate::approval::first_broken(&rules)
    }
}
