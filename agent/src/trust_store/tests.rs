//! The store through honest days, a power cut at every step that touches the disk, and a disk that fails.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::edit::{self, ONLINE_LIFETIME, RoleDraft, RootDraft, TargetsDraft};
use suture_core::trust::{Root, Snapshot, Target, Targets, Verified, delegated_name, key_id, key_object};
use zeroize::Zeroizing;

use super::*;
use crate::durable::power;

const ROOT: u8 = 1;
const TARGETS: u8 = 2;

fn key(n: u8) -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([n; 32]))
}

fn now() -> Timestamp {
    "2026-11-24T15:00:00Z".parse().unwrap()
}

/// A server's files, and what it was asked for.
#[derive(Clone, Default)]
struct Server {
    metadata: BTreeMap<String, Vec<u8>>,
    targets: BTreeMap<String, Vec<u8>>,
    asked: Vec<String>,
    down: bool,
}

impl Server {
    fn ask(&mut self, name: &str) -> Result<(), ClientError> {
        self.asked.push(name.to_owned());
        if self.down { Err(ClientError::Timeout { call: "the metadata" }) } else { Ok(()) }
    }
}

impl Files for Server {
    async fn metadata(&mut self, _: Which, name: &str, _: u64) -> Result<Option<Vec<u8>>, ClientError> {
        self.ask(name)?;
        Ok(self.metadata.get(name).cloned())
    }

    async fn target(&mut self, _: Which, name: &str, _: u64) -> Result<Vec<u8>, ClientError> {
        self.ask(name)?;
        let missing = || ClientError::NotFound { call: "the document", text: name.to_owned() };
        self.targets.get(name).cloned().ok_or_else(missing)
    }
}

/// One after another: the beginning; the timestamp signed anew; new targets; new online keys by a new root, and new targets;
/// and new targets once more.
fn days() -> Vec<Server> {
    let role = |n| RoleDraft::single(key(n).public());
    let mut root = RootDraft {
        version: 1,
        expires: now() + edit::ROOT_LIFETIME,
        root: role(ROOT),
        targets: role(TARGETS),
        snapshot: role(3),
        timestamp: role(4),
    };
    let mut server = Server::default();
    let mut trusted = sign_root(&mut server, &root);
    let mut draft = TargetsDraft::first(now(), edit::APPROVALS_LIFETIME);
    let mut online = (key(3), key(4));
    let mut days = Vec::new();
    for day in 0..5_u64 {
        if day == 3 {
            (root.version, root.snapshot, root.timestamp) = (2, role(5), role(6));
            (trusted, online) = (sign_root(&mut server, &root), (key(5), key(6)));
        }
        let content = format!("approval {day}").into_bytes();
        if day != 1 {
            draft.version = if day == 0 { 1 } else { draft.version + 1 };
            draft.targets.insert("approvals/a.json".to_owned(), Target::of(&content, None));
        }
        let bytes = edit::sign_targets(&draft, &[&key(TARGETS)]).unwrap();
        let targets: Verified<Targets> = Verified::by(&trusted, &bytes).unwrap();
        if day != 1 {
            draft.previous = Some(targets.digest());
            server.targets.insert(targets.file_name("approvals/a.json").unwrap(), content);
        }
        server.metadata.insert(format!("{}.targets.json", draft.version), bytes);
        let expires = now() + ONLINE_LIFETIME;
        let snapshot = edit::sign_snapshot(draft.version, expires, &targets, &online.0).unwrap();
        let pinned: Verified<Snapshot> = Verified::by(&trusted, &snapshot).unwrap();
        server.metadata.insert(format!("{}.snapshot.json", draft.version), snapshot);
        let timestamp = edit::sign_timestamp(day + 1, expires, &pinned, &online.1).unwrap();
        server.metadata.insert("timestamp.json".to_owned(), timestamp);
        days.push(server.clone());
    }
    days
}

fn sign_root(server: &mut Server, root: &RootDraft) -> Verified<Root> {
    let bytes = edit::sign_root(root, &[&key(ROOT)]).unwrap();
    let trusted = Verified::pinned(&bytes).unwrap();
    server.metadata.insert(format!("{}.root.json", root.version), bytes);
    trusted
}

fn open(dir: &Path, server: &Server) -> TrustStore {
    TrustStore::open(dir, Which::Approvals, Digest::of(&server.metadata["1.root.json"])).unwrap()
}

async fn refresh(dir: &Path, server: &Server) -> Result<Repository, RefreshError> {
    open(dir, server).refresh(&mut server.clone(), News::default(), now()).await
}

/// Versions of root, timestamp, snapshot and targets on disk, read without a key; 0 where there is none.
fn versions(dir: &Path) -> [u64; 4] {
    ["root", "timestamp", "snapshot", "targets"].map(|role| {
        let path = TrustStore::directory(dir, Which::Approvals).join(format!("{role}.json"));
        let Some(bytes) = durable::read(&path, MAX_TARGETS_BYTES).unwrap() else { return 0 };
        let file: serde_json::Value = serde_json::from_slice(&bytes).expect("whole, or not there");
        file["signed"]["version"].as_u64().unwrap()
    })
}

/// No file is older than before. Those of the online roles may be gone, where a new root has named other keys for them.
fn not_older(before: [u64; 4], after: [u64; 4]) {
    let rotated = after[0] > before[0];
    for (role, (before, after)) in before.into_iter().zip(after).enumerate() {
        let may_go = rotated && (role == 1 || role == 2) && after == 0;
        assert!(after >= before || may_go, "role {role}: version {after} after version {before}");
    }
}

#[tokio::test]
async fn a_power_cut_at_any_step_loses_no_version_and_is_mended_by_the_next_refresh() {
    let days = days();
    let (mut cuts, mut pairs) = (0, 0);
    for from in 0..=days.len() {
        // To the next state and to the last; the others would cost time and show nothing more.
        for to in (from.max(1)..=days.len()).filter(|to| *to == from + 1 || *to == days.len()) {
            // `from` 0 is a device that has just enrolled; a day is one on from its place in the list.
            let (before, new) = (from.checked_sub(1).map(|i| &days[i]), &days[to - 1]);
            pairs += 1;
            for steps in 0.. {
                let dir = tempfile::tempdir().unwrap();
                if let Some(before) = before {
                    refresh(dir.path(), before).await.unwrap();
                }
                let store = open(dir.path(), new);
                let floor = versions(dir.path());
                power::cut_after(steps);
                let done = store.refresh(&mut new.clone(), News::default(), now()).await;
                power::restore();
                let left = versions(dir.path());
                not_older(floor, left);
                if let Ok(repository) = done {
                    assert_eq!(repository.seen().targets, left[3]);
                    break;
                }
                assert!(matches!(done, Err(RefreshError::Disk(..))), "a store that fails, fails the refresh: {done:?}");
                cuts += 1;
                // Whoever shows the old state again after the cut takes nothing back.
                if let Some(before) = before {
                    let _ = refresh(dir.path(), before).await;
                    not_older(left, versions(dir.path()));
                }
                let repository = refresh(dir.path(), new).await.expect("an honest server mends it");
                assert_eq!(repository.seen().targets, versions(dir.path())[3]);
                assert!(open(dir.path(), new).offline(now()).is_ok());
            }
        }
    }
    println!("{cuts} cuts between {pairs} pairs of states");
    assert!(cuts > 100, "{cuts}");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_leaves_what_is_stored_in_force_until_it_expires() {
    let days = days();
    let dir = tempfile::tempdir().unwrap();
    let down = Server { down: true, ..days[2].clone() };
    assert!(matches!(refresh(dir.path(), &down).await, Err(RefreshError::Unreachable(..))));
    // Nobody was heard, so nobody is accused.
    let reason = open(dir.path(), &down).offline(now()).unwrap_err().reason();
    assert_eq!(reason.code, Code::ServerUnreachable);
    assert!(reason.text.contains("has not been refreshed yet"), "{reason:?}");
    let altered = ClientError::Altered { call: "the metadata", text: "timestamp.json was altered".to_owned() };
    let reason = open(dir.path(), &down).without(&altered, now()).unwrap_err().reason();
    assert_eq!(reason.code, Code::BadMetadata);
    assert!(reason.text.contains("timestamp.json was altered"), "{reason:?}");
    refresh(dir.path(), &days[0]).await.unwrap();
    let before = versions(dir.path());
    assert!(matches!(refresh(dir.path(), &down).await, Err(RefreshError::Unreachable(..))));
    assert!(open(dir.path(), &down).without(&altered, now()).is_ok(), "what is stored is as it was");
    assert_eq!(versions(dir.path()), before);
    let store = open(dir.path(), &down);
    assert_eq!(store.offline(now()).unwrap().seen().targets, 1);
    let late = now() + ONLINE_LIFETIME;
    let error = store.offline(late).unwrap_err();
    assert_eq!(error.reason().code, Code::MetadataExpired);
    assert_eq!(store.offline(late - SignedDuration::from_secs(1)).unwrap().seen().targets, 1);
}

#[tokio::test]
async fn the_root_is_the_one_that_enrolment_pinned_wherever_it_stands() {
    let server = days().pop().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let stranger = TrustStore::open(dir.path(), Which::Approvals, Digest::of(b"another")).unwrap();
    let refused = stranger.refresh(&mut server.clone(), News::default(), now()).await;
    assert!(matches!(refused, Err(RefreshError::NoRoot(_))));
    assert_eq!(versions(dir.path()), [0; 4]);
    let second = Digest::of(&server.metadata["2.root.json"]);
    let store = TrustStore::open(dir.path(), Which::Approvals, second).unwrap();
    assert_eq!(store.refresh(&mut server.clone(), News::default(), now()).await.unwrap().seen().root, 2);
    assert!(store.root().unwrap().is_some_and(|root| root.version() == 2));
}

#[tokio::test]
async fn of_a_torn_root_the_one_before_counts_and_the_first_is_pinned_anew() {
    let days = days();
    let (first, last) = (&days[0], days.last().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let root = TrustStore::directory(dir.path(), Which::Approvals).join(super::ROOT);
    let before = root.with_file_name(BEFORE);
    let forms = |whole: &[u8]| [Vec::new(), whole[..whole.len() / 2].to_vec(), vec![0; whole.len()]];
    refresh(dir.path(), first).await.unwrap();
    assert!(!before.exists());
    for torn in forms(&fs::read(&root).unwrap()) {
        fs::write(&root, torn).unwrap();
        assert!(open(dir.path(), first).root().unwrap().is_none());
        refresh(dir.path(), first).await.unwrap();
        assert!(open(dir.path(), first).root().unwrap().is_some_and(|root| root.version() == 1));
    }
    refresh(dir.path(), last).await.unwrap();
    for torn in forms(&fs::read(&root).unwrap()) {
        fs::write(&root, torn).unwrap();
        assert!(open(dir.path(), last).root().unwrap().is_some_and(|root| root.version() == 1));
        refresh(dir.path(), last).await.unwrap();
        assert!(open(dir.path(), last).root().unwrap().is_some_and(|root| root.version() == 2));
    }
    // With neither there is no telling how far the roots had come, and only a person may begin anew.
    fs::write(&root, b"").unwrap();
    fs::write(&before, b"").unwrap();
    let reason = refresh(dir.path(), last).await.unwrap_err().reason();
    assert_eq!(reason.code, Code::StateDamaged);
    assert!(reason.text.contains("remove root.json and root.before.json"), "{reason}");
    fs::remove_file(&root).unwrap();
    fs::remove_file(&before).unwrap();
    assert_eq!(refresh(dir.path(), last).await.unwrap().seen().root, 2);
}

#[tokio::test]
async fn what_came_in_one_answer_is_asked_for_no_more() {
    let server = days().pop().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &server);
    assert_eq!(store.held().unwrap(), Held::default());
    let mut counted = server.clone();
    let news = News::new(server.metadata.clone(), Some(2), false);
    assert_eq!(store.refresh(&mut counted, news, now()).await.unwrap().seen().root, 2);
    assert_eq!(counted.asked, [""; 0]);
    let held = store.held().unwrap();
    assert_eq!((held.root, held.timestamp), (2, Some(Digest::of(&server.metadata["timestamp.json"]))));
    store.refresh(&mut counted, News::new([], Some(2), true), now()).await.unwrap();
    assert_eq!(counted.asked, [""; 0], "nothing has changed, and that is all there is to say");
    // More than such a file can have, in the one answer as in one of its own.
    let endless = News::new([("timestamp.json".to_owned(), vec![b' '; 1 << 20])], Some(2), false);
    let error = store.refresh(&mut counted, endless, now()).await.unwrap_err();
    assert_eq!(error.reason().code, Code::EndlessData);
    // Whoever reads the reason hears what is wrong with the file, not only that something is.
    let unreadable = News::new([("timestamp.json".to_owned(), b"{\"signed\":1.5}".to_vec())], Some(2), false);
    let reason = store.refresh(&mut counted, unreadable, now()).await.unwrap_err().reason();
    assert_eq!(reason.code, Code::BadMetadata);
    assert!(
        reason.text.contains("the timestamp metadata cannot be read: not strict JSON: 1.5 is a float"),
        "{reason:?}"
    );
}

#[tokio::test]
async fn documents_are_kept_by_digest_fetched_again_where_damaged_and_refused_where_wrong() {
    let mut server = days().pop().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &server);
    let repository = refresh(dir.path(), &server).await.unwrap();
    let path = "approvals/a.json";
    let name = repository.file_name(path).unwrap();
    let good = store.document(&mut server, &repository, path).await.unwrap();
    store.document(&mut server, &repository, path).await.unwrap();
    assert_eq!(server.asked, [name.as_str()], "once is enough");
    let kept = store.document_path(&Digest::of(&good));
    fs::write(&kept, b"approval X").unwrap();
    assert_eq!(store.document(&mut server, &repository, path).await.unwrap(), good);
    assert_eq!(fs::read(&kept).unwrap(), good, "mended");
    fs::remove_file(&kept).unwrap();
    server.targets.insert(name, b"approval X".to_vec());
    let error = store.document(&mut server, &repository, path).await.unwrap_err();
    assert_eq!(error.reason().code, Code::WrongBytes);
    assert!(!kept.exists(), "what was refused is not kept");
    store.keep_only(&BTreeSet::new()).unwrap();
}

const LINE: u8 = 7;
const PATH: &str = "pump/a.json";

/// The root of that version; online keys change with each.
fn rooted(version: u64, targets: u8) -> RootDraft {
    let role = |n| RoleDraft::single(key(n).public());
    let [snapshot, timestamp] = online(version).map(|key| RoleDraft::single(key.public()));
    let expires = now() + edit::ROOT_LIFETIME;
    RootDraft { version, expires, root: role(ROOT), targets: role(targets), snapshot, timestamp }
}

fn online(root: u64) -> [LocalKey; 2] {
    [1, 2].map(|n| key(u8::try_from(10 * root).unwrap() + n))
}

/// A list of the line's, signed that many days from now.
fn list(version: u64, day: i64, lists: bool) -> Vec<u8> {
    let mut draft = TargetsDraft::first(now() + SignedDuration::from_hours(24 * day), edit::CATALOG_LIFETIME);
    draft.version = version;
    draft.targets.extend(lists.then(|| (PATH.to_owned(), Target::of(b"it", None))));
    edit::sign_targets(&draft, &[&key(LINE)]).unwrap()
}

/// A catalog that lets a line speak for `pump/*`, with this list of the line's in force under the online keys of that root.
fn with_line(server: &mut Server, root: u64, snapshot_version: u64, list: &[u8]) {
    let trusted = sign_root(server, &rooted(root, TARGETS));
    let public = key(LINE).public();
    let id = key_id(&public).unwrap().to_string();
    let mut draft = TargetsDraft::first(now(), edit::CATALOG_LIFETIME);
    draft.delegations = Some(serde_json::json!({
        "keys": { id.clone(): key_object(&public) },
        "roles": [{ "name": "line", "keyids": [id], "threshold": 1, "paths": ["pump/*"], "terminating": false }],
    }));
    let bytes = edit::sign_targets(&draft, &[&key(TARGETS)]).unwrap();
    let targets: Verified<Targets> = Verified::by(&trusted, &bytes).unwrap();
    server.metadata.insert("1.targets.json".to_owned(), bytes);
    // The line's keys are those of no root.
    let lines = Verified::pinned(&edit::sign_root(&rooted(1, LINE), &[&key(ROOT)]).unwrap()).unwrap();
    let listed: Verified<Targets> = Verified::by(&lines, list).unwrap();
    server.metadata.insert(delegated_name("line", listed.version()), list.to_vec());
    let (roles, expires) = (BTreeMap::from([("line".to_owned(), listed)]), now() + ONLINE_LIFETIME);
    let [by, at] = online(root);
    let snapshot = edit::sign_delegating_snapshot(snapshot_version, expires, &targets, &roles, None, &by).unwrap();
    let pinned: Verified<Snapshot> = Verified::by(&trusted, &snapshot).unwrap();
    server.metadata.insert(format!("{snapshot_version}.snapshot.json"), snapshot);
    let timestamp = edit::sign_timestamp(snapshot_version, expires, &pinned, &at).unwrap();
    server.metadata.insert("timestamp.json".to_owned(), timestamp);
}

#[tokio::test]
async fn an_older_list_of_a_role_is_known_after_the_online_keys_have_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (older, newer) = (list(4, 0, true), list(5, 1, false));
    let mut server = Server::default();
    with_line(&mut server, 1, 1, &older);
    let store = TrustStore::open(dir.path(), Which::Catalog, Digest::of(&server.metadata["1.root.json"])).unwrap();
    let find = async |server: &mut Server, paths: &[&str]| {
        let mut catalog = store.refresh(server, News::default(), now()).await.unwrap();
        let sought = store.find(server, &mut catalog, paths.iter().copied().collect(), now()).await;
        let code = sought.unfound.get(PATH).map(|reason| reason.code);
        (catalog.target(PATH).is_some(), code, sought.news)
    };
    assert_eq!(find(&mut server, &[PATH]).await, (true, None, true));
    assert_eq!(find(&mut server, &[PATH]).await, (true, None, false), "from the disk");
    with_line(&mut server, 1, 2, &newer);
    assert_eq!(find(&mut server, &[PATH]).await, (false, None, true));
    // A while in which nothing of the line's is approved.
    assert_eq!(find(&mut server, &[]).await, (false, None, false));
    // The owner changes the online keys, and whoever had the old ones has the new ones too.
    with_line(&mut server, 2, 1, &older);
    assert_eq!(find(&mut server, &[PATH]).await, (false, Some(Code::Rollback), false));
    with_line(&mut server, 2, 2, &newer);
    assert_eq!(find(&mut server, &[PATH]).await, (false, None, false), "from the disk");
}
