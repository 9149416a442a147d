//! The only door: bytes become metadata by passing a threshold of signatures, here and nowhere else.
//!
//! Attacks stopped here: arbitrary software (metadata that the role's keys did not sign), one key counted twice (under two
//! ids, or by two signatures), a threshold of nothing, and a file that says one thing to the verifier and another to the
//! reader: the message that is verified and the view that is acted upon come from one parsed value.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Deref;

use jiff::Timestamp;
use serde_json::Value;

use super::key::Key;
use super::{Authority, Pin, Role, Root, TrustError};
use crate::digest::Digest;
use crate::json;
use crate::limits::MAX_SIGNATURES;

/// What a role's signed part says.
pub trait Metadata: Sized {
    /// The role.
    const ROLE: Role;

    /// Reads the signed part. It is not yet known who signed it.
    fn read(signed: &Value) -> Result<Self, TrustError>;

    /// Its version, counted from 1, and the first instant at which it no longer counts.
    fn life(&self) -> (u64, Timestamp);

    /// Its version, counted from 1.
    fn version(&self) -> u64 {
        self.life().0
    }

    /// The first instant at which it no longer counts.
    fn expires(&self) -> Timestamp {
        self.life().1
    }

    /// Refuses metadata at and after their expiry.
    fn fresh(&self, now: Timestamp) -> Result<(), TrustError> {
        let at = self.expires();
        if now < at { Ok(()) } else { Err(TrustError::Expired { role: Self::ROLE, at }) }
    }
}

/// Metadata that a threshold of its role's keys signed, with the bytes as they were received. Only the functions below
/// make one, so whoever holds it need not ask again who signed it. Expiry and versions are the reader's to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    view: T,
    bytes: Vec<u8>,
}

impl<T: Metadata> Verified<T> {
    /// Verifies bytes by the keys that `root` names for the role.
    pub fn by(root: &Verified<Root>, bytes: &[u8]) -> Result<Self, TrustError> {
        Self::signed_by(root.authority(T::ROLE), bytes)
    }

    /// Verifies bytes by the keys of a role, top-level or delegated. The authority must come from verified metadata.
    pub(super) fn signed_by(authority: &Authority, bytes: &[u8]) -> Result<Self, TrustError> {
        let envelope = Envelope::open(T::ROLE, bytes)?;
        envelope.meets(authority)?;
        Ok(Self { view: T::read(&envelope.signed)?, bytes: bytes.to_vec() })
    }

    /// Verifies bytes that a verified file pins, for snapshot, targets and delegated targets alike. Expiry is the caller's.
    pub(super) fn under(pin: &Pin, authority: &Authority, bytes: &[u8]) -> Result<Self, TrustError> {
        // TUF 5.5.2, 5.6.2: the length and every hash that the file above gives, before anything is parsed.
        pin.check(T::ROLE, bytes)?;
        // TUF 5.5.3, 5.6.3: a threshold of the role's keys has signed it.
        let file = Self::signed_by(authority, bytes)?;
        // TUF 5.5.4, 5.6.4: the very version that is pinned, neither older nor newer.
        match file.version() {
            version if version == pin.version() => Ok(file),
            offered => Err(TrustError::WrongVersion { role: T::ROLE, wanted: pin.version(), offered }),
        }
    }

    /// Its version, counted from 1.
    pub fn version(&self) -> u64 {
        self.view.version()
    }

    /// The first instant at which it no longer counts.
    pub fn expires(&self) -> Timestamp {
        self.view.expires()
    }
}

impl Verified<Root> {
    /// A root that is trusted on other grounds (pinned at provisioning, or stored by an earlier refresh) and consistent
    /// in itself: signed by its own threshold. Never for bytes that a server has just sent.
    pub fn pinned(bytes: &[u8]) -> Result<Self, TrustError> {
        let envelope = Envelope::open(Role::Root, bytes)?;
        let root = Root::read(&envelope.signed)?;
        envelope.meets(root.authority(Role::Root))?;
        Ok(Self { view: root, bytes: bytes.to_vec() })
    }

    /// The root that follows this one: exactly one version on, signed by this root's threshold and by its own.
    pub fn next(&self, bytes: &[u8]) -> Result<Self, TrustError> {
        // TUF 5.3.4: signed by a threshold of the keys of root N, which is trusted already ..
        Self::by(self, bytes)?;
        // .. and by a threshold of root N+1's own.
        let next = Self::pinned(bytes)?;
        // TUF 5.3.5: N+1 and no other; neither an old root again nor one that skips a revocation.
        let wanted = self.version().saturating_add(1);
        let (trusted, offered) = (self.version(), next.version());
        match offered.cmp(&wanted) {
            Ordering::Equal => Ok(next),
            Ordering::Less => Err(TrustError::Rollback { role: Role::Root, trusted, offered }),
            Ordering::Greater => Err(TrustError::WrongVersion { role: Role::Root, wanted, offered }),
        }
    }
}

impl<T> Verified<T> {
    /// The bytes as received, signatures included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes as received.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.view
    }
}

/// Refuses more bytes than are allowed, before anything else is made of them: a caller that read on has been fed without
/// end.
pub(super) fn bounded(role: Role, limit: u64, bytes: &[u8]) -> Result<(), TrustError> {
    let length = bytes.len() as u64;
    if length > limit { Err(TrustError::TooLong { role, length, limit }) } else { Ok(()) }
}

/// A file taken apart, not yet trusted.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    role: Role,
    /// By key id. What a signature's text means is up to the kind of its key, so any length of it is taken.
    signatures: Vec<(Digest, String)>,
    pub(super) signed: Value,
    message: Vec<u8>,
}

impl Envelope {
    /// Reads the file's outer form.
    pub(super) fn open(role: Role, bytes: &[u8]) -> Result<Self, TrustError> {
        let rule = |rule| TrustError::Rule { role, rule };
        bounded(role, role.max_bytes(), bytes)?;
        let json = |source| TrustError::Json { role, source };
        let Value::Object(mut file) = json::parse_unverified(bytes).map_err(json)? else {
            return Err(rule("the file is no JSON object"));
        };
        let Some(Value::Array(entries)) = file.get("signatures") else {
            return Err(rule("the file has no list of signatures"));
        };
        if entries.len() > MAX_SIGNATURES {
            return Err(rule("there are too many signatures"));
        }
        let mut seen = BTreeSet::new();
        let mut signatures = Vec::new();
        for entry in entries {
            let text = |name| entry.get(name).and_then(Value::as_str);
            let (Some(id), Some(sig)) = (text("keyid"), text("sig")) else {
                return Err(rule("a signature has no keyid or no sig"));
            };
            if !seen.insert(id) {
                return Err(rule("a key id has signed twice"));
            }
            // A key id of another form belongs to no key of ours.
            if let Ok(id) = id.parse() {
                signatures.push((id, sig.to_owned()));
            }
        }
        let signed = file.remove("signed").filter(Value::is_object).ok_or_else(|| rule("nothing is signed in it"))?;
        let message = json::canonical(&signed).map_err(json)?;
        Ok(Self { role, signatures, signed, message })
    }

    /// What was signed: the canonical form of the signed part.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// The one loop that counts signatures, for root, top-level and delegated roles.
    ///
    /// Signatures that do not verify, or are by keys that the role does not list, are passed over: beside enough good ones
    /// they do no harm, and refusing them would let anybody spoil a file. Public keys are counted, not ids: the same
    /// key under two ids is one.
    pub(super) fn meets(&self, authority: &Authority) -> Result<(), TrustError> {
        let (valid, threshold) = (self.signed_by(authority).len(), authority.threshold());
        if valid >= threshold { Ok(()) } else { Err(TrustError::Threshold { role: self.role, valid, threshold }) }
    }

    /// The distinct keys of a role that have signed.
    pub(super) fn signed_by<'a>(&self, authority: &'a Authority) -> BTreeSet<&'a Key> {
        let mut valid = BTreeSet::new();
        for (id, signature) in &self.signatures {
            if let Some(key) = authority.key(id)
                && key.has_signed(&self.message, signature)
            {
                valid.insert(key);
            }
        }
        valid
    }
}
