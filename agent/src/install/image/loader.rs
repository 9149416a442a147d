//! What the agent tells the boot loader, and how it hears what became of it.
//!
//! A slot that was switched to is started a few times; each time the boot loader counts down before it starts it. What has
//! proven its health is started always. Where no try is left the boot loader starts the other slot by itself: the agent is not
//! needed for the way back.

use super::entries::Entries;
use super::environment::Environment;
use crate::install::{InstallError, Side};

/// How often a new version is started before it has proven its health.
pub(super) const TRIES: u32 = 3;

/// What a boot loader is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    /// The slot that it prefers, whether or not a try is left.
    pub(super) first: Side,
    /// How many tries that has; none where it is started always.
    pub(super) left: Option<u32>,
}

/// A boot loader, by the way that it is told.
#[derive(Debug, Clone)]
pub enum Loader {
    /// U-Boot, by variables of its environment. Its boot script starts the first slot of `BOOT_ORDER` of which `BOOT_x_LEFT` is
    /// not 0, after it has counted that down and saved it: `deploy/boot.cmd`, which starts the last slot always and writes
    /// nothing for it, or RAUC's, which gives all slots new tries where none is left.
    UBoot(Environment),
    /// systemd-boot, by the names of its entries.
    SystemdBoot(Entries),
}

impl Loader {
    /// What it is going to do.
    pub(super) fn order(&self) -> Result<Order, InstallError> {
        match self {
            Self::UBoot(environment) => {
                let [order, a, b] = environment.get(["BOOT_ORDER", left_of(Side::A), left_of(Side::B)])?;
                let order = order.unwrap_or_default();
                let first = order.split_ascii_whitespace().next().and_then(Side::named);
                let first = first.ok_or_else(|| {
                    InstallError::Boot(format!(
                        "BOOT_ORDER in the boot loader's environment is {order:?}; it is to name A or B first"
                    ))
                })?;
                let left = match first {
                    Side::A => a,
                    Side::B => b,
                };
                // U-Boot's `setexpr` counts in hexadecimal. The script begins anew with one that is not there.
                let left = left.map_or(TRIES, |left| u32::from_str_radix(left.trim(), 16).unwrap_or(0));
                let others = order.split_ascii_whitespace().nth(1).is_some();
                Ok(Order { first, left: others.then_some(left) })
            }
            Self::SystemdBoot(entries) => entries.order(),
        }
    }

    /// Starts this slot next, a few times; then the other one, which is started always.
    pub(super) fn attempt(&self, side: Side) -> Result<(), InstallError> {
        match self {
            Self::UBoot(environment) => {
                let tries = |side| (left_of(side), TRIES.to_string());
                let order = format!("{} {}", upper(side), upper(side.other()));
                environment.set(&[("BOOT_ORDER", order), tries(side), tries(side.other())])
            }
            Self::SystemdBoot(entries) => entries.attempt(side),
        }
    }

    /// Starts this slot and no other, always.
    ///
    /// Attack, or mistake: a device that is switched on and off a few times. Should the old slot stay a way back past the proof
    /// of the new one, the boot loader would end in it: a downgrade that nobody has signed.
    pub(super) fn keep(&self, side: Side) -> Result<(), InstallError> {
        match self {
            Self::UBoot(environment) => {
                environment.set(&[("BOOT_ORDER", upper(side).to_owned()), (left_of(side), TRIES.to_string())])
            }
            Self::SystemdBoot(entries) => entries.keep(side),
        }
    }
}

const fn upper(side: Side) -> &'static str {
    match side {
        Side::A => "A",
        Side::B => "B",
    }
}

const fn left_of(side: Side) -> &'static str {
    match side {
        Side::A => "BOOT_A_LEFT",
        Side::B => "BOOT_B_LEFT",
    }
}
