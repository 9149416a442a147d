//! A letter: who writes to whom, its place in the series, and what it says, under one signature.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::content::Incomplete;
use super::{Acknowledgement, Notice, Suspicion};
use crate::approval::{ByOwnKey, DocumentError, OwnKey, SignedDocument, first_broken};
use crate::clock::utc;
use crate::digest::Digest;
use crate::id::{HdoId, OperatorName};
use crate::limits::{MAX_LETTER_BYTES, MAX_LETTERS};
use crate::series::{Head, Link, placed};
use crate::sign::{PublicKey, Signer};
use crate::trust::{Role, Root, TrustError};

/// Who writes: whoever signs for what may run, on either side.
const ROLE: Role = Role::Targets;

/// Who writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The manufacturer, to a hospital.
    Manufacturer,
    /// A hospital, to the manufacturer.
    Hospital,
}

impl Side {
    /// The name in documents, in the store and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manufacturer => "manufacturer",
            Self::Hospital => "hospital",
        }
    }

    /// To whom it is.
    pub const fn other(self) -> Self {
        match self {
            Self::Manufacturer => Self::Hospital,
            Self::Hospital => Self::Manufacturer,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Side {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Manufacturer, Self::Hospital]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or("a letter is from the `manufacturer` or from the `hospital`")
    }
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// The manufacturer tells the hospital something.
    Notice(Box<Notice>),
    /// The hospital tells the manufacturer what it has seen.
    Suspicion(Box<Suspicion>),
    /// Either answers the other.
    Acknowledgement(Acknowledgement),
}

impl Said {
    /// The name in the store and on a terminal.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Notice(notice) => notice.kind.as_str(),
            Self::Suspicion(suspicion) => suspicion.kind.as_str(),
            Self::Acknowledgement(_) => "acknowledgement",
        }
    }
}

/// What is signed. As such it is nobody's word yet: see [`VerifiedLetter`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Letter {
    /// Always `suture-letter`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// Who writes.
    pub from: Side,
    /// The hospital that writes, or is written to.
    pub hdo: HdoId,
    /// Its place in what `from` writes to the other, from 1, without gaps.
    pub number: u64,
    /// SHA-256 of the one before; none for the first.
    pub previous: Option<Digest>,
    /// What it says.
    pub said: Said,
    /// The key that signs this.
    pub key: PublicKey,
    /// Who holds the key.
    pub name: OperatorName,
    /// When, by the signer's clock.
    #[serde(with = "utc")]
    pub written_at: Timestamp,
}

/// Why a letter was refused.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// Its outer form, or what is signed in it.
    #[error("the letter is refused")]
    Document(#[from] DocumentError),
    /// It lacks what its kind must say.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// The key that it names has not signed it.
    #[error("the letter is not signed by the key that it names")]
    Signature(#[source] TrustError),
}

impl SignedDocument for Letter {
    const TYPE: &'static str = "suture-letter";
    const MAX_BYTES: u64 = MAX_LETTER_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let writer = match &self.said {
            Said::Notice(_) => self.from == Side::Manufacturer,
            Said::Suspicion(_) => self.from == Side::Hospital,
            Said::Acknowledgement(_) => true,
        };
        let rules = [
            ((1..=MAX_LETTERS).contains(&self.number), "its number is 0, or beyond the last that there can be"),
            (placed(self.number, self.previous.as_ref()), "the first letter names none before it, each other one does"),
            (writer, "notices are the manufacturer's to write, reports the hospital's"),
        ];
        first_broken(&rules).or_else(|| match &self.said {
            Said::Notice(notice) => notice.broken_rule(),
            Said::Suspicion(suspicion) => suspicion.broken_rule(self.number),
            Said::Acknowledgement(acknowledgement) => acknowledgement.broken_rule(),
        })
    }
}

impl OwnKey for Letter {
    type Error = LetterError;

    fn key(&self) -> &PublicKey {
        &self.key
    }

    fn unsigned(source: TrustError) -> LetterError {
        LetterError::Signature(source)
    }

    /// Also what its kind must say.
    fn sound(&self) -> Result<(), LetterError> {
        self.check()?;
        match &self.said {
            Said::Notice(notice) => Ok(notice.complete()?),
            Said::Suspicion(_) | Said::Acknowledgement(_) => Ok(()),
        }
    }
}

impl Letter {
    /// Signs it with the key that it names.
    ///
    /// # Errors
    ///
    /// It breaks a rule or lacks something, the key is another, or does not sign.
    pub fn sign(&self, signer: &dyn Signer) -> Result<VerifiedLetter, LetterError> {
        ByOwnKey::sign(self, signer)
    }

    /// Whether a root lets its key write letters, and ties the key to nobody else than who signs.
    pub fn is_listed(&self, root: &Root) -> bool {
        let listed = root.authority(ROLE).keys().any(|key| *key == self.key);
        listed && root.holder(&self.key).is_none_or(|holder| *holder == self.name)
    }
}

/// A letter that the key which it names has signed. Whether that key may write is another question: [`super::follow`].
pub type VerifiedLetter = ByOwnKey<Letter>;

impl ByOwnKey<Letter> {
    /// Its SHA-256, which the next one names.
    pub fn digest(&self) -> Digest {
        Digest::of(self.bytes())
    }

    /// The place that it ends the series at.
    pub fn head(&self) -> Head {
        Head { number: self.number, sha256: self.digest() }
    }

    /// And what it stands upon.
    pub(super) fn link(&self) -> Link {
        Link { head: self.head(), previous: self.previous }
    }
}
