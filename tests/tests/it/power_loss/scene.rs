//! Devices as they are before the power fails: each enrolled, with an approval that leads it another way, and one server in
//! the place of the real one that answers as it did and keeps what each device sends.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use suture_agent::agent::chain;
use suture_agent::config::Settings;
use suture_agent::install::{Side, Slots};
use suture_agent::itself::Itself;
use suture_agent::{Agent, Surroundings};
use suture_core::approval::Slot;
use suture_core::clock::Clock as _;
use suture_core::digest::Digest;
use suture_core::manifest::Manifest;
use suture_core::phase::Code;
use suture_core::version::Release;
use suture_proto::connect::ProxyRules;
use suture_tests::hostile::{Act, Hostile, Loot, Sends};
use suture_tests::world::{Bundle, Device, Kind, Operator, TestClock, World, text};

use super::ways::Way;
use crate::rauc_stage::{self as stage, Stage};

/// A device of the table.
#[derive(Clone, Copy)]
pub(super) struct Pump {
    pub(super) id: &'static str,
    pub(super) way: Way,
    /// What it runs at first.
    pub(super) from: u64,
    /// What is approved for it, where anything is.
    pub(super) to: Option<u64>,
    /// How many minutes before its slot it is looked at.
    pub(super) early: i64,
    pub(super) lease: bool,
    /// Whether its interlock is a person's word.
    pub(super) by_word: bool,
}

impl Pump {
    /// One that updates from one release to another.
    pub(super) const fn new(id: &'static str, way: Way, from: u64, to: Option<u64>) -> Self {
        Self { id, way, from, to, early: 0, lease: false, by_word: false }
    }
}

/// The releases that there are: the way that each is for, and whether it does not start.
pub(super) const RELEASES: &[(u64, Way, bool)] = &[
    (1, Way::Slots, false),
    (2, Way::Slots, false),
    (3, Way::Slots, true),
    (4, Way::UBoot, false),
    (5, Way::UBoot, false),
    (6, Way::UBoot, true),
    (7, Way::Program, false),
    (8, Way::Program, false),
    (9, Way::Program, true),
    (10, Way::Data, false),
    (11, Way::Data, true),
    (12, Way::Itself, false),
    (13, Way::Rauc, false),
    (14, Way::Rauc, false),
    (15, Way::Rauc, true),
];

/// The stage.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) hostile: Hostile,
    loot: Loot,
    pub(super) bundles: BTreeMap<u64, Bundle>,
    /// In the slots of all.
    pub(super) now: Timestamp,
    /// A stop order for the approval of `stopped`, where there is such a device, and a stick.
    pub(super) order: PathBuf,
    pub(super) stick: PathBuf,
    /// For a device that has not enrolled.
    pub(super) token: String,
    pumps: &'static [Pump],
    /// RAUC, where a device has it: the one that all its copies have in turn.
    rauc: Option<Stage>,
    /// Where the copies lie: in memory, where there is such a place, because nothing here is about the disk's speed.
    room: tempfile::TempDir,
}

/// A device's copy, in a directory of its own.
pub(super) struct Case<'a> {
    pub(super) dir: PathBuf,
    pub(super) pump: Pump,
    pub(super) scene: &'a Scene,
    /// The power was away for longer than a person's word counts.
    pub(super) late: Cell<bool>,
}

impl Scene {
    pub(super) async fn open(pumps: &'static [Pump]) -> Self {
        let mut world = World::start(Kind::Sqlite).await.unwrap();
        let kept = pumps.iter().find(|p| p.way == Way::Rauc).map(|p| {
            let stage = Stage::new(world.path("raucs-own"), &stage::image(p.from, stage::Image::Good));
            stage.keep();
            stage
        });
        let rauc = kept.as_ref();
        let ada = world.manufacturer().await;
        let mut bundles = BTreeMap::new();
        let used = |release: u64| pumps.iter().any(|p| p.from == release || p.to == Some(release));
        for (release, way, faulty) in RELEASES.iter().filter(|(release, ..)| used(*release)) {
            bundles.insert(*release, publish(&world, &ada, (*release, *way, *faulty), rauc).await);
        }
        let kim = world.hospital(&ada).await;
        let always = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
        kim.run(&["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", always]).await.unwrap();
        let mut devices = import(&world, &kim, pumps, &bundles, rauc).await;
        let token = kim.json(&["device", "token", "new"]).await.unwrap()["token"].as_str().unwrap().to_owned();
        let now = world.clock.now();
        let mut order = PathBuf::new();
        for Pump { id, to, early, lease, .. } in pumps {
            let Some(to) = to else { continue };
            let bundle = format!("pump@{to}");
            let plan = ["--bundle", &bundle, "--device", id, "--slots", "1", "--slack", "60s"];
            let mut draft = world.draft(&kim, &plan).await;
            let start = now + SignedDuration::from_mins(*early);
            let end = start + SignedDuration::from_hours(2);
            draft.0.devices[0].slots = vec![Slot { start, end }];
            draft.0.terms.expires = end;
            draft.0.terms.needs_lease = *lease;
            kim.sign(&draft).await;
            if *early > 0 {
                // It has fetched, and waits for its slot.
                let pump = devices.iter_mut().find(|p| p.id == *id).unwrap();
                assert_eq!(pump.cycle().await, "waiting(before-slot)");
                pump.crash();
            }
            if *id == "stopped" {
                order = world.path("order.json");
                let rollout = draft.0.terms.id.to_string();
                kim.run(&["rollout", "stop", &rollout, "--offline", "--envelope", text(&order)]).await.unwrap();
            }
        }
        let stick = world.path("stick");
        kim.run(&["stick", "write", text(&stick)]).await.unwrap();
        let all: Vec<_> = bundles.values().collect();
        let loot = Loot::take(&world, &all).await;
        let hostile = Hostile::serve(&loot, world.clock.clone()).await;
        world.stop_server().await;
        world.line.lead_to(hostile.address());
        let memory = Path::new("/dev/shm");
        let room = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        // The order holds against a device whose slot is open.
        let now = now + SignedDuration::from_mins(61);
        Self { world, hostile, loot, bundles, now, order, stick, token, pumps, rauc: kept, room }
    }

    /// The device once more, as it was before, and a server that has heard nothing of it.
    pub(super) fn case(&self, id: &str) -> Case<'_> {
        let dir = self.room.path().join(id);
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        fs::create_dir_all(dir.join("slots")).unwrap();
        let pump = *self.pumps.iter().find(|pump| pump.id == id).unwrap();
        if id != "factory" {
            copy(&self.world.path(id), &dir);
        }
        // What has been updated before has an older version in the place that is written next.
        let before = match id {
            "confirmed" | "u-boot" => Some(("slots/a", "slots/b")),
            "itself" => Some(("suture-agent/a", "suture-agent/b")),
            "command" => Some(("state/identity", "slots/.suture/before")),
            _ => None,
        };
        if let Some((from, to)) = before {
            fs::create_dir(dir.join(to)).unwrap();
            copy(&dir.join(from), &dir.join(to));
        }
        configure(&dir, pump, self.rauc.as_ref());
        pump.way.equip(&dir, self.rauc.as_ref());
        if let Some(stage) = &self.rauc {
            stage.restore();
        }
        // The new program was started as often as it may be, and has not reported.
        if id == "gave-way" {
            let own = Slots::new(&dir.join("suture-agent"));
            fs::create_dir(own.path(Side::B)).unwrap();
            copy(&own.path(Side::A), &own.path(Side::B));
            let manifest = fs::read(own.path(Side::A).join(".suture/manifest.json")).unwrap();
            let mut next = Manifest::parse(&manifest).unwrap();
            next.release = Release(12);
            next.payloads[0].sha256 = Digest::of(b"the next program");
            fs::write(own.path(Side::B).join(".suture/manifest.json"), next.to_bytes().unwrap()).unwrap();
            symlink("./a", dir.join("suture-agent/trial-b-3-of-3")).unwrap();
            fs::remove_file(dir.join("suture-agent/current")).unwrap();
            symlink("b", dir.join("suture-agent/current")).unwrap();
        }
        self.hostile.play(Act { sends: Sends::WithCheckIn, ..Act::honest(&self.loot) });
        let case = Case { dir, pump, scene: self, late: Cell::new(false) };
        case.boot();
        case
    }
}

/// Writes `agent.toml`.
fn configure(dir: &Path, Pump { id, way, by_word, .. }: Pump, rauc: Option<&Stage>) {
    let text = dir.display();
    let interlock = match by_word {
        true => String::new(),
        false => format!("[interlock]\nlock_file = \"{text}/in-use.lock\"\n"),
    };
    // It does not start with FAULT in its tree; what answers is what was started last.
    let (tables, restart) = way.configuration(dir, rauc);
    let restart = if id == "held" { "[\"sh\", \"-c\", \"false\"]".to_owned() } else { restart };
    // Each time that it goes down is written down.
    let restart = restart.replace("[\"sh\", \"-c\", \"", &format!("[\"sh\", \"-c\", \"echo >> {text}/restarts; "));
    let toml = format!(
        "state_dir = \"{text}/state\"\nslots_dir = \"{text}/slots\"\nproduct = \"pump\"\nhardware = \"rev-a\"\n{tables}\
         [restart]\ncommand = {restart}\ntimeout_secs = 60\n\
         [health]\ncommand = [\"test\", \"-e\", \"{text}/answers\"]\nsuccesses = 1\ninterval_ms = 20\ndeadline_secs = 2\n\
         {interlock}[poll]\ninterval_secs = 1\n"
    );
    fs::write(dir.join("agent.toml"), toml).unwrap();
}

/// Brings the devices to the hospital, each with its factory's version, enrolled and confirmed; `new` is to enrol yet.
async fn import(
    world: &World,
    kim: &Operator,
    pumps: &[Pump],
    bundles: &BTreeMap<u64, Bundle>,
    rauc: Option<&Stage>,
) -> Vec<Device> {
    let mut csv = "id,product,hardware,ward,serial,udi\nnew,pump,rev-a,icu,SN-new,UDI-new\n".to_owned();
    for Pump { id, .. } in pumps.iter().filter(|p| p.id != "new") {
        csv.push_str(&format!("{id},pump,rev-a,icu,SN-{id},UDI-{id}\n"));
    }
    fs::write(world.path("pumps.csv"), csv).unwrap();
    kim.run(&["device", "import", "--csv", text(&world.path("pumps.csv"))]).await.unwrap();
    let mut devices = Vec::new();
    for pump in pumps.iter().filter(|p| p.id != "factory") {
        let device = Device::new(world, pump.id, "rev-a");
        configure(&device.dir, *pump, rauc);
        let first = &bundles[&pump.from];
        pump.way.factory(&device.dir, &first.tree, rauc);
        if pump.way == Way::Itself {
            let program = world.path("program");
            fs::write(&program, "#!/bin/sh\n# the agent's first program\n").unwrap();
            let settings = Settings::load(&device.config()).unwrap();
            let manifest = Manifest::parse(&fs::read(first.dir.join("manifest.json")).unwrap()).unwrap();
            let own = Itself::new(settings.itself.as_ref(), &settings.state_dir).unwrap();
            own.provision(&manifest, &program).unwrap();
        }
        device.provision(first);
        if pump.id != "new" {
            let token = kim.json(&["device", "token", pump.id]).await.unwrap();
            let shown = device.enroll(token["token"].as_str().unwrap()).await.unwrap();
            kim.run(&["device", "confirm", pump.id, "--fingerprint", &shown, "--yes"]).await.unwrap();
        }
        devices.push(device);
    }
    devices
}

impl Case<'_> {
    pub(super) fn settings(&self) -> Settings {
        Settings::load(&self.dir.join("agent.toml")).unwrap()
    }

    /// The power is cut: whatever the agent has started ends too.
    pub(super) fn fail(&self) {
        if let Some(stage) = &self.scene.rauc {
            stage.cut();
        }
    }

    /// The power is back: what is to start starts.
    pub(super) fn boot(&self) {
        self.pump.way.power(&self.dir);
    }

    /// What its clock shows.
    fn now(&self) -> Timestamp {
        self.scene.now + SignedDuration::from_mins(if self.late.get() { 11 } else { 0 })
    }

    /// How often its software was restarted.
    pub(super) fn restarts(&self) -> usize {
        fs::read(self.dir.join("restarts")).map(|lines| lines.len()).unwrap_or_default()
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
        program.args(["--now-ms", &self.now().as_millisecond().to_string()]).args(watch).args(command);
        program.status().unwrap()
    }

    /// The agent, as the service manager starts it.
    fn started(&self, around: &Surroundings) -> Result<Agent, String> {
        let settings = self.settings();
        if let Some(own) = &settings.itself {
            Slots::new(&own.dir).before_start().map_err(|e| chain(&e))?;
        }
        Agent::open(settings, around.clone()).map_err(|e| chain(&e))
    }

    /// The agent, started again in this process, until it rests.
    pub(super) async fn resume(&self) -> Result<String, String> {
        let clock = Arc::new(TestClock::start());
        clock.set(self.now());
        let around = Surroundings { clock, proxy: ProxyRules::from_env(|_| None), random: Arc::new(|| 0) };
        let mut agent = self.started(&around)?;
        let mut quiet = 0;
        for _ in 0..40 {
            let before = agent.state().clone();
            Box::pin(agent.cycle()).await.map_err(|e| chain(&e))?;
            if agent.stopper().is_cancelled() {
                drop(agent);
                agent = self.started(&around)?;
            }
            let is_asked = agent.state().trouble().is_some_and(|(reason, _)| reason.code == Code::PersonNeeded);
            let rests = is_asked || matches!(agent.state().name(), "idle" | "held" | "waiting");
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
async fn publish(
    world: &World,
    ada: &Operator,
    (release, way, faulty): (u64, Way, bool),
    rauc: Option<&Stage>,
) -> Bundle {
    let tree = world.path(format!("small-{release}"));
    let dir = world.path(format!("small-{release}.bundle"));
    let format = way.payload(release, faulty, &tree, rauc);
    let (kind, (install, more)) = (way.kind(), way.specification(&dir));
    let toml = format!(
        "product = \"pump\"\nversion = \"1.{}.0\"\nrelease = {release}\nhardware = [\"rev-a\"]\nmin_release = 0\n\
         class = \"routine\"\ninstall = {{ kind = \"{kind}\", budget_secs = 60, revert_budget_secs = 30{install} }}\n\
         [[payload]]\nname = \"app\"\nformat = \"{format}\"\npath = \"{}\"\n{more}",
        release - 1,
        tree.display()
    );
    let file = world.path(format!("small-{release}.toml"));
    fs::write(&file, toml).unwrap();
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
