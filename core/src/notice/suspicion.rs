//! What a hospital reports to the manufacturer.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::indicator::Indicator;
use super::{Severity, said};
use crate::id::{DeviceId, ProductId};
use crate::limits::{MAX_INDICATORS, MAX_NOTICE_TEXT_BYTES, MAX_SUSPECT_DEVICES};
use crate::version::Release;

/// How sure the hospital is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SuspicionKind {
    /// Something looks wrong.
    Suspicion,
    /// Something has happened.
    Incident,
}

impl SuspicionKind {
    /// The name in documents and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspicion => "suspicion",
            Self::Incident => "incident",
        }
    }
}

impl fmt::Display for SuspicionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A report. What it names of devices the hospital itself tells the manufacturer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspicion {
    /// How sure the hospital is.
    pub kind: SuspicionKind,
    /// The product.
    pub product: ProductId,
    /// The release that the devices run, where it is known.
    pub release: Option<Release>,
    /// Devices that it is about.
    pub devices: Vec<DeviceId>,
    /// How bad it is, as the hospital judges it.
    pub severity: Severity,
    /// What was seen.
    pub text: String,
    /// What others may look for.
    pub indicators: Vec<Indicator>,
    /// The number of an earlier report that this one takes the place of.
    pub updates: Option<u64>,
    /// Whether there was nothing to it.
    pub withdrawn: bool,
}

impl Suspicion {
    /// The first rule that does not hold.
    pub(super) fn broken_rule(&self, number: u64) -> Option<&'static str> {
        let devices: BTreeSet<&DeviceId> = self.devices.iter().collect();
        let rules = [
            (said(&self.text, MAX_NOTICE_TEXT_BYTES), "the report does not say what was seen, or at too great length"),
            (self.devices.len() <= MAX_SUSPECT_DEVICES, "the report names too many devices"),
            (devices.len() == self.devices.len(), "the report names a device twice"),
            (self.indicators.len() <= MAX_INDICATORS, "the report holds too many indicators"),
            (self.indicators.iter().all(Indicator::is_sound), "an indicator is not what it says"),
            (self.updates.is_none_or(|n| 0 < n && n < number), "the report updates one that is not before it"),
            (!self.withdrawn || self.updates.is_some(), "a report that withdraws must name the one that it withdraws"),
        ];
        crate::approval::first_broken(&rules)
    }
}
