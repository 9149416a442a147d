//! The server's online keys: one for timestamps and one for snapshots, for each repository, sealed in the database.
//!
//! They say which offline-signed metadata are the newest, and no more. Sealing keeps them out of database dumps: the seal
//! key lies in the data directory.

use jiff::Timestamp;
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::pkcs5::scrypt;
use pkcs8::{LineEnding, PrivateKeyInfoRef, SecretDocument};
use suture_core::audit::Concern;
use suture_core::principal::Principal;
use suture_core::sign::{LocalKey, PublicKey, Signer as _};
use suture_core::trust::Role;
use suture_proto::Repository;
use zeroize::Zeroizing;

use super::PublishError;
use crate::audit;
use crate::store::repository::OnlineKeyRow;
use crate::store::{Lock, Tx};

/// The public halves of a repository's online keys, for its owner to name in the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnlineKeys {
    /// Signs timestamps.
    pub timestamp: PublicKey,
    /// Signs snapshots.
    pub snapshot: PublicKey,
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
    let (timestamp, made_timestamp) = find_or_make(tx, &name, Role::Timestamp, seal, now).await?;
    let (snapshot, made_snapshot) = find_or_make(tx, &name, Role::Snapshot, seal, now).await?;
    if made_timestamp || made_snapshot {
        let detail = serde_json::json!({ "timestamp": timestamp, "snapshot": snapshot });
        audit::append(tx, now, actor, concern(repository), "repository.keys", &name, detail).await?;
    }
    Ok(OnlineKeys { timestamp, snapshot })
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
    /// Opens the keys of a repository.
    pub(super) async fn open(tx: &mut Tx, repository: &str, seal: &str) -> Result<Self, PublishError> {
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
    seal: &str,
    now: Timestamp,
) -> Result<(PublicKey, bool), PublishError> {
    if let Some(row) = tx.online_key(repository, role).await? {
        return Ok((row.public, false));
    }
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed)?;
    let key = LocalKey::from_seed(&seed);
    let sealed = sealed(&key, seal)?;
    tx.insert_online_key(repository, role, &OnlineKeyRow { public: key.public(), sealed }, now).await?;
    Ok((key.public(), true))
}

async fn open(tx: &mut Tx, repository: &str, role: Role, seal: &str) -> Result<LocalKey, PublishError> {
    let row = tx.online_key(repository, role).await?.ok_or(PublishError::ForeignKeys { role })?;
    let key = LocalKey::from_pem(&row.sealed, Some(seal)).map_err(|_| PublishError::Seal { role })?;
    if key.public() == row.public { Ok(key) } else { Err(PublishError::Seal { role }) }
}

/// PKCS#8 PEM under PBES2 with AES-256-GCM. The seal key is 256 random bits, so stretching it by scrypt gains nothing and
/// costs time under the database's lock: the least parameters that scrypt is commonly run with.
fn sealed(key: &LocalKey, seal: &str) -> Result<String, PublishError> {
    let failed = || PublishError::Sealing;
    let (mut salt, mut nonce) = ([0; 16], [0; 12]);
    getrandom::fill(&mut salt)?;
    getrandom::fill(&mut nonce)?;
    let plain = key.to_pem(None).map_err(|_| failed())?;
    let (_, document) = SecretDocument::from_pem(&plain).map_err(|_| failed())?;
    let info = PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| failed())?;
    let stretch = scrypt::Params::new(10, 8, 1).map_err(|_| failed())?;
    let parameters = Parameters::scrypt_aes256gcm(stretch, &salt, nonce).map_err(|_| failed())?;
    let encrypted = info.encrypt_with_params(parameters, seal).map_err(|_| failed())?;
    let pem = encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).map_err(|_| failed())?;
    Ok(pem.to_string())
}
