//! What each signer of an approval states: who signs, as what, what the signature means, why and when.
//!
//! 21 CFR 11.50 wants the signer's name, the time and the meaning with each signature, and 11.70 that they cannot be parted
//! from what is signed. An approval goes from signer to signer, and what a later one says cannot stand in the bytes that an
//! earlier one signed. So each states it in a file of its own, signed by the same key, that names the SHA-256 of the
//! approval's head: it is about those words and no others. Statements go round in the envelope and are published with the
//! approval. Devices do not read them: to a device the threshold of keys counts, and no more.
//!
//! | attack | stopped by |
//! | --- | --- |
//! | words put into a signer's mouth | [`VerifiedStatement::verify`], the key that the statement names |
//! | the statement on another approval, or on other words under its id | [`all_stated`], hospital, id and head |
//! | a signature whose signer says nothing | [`all_stated`], one statement for each key that signed |
//! | one person who signs with two keys | [`all_stated`], one name, one signature; see also [`crate::trust::Root::holder`] |

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{DocumentError, SignedDocument, first_broken};
use super::own_key::{ByOwnKey, OwnKey};
use crate::clock::{format_utc, utc};
use crate::digest::Digest;
use crate::id::{ApprovalId, HdoId, OperatorName};
use crate::limits::{MAX_STATEMENT_BYTES, MAX_TEXT_BYTES};
use crate::sign::{PublicKey, Signer};
use crate::trust::TrustError;

/// What a signature means (21 CFR 11.50 (a) (3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// The signer takes responsibility for that it is done.
    Approved,
    /// The signer has looked at it and found nothing against it. At least one other must have approved.
    Reviewed,
}

impl Meaning {
    /// The name in documents and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Reviewed => "reviewed",
        }
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Meaning {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Approved, Self::Reviewed]
            .into_iter()
            .find(|m| m.as_str() == text)
            .ok_or("a signature means `approved` or `reviewed`")
    }
}

/// What one signer states. As such it is nobody's word yet: see [`VerifiedStatement`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Always `suture-statement`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// The approval.
    pub approval: ApprovalId,
    /// SHA-256 of the approval's head: what was signed.
    pub head_sha256: Digest,
    /// The key that signed it, and signs this.
    pub key: PublicKey,
    /// Who holds the key.
    pub name: OperatorName,
    /// As what the signer signs: `clinical engineering`, `IT security`.
    pub role: String,
    /// What the signature means.
    pub meaning: Meaning,
    /// Why.
    pub reason: String,
    /// When, by the signer's clock.
    #[serde(with = "utc")]
    pub signed_at: Timestamp,
}

impl SignedDocument for Statement {
    const TYPE: &'static str = "suture-statement";
    const MAX_BYTES: u64 = MAX_STATEMENT_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let said = |text: &str| !text.trim().is_empty();
        first_broken(&[
            ([&self.role, &self.reason].iter().all(|t| t.len() <= MAX_TEXT_BYTES), "a text is too long"),
            (said(&self.role) && said(&self.reason), "it does not say as what the signer signs, or why"),
        ])
    }
}

impl OwnKey for Statement {
    type Error = StatementError;

    fn key(&self) -> &PublicKey {
        &self.key
    }

    fn unsigned(source: TrustError) -> StatementError {
        StatementError::Signature(source)
    }
}

/// Why a statement was refused, or an approval for want of one.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Its outer form, or what is signed in it.
    #[error("a signer's statement is refused")]
    Document(#[from] DocumentError),
    /// The key that it names has not signed it.
    #[error("a signer's statement is not signed by the key that it names")]
    Signature(#[source] TrustError),
    /// It is about something else.
    #[error("the statement of {name} is about something else than the approval {approval} as it is signed")]
    Another {
        /// Who states it.
        name: OperatorName,
        /// What it should be about.
        approval: ApprovalId,
    },
    /// Its key has not signed the approval.
    #[error("{name} states to have signed {approval}, and the key {key} has not")]
    NotSigned {
        /// Who states it.
        name: OperatorName,
        /// What should be signed.
        approval: ApprovalId,
        /// By this key.
        key: PublicKey,
    },
    /// A key has signed, and its holder says nothing, or two things.
    #[error("the key {key} has signed {approval}, and there is not one statement of who signed, as what and why")]
    Unstated {
        /// What is signed.
        approval: ApprovalId,
        /// By this key.
        key: PublicKey,
    },
    /// The same person twice.
    #[error("{name} has signed {approval} with two keys: that is one signature, and others must sign it")]
    Twice {
        /// Who.
        name: OperatorName,
        /// What.
        approval: ApprovalId,
    },
    /// The key is another's.
    #[error("{name} has signed {approval} with the key {key}, which the hospital's root ties to {holder}")]
    OthersKey {
        /// Who says so.
        name: OperatorName,
        /// What is signed.
        approval: ApprovalId,
        /// By this key.
        key: PublicKey,
        /// Whose it is.
        holder: OperatorName,
    },
    /// All have only looked at it.
    #[error("all who have signed {approval} have reviewed it and none has approved it")]
    NoneApproved {
        /// What is signed.
        approval: ApprovalId,
    },
}

impl Statement {
    /// Signs it with the key that it names.
    ///
    /// # Errors
    ///
    /// It breaks a rule, the key is another, or does not sign.
    pub fn sign(&self, signer: &dyn Signer) -> Result<VerifiedStatement, StatementError> {
        ByOwnKey::sign(self, signer)
    }

    /// For people, in one line.
    pub fn to_text(&self) -> String {
        let Self { name, role, meaning, reason, signed_at, .. } = self;
        format!("{name} ({role}) {meaning} it at {}: {reason:?}", format_utc(*signed_at))
    }
}

/// A statement that the key which it names has signed. Whether that key is an approver's, and has signed the approval, is another question:
/// see [`all_stated`].
pub type VerifiedStatement = ByOwnKey<Statement>;

/// An approval under its head's SHA-256, with the keys of approvers that have signed for it.
#[derive(Debug, Clone, Copy)]
pub struct SignedBy<'a> {
    /// The hospital.
    pub hdo: &'a HdoId,
    /// The approval.
    pub approval: &'a ApprovalId,
    /// SHA-256 of its head.
    pub head_sha256: Digest,
    /// The keys that have signed the metadata which list it.
    pub keys: &'a BTreeSet<PublicKey>,
}

/// Whether each key that has signed an approval has said by whom, as what, what it means and why: one statement for each
/// key, one key for each name. `holder` is whom the root ties a key to, where it does.
///
/// # Errors
///
/// The first that does not hold. Whether somebody has approved is asked by [`StatementError::NoneApproved`] alone, last, for
/// an approval that others have yet to sign may wait for that.
pub fn all_stated(
    signed: SignedBy<'_>,
    statements: &[VerifiedStatement],
    holder: impl Fn(&PublicKey) -> Option<OperatorName>,
) -> Result<(), StatementError> {
    let SignedBy { hdo, approval, head_sha256, keys } = signed;
    let mut names = BTreeSet::new();
    for s in statements {
        let (name, approval, key) = (s.name.clone(), approval.clone(), s.key);
        if (&s.hdo, &s.approval, s.head_sha256) != (hdo, &approval, head_sha256) {
            return Err(StatementError::Another { name, approval });
        }
        if !keys.contains(&key) {
            return Err(StatementError::NotSigned { name, approval, key });
        }
        match holder(&key) {
            Some(holder) if holder != name => return Err(StatementError::OthersKey { name, approval, key, holder }),
            _ => {}
        }
        if !names.insert(s.name.clone()) {
            return Err(StatementError::Twice { name, approval });
        }
    }
    for key in keys {
        if statements.iter().filter(|s| s.key == *key).count() != 1 {
            return Err(StatementError::Unstated { approval: approval.clone(), key: *key });
        }
    }
    if statements.iter().any(|s| s.meaning == Meaning::Approved) {
        return Ok(());
    }
    Err(StatementError::NoneApproved { approval: approval.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::LocalKey;
    use zeroize::Zeroizing;

    fn key(seed: u8) -> LocalKey {
        LocalKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    fn statement(name: &str, seed: u8, meaning: Meaning) -> Statement {
        Statement {
            kind: Statement::TYPE.to_owned(),
            format: 1,
            hdo: "riverside".parse().unwrap(),
            approval: "pump-2".parse().unwrap(),
            head_sha256: Digest::of(b"head"),
            key: key(seed).public(),
            name: name.parse().unwrap(),
            role: "clinical engineering".to_owned(),
            meaning,
            reason: "tested on the bench".to_owned(),
            signed_at: "2026-11-24T18:00:00Z".parse().unwrap(),
        }
    }

    fn judge(seeds: &[u8], statements: &[VerifiedStatement]) -> Result<(), StatementError> {
        let keys = seeds.iter().map(|s| key(*s).public()).collect();
        let (hdo, approval) = ("riverside".parse().unwrap(), "pump-2".parse().unwrap());
        let signed = SignedBy { hdo: &hdo, approval: &approval, head_sha256: Digest::of(b"head"), keys: &keys };
        let lees = key(2).public();
        all_stated(signed, statements, |k| (*k == lees).then(|| "lee".parse().unwrap()))
    }

    #[test]
    fn a_statement_is_read_as_it_was_signed_and_by_its_key_alone() {
        let kim = statement("kim", 1, Meaning::Approved).sign(&key(1)).unwrap();
        assert_eq!(VerifiedStatement::verify(kim.bytes()).unwrap(), kim);
        assert_eq!(
            kim.to_text(),
            "kim (clinical engineering) approved it at 2026-11-24T18:00:00Z: \"tested on the bench\""
        );
        assert!(matches!(
            statement("kim", 1, Meaning::Approved).sign(&key(2)),
            Err(StatementError::Signature(TrustError::Threshold { .. }))
        ));
        let bent = String::from_utf8(kim.bytes().to_vec()).unwrap().replace("bench", "couch");
        assert!(matches!(VerifiedStatement::verify(bent.as_bytes()), Err(StatementError::Signature(_))));
        let long = vec![b' '; MAX_STATEMENT_BYTES as usize + 1];
        assert!(matches!(VerifiedStatement::verify(&long), Err(StatementError::Document(_))));
        let bends: [fn(&mut Statement); 3] = [|s| s.reason.clear(), |s| s.role = "  ".to_owned(), |s| s.format = 2];
        for bend in bends {
            let mut bent = statement("kim", 1, Meaning::Approved);
            bend(&mut bent);
            assert!(matches!(bent.sign(&key(1)), Err(StatementError::Document(_))), "{bent:?}");
        }
    }

    #[test]
    fn every_signature_has_its_own_person_with_words_about_what_is_signed() {
        let sign = |name, seed, meaning| statement(name, seed, meaning).sign(&key(seed)).unwrap();
        let (kim, lee) = (sign("kim", 1, Meaning::Approved), sign("lee", 2, Meaning::Reviewed));
        judge(&[1], std::slice::from_ref(&kim)).unwrap();
        judge(&[1, 2], &[lee.clone(), kim.clone()]).unwrap();
        let refused = |seeds: &[u8], statements: &[&VerifiedStatement]| {
            let statements: Vec<_> = statements.iter().copied().cloned().collect();
            judge(seeds, &statements).unwrap_err()
        };
        assert!(matches!(refused(&[1, 2], &[&kim]), StatementError::Unstated { key: k, .. } if k == key(2).public()));
        assert!(matches!(refused(&[1], &[]), StatementError::Unstated { .. }));
        assert!(matches!(refused(&[1], &[&kim, &lee]), StatementError::NotSigned { .. }));
        assert!(matches!(refused(&[2], &[&lee]), StatementError::NoneApproved { .. }));
        // Kim has made a second key, and signs as kim, or as somebody else.
        let again = sign("kim", 3, Meaning::Approved);
        assert!(matches!(refused(&[1, 3], &[&kim, &again]), StatementError::Twice { .. }));
        let lees = sign("kim", 2, Meaning::Approved);
        assert!(matches!(refused(&[2], &[&lees]), StatementError::OthersKey { .. }));
        let other = Statement { head_sha256: Digest::of(b"other"), ..statement("kim", 1, Meaning::Approved) };
        assert!(matches!(refused(&[1], &[&other.sign(&key(1)).unwrap()]), StatementError::Another { .. }));
    }

    #[test]
    fn a_signature_means_one_of_two_things() {
        for meaning in [Meaning::Approved, Meaning::Reviewed] {
            assert_eq!(meaning.as_str().parse(), Ok(meaning));
        }
        assert!("seen".parse::<Meaning>().is_err());
    }
}
