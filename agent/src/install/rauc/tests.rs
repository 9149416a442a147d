//! The real RAUC, by the contract's suite. It mounts bundles, which only root may: an ordinary user has no bench.

use std::fs;
use std::sync::Arc;

use suture_core::manifest::PayloadFormat;
use suture_core::phase::{Code, Reason};

use super::super::slots::tests::manifest_of;
use super::super::suite::{self, Bench, Bundle};
use super::stage::{Image as Kind, Stage, image, key, may_mount};
use super::*;

/// A device with RAUC that runs the first release, as its factory left it.
struct Device {
    dir: tempfile::TempDir,
    stage: Stage,
}

impl Device {
    fn rauc(&self) -> Rauc {
        let slots = self.dir.path().join("slots");
        let [conf, boot_id] = ["system.conf", "boot_id"].map(|name| self.stage.dir.join(name));
        Rauc::new(&slots, self.command(&["rauc"]), &conf, &boot_id)
    }

    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stage = Stage::new(dir.path().join("rauc"), &image(1, Kind::Good));
        fs::create_dir(dir.path().join("slots")).unwrap();
        let device = Self { dir, stage };
        let first = device.bundle(1);
        for _ in 0..2 {
            device
                .contract()
                .provision(&first.bytes, &first.payloads, &Within::limit(Duration::from_secs(60)))
                .unwrap();
        }
        device
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let [env, address, _] = self.stage.argv();
        let argv = [env, address].into_iter().chain(arguments.iter().map(|a| (*a).to_owned())).collect();
        Command { argv, timeout: Duration::from_secs(60) }
    }
}

impl Bench for Device {
    fn contract(&self) -> Arc<dyn Contract> {
        Arc::new(self.rauc())
    }

    fn bundle(&self, release: u64) -> Bundle {
        let bundle = fs::read(self.stage.bundle(&release.to_string(), &image(release, Kind::Good), "maker")).unwrap();
        let contents = [("app", PayloadFormat::Image, bundle)];
        let (manifest, bytes, payloads) = manifest_of(self.dir.path(), release, InstallKind::Rauc, &contents);
        Bundle { manifest, bytes, payloads }
    }

    fn restart(&self) -> Command {
        self.command(&[self.stage.dir.join("power.sh").to_str().unwrap()])
    }

    fn files(&self, version: &Version) -> Vec<PathBuf> {
        let side = version.side.as_str();
        let bundle = self.dir.path().join("slots").join(side).join("app");
        vec![bundle, self.stage.dir.join(format!("{}.img", side.to_uppercase()))]
    }
}

/// The suite's rules, for those who may mount.
macro_rules! rules {
    ($($rule:ident)*) => {
        $(
            #[test]
            fn $rule() {
                if may_mount() {
                    suite::$rule(&Device::new());
                }
            }
        )*
    };
}

rules! {
    each_step_may_be_repeated_and_tells_the_truth
    from_each_point_there_is_a_way_back
    wrong_bytes_are_refused
    nothing_is_switched_to_that_was_not_prepared
    a_cut_at_any_step_on_the_disk_is_made_good_by_the_same_call
    what_is_left_in_the_middle_is_no_version
    a_step_that_hangs_is_ended
    a_restart_that_comes_late_is_waited_for
}

fn within() -> Within {
    Within::limit(Duration::from_secs(60))
}

#[test]
fn what_is_not_as_rauc_wrote_it_is_seen() {
    if !may_mount() {
        return;
    }
    let device = Device::new();
    let (it, new) = (device.contract(), device.bundle(2));
    let two = Digest::of(&new.bytes);
    it.prepare(&new.bytes, &new.payloads, &within()).unwrap();
    let log = device.stage.log();
    it.prepare(&new.bytes, &new.payloads, &within()).unwrap();
    assert_eq!(device.stage.log(), log, "what lies there is not written again");
    let version = it.prepared(&within()).unwrap().unwrap();
    let slot = device.stage.dir.join("B.img");
    let mut bytes = fs::read(&slot).unwrap();
    bytes[500_000] ^= 1;
    fs::write(&slot, bytes).unwrap();
    let error = it.verify(&version, &mut |_| Ok(()), &within()).unwrap_err();
    assert!(matches!(error, InstallError::WrongBytes { .. }), "{error}");
    it.prepare(&new.bytes, &new.payloads, &within()).unwrap();
    it.verify(&version, &mut |_| Ok(()), &within()).unwrap();

    // Somebody has RAUC install by hand: what lies there is not known any more, and no way leads to it.
    let by_hand = device.stage.bundle("by-hand", &image(9, Kind::Good), "maker");
    assert!(device.stage.rauc(&["install", by_hand.to_str().unwrap()]));
    assert!(it.prepared(&within()).unwrap().is_none());
    assert!(matches!(it.switch(&two, &within()), Err(InstallError::NotPrepared)));
    assert!(device.stage.rauc(&["status", "mark-active", "rootfs.1"]) && device.stage.power());
    assert!(matches!(it.running(&within()), Err(InstallError::Unknown)));
    assert!(device.stage.rauc(&["status", "mark-active", "rootfs.0"]) && device.stage.power());
    assert_eq!(it.running(&within()).unwrap().unwrap().manifest.release.0, 1);
}

#[test]
fn what_rauc_was_writing_when_the_power_failed_is_no_version() {
    if !may_mount() {
        return;
    }
    let device = Device::new();
    let (it, new) = (device.contract(), device.bundle(2));
    device.stage.shut();
    std::thread::scope(|scope| {
        let prepared = scope.spawn(|| it.prepare(&new.bytes, &new.payloads, &within()));
        device.stage.reached();
        device.stage.cut();
        assert!(prepared.join().unwrap().is_err());
    });
    assert!(it.running(&within()).is_err(), "nobody answers");
    assert!(device.stage.power());
    assert_eq!(device.stage.says("booted"), "A");
    assert!(it.prepared(&within()).unwrap().is_none());
    it.prepare(&new.bytes, &new.payloads, &within()).unwrap();
    let version = it.prepared(&within()).unwrap().unwrap();
    it.verify(&version, &mut |_| Ok(()), &within()).unwrap();
    let mut bytes = Vec::new();
    version.read(&version.manifest.payloads[0], &mut bytes).unwrap();
    assert_eq!(Digest::of(&bytes), version.manifest.payloads[0].sha256, "deltas are made from it");
}

#[test]
fn nothing_is_written_where_rauc_would_not_leave_the_switch_to_the_agent_or_knows_no_such_bundle() {
    if !may_mount() {
        return;
    }
    let device = Device::new();
    let (it, new) = (device.contract(), device.bundle(2));
    let conf = device.stage.says("system.conf");
    let write = |from: &str, to: &str| {
        assert!(conf.contains(from));
        fs::write(device.stage.dir.join("system.conf"), conf.replace(from, to)).unwrap();
    };
    write("activate-installed=false", "activate-installed=true");
    let error = it.prepare(&new.bytes, &new.payloads, &within()).unwrap_err();
    assert!(error.to_string().contains("activate-installed=false"), "{error}");
    assert!(it.examine(&within()).is_err());
    // RAUC's service reads its configuration as it starts.
    write("compatible=pump", "compatible=other");
    assert!(device.stage.power());
    let error = it.prepare(&new.bytes, &new.payloads, &within()).unwrap_err();
    assert_eq!(Reason::from(&error).code, Code::UnusableBundle, "{error}");
    assert!(error.is_wrong_bytes());
    key(&device.stage.dir, "maker");
    write("compatible=pump", "compatible=pump");
    assert!(device.stage.power());
    let error = it.prepare(&new.bytes, &new.payloads, &within()).unwrap_err();
    assert!(error.to_string().contains("signature verification failed"), "{error}");
    assert_eq!(Reason::from(&error).code, Code::UnusableBundle);
    assert_eq!(device.stage.slot("B"), "", "nothing was written");
}

/// Accident: a boot loader's variables that cannot be read for a moment. That is no word of what was switched to.
#[test]
fn a_boot_loader_that_names_no_slot_has_not_said_that_nothing_was_switched() {
    if !may_mount() {
        return;
    }
    let device = Device::new();
    let (it, new) = (device.contract(), device.bundle(2));
    let two = Digest::of(&new.bytes);
    it.prepare(&new.bytes, &new.payloads, &within()).unwrap();
    it.switch(&two, &within()).unwrap();
    let order = device.stage.says("order");
    fs::write(device.stage.dir.join("order"), "").unwrap();
    let said = it.is_switched(&two, &within()).unwrap_err();
    assert!(said.to_string().contains("which slot starts next"), "{said}");
    fs::write(device.stage.dir.join("order"), order).unwrap();
    assert!(it.is_switched(&two, &within()).unwrap());
}

/// Accident: the power fails right after the switch, and what the agent wrote of the new slot is torn.
#[test]
fn a_slot_that_starts_next_and_of_which_nothing_is_known_has_not_said_that_nothing_was_switched() {
    if !may_mount() {
        return;
    }
    let device = Device::new();
    let (it, new) = (device.rauc(), device.bundle(2));
    let two = Digest::of(&new.bytes);
    it.prepare(&new.bytes, &new.payloads, &within()).unwrap();
    assert!(!it.is_switched(&two, &within()).unwrap());
    it.switch(&two, &within()).unwrap();
    let layout = it.program.layout(&within()).unwrap();
    let mark = it.mark_path(layout.primary.unwrap());
    let whole = fs::read(&mark).unwrap();
    fs::write(&mark, b"{").unwrap();
    assert!(matches!(it.is_switched(&two, &within()).unwrap_err(), InstallError::Unknown));
    fs::write(&mark, whole).unwrap();
    assert!(it.is_switched(&two, &within()).unwrap());
}
