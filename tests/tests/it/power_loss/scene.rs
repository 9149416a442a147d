//! Devices as they are before the power fails: each enrolled, with an approval that leads it another way, and one server in
//! the place of the real one that answers as it did and keeps what each device sends.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use suture_agent::config::Settings;
use suture_agent::{Agent, Surroundings};
use suture_core::approval::Slot;
use suture_core::clock::Clock as _;
use suture_proto::connect::ProxyRules;
use suture_tests::hostile::{Act, Hostile, Loot, Sends};
use suture_tests::world::{Bundle, Device, Kind, Operator, TestClock, World, text};

/// The stage.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) hostile: Hostile,
    loot: Loot,
    /// Releases 1, 2 and 3; the third does not start.
    pub(super) bundles: Vec<Bundle>,
    /// In the slots of all.
    pub(super) now: Timestamp,
    /// A stop order for the approval of `stopped`, and a stick.
    pub(super) order: PathBuf,
    pub(super) stick: PathBuf,
    /// For a device that has not enrolled.
    pub(super) token: String,
    /// Where the copies lie: in memory, where there is such a place, because nothing here is about the disk's speed.
    room: tempfile::TempDir,
}

/// A device's copy, in a directory of its own.
pub(super) struct Case<'a> {
    pub(super) dir: PathBuf,
    pub(super) scene: &'a Scene,
}

const ALL: [&str; 6] = ["confirmed", "fell-back", "stopped", "person", "held", "imported"];

impl Scene {
    pub(super) async fn open() -> Self {
        let mut world = World::start(Kind::Sqlite).await.unwrap();
        let ada = world.manufacturer().await;
        let mut bundles = Vec::new();
        for release in 1..=3 {
            bundles.push(publish(&world, &ada, release).await);
        }
        let kim = world.hospital(&ada).await;
        let always = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
        kim.run(&["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", always]).await.unwrap();
        let mut pumps = world.devices(&kim, &ALL, &bundles[0]).await;
        fs::write(world.path("more.csv"), "id,product,hardware,ward,serial,udi\nnew,pump,rev-a,icu,SN-new,UDI-new\n")
            .unwrap();
        kim.run(&["device", "import", "--csv", text(&world.path("more.csv"))]).await.unwrap();
        let token = kim.json(&["device", "token", "new"]).await.unwrap()["token"].as_str().unwrap().to_owned();
        Device::new(&world, "new", "rev-a").provision(&bundles[0]);
        let now = world.clock.now();
        let mut order = PathBuf::new();
        for (id, bundle, early, lease) in [
            ("confirmed", "pump@2", 0, true),
            ("fell-back", "pump@3", 0, false),
            ("stopped", "pump@2", 60, false),
            ("person", "pump@2", 0, false),
            ("held", "pump@2", 0, false),
        ] {
            let plan = ["--bundle", bundle, "--device", id, "--slots", "1", "--slack", "60s"];
            let mut draft = world.draft(&kim, &plan).await;
            let start = now + SignedDuration::from_mins(early);
            let end = start + SignedDuration::from_hours(2);
            draft.0.devices[0].slots = vec![Slot { start, end }];
            draft.0.terms.expires = end;
            draft.0.terms.needs_lease = lease;
            kim.sign(&draft).await;
            if id == "stopped" {
                order = world.path("order.json");
                // It has fetched, and waits for its slot.
                let pump = pumps.iter_mut().find(|p| p.id == id).unwrap();
                assert_eq!(pump.cycle().await, "waiting(before-slot)");
                pump.crash();
                let rollout = draft.0.terms.id.to_string();
                kim.run(&["rollout", "stop", &rollout, "--offline", "--envelope", text(&order)]).await.unwrap();
            }
        }
        let stick = world.path("stick");
        kim.run(&["stick", "write", text(&stick)]).await.unwrap();
        let all: Vec<_> = bundles.iter().collect();
        let loot = Loot::take(&world, &all).await;
        let hostile = Hostile::serve(&loot, world.clock.clone()).await;
        world.stop_server().await;
        world.line.lead_to(hostile.address());
        let memory = Path::new("/dev/shm");
        let room = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        // The order holds against a device whose slot is open.
        let now = now + SignedDuration::from_mins(61);
        Self { world, hostile, loot, bundles, now, order, stick, token, room }
    }

    /// The device once more, as it was before, and a server that has heard nothing of it.
    pub(super) fn case(&self, id: &str) -> Case<'_> {
        let dir = self.room.path().join(id);
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        fs::create_dir_all(dir.join("slots")).unwrap();
        if id != "factory" {
            copy(&self.world.path(id), &dir);
        }
        // What has been updated before has an older version in the slot that is written next.
        if id == "confirmed" {
            fs::create_dir(dir.join("slots/b")).unwrap();
            copy(&dir.join("slots/a"), &dir.join("slots/b"));
        }
        let text = dir.display();
        let interlock =
            if id == "person" { String::new() } else { format!("[interlock]\nlock_file = \"{text}/in-use.lock\"\n") };
        // It does not start with FAULT in its tree; what answers is what was started last.
        let starts = if id == "held" {
            "false".to_owned()
        } else {
            format!("test ! -e {text}/slots/current/app/FAULT && cp {text}/slots/current/app/VERSION {text}/answers")
        };
        let toml = format!(
            "state_dir = \"{text}/state\"\nslots_dir = \"{text}/slots\"\nproduct = \"pump\"\nhardware = \"rev-a\"\n\
             [restart]\ncommand = [\"sh\", \"-c\", \"{starts}\"]\ntimeout_secs = 60\n\
             [health]\ncommand = [\"test\", \"-e\", \"{text}/answers\"]\nsuccesses = 1\ninterval_ms = 20\ndeadline_secs = 2\n\
             {interlock}[poll]\ninterval_secs = 1\n"
        );
        fs::write(dir.join("agent.toml"), toml).unwrap();
        self.hostile.play(Act { sends: Sends::WithCheckIn, ..Act::honest(&self.loot) });
        let case = Case { dir, scene: self };
        case.boot();
        case
    }
}

impl Case<'_> {
    pub(super) fn settings(&self) -> Settings {
        Settings::load(&self.dir.join("agent.toml")).unwrap()
    }

    /// The power is back: what the link names runs.
    pub(super) fn boot(&self) {
        let version = fs::read(self.dir.join("slots/current/app/VERSION"));
        if let Ok(version) = version {
            fs::write(self.dir.join("answers"), version).unwrap();
        }
    }

    /// What its programs have said.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("agent.log")).unwrap_or_default()
    }

    /// Runs the program with somebody who watches.
    pub(super) fn watched(&self, watch: &[&str], command: &[String]) -> ExitStatus {
        let mut program = Command::new(env!("CARGO_BIN_EXE_cut-agent"));
        program.env_clear().env("PATH", std::env::var("PATH").unwrap()).stdin(Stdio::null()).stdout(Stdio::null());
        program.stderr(fs::File::options().create(true).append(true).open(self.dir.join("agent.log")).unwrap());
        program.arg("--config").arg(self.dir.join("agent.toml"));
        program.args(["--now-ms", &self.scene.now.as_millisecond().to_string()]).args(watch).args(command);
        program.status().unwrap()
    }

    /// The agent, started again in this process, until it rests.
    pub(super) async fn resume(&self) -> Result<String, String> {
        let clock = Arc::new(TestClock::start());
        clock.set(self.scene.now);
        let around = Surroundings { clock, proxy: ProxyRules::from_env(|_| None), random: Arc::new(|| 0) };
        let mut agent = Agent::open(self.settings(), around).map_err(|e| suture_agent::agent::chain(&e))?;
        let mut quiet = 0;
        for _ in 0..40 {
            let before = agent.state().clone();
            agent.cycle().await.map_err(|e| suture_agent::agent::chain(&e))?;
            let rests = matches!(agent.state().name(), "idle" | "held" | "waiting");
            quiet = if rests && *agent.state() == before { quiet + 1 } else { 0 };
            if quiet == 2 {
                let reason = agent.state().trouble().map(|(reason, _)| reason.code.to_string());
                return Ok(format!("{}({})", agent.state().name(), reason.unwrap_or_default()));
            }
        }
        Err(format!("it does not come to rest: {:?}", agent.state()))
    }
}

/// A release of a few kilobytes.
async fn publish(world: &World, ada: &Operator, release: u64) -> Bundle {
    let version = format!("1.{}.0", release - 1);
    let tree = world.path(format!("small-{release}"));
    fs::create_dir_all(tree.join("lib")).unwrap();
    fs::write(tree.join("VERSION"), format!("{version}\n")).unwrap();
    fs::write(tree.join("lib/own"), format!("{release} ").repeat(4_000)).unwrap();
    if release == 3 {
        fs::write(tree.join("FAULT"), "it does not start\n").unwrap();
    }
    let toml = format!(
        "product = \"pump\"\nversion = \"{version}\"\nrelease = {release}\nhardware = [\"rev-a\"]\nmin_release = 0\n\
         class = \"routine\"\ninstall = {{ kind = \"slots\", budget_secs = 60, revert_budget_secs = 30 }}\n\
         [[payload]]\nname = \"app\"\nformat = \"tree\"\npath = \"{}\"\n",
        tree.display()
    );
    let file = world.path(format!("small-{release}.toml"));
    fs::write(&file, toml).unwrap();
    let dir = world.path(format!("small-{release}.bundle"));
    ada.run(&["bundle", "build", text(&file), "-o", text(&dir), "--level", "1"]).await.unwrap();
    ada.run(&["bundle", "sign", text(&dir)]).await.unwrap();
    ada.run(&["bundle", "publish", text(&dir)]).await.unwrap();
    Bundle { name: format!("pump@{release}"), dir, tree }
}

/// Copies what is below a directory; links stay links.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, kind) = (to.join(entry.file_name()), entry.file_type().unwrap());
        if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).unwrap(), path).unwrap();
        } else if kind.is_dir() {
            fs::create_dir_all(&path).unwrap();
            copy(&entry.path(), &path);
        } else {
            fs::copy(entry.path(), path).unwrap();
        }
    }
}
