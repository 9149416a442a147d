//! What one person says for a hospital or for the manufacturer, in a series of such words: signed by a key of theirs, or by
//! nobody where they have none.
//!
//! Each word has its number, from 1 without gaps, and names the SHA-256 of the one before ([`series`]).
//!
//! | attack | stopped by |
//! | --- | --- |
//! | a word that the server made up, or another's | [`Word::read`], the key that it names; [`Word::is_listed`] |
//! | one left out, reordered or shown otherwise than before | [`follow`] |

use std::ops::Deref;

use serde_json::Value;

use crate::approval::{DocumentError, SignedDocument};
use crate::digest::Digest;
use crate::id::OperatorName;
use crate::json::{self, JsonError};
use crate::series::{self, Link};
use crate::sign::{PublicKey, Signer};
use crate::trust::{Role, Root, TrustError, beside};

pub use crate::series::{Head, SeriesError, after};

/// Who speaks: whoever signs for what may run, on either side.
const ROLE: Role = Role::Targets;

/// A document that one person says.
pub trait Spoken: SignedDocument {
    /// The key that signs it; none where it is unsigned.
    fn key(&self) -> Option<&PublicKey>;
    /// Who says it.
    fn name(&self) -> &OperatorName;
    /// Its number in the series, and the SHA-256 of the one before.
    fn place(&self) -> (u64, Option<Digest>);
}

/// Such a document with its bytes, signed by the key that it names if it names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word<D> {
    document: D,
    bytes: Vec<u8>,
}

/// Why one is refused.
#[derive(Debug, thiserror::Error)]
pub enum WordError {
    /// Its form, or what it says.
    #[error("it is refused")]
    Document(#[from] DocumentError),
    /// It has a signature and names no key, or the other way round.
    #[error("it names no key and is signed, or names one and is not")]
    Unsigned,
    /// The key that it names has not signed it.
    #[error("it is not signed by the key that it names")]
    Signature(#[source] TrustError),
}

impl<D: Spoken> Word<D> {
    /// Signs a document with the key that it names.
    ///
    /// # Errors
    ///
    /// It breaks a rule, is too long, the key is another, or does not sign.
    pub fn sign(document: &D, signer: &dyn Signer) -> Result<Self, WordError> {
        document.check()?;
        let bytes = beside::sign(ROLE, serde_json::json!(document), &[signer]).map_err(WordError::Signature)?;
        Self::read(&bytes)
    }

    /// A document that nobody signs.
    ///
    /// # Errors
    ///
    /// It breaks a rule, is too long, or names a key.
    pub fn unsigned(document: &D) -> Result<Self, WordError> {
        Self::read(&document.to_bytes()?)
    }

    /// Reads one. Whether the key that it names is one that may speak is another question: [`Word::is_listed`].
    ///
    /// # Errors
    ///
    /// It is too long, unreadable, breaks a rule, or is not signed by the key that it names.
    pub fn read(bytes: &[u8]) -> Result<Self, WordError> {
        let (kind, limit) = (D::TYPE, D::MAX_BYTES);
        if bytes.len() as u64 > limit {
            return Err(DocumentError::TooLong { kind, length: bytes.len(), limit }.into());
        }
        let value = json::parse(bytes).map_err(|source| DocumentError::Json { kind, source })?;
        let is_signed = value.get("signatures").is_some_and(Value::is_array);
        let document = if is_signed {
            let file = beside::Beside::open(ROLE, bytes).map_err(WordError::Signature)?;
            let shape = |e| DocumentError::Json { kind, source: JsonError::Shape(e) };
            let document = D::deserialize(file.signed()).map_err(shape)?;
            document.check()?;
            file.by_key(document.key().ok_or(WordError::Unsigned)?).map_err(WordError::Signature)?;
            document
        } else {
            let document = D::parse(bytes)?;
            if document.key().is_some() {
                return Err(WordError::Unsigned);
            }
            document
        };
        Ok(Self { document, bytes: bytes.to_vec() })
    }

    /// The bytes, signature included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their SHA-256.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// The place that it ends the series at.
    pub fn head(&self) -> Head {
        Head { number: self.document.place().0, sha256: self.digest() }
    }

    /// And what it stands upon.
    fn link(&self) -> Link {
        Link { head: self.head(), previous: self.document.place().1 }
    }

    /// Whether it is signed by a key that a root lets speak, and ties to nobody else than who says it.
    pub fn is_listed(&self, root: &Root) -> bool {
        self.document.key().is_some_and(|key| {
            root.authority(ROLE).keys().any(|listed| listed == key)
                && root.holder(key).is_none_or(|holder| holder == self.document.name())
        })
    }
}

impl<D> Deref for Word<D> {
    type Target = D;
    fn deref(&self) -> &D {
        &self.document
    }
}

/// Follows a whole series, ascending; its end. `known` is the end that was seen before.
///
/// # Errors
///
/// One is missing, does not stand upon the one before, or is another than was seen.
pub fn follow<'a, D: Spoken + 'a>(
    words: impl IntoIterator<Item = &'a Word<D>>,
    known: Option<Head>,
) -> Result<Option<Head>, SeriesError> {
    series::follow(words.into_iter().map(Word::link), 1, known)
}
