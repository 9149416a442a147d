//! What a connection can fail at, step by step.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use suture_core::digest::Digest;

/// Which step failed, with what a person needs to mend it. No variant holds a credential.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The configured address.
    #[error("{address:?} cannot serve as the server's address: {why}; write https://host:port")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The configured proxy.
    #[error("the proxy that {variable} names cannot be used: {why}")]
    ProxyAddress {
        /// The environment variable.
        variable: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The client's own certificate and key, or the pinned CA.
    #[error("the {what} cannot be used for TLS")]
    Material {
        /// Which.
        what: &'static str,
        /// Why.
        source: Arc<rustls::Error>,
    },
    /// The name.
    #[error("no address found for the name {host}; is the name right, and does this machine's DNS know it?")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: Arc<io::Error>,
    },
    /// The route.
    #[error("cannot connect to {peer}; is it up, and does the firewall let this machine out to it?")]
    Connect {
        /// The server's or the proxy's host and port.
        peer: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The proxy answered, but not with a tunnel.
    #[error("the proxy {proxy} refused a tunnel to {server}: {answer}")]
    ProxyRefused {
        /// The proxy's host and port.
        proxy: String,
        /// The server's host and port.
        server: String,
        /// Its answer, or what to do.
        answer: String,
    },
    /// The proxy did not answer, or not in HTTP.
    #[error("the proxy {proxy} did not answer as an HTTP proxy does")]
    ProxyBroken {
        /// The proxy's host and port.
        proxy: String,
        /// What went wrong.
        source: Arc<io::Error>,
    },
    /// A certificate that does not lead to the pinned CA: an inspecting firewall, or the wrong server.
    #[error(
        "{server} showed a certificate that Suture's CA has not issued: {certificate}. Something between inspects TLS (ask for an exception for {server}), or this is another server"
    )]
    Intercepted {
        /// The server's host and port.
        server: String,
        /// What was shown.
        certificate: Box<Certificate>,
    },
    /// A certificate of the pinned CA that does not serve: expired, not yet valid, for another name.
    #[error("the certificate that {server} showed is not valid: {why} ({certificate})")]
    Certificate {
        /// The server's host and port.
        server: String,
        /// What was shown.
        certificate: Box<Certificate>,
        /// What is wrong with it.
        why: String,
    },
    /// TLS otherwise.
    #[error("no TLS 1.3 with {server}")]
    Tls {
        /// The server's host and port.
        server: String,
        /// What went wrong.
        source: Arc<io::Error>,
    },
    /// TLS is up, but the other side speaks no HTTP/2.
    #[error("{server} speaks TLS but not HTTP/2; is it a Suture server?")]
    NoHttp2 {
        /// The server's host and port.
        server: String,
    },
    /// HTTP/2 did not come up.
    #[error("HTTP/2 with the server did not come up")]
    Http {
        /// What went wrong.
        source: Arc<tonic::transport::Error>,
    },
}

impl ConnectError {
    /// The step in a word: `address`, `name`, `route`, `proxy`, `tls` or `http`.
    pub fn step(&self) -> &'static str {
        match self {
            Self::Address { .. } => "address",
            Self::Resolve { .. } => "name",
            Self::Connect { .. } => "route",
            Self::ProxyAddress { .. } | Self::ProxyRefused { .. } | Self::ProxyBroken { .. } => "proxy",
            Self::Material { .. }
            | Self::Intercepted { .. }
            | Self::Certificate { .. }
            | Self::Tls { .. }
            | Self::NoHttp2 { .. } => "tls",
            Self::Http { .. } => "http",
        }
    }
}

/// A certificate, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it is for.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// When it ends.
    pub not_after: String,
    /// SHA-256 of its DER.
    pub sha256: Digest,
}

impl Certificate {
    /// What can be told of a DER certificate.
    pub fn read(der: &[u8]) -> Self {
        let sha256 = Digest::of(der);
        let unreadable = || "(unreadable)".to_owned();
        match x509_parser::parse_x509_certificate(der) {
            Ok((_, parsed)) => Self {
                subject: plain(&parsed.subject().to_string()),
                issuer: plain(&parsed.issuer().to_string()),
                not_after: parsed.validity().not_after.to_rfc2822().unwrap_or_else(|_| unreadable()),
                sha256,
            },
            Err(_) => Self { subject: unreadable(), issuer: unreadable(), not_after: unreadable(), sha256 },
        }
    }
}

/// A stranger wrote it: no control characters, no more than a line.
fn plain(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect();
    if clean.is_empty() { "(empty)".to_owned() } else { clean }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, issuer, not_after, sha256 } = self;
        write!(f, "subject {subject}, issuer {issuer}, ends {not_after}, SHA-256 {sha256}")
    }
}

/// The [`ConnectError`] that an error of tonic's came from, if it came from one.
pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ConnectError> {
    let mut next = Some(error);
    while let Some(e) = next {
        if let Some(found) = e.downcast_ref::<ConnectError>() {
            return Some(found);
        }
        next = e.source();
    }
    None
}

/// Whether the server ended the connection because of the certificate that this client showed. In TLS 1.3 the client learns
/// so with its first call only, and sometimes just finds the connection closed.
pub fn certificate_refused(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(e) = next {
        // What an `io::Error` wraps is not its source but itself.
        let inner = e.downcast_ref::<io::Error>().and_then(|e| e.get_ref());
        if let Some(rustls::Error::AlertReceived(alert)) = inner.and_then(|e| e.downcast_ref::<rustls::Error>()) {
            use rustls::AlertDescription as Alert;
            return matches!(
                alert,
                Alert::UnknownCA
                    | Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::DecryptError
                    | Alert::AccessDenied
            );
        }
        next = e.source();
    }
    false
}
