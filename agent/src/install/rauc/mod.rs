//! RAUC as the installer: the payload is a bundle of RAUC's own, which it writes into its own slots.
//!
//! ```text
//! <slots_dir>/b/<payload>             the bundle in RAUC's second group of slots; deltas are made from it
//! <slots_dir>/b/.suture/              what the group holds: manifest.json, <payload>.index
//! <slots_dir>/b/.suture/rauc.json     what RAUC says that it wrote there; if it says otherwise, somebody else has written
//! ```
//!
//! `a` is the first by name of the two slots with a `bootname` in RAUC's configuration, with the slots below it, and `b` the
//! other. Suture verifies the bundle by what both sides have signed, and RAUC verifies it besides by its own keyring.
//!
//! | step | what RAUC is told |
//! | --- | --- |
//! | prepare | `rauc info`, then `rauc install`: it writes the group that does not run |
//! | switch | `rauc status mark-active SLOT` |
//! | restart | nothing: the configuration's command starts the device anew, and it is waited until the slot runs |
//! | commit | `rauc status mark-good SLOT` |
//! | revert | `mark-active` of the old slot, `mark-bad` of the new one |
//!
//! RAUC's configuration must have `activate-installed=false` and the boot loader's own count of tries; its service must be
//! the only one that marks slots: a `rauc-mark-good.service` would confirm what has proven nothing. As the agent starts it
//! marks what runs as good, so that a confirmed version may be started for ever.

//!
//! The tests drive the real RAUC with bundles of its format `plain`, which it mounts by a loop device as root. `verity` needs the
//! device mapper, which machines that build software seldom have: the agent tells RAUC the same for either, and for `verity` it
//! is untested.

mod program;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use suture_core::digest::{Digest, Hasher};
use suture_core::manifest::InstallKind;

use self::program::{Content, Image, Layout, Part, Program};
use super::asked::{Asked, LATE};
use super::error::io_error;
use super::slots::ABOUT;
use super::{Contract, InstallError, Payloads, Proof, Side, Slots, Version, Within};
use crate::config::Command;
use crate::durable::{self, DurableError};

const MARK: &str = "rauc.json";
/// How often it is looked whether the device has been started anew.
const POLL: Duration = Duration::from_millis(200);
const BUFFER_BYTES: usize = 256 << 10;
/// The type of slots that hold what is in the bundle, byte by byte, for ever: nothing mounts them for writing.
const RAW: &str = "raw";

/// The device's RAUC.
#[derive(Debug, Clone)]
pub struct Rauc {
    /// Where bundles, and what is known of them, are kept.
    store: Slots,
    program: Program,
    asked: Asked,
}

impl Rauc {
    /// Bundles in `dir`, and RAUC, called by `command`, with its own configuration; and a file with the kernel's boot id,
    /// [`BOOT_ID`](super::BOOT_ID) or a copy.
    pub fn new(dir: &Path, command: Command, system_conf: &Path, boot_id: &Path) -> Self {
        let program = Program { command, system_conf: system_conf.to_owned() };
        Self { store: Slots::new(dir), program, asked: Asked::new(dir, boot_id) }
    }

    fn mark_path(&self, side: Side) -> PathBuf {
        self.store.path(side).join(ABOUT).join(MARK)
    }

    /// What a group holds, as far as RAUC and the agent agree.
    fn held(&self, layout: &Layout, side: Side) -> Result<Option<Version>, InstallError> {
        let mark = match durable::read_json::<BTreeMap<String, Option<Content>>>(&self.mark_path(side)) {
            // Whoever cannot read what was written knows nothing of it.
            Err(DurableError::Damaged { .. } | DurableError::TooLong { .. }) => None,
            mark => mark?,
        };
        if mark.is_some_and(|mark| mark == layout.contents(side)) { self.store.version(side) } else { Ok(None) }
    }

    fn holds(&self, layout: &Layout, side: Side, digest: &Digest) -> Result<bool, InstallError> {
        Ok(self.held(layout, side)?.is_some_and(|version| version.digest == *digest))
    }

    /// Makes a group the one that starts next. What RAUC says afterwards counts, not what its program ended with.
    fn activate(&self, layout: &Layout, side: Side, within: &Within) -> Result<(), InstallError> {
        if layout.primary == Some(side) {
            return Ok(());
        }
        self.program.mark("mark-active", layout.name(side), within)?;
        if self.program.layout(within)?.primary == Some(side) {
            return Ok(());
        }
        let text = format!("the boot loader does not name {} as what starts next", layout.name(side));
        Err(InstallError::Program { what: "rauc status mark-active".to_owned(), text })
    }

    /// What RAUC says of a bundle; refused where it is none that it would take on this device.
    fn images(&self, bundle: &Path, layout: &Layout, within: &Within) -> Result<BTreeMap<String, Image>, InstallError> {
        let info = match self.program.info(bundle, within) {
            Err(InstallError::Program { text, .. }) => {
                return Err(InstallError::Refused(format!("RAUC refuses it: {text}")));
            }
            info => info?,
        };
        if info.compatible != layout.compatible {
            let (made, here) = (&info.compatible, &layout.compatible);
            return Err(InstallError::Refused(format!(
                "RAUC's bundle is made for {made:?}, and this device is {here:?}"
            )));
        }
        Ok(info.images().map(|(class, image)| (class.clone(), image.clone())).collect())
    }

    /// Reads the medium again, where a slot holds the image as it was.
    fn read_back(
        &self,
        (part, sha256, size): (&Part, &str, u64),
        pass: &mut dyn FnMut(u64) -> io::Result<()>,
        within: &Within,
    ) -> Result<(), InstallError> {
        let path = &part.device;
        let file = File::open(path).map_err(io_error("open", path))?;
        // What is in memory of it is not what lies there.
        let advice = rustix::fs::Advice::DontNeed;
        rustix::fs::fadvise(&file, 0, None, advice).map_err(|e| io_error("read anew", path)(e.into()))?;
        let mut hasher = Hasher::default();
        let mut piece = vec![0; BUFFER_BYTES];
        let mut rest = file.take(size);
        loop {
            let n = rest.read(&mut piece).map_err(io_error("read", path))?;
            if n == 0 {
                break;
            }
            within.check().and_then(|()| pass(n as u64)).map_err(io_error("read", path))?;
            hasher.update(piece.get(..n).unwrap_or_default());
        }
        if rest.limit() == 0 && hasher.finish().to_string() == sha256 {
            Ok(())
        } else {
            Err(InstallError::WrongBytes { payload: format!("in slot {}", part.name) })
        }
    }

    /// Writes down what a group holds.
    fn note(&self, layout: &Layout, side: Side) -> Result<(), InstallError> {
        Ok(durable::write_json(&self.mark_path(side), &layout.contents(side), durable::OPEN)?)
    }

    fn bundle(payloads: &Payloads) -> Result<&Path, InstallError> {
        match payloads.as_slice() {
            [(_, bundle, _)] => Ok(bundle),
            _ => Err(InstallError::Refused("the bundle for RAUC has not one payload".to_owned())),
        }
    }
}

impl Contract for Rauc {
    fn kind(&self) -> InstallKind {
        InstallKind::Rauc
    }

    /// The bundle is kept beside what RAUC writes into its slots.
    fn room(&self) -> Option<&Path> {
        Some(self.store.dir())
    }

    fn running(&self, within: &Within) -> Result<Option<Version>, InstallError> {
        let layout = self.program.layout(within)?;
        let running = self.held(&layout, layout.booted)?;
        let known = |side| durable::read(&self.mark_path(side), durable::MAX_STATE_BYTES).map(|mark| mark.is_some());
        if running.is_none() && (known(Side::A)? || known(Side::B)?) {
            return Err(InstallError::Unknown);
        }
        Ok(running)
    }

    fn prepared(&self, within: &Within) -> Result<Option<Version>, InstallError> {
        let layout = self.program.layout(within)?;
        self.held(&layout, layout.booted.other())
    }

    /// RAUC names the first slot with a try left.
    fn forgets_a_switch(&self) -> bool {
        true
    }

    fn is_switched(&self, to: &Digest, within: &Within) -> Result<bool, InstallError> {
        let layout = self.program.layout(within)?;
        match layout.primary {
            // That it is another is known where it is known what it holds, or that the version lies in the other one.
            Some(next) => match self.held(&layout, next)? {
                Some(version) => Ok(version.digest == *to),
                None if self.holds(&layout, next.other(), to)? => Ok(false),
                None => Err(InstallError::Unknown),
            },
            // What runs is known, and what starts next is not: it may be this one.
            None if self.holds(&layout, layout.booted, to)? => Ok(true),
            None => Err(InstallError::Boot("RAUC does not say which slot starts next".to_owned())),
        }
    }

    fn verify(
        &self,
        version: &Version,
        pass: &mut dyn FnMut(u64) -> io::Result<()>,
        within: &Within,
    ) -> Result<(), InstallError> {
        version.verify(&mut |bytes| {
            within.check()?;
            pass(bytes)
        })?;
        let layout = self.program.layout(within)?;
        for part in layout.group(version.side).iter().filter(|part| part.kind == RAW) {
            if let Some(Content { sha256: Some(sha256), size, .. }) = &part.content {
                self.read_back((part, sha256, *size), pass, within)?;
            }
        }
        Ok(())
    }

    fn prepare(&self, manifest: &[u8], payloads: &Payloads, within: &Within) -> Result<(), InstallError> {
        let layout = self.program.layout(within)?;
        let side = layout.booted.other();
        // What lies there and is altered, or cannot be read, is written anew.
        if let Ok(Some(version)) = self.held(&layout, side)
            && version.digest == Digest::of(manifest)
            && self.verify(&version, &mut |_| Ok(()), within).is_ok()
        {
            return Ok(());
        }
        self.program.leaves_the_switch_to_us()?;
        self.images(Self::bundle(payloads)?, &layout, within)?;
        // What is written over must not start, should the power fail meanwhile.
        self.activate(&layout, layout.booted, within)?;
        self.store.write_into(side, manifest, payloads, within)?;
        let version = self.store.version(side)?.ok_or(InstallError::NotPrepared)?;
        let payload = version.manifest.payloads.first().ok_or(InstallError::NotPrepared)?;
        self.program.install(&self.store.path(side).join(payload.name.as_str()), within)?;
        let layout = self.program.layout(within)?;
        if layout.primary == Some(side) {
            self.activate(&layout, layout.booted, within)?;
            let text =
                "RAUC has made the new slot active by itself, which was taken back; see activate-installed".to_owned();
            return Err(InstallError::Program { what: "rauc install".to_owned(), text });
        }
        if layout.group(side).first().is_none_or(|part| part.content.is_none()) {
            let text = format!("RAUC does not say that {} is written", layout.name(side));
            return Err(InstallError::Program { what: "rauc install".to_owned(), text });
        }
        self.verify(&version, &mut |_| Ok(()), within).map_err(InstallError::unkept)?;
        self.note(&layout, side)
    }

    fn switch(&self, to: &Digest, within: &Within) -> Result<(), InstallError> {
        let layout = self.program.layout(within)?;
        if self.holds(&layout, layout.booted, to)? {
            return self.activate(&layout, layout.booted, within);
        }
        if !self.holds(&layout, layout.booted.other(), to)? {
            return Err(InstallError::NotPrepared);
        }
        self.activate(&layout, layout.booted.other(), within)
    }

    /// What starts next may run already: the device was started anew while the agent was away.
    fn restart(&self, command: &Command, within: &Within) -> Result<(), InstallError> {
        let layout = self.program.layout(within)?;
        let wanted = layout.primary.filter(|side| *side != layout.booted);
        if wanted.is_none() && !self.asked.is_awaited() {
            return Ok(());
        }
        // It may do no more than to ask for it.
        self.asked.ask(command, within)?;
        while !within.is_ending() {
            if within.check().is_err() {
                return Err(InstallError::Restart(LATE.to_owned()));
            }
            // Its service goes down with the device, and comes up with it.
            match (self.program.layout(within), wanted) {
                (Ok(_), None) if !self.asked.is_awaited() => return Ok(()),
                (Ok(now), Some(wanted)) if now.booted == wanted => return Ok(()),
                (Ok(now), Some(wanted)) if now.primary == Some(now.booted) => {
                    let (given_up, runs) = (layout.name(wanted), layout.name(now.booted));
                    let text = format!("the boot loader has given {given_up} up and gone back to {runs}, which runs");
                    return Err(InstallError::WentBack(text));
                }
                _ => {}
            }
            #[expect(clippy::disallowed_methods, reason = "RAUC tells nobody when the device was started anew")]
            std::thread::sleep(POLL.min(within.left()));
        }
        Err(InstallError::Left("restart"))
    }

    fn owe_restart(&self) {
        self.asked.owe();
    }

    fn started(&self, within: &Within) -> Result<Option<Digest>, InstallError> {
        if self.asked.is_awaited() {
            return Ok(None);
        }
        let layout = self.program.layout(within)?;
        Ok(self.held(&layout, layout.booted)?.map(|version| version.digest))
    }

    fn probe(&self, new: &Digest, within: &Within) -> Result<Proof, InstallError> {
        let layout = self.program.layout(within)?;
        if self.holds(&layout, layout.booted, new)? {
            return Ok(Proof::Asked);
        }
        let name = layout.name(layout.booted);
        Err(InstallError::WentBack(format!("the device was started from {name}, which does not hold the new version")))
    }

    fn commit(&self, new: &Digest, within: &Within) -> Result<(), InstallError> {
        self.probe(new, within)?;
        self.settle(within)
    }

    fn revert(&self, new: &Digest, within: &Within) -> Result<(), InstallError> {
        let layout = self.program.layout(within)?;
        // By the manifest alone: also where what RAUC says of the new slot has changed since.
        let holds = |side: &Side| self.store.version(*side).is_ok_and(|v| v.is_some_and(|v| v.digest == *new));
        let bad = [Side::A, Side::B].into_iter().find(holds).ok_or(InstallError::Unknown)?;
        self.activate(&layout, bad.other(), within)?;
        self.program.mark("mark-bad", layout.name(bad), within)
    }

    fn settle(&self, within: &Within) -> Result<(), InstallError> {
        let layout = self.program.layout(within)?;
        self.activate(&layout, layout.booted, within)?;
        self.program.mark("mark-good", layout.name(layout.booted), within)
    }

    /// The factory has written the slot that runs, with the same bundle; where a slot holds the image as it was, that is
    /// looked at.
    fn provision(&self, manifest: &[u8], payloads: &Payloads, within: &Within) -> Result<(), InstallError> {
        let layout = self.program.layout(within)?;
        let images = self.images(Self::bundle(payloads)?, &layout, within)?;
        for part in layout.group(layout.booted).iter().filter(|part| part.kind == RAW) {
            let class = part.name.split('.').next().unwrap_or_default();
            if let Some(Image { checksum, size }) = images.get(class) {
                self.read_back((part, checksum, *size), &mut |_| Ok(()), within)?;
            }
        }
        self.store.write_into(layout.booted, manifest, payloads, within)?;
        self.note(&layout, layout.booted)
    }

    fn examine(&self, within: &Within) -> Result<String, String> {
        let layout = self.program.layout(within).map_err(|e| e.to_string())?;
        self.program.leaves_the_switch_to_us().map_err(|e| e.to_string())?;
        let name = |side| layout.name(side);
        let next = layout.primary.map_or("nobody knows what", name);
        let (runs, more) = (name(layout.booted), self.asked.examined());
        Ok(format!("RAUC for {}: {runs} runs, and {next} starts next{more}", layout.compatible))
    }
}

#[cfg(test)]
#[expect(dead_code, reason = "the journeys in `tests/` need more of it")]
mod stage;
#[cfg(test)]
mod tests;
