//! A patch's whole way on devices that install otherwise than into two directories: published, approved, fetched with what the
//! device has already, installed, started, confirmed; and back.

mod silent;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use suture_agent::config::Settings;
use suture_agent::doctor;
use suture_proto::connect::{Outcome, ProxyRules};
use suture_tests::world::{Bundle, Device, Kind, Operator, World, text};

/// A hospital, and one pump of it that has joined.
struct Stage {
    world: World,
    ada: Operator,
    kim: Operator,
    pump: Device,
}

/// Bytes that do not compress and are the same each time; a part of them is the release's own.
fn content(release: u64, faulty: bool) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = |seed: u64, length: usize| {
        state ^= seed;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes
    };
    let head = format!("VERSION 1.{}.0 {}\n", release - 1, if faulty { "FAULT" } else { "sound" });
    let shared = noise(0, 2 << 20);
    [head.as_bytes(), &shared, &noise(release, 200 << 10)].concat()
}

impl Stage {
    /// With a pump whose installer is `kind`; `toml` is its table. It runs release 1.
    async fn open(kind: &str, installer: impl Fn(&Path) -> String, factory: impl Fn(&Device, &Bundle)) -> Self {
        let world = World::start(Kind::Sqlite).await.unwrap();
        let ada = world.manufacturer().await;
        let kim = world.hospital(&ada).await;
        let always = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
        kim.run(&["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", always]).await.unwrap();
        let pump = Device::new(&world, "pump-1", "rev-a");
        let config = fs::read_to_string(pump.config()).unwrap();
        let (before, after) = config.split_once("[restart]").unwrap();
        fs::write(pump.config(), format!("{before}{}[restart]{after}", installer(&pump.dir))).unwrap();
        let stage = Self { world, ada, kim, pump };
        let first = stage.publish(kind, 1, false).await;
        factory(&stage.pump, &first);
        stage.pump.provision(&first);
        let csv = stage.world.path("devices.csv");
        fs::write(&csv, "id,product,hardware,ward,serial,udi\npump-1,pump,rev-a,icu,SN-1,UDI-1\n").unwrap();
        stage.kim.run(&["device", "import", "--csv", text(&csv)]).await.unwrap();
        let token = stage.kim.json(&["device", "token", "pump-1"]).await.unwrap();
        let shown = stage.pump.enroll(token["token"].as_str().unwrap()).await.unwrap();
        stage.kim.run(&["device", "confirm", "pump-1", "--fingerprint", &shown, "--yes"]).await.unwrap();
        stage
    }

    /// Publishes a release for devices with this installer: a tree with one file, or the file itself.
    async fn publish(&self, kind: &str, release: u64, faulty: bool) -> Bundle {
        self.publish_with(kind, release, faulty, "").await
    }

    /// The same, with this in `install` besides.
    async fn publish_with(&self, kind: &str, release: u64, faulty: bool, more: &str) -> Bundle {
        let version = format!("1.{}.0", release - 1);
        let (format, path) = match kind {
            "image" => ("image", self.world.path(format!("image-{release}"))),
            _ => ("tree", self.world.path(format!("tree-{release}"))),
        };
        if format == "image" {
            fs::write(&path, content(release, faulty)).unwrap();
        } else {
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("content"), content(release, faulty)).unwrap();
            fs::write(path.join("VERSION"), format!("{version}\n")).unwrap();
            if faulty {
                fs::write(path.join("FAULT"), "it does not start\n").unwrap();
            }
        }
        let toml = format!(
            "product = \"pump\"\nversion = \"{version}\"\nrelease = {release}\nhardware = [\"rev-a\"]\nclass = \"routine\"\n\
             install = {{ kind = \"{kind}\", budget_secs = 60, revert_budget_secs = 30{more} }}\n\
             [[payload]]\nname = \"app\"\nformat = \"{format}\"\npath = \"{}\"\n",
            path.display()
        );
        let file = self.world.path(format!("bundle-{release}.toml"));
        fs::write(&file, toml).unwrap();
        let dir = self.world.path(format!("bundle-{release}"));
        for args in [
            &["bundle", "build", text(&file), "-o", text(&dir), "--level", "1"][..],
            &["bundle", "sign", text(&dir)],
            &["bundle", "publish", text(&dir)],
        ] {
            self.ada.run(args).await.unwrap();
        }
        Bundle { name: format!("pump@{release}"), dir, tree: path }
    }

    /// Plans and approves it, and moves into the pump's slot. Gives the rollout.
    async fn approve(&self, bundle: &Bundle) -> String {
        let args =
            ["rollout", "plan", "--bundle", &bundle.name, "--device", "pump-1", "--slots", "1", "--slack", "60s"];
        let plan = self.kim.json(&args).await.unwrap();
        let start = plan["plan"]["devices"][0]["slots"][0]["start"].as_str().unwrap();
        let digest = plan["sha256"].as_str().unwrap();
        let approved = self.kim.json(&["rollout", "approve", digest, "--reason", "tested on the bench"]).await.unwrap();
        self.world.clock.set(start.parse::<Timestamp>().unwrap());
        approved["rollout"].as_str().unwrap().to_owned()
    }

    /// What failed is over: nothing stands in the next one's way.
    async fn stop(&self, rollout: &str) {
        self.kim.run(&["rollout", "stop", rollout]).await.unwrap();
    }

    /// What the pump's reports have come to, and the release that it says it runs.
    async fn reported(&self, rollout: &str) -> (String, u64) {
        let shown = self.kim.json(&["rollout", "show", rollout]).await.unwrap();
        let phase = shown["devices"][0]["phase"].as_str().unwrap().to_owned();
        let device = self.kim.json(&["device", "show", "pump-1"]).await.unwrap();
        (phase, device["release"].as_u64().unwrap_or_else(|| panic!("{device}")))
    }
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// U-Boot's part of a start, by its own tools, as a boot script would do it. A slot with the file `dead-<slot>` does not come
/// up. With the file `gate` the device goes down and does not start before the test starts it.
const BOOT: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")"
if [ -e gate ] && [ "${1-}" != power ]; then echo > down; exec sleep 600; fi
get() { fw_printenv -c fw_env.config -n "$1"; }
for _ in 1 2 3 4 5 6 7; do
    for slot in $(get BOOT_ORDER); do
        left=$(get "BOOT_${slot}_LEFT")
        [ "$left" -gt 0 ] || continue
        fw_setenv -c fw_env.config "BOOT_${slot}_LEFT" $((left - 1))
        [ ! -e "dead-$slot" ] || break
        echo "ro suture.slot=$slot" > cmdline.new
        mv cmdline.new cmdline
        cat /proc/sys/kernel/random/uuid > boot_id
        exit 0
    done
done
exit 1
"#;

fn tool(dir: &Path, arguments: &[&str]) -> String {
    let program = if arguments[0] == "-n" { "fw_printenv" } else { "fw_setenv" };
    let output = Command::new(program).arg("-c").arg(dir.join("fw_env.config")).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}; it is in Debian's package libubootenv-tool"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn image_table(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "[installer]\nkind = \"image\"\nbooted = \"{dir}/cmdline\"\nboot_id = \"{dir}/boot_id\"\n\
         [[installer.place]]\npayload = \"app\"\na = \"{dir}/app-a.img\"\nb = \"{dir}/app-b.img\"\n\
         [installer.uboot]\nenvironment = [\"{dir}/env.bin 0x0 0x2000\", \"{dir}/env.bin 0x2000 0x2000\"]\n"
    )
}

/// What the factory does: an image in slot a, an environment that starts it, and the kernel's word.
fn image_factory(pump: &Device, first: &Bundle) {
    let dir = &pump.dir;
    fs::copy(&first.tree, dir.join("app-a.img")).unwrap();
    fs::write(dir.join("cmdline"), "ro suture.slot=A\n").unwrap();
    fs::write(dir.join("boot_id"), "by the factory\n").unwrap();
    executable(&dir.join("boot.sh"), BOOT);
    fs::write(dir.join("env.bin"), vec![0; 0x4000]).unwrap();
    let line = |offset: &str| format!("{} {offset} 0x2000\n", dir.join("env.bin").display());
    fs::write(dir.join("fw_env.config"), line("0x0") + &line("0x2000")).unwrap();
    fs::write(dir.join("defaults"), "BOOT_ORDER=A B\nBOOT_A_LEFT=3\nBOOT_B_LEFT=3\nbootcmd=run suture\n").unwrap();
    tool(dir, &["-f", text(&dir.join("defaults")), "BOOT_ORDER", "A B"]);
    // Healthy unless the image that was started says otherwise.
    let health = "#!/bin/sh\ncd \"$(dirname \"$0\")\" || exit 2\n\
                  slot=$(sed 's/.*suture.slot=//' cmdline | tr AB ab)\n! head -n 1 \"app-$slot.img\" | grep -q FAULT\n";
    executable(&dir.join("health.sh"), health);
    let config = fs::read_to_string(pump.config()).unwrap();
    let config = config.replace("command = [\"true\"]", &format!("command = [{:?}]", text(&dir.join("boot.sh"))));
    let health = config.lines().find(|line| line.contains("\"test\"")).unwrap();
    let config = config.replace(health, &format!("command = [{:?}]", text(&dir.join("health.sh"))));
    fs::write(pump.config(), config).unwrap();
}

/// What the image says that was started.
fn runs(pump: &Device) -> String {
    let cmdline = fs::read_to_string(pump.dir.join("cmdline")).unwrap();
    let slot = cmdline.trim_end().chars().last().unwrap().to_ascii_lowercase();
    let image = fs::read(pump.dir.join(format!("app-{slot}.img"))).unwrap();
    let head = String::from_utf8_lossy(&image[..20]).into_owned();
    format!("{slot} {}", head.split(' ').nth(1).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_goes_into_the_other_slot_and_the_boot_loader_starts_it() {
    let mut stage = Stage::open("image", image_table, image_factory).await;
    assert_eq!(stage.pump.cycle().await, "idle(nothing-approved)");
    assert_eq!(runs(&stage.pump), "a 1.0.0");
    assert_eq!(tool(&stage.pump.dir, &["-n", "BOOT_ORDER"]), "A", "what runs is what starts, and nothing else");

    // Most of it comes from the slot that runs.
    let second = stage.publish("image", 2, false).await;
    let rollout = stage.approve(&second).await;
    assert_eq!(stage.pump.cycle().await, "idle(up-to-date)");
    assert_eq!(runs(&stage.pump), "b 1.1.0");
    assert_eq!(stage.reported(&rollout).await, ("confirmed".to_owned(), 2));
    assert_eq!((tool(&stage.pump.dir, &["-n", "BOOT_ORDER"]), stage.pump.interlock_log().len()), ("B".to_owned(), 2));
    let (came, _) = stage.pump.deltas();
    let came = came + stage.pump.chunk_bytes();
    assert!(came < 700 << 10, "{came} bytes of {} came", content(2, false).len());
    assert!(fs::read(stage.pump.dir.join("app-b.img")).unwrap() == content(2, false));

    // `suture-agent doctor` says what installs and whether it can.
    assert_eq!(examined(&stage).await, (true, "image: slot b runs, the boot loader starts slot b always".to_owned()));
    fs::rename(stage.pump.dir.join("env.bin"), stage.pump.dir.join("away")).unwrap();
    let (well, text) = examined(&stage).await;
    assert!(!well && text.contains("env.bin"), "{text}");
    fs::rename(stage.pump.dir.join("away"), stage.pump.dir.join("env.bin")).unwrap();

    // One that does not come up: the boot loader goes back, and the device says so.
    let third = stage.publish("image", 3, false).await;
    let rollout = stage.approve(&third).await;
    fs::write(stage.pump.dir.join("dead-A"), "").unwrap();
    assert_eq!(stage.pump.cycle().await, "idle(start-failed)");
    assert_eq!(stage.reported(&rollout).await, ("fell_back".to_owned(), 2));
    assert_eq!((runs(&stage.pump), tool(&stage.pump.dir, &["-n", "BOOT_ORDER"])), ("b 1.1.0".into(), "B".into()));
    fs::remove_file(stage.pump.dir.join("dead-A")).unwrap();
    stage.stop(&rollout).await;

    // One that comes up and is not well: the device goes back by itself.
    let fourth = stage.publish("image", 4, true).await;
    let rollout = stage.approve(&fourth).await;
    assert_eq!(stage.pump.cycle().await, "idle(health-failed)");
    assert_eq!(stage.reported(&rollout).await, ("fell_back".to_owned(), 2));
    assert_eq!((runs(&stage.pump), tool(&stage.pump.dir, &["-n", "BOOT_ORDER"])), ("b 1.1.0".into(), "B".into()));

    stage.stop(&rollout).await;

    // A device that goes down takes its agent with it; the one that starts next sees that the new version runs.
    let fifth = stage.publish("image", 5, false).await;
    let rollout = stage.approve(&fifth).await;
    goes_down(&mut stage.pump).await;
    assert_eq!(stage.pump.cycle().await, "idle(up-to-date)");
    assert_eq!(stage.reported(&rollout).await, ("confirmed".to_owned(), 5));
    assert_eq!((runs(&stage.pump), tool(&stage.pump.dir, &["-n", "BOOT_ORDER"])), ("a 1.4.0".into(), "A".into()));

    // What is made for another installer is not planned: the pump has said what it has.
    let sixth = stage.publish("slots", 6, false).await;
    let plan = ["rollout", "plan", "--bundle", &sixth.name, "--device", "pump-1"];
    let plan = stage.kim.json(&plan).await.unwrap();
    let reason = &plan["plan"]["blocked"][0]["reason"];
    assert_eq!(reason["code"], "wrong-installer", "{plan}");
    let shown = stage.kim.run(&["device", "show", "pump-1"]).await.unwrap();
    assert!(shown.contains("by `image`") && shown.contains("format 0"), "{shown}");
    // Signed all the same, it is refused before it is fetched.
    let before = stage.pump.fetched_chunks();
    let seventh = stage.publish("image", 7, false).await;
    let plan = ["--bundle", &seventh.name, "--device", "pump-1", "--slots", "1", "--slack", "60s"];
    let mut draft = stage.world.draft(&stage.kim, &plan).await;
    draft.0.terms.steps = vec![sixth.step()];
    stage.kim.sign(&draft).await;
    let rollout = draft.0.terms.id.to_string();
    stage.world.clock.set(draft.0.devices[0].slots[0].start);
    assert_eq!(stage.pump.cycle().await, "idle(unusable-bundle)");
    assert_eq!(stage.reported(&rollout).await, ("failed".to_owned(), 5));
    let shown = stage.kim.json(&["rollout", "show", &rollout]).await.unwrap();
    let reason = shown["devices"][0]["reason"]["text"].as_str().unwrap();
    assert!(reason.contains("made for the installer `slots`, and this device has `image`"), "{reason}");
    assert_eq!(stage.pump.fetched_chunks(), before);
}

/// The pump goes down with its agent in the middle of a cycle, and comes up.
async fn goes_down(pump: &mut Device) {
    let down = pump.dir.join("down");
    fs::write(pump.dir.join("gate"), "").unwrap();
    let is_down = async {
        while !down.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        state = pump.cycle() => panic!("{state}"),
        () = is_down => {}
    }
    pump.crash();
    fs::remove_file(&down).unwrap();
    assert!(Command::new(pump.dir.join("boot.sh")).arg("power").status().unwrap().success());
}

/// Found: the data were put back once more under the old version that had come up on them, which stood still from then on; no start of
/// the device mended that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_back_over_a_start_of_the_device_puts_the_data_back_once() {
    let mut stage = Stage::open("image", image_table, image_factory).await;
    let dir = stage.pump.dir.clone();
    // What keeps the data stops the software that writes them; a start of the device starts it.
    let keeper = "#!/bin/sh\ncd \"$(dirname \"$0\")\" || exit 2\necho \"$1\" >> data.log\n\
                  [ \"$1\" = discard ] || touch still\n";
    executable(&dir.join("keeper.sh"), keeper);
    executable(
        &dir.join("boot.sh"),
        &BOOT.replace("mv cmdline.new cmdline\n", "mv cmdline.new cmdline; rm -f still\n"),
    );
    let health = fs::read_to_string(dir.join("health.sh")).unwrap();
    executable(&dir.join("health.sh"), &health.replace("! head", "[ ! -e still ] && ! head"));
    let config = fs::read_to_string(stage.pump.config()).unwrap();
    fs::write(stage.pump.config(), format!("{config}[data]\ncommand = [\"{}/keeper.sh\"]\n", dir.display())).unwrap();
    assert_eq!(stage.pump.cycle().await, "idle(nothing-approved)");

    let second = stage.publish_with("image", 2, true, ", data = { format = 1, reads = [0] }").await;
    let rollout = stage.approve(&second).await;
    // Into the new version, which is not well, and back.
    goes_down(&mut stage.pump).await;
    assert_eq!(runs(&stage.pump), "b 1.1.0");
    goes_down(&mut stage.pump).await;
    assert_eq!(runs(&stage.pump), "a 1.0.0");
    fs::remove_file(dir.join("gate")).unwrap();
    assert_eq!(stage.pump.cycle().await, "idle(health-failed)");
    assert_eq!(fs::read_to_string(dir.join("data.log")).unwrap(), "snapshot\nrestore\ndiscard\n");
    assert_eq!(stage.reported(&rollout).await, ("fell_back".to_owned(), 1));
    assert_eq!(stage.pump.interlock_log().last().unwrap(), "release");

    // The boot loader goes back by itself, onto data that the new version may have converted: they are put back, and the old
    // version is started anew on them.
    stage.stop(&rollout).await;
    fs::remove_file(dir.join("data.log")).unwrap();
    let third = stage.publish_with("image", 3, false, ", data = { format = 1, reads = [0] }").await;
    let rollout = stage.approve(&third).await;
    fs::write(dir.join("dead-B"), "").unwrap();
    fs::write(dir.join("boots"), "").unwrap();
    executable(
        &dir.join("boot.sh"),
        &fs::read_to_string(dir.join("boot.sh")).unwrap().replace("exit 0\n", "echo $slot >> boots; exit 0\n"),
    );
    assert_eq!(stage.pump.cycle().await, "idle(start-failed)");
    assert_eq!(fs::read_to_string(dir.join("data.log")).unwrap(), "snapshot\nrestore\ndiscard\n");
    assert_eq!(fs::read_to_string(dir.join("boots")).unwrap(), "A\nA\n");
    assert_eq!(stage.reported(&rollout).await, ("fell_back".to_owned(), 1));
}

/// Found: after a way back the health of the new version, which ran still, was taken for the old one's, and it was kept for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_back_after_which_the_new_version_still_runs_is_none() {
    let table = |dir: &Path| {
        let (installer, guide) = (dir.join("installer.sh"), dir.join("guide.sh"));
        let shown = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/install/command/example.sh");
        executable(&guide, &fs::read_to_string(shown).unwrap());
        // What it says that runs is what ran before the last restart: it answers before the device has gone down.
        let late = "#!/bin/sh\nhere=$(dirname \"$0\")\n\
                    if [ \"$1\" = state ] && [ -e \"$here/late\" ]; then cat \"$here/late\"; exit 0; fi\n\
                    if [ \"$1\" = revert ] && ! [ -e \"$here/late\" ]; then \"$here/guide.sh\" state | grep -v switched > \"$here/late\"; fi\n\
                    exec \"$here/guide.sh\" \"$@\"\n";
        executable(&installer, late);
        format!("[installer]\nkind = \"command\"\ncommand = [{:?}]\n", text(&installer))
    };
    let mut stage = Stage::open("command", table, |_, _| {}).await;
    assert_eq!(stage.pump.cycle().await, "idle(nothing-approved)");
    let second = stage.publish("command", 2, true).await;
    let rollout = stage.approve(&second).await;
    assert_eq!(stage.pump.cycle().await, "held(health-failed)");
    assert_eq!(stage.pump.interlock_log(), ["claim"], "it is not given back to patients");
    assert_eq!(stage.reported(&rollout).await.0, "held");
}

/// What `doctor` finds of the installer.
async fn examined(stage: &Stage) -> (bool, String) {
    let settings = Settings::load(&stage.pump.config()).unwrap();
    let findings = doctor::examine(&settings, stage.world.clock.clone(), ProxyRules::from_env(|_| None)).await;
    let found = findings.into_iter().find(|finding| finding.test == "installer").unwrap();
    (found.outcome == Outcome::Good, found.text)
}

/// The program that the integrators' guide shows, whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guides_program_installs_and_goes_back() {
    let table = |dir: &Path| {
        let installer: PathBuf = dir.join("installer.sh");
        let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/install/command/example.sh");
        executable(&installer, &fs::read_to_string(guide).unwrap());
        format!("[installer]\nkind = \"command\"\ncommand = [{:?}]\n", text(&installer))
    };
    let mut stage = Stage::open("command", table, |_, _| {}).await;
    assert_eq!(stage.pump.cycle().await, "idle(nothing-approved)");
    assert_eq!(stage.pump.runs(), "1.0.0");
    let second = stage.publish("command", 2, false).await;
    let rollout = stage.approve(&second).await;
    assert_eq!(stage.pump.cycle().await, "idle(up-to-date)");
    assert_eq!(stage.pump.runs(), "1.1.0");
    assert_eq!(stage.reported(&rollout).await, ("confirmed".to_owned(), 2));
    assert_eq!(stage.pump.interlock_log(), ["claim", "release"]);
    let (came, _) = stage.pump.deltas();
    let came = came + stage.pump.chunk_bytes();
    assert!(came < 700 << 10, "{came} bytes of {} came", content(2, false).len());

    let third = stage.publish("command", 3, true).await;
    let rollout = stage.approve(&third).await;
    assert_eq!(stage.pump.cycle().await, "idle(health-failed)");
    assert_eq!(stage.reported(&rollout).await, ("fell_back".to_owned(), 2));
    assert_eq!(stage.pump.runs(), "1.1.0");

    // What `status` and the hospital are told of what runs is what the program says.
    assert_eq!(stage.pump.told()["release"], 2);
}
