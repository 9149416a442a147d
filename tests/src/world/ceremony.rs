//! Ceremonies: colleagues who sign what one of them has begun, those who tamper with it on the way, and whoever has taken
//! the server's online keys.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use suture_core::approval::{Approval, OperatorDocument};
use suture_core::clock::Clock as _;
use suture_core::sign::LocalKey;
use suture_core::trust::{Role, Root, Targets, Verified, edit};
use suture_ctl::client::Changed;
use suture_ctl::context::{Context, Unread};
use suture_ctl::envelope::Envelope;
use suture_ctl::home::Home;
use suture_ctl::hospital::{Desk, refused};
use suture_ctl::keys::{Passphrases, Pins};
use suture_ctl::print::{Format, Printer};
use suture_ctl::repository::{self, Done};
use suture_proto::connect::ProxyRules;
use suture_server::publish::{self, Held};

use super::signing::Intruder;
use super::{Operator, World, text};

/// A snapshot and a timestamp as they stood before somebody put others in their place.
pub struct Backup {
    snapshot: u64,
    timestamp: (u64, Vec<u8>),
}

impl World {
    /// A colleague of `by`, who has joined and has made keys of their own, `root` and `targets`.
    pub async fn colleague(&self, by: &Operator, name: &str) -> Operator {
        let invitation = by.json(&["operator", "invite", name]).await.unwrap();
        let colleague = self.operator(name);
        colleague.run(&["join", invitation["token"].as_str().unwrap()]).await.unwrap();
        for key in ["root", "targets"] {
            colleague.run(&["key", "new", key, "--no-passphrase"]).await.unwrap();
        }
        colleague
    }

    /// `suture-server keys rotate`.
    pub async fn prepare_online_keys(&self) -> Vec<Held> {
        publish::rotate(&self.settings, None, false, self.clock.now()).await.unwrap()
    }
}

impl Operator {
    /// A key's public half.
    pub async fn public(&self, key: &str) -> String {
        self.run(&["key", "export-public", key]).await.unwrap().trim().to_owned()
    }

    /// Receives a file, as by mail: a copy in this operator's own directory.
    pub fn receive(&self, file: &Path) -> PathBuf {
        let own = self.home().join(file.file_name().unwrap());
        fs::copy(file, &own).unwrap();
        own
    }

    /// Publishes an envelope as it is, with a client that counts no signatures; what the server says to it.
    pub async fn force(&self, file: &Path) -> Result<(), String> {
        self.within(async |context| {
            let envelope = Envelope::open(file)?;
            let mut client = context.connect().await?;
            repository::publish(context, &mut client, envelope).await.map(drop)
        })
        .await
    }

    /// Signs an approval with this operator's key, whatever it says, and writes down what others must sign too.
    pub async fn propose(&self, (approval, document): &(Approval, OperatorDocument), file: &Path) {
        let by = repository::Signing { key: "targets".parse().unwrap(), envelope: Some(file.to_owned()) };
        self.within(async |context| {
            let mut desk = Desk::open(context).await?;
            let done = desk.publish(context, &by, |edit| edit.approve(approval, document).map_err(refused)).await?;
            assert!(matches!(done, Done::Waiting(_)), "one signature was enough");
            Ok(())
        })
        .await
        .unwrap();
    }

    async fn within(
        &self,
        act: impl AsyncFnOnce(&mut Context<'_>) -> suture_ctl::failure::Outcome,
    ) -> Result<(), String> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut context = Context {
            home: Home::open(self.home()).unwrap(),
            print: Printer::new(&mut out, &mut err, Format::Text),
            passphrases: Passphrases::from(None),
            pins: Pins::from(None),
            clock: self.clock.clone(),
            proxy: ProxyRules::from_env(|_| None),
            stops_devices: false,
            unread: Unread::default(),
            changed: Changed::default(),
            asides: Default::default(),
        };
        act(&mut context).await.map_err(|failure| failure.to_text())
    }
}

/// Changes what an envelope holds, as somebody does who has it on the way.
pub fn tamper(file: &Path, change: impl FnOnce(&mut Envelope)) -> PathBuf {
    let mut envelope = Envelope::open(file).unwrap();
    change(&mut envelope);
    let other = file.with_extension("tampered");
    fs::write(&other, envelope.to_bytes().unwrap()).unwrap();
    other
}

impl Intruder<'_> {
    /// Signs the highest versions that there can be with the repository's online keys, and puts them in force.
    pub async fn drive_up(&self, repository: &str) -> Backup {
        const HIGHEST: u64 = i64::MAX as u64;
        let now = self.world.clock.now();
        let mut tx = self.store.begin().await.unwrap();
        let root = tx.newest_repo_file(repository, Role::Root).await.unwrap().unwrap().content;
        let root: Verified<Root> = Verified::pinned(&root).unwrap();
        let targets = tx.newest_repo_file(repository, Role::Targets).await.unwrap().unwrap().content;
        let targets: Verified<Targets> = Verified::by(&root, &targets).unwrap();
        let snapshot = tx.newest_repo_file(repository, Role::Snapshot).await.unwrap().unwrap();
        let timestamp = tx.newest_repo_file(repository, Role::Timestamp).await.unwrap().unwrap();
        let backup = Backup { snapshot: snapshot.version, timestamp: (timestamp.version, timestamp.content) };
        let expires = now + SignedDuration::from_hours(24 * 365);
        let key: LocalKey = self.online_key(&mut tx, repository, Role::Snapshot).await;
        let snapshot = edit::sign_snapshot(HIGHEST, expires, &targets, &key).unwrap();
        tx.put_repo_file(repository, Role::Snapshot, HIGHEST, &snapshot, now).await.unwrap();
        let key = self.online_key(&mut tx, repository, Role::Timestamp).await;
        let timestamp = edit::sign_timestamp(HIGHEST, expires, &Verified::by(&root, &snapshot).unwrap(), &key).unwrap();
        tx.put_repo_file(repository, Role::Timestamp, HIGHEST, &timestamp, now).await.unwrap();
        tx.commit().await.unwrap();
        backup
    }

    /// The owner restores the server from a backup.
    pub async fn restore(&self, repository: &str, backup: Backup) {
        let mut tx = self.store.begin().await.unwrap();
        tx.remove_repo_files_above(repository, Role::Snapshot, backup.snapshot).await.unwrap();
        let (version, content) = backup.timestamp;
        tx.put_repo_file(repository, Role::Timestamp, version, &content, self.world.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// An operator's new file of that name.
pub fn envelope(of: &Operator, name: &str) -> String {
    text(&of.home().join(format!("{name}.envelope.json"))).to_owned()
}
