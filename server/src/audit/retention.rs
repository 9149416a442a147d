//! How long the record's texts are kept.
//!
//! By default for ever. Whoever runs the server may delete the texts of entries that are older than a date, by a command
//! ([`prune`]) or by its configuration ([`Kept`], which one server of all applies): their digests and the tree stay, so that the
//! record verifies as before, and a text that somebody has kept is still proven to have stood in it. That texts were deleted
//! is an entry itself, written in the transaction in which they go. Below [`MIN_AUDIT_KEPT_SECS`] nothing is deleted.
//!
//! Attack: a clock that is set years ahead, or is so by a fault, by which everything is old within a moment; what is deleted
//! then no clock brings back. So a configuration is applied only where the record itself has lived through the days before: a
//! server writes to it nearly daily (`LIVED`).
//!
//! Attack: whoever sets the clock, as over the network, and sets it on by a day each hour, so that the record has lived through as
//! many days within as many hours. So the clock is held against one that nobody sets (`Passed`): where it has leapt ahead, it is
//! doubted until servers have run for as many days by that, also past a restart.

use std::sync::Arc;
use std::time::Instant;

use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde::Serialize;
use serde_json::json;
use suture_core::audit::{Concern, KeyChange, LogKey};
use suture_core::clock::{day_of, format_utc};
use suture_core::limits::MIN_AUDIT_KEPT_SECS;
use suture_core::principal::Principal;
use tokio_util::sync::CancellationToken;

use super::key::{self, KeyError};
use super::{AuditError, append};
use crate::app::{App, AppError, read_seal};
use crate::config::Settings;
use crate::events::Turn;
use crate::init::SEAL_FILE;
use crate::store::{Store, StoreError};

/// Entries whose texts are deleted in one transaction.
const BATCH: u64 = 10_000;
/// How often it is looked whether something is older than the configuration has it.
pub(crate) const LOOK: SignedDuration = SignedDuration::from_hours(1);
/// How long the record must have been written to by the same clock before a configuration is applied: on so many days …
const LIVED: u64 = 7;
/// … of the last.
const LIVED_OF: SignedDuration = SignedDuration::from_hours(31 * 24);
/// How much further than time the clock of the day may go from one look to the next: an hour. Where it does not, years pass by it in
/// half as many at least.
const LEAP: SignedDuration = SignedDuration::from_hours(1);
/// For how long it is doubted where it went further: 7 days.
const DOUBTED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The most that a configuration says, in years and in days: two centuries.
const MAX_KEPT: (i64, i64) = (200, 73_000);

/// How long texts are kept, as a configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// For ever.
    Forever,
    /// For so many years.
    Years(i64),
    /// For so many days.
    Days(i64),
}

impl Kept {
    /// Reads `forever`, `3y` or `800d`; none below the least.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "forever" {
            return Some(Self::Forever);
        }
        let number = |digits: &str| digits.parse::<u32>().ok().map(i64::from);
        let (kept, days) = match (text.strip_suffix('y'), text.strip_suffix('d')) {
            (Some(years), _) => number(years).filter(|n| *n <= MAX_KEPT.0).map(|n| (Self::Years(n), n * 365))?,
            (_, Some(days)) => number(days).filter(|n| *n <= MAX_KEPT.1).map(|n| (Self::Days(n), n))?,
            (None, None) => return None,
        };
        (days * 86_400 >= MIN_AUDIT_KEPT_SECS).then_some(kept)
    }

    /// The first day whose entries keep their texts; none where all do. It is the first of a month, so that there is
    /// something to delete once a month, and one entry that says so.
    fn before(self, now: Timestamp) -> Option<Date> {
        let kept = match self {
            Self::Forever => return None,
            Self::Years(years) => years.years(),
            Self::Days(days) => days.days(),
        };
        day_of(now).checked_sub(kept).ok().map(Date::first_of_month)
    }
}

/// Why nothing was done to the record.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// Too young.
    #[error("audit entries are kept for {} days at least; the latest date that may be given today is {latest}", MIN_AUDIT_KEPT_SECS / 86_400)]
    TooYoung {
        /// What may be given.
        latest: Date,
    },
    /// The clock may have leapt.
    #[error(
        "texts of the audit record are due to be deleted, and it was written to on {0} of the last 31 days: on fewer than {LIVED} \
         the clock is not believed; is it right? if so, wait, or run `suture-server audit prune`"
    )]
    Leapt(u64),
    /// The clock has leapt while servers ran.
    #[error(
        "texts of the audit record are due to be deleted, and the clock has leapt ahead, or the machine was suspended: the clock is believed again once servers have run for \
         {} hours more; is it right? if so, wait, or run `suture-server audit prune`; if not, set it right", .0.as_hours() + 1
    )]
    Doubted(SignedDuration),
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
    let instant = midnight(before)?;
    let oldest = now.saturating_sub(SignedDuration::from_secs(MIN_AUDIT_KEPT_SECS)).unwrap_or(Timestamp::MIN);
    if instant > oldest {
        return Err(RetentionError::TooYoung { latest: Offset::UTC.to_datetime(oldest).date() });
    }
    in_steps(store, instant, BATCH, now).await
}

fn midnight(of: Date) -> Result<Timestamp, RetentionError> {
    Offset::UTC.to_timestamp(of.to_datetime(Time::midnight())).map_err(|_| RetentionError::Date(of))
}

/// The same in steps of so many entries, each with an entry that says what it has deleted.
pub(super) async fn in_steps(
    store: &Store,
    before: Timestamp,
    batch: u64,
    now: Timestamp,
) -> Result<Pruned, RetentionError> {
    let Some((first, last)) = store.read().await?.audit_kept_before(before).await? else {
        return Ok(Pruned::default());
    };
    let mut pruned = Pruned { entries: 0, first, last };
    let mut from = first;
    while from <= last {
        let to = last.min(from.saturating_add(batch.saturating_sub(1)));
        let mut tx = store.begin().await?;
        let entries = tx.prune_audit((from, to), before).await?;
        if entries > 0 {
            let detail = json!({ "before": format_utc(before), "first": from, "last": to, "entries": entries });
            append(&mut tx, now, &Principal::Server, Concern::Everybody, "audit.pruned", "server", detail).await?;
            tx.commit().await?;
        }
        pruned.entries += entries;
        from = to.saturating_add(1);
    }
    Ok(pruned)
}

/// What has passed from one look to the next: by the clock of the day, and by one that nobody sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub(super) told: SignedDuration,
    pub(super) lived: SignedDuration,
}

impl Passed {
    /// How long the clock is doubted, where it was doubted for so long before.
    fn doubt(self, before: SignedDuration) -> SignedDuration {
        if self.told.saturating_sub(self.lived) > LEAP {
            return DOUBTED;
        }
        before.saturating_sub(self.lived).max(SignedDuration::ZERO)
    }
}

/// Looks whether the clock has leapt, and writes down for how long it is doubted.
pub(super) async fn doubted(store: &Store, is_ours: bool, passed: Passed) -> Result<SignedDuration, RetentionError> {
    let mut tx = store.begin().await?;
    let before = tx.clock_doubt().await?;
    let doubt = passed.doubt(before);
    // What has passed counts once, at the one server that looks for all.
    if doubt > before || (is_ours && doubt < before) {
        tx.set_clock_doubt(before, doubt).await?;
    }
    tx.commit().await?;
    Ok(doubt)
}

/// Where this server is to, deletes what is older than a configuration has it.
pub(super) async fn look(
    store: &Store,
    (kept, is_ours): (Kept, bool),
    doubt: SignedDuration,
    now: Timestamp,
) -> Result<Pruned, RetentionError> {
    match kept.before(now) {
        Some(before) if is_ours && doubt.is_positive() => {
            let is_due = store.read().await?.audit_kept_before(midnight(before)?).await?.is_some();
            if is_due { Err(RetentionError::Doubted(doubt)) } else { Ok(Pruned::default()) }
        }
        Some(_) if is_ours => apply(store, kept, now).await,
        _ => Ok(Pruned::default()),
    }
}

/// Deletes what is older than a configuration has it.
pub(super) async fn apply(store: &Store, kept: Kept, now: Timestamp) -> Result<Pruned, RetentionError> {
    let Some(before) = kept.before(now) else { return Ok(Pruned::default()) };
    let mut tx = store.read().await?;
    if tx.audit_kept_before(midnight(before)?).await?.is_none() {
        return Ok(Pruned::default());
    }
    let days = tx.audit_days(now.saturating_sub(LIVED_OF).unwrap_or(Timestamp::MIN), now).await?;
    drop(tx);
    if days < LIVED { Err(RetentionError::Leapt(days)) } else { prune(store, before, now).await }
}

/// Does so until the server stops, where the configuration says that texts are not kept for ever.
pub(crate) async fn keep(app: Arc<App>, turn: Turn, shutdown: CancellationToken) {
    let kept = app.settings().audit_retention;
    let (mut told, mut at) = (app.now(), Instant::now());
    while kept != Kept::Forever && shutdown.run_until_cancelled(tokio::time::sleep(LOOK.unsigned_abs())).await.is_some()
    {
        let (now, here) = (app.now(), Instant::now());
        let lived = SignedDuration::try_from(here.duration_since(at)).unwrap_or(SignedDuration::ZERO);
        let passed = Passed { told: now.duration_since(told), lived };
        let counted = async {
            let is_ours = turn.is_ours(now).await?;
            doubted(app.store(), is_ours, passed).await.map(|doubt| (is_ours, doubt))
        };
        let looked = match counted.await {
            Ok((is_ours, doubt)) => {
                (told, at) = (now, here);
                look(app.store(), (kept, is_ours), doubt, now).await
            }
            // A leap that the database could not be told of is told of the next time.
            Err(error) => Err(error),
        };
        match looked {
            Ok(Pruned { entries: 0, .. }) => {}
            Ok(Pruned { entries, first, last }) => {
                tracing::info!(
                    entries,
                    first,
                    last,
                    "texts of the audit record were deleted, as audit_retention has it"
                );
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the audit record's old texts were not deleted"
                );
            }
        }
    }
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
