//! What a server checks before it puts offline-signed metadata in force, and what a publisher checks before sending them.
//!
//! The server is trusted with nothing by those who read from it; it checks so that a mistake is refused where its maker
//! can still see it, instead of at every device.

use jiff::{SignedDuration, Timestamp};

use super::verify::{Envelope, Metadata};
use super::{Role, Root, Targets, TrustError, Verified};
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

/// Verifies a publication against what is in force: new roots in ascending order, and new targets metadata or none.
pub fn verify_publication(
    current_root: Option<&[u8]>,
    new_roots: &[Vec<u8>],
    current_targets: Option<&[u8]>,
    new_targets: Option<&[u8]>,
    now: Timestamp,
) -> Result<Publication, TrustError> {
    let (root, roots) = chain(current_root, new_roots)?;
    root.fresh(now)?;
    let targets: Verified<Targets> = match (new_targets, current_targets) {
        (Some(bytes), _) => Verified::by(&root, bytes)?,
        // New roots alone: what they leave in force must still be signed by the keys that they name.
        (None, Some(bytes)) => Verified::by(&root, bytes)?,
        (None, None) => return Err(TrustError::Missing(Role::Targets.file_name().to_owned())),
    };
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
        let next = match &last {
            Some(root) => {
                let offered: Verified<Root> = Verified::pinned(bytes)?;
                if offered.version() <= root.version() {
                    return Err(TrustError::VersionTaken { role: Role::Root, version: offered.version() });
                }
                root.next(bytes)?
            }
            None => {
                let first: Verified<Root> = Verified::pinned(bytes)?;
                if first.version() != 1 {
                    let offered = first.version();
                    return Err(TrustError::WrongVersion { role: Role::Root, wanted: 1, offered });
                }
                first
            }
        };
        roots.push(next.clone());
        last = Some(next);
    }
    let root = last.ok_or_else(|| TrustError::Missing(Role::Root.file_name().to_owned()))?;
    Ok((root, roots))
}

/// What Suture asks of targets metadata beyond TUF.
fn well_formed(targets: &Targets, now: Timestamp) -> Result<(), TrustError> {
    let rule = |rule| Err(TrustError::Rule { role: Role::Targets, rule });
    if targets.delegates() {
        return rule("it delegates, which neither repository does");
    }
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
fn follows(new: &Targets, bytes_in_force: &[u8]) -> Result<(), TrustError> {
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
