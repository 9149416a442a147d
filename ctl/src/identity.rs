//! This operator's TLS key and certificate. The key is made here and stays here; renewal keeps it, so that only one file
//! changes and a power cut cannot part the two.

use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use suture_core::digest::Digest;
use suture_proto::connect::{self, Identity};
use zeroize::Zeroizing;

use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files::{self, Access};
use crate::home::Home;

/// A key on its way, which is kept before the server hears of it, below the mark of the token that it is shown with.
const ASKED: &str = "identity/asked.pem";
const KEY: &str = "identity/tls.key";
const CHAIN: &str = "identity/chain.pem";
/// Certificates renew at 70 % of their life.
const RENEW_AT_PERCENT: i64 = 70;

/// A key that has no certificate yet, and the request for one.
///
/// Accident: the program ends, or the disk is full, after the server has spent the token and before its answer lies here. The
/// server answers the same token again as long as it lives, to the same key alone: so the key is on the disk before.
pub struct Request {
    key_pem: Zeroizing<String>,
    /// PKCS#10, DER.
    pub csr: Vec<u8>,
}

impl Request {
    /// With the P-256 key that this token was shown with before, or a new one.
    pub fn with(home: &Home, token: &Digest) -> Outcome<Self> {
        let kept = home.read(ASKED)?.map(Zeroizing::new);
        let kept = kept.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()?.split_once('\n'));
        let kept = kept.filter(|(mark, _)| *mark == token.to_string()).and_then(|(_, pem)| KeyPair::from_pem(pem).ok());
        if let Some(key) = kept {
            return Ok(Self { csr: csr(&key)?, key_pem: Zeroizing::new(key.serialize_pem()) });
        }
        let key = KeyPair::generate().or_fail(|| "cannot make a TLS key".to_owned())?;
        let made = Self { csr: csr(&key)?, key_pem: Zeroizing::new(key.serialize_pem()) };
        let text = Zeroizing::new(format!("{token}\n{}", made.key_pem.as_str()));
        home.write(ASKED, text.as_bytes(), Access::Secret)?;
        Ok(made)
    }

    /// Keeps the key and the chain that answered the request.
    pub fn granted(&self, home: &Home, chain: &[impl AsRef<[u8]>]) -> Outcome {
        home.write(KEY, self.key_pem.as_bytes(), Access::Secret)?;
        store_chain(home, chain)
    }

    /// Whoever this home is lies there, and the key beside it.
    pub fn done(home: &Home) -> Outcome {
        Ok(files::remove(&home.path(ASKED)?)?)
    }
}

fn csr(key: &KeyPair) -> Outcome<Vec<u8>> {
    // The server ignores the subject: the token, or the certificate in force, says who this is.
    let request = CertificateParams::default().serialize_request(key);
    Ok(request.or_fail(|| "cannot write a certificate request".to_owned())?.der().to_vec())
}

/// Replaces the chain.
pub fn store_chain(home: &Home, chain: &[impl AsRef<[u8]>]) -> Outcome {
    let mut pem = String::new();
    for der in chain {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der.as_ref());
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    home.write(CHAIN, pem.as_bytes(), Access::Public)
}

/// The identity of this home.
pub fn load(home: &Home) -> Outcome<Identity> {
    let key = key(home)?;
    let chain = home.read(CHAIN)?.ok_or_else(|| missing(home, CHAIN))?;
    let chain = CertificateDer::pem_slice_iter(&chain)
        .map(|c| c.map(|c| c.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .or_fail(|| format!("{CHAIN} holds no certificates"))?;
    Ok(connect::identity(chain, key))
}

/// The same by a chain that has just been issued, wherever it is kept.
pub fn with_chain(home: &Home, chain: &[impl AsRef<[u8]>]) -> Outcome<Identity> {
    Ok(connect::identity(chain.iter().map(|der| der.as_ref().to_vec()).collect(), key(home)?))
}

fn key(home: &Home) -> Outcome<PrivateKeyDer<'static>> {
    let key = Zeroizing::new(home.read(KEY)?.ok_or_else(|| missing(home, KEY))?);
    PrivateKeyDer::from_pem_slice(&key).or_fail(|| format!("{KEY} holds no private key"))
}

fn missing(home: &Home, name: &str) -> Failure {
    Failure::new(format!("{} is missing", home.directory().join(name).display())).next("join again with a new token")
}

/// A request to renew, signed with the key in force.
pub fn renewal(home: &Home) -> Outcome<Vec<u8>> {
    let pem = home.read(KEY)?.map(Zeroizing::new).unwrap_or_default();
    let key = KeyPair::from_pem(&String::from_utf8_lossy(&pem)).or_fail(|| format!("{KEY} holds no private key"))?;
    csr(&key)
}

/// Whether so much of the certificate's life is over that it should be renewed, and whether all of it is.
pub fn renewal_due(identity: &Identity, now: Timestamp) -> (bool, bool) {
    let Some(certificate) = identity.chain.first() else { return (false, false) };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return (false, false) };
    let (from, to) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
    let life = to.saturating_sub(from);
    let due = now.as_second().saturating_sub(from) >= life.saturating_mul(RENEW_AT_PERCENT) / 100;
    (due, now.as_second() >= to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_survives_and_renewal_is_due_late_in_life() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        assert!(load(&home).unwrap_err().to_text().contains("join again"));
        let token = Digest::of(b"a token");
        let request = Request::with(&home, &token).unwrap();
        // As long as it is not done, the same token comes with the same key, and another with another.
        assert_eq!(*Request::with(&home, &token).unwrap().key_pem, *request.key_pem);
        let other = tempfile::tempdir().unwrap();
        let other = Home::open(other.path()).unwrap();
        other.write(ASKED, &home.read(ASKED).unwrap().unwrap(), Access::Secret).unwrap();
        assert_ne!(*Request::with(&other, &Digest::of(b"another")).unwrap().key_pem, *request.key_pem);
        let key = KeyPair::from_pem(&request.key_pem).unwrap();
        let mut params = CertificateParams::new(vec!["x".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 31);
        let certificate = params.self_signed(&key).unwrap();
        request.granted(&home, &[certificate.der().to_vec()]).unwrap();
        Request::done(&home).unwrap();
        assert_eq!(home.read(ASKED).unwrap(), None);
        let identity = load(&home).unwrap();
        assert_eq!(identity.chain, [certificate.der().clone()]);
        let due = |day: &str| renewal_due(&identity, day.parse().unwrap());
        assert_eq!(
            [21, 22, 30].map(|day| due(&format!("2026-01-{day}T00:00:00Z"))),
            [(false, false), (true, false), (true, false)]
        );
        assert_eq!(due("2026-01-31T00:00:00Z"), (true, true));
        // What a disk has no room for is used nevertheless.
        assert_eq!(with_chain(&home, &[certificate.der().to_vec()]).unwrap().chain, identity.chain);
        assert!(!renewal(&home).unwrap().is_empty());
    }
}
