//! The device's own data over an update that converts them: the way back has them as they were, and no version that cannot read
//! them is installed.

use std::fs;
use std::path::Path;

use suture_tests::world::{Bundle, Device, Kind, Operator, Spec, World};

const REV: &str = "rev-a";

/// A hospital whose pump runs the first release; the second converts the data, and is as `spec` says besides.
async fn stage(spec: Spec<'_>) -> (World, Operator, Device, Bundle) {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let first = world.publish(&ada, Spec::default()).await;
    let second = Spec { release: 2, install: ", data = { format = 1, reads = [0] }", ..spec };
    let second = world.publish(&ada, second).await;
    let kim = world.hospital(&ada).await;
    let always = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
    kim.run(&["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", always]).await.unwrap();
    let pump = world.devices(&kim, &["pump-1"], &first).await.remove(0);
    // Its second version appends to the data what the first one cannot read.
    let dir = pump.dir.display().to_string();
    let start = "cd \"$0\" && if grep -q 1.1.0 slots/current/app/VERSION; then echo converted >> data; fi";
    pump.configure(REV, &["sh", "-c", start, &dir]);
    fs::write(pump.dir.join("data"), "therapy\n").unwrap();
    (world, kim, pump, second)
}

/// Gives it a program that keeps a copy of its data, and a record of what it was told.
fn keep(pump: &Device) {
    keep_by(pump, "cp data copy");
}

/// The same, which does this at `snapshot`.
fn keep_by(pump: &Device, snapshot: &str) {
    let script = format!(
        "cd \"$0\" || exit 2; echo \"$1\" >> data.log; case \"$1\" in snapshot) {snapshot} ;; \
         restore) cp copy data ;; discard) rm -f copy ;; esac"
    );
    let config = fs::read_to_string(pump.config()).unwrap();
    let command = ["sh", "-c", &script, &pump.dir.display().to_string()];
    fs::write(pump.config(), format!("{config}[data]\ncommand = {command:?}\n")).unwrap();
}

/// Has its software stand still from `snapshot` or `restore` until it is restarted; it is well only while it does not.
fn stands_still(pump: &Device) {
    let dir = pump.dir.display();
    let toml = fs::read_to_string(pump.config()).unwrap();
    let toml = toml
        .replace("[\"sh\", \"-c\", \"cd", "[\"sh\", \"-c\", \"rm -f \\\"$0/still\\\"; echo >> \\\"$0/restarts\\\"; cd");
    let health = format!("command = [\"test\", \"!\", \"-e\", \"{dir}/slots/current/app/FAULT\"]");
    assert!(toml.contains(&health));
    let both = format!("test ! -e {dir}/slots/current/app/FAULT && test ! -e {dir}/still");
    fs::write(pump.config(), toml.replace(&health, &format!("command = [\"sh\", \"-c\", \"{both}\"]"))).unwrap();
}

/// How often it was restarted.
fn restarts(pump: &Device) -> usize {
    read(&pump.dir.join("restarts")).lines().count()
}

/// How the pump counts in the rollout, and why.
async fn counts_as(kim: &Operator, rollout: &str) -> (String, String) {
    let shown = kim.json(&["rollout", "show", rollout]).await.unwrap();
    let device = &shown["devices"][0];
    (device["phase"].as_str().unwrap().to_owned(), device["reason"]["code"].as_str().unwrap_or_default().to_owned())
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Plans the second release for the pump, approves it and gives the rollout's id.
async fn approve(world: &World, kim: &Operator) -> String {
    let file = world.path("plan.json");
    let file = file.to_str().unwrap();
    let plan =
        ["rollout", "plan", "--bundle", "pump@2", "--device", "pump-1", "--slots", "1", "--slack", "60s", "-o", file];
    let plan = kim.json(&plan).await.unwrap();
    let approve = ["rollout", "approve", plan["sha256"].as_str().unwrap(), "--reason", "tested"];
    kim.json(&approve).await.unwrap()["rollout"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_leaves_the_old_one_its_data() {
    let (world, kim, mut pump, _) = stage(Spec { faulty: true, ..Spec::default() }).await;
    keep(&pump);
    approve(&world, &kim).await;
    assert_eq!(pump.cycle().await, "idle(health-failed)");
    assert_eq!(pump.runs(), "1.0.0");
    assert_eq!(read(&pump.dir.join("data")), "therapy\n");
    assert_eq!(read(&pump.dir.join("data.log")), "snapshot\nrestore\ndiscard\n");
    assert!(!pump.dir.join("copy").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_converted_is_never_given_to_a_version_that_cannot_read_it() {
    let (world, kim, mut pump, second) = stage(Spec::default()).await;
    keep(&pump);
    let rollout = approve(&world, &kim).await;
    assert_eq!(pump.cycle().await, "idle(up-to-date)");
    assert_eq!(read(&pump.dir.join("data")), "therapy\nconverted\n");
    assert_eq!(read(&pump.dir.join("data.log")), "snapshot\ndiscard\n");

    // The hospital signs a permit to go down, and the device is asked to, in its slot.
    let back = [
        "rollout",
        "rollback",
        &rollout,
        "--reason",
        "the alarm is too quiet",
        "--slots",
        "1",
        "--slack",
        "60s",
        "--yes",
    ];
    kim.run(&back).await.unwrap();
    let before = pump.fetched_chunks();
    assert_eq!(pump.cycle().await, "idle(data-format)");
    assert_eq!((pump.runs().as_str(), pump.fetched_chunks()), ("1.1.0", before), "{}", second.name);
    let why = format!("{:?}", pump.status().reason);
    assert!(why.contains("format 1") && why.contains("release 1"), "{why}");

    // By then it has said which data lie on it, and no plan has it go down.
    let refused = kim.run(&back).await.unwrap_err().said;
    assert!(refused.contains("data-format") && refused.contains("have format 1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_copy_nothing_is_converted() {
    let (world, kim, mut pump, _) = stage(Spec::default()).await;
    approve(&world, &kim).await;
    assert_eq!(pump.cycle().await, "idle(data-format)");
    assert_eq!((pump.runs().as_str(), pump.fetched_chunks()), ("1.0.0", 0));
    assert_eq!(pump.interlock_log(), [""; 0]);
}

/// Found: the device was released with its software standing still, by a copy that failed, and told to wait; and at the next poll
/// it was copied again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_fails_is_a_try_that_failed_and_the_old_version_is_restarted() {
    let (world, kim, mut pump, _) = stage(Spec::default()).await;
    stands_still(&pump);
    keep_by(&pump, "touch still; exit 3");
    let rollout = approve(&world, &kim).await;
    assert_eq!(pump.cycle().await, "idle(install-failed)");
    assert_eq!((pump.runs().as_str(), restarts(&pump)), ("1.0.0", 1));
    assert_eq!(pump.interlock_log(), ["claim", "release"]);
    assert_eq!(read(&pump.dir.join("data.log")), "snapshot\ndiscard\n");
    assert_eq!(counts_as(&kim, &rollout).await, ("fell_back".to_owned(), "install-failed".to_owned()));
    let why = format!("{:?}", pump.status().reason);
    assert!(why.contains("exit code 3 when it was to snapshot them"), "{why}");
}

/// Found: what stopped the switch once the data were copied left the software standing still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stopped_while_its_data_are_copied_runs_again_before_it_is_released() {
    let (world, kim, mut pump, _) = stage(Spec::default()).await;
    stands_still(&pump);
    let mut gate = pump.gated("keeper", "snapshot");
    keep_by(&pump, "touch still; cp data copy; ./keeper.sh snapshot");
    let rollout = approve(&world, &kim).await;
    let said = async {
        gate.reached().await;
        kim.run(&["rollout", "stop", &rollout]).await.unwrap();
        gate.open().await;
    };
    let (state, ()) = tokio::join!(pump.cycle(), said);
    assert_eq!(state, "idle(stop-order)");
    assert_eq!((pump.runs().as_str(), restarts(&pump), pump.dir.join("still").exists()), ("1.0.0", 1, false));
    assert_eq!(read(&pump.dir.join("data.log")), "snapshot\ndiscard\n", "nothing was converted");
    assert_eq!(pump.interlock_log(), ["claim", "release"]);
}

/// The agent ends in the middle of the copy, without the device.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_ends_while_the_data_are_copied_leaves_no_software_standing_still() {
    let (world, kim, mut pump, _) = stage(Spec::default()).await;
    stands_still(&pump);
    let mut gate = pump.gated("keeper", "snapshot");
    keep_by(&pump, "touch still; ./keeper.sh snapshot");
    let rollout = approve(&world, &kim).await;
    tokio::select! {
        state = pump.cycle() => panic!("{state}"),
        () = gate.reached() => {}
    }
    pump.crash();
    assert_eq!(pump.cycle().await, "idle(install-failed)");
    assert_eq!((pump.runs().as_str(), restarts(&pump), pump.dir.join("still").exists()), ("1.0.0", 1, false));
    assert_eq!(counts_as(&kim, &rollout).await.0, "fell_back");
}

/// Found: where the power failed between the copy and the switch, the copy was put back over what the ward had written since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_after_a_copy_that_no_switch_followed_stays() {
    let (world, kim, mut pump, _) = stage(Spec::default()).await;
    let mut gate = pump.gated("keeper", "snapshot");
    keep_by(&pump, "cp data copy; ./keeper.sh snapshot");
    approve(&world, &kim).await;
    tokio::select! {
        state = pump.cycle() => panic!("{state}"),
        () = gate.reached() => {}
    }
    pump.crash();
    // It came as far as to note that it would switch.
    for name in ["data-copy.json", "data-copy.json.copy"] {
        let note = pump.dir.join("state").join(name);
        let mut noted: serde_json::Value = serde_json::from_str(&read(&note)).unwrap();
        assert_eq!(noted.as_object_mut().unwrap().remove("far").unwrap(), "begun");
        fs::write(&note, noted.to_string()).unwrap();
    }
    fs::write(pump.dir.join("data"), "therapy\nof the night\n").unwrap();
    assert_eq!(pump.cycle().await, "idle(install-failed)");
    assert_eq!(read(&pump.dir.join("data")), "therapy\nof the night\n");
    assert_eq!(read(&pump.dir.join("data.log")), "snapshot\ndiscard\n");
}
