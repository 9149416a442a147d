//! The agent updates itself: real programs, started by the test as a service manager starts them, `suture-boot` before each.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use suture_core::approval::Slot;
use suture_core::clock::Clock as _;
use suture_core::limits::MAX_DEVICE_REPORT_BYTES;
use suture_tests::world::program::binary;
use suture_tests::world::{Device, Kind, Spec, World};

use crate::ward::Ward;

/// Far more than any of it takes.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

/// What systemd is to the agent: it starts what `current` names, and starts it again when it ends.
struct Manager<'a> {
    pump: &'a Device,
    agent: Option<Child>,
    /// How often it has started one.
    starts: u32,
}

impl Manager<'_> {
    fn own(&self) -> std::path::PathBuf {
        self.pump.dir.join("own")
    }

    /// Starts the agent where none runs.
    fn attend(&mut self) {
        if self.agent.as_mut().is_some_and(|agent| agent.try_wait().unwrap().is_none()) {
            return;
        }
        let counted = Command::new(binary("suture-boot")).arg(self.own()).output().unwrap();
        assert!(counted.status.success());
        let log = File::options().create(true).append(true).open(self.pump.dir.join("agent.log")).unwrap();
        let mut command = Command::new(self.own().join("current/agent"));
        command.env_clear().env("PATH", std::env::var("PATH").unwrap()).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log).arg("--config").arg(self.pump.config()).arg("run");
        self.agent = Some(command.spawn().unwrap());
        self.starts += 1;
    }

    async fn until(&mut self, what: &str, is_so: impl Fn(&Device) -> bool) {
        let begun = Instant::now();
        loop {
            self.attend();
            if is_so(self.pump) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{what} did not come:\n{}", self.pump.log());
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Manager<'_> {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            // It may have ended by itself.
            let _ = agent.kill();
            agent.wait().unwrap();
        }
    }
}

/// Whether the program in use is this one, and on trial no more.
fn runs(pump: &Device, program: &Path) -> bool {
    let own = pump.dir.join("own");
    let on_trial = fs::read_dir(&own).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().starts_with("trial-"));
    !on_trial && fs::read(own.join("current/agent")).unwrap() == fs::read(program).unwrap()
}

/// A release with a program of the agent in it.
async fn publish(ward: &Ward, release: u64, program: &Path) {
    let more = format!("[[payload]]\nname = \"agent\"\nformat = \"image\"\npath = \"{}\"\n", program.display());
    ward.world.publish(&ward.ada, Spec { release, more: &more, ..Spec::default() }).await;
}

async fn approve(ward: &Ward, release: u64) {
    let bundle = format!("pump@{release}");
    let plan = ["--bundle", &bundle, "--device", "pump-1", "--slots", "1", "--slack", "60s"];
    let mut draft = ward.world.draft(&ward.kim, &plan).await;
    let start = ward.world.clock.now();
    let end = start + SignedDuration::from_hours(1);
    draft.0.devices[0].slots = vec![Slot { start, end }];
    draft.0.terms.expires = end;
    ward.kim.sign(&draft).await;
}

/// Has the server count so many bytes of reports of the pump today.
async fn reported(ward: &Ward, bytes: u64) {
    use sqlx::Connection as _;
    let url = ward.world.database().replacen("sqlite:", "sqlite://", 1);
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let statement = "INSERT INTO audit_writer (writer, day, entries) VALUES ('reports/hdo/riverside/device/pump-1', $1, $2) \
                     ON CONFLICT (writer) DO UPDATE SET day = excluded.day, entries = excluded.entries";
    let day = ward.world.clock.now().as_second() / 86_400;
    let done = sqlx::query(statement).bind(day).bind(bytes as i64).execute(&mut database).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_program_takes_over_once_it_reports_and_a_broken_one_gives_way() {
    let ward = Ward::open(World::start(Kind::Sqlite).await.unwrap(), Spec::default(), &["pump-1"]).await;
    let (pump, first) = (&ward.pumps[0], ward.world.path("bundle-1-rev-a"));
    let own = pump.dir.join("own");
    let config = fs::read_to_string(pump.config()).unwrap();
    fs::write(pump.config(), format!("{config}[itself]\ndir = {own:?}\npayload = \"agent\"\n")).unwrap();
    // The factory puts both in: the product's first version is there already, the agent's own program is the one that does
    // it.
    let mut factory = Command::new(binary("suture-agent"));
    factory.arg("--config").arg(pump.config()).arg("provision").arg("--manifest").arg(first.join("manifest.json"));
    let tree = format!("app={}", ward.world.path("tree-1-rev-a").display());
    assert!(factory.args(["--payload", &tree]).output().unwrap().status.success());
    assert!(runs(pump, &binary("suture-agent")));

    // As good as the old one, and not the same.
    let (good, broken) = (ward.world.path("good"), ward.world.path("broken"));
    fs::copy(binary("suture-agent"), &good).unwrap();
    std::io::Write::write_all(&mut File::options().append(true).open(&good).unwrap(), b"the next one").unwrap();
    fs::write(&broken, "#!/bin/sh\necho broken >&2\nexit 1\n").unwrap();
    publish(&ward, 3, &good).await;
    publish(&ward, 4, &broken).await;

    let mut manager = Manager { pump, agent: None, starts: 0 };
    // A day on which the server takes no more of its reports: that it answers is what the new program has to prove.
    reported(&ward, MAX_DEVICE_REPORT_BYTES).await;
    approve(&ward, 3).await;
    manager.until("release 3", |pump| pump.runs() == "1.2.0").await;
    manager.until("the new program, confirmed", |pump| runs(pump, &good)).await;
    assert_eq!(manager.starts, 2, "the old one, and the new one once");
    reported(&ward, 0).await;

    approve(&ward, 4).await;
    manager.until("release 4", |pump| pump.runs() == "1.3.0").await;
    manager.until("the way back", |pump| pump.log().contains("was started 3 times and did not report")).await;
    assert!(runs(pump, &good), "{}", pump.log());
    assert_eq!(manager.starts, 2 + 3 + 1, "three of the broken one, and the old one again");
    assert_eq!(pump.log().matches("broken\n").count(), 3);
    assert_eq!(pump.runs(), "1.3.0", "the device's software is not concerned");
    // And the hospital reads of it.
    let begun = Instant::now();
    loop {
        let shown = ward.kim.json(&["device", "show", "pump-1"]).await.unwrap();
        if shown["reason"]["text"].as_str().is_some_and(|text| text.contains("did not report")) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{shown}");
        tokio::time::sleep(LOOK).await;
    }
}
