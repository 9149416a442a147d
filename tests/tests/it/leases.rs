//! Leases: while one device of a ward is down beyond its slot, the next waits, until a person or the device itself says that
//! it is back.

use jiff::SignedDuration;
use serde_json::{Value, json};
use suture_agent::journal::Journal;
use suture_agent::machine::Event;
use suture_core::clock::Clock as _;

use crate::hospital::{Hospital, untouched};

/// Both pumps of a ward, of which one may be down at once, and slots in which both may begin: what the signed slots cannot
/// keep apart the lease does. The clock stands in the slots.
async fn leased() -> (Hospital, String) {
    let hospital = Hospital::open().await;
    let plan =
        ["--bundle", "pump@2", "--ward", "icu", "--wave", "rest", "--cap", "2", "--slots", "1", "--slack", "60s"];
    let mut draft = hospital.world.draft(&hospital.kim, &plan).await;
    (draft.0.terms.needs_lease, draft.0.terms.ward_cap) = (true, 1);
    let start = draft.0.devices[0].slots[0].start;
    let end = start + SignedDuration::from_hours(8);
    for device in &mut draft.0.devices {
        (device.slots[0].start, device.slots[0].end) = (start, end);
    }
    draft.0.terms.expires = end;
    // No word of the server's is needed but the lease, and a device that failed holds nobody up but for its place.
    let wave = &mut draft.0.terms.waves[0];
    (wave.needs_server, wave.max_failures, wave.min_confirmed_percent) = (false, 2, 0);
    let (rollout, ..) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    (hospital, rollout)
}

/// The first pump is down beyond its slot: neither the new version nor the old one can be restarted.
async fn down(hospital: &mut Hospital) {
    hospital.pumps[0].configure("rev-a", &["false"]);
    assert_eq!(hospital.pumps[0].cycle().await, "held(restart-failed)");
}

async fn why(hospital: &Hospital, device: &str) -> Value {
    hospital.kim.json(&["device", "why", device]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_of_a_ward_waits_until_a_person_says_that_the_first_is_back() {
    let (mut hospital, rollout) = leased().await;
    down(&mut hospital).await;
    assert_eq!(hospital.pumps[1].cycle().await, "waiting(ward-busy)");
    untouched(&hospital.pumps[1], "1.0.0");
    hospital.pumps[1].cycle().await;
    let told = why(&hospital, "pump-2").await.to_string();
    assert!(told.contains("pump-1 is down since") && told.contains("suturectl device return pump-1"), "{told}");
    let shown = hospital.kim.json(&["device", "show", "pump-1"]).await.unwrap();
    assert_eq!(shown["lease"]["rollout"], json!(rollout), "{shown}");
    let status = hospital.pumps[0].told();
    assert_eq!(status["lease"]["approval"], json!(rollout), "{status}");
    assert_eq!(
        (&status["tried"]["tries"]["spent"], status["tried"]["tries"]["ended"]["code"].as_str()),
        (&json!(1), Some("restart-failed"))
    );
    let shown = hospital.kim.json(&["rollout", "show", &rollout]).await.unwrap();
    assert_eq!((shown["down"][0]["device"].as_str(), shown["down"].as_array().unwrap().len()), (Some("pump-1"), 1));

    // Asked for in vain, however often; then a person has looked.
    assert_eq!(hospital.pumps[1].cycle().await, "waiting(ward-busy)");
    let args = ["device", "return", "pump-1", "--reason", "restarted by hand, it pumps"];
    let ended = hospital.kim.json(&args).await.unwrap();
    assert_eq!(ended["ended"]["device"], "pump-1", "{ended}");
    assert_eq!(hospital.kim.json(&args).await.unwrap()["ended"], Value::Null, "once");
    let record = hospital.kim.run(&["audit", "list"]).await.unwrap();
    assert!(record.contains("device.returned"), "{record}");
    assert_eq!(hospital.pumps[1].cycle().await, "idle(up-to-date)");
    assert_eq!(hospital.pumps[1].runs(), "1.1.0");
    assert_eq!(hospital.pumps[1].interlock_log(), ["claim", "release"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_gives_its_place_back_once_its_interlock_is_released() {
    let (mut hospital, _) = leased().await;
    down(&mut hospital).await;
    let file = hospital.pumps[0].dir.join("state/lease.json");
    assert!(file.exists());
    // Stopped and started again, it tries to go back, and still counts.
    hospital.pumps[0].crash();
    assert_eq!(hospital.pumps[0].cycle().await, "held(restart-failed)");
    assert_eq!(hospital.pumps[1].cycle().await, "waiting(ward-busy)");
    // `suture-agent recover`, by a person who has mended it.
    hospital.pumps[0].crash();
    hospital.pumps[0].configure("rev-a", &["true"]);
    let journal = hospital.pumps[0].dir.join("state/journal.json");
    let mut journal = Journal::open(&journal, 1_000).unwrap();
    journal.apply(Event::Recovered, hospital.world.clock.now()).unwrap();
    drop(journal);
    hospital.pumps[0].cycle().await;
    assert!(!file.exists(), "{}", hospital.pumps[0].state());
    assert_eq!(hospital.pumps[1].cycle().await, "idle(up-to-date)");
    // What a person had to come for is not tried again.
    assert_eq!(hospital.pumps[0].cycle().await, "idle(attempts-spent)");
    let claims = hospital.pumps[0].interlock_log().iter().filter(|l| *l == "claim").count();
    assert_eq!(claims, 2, "once, and once more before the way back was tried again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_word_of_the_server_a_device_that_needs_a_lease_waits_and_says_so() {
    let (mut hospital, rollout) = leased().await;
    hospital.pumps[0].agent();
    std::fs::write(hospital.pumps[0].dir.join("in-use"), "").unwrap();
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(in-use)");
    assert!(!hospital.pumps[0].dir.join("state/lease.json").exists(), "in use, it leaves the place to others");
    std::fs::remove_file(hospital.pumps[0].dir.join("in-use")).unwrap();
    hospital.world.line.cut_after(0);
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(server-unreachable)");
    let trouble = hospital.pumps[0].agent().state().trouble().unwrap().0.text.clone();
    assert!(trouble.contains(&format!("approval {rollout} needs a lease")), "{trouble}");
    untouched_since_use(&hospital);
    hospital.world.line.mend();
    assert_eq!(hospital.pumps[0].cycle().await, "idle(up-to-date)");
    assert!(!hospital.pumps[0].dir.join("state/lease.json").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_down_by_a_rollout_without_leases_counts_by_its_report_until_a_person_returns_it() {
    let mut hospital = Hospital::open().await;
    let plan = ["--bundle", "pump@2", "--wave", "rest", "--cap", "2", "--slots", "1", "--slack", "60s", "--device"];
    let mut rollouts = Vec::new();
    for pump in ["pump-1", "pump-2"] {
        let mut draft = hospital.world.draft(&hospital.kim, &[&plan[..], &[pump]].concat()).await;
        (draft.0.terms.needs_lease, draft.0.terms.ward_cap) = (pump == "pump-2", 1);
        let slot = &mut draft.0.devices[0].slots[0];
        slot.end = slot.start + SignedDuration::from_hours(8);
        draft.0.terms.expires = slot.end;
        rollouts.push(hospital.approve(draft).await);
    }
    hospital.world.clock.set(rollouts[1].1.max(rollouts[0].1));
    down(&mut hospital).await;
    assert!(!hospital.pumps[0].dir.join("state/lease.json").exists());
    assert_eq!(hospital.pumps[1].cycle().await, "waiting(ward-busy)");
    let args = ["device", "return", "pump-1", "--reason", "taken away to be mended"];
    let ended = hospital.kim.json(&args).await.unwrap();
    assert_eq!(ended["ended"]["rollout"], json!(rollouts[0].0), "{ended}");
    assert_eq!(hospital.kim.json(&args).await.unwrap()["ended"], Value::Null, "once");
    assert_eq!(hospital.pumps[1].cycle().await, "idle(up-to-date)");
}

fn untouched_since_use(hospital: &Hospital) {
    assert_eq!(hospital.pumps[0].runs(), "1.0.0");
    assert_eq!(hospital.pumps[0].interlock_log(), [""; 0]);
}
