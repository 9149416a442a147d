//! Syslog over TLS: messages of RFC 5424, framed by their length and sent as RFC 5425 says, over TLS 1.3.
//!
//! Syslog has no acknowledgement, and what was written to a socket is lost where the other end goes away. So a connection
//! carries one batch: it is ended by TLS's own `close_notify`, which the receiver reads behind the last message and answers
//! by closing its end (RFC 5425, 4.4). Only then does the batch count as delivered ([`Syslog::finish`]); else it is
//! sent again, whole. A message may arrive twice, none is lost that the receiver has not taken.
//!
//! Receivers that are in use close their end without a `close_notify` of their own. So a plain end counts too, where it comes
//! as an answer: one that was there before ours was sent is a cut.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Facility 10, security and authorisation messages (RFC 5424, table 1).
const FACILITY: u8 = 10;
/// How long the receiver may take for each step.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a cut may take to be heard of before the batch is ended. It is no measure of the receiver: an honest one says
/// nothing in that time.
const SETTLE: Duration = Duration::from_millis(200);
/// A message's bytes. RFC 5425 asks receivers to take 8,192.
pub const MAX_MESSAGE_BYTES: usize = 8 << 10;
/// The port of syslog over TLS.
pub const PORT: u16 = 6514;

/// Why a batch was not delivered, or no receiver can be used.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// The authorities' file.
    #[error("cannot read the authorities' certificates in {path}")]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The host is no name that a certificate could hold.
    #[error("{0:?} is no host name")]
    Name(String),
    /// TLS refused a setting.
    #[error("TLS could not be set up")]
    Setup(#[source] rustls::Error),
    /// The network, or what the receiver showed in the handshake.
    #[error("{step} the syslog receiver {to} failed")]
    Io {
        /// What was tried.
        step: &'static str,
        /// Whom.
        to: String,
        /// Why.
        source: std::io::Error,
    },
    /// The receiver stands still.
    #[error("{step} the syslog receiver {to} took too long")]
    Slow {
        /// What was tried.
        step: &'static str,
        /// Whom.
        to: String,
    },
    /// Longer than receivers must take.
    #[error("the message has {0} bytes, more than {MAX_MESSAGE_BYTES}")]
    TooLong(usize),
}

/// Where messages go, and by which authorities the receiver is known.
#[derive(Clone)]
pub struct Receiver {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
    patience: Duration,
}

/// Reads `tls://host` or `tls://host:port`.
pub(crate) fn parse(url: &str) -> Option<(String, u16)> {
    let authority: http::uri::Authority = url.strip_prefix("tls://")?.parse().ok()?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = if authority.port().is_some() { authority.port_u16().filter(|port| *port != 0)? } else { PORT };
    let is_host = ServerName::try_from(host.as_str()).is_ok();
    (is_host && !authority.as_str().contains('@')).then_some((host, port))
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// From 0, emergency, to 7, debug (RFC 5424, table 2).
    pub severity: u8,
    /// When.
    pub at: Timestamp,
    /// Which host tells it: its name or address, without spaces.
    pub host: &'a str,
    /// What kind of message it is, as in `call-forbidden`: at most 32 letters, digits and signs.
    pub kind: &'a str,
    /// The text.
    pub text: &'a str,
}

/// A connection that carries one batch.
pub struct Syslog {
    stream: TlsStream<TcpStream>,
    to: String,
    patience: Duration,
}

impl Receiver {
    /// A receiver that shows a certificate of one of the authorities in a PEM file.
    pub fn new(host: &str, port: u16, authorities: &Path) -> Result<Self, SyslogError> {
        let bad = |source| SyslogError::Authorities { path: authorities.to_owned(), source };
        let pem = std::fs::read(authorities).map_err(|e| bad(e.into()))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|e| bad(e.to_string().into()))?;
            roots.add(certificate).map_err(|e| bad(e.into()))?;
        }
        if roots.is_empty() {
            return Err(bad("it holds no certificate".into()));
        }
        Self::of(host, port, roots)
    }

    /// A receiver that shows a certificate of one of these authorities.
    pub fn of(host: &str, port: u16, roots: RootCertStore) -> Result<Self, SyslogError> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(SyslogError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::by(host, port, TlsConnector::from(Arc::new(config)))
    }

    /// A receiver that proves by this TLS who it is.
    pub(crate) fn by(host: &str, port: u16, tls: TlsConnector) -> Result<Self, SyslogError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| SyslogError::Name(host.to_owned()))?;
        Ok(Self { host: host.to_owned(), port, name, tls, patience: PATIENCE })
    }

    /// The same, given so long for each step.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// As people write it.
    pub fn address(&self) -> String {
        format!("tls://{}:{}", self.host, self.port)
    }
}

impl Syslog {
    /// Connects and verifies who answers.
    pub async fn connect(receiver: &Receiver) -> Result<Self, SyslogError> {
        let tcp = TcpStream::connect((receiver.host.as_str(), receiver.port));
        let tcp = within(receiver.patience, &receiver.address(), "connecting to", tcp).await?;
        Self::over(receiver, tcp).await
    }

    /// Verifies who answers on a connection that is there: whoever has checked an address has it used, and no other.
    pub(crate) async fn over(receiver: &Receiver, tcp: TcpStream) -> Result<Self, SyslogError> {
        let (to, patience) = (receiver.address(), receiver.patience);
        let stream = receiver.tls.connect(receiver.name.clone(), tcp);
        let stream = within(patience, &to, "the handshake with", stream).await?;
        Ok(Self { stream, to, patience })
    }

    /// Sends one. That it was sent says nothing yet.
    pub async fn send(&mut self, message: &Message<'_>) -> Result<(), SyslogError> {
        let frame = message.frame()?;
        within(self.patience, &self.to, "writing to", self.stream.write_all(frame.as_bytes())).await
    }

    /// Ends the batch. All of it was read by the receiver where this succeeds.
    pub async fn finish(mut self) -> Result<(), SyslogError> {
        let Self { stream, to, patience } = &mut self;
        within(*patience, to, "ending the batch with", async {
            stream.flush().await?;
            let mut rest = [0; 256];
            if let Ok(early) = tokio::time::timeout(SETTLE, stream.read(&mut rest)).await
                && early? == 0
            {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            stream.shutdown().await?;
            loop {
                match stream.read(&mut rest).await {
                    Ok(0) => break,
                    // A receiver has nothing to say; whatever it says is read until it closes.
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::UnexpectedEof => break,
                    Err(e) => return Err(e),
                }
            }
            Ok(())
        })
        .await
    }
}

async fn within<T>(
    patience: Duration,
    to: &str,
    step: &'static str,
    action: impl Future<Output = std::io::Result<T>>,
) -> Result<T, SyslogError> {
    match tokio::time::timeout(patience, action).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(source)) => Err(SyslogError::Io { step, to: to.to_owned(), source }),
        Err(_) => Err(SyslogError::Slow { step, to: to.to_owned() }),
    }
}

impl Message<'_> {
    /// The message behind its length (RFC 5425, 4.3).
    fn frame(&self) -> Result<String, SyslogError> {
        let text = self.line();
        if text.len() > MAX_MESSAGE_BYTES {
            return Err(SyslogError::TooLong(text.len()));
        }
        Ok(format!("{} {text}", text.len()))
    }

    /// The message by RFC 5424, 6: no process id, no structured data, and a text in UTF-8 behind its mark.
    fn line(&self) -> String {
        let at = self.at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
        let mut line = format!("<{}>1 {at} ", FACILITY * 8 + self.severity.min(7));
        word(&mut line, self.host, 255);
        line.push_str(" suture-server - ");
        word(&mut line, self.kind, 32);
        // Cannot fail: the target is a String.
        let _ = write!(line, " - \u{feff}{}", self.text);
        line
    }
}

/// A header field: printable ASCII without spaces, or `-` (RFC 5424, 6: NILVALUE).
fn word(line: &mut String, text: &str, most: usize) {
    let before = line.len();
    line.extend(text.chars().filter(char::is_ascii_graphic).take(most));
    if line.len() == before {
        line.push('-');
    }
}

#[cfg(test)]
pub(crate) mod tests;
