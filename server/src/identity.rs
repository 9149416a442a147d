//! The certificate authority: who is who, by short-lived certificates that it alone issues.
//!
//! Attack: a request that asks for somebody else's name. Nothing of a request but its public key is used; the identity is
//! the caller's argument, settled by a token or by the certificate that is being renewed.

use std::net::IpAddr;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SerialNumber,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use suture_core::clock::whole_second;
use suture_core::digest::Digest;
use suture_core::id::TrustDomain;
use suture_core::limits::CERTIFICATE_SECS;
use suture_core::principal::{Principal, PrincipalError};
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use crate::store::certificates::Certificate;

/// The authority's own certificate: 20 years, longer than a device's service life.
const AUTHORITY_SECS: i64 = 20 * 365 * 86_400;
/// The server's certificate: 90 days. It is made anew at every start and at 70 % of its life.
pub const SERVER_CERTIFICATE_SECS: i64 = 90 * 86_400;
/// How far a certificate reaches back, for clocks that are slow: one hour.
const BACKDATE_SECS: i64 = 3_600;
/// Far more than a P-256 request takes.
const MAX_CSR_BYTES: usize = 4_096;
/// A P-256 point, uncompressed.
const P256_POINT_BYTES: usize = 65;

/// Why the authority refuses or fails.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The request cannot be read or does not prove that its sender has the key.
    #[error("the certificate request is not a PKCS#10 request, signed by its own P-256 key")]
    Csr(#[source] Option<rcgen::Error>),
    /// A certificate or key file is not what it ought to be.
    #[error("the authority's {what} cannot be read")]
    Load {
        /// `certificate` or `key`.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A host name that no certificate can hold.
    #[error("{0:?} is neither a host name nor an IP address")]
    Host(String),
    /// A date that no certificate can hold.
    #[error("the clock shows a time that no certificate can hold")]
    Date,
    /// The cryptographic library failed.
    #[error("a certificate could not be made")]
    Make(#[source] rcgen::Error),
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random(#[source] getrandom::Error),
}

/// Why a certificate that was verified still names nobody.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Not X.509.
    #[error("the client's certificate cannot be read")]
    Parse,
    /// Not exactly one URI among its names.
    #[error("the client's certificate holds {0} URIs and ought to hold one")]
    Uris(usize),
    /// The URI is no identity of this server.
    #[error("the client's certificate names nobody known here")]
    Principal(#[from] PrincipalError),
}

/// The certificate authority of one trust domain.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    others: Vec<CertificateDer<'static>>,
    domain: TrustDomain,
}

/// A certificate, freshly issued, for its holder and for the database.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate, DER, then the authority's.
    pub chain: Vec<Vec<u8>>,
    /// What must be stored before it is worth anything.
    pub certificate: Certificate,
}

/// A verified certificate's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Whom it names.
    pub principal: Principal,
    /// Its serial number, big endian.
    pub serial: Vec<u8>,
    /// SHA-256 of its public key (SubjectPublicKeyInfo, DER).
    pub spki: Digest,
    /// Its last second.
    pub not_after: Timestamp,
}

/// A certificate request that was verified to be signed by its own P-256 key.
pub struct Csr {
    key: rcgen::PublicKey,
    spki: Vec<u8>,
}

impl Csr {
    /// Reads PKCS#10, DER; whatever it asks for besides its key is ignored.
    pub fn read(der: &[u8]) -> Result<Self, IdentityError> {
        if der.len() > MAX_CSR_BYTES {
            return Err(IdentityError::Csr(None));
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
            .map_err(|e| IdentityError::Csr(Some(e)))?;
        let key = request.public_key;
        let p256 = PublicKeyData::algorithm(&key) == &PKCS_ECDSA_P256_SHA256;
        if !p256 || key.der_bytes().len() != P256_POINT_BYTES {
            return Err(IdentityError::Csr(None));
        }
        let spki = key.subject_public_key_info();
        Ok(Self { key, spki })
    }

    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    pub fn spki(&self) -> Digest {
        Digest::of(&self.spki)
    }

    /// What a device and the person in front of it see at enrolment.
    pub fn fingerprint(&self, report_key: &suture_core::sign::PublicKey) -> Digest {
        suture_core::report::fingerprint(&self.spki(), report_key)
    }
}

impl Authority {
    /// Makes an authority: a self-signed certificate and its key, both PEM.
    pub fn create(domain: &TrustDomain, now: Timestamp) -> Result<(String, Zeroizing<String>), IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Make)?;
        let mut params = params(now, AUTHORITY_SECS)?;
        params.distinguished_name.push(DnType::CommonName, format!("Suture CA of {domain}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(IdentityError::Make)?;
        Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
    }

    /// Reads what [`Authority::create`] made.
    pub fn load(certificate_pem: &str, key_pem: &str, domain: TrustDomain) -> Result<Self, IdentityError> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|e| IdentityError::Load { what: "certificate", source: e.into() })?;
        let key = KeyPair::from_pem_and_sign_algo(key_pem, &PKCS_ECDSA_P256_SHA256)
            .map_err(|e| IdentityError::Load { what: "key", source: e.into() })?;
        let theirs = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|e| IdentityError::Load { what: "certificate", source: e.into() })?
            .1
            .public_key()
            .raw
            .to_vec();
        if theirs != key.subject_public_key_info() {
            return Err(IdentityError::Load { what: "key", source: "it is not the certificate's".into() });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|e| IdentityError::Load { what: "certificate", source: e.into() })?;
        Ok(Self { issuer, certificate, others: Vec::new(), domain })
    }

    /// Believes what these have certified too: authorities whose place it takes, or that will take its own.
    pub fn believing(self, others: Vec<CertificateDer<'static>>) -> Self {
        Self { others, ..self }
    }

    /// Every authority whose certificates are believed, this one first.
    pub fn believed(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        std::iter::once(&self.certificate).chain(&self.others)
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the authority's certificate: what tokens pin.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.certificate)
    }

    /// The domain of all identities that it certifies.
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Issues a client certificate for `principal` over the request's key.
    pub fn issue(&self, csr: &Csr, principal: &Principal, now: Timestamp) -> Result<Issued, IdentityError> {
        let mut params = params(now, CERTIFICATE_SECS)?;
        let serial = serial()?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.subject_alt_names = vec![self.uri(principal)?];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&csr.key, &self.issuer).map_err(IdentityError::Make)?;
        Ok(Issued {
            chain: vec![certificate.der().to_vec(), self.certificate.to_vec()],
            certificate: Certificate {
                serial: serial.to_vec(),
                principal: principal.clone(),
                spki: csr.spki(),
                issued: now,
                not_after: later(whole_second(now), CERTIFICATE_SECS)?,
            },
        })
    }

    /// Issues the server's own certificate, with a key made for it, for these host names or addresses.
    pub fn issue_server(
        &self,
        hosts: &[String],
        now: Timestamp,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), IdentityError> {
        let mut params = params(now, SERVER_CERTIFICATE_SECS)?;
        params.serial_number = Some(SerialNumber::from_slice(&serial()?));
        params.subject_alt_names = vec![self.uri(&Principal::Server)?];
        for host in hosts {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName(host.as_str().try_into().map_err(|_| IdentityError::Host(host.to_owned()))?),
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Make)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(IdentityError::Make)?;
        Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }

    fn uri(&self, principal: &Principal) -> Result<SanType, IdentityError> {
        Ok(SanType::URI(principal.uri(&self.domain).try_into().map_err(IdentityError::Make)?))
    }
}

impl Peer {
    /// Reads a certificate that the handshake has verified.
    pub fn of(certificate: &[u8], domain: &TrustDomain) -> Result<Self, PeerError> {
        let (_, x509) = x509_parser::parse_x509_certificate(certificate).map_err(|_| PeerError::Parse)?;
        let names = x509.subject_alternative_name().map_err(|_| PeerError::Parse)?;
        let uris: Vec<&str> = names
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
            .collect();
        let [uri] = uris.as_slice() else { return Err(PeerError::Uris(uris.len())) };
        let not_after = x509.validity().not_after.timestamp();
        Ok(Self {
            principal: Principal::parse(uri, domain)?,
            serial: x509.serial.to_bytes_be(),
            spki: Digest::of(x509.public_key().raw),
            not_after: Timestamp::from_second(not_after).map_err(|_| PeerError::Parse)?,
        })
    }
}

/// Parameters with a validity from a little before `now` to `life_secs` after it, and no names.
fn params(now: Timestamp, life_secs: i64) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let date = |at: Timestamp| {
        let since_epoch = u64::try_from(at.as_second()).map_err(|_| IdentityError::Date)?;
        Ok(rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(since_epoch))
    };
    params.not_before = date(later(now, -BACKDATE_SECS)?)?;
    params.not_after = date(later(now, life_secs)?)?;
    Ok(params)
}

fn later(at: Timestamp, secs: i64) -> Result<Timestamp, IdentityError> {
    at.checked_add(jiff::SignedDuration::from_secs(secs)).map_err(|_| IdentityError::Date)
}

/// A serial number: 16 random bytes, the first between 0x40 and 0x7f, so that its DER and its bytes are the same.
fn serial() -> Result<[u8; 16], IdentityError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(IdentityError::Random)?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T15:00:00Z".parse().unwrap()
    }

    fn authority() -> Authority {
        let domain: TrustDomain = "acme.example".parse().unwrap();
        let (certificate, key) = Authority::create(&domain, now()).unwrap();
        Authority::load(&certificate, &key, domain).unwrap()
    }

    fn csr(key: &KeyPair, subject: &str) -> Vec<u8> {
        let mut params = CertificateParams::new(vec![subject.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.serialize_request(key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_names_whom_the_server_says_and_not_what_the_request_asks_for() {
        let authority = authority();
        let key = KeyPair::generate().unwrap();
        let csr = Csr::read(&csr(&key, "mdm-ada")).unwrap();
        let principal = Principal::Device("riverside".parse().unwrap(), "pump-1".parse().unwrap());
        let issued = authority.issue(&csr, &principal, now()).unwrap();
        let peer = Peer::of(&issued.chain[0], authority.domain()).unwrap();
        assert_eq!(peer.principal, principal);
        assert_eq!(peer.serial, issued.certificate.serial);
        assert_eq!(peer.spki, Digest::of(&key.subject_public_key_info()));
        assert_eq!(peer.not_after, issued.certificate.not_after);
        assert_eq!(issued.chain[1], authority.certificate().to_vec());
    }

    #[test]
    fn only_a_request_that_proves_a_p256_key_is_taken() {
        let p256 = csr(&KeyPair::generate().unwrap(), "x");
        assert!(Csr::read(&p256).is_ok());
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert!(Csr::read(&csr(&p384, "x")).is_err());
        let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        assert!(Csr::read(&csr(&ed25519, "x")).is_err());
        // The signature is at the end: a request whose signature is not its key's.
        let mut forged = p256.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert!(Csr::read(&forged).is_err());
        assert!(Csr::read(&p256[..p256.len() - 1]).is_err());
        assert!(Csr::read(&[0x30; MAX_CSR_BYTES + 1]).is_err());
    }

    #[test]
    fn an_authority_is_not_loaded_with_another_ones_key() {
        let domain: TrustDomain = "acme.example".parse().unwrap();
        let (certificate, _) = Authority::create(&domain, now()).unwrap();
        let (_, key) = Authority::create(&domain, now()).unwrap();
        assert!(matches!(Authority::load(&certificate, &key, domain), Err(IdentityError::Load { what: "key", .. })));
    }

    #[test]
    fn a_certificate_of_another_domain_names_nobody() {
        let authority = authority();
        let csr = Csr::read(&csr(&KeyPair::generate().unwrap(), "x")).unwrap();
        let issued = authority.issue(&csr, &Principal::Mdm("ada".parse().unwrap()), now()).unwrap();
        assert!(matches!(
            Peer::of(&issued.chain[0], &"other.example".parse().unwrap()),
            Err(PeerError::Principal(PrincipalError::Foreign(_)))
        ));
        let (server, _) = authority.issue_server(&["localhost".to_owned(), "::1".to_owned()], now()).unwrap();
        assert_eq!(Peer::of(&server, authority.domain()).unwrap().principal, Principal::Server);
    }
}
