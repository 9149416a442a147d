//! What a vulnerability does to a thing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a vulnerability does to a thing: the four that the minimum requirements for VEX (CISA, April 2023) name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing; a justification says why.
    NotAffected,
    /// Nothing any more.
    Fixed,
    /// That is not known yet.
    UnderInvestigation,
    /// It can be used against it.
    Affected,
}

impl Status {
    /// All, the best first.
    pub const ALL: [Self; 4] = [Self::NotAffected, Self::Fixed, Self::UnderInvestigation, Self::Affected];

    /// The name that `OpenVEX` has for it, in documents and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAffected => "not_affected",
            Self::Fixed => "fixed",
            Self::UnderInvestigation => "under_investigation",
            Self::Affected => "affected",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
