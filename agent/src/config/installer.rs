//! `[installer]`: what installs on this device, and how long it may take.

use super::faults::Faults;
use super::written;
use crate::install::Limits;

/// What installs on this device.
#[derive(Debug, Clone)]
pub struct Installing {
    /// Which installer.
    pub way: Way,
    /// How long its steps may take.
    pub limits: Limits,
}

/// Which installer, with what is its own.
#[derive(Debug, Clone)]
pub enum Way {
    /// Two directories and a link.
    Slots,
}

impl Installing {
    pub(super) fn validate(faults: &mut Faults, i: written::Installer) -> Self {
        let Limits { prepare, step } = Limits::default();
        let prepare = faults.secs("installer.prepare_timeout_secs", i.prepare_timeout_secs, prepare.as_secs(), 86_400);
        let step = faults.secs("installer.step_timeout_secs", i.step_timeout_secs, step.as_secs(), 3_600);
        let way = match i.kind.as_deref() {
            None | Some("slots") => Way::Slots,
            Some(other) => {
                faults.add(format!("installer.kind is {other:?}; it must be slots"));
                Way::Slots
            }
        };
        Self { way, limits: Limits { prepare, step } }
    }
}
