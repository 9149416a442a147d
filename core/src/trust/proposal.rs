//! The next version of a repository on its way from signer to signer: well-formed, not yet signed by enough.
//!
//! Nothing here is an authority over anything. A [`Proposed`] file is another type than a [`Verified`] one, and becomes one
//! only through the same door as every other file, once it has been published. What is checked here is what a signer
//! needs to know before adding a signature: that it follows from what the signer has verified, and who must sign yet.

use std::collections::BTreeSet;
use std::ops::Deref;

use jiff::Timestamp;

use super::key::Key;
use super::publication::{follows, next_root, well_formed};
use super::verify::{Envelope, Metadata};
use super::{Authority, Role, Root, Targets, TrustError, Verified, edit};
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

/// A new root, new targets metadata, or both, as the next versions after what is in force.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The new root, where there is one.
    pub root: Option<Proposed<Root>>,
    /// The new targets metadata, where there are any.
    pub targets: Option<Proposed<Targets>>,
}

/// The signatures of one role's keys under one file of a [`Proposal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Whose file is to be signed.
    pub role: Role,
    /// The version of the root that names the keys.
    pub by_root: u64,
    /// How many of the keys must sign.
    pub threshold: usize,
    /// Those that have.
    pub signed: BTreeSet<PublicKey>,
    /// Those that may yet.
    pub open: BTreeSet<PublicKey>,
}

impl Want {
    fn of<T>(role: Role, file: &Proposed<T>, authority: &Authority, by_root: u64) -> Self {
        let signed = file.signed_by(authority);
        let open = authority.keys().filter(|key| !signed.contains(*key)).copied().collect();
        Self { role, by_root, threshold: authority.threshold(), signed, open }
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
    /// It does not follow from what is in force, breaks a rule, has expired, or proposes nothing.
    pub fn read(
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
            let delegations =
                in_force.and_then(|(_, before)| before).into_iter().flat_map(|before| before.delegations());
            if !targets.delegations().eq(delegations) {
                return Err(TrustError::Rule { role: Role::Targets, rule: "it delegates to others than before" });
            }
            match in_force {
                Some((_, Some(before))) => follows(targets, before.bytes())?,
                // Without sight of what is in force nobody can say whether they follow from it.
                Some((_, None)) => return Err(TrustError::Missing(Role::Targets.file_name().to_owned())),
                None if targets.version() != 1 => {
                    return Err(TrustError::WrongVersion {
                        role: Role::Targets,
                        wanted: 1,
                        offered: targets.version(),
                    });
                }
                None => {}
            }
        }
        if root.is_none() && (targets.is_none() || in_force.is_none()) {
            return Err(TrustError::Missing(Role::Root.file_name().to_owned()));
        }
        if in_force.is_none() && targets.is_none() {
            return Err(TrustError::Missing(Role::Targets.file_name().to_owned()));
        }
        Ok(Self { root, targets })
    }

    /// Who has signed and who may yet, for each file and each set of keys that must: a new root is signed by the threshold of
    /// the one before it and by its own (TUF 5.3.4), targets metadata by the keys that the newest root names.
    pub fn wants(&self, in_force: Option<&Verified<Root>>) -> Vec<Want> {
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
        wants
    }
}
