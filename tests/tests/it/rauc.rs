//! The real RAUC of Debian's packages as a device's installer: the journey from an approved bundle to a confirmed one, and to
//! those that fall back.
//!
//! RAUC mounts bundles, which only root may: an ordinary user has no journey here, and the tests end at once.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use suture_agent::config::Settings;
use suture_agent::provision;
use suture_core::approval::Slot;
use suture_core::clock::Clock as _;
use suture_tests::world::{Bundle, Device, Kind, Operator, World, text};

use crate::rauc_stage::{self as stage, Image, Stage, image};

/// Far more than any of it takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A hospital with one pump that has RAUC and runs the first release.
struct Ward {
    world: World,
    ada: Operator,
    kim: Operator,
    stage: Stage,
    pump: Device,
}

impl Ward {
    async fn open() -> Self {
        let world = World::start(Kind::Sqlite).await.unwrap();
        let stage = Stage::new(world.path("rauc"), &image(1, Image::Good));
        let ada = world.manufacturer().await;
        let first = publish(&world, &ada, 1, &stage.bundle("one", &image(1, Image::Good), "maker")).await;
        let kim = world.hospital(&ada).await;
        let always = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
        kim.run(&["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", always]).await.unwrap();
        let file = world.path("devices.csv");
        fs::write(&file, "id,product,hardware,ward,serial,udi\npump-1,pump,rev-a,icu,SN-1,UDI-1\n").unwrap();
        kim.run(&["device", "import", "--csv", text(&file)]).await.unwrap();
        let pump = Device::new(&world, "pump-1", "rev-a");
        configure(&pump, &stage, &stage.dir.join("power.sh"));
        let settings = Settings::load(&pump.config()).unwrap();
        let payload = [("app".parse().unwrap(), first.tree.clone())];
        provision::provision(&settings, &first.dir.join("manifest.json"), &payload).unwrap();
        let token = kim.json(&["device", "token", "pump-1"]).await.unwrap();
        let shown = pump.enroll(token["token"].as_str().unwrap()).await.unwrap();
        kim.run(&["device", "confirm", "pump-1", "--fingerprint", &shown, "--yes"]).await.unwrap();
        Self { world, ada, kim, stage, pump }
    }

    /// Publishes a release of that image and approves it for the next hour.
    async fn approve(&self, release: u64, kind: Image, signer: &str) -> String {
        let bundle = self.stage.bundle(&release.to_string(), &image(release, kind), signer);
        let bundle = publish(&self.world, &self.ada, release, &bundle).await;
        let plan = ["--bundle", &bundle.name, "--device", "pump-1", "--slots", "1", "--slack", "60s"];
        let mut draft = self.world.draft(&self.kim, &plan).await;
        let start = self.world.clock.now();
        let end = start + SignedDuration::from_hours(1);
        draft.0.devices[0].slots = vec![Slot { start, end }];
        draft.0.terms.expires = end;
        self.kim.sign(&draft).await;
        draft.0.terms.id.to_string()
    }

    async fn reported(&self, rollout: &str) -> (String, String) {
        let shown = self.kim.json(&["rollout", "show", rollout]).await.unwrap();
        let device = &shown["devices"][0];
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        (word(&device["phase"]), word(&device["reason"]["code"]))
    }
}

/// `agent.toml` of a pump with RAUC.
fn configure(pump: &Device, stage: &Stage, restart: &Path) {
    let (dir, rauc) = (pump.dir.display(), stage.dir.display());
    let text = format!(
        "state_dir = \"{dir}/state\"\nslots_dir = \"{dir}/slots\"\nproduct = \"pump\"\nhardware = \"rev-a\"\n\
         [installer]\nkind = \"rauc\"\ncommand = {:?}\nsystem_conf = \"{rauc}/system.conf\"\nboot_id = \"{rauc}/boot_id\"\n\
         [restart]\ncommand = [\"env\", {:?}, {restart:?}]\ntimeout_secs = 60\n\
         [health]\ncommand = [\"{rauc}/health.sh\"]\nsuccesses = 1\ninterval_ms = 20\ndeadline_secs = 1\n\
         [interlock]\ncommand = [\"{dir}/interlock.sh\"]\ntimeout_secs = 10\n[poll]\ninterval_secs = 1\n",
        stage.argv(),
        stage.argv()[1],
    );
    fs::write(pump.config(), text).unwrap();
}

/// Builds a bundle of ours around one of RAUC's, signs it and publishes it.
async fn publish(world: &World, by: &Operator, release: u64, bundle: &Path) -> Bundle {
    let toml = format!(
        "product = \"pump\"\nversion = \"1.{}.0\"\nrelease = {release}\nhardware = [\"rev-a\"]\nclass = \"routine\"\n\
         install = {{ kind = \"rauc\", budget_secs = 60, revert_budget_secs = 30 }}\n\
         [[payload]]\nname = \"app\"\nformat = \"image\"\npath = \"{}\"\n",
        release - 1,
        bundle.display()
    );
    let (file, dir) = (world.path(format!("rauc-{release}.toml")), world.path(format!("rauc-{release}")));
    fs::write(&file, toml).unwrap();
    by.run(&["bundle", "build", text(&file), "-o", text(&dir), "--level", "1"]).await.unwrap();
    by.run(&["bundle", "sign", text(&dir)]).await.unwrap();
    by.run(&["bundle", "publish", text(&dir)]).await.unwrap();
    Bundle { name: format!("pump@{release}"), dir, tree: bundle.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approved_bundle_is_confirmed_and_bad_ones_fall_back() {
    if !stage::may_mount() {
        return;
    }
    let mut ward = Ward::open().await;
    let rollout = ward.approve(2, Image::Good, "maker").await;
    assert_eq!(ward.pump.cycle().await, "idle(up-to-date)", "{}", ward.stage.log());
    assert_eq!((ward.stage.says("booted").as_str(), ward.stage.slot("B").as_str()), ("B", "1.1.0 GOOD"));
    assert_eq!(ward.stage.slot("A"), "1.0.0 GOOD", "the old one is whole");
    assert_eq!(ward.stage.says("B.left"), "3", "it was marked good, so it may be started for ever");
    assert_eq!(ward.stage.says("boots"), "A 1.0.0 GOOD\nB 1.1.0 GOOD");
    assert_eq!(ward.pump.interlock_log(), ["claim", "release"]);
    assert_eq!(ward.reported(&rollout).await.0, "confirmed");

    // It comes up and is not well.
    let rollout = ward.approve(3, Image::Fault, "maker").await;
    assert_eq!(ward.pump.cycle().await, "idle(health-failed)", "{}", ward.stage.log());
    assert_eq!(ward.stage.slot("A"), "1.2.0 FAULT");
    assert_eq!((ward.stage.says("booted").as_str(), ward.stage.says("A.left").as_str()), ("B", "0"));
    assert!(ward.stage.says("boots").ends_with("A 1.2.0 FAULT\nB 1.1.0 GOOD"));
    assert_eq!(ward.reported(&rollout).await, ("fell_back".to_owned(), "health-failed".to_owned()));

    // It does not come up: the boot loader tries it three times and takes the old one.
    let rollout = ward.approve(4, Image::Panic, "maker").await;
    assert_eq!(ward.pump.cycle().await, "idle(start-failed)", "{}", ward.stage.log());
    let panics = ward.stage.says("boots").matches("A 1.3.0 PANIC").count();
    assert_eq!((panics, ward.stage.says("booted").as_str()), (3, "B"));
    assert_eq!(ward.reported(&rollout).await, ("fell_back".to_owned(), "start-failed".to_owned()));
    let shown = ward.kim.run(&["rollout", "show", &rollout]).await.unwrap();
    assert!(shown.contains("has given rootfs.0 up and gone back to rootfs.1"), "{shown}");

    // Both sides have signed it, and RAUC's keyring has not: nothing is written.
    stage::key(&ward.stage.dir, "stranger");
    let boots = ward.stage.says("boots");
    let rollout = ward.approve(5, Image::Good, "stranger").await;
    assert_eq!(ward.pump.cycle().await, "idle(unusable-bundle)", "{}", ward.stage.log());
    assert_eq!((ward.stage.slot("A").as_str(), ward.stage.says("boots")), ("1.3.0 PANIC", boots));
    assert_eq!(ward.reported(&rollout).await, ("failed".to_owned(), "unusable-bundle".to_owned()));

    // And a good one still goes.
    let rollout = ward.approve(6, Image::Good, "maker").await;
    assert_eq!(ward.pump.cycle().await, "idle(up-to-date)", "{}", ward.stage.log());
    assert_eq!((ward.stage.says("booted").as_str(), ward.stage.slot("A").as_str()), ("A", "1.5.0 GOOD"));
    assert_eq!(ward.reported(&rollout).await.0, "confirmed");
    for who in [&ward.ada, &ward.kim] {
        who.run(&["audit", "verify"]).await.unwrap();
    }
}

/// The restart command only asks for it, and the agent goes down with the device.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_goes_down_with_the_device_and_goes_on_when_it_is_up() {
    if !stage::may_mount() {
        return;
    }
    let mut ward = Ward::open().await;
    configure(&ward.pump, &ward.stage, Path::new("true"));
    let rollout = ward.approve(2, Image::Good, "maker").await;
    let agent = ward.pump.spawn();
    let restarting = async {
        while ward.pump.status().state != "restarting" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, restarting).await.is_ok(), "{}", ward.pump.log());
    agent.kill();
    assert_eq!((ward.stage.says("order").as_str(), ward.stage.says("booted").as_str()), ("B A", "A"));
    assert!(ward.stage.power());
    assert_eq!(ward.pump.cycle().await, "idle(up-to-date)");
    assert_eq!(ward.stage.says("boots"), "A 1.0.0 GOOD\nB 1.1.0 GOOD", "it is not started anew twice");
    assert_eq!(ward.reported(&rollout).await.0, "confirmed");
}
