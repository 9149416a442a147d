//! The whole way of a patch, on both databases: publish, approve, cut, resume, install, confirm, fall back, pause, roll
//! back.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde_json::Value;
use suture_core::chunk::Index;
use suture_tests::world::{Device, Kind, Operator, Spec, World, text};

/// Plans a rollout in two waves, one canary and the rest, approves it, and gives its id and each device's first slot.
async fn approve(world: &World, kim: &Operator, bundle: &str) -> (String, BTreeMap<String, Timestamp>) {
    let file = world.path(format!("plan-{bundle}.json"));
    let args = ["rollout", "plan", "--bundle", bundle, "--ward", "icu", "--wave", "1", "--wave", "rest", "--cap", "3"];
    let more = ["--slots", "1", "--slack", "60s", "--ticket", "CHG-1", "-o", text(&file)];
    let plan = kim.json(&[&args[..], &more].concat()).await.unwrap();
    let approved = kim
        .json(&["rollout", "approve", plan["sha256"].as_str().unwrap(), "--reason", "tested on the bench"])
        .await
        .unwrap();
    (approved["rollout"].as_str().unwrap().to_owned(), slots(&plan["plan"]))
}

fn slots(plan: &Value) -> BTreeMap<String, Timestamp> {
    let device = |d: &Value| {
        (d["id"].as_str().unwrap().to_owned(), d["slots"][0]["start"].as_str().unwrap().parse::<Timestamp>().unwrap())
    };
    plan["devices"].as_array().unwrap().iter().map(device).collect()
}

async fn state(kim: &Operator, rollout: &str) -> (String, BTreeMap<String, String>) {
    let shown = kim.json(&["rollout", "show", rollout]).await.unwrap();
    let phases = shown["devices"].as_array().unwrap().iter();
    let phases = phases.map(|d| (d["id"].as_str().unwrap().to_owned(), d["phase"].as_str().unwrap().to_owned()));
    (shown["state"].as_str().unwrap().to_owned(), phases.collect())
}

fn chunks(bundle_dir: &std::path::Path) -> Index {
    let index = walk(bundle_dir).into_iter().find(|p| p.to_string_lossy().contains("index")).unwrap();
    Index::parse(&std::fs::read(index).unwrap()).unwrap()
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .flat_map(|p| if p.is_dir() { walk(&p) } else { vec![p] })
        .collect()
}

/// Chunks of `new` that `old` has not got, each counted once.
fn novel(old: &Index, new: &Index) -> u64 {
    let old: std::collections::BTreeSet<_> = old.entries().iter().map(|e| e.sha256).collect();
    let new: std::collections::BTreeSet<_> = new.entries().iter().map(|e| e.sha256).collect();
    new.difference(&old).count() as u64
}

async fn journey(kind: Kind) {
    let Some(mut world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let first = world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    let second = world.publish(&ada, Spec { release: 2, ..Spec::default() }).await;
    let kim = world.hospital(&ada).await;
    kim.run(&[
        "calendar",
        "set",
        "icu",
        "--zone",
        "Europe/Berlin",
        "--weekly",
        "mon,tue,wed,thu,fri,sat,sun 00:00 24h",
    ])
    .await
    .unwrap();
    let mut pumps = world.devices(&kim, &["pump-1", "pump-2", "pump-3"], &first).await;
    for pump in &mut pumps {
        assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    }

    // Approved, the canary's transfer is cut, the agent dies, and another goes on from the missing chunks.
    let (rollout, slots) = approve(&world, &kim, &second.name).await;
    world.line.cut_after(700_000);
    {
        let stop = pumps[0].agent().stopper();
        let counters = pumps[0].agent().counters().clone();
        let cut = world.line.until_cut();
        let (_, cycled) = tokio::join!(
            async {
                cut.await;
                // What had arrived whole is verified and written beside the transfer.
                while counters.fetched_chunks.load(Ordering::SeqCst) == 0 {
                    tokio::task::yield_now().await;
                }
                stop.cancel();
            },
            pumps[0].agent().cycle()
        );
        cycled.unwrap();
    }
    let before = pumps[0].fetched_chunks();
    assert_eq!(pumps[0].state(), "fetching", "the cut was to come in the middle");
    pumps[0].crash();
    world.line.mend();
    // The server goes down and comes back meanwhile; nothing that matters was only in its memory.
    world.stop_server().await;
    world.start_server().await;
    world.clock.set(slots["pump-1"]);
    assert_eq!(pumps[0].cycle().await, "idle(up-to-date)");
    let wanted = novel(&chunks(&first.dir), &chunks(&second.dir));
    assert!(before > 0 && before < wanted, "{before} of {wanted} chunks came before the cut");
    assert_eq!(before + pumps[0].fetched_chunks(), wanted, "a chunk was fetched twice, or one that the slot held");
    assert_eq!(pumps[0].runs(), "1.1.0");
    assert_eq!(pumps[0].interlock_log(), ["claim", "release"]);

    // The canary has proven itself: the second wave is open, each device in its own slot.
    let (now, phases) = state(&kim, &rollout).await;
    assert_eq!(
        (now.as_str(), phases["pump-1"].as_str(), phases["pump-2"].as_str()),
        ("running", "confirmed", "offered")
    );
    assert_eq!(pumps[1].cycle().await, "waiting(before-slot)");
    assert_eq!(pumps[1].runs(), "1.0.0");
    install(&world, &mut pumps[1..], &slots, "1.1.0").await;
    assert_eq!(state(&kim, &rollout).await.0, "complete");

    // A bad version falls back by itself, the rollout pauses, and nobody else is touched.
    let third = world.publish(&ada, Spec { release: 3, faulty: true, ..Spec::default() }).await;
    let (bad, slots) = approve(&world, &kim, &third.name).await;
    world.clock.set(slots["pump-1"]);
    assert_eq!(pumps[0].cycle().await, "idle(health-failed)");
    assert_eq!(pumps[0].runs(), "1.1.0");
    let (now, phases) = state(&kim, &bad).await;
    assert_eq!((now.as_str(), phases["pump-1"].as_str()), ("paused", "fell_back"));
    world.clock.set(slots["pump-2"]);
    assert_eq!(pumps[1].cycle().await, "waiting(paused)");
    assert_eq!(pumps[1].runs(), "1.1.0");

    // Nobody runs it: rolling it back is a stop order, which devices obey by signature.
    kim.run(&["rollout", "rollback", &bad, "--reason", "it does not start", "--yes"]).await.unwrap();
    assert_eq!(state(&kim, &bad).await.0, "aborted");
    assert_eq!(pumps[1].cycle().await, "idle(stop-order)");

    // A good one is rolled back by hand: a signed permit to go down, for those who moved.
    let back = ["rollout", "rollback", &rollout, "--reason", "the ward asks for it", "--yes"];
    let pace = ["--cap", "3", "--slots", "1", "--slack", "60s"];
    let back = kim.json(&[&back[..], &pace].concat()).await.unwrap();
    let slots = self::slots(&back["plan"]);
    assert_eq!(slots.len(), 3);
    install(&world, &mut pumps, &slots, "1.0.0").await;
    assert_eq!(state(&kim, back["plan"]["request"]["approval"].as_str().unwrap()).await.0, "complete");

    for who in [&ada, &kim] {
        who.run(&["audit", "verify"]).await.unwrap();
    }
    crate::evidence::of_both_sides(&world, &ada, &kim, &rollout, &bad).await;
    world.stop_server().await;
}

/// Lets each device install in its own slot.
async fn install(world: &World, pumps: &mut [Device], slots: &BTreeMap<String, Timestamp>, version: &str) {
    let mut order: Vec<&mut Device> = pumps.iter_mut().collect();
    order.sort_by_key(|pump| slots[&pump.id]);
    for pump in order {
        world.clock.set(slots[&pump.id]);
        assert_eq!(pump.cycle().await, "idle(up-to-date)", "{}", pump.id);
        assert_eq!(pump.runs(), version, "{}", pump.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    journey(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    journey(Kind::Postgres).await;
}
