//! What a notice of an end of life or of support must say: IMDRF N70's list.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{said, within};
use crate::clock::day;
use crate::limits::{MAX_NOTICE_ITEMS, MAX_NOTICE_TEXT_BYTES, MAX_TEXT_BYTES};

/// How the support of a product, or of what it is built on, changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupportChange {
    /// When the service changes.
    #[serde(with = "day")]
    pub service_change: Date,
    /// The operating system that the device runs.
    #[serde(default)]
    pub operating_system: String,
    /// Components that it is about, with the end of their own support.
    #[serde(default)]
    pub components: Vec<Component>,
    /// What maintenance remains, and until when.
    #[serde(default)]
    pub maintenance: String,
    /// What the hospital can move to.
    #[serde(default)]
    pub upgrades: Vec<Upgrade>,
}

/// A third party's component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When its own maker ends its support.
    #[serde(with = "day")]
    pub support_ends: Date,
}

/// A way out of what is no longer supported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// How much of the device changes.
    pub scope: UpgradeScope,
    /// What it is.
    pub text: String,
}

/// IMDRF N70's three, and that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradeScope {
    /// The software alone.
    SoftwareOnly,
    /// A part of the device.
    Partial,
    /// The whole device.
    FullReplacement,
    /// Nothing takes its place.
    None,
}

impl UpgradeScope {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SoftwareOnly => "software only",
            Self::Partial => "partial",
            Self::FullReplacement => "full replacement",
            Self::None => "none",
        }
    }
}

impl SupportChange {
    /// What IMDRF N70 asks for and is not there. A component's end of support names the component; the device's own names
    /// the rest.
    pub(super) fn missing(&self, of_a_component: bool) -> Vec<&'static str> {
        let wanted = [
            (
                of_a_component,
                !self.components.is_empty(),
                "support.components: which component, and until when it is supported",
            ),
            (
                !of_a_component,
                said(&self.operating_system, MAX_TEXT_BYTES),
                "support.operating_system: what the device runs on",
            ),
            (true, said(&self.maintenance, MAX_NOTICE_TEXT_BYTES), "support.maintenance: what maintenance remains"),
            (
                !of_a_component,
                !self.upgrades.is_empty(),
                "support.upgrades: software only, partial, full replacement, or none",
            ),
        ];
        wanted.into_iter().filter(|(asked, there, _)| *asked && !there).map(|(_, _, what)| what).collect()
    }

    /// The first rule that does not hold.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        let component = |c: &Component| said(&c.name, MAX_TEXT_BYTES) && said(&c.version, MAX_TEXT_BYTES);
        let rules = [
            (self.components.len() <= MAX_NOTICE_ITEMS, "it names too many components"),
            (self.components.iter().all(component), "a component has no name or version, or too long a one"),
            (self.upgrades.len() <= MAX_NOTICE_ITEMS, "it names too many ways of upgrade"),
            (
                self.upgrades.iter().all(|u| said(&u.text, MAX_TEXT_BYTES)),
                "a way of upgrade has no text, or too long a one",
            ),
            (within(&self.operating_system, MAX_TEXT_BYTES), "the operating system's name is too long"),
            (within(&self.maintenance, MAX_NOTICE_TEXT_BYTES), "what maintenance remains is said at too great length"),
        ];
        crate::approval::first_broken(&rules)
    }
}
