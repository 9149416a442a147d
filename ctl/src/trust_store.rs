//! The two repositories as this home last verified them.
//!
//! `trust/<which>/pinned.json` is the root that trust began with: made here, or fetched by the digest in a token and never
//! replaced. `root.json`, `timestamp.json`, `snapshot.json` and `targets.json` are what refreshes made of it, each written
//! before the next is asked for, as [`suture_core::trust::Refresh`] has it. `editions` lists every version of the targets
//! that was verified, by digest.

mod delegated;
mod lineage;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::limits::{MAX_ROOT_BYTES, MAX_ROOT_STEPS};
use suture_core::trust::{
    Answer, Base, Change, Delegations, Edition, Held, Refresh, Repository, Role, Root, Stored, TrustError, Verified,
};

use crate::client::Client;
use crate::failure::{Exit, Failure, Outcome};
use crate::files::{self, Access};
use crate::home::Home;

pub use delegated::{Catalog, Roles};

/// Which repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The manufacturer's catalog.
    Catalog,
    /// The hospital's approvals: of the hospital that this home's operator belongs to.
    Approvals,
}

impl Which {
    fn directory(self) -> &'static str {
        match self {
            Self::Catalog => "trust/catalog",
            Self::Approvals => "trust/approvals",
        }
    }

    /// Whether it may delegate: the manufacturer's product lines may sign for themselves, a hospital's wards not.
    pub fn delegations(self) -> Delegations {
        match self {
            Self::Catalog => Delegations::Followed,
            Self::Approvals => Delegations::Refused,
        }
    }

    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Approvals => "approvals",
        }
    }

    /// As the wire names it; approvals are the caller's own.
    pub fn to_wire(self) -> suture_proto::v1::Repository {
        use suture_proto::v1::repository::Which as Wire;
        let which = match self {
            Self::Catalog => Wire::Catalog(true),
            Self::Approvals => Wire::Approvals(String::new()),
        };
        suture_proto::v1::Repository { which: Some(which) }
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        let failure = Self::of(Exit::Untrusted, &error);
        match error {
            TrustError::Expired { role: Role::Targets, .. } => failure.next(
                "nobody has signed it in time; whoever holds its targets key signs it again: the hospital with \
                 `suturectl approvals renew`, the manufacturer with `suturectl catalog renew`",
            ),
            _ => failure,
        }
    }
}

/// The digest of the root that this home's trust began with, for tokens; `None` where there is none.
pub fn pinned_root(home: &Home, which: Which) -> Outcome<Option<Digest>> {
    Ok(TrustStore::of(home, which).read("pinned.json")?.map(|bytes| Digest::of(&bytes)))
}

/// One repository's files in a home.
#[derive(Debug, Clone, Copy)]
pub struct TrustStore<'a> {
    home: &'a Home,
    which: Which,
    expected: Option<Edition>,
}

impl<'a> TrustStore<'a> {
    /// The files of one repository.
    pub fn of(home: &'a Home, which: Which) -> Self {
        Self { home, which, expected: None }
    }

    /// As a colleague knows the repository: what is served must be, or descend from, that edition. It is kept once that has
    /// been found to be so.
    pub fn expecting(self, expected: Option<Edition>) -> Self {
        Self { expected, ..self }
    }

    /// Whether trust has begun.
    pub fn is_pinned(&self) -> Outcome<bool> {
        Ok(self.read("pinned.json")?.is_some())
    }

    /// Begins trust with a root that was made here or whose digest came out of band. Refused where it has begun with
    /// another root.
    pub fn pin(&self, root: &[u8]) -> Outcome {
        let verified: Verified<Root> = Verified::pinned(root)?;
        match self.read("pinned.json")? {
            Some(pinned) if pinned == root => return Ok(()),
            Some(pinned) => {
                return Err(Failure::untrusted(format!(
                    "this home trusts another {} already: root {}, not {}",
                    self.which.as_str(),
                    Digest::of(&pinned),
                    verified.digest()
                ))
                .next("use another --home for another repository"));
            }
            None => {}
        }
        self.write("root.json", root)?;
        self.write("pinned.json", root)
    }

    /// Fetches the root whose digest came out of band, and begins trust with it.
    pub async fn pin_by_digest(&self, client: &mut Client, digest: &Digest) -> Outcome {
        if pinned_root(self.home, self.which)?.as_ref() == Some(digest) {
            return Ok(());
        }
        for version in 1..=u64::from(MAX_ROOT_STEPS) {
            let name = Role::Root.served_name(version);
            let Some(root) = client.metadata(self.which, &name, MAX_ROOT_BYTES).await? else { break };
            if Digest::of(&root) == *digest {
                return self.pin(&root);
            }
        }
        Err(Failure::untrusted(format!("the server has no {} root with the SHA-256 {digest}", self.which.as_str()))
            .next("compare the root's fingerprint with whoever gave the token; the server may be serving another repository"))
    }

    /// The root that trust began with.
    pub fn pinned(&self) -> Outcome<Vec<u8>> {
        self.read("pinned.json")?.ok_or_else(|| self.not_pinned())
    }

    /// What is stored.
    pub fn stored(&self) -> Outcome<Stored> {
        let root = self.read("root.json")?.ok_or_else(|| self.not_pinned())?;
        Ok(Stored {
            root,
            timestamp: self.read("timestamp.json")?,
            snapshot: self.read("snapshot.json")?,
            targets: self.read("targets.json")?,
        })
    }

    /// Brings the store up to date with the server, verifying every step, and gives the verified view.
    pub async fn refresh(&self, client: &mut Client, now: Timestamp) -> Outcome<Repository> {
        let refresh = Refresh::start(self.stored()?, now)?.delegations(self.which.delegations());
        let repository = self.follow(client, refresh).await?.finish()?;
        self.descends(client, repository.targets_metadata()).await?;
        Ok(repository)
    }

    /// As [`TrustStore::refresh`], for signing the next version: targets that have expired are taken.
    pub async fn refresh_base(&self, client: &mut Client, now: Timestamp) -> Outcome<Base> {
        let refresh = Refresh::start_base(self.stored()?, now)?.delegations(self.which.delegations());
        let base = self.follow(client, refresh).await?.finish_base()?;
        self.descends(client, base.targets_metadata()).await?;
        Ok(base)
    }

    async fn follow(&self, client: &mut Client, mut refresh: Refresh) -> Outcome<Refresh> {
        let stored = self.stored()?;
        let news = client.news(self.which, &Held::of(&stored)?).await?.beside(Some(&stored));
        while let Some(request) = refresh.request() {
            // What the one answer does not hold is asked for singly; the rules are the same for both.
            let answer = match news.answer(&request.name) {
                Some(answer) => answer,
                None => match client.metadata(self.which, &request.name, request.max_bytes).await? {
                    Some(bytes) => Answer::Found(bytes),
                    None => Answer::NotFound,
                },
            };
            for change in refresh.supply(answer)? {
                if let Change::Put { name: "targets.json", bytes } = &change {
                    let root = Verified::<Root>::pinned(&self.stored()?.root)?;
                    self.descends(client, &Verified::by(&root, bytes)?).await?;
                }
                self.apply(&change)?;
            }
        }
        Ok(refresh)
    }

    /// The verified view without the server; everything must be stored and unexpired.
    pub fn offline(&self, now: Timestamp) -> Outcome<Repository> {
        Ok(Refresh::start(self.stored()?, now)?.delegations(self.which.delegations()).offline()?.finish()?)
    }

    /// As [`TrustStore::offline`], for signing the next version: targets that have expired are taken.
    pub fn offline_base(&self, now: Timestamp) -> Outcome<Base> {
        let refresh = Refresh::start_base(self.stored()?, now)?.delegations(self.which.delegations());
        Ok(refresh.offline()?.finish_base()?)
    }

    /// The bytes of a target, verified; `limit` bounds them beside the length that is signed.
    pub async fn fetch_target(
        &self,
        client: &mut Client,
        repository: &Repository,
        path: &str,
        limit: u64,
    ) -> Outcome<Vec<u8>> {
        let unknown = || Failure::untrusted(format!("the {} does not list {path}", self.which.as_str()));
        let target = repository.target(path).ok_or_else(unknown)?;
        let name = repository.file_name(path).ok_or_else(unknown)?;
        if target.length > limit {
            return Err(Failure::untrusted(format!("{path} has {} bytes, more than {limit}", target.length)));
        }
        let bytes = client.target(self.which, &name, target.length).await?;
        repository.verify_target(path, &bytes)?;
        Ok(bytes)
    }

    fn apply(&self, change: &Change) -> Outcome {
        match change {
            Change::Put { name, bytes } => self.write(name, bytes),
            Change::Remove { name } => Ok(files::remove(&self.home.path(&self.name(name))?)?),
        }
    }

    fn not_pinned(&self) -> Failure {
        let failure = Failure::new(format!("this home has no {} to trust yet", self.which.as_str()));
        match self.which {
            Which::Catalog => failure.next("the manufacturer begins with `suturectl catalog init`; everybody else gets it with a token made after that"),
            Which::Approvals => failure.next("the hospital's first operator begins with `suturectl approvals init`"),
        }
    }

    fn name(&self, file: &str) -> String {
        format!("{}/{file}", self.which.directory())
    }

    fn read(&self, file: &str) -> Outcome<Option<Vec<u8>>> {
        Ok(files::read(&self.home.path(&self.name(file))?, suture_core::limits::MAX_TARGETS_BYTES)?)
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Outcome {
        self.home.write(&self.name(file), bytes, Access::Public)
    }
}
