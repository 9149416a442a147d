//! TLS 1.3 with the server's own CA pinned.
//!
//! Attack: a certificate of some public or company CA that this machine happens to trust. Hence no trust store is read:
//! the chain has to lead to a CA that was pinned by its bytes or, on first contact, by its digest out of a token.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use suture_core::clock::Clock;
use suture_core::digest::Digest;

use super::error::{Certificate, ConnectError};

/// How the server is known.
#[derive(Debug, Clone)]
pub enum Trust {
    /// By the certificates of its CA, or of several where one takes the other's place.
    Cas(Vec<CertificateDer<'static>>),
    /// By the SHA-256 of its CA's certificate (DER), which the server then has to show in its chain: first contact. The
    /// certificate itself comes with the answer to `Join` or `Enroll`; keep it, after comparing it with the digest.
    CaSha256(Digest),
}

/// A client's certificate chain and its key.
#[derive(Clone)]
pub struct Identity {
    /// Its own certificate, then the issuers'.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

pub(super) fn config(
    trust: &Trust,
    identity: Option<&Identity>,
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, ConnectError> {
    let material = |what| move |e| ConnectError::Material { what, source: Arc::new(e) };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        Pinned::new(trust, &provider, ClockTime(clock.clone())).map_err(material("pinned CA certificate"))?;
    let builder = ClientConfig::builder_with_details(provider, Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(material("TLS provider"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key }) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(material("client certificate"))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// The program's clock, for rustls.
struct ClockTime(Arc<dyn Clock>);

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockTime")
    }
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

/// Verifies as webpki does, under the pinned CA only, and names what was shown instead.
#[derive(Debug)]
struct Pinned {
    anchor: Anchor,
    clock: ClockTime,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Anchor {
    Known(Arc<WebPkiServerVerifier>),
    ByDigest(Digest),
}

impl Pinned {
    fn new(trust: &Trust, provider: &Arc<CryptoProvider>, clock: ClockTime) -> Result<Self, rustls::Error> {
        let anchor = match trust {
            Trust::Cas(cas) => Anchor::Known(under(cas, provider)?),
            Trust::CaSha256(digest) => Anchor::ByDigest(*digest),
        };
        Ok(Self { anchor, clock, provider: provider.clone() })
    }
}

fn under(
    cas: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        roots.add(ca.clone())?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| rustls::Error::General(e.to_string()))
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verifier = match &self.anchor {
            Anchor::Known(verifier) => verifier.clone(),
            Anchor::ByDigest(digest) => match intermediates.iter().find(|c| Digest::of(c) == *digest) {
                Some(ca) => under(&[ca.clone().into_owned()], &self.provider)?,
                None => return Err(Shown::error(end_entity, None)),
            },
        };
        let verify = |now| verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let verified = match verify(now) {
            // A clock that is known to be late says of no certificate that it is not valid yet; all else must be as good as
            // on the certificate's first day.
            Err(e) if is_early(&e) && self.clock.0.is_known_to_be_late() => {
                first_day(end_entity).map_or(Err(e), verify)
            }
            verified => verified,
        };
        verified.map_err(|e| match e {
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::BadEncoding,
            ) => Shown::error(end_entity, None),
            e => Shown::error(end_entity, Some(e)),
        })
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate was refused for the reason alone that it is not valid yet.
fn is_early(error: &rustls::Error) -> bool {
    use CertificateError::{NotValidYet, NotValidYetContext};
    matches!(error, rustls::Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }))
}

/// The first second at which a certificate is valid.
fn first_day(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_before.timestamp()).ok()?;
    Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
}

/// A refused certificate, carried through rustls to [`name_failure`].
#[derive(Debug, thiserror::Error)]
#[error("{certificate}")]
struct Shown {
    certificate: Certificate,
    /// `None`: not of the pinned CA.
    why: Option<rustls::Error>,
}

impl Shown {
    fn error(end_entity: &CertificateDer<'_>, why: Option<rustls::Error>) -> rustls::Error {
        let shown = Self { certificate: Certificate::read(end_entity), why };
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(shown))))
    }
}

/// Turns a failed handshake into the error that says what happened.
pub(super) fn name_failure(server: String, error: io::Error) -> ConnectError {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) = inner
        && let Some(Shown { certificate, why }) = other.downcast_ref::<Shown>()
    {
        let certificate = Box::new(certificate.clone());
        return match why {
            None => ConnectError::Intercepted { server, certificate },
            Some(why) => ConnectError::Certificate { server, certificate, why: explain(why) },
        };
    }
    ConnectError::Tls { server, source: Arc::new(error) }
}

fn explain(why: &rustls::Error) -> String {
    match why {
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "it has expired, or this machine's clock is ahead".to_owned()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "it is not valid yet; this machine's clock is probably behind".to_owned(),
        other => other.to_string(),
    }
}
