use std::fs;

use std::sync::Mutex;

use suture_core::manifest::InstallKind;

use super::*;
use crate::install::{Payloads, Proof, Slots, Version, bundle};

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

/// Slots of which the installer cannot always say what it is asked.
#[derive(Debug)]
struct Moody {
    slots: Slots,
    /// The next question that fails, how many are asked before, and the error.
    fails: Mutex<Vec<(&'static str, usize, InstallError)>>,
}

impl Moody {
    fn asked(&self, question: &str) -> Result<(), InstallError> {
        let mut fails = self.fails.lock().unwrap();
        match fails.iter_mut().position(|(name, ..)| *name == question) {
            Some(at) if fails[at].1 == 0 => Err(fails.remove(at).2),
            Some(at) => {
                fails[at].1 -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Contract for Moody {
    fn kind(&self) -> InstallKind {
        self.slots.kind()
    }
    fn room(&self) -> Option<&Path> {
        self.slots.room()
    }
    fn running(&self, within: &Within) -> Result<Option<Version>, InstallError> {
        self.asked("running")?;
        Contract::running(&self.slots, within)
    }
    fn verify(
        &self,
        version: &Version,
        pass: &mut dyn FnMut(u64) -> std::io::Result<()>,
        within: &Within,
    ) -> Result<(), InstallError> {
        self.asked("verify")?;
        Contract::verify(&self.slots, version, pass, within)
    }
    fn prepared(&self, within: &Within) -> Result<Option<Version>, InstallError> {
        self.slots.prepared(within)
    }
    fn is_switched(&self, to: &Digest, within: &Within) -> Result<bool, InstallError> {
        self.slots.is_switched(to, within)
    }
    fn prepare(&self, manifest: &[u8], payloads: &Payloads, within: &Within) -> Result<(), InstallError> {
        self.slots.prepare(manifest, payloads, within)
    }
    fn switch(&self, to: &Digest, within: &Within) -> Result<(), InstallError> {
        Contract::switch(&self.slots, to, within)
    }
    fn probe(&self, new: &Digest, within: &Within) -> Result<Proof, InstallError> {
        self.slots.probe(new, within)
    }
    fn commit(&self, new: &Digest, within: &Within) -> Result<(), InstallError> {
        self.slots.commit(new, within)
    }
    fn revert(&self, new: &Digest, within: &Within) -> Result<(), InstallError> {
        self.slots.revert(new, within)
    }
    fn examine(&self, within: &Within) -> Result<String, String> {
        self.slots.examine(within)
    }
}

/// Begins a look where none goes on, and waits for what it comes to.
async fn looked(watch: &mut Watch, slots: &Slots, dir: &Path) -> Option<Option<Reason>> {
    looked_by(watch, &by(slots), dir).await
}

async fn looked_by(watch: &mut Watch, by: &Arc<dyn Contract>, dir: &Path) -> Option<Option<Reason>> {
    if watch.running.is_none() {
        watch.begin(by.clone(), noon());
    }
    let (cancel, found) = watch.running.take().unwrap();
    let (tell, again) = oneshot::channel();
    tell.send(found.await.unwrap()).unwrap();
    watch.running = Some((cancel, again));
    watch.attend(by, dir, noon()).unwrap()
}

/// Whether a look begins, so long after the last.
async fn begins(watch: &mut Watch, by: &Arc<dyn Contract>, dir: &Path, after: Duration) -> bool {
    watch.last = Instant::now().checked_sub(after);
    assert!(watch.last.is_some(), "this machine has not run for so long");
    assert_eq!(watch.attend(by, dir, noon()).unwrap(), None);
    let begun = watch.running.is_some();
    watch.rest();
    begun
}

/// Found: a `rauc status` that failed once was told to the hospital as software that somebody had altered.
#[tokio::test]
async fn an_installer_that_cannot_say_is_no_drift_and_it_is_looked_again_soon() {
    let (dir, slots, digest) = device();
    let failed = || InstallError::Program { what: "rauc status".to_owned(), text: "no D-Bus".to_owned() };
    let slow = || InstallError::Slow { step: "running", limit: Duration::from_secs(60) };
    let boot = || InstallError::Boot("it does not say which slot runs".to_owned());
    let mut watch = Watch::new(config::Integrity::default());
    for fails in [
        vec![("running", 0, failed())],
        vec![("running", 1, boot())],
        vec![("running", 0, failed()), ("running", 0, failed())],
        vec![("verify", 0, slow())],
    ] {
        let moody: Arc<dyn Contract> = Arc::new(Moody { slots: slots.clone(), fails: Mutex::new(fails) });
        assert_eq!(looked_by(&mut watch, &moody, dir.path()).await, None, "{moody:?}");
        assert_eq!(kept(dir.path(), &digest), None, "{moody:?}");
    }
    let by = by(&slots);
    let secs = Duration::from_secs;
    let mut watch = Watch::new(config::Integrity::default());
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        let fails = Mutex::new(vec![("running", 0, failed())]);
        let moody: Arc<dyn Contract> = Arc::new(Moody { slots: slots.clone(), fails });
        looked_by(&mut watch, &moody, dir.path()).await;
        assert!(!begins(&mut watch, &by, dir.path(), secs(60 * minutes - 5)).await, "{minutes}");
        assert!(begins(&mut watch, &by, dir.path(), secs(60 * minutes)).await, "{minutes}");
    }
    assert_eq!(looked(&mut watch, &slots, dir.path()).await, None);
    assert!(kept(dir.path(), &digest).unwrap().drift.is_none());
    assert!(!begins(&mut watch, &by, dir.path(), secs(3_600)).await, "as often as is configured");
}

/// Found: it was compared with what had been found of no version, and its end was never told.
#[tokio::test]
async fn the_end_of_drift_is_told_also_where_it_could_not_be_said_of_what() {
    let (dir, slots, digest) = device();
    let manifest = slots.dir().join("current/.suture/manifest.json");
    let whole = fs::read(&manifest).unwrap();
    let mut watch = Watch::new(config::Integrity::default());
    assert_eq!(looked(&mut watch, &slots, dir.path()).await, None);
    fs::write(&manifest, b"{}").unwrap();
    let drift = looked(&mut watch, &slots, dir.path()).await.unwrap().unwrap();
    assert_eq!(drift.code, Code::Drift);
    assert_eq!(looked(&mut watch, &slots, dir.path()).await, None, "it is known");
    fs::write(&manifest, whole).unwrap();
    assert_eq!(looked(&mut watch, &slots, dir.path()).await, Some(None));
    assert!(kept(dir.path(), &digest).unwrap().drift.is_none());
    // What could not be read for a moment is no drift either, and is looked at again soon.
    let moment = InstallError::Empty { side: "a" };
    let moody = Moody { slots: slots.clone(), fails: Mutex::new(vec![("running", 0, moment)]) };
    assert_eq!(looked_by(&mut watch, &(Arc::new(moody) as _), dir.path()).await, None);
    assert_eq!(watch.failures, 1);
}

#[tokio::test]
async fn the_same_words_of_another_version_are_news() {
    let (dir, slots, _) = device();
    let found = |manifest: &[u8], drift: Option<&str>| Found {
        manifest: Digest::of(manifest),
        integrity: Integrity { at: noon(), drift: drift.map(str::to_owned) },
    };
    let told = |found| keep(dir.path(), found).unwrap().map(|reason| reason.map(|reason| reason.text));
    assert_eq!(told(found(b"1", Some("x"))), Some(Some("x".to_owned())));
    assert_eq!(told(found(b"1", Some("x"))), None);
    assert_eq!(told(found(b"2", Some("x"))), Some(Some("x".to_owned())));
    assert_eq!(told(found(b"3", None)), Some(None));
    assert_eq!(told(found(b"4", None)), None);
    drop(slots);
}

#[tokio::test]
async fn drift_is_told_once_and_so_is_its_end() {
    let (dir, slots, digest) = device();
    let mut watch = Watch::new(config::Integrity::default());
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
    let whole = || match look(&slots, u64::MAX, &CancellationToken::new(), noon()) {
        Some(Outcome::Found(found)) => found.integrity.drift.is_none(),
        other => panic!("{other:?}"),
    };
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
