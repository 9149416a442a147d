//! What the manufacturer's catalog says of a bundle, beside its manifest's length and digest.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Target;
use crate::id::{HardwareId, ProductId};
use crate::limits::MAX_TEXT_BYTES;
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

    /// The same, with why its status is what it is: signed like everything else, for people. None where that is too long.
    pub fn to_custom_because(&self, reason: &str) -> Option<Value> {
        let mut custom = self.to_custom();
        let fits = !reason.trim().is_empty() && reason.len() <= MAX_TEXT_BYTES;
        custom.as_object_mut().filter(|_| fits)?.insert(REASON.to_owned(), reason.into());
        Some(custom)
    }
}

/// Where a target's `custom` says why its status is what it is.
const REASON: &str = "status_reason";

/// Why a bundle's status is what it is, in the manufacturer's signed words; none where it says nothing, or too much.
pub fn status_reason(target: &Target) -> Option<&str> {
    target.custom.as_ref()?.get(REASON)?.as_str().filter(|text| text.len() <= MAX_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_status_is_bounded_and_read_beside_the_entry() {
        let entry = CatalogEntry {
            product: "pump".parse().unwrap(),
            release: Release(2),
            version: "2.0.0".parse().unwrap(),
            hardware: vec!["rev-a".parse().unwrap()],
            min_release: Release(0),
            status: Status::Withdrawn,
            floor: Release(0),
        };
        let target = |custom| Target::of(b"manifest", custom);
        let with = target(entry.to_custom_because("the alarm is too quiet"));
        assert_eq!(status_reason(&with), Some("the alarm is too quiet"));
        assert_eq!(CatalogEntry::of(&with), Some(entry.clone()), "who knows no reasons reads the same");
        assert_eq!(status_reason(&target(Some(entry.to_custom()))), None);
        for bad in ["", " ", &"x".repeat(MAX_TEXT_BYTES + 1)] {
            assert_eq!(entry.to_custom_because(bad), None);
        }
        let long = serde_json::json!({ REASON: "x".repeat(MAX_TEXT_BYTES + 1) });
        assert_eq!(status_reason(&target(Some(long))), None);
    }
}
