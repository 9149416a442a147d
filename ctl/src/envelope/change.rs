//! What a new root and new targets metadata change, in words.

use std::collections::BTreeSet;

use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::sign::PublicKey;
use suture_core::trust::{Metadata as _, Proposal, Role, Root, Targets};

use crate::repository::InForce;

/// One change, for a person who is asked to sign it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What kind of thing changes: `root`, `keys`, `targets`, `bundle`, `roster`, ...
    pub about: &'static str,
    /// In words.
    pub text: String,
}

impl Change {
    /// One change.
    pub fn new(about: &'static str, text: impl Into<String>) -> Self {
        Self { about, text: text.into() }
    }
}

/// What happens to keys, thresholds, versions and ends. What the targets list is told by [`super::listed`] and its kin.
pub fn metadata(in_force: InForce<'_>, proposal: &Proposal) -> Vec<Change> {
    let (root, targets) = in_force.map_or((None, None), |(root, targets)| (Some(root), targets));
    let mut changes = Vec::new();
    if let Some(next) = &proposal.root {
        let before = root.map_or_else(
            || "the first one: the repository begins".to_owned(),
            |r| format!("after root {}, which ends {}", r.version(), format_utc(r.expires())),
        );
        changes.push(Change::new("root", format!("root {}, {before}", next.version())));
        changes.push(Change::new("root", format!("it ends {}", format_utc(next.expires()))));
        for role in [Role::Root, Role::Targets, Role::Snapshot, Role::Timestamp] {
            keys(role, root.map(|root| &**root), next, &mut changes);
        }
    }
    if let Some(next) = &proposal.targets {
        let before = targets.map_or_else(
            || "the first ones".to_owned(),
            |t| format!("after targets {}, which end {}", t.version(), format_utc(t.expires())),
        );
        changes.push(Change::new("targets", format!("targets {}, {before}", next.version())));
        let signed = next.signed_at().map(format_utc).unwrap_or_default();
        changes.push(Change::new("targets", format!("made {signed}, they end {}", format_utc(next.expires()))));
    }
    changes
}

fn keys(role: Role, before: Option<&Root>, after: &Root, changes: &mut Vec<Change>) {
    let of = |root: &Root| root.authority(role).keys().copied().collect::<BTreeSet<PublicKey>>();
    let (old, new) = (before.map(of).unwrap_or_default(), of(after));
    let online = matches!(role, Role::Snapshot | Role::Timestamp);
    let whose = if online { format!("the server, for {role}") } else { role.to_string() };
    for key in new.difference(&old) {
        let held = after.holder(key).map_or_else(String::new, |name| format!(", {name}'s,"));
        changes.push(Change::new("keys", format!("{whose}: the key {key}{held} may sign from now on")));
    }
    for key in new.intersection(&old).filter(|key| before.and_then(|root| root.holder(key)) != after.holder(key)) {
        let held =
            |root: Option<&Root>| root.and_then(|r| r.holder(key)).map_or("nobody", |name| name.as_str()).to_owned();
        let text = format!("{whose}: the key {key} is {}'s from now on; it was {}'s", held(Some(after)), held(before));
        changes.push(Change::new("keys", text));
    }
    for key in old.difference(&new) {
        changes.push(Change::new("keys", format!("{whose}: the key {key} may NOT sign any more")));
    }
    let threshold = |root: &Root| root.authority(role).threshold();
    let (old_threshold, threshold) = (before.map(threshold), threshold(after));
    if old_threshold != Some(threshold) || old != new {
        let was = old_threshold.map_or_else(String::new, |t| format!(", it was {t} of {}", old.len()));
        changes.push(Change::new("threshold", format!("{whose}: {threshold} of {} keys must sign{was}", new.len())));
    }
}

/// Whether targets metadata list the same as those before them.
pub(super) fn differ(before: Option<&Targets>, after: &Targets, path: &str) -> bool {
    before.and_then(|t| t.target(path)) != after.target(path)
}
