//! The signed metadata of a repository, from the pinned root on, and back to the version that lists what was asked for.

use suture_core::approval::path;
use suture_core::digest::Digest;
use suture_core::id::ApprovalId;
use suture_core::limits::{MAX_DESCENT, MAX_ROOT_BYTES};
use suture_core::trust::{Edition, Metadata as _, Proposed, Role, Root, Target, Targets, Verified};

use super::gather::Gathering;
use crate::evidence::repository::place;
use crate::failure::{Exit, Failure, Outcome};
use crate::trust_store::{TrustStore, Which};

/// Takes roots, timestamp, snapshot, targets and delegated roles of one repository, as this home has just verified them.
pub(super) async fn metadata(gathering: &mut Gathering<'_, '_>, which: Which) -> Outcome {
    let home = gathering.context.home.clone();
    let store = TrustStore::of(&home, which);
    let base = match (which, &gathering.approvals) {
        (Which::Approvals, Some(base)) => base.clone(),
        (Which::Approvals, None) => return Ok(()),
        (Which::Catalog, _) => gathering.catalog.clone(),
    };
    let pinned = store.pinned()?;
    let mut last = Verified::<Root>::pinned(&pinned)?;
    gathering.put(place(which, &Role::Root.served_name(last.version())), pinned)?;
    while last.version() < base.root().version() {
        let name = Role::Root.served_name(last.version().saturating_add(1));
        let kept = gathering.kept(&place(which, &name), MAX_ROOT_BYTES)?.filter(|bytes| last.next(bytes).is_ok());
        let bytes = match kept {
            Some(bytes) => bytes,
            None => {
                let bytes = gathering.client.metadata(which, &name, MAX_ROOT_BYTES).await?;
                let missing = || Failure::untrusted(format!("the server has no {name} of the {}", which.as_str()));
                let bytes = bytes.ok_or_else(missing)?;
                gathering.keep(&place(which, &name), &bytes)?;
                bytes
            }
        };
        last = last.next(&bytes)?;
        gathering.put(place(which, &name), bytes)?;
    }
    if last.digest() != base.root().digest() {
        return Err(Failure::untrusted("the server's roots do not lead to the one that this home has verified"));
    }
    let stored = store.stored()?;
    let files = [
        (Role::Timestamp, base.timestamp_version(), stored.timestamp),
        (Role::Snapshot, base.snapshot_version(), stored.snapshot),
        (Role::Targets, base.targets_metadata().version(), stored.targets),
    ];
    for (role, version, bytes) in files {
        let bytes = bytes.ok_or_else(|| {
            Failure::new(format!("this home has no {role} metadata"))
                .next("`suturectl catalog status` and `suturectl approvals status` fetch them")
        })?;
        gathering.put(place(which, &role.served_name(version)), bytes)?;
    }
    if let Which::Catalog = which {
        let delegated = store.delegated(Some(&mut gathering.client), &base).await?;
        for (role, request) in base.delegated() {
            if let Some(bytes) = delegated.get(role) {
                gathering.put(place(which, &request.name), bytes.clone())?;
            }
        }
        gathering.listed = base.listing(&delegated, gathering.about.made).0;
    }
    let (root, targets) = (base.root().version(), base.targets_metadata().version());
    gathering.note(&format!("{}: roots up to {root}, targets {targets}", which.as_str()));
    Ok(())
}

/// The newest version of the approvals' targets metadata that lists an approval, and its head. Versions that lead back to it
/// are taken into the folder: each names the one before it.
pub(super) async fn listing(gathering: &mut Gathering<'_, '_>, id: &ApprovalId) -> Outcome<(Targets, Target)> {
    let path = path::approval(id);
    let missing = || Failure::new("this home trusts no approvals yet").next("`suturectl approvals status`");
    let base = gathering.approvals.clone().ok_or_else(missing)?;
    let newest: &Targets = base.targets_metadata();
    if let Some(target) = newest.target(&path) {
        return Ok((newest.clone(), target.clone()));
    }
    let mut edition = Edition { version: newest.version(), sha256: base.targets_metadata().digest() };
    let mut targets = newest.clone();
    let mut passed: Vec<(String, Vec<u8>)> = Vec::new();
    for _ in 0..MAX_DESCENT {
        let Some(previous) = targets.previous().filter(|_| edition.version > 1) else { break };
        edition = Edition { version: edition.version.saturating_sub(1), sha256: previous };
        let bytes = older(gathering, edition).await?;
        targets = (*Proposed::<Targets>::read(&bytes)?).clone();
        passed.push((place(Which::Approvals, &Role::Targets.served_name(edition.version)), bytes));
        if let Some(target) = targets.target(&path).cloned() {
            for (path, bytes) in passed {
                gathering.put(path, bytes)?;
            }
            return Ok((targets, target));
        }
    }
    Err(Failure::new(format!("no version of the approvals lists {id}, {} of them looked at", passed.len() + 1))
        .next("`suturectl rollout list --all` names what was approved"))
}

/// A version by the digest under which the one after it names it.
async fn older(gathering: &mut Gathering<'_, '_>, edition: Edition) -> Outcome<Vec<u8>> {
    if let Some((_, bytes)) = gathering.walked.get(&edition.version).filter(|(known, _)| *known == edition) {
        return Ok(bytes.clone());
    }
    let name = Role::Targets.served_name(edition.version);
    let path = place(Which::Approvals, &name);
    let is_it = |bytes: &Vec<u8>| Digest::of(bytes) == edition.sha256;
    let bytes = match gathering.kept(&path, Role::Targets.max_bytes())?.filter(is_it) {
        Some(bytes) => bytes,
        None => {
            let bytes = gathering.client.metadata(Which::Approvals, &name, Role::Targets.max_bytes()).await?;
            let bytes = bytes.filter(is_it).ok_or_else(|| {
                Failure::untrusted(format!("the server has not the {name} that the version after it names"))
                    .exit(Exit::Untrusted)
            })?;
            gathering.keep(&path, &bytes)?;
            bytes
        }
    };
    gathering.walked.insert(edition.version, (edition, bytes.clone()));
    Ok(bytes)
}
