//! What the agent tells the service manager, as systemd would hear it; and the units as systemd judges them.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use suture_tests::world::{binary, text};

use crate::hospital::Hospital;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_when_the_agent_works_that_it_lives_and_that_it_stops() {
    let hospital = Hospital::open().await;
    let pump = &hospital.pumps[0];
    let path = pump.dir.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut agent = pump.spawn_with(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "100000")]);
    let told = || {
        let mut word = [0; 256];
        let n = manager.recv(&mut word).unwrap();
        String::from_utf8(word[..n].to_vec()).unwrap().trim_end().to_owned()
    };
    assert_eq!(told(), "READY=1");
    for _ in 0..3 {
        assert_eq!(told(), "WATCHDOG=1");
    }
    agent.terminate();
    while match told().as_str() {
        "WATCHDOG=1" => true,
        "STOPPING=1" => false,
        other => panic!("{other}"),
    } {}
    assert!(agent.ended().success());
}

/// What the units leave a captured program is small, by systemd's own measure.
#[test]
fn the_units_are_hardened() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let dir = tempfile::tempdir().unwrap();
    // What a drop-in says comes after what the unit says.
    let image = dir.path().join("suture-agent.service");
    let read = |name: &str| std::fs::read_to_string(deploy.join(name)).unwrap();
    std::fs::write(&image, read("suture-agent.service") + &read("suture-agent.image.conf")).unwrap();
    let units = ["suture-agent.service", "suture-boot.service", "suture-server.service"].map(|unit| deploy.join(unit));
    // Exposure times ten: below 2.0; 2.0 for one that must see block devices.
    for (unit, most) in units.iter().zip(std::iter::repeat(19)).chain([(&image, 20)]) {
        let judged = Command::new("systemd-analyze")
            .args(["security", "--offline=true", &format!("--threshold={most}")])
            .arg(unit)
            .output()
            .expect("systemd-analyze is missing; it is in Debian's package systemd");
        let said = String::from_utf8_lossy(&judged.stdout).into_owned();
        let unit = unit.display();
        assert!(judged.status.success(), "{unit}: {said}{}", String::from_utf8_lossy(&judged.stderr));
        assert!(said.contains("Overall exposure level"), "{unit}: {said}");
    }
}

/// Attack: a program that is made to crash, and its private keys read from the core file.
#[test]
fn no_program_that_holds_keys_leaves_a_core_file() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    for unit in ["suture-server.service", "suture-agent.service"] {
        let text = std::fs::read_to_string(deploy.join(unit)).unwrap();
        assert!(text.lines().any(|line| line == "LimitCORE=0"), "{unit}");
    }
    let home = tempfile::tempdir().unwrap();
    // Reading a token, it waits for its input's end.
    let mut ctl = Command::new(binary("suturectl"))
        .args(["join", "-", "--home", text(home.path())])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", ctl.id());
    let core = || {
        let text = std::fs::read_to_string(&limits).unwrap();
        let line = text.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
        line.split_whitespace().nth(5).unwrap().to_owned()
    };
    while core() != "0" {
        assert!(ctl.try_wait().unwrap().is_none(), "it waits");
        std::thread::yield_now();
    }
    drop(ctl.stdin.take());
    assert!(!ctl.wait().unwrap().success());
}
