//! A public key as metadata have it, and what verifying with it means.

use serde_json::Value;

use super::interop;
use crate::sign::{PublicKey, Signature};

/// A key that this program can verify with. Suture signs with Ed25519 alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// `ed25519`, scheme `ed25519`.
    Ed25519(PublicKey),
    /// What other implementations sign with. In programs there is none: see [`crate::INTEROP`].
    Other(interop::Key),
}

impl Key {
    /// Reads a key object. `None` for a kind that this program cannot verify; the rule that is broken for one that it can.
    pub(super) fn read(object: &Value) -> Result<Option<Self>, &'static str> {
        let kind = object.get("keytype").and_then(Value::as_str).ok_or("a key has no keytype")?;
        let scheme = object.get("scheme").and_then(Value::as_str).ok_or("a key has no scheme")?;
        let public = object.get("keyval").and_then(|v| v.get("public")).and_then(Value::as_str);
        if (kind, scheme) != ("ed25519", "ed25519") {
            return Ok(interop::Key::read(kind, scheme, public)?.map(Self::Other));
        }
        let key = public.and_then(|hex| PublicKey::try_from(hex.to_owned()).ok());
        key.map(|key| Some(Self::Ed25519(key))).ok_or("an ed25519 key is not one (64 lower-case hexadecimal digits)")
    }

    /// The Ed25519 key, if it is one.
    pub(super) fn ed25519(&self) -> Option<&PublicKey> {
        match self {
            Self::Ed25519(key) => Some(key),
            Self::Other(_) => None,
        }
    }

    /// Whether a signature, as the file's text has it, is this key's over the message.
    pub(super) fn has_signed(&self, message: &[u8], signature: &str) -> bool {
        match self {
            Self::Ed25519(key) => read_signature(signature).is_some_and(|s| key.verify(message, &s).is_ok()),
            Self::Other(key) => key.has_signed(message, signature),
        }
    }
}

/// An Ed25519 signature: 128 lower-case digits, so that it has one spelling.
fn read_signature(text: &str) -> Option<Signature> {
    let mut bytes = [0; 64];
    let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(Signature(bytes))
}
