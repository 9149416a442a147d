//! A device: the real agent, in this process, with a directory of slots and an interlock that a test can hold.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use suture_agent::agent::DepartError;
use suture_agent::backoff::Random;
use suture_agent::config::Settings;
use suture_agent::face::{self, Ask, Done, Refused, Who};
use suture_agent::hand::{self, Found, HandError};
use suture_agent::identity::{Identity, grouped};
use suture_agent::stick::Stick;
use suture_agent::{Agent, Surroundings, provision};
use suture_core::clock::Clock as _;
use suture_core::id::PayloadName;
use suture_proto::connect::ProxyRules;
use zeroize::Zeroizing;

use super::{Operator, TestClock, World};

/// A device of the hospital.
pub struct Device {
    /// Its id.
    pub id: String,
    /// Where its configuration, state and slots are.
    pub dir: PathBuf,
    clock: Arc<TestClock>,
    random: Random,
    agent: Option<Agent>,
}

impl Device {
    /// A device that runs `bundle`, made by `World::bundle`, and has joined nothing yet.
    pub fn new(world: &World, id: &str, hardware: &str) -> Self {
        let dir = world.path(id);
        fs::create_dir_all(dir.join("slots")).unwrap();
        let interlock = dir.join("interlock.sh");
        // It keeps a record, and says that the device is in use while the file `in-use` is there.
        let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\" || exit 2\n\
                      if [ \"$1\" = claim ] && [ -e in-use ]; then exit 1; fi\necho \"$1\" >> interlock.log\n";
        fs::write(&interlock, script).unwrap();
        fs::set_permissions(&interlock, fs::Permissions::from_mode(0o755)).unwrap();
        let device = Self { id: id.to_owned(), dir, clock: world.clock.clone(), random: Arc::new(|| 0), agent: None };
        device.configure(hardware, &["true"]);
        device
    }

    /// The same device once more, as it stands on disk now, in another directory: for what one device cannot go through
    /// twice.
    pub fn double(&self, dir: PathBuf, hardware: &str) -> Self {
        let copied = Command::new("cp").arg("-a").arg(&self.dir).arg(&dir).status().unwrap();
        assert!(copied.success());
        let device =
            Self { id: self.id.clone(), dir, clock: self.clock.clone(), random: self.random.clone(), agent: None };
        device.configure(hardware, &["true"]);
        device
    }

    /// Writes `agent.toml`. The device is healthy unless its tree holds a file `FAULT`.
    pub fn configure(&self, hardware: &str, restart: &[&str]) {
        let dir = self.dir.display();
        let text = format!(
            "state_dir = \"{dir}/state\"\nslots_dir = \"{dir}/slots\"\nproduct = \"pump\"\nhardware = \"{hardware}\"\n\
             [restart]\ncommand = {restart:?}\ntimeout_secs = 60\n\
             [health]\ncommand = [\"test\", \"!\", \"-e\", \"{dir}/slots/current/app/FAULT\"]\n\
             successes = 1\ninterval_ms = 20\ndeadline_secs = 1\n\
             [interlock]\ncommand = [\"{dir}/interlock.sh\"]\ntimeout_secs = 10\n\
             [poll]\ninterval_secs = 1\n\
             [face]\nsocket = \"{dir}/agent.sock\"\n"
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Where `agent.toml` is.
    pub fn config(&self) -> PathBuf {
        self.dir.join("agent.toml")
    }

    /// What its configuration says.
    pub fn settings(&self) -> Settings {
        Settings::load(&self.config()).unwrap()
    }

    fn around(&self) -> Surroundings {
        Surroundings { clock: self.clock.clone(), proxy: ProxyRules::from_env(|_| None), random: self.random.clone() }
    }

    /// Puts the factory's version into the first slot.
    pub fn provision(&self, bundle: &Bundle) {
        let name: PayloadName = "app".parse().unwrap();
        provision::provision(&self.settings(), &bundle.dir.join("manifest.json"), &[(name, bundle.tree.clone())])
            .unwrap();
    }

    /// Spends a token and gives the fingerprint that the device shows.
    pub async fn enroll(&self, token: &str) -> Result<String, String> {
        let around = self.around();
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).unwrap();
        let enrolled = Identity::enroll(&self.settings(), token, None, (around.clock, around.proxy, seed)).await;
        enrolled.map(|identity| grouped(&identity.fingerprint())).map_err(|e| suture_agent::agent::chain(&e))
    }

    /// `suture-agent stop FILE`.
    pub fn hand_stop(&self, file: &Path) -> Result<Found, HandError> {
        hand::read(file).and_then(|order| hand::stop(&self.settings(), &order))
    }

    /// What a person at the device says to the agent that runs here, which has a cycle for it; and the machine's state then.
    pub async fn tell(&mut self, ask: Ask) -> (Result<Done, Refused>, String) {
        let (settings, now, hands) = (self.settings(), self.clock.now(), self.agent().hands());
        let who = Who::here().saying(Some("Kim".to_owned()));
        let said = tokio::spawn(async move { face::said(&hands, &settings, (ask, None), &who, now).await });
        let state = loop {
            let state = self.cycle().await;
            if said.is_finished() {
                break state;
            }
            tokio::task::yield_now().await;
        };
        (said.await.unwrap(), state)
    }

    /// `suture-agent import DIR`.
    pub async fn hand_stick(&self, dir: &Path) -> Result<Found, HandError> {
        let stick = Stick::open(dir).map_err(HandError::from)?;
        hand::import(&self.settings(), stick, self.clock.now()).await
    }

    /// Has it leave its hospital, as `suture-agent leave` does once somebody is known to be at the device. Whether the
    /// hospital was told.
    pub async fn depart(&mut self, untold: bool) -> Result<bool, DepartError> {
        self.agent();
        self.agent.take().unwrap().depart(untold).await
    }

    /// The agent, opened where it is not.
    pub fn agent(&mut self) -> &mut Agent {
        if self.agent.is_none() {
            self.agent = Some(Agent::open(self.settings(), self.around()).unwrap());
        }
        self.agent.as_mut().unwrap()
    }

    /// Gives the device a clock of its own, and starts its agent anew: a clock is set while a device is off.
    pub fn with_clock(&mut self, clock: Arc<TestClock>) {
        self.agent = None;
        self.clock = clock;
    }

    /// Gives the device randomness for its back-offs, where it had none, and starts its agent anew.
    pub fn with_random(&mut self, random: Random) {
        self.agent = None;
        self.random = random;
    }

    /// Ends the agent as a crash would: nothing of it is left but its files.
    pub fn crash(&mut self) {
        self.agent = None;
    }

    /// One cycle, and the machine's state after it.
    pub async fn cycle(&mut self) -> String {
        Box::pin(self.agent().cycle()).await.unwrap();
        self.state()
    }

    /// The machine's state, and its reason's code where it has one: `waiting(before-slot)`.
    pub fn state(&mut self) -> String {
        let state = self.agent().state();
        match state.trouble() {
            Some((reason, _)) => format!("{}({})", state.name(), reason.code),
            None => state.name().to_owned(),
        }
    }

    /// What the version file in the slot in use says.
    pub fn runs(&self) -> String {
        fs::read_to_string(self.dir.join("slots/current/app/VERSION")).unwrap().trim().to_owned()
    }

    /// Chunks that came from the server since the agent was opened.
    pub fn fetched_chunks(&mut self) -> u64 {
        self.agent().counters().fetched_chunks.load(Ordering::SeqCst)
    }

    /// Bytes of deltas that came from the server since the agent was opened, and frames that were applied.
    pub fn deltas(&mut self) -> (u64, u64) {
        let counters = self.agent().counters();
        (counters.delta_bytes.load(Ordering::SeqCst), counters.delta_frames.load(Ordering::SeqCst))
    }

    /// Bytes of chunks that came from the server since the agent was opened, in stored form.
    pub fn chunk_bytes(&mut self) -> u64 {
        self.agent().counters().fetched_bytes.load(Ordering::SeqCst)
    }

    /// What the interlock was asked, in order.
    pub fn interlock_log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.dir.join("interlock.log")).unwrap_or_default();
        log.lines().map(ToOwned::to_owned).collect()
    }
}

/// A bundle that was built.
pub struct Bundle {
    /// `pump@RELEASE`, as `rollout plan` takes it.
    pub name: String,
    /// Where `suturectl bundle build` put it.
    pub dir: PathBuf,
    /// The tree that it was built from.
    pub tree: PathBuf,
}

impl Bundle {
    /// What a payload was built from: of `app` the tree, of another a file or tree beside the bundle, of its name.
    pub fn payload(&self, name: &str) -> PathBuf {
        if name == "app" { self.tree.clone() } else { self.dir.with_extension(name) }
    }
}

/// What a bundle is to be.
#[derive(Clone)]
pub struct Spec<'a> {
    /// Its release; the version is `1.<release - 1>.0`.
    pub release: u64,
    /// The hardware that it is for.
    pub hardware: &'a str,
    /// Whether its health check fails.
    pub faulty: bool,
    /// Whether what is its own is like the other releases', with other bytes strewn in, so that no chunk of it is the same.
    /// It stands at both ends of the payload, and what is between them compresses well.
    pub similar: bool,
    /// The least release that an update to it may start from.
    pub min_release: u64,
    /// Whether a person must check a device that it was installed on.
    pub checked: bool,
    /// What stands in its `install` besides, as in `, data = { format = 2 }`.
    pub install: &'a str,
    /// What stands in its specification besides.
    pub more: &'a str,
}

impl Default for Spec<'_> {
    fn default() -> Self {
        Self {
            release: 1,
            hardware: "rev-a",
            faulty: false,
            similar: false,
            min_release: 0,
            checked: false,
            install: "",
            more: "",
        }
    }
}

/// Bytes that do not compress and are the same each time.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

impl World {
    /// Builds a bundle of about 4 MiB, of which a quarter is the release's own.
    pub async fn build(&self, by: &Operator, spec: Spec<'_>) -> Bundle {
        let Spec { release, hardware, faulty, similar, min_release, checked, install, more } = spec;
        let version = format!("1.{}.0", release - 1);
        let tree = self.path(format!("tree-{release}-{hardware}"));
        fs::create_dir_all(tree.join("lib")).unwrap();
        if similar {
            for part in 0..4 {
                fs::write(tree.join(format!("lib/part-{part}")), noise(part, 4 << 10).repeat(256)).unwrap();
            }
            for (name, seed) in [("lib/a-own", 1_000), ("lib/z-own", 2_000)] {
                let mut own = noise(seed, 128 << 10);
                let strewn = own.iter_mut().zip(noise(seed + release, 128 << 10)).enumerate();
                strewn.filter(|(at, _)| at % 128 < 24).for_each(|(_, (byte, other))| *byte = other);
                fs::write(tree.join(name), own).unwrap();
            }
        } else {
            for part in 0..3 {
                fs::write(tree.join(format!("lib/part-{part}")), noise(part, 1 << 20)).unwrap();
            }
            fs::write(tree.join("lib/own"), noise(1_000 + release, 1 << 20)).unwrap();
        }
        fs::write(tree.join("VERSION"), format!("{version}\n")).unwrap();
        if faulty {
            fs::write(tree.join("FAULT"), "it does not start\n").unwrap();
        }
        let toml = format!(
            "product = \"pump\"\nversion = \"{version}\"\nrelease = {release}\nhardware = [\"{hardware}\"]\n\
             min_release = {min_release}\nclass = \"routine\"\n\
             install = {{ kind = \"slots\", budget_secs = 60, revert_budget_secs = 30, \
             return_to_service = {checked}{install} }}\n\
             [[payload]]\nname = \"app\"\nformat = \"tree\"\npath = \"{}\"\n{more}",
            tree.display()
        );
        let file = self.path(format!("bundle-{release}-{hardware}.toml"));
        fs::write(&file, toml).unwrap();
        let dir = self.path(format!("bundle-{release}-{hardware}"));
        by.run(&["bundle", "build", text(&file), "-o", text(&dir), "--level", "1"]).await.unwrap();
        Bundle { name: format!("pump@{release}"), dir, tree }
    }

    /// Builds, signs and publishes.
    pub async fn publish(&self, by: &Operator, spec: Spec<'_>) -> Bundle {
        let bundle = self.build(by, spec).await;
        by.run(&["bundle", "sign", text(&bundle.dir)]).await.unwrap();
        by.run(&["bundle", "publish", text(&bundle.dir)]).await.unwrap();
        bundle
    }

    /// Imports devices of ward `icu`, enrols and confirms them; each runs `bundle`.
    pub async fn devices(&self, by: &Operator, ids: &[&str], bundle: &Bundle) -> Vec<Device> {
        let mut csv = "id,product,hardware,ward,serial,udi\n".to_owned();
        for id in ids {
            csv.push_str(&format!("{id},pump,rev-a,icu,SN-{id},UDI-{id}\n"));
        }
        let file = self.path("devices.csv");
        fs::write(&file, csv).unwrap();
        by.run(&["device", "import", "--csv", text(&file)]).await.unwrap();
        let mut devices = Vec::new();
        for id in ids {
            let device = Device::new(self, id, "rev-a");
            device.provision(bundle);
            let token = by.json(&["device", "token", id]).await.unwrap();
            let shown = device.enroll(token["token"].as_str().unwrap()).await.unwrap();
            by.run(&["device", "confirm", id, "--fingerprint", &shown, "--yes"]).await.unwrap();
            devices.push(device);
        }
        devices
    }
}

/// A path as a command line has it.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
