//! One pasted string that is all the trust a newcomer needs: where the server is, how to know it, and a one-time secret.
//!
//! ctl composes it from its own pinned fingerprints; the server contributes nothing and stores only the secret's SHA-256.
//! Text form: `suture1.` and the canonical JSON in unpadded URL-safe base64.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL_NOPAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::LogKey;
use crate::clock::utc;
use crate::digest::Digest;
use crate::id::{DeviceId, HdoId, OperatorName, TrustDomain};
use crate::json;
use crate::trust::Edition;

const PREFIX: &str = "suture1.";
/// Far more than a token needs.
const MAX_TOKEN_BYTES: usize = 8_192;

/// What a newcomer is given.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// `https://host:port` of the server.
    pub server: String,
    /// SHA-256 of the server's CA certificate in DER.
    pub ca_sha256: Digest,
    /// The trust domain of all identities.
    pub trust_domain: TrustDomain,
    /// Who may join with it.
    pub grant: Grant,
    /// SHA-256 of the catalog's root that the newcomer starts from, where there is one yet.
    pub catalog_root_sha256: Option<Digest>,
    /// SHA-256 of the approvals' root that the newcomer starts from, where there is one yet.
    pub approvals_root_sha256: Option<Digest>,
    /// The catalog's edition that the inviting operator verified last: what the newcomer is shown must be it or descend from
    /// it. Operators' tokens carry it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_edition: Option<Edition>,
    /// The same of the approvals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals_edition: Option<Edition>,
    /// The key by which the server's audit record is known. Absent in tokens of those who do not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_key: Option<LogKey>,
    /// After that the server refuses it.
    #[serde(with = "utc")]
    pub expires: Timestamp,
    /// 64 hexadecimal digits; spent by its first use.
    pub secret: Secret,
}

/// Who may join with a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Grant {
    /// A manufacturer's operator of that name.
    Mdm(OperatorName),
    /// The first operator of a hospital, who chooses a name.
    Hdo(HdoId),
    /// A further operator of a hospital.
    Operator(HdoId, OperatorName),
    /// A device of a hospital, with that id or any imported one.
    Device(HdoId, Option<DeviceId>),
}

/// A one-time secret: 32 random bytes. Its text is shown by nothing but the token itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret([u8; 32]);

/// Why a string is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a Suture token: it begins with `suture1.` and was perhaps cut in copying; ask for it again")]
pub struct TokenError;

impl Secret {
    /// A secret from 32 random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one call that spends it.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the server stores of it.
    pub fn sha256(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl TryFrom<String> for Secret {
    type Error = TokenError;
    fn try_from(s: String) -> Result<Self, TokenError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(&s, &mut bytes).map_err(|_| TokenError)?;
        Ok(Self(bytes))
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> String {
        hex::encode(secret.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("server", &self.server).field("grant", &self.grant).finish_non_exhaustive()
    }
}

impl Token {
    /// The one string.
    pub fn encode(&self) -> Result<String, TokenError> {
        let json = json::to_canonical(self).map_err(|_| TokenError)?;
        Ok(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(json)))
    }

    /// Reads what [`Token::encode`] wrote; white space around it is forgiven.
    pub fn decode(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError);
        }
        let body = text.strip_prefix(PREFIX).ok_or(TokenError)?;
        json::from_slice(&BASE64URL_NOPAD.decode(body).map_err(|_| TokenError)?).map_err(|_| TokenError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_pasting_and_nothing_shorter_does() {
        let token = Token {
            server: "https://localhost:7443".to_owned(),
            ca_sha256: Digest::of(b"ca"),
            trust_domain: "acme.example".parse().unwrap(),
            grant: Grant::Device("riverside".parse().unwrap(), None),
            catalog_root_sha256: Some(Digest::of(b"root")),
            approvals_root_sha256: None,
            catalog_edition: Some(Edition { version: 3, sha256: Digest::of(b"targets") }),
            approvals_edition: None,
            audit_key: None,
            expires: "2026-11-24T15:00:00Z".parse().unwrap(),
            secret: Secret::new([9; 32]),
        };
        let text = token.encode().unwrap();
        assert_eq!(Token::decode(&format!(" {text}\n")).unwrap(), token);
        for cut in 0..text.len() {
            assert!(Token::decode(&text[..cut]).is_err(), "{cut}");
        }
        assert!(!format!("{token:?}").contains("0909"));
    }
}
