//! Two places for each payload, block devices or files, of which the boot loader starts one half.
//!
//! ```text
//! /dev/disk/by-path/platform-fe340000.mmc-part2      payload `rootfs` of the version in slot a: its bytes, as they are
//! /dev/disk/by-path/platform-fe340000.mmc-part3      of the version in slot b
//! <slots_dir>/a/.suture/                             what slot a holds: manifest.json, <payload>.index
//! <slots_dir>/b/.suture/
//! ```
//!
//! Which slot runs stands on the kernel's command line, where the boot loader has put it (`suture.slot=a`). The other one is
//! written: first its manifest is removed, then the bytes are written, synced and read again from the medium; then the
//! manifest comes. A device that is mounted is not written, whatever the command line says, and none by a name that a second
//! device bears too.

mod entries;
mod environment;
mod links;
mod loader;
mod medium;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use suture_core::digest::Digest;
use suture_core::id::PayloadName;
use suture_core::limits::MAX_MANIFEST_BYTES;
use suture_core::manifest::{InstallKind, Manifest};

pub use self::entries::{Entries, nobody_blesses};
pub use self::environment::{Copy, Environment};
use self::links::Links;
pub use self::loader::Loader;
pub(super) use self::medium::read as read_medium;
use super::asked::{Asked, LATE};
use super::error::io_error;
use super::slots::ABOUT;
use super::version::Bytes;
use super::{Contract, InstallError, Payloads, Proof, Side, Version, Within};
use crate::config::Command;
use crate::durable;

/// The kernel's command line is shorter: 64 KiB.
const MAX_BOOTED_BYTES: u64 = 64 << 10;
/// How often it is looked whether the device has started again, where that does not end the agent.
const LOOK: Duration = Duration::from_millis(100);

/// What the configuration says of it.
#[derive(Debug, Clone)]
pub struct ImageSettings {
    /// Where each payload goes.
    pub places: Vec<Place>,
    /// How the boot loader is told.
    pub loader: Loader,
    /// A file with the word `suture.slot=a` or `suture.slot=b`.
    pub booted: PathBuf,
    /// The part of the word before `=`.
    pub argument: String,
}

/// Where a payload goes.
#[derive(Debug, Clone)]
pub struct Place {
    /// Which.
    pub payload: PayloadName,
    /// In slot a.
    pub a: PathBuf,
    /// In slot b.
    pub b: PathBuf,
}

/// The installer.
#[derive(Debug, Clone)]
pub struct Image {
    /// Where what the slots hold is kept.
    dir: PathBuf,
    settings: ImageSettings,
    links: Links,
    asked: Asked,
}

impl Place {
    fn of(&self, side: Side) -> &Path {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }
}

impl Image {
    /// The one that is configured so; and a file with the kernel's boot id, [`BOOT_ID`](super::BOOT_ID) or a copy.
    pub fn new(slots_dir: &Path, settings: ImageSettings, boot_id: &Path) -> Self {
        let asked = Asked::new(slots_dir, boot_id);
        Self { dir: slots_dir.to_owned(), settings, links: Links::default(), asked }
    }

    /// The slot that was started.
    fn booted(&self) -> Result<Side, InstallError> {
        let ImageSettings { booted, argument, .. } = &self.settings;
        let text = durable::read(booted, MAX_BOOTED_BYTES)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut words = text.split_ascii_whitespace().rev();
        let value = words.find_map(|word| word.strip_prefix(argument.as_str())?.strip_prefix('='));
        value.and_then(Side::named).ok_or_else(|| {
            InstallError::Boot(format!(
                "{} does not say which slot runs: it has no word {argument}=a or {argument}=b; the boot loader is to put it there",
                booted.display()
            ))
        })
    }

    fn about(&self, side: Side) -> PathBuf {
        self.dir.join(side.as_str()).join(ABOUT)
    }

    fn version(&self, side: Side) -> Result<Option<Version>, InstallError> {
        let about = self.about(side);
        let Some(bytes) = durable::read(&about.join("manifest.json"), MAX_MANIFEST_BYTES)? else { return Ok(None) };
        let manifest =
            Manifest::parse(&bytes).map_err(|source| InstallError::Manifest { side: side.as_str(), source })?;
        let places = self.settings.places.iter().map(|p| (p.payload.clone(), p.of(side).to_owned())).collect();
        let digest = Digest::of(&bytes);
        Ok(Some(Version { side, manifest, digest, indexes: about, bytes: Bytes::Media(places) }))
    }

    /// The slot that the version with that manifest lies in.
    fn side_of(&self, manifest: &Digest) -> Result<Option<Side>, InstallError> {
        for side in [Side::A, Side::B] {
            if self.version(side)?.is_some_and(|version| version.digest == *manifest) {
                return Ok(Some(side));
            }
        }
        Ok(None)
    }

    /// What the slot holds from now on, once the bytes are there.
    fn record(&self, side: Side, manifest: &[u8], payloads: &Payloads) -> Result<(), InstallError> {
        let about = self.about(side);
        durable::make_dirs(&about, durable::OPEN_DIR)?;
        for (payload, _, index) in payloads {
            durable::write(&about.join(format!("{}.index", payload.name)), index, durable::OPEN)?;
        }
        Ok(durable::write(&about.join("manifest.json"), manifest, durable::OPEN)?)
    }

    /// Why this version is not the one that runs, where it is not.
    fn proven(&self, new: &Digest) -> Result<Side, InstallError> {
        let booted = self.booted()?;
        if self.version(booted)?.is_some_and(|version| version.digest == *new) {
            return Ok(booted);
        }
        // It says so itself where the boot loader has gone back.
        self.has_started()?;
        Err(InstallError::Unproven(format!("slot {} runs, which does not hold the new version", booted.as_str())))
    }
}

impl Contract for Image {
    fn kind(&self) -> InstallKind {
        InstallKind::Image
    }

    fn room(&self) -> Option<&Path> {
        None
    }

    fn refusal(&self, manifest: &Manifest) -> Option<String> {
        for payload in &manifest.payloads {
            let Some(place) = self.settings.places.iter().find(|place| place.payload == payload.name) else {
                return Some(format!("this device has no place for payload {}", payload.name));
            };
            for side in [Side::A, Side::B] {
                let most = medium::capacity(place.of(side)).ok().flatten();
                if let Some(most) = most.filter(|most| *most < payload.length) {
                    let (at, length) = (place.of(side).display(), payload.length);
                    return Some(format!("payload {} has {length} bytes, and {at} holds {most}", payload.name));
                }
            }
        }
        None
    }

    fn running(&self, _: &Within) -> Result<Option<Version>, InstallError> {
        self.version(self.booted()?)
    }

    fn prepared(&self, _: &Within) -> Result<Option<Version>, InstallError> {
        self.version(self.booted()?.other())
    }

    fn is_switched(&self, to: &Digest, _: &Within) -> Result<bool, InstallError> {
        let next = self.settings.loader.order()?.first;
        match self.version(next)? {
            Some(version) => Ok(version.digest == *to),
            None if self.side_of(to)? == Some(next.other()) => Ok(false),
            // It may be what starts next, of which nothing is known any more.
            None => Err(InstallError::Unknown),
        }
    }

    fn prepare(&self, manifest: &[u8], payloads: &Payloads, within: &Within) -> Result<(), InstallError> {
        let side = self.booted()?.other();
        let mut writes = Vec::new();
        for (payload, from, _) in payloads {
            let place = self.settings.places.iter().find(|place| place.payload == payload.name);
            let place = place.ok_or_else(|| InstallError::WrongBytes { payload: payload.name.to_string() })?;
            // The one in use is not written: not by another name either.
            let used = |other: &Place| medium::is_same(place.of(side), other.of(side.other()));
            if self.settings.places.iter().any(used) {
                return Err(InstallError::InUse { side: side.other().as_str() });
            }
            // Before anything is written, and before the slot loses what it holds.
            medium::look_for(place.of(side))?;
            writes.push((payload, from, place.of(side)));
        }
        self.links.look(&self.settings.places)?;
        // A slot that is being written is not one to fall back to, and holds no version.
        self.settings.loader.keep(side.other())?;
        durable::remove(&self.about(side).join("manifest.json"))?;
        for (payload, from, to) in &writes {
            medium::write(payload, from, to, within)?;
        }
        self.record(side, manifest, payloads)?;
        let written = self.version(side)?.ok_or(InstallError::NotPrepared)?;
        self.verify(&written, &mut |_| Ok(()), within).map_err(InstallError::unkept).inspect_err(|_| {
            if let Err(e) = durable::remove(&self.about(side).join("manifest.json")) {
                tracing::warn!(error = %e, "a slot that was written in vain still says that it holds a version");
            }
        })
    }

    fn switch(&self, to: &Digest, _: &Within) -> Result<(), InstallError> {
        let side = self.side_of(to)?.ok_or(InstallError::NotPrepared)?;
        if self.settings.loader.order()?.first == side {
            return Ok(());
        }
        self.settings.loader.attempt(side)
    }

    fn restart(&self, command: &Command, within: &Within) -> Result<(), InstallError> {
        // Done before the device went down, or by itself.
        if self.has_started()? {
            return Ok(());
        }
        self.asked.ask(command, within)?;
        #[expect(clippy::disallowed_methods, reason = "the device goes down meanwhile, and the agent with it")]
        while !self.has_started()? {
            if within.is_ending() {
                return Err(InstallError::Left("restart"));
            }
            if within.left().is_zero() {
                return Err(InstallError::Restart(LATE.to_owned()));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn owe_restart(&self) {
        self.asked.owe();
    }

    fn started(&self, _: &Within) -> Result<Option<Digest>, InstallError> {
        if self.asked.is_awaited() {
            return Ok(None);
        }
        Ok(self.version(self.booted()?)?.map(|version| version.digest))
    }

    fn probe(&self, new: &Digest, _: &Within) -> Result<Proof, InstallError> {
        self.proven(new).map(|_| Proof::Asked)
    }

    fn commit(&self, new: &Digest, _: &Within) -> Result<(), InstallError> {
        self.settings.loader.keep(self.proven(new)?)
    }

    fn revert(&self, new: &Digest, _: &Within) -> Result<(), InstallError> {
        let first = self.settings.loader.order()?.first;
        match self.version(first) {
            Ok(Some(starts)) if starts.digest != *new => Ok(()),
            Ok(Some(_)) => self.settings.loader.keep(first.other()),
            // Accident: the slot that starts does not say what it holds. It is not the old version where the other one is.
            unsaid => match self.version(first.other())? {
                Some(old) if old.digest != *new => self.settings.loader.keep(first.other()),
                _ => Err(unsaid.err().unwrap_or(InstallError::Empty { side: first.as_str() })),
            },
        }
    }

    fn settle(&self, _: &Within) -> Result<(), InstallError> {
        self.settings.loader.keep(self.booted()?)
    }

    /// The factory has written the slot that runs; here it is compared with what is signed, and what it holds is kept.
    fn provision(&self, manifest: &[u8], payloads: &Payloads, within: &Within) -> Result<(), InstallError> {
        let side = self.booted()?;
        self.record(side, manifest, payloads)?;
        let version = self.version(side)?.ok_or(InstallError::NotPrepared)?;
        self.verify(&version, &mut |_| Ok(()), within).inspect_err(|_| {
            if let Err(e) = durable::remove(&self.about(side).join("manifest.json")) {
                tracing::warn!(error = %e, "the slot still says that it holds the version");
            }
        })?;
        self.settings.loader.keep(side)
    }

    fn examine(&self, _: &Within) -> Result<String, String> {
        let look = || -> Result<String, InstallError> {
            let (booted, order) = (self.booted()?, self.settings.loader.order()?);
            for place in &self.settings.places {
                for side in [Side::A, Side::B] {
                    let path = place.of(side);
                    medium::look_for(path)?;
                    if side == booted || path.exists() {
                        fs::metadata(path).map_err(io_error("look at", path))?;
                    }
                }
                if medium::is_same(&place.a, &place.b) {
                    return Err(InstallError::InUse { side: booted.as_str() });
                }
            }
            self.links.look(&self.settings.places)?;
            let left = order.left.map_or_else(|| "always".to_owned(), |left| format!("{left} times more"));
            Ok(format!(
                "image: slot {} runs, the boot loader starts slot {} {left}{}",
                booted.as_str(),
                order.first.as_str(),
                self.asked.examined()
            ))
        };
        look().map_err(|e| crate::agent::chain(&e))
    }
}

impl Image {
    /// Whether the slot that the boot loader prefers runs, and stays up. An error where it has given that up.
    fn has_started(&self) -> Result<bool, InstallError> {
        let (booted, order) = (self.booted()?, self.settings.loader.order()?);
        if booted == order.first {
            return Ok(!self.asked.is_awaited());
        }
        if order.left == Some(0) {
            let text = format!(
                "the boot loader has started slot {} as often as it may and gone back to slot {}, which runs",
                order.first.as_str(),
                booted.as_str()
            );
            return Err(InstallError::WentBack(text));
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests;
