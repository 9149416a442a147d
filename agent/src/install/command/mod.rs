//! The device maker's own program, called for each step. How to write one: [`crate::guide`].

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use suture_core::digest::Digest;
use suture_core::limits::MAX_MANIFEST_BYTES;
use suture_core::manifest::{InstallKind, Manifest, Payload, PayloadFormat};

use super::asked::Asked;
use super::error::io_error;
use super::sum::{Sum, Summed};
use super::version::{BUFFER_BYTES, Bytes};
use super::{Contract, InstallError, Payloads, Proof, Side, Version, Within, tree};
use crate::checkpoint::{self, Step};
use crate::config::Command;
use crate::durable;
use crate::process::Ending;

/// Where what is to be installed is laid out, in the program's directory.
const WORK: &str = "bundle.tmp";
/// "I leave that to the agent."
const NOT_MINE: i32 = 10;
/// "The bytes are not those that were signed."
const WRONG_BYTES: i32 = 20;
/// "There is no room": ENOSPC.
const NO_ROOM: i32 = 28;

/// The installer.
#[derive(Debug, Clone)]
pub struct Program {
    command: Command,
    /// Given to the program for its own use; the agent keeps manifests and indexes in it.
    dir: PathBuf,
    asked: Asked,
}

/// What a program says of a step.
enum Answer {
    /// It is done.
    Done(String),
    /// The agent is to do it its own way.
    NotMine,
}

/// What the step `state` prints.
#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    running: Option<(Digest, Side)>,
    prepared: Option<(Digest, Side)>,
    switched: Option<Digest>,
}

impl Program {
    /// The one that the configuration names; and a file with the kernel's boot id, [`BOOT_ID`](super::BOOT_ID) or a copy.
    pub fn new(slots_dir: &Path, command: Command, boot_id: &Path) -> Self {
        Self { command, dir: slots_dir.to_owned(), asked: Asked::new(slots_dir, boot_id) }
    }

    /// Where the payload's file or directory of that version lies, as the program says; none where it leaves that open.
    pub(super) fn place(
        &self,
        version: &Digest,
        payload: &Payload,
        within: &Within,
    ) -> Result<Option<PathBuf>, InstallError> {
        let Answer::Done(text) = self.call(&["path", payload.name.as_str()], Some(version), &[], within)? else {
            return Ok(None);
        };
        let path = PathBuf::from(text.trim_end_matches('\n'));
        if path.is_absolute() {
            Ok(Some(path))
        } else {
            Err(failed("path", format!("it printed {text:?}, which is no absolute path")))
        }
    }

    fn call(
        &self,
        step: &[&str],
        about: Option<&Digest>,
        more: &[(String, OsString)],
        within: &Within,
    ) -> Result<Answer, InstallError> {
        let name = step.first().copied().unwrap_or_default();
        let mut variables = vec![
            ("PATH".to_owned(), std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into())),
            ("SUTURE_STEP".to_owned(), name.into()),
            ("SUTURE_DIR".to_owned(), self.dir.clone().into()),
            ("SUTURE_TIMEOUT_SECS".to_owned(), within.left().min(self.command.timeout).as_secs().to_string().into()),
        ];
        if let Some(digest) = about {
            variables.push(("SUTURE_MANIFEST".to_owned(), digest.to_string().into()));
            if let Ok(Some(manifest)) = self.known(digest) {
                variables.push(("SUTURE_VERSION".to_owned(), manifest.version.to_string().into()));
                variables.push(("SUTURE_RELEASE".to_owned(), manifest.release.to_string().into()));
            }
        }
        variables.extend_from_slice(more);
        let said = within.ask(&self.command, step, &variables);
        let last = String::from_utf8_lossy(&said.last);
        let last = last.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned();
        if !last.is_empty() {
            tracing::info!(step = name, said = last, "the installer's program");
        }
        match said.ending {
            Ending::Exit(0) => match String::from_utf8(said.answer) {
                Ok(text) => Ok(Answer::Done(text)),
                Err(_) => Err(failed(name, "what it printed is no text".to_owned())),
            },
            Ending::Exit(NOT_MINE) => Ok(Answer::NotMine),
            Ending::Exit(WRONG_BYTES) => {
                Err(InstallError::WrongBytes { payload: format!("of which the installer's program says {last:?}") })
            }
            Ending::Exit(NO_ROOM) => {
                let source = io::Error::new(io::ErrorKind::StorageFull, last);
                Err(io_error("have the installer's program write in", &self.dir)(source))
            }
            ending if last.is_empty() => Err(failed(name, ending.to_string())),
            ending => Err(failed(name, format!("it {ending}; it said {last:?}"))),
        }
    }

    /// A step that is the program's own.
    fn must(&self, step: &'static str, about: &Digest, within: &Within) -> Result<(), InstallError> {
        match self.call(&[step], Some(about), &[], within)? {
            Answer::Done(_) => Ok(()),
            Answer::NotMine => Err(failed(
                step,
                format!("it left the step to the agent (exit code {NOT_MINE}), which has no way of its own"),
            )),
        }
    }

    fn state(&self, within: &Within) -> Result<State, InstallError> {
        match self.call(&["state"], None, &[], within)? {
            Answer::Done(text) => State::parse(&text).map_err(|why| failed("state", why)),
            Answer::NotMine => Err(failed("state", format!("exit code {NOT_MINE}: nobody else can say what runs"))),
        }
    }

    /// An error where it is another version that runs.
    fn proven(&self, new: &Digest, within: &Within) -> Result<(), InstallError> {
        match self.state(within)?.running {
            Some((running, _)) if running == *new => Ok(()),
            _ => Err(InstallError::Unproven("the installer's program says that another version runs".to_owned())),
        }
    }

    fn about(&self, digest: &Digest) -> PathBuf {
        self.dir.join(".suture").join(digest.to_string())
    }

    fn known(&self, digest: &Digest) -> Result<Option<Manifest>, InstallError> {
        let Some(bytes) = durable::read(&self.about(digest).join("manifest.json"), MAX_MANIFEST_BYTES)? else {
            return Ok(None);
        };
        let wrong = Digest::of(&bytes) != *digest;
        Ok(Manifest::parse(&bytes).ok().filter(|_| !wrong))
    }

    fn version(&self, told: Option<(Digest, Side)>) -> Result<Option<Version>, InstallError> {
        let Some((digest, side)) = told else { return Ok(None) };
        let manifest = self.known(&digest)?.ok_or(InstallError::Unknown)?;
        let bytes = Bytes::Asked(self.clone());
        Ok(Some(Version { side, manifest, digest, indexes: self.about(&digest), bytes }))
    }

    /// Keeps what the agent must know of the version, and of none but these.
    fn keep(&self, manifest: &[u8], payloads: &Payloads, state: &State) -> Result<(), InstallError> {
        let digest = Digest::of(manifest);
        let about = self.about(&digest);
        durable::make_dirs(&about, durable::OPEN_DIR)?;
        for (payload, _, index) in payloads {
            durable::write(&about.join(format!("{}.index", payload.name)), index, durable::OPEN)?;
        }
        durable::write(&about.join("manifest.json"), manifest, durable::OPEN)?;
        let all = self.dir.join(".suture");
        let told = [state.running.map(|(digest, _)| digest), state.prepared.map(|(digest, _)| digest), Some(digest)];
        let kept: Vec<String> = told.into_iter().flatten().map(|digest| digest.to_string()).collect();
        for entry in fs::read_dir(&all).map_err(io_error("list", &all))? {
            let entry = entry.map_err(io_error("list", &all))?;
            if !kept.iter().any(|name| *entry.file_name() == **name) {
                durable::remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    /// What the program is to install, verified: each payload by its name.
    fn lay_out(&self, work: &Path, payloads: &Payloads, within: &Within) -> Result<(), InstallError> {
        clear(work)?;
        checkpoint::file(Step::Make, work).and_then(|()| fs::create_dir_all(work)).map_err(io_error("make", work))?;
        for (payload, from, _) in payloads {
            let to = work.join(payload.name.as_str());
            let file = File::open(from).map_err(io_error("open", from))?;
            let mut summed = Summed { inner: file, sum: Sum::default(), within };
            let mut source = BufReader::with_capacity(BUFFER_BYTES, &mut summed);
            match payload.format {
                PayloadFormat::Tree => tree::unpack(source, &to)?,
                PayloadFormat::Image => {
                    io::copy(&mut source, &mut io::sink()).map_err(io_error("read", from))?;
                    std::os::unix::fs::symlink(from, &to).map_err(io_error("make the link", &to))?;
                }
            }
            summed.sum.check(payload)?;
        }
        Ok(())
    }
}

impl Contract for Program {
    fn kind(&self) -> InstallKind {
        InstallKind::Command
    }

    fn room(&self) -> Option<&Path> {
        Some(&self.dir)
    }

    fn running(&self, within: &Within) -> Result<Option<Version>, InstallError> {
        self.version(self.state(within)?.running)
    }

    /// A version that the agent does not know was not prepared by it, and is as if it were not there.
    fn prepared(&self, within: &Within) -> Result<Option<Version>, InstallError> {
        match self.version(self.state(within)?.prepared) {
            Err(InstallError::Unknown) => Ok(None),
            told => told,
        }
    }

    fn is_switched(&self, to: &Digest, within: &Within) -> Result<bool, InstallError> {
        Ok(self.state(within)?.switched == Some(*to))
    }

    fn verify(
        &self,
        version: &Version,
        pass: &mut dyn FnMut(u64) -> io::Result<()>,
        within: &Within,
    ) -> Result<(), InstallError> {
        let mut unseen = false;
        for payload in &version.manifest.payloads {
            match self.place(&version.digest, payload, within)? {
                Some(path) => version.verify_at(payload, &path, &mut |bytes| {
                    within.check()?;
                    pass(bytes)
                })?,
                None => unseen = true,
            }
        }
        // What it does not show it must hash itself.
        if unseen { self.must("verify", &version.digest, within) } else { Ok(()) }
    }

    fn prepare(&self, manifest: &[u8], payloads: &Payloads, within: &Within) -> Result<(), InstallError> {
        let digest = Digest::of(manifest);
        let work = self.dir.join(WORK);
        let state = self.state(within)?;
        if state.running.is_some_and(|(running, _)| running == digest) {
            return Err(InstallError::InUse { side: state.running.map_or("a", |(_, side)| side.as_str()) });
        }
        self.keep(manifest, payloads, &state)?;
        let prepared = self.lay_out(&work, payloads, within).and_then(|()| {
            let bundle = ("SUTURE_BUNDLE".to_owned(), OsString::from(&work));
            // What it is given was verified just now.
            match self.call(&["prepare"], Some(&digest), &[bundle], within).map_err(InstallError::unkept)? {
                Answer::Done(_) => Ok(()),
                Answer::NotMine => Err(failed("prepare", format!("exit code {NOT_MINE}: the agent cannot do it"))),
            }
        });
        // Whatever came of it: what was laid out must not starve the device.
        clear(&work)?;
        prepared?;
        let prepared = self.prepared(within)?.filter(|version| version.digest == digest);
        let prepared = prepared
            .ok_or_else(|| failed("prepare", "it ended well, and `state` tells of another version".to_owned()))?;
        self.verify(&prepared, &mut |_| Ok(()), within).map_err(InstallError::unkept)
    }

    fn switch(&self, to: &Digest, within: &Within) -> Result<(), InstallError> {
        self.must("switch", to, within)?;
        match self.state(within)?.switched {
            Some(switched) if switched == *to => Ok(()),
            _ => Err(failed("switch", "it ended well, and `state` does not say that it switched".to_owned())),
        }
    }

    fn restart(&self, command: &Command, within: &Within) -> Result<(), InstallError> {
        let restart = |why: String| InstallError::Restart(why);
        let anew = self.asked.is_awaited().then(|| ("SUTURE_ANEW".to_owned(), "1".into()));
        if anew.is_some() {
            // Where the note is torn it is whole from now on, and over once the device has started anew.
            self.asked.owe();
        }
        match self.call(&["restart"], None, anew.as_slice(), within) {
            Ok(Answer::Done(_)) => {}
            Ok(Answer::NotMine) => {
                let ending = within.run(command, &[]);
                if !ending.is_success() {
                    return Err(restart(format!("the restart command {ending}")));
                }
            }
            Err(_) if within.is_ending() => return Err(InstallError::Left("restart")),
            Err(e) => return Err(restart(e.to_string())),
        }
        self.asked.over();
        Ok(())
    }

    fn owe_restart(&self) {
        self.asked.owe();
    }

    fn probe(&self, new: &Digest, within: &Within) -> Result<Proof, InstallError> {
        self.proven(new, within)?;
        match self.call(&["probe"], Some(new), &[], within) {
            Ok(Answer::Done(_)) => Ok(Proof::Given),
            Ok(Answer::NotMine) => Ok(Proof::Asked),
            Err(e) => Err(InstallError::Unproven(e.to_string())),
        }
    }

    fn commit(&self, new: &Digest, within: &Within) -> Result<(), InstallError> {
        self.proven(new, within)?;
        self.must("commit", new, within)
    }

    fn revert(&self, new: &Digest, within: &Within) -> Result<(), InstallError> {
        self.must("revert", new, within)?;
        match self.state(within)?.switched {
            Some(switched) if switched == *new => {
                Err(failed("revert", "it ended well, and `state` still says that it switched".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn settle(&self, within: &Within) -> Result<(), InstallError> {
        // What a power cut has left of a bundle that was laid out must not starve the device.
        clear(&self.dir.join(WORK))?;
        // What is not the program's own needs nothing: the agent has no boot loader to tell.
        self.call(&["settle"], None, &[], within).map(drop)
    }

    fn examine(&self, within: &Within) -> Result<String, String> {
        let State { running, prepared, .. } = self.state(within).map_err(|e| e.to_string())?;
        let name =
            |told: Option<(Digest, Side)>| told.map_or_else(|| "nothing".to_owned(), |(digest, _)| digest.short());
        Ok(format!(
            "command: {}; runs {}, prepared is {}{}",
            self.command.argv.first().map_or("", String::as_str),
            name(running),
            name(prepared),
            self.asked.examined()
        ))
    }
}

impl State {
    /// One fact a line; a slot's name behind it is for people.
    fn parse(text: &str) -> Result<Self, String> {
        let mut state = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let wrong = || {
                format!("it printed {line:?}; a line is `running`, `prepared` or `switched`, and a manifest's digest")
            };
            let (fact, digest, side) = match words.as_slice() {
                [fact, digest] => (*fact, *digest, None),
                [fact, digest, side] => (*fact, *digest, Some(Side::named(side).ok_or_else(wrong)?)),
                _ => return Err(wrong()),
            };
            let digest: Digest = digest.parse().map_err(|_| wrong())?;
            let before = match fact {
                "running" => state.running.replace((digest, side.unwrap_or(Side::A))).is_some(),
                "prepared" => state.prepared.replace((digest, side.unwrap_or(Side::B))).is_some(),
                "switched" => state.switched.replace(digest).is_some(),
                _ => return Err(wrong()),
            };
            if before {
                return Err(format!("it printed two lines `{fact}`"));
            }
        }
        Ok(state)
    }
}

/// Removes what was laid out. A bundle's directories have the modes that were signed, and the shipped unit's root obeys them.
fn clear(work: &Path) -> Result<(), InstallError> {
    if fs::symlink_metadata(work).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    tree::remove(work)?;
    Ok(durable::sync_parent(work)?)
}

fn failed(step: &str, text: String) -> InstallError {
    InstallError::Program { what: format!("the installer's program at `{step}`"), text }
}

#[cfg(test)]
mod tests;
