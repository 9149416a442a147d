//! What a role's keys sign beside the metadata, as a file of its own: a hospital's stop orders, and its signers' statements.
//!
//! The outer form is that of metadata, and so is the counting of signatures: the one loop in [`super::verify`]. What is
//! signed, and how many signatures it takes, is the document's own business.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::role::key_id;
use super::verify::Envelope;
use super::{Authority, Role, Root, TrustError, Verified};
use crate::json;
use crate::sign::{PublicKey, Signer};

/// Such a file, taken apart and not yet trusted.
pub(crate) struct Beside(Envelope);

impl Beside {
    /// Reads the outer form of a file by the keys of a role.
    pub(crate) fn open(role: Role, bytes: &[u8]) -> Result<Self, TrustError> {
        Envelope::open(role, bytes).map(Self)
    }

    /// What is signed in it, whoever signed it.
    pub(crate) fn signed(&self) -> &Value {
        &self.0.signed
    }

    /// Refuses it unless as many keys of the role have signed it as metadata of the role need.
    pub(crate) fn by_threshold(&self, root: &Verified<Root>, role: Role) -> Result<(), TrustError> {
        self.0.meets(root.authority(role))
    }

    /// Refuses it unless one key of the role has signed it, whichever it is.
    pub(crate) fn by_any(&self, root: &Verified<Root>, role: Role) -> Result<(), TrustError> {
        self.0.meets(&root.authority(role).any_one())
    }

    /// Refuses it unless this very key has signed it, whatever the root says of the key.
    pub(crate) fn by_key(&self, key: &PublicKey) -> Result<(), TrustError> {
        self.0.meets(&Authority::single(key)?)
    }
}

/// Signs a value by some keys, each once; metadata too, for [`super::edit`].
pub(crate) fn sign(role: Role, signed: Value, signers: &[&dyn Signer]) -> Result<Vec<u8>, TrustError> {
    let fail = |source| TrustError::Json { role, source };
    let message = json::canonical(&signed).map_err(fail)?;
    let by_key: BTreeMap<PublicKey, &dyn Signer> = signers.iter().map(|s| (s.public(), *s)).collect();
    let mut signatures = Vec::new();
    for (public, signer) in by_key {
        let signature = signer.sign(&message).map_err(|source| TrustError::Sign { role, source })?;
        signatures.push(json!({ "keyid": key_id(&public)?, "sig": hex::encode(signature.0) }));
    }
    let bytes = json::to_bytes(&json!({ "signatures": signatures, "signed": signed })).map_err(fail)?;
    Envelope::open(role, &bytes)?;
    Ok(bytes)
}

/// Adds one signature, in the place of an earlier one by the same key.
pub(crate) fn countersign(role: Role, bytes: &[u8], signer: &dyn Signer) -> Result<Vec<u8>, TrustError> {
    let fail = |source| TrustError::Json { role, source };
    let envelope = Envelope::open(role, bytes)?;
    let id = key_id(&signer.public())?.to_string();
    let signature = signer.sign(envelope.message()).map_err(|source| TrustError::Sign { role, source })?;
    let mut file = json::parse(bytes).map_err(fail)?;
    if let Some(Value::Array(signatures)) = file.get_mut("signatures") {
        signatures.retain(|s| s.get("keyid").and_then(Value::as_str) != Some(&id));
        signatures.push(json!({ "keyid": id, "sig": hex::encode(signature.0) }));
    }
    let bytes = json::to_bytes(&file).map_err(fail)?;
    Envelope::open(role, &bytes)?;
    Ok(bytes)
}
