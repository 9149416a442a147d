//! The certificate over the device's TLS key: asked for, looked at before it is taken, and kept beside the key.
//!
//! Attack: a server that certifies another name or another key, so that the device becomes somebody else, or nobody.

use std::path::Path;

use base64::Engine as _;
use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use suture_core::principal::Principal;
use zeroize::Zeroizing;

use super::{Device, IdentityError};
use crate::durable::{self, DurableError};

/// A request (PKCS#10) for a certificate over a key. Who it is for is the server's to say.
pub(super) fn csr(key: &KeyPair) -> Result<Vec<u8>, IdentityError> {
    Ok(CertificateParams::default().serialize_request(key)?.der().to_vec())
}

/// The chain, if it certifies this key as this device.
pub(super) fn accept(
    chain: Vec<Vec<u8>>,
    device: &Device,
    key: &KeyPair,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let first = chain.first().ok_or(IdentityError::Chain("it is empty"))?;
    let (_, parsed) =
        x509_parser::parse_x509_certificate(first).map_err(|_| IdentityError::Chain("it cannot be read"))?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(IdentityError::Chain("it is over another key"));
    }
    let uri = Principal::Device(device.hdo.clone(), device.device.clone()).uri(&device.trust_domain);
    let names = parsed.subject_alternative_name().ok().flatten();
    let named = names.is_some_and(|n| {
        n.value.general_names.iter().any(|g| matches!(g, x509_parser::extensions::GeneralName::URI(u) if *u == uri))
    });
    if named {
        Ok(chain.into_iter().map(CertificateDer::from).collect())
    } else {
        Err(IdentityError::Chain("it names another identity"))
    }
}

/// Its first and its last second; `None` where it cannot be read.
pub(crate) fn life(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let at = |t: x509_parser::time::ASN1Time| Timestamp::from_second(t.timestamp()).ok();
    Some((at(parsed.validity().not_before)?, at(parsed.validity().not_after)?))
}

/// Key and chain in one file, so that they always fit together; replaced whole.
pub(super) fn write_tls(dir: &Path, key: &KeyPair, chain: &[CertificateDer<'_>]) -> Result<(), DurableError> {
    let mut text = Zeroizing::new(key.serialize_pem());
    text.push_str(&pem(&chain.iter().collect::<Vec<_>>()));
    durable::write_twice(&dir.join("tls.pem"), text.as_bytes(), durable::SECRET)
}

/// Certificates as text, one after another.
pub(crate) fn pem(certificates: &[&CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let body = base64::engine::general_purpose::STANDARD.encode(certificate);
        for line in body.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::PKCS_ECDSA_P256_SHA256;
    use rustls_pki_types::pem::PemObject as _;
    use suture_core::digest::Digest;

    use super::*;

    #[test]
    fn a_chain_over_another_key_or_name_is_refused() {
        let device = Device {
            server: "https://localhost:7443".to_owned(),
            trust_domain: "acme.example".parse().unwrap(),
            hdo: "riverside".parse().unwrap(),
            device: "pump-1".parse().unwrap(),
            catalog_root_sha256: Digest::of(b"c"),
            approvals_root_sha256: Digest::of(b"a"),
            audit_key: None,
        };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = |uri: &str| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
            params.self_signed(&key).unwrap().der().to_vec()
        };
        let good = certificate("spiffe://acme.example/hdo/riverside/device/pump-1");
        let chain = accept(vec![good.clone()], &device, &key).unwrap();
        let read = CertificateDer::from_pem_slice(pem(&[&chain[0]]).as_bytes()).unwrap();
        assert_eq!(read, chain[0]);
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        assert!(accept(vec![good], &device, &other).is_err());
        assert!(accept(vec![certificate("spiffe://acme.example/hdo/riverside/device/pump-2")], &device, &key).is_err());
        assert!(accept(vec![], &device, &key).is_err());
    }
}
