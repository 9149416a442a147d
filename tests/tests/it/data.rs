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
    let script = "cd \\\"$0\\\" || exit 2; echo \\\"$1\\\" >> data.log; case \\\"$1\\\" in snapshot) cp data copy ;; \
                  restore) cp copy data ;; discard) rm -f copy ;; esac";
    let config = fs::read_to_string(pump.config()).unwrap();
    let dir = pump.dir.display();
    fs::write(pump.config(), format!("{config}[data]\ncommand = [\"sh\", \"-c\", \"{script}\", \"{dir}\"]\n")).unwrap();
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
