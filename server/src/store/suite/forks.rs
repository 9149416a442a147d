//! The fork alarm, and the news of a repository, on both databases.

use jiff::{SignedDuration, Timestamp};
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, HdoId};
use suture_core::limits::MAX_ROWS_PER_CALL;
use suture_core::report::{Seen, Sighting};
use suture_core::sign::LocalKey;
use suture_core::trust::edit::{self, ONLINE_LIFETIME, RoleDraft, RootDraft, TargetsDraft};
use suture_core::trust::{Held, Role, Root, Snapshot, Targets, Verified};
use zeroize::Zeroizing;

use super::super::{Store, Tx};
use super::{each, in_intensive_care};
use crate::fork;
use crate::refresh::{MAX_NEWS_BYTES, news};

const REPOSITORY: &str = "approvals/riverside";

fn now() -> Timestamp {
    "2026-11-24T15:00:00Z".parse().unwrap()
}

fn hdo() -> HdoId {
    "riverside".parse().unwrap()
}

fn pump() -> DeviceId {
    "pump-1".parse().unwrap()
}

/// A hospital with one device, whose approvals have been published in the versions 1 to 3 as these bytes.
async fn hospital(store: &Store) -> Tx {
    let mut tx = store.begin().await.unwrap();
    assert!(tx.insert_hdo(&hdo(), "Riverside", now()).await.unwrap());
    let record = in_intensive_care(pump());
    tx.import_devices(&hdo(), &[record], now()).await.unwrap();
    for version in 1..=3 {
        tx.put_repo_file(REPOSITORY, Role::Targets, version, &[version as u8], now()).await.unwrap();
    }
    tx
}

async fn says(tx: &mut Tx, version: u64, content: u8, proven: bool, hours: i64) {
    let seen = Seen { root: 1, targets: version, targets_sha256: Digest::of(&[content]) };
    let sighting = Sighting::new(hdo(), pump(), None, Some(seen));
    fork::watch(tx, &sighting, proven, now() + SignedDuration::from_hours(hours)).await.unwrap();
}

/// Version, whether it is signed and whether it is over; and how many entries the record has.
async fn alarm(tx: &mut Tx) -> (Vec<(u64, bool, bool)>, u64) {
    let rows = tx.forks(&hdo(), MAX_ROWS_PER_CALL).await.unwrap();
    assert_eq!(rows, tx.forks_of(&hdo(), &pump(), &pump()).await.unwrap());
    assert_eq!(rows, tx.forks_in(REPOSITORY, MAX_ROWS_PER_CALL).await.unwrap());
    let entries = tx.audit_head().await.unwrap().size;
    (rows.iter().map(|f| (f.version, f.proven, f.healed.is_some())).collect(), entries)
}

#[tokio::test]
async fn a_fork_is_an_alarm_until_the_device_is_back_and_an_honest_history_is_none() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        for version in [1, 3, 2] {
            says(&mut tx, version, version as u8, true, 0).await;
        }
        says(&mut tx, 0, 0, true, 0).await;
        assert_eq!(alarm(&mut tx).await, (vec![], 0), "a device that is behind, or new, is no fork");

        says(&mut tx, 3, 9, false, 1).await;
        assert_eq!(alarm(&mut tx).await, (vec![(3, false, false)], 1));
        says(&mut tx, 3, 9, false, 2).await;
        assert_eq!(alarm(&mut tx).await.1, 1, "one entry, however often it is said");
        says(&mut tx, 3, 9, true, 3).await;
        assert_eq!(alarm(&mut tx).await, (vec![(3, true, false)], 2), "that it is signed is news");

        says(&mut tx, 2, 2, true, 4).await;
        says(&mut tx, 3, 3, false, 4).await;
        says(&mut tx, 3, 8, false, 4).await;
        assert_eq!(alarm(&mut tx).await, (vec![(3, true, false)], 2), "nothing older or unsigned outweighs it");
        says(&mut tx, 3, 3, true, 5).await;
        assert_eq!(alarm(&mut tx).await, (vec![(3, true, true)], 2), "it is over, and stays in sight");

        // A version that was never published here; a device that lies cannot fill the record by going to and fro.
        says(&mut tx, 7, 7, true, 6).await;
        says(&mut tx, 7, 7, true, 7).await;
        assert_eq!(alarm(&mut tx).await, (vec![(7, true, false)], 2));
        let row = tx.fork(&hdo(), &pump(), REPOSITORY).await.unwrap().unwrap();
        assert_eq!((row.published, row.sha256), (None, Digest::of(&[7])));

        tx.forget_forks(&hdo(), &pump()).await.unwrap();
        assert_eq!(alarm(&mut tx).await.0, vec![]);
    })
    .await;
}

fn key(n: u8) -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([n; 32]))
}

/// Publishes that many roots, and targets with a description of so many bytes.
async fn publish(tx: &mut Tx, roots: u64, bytes: usize) -> Held {
    use suture_core::sign::Signer as _;
    let role = || RoleDraft::single(key(1).public());
    let mut root = RootDraft {
        version: 0,
        expires: now() + edit::ROOT_LIFETIME,
        root: role(),
        targets: role(),
        snapshot: role(),
        timestamp: role(),
    };
    let mut newest = Vec::new();
    for version in 1..=roots {
        root.version = version;
        newest = edit::sign_root(&root, &[&key(1)]).unwrap();
        tx.put_repo_file(REPOSITORY, Role::Root, version, &newest, now()).await.unwrap();
    }
    let root: Verified<Root> = Verified::pinned(&newest).unwrap();
    let mut draft = TargetsDraft::first(now(), edit::APPROVALS_LIFETIME);
    let custom = serde_json::json!("x".repeat(bytes));
    draft.targets.insert("a".to_owned(), suture_core::trust::Target::of(b"a", Some(custom)));
    let targets = edit::sign_targets(&draft, &[&key(1)]).unwrap();
    tx.put_repo_file(REPOSITORY, Role::Targets, 1, &targets, now()).await.unwrap();
    let verified: Verified<Targets> = Verified::by(&root, &targets).unwrap();
    let expires = now() + ONLINE_LIFETIME;
    let snapshot = edit::sign_snapshot(1, expires, &verified, &key(1)).unwrap();
    tx.put_repo_file(REPOSITORY, Role::Snapshot, 1, &snapshot, now()).await.unwrap();
    let pinned: Verified<Snapshot> = Verified::by(&root, &snapshot).unwrap();
    let timestamp = edit::sign_timestamp(1, expires, &pinned, &key(1)).unwrap();
    tx.put_repo_file(REPOSITORY, Role::Timestamp, 1, &timestamp, now()).await.unwrap();
    let digest = |bytes: &[u8]| Some(Digest::of(bytes));
    Held { root: roots, timestamp: digest(&timestamp), snapshot: digest(&snapshot), targets: digest(&targets) }
}

async fn told(tx: &mut Tx, held: Held, room: usize) -> (Vec<String>, Option<u64>, bool) {
    let mut left = room;
    let news = news(tx, REPOSITORY, &held, &mut left).await.unwrap();
    let bytes: usize = news.files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(left, room - bytes, "what is sent is taken off the room");
    (news.files.into_iter().map(|(name, _)| name).collect(), news.newest_root, news.timestamp_stands)
}

#[tokio::test]
async fn the_news_are_what_differs_and_what_fits() {
    each(async |store| {
        let mut tx = store.begin().await.unwrap();
        assert_eq!(told(&mut tx, Held::default(), MAX_NEWS_BYTES).await, (vec![], None, false), "nothing is published");
        let held = publish(&mut tx, 3, 4_000).await;
        assert_eq!(told(&mut tx, held, MAX_NEWS_BYTES).await, (vec![], Some(3), true));
        let all = ["1.root.json", "2.root.json", "3.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"];
        let (names, newest, stands) = told(&mut tx, Held::default(), MAX_NEWS_BYTES).await;
        assert_eq!((names.as_slice(), newest, stands), (all.map(ToOwned::to_owned).as_slice(), Some(3), false));
        let behind = Held { root: 2, timestamp: Some(Digest::of(b"older")), targets: None, ..held };
        assert_eq!(told(&mut tx, behind, MAX_NEWS_BYTES).await.0, ["3.root.json", "timestamp.json", "1.targets.json"]);
        // After a power cut between two files a device lacks the last alone.
        let cut = Held { targets: None, ..held };
        assert_eq!(told(&mut tx, cut, MAX_NEWS_BYTES).await, (vec!["1.targets.json".to_owned()], Some(3), true));
        // A file that does not fit is left out; where that is a root, nothing is said of there being no later one.
        assert_eq!(told(&mut tx, cut, 4_000).await, (vec![], Some(3), true));
        let (names, newest, _) = told(&mut tx, Held { root: 1, ..held }, 10).await;
        assert_eq!((names, newest), (vec![], None));
        // A device that says it holds a root beyond the newest is told of none.
        assert_eq!(told(&mut tx, Held { root: 9, ..held }, MAX_NEWS_BYTES).await.0, [""; 0]);
    })
    .await;
}
