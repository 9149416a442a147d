//! The next version of a repository on its way from signer to signer: well-formed, not yet signed by enough.
//!
//! Nothing here is an authority over anything. A [`Proposed`] file is another type than a [`Verified`] one, and becomes one
//! only through the same door as every other file, once it has been published. What is checked here is what a signer
//! needs to know before adding a signature: that it follows from what the signer has verified, and who must sign yet.

use std::collections::BTreeSet;
use std::ops::Deref;

use jiff::Timestamp;

use super::delegation::listed_name;
use super::key::Key;
use super::publication::{follows, next_root, well_formed};
use super::verify::{Envelope, Metadata};
use super::{Authority, Delegated, Role, Root, Targets, TrustError, Verified, edit};
use crate::digest::Digest;
use crate::sign::{PublicKey, Signer};

/// Metadata that are being signed.
#[derive(Debug, Clone)]
pub struct Proposed<T> {
    view: T,
    envelope: Envelope,
    bytes: Vec<u8>,
}

impl<T: Metadata> Proposed<T> {
    /// Reads a file by the rules of its role, whoever has signed it.
    ///
    /// # Errors
    ///
    /// It is too long, not strict JSON, or breaks a rule of the role.
    pub fn read(bytes: &[u8]) -> Result<Self, TrustError> {
        let envelope = Envelope::open(T::ROLE, bytes)?;
        Ok(Self { view: T::read(&envelope.signed)?, envelope, bytes: bytes.to_vec() })
    }

    /// With one more signature; what is signed stays to the last byte.
    ///
    /// # Errors
    ///
    /// The key's holder cannot sign.
    pub fn countersigned(&self, signer: &dyn Signer) -> Result<Self, TrustError> {
        Self::read(&edit::countersign::<T>(&self.bytes, signer)?)
    }
}

impl<T> Proposed<T> {
    /// The file, with the signatures that it has so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of what is signed, without the signatures: the same for all who sign it, so that they can compare it.
    pub fn signed_sha256(&self) -> Digest {
        Digest::of(self.envelope.message())
    }

    /// The keys of a role that have signed it.
    pub fn signed_by(&self, authority: &Authority) -> BTreeSet<PublicKey> {
        self.envelope.signed_by(authority).into_iter().filter_map(Key::ed25519).copied().collect()
    }
}

impl<T> Deref for Proposed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.view
    }
}

/// A new root, new targets metadata, new metadata of delegated roles, or several of them, as the next versions after what is
/// in force.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The new root, where there is one.
    pub root: Option<Proposed<Root>>,
    /// The new targets metadata, where there are any.
    pub targets: Option<Proposed<Targets>>,
    /// New metadata of roles that the targets metadata delegate to, by name.
    pub delegated: Delegated<Proposed<Targets>>,
}

/// The signatures of one role's keys under one file of a [`Proposal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Whose file is to be signed.
    pub role: Role,
    /// Which delegated role it is, where it is one.
    pub delegated: Option<String>,
    /// The version of the root that names the keys; for a delegated role, of the targets metadata that do.
    pub named_by: u64,
    /// How many of the keys must sign.
    pub threshold: usize,
    /// Those that have.
    pub signed: BTreeSet<PublicKey>,
    /// Those that may yet.
    pub open: BTreeSet<PublicKey>,
}

impl Want {
    fn of<T>(role: Role, file: &Proposed<T>, authority: &Authority, named_by: u64) -> Self {
        let signed = file.signed_by(authority);
        let open = authority.keys().filter(|key| !signed.contains(*key)).copied().collect();
        Self { role, delegated: None, named_by, threshold: authority.threshold(), signed, open }
    }

    /// How many signatures are missing.
    pub fn missing(&self) -> usize {
        self.threshold.saturating_sub(self.signed.len())
    }
}

impl Proposal {
    /// Reads what is proposed as the next versions after `root` and `targets`, which the caller has verified; none of both
    /// for a repository that is to begin. All is asked of it that a server will ask, save the signatures.
    ///
    /// # Errors
    ///
    /// It does not follow from what is in force, breaks a rule, has expired, delegates to others than before, or proposes
    /// nothing.
    pub fn read(
        in_force: Option<(&Verified<Root>, Option<&Verified<Targets>>)>,
        root: Option<&[u8]>,
        targets: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Self, TrustError> {
        let proposal = Self::top_level(in_force, root, targets, now)?;
        let before = in_force.and_then(|(_, before)| before).into_iter().flat_map(|before| before.delegations());
        if proposal.targets.as_ref().is_some_and(|targets| !targets.delegations().eq(before)) {
            return Err(TrustError::Rule { role: Role::Targets, rule: "it delegates to others than before" });
        }
        proposal.proposes_something(in_force.is_some())
    }

    /// As [`Proposal::read`], for a repository that may delegate; of the last pair the first holds the metadata of delegated
    /// roles in force, the second those that are new. A role that the targets metadata begin to delegate to, or whose keys
    /// they change so that they have not signed what is in force, must come along.
    pub fn delegating(
        in_force: Option<(&Verified<Root>, Option<&Verified<Targets>>)>,
        (root, targets): (Option<&[u8]>, Option<&[u8]>),
        (before, new): (&Delegated<Vec<u8>>, &Delegated<Vec<u8>>),
        now: Timestamp,
    ) -> Result<Self, TrustError> {
        let mut proposal = Self::top_level(in_force, root, targets, now)?;
        let refused = |role: &str, source| TrustError::Delegated { role: role.to_owned(), source: Box::new(source) };
        let in_force_targets = in_force.and_then(|(_, targets)| targets).map(|targets| &**targets);
        let top = proposal.targets.as_deref().or(in_force_targets);
        for (name, bytes) in new {
            let rule = "it was sent along, but the targets metadata do not delegate to it";
            let unknown = || refused(name, TrustError::Rule { role: Role::Targets, rule });
            top.and_then(|top| top.delegation(name)).ok_or_else(unknown)?;
            let file = role_after(before.get(name), bytes, now).map_err(|source| refused(name, source))?;
            proposal.delegated.insert(name.clone(), file);
        }
        for delegation in proposal.targets.iter().flat_map(|targets| targets.delegations()) {
            let name = delegation.name();
            let as_before = in_force_targets.and_then(|top| top.delegation(name)) == Some(delegation);
            if !as_before && !new.contains_key(name) {
                let missing = || TrustError::Missing(listed_name(name));
                let signed = before
                    .get(name)
                    .ok_or_else(missing)
                    .and_then(|bytes| Verified::<Targets>::signed_by(delegation.authority(), bytes).map(drop));
                signed.map_err(|source| refused(name, source))?;
            }
        }
        proposal.proposes_something(in_force.is_some())
    }

    fn top_level(
        in_force: Option<(&Verified<Root>, Option<&Verified<Targets>>)>,
        root: Option<&[u8]>,
        targets: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Self, TrustError> {
        let root = root.map(Proposed::<Root>::read).transpose()?;
        let targets = targets.map(Proposed::<Targets>::read).transpose()?;
        if let Some(root) = &root {
            next_root(in_force.map(|(root, _)| root.version()), root.version())?;
            root.fresh(now)?;
        }
        if let Some(targets) = &targets {
            targets.fresh(now)?;
            well_formed(targets, now)?;
            match in_force {
                Some((_, Some(before))) => follows(targets, before.bytes())?,
                // Without sight of what is in force nobody can say whether they follow from it.
                Some((_, None)) => return Err(TrustError::Missing(Role::Targets.file_name().to_owned())),
                None => is_first(targets)?,
            }
        }
        Ok(Self { root, targets, delegated: Delegated::new() })
    }

    fn proposes_something(self, begun: bool) -> Result<Self, TrustError> {
        let missing = |role: Role| Err(TrustError::Missing(role.file_name().to_owned()));
        match (begun, &self.root, &self.targets) {
            (false, None, _) => missing(Role::Root),
            (false, _, None) => missing(Role::Targets),
            (true, None, None) if self.delegated.is_empty() => missing(Role::Root),
            _ => Ok(self),
        }
    }

    /// Who has signed and who may yet, for each file and each set of keys that must: a new root is signed by the threshold
    /// of the one before it and by its own (TUF 5.3.4), targets metadata by the keys that the newest root names, delegated
    /// roles' by those that the newest targets metadata name.
    pub fn wants(&self, in_force: Option<(&Verified<Root>, Option<&Verified<Targets>>)>) -> Vec<Want> {
        let (in_force, targets) = in_force.map_or((None, None), |(root, targets)| (Some(root), targets));
        let mut wants = Vec::new();
        if let Some(root) = &self.root {
            if let Some(before) = in_force {
                wants.push(Want::of(Role::Root, root, before.authority(Role::Root), before.version()));
            }
            wants.push(Want::of(Role::Root, root, root.authority(Role::Root), root.version()));
        }
        let newest = self.root.as_deref().or(in_force.map(|root| &**root));
        if let (Some(targets), Some(newest)) = (&self.targets, newest) {
            wants.push(Want::of(Role::Targets, targets, newest.authority(Role::Targets), newest.version()));
        }
        let newest = self.targets.as_deref().or(targets.map(|targets| &**targets));
        for (name, file) in &self.delegated {
            if let Some((top, delegation)) = newest.and_then(|top| Some((top, top.delegation(name)?))) {
                let want = Want::of(Role::Targets, file, delegation.authority(), top.version());
                wants.push(Want { delegated: Some(name.clone()), ..want });
            }
        }
        wants
    }
}

/// A delegated role's metadata after those in force, or its first.
fn role_after(before: Option<&Vec<u8>>, bytes: &[u8], now: Timestamp) -> Result<Proposed<Targets>, TrustError> {
    let file = Proposed::<Targets>::read(bytes)?;
    file.fresh(now)?;
    well_formed(&file, now)?;
    match before {
        Some(before) => follows(&file, before)?,
        None => is_first(&file)?,
    }
    Ok(file)
}

fn is_first(targets: &Targets) -> Result<(), TrustError> {
    match targets.version() {
        1 => Ok(()),
        offered => Err(TrustError::WrongVersion { role: Role::Targets, wanted: 1, offered }),
    }
}
