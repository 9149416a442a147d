//! After the attack: the server is its owners' again, and the devices go on by themselves.

use jiff::Timestamp;
use serde_json::json;
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::{Role, key_id, key_object};
use suture_tests::hostile::{Act, Repo};
use zeroize::Zeroizing;

use super::stage::{Stage, report, row, state, touched};
use super::sticks::{by_hand, import, write_stick};
use super::{documents, metadata, talk, transfer};

/// One device suffers one of each class, one after another, and then its own server is there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_goes_on_once_the_honest_server_returns() {
    let mut stage = Stage::open().await;
    let device = stage.device();
    // None of these signs a newer version than its owners' server has; see below for that.
    let lies =
        row("lies about reports", "it has all of them, and the next thousand", "waiting(paused)", |act, keys| {
            (talk::NARROWER[0].play)(act, keys);
            act.stored = std::sync::Arc::new(|last| last + 1_000);
        });
    let more = row("lies about reports", "it has every report that can be", "waiting(paused)", |act, keys| {
        (talk::NARROWER[0].play)(act, keys);
        act.stored = std::sync::Arc::new(|_| u64::MAX);
    });
    let mut came = Vec::new();
    for row in [
        &metadata::KEYS_AND_ROOTS[6],
        &metadata::MIX_AND_MATCH[1],
        &metadata::ENDLESS[1],
        &documents::SUBSTITUTED[0],
        &transfer::BYTES[3],
        &lies,
        &more,
    ] {
        // Each with an agent of its own, so that none begins a cycle with one server and ends it with another.
        let wrong = stage.plays(row, &device).await;
        came.push((row.attack, row.server, state(&device), wrong));
    }
    report("One after another, to one device", came);
    stage.restore().await;
    let mut agent = device.spawn();
    stage.installs(&device, &mut agent).await;
    // Its reports count, those too that somebody else had acknowledged before.
    let began = std::time::Instant::now();
    while stage.hospital.reported(&stage.rollout).await.0 != "confirmed" {
        assert!(began.elapsed() < super::stage::PATIENCE, "{}", device.log());
        tokio::time::sleep(super::stage::LOOK).await;
    }
    agent.kill();
}

/// A chunk that was spoilt is fetched again from whoever has it whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_was_spoilt_is_taken_up_where_it_was_good() {
    let mut stage = Stage::open().await;
    let device = stage.device();
    let mut agent = device.spawn();
    for row in [&transfer::BYTES[3], &transfer::BYTES[7]] {
        assert_eq!(stage.suffers(row, &device, &mut agent).await, None, "{}", row.server);
    }
    stage.restore().await;
    stage.installs(&device, &mut agent).await;
    agent.kill();
}

/// TUF 5.3.11: whoever had the online keys drove the versions to their end; the owners replace the keys by a new root, and
/// their versions, which are lower, count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_driven_to_their_end_lock_nobody_out() {
    let mut stage = Stage::open().await;
    let (device, other) = (stage.device(), stage.device());
    // Nothing newer, under the last versions that there are.
    let mut act = Act::honest(&stage.loot);
    let last = |signed: &mut serde_json::Value| signed["version"] = json!(u64::MAX);
    let approvals = act.loot.approvals.known();
    let catalog = act.loot.catalog.bytes(Role::Targets).to_vec();
    act.loot.approvals.seal_edited(&approvals, stage.loot.now, last, last);
    act.loot.catalog.seal_edited(&catalog, stage.loot.now, last, last);
    stage.hostile.play(act.clone());
    let mut others = other.spawn();
    assert_eq!(stage.comes_to("idle(nothing-approved)", &other, &mut others).await, None);
    others.kill();
    stage.hostile.play(act);
    let mut agent = device.spawn();
    assert_eq!(stage.comes_to("idle(nothing-approved)", &device, &mut agent).await, None);

    // Without new keys the honest server's versions are a rollback, and so are those of a stick.
    stage.hostile.play(Act::honest(&stage.loot));
    assert_eq!(stage.comes_to("idle(rollback)", &device, &mut agent).await, None);
    assert_eq!(touched(&device), None);
    let stick = write_stick(&stage.loot, other.dir.join("stick"));
    let refused = by_hand(&other, &["import", stick.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(5) && said.contains("rollback"), "{said}");

    // Both owners replace them.
    let mut act = Act::honest(&stage.loot);
    let now = stage.loot.now;
    for (repo, root) in
        [(&mut act.loot.approvals, &stage.keys.approvals_root), (&mut act.loot.catalog, &stage.keys.catalog_root)]
    {
        replace_online_keys(repo, root, now);
    }
    import(&other, &write_stick(&act.loot, other.dir.join("stick-of-new-keys")));
    stage.hostile.play(act);
    for (device, mut agent) in [(&device, agent), (&other, other.spawn())] {
        stage.installs(device, &mut agent).await;
        agent.kill();
    }
}

/// The owner's next root names other online keys, and what is in force is signed by those.
pub(super) fn replace_online_keys(repo: &mut Repo, root: &LocalKey, now: Timestamp) {
    let fresh = [1, 2].map(|n| LocalKey::from_seed(&Zeroizing::new([n; 32])));
    repo.next(Role::Root, &[root], |signed| {
        for (role, key) in ["snapshot", "timestamp"].into_iter().zip(&fresh) {
            let id = key_id(&key.public()).unwrap().to_string();
            signed["keys"][&id] = key_object(&key.public());
            signed["roles"][role]["keyids"] = json!([id]);
        }
    });
    let [snapshot, timestamp] = fresh.map(std::sync::Arc::new);
    (repo.snapshot_key, repo.timestamp_key) = (snapshot, timestamp);
    let targets = repo.bytes(Role::Targets).to_vec();
    repo.seal(&targets, now);
}
