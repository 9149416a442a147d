//! By whose certificate a word came, by the server's word.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::utc_or_none;

/// Of one word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The word's path in the folder.
    pub path: String,
    /// By whose certificate it came.
    pub by: String,
    /// When.
    #[serde(with = "utc_or_none")]
    pub at: Option<Timestamp>,
}
