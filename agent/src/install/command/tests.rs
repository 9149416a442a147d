use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::install::slots::tests::manifest_of;
use crate::install::suite::{Bench, Bundle, contract_suite, obeys_modes};

/// The one that the guide shows.
const EXAMPLE: &str = include_str!("example.sh");

/// A device with the guide's program, and what is put before it.
struct Device {
    dir: tempfile::TempDir,
}

impl Device {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let device = Self { dir };
        fs::create_dir(device.path("slots")).unwrap();
        device.program(EXAMPLE);
        let first = device.bundle(1);
        device.contract().provision(&first.bytes, &first.payloads, &within()).unwrap();
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, text: &str) {
        let path = self.path("installer");
        fs::write(path.with_extension("new"), text).unwrap();
        fs::set_permissions(path.with_extension("new"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
    }

    /// The guide's, with this said and done before it.
    fn before(&self, lines: &str) {
        self.program(&format!("#!/bin/sh\n{lines}\n{EXAMPLE}"));
    }

    fn installer(&self) -> Program {
        let argv = vec![self.path("installer").to_str().unwrap().to_owned()];
        Program::new(&self.path("slots"), Command { argv, timeout: Duration::from_secs(86_400) }, &self.path("boot_id"))
    }

    fn prepared(&self) -> (Bundle, Digest) {
        let new = self.bundle(2);
        let digest = Digest::of(&new.bytes);
        self.contract().prepare(&new.bytes, &new.payloads, &within()).unwrap();
        (new, digest)
    }
}

impl Bench for Device {
    fn contract(&self) -> Arc<dyn Contract> {
        Arc::new(self.installer())
    }

    fn bundle(&self, release: u64) -> Bundle {
        let bytes = |length: u64| -> Vec<u8> { (0..length).map(|at| (at * (release + 6) / 3 % 251) as u8).collect() };
        let contents = [("app", PayloadFormat::Tree, bytes(100_000)), ("fw", PayloadFormat::Image, bytes(70_001))];
        let (manifest, bytes, payloads) = manifest_of(self.dir.path(), release, InstallKind::Command, &contents);
        Bundle { manifest, bytes, payloads }
    }

    fn restart(&self) -> Command {
        Command { argv: vec!["true".to_owned()], timeout: Duration::from_secs(60) }
    }

    fn files(&self, version: &Version) -> Vec<PathBuf> {
        let side = self.path("slots").join(version.side.as_str());
        vec![side.join("app/bin/app"), side.join("fw"), side.join("digest")]
    }

    /// With a `cp` that says what the real one says of a full disk.
    fn full(&self) -> Option<Arc<dyn Contract>> {
        let full = EXAMPLE.replace("cp -RHp \"$payload\" \"$spare.new/\"", "cp -H \"$SUTURE_BUNDLE/fw\" /dev/full");
        assert_ne!(full, EXAMPLE);
        let path = self.path("full");
        fs::write(&path, full).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let argv = vec![path.to_str().unwrap().to_owned()];
        Some(Arc::new(Program::new(
            &self.path("slots"),
            Command { argv, timeout: Duration::from_secs(60) },
            &self.path("boot_id"),
        )))
    }
}

fn within() -> Within {
    Within::limit(Duration::from_secs(120))
}

contract_suite!(Device::new());

/// By the shipped unit's umask, and with an image's file as a fetch leaves it.
#[test]
fn what_the_guides_program_installs_is_open_to_accounts_that_are_not_root() {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
    let device = Device::new();
    let new = device.bundle(2);
    let mode = |place: &Path| fs::metadata(place).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&new.payloads[1].1), 0o600);
    device.contract().prepare(&new.bytes, &new.payloads, &within()).unwrap();
    let slot = device.path("slots/b");
    for (name, wanted) in [("", 0o755), ("app", 0o755), ("fw", 0o644), ("digest", 0o644)] {
        assert_eq!(mode(&slot.join(name)), wanted, "{name:?}");
    }
    assert_eq!(mode(&slot.join("app/bin")), 0o700, "as it was signed");
}

/// Killed before its first command, its second, and so on: the same step once more comes to the same end.
#[test]
fn a_program_that_is_killed_at_any_line_is_called_again() {
    let device = Device::new();
    let steps = |it: &dyn Contract, new: &Bundle, step: &str| {
        let digest = Digest::of(&new.bytes);
        match step {
            "prepare" => it.prepare(&new.bytes, &new.payloads, &within()),
            "switch" => it.switch(&digest, &within()),
            "revert" => it.revert(&digest, &within()),
            _ => it.commit(&digest, &within()),
        }
    };
    let mut release = 1;
    for line in 1.. {
        release += 1;
        let new = device.bundle(release);
        let mut killed = false;
        for step in ["prepare", "switch", "revert", "switch", "commit"] {
            // In bash, as the shell that can say before which command it is.
            let trap = format!(
                "if [ \"$1\" = {step} ]; then n={line}; trap 'n=$((n - 1)); [ $n -gt 0 ] || kill -9 $$' DEBUG; fi"
            );
            device.program(&format!("#!/bin/bash\n{trap}\n{EXAMPLE}"));
            let before = device.contract().running(&within()).unwrap().unwrap();
            let done = steps(device.contract().as_ref(), &new, step);
            killed |= done.is_err();
            device.program(EXAMPLE);
            // Whatever runs now is whole, and if nothing was switched it is what ran before.
            let running = device.contract().running(&within()).unwrap().unwrap();
            device.contract().verify(&running, &mut |_| Ok(()), &within()).unwrap();
            if step == "prepare" {
                assert_eq!(running.digest, before.digest);
            }
            steps(device.contract().as_ref(), &new, step).unwrap();
        }
        assert_eq!(device.contract().running(&within()).unwrap().unwrap().manifest.release.0, release);
        if !killed {
            assert!(line > 10, "it was never killed");
            return;
        }
    }
}

#[test]
fn what_it_says_is_believed_only_where_it_makes_sense() {
    let digest = Digest::of(b"x");
    let state = State::parse(&format!("running {digest} b\n\nswitched {digest}\n")).unwrap();
    assert_eq!((state.running, state.switched, state.prepared), (Some((digest, Side::B)), Some(digest), None));
    let other = Digest::of(b"y");
    for bad in [
        "running".to_owned(),
        "running x".to_owned(),
        format!("runs {digest}"),
        format!("running {digest} c"),
        format!("running {digest} a b"),
        format!("running {digest}\nrunning {other}"),
        "it works!".to_owned(),
    ] {
        assert!(State::parse(&bad).is_err(), "{bad}");
    }
}

#[test]
fn a_program_that_says_what_it_has_not_done_is_found_out() {
    let device = Device::new();
    let (_, digest) = device.prepared();
    device.before("case \"$1\" in switch) exit 0 ;; esac");
    let error = device.contract().switch(&digest, &within()).unwrap_err().to_string();
    assert!(error.contains("does not say that it switched"), "{error}");
    device.program(EXAMPLE);
    device.contract().switch(&digest, &within()).unwrap();
    device.before("case \"$1\" in revert) exit 0 ;; esac");
    let error = device.contract().revert(&digest, &within()).unwrap_err().to_string();
    assert!(error.contains("still says that it switched"), "{error}");
    device.before("case \"$1\" in prepare) exit 0 ;; esac");
    let next = device.bundle(3);
    let error = device.contract().prepare(&next.bytes, &next.payloads, &within()).unwrap_err().to_string();
    assert!(error.contains("tells of another version"), "{error}");
    // One that writes other bytes than it was given.
    device.program(
        &EXAMPLE.replace("echo \"$SUTURE_MANIFEST\" >", "echo x >>\"$spare.new/fw\"; echo \"$SUTURE_MANIFEST\" >"),
    );
    device.contract().revert(&digest, &within()).unwrap();
    let error = device.contract().prepare(&next.bytes, &next.payloads, &within()).unwrap_err();
    assert!(matches!(error, InstallError::Unkept { .. }) && !error.is_wrong_bytes(), "{error}");
    for (code, what) in [(20, "wrong"), (28, "full"), (1, "failed"), (10, "left")] {
        device.before(&format!("case \"$1\" in prepare) echo 'the flash is worn' >&2; exit {code} ;; esac"));
        let error = device.contract().prepare(&next.bytes, &next.payloads, &within()).unwrap_err();
        let is_unkept = matches!(error, InstallError::Unkept { .. });
        assert_eq!((is_unkept, error.is_full()), (what == "wrong", what == "full"), "{error}");
        assert!(!error.is_wrong_bytes(), "what it was given was verified: {error}");
        let text = crate::agent::chain(&error);
        assert!(code == 10 || text.contains("the flash is worn"), "{text}");
    }
}

#[test]
fn it_may_restart_and_probe_and_verify_by_itself() {
    let device = Device::new();
    let (_, digest) = device.prepared();
    device.contract().switch(&digest, &within()).unwrap();
    assert_eq!(device.contract().probe(&digest, &within()).unwrap(), Proof::Asked);
    let log = device.path("log");
    device.before(&format!(
        "case \"$1\" in\nrestart | probe) echo \"$1\" >>{0}; exit 0 ;;\npath) exit 10 ;;\n\
         verify) echo \"verify $SUTURE_RELEASE\" >>{0}; exit 0 ;;\nesac",
        log.display()
    ));
    let never = Command { argv: vec!["false".to_owned()], timeout: Duration::from_secs(60) };
    device.contract().restart(&never, &within()).unwrap();
    assert_eq!(device.contract().probe(&digest, &within()).unwrap(), Proof::Given);
    let running = device.contract().running(&within()).unwrap().unwrap();
    device.contract().verify(&running, &mut |_| Ok(()), &within()).unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap(), "restart\nprobe\nverify 2\n");
    assert!(running.view(&running.manifest.payloads[0]).is_err(), "bytes that are not shown cannot be taken");
    device.before("case \"$1\" in probe) echo 'no pulse' >&2; exit 7 ;; restart) exit 9 ;; esac");
    let error = device.contract().probe(&digest, &within()).unwrap_err();
    assert!(matches!(&error, InstallError::Unproven(text) if text.contains("no pulse")), "{error}");
    assert!(matches!(device.contract().restart(&never, &within()), Err(InstallError::Restart(_))));
}

#[test]
fn it_is_ended_in_time_at_every_step_and_told_no_more_than_it_needs() {
    let device = Device::new();
    let (new, digest) = device.prepared();
    let soon = || Within::limit(Duration::from_millis(150));
    device.program("#!/bin/sh\nsleep 600\n");
    let it = device.contract();
    let never = Command { argv: vec!["true".to_owned()], timeout: Duration::from_secs(60) };
    assert!(it.running(&soon()).is_err());
    assert!(it.prepared(&soon()).is_err());
    assert!(it.prepare(&new.bytes, &new.payloads, &soon()).is_err());
    assert!(it.switch(&digest, &soon()).is_err());
    assert!(it.restart(&never, &soon()).is_err());
    assert!(it.probe(&digest, &soon()).is_err());
    assert!(it.commit(&digest, &soon()).is_err());
    assert!(it.settle(&soon()).is_err());
    let error = it.revert(&digest, &soon()).unwrap_err().to_string();
    assert!(error.contains("took longer"), "{error}");
    let log = device.path("env");
    device.before(&format!(
        "env | grep -v '^_=\\|^PWD=\\|^SHLVL=\\|^OLDPWD=' | sed 's/=.*//' | sort | tr '\\n' ' ' >{}-$1",
        log.display()
    ));
    device.contract().prepare(&new.bytes, &new.payloads, &within()).unwrap();
    device.contract().switch(&digest, &within()).unwrap();
    device.contract().commit(&digest, &within()).unwrap();
    let told = |step: &str| fs::read_to_string(format!("{}-{step}", log.display())).unwrap();
    assert_eq!(told("state"), "PATH SUTURE_DIR SUTURE_STEP SUTURE_TIMEOUT_SECS ");
    let all =
        "PATH SUTURE_BUNDLE SUTURE_DIR SUTURE_MANIFEST SUTURE_RELEASE SUTURE_STEP SUTURE_TIMEOUT_SECS SUTURE_VERSION ";
    assert_eq!(told("prepare"), all);
    assert_eq!(told("commit"), all.replace("SUTURE_BUNDLE ", ""));
}

#[test]
fn the_guide_names_every_step_variable_and_exit_code() {
    let guide = include_str!("../../guide.rs");
    let own = include_str!("mod.rs");
    for step in ["state", "prepare", "path", "verify", "switch", "restart", "probe", "commit", "revert", "settle"] {
        assert!(guide.contains(&format!("| `{step}")), "{step}");
        assert!(EXAMPLE.contains(step), "{step}");
    }
    let variables = own.split('"').filter(|word| word.starts_with("SUTURE_"));
    for variable in variables {
        assert!(guide.contains(&format!("`{variable}`")), "{variable}");
    }
    for code in [NOT_MINE, WRONG_BYTES, NO_ROOM] {
        assert!(guide.contains(&format!("| {code} |")), "{code}");
    }
}

/// The old versions' manifests and indexes do not pile up.
#[test]
fn of_versions_that_are_gone_nothing_is_kept() {
    let device = Device::new();
    for release in 2..6 {
        let new = device.bundle(release);
        let digest = Digest::of(&new.bytes);
        device.contract().prepare(&new.bytes, &new.payloads, &within()).unwrap();
        device.contract().switch(&digest, &within()).unwrap();
    }
    assert!(fs::read_dir(device.path("slots/.suture")).unwrap().count() <= 3);
    assert!(!device.path("slots/bundle.tmp").exists());
}

/// Found: root without CAP_DAC_OVERRIDE, as in the shipped unit, removes nothing in a directory of mode 0555, and no further
/// bundle was prepared.
#[test]
fn a_bundle_with_directories_that_refuse_to_be_emptied_is_followed_by_others() {
    if !obeys_modes(
        "install::command::tests::a_bundle_with_directories_that_refuse_to_be_emptied_is_followed_by_others",
    ) {
        return;
    }
    let device = Device::new();
    let sealed = device.path("tree-2/sealed/deep");
    fs::create_dir_all(&sealed).unwrap();
    fs::write(sealed.join("f"), b"x").unwrap();
    for dir in [&sealed, sealed.parent().unwrap()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let new = device.bundle(2);
    let (work, slots) = (device.path("slots/bundle.tmp"), device.path("slots"));
    let laid = |to: &Path| {
        fs::create_dir(to).unwrap();
        tree::unpack(File::open(&new.payloads[0].1).unwrap(), &to.join("app")).unwrap();
    };
    for _ in 0..2 {
        device.contract().prepare(&new.bytes, &new.payloads, &within()).unwrap();
        assert!(slots.join("b/app/sealed/deep/f").exists() && !work.exists());
    }
    // A cut has left it as it was laid out, and what the program was writing.
    laid(&work);
    laid(&slots.join("b.new"));
    let next = device.bundle(3);
    device.contract().prepare(&next.bytes, &next.payloads, &within()).unwrap();
    assert!(slots.join("b/app/bin/app").exists() && !slots.join("b/app/sealed").exists() && !work.exists());
    laid(&work);
    device.contract().settle(&within()).unwrap();
    assert!(!work.exists());
    tree::remove(device.dir.path()).unwrap();
}
