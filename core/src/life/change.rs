//! One word of the manufacturer on a product's life.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Dates;
use crate::clock::{day, utc};
use crate::id::OperatorName;
use crate::version::ReleaseRange;

/// A change: from then on these dates hold for the scope, instead of those before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// When it was made, by its maker's clock.
    #[serde(with = "utc")]
    pub at: Timestamp,
    /// By whom.
    pub by: OperatorName,
    /// Why.
    pub why: String,
    /// Of which releases; none: of the product as such, and so of every release that has no dates of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub releases: Option<ReleaseRange>,
    /// The dates.
    pub dates: Dates,
    /// Why an end is announced less than two years ahead, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_notice: Option<String>,
    /// Why a date is earlier than it was, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<String>,
    /// Components of others whose support ends by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<ComponentEnd>,
    /// What is no longer covered once support is limited, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_covered: Vec<String>,
}

/// A component whose own support ends (FDA premarket guidance V.A.4: end of support for each component; N70: such an end calls
/// for a risk assessment and may change the stage).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentEnd {
    /// Which: a name or a package URL.
    pub component: String,
    /// The first day without support.
    #[serde(with = "day")]
    pub end_of_support: Date,
}
