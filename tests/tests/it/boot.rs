//! `suture-boot` before each start of the device's software: a version that does not come up gives way to the old one, with
//! an agent that watches, one that was killed, and none.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::SignedDuration;
use suture_agent::install::Slots;
use suture_core::approval::Slot;
use suture_core::clock::Clock as _;
use suture_tests::world::program::binary;
use suture_tests::world::{Device, Spec, not_run};

use crate::hospital::Hospital;

/// Far more than any of it takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A hospital that has approved that release for the first pump, in a slot that is open for the next hour. The third does
/// not come up.
async fn approved(release: u64) -> (Hospital, String) {
    let hospital = Hospital::open().await;
    if release == 3 {
        hospital.world.publish(&hospital.ada, Spec { release, faulty: true, ..Spec::default() }).await;
    }
    let bundle = format!("pump@{release}");
    let plan = ["--bundle", &bundle, "--device", "pump-1", "--slots", "1", "--slack", "60s"];
    let mut draft = hospital.world.draft(&hospital.kim, &plan).await;
    let start = hospital.world.clock.now();
    let end = start + SignedDuration::from_hours(1);
    draft.0.devices[0].slots = vec![Slot { start, end }];
    draft.0.terms.expires = end;
    let (rollout, ..) = hospital.approve(draft).await;
    (hospital, rollout)
}

/// Starts the device's software once, as its unit does: first `suture-boot`, then what `current` names. What that one says,
/// and which version came up; none where it crashed.
fn start(pump: &Device) -> (String, Option<String>) {
    let counted = Command::new(binary("suture-boot")).arg(pump.dir.join("slots")).output().unwrap();
    assert!(counted.status.success(), "it never keeps the device from starting");
    let is_faulty = pump.dir.join("slots/current/app/FAULT").exists();
    (String::from_utf8(counted.stderr).unwrap(), (!is_faulty).then(|| pump.runs()))
}

/// Lets the agent restart the device's software as a service manager does, which starts what crashes again.
fn managed(pump: &Device) {
    let script = format!(
        "#!/bin/sh\ncd \"$(dirname \"$0\")\" || exit 2\nfor start in 1 2 3 4 5 6; do\n  {:?} \"$PWD/slots\" 2>> boot.log\n  \
         cat slots/current/app/VERSION >> starts.log\n  [ -e slots/current/app/FAULT ] || exit 0\ndone\nexit 1\n",
        binary("suture-boot")
    );
    let path = pump.dir.join("manager.sh");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    pump.configure("rev-a", &[path.to_str().unwrap()]);
}

fn starts(pump: &Device) -> Vec<String> {
    let log = fs::read_to_string(pump.dir.join("starts.log")).unwrap();
    log.lines().map(ToOwned::to_owned).collect()
}

fn trials(pump: &Device) -> Vec<String> {
    let names = fs::read_dir(pump.dir.join("slots")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("trial")).collect()
}

/// A hospital whose first pump is past the switch to the release that does not come up, when its agent is killed.
async fn killed_past_the_switch() -> (Hospital, String) {
    let (hospital, rollout) = approved(3).await;
    let pump = &hospital.pumps[0];
    let restart = pump.dir.join("restart.sh");
    pump.configure("rev-a", &[restart.to_str().unwrap(), "restart"]);
    let mut gate = pump.gated("restart", "restart");
    let agent = pump.spawn();
    if tokio::time::timeout(PATIENCE, gate.reached()).await.is_err() {
        panic!("the restart did not come; the agent's log:\n{}", pump.log());
    }
    agent.kill();
    gate.open().await;
    assert_eq!((pump.status().state, pump.runs().as_str()), ("restarting", "1.2.0"));
    assert_eq!(trials(pump), ["trial-b-0-of-3"]);
    (hospital, rollout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_crashes_gives_way_where_there_is_no_agent() {
    let (hospital, _) = killed_past_the_switch().await;
    let pump = &hospital.pumps[0];
    fs::remove_dir_all(pump.dir.join("state")).unwrap();
    fs::remove_file(pump.config()).unwrap();
    for n in 1..=3 {
        let (said, up) = start(pump);
        assert_eq!(up, None);
        assert_eq!(said, format!("suture-boot: slot b is not confirmed yet; this is its start {n} of 3\n"));
    }
    let (said, up) = start(pump);
    assert_eq!(said, "suture-boot: slot b was started 3 times and not confirmed; slot a is put back\n");
    assert_eq!(up.as_deref(), Some("1.0.0"));
    for _ in 0..5 {
        assert_eq!(start(pump), (String::new(), Some("1.0.0".to_owned())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_comes_back_says_who_put_the_old_version_back() {
    let (mut hospital, rollout) = killed_past_the_switch().await;
    while start(&hospital.pumps[0]).1.is_none() {}
    let pump = &mut hospital.pumps[0];
    assert_eq!(pump.cycle().await, "idle(start-failed)");
    assert_eq!(pump.runs(), "1.0.0");
    assert_eq!(pump.interlock_log(), ["claim", "claim", "release"], "asked once more after the cut");
    assert_eq!(hospital.reported(&rollout).await, ("fell_back".to_owned(), "start-failed".to_owned()));
    let why = hospital.kim.run(&["rollout", "show", &rollout]).await.unwrap();
    assert!(why.contains("suture-boot put the old one back"), "{why}");
}

/// The old version is well, but that proves nothing of the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_watches_does_not_take_the_old_versions_health_for_the_new_ones() {
    let (mut hospital, rollout) = approved(3).await;
    let pump = &mut hospital.pumps[0];
    managed(pump);
    assert_eq!(pump.cycle().await, "idle(start-failed)");
    assert_eq!(starts(pump), ["1.2.0", "1.2.0", "1.2.0", "1.0.0", "1.0.0"], "the last by the agent's own way back");
    assert_eq!((pump.runs().as_str(), trials(pump).len()), ("1.0.0", 0));
    assert_eq!(hospital.reported(&rollout).await, ("fell_back".to_owned(), "start-failed".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_well_is_counted_once_and_then_no_more() {
    let (mut hospital, rollout) = approved(2).await;
    let pump = &mut hospital.pumps[0];
    managed(pump);
    assert_eq!(pump.cycle().await, "idle(up-to-date)");
    assert_eq!(starts(pump), ["1.1.0"]);
    assert_eq!(trials(pump).len(), 0);
    for _ in 0..10 {
        assert_eq!(start(pump), (String::new(), Some("1.1.0".to_owned())));
    }
    assert_eq!(hospital.reported(&rollout).await.0, "confirmed");
}

/// A systemd of its own, with these units alone, in a control group of its own. Dropped, it is killed with all that it started.
struct Systemd {
    child: Child,
    group: PathBuf,
}

impl Systemd {
    /// None where this user may not run one: it takes a process namespace and control groups that can be written.
    fn start(units: &Path, unit: &str) -> Option<Self> {
        let tried = Command::new("unshare").args(["--pid", "--fork", "--mount", "--cgroup", "true"]).status();
        if !tried.is_ok_and(|s| s.success()) {
            return None;
        }
        let name = format!("suture-test-{}", std::process::id());
        let groups = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup"].map(|all| Path::new(all).join(&name));
        let group = groups.into_iter().find(|g| fs::create_dir(g).is_ok() && g.join("cgroup.procs").exists())?;
        let script = "set -e; echo $$ > \"$0/cgroup.procs\"; exec unshare --pid --fork --kill-child --mount --mount-proc \
                      --cgroup --uts --ipc sh -c 'set -e; mount -t tmpfs none /run; \
                      mount -t tmpfs none /etc/systemd/system; cp \"$0\"/* /etc/systemd/system; export container=test; \
                      exec /lib/systemd/systemd --system --unit=\"$1\" --show-status=0 --log-target=console' \"$1\" \"$2\"";
        let child =
            Command::new("sh").args(["-c", script]).arg(&group).arg(units).arg(unit).stdin(Stdio::null()).spawn();
        Some(Self { child: child.unwrap(), group })
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // It may have ended by itself, and a group goes once the last process in it has.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = Command::new("find").arg(&self.group).args(["-depth", "-type", "d", "-delete"]).status();
    }
}

/// The unit of `deploy/`, under the real systemd. An ordinary user sees the same with [`start`] in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_starts_the_old_version_in_the_end() {
    let (hospital, _) = killed_past_the_switch().await;
    let pump = &hospital.pumps[0];
    let (units, slots) = (pump.dir.join("units"), pump.dir.join("slots"));
    fs::create_dir(&units).unwrap();
    let program = units.join("pump.sh");
    let script = format!(
        "#!/bin/sh\ncat {0}/current/app/VERSION >> {1}/starts.log\n[ -e {0}/current/app/FAULT ] && exit 1\n\
         touch {1}/up\nexec sleep infinity\n",
        slots.display(),
        pump.dir.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let unit = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pump.service")).unwrap();
    let before = format!("ExecStartPre=-+{} {}", binary("suture-boot").display(), slots.display());
    let unit = unit
        .replace("ExecStartPre=-+/usr/bin/suture-boot /opt/device", &before)
        .replace("/opt/device/current/app/bin/pump", program.to_str().unwrap())
        // What a machine needs to come up is not here.
        .replace("[Unit]\n", "[Unit]\nDefaultDependencies=no\n");
    assert!(unit.contains(&before) && unit.contains(program.to_str().unwrap()));
    fs::write(units.join("pump.service"), unit).unwrap();
    let Some(systemd) = Systemd::start(&units, "pump.service") else {
        return not_run("no systemd of its own: unshare, or a control group, is refused");
    };
    let up = async {
        while !pump.dir.join("up").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, up).await.is_ok(), "the old version did not come up: {:?}", trials(pump));
    drop(systemd);
    assert_eq!(starts(pump), ["1.2.0", "1.2.0", "1.2.0", "1.0.0"]);
    assert_eq!(pump.runs(), "1.0.0");
    assert_eq!(Slots::new(&slots).trial().unwrap(), None);
}

/// The examples in `deploy/` are units that systemd takes.
#[test]
fn the_units_are_valid() {
    let root = tempfile::tempdir().unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let mut units = Vec::new();
    for unit in ["pump.service", "suture-boot.service"] {
        let text = fs::read_to_string(deploy.join(unit)).unwrap();
        // One that is early counts nothing on a root that cannot be written to yet.
        let is_early = text.lines().any(|line| line == "DefaultDependencies=no");
        assert!(!is_early || text.contains("\nAfter=systemd-remount-fs.service local-fs.target\n"), "{unit}");
        let text =
            text.replace("/usr/bin/suture-boot", "/bin/true").replace("/opt/device/current/app/bin/pump", "/bin/true");
        let path = root.path().join(unit);
        fs::write(&path, text).unwrap();
        units.push(path);
    }
    let judged = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output().unwrap();
    let said = String::from_utf8_lossy(&judged.stderr);
    assert!(judged.status.success() && said.is_empty(), "{said}");
}
