//! Who vouches for a folder of evidence: the index of its files, signed by whoever has put it together.
//!
//! What is in such a folder is signed by those who said it, so a folder stands without this. The seal adds who has chosen what
//! is in it, and answers for what the server merely says there (21 CFR 11.10 (e), 11.70: a record is tied to who made it).
//!
//! | attack | stopped by |
//! | --- | --- |
//! | a folder of which a file was taken out, with an index that fits | the seal is over the index |
//! | a seal of one folder shown with another | the index's SHA-256 is in what is signed |
//! | somebody's own key | [`Seal::is_listed`]: a root of the party names it, for whoever signs |

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::approval::{ByOwnKey, OwnKey, SignedDocument, StatementError};
use crate::clock::utc;
use crate::digest::Digest;
use crate::id::{HdoId, OperatorName};
use crate::limits::MAX_STATEMENT_BYTES;
use crate::sign::{PublicKey, Signer};
use crate::trust::{Role, Root, TrustError};

/// Who vouches: whoever signs for what may run, on either side.
const ROLE: Role = Role::Targets;

/// What is signed. As such it is nobody's word yet: see [`VerifiedSeal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Always `suture-evidence-seal`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital whose evidence it is; none where it is the manufacturer's.
    pub hdo: Option<HdoId>,
    /// SHA-256 of the index.
    pub index_sha256: Digest,
    /// The key that signs this.
    pub key: PublicKey,
    /// Who holds the key.
    pub name: OperatorName,
    /// When, by the signer's clock.
    #[serde(with = "utc")]
    pub signed_at: Timestamp,
}

impl SignedDocument for Seal {
    const TYPE: &'static str = "suture-evidence-seal";
    const MAX_BYTES: u64 = MAX_STATEMENT_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        None
    }
}

impl OwnKey for Seal {
    type Error = StatementError;

    fn key(&self) -> &PublicKey {
        &self.key
    }

    fn unsigned(source: TrustError) -> StatementError {
        StatementError::Signature(source)
    }
}

impl Seal {
    /// Signs it with the key that it names.
    ///
    /// # Errors
    ///
    /// The key is another, or does not sign.
    pub fn sign(&self, signer: &dyn Signer) -> Result<VerifiedSeal, StatementError> {
        ByOwnKey::sign(self, signer)
    }

    /// Whether a root of the party names the key, and ties it to nobody else than who signs.
    pub fn is_listed(&self, root: &Root) -> bool {
        let listed = root.authority(ROLE).keys().any(|key| *key == self.key);
        listed && root.holder(&self.key).is_none_or(|holder| *holder == self.name)
    }
}

/// A seal that the key which it names has signed. Whether that key is one of the party's is another question: [`Seal::is_listed`].
pub type VerifiedSeal = ByOwnKey<Seal>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::LocalKey;
    use zeroize::Zeroizing;

    fn key(seed: u8) -> LocalKey {
        LocalKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    fn seal() -> Seal {
        Seal {
            kind: Seal::TYPE.to_owned(),
            format: 1,
            hdo: "riverside".parse().ok(),
            index_sha256: Digest::of(b"index"),
            key: key(1).public(),
            name: "kim".parse().unwrap(),
            signed_at: "2026-11-24T18:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn it_is_read_as_it_was_signed_and_by_its_key_alone() {
        let signed = seal().sign(&key(1)).unwrap();
        assert_eq!((&*signed, &VerifiedSeal::verify(signed.bytes()).unwrap()), (&seal(), &signed));
        assert!(matches!(seal().sign(&key(2)), Err(StatementError::Signature(_))), "another's key");
        let (one, other) = (Digest::of(b"index").to_string(), Digest::of(b"other").to_string());
        for (from, to) in [(one.as_str(), other.as_str()), ("riverside", "lakeside1"), ("kim", "lee"), ("2026", "2027")]
        {
            let bent = String::from_utf8(signed.bytes().to_vec()).unwrap().replace(from, to);
            assert!(matches!(VerifiedSeal::verify(bent.as_bytes()), Err(StatementError::Signature(_))), "{to}");
        }
        let long = [b' '; 1 + MAX_STATEMENT_BYTES as usize];
        assert!(matches!(VerifiedSeal::verify(&long), Err(StatementError::Document(_))));
    }
}
