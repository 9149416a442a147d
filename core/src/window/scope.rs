//! What a calendar binds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{DeviceId, WardId};

/// The devices that a calendar binds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All of the hospital.
    Hospital,
    /// Those of a ward.
    Ward(WardId),
    /// One.
    Device(DeviceId),
}

impl Scope {
    /// Whether a calendar with it binds a device that stands in `ward`.
    pub fn binds(&self, device: &DeviceId, ward: &WardId) -> bool {
        match self {
            Self::Hospital => true,
            Self::Ward(own) => own == ward,
            Self::Device(own) => own == device,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hospital => f.write_str("the hospital"),
            Self::Ward(ward) => write!(f, "ward {ward}"),
            Self::Device(device) => write!(f, "device {device}"),
        }
    }
}
