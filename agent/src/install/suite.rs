//! One suite for every installer: what [`Contract`] says, tried.
//!
//! A bench is a device that runs version 1, as a factory leaves it, and can be given others. [`contract_suite`] makes a test of
//! each rule from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use suture_core::digest::Digest;
use suture_core::manifest::Manifest;

use super::{Contract, InstallError, Installer, Limits, Payloads, Proof, Version, Within};
use crate::config::Command;
use crate::durable::power;

/// A bundle as it is handed to an installer.
pub(crate) struct Bundle {
    pub(crate) manifest: Manifest,
    pub(crate) bytes: Vec<u8>,
    pub(crate) payloads: Payloads,
}

/// A device under test. It runs version 1.
pub(crate) trait Bench {
    /// The device's installer, as a start of the agent makes it.
    fn contract(&self) -> Arc<dyn Contract>;

    /// A version of the device's software, made of other bytes than the others.
    fn bundle(&self, release: u64) -> Bundle;

    /// `[restart]` of the configuration.
    fn restart(&self) -> Command;

    /// Files with the bytes of a version where it lies, to be altered or compared.
    fn files(&self, version: &Version) -> Vec<PathBuf>;

    /// An installer whose `prepare` finds no room, where that can be had here.
    fn full(&self) -> Option<Arc<dyn Contract>> {
        None
    }
}

/// Of installers that have the whole device restarted. Accident: the restart command only asks for that, and the device goes down
/// once nobody waits for it any more. The old version, whose slot still runs, is not back before.
pub(crate) fn a_restart_that_comes_late_is_waited_for(bench: &dyn Bench) {
    let (it, new) = (bench.contract(), bench.bundle(2));
    let (old, two) = (it.running(&within()).unwrap().unwrap().digest, Digest::of(&new.bytes));
    let program = |name: &str| Command { argv: vec![name.to_owned()], timeout: Duration::from_secs(60) };
    let (asks, refuses) = (program("true"), program("false"));
    let short = || Within::limit(Duration::from_secs(2));
    it.prepare(&new.bytes, &new.payloads, &within()).unwrap();

    // What says itself that nothing comes of it leaves nothing to wait for.
    it.switch(&two, &within()).unwrap();
    let said = it.restart(&refuses, &within()).unwrap_err();
    assert!(matches!(said, InstallError::Restart(_)), "{said}");
    it.revert(&two, &within()).unwrap();
    it.restart(&refuses, &within()).unwrap();
    assert_eq!(it.started(&within()).unwrap(), Some(old));

    it.switch(&two, &within()).unwrap();
    let said = it.restart(&asks, &short()).unwrap_err();
    assert!(said.to_string().contains("it may go down yet"), "{said}");
    // By the agent that has asked, by its next start, and where the command has nothing more to ask for.
    for it in [it, bench.contract()] {
        for command in [&asks, &refuses] {
            it.revert(&two, &within()).unwrap();
            let said = it.restart(command, &short()).unwrap_err();
            assert!(matches!(said, InstallError::Restart(_)), "{said}");
            assert_eq!(it.running(&within()).unwrap().unwrap().digest, old, "whose slot runs still");
            assert_eq!(it.started(&within()).unwrap(), None);
        }
    }
    // It comes.
    let it = bench.contract();
    it.restart(&bench.restart(), &within()).unwrap();
    assert_eq!(it.started(&within()).unwrap(), Some(old));
    it.restart(&refuses, &within()).unwrap();
}

/// Whether the caller, the test of that name, goes on: in a process that obeys the modes of files, as the shipped unit's does,
/// whose root has no capability. Where root is above them the test is run in such a process, and has been when this returns.
pub(crate) fn obeys_modes(test: &str) -> bool {
    // capabilities(7): CAP_DAC_OVERRIDE is the second.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    if u64::from_str_radix(effective, 16).unwrap() & 0b10 == 0 {
        return true;
    }
    assert!(std::env::var_os(OBEYS).is_none(), "setpriv has left the capability");
    let done = std::process::Command::new("setpriv")
        .args(["--bounding-set=-all", "--inh-caps=-all"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(OBEYS, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&done.stderr));
    false
}

/// Set where a test was begun by [`obeys_modes`].
const OBEYS: &str = "SUTURE_TEST_OBEYS_MODES";

fn within() -> Within {
    Within::limit(Duration::from_secs(120))
}

/// What must be true at every instant between two steps.
#[derive(Debug, PartialEq, Eq)]
struct Truth {
    running: u64,
    prepared: Option<u64>,
    switched: bool,
}

fn truth(it: &dyn Contract, new: &Bundle) -> Truth {
    let release = |version: Option<Version>| version.map(|version| version.manifest.release.0);
    Truth {
        running: release(it.running(&within()).unwrap()).unwrap(),
        prepared: release(it.prepared(&within()).unwrap()),
        switched: it.is_switched(&Digest::of(&new.bytes), &within()).unwrap(),
    }
}

fn is(running: u64, prepared: impl Into<Option<u64>>, switched: bool) -> Truth {
    Truth { running, prepared: prepared.into(), switched }
}

fn bytes(bench: &dyn Bench, version: &Version) -> Vec<Vec<u8>> {
    let files = bench.files(version);
    assert!(!files.is_empty());
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The version that runs, with the bytes that it has.
struct Guarded {
    version: Version,
    bytes: Vec<Vec<u8>>,
}

impl Guarded {
    fn take(bench: &dyn Bench) -> Self {
        let version = bench.contract().running(&within()).unwrap().unwrap();
        let bytes = bytes(bench, &version);
        Self { version, bytes }
    }

    fn is_untouched(&self, bench: &dyn Bench) {
        assert!(bytes(bench, &self.version) == self.bytes, "the version that ran was written");
        self.version.verify(&mut |_| Ok(())).unwrap();
    }
}

/// Restarts, as the agent does: what `[restart]` starts may outlive it.
fn restart(bench: &dyn Bench) -> Result<(), InstallError> {
    bench.contract().restart(&bench.restart(), &within())
}

pub(crate) fn each_step_may_be_repeated_and_tells_the_truth(bench: &dyn Bench) {
    let new = bench.bundle(2);
    let digest = Digest::of(&new.bytes);
    let guarded = Guarded::take(bench);
    let now = || truth(bench.contract().as_ref(), &new);
    assert_eq!(bench.contract().refusal(&new.manifest), None);
    assert_eq!(new.manifest.install.kind, bench.contract().kind());
    assert!(bench.contract().examine(&within()).is_ok());
    for _ in 0..2 {
        bench.contract().settle(&within()).unwrap();
        assert!(!now().switched);
    }
    for _ in 0..2 {
        bench.contract().prepare(&new.bytes, &new.payloads, &within()).unwrap();
        assert_eq!(now(), is(1, 2, false));
    }
    for _ in 0..2 {
        bench.contract().switch(&digest, &within()).unwrap();
        assert!(now().switched);
    }
    for _ in 0..2 {
        restart(bench).unwrap();
        assert_eq!(now(), is(2, 1, true));
        assert!(matches!(bench.contract().probe(&digest, &within()).unwrap(), Proof::Asked | Proof::Given));
    }
    for _ in 0..2 {
        bench.contract().commit(&digest, &within()).unwrap();
        assert_eq!(now(), is(2, 1, true));
    }
    guarded.is_untouched(bench);
    let running = bench.contract().running(&within()).unwrap().unwrap();
    bench.contract().verify(&running, &mut |_| Ok(()), &within()).unwrap();
    for _ in 0..2 {
        bench.contract().settle(&within()).unwrap();
        restart(bench).unwrap();
        assert_eq!(now(), is(2, 1, true), "what was confirmed starts again");
    }

    // The next one takes the other place, and no byte of what runs now.
    let (next, guarded) = (bench.bundle(3), Guarded::take(bench));
    bench.contract().prepare(&next.bytes, &next.payloads, &within()).unwrap();
    assert_eq!(truth(bench.contract().as_ref(), &next), is(2, 3, false));
    guarded.is_untouched(bench);
}

pub(crate) fn from_each_point_there_is_a_way_back(bench: &dyn Bench) {
    let new = bench.bundle(2);
    let digest = Digest::of(&new.bytes);
    let guarded = Guarded::take(bench);
    for steps in 0..=4 {
        let it = || bench.contract();
        it().prepare(&new.bytes, &new.payloads, &within()).unwrap();
        if steps > 0 {
            it().switch(&digest, &within()).unwrap();
        }
        if steps > 1 {
            restart(bench).unwrap();
        }
        if steps > 2 {
            it().probe(&digest, &within()).unwrap();
        }
        if steps > 3 {
            it().commit(&digest, &within()).unwrap();
        }
        for _ in 0..2 {
            it().revert(&digest, &within()).unwrap();
            assert!(!it().is_switched(&digest, &within()).unwrap(), "after {steps} steps");
            restart(bench).unwrap();
            assert_eq!(truth(it().as_ref(), &new), is(1, 2, false), "after {steps} steps");
        }
        assert!(it().probe(&digest, &within()).is_err(), "the old version runs, which proves nothing of the new one");
        guarded.is_untouched(bench);
    }
    // The same version once more, and to its end.
    bench.contract().switch(&digest, &within()).unwrap();
    restart(bench).unwrap();
    bench.contract().commit(&digest, &within()).unwrap();
    assert_eq!(truth(bench.contract().as_ref(), &new), is(2, 1, true));
}

pub(crate) fn wrong_bytes_are_refused(bench: &dyn Bench) {
    let guarded = Guarded::take(bench);
    let new = bench.bundle(2);
    let (payload, path, _) = &new.payloads[0];
    let flipped = path.with_extension("flipped");
    for at in [payload.length / 2, payload.length - 1] {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[usize::try_from(at).unwrap()] ^= 1;
        std::fs::write(&flipped, bytes).unwrap();
        let mut wrong = new.payloads.clone();
        wrong[0].1 = flipped.clone();
        let error = bench.contract().prepare(&new.bytes, &wrong, &within()).unwrap_err();
        assert!(error.is_wrong_bytes(), "{error}");
        assert_ne!(truth_of(bench), Some(2), "wrong bytes are no version");
        guarded.is_untouched(bench);
    }
    // What is altered where it lies is found too.
    let whole = &new.payloads;
    bench.contract().prepare(&new.bytes, whole, &within()).unwrap();
    let prepared = bench.contract().prepared(&within()).unwrap().unwrap();
    bench.contract().verify(&prepared, &mut |_| Ok(()), &within()).unwrap();
    flip(&bench.files(&prepared)[0]);
    let error = bench.contract().verify(&prepared, &mut |_| Ok(()), &within()).unwrap_err();
    assert!(error.is_wrong_bytes(), "{error}");
    bench.contract().prepare(&new.bytes, whole, &within()).unwrap();
    bench.contract().verify(&prepared, &mut |_| Ok(()), &within()).unwrap();
    let running = bench.contract().running(&within()).unwrap().unwrap();
    flip(&bench.files(&running)[0]);
    assert!(bench.contract().verify(&running, &mut |_| Ok(()), &within()).unwrap_err().is_wrong_bytes());
}

fn truth_of(bench: &dyn Bench) -> Option<u64> {
    let prepared = bench.contract().prepared(&within()).unwrap();
    prepared.map(|version| version.manifest.release.0)
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // In place: the file may be a link's, or a device's.
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    file.sync_all().unwrap();
}

pub(crate) fn nothing_is_switched_to_that_was_not_prepared(bench: &dyn Bench) {
    let new = bench.bundle(2);
    let digest = Digest::of(&new.bytes);
    assert!(bench.contract().switch(&digest, &within()).is_err());
    assert_eq!(truth(bench.contract().as_ref(), &new), is(1, None, false));
    restart(bench).unwrap();
    assert_eq!(truth(bench.contract().as_ref(), &new), is(1, None, false));
    assert!(bench.contract().probe(&digest, &within()).is_err());
    assert!(bench.contract().commit(&digest, &within()).is_err());
}

/// The power fails at each step that the agent takes on the disk, in turn; then the same is called again.
pub(crate) fn a_cut_at_any_step_on_the_disk_is_made_good_by_the_same_call(bench: &dyn Bench) {
    let mut release = 1;
    for at in 0.. {
        let new = bench.bundle(release + 1);
        let digest = Digest::of(&new.bytes);
        let mut cuts = 0;
        let mut survive = |step: &dyn Fn(&dyn Contract) -> Result<(), InstallError>| {
            let guarded = Guarded::take(bench);
            power::cut_after(at);
            let done = step(bench.contract().as_ref());
            let was_cut = power::restore();
            assert!(done.is_ok() || was_cut, "{done:?}");
            cuts += u32::from(was_cut);
            guarded.is_untouched(bench);
            let running = bench.contract().running(&within()).unwrap().unwrap();
            assert_eq!(running.digest, guarded.version.digest);
            // Whatever is told to lie prepared does.
            if let Some(prepared) = bench.contract().prepared(&within()).unwrap() {
                bench.contract().verify(&prepared, &mut |_| Ok(()), &within()).unwrap();
            }
            step(bench.contract().as_ref()).unwrap();
        };
        survive(&|it| it.prepare(&new.bytes, &new.payloads, &within()));
        assert_eq!(truth_of(bench), Some(release + 1));
        let now = || truth(bench.contract().as_ref(), &new);
        let cut = |step: &dyn Fn(&dyn Contract) -> Result<(), InstallError>| {
            power::cut_after(at);
            let _ = step(bench.contract().as_ref());
            let was_cut = power::restore();
            let told = bench.contract().running(&within()).unwrap().unwrap();
            bench.contract().verify(&told, &mut |_| Ok(()), &within()).unwrap();
            step(bench.contract().as_ref()).unwrap();
            u32::from(was_cut)
        };
        let mut after = cut(&|it| it.switch(&digest, &within()));
        assert!(now().switched);
        after += cut(&|it| it.revert(&digest, &within()));
        assert!(!now().switched);
        bench.contract().switch(&digest, &within()).unwrap();
        restart(bench).unwrap();
        after += cut(&|it| it.commit(&digest, &within()));
        restart(bench).unwrap();
        release += 1;
        assert_eq!(now(), is(release, release - 1, true));
        if cuts + after == 0 {
            assert!(at > 3, "there was nothing to cut");
            return;
        }
    }
}

pub(crate) fn what_is_left_in_the_middle_is_no_version(bench: &dyn Bench) {
    let guarded = Guarded::take(bench);
    let new = bench.bundle(2);
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    let left = Within::new(Duration::from_secs(60), stop);
    assert!(bench.contract().prepare(&new.bytes, &new.payloads, &left).is_err());
    assert_eq!(truth_of(bench), None);
    assert!(bench.contract().prepare(&new.bytes, &new.payloads, &Within::limit(Duration::ZERO)).is_err());
    assert_eq!(truth_of(bench), None);
    guarded.is_untouched(bench);
    bench.contract().prepare(&new.bytes, &new.payloads, &within()).unwrap();
    assert_eq!(truth_of(bench), Some(2));
}

/// Once on a full disk, where the bench has one.
pub(crate) fn a_full_disk_is_told_and_leaves_what_runs(bench: &dyn Bench) {
    let guarded = Guarded::take(bench);
    let new = bench.bundle(2);
    let Some(full) = bench.full() else { return };
    let error = full.prepare(&new.bytes, &new.payloads, &within()).unwrap_err();
    assert!(error.is_full(), "{error}: {:?}", std::error::Error::source(&error));
    assert_ne!(full.prepared(&within()).unwrap().map(|version| version.manifest.release.0), Some(2));
    guarded.is_untouched(bench);
    bench.contract().prepare(&new.bytes, &new.payloads, &within()).unwrap();
    assert_eq!(truth_of(bench), Some(2), "once there is room it goes on");
}

/// A restart that does not end is ended; the next step has the device to itself.
pub(crate) fn a_step_that_hangs_is_ended(bench: &dyn Bench) {
    let new = bench.bundle(2);
    let digest = Digest::of(&new.bytes);
    let limits = Limits { prepare: Duration::from_secs(60), step: Duration::from_secs(60) };
    let installer = Installer::by(bench.contract(), limits);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        installer.prepare(new.bytes.clone(), new.payloads.clone()).await.unwrap();
        installer.switch(&digest).await.unwrap();
        let argv = ["sleep", "600"].map(str::to_owned).to_vec();
        let hangs = Command { argv, timeout: Duration::from_millis(100) };
        let error = installer.restart(&hangs).await.unwrap_err();
        assert!(matches!(error, InstallError::Restart(_) | InstallError::Slow { .. }), "{error}");
        installer.revert(&digest).await.unwrap();
        installer.restart(&bench.restart()).await.unwrap();
        assert_eq!(installer.running().await.unwrap().unwrap().manifest.release.0, 1);
        assert!(!installer.is_switched(&digest).await.unwrap());
    });
}

/// A test of each rule, for the bench that `$bench` makes.
macro_rules! contract_suite {
    ($bench:expr) => {
        $crate::install::suite::contract_suite!(
            $bench;
            each_step_may_be_repeated_and_tells_the_truth
            from_each_point_there_is_a_way_back
            wrong_bytes_are_refused
            nothing_is_switched_to_that_was_not_prepared
            a_cut_at_any_step_on_the_disk_is_made_good_by_the_same_call
            what_is_left_in_the_middle_is_no_version
            a_full_disk_is_told_and_leaves_what_runs
            a_step_that_hangs_is_ended
        );
    };
    ($bench:expr; $($rule:ident)*) => {
        $(
            #[test]
            fn $rule() {
                $crate::install::suite::$rule(&$bench);
            }
        )*
    };
}

pub(crate) use contract_suite;
