//! What a server checks before it puts offline-signed metadata in force, and what a publisher checks before sending them.
//!
//! The server is trusted with nothing by those who read from it; it checks so that a mistake is refused where its maker
//! can still see it, instead of at every device.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::delegation::listed_name;
use super::verify::{Envelope, Metadata};
use super::{Delegations, Role, Root, Targets, TrustError, Verified};
use crate::digest::Digest;

/// How far ahead of the server's clock a signer's may be: 5 minutes. Devices take `signed_at` for the least time that it can
/// be, so a signature from far in the future would stop them all.
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// What will be in force after a publication.
#[derive(Debug, Clone)]
pub struct Publication {
    /// New roots, ascending; mostly none.
    pub roots: Vec<Verified<Root>>,
    /// The root in force.
    pub root: Verified<Root>,
    /// The targets metadata in force.
    pub targets: Verified<Targets>,
    /// Whether the targets metadata are new.
    pub new_targets: bool,
}

/// Verifies a publication against what is in force: new roots in ascending order, and new targets metadata or none. Targets
/// metadata that delegate are refused; [`verify_delegating`] takes them.
pub fn verify_publication(
    current_root: Option<&[u8]>,
    new_roots: &[Vec<u8>],
    current_targets: Option<&[u8]>,
    new_targets: Option<&[u8]>,
    now: Timestamp,
) -> Result<Publication, TrustError> {
    verify(current_root, new_roots, current_targets, new_targets, Delegations::Refused, now)
}

/// Metadata of delegated roles, by the roles' names.
pub type Delegated<T> = BTreeMap<String, T>;

/// As [`verify_publication`], for whoever serves repositories that may delegate and others that must not; of each pair the
/// first is in force and the second is new. Every role that is delegated to, from the top or from further down, must be
/// there, and signed as each of its delegators asks. Gives the roles that are new, for the snapshot to pin.
pub fn verify_delegating(
    (current_root, new_roots): (Option<&[u8]>, &[Vec<u8>]),
    (current_targets, new_targets): (Option<&[u8]>, Option<&[u8]>),
    (current, new): (&Delegated<Vec<u8>>, &Delegated<Vec<u8>>),
    delegations: Delegations,
    now: Timestamp,
) -> Result<(Publication, Delegated<Verified<Targets>>), TrustError> {
    let publication = verify(current_root, new_roots, current_targets, new_targets, delegations, now)?;
    let mut verified: Delegated<Verified<Targets>> = BTreeMap::new();
    let mut pending = vec![publication.targets.clone()];
    while let Some(delegator) = pending.pop() {
        for delegation in delegator.delegations() {
            let role = &delegation.name;
            let refused = |source| TrustError::Delegated { role: role.clone(), source: Box::new(source) };
            let missing = || refused(TrustError::Missing(listed_name(role)));
            let bytes = new.get(role).or_else(|| current.get(role)).ok_or_else(missing)?;
            // Once for each delegator, whose keys may be others each time.
            let targets = Verified::signed_by(&delegation.authority, bytes).map_err(refused)?;
            if !verified.contains_key(role) {
                if new.contains_key(role) {
                    supersedes(&targets, current.get(role), now).map_err(refused)?;
                }
                pending.push(targets.clone());
                verified.insert(role.clone(), targets);
            }
        }
    }
    if let Some(role) = new.keys().find(|role| !verified.contains_key(*role)) {
        let source = TrustError::Rule { role: Role::Targets, rule: "it was sent along, but nothing delegates to it" };
        return Err(TrustError::Delegated { role: role.clone(), source: Box::new(source) });
    }
    verified.retain(|role, _| new.contains_key(role));
    Ok((publication, verified))
}

/// A delegated role's new metadata are fresh, well formed, and not of a version that was used.
fn supersedes(new: &Verified<Targets>, current: Option<&Vec<u8>>, now: Timestamp) -> Result<(), TrustError> {
    new.fresh(now)?;
    well_formed(new, now)?;
    current.map_or(Ok(()), |bytes| follows(new, bytes))
}

fn verify(
    current_root: Option<&[u8]>,
    new_roots: &[Vec<u8>],
    current_targets: Option<&[u8]>,
    new_targets: Option<&[u8]>,
    delegations: Delegations,
    now: Timestamp,
) -> Result<Publication, TrustError> {
    let (root, roots) = chain(current_root, new_roots)?;
    root.fresh(now)?;
    // New roots alone: what they leave in force must still be signed by the keys that they name.
    let missing = || TrustError::Missing(Role::Targets.file_name().to_owned());
    let targets: Verified<Targets> = Verified::by(&root, new_targets.or(current_targets).ok_or_else(missing)?)?;
    targets.may_delegate(delegations)?;
    if new_targets.is_some() {
        targets.fresh(now)?;
        well_formed(&targets, now)?;
        if let Some(bytes) = current_targets {
            follows(&targets, bytes)?;
        }
    }
    Ok(Publication { roots, root, targets, new_targets: new_targets.is_some() })
}

fn chain(current: Option<&[u8]>, new: &[Vec<u8>]) -> Result<(Verified<Root>, Vec<Verified<Root>>), TrustError> {
    let mut roots: Vec<Verified<Root>> = Vec::new();
    let mut last = current.map(Verified::pinned).transpose()?;
    for bytes in new {
        let offered: Verified<Root> = Verified::pinned(bytes)?;
        next_root(last.as_ref().map(Verified::version), offered.version())?;
        let next = match &last {
            Some(root) => root.next(bytes)?,
            None => offered,
        };
        roots.push(next.clone());
        last = Some(next);
    }
    let root = last.ok_or_else(|| TrustError::Missing(Role::Root.file_name().to_owned()))?;
    Ok((root, roots))
}

/// A new root is of the version after the one in force, or the first.
pub(super) fn next_root(in_force: Option<u64>, offered: u64) -> Result<(), TrustError> {
    let wanted = in_force.unwrap_or(0).saturating_add(1);
    match offered.cmp(&wanted) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(TrustError::VersionTaken { role: Role::Root, version: offered }),
        Ordering::Greater => Err(TrustError::WrongVersion { role: Role::Root, wanted, offered }),
    }
}

/// What Suture asks of targets metadata beyond TUF.
pub(super) fn well_formed(targets: &Targets, now: Timestamp) -> Result<(), TrustError> {
    let rule = |rule| Err(TrustError::Rule { role: Role::Targets, rule });
    let Some(signed_at) = targets.signed_at() else {
        return rule("it does not say when it was signed");
    };
    if signed_at > now.checked_add(MAX_AHEAD).unwrap_or(Timestamp::MAX) {
        return rule("it was signed more than 5 minutes in the future; set the signer's clock and sign again");
    }
    if signed_at >= targets.expires() {
        return rule("it expired before it was signed");
    }
    Ok(())
}

/// A version number is used once, and each version names the one before it by digest. The version in force was verified
/// when it was published; it may be by keys that the new roots have thrown out.
pub(super) fn follows(new: &Targets, bytes_in_force: &[u8]) -> Result<(), TrustError> {
    let current = Targets::read(&Envelope::open(Role::Targets, bytes_in_force)?.signed)?;
    let version = new.version();
    if version <= current.version() {
        return Err(TrustError::VersionTaken { role: Role::Targets, version });
    }
    if version != current.version().saturating_add(1) || new.previous() != Some(Digest::of(bytes_in_force)) {
        return Err(TrustError::BaseMoved { role: Role::Targets, current: current.version() });
    }
    if new.signed_at() < current.signed_at() {
        let rule = "it was signed before the version that it follows; set the signer's clock and sign again";
        return Err(TrustError::Rule { role: Role::Targets, rule });
    }
    Ok(())
}
