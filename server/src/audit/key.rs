//! The key that signs the audit record's checkpoints, and nothing else.
//!
//! It is made with the server and sealed in the database, as the online keys are. Whoever knows the record knows it by this
//! key; another takes its place only by a note that it has signed itself, which stands in the record too. Its private half is
//! gone then: a thief who comes later signs nothing with it.

use jiff::Timestamp;
use serde_json::json;
use suture_core::audit::{Concern, KeyChange, LogKey};
use suture_core::id::TrustDomain;
use suture_core::limits::MAX_KEY_CHANGES;
use suture_core::principal::Principal;
use suture_core::sign::{LocalKey, SignError, Signer as _};
use zeroize::Zeroizing;

use super::{AuditError, append};
use crate::seal::{self, SealError};
use crate::store::audit_keys::AuditKeyRow;
use crate::store::{Lock, StoreError, Tx};

/// Why there is no key, or no other.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The database.
    #[error("the audit record's keys could not be read or written")]
    Store(#[from] StoreError),
    /// The change could not be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// It cannot be sealed or opened.
    #[error("the audit record's key cannot be used")]
    Seal(#[from] SealError),
    /// It does not sign.
    #[error("the audit record's key does not sign")]
    Sign(#[from] SignError),
    /// There is none.
    #[error("the audit record has no key in this database; restore the backup that has it")]
    Missing,
    /// It was changed too often.
    #[error("the audit record's key was changed {MAX_KEY_CHANGES} times, and more changes nobody would follow")]
    Worn,
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

/// Makes the record's first key, where there is none yet. Gives the one in force.
///
/// # Errors
///
/// The database, or no randomness.
pub async fn ensure(tx: &mut Tx, origin: &TrustDomain, seal: &str, now: Timestamp) -> Result<LogKey, KeyError> {
    // A server that starts anew waits for nobody who writes.
    if let Some(newest) = tx.audit_keys().await?.pop() {
        return Ok(LogKey { origin: origin.clone(), key: newest.public });
    }
    tx.lock(Lock::AuditChain).await?;
    // Another may have made it meanwhile.
    if let Some(newest) = tx.audit_keys().await?.pop() {
        return Ok(LogKey { origin: origin.clone(), key: newest.public });
    }
    let key = fresh()?;
    let row = AuditKeyRow { number: 1, public: key.public(), sealed: Some(seal::close(&key, seal)?), change: None };
    tx.put_audit_key(&row, now).await?;
    let named = LogKey { origin: origin.clone(), key: key.public() };
    let detail = json!({ "key": named });
    append(tx, now, &Principal::Server, Concern::Everybody, "audit.key", origin.as_str(), detail).await?;
    Ok(named)
}

/// Puts another key in the place of the present one, which signs that.
///
/// # Errors
///
/// There is none, it cannot be opened, or the database.
pub async fn rotate(tx: &mut Tx, origin: &TrustDomain, seal: &str, now: Timestamp) -> Result<KeyChange, KeyError> {
    tx.lock(Lock::AuditChain).await?;
    let (number, old) = newest(tx, seal).await?;
    if number >= MAX_KEY_CHANGES as u64 {
        return Err(KeyError::Worn);
    }
    let key = fresh()?;
    let next = LogKey { origin: origin.clone(), key: key.public() };
    let change = KeyChange::sign(next.clone(), &old)?;
    let row = AuditKeyRow {
        number: number + 1,
        public: key.public(),
        sealed: Some(seal::close(&key, seal)?),
        change: Some(change.note().to_owned()),
    };
    tx.put_audit_key(&row, now).await?;
    let before = LogKey { origin: origin.clone(), key: old.public() };
    let detail = json!({ "before": before, "key": next, "change": change.note() });
    append(tx, now, &Principal::Server, Concern::Everybody, "audit.key", origin.as_str(), detail).await?;
    Ok(change)
}

/// The key in force, opened, and its number.
pub(crate) async fn newest(tx: &mut Tx, seal: &str) -> Result<(u64, LocalKey), KeyError> {
    let newest = tx.audit_keys().await?.pop().ok_or(KeyError::Missing)?;
    let key = seal::open(newest.sealed.as_deref().ok_or(KeyError::Missing)?, &newest.public, seal)?;
    Ok((newest.number, key))
}

fn fresh() -> Result<LocalKey, getrandom::Error> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed)?;
    Ok(LocalKey::from_seed(&seed))
}
