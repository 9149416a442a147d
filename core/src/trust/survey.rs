//! All that delegated roles list, at once: for those who show a catalog to people, and for those who plan by it. Devices look
//! for one path at a time and need nothing of it.
//!
//! Attacks stopped here: those that [`Search`] stops, because each path is looked for by one. A role that lists what it was
//! not given lists it in vain; one that cannot be verified is told of, and the rest goes on.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp as Instant;

use super::delegation::{Delegation, delegated_name, listed_name};
use super::earlier::Earlier;
use super::search::role_file;
use super::{Base, Delegated, Repository, Request, Role, Search, Target, Targets, TrustError, Verified};
use crate::limits::MAX_DELEGATIONS;

impl Repository {
    /// All targets that it knows: those that the targets metadata list themselves, then those that were found in delegated
    /// roles.
    pub fn known(&self) -> impl Iterator<Item = (&str, &Target)> {
        let found = self.found.iter().filter(|(path, _)| self.base.targets.listed(path).is_none());
        self.targets().chain(found.map(|(path, found)| (path.as_str(), &found.listed.target)))
    }

    /// Finds all that delegated roles list, each path where a [`Search`] would find it. `files` holds the roles' metadata by
    /// their names. Gives the roles that were refused, and why; what they list stays unknown.
    pub fn survey(&mut self, files: &Delegated<Vec<u8>>, now: Instant) -> BTreeMap<String, TrustError> {
        let mut refused = BTreeMap::new();
        // Once for each delegator, whose keys may be others each time.
        let mut looked_at: Vec<(Delegation, Option<Verified<Targets>>)> = Vec::new();
        let mut pending: Vec<Delegation> = self.targets_metadata().delegations().cloned().collect();
        while let Some(delegation) = pending.pop() {
            if looked_at.iter().any(|(known, _)| *known == delegation) {
                continue;
            }
            let read = match files.get(&delegation.name) {
                _ if looked_at.len() >= MAX_DELEGATIONS => Err(TrustError::TooManyRoles(MAX_DELEGATIONS)),
                Some(bytes) => self.pin(&delegation.name).and_then(|pin| role_file(pin, &delegation, bytes, None, now)),
                None => Err(TrustError::Missing(listed_name(&delegation.name))),
            };
            match read {
                Ok(targets) => {
                    pending.extend(targets.delegations().cloned());
                    looked_at.push((delegation, Some(targets)));
                }
                Err(error) => {
                    refused.insert(delegation.name.clone(), error);
                    if looked_at.len() < MAX_DELEGATIONS {
                        looked_at.push((delegation, None));
                    }
                }
            }
        }
        let listed = looked_at.iter().flat_map(|(_, targets)| targets).flat_map(|t| t.targets());
        let paths: BTreeSet<String> = listed.map(|(path, _)| path.to_owned()).collect();
        for path in paths {
            let Ok(mut search) = Search::start(self, &path, now) else { continue };
            while let Some(asked) = search.asked() {
                let known =
                    looked_at.iter().find(|(known, _)| known == asked).and_then(|(_, targets)| targets.as_ref());
                // TUF 5.6.7: a role that might have had the first word and cannot be read ends the search.
                let Some(targets) = known else { break };
                if search.take(targets).is_err() {
                    break;
                }
            }
        }
        refused
    }
}

impl Base {
    /// What to fetch for each delegated role whose metadata the snapshot pins, by the role's name.
    pub fn delegated(&self) -> impl Iterator<Item = (&str, Request)> {
        self.snapshot.delegated().filter_map(|(role, version)| {
            let max_bytes = self.pin(role).ok()?.max_bytes(Role::Targets);
            Some((role, Request { name: delegated_name(role, version), max_bytes }))
        })
    }

    /// Refuses bytes that are not the metadata of a delegated role that are in force. Who signed them is another question.
    pub fn verify_delegated(&self, role: &str, bytes: &[u8]) -> Result<(), TrustError> {
        self.pin(role)?.check(Role::Targets, bytes)
    }

    /// The metadata of a role that the targets metadata delegate to, from the file in force. They may have expired.
    pub fn role(&self, role: &str, bytes: &[u8]) -> Result<Verified<Targets>, TrustError> {
        let delegation = self.targets.delegation(role).ok_or_else(|| TrustError::Missing(listed_name(role)))?;
        let refused = |source| TrustError::Delegated { role: role.to_owned(), source: Box::new(source) };
        Verified::under(self.pin(role)?, delegation.authority(), bytes).map_err(refused)
    }

    /// Refuses metadata of a role that the targets metadata delegate to, as [`Base::role`] reads them, where they were signed
    /// before those that the caller took earlier.
    pub fn role_after(&self, role: &str, taken: &[u8], bytes: &[u8]) -> Result<Verified<Targets>, TrustError> {
        let offered = self.role(role, bytes)?;
        let authority = self.targets.delegation(role).map(|delegation| delegation.authority());
        let earlier = authority.and_then(|authority| Earlier::of(authority, taken, self.targets.expires()));
        let refused = |source| TrustError::Delegated { role: role.to_owned(), source: Box::new(source) };
        earlier.map_or(Ok(()), |earlier| earlier.precedes(&offered)).map_err(refused)?;
        Ok(offered)
    }

    /// All that it lists itself and that delegated roles list, as [`Repository::survey`] finds it, and the roles that were
    /// refused.
    pub fn listing(
        &self,
        files: &Delegated<Vec<u8>>,
        now: Instant,
    ) -> (BTreeMap<String, Target>, BTreeMap<String, TrustError>) {
        let mut whole = Repository { base: self.clone(), found: BTreeMap::new() };
        let refused = whole.survey(files, now);
        (whole.known().map(|(path, target)| (path.to_owned(), target.clone())).collect(), refused)
    }
}
