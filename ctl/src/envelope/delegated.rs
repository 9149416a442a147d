//! What changes in delegations and in what delegated roles list, in words.

use std::collections::{BTreeMap, BTreeSet};

use suture_core::clock::format_utc;
use suture_core::sign::PublicKey;
use suture_core::trust::{Delegated, Delegation, Metadata as _, Proposal, Proposed, Targets};

use super::listed::{catalog, listed};
use super::{Change, refused};
use crate::failure::Outcome;

/// Delegations that begin, change or end, and what roles' new metadata change; `top` are the targets metadata in force, and
/// `before` the roles' metadata.
///
/// # Errors
///
/// As [`catalog`]; a role lists something that it was not given.
pub fn delegated(
    top: Option<&Targets>,
    before: &Delegated<Vec<u8>>,
    proposal: &Proposal,
    files: &BTreeMap<String, Vec<u8>>,
) -> Outcome<Vec<Change>> {
    let mut changes = Vec::new();
    if let Some(next) = &proposal.targets {
        delegations(top, next, &mut changes);
    }
    for (name, next) in &proposal.delegated {
        let delegation = proposal.targets.as_deref().or(top).and_then(|top| top.delegation(name));
        // Bytes that the snapshot pins. Where the role's keys change, they are another's word, shown to be compared with;
        // what a role once listed that has not spoken lately is nobody's, and its list begins anew.
        let speaks = top.is_some_and(|top| top.delegation(name).is_some());
        let old = before.get(name).filter(|_| speaks).map(|bytes| Proposed::<Targets>::read(bytes)).transpose()?;
        let old = old.as_deref();
        let text = old.map_or_else(
            || "the first ones".to_owned(),
            |t| format!("after {}, which end {}", t.version(), format_utc(t.expires())),
        );
        let (version, end) = (next.version(), format_utc(next.expires()));
        changes.push(Change::new("role", format!("{name}: its targets {version}, {text}; they end {end}")));
        for (path, _) in next.targets() {
            let listed_before = old.is_some_and(|old| old.target(path).is_some());
            if !listed_before && !delegation.is_some_and(|delegation| delegation.covers(path)) {
                return Err(refused(format!("the role {name} lists {path}, which it may not speak for")));
            }
        }
        let of_role = |change: Change| Change { text: format!("{name}: {}", change.text), ..change };
        changes.extend(catalog(old, next, files)?.into_iter().map(of_role));
        changes.extend(listed(old, next).into_iter().map(of_role));
    }
    Ok(changes)
}

fn delegations(before: Option<&Targets>, after: &Targets, changes: &mut Vec<Change>) {
    let mut change = |text: String| changes.push(Change::new("delegation", text));
    for new in after.delegations() {
        let name = new.name();
        match before.and_then(|before| before.delegation(name)) {
            None => change(format!("the role {name} is let speak for {}", describe(new))),
            Some(old) if old != new => {
                change(format!("the role {name} speaks for {}; it was {}", describe(new), describe(old)));
            }
            Some(_) => {}
        }
    }
    for old in before.into_iter().flat_map(Targets::delegations) {
        if after.delegation(old.name()).is_none() {
            change(format!("the role {} may NOT speak any more: what it lists is nobody's", old.name()));
        }
    }
}

fn describe(delegation: &Delegation) -> String {
    let authority = delegation.authority();
    let keys: BTreeSet<&PublicKey> = authority.keys().collect();
    let keys: Vec<String> = keys.into_iter().map(ToString::to_string).collect();
    let (paths, count) = (delegation.paths().join(", "), keys.len());
    format!("{paths}, by {} of {count} keys ({})", authority.threshold(), keys.join(", "))
}
