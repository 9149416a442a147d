use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// A disk that does not answer: `prepare` stands until it is let go. What runs is asked of it too, and nothing else.
#[derive(Debug)]
struct Stuck {
    begun: Sender<()>,
    go: std::sync::Mutex<Receiver<()>>,
    at_work: AtomicBool,
    met: AtomicBool,
    was_left: AtomicBool,
}

impl Contract for Stuck {
    fn kind(&self) -> InstallKind {
        InstallKind::Slots
    }

    fn room(&self) -> Option<&Path> {
        None
    }

    fn running(&self, _: &Within) -> Result<Option<Version>, InstallError> {
        self.met.fetch_or(self.at_work.load(Ordering::SeqCst), Ordering::SeqCst);
        Ok(None)
    }

    fn prepared(&self, _: &Within) -> Result<Option<Version>, InstallError> {
        Ok(None)
    }

    fn is_switched(&self, _: &Digest, _: &Within) -> Result<bool, InstallError> {
        Ok(false)
    }

    fn prepare(&self, _: &[u8], _: &Payloads, within: &Within) -> Result<(), InstallError> {
        self.at_work.store(true, Ordering::SeqCst);
        self.begun.send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        self.was_left.store(within.check().is_err(), Ordering::SeqCst);
        self.at_work.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn switch(&self, _: &Digest, _: &Within) -> Result<(), InstallError> {
        panic!("the thread of this step ends")
    }

    fn probe(&self, _: &Digest, _: &Within) -> Result<Proof, InstallError> {
        Ok(Proof::Asked)
    }

    fn commit(&self, _: &Digest, _: &Within) -> Result<(), InstallError> {
        Ok(())
    }

    fn revert(&self, _: &Digest, _: &Within) -> Result<(), InstallError> {
        Ok(())
    }

    fn examine(&self, _: &Within) -> Result<String, String> {
        Ok(String::new())
    }
}

fn stuck() -> (Arc<Stuck>, Sender<()>, Receiver<()>) {
    let ((begun, has_begun), (go, let_go)) = (channel(), channel());
    let met = [AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false)];
    let [at_work, met, was_left] = met;
    (Arc::new(Stuck { begun, go: let_go.into(), at_work, met, was_left }), go, has_begun)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_hangs_is_told_and_nothing_runs_beside_it() {
    let (contract, go, has_begun) = stuck();
    let short = Limits { prepare: Duration::from_millis(40), step: Duration::from_millis(20) };
    let patient = Installer::by(contract.clone(), Limits::default());
    let installer = Installer { limits: short, grace: Duration::ZERO, ..patient.clone() };
    let error = installer.prepare(Vec::new(), Vec::new()).await.unwrap_err();
    assert!(matches!(error, InstallError::Slow { step: "prepare", .. }), "{error}");
    let begun = tokio::task::spawn_blocking(move || has_begun.recv());
    begun.await.unwrap().unwrap();
    // The next step waits for the first, which does not end by being left, for as long as it may itself.
    let error = installer.running().await.unwrap_err();
    assert!(matches!(error, InstallError::Slow { step: "running", .. }), "{error}");
    go.send(()).unwrap();
    assert!(patient.running().await.unwrap().is_none(), "once it has ended the device is there again");
    assert!(!contract.met.load(Ordering::SeqCst), "a step ran beside another");
    assert!(contract.was_left.load(Ordering::SeqCst), "it was not told that nobody waits for it");
}

#[tokio::test]
async fn a_step_whose_thread_ends_is_left_and_done_again() {
    let (contract, ..) = stuck();
    let installer = Installer::by(contract, Limits::default());
    let error = installer.switch(&Digest::of(b"x")).await.unwrap_err();
    assert!(matches!(error, InstallError::Left("switch")), "{error}");
    assert!(installer.running().await.unwrap().is_none(), "the next one finds the device free");
}

#[test]
fn a_bundle_for_another_installer_is_refused_by_name() {
    let (contract, ..) = stuck();
    let installer = Installer::by(contract, Limits::default());
    let dir = tempfile::tempdir().unwrap();
    let (mut manifest, ..) = crate::install::bundle(dir.path(), 1, b"one");
    assert_eq!(installer.refusal(&manifest), None);
    for kind in [InstallKind::Image, InstallKind::Command, InstallKind::Rauc] {
        manifest.install.kind = kind;
        let refusal = installer.refusal(&manifest).unwrap();
        assert_eq!(refusal, format!("the bundle is made for the installer `{kind}`, and this device has `slots`"));
    }
}
