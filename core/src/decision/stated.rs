//! A decision as its maker signs it.
//!
//! | attack | stopped by |
//! | --- | --- |
//! | a decision that the server has made up, or made another of | [`VerifiedDecision::verify`], the key that it names |
//! | the decision on one bundle shown as one on another | the manifest's SHA-256 is in what is signed |

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Decision;
use crate::approval::{ByOwnKey, OwnKey, SignedDocument, StatementError, first_broken};
use crate::clock::utc;
use crate::digest::Digest;
use crate::id::{HdoId, OperatorName};
use crate::limits::{MAX_STATEMENT_BYTES, MAX_TEXT_BYTES};
use crate::sign::{PublicKey, Signer};
use crate::trust::TrustError;

/// What is signed. As such it is nobody's word yet: see [`VerifiedDecision`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// Always `suture-decision`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// SHA-256 of the bundle's manifest.
    pub manifest_sha256: Digest,
    /// What was decided.
    pub decision: Decision,
    /// The key that signs this.
    pub key: PublicKey,
    /// Who holds the key.
    pub name: OperatorName,
    /// When, by the signer's clock.
    #[serde(with = "utc")]
    pub decided_at: Timestamp,
}

impl SignedDocument for Stated {
    const TYPE: &'static str = "suture-decision";
    const MAX_BYTES: u64 = MAX_STATEMENT_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let texts = [&self.decision.reason, &self.decision.compensating];
        let said = |text: &&String| !text.trim().is_empty() && text.len() <= MAX_TEXT_BYTES;
        first_broken(&[(
            texts.iter().all(said),
            "it does not say why, or what protects the devices meanwhile, or at too great length",
        )])
    }
}

impl OwnKey for Stated {
    type Error = StatementError;

    fn key(&self) -> &PublicKey {
        &self.key
    }

    fn unsigned(source: TrustError) -> StatementError {
        StatementError::Signature(source)
    }
}

impl Stated {
    /// Signs it with the key that it names.
    ///
    /// # Errors
    ///
    /// It breaks a rule, the key is another, or does not sign.
    pub fn sign(&self, signer: &dyn Signer) -> Result<VerifiedDecision, StatementError> {
        ByOwnKey::sign(self, signer)
    }
}

/// A decision that the key which it names has signed. Whether that key is one of the hospital's is another question.
pub type VerifiedDecision = ByOwnKey<Stated>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Choice;
    use crate::sign::LocalKey;
    use crate::version::Release;
    use zeroize::Zeroizing;

    fn key(seed: u8) -> LocalKey {
        LocalKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    fn stated() -> Stated {
        Stated {
            kind: Stated::TYPE.to_owned(),
            format: 1,
            hdo: "riverside".parse().unwrap(),
            manifest_sha256: Digest::of(b"manifest"),
            decision: Decision {
                product: "pump".parse().unwrap(),
                release: Release(2),
                plan_sha256: Some(Digest::of(b"plan")),
                choice: Choice::Declined,
                reason: "it is replaced in spring".to_owned(),
                compensating: "a network of their own".to_owned(),
                review: "2027-01-15".parse().unwrap(),
            },
            key: key(1).public(),
            name: "kim".parse().unwrap(),
            decided_at: "2026-11-24T18:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn it_is_read_as_it_was_signed_and_by_its_key_alone() {
        let signed = stated().sign(&key(1)).unwrap();
        assert_eq!((&*signed, &VerifiedDecision::verify(signed.bytes()).unwrap()), (&stated(), &signed));
        assert!(matches!(stated().sign(&key(2)), Err(StatementError::Signature(_))), "another's key");
        for (from, to) in [("declined", "deferred"), ("spring", "autumn"), ("2027-01-15", "2029-01-15"), ("kim", "lee")]
        {
            let other = String::from_utf8(signed.bytes().to_vec()).unwrap().replace(from, to);
            assert!(matches!(VerifiedDecision::verify(other.as_bytes()), Err(StatementError::Signature(_))), "{to}");
        }
    }

    #[test]
    fn it_says_why_or_is_not_signed() {
        let mut silent = stated();
        silent.decision.compensating = " ".to_owned();
        assert!(matches!(silent.sign(&key(1)), Err(StatementError::Document(_))));
        let long = [b' '; 1 + MAX_STATEMENT_BYTES as usize];
        assert!(matches!(VerifiedDecision::verify(&long), Err(StatementError::Document(_))));
    }
}
