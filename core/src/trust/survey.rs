//! All that delegated roles list, at once: for those who show a catalog to people, and for those who plan by it.
//!
//! Attacks stopped here: those that [`Search`] stops, because each path is looked for by one. A role that lists what it was
//! not given lists it in vain; one that cannot be verified is told of, and the rest goes on.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp as Instant;

use super::delegation::{Delegation, listed_name};
use super::search::role_file;
use super::{Delegated, Repository, Search, Targets, TrustError, Verified};
use crate::limits::MAX_DELEGATIONS;

/// See [`Repository::survey`].
pub(super) fn survey(
    repository: &mut Repository,
    files: &Delegated<Vec<u8>>,
    now: Instant,
) -> BTreeMap<String, TrustError> {
    let mut refused = BTreeMap::new();
    // Once for each delegator, whose keys may be others each time.
    let mut looked_at: Vec<(Delegation, Option<Verified<Targets>>)> = Vec::new();
    let mut pending: Vec<Delegation> = repository.targets_metadata().delegations().cloned().collect();
    while let Some(delegation) = pending.pop() {
        if looked_at.iter().any(|(known, _)| *known == delegation) {
            continue;
        }
        let read = match files.get(&delegation.name) {
            _ if looked_at.len() >= MAX_DELEGATIONS => Err(TrustError::TooManyRoles(MAX_DELEGATIONS)),
            Some(bytes) => repository.pin(&delegation.name).and_then(|pin| role_file(pin, &delegation, bytes, now)),
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
        let Ok(mut search) = Search::start(repository, &path, now) else { continue };
        while let Some(asked) = search.asked() {
            let known = looked_at.iter().find(|(known, _)| known == asked).and_then(|(_, targets)| targets.as_ref());
            // TUF 5.6.7: a role that might have had the first word and cannot be read ends the search.
            let Some(targets) = known else { break };
            if search.take(targets).is_err() {
                break;
            }
        }
    }
    refused
}
