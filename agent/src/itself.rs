//! The agent's own program: updated by the same path as the device's software.
//!
//! ```text
//! <dir>/current -> a                  what the service manager starts: <dir>/current/<payload>
//! <dir>/a/<payload>                   the program, or a directory with it
//! <dir>/trial-b-1-of-3 -> ./a         the new program has not reported yet; `suture-boot <dir>` counts its starts
//! ```
//!
//! A payload of the product's bundle is the program; which one, `agent.toml` says, which is the manufacturer's as well. It
//! is signed, approved, fetched, verified and staged with the rest of the bundle, in its opening. Once that bundle is
//! confirmed and nothing else is under way, the payload is copied into the directory's other slot, hashed on the way, and
//! put on trial: the agent ends and the service manager starts the new one. That one has proven itself when the server has
//! a report of it. Until then the old one lies there whole. A program that ends by itself, or that reaches nobody within
//! its deadline and therefore ends, is started again; after [`TRIAL_STARTS`] starts `suture-boot` puts the old one back,
//! with no agent at all.
//!
//! Both programs work on one state directory. So a program that is on trial writes what the old one can read: every state
//! file has a format number, and a new format may be written only once its program is confirmed.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use suture_core::clock::{utc, whole_second};
use suture_core::digest::{Digest, Hasher};
use suture_core::id::PayloadName;
use suture_core::manifest::{Manifest, Payload, PayloadFormat};
use suture_core::phase::{Code, Reason};

use crate::checkpoint::{self, Step};
use crate::config::OwnProgram;
use crate::durable::{self, DurableError};
use crate::install::{InstallError, Payloads, Slots, TRIAL_STARTS, Version};
use crate::provision::{self, ProvisionError};

/// How often a program that gave way may be tried again.
const MAX_TRIES: u32 = 3;
/// And after what time, for each time that it gave way: what kept it from the server may have been the line.
const AGAIN: SignedDuration = SignedDuration::from_hours(24);
/// Programs that are remembered to have given way.
const MAX_REMEMBERED: usize = 8;

/// The agent's own program on this device.
#[derive(Debug, Clone)]
pub struct Itself {
    slots: Slots,
    payload: PayloadName,
    deadline: Duration,
    memory: PathBuf,
}

/// What the agent is at when it asks.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The version of the product that runs and is confirmed; none while something else is under way.
    pub settled: Option<Version>,
    /// Whether the server has everything that this process had to report.
    pub reported: bool,
    /// How long this process has run.
    pub ran: Duration,
    /// The time.
    pub now: Timestamp,
}

/// What the agent is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    On,
    /// Report this, then [`Itself::give_up`].
    Tell(Reason),
    /// End: the service manager starts what is to run next.
    End,
}

/// Why it could not be attended to.
#[derive(Debug, thiserror::Error)]
pub enum ItselfError {
    /// Its slots.
    #[error("the agent's own program")]
    Install(#[from] InstallError),
    /// What is remembered of programs that gave way.
    #[error(transparent)]
    Durable(#[from] DurableError),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GaveWay {
    program: Digest,
    times: u32,
    #[serde(with = "utc")]
    at: Timestamp,
}

impl Itself {
    /// As configured, where it is.
    pub fn new(own: Option<&OwnProgram>, state_dir: &Path) -> Option<Self> {
        let OwnProgram { dir, payload, deadline } = own?;
        Some(Self {
            slots: Slots::new(dir),
            payload: payload.clone(),
            deadline: *deadline,
            memory: state_dir.join("gave-way.json"),
        })
    }

    /// Whether the program that runs now has not reported yet, since it was put in place.
    pub fn is_on_trial(&self) -> Result<bool, InstallError> {
        let Some(current) = self.slots.current()? else { return Ok(false) };
        Ok(self.slots.trial()?.is_some_and(|trial| trial.side == current))
    }

    /// Does what is to be done. It can be repeated, and be cut off at any line.
    pub fn attend(&self, standing: &Standing) -> Result<Verdict, ItselfError> {
        let Some(running) = self.slots.running()? else { return Ok(Verdict::On) };
        if self.is_on_trial()? {
            if standing.reported {
                self.slots.confirm(&running.digest)?;
                tracing::info!(version = %running.manifest.version, "this program has reported and is confirmed");
                return Ok(Verdict::On);
            }
            return Ok(if standing.ran >= self.deadline { Verdict::End } else { Verdict::On });
        }
        if let Some(new) = self.given_up()? {
            let text = format!(
                "the agent's program of {} was started {TRIAL_STARTS} times and did not report; that of {} runs again",
                new.manifest.version, running.manifest.version
            );
            return Ok(Verdict::Tell(Reason::new(Code::InstallFailed, text)));
        }
        let Some(version) = standing.settled.as_ref().filter(|_| standing.reported) else { return Ok(Verdict::On) };
        let Some(program) = version.manifest.payloads.iter().find(|p| p.name == self.payload) else {
            return Ok(Verdict::On);
        };
        if running.manifest.payloads.first().is_some_and(|own| own.sha256 == program.sha256)
            || !self.may_try(&program.sha256, standing.now)?
        {
            return Ok(Verdict::On);
        }
        let digest = self.write(version, program)?;
        self.slots.switch_on_trial(&digest)?;
        tracing::info!(version = %version.manifest.version, "the agent's next program is started");
        Ok(Verdict::End)
    }

    /// The program that used up its starts, of which nobody has heard yet.
    fn given_up(&self) -> Result<Option<Version>, InstallError> {
        let Some(new) = self.slots.version(self.slots.spare()?)? else { return Ok(None) };
        Ok(if self.slots.gave_way(&new.digest)? { Some(new) } else { None })
    }

    /// Once it is written down that it is told: remembers the program that gave way, and forgets it where it lies.
    pub fn give_up(&self, now: Timestamp) -> Result<(), ItselfError> {
        let Some(new) = self.given_up()? else { return Ok(()) };
        // Remembered first: by a power cut in between it waits longer, and is not tried at once.
        if let Some(program) = new.manifest.payloads.first() {
            self.remember(program.sha256, now)?;
        }
        Ok(self.slots.end_trial()?)
    }

    /// Puts a program into the slot that is not in use.
    fn write(&self, version: &Version, program: &Payload) -> Result<Digest, ItselfError> {
        let dir = self.slots.dir();
        let beside = dir.join("program.tmp");
        let io = |operation| DurableError::io(operation, &beside);
        let made = checkpoint::file(Step::Write, &beside).and_then(|()| File::create(&beside));
        let mut file = BufWriter::new(made.map_err(io("make"))?);
        version.read(program, &mut file)?;
        file.flush().map_err(io("write"))?;
        drop(file);
        let index = version.index(program).ok_or(InstallError::Empty { side: version.side.as_str() })?;
        let manifest = own(&version.manifest, program);
        let bytes = manifest.to_bytes().map_err(|source| InstallError::Manifest { side: "own", source })?;
        let payloads: Payloads = vec![(program.clone(), beside.clone(), index.to_bytes())];
        self.slots.write(&bytes, &payloads)?;
        durable::remove(&beside)?;
        let side = self.slots.path(self.slots.spare()?);
        executable(&side.join(program.name.as_str()))?;
        Ok(Digest::of(&bytes))
    }

    /// Puts the factory's program into the first slot, where there is none yet: `program`, as a file.
    pub fn provision(&self, manifest: &Manifest, program: &Path) -> Result<(), ProvisionError> {
        let dir = self.slots.dir();
        durable::make_dirs(dir, durable::OPEN_DIR)?;
        if self.slots.running()?.is_some() {
            return Ok(());
        }
        let index = provision::index_of(&self.payload, program)?.to_bytes();
        let mut sum = (Hasher::default(), 0_u64);
        let read = |source| ProvisionError::Read { name: self.payload.clone(), source };
        let mut source = File::open(program).map_err(read)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = source.read(&mut buffer).map_err(read)?;
            let Some(piece) = buffer.get(..n).filter(|piece| !piece.is_empty()) else { break };
            sum.0.update(piece);
            sum.1 = sum.1.saturating_add(n as u64);
        }
        let payload = Payload {
            name: self.payload.clone(),
            format: PayloadFormat::Image,
            length: sum.1,
            sha256: sum.0.finish(),
            index_length: index.len() as u64,
            index_sha256: Digest::of(&index),
        };
        let bytes = own(manifest, &payload).to_bytes()?;
        let side = self.slots.write(&bytes, &vec![(payload, program.to_owned(), index)])?;
        executable(&self.slots.path(side).join(self.payload.as_str()))?;
        Ok(self.slots.switch_to(&Digest::of(&bytes))?)
    }

    fn remembered(&self) -> Result<Vec<GaveWay>, DurableError> {
        Ok(durable::read_json(&self.memory)?.unwrap_or_default())
    }

    fn may_try(&self, program: &Digest, now: Timestamp) -> Result<bool, DurableError> {
        let remembered = self.remembered()?;
        let Some(GaveWay { times, at, .. }) = remembered.iter().find(|g| g.program == *program) else {
            return Ok(true);
        };
        // By a clock that was ahead then, it is not waited for.
        let passed = now.duration_since(*at);
        Ok(*times < MAX_TRIES && (passed.is_negative() || passed >= AGAIN * i32::try_from(*times).unwrap_or(i32::MAX)))
    }

    fn remember(&self, program: Digest, now: Timestamp) -> Result<(), DurableError> {
        let mut remembered = self.remembered()?;
        let before = remembered.iter().position(|g| g.program == program).map(|place| remembered.remove(place));
        let times = before.map_or(0, |g| g.times).saturating_add(1);
        remembered.push(GaveWay { program, times, at: whole_second(now) });
        let over = remembered.len().saturating_sub(MAX_REMEMBERED);
        remembered.drain(..over);
        durable::write_json(&self.memory, &remembered, durable::OPEN)
    }
}

/// What a slot of the agent's own says that it holds: of that bundle this one payload.
fn own(manifest: &Manifest, program: &Payload) -> Manifest {
    Manifest { payloads: vec![program.clone()], documents: Vec::new(), risks: Vec::new(), ..manifest.clone() }
}

/// A file is the program; a directory brings the modes of what is in it.
fn executable(program: &Path) -> Result<(), DurableError> {
    use std::os::unix::fs::PermissionsExt as _;
    let io = |operation| DurableError::io(operation, program);
    if fs::metadata(program).map_err(io("look at"))?.is_file() {
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).map_err(io("set the permissions of"))?;
        let synced = checkpoint::file(Step::Sync, program).and_then(|()| File::open(program)?.sync_all());
        synced.map_err(io("sync"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
