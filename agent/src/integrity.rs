//! Whether what runs still lies on the disk as it was signed.
//!
//! At the agent's start, and from then on as often as is configured, the slot in use is hashed and compared with its manifest:
//! slowly, beside everything else, and never while the device is being changed. What is found goes with every report, and a
//! change of it is reported at once. Attack: somebody alters the device's software where it lies. The agent cannot keep them
//! from it; it can see to it that they are seen. Nothing is done about it here: the next update writes the other slot, and
//! every byte that it takes from this one is verified.
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
use crate::config::Audit;
use crate::durable::{self, DurableError};
use crate::install::{Contract, Within};

const FILE: &str = "integrity.json";

/// What was found, and of which version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    manifest: Digest,
    integrity: Integrity,
}

/// Looks again and again.
#[derive(Debug)]
pub struct Watch {
    audit: Audit,
    /// When the last look ended, or was given up.
    last: Option<Instant>,
    running: Option<(CancellationToken, oneshot::Receiver<Found>)>,
}

impl Watch {
    /// One that has not looked yet.
    pub fn new(audit: Audit) -> Self {
        Self { audit, last: None, running: None }
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
        let mut news = None;
        if let Some((_, found)) = &mut self.running {
            match found.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return Ok(None),
                Err(oneshot::error::TryRecvError::Closed) => {}
                Ok(found) => news = keep(state_dir, found)?,
            }
            self.running = None;
            self.last = Some(Instant::now());
        }
        if self.last.is_none_or(|last| last.elapsed() >= self.audit.interval) {
            self.begin(installer.clone(), now);
        }
        Ok(news)
    }

    fn begin(&mut self, installer: Arc<dyn Contract>, now: Timestamp) {
        let cancel = CancellationToken::new();
        let (tell, found) = oneshot::channel();
        self.running = Some((cancel.clone(), found));
        let pace = self.audit.bytes_per_sec;
        tokio::task::spawn_blocking(move || {
            if let Some(found) = look(installer.as_ref(), pace, &cancel, now) {
                // Nobody waits for it where the agent has ended, or has other things to do.
                let _ = tell.send(found);
            }
        });
    }
}

/// What is to be told of a find: what has changed since the one before.
fn keep(state_dir: &Path, found: Found) -> Result<Option<Option<Reason>>, DurableError> {
    let before = kept(state_dir, &found.manifest).and_then(|integrity| integrity.drift);
    durable::write_json(&state_dir.join(FILE), &found, durable::OPEN)?;
    let drift = found.integrity.drift;
    Ok((drift != before).then(|| {
        drift.map(|text| {
            tracing::error!(text, "what runs is not what was signed");
            Reason::new(Code::Drift, text)
        })
    }))
}

/// What was found of the version with that manifest, if it was looked at. A file that cannot be read says nothing.
pub fn kept(state_dir: &Path, manifest: &Digest) -> Option<Integrity> {
    let found = durable::read_json::<Found>(&state_dir.join(FILE)).ok()??;
    (found.manifest == *manifest).then_some(found.integrity)
}

/// Hashes what runs; nothing is found where it was given up, or where another version runs afterwards.
fn look(installer: &dyn Contract, pace: u64, cancel: &CancellationToken, now: Timestamp) -> Option<Found> {
    let within = Within::new(Duration::MAX, cancel.clone());
    let (begun, mut read) = (Instant::now(), 0_u64);
    #[expect(clippy::disallowed_methods, reason = "to read slowly is to wait, on a thread that has nothing else to do")]
    let mut pass = |bytes: u64| {
        read = read.saturating_add(bytes);
        std::thread::sleep(owed(read, pace, begun.elapsed()));
        within.check()
    };
    let (manifest, drift) = match installer.running(&within) {
        Ok(None) => return None,
        Ok(Some(version)) => {
            let wrong = installer.verify(&version, &mut pass, &within).err().map(|e| chain(&e));
            let said = |e| format!("slot {}, which runs, is not as it was signed: {e}", version.side.as_str());
            (version.digest, wrong.map(said))
        }
        Err(e) => (Digest::of(b""), Some(format!("what runs is not as it was signed: {}", chain(&e)))),
    };
    // Given up, or overtaken by another version: nothing was found.
    let after = installer.running(&within).map(|version| version.map(|version| version.digest));
    if cancel.is_cancelled() || after.is_ok_and(|after| after != Some(manifest)) {
        return None;
    }
    let drift = drift.map(|text| Reason::new(Code::Drift, text).text);
    Some(Found { manifest, integrity: Integrity { at: whole_second(now), drift } })
}

/// How long to wait so that no more than `pace` bytes are read a second; a second at most, so that giving up is noticed.
fn owed(read: u64, pace: u64, elapsed: Duration) -> Duration {
    let due = Duration::from_millis(read.saturating_mul(1_000) / pace.max(1));
    due.saturating_sub(elapsed).min(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::install::{Slots, bundle};

    fn noon() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    /// A device that runs a version of one file, and its digest.
    fn device() -> (tempfile::TempDir, Slots, Digest) {
        let dir = tempfile::tempdir().unwrap();
        let slots = Slots::new(&dir.path().join("slots"));
        fs::create_dir_all(slots.dir()).unwrap();
        let (_, manifest, payloads) = bundle(dir.path(), 1, b"version 1");
        let side = slots.write(&manifest, &payloads).unwrap();
        slots.switch(side).unwrap();
        let digest = slots.running().unwrap().unwrap().digest;
        (dir, slots, digest)
    }

    fn by(slots: &Slots) -> Arc<dyn Contract> {
        Arc::new(slots.clone())
    }

    /// Begins a look where none goes on, and waits for what it comes to.
    async fn looked(watch: &mut Watch, slots: &Slots, dir: &Path) -> Option<Option<Reason>> {
        if watch.running.is_none() {
            watch.begin(Arc::new(slots.clone()), noon());
        }
        let (cancel, found) = watch.running.take().unwrap();
        let (tell, again) = oneshot::channel();
        tell.send(found.await.unwrap()).unwrap();
        watch.running = Some((cancel, again));
        watch.attend(&by(slots), dir, noon()).unwrap()
    }

    #[tokio::test]
    async fn drift_is_told_once_and_so_is_its_end() {
        let (dir, slots, digest) = device();
        let mut watch = Watch::new(Audit::default());
        assert_eq!(watch.attend(&by(&slots), dir.path(), noon()).unwrap(), None, "it has begun to look");
        assert_eq!(looked(&mut watch, &slots, dir.path()).await, None, "whole, as before");
        assert_eq!(kept(dir.path(), &digest).unwrap(), Integrity { at: noon(), drift: None });
        assert!(watch.running.is_none(), "it rests until its time has come");

        let file = slots.dir().join("current/app/bin/app");
        fs::write(&file, b"version x").unwrap();
        let drift = looked(&mut watch, &slots, dir.path()).await.unwrap().unwrap();
        assert_eq!(drift.code, Code::Drift);
        assert!(drift.text.contains("slot a") && drift.text.contains("payload app"), "{}", drift.text);
        assert_eq!(kept(dir.path(), &digest).unwrap().drift, Some(drift.text));
        assert_eq!(looked(&mut watch, &slots, dir.path()).await, None, "it is known");
        fs::write(&file, b"version 1").unwrap();
        assert_eq!(looked(&mut watch, &slots, dir.path()).await, Some(None));
        assert_eq!(kept(dir.path(), &Digest::of(b"another version")), None);
    }

    #[test]
    fn a_look_that_is_given_up_or_overtaken_finds_nothing() {
        let (dir, slots, _) = device();
        let cancel = CancellationToken::new();
        cancel.cancel();
        assert_eq!(look(&slots, u64::MAX, &cancel, noon()), None);
        fs::remove_file(slots.dir().join("current")).unwrap();
        assert_eq!(look(&slots, u64::MAX, &CancellationToken::new(), noon()), None);
        drop(dir);
    }

    #[test]
    fn what_is_missing_or_laid_in_its_place_is_drift() {
        let (_dir, slots, _) = device();
        let file = slots.dir().join("current/app/bin/app");
        let whole = || look(&slots, u64::MAX, &CancellationToken::new(), noon()).unwrap().integrity.drift.is_none();
        assert!(whole());
        fs::remove_file(&file).unwrap();
        assert!(!whole());
        fs::write(slots.dir().join("elsewhere"), b"version 1").unwrap();
        std::os::unix::fs::symlink(slots.dir().join("elsewhere"), &file).unwrap();
        assert!(!whole(), "the same bytes behind a link are another file's");
        fs::remove_file(&file).unwrap();
        fs::write(&file, b"version 1").unwrap();
        assert!(whole());
        fs::write(slots.dir().join("current/.suture/manifest.json"), b"{}").unwrap();
        assert!(!whole());
    }

    #[test]
    fn it_reads_no_faster_than_it_may() {
        let secs = Duration::from_secs;
        assert_eq!(owed(0, 100, secs(0)), secs(0));
        assert_eq!(owed(50, 100, secs(0)), Duration::from_millis(500));
        assert_eq!(owed(50, 100, secs(1)), secs(0));
        assert_eq!(owed(u64::MAX, 1, secs(5)), secs(1));
    }
}
