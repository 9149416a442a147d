//! Delegations: targets metadata that let other roles speak for some of the paths.
//!
//! Attacks stopped here: a delegated role that speaks for paths it was not given, one that passes for a top-level role or
//! for a file elsewhere by its name, and patterns that two readers understand differently.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use serde::Deserialize;
use serde_json::Value;

use super::metadata::{given, view};
use super::role::{Keys, RoleEntry};
use super::{Authority, Role, TrustError};
use crate::digest::Digest;
use crate::limits::{MAX_DELEGATION_PATHS, MAX_DELEGATIONS, MAX_TARGET_PATH_BYTES};

/// What a repository's reader thinks of delegations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delegations {
    /// Targets metadata that as much as speak of them are refused. A hospital's approvals are read so: whoever holds the
    /// approvers' keys approves, and nobody else on their behalf.
    #[default]
    Refused,
    /// They are followed, by [`super::Search`]. The manufacturer's catalog is read so.
    Followed,
}

/// One role that may speak for some paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    pub(super) name: String,
    /// Who signs for it, by this delegator's word. Another delegator may name other keys for the same role.
    pub(super) authority: Authority,
    /// Whether what it does not list is nobody's.
    pub(super) terminating: bool,
    paths: Paths,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Paths {
    Patterns(Vec<String>),
    HashPrefixes(Vec<String>),
}

impl Delegation {
    /// The role's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who signs for it.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The paths that it may speak for: patterns, or prefixes of the paths' SHA-256 in hexadecimal digits.
    pub fn paths(&self) -> &[String] {
        let (Paths::Patterns(list) | Paths::HashPrefixes(list)) = &self.paths;
        list
    }

    /// Whether the role may speak for a path.
    pub fn covers(&self, path: &str) -> bool {
        match &self.paths {
            Paths::Patterns(patterns) => patterns.iter().any(|pattern| matches(pattern, path)),
            Paths::HashPrefixes(prefixes) => {
                let digest = Digest::of(path.as_bytes()).to_string();
                prefixes.iter().any(|prefix| digest.starts_with(prefix))
            }
        }
    }
}

#[derive(Deserialize)]
struct RawDelegations {
    keys: BTreeMap<Digest, Value>,
    roles: Vec<RawDelegation>,
}

#[derive(Deserialize)]
struct RawDelegation {
    name: String,
    #[serde(flatten)]
    entry: RoleEntry,
    terminating: bool,
    #[serde(default, deserialize_with = "given")]
    paths: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    path_hash_prefixes: Option<Vec<String>>,
}

/// Reads the `delegations` of targets metadata, in the order in which the roles are asked.
pub(super) fn read_delegations(value: &Value) -> Result<Vec<Delegation>, TrustError> {
    let rule = |rule| Err(TrustError::Rule { role: Role::Targets, rule });
    let raw: RawDelegations = view(Role::Targets, value)?;
    if raw.roles.len() > MAX_DELEGATIONS {
        return rule("it delegates to too many roles");
    }
    let keys = Keys::read(Role::Targets, raw.keys)?;
    let mut names = BTreeSet::new();
    let mut delegations = Vec::new();
    for raw in raw.roles {
        if !plain_name(&raw.name) {
            return rule(
                "a delegated role's name is a top-level role's, empty, over 512 bytes, or has control characters",
            );
        }
        if !names.insert(raw.name.clone()) {
            return rule("it delegates to one role twice");
        }
        let paths = match (raw.paths, raw.path_hash_prefixes) {
            (Some(patterns), None) if patterns.iter().all(|p| plain_pattern(p)) => Paths::Patterns(patterns),
            (None, Some(prefixes)) if prefixes.iter().all(|p| hash_prefix(p)) => Paths::HashPrefixes(prefixes),
            (Some(_), Some(_)) | (None, None) => {
                return rule("a delegated role has both of paths and path_hash_prefixes, or neither");
            }
            (Some(_), None) => return rule("a path pattern is too long or has other wildcards than * and ?"),
            (None, Some(_)) => return rule("a path hash prefix is not 1 to 64 lower-case hexadecimal digits"),
        };
        let (Paths::Patterns(list) | Paths::HashPrefixes(list)) = &paths;
        if list.len() > MAX_DELEGATION_PATHS {
            return rule("a delegated role has too many paths");
        }
        let authority = keys.authority(raw.entry)?;
        delegations.push(Delegation { name: raw.name, authority, terminating: raw.terminating, paths });
    }
    Ok(delegations)
}

/// The file that a snapshot lists for a delegated role.
pub(super) fn listed_name(role: &str) -> String {
    format!("{role}.json")
}

/// The name of one version of a delegated role's file at the server: `N.<role>.json`. A role's name may be anything, so all
/// but letters, digits and `-._~` is percent-encoded: no name leads to another place.
pub fn delegated_name(role: &str, version: u64) -> String {
    let mut name = format!("{version}.");
    for byte in role.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => name.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name + ".json"
}

/// A role named like a top-level one would be served in its place.
fn plain_name(name: &str) -> bool {
    let top_level = Role::ALL.iter().any(|role| role.as_str() == name);
    !top_level && !name.is_empty() && name.len() <= MAX_TARGET_PATH_BYTES && !name.chars().any(char::is_control)
}

/// Shells know more wildcards (`[a-z]`, `\*`), and readers differ on them.
fn plain_pattern(pattern: &str) -> bool {
    pattern.len() <= MAX_TARGET_PATH_BYTES && !pattern.contains(['[', ']', '\\'])
}

fn hash_prefix(prefix: &str) -> bool {
    (1..=64).contains(&prefix.len()) && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// As a shell has it, segment by segment: no wildcard matches a `/`.
fn matches(pattern: &str, path: &str) -> bool {
    pattern.split('/').count() == path.split('/').count()
        && pattern.split('/').zip(path.split('/')).all(|(pattern, segment)| segment_matches(pattern, segment))
}

/// `*` is any run of characters and `?` is any one. Time grows with the product of the lengths, never faster: a pattern full
/// of stars is no way to keep a device busy.
fn segment_matches(pattern: &str, segment: &str) -> bool {
    let segment: Vec<char> = segment.chars().collect();
    // Whether the pattern so far matches the first 0, 1, 2, .. characters.
    let mut reached: Vec<bool> = iter::once(true).chain(segment.iter().map(|_| false)).collect();
    for p in pattern.chars() {
        if p == '*' {
            let mut before = false;
            for here in &mut reached {
                *here |= before;
                before = *here;
            }
        } else {
            let one_on = reached.iter().zip(&segment).map(|(before, c)| *before && (p == '?' || p == *c));
            reached = iter::once(false).chain(one_on).collect();
        }
    }
    reached.last() == Some(&true)
}
