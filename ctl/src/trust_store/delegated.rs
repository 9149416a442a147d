//! The catalog with all that its delegated roles list.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::ops::Deref;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::limits::{MAX_DELEGATIONS, MAX_TARGETS_BYTES};
use suture_core::trust::{Base, Delegated, Repository, TrustError};

use super::TrustStore;
use crate::client::Client;
use crate::failure::{Exit, Failure, Outcome};
use crate::files;

const DIRECTORY: &str = "delegated";

/// A name below [`DIRECTORY`]: a role's may be longer than a file's.
fn kept_as(name: &str) -> String {
    Digest::of(name.as_bytes()).to_string()
}

/// A verified catalog that knows what its delegated roles list.
#[derive(Debug)]
pub struct Catalog {
    repository: Repository,
    /// Roles that were refused, and why: what they list is unknown.
    refused: BTreeMap<String, TrustError>,
}

/// The metadata of delegated roles, by their names.
#[derive(Debug, Default)]
pub struct Roles {
    files: Delegated<Vec<u8>>,
    /// What was left out, since it was signed before what this home has seen of the role, and why.
    older: BTreeMap<String, (Vec<u8>, TrustError)>,
}

impl Roles {
    /// The roles of which the server has an older list than this home has seen.
    pub fn older(self) -> impl Iterator<Item = (String, TrustError)> {
        self.older.into_iter().map(|(role, (_, error))| (role, error))
    }

    /// What is in force of a role although it is older: for its signer, who signs the next one on it once a server was put back
    /// to an earlier day.
    pub fn take_older(&mut self, role: &str) -> Option<TrustError> {
        let (bytes, error) = self.older.remove(role)?;
        self.files.insert(role.to_owned(), bytes);
        Some(error)
    }

    /// The files.
    pub fn into_files(self) -> Delegated<Vec<u8>> {
        self.files
    }
}

impl Deref for Roles {
    type Target = Delegated<Vec<u8>>;
    fn deref(&self) -> &Delegated<Vec<u8>> {
        &self.files
    }
}

impl Deref for Catalog {
    type Target = Repository;
    fn deref(&self) -> &Repository {
        &self.repository
    }
}

impl Catalog {
    /// That something is not listed; where a role was refused that might list it, that it was.
    pub fn lacks(&self, what: &str) -> Failure {
        let failure = Failure::new(format!("the manufacturer's catalog does not list {what}"))
            .next("`suturectl catalog status` shows what it lists");
        self.refused.values().fold(failure, |failure, error| failure.because(error)).exit(match self.refused.len() {
            0 => Exit::Failed,
            _ => Exit::Untrusted,
        })
    }
}

impl TrustStore<'_> {
    /// As [`TrustStore::refresh`], with what delegated roles list. A role that is refused stops nothing but itself.
    pub async fn refresh_catalog(&self, client: &mut Client, now: Timestamp) -> Outcome<Catalog> {
        let base: Base = self.refresh(client, now).await?.into();
        let files = self.delegated(Some(client), &base).await?;
        let mut repository = base.current(now)?;
        let mut refused = repository.survey(&files, now);
        refused.extend(files.older());
        Ok(Catalog { repository, refused })
    }

    /// The metadata of all delegated roles in force, by the roles' names: from the home or else from the server, and then
    /// kept. Each is what the snapshot pins; who signed those of roles further down is not yet known. What cannot be had is
    /// left out.
    ///
    /// Attack: new online keys in the hands of whoever had the old ones, and an older list of a role: shown to people, or signed
    /// on, without what has been withdrawn since. The home keeps the last one of each role, and leaves out what was signed before.
    pub async fn delegated(&self, mut client: Option<&mut Client>, base: &Base) -> Outcome<Roles> {
        // Also of a role that is not to be had now.
        let direct: BTreeSet<&str> = base.targets_metadata().delegations().map(|d| d.name()).collect();
        let mut kept: BTreeSet<OsString> = direct.iter().map(|role| kept_as(role).into()).collect();
        let (mut files, mut older) = (Delegated::new(), BTreeMap::new());
        for (role, request) in base.delegated().take(MAX_DELEGATIONS) {
            let is_direct = direct.contains(role);
            let kept_as = kept_as(if is_direct { role } else { &request.name });
            let name = self.name(&format!("{DIRECTORY}/{kept_as}"));
            let here = files::read(&self.home.path(&name)?, MAX_TARGETS_BYTES).ok().flatten();
            // A role's last file stays after it has been replaced, so a name says nothing of its version.
            let is_whole = |bytes: &Vec<u8>| !is_direct || base.role(role, bytes).is_ok();
            let is_pinned = |bytes: &Vec<u8>| base.verify_delegated(role, bytes).is_ok();
            let mut bytes = here.clone().filter(|bytes| is_pinned(bytes) && is_whole(bytes));
            if let (None, Some(client)) = (&bytes, &mut client) {
                // A wrong file is left out as a missing one is: the survey then tells which role it stops.
                let offered = client.metadata(self.which, &request.name, request.max_bytes).await?;
                bytes = offered.filter(is_pinned);
                // Nor does one that others have signed displace the last that was good.
                if let Some(whole) = bytes.clone().filter(is_whole) {
                    let after = here.filter(|_| is_direct).map(|here| base.role_after(role, &here, &whole));
                    match after.transpose() {
                        Ok(_) => self.write(&format!("{DIRECTORY}/{kept_as}"), &whole)?,
                        Err(error) => {
                            older.insert(role.to_owned(), (whole, error));
                            bytes = None;
                        }
                    }
                }
            }
            if let Some(bytes) = bytes {
                files.insert(role.to_owned(), bytes);
                kept.insert(kept_as.into());
            }
        }
        self.keep_only(&kept)?;
        Ok(Roles { files, older })
    }

    fn keep_only(&self, wanted: &BTreeSet<OsString>) -> Outcome {
        let directory = self.home.directory().join(self.name(DIRECTORY));
        let Ok(entries) = std::fs::read_dir(&directory) else { return Ok(()) };
        for entry in entries.flatten().filter(|e| !wanted.contains(&e.file_name())) {
            files::remove(&entry.path())?;
        }
        Ok(())
    }
}
