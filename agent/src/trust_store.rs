//! Both repositories on disk: what [`suture_core::trust`] verified, kept so that the device can decide without a network.
//!
//! `trust/catalog/` and `trust/approvals/` hold the four metadata files each, as received, `documents/` the approvals, shards
//! of their slots and stop orders by digest, and `delegated/` the last metadata of each role that the catalog delegates to:
//! by them an older list is known where the online keys have changed. The root is pinned by fingerprint at enrolment; the
//! server can never introduce or replace one.
//!
//! Accident: a torn file. Of timestamp, snapshot and targets it is as if they were not there, and they are fetched again; a
//! document has its digest for a name. The root is what everything else is judged by, so the one before it is kept beside it
//! and counts where the newest is not whole; where there was none before it, it is the one that enrolment pinned, and is
//! pinned anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use suture_core::approval::Pinned;
use suture_core::digest::Digest;
use suture_core::limits::{
    MAX_DELEGATED_ROLES, MAX_ROOT_BYTES, MAX_ROOT_STEPS, MAX_SNAPSHOT_BYTES, MAX_TARGETS_BYTES, MAX_TIMESTAMP_BYTES,
};
use suture_core::phase::{Code, Reason};
use suture_core::trust::{
    Answer, Change, Delegations, Held, News, Refresh, Repository, Root, Search, Stored, TrustError, Verified,
};

use crate::agent::chain;
use crate::client::{ClientError, Files, Which};
use crate::durable::{self, DurableError};
use crate::news::Fed;

/// Below a repository's directory: the root that counts.
const ROOT: &str = "root.json";
/// Below a repository's directory: the root before the present one.
const BEFORE: &str = "root.before.json";
/// Below a repository's directory: documents by their digests.
const DOCUMENTS: &str = "documents";
/// Below a repository's directory: the last metadata of each delegated role, by the digest of its name.
const DELEGATED: &str = "delegated";

/// One repository's files.
#[derive(Debug, Clone)]
pub struct TrustStore {
    which: Which,
    dir: PathBuf,
    root_sha256: Digest,
}

/// Why there is no verified view.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The server cannot be asked, or does not answer. What is stored still counts until it expires.
    #[error("{0} could not be refreshed")]
    Unreachable(&'static str, #[source] ClientError),
    /// What it offers, or what is stored, is refused.
    #[error("{0} is refused")]
    Refused(&'static str, #[source] TrustError),
    /// The store failed.
    #[error("{0} cannot be kept")]
    Disk(&'static str, #[source] DurableError),
    /// The server serves no root with the fingerprint that enrolment pinned.
    #[error("{0}: the server has no root with the fingerprint that this device was enrolled with")]
    NoRoot(&'static str),
    /// Neither root can be read.
    #[error(
        "both roots of {name} in {} are damaged; look at the disk, then remove {ROOT} and {BEFORE}: the device follows the \
         roots again from the one that it was enrolled with",
        dir.display()
    )]
    NoWholeRoot {
        /// Whose.
        name: &'static str,
        /// Where they lie.
        dir: PathBuf,
    },
    /// Nothing that is stored serves, and what the server keeps was altered there.
    #[error("{0} could not be refreshed, and what is stored does not serve: {1}")]
    Altered(&'static str, String),
    /// Nothing is stored: no server and no stick has been heard since enrolment.
    #[error("{0} has not been refreshed yet: connect the device to the server, or bring it a stick")]
    Unrefreshed(&'static str),
}

/// What became of a search for targets that delegated roles list.
#[derive(Debug, Default)]
pub struct Sought {
    /// Paths that could not be looked for, and why.
    pub unfound: BTreeMap<String, Reason>,
    /// Whether a role's file was fetched that the device did not have.
    pub news: bool,
}

impl RefreshError {
    /// The reason for people and reports.
    pub fn reason(&self) -> Reason {
        let code = match self {
            Self::Unreachable(_, e) => e.code(),
            Self::Refused(_, e) => e.code(),
            Self::Disk(_, e) if e.is_full() => Code::DiskFull,
            Self::Disk(..) | Self::NoWholeRoot { .. } => Code::StateDamaged,
            Self::NoRoot(_) => Code::BadSignature,
            Self::Altered(..) => Code::BadMetadata,
            Self::Unrefreshed(_) => Code::ServerUnreachable,
        };
        Reason::new(code, chain(self))
    }
}

impl TrustStore {
    /// The store of a repository below the state directory.
    pub fn open(state_dir: &Path, which: Which, root_sha256: Digest) -> Result<Self, DurableError> {
        let dir = Self::directory(state_dir, which);
        durable::make_dir(&dir.join(DOCUMENTS))?;
        durable::make_dir(&dir.join(DELEGATED))?;
        Ok(Self { which, dir, root_sha256 })
    }

    /// Where a repository's files are below the state directory.
    pub fn directory(state_dir: &Path, which: Which) -> PathBuf {
        state_dir.join("trust").join(match which {
            Which::Catalog => "catalog",
            Which::Approvals => "approvals",
        })
    }

    /// Where the files of roles that a repository delegates to are, of the repository whose files are in `directory`.
    pub fn delegated(directory: &Path) -> PathBuf {
        directory.join(DELEGATED)
    }

    /// What of the store another store needs in order to be a copy of it, beside the files of the roles.
    pub(crate) const BESIDE_ROLES: [&str; 1] = [BEFORE];

    /// The root that is stored, whether or not it has expired; none before the first refresh. For what its keys sign beside
    /// the metadata.
    pub fn root(&self) -> Result<Option<Verified<Root>>, RefreshError> {
        let root = self.stored()?.map(|stored| Verified::pinned(&stored.root)).transpose();
        root.map_err(|e| RefreshError::Refused(self.name(), e))
    }

    /// What is stored, for a server that is to send what differs. It holds nothing before the root is pinned.
    pub fn held(&self) -> Result<Held, RefreshError> {
        let held = self.stored()?.as_ref().map(Held::of).transpose();
        Ok(held.map_err(|e| RefreshError::Refused(self.name(), e))?.unwrap_or_default())
    }

    /// TUF's client workflow, each change on disk before the next question. What `news` does not answer is asked of `files`.
    /// On a failure to reach the server nothing more is stored and what was stored before still counts.
    pub async fn refresh(
        &self,
        files: &mut impl Files,
        news: News,
        now: Timestamp,
    ) -> Result<Repository, RefreshError> {
        let name = self.name();
        let refused = |e| RefreshError::Refused(name, e);
        let unreachable = |e| RefreshError::Unreachable(name, e);
        let stored = self.stored()?;
        let files = &mut Fed::new(files, self.which, news.beside(stored.as_ref()));
        let stored = match stored {
            Some(stored) => stored,
            None => self.pin(files).await?,
        };
        let mut refresh = Refresh::start(stored, now).map_err(refused)?.delegations(self.delegations());
        while let Some(request) = refresh.request() {
            let answer = match files.metadata(self.which, &request.name, request.max_bytes).await {
                Ok(Some(bytes)) => Answer::Found(bytes),
                Ok(None) => Answer::NotFound,
                Err(e) => return Err(unreachable(e)),
            };
            for change in refresh.supply(answer).map_err(refused)? {
                self.store(&change)?;
            }
        }
        refresh.finish().map_err(refused)
    }

    /// What is stored, verified and unexpired by itself.
    pub fn offline(&self, now: Timestamp) -> Result<Repository, RefreshError> {
        let stored = self.stored()?.ok_or(RefreshError::Unrefreshed(self.name()))?;
        let refresh = Refresh::start(stored, now).and_then(|r| r.delegations(self.delegations()).offline());
        refresh.and_then(Refresh::finish).map_err(|e| RefreshError::Refused(self.name(), e))
    }

    /// What is stored, where the server gave nothing that can be used. Where that does not serve, and the server says that what
    /// it keeps was altered, then that is why.
    pub fn without(&self, server: &ClientError, now: Timestamp) -> Result<Repository, RefreshError> {
        self.offline(now).map_err(|stored| match server {
            ClientError::Altered { .. } => RefreshError::Altered(self.name(), server.to_string()),
            _ => stored,
        })
    }

    /// A target that the repository lists, from disk or from the server, verified either way.
    pub async fn document(
        &self,
        files: &mut impl Files,
        repository: &Repository,
        path: &str,
    ) -> Result<Vec<u8>, RefreshError> {
        let refused = |e| RefreshError::Refused(self.name(), e);
        let missing = || refused(TrustError::NoTarget(path.to_owned()));
        let target = repository.target(path).ok_or_else(missing)?;
        let kept = self.document_path(&target.sha256);
        if let Ok(Some(bytes)) = durable::read(&kept, target.length)
            && repository.verify_target(path, &bytes).is_ok()
        {
            return Ok(bytes);
        }
        let name = repository.file_name(path).ok_or_else(missing)?;
        let bytes = files
            .target(self.which, &name, target.length)
            .await
            .map_err(|e| RefreshError::Unreachable(self.name(), e))?;
        repository.verify_target(path, &bytes).map_err(refused)?;
        durable::write(&kept, &bytes, durable::OPEN).map_err(|e| RefreshError::Disk(self.name(), e))?;
        Ok(bytes)
    }

    /// A file that a verified document pins, from disk or from the server, verified either way.
    pub async fn pinned(&self, files: &mut impl Files, pinned: &Pinned) -> Result<Vec<u8>, RefreshError> {
        let kept = self.document_path(&pinned.sha256);
        if let Ok(Some(bytes)) = durable::read(&kept, pinned.length)
            && pinned.verify(&bytes).is_ok()
        {
            return Ok(bytes);
        }
        let bytes = files
            .target(self.which, &pinned.file_name(), pinned.length)
            .await
            .map_err(|e| RefreshError::Unreachable(self.name(), e))?;
        pinned.verify(&bytes).map_err(|_| {
            let field = if bytes.len() as u64 == pinned.length { "sha256" } else { "length" };
            RefreshError::Refused(self.name(), TrustError::WrongTarget { path: pinned.path.clone(), field })
        })?;
        durable::write(&kept, &bytes, durable::OPEN).map_err(|e| RefreshError::Disk(self.name(), e))?;
        Ok(bytes)
    }

    /// Lets the repository know targets that it does not list itself, but a role that it delegates to. Those roles' files
    /// come from disk or from the server or stick, verified either way.
    pub async fn find(
        &self,
        files: &mut impl Files,
        repository: &mut Repository,
        paths: BTreeSet<&str>,
        now: Timestamp,
    ) -> Sought {
        let (mut sought, mut used) = (Sought::default(), BTreeSet::new());
        for path in paths {
            match self.search(files, repository, path, now, &mut used).await {
                Ok(news) => sought.news |= news,
                Err(e) => drop(sought.unfound.insert(path.to_owned(), e.reason())),
            }
        }
        // Also what is not used now: without the last file of a role nothing would know an older one. So many and no more.
        if let Err(e) = self.tidy_roles(&used) {
            tracing::warn!(error = &e as &dyn std::error::Error, "old metadata of delegated roles cannot be removed");
        }
        sought
    }

    /// Whether a role's file was fetched for it.
    async fn search(
        &self,
        files: &mut impl Files,
        repository: &mut Repository,
        path: &str,
        now: Timestamp,
        used: &mut BTreeSet<Digest>,
    ) -> Result<bool, RefreshError> {
        let mut news = false;
        let refused = |e| RefreshError::Refused(self.name(), e);
        let mut search = Search::start(repository, path, now).map_err(refused)?;
        // A role's name may be longer than a file's.
        let asked = |search: &Search<'_>| search.role().map(|role| Digest::of(role.as_bytes()));
        while let (Some(request), Some(kept_as)) = (search.request(), asked(&search)) {
            let kept_at = self.dir.join(DELEGATED).join(kept_as.to_string());
            used.insert(kept_as);
            // A damaged file binds nobody, and is fetched anew.
            if let Ok(Some(bytes)) = durable::read(&kept_at, MAX_TARGETS_BYTES)
                && search.taken(bytes).map_err(refused)?
            {
                continue;
            }
            let fetched = files.metadata(self.which, &request.name, request.max_bytes).await;
            let answer = match fetched.map_err(|e| RefreshError::Unreachable(self.name(), e))? {
                Some(bytes) => Answer::Found(bytes),
                None => Answer::NotFound,
            };
            search.supply(answer.clone()).map_err(refused)?;
            if let Answer::Found(bytes) = answer {
                durable::write(&kept_at, &bytes, durable::OPEN).map_err(|e| RefreshError::Disk(self.name(), e))?;
                news = true;
            }
        }
        Ok(news)
    }

    /// Whether the repository may delegate: the manufacturer's product lines may sign for themselves, a hospital's wards
    /// not.
    fn delegations(&self) -> Delegations {
        match self.which {
            Which::Catalog => Delegations::Followed,
            Which::Approvals => Delegations::Refused,
        }
    }

    /// Removes the documents that are none of these.
    pub fn keep_only(&self, documents: &BTreeSet<Digest>) -> Result<(), DurableError> {
        self.retain(DOCUMENTS, documents)
    }

    /// Removes metadata of roles that were not used, where there are more files than a search may use.
    fn tidy_roles(&self, used: &BTreeSet<Digest>) -> Result<(), DurableError> {
        let dir = self.dir.join(DELEGATED);
        let files = fs::read_dir(&dir).map_err(DurableError::io("list", &dir))?.count();
        if files > MAX_DELEGATED_ROLES { self.retain(DELEGATED, used) } else { Ok(()) }
    }

    fn retain(&self, below: &str, names: &BTreeSet<Digest>) -> Result<(), DurableError> {
        let dir = self.dir.join(below);
        for entry in fs::read_dir(&dir).map_err(DurableError::io("list", &dir))? {
            let entry = entry.map_err(DurableError::io("list", &dir))?;
            let digest = entry.file_name().to_str().and_then(|n| n.parse::<Digest>().ok());
            if !digest.is_some_and(|d| names.contains(&d)) {
                durable::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// What people call it.
    pub fn name(&self) -> &'static str {
        match self.which {
            Which::Catalog => "the manufacturer's catalog",
            Which::Approvals => "the hospital's approvals",
        }
    }

    /// Fetches the root that enrolment pinned, wherever it stands in the chain of roots.
    async fn pin(&self, files: &mut impl Files) -> Result<Stored, RefreshError> {
        for version in 1..=MAX_ROOT_STEPS {
            let name = format!("{version}.root.json");
            let root = files.metadata(self.which, &name, MAX_ROOT_BYTES).await;
            let Some(root) = root.map_err(|e| RefreshError::Unreachable(self.name(), e))? else { break };
            if Digest::of(&root) == self.root_sha256 {
                self.store(&Change::Put { name: ROOT, bytes: root.clone() })?;
                return Ok(Stored { root, ..Stored::default() });
            }
        }
        Err(RefreshError::NoRoot(self.name()))
    }

    fn stored(&self) -> Result<Option<Stored>, RefreshError> {
        let read = |name: &str, limit: u64| {
            let bytes = durable::read(&self.dir.join(name), limit);
            bytes.map_err(|e| RefreshError::Disk(self.name(), e))
        };
        let Some(root) = self.stored_root()? else { return Ok(None) };
        Ok(Some(Stored {
            root,
            timestamp: read("timestamp.json", MAX_TIMESTAMP_BYTES)?,
            snapshot: read("snapshot.json", MAX_SNAPSHOT_BYTES)?,
            targets: read("targets.json", MAX_TARGETS_BYTES)?,
        }))
    }

    /// The newest root that is whole.
    fn stored_root(&self) -> Result<Option<Vec<u8>>, RefreshError> {
        let mut damaged = false;
        for name in [ROOT, BEFORE] {
            let read = match durable::read(&self.dir.join(name), MAX_ROOT_BYTES) {
                Err(DurableError::TooLong { .. }) => Ok(Some(Vec::new())),
                read => read,
            };
            match read.map_err(|e| RefreshError::Disk(self.name(), e))? {
                Some(root) if Verified::<Root>::pinned(&root).is_ok() => return Ok(Some(root)),
                Some(_) if name == ROOT => {
                    tracing::warn!("the root of {} is damaged; the one before it counts", self.name());
                }
                Some(_) => damaged = true,
                None => {}
            }
        }
        if damaged { Err(RefreshError::NoWholeRoot { name: self.name(), dir: self.dir.clone() }) } else { Ok(None) }
    }

    fn store(&self, change: &Change) -> Result<(), RefreshError> {
        if let Change::Put { name, .. } = change
            && *name == ROOT
            && let Some(before) = self.stored_root()?
        {
            let kept = durable::write(&self.dir.join(BEFORE), &before, durable::OPEN);
            kept.map_err(|e| RefreshError::Disk(self.name(), e))?;
        }
        match change {
            Change::Put { name, bytes } => durable::write(&self.dir.join(name), bytes, durable::OPEN),
            Change::Remove { name } => durable::remove(&self.dir.join(name)),
        }
        .map_err(|e| RefreshError::Disk(self.name(), e))
    }

    fn document_path(&self, sha256: &Digest) -> PathBuf {
        self.dir.join(DOCUMENTS).join(sha256.to_string())
    }
}

#[cfg(test)]
mod tests;
