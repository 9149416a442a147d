//! One repository of the folder, verified from its pinned root on as a device would, and back to older versions that list what
//! is listed no more.

use std::collections::BTreeMap;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::trust::{
    Answer, Base, Delegated, Descent, Edition, Refresh, Role, Root, Stored, Target, Targets, TrustError, Verified,
    served_target_name,
};

use super::folder::Reading;
use crate::failure::{Exit, Failure, Outcome};
use crate::trust_store::Which;

/// A repository, as of the time at which the folder was made.
#[derive(Debug)]
pub struct Repository {
    which: Which,
    /// What was in force.
    pub base: Base,
    /// The roots, from the pinned one on.
    pub roots: Vec<Verified<Root>>,
    /// Every version of the targets metadata that the folder has, the one in force included.
    pub versions: BTreeMap<u64, Verified<Targets>>,
    /// All that is listed, delegated roles included.
    pub listed: BTreeMap<String, Target>,
}

/// The directory of a repository.
pub fn directory(which: Which) -> &'static str {
    which.as_str()
}

/// Where a file of that served name is in the folder.
pub fn place(which: Which, name: &str) -> String {
    format!("{}/{name}", directory(which))
}

/// The version in a name like `3.root.json`.
fn version(name: &str, role: Role) -> Option<u64> {
    let version: u64 = name.strip_suffix(role.file_name())?.strip_suffix('.')?.parse().ok()?;
    (name == role.served_name(version)).then_some(version)
}

impl Repository {
    /// Verifies the metadata of one repository; nothing where the folder has none of it.
    ///
    /// # Errors
    ///
    /// Something does not verify; the file is named.
    pub fn read(files: &Reading<'_>, which: Which, made: Timestamp) -> Outcome<Option<Self>> {
        let prefix = format!("{}/", directory(which));
        let names = || files.keys().filter_map(|path| path.strip_prefix(&prefix)).filter(|name| !name.contains('/'));
        let Some(first) = names().filter_map(|name| version(name, Role::Root)).min() else { return Ok(None) };
        let file = |name: &str| files.get(&place(which, name));
        let refused = |name: &str, error: &TrustError| {
            Failure::untrusted(format!("{}: it does not verify", place(which, name))).because(error)
        };
        let root = |version| Role::Root.served_name(version);
        let bytes = file(&root(first)).cloned().unwrap_or_default();
        let pinned = Verified::<Root>::pinned(&bytes).map_err(|e| refused(&root(first), &e))?;
        let mut roots = vec![pinned];
        for at in first.saturating_add(1).. {
            let (Some(bytes), Some(last)) = (file(&root(at)), roots.last()) else { break };
            let next = last.next(bytes).map_err(|e| refused(&root(at), &e))?;
            roots.push(next);
        }
        let newest = roots.last().map_or(first, Verified::version);
        if let Some(name) = names().find(|name| version(name, Role::Root).is_some_and(|v| v > newest)) {
            return Err(Failure::untrusted(format!("{}: the root before it is missing", place(which, name))));
        }
        let stored = Stored { root: bytes, ..Stored::default() };
        let mut refresh = Refresh::start_base(stored, made)?.delegations(which.delegations());
        while let Some(request) = refresh.request() {
            let answer = file(&request.name).map_or(Answer::NotFound, |bytes| Answer::Found(bytes.clone()));
            refresh.supply(answer).map_err(|e| refused(&request.name, &e))?;
        }
        let base = refresh.finish_base().map_err(|e| refused(Role::Targets.file_name(), &e))?;
        let versions = versions(files, which, &base, &roots)?;
        let mut delegated = Delegated::new();
        for (role, request) in base.delegated() {
            if let Some(bytes) = file(&request.name) {
                base.verify_delegated(role, bytes).map_err(|e| refused(&request.name, &e))?;
                delegated.insert(role.to_owned(), bytes.clone());
            }
        }
        let (listed, _) = base.listing(&delegated, made);
        Ok(Some(Self { which, base, roots, versions, listed }))
    }

    /// SHA-256 of the root that everything rests on.
    pub fn pinned(&self) -> Digest {
        self.roots.first().map_or_else(|| self.base.root().digest(), Verified::digest)
    }

    /// The newest version that lists a path, and the target that it is there.
    pub fn newest_with(&self, path: &str) -> Option<(&Verified<Targets>, &Target)> {
        self.versions.values().rev().find_map(|targets| Some((targets, targets.target(path)?)))
    }

    /// The file of a path that was pinned with that length and digest.
    ///
    /// # Errors
    ///
    /// It is not there, or another.
    pub fn file<'a>(&self, files: &Reading<'a>, path: &str, length: u64, sha256: &Digest) -> Outcome<&'a [u8]> {
        let place = place(self.which, &served_target_name(path, sha256));
        let missing = || Failure::untrusted(format!("{place}: it is signed, and missing"));
        let bytes = files.get(&place).ok_or_else(missing)?;
        if bytes.len() as u64 != length || Digest::of(bytes) != *sha256 {
            return Err(Failure::untrusted(format!("{place}: it is not the file that was signed")));
        }
        Ok(bytes)
    }

    /// Whether a key is one of those that sign targets, by any root that is here: it may have been replaced since.
    pub fn ever_named(&self, key: &suture_core::sign::PublicKey) -> bool {
        self.roots.iter().any(|root| root.authority(Role::Targets).keys().any(|k| k == key))
    }
}

/// Older versions of the targets metadata: each is what the one after it names, back from the one in force, and signed by the
/// keys of one of the roots.
fn versions(
    files: &Reading<'_>,
    which: Which,
    base: &Base,
    roots: &[Verified<Root>],
) -> Outcome<BTreeMap<u64, Verified<Targets>>> {
    let prefix = format!("{}/", directory(which));
    let in_force = base.targets_metadata();
    let mut all = BTreeMap::from([(in_force.version(), in_force.clone())]);
    let names = files.keys().filter_map(|path| path.strip_prefix(&prefix));
    let numbers: Vec<u64> = names.filter_map(|name| version(name, Role::Targets)).collect();
    let newest = Edition { version: in_force.version(), sha256: in_force.digest() };
    let oldest = numbers.iter().copied().min().unwrap_or(newest.version);
    if let Some(number) = numbers.iter().find(|n| **n > newest.version) {
        let name = place(which, &Role::Targets.served_name(*number));
        return Err(Failure::untrusted(format!("{name}: it is newer than what was in force")));
    }
    let named = |number: u64| place(which, &Role::Targets.served_name(number));
    let missing =
        |number| Failure::untrusted(format!("{}: it is named by the one after it, and missing", named(number)));
    let refused =
        |number: u64, e: &TrustError| Failure::untrusted(format!("{}: it does not verify", named(number))).because(e);
    let bytes_of = |number: u64| files.get(&named(number)).ok_or_else(|| missing(number));
    let mut walk = Descent::from(newest, oldest).map_err(|e| refused(oldest, &e))?;
    let mut at = newest.version;
    while walk.request().is_some() {
        walk.supply(Answer::Found(bytes_of(at)?.clone())).map_err(|e| refused(at, &e))?;
        at = at.saturating_sub(1);
    }
    for edition in walk.finish()?.into_iter().filter(|e| e.version < newest.version) {
        let number = edition.version;
        let bytes = bytes_of(number)?;
        if Digest::of(bytes) != edition.sha256 {
            return Err(Failure::untrusted(format!("{}: it is not what the one after it names", named(number))));
        }
        // The newest root first: keys are replaced seldom.
        let mut signed = roots.iter().rev().map(|root| Verified::<Targets>::by(root, bytes));
        let targets = signed.find_map(Result::ok).ok_or_else(|| {
            Failure::of(Exit::Untrusted, &TrustError::Missing(named(number)))
                .next("no root in the folder names the keys that have signed it")
        })?;
        all.insert(number, targets);
    }
    Ok(all)
}
