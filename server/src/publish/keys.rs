//! The server's online keys: one for timestamps and one for snapshots, for each repository, sealed in the database.
//!
//! They say which offline-signed metadata are the newest, and no more. Sealing keeps them out of database dumps: the seal
//! key lies in the data directory.
//!
//! They are replaced in two steps, so that there is no instant at which no root in force names them: the server prepares the
//! next ones ([`prepare_next`]), the repository's owner signs a root that names them, and the publication of that root puts
//! them in the place of the present ones, signs snapshot and timestamp by them, and forgets the old ones, all in one
//! transaction. Clients drop the versions that the old keys signed when they see the new root (TUF 5.3.11), so a thief who
//! drove versions up by them locks nobody out.

use jiff::Timestamp;
use suture_core::audit::Concern;
use suture_core::principal::Principal;
use suture_core::sign::{LocalKey, PublicKey, Signer as _};
use suture_core::trust::{Role, Root};
use suture_proto::Repository;
use zeroize::Zeroizing;

use super::PublishError;
use crate::audit;
use crate::seal;
use crate::store::online_keys::{OnlineKeyRow, Turn};
use crate::store::{Lock, Tx};

/// The roles that the server signs.
const ONLINE: [Role; 2] = [Role::Timestamp, Role::Snapshot];
/// A server that signs a thousand versions a second reaches this one after 34 years (2^40). Files above it are the work of
/// whoever had the old keys and the database, and would leave no number for the owner's; they go when the keys change.
const HIGHEST_HONEST_VERSION: u64 = 1 << 40;

/// The public halves of a repository's online keys, for its owner to name in the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct OnlineKeys {
    /// Signs timestamps.
    pub timestamp: PublicKey,
    /// Signs snapshots.
    pub snapshot: PublicKey,
    /// Will sign timestamps once a published root names it; none where no change is prepared.
    pub next_timestamp: Option<PublicKey>,
    /// Will sign snapshots once a published root names it.
    pub next_snapshot: Option<PublicKey>,
}

/// The online keys of a repository, made when they are first asked for.
pub async fn online_keys(
    tx: &mut Tx,
    repository: &Repository,
    seal: &str,
    actor: &Principal,
    now: Timestamp,
) -> Result<OnlineKeys, PublishError> {
    let name = repository.to_string();
    tx.lock(Lock::Repositories).await?;
    let (timestamp, made_timestamp) = find_or_make(tx, &name, Role::Timestamp, Turn::Present, seal, now).await?;
    let (snapshot, made_snapshot) = find_or_make(tx, &name, Role::Snapshot, Turn::Present, seal, now).await?;
    if made_timestamp || made_snapshot {
        let detail = serde_json::json!({ "timestamp": timestamp, "snapshot": snapshot });
        audit::append(tx, now, actor, concern(repository), "repository.keys", &name, detail).await?;
    }
    let next_timestamp = tx.online_key_of(&name, Role::Timestamp, Turn::Next).await?.map(|row| row.public);
    let next_snapshot = tx.online_key_of(&name, Role::Snapshot, Turn::Next).await?.map(|row| row.public);
    Ok(OnlineKeys { timestamp, snapshot, next_timestamp, next_snapshot })
}

/// Makes the keys that will take the place of the present ones, where they are not made already; with `again` in any case:
/// those that were prepared before are forgotten, and a root that names them is refused from then on.
pub async fn prepare_next(
    tx: &mut Tx,
    repository: &Repository,
    seal: &str,
    again: bool,
    actor: &Principal,
    now: Timestamp,
) -> Result<OnlineKeys, PublishError> {
    let name = repository.to_string();
    tx.lock(Lock::Repositories).await?;
    let mut made = false;
    for role in ONLINE {
        if again {
            tx.remove_online_key(&name, role, Turn::Next).await?;
        }
        made |= find_or_make(tx, &name, role, Turn::Next, seal, now).await?.1;
    }
    let keys = online_keys(tx, repository, seal, actor, now).await?;
    if made {
        let detail = serde_json::json!({ "next_timestamp": keys.next_timestamp, "next_snapshot": keys.next_snapshot });
        audit::append(tx, now, actor, concern(repository), "repository.keys", &name, detail).await?;
    }
    Ok(keys)
}

/// Whom a repository concerns.
pub(super) fn concern(repository: &Repository) -> Concern {
    match repository {
        Repository::Catalog => Concern::Everybody,
        Repository::Approvals(hdo) => hdo.into(),
    }
}

/// The online keys, ready to sign.
pub(super) struct Signers {
    pub(super) timestamp: LocalKey,
    pub(super) snapshot: LocalKey,
}

impl Signers {
    /// Opens the keys that a root names. Where it names a key that was prepared to be the next, that is the present one from
    /// here on, and the one before it is gone: in the caller's transaction, which must publish the root or has published it.
    pub(super) async fn named_by(root: &Root, tx: &mut Tx, repository: &str, seal: &str) -> Result<Self, PublishError> {
        let mut changed = false;
        for role in ONLINE {
            // With another key, or a second one, nothing that this server assembles would be believed.
            let authority = root.authority(role);
            let named = |row: &OnlineKeyRow| authority.threshold() == 1 && authority.keys().any(|k| *k == row.public);
            if tx.online_key(repository, role).await?.as_ref().is_some_and(named) {
                continue;
            }
            if !tx.online_key_of(repository, role, Turn::Next).await?.as_ref().is_some_and(named) {
                return Err(PublishError::ForeignKeys { role });
            }
            tx.promote_online_key(repository, role).await?;
            changed = true;
        }
        if changed {
            for role in ONLINE {
                tx.remove_repo_files_above(repository, role, HIGHEST_HONEST_VERSION).await?;
            }
        }
        Ok(Self {
            timestamp: open(tx, repository, Role::Timestamp, seal).await?,
            snapshot: open(tx, repository, Role::Snapshot, seal).await?,
        })
    }
}

async fn find_or_make(
    tx: &mut Tx,
    repository: &str,
    role: Role,
    turn: Turn,
    seal: &str,
    now: Timestamp,
) -> Result<(PublicKey, bool), PublishError> {
    if let Some(row) = tx.online_key_of(repository, role, turn).await? {
        return Ok((row.public, false));
    }
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed)?;
    let key = LocalKey::from_seed(&seed);
    let sealed = seal::close(&key, seal).map_err(|_| PublishError::Sealing)?;
    tx.insert_online_key(repository, role, turn, &OnlineKeyRow { public: key.public(), sealed }, now).await?;
    Ok((key.public(), true))
}

async fn open(tx: &mut Tx, repository: &str, role: Role, seal: &str) -> Result<LocalKey, PublishError> {
    let row = tx.online_key(repository, role).await?.ok_or(PublishError::ForeignKeys { role })?;
    seal::open(&row.sealed, &row.public, seal).map_err(|_| PublishError::Seal { role })
}
