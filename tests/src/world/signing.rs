//! What `suturectl` refuses to sign and the server to publish: the hands of a mistaken hospital and of whoever holds the
//! server.

use std::collections::BTreeMap;
use std::fs;

use jiff::Timestamp;
use serde_json::Value;
use suture_core::approval::{Approval, OperatorDocument, SignedDocument as _, Step, path};
use suture_core::clock::Clock as _;
use suture_core::digest::Digest;
use suture_core::manifest::Manifest;
use suture_core::plan::{Plan, Signing};
use suture_core::sign::{LocalKey, Signer};
use suture_core::trust::edit::{self, ONLINE_LIFETIME, RoleDraft, RootDraft, TargetsDraft};
use suture_core::trust::{Role, Root, Snapshot, Target, Targets, Verified};
use suture_ctl::client::Changed;
use suture_ctl::context::{Context, Unread};
use suture_ctl::home::Home;
use suture_ctl::hospital::{Desk, refused};
use suture_ctl::keys::{Passphrases, Pins};
use suture_ctl::print::{Format, Printer};
use suture_ctl::repository::{self, Done};
use suture_proto::connect::ProxyRules;
use suture_proto::v1;
use suture_server::store::repository::Readers;
use suture_server::store::{Store, Tx};
use zeroize::Zeroizing;

use super::{Bundle, HDO, Operator, World, text};

impl Bundle {
    /// What an approval says of it.
    pub fn step(&self) -> Step {
        let bytes = fs::read(self.dir.join("manifest.json")).unwrap();
        let manifest = Manifest::parse(&bytes).unwrap();
        Step {
            path: manifest.path(),
            length: bytes.len() as u64,
            sha256: Digest::of(&bytes),
            product: manifest.product,
            release: manifest.release,
            hardware: manifest.hardware,
        }
    }
}

impl World {
    /// The approval that a plan by these arguments would become, unsigned, with its document for people.
    pub async fn draft(&self, by: &Operator, args: &[&str]) -> (Approval, OperatorDocument) {
        let file = self.path("draft.json");
        by.run(&[&["rollout", "plan", "-o", text(&file)], args].concat()).await.unwrap();
        let plan = Plan::parse(&fs::read(file).unwrap()).unwrap();
        let signing =
            Signing { approver: "kim".to_owned(), meaning: "approved".to_owned(), reason: "a mistake".to_owned() };
        plan.to_approval(&signing, self.clock.now()).unwrap()
    }

    /// Whoever has taken the server and its online keys.
    pub async fn intruder(&self) -> Intruder<'_> {
        Intruder { world: self, store: Store::open(self.database()).await.unwrap() }
    }
}

impl Operator {
    /// Their key that signs targets.
    pub fn targets_key(&self) -> LocalKey {
        let pem = fs::read_to_string(self.home().join("keys/targets.pem")).unwrap();
        LocalKey::from_pem(&pem, None).unwrap()
    }

    /// Signs an approval with the hospital's real key and publishes it, whatever it says.
    pub async fn sign(&self, draft: &(Approval, OperatorDocument)) {
        self.try_sign(draft).await.unwrap();
    }

    /// The same: what the server said to it, where it refused.
    pub async fn try_sign(&self, (approval, document): &(Approval, OperatorDocument)) -> Result<(), String> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let context = self.context(&mut out, &mut err);
        let mut desk = Desk::open(&context).await.unwrap();
        let by = repository::Signing { key: "targets".parse().unwrap(), envelope: None };
        let done = desk.publish(&context, &by, |edit| edit.approve(approval, document).map_err(refused)).await;
        let done = done.map_err(|failure| failure.to_text())?;
        assert!(matches!(done, Done::Published(())));
        Ok(())
    }
}

impl Operator {
    /// Signs a root by which that many of these keys of the home speak for the approvals, and what is approved anew by all
    /// of them: four eyes, from now on.
    pub async fn share(&self, keys: &[&str], threshold: u32) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let context = self.context(&mut out, &mut err);
        let desk = Desk::open(&context).await.unwrap();
        let named = |name: &str| {
            let pem = fs::read_to_string(self.home().join(format!("keys/{name}.pem"))).unwrap();
            LocalKey::from_pem(&pem, None).unwrap()
        };
        let approvers: Vec<LocalKey> = keys.iter().map(|name| named(name)).collect();
        let mut root = RootDraft::after(desk.approvals.root(), self.clock.now());
        root.targets = RoleDraft { keys: approvers.iter().map(|k| k.public()).collect(), threshold };
        let root = edit::sign_root(&root, &[&named("root")]).unwrap();
        let draft = TargetsDraft::after(&desk.approvals, self.clock.now(), edit::APPROVALS_LIFETIME);
        let signers: Vec<&dyn Signer> = approvers.iter().map(|k| k as &dyn Signer).collect();
        let targets = edit::sign_targets(&draft, &signers).unwrap();
        let request = v1::PublishMetadataRequest {
            delegated: Default::default(),
            repository: Some(suture_ctl::trust_store::Which::Approvals.to_wire()),
            roots: vec![root.into()],
            targets: targets.into(),
            files: Vec::new(),
        };
        let mut desk = desk;
        desk.client.publish_metadata(request).await.unwrap();
    }

    /// Signs the next version of the approvals with the hospital's real key, edited, and publishes it as it is: what the
    /// server said to it, where it refused.
    pub async fn republish(
        &self,
        edit: impl FnOnce(&mut BTreeMap<String, Target>, &mut Vec<v1::TargetFile>),
    ) -> Result<(), String> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let context = self.context(&mut out, &mut err);
        let mut desk = Desk::open(&context).await.unwrap();
        let mut draft = TargetsDraft::after(&desk.approvals, self.clock.now(), edit::APPROVALS_LIFETIME);
        let mut files = Vec::new();
        edit(&mut draft.targets, &mut files);
        let targets = edit::sign_targets(&draft, &[&self.targets_key()]).unwrap();
        let request = v1::PublishMetadataRequest {
            delegated: Default::default(),
            repository: Some(suture_ctl::trust_store::Which::Approvals.to_wire()),
            roots: Vec::new(),
            targets: targets.into(),
            files,
        };
        desk.client.publish_metadata(request).await.map(drop).map_err(|failure| failure.to_text())
    }

    /// As [`Operator::republish`], with other bytes for one file that is listed.
    pub async fn republish_file(&self, path: &str, bend: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<(), String> {
        let kept = self.home().join("trust/approvals/documents");
        self.republish(|targets, files| {
            let bytes = fs::read(kept.join(targets[path].sha256.to_string())).unwrap();
            let content = bend(bytes);
            targets.insert(path.to_owned(), Target::of(&content, None));
            files.push(v1::TargetFile { path: path.to_owned(), content: content.into() });
        })
        .await
    }

    fn context<'a>(&self, out: &'a mut Vec<u8>, err: &'a mut Vec<u8>) -> Context<'a> {
        Context {
            home: Home::open(self.home()).unwrap(),
            print: Printer::new(out, err, Format::Text),
            passphrases: Passphrases::from(None),
            pins: Pins::from(None),
            clock: self.clock.clone(),
            proxy: ProxyRules::from_env(|_| None),
            stops_devices: false,
            unread: Unread::default(),
            changed: Changed::default(),
            asides: Default::default(),
        }
    }
}

/// Has the database, the seal key and so the server's online keys; has no offline key.
pub struct Intruder<'a> {
    pub(super) world: &'a World,
    pub(super) store: Store,
}

impl Intruder<'_> {
    /// A key that nobody has named in any root.
    pub fn key(&self) -> LocalKey {
        LocalKey::from_seed(&Zeroizing::new([66; 32]))
    }

    /// Puts an approval in the hospital's repository, as [`Intruder::list`] does.
    pub async fn approve(&self, approval: &Approval, key: &LocalKey) {
        let repository = format!("approvals/{HDO}");
        let sealed = approval.seal().unwrap();
        let mut tx = self.store.begin().await.unwrap();
        for (pinned, bytes) in &sealed.shards {
            let name = pinned.file_name();
            tx.put_target_file(&repository, &name, bytes, Readers::Devices, self.world.clock.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        let path = path::approval(&approval.terms.id);
        self.list(&repository, (&path, &sealed.head_bytes, None), key).await;
    }

    /// Puts targets in force that list this file as well, signed with `key`, below a snapshot and a timestamp that the
    /// online keys sign.
    pub async fn list(&self, repository: &str, file: (&str, &[u8], Option<Value>), key: &LocalKey) {
        let now = self.world.clock.now();
        let mut tx = self.store.begin().await.unwrap();
        let root = newest(&mut tx, repository, Role::Root).await;
        let root: Verified<Root> = Verified::pinned(&root).unwrap();
        let before = newest(&mut tx, repository, Role::Targets).await;
        let mut draft = TargetsDraft::following(&Verified::by(&root, &before).unwrap(), now, edit::APPROVALS_LIFETIME);
        let (path, content, custom) = file;
        draft.targets.insert(path.to_owned(), Target::of(content, custom));
        let bytes = edit::sign_targets(&draft, &[key]).unwrap();
        tx.put_repo_file(repository, Role::Targets, draft.version, &bytes, now).await.unwrap();
        let targets = by_own_root(key, &bytes, now);
        let name = targets.file_name(path).unwrap();
        tx.put_target_file(repository, &name, content, Readers::Devices, now).await.unwrap();
        let expires = now + ONLINE_LIFETIME;
        let version = next(&mut tx, repository, Role::Snapshot).await;
        let key = self.online_key(&mut tx, repository, Role::Snapshot).await;
        let snapshot = edit::sign_snapshot(version, expires, &targets, &key).unwrap();
        tx.put_repo_file(repository, Role::Snapshot, version, &snapshot, now).await.unwrap();
        let snapshot: Verified<Snapshot> = Verified::by(&root, &snapshot).unwrap();
        let version = next(&mut tx, repository, Role::Timestamp).await;
        let key = self.online_key(&mut tx, repository, Role::Timestamp).await;
        let timestamp = edit::sign_timestamp(version, expires, &snapshot, &key).unwrap();
        tx.put_repo_file(repository, Role::Timestamp, version, &timestamp, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(super) async fn online_key(&self, tx: &mut Tx, repository: &str, role: Role) -> LocalKey {
        let seal = fs::read_to_string(self.world.data_dir().join("seal.key")).unwrap();
        let row = tx.online_key(repository, role).await.unwrap().unwrap();
        LocalKey::from_pem(&row.sealed, Some(seal.trim())).unwrap()
    }
}

/// Verified by a root that names just the key that signed, which is how such metadata come to look whole.
fn by_own_root(key: &LocalKey, targets: &[u8], now: Timestamp) -> Verified<Targets> {
    let role = || RoleDraft::single(key.public());
    let draft = RootDraft {
        version: 1,
        expires: now + ONLINE_LIFETIME,
        root: role(),
        targets: role(),
        snapshot: role(),
        timestamp: role(),
    };
    let root = edit::sign_root(&draft, &[key]).unwrap();
    Verified::by(&Verified::pinned(&root).unwrap(), targets).unwrap()
}

async fn newest(tx: &mut Tx, repository: &str, role: Role) -> Vec<u8> {
    tx.newest_repo_file(repository, role).await.unwrap().unwrap().content
}

async fn next(tx: &mut Tx, repository: &str, role: Role) -> u64 {
    tx.newest_repo_file(repository, role).await.unwrap().unwrap().version + 1
}
