//! The server's record of what was changed: every change appends to it in its own transaction, or does not happen.

use jiff::Timestamp;
use serde_json::{Map, Value};
use suture_core::audit::{Concern, Entry, Head, Salt};
use suture_core::clock::whole_second;
use suture_core::digest::Digest;
use suture_core::principal::Principal;

use crate::store::audit::AuditRow;
use crate::store::{Lock, StoreError, Tx};

/// Why a change could not be recorded, and therefore must not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The database failed.
    #[error("the audit trail's rows failed")]
    Store(#[from] StoreError),
    /// The entry has no bytes.
    #[error("the audit entry could not be written")]
    Entry(#[from] suture_core::audit::AuditError),
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

/// Records that `actor` did `action` (as in `rollout.pause`) to `subject`, for those whom it concerns to read. `detail` is a
/// JSON object. The chain is locked from here to the end of the transaction, so call it
/// last.
pub async fn append(
    tx: &mut Tx,
    now: Timestamp,
    actor: &Principal,
    concerns: Concern,
    action: &str,
    subject: &str,
    detail: Value,
) -> Result<Head, AuditError> {
    tx.lock(Lock::AuditChain).await?;
    let head = match tx.audit_head().await? {
        Some(row) => Head { seq: row.seq, sha256: row.sha256 },
        None => Head::START,
    };
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    let entry = Entry {
        kind: Entry::TYPE.to_owned(),
        seq: head.seq + 1,
        at: whole_second(now),
        actor: actor.to_string(),
        concerns,
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: particulars(detail),
        salt: Salt(salt),
    };
    let payload = entry.to_bytes()?;
    let next = head.then(&Digest::of(&payload));
    tx.insert_audit(&AuditRow { seq: next.seq, concerns: entry.concerns, payload, sha256: next.sha256 }).await?;
    Ok(next)
}

fn particulars(detail: Value) -> Map<String, Value> {
    match detail {
        Value::Object(map) => map,
        Value::Null => Map::new(),
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}
