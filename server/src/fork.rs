//! The fork alarm: two digests under one version of a repository's targets metadata mean that whoever holds the targets
//! keys, or has stolen them, has signed two contents and shows one to some and one to others.
//!
//! Attack: the thief of the approvals' targets keys, with a server of his own or a grip on the line, shows a device another
//! version than its hospital signed. The device cannot tell; its next word here can. A server that is the attacker's own
//! keeps silent about it, which is why `suturectl` compares for itself as well.
//!
//! Nothing is refused because of it: what a device says can be a lie of its thief's.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use suture_core::audit::Concern;
use suture_core::id::{DeviceId, HdoId};
use suture_core::principal::Principal;
use suture_core::report::{Seen, Sighting};
use suture_core::trust::Role;
use suture_proto::Repository;

use crate::audit::{AuditError, growth};
use crate::store::Tx;
use crate::store::forks::ForkRow;

/// A device that goes to and fro between two histories is written into the record once in this time, so that one that lies
/// cannot fill it: 1 day.
const RECORD_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// Compares what a device has seen with what was published here, and raises or ends the alarm. Call it last in a
/// transaction: it may write to the record.
pub(crate) async fn watch(tx: &mut Tx, sighting: &Sighting, proven: bool, now: Timestamp) -> Result<(), AuditError> {
    let Sighting { kind: _, hdo, device, catalog, approvals, audit: _ } = sighting;
    let approvals_of = Repository::Approvals(hdo.clone());
    for (repository, seen) in [(&Repository::Catalog, catalog), (&approvals_of, approvals)] {
        // Version 0 is what a device that has verified nothing would say.
        if let Some(seen) = seen.as_ref().filter(|s| s.targets > 0) {
            compare(tx, (hdo, device), repository, seen, proven, now).await?;
        }
    }
    Ok(())
}

async fn compare(
    tx: &mut Tx,
    (hdo, device): (&HdoId, &DeviceId),
    repository: &Repository,
    seen: &Seen,
    proven: bool,
    now: Timestamp,
) -> Result<(), AuditError> {
    let name = repository.to_string();
    let head = match i64::try_from(seen.targets) {
        Ok(_) => tx.repo_file_head(&name, &Role::Targets.served_name(seen.targets)).await?,
        // More than was ever published, and more than a column holds.
        Err(_) => return Ok(()),
    };
    let published = head.map(|(sha256, _)| sha256);
    if published == Some(seen.targets_sha256) {
        if tx.heal_fork(hdo, device, &name, &seen.edition(), proven, now).await? {
            tracing::warn!(%hdo, %device, repository = name, "a device is back on what was published here");
        }
        return Ok(());
    }
    let before = tx.fork(hdo, device, &name).await?;
    if before.as_ref().is_some_and(|b| b.proven && b.healed.is_none() && !proven) {
        // What it has signed outweighs what it says now.
        return Ok(());
    }
    let news = before.as_ref().is_none_or(|b| {
        let quiet = now.duration_since(b.last) >= RECORD_EVERY;
        (proven && !b.proven) || (b.healed.is_some() && quiet)
    });
    let row = ForkRow {
        hdo: hdo.clone(),
        device: device.clone(),
        repository: name.clone(),
        version: seen.targets,
        sha256: seen.targets_sha256,
        published,
        proven: proven || before.as_ref().is_some_and(|b| b.proven && b.sha256 == seen.targets_sha256),
        first: before.as_ref().map_or(now, |b| b.first),
        last: now,
        healed: None,
    };
    tx.put_fork(&row).await?;
    if news { record(tx, repository, &row, now).await } else { Ok(()) }
}

async fn record(tx: &mut Tx, repository: &Repository, row: &ForkRow, now: Timestamp) -> Result<(), AuditError> {
    let ForkRow { hdo, device, version, sha256, published, proven, .. } = row;
    let name = repository.to_string();
    tracing::error!(
        %hdo, %device, repository = name, version, device_sha256 = %sha256,
        published_sha256 = published.map(|d| d.to_string()), signed = proven,
        "FORK: a device verified other targets metadata than were published here under that version"
    );
    let detail = json!({
        "repository": name, "version": version, "device_sha256": sha256, "published_sha256": published, "signed": proven,
    });
    let actor = Principal::Server;
    let of = (hdo, device);
    growth::heard(tx, now, of, (&actor, hdo.into()), ("fork.alarm", device.as_str(), detail.clone())).await?;
    if *repository == Repository::Catalog {
        // The manufacturer learns of its catalog, and from which hospital, but of no device.
        growth::heard(tx, now, of, (&actor, Concern::Manufacturer), ("fork.alarm", hdo.as_str(), detail)).await?;
    }
    Ok(())
}
