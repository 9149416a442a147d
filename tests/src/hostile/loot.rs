//! Everything that a server holds, taken from its data directory and its database.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use suture_agent::install::pack;
use suture_core::chunk::Index;
use suture_core::clock::Clock as _;
use suture_core::digest::Digest;
use suture_core::manifest::{Manifest, PayloadFormat};
use suture_core::sign::LocalKey;
use suture_core::trust::Role;
use suture_server::identity::Authority;
use suture_server::store::Store;

use crate::world::{Bundle, HDO, World};

/// What was taken.
#[derive(Clone)]
pub struct Loot {
    /// When.
    pub now: Timestamp,
    /// The manufacturer's catalog.
    pub catalog: Repo,
    /// The hospital's approvals.
    pub approvals: Repo,
    /// The raw chunks of each payload, by the digest of its index.
    pub payloads: BTreeMap<Digest, Vec<Bytes>>,
    /// The certificate authority, its key included.
    pub authority: Arc<Authority>,
}

/// One repository's files by the names that they are served under, and the keys that the server signs with.
#[derive(Clone)]
pub struct Repo {
    /// Metadata.
    pub metadata: BTreeMap<String, Vec<u8>>,
    /// Targets, and what documents pin.
    pub targets: BTreeMap<String, Vec<u8>>,
    /// The online key for snapshots.
    pub snapshot_key: Arc<LocalKey>,
    /// The online key for timestamps.
    pub timestamp_key: Arc<LocalKey>,
}

impl Loot {
    /// Takes everything. The storage is taken by way of the bundles that were put there.
    pub async fn take(world: &World, bundles: &[&Bundle]) -> Self {
        let mut catalog = Repo::take(world, "catalog").await;
        let mut payloads = BTreeMap::new();
        for bundle in bundles {
            let manifest = Manifest::parse(&fs::read(bundle.dir.join("manifest.json")).unwrap()).unwrap();
            for payload in &manifest.payloads {
                let index = file_of(&bundle.dir, &payload.index_sha256);
                let path = bundle.payload(payload.name.as_str());
                let mut archive = Vec::new();
                match payload.format {
                    PayloadFormat::Tree => drop(pack(&path, &mut archive).unwrap()),
                    PayloadFormat::Image => archive = fs::read(&path).unwrap(),
                }
                let mut rest = Bytes::from(archive);
                let entries = Index::parse(&index).unwrap().entries().to_vec();
                let chunks = entries.iter().map(|e| rest.split_to(e.length as usize)).collect();
                payloads.insert(payload.index_sha256, chunks);
                catalog.targets.insert(format!("documents/{}", Digest::of(&index)), index);
            }
        }
        let read = |name: &str| fs::read_to_string(world.data_dir().join(name)).unwrap();
        let authority = Authority::load(&read("ca.pem"), &read("ca.key"), "acme.example".parse().unwrap()).unwrap();
        Self {
            now: world.clock.now(),
            catalog,
            approvals: Repo::take(world, &format!("approvals/{HDO}")).await,
            payloads,
            authority: Arc::new(authority),
        }
    }
}

impl Repo {
    async fn take(world: &World, name: &str) -> Self {
        let mut database = SqliteConnection::connect(world.database()).await.unwrap();
        let mut files = BTreeMap::new();
        for table in ["repo_file", "target_file"] {
            let query = format!("SELECT name, content FROM {table} WHERE repository = $1");
            let rows: Vec<(String, Vec<u8>)> =
                sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(name).fetch_all(&mut database).await.unwrap();
            files.insert(table, rows.into_iter().collect::<BTreeMap<_, _>>());
        }
        database.close().await.unwrap();
        let store = Store::open(world.database()).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let seal = fs::read_to_string(world.data_dir().join("seal.key")).unwrap();
        let mut keys = Vec::new();
        for role in [Role::Snapshot, Role::Timestamp] {
            let row = tx.online_key(name, role).await.unwrap().unwrap();
            keys.push(Arc::new(LocalKey::from_pem(&row.sealed, Some(seal.trim())).unwrap()));
        }
        drop(tx);
        store.close().await;
        Self {
            metadata: files.remove("repo_file").unwrap(),
            targets: files.remove("target_file").unwrap(),
            timestamp_key: keys.pop().unwrap(),
            snapshot_key: keys.pop().unwrap(),
        }
    }
}

/// The file below a directory that has that digest.
fn file_of(dir: &Path, digest: &Digest) -> Vec<u8> {
    let mut dirs: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                dirs.push(entry);
                continue;
            }
            let bytes = fs::read(entry).unwrap();
            if Digest::of(&bytes) == *digest {
                return bytes;
            }
        }
    }
    panic!("no file has the digest {digest}");
}
