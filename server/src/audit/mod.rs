//! The server's record of what was changed: every change appends to it in its own transaction, or does not happen.
//!
//! What is appended is a leaf of a Merkle tree (see [`suture_core::audit`]); what is stored of the tree makes every proof
//! about it a matter of one query, however long the record is ([`log`]). The texts may go one day, the tree stays
//! ([`retention`]). Nobody writes without end (`growth`).

pub(crate) mod growth;
pub mod key;
pub mod log;
pub mod retention;

use jiff::Timestamp;
use serde_json::{Map, Value};
use suture_core::audit::{Concern, Entry, Frontier, Head, Salt};
use suture_core::clock::whole_second;
use suture_core::digest::Digest;
use suture_core::event::{Event, Kind, Observer, What};
use suture_core::limits::{MAX_PERSON_SAID_BYTES, MAX_PERSON_WORDS, MAX_SAID_BYTES};
use suture_core::principal::Principal;

use self::growth::Reserve;
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
    /// The tree that is stored is not that of the last entry.
    #[error(
        "the audit record is damaged: what is stored of its tree does not lead to the head behind entry {0}; restore a backup"
    )]
    Damaged(u64),
    /// Who acts was revoked meanwhile.
    #[error("{actor} was revoked while the call was under way: nothing was changed; ask for a new token")]
    Revoked {
        /// Who.
        actor: String,
    },
    /// Somebody has done too much that day.
    #[error(
        "{writer} has {most} entries of today in the audit record, and the server takes no more: nothing was changed; go on \
         tomorrow (UTC), or let a colleague; was it you? pausing, stopping, revoking and publishing what is newly signed go on"
    )]
    TooMany {
        /// Who, or which organisation.
        writer: String,
        /// The bound.
        most: u64,
    },
    /// A person has said too much that day.
    #[error(
        "{writer} has said {} MiB of assessments and agreements today, and the server takes no more of one person: nothing was \
         changed; go on after 00:00 UTC, or let a colleague; was it you? if not, the certificate is stolen: `suturectl operator \
         revoke`", MAX_PERSON_SAID_BYTES >> 20
    )]
    PersonSaidTooMuch {
        /// Who.
        writer: String,
    },
    /// A person has said too many words of a series that day.
    #[error(
        "{writer} has said {MAX_PERSON_WORDS} decisions and assessments today, and the server takes no more of one person: nothing \
         was changed; go on after 00:00 UTC, or let a colleague; was it you? if not, the certificate is stolen: `suturectl operator \
         revoke`"
    )]
    PersonSaidTooOften {
        /// Who.
        writer: String,
    },
    /// All together have said too many words of a series that day.
    #[error(
        "there are {most} {what} today, and the server takes no more: nothing was changed; go on after 00:00 UTC; was it you and your \
         colleagues? `suturectl audit list` names who"
    )]
    TooManyWords {
        /// Which, and whose.
        what: String,
        /// The bound.
        most: u64,
    },
    /// All persons of an organisation together have said too much that day.
    #[error(
        "{writer} has said {} MiB of assessments and agreements today, and the server takes no more of one organisation: nothing \
         was changed; go on after 00:00 UTC; was it you and your colleagues? `suturectl audit list` names who", MAX_SAID_BYTES >> 20
    )]
    OrganisationSaidTooMuch {
        /// Which organisation.
        writer: String,
    },
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

/// Records that `actor` did `action` (as in `rollout.pause`) to `subject`, for those whom it concerns to read. `detail` is a
/// JSON object. The record is locked from here to the end of the transaction, so call it
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
    append_reserved(tx, now, (actor, Reserve::None), concerns, (action, subject), detail).await
}

/// The same, of what may fall back on a reserve once the day's entries are spent.
pub(crate) async fn append_reserved(
    tx: &mut Tx,
    now: Timestamp,
    (actor, reserve): (&Principal, Reserve),
    concerns: Concern,
    (action, subject): (&str, &str),
    detail: Value,
) -> Result<Head, AuditError> {
    tx.lock(Lock::AuditChain).await?;
    growth::person(tx, (actor, reserve), action, now).await?;
    let head = tx.audit_head().await?;
    let edge = tx.audit_nodes(&Frontier::places(head.size)).await?;
    let mut frontier = Frontier::of(head.size, edge).ok_or(AuditError::Damaged(head.size))?;
    // Building on what is damaged would sign it.
    if frontier.head() != head {
        return Err(AuditError::Damaged(head.size));
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    let at = whole_second(now);
    let entry = Entry {
        kind: Entry::TYPE.to_owned(),
        seq: head.size + 1,
        at,
        actor: actor.to_string(),
        concerns,
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: particulars(detail),
        salt: Salt(salt),
    };
    let payload = entry.to_bytes()?;
    let payload_sha256 = Digest::of(&payload);
    for (place, sha256) in frontier.push(&payload_sha256) {
        tx.insert_audit_node(&place, &sha256).await?;
    }
    if let Some(kind) = Kind::of_action(action) {
        let hdo = match &entry.concerns {
            Concern::Hospital(hdo) => Some(hdo),
            Concern::Everybody | Concern::Manufacturer => None,
        };
        let detail = match kind {
            // That it is overdue is nobody's doing: since when, and what it is, is all there is to say.
            Kind::NoticeOverdue | Kind::ReportOverdue | Kind::AssessmentOverdue | Kind::ReviewOverdue => {
                Value::Object(entry.detail.clone()).to_string()
            }
            _ => format!("{action} by {actor}"),
        };
        let what = What::new(kind, Observer::Server, hdo, subject, &detail);
        tx.put_events(&[Event::once(what, now)]).await?;
    }
    let Head { size: seq, root } = frontier.head();
    let concerns = entry.concerns;
    tx.insert_audit(&AuditRow { seq, at, concerns, payload: Some(payload), payload_sha256, root }).await?;
    Ok(Head { size: seq, root })
}

fn particulars(detail: Value) -> Map<String, Value> {
    match detail {
        Value::Object(map) => map,
        Value::Null => Map::new(),
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

#[cfg(test)]
mod tests;
