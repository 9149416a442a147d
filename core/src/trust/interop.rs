//! ECDSA on P-256 and RSA-PSS, so that tests can verify what other implementations of TUF sign with them.
//!
//! Only the feature `interop` brings them in, and no program may be built with it: the agent refuses to compile. Without it
//! there is no such key, and one that metadata list keeps its place among the ids and never counts.

#[cfg(feature = "interop")]
pub(super) use with::Key;
#[cfg(not(feature = "interop"))]
pub(super) use without::Key;

#[cfg(not(feature = "interop"))]
mod without {
    /// There is none.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    pub(in crate::trust) enum Key {}

    impl Key {
        pub(in crate::trust) fn read(_: &str, _: &str, _: Option<&str>) -> Result<Option<Self>, &'static str> {
            Ok(None)
        }

        pub(in crate::trust) fn has_signed(&self, _: &[u8], _: &str) -> bool {
            match *self {}
        }
    }
}

#[cfg(feature = "interop")]
mod with {
    use p256::ecdsa;
    use pkcs8::{DecodePublicKey, Document};
    use rsa::pss;
    use rsa::signature::Verifier;
    use sha2::Sha256;

    /// A key by its SubjectPublicKeyInfo in DER, which is its one spelling.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    pub(in crate::trust) enum Key {
        /// `ecdsa`, scheme `ecdsa-sha2-nistp256`; signatures in DER.
        P256(Vec<u8>),
        /// `rsa`, scheme `rsassa-pss-sha256`.
        RsaPss(Vec<u8>),
    }

    impl Key {
        pub(in crate::trust) fn read(
            kind: &str,
            scheme: &str,
            public: Option<&str>,
        ) -> Result<Option<Self>, &'static str> {
            let der = public.and_then(|pem| Document::from_pem(pem).ok()).map(|(_, der)| der.as_bytes().to_vec());
            let key = match (kind, scheme) {
                ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
                    der.filter(|der| ecdsa::VerifyingKey::from_public_key_der(der).is_ok()).map(Self::P256)
                }
                ("rsa", "rsassa-pss-sha256") => {
                    der.filter(|der| rsa::PublicKey::from_public_key_der(der).is_ok()).map(Self::RsaPss)
                }
                _ => return Ok(None),
            };
            key.map(Some).ok_or("an ecdsa or rsa key is no public key in PEM")
        }

        pub(in crate::trust) fn has_signed(&self, message: &[u8], signature: &str) -> bool {
            let Ok(bytes) = hex::decode(signature) else { return false };
            match self {
                Self::P256(der) => {
                    let key = ecdsa::VerifyingKey::from_public_key_der(der);
                    let signature = ecdsa::Signature::from_der(&bytes);
                    matches!((key, signature), (Ok(key), Ok(s)) if key.verify(message, &s).is_ok())
                }
                Self::RsaPss(der) => {
                    let key = rsa::PublicKey::from_public_key_der(der).map(pss::VerifyingKey::<Sha256>::new);
                    let signature = pss::Signature::try_from(bytes.as_slice());
                    matches!((key, signature), (Ok(key), Ok(s)) if key.verify(message, &s).is_ok())
                }
            }
        }
    }
}
