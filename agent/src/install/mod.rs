//! The only part that touches the device's software: the installer, by one contract ([`Contract`]).
//!
//! Which one it is the configuration says: two directories ([`Slots`]), two partitions and a boot loader ([`Image`]), or a
//! program of the device's maker ([`Program`], written by [`crate::guide`]). Of the first:
//!
//! ```text
//! <slots_dir>/current -> a
//! <slots_dir>/a/<payload>             a directory (format tree) or a file (format image)
//! <slots_dir>/a/.suture/              what the slot holds: manifest.json, <payload>.index
//! <slots_dir>/b.new/                  a slot being written; renamed to `b` when it is whole and on disk
//! <slots_dir>/trial-b-1-of-3 -> ./a   slot b is not confirmed yet; see [`Trial`]
//! ```
//!
//! Each operation can be repeated with the effect of once. The slot in use is never written; `current` is replaced by a
//! rename, so it names a whole slot at every instant.

mod asked;
mod command;
mod contract;
mod error;
mod image;
mod rauc;
mod regular;
mod slots;
#[cfg(test)]
pub(crate) mod suite;
mod sum;
mod tree;
mod trial;
mod version;
mod view;
mod within;

use std::path::PathBuf;

use suture_core::manifest::Payload;

pub use asked::BOOT_ID;
pub(crate) use asked::boot_id;
pub use command::Program;
pub use contract::{Contract, Installer, Limits, Proof};
pub use error::InstallError;
pub use image::{Copy, Entries, Environment, Image, ImageSettings, Loader, Place, nobody_blesses};
pub use rauc::Rauc;
pub use slots::{Side, Slots, TRIAL_STARTS};
pub use tree::{TreeError, pack, unpack};
pub use trial::{Start, Trial};
pub use version::Version;
pub use view::View;
pub use within::Within;

/// The payloads of a bundle, each with a file that holds exactly its bytes, and its chunk index.
pub type Payloads = Vec<(Payload, PathBuf, Vec<u8>)>;

#[cfg(test)]
pub(crate) use slots::tests::bundle;
