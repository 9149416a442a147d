//! What one key signs and itself names: statements, decisions, letters, seals. The one place where such a signature is verified.
//!
//! | attack | stopped by |
//! | --- | --- |
//! | a word that nobody has said, or another's | [`ByOwnKey::verify`]: the key that it names has signed it |
//! | bytes without end, or that are read one way and signed another | a bound first; what is read is the value whose signature is verified |

use std::ops::Deref;

use super::document::{DocumentError, SignedDocument};
use crate::json::JsonError;
use crate::sign::{PublicKey, Signer};
use crate::trust::{Role, TrustError, beside};

/// Who speaks so: whoever signs for what may run, on either side.
const ROLE: Role = Role::Targets;

/// A document that names the key which signs it.
pub trait OwnKey: SignedDocument {
    /// Why one is refused.
    type Error: From<DocumentError>;

    /// The key.
    fn key(&self) -> &PublicKey;

    /// The refusal of one that its key has not signed.
    fn unsigned(source: TrustError) -> Self::Error;

    /// Refuses one that does not hold to the rules or lacks something.
    ///
    /// # Errors
    ///
    /// It does not.
    fn sound(&self) -> Result<(), Self::Error> {
        Ok(self.check()?)
    }
}

/// Such a document, signed by the key that it names. Whether that key may say so is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByOwnKey<D> {
    document: D,
    bytes: Vec<u8>,
}

impl<D: OwnKey> ByOwnKey<D> {
    /// Signs a document with the key that it names.
    ///
    /// # Errors
    ///
    /// It breaks a rule, the key is another, or does not sign.
    pub fn sign(document: &D, signer: &dyn Signer) -> Result<Self, D::Error> {
        document.sound()?;
        let bytes = beside::sign(ROLE, serde_json::json!(document), &[signer]).map_err(D::unsigned)?;
        Self::verify(&bytes)
    }

    /// Verifies one by the key that it names.
    ///
    /// # Errors
    ///
    /// It is too long, unreadable, breaks a rule, or is not signed by that key.
    pub fn verify(bytes: &[u8]) -> Result<Self, D::Error> {
        let (kind, limit) = (D::TYPE, D::MAX_BYTES);
        if bytes.len() as u64 > limit {
            return Err(DocumentError::TooLong { kind, length: bytes.len(), limit }.into());
        }
        let file = beside::Beside::open(ROLE, bytes).map_err(D::unsigned)?;
        let shape = |e| DocumentError::Json { kind, source: JsonError::Shape(e) };
        let document = D::deserialize(file.signed()).map_err(shape)?;
        document.sound()?;
        file.by_key(document.key()).map_err(D::unsigned)?;
        Ok(Self { document, bytes: bytes.to_vec() })
    }

    /// The file, signature included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<D> Deref for ByOwnKey<D> {
    type Target = D;
    fn deref(&self) -> &D {
        &self.document
    }
}
