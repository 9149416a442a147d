//! How long the record's texts are kept.
//!
//! By default for ever. Whoever runs the server may delete the texts of entries that are older than a date: their digests
//! and the tree stay, so that the record verifies as before, and a text that somebody has kept is still proven to have stood
//! in it. That texts were deleted is an entry itself, written before the first of them goes. Below
//! [`MIN_AUDIT_KEPT_SECS`] nothing is deleted.

use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use suture_core::audit::{Concern, KeyChange, LogKey};
use suture_core::clock::format_utc;
use suture_core::limits::MIN_AUDIT_KEPT_SECS;
use suture_core::principal::Principal;

use super::key::{self, KeyError};
use super::{AuditError, append};
use crate::app::{AppError, read_seal};
use crate::config::Settings;
use crate::init::SEAL_FILE;
use crate::store::{Store, StoreError};

/// Entries whose texts are deleted in one transaction.
const BATCH: u64 = 10_000;

/// Why nothing was done to the record.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// Too young.
    #[error("audit entries are kept for {} days at least; the latest date that may be given today is {latest}", MIN_AUDIT_KEPT_SECS / 86_400)]
    TooYoung {
        /// What may be given.
        latest: Date,
    },
    /// A date at the end of time.
    #[error("{0} is no date that this command can use")]
    Date(Date),
    /// The seal key.
    #[error("the seal key cannot be used")]
    Seal(#[from] AppError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The record.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The database.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
}

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Pruned {
    /// How many texts.
    pub entries: u64,
    /// The first entry without a text now; 0 where there was nothing to delete.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// Deletes the texts of all entries that were written before that day (UTC). A server may be running; cut off, it is run again.
///
/// # Errors
///
/// The date is too late, or the database.
pub async fn prune(store: &Store, before: Date, now: Timestamp) -> Result<Pruned, RetentionError> {
    let midnight = before.to_datetime(Time::midnight());
    let instant = Offset::UTC.to_timestamp(midnight).map_err(|_| RetentionError::Date(before))?;
    let oldest = now.saturating_sub(SignedDuration::from_secs(MIN_AUDIT_KEPT_SECS)).unwrap_or(Timestamp::MIN);
    if instant > oldest {
        return Err(RetentionError::TooYoung { latest: Offset::UTC.to_datetime(oldest).date() });
    }
    let mut tx = store.begin().await?;
    let Some((first, last, entries)) = tx.audit_kept_before(instant).await? else { return Ok(Pruned::default()) };
    let detail = json!({ "before": format_utc(instant), "first": first, "last": last, "entries": entries });
    append(&mut tx, now, &Principal::Server, Concern::Everybody, "audit.pruned", "server", detail).await?;
    tx.commit().await?;
    let mut pruned = Pruned { entries: 0, first, last };
    let mut from = first;
    while from <= last {
        let to = last.min(from.saturating_add(BATCH - 1));
        let mut tx = store.begin().await?;
        pruned.entries += tx.prune_audit((from, to), instant).await?;
        tx.commit().await?;
        from = to.saturating_add(1);
    }
    Ok(pruned)
}

/// [`prune`] in the database that the settings name.
///
/// # Errors
///
/// As there.
pub async fn prune_configured(settings: &Settings, before: Date, now: Timestamp) -> Result<Pruned, RetentionError> {
    let store = Store::open(settings.database.url()).await?;
    let pruned = prune(&store, before, now).await;
    store.close().await;
    pruned
}

/// The record's key; with `rotate` another one, which the present one signs. A server may be running.
///
/// # Errors
///
/// The seal key, or the database.
pub async fn key(settings: &Settings, rotate: bool, now: Timestamp) -> Result<LogKey, RetentionError> {
    let seal = read_seal(&settings.data_dir.join(SEAL_FILE))?;
    let store = Store::open(settings.database.url()).await?;
    let mut tx = store.begin().await?;
    let mut named = key::ensure(&mut tx, &settings.trust_domain, &seal, now).await?;
    if rotate {
        named = KeyChange::next(&key::rotate(&mut tx, &settings.trust_domain, &seal, now).await?).clone();
    }
    tx.commit().await?;
    store.close().await;
    Ok(named)
}
