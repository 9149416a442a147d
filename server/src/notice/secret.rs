//! What deliveries are signed with: Standard Webhooks' symmetric scheme, HMAC-SHA256 over id, time and body.
//!
//! The secret is made of the server's seal and of what names the contact, so it stands in no database and no dump of one. It is
//! shown when the contact is added; whoever loses it adds the contact anew.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use suture_core::id::{ContactName, HdoId};
use zeroize::Zeroizing;

/// What tells these secrets from all else that the seal is used for.
const PURPOSE: &[u8] = b"suture webhook secret 1\0";
/// What Standard Webhooks writes before a symmetric secret.
const PREFIX: &str = "whsec_";

/// A contact's secret.
pub(crate) struct Secret(Zeroizing<[u8; 32]>);

/// HMAC takes keys of any length, so the error cannot come up; an empty code would be accepted by nobody.
fn code(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

impl Secret {
    /// The secret of a contact, which `salt` tells from an earlier one of the same name.
    pub(crate) fn of(seal: &str, hdo: &HdoId, contact: &ContactName, salt: &[u8]) -> Self {
        let names = format!("{hdo}\0{contact}\0");
        Self(Zeroizing::new(code(seal.as_bytes(), &[PURPOSE, names.as_bytes(), salt])))
    }

    /// As its owner writes it into a receiver.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", BASE64.encode(self.0.as_slice())))
    }

    /// The value of `webhook-signature`.
    pub(crate) fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let head = format!("{id}.{}.", at.as_second());
        format!("v1,{}", BASE64.encode(code(self.0.as_slice(), &[head.as_bytes(), body])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_rfc_4231s_and_the_signature_standard_webhooks() {
        // RFC 4231, test case 2.
        let known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex::encode(code(b"Jefe", &[b"what do ya want ", b"for nothing?"])), known);
        // The example of the Standard Webhooks libraries.
        let key: [u8; 24] = BASE64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap().try_into().unwrap();
        let signed = code(&key, &[b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.", br#"{"test": 2432232314}"#]);
        assert_eq!(BASE64.encode(signed), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_contact_has_its_own_and_another_after_it_was_added_anew() {
        let (hdo, other): (HdoId, HdoId) = ("riverside".parse().unwrap(), "hilltop".parse().unwrap());
        let (one, two): (ContactName, ContactName) = ("siem".parse().unwrap(), "desk".parse().unwrap());
        let texts = [
            Secret::of("seal", &hdo, &one, b"1").to_text(),
            Secret::of("seal", &other, &one, b"1").to_text(),
            Secret::of("seal", &hdo, &two, b"1").to_text(),
            Secret::of("seal", &hdo, &one, b"2").to_text(),
            Secret::of("leas", &hdo, &one, b"1").to_text(),
        ];
        let different: std::collections::BTreeSet<&str> = texts.iter().map(|t| t.as_str()).collect();
        assert_eq!(different.len(), texts.len());
        assert_eq!(texts[0], Secret::of("seal", &hdo, &one, b"1").to_text());
        assert!(texts[0].starts_with(PREFIX) && texts[0].len() == PREFIX.len() + 44);
    }
}
