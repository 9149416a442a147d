//! Ed25519 keys and signatures.
//!
//! Verification is strict (RFC 8032 with small-order and non-canonical points refused), so that one signature has one
//! meaning for every verifier.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// An Ed25519 public key; text and JSON form: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

/// An Ed25519 signature (64 bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// Why a key or signature was refused.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Not 32 bytes, or not a point that may serve as a key.
    #[error("not an Ed25519 public key (32 bytes, 64 lower-case hexadecimal digits)")]
    PublicKey,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// The file is not an Ed25519 private key in PKCS#8 PEM.
    #[error("not an Ed25519 private key in PKCS#8 PEM")]
    Malformed,
    /// The file is encrypted and no passphrase was given.
    #[error("the key is encrypted and no passphrase was given")]
    PassphraseNeeded,
    /// The passphrase does not open the file.
    #[error("the passphrase does not open the key")]
    PassphraseWrong,
    /// A device or service that holds the key failed.
    #[error("the key's holder could not sign: {0}")]
    Holder(String),
}

impl PublicKey {
    /// A key from its 32 bytes; refuses what is not a point or of small order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignError> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| SignError::PublicKey)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| SignError::PublicKey)?;
        if key.is_weak() { Err(SignError::PublicKey) } else { Ok(Self(bytes)) }
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Verifies strictly.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| SignError::PublicKey)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message, &signature).map_err(|_| SignError::Signature)
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = SignError;
    fn try_from(bytes: &[u8]) -> Result<Self, SignError> {
        bytes.try_into().map(Self).map_err(|_| SignError::Signature)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = SignError;
    fn try_from(s: String) -> Result<Self, SignError> {
        let mut bytes = [0; 32];
        if s.bytes().any(|b| b.is_ascii_uppercase()) || hex::decode_to_slice(&s, &mut bytes).is_err() {
            return Err(SignError::PublicKey);
        }
        Self::from_bytes(&bytes)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Something that holds a private key and signs with it: a file's key in memory, later a token's.
pub trait Signer: Send + Sync {
    /// The public half.
    fn public(&self) -> PublicKey;
    /// Signs the message's bytes as they are.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignError>;
}

/// A private key in memory, wiped when dropped. Never printed.
pub struct LocalKey(SigningKey);

impl LocalKey {
    /// The key that 32 random bytes make.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads PKCS#8 PEM, encrypted (PBES2) or plain.
    pub fn from_pem(pem: &str, passphrase: Option<&str>) -> Result<Self, SignError> {
        if !is_encrypted(pem) {
            return Self::from_plain_pem(pem);
        }
        let passphrase = passphrase.ok_or(SignError::PassphraseNeeded)?;
        SigningKey::from_pkcs8_encrypted_pem(pem, passphrase).map(Self).map_err(|_| SignError::PassphraseWrong)
    }

    /// Reads plain PKCS#8 PEM. A device has nobody who could give a passphrase, and its program nothing to decrypt with.
    pub fn from_plain_pem(pem: &str) -> Result<Self, SignError> {
        if is_encrypted(pem) {
            return Err(SignError::PassphraseNeeded);
        }
        SigningKey::from_pkcs8_pem(pem).map(Self).map_err(|_| SignError::Malformed)
    }

    /// Writes PKCS#8 PEM, encrypted (PBES2, scrypt, AES-256) where a passphrase is given.
    pub fn to_pem(&self, passphrase: Option<&str>) -> Result<Zeroizing<String>, SignError> {
        let Some(passphrase) = passphrase else { return self.to_plain_pem() };
        self.0.to_pkcs8_encrypted_pem(passphrase, LineEnding::LF).map_err(|_| SignError::Malformed)
    }

    /// Writes plain PKCS#8 PEM.
    pub fn to_plain_pem(&self) -> Result<Zeroizing<String>, SignError> {
        self.0.to_pkcs8_pem(LineEnding::LF).map_err(|_| SignError::Malformed)
    }
}

impl Signer for LocalKey {
    fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        Ok(Signature(self.0.sign(message).to_bytes()))
    }
}

fn is_encrypted(pem: &str) -> bool {
    pem.contains("ENCRYPTED PRIVATE KEY")
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalKey({})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> LocalKey {
        LocalKey::from_seed(&Zeroizing::new([7; 32]))
    }

    #[test]
    fn keys_survive_pem_and_the_passphrase_is_needed() {
        let plain = key().to_pem(None).unwrap();
        assert_eq!(LocalKey::from_pem(&plain, None).unwrap().public(), key().public());
        let sealed = key().to_pem(Some("correct horse")).unwrap();
        assert!(matches!(LocalKey::from_pem(&sealed, None), Err(SignError::PassphraseNeeded)));
        assert!(matches!(LocalKey::from_plain_pem(&sealed), Err(SignError::PassphraseNeeded)));
        assert!(matches!(LocalKey::from_pem(&sealed, Some("wrong")), Err(SignError::PassphraseWrong)));
        assert_eq!(LocalKey::from_pem(&sealed, Some("correct horse")).unwrap().public(), key().public());
    }

    #[test]
    fn a_flipped_bit_in_message_or_signature_is_refused() {
        let signature = key().sign(b"message").unwrap();
        key().public().verify(b"message", &signature).unwrap();
        assert!(key().public().verify(b"messagf", &signature).is_err());
        for i in 0..64 {
            let mut bad = signature;
            bad.0[i] ^= 1;
            assert!(key().public().verify(b"message", &bad).is_err(), "byte {i}");
        }
    }

    #[test]
    fn small_order_points_are_no_keys() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(PublicKey::from_bytes(&identity).is_err());
        assert!(PublicKey::from_bytes(&[0; 32]).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", key()).contains("0707"));
    }
}
