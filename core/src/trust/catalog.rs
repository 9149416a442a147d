//! What the manufacturer's catalog says of a bundle, beside its manifest's length and digest.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Target;
use crate::id::{HardwareId, ProductId};
use crate::version::{Release, Version};

/// The `custom` part of a catalog target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogEntry {
    /// The product.
    pub product: ProductId,
    /// The bundle's place in the product's order.
    pub release: Release,
    /// Its version, for people.
    pub version: Version,
    /// Hardware revisions that it runs on.
    pub hardware: Vec<HardwareId>,
    /// The least release that an update to it may start from.
    pub min_release: Release,
    /// Whether it may be installed.
    pub status: Status,
    /// The security floor: nothing below this release is installed any more, by whatever permit.
    pub floor: Release,
}

/// Whether a bundle may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It may.
    Current,
    /// It may; there is a better one.
    Superseded,
    /// It must not.
    Withdrawn,
}

impl Status {
    /// The name in JSON and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Superseded => "superseded",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl CatalogEntry {
    /// Reads a target's `custom`; `None` where it is missing or of another shape, and then nothing is installed by it.
    pub fn of(target: &Target) -> Option<Self> {
        let custom = target.custom.as_ref().filter(|c| c.is_object())?;
        Self::deserialize(custom).ok()
    }

    /// Writes a target's `custom`.
    pub fn to_custom(&self) -> Value {
        serde_json::json!(self)
    }
}
