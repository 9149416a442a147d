use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::sync::Arc;

use rustix::fs::OFlags;
use suture_core::manifest::PayloadFormat;

use self::stand_ins::By;
use super::*;
use crate::install::slots::tests::manifest_of;
use crate::install::suite::{self, Bench, Bundle, contract_suite};

/// Where `tests/boot/run.sh` has the boot loaders themselves ready: then each device here has one, and its stand-in is only
/// compared with it, at each start.
const REAL: &str = "SUTURE_BOOT";

/// U-Boot's own: where it finds its script and what that starts. In `tests/boot` all of that lies in files.
const UBOOT_COMMANDS: [&str; 5] = [
    "bootdelay=0",
    "bootargs=quiet",
    "bootcmd=host load hostfs - 1000000 boot.scr; source 1000000",
    "boot_a=host load hostfs - 1100000 slot-a.scr; source 1100000",
    "boot_b=host load hostfs - 1100000 slot-b.scr; source 1100000",
];

/// A device with two places for each of two payloads, in files.
struct Device {
    dir: tempfile::TempDir,
    by: By,
}

impl Device {
    fn new(by: By) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let path = path.as_path();
        match by {
            By::UBoot | By::Rauc => {
                let order = ["BOOT_ORDER=A B", "BOOT_A_LEFT=3", "BOOT_B_LEFT=3"];
                environment::tests::make(path, &[&order[..], &UBOOT_COMMANDS[..]].concat());
            }
            By::SystemdBoot => {
                fs::create_dir(path.join("entries")).unwrap();
                for side in ["a", "b"] {
                    let entry = format!(
                        "title pump\nlinux /pump-{side}/linux\ninitrd /pump-{side}/initrd\n\
                         options console=ttyS0 quiet suture.slot={side}\n"
                    );
                    fs::write(path.join(format!("entry-{side}")), entry).unwrap();
                }
                fs::write(path.join("loader.conf"), "timeout 0\ndefault pump-*\n").unwrap();
            }
        }
        let program = |name: &str, text: &str| {
            fs::write(path.join(name), text).unwrap();
            fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        };
        match (std::env::var(REAL).ok().filter(|ready| !ready.is_empty()), by.real()) {
            (Some(ready), Some(real)) => {
                let start = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/boot/start.sh");
                let call = format!("exec '{}' {real} '{ready}' \"$(dirname \"$0\")\"", start.display());
                program("stand-in.sh", by.script());
                program("boot.sh", &format!("#!/bin/sh\n{call}\n"));
            }
            _ => program("boot.sh", by.script()),
        }
        fs::write(path.join("cmdline"), "quiet suture.slot=a\n").unwrap();
        fs::write(path.join("boot_id"), "by the factory\n").unwrap();
        let device = Self { dir, by };
        if by == By::SystemdBoot {
            device.loader().keep(Side::A).unwrap();
        }
        let first = device.bundle(1);
        for (payload, from, _) in &first.payloads {
            fs::copy(from, path.join(format!("{}-a.img", payload.name))).unwrap();
        }
        device.contract().provision(&first.bytes, &first.payloads, &Within::limit(Duration::from_secs(60))).unwrap();
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn loader(&self) -> Loader {
        match self.by {
            By::UBoot | By::Rauc => Loader::UBoot(environment::tests::at(self.dir.path())),
            By::SystemdBoot => Loader::SystemdBoot(Entries {
                dir: self.path("entries"),
                name: "pump".to_owned(),
                a: self.path("entry-a"),
                b: self.path("entry-b"),
            }),
        }
    }

    fn image(&self, app: &str) -> Image {
        let place = |payload: &str, to: &str| Place {
            payload: payload.parse().unwrap(),
            a: self.path(&format!("{payload}-a.img")),
            b: PathBuf::from(to),
        };
        let kernel = self.path("kernel-b.img");
        let places = vec![place("app", app), place("kernel", kernel.to_str().unwrap())];
        let booted = self.path("cmdline");
        let settings = ImageSettings { places, loader: self.loader(), booted, argument: "suture.slot".to_owned() };
        Image::new(&self.path("slots"), settings, &self.path("boot_id"))
    }

    /// One start of the device.
    fn start(&self) {
        assert!(std::process::Command::new(self.path("boot.sh")).status().unwrap().success());
    }

    fn booted(&self) -> Side {
        self.image("/nowhere").booted().unwrap()
    }
}

impl Bench for Device {
    fn contract(&self) -> Arc<dyn Contract> {
        Arc::new(self.image(self.path("app-b.img").to_str().unwrap()))
    }

    fn bundle(&self, release: u64) -> Bundle {
        let contents = [("app", 3_000_001), ("kernel", 70_000)].map(|(name, length)| {
            let bytes: Vec<u8> = (0..length).map(|at| (at as u64 * (release + 6) / 3 % 251) as u8).collect();
            (name, PayloadFormat::Image, bytes)
        });
        let (manifest, bytes, payloads) = manifest_of(self.dir.path(), release, InstallKind::Image, &contents);
        Bundle { manifest, bytes, payloads }
    }

    fn restart(&self) -> Command {
        Command { argv: vec![self.path("boot.sh").to_str().unwrap().to_owned()], timeout: Duration::from_secs(60) }
    }

    fn files(&self, version: &Version) -> Vec<PathBuf> {
        let side = version.side.as_str();
        vec![self.path(&format!("app-{side}.img")), self.path(&format!("kernel-{side}.img"))]
    }

    fn full(&self) -> Option<Arc<dyn Contract>> {
        Some(Arc::new(self.image("/dev/full")))
    }
}

mod real;
mod stand_ins;

mod uboot {
    use super::*;

    contract_suite!(Device::new(By::UBoot));
}

mod systemd_boot {
    use super::*;

    contract_suite!(Device::new(By::SystemdBoot));
}

fn within() -> Within {
    Within::limit(Duration::from_secs(60))
}

/// The new version does not come up: the boot loader goes back by itself, with no agent there; the next one sees it.
#[test]
fn what_does_not_come_up_falls_back_by_the_boot_loader_itself() {
    for by in [By::UBoot, By::Rauc, By::SystemdBoot] {
        let device = Device::new(by);
        let new = device.bundle(2);
        let digest = Digest::of(&new.bytes);
        device.contract().prepare(&new.bytes, &new.payloads, &within()).unwrap();
        device.contract().switch(&digest, &within()).unwrap();
        fs::write(device.path("dead-b"), "").unwrap();
        device.start();
        assert_eq!(device.booted(), Side::A);
        let it = device.contract();
        assert!(it.is_switched(&digest, &within()).unwrap(), "it was, and nobody took it back");
        assert_eq!(it.running(&within()).unwrap().unwrap().manifest.release.0, 1);
        let error = it.restart(&device.restart(), &within()).unwrap_err().to_string();
        assert!(error.contains("gone back to slot a"), "{error}");
        assert!(matches!(it.probe(&digest, &within()), Err(InstallError::WentBack(_))));
        it.revert(&digest, &within()).unwrap();
        it.restart(&device.restart(), &within()).unwrap();
        assert!(!it.is_switched(&digest, &within()).unwrap());

        // Mended, it is tried anew, with all its tries.
        fs::remove_file(device.path("dead-b")).unwrap();
        it.switch(&digest, &within()).unwrap();
        it.restart(&device.restart(), &within()).unwrap();
        assert_eq!(device.booted(), Side::B);
    }
}

/// The disk has lost what the new slot says that it holds, and the new version proves nothing: the old one comes back.
#[test]
fn a_slot_that_does_not_say_what_it_holds_is_left_for_the_one_that_does() {
    for damage in [None, Some(&b"{\"torn"[..])] {
        let device = Device::new(By::UBoot);
        let new = device.bundle(2);
        let digest = Digest::of(&new.bytes);
        let it = device.contract();
        it.prepare(&new.bytes, &new.payloads, &within()).unwrap();
        it.switch(&digest, &within()).unwrap();
        it.restart(&device.restart(), &within()).unwrap();
        assert_eq!(device.booted(), Side::B);
        let about = device.path("slots/b/.suture/manifest.json");
        match damage {
            None => fs::remove_file(&about).unwrap(),
            Some(bytes) => fs::write(&about, bytes).unwrap(),
        }
        for _ in 0..2 {
            it.revert(&digest, &within()).unwrap();
            it.restart(&device.restart(), &within()).unwrap();
            assert_eq!((device.booted(), device.loader().order().unwrap().first), (Side::A, Side::A));
        }
        assert_eq!(it.running(&within()).unwrap().unwrap().manifest.release.0, 1);

        // Where neither says it nobody guesses.
        fs::remove_file(device.path("slots/a/.suture/manifest.json")).unwrap();
        assert!(it.revert(&digest, &within()).is_err());
    }
}

#[test]
fn a_restart_that_comes_late_is_waited_for() {
    for by in [By::UBoot, By::SystemdBoot] {
        suite::a_restart_that_comes_late_is_waited_for(&Device::new(by));
    }
}

/// Where no file says by which start of the device it runs, the process that has asked knows it by itself.
#[test]
fn a_restart_is_waited_for_where_the_boot_id_is_hidden_too() {
    let device = Device::new(By::UBoot);
    fs::remove_file(device.path("boot_id")).unwrap();
    let (it, new) = (device.contract(), device.bundle(2));
    let said = it.examine(&within()).unwrap();
    assert!(said.contains("boot_id` to a copy of /proc/sys/kernel/random/boot_id"), "{said}");
    let digest = Digest::of(&new.bytes);
    it.prepare(&new.bytes, &new.payloads, &within()).unwrap();
    it.switch(&digest, &within()).unwrap();
    let asks = Command { argv: vec!["true".to_owned()], timeout: Duration::from_secs(60) };
    let short = || Within::limit(Duration::from_millis(200));
    it.restart(&asks, &short()).unwrap_err();
    it.revert(&digest, &within()).unwrap();
    it.restart(&asks, &short()).unwrap_err();
    // The next start of the agent, which may be one of the device.
    device.contract().restart(&asks, &short()).unwrap();
}

/// A device that is switched off and on again and again, before the agent says that the new version is well and after it.
#[test]
fn unproven_it_has_three_tries_and_proven_it_stays() {
    for by in [By::UBoot, By::Rauc, By::SystemdBoot] {
        let device = Device::new(by);
        let new = device.bundle(2);
        let digest = Digest::of(&new.bytes);
        device.contract().prepare(&new.bytes, &new.payloads, &within()).unwrap();
        device.contract().switch(&digest, &within()).unwrap();
        let started: Vec<Side> = (0..5)
            .map(|_| {
                device.start();
                device.booted()
            })
            .collect();
        assert_eq!(started, [Side::B, Side::B, Side::B, Side::A, Side::A], "{:?}", device.loader());
        device.contract().revert(&digest, &within()).unwrap();
        device.contract().switch(&digest, &within()).unwrap();
        device.start();
        device.contract().commit(&digest, &within()).unwrap();
        for _ in 0..7 {
            device.start();
            assert_eq!(device.booted(), Side::B, "nobody has signed the way back");
        }
    }
}

#[test]
fn the_slot_in_use_is_not_written_whatever_it_is_called() {
    let device = Device::new(By::UBoot);
    let new = device.bundle(2);
    let link = device.path("another-name");
    std::os::unix::fs::symlink(device.path("app-a.img"), &link).unwrap();
    let before = fs::read(device.path("app-a.img")).unwrap();
    for name in [&link, &device.path("app-a.img"), &device.path("kernel-a.img")] {
        let it = device.image(name.to_str().unwrap());
        let error = it.prepare(&new.bytes, &new.payloads, &within()).unwrap_err();
        assert!(matches!(error, InstallError::InUse { .. }), "{error}");
    }
    assert!(fs::read(device.path("app-a.img")).unwrap() == before);
}

#[test]
fn what_runs_is_not_guessed() {
    let device = Device::new(By::UBoot);
    for cmdline in ["", "quiet", "suture.slot=c", "xsuture.slot=a", "suture.slot"] {
        fs::write(device.path("cmdline"), cmdline).unwrap();
        let error = device.contract().running(&within()).unwrap_err().to_string();
        assert!(error.contains("does not say which slot runs"), "{error}");
        assert!(device.contract().examine(&within()).is_err());
    }
    fs::write(device.path("cmdline"), "suture.slot=b suture.slot=A").unwrap();
    assert_eq!(device.booted(), Side::A, "the last word counts, as for the kernel");
}

#[test]
fn a_bundle_that_has_no_place_here_is_refused_beforehand() {
    let device = Device::new(By::UBoot);
    let contents = [("other", PayloadFormat::Image, vec![1; 100])];
    let (manifest, ..) = manifest_of(device.dir.path(), 9, InstallKind::Image, &contents);
    let refusal = device.contract().refusal(&manifest).unwrap();
    assert!(refusal.contains("no place for payload other"), "{refusal}");
    assert_eq!(device.contract().refusal(&device.bundle(2).manifest), None);
}

/// A factory's image that is not what was signed.
#[test]
fn a_factorys_slot_is_believed_only_once_it_was_hashed() {
    let device = Device::new(By::UBoot);
    let other = device.bundle(5);
    let error = device.contract().provision(&other.bytes, &other.payloads, &within()).unwrap_err();
    assert!(error.is_wrong_bytes());
    assert!(device.contract().running(&within()).unwrap().is_none());
}

/// A loop device over a file; none where this machine lets nobody have one.
struct Block(PathBuf);

impl Block {
    fn over(file: &Path) -> Option<Self> {
        let made = std::process::Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        made.status.success().then(|| Self(String::from_utf8(made.stdout).unwrap().trim().into()))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn a_block_device_is_written_unless_it_is_in_use_or_too_small() {
    let device = Device::new(By::UBoot);
    let new = device.bundle(2);
    let disk = |name: &str, bytes: u64| {
        let path = device.path(name);
        fs::File::create(&path).unwrap().set_len(bytes).unwrap();
        path
    };
    let (Some(block), Some(small)) = (Block::over(&disk("disk", 4 << 20)), Block::over(&disk("small", 1 << 20))) else {
        return;
    };
    let refusal = device.image(small.0.to_str().unwrap()).refusal(&new.manifest).unwrap();
    assert!(refusal.contains("3000001 bytes") && refusal.contains("holds 1048576"), "{refusal}");
    let it = device.image(block.0.to_str().unwrap());
    assert_eq!(it.refusal(&new.manifest), None);
    let mounted =
        fs::OpenOptions::new().write(true).custom_flags(OFlags::EXCL.bits().cast_signed()).open(&block.0).unwrap();
    let error = crate::agent::chain(&it.prepare(&new.bytes, &new.payloads, &within()).unwrap_err());
    assert!(error.contains("busy"), "{error}");
    assert!(it.prepared(&within()).unwrap().is_none());
    drop(mounted);
    it.prepare(&new.bytes, &new.payloads, &within()).unwrap();
    let prepared = it.prepared(&within()).unwrap().unwrap();
    it.verify(&prepared, &mut |_| Ok(()), &within()).unwrap();
    let view = prepared.view(&prepared.manifest.payloads[0]).unwrap();
    let mut end = [0; 100];
    view.read_at(3_000_001 - 100, &mut end).unwrap();
    assert_eq!(end[..], fs::read(&new.payloads[0].1).unwrap()[3_000_001 - 100..]);
}

/// A file would be made in memory, read back whole and recorded, and the boot loader would start what lies on the partition.
#[test]
fn a_device_that_is_not_there_is_not_made_as_a_file_and_costs_the_slot_nothing() {
    let (device, place) = (Device::new(By::UBoot), Path::new("/dev/suture-test-no-such-partition"));
    let [one, two] = [1, 2].map(|release| device.bundle(release));
    let whole = device.image(device.path("app-b.img").to_str().unwrap());
    whole.prepare(&one.bytes, &one.payloads, &within()).unwrap();
    let refused = |done: Result<(), InstallError>| {
        let said = crate::agent::chain(&done.unwrap_err());
        let made = fs::remove_file(place).is_ok();
        assert!(said.contains("no such block device") && !made, "{said}");
    };
    // Whichever payload it is of, nothing of the others is written.
    let mut payloads = two.payloads.clone();
    payloads.reverse();
    refused(device.image(place.to_str().unwrap()).prepare(&two.bytes, &payloads, &within()));
    assert_eq!(whole.prepared(&within()).unwrap().unwrap().digest, Digest::of(&one.bytes));
    let (payload, from, _) = &two.payloads[0];
    refused(medium::write(payload, from, place, &within()));
}

/// An SD card or a stick that bears the label of the device's own partition took the new version, and the boot loader started the old one
/// that lies on its own disk.
#[test]
fn a_name_that_a_second_medium_bears_too_is_not_written_and_costs_the_slot_nothing() {
    let device = Device::new(By::UBoot);
    let [one, two] = [1, 2].map(|release| device.bundle(release));
    device.contract().prepare(&one.bytes, &one.payloads, &within()).unwrap();
    let links = links::tests::links(device.dir.path(), &[("179:3", "mmcblk0p3"), ("8:2", "sda2")]);
    let name = links.dev.join("disk/by-partlabel/app-b");
    fs::create_dir_all(name.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(device.path("card"), &name).unwrap();
    fs::write(device.path("card"), "the card's").unwrap();
    let it = Image { links: links.clone(), ..device.image(name.to_str().unwrap()) };
    let claim = |device: &str| links::tests::claim(&links, r"disk\x2fby-partlabel\x2fapp-b", device);
    claim("b179:3");
    claim("b8:2");
    let kernel = fs::read(device.path("kernel-b.img")).unwrap();
    for said in [
        crate::agent::chain(&it.prepare(&two.bytes, &two.payloads, &within()).unwrap_err()),
        it.examine(&within()).unwrap_err(),
    ] {
        assert!(said.contains("app-b: ") && said.contains("/dev/sda2, /dev/mmcblk0p3"), "{said}");
    }
    assert_eq!(it.prepared(&within()).unwrap().unwrap().digest, Digest::of(&one.bytes), "the slot keeps what it holds");
    assert!(
        fs::read(device.path("card")).unwrap() == b"the card's"
            && fs::read(device.path("kernel-b.img")).unwrap() == kernel
    );

    // Once the card is out again.
    fs::remove_file(links.claims.join(r"disk\x2fby-partlabel\x2fapp-b/b8:2")).unwrap();
    it.examine(&within()).unwrap();
    it.prepare(&two.bytes, &two.payloads, &within()).unwrap();
    assert_eq!(it.prepared(&within()).unwrap().unwrap().digest, Digest::of(&two.bytes));
}
