//! Puts offline-signed metadata in force, with everything that they list, or not at all.
//!
//! The server verifies what it is given as every client will, so that a mistake is refused where its maker can see it. It
//! adds snapshot and timestamp by its online keys; those say what is newest, and are no authority over anything else.

mod keys;
mod resign;
mod rotation;
#[cfg(test)]
mod tests;
pub(crate) mod turns;

use std::collections::BTreeMap;

use jiff::Timestamp;
use suture_core::approval::path::Listed;
use suture_core::exposure::vex_at;
use suture_core::life;
use suture_core::limits::{MAX_PUBLISHED_BYTES, MAX_ROOT_STEPS};
use suture_core::principal::Principal;
use suture_core::trust::edit::{self, ONLINE_LIFETIME};
use suture_core::trust::{
    self, Delegated, Delegations, Publication, Refresh, Role, Root, Stored, Target, Targets, TrustError, Verified,
    delegated_name, verify_delegating,
};
use suture_proto::Repository;

pub use keys::{OnlineKeys, online_keys, prepare_next};
pub use resign::{keep_fresh, look, resign};
pub use rotation::{Held, RotationError, list, rotate};

use crate::audit::growth::Reserve;
use crate::audit::{self, AuditError};
use crate::store::repository::Readers;
use crate::store::{Lock, StoreError, Tx};
use keys::Signers;

const DAY_SECS: i64 = 86_400;

/// What a publisher sends.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// New roots in ascending order; mostly none.
    pub roots: Vec<Vec<u8>>,
    /// New targets metadata; none where only roots are published.
    pub targets: Option<Vec<u8>>,
    /// New metadata of delegated roles, by name. Only the catalog has any.
    pub delegated: Delegated<Vec<u8>>,
    /// Target files, by path, that the new targets metadata list and the server may lack.
    pub files: Vec<(String, Vec<u8>)>,
}

/// What is in force after a publication.
#[derive(Debug, Clone)]
pub struct Published {
    /// The root.
    pub root: Verified<Root>,
    /// The targets metadata.
    pub targets: Verified<Targets>,
    /// All that the repository lists, itself and through delegated roles, as every reader finds it now.
    pub listed: BTreeMap<String, Target>,
    /// Files that were sent along and that the targets metadata do not list: a document that they list must pin each.
    /// None for the catalog, whose files are all listed.
    pub unlisted: Vec<(String, Vec<u8>)>,
    /// Version of the root.
    pub root_version: u64,
    /// Version of the targets metadata.
    pub targets_version: u64,
    /// Version of the snapshot.
    pub snapshot_version: u64,
    /// Version of the timestamp.
    pub timestamp_version: u64,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The metadata were refused as a client would refuse them, their version exists, or their base has moved.
    #[error("the metadata were refused")]
    Trust(#[from] TrustError),
    /// The root does not let this server's key alone sign for an online role.
    #[error(
        "the root does not name this server's {role} key, alone; ask for the online keys and sign a root with them"
    )]
    ForeignKeys {
        /// Which of the two.
        role: Role,
    },
    /// Neither roots nor targets metadata.
    #[error("there is nothing to publish: neither a new root nor new targets metadata were sent")]
    Nothing,
    /// More new roots than clients step through at once.
    #[error("{0} new roots at once are more than {MAX_ROOT_STEPS}")]
    TooManyRoots(usize),
    /// More than is kept of one day.
    #[error(
        "{MAX_PUBLISHED_BYTES} bytes of today are kept in {0}, and the server takes no more: nothing was published; go on \
         tomorrow (UTC); was it you? stop orders go on, and so do new roots alone"
    )]
    TooMuch(Repository),
    /// A file that the targets metadata do not list.
    #[error("the targets metadata do not list {0:?}, which was sent along")]
    Unlisted(String),
    /// A file that the targets metadata list and that the server has not got.
    #[error("the targets metadata list {0:?}, which was not sent along and is not here")]
    FileMissing(String),
    /// A sealed key does not open.
    #[error("the sealed {role} key does not open: is {seal} the one that `init` made?", seal = crate::init::SEAL_FILE)]
    Seal {
        /// Which of the two.
        role: Role,
    },
    /// A new key could not be sealed.
    #[error("a new online key could not be sealed")]
    Sealing,
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
    /// The database failed.
    #[error("the repository's rows failed")]
    Store(#[from] StoreError),
    /// The change could not be recorded.
    #[error("the publication could not be recorded")]
    Audit(#[from] AuditError),
}

/// Verifies an offer and stores it with a new snapshot and timestamp and the audit entry, in the caller's transaction:
/// nothing is in force until the caller commits. Locks the repositories, and the rollouts too, because the caller brings them
/// in line in the same transaction.
pub async fn publish(
    tx: &mut Tx,
    repository: &Repository,
    seal: &str,
    offer: Offer,
    actor: &Principal,
    now: Timestamp,
) -> Result<Published, PublishError> {
    if offer.roots.is_empty() && offer.targets.is_none() && offer.delegated.is_empty() {
        return Err(PublishError::Nothing);
    }
    if offer.roots.len() > MAX_ROOT_STEPS as usize {
        return Err(PublishError::TooManyRoots(offer.roots.len()));
    }
    let name = repository.to_string();
    tx.lock(Lock::Repositories).await?;
    match repository {
        Repository::Approvals(hdo) => tx.lock(Lock::Rollouts(hdo)).await?,
        // It may withdraw what any of these installs.
        Repository::Catalog => {
            let hdos = tx.hdos_with_rollouts().await?;
            tx.lock_all(&hdos).await?;
        }
    }
    let force = InForce::read(tx, &name).await?;
    let (publication, delegated) = verify_delegating(
        (force.root.as_deref(), &offer.roots),
        (force.targets.as_deref(), offer.targets.as_deref()),
        (&force.delegated, &offer.delegated),
        delegations(repository),
        now,
    )?;
    count(tx, repository, &offer, now).await?;
    let signers = Signers::named_by(&publication.root, tx, &name, seal).await?;
    let unlisted = store_files(tx, repository, &force, &publication, &delegated, offer.files, now).await?;
    for root in &publication.roots {
        tx.put_repo_file(&name, Role::Root, root.version(), root.bytes(), now).await?;
    }
    if publication.new_targets {
        let targets = &publication.targets;
        tx.put_repo_file(&name, Role::Targets, targets.version(), targets.bytes(), now).await?;
    }
    for (role, file) in &delegated {
        tx.put_delegated_file(&name, role, file.version(), file.bytes(), now).await?;
    }
    // A new root alone leaves targets that nobody signed in time as they are: the root comes first, then their owner can
    // sign.
    let stored = assemble(tx, &name, &publication.root, &publication.targets, &delegated, &signers, now).await?;
    let base = Refresh::start_base(stored, now)?.delegations(delegations(repository)).offline()?.finish_base()?;
    let mut roles = force.delegated;
    roles.extend(offer.delegated);
    // What a role lists in vain, or cannot be verified any more, is in nobody's view, and not in this one.
    let (listed, _) = base.listing(&roles, now);
    let detail = serde_json::json!({
        "root": publication.root.version(),
        "root_sha256": publication.root.digest(),
        "targets": publication.targets.version(),
        "targets_sha256": publication.targets.digest(),
        "delegated": delegated.iter().map(|(role, file)| (role, file.digest())).collect::<BTreeMap<_, _>>(),
    });
    // Verified above: nothing that was published before is taken again, so whoever has no keys spends nothing of either.
    let reserve = if publication.roots.is_empty() { Reserve::Publications } else { Reserve::Roots };
    let (by, what) = ((actor, reserve), ("repository.publish", name.as_str()));
    audit::append_reserved(tx, now, by, keys::concern(repository), what, detail).await?;
    Ok(Published {
        unlisted,
        root_version: publication.root.version(),
        targets_version: publication.targets.version(),
        snapshot_version: base.snapshot_version(),
        timestamp_version: base.timestamp_version(),
        root: publication.root,
        targets: publication.targets,
        listed,
    })
}

/// Counts what is about to be kept.
///
/// Attack: a hospital, or whoever has stolen its keys, that fills the disk of all hospitals with publications, each rightly
/// signed. Roots alone have as much again, so that such a thief keeps nobody from taking the stolen keys out of the root.
async fn count(tx: &mut Tx, repository: &Repository, offer: &Offer, now: Timestamp) -> Result<(), PublishError> {
    let Offer { roots, targets, delegated, files } = offer;
    let others = targets.iter().chain(delegated.values()).chain(files.iter().map(|(_, bytes)| bytes));
    let are_roots_alone = others.clone().next().is_none();
    let bytes = roots.iter().chain(others).fold(0_u64, |sum, file| sum.saturating_add(file.len() as u64));
    let most = if are_roots_alone { 2 * MAX_PUBLISHED_BYTES } else { MAX_PUBLISHED_BYTES };
    let day = now.as_second().div_euclid(DAY_SECS);
    if tx.count_published(&repository.to_string(), day, bytes).await? > most {
        return Err(PublishError::TooMuch(repository.clone()));
    }
    Ok(())
}

/// The offline-signed metadata in force, as they are stored.
struct InForce {
    root: Option<Vec<u8>>,
    targets: Option<Vec<u8>>,
    delegated: Delegated<Vec<u8>>,
}

/// Whether a repository may delegate: the manufacturer's product lines may sign for themselves, a hospital's wards not.
fn delegations(repository: &Repository) -> Delegations {
    match repository {
        Repository::Catalog => Delegations::Followed,
        Repository::Approvals(_) => Delegations::Refused,
    }
}

impl InForce {
    async fn read(tx: &mut Tx, repository: &str) -> Result<Self, PublishError> {
        let root = tx.newest_repo_file(repository, Role::Root).await?.map(|f| f.content);
        let targets = tx.newest_repo_file(repository, Role::Targets).await?.map(|f| f.content);
        let mut delegated = Delegated::new();
        if let (Some(root), Some(snapshot)) = (&root, tx.newest_repo_file(repository, Role::Snapshot).await?) {
            let snapshot: Verified<trust::Snapshot> = Verified::by(&Verified::pinned(root)?, &snapshot.content)?;
            for (role, version) in snapshot.delegated() {
                if let Some(bytes) = tx.repo_file(repository, &delegated_name(role, version)).await? {
                    delegated.insert(role.to_owned(), bytes.content);
                }
            }
        }
        Ok(Self { root, targets, delegated })
    }

    /// What is listed in force, by path and name; nothing before the first publication.
    fn listed(&self) -> Result<BTreeMap<String, String>, TrustError> {
        let (Some(root), Some(targets)) = (&self.root, &self.targets) else { return Ok(BTreeMap::new()) };
        let targets: Verified<Targets> = Verified::by(&Verified::pinned(root)?, targets)?;
        let names = targets.targets().filter_map(|(path, _)| Some((path.to_owned(), targets.file_name(path)?)));
        Ok(names.collect())
    }
}

/// Every listed file is there, is sent along, or the publication is refused. Gives back what is not listed here.
async fn store_files(
    tx: &mut Tx,
    repository: &Repository,
    force: &InForce,
    publication: &Publication,
    delegated: &Delegated<Verified<Targets>>,
    files: Vec<(String, Vec<u8>)>,
    now: Timestamp,
) -> Result<Vec<(String, Vec<u8>)>, PublishError> {
    let store = repository.to_string();
    let all: Vec<&Verified<Targets>> = std::iter::once(&publication.targets).chain(delegated.values()).collect();
    let mut unlisted = Vec::new();
    for (path, bytes) in files {
        let listed = all.iter().find_map(|targets| Some((targets, targets.file_name(&path)?)));
        let Some((targets, name)) = listed else {
            match repository {
                Repository::Catalog => return Err(PublishError::Unlisted(path)),
                Repository::Approvals(_) => unlisted.push((path, bytes)),
            }
            continue;
        };
        targets.verify_target(&path, &bytes)?;
        tx.put_target_file(&store, &name, &bytes, readers(repository, &path), now).await?;
    }
    // What was in force was complete, so only what is new is looked for.
    let before = force.listed()?;
    for targets in all.into_iter().skip(usize::from(!publication.new_targets)) {
        for (path, _) in targets.targets() {
            let Some(name) = targets.file_name(path) else { continue };
            if before.get(path) != Some(&name) && !tx.has_target_file(&store, &name).await? {
                return Err(PublishError::FileMissing(path.to_owned()));
            }
        }
    }
    Ok(unlisted)
}

/// Who may read a file that the targets metadata list. The catalog's bundles are everybody's; of the approvals, devices read what the
/// targets metadata list for them, and nothing of which this server does not know what it is.
fn readers(repository: &Repository, path: &str) -> Readers {
    match (repository, Listed::of(path)) {
        // Devices have no use for either: what they may install is not decided by it.
        (Repository::Catalog, _) if life::product_of(path).is_some() || vex_at(path).is_some() => Readers::Operators,
        (Repository::Catalog, _) => Readers::Devices,
        (Repository::Approvals(_), Some(listed)) if listed.is_for_devices() => Readers::Devices,
        (Repository::Approvals(_), _) => Readers::Operators,
    }
}

/// Signs and stores the next snapshot and timestamp, and gives all four files for a look at them as a client does.
async fn assemble(
    tx: &mut Tx,
    repository: &str,
    root: &Verified<Root>,
    targets: &Verified<Targets>,
    new: &Delegated<Verified<Targets>>,
    signers: &Signers,
    now: Timestamp,
) -> Result<Stored, PublishError> {
    let expires = now.checked_add(ONLINE_LIFETIME).unwrap_or(Timestamp::MAX);
    let version = next_version(tx, repository, Role::Snapshot).await?;
    let before = tx.newest_repo_file(repository, Role::Snapshot).await?.map(|file| file.content);
    let bytes = edit::sign_delegating_snapshot(version, expires, targets, new, before.as_deref(), &signers.snapshot)?;
    tx.put_repo_file(repository, Role::Snapshot, version, &bytes, now).await?;
    let snapshot: Verified<trust::Snapshot> = Verified::by(root, &bytes)?;
    let timestamp = put_timestamp(tx, repository, &snapshot, signers, now).await?;
    Ok(Stored {
        root: root.bytes().to_vec(),
        timestamp: Some(timestamp),
        snapshot: Some(bytes),
        targets: Some(targets.bytes().to_vec()),
    })
}

/// Signs and stores the next timestamp.
async fn put_timestamp(
    tx: &mut Tx,
    repository: &str,
    snapshot: &Verified<trust::Snapshot>,
    signers: &Signers,
    now: Timestamp,
) -> Result<Vec<u8>, PublishError> {
    let expires = now.checked_add(ONLINE_LIFETIME).unwrap_or(Timestamp::MAX);
    let version = next_version(tx, repository, Role::Timestamp).await?;
    let bytes = edit::sign_timestamp(version, expires, snapshot, &signers.timestamp)?;
    tx.put_repo_file(repository, Role::Timestamp, version, &bytes, now).await?;
    Ok(bytes)
}

async fn next_version(tx: &mut Tx, repository: &str, role: Role) -> Result<u64, StoreError> {
    Ok(tx.newest_repo_file(repository, role).await?.map_or(1, |file| file.version.saturating_add(1)))
}
