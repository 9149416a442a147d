//! Publications that must come in force whole, and those that must not at all.

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{Part, Pinned, Register, Roster, RosterDevice, SignedDocument as _, path};
use suture_core::audit::{Concern, Entry};
use suture_core::id::{DeviceId, HdoId};
use suture_core::label::Labels;
use suture_core::limits::{MAX_HOSPITAL_DEVICES, MAX_PUBLISHED_BYTES};
use suture_core::principal::Principal;
use suture_core::sign::{LocalKey, PublicKey, Signer};
use suture_core::trust::edit::{self, RoleDraft, RootDraft, TargetsDraft};
use suture_core::trust::{Answer, Refresh, Repository as View, Role, Stored, Target, TrustError};
use suture_proto::Repository;
use zeroize::Zeroizing;

use super::{AuditError, Offer, OnlineKeys, PublishError, Published, online_keys, publish, resign};
use crate::audit;
use crate::effect::{EffectError, Listing};
use crate::store::repository::Readers;
use crate::store::suite::each;
use crate::store::{Store, StoreError, Tx};

mod delegated;
mod rotation;
mod stops;
mod uploads;

const SEAL: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const CATALOG: Repository = Repository::Catalog;

fn now() -> Timestamp {
    "2026-11-24T15:00:00Z".parse().unwrap()
}

fn days(n: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * n)
}

fn key(n: u8) -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([n; 32]))
}

fn actor() -> Principal {
    Principal::Mdm("ada".parse().unwrap())
}

async fn keys(store: &Store, repository: &Repository) -> OnlineKeys {
    let mut tx = store.begin().await.unwrap();
    let keys = online_keys(&mut tx, repository, SEAL, &actor(), now()).await.unwrap();
    tx.commit().await.unwrap();
    keys
}

fn root_draft(keys: OnlineKeys) -> RootDraft {
    let single = |key: PublicKey| RoleDraft::single(key);
    RootDraft {
        version: 1,
        expires: now() + edit::ROOT_LIFETIME,
        root: single(key(1).public()),
        targets: single(key(2).public()),
        snapshot: single(keys.snapshot),
        timestamp: single(keys.timestamp),
    }
}

fn root(keys: OnlineKeys) -> Vec<u8> {
    edit::sign_root(&root_draft(keys), &[&key(1)]).unwrap()
}

fn file(n: u64) -> (String, Vec<u8>) {
    (format!("dir/{n}.json"), format!("file {n}").into_bytes())
}

/// The first publication: a root, and targets that list file 1.
fn first(keys: OnlineKeys) -> Offer {
    let mut draft = TargetsDraft::first(now(), edit::CATALOG_LIFETIME);
    let (path, bytes) = file(1);
    draft.targets.insert(path, Target::of(&bytes, None));
    let targets = Some(edit::sign_targets(&draft, &[&key(2)]).unwrap());
    Offer { roots: vec![root(keys)], targets, files: vec![file(1)], ..Offer::default() }
}

/// The publication after one, which lists file `n` besides.
fn next(published: &Published, n: u64) -> Offer {
    let mut draft = TargetsDraft::following(&published.targets, now(), edit::CATALOG_LIFETIME);
    let (path, bytes) = file(n);
    draft.targets.insert(path, Target::of(&bytes, None));
    let targets = Some(edit::sign_targets(&draft, &[&key(2)]).unwrap());
    Offer { roots: Vec::new(), targets, files: vec![file(n)], ..Offer::default() }
}

async fn offer(store: &Store, offer: Offer) -> Result<Published, PublishError> {
    offer_to(store, &CATALOG, offer).await
}

async fn offer_to(store: &Store, repository: &Repository, offer: Offer) -> Result<Published, PublishError> {
    let mut tx = store.begin().await?;
    let published = publish(&mut tx, repository, SEAL, offer, &actor(), now()).await?;
    tx.commit().await?;
    Ok(published)
}

/// A client with the first root, refreshing from the store's files.
async fn client(store: &Store, repository: &Repository, root: Vec<u8>, at: Timestamp) -> Result<View, TrustError> {
    let mut refresh = Refresh::start(Stored { root, ..Stored::default() }, at)?;
    while let Some(request) = refresh.request() {
        let file = store.repo_file(&repository.to_string(), &request.name).await.unwrap();
        refresh.supply(file.map_or(Answer::NotFound, Answer::Found))?;
    }
    refresh.finish()
}

async fn audited(store: &Store) -> Vec<Entry> {
    let rows = store.read().await.unwrap().audit_after(0, 100).await.unwrap();
    rows.iter().map(|row| Entry::parse(row.seq, row.payload.as_ref().unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn what_is_published_is_what_a_client_gets() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        let one = offer(&store, first(keys)).await.unwrap();
        assert_eq!((one.root_version, one.targets_version, one.snapshot_version, one.timestamp_version), (1, 1, 1, 1));
        let two = offer(&store, next(&one, 2)).await.unwrap();
        assert_eq!((two.root_version, two.targets_version, two.snapshot_version, two.timestamp_version), (1, 2, 2, 2));
        let view = client(&store, &CATALOG, root(keys), now()).await.unwrap();
        for (path, bytes) in [file(1), file(2)] {
            let name = view.file_name(&path).unwrap();
            assert_eq!(store.target_file("catalog", &name).await.unwrap(), Some((bytes, Readers::Devices)));
        }
        let entries = audited(&store).await;
        let actions: Vec<_> = entries.iter().map(|e| (e.action.as_str(), e.actor.as_str())).collect();
        let want =
            [("repository.keys", "mdm/ada"), ("repository.publish", "mdm/ada"), ("repository.publish", "mdm/ada")];
        assert_eq!(actions, want);
        assert_eq!(entries[2].detail["targets"], 2);
    })
    .await;
}

#[tokio::test]
async fn online_keys_are_made_once_and_differ_by_role_and_repository() {
    each(async |store| {
        let catalog = keys(&store, &CATALOG).await;
        assert_eq!(keys(&store, &CATALOG).await, catalog);
        let approvals = keys(&store, &Repository::Approvals("riverside".parse().unwrap())).await;
        let all = [catalog.timestamp, catalog.snapshot, approvals.timestamp, approvals.snapshot];
        assert_eq!(std::collections::BTreeSet::from(all).len(), 4);
        let row = store.begin().await.unwrap().online_key("catalog", Role::Snapshot).await.unwrap().unwrap();
        assert!(row.sealed.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        assert_eq!(row.public, catalog.snapshot);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_seal_key_signs_nothing() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        let mut tx = store.begin().await.unwrap();
        let refused = publish(&mut tx, &CATALOG, "another", first(keys), &actor(), now()).await;
        assert!(matches!(refused, Err(PublishError::Seal { .. })), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_leaves_no_trace() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        let one = offer(&store, first(keys)).await.unwrap();
        let before = client(&store, &CATALOG, root(keys), now()).await.unwrap();
        let entries = audited(&store).await.len();
        let again = next(&one, 2);
        let two = || next(&one, 2);

        let mut without = two();
        without.files.clear();
        assert!(matches!(offer(&store, without).await, Err(PublishError::FileMissing(path)) if path == "dir/2.json"));

        let mut other_bytes = two();
        other_bytes.files[0].1 = b"file 3".to_vec();
        let refused = offer(&store, other_bytes).await;
        assert!(matches!(refused, Err(PublishError::Trust(TrustError::WrongTarget { .. }))), "{refused:?}");

        let mut besides = two();
        besides.files.push(file(3));
        assert!(matches!(offer(&store, besides).await, Err(PublishError::Unlisted(path)) if path == "dir/3.json"));

        let mut unsigned = two();
        unsigned.targets = Some(edit::sign_targets(&TargetsDraft::first(now(), days(1)), &[&key(9)]).unwrap());
        let refused = offer(&store, unsigned).await;
        assert!(matches!(refused, Err(PublishError::Trust(TrustError::Threshold { .. }))), "{refused:?}");

        let mut old = first(keys);
        old.roots.clear();
        let refused = offer(&store, old).await;
        assert!(
            matches!(refused, Err(PublishError::Trust(TrustError::VersionTaken { version: 1, .. }))),
            "{refused:?}"
        );

        let refused = offer(&store, Offer::default()).await;
        assert!(matches!(refused, Err(PublishError::Nothing)), "{refused:?}");

        let after = client(&store, &CATALOG, root(keys), now()).await.unwrap();
        assert_eq!((after.timestamp_version(), after.seen()), (before.timestamp_version(), before.seen()));
        assert_eq!(audited(&store).await.len(), entries);
        assert!(offer(&store, again).await.is_ok(), "nothing of the refused ones is in the way");
    })
    .await;
}

#[tokio::test]
async fn a_base_that_moved_is_refused() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        let one = offer(&store, first(keys)).await.unwrap();
        let (ours, theirs) = (next(&one, 2), next(&one, 3));
        let two = offer(&store, theirs).await.unwrap();
        let refused = offer(&store, ours).await;
        assert!(
            matches!(refused, Err(PublishError::Trust(TrustError::VersionTaken { version: 2, .. }))),
            "{refused:?}"
        );
        // The same again under the next number does not follow from what is in force.
        let mut draft = TargetsDraft::following(&one.targets, now(), edit::CATALOG_LIFETIME);
        draft.version = two.targets_version + 1;
        let targets = Some(edit::sign_targets(&draft, &[&key(2)]).unwrap());
        let refused = offer(&store, Offer { targets, ..Offer::default() }).await;
        assert!(matches!(refused, Err(PublishError::Trust(TrustError::BaseMoved { current: 2, .. }))), "{refused:?}");
    })
    .await;
}

/// Attack: a hospital whose people sign publication after publication, as long as they can be, until the disk is full on which
/// every hospital's lie.
#[tokio::test]
async fn nobody_publishes_without_end_and_stolen_keys_can_be_taken_out_all_the_same() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        let one = offer(&store, first(keys)).await.unwrap();
        let offered = next(&one, 2);
        let length = (offered.targets.as_ref().unwrap().len() + offered.files[0].1.len()) as u64;
        let day = now().as_second() / 86_400;
        let mut tx = store.begin().await.unwrap();
        let kept = tx.count_published("catalog", day, 0).await.unwrap();
        assert!(kept > 0, "the first publication counts");
        tx.count_published("catalog", day, MAX_PUBLISHED_BYTES + 1 - length - kept).await.unwrap();
        tx.commit().await.unwrap();
        let refused = offer(&store, offered.clone()).await;
        assert!(matches!(refused, Err(PublishError::TooMuch(Repository::Catalog))), "{refused:?}");
        let mut draft = root_draft(keys);
        draft.version = 2;
        draft.root = RoleDraft::single(key(3).public());
        let roots = vec![edit::sign_root(&draft, &[&key(1), &key(3)]).unwrap()];
        let mut tx = store.begin().await.unwrap();
        tx.count_published("catalog", day, MAX_PUBLISHED_BYTES - roots[0].len() as u64).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(offer(&store, Offer { roots, ..Offer::default() }).await.unwrap().root_version, 2);
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.count_published("approvals/riverside", day, 7).await.unwrap(), 7, "another's are its own");
        assert_eq!(tx.count_published("catalog", day + 1, 5).await.unwrap(), 5, "and the next day begins anew");
    })
    .await;
}

/// Attack: a thief of an operator's certificate who spends all entries of the day, so that nobody withdraws a bundle or takes
/// the stolen keys out of the root before midnight.
#[tokio::test]
async fn what_is_newly_signed_is_published_though_the_entries_of_the_day_are_spent_and_new_roots_once_more() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        let one = offer(&store, first(keys)).await.unwrap();
        let day = now().as_second() / 86_400;
        let spend = async |writer: &str| {
            let mut tx = store.begin().await.unwrap();
            tx.count_written(writer, day, 1_000_000).await.unwrap();
            tx.commit().await.unwrap();
        };
        spend(&actor().to_string()).await;
        spend("manufacturer").await;
        // With it goes what it brings, and nothing else does.
        let brought = async |tx: &mut Tx| {
            let (actor, concerns) = (actor(), Concern::Manufacturer);
            audit::append(tx, now(), &actor, concerns, "life.changed", "pump", serde_json::Value::Null).await
        };
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(brought(&mut tx).await, Err(AuditError::TooMany { .. })));
        drop(tx);
        let mut tx = store.begin().await.unwrap();
        let two = publish(&mut tx, &CATALOG, SEAL, next(&one, 2), &actor(), now()).await.unwrap();
        brought(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        // A targets key was stolen too, and spends what is kept for publications.
        spend("publications/manufacturer").await;
        let refused = offer(&store, next(&two, 3)).await;
        assert!(matches!(refused, Err(PublishError::Audit(AuditError::TooMany { .. }))), "{refused:?}");
        let mut draft = root_draft(keys);
        draft.version = 2;
        let two = edit::sign_root(&draft, &[&key(1)]).unwrap();
        assert_eq!(
            offer(&store, Offer { roots: vec![two], ..Offer::default() }).await.unwrap().root_version,
            2,
            "new roots have entries of their own"
        );
        // These have a bound too.
        spend("roots/manufacturer").await;
        draft.version = 3;
        let three = edit::sign_root(&draft, &[&key(1)]).unwrap();
        let refused = offer(&store, Offer { roots: vec![three], ..Offer::default() }).await;
        assert!(matches!(refused, Err(PublishError::Audit(AuditError::TooMany { .. }))), "{refused:?}");
    })
    .await;
}

/// Attack: a hospital with rosters of millions, all of which are read where one of its approvals is judged.
#[tokio::test]
async fn rosters_of_more_devices_than_a_hospital_may_have_are_refused() {
    each(async |store| {
        let hdo: HdoId = "riverside".parse().unwrap();
        let riverside = Repository::Approvals(hdo.clone());
        let mut tx = store.begin().await.unwrap();
        assert!(tx.insert_hdo(&hdo, "Riverside", now()).await.unwrap());
        tx.commit().await.unwrap();
        let id = |n: usize| format!("pump-{n}").parse::<DeviceId>().unwrap();
        let part: Part = "1".parse().unwrap();
        let one = (0..).map(id).find(|id| part.holds(id)).unwrap();
        let key = key(7).public();
        let (ward, product, hardware) = ("icu".parse().unwrap(), "pump".parse().unwrap(), "rev-a".parse().unwrap());
        let device =
            RosterDevice { id: one.clone(), report_key: key, product, hardware, ward, labels: Labels::default() };
        let roster = Roster::new(hdo.clone(), part, vec![device]).to_bytes().unwrap();
        let others = Pinned::of(path::roster("0".parse().unwrap()), b"{}");
        let files = vec![others.clone(), Pinned::of(path::roster(part), &roster)];
        let (new, register) = (files[1].path.clone(), Register::new(hdo.clone(), files).to_bytes().unwrap());
        let mut draft = TargetsDraft::first(now(), edit::APPROVALS_LIFETIME);
        draft.targets.insert(path::REGISTER.to_owned(), Target::of(&register, None));
        let keys = keys(&store, &riverside).await;
        let offered = Offer {
            roots: vec![root(keys)],
            targets: Some(edit::sign_targets(&draft, &[&self::key(2)]).unwrap()),
            files: vec![(path::REGISTER.to_owned(), register), (new, roster)],
            ..Offer::default()
        };
        for (there, fits) in [(MAX_HOSPITAL_DEVICES, false), (MAX_HOSPITAL_DEVICES - 1, true)] {
            let mut tx = store.begin().await.unwrap();
            tx.put_target_file(&riverside.to_string(), &others.file_name(), b"{}", Readers::Operators, now())
                .await
                .unwrap();
            let devices: Vec<_> = (100_000..).take(there).map(|n| (id(n), key, "icu".parse().unwrap())).collect();
            tx.add_roster(&hdo, &others.file_name(), &devices).await.unwrap();
            let mut done = publish(&mut tx, &riverside, SEAL, offered.clone(), &actor(), now()).await.unwrap();
            let sent = std::mem::take(&mut done.unlisted).into_iter().collect();
            let (root, targets, listed) = (&done.root, &done.targets, &done.listed);
            let (repository, actor) = (&riverside, &actor());
            let listing = Listing { repository, root, targets, listed, sent, actor, now: now(), delta_sources: 0 };
            let taken = listing.take_effect(&mut tx).await;
            assert_eq!(taken.is_ok(), fits, "{taken:?}");
            assert!(fits || matches!(taken, Err(EffectError::TooManyDevices(many)) if many == there as u64 + 1));
        }
    })
    .await;
}

#[tokio::test]
async fn of_many_at_once_one_publishes() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        let one = offer(&store, first(keys)).await.unwrap();
        let tries = (2..8).map(|n| {
            let (store, offered) = (store.clone(), next(&one, n));
            tokio::spawn(async move { offer(&store, offered).await })
        });
        let results: Vec<_> = futures::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
        let view = client(&store, &CATALOG, root(keys), now()).await.unwrap();
        assert_eq!((view.seen().targets, view.timestamp_version()), (2, 2));
    })
    .await;
}

#[tokio::test]
async fn a_root_must_name_this_server_s_keys_alone() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        let foreign: [fn(&mut RootDraft); 3] = [
            |root| root.snapshot = RoleDraft::single(key(9).public()),
            |root| root.timestamp = RoleDraft::single(key(9).public()),
            |root| {
                root.timestamp.keys.push(key(9).public());
                root.timestamp.threshold = 2;
            },
        ];
        for change in foreign {
            let mut draft = root_draft(keys);
            change(&mut draft);
            let mut foreign = first(keys);
            foreign.roots = vec![edit::sign_root(&draft, &[&key(1)]).unwrap()];
            let refused = offer(&store, foreign).await;
            assert!(matches!(refused, Err(PublishError::ForeignKeys { .. })), "{refused:?}");
        }
        let lakeside = Repository::Approvals("lakeside".parse().unwrap());
        let refused = offer_to(&store, &lakeside, first(keys)).await;
        assert!(matches!(refused, Err(PublishError::ForeignKeys { .. })), "its keys were never asked for: {refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_new_root_alone_keeps_the_targets_and_follows_the_old() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        let one = offer(&store, first(keys)).await.unwrap();
        let mut draft = root_draft(keys);
        draft.version = 2;
        draft.root = RoleDraft::single(key(3).public());
        let roots = vec![edit::sign_root(&draft, &[&key(1), &key(3)]).unwrap()];
        let two = offer(&store, Offer { roots, ..Offer::default() }).await.unwrap();
        assert_eq!((two.root_version, two.targets_version, two.timestamp_version), (2, one.targets_version, 2));
        let view = client(&store, &CATALOG, root(keys), now()).await.unwrap();
        assert_eq!(view.seen().root, 2);
        assert!(store.repo_file("catalog", "1.root.json").await.unwrap().is_some(), "old roots stay for ever");
    })
    .await;
}

#[tokio::test]
async fn nothing_expires_while_the_server_looks_daily() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        let published = offer(&store, first(keys)).await.unwrap();
        assert_eq!(resign(&store, SEAL, now() + SignedDuration::from_hours(23)).await.unwrap(), 0);
        let mut last = (published.timestamp_version, published.snapshot_version);
        for day in 1..=30 {
            let at = now() + days(day) + SignedDuration::from_mins(day);
            assert_eq!(resign(&store, SEAL, at).await.unwrap(), 1, "day {day}");
            assert_eq!(resign(&store, SEAL, at).await.unwrap(), 0, "once is enough");
            // Six days of standstill later everything still holds.
            let view = client(&store, &CATALOG, root(keys), at).await.unwrap();
            assert!(view.expires() > at + days(2));
            let versions = (view.timestamp_version(), view.snapshot_version());
            assert!(versions.0 == last.0 + 1 && versions.1 - last.1 <= 1);
            last = versions;
        }
        assert!((6..=9).contains(&(last.1 - 1)), "snapshots change rarely: {}", last.1);
        assert!(audited(&store).await.iter().any(|e| e.action == "repository.resign" && e.actor == "server"));
    })
    .await;
}

/// Accident: a server whose clock was two months ahead for an hour. What it signed then holds as long, for whoever hands it out.
#[tokio::test]
async fn what_was_signed_by_a_clock_that_was_ahead_is_signed_anew_once_it_is_right() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        offer(&store, first(keys)).await.unwrap();
        assert_eq!(resign(&store, SEAL, now() + days(60)).await.unwrap(), 1);
        let right = now() + SignedDuration::from_hours(1);
        assert_eq!(resign(&store, SEAL, right).await.unwrap(), 1);
        assert_eq!(resign(&store, SEAL, right).await.unwrap(), 0, "once is enough");
        let view = client(&store, &CATALOG, root(keys), right).await.unwrap();
        assert!(view.expires() <= right + days(7), "{}", view.expires());
        assert_eq!((view.timestamp_version(), view.snapshot_version()), (3, 3));
        // A clock that is put right by less than an hour is none that was wrong.
        assert_eq!(resign(&store, SEAL, right - SignedDuration::from_mins(59)).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn targets_that_expired_stay_in_reach_of_their_owner() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        offer(&store, first(keys)).await.unwrap();
        let late = now() + edit::CATALOG_LIFETIME + days(1);
        assert_eq!(resign(&store, SEAL, late).await.unwrap(), 1);
        // Timestamp and snapshot are fresh, so that the targets are all that a client finds fault with.
        let refused = client(&store, &CATALOG, root(keys), late).await.unwrap_err();
        assert!(matches!(refused, TrustError::Expired { role: Role::Targets, .. }), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn one_repository_that_cannot_be_signed_delays_no_other() {
    each(async |store| {
        let catalog = keys(&store, &CATALOG).await;
        offer(&store, first(catalog)).await.unwrap();
        let hdo = "riverside".parse().unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.insert_hdo(&hdo, "Riverside", now()).await.unwrap();
        tx.commit().await.unwrap();
        let approvals = Repository::Approvals(hdo);
        let theirs = keys(&store, &approvals).await;
        offer_to(&store, &approvals, first(theirs)).await.unwrap();
        // `approvals/..` sorts before `catalog`; its newest snapshot is damaged.
        let mut tx = store.begin().await.unwrap();
        tx.put_repo_file(&approvals.to_string(), Role::Snapshot, 99, b"{}", now()).await.unwrap();
        tx.commit().await.unwrap();
        let later = now() + days(2);
        assert_eq!(resign(&store, SEAL, later).await.unwrap(), 1);
        assert_eq!(client(&store, &CATALOG, root(catalog), later).await.unwrap().timestamp_version(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_version_is_never_stored_twice() {
    each(async |store| {
        let mut tx = store.begin().await.unwrap();
        tx.put_repo_file("catalog", Role::Targets, 1, b"one", now()).await.unwrap();
        let twice = tx.put_repo_file("catalog", Role::Targets, 1, b"two", now()).await;
        assert!(matches!(twice, Err(StoreError::Conflict(_))), "{twice:?}");
    })
    .await;
}
