//! Keeps snapshots and timestamps from expiring: what nobody changes is still the newest.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use suture_core::audit::Concern;
use suture_core::principal::Principal;
use suture_core::trust::edit::ONLINE_LIFETIME;
use suture_core::trust::{
    Delegated, Delegations, Refresh, Role, Snapshot, Targets, Timestamp as Stamp, TrustError, Verified,
};
use suture_proto::Repository;
use tokio_util::sync::CancellationToken;

use super::keys::{Signers, concern};
use super::{PublishError, assemble, delegations, put_timestamp};
use crate::app::App;
use crate::audit;
use crate::store::{Lock, Store, StoreError, Tx};

/// A timestamp that has less than 6 of its 7 days left is signed anew: daily, so that a server that stands still for
/// days harms nobody.
const TIMESTAMP_LEFT: SignedDuration = SignedDuration::from_hours(6 * 24);
/// A snapshot that has less than 3 of its 7 days left is signed anew. Rarer, because every device then fetches it.
const SNAPSHOT_LEFT: SignedDuration = SignedDuration::from_hours(3 * 24);
/// What is signed to hold for longer than it may, and so much, was signed by a clock that was ahead: of replicas too one may be a
/// little.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);
/// How often the server looks.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

/// Signs anew what nears its expiry, hourly until `shutdown`; the first look is the caller's.
pub async fn keep_fresh(app: Arc<App>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        look(&app).await;
    }
}

/// Signs anew what nears its expiry. Done before the first connection is taken, so that nobody meets a server that was
/// down for a week with what it signed a week ago.
pub async fn look(app: &App) {
    match resign(app.store(), app.seal(), app.now()).await {
        Ok(0) => {}
        Ok(_) => app.news().tell(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "repositories could not be looked at")
        }
    }
}

/// Signs anew what nears its expiry at `now`, each repository in a transaction of its own; says how many were. One that
/// fails is logged and keeps none of the others waiting.
pub async fn resign(store: &Store, seal: &str, now: Timestamp) -> Result<usize, StoreError> {
    let mut tx = store.read().await?;
    let names = tx.repositories().await?;
    drop(tx);
    let mut count = 0;
    for name in names {
        match one(store, &name, seal, now).await {
            Ok(true) => count += 1,
            Ok(false) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(repository = name, error, "a repository could not be signed anew and will expire");
            }
        }
    }
    Ok(count)
}

async fn one(store: &Store, name: &str, seal: &str, now: Timestamp) -> Result<bool, PublishError> {
    let mut tx = store.begin().await?;
    // Replicas wait here for one another and then find that nothing is left to do, so no version is signed twice.
    tx.lock(Lock::Repositories).await?;
    let root = Verified::pinned(&newest(&mut tx, name, Role::Root).await?)?;
    let stamp: Verified<Stamp> = Verified::by(&root, &newest(&mut tx, name, Role::Timestamp).await?)?;
    let snapshot: Verified<Snapshot> = Verified::by(&root, &newest(&mut tx, name, Role::Snapshot).await?)?;
    let ends_within = |expires: Timestamp, left| now.checked_add(left).is_ok_and(|then| then > expires);
    // Accident: a clock that was ahead. Whoever keeps what was signed by it could hand it out for as long instead of what is new.
    let too_late = now.checked_add(ONLINE_LIFETIME).and_then(|end| end.checked_add(CLOCKS_DIFFER));
    let too_late = too_late.unwrap_or(Timestamp::MAX);
    let was_ahead = snapshot.expires().max(stamp.expires()) > too_late;
    if was_ahead {
        tracing::error!(
            repository = name,
            until = %snapshot.expires().max(stamp.expires()),
            "this server's clock was ahead when it signed what is in force; it is signed anew, look at the clock"
        );
    }
    let snapshot_due = snapshot.expires() > too_late || ends_within(snapshot.expires(), SNAPSHOT_LEFT);
    if !snapshot_due && !was_ahead && !ends_within(stamp.expires(), TIMESTAMP_LEFT) {
        return Ok(false);
    }
    let signers = Signers::named_by(&root, &mut tx, name, seal).await?;
    if snapshot_due {
        let targets: Verified<Targets> = Verified::by(&root, &newest(&mut tx, name, Role::Targets).await?)?;
        // Targets that nobody signed in time are kept in reach: without a fresh snapshot and timestamp, not even their
        // owner could sign them again.
        let stored = assemble(&mut tx, name, &root, &targets, &Delegated::new(), &signers, now).await?;
        let delegations = parse(name).as_ref().map_or(Delegations::Refused, delegations);
        Refresh::start_base(stored, now)?.delegations(delegations).offline()?.finish_base()?;
    } else {
        put_timestamp(&mut tx, name, &snapshot, &signers, now).await?;
    }
    let repository = parse(name);
    let detail = serde_json::json!({ "snapshot": snapshot_due });
    let concerns = repository.as_ref().map_or(Concern::Manufacturer, concern);
    audit::append(&mut tx, now, &Principal::Server, concerns, "repository.resign", name, detail).await?;
    tx.commit().await?;
    Ok(true)
}

pub(super) fn parse(name: &str) -> Option<Repository> {
    match name.strip_prefix("approvals/") {
        Some(hdo) => hdo.parse().ok().map(Repository::Approvals),
        None => Some(Repository::Catalog),
    }
}

async fn newest(tx: &mut Tx, name: &str, role: Role) -> Result<Vec<u8>, PublishError> {
    let file = tx.newest_repo_file(name, role).await?;
    Ok(file.ok_or_else(|| TrustError::Missing(role.file_name().to_owned()))?.content)
}
