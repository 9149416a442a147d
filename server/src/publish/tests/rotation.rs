//! Online keys that are replaced, a thief who had the old ones, and replicas that sign at the same moment.

use suture_core::trust::{Snapshot, Timestamp as Stamp, Verified};

use super::*;
use crate::publish::prepare_next;
use crate::store::online_keys::Turn;

async fn prepare(store: &Store, again: bool) -> OnlineKeys {
    let mut tx = store.begin().await.unwrap();
    let keys = prepare_next(&mut tx, &CATALOG, SEAL, again, &Principal::Server, now()).await.unwrap();
    tx.commit().await.unwrap();
    keys
}

/// The root after the first, with these online keys.
fn second_root(before: OnlineKeys, timestamp: PublicKey, snapshot: PublicKey) -> Vec<u8> {
    let mut draft = root_draft(before);
    draft.version = 2;
    draft.timestamp = RoleDraft::single(timestamp);
    draft.snapshot = RoleDraft::single(snapshot);
    edit::sign_root(&draft, &[&key(1)]).unwrap()
}

async fn refresh(store: &Store, stored: &mut Stored) -> Result<View, TrustError> {
    let mut refresh = Refresh::start(stored.clone(), now())?;
    while let Some(request) = refresh.request() {
        let file = store.repo_file("catalog", &request.name).await.unwrap();
        for change in refresh.supply(file.map_or(Answer::NotFound, Answer::Found))? {
            stored.apply(&change);
        }
    }
    refresh.finish()
}

#[tokio::test]
async fn prepared_keys_sign_once_a_root_names_them_and_the_old_ones_are_gone() {
    each(async |store| {
        let old = keys(&store, &CATALOG).await;
        assert_eq!((old.next_timestamp, old.next_snapshot), (None, None));
        let one = offer(&store, first(old)).await.unwrap();
        let mut device = Stored { root: root(old), ..Stored::default() };
        refresh(&store, &mut device).await.unwrap();

        let prepared = prepare(&store, false).await;
        assert_eq!(prepare(&store, false).await, prepared, "prepared once");
        assert_eq!((prepared.timestamp, prepared.snapshot), (old.timestamp, old.snapshot));
        // Meanwhile the old ones sign on.
        offer(&store, next(&one, 2)).await.unwrap();
        assert_eq!(resign(&store, SEAL, now() + days(2)).await.unwrap(), 1);
        refresh(&store, &mut device).await.unwrap();

        let (timestamp, snapshot) = (prepared.next_timestamp.unwrap(), prepared.next_snapshot.unwrap());
        let roots = vec![second_root(old, timestamp, snapshot)];
        let three = offer(&store, Offer { roots, ..Offer::default() }).await.unwrap();
        assert_eq!((three.root_version, three.targets_version), (2, 2));
        let view = refresh(&store, &mut device).await.unwrap();
        assert_eq!(view.seen().root, 2);
        let now_present = keys(&store, &CATALOG).await;
        assert_eq!((now_present.timestamp, now_present.snapshot), (timestamp, snapshot));
        assert_eq!((now_present.next_timestamp, now_present.next_snapshot), (None, None));
        assert_eq!(resign(&store, SEAL, now() + days(4)).await.unwrap(), 1, "and they sign on by themselves");
        // No row holds an old key.
        let mut tx = store.begin().await.unwrap();
        for role in [Role::Timestamp, Role::Snapshot] {
            let row = tx.online_key_of("catalog", role, Turn::Present).await.unwrap().unwrap();
            assert!(row.public != old.timestamp && row.public != old.snapshot);
            assert_eq!(tx.online_key_of("catalog", role, Turn::Next).await.unwrap(), None);
        }
    })
    .await;
}

#[tokio::test]
async fn a_root_that_is_refused_leaves_the_present_keys_in_their_place() {
    each(async |store| {
        let old = keys(&store, &CATALOG).await;
        let one = offer(&store, first(old)).await.unwrap();
        let prepared = prepare(&store, false).await;
        let (timestamp, snapshot) = (prepared.next_timestamp.unwrap(), prepared.next_snapshot.unwrap());
        // Half of it is a foreign key: nothing at all changes.
        let roots = vec![second_root(old, timestamp, key(9).public())];
        let refused = offer(&store, Offer { roots, ..Offer::default() }).await;
        assert!(matches!(refused, Err(PublishError::ForeignKeys { role: Role::Snapshot })), "{refused:?}");
        assert_eq!(keys(&store, &CATALOG).await, prepared);
        // Prepared anew, the ones before are forgotten.
        let anew = prepare(&store, true).await;
        assert_ne!(anew.next_timestamp, prepared.next_timestamp);
        let roots = vec![second_root(old, timestamp, snapshot)];
        let refused = offer(&store, Offer { roots, ..Offer::default() }).await;
        assert!(matches!(refused, Err(PublishError::ForeignKeys { .. })), "{refused:?}");
        // One role alone can be changed too.
        let roots = vec![second_root(old, anew.next_timestamp.unwrap(), old.snapshot)];
        let two = offer(&store, Offer { roots, ..Offer::default() }).await.unwrap();
        assert_eq!(two.targets_version, one.targets_version);
        let after = keys(&store, &CATALOG).await;
        assert_eq!((after.timestamp, after.snapshot), (anew.next_timestamp.unwrap(), old.snapshot));
        assert_eq!(after.next_snapshot, anew.next_snapshot);
    })
    .await;
}

#[tokio::test]
async fn versions_that_a_thief_drove_up_end_with_the_stolen_keys() {
    each(async |store| {
        let old = keys(&store, &CATALOG).await;
        let one = offer(&store, first(old)).await.unwrap();
        let mut device = Stored { root: root(old), ..Stored::default() };
        refresh(&store, &mut device).await.unwrap();
        // The thief has the keys and the database, and signs the last versions that there are.
        let mut tx = store.begin().await.unwrap();
        let thief = Thief::open(&mut tx, &one, &root(old)).await;
        tx.put_repo_file("catalog", Role::Snapshot, Thief::VERSION, thief.snapshot.bytes(), now()).await.unwrap();
        tx.put_repo_file("catalog", Role::Timestamp, Thief::VERSION, &thief.timestamp, now()).await.unwrap();
        tx.commit().await.unwrap();
        let view = refresh(&store, &mut device).await.unwrap();
        assert_eq!(view.timestamp_version(), Thief::VERSION, "the device is driven up");
        assert!(offer(&store, next(&one, 2)).await.is_err(), "and the owner locked out");

        let prepared = prepare(&store, false).await;
        let (timestamp, snapshot) = (prepared.next_timestamp.unwrap(), prepared.next_snapshot.unwrap());
        let roots = vec![second_root(old, timestamp, snapshot)];
        let two = offer(&store, Offer { roots, ..Offer::default() }).await.unwrap();
        assert_eq!(
            (two.snapshot_version, two.timestamp_version),
            (2, 1),
            "no name that was served honestly comes again"
        );
        let view = refresh(&store, &mut device).await.unwrap();
        assert_eq!((view.seen().root, view.timestamp_version()), (2, 1));
        let three = offer(&store, next(&two, 2)).await.unwrap();
        assert_eq!(refresh(&store, &mut device).await.unwrap().seen().targets, three.targets_version);
        // The stolen keys are of no more use.
        let mut stolen = device.clone();
        stolen.timestamp = Some(thief.timestamp.clone());
        let mut refresh = Refresh::start(stolen, now()).unwrap();
        refresh.supply(Answer::NotFound).unwrap();
        let refused = refresh.supply(Answer::Found(thief.timestamp)).unwrap_err();
        assert!(matches!(refused, TrustError::Threshold { role: Role::Timestamp, .. }), "{refused:?}");
    })
    .await;
}

/// What somebody signs who has the online keys.
struct Thief {
    snapshot: Verified<Snapshot>,
    timestamp: Vec<u8>,
}

impl Thief {
    const VERSION: u64 = i64::MAX as u64;

    async fn open(tx: &mut Tx, published: &Published, root: &[u8]) -> Self {
        let root = Verified::pinned(root).unwrap();
        let mut keys = Vec::new();
        for role in [Role::Snapshot, Role::Timestamp] {
            let row = tx.online_key("catalog", role).await.unwrap().unwrap();
            keys.push(LocalKey::from_pem(&row.sealed, Some(SEAL)).unwrap());
        }
        let expires = now() + days(365);
        let snapshot = edit::sign_snapshot(Self::VERSION, expires, &published.targets, &keys[0]).unwrap();
        let snapshot: Verified<Snapshot> = Verified::by(&root, &snapshot).unwrap();
        let timestamp = edit::sign_timestamp(Self::VERSION, expires, &snapshot, &keys[1]).unwrap();
        assert!(Verified::<Stamp>::by(&root, &timestamp).is_ok());
        Self { snapshot, timestamp }
    }
}

#[tokio::test]
async fn of_many_replicas_that_sign_at_once_one_signs_each_version() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        offer(&store, first(keys)).await.unwrap();
        for round in 1..=3u64 {
            let later = now() + days(2 * i64::try_from(round).unwrap());
            let replicas = (0..6).map(|_| {
                let store = store.clone();
                tokio::spawn(async move { resign(&store, SEAL, later).await.unwrap() })
            });
            let signed: usize = futures::future::join_all(replicas).await.into_iter().map(Result::unwrap).sum();
            assert_eq!(signed, 1, "round {round}");
            let stamp = store.repo_file("catalog", "timestamp.json").await.unwrap().unwrap();
            let stamp: Verified<Stamp> = Verified::by(&Verified::pinned(&root(keys)).unwrap(), &stamp).unwrap();
            assert_eq!(stamp.version(), 1 + round);
        }
        let entries = audited(&store).await;
        assert_eq!(entries.iter().filter(|e| e.action == "repository.resign").count(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_signs_anew_while_another_publishes_takes_no_version_twice() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        let one = offer(&store, first(keys)).await.unwrap();
        let later = now() + days(5);
        let signing = (0..3).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { resign(&store, SEAL, later).await.map(drop) })
        });
        let publishing = {
            let (store, offered) = (store.clone(), next(&one, 2));
            tokio::spawn(async move { offer(&store, offered).await })
        };
        for done in futures::future::join_all(signing).await {
            done.unwrap().unwrap();
        }
        let two = publishing.await.unwrap().unwrap();
        assert_eq!(two.targets_version, 2);
        let view = client(&store, &CATALOG, root(keys), now()).await.unwrap();
        // Each publication and each signing took a number of its own: 4 where one signing came before the publication and
        // one after it, 3 where all came on one side of it.
        assert!((2..=4).contains(&view.timestamp_version()), "{}", view.timestamp_version());
        assert_eq!(view.seen().targets, 2);
    })
    .await;
}
