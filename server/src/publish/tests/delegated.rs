//! Roles that the catalog delegates to.

use serde_json::{Value, json};
use suture_core::digest::Digest;
use suture_core::trust::{Delegated, Delegations, Search, key_id, key_object};

use super::*;

/// `delegations` that give a role the paths below `lines/`.
fn delegations(role: &str) -> Value {
    let public = key(5).public();
    let id = key_id(&public).unwrap();
    json!({
        "keys": { id.to_string(): key_object(&public) },
        "roles": [{ "name": role, "keyids": [id], "threshold": 1, "paths": ["lines/*"], "terminating": true }],
    })
}

fn line(n: u64) -> (String, Vec<u8>) {
    (format!("lines/{n}.json"), format!("line {n}").into_bytes())
}

/// A role's metadata of that version, which list line `n`.
fn role(version: u64, previous: Option<&[u8]>, n: u64) -> Vec<u8> {
    let mut draft = TargetsDraft::first(now(), edit::CATALOG_LIFETIME);
    (draft.version, draft.previous) = (version, previous.map(Digest::of));
    draft.targets.insert(line(n).0, Target::of(&line(n).1, None));
    edit::sign_targets(&draft, &[&key(5)]).unwrap()
}

/// As `first`, delegating, with the role's file and line 1.
fn first_with(keys: OnlineKeys, name: &str) -> Offer {
    let mut draft = TargetsDraft::first(now(), edit::CATALOG_LIFETIME);
    draft.delegations = Some(delegations(name));
    let targets = Some(edit::sign_targets(&draft, &[&key(2)]).unwrap());
    let delegated = [(name.to_owned(), role(1, None, 1))].into();
    Offer { roots: vec![root(keys)], targets, delegated, files: vec![line(1)] }
}

/// Whether a client that follows delegations finds a path and its bytes.
async fn finds(store: &Store, root: Vec<u8>, path: &str, at: Timestamp) -> Result<bool, TrustError> {
    let stored = Stored { root, ..Stored::default() };
    let mut refresh = Refresh::start(stored, at)?.delegations(Delegations::Followed);
    while let Some(request) = refresh.request() {
        let file = store.repo_file("catalog", &request.name).await.unwrap();
        refresh.supply(file.map_or(Answer::NotFound, Answer::Found))?;
    }
    let mut view = refresh.finish()?;
    let mut search = Search::start(&mut view, path, at)?;
    while let Some(request) = search.request() {
        let file = store.repo_file("catalog", &request.name).await.unwrap();
        search.supply(file.map_or(Answer::NotFound, Answer::Found))?;
    }
    if search.finish()?.is_none() {
        return Ok(false);
    }
    let (bytes, _) = store.target_file("catalog", &view.file_name(path).unwrap()).await.unwrap().unwrap();
    view.verify_target(path, &bytes)?;
    Ok(true)
}

#[tokio::test]
async fn a_delegated_role_is_published_pinned_and_kept_in_reach() {
    // The second is named so that its files look like the top's.
    for name in ["pumps", "9.targets"] {
        each(async |store| {
            let keys = keys(&store, &CATALOG).await;
            let one = offer(&store, first_with(keys, name)).await.unwrap();
            assert!(finds(&store, root(keys), "lines/1.json", now()).await.unwrap());
            assert!(!finds(&store, root(keys), "lines/2.json", now()).await.unwrap());

            // The role by itself, without the top's keys.
            let two = role(2, Some(&role(1, None, 1)), 2);
            let delegated = Delegated::from([(name.to_owned(), two)]);
            let alone = Offer { delegated, ..Offer::default() };
            let refused = offer(&store, alone.clone()).await;
            assert!(matches!(refused, Err(PublishError::FileMissing(path)) if path == "lines/2.json"));
            let done = offer(&store, Offer { files: vec![line(2)], ..alone.clone() }).await.unwrap();
            assert_eq!((done.targets_version, done.snapshot_version), (1, 2));
            assert!(finds(&store, root(keys), "lines/2.json", now()).await.unwrap());
            let refused = offer(&store, alone).await;
            assert!(
                matches!(refused, Err(PublishError::Trust(TrustError::Delegated { .. }))),
                "a version is used once"
            );

            // The top by itself.
            let done = offer(&store, next(&one, 7)).await.unwrap();
            assert_eq!((done.targets_version, done.snapshot_version), (2, 3));
            assert!(finds(&store, root(keys), "lines/2.json", now()).await.unwrap());

            // The server by itself, once the snapshot nears its end.
            let later = now() + SignedDuration::from_hours(5 * 24);
            assert_eq!(resign(&store, SEAL, later).await.unwrap(), 1);
            assert!(finds(&store, root(keys), "lines/2.json", later).await.unwrap());
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_delegated_to_must_be_there_and_approvals_delegate_nothing() {
    each(async |store| {
        let online = keys(&store, &CATALOG).await;
        let bare = Offer { delegated: Delegated::new(), ..first_with(online, "pumps") };
        let refused = offer(&store, bare).await;
        assert!(matches!(refused, Err(PublishError::Trust(TrustError::Delegated { .. }))), "{refused:?}");
        let approvals = Repository::Approvals("riverside".parse().unwrap());
        let online = keys(&store, &approvals).await;
        let refused = offer_to(&store, &approvals, first_with(online, "wards")).await;
        assert!(matches!(refused, Err(PublishError::Trust(TrustError::Rule { .. }))), "{refused:?}");
    })
    .await;
}
