//! Whether what runs still lies on the disk as it was signed.
//!
//! At the agent's start, and from then on as often as is configured, the slot in use is hashed and compared with its manifest:
//! slowly, beside everything else, and never while the device is being changed. What is found goes with every report, and a
//! change of it is reported at once. Attack: somebody alters the device's software where it lies. The agent cannot keep them
//! from it; it can see to it that they are seen. Nothing is done about it here: the next update writes the other slot, and
//! every byte that it takes from this one is verified.
//!
//! Only what was read and differs, or lies there and cannot be read, is told: it says to a hospital that somebody has altered a
//! device. Where the installer cannot say what runs, or where it lies, nothing was found (`rauc status` while D-Bus is not up).
//! Then it is looked again after a minute, and after twice as long each time up to an hour, and the log says so once.
//!
//! Between two looks altered bytes may run. What ends that is the kernel's to do, which compares each page as it is read:
//!
//! - dm-verity, below a whole partition. The device's maker builds the image with its hash tree and puts the root's hash
//!   into what the boot chain verifies; the installers `image` and `rauc` write such an image as they write any other, byte
//!   for byte as it is signed. Here is no key and no hash of it: a boot chain that the maker has signed holds against root
//!   on the device as well, which nothing that the agent does can.
//! - fs-verity, for single files (Linux, `Documentation/filesystems/fsverity.rst`). It is switched on by an ioctl,
//!   FS_IOC_ENABLE_VERITY, which neither std nor rustix has as a safe call (rustix's `ioctl` and its trait are `unsafe`),
//!   and this workspace forbids unsafe code throughout. It would not add much for `slots` either: who may write below the
//!   slots may put another file in a protected one's place, whose digest the kernel asks nobody about. That is found here,
//!   by comparing with what is signed. A maker who wants it all the same calls `fsverity enable` in the step `prepare` of a
//!   program of their own ([`crate::guide`]): a file under fs-verity is read, hashed and used for deltas as any other.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::whole_second;
use suture_core::digest::Digest;
use suture_core::phase::{Code, Reason};
use suture_core::report::Integrity;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::agent::chain;
use crate::backoff::Backoff;
use crate::config;
use crate::durable::{self, DurableError};
use crate::install::{Contract, InstallError, Within};

const FILE: &str = "integrity.json";
/// When it is looked again where nothing could be looked at: 1 min, doubling. Devices do that each for itself, so without jitter.
const AGAIN: Duration = Duration::from_secs(60);
/// The longest of these: 1 h, as the shortest that `interval_hours` can be.
const AGAIN_MOST: Duration = Duration::from_secs(3_600);

/// What was found, and of which version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    manifest: Digest,
    integrity: Integrity,
}

/// What a look came to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Found(Found),
    /// The installer could not say what runs, or where it lies; why.
    Unsaid(String),
}

/// Looks again and again.
#[derive(Debug)]
pub struct Watch {
    how: config::Integrity,
    /// When the last look ended, or was given up.
    last: Option<Instant>,
    /// Looks in a row that came to nothing, by no fault of what lies on the device.
    failures: u32,
    running: Option<(CancellationToken, oneshot::Receiver<Outcome>)>,
}

impl Watch {
    /// One that has not looked yet.
    pub fn new(how: config::Integrity) -> Self {
        Self { how, last: None, failures: 0, running: None }
    }

    /// Gives up a look that is going on: the device is about to be changed.
    pub fn rest(&mut self) {
        if let Some((cancel, _)) = self.running.take() {
            cancel.cancel();
        }
    }

    /// Takes what a look has found, and begins another where its time has come. What is to be told, where it is not what was
    /// told before.
    pub fn attend(
        &mut self,
        installer: &Arc<dyn Contract>,
        state_dir: &Path,
        now: Timestamp,
    ) -> Result<Option<Option<Reason>>, DurableError> {
        let mut news = Ok(None);
        if let Some((_, outcome)) = &mut self.running {
            let outcome = match outcome.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return Ok(None),
                outcome => outcome.ok(),
            };
            self.running = None;
            self.last = Some(Instant::now());
            news = self.take(state_dir, outcome);
        }
        if self.last.is_none_or(|last| last.elapsed() >= self.pause()) {
            self.begin(installer.clone(), now);
        }
        news
    }

    /// Takes what a look came to; none where it was given up.
    fn take(&mut self, state_dir: &Path, outcome: Option<Outcome>) -> Result<Option<Option<Reason>>, DurableError> {
        match outcome {
            None => Ok(None),
            Some(Outcome::Unsaid(why)) => {
                if self.failures == 0 {
                    tracing::warn!(why, "what runs could not be looked at; it is tried again, and not said here again");
                }
                self.failures = self.failures.saturating_add(1);
                Ok(None)
            }
            Some(Outcome::Found(found)) => {
                let news = keep(state_dir, found);
                // What could not be written down is to be found again.
                self.failures = if news.is_ok() { 0 } else { self.failures.saturating_add(1) };
                news
            }
        }
    }

    /// How long it rests between two looks.
    fn pause(&self) -> Duration {
        match (self.failures, Backoff::new(AGAIN, AGAIN_MOST)) {
            (1.., Some(again)) => again.delay(self.failures, u32::MAX).min(self.how.interval),
            _ => self.how.interval,
        }
    }

    fn begin(&mut self, installer: Arc<dyn Contract>, now: Timestamp) {
        let cancel = CancellationToken::new();
        let (tell, outcome) = oneshot::channel();
        self.running = Some((cancel.clone(), outcome));
        let pace = self.how.bytes_per_sec;
        tokio::task::spawn_blocking(move || {
            if let Some(outcome) = look(installer.as_ref(), pace, &cancel, now) {
                // Nobody waits for it where the agent has ended, or has other things to do.
                let _ = tell.send(outcome);
            }
        });
    }
}

/// What is to be told of a find: what has changed since the one before, of whichever version that was.
fn keep(state_dir: &Path, found: Found) -> Result<Option<Option<Reason>>, DurableError> {
    let before = last(state_dir);
    durable::write_json(&state_dir.join(FILE), &found, durable::OPEN)?;
    let is_same = before.as_ref().is_some_and(|before| before.manifest == found.manifest);
    let before = before.and_then(|before| before.integrity.drift);
    let drift = found.integrity.drift;
    // The same words of another version are news.
    Ok((drift != before || (drift.is_some() && !is_same)).then(|| {
        drift.map(|text| {
            tracing::error!(text, "what runs is not what was signed");
            Reason::new(Code::Drift, text)
        })
    }))
}

/// What was found of the version with that manifest, if it was looked at. A file that cannot be read says nothing.
pub fn kept(state_dir: &Path, manifest: &Digest) -> Option<Integrity> {
    last(state_dir).filter(|found| found.manifest == *manifest).map(|found| found.integrity)
}

fn last(state_dir: &Path) -> Option<Found> {
    durable::read_json(&state_dir.join(FILE)).ok()?
}

/// Hashes what runs; nothing where it was given up, or where another version runs afterwards.
fn look(installer: &dyn Contract, pace: u64, cancel: &CancellationToken, now: Timestamp) -> Option<Outcome> {
    let within = Within::new(Duration::MAX, cancel.clone());
    let (begun, mut read) = (Instant::now(), 0_u64);
    #[expect(clippy::disallowed_methods, reason = "to read slowly is to wait, on a thread that has nothing else to do")]
    let mut pass = |bytes: u64| {
        read = read.saturating_add(bytes);
        std::thread::sleep(owed(read, pace, begun.elapsed()));
        within.check()
    };
    let found = |manifest: Digest, drift: Option<String>| {
        let drift = drift.map(|text| Reason::new(Code::Drift, text).text);
        Some(Found { manifest, integrity: Integrity { at: whole_second(now), drift } })
    };
    let mut compare = || -> Result<Option<Found>, InstallError> {
        let version = match wrong(installer.running(&within))? {
            Ok(None) => return Ok(None),
            Ok(Some(version)) => version,
            // It can be read after all.
            Err(e) if wrong(installer.running(&within))?.is_ok() => return Err(e),
            Err(e) => {
                let text = format!("what runs is not as it was signed: {}", chain(&e));
                return Ok(found(Digest::of(b""), Some(text)));
            }
        };
        let verified = wrong(installer.verify(&version, &mut pass, &within))?;
        // Overtaken by another version: nothing was found.
        let after = wrong(installer.running(&within))?;
        if after.is_ok_and(|after| after.is_none_or(|after| after.digest != version.digest)) {
            return Ok(None);
        }
        let side = version.side.as_str();
        let said = |e| format!("slot {side}, which runs, is not as it was signed: {}", chain(&e));
        Ok(found(version.digest, verified.err().map(said)))
    };
    let compared = compare();
    if cancel.is_cancelled() {
        return None;
    }
    match compared {
        Ok(found) => found.map(Outcome::Found),
        Err(e) => Some(Outcome::Unsaid(chain(&e))),
    }
}

/// Sets apart what was read and is wrong; any other error ends the look.
fn wrong<T>(said: Result<T, InstallError>) -> Result<Result<T, InstallError>, InstallError> {
    match said {
        Err(e) if !e.is_of_what_lies() => Err(e),
        said => Ok(said),
    }
}

/// How long to wait so that no more than `pace` bytes are read a second; a second at most, so that giving up is noticed.
fn owed(read: u64, pace: u64, elapsed: Duration) -> Duration {
    let due = Duration::from_millis(read.saturating_mul(1_000) / pace.max(1));
    due.saturating_sub(elapsed).min(Duration::from_secs(1))
}

#[cfg(test)]
mod tests;
