//! Orders to begin nothing more by an approval, and their lifting.

use serde::{Deserialize, Serialize};

use super::document::{SignedDocument, first_broken};
use crate::id::ApprovalId;
use crate::limits::MAX_STOP_BYTES;

/// An order that nothing more is begun by an approval, or its lifting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopOrder {
    /// Always `suture-stop`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The approval.
    pub approval: ApprovalId,
    /// Counts up over the stops and lifts of one approval; the highest is in force.
    pub counter: u64,
    /// Stopped, or lifted again.
    pub stopped: bool,
}

impl SignedDocument for StopOrder {
    const TYPE: &'static str = "suture-stop";
    const MAX_BYTES: u64 = MAX_STOP_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        first_broken(&[(self.counter > 0, "counter is 0; the first is 1")])
    }
}
