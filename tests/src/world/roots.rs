//! The owners' next roots, signed with their offline keys and published.

use std::fs;

use suture_core::clock::Clock as _;
use suture_core::sign::LocalKey;
use suture_core::trust::edit::{
    APPROVALS_LIFETIME, CATALOG_LIFETIME, RoleDraft, RootDraft, TargetsDraft, sign_root, sign_targets,
};
use suture_core::trust::{Role, Root, Targets, Verified};
use suture_proto::v1;
use suture_server::store::Store;

use super::{HDO, Operator, World};

impl World {
    /// The catalog's or the hospital's next root: the same offline keys for another year, and new online keys. What is in
    /// force is signed again with it, for it may all have expired together.
    pub async fn next_root(&self, by: &Operator, repository: &str) {
        let now = self.clock.now();
        let held = suture_server::publish::rotate(&self.settings, Some(repository), false, now).await.unwrap();
        let keys = held.into_iter().next().unwrap().keys;
        let store = Store::open(self.database()).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let newest = tx.newest_repo_file(repository, Role::Root).await.unwrap().unwrap().content;
        let targets = tx.newest_repo_file(repository, Role::Targets).await.unwrap().unwrap().content;
        drop(tx);
        store.close().await;
        let root: Verified<Root> = Verified::pinned(&newest).unwrap();
        let targets: Verified<Targets> = Verified::by(&root, &targets).unwrap();
        let draft = RootDraft {
            snapshot: RoleDraft::single(keys.next_snapshot.unwrap()),
            timestamp: RoleDraft::single(keys.next_timestamp.unwrap()),
            ..RootDraft::after(&root, now)
        };
        let pem = fs::read_to_string(by.home().join("keys/root.pem")).unwrap();
        let signed = sign_root(&draft, &[&LocalKey::from_pem(&pem, None).unwrap()]).unwrap();
        let (which, lifetime) = match repository {
            "catalog" => (v1::repository::Which::Catalog(true), CATALOG_LIFETIME),
            _ => (v1::repository::Which::Approvals(HDO.to_owned()), APPROVALS_LIFETIME),
        };
        let targets = TargetsDraft::following(&targets, now, lifetime);
        let targets = sign_targets(&targets, &[&by.targets_key()]).unwrap();
        let request = v1::PublishMetadataRequest {
            repository: Some(v1::Repository { which: Some(which) }),
            roots: vec![signed.into()],
            targets: targets.into(),
            ..v1::PublishMetadataRequest::default()
        };
        self.operator_calls(Some(by.identity())).await.publish_metadata(request).await.unwrap();
    }
}
