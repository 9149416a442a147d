//! TLS 1.3 at the server's one port: it shows its own certificate, asks for the client's and verifies what it is shown.
//!
//! A client without a certificate gets as far as the table of rights (`crate::rights`), which lets it spend a token. A
//! certificate that has expired, though not longer than `limits::RENEWAL_GRACE_SECS` ago, gets as far too, so that a
//! device that comes back from a shelf can renew. Revocation and expiry are looked at again at every call: a resumed
//! session or an old connection is worth no more than its certificate is at that moment.

pub(crate) mod client;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use suture_core::clock::Clock;
use suture_core::limits::RENEWAL_GRACE_SECS;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::connections::{Connections, Held, Ticket, Who};
use crate::identity::{Authority, IdentityError, Peer, PeerError, SERVER_CERTIFICATE_SECS};

/// What rustls reads from the socket at once. By itself it reads 4 KiB, which halves an upload's speed.
const READ_BUFFER_BYTES: usize = 64 << 10;
/// What rustls encrypts before it writes to the socket: a frame. Its own 64 KiB make four times as many system calls, which
/// cost a tenth of the rate.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// A handshake that takes longer is cut.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without a certificate spends its token within that time, or comes again.
const ANONYMOUS_LIFE: Duration = Duration::from_secs(60);

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate for the server.
    #[error("the server's certificate could not be made")]
    Certificate(#[from] IdentityError),
    /// rustls refused a setting.
    #[error("TLS could not be set up")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a connection was dropped before its first call.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The client was too slow.
    #[error("the handshake took longer than {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Timeout,
    /// The handshake failed.
    #[error("the handshake failed")]
    Handshake(#[source] std::io::Error),
    /// The certificate is our authority's, yet names nobody.
    #[error("the client's certificate is of no use")]
    Peer(#[from] PeerError),
}

/// The server's end of TLS.
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<OwnCertificate>,
    authority: Arc<Authority>,
    hosts: Vec<String>,
    provider: Arc<CryptoProvider>,
}

impl Tls {
    /// Makes a server certificate for `hosts` and gets ready to accept.
    pub fn new(authority: Arc<Authority>, hosts: Vec<String>, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let setup = |e: rustls::Error| TlsError::Setup(e.into());
        let now = clock.now();
        let certificate = Arc::new(OwnCertificate(RwLock::new(own(&authority, &hosts, &provider, now)?)));
        let mut config = ServerConfig::builder_with_details(provider.clone(), Arc::new(Time(clock)))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(setup)?
            .with_client_cert_verifier(Arc::new(ClientVerifier::new(&authority, provider.clone())?))
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(setup)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate, authority, hosts, provider })
    }

    /// Shakes hands. The permit is held for as long as the connection lives.
    pub async fn accept(
        &self,
        (tcp, from): (TcpStream, IpAddr),
        connections: &Connections,
        permit: OwnedSemaphorePermit,
    ) -> Result<Connection, AcceptError> {
        let buffered = BufReader::with_capacity(READ_BUFFER_BYTES, tcp);
        let mut stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(buffered))
            .await
            .map_err(|_| AcceptError::Timeout)?
            .map_err(AcceptError::Handshake)?;
        let peer = match stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
            Some(certificate) => Some(Arc::new(Peer::of(certificate, self.authority.domain())?)),
            None => None,
        };
        stream.get_mut().1.set_buffer_limit(Some(SEND_BUFFER_BYTES));
        let deadline = peer.is_none().then(|| Box::pin(tokio::time::sleep(ANONYMOUS_LIFE)));
        let who = peer.as_ref().map_or_else(|| Who::nobody(from), |peer| Who::Known(peer.principal.clone()));
        let ticket = connections.enter(who);
        let over = Box::pin(ticket.over().cancelled_owned());
        Ok(Connection { stream, peer, from, deadline, over, ticket, _permit: permit })
    }

    /// Makes a new server certificate where the present one has lived 70 % of its life. Says whether it did.
    pub fn renew(&self, now: Timestamp) -> Result<bool, TlsError> {
        let due = {
            let own = self.certificate.0.read().unwrap_or_else(PoisonError::into_inner);
            now.as_second() >= own.issued.as_second() + SERVER_CERTIFICATE_SECS / 10 * 7
        };
        if due {
            let fresh = own(&self.authority, &self.hosts, &self.provider, now)?;
            *self.certificate.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(due)
    }
}

/// The server's certificate, which changes while the server runs.
#[derive(Debug)]
struct OwnCertificate(RwLock<Own>);

#[derive(Debug)]
struct Own {
    key: Arc<CertifiedKey>,
    issued: Timestamp,
}

fn own(authority: &Authority, hosts: &[String], provider: &CryptoProvider, now: Timestamp) -> Result<Own, TlsError> {
    let (certificate, key) = authority.issue_server(hosts, now)?;
    let chain = vec![certificate, authority.certificate().clone()];
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|e| TlsError::Setup(e.into()))?;
    Ok(Own { key: Arc::new(key), issued: now })
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).key.clone())
    }
}

/// The server's clock, as rustls asks for it.
struct Time(Arc<dyn Clock>);

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Time")
    }
}

impl rustls::time_provider::TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let secs = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(secs)))
    }
}

/// Verifies client certificates by the authorities that are believed, and forgives an expiry that renewal may heal.
#[derive(Debug)]
struct ClientVerifier {
    strict: Arc<dyn ClientCertVerifier>,
}

impl ClientVerifier {
    fn new(authority: &Authority, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in authority.believed() {
            roots.add(certificate.clone()).map_err(|e| TlsError::Setup(e.into()))?;
        }
        let strict = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|e| TlsError::Setup(e.into()))?;
        Ok(Self { strict })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.strict.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.strict.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.strict.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let refusal = match self.strict.verify_client_cert(end_entity, intermediates, now) {
            Err(refusal) => refusal,
            verified => return verified,
        };
        let expired = matches!(
            refusal,
            rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })
        );
        let last = match x509_parser::parse_x509_certificate(end_entity) {
            Ok((_, x509)) if expired => u64::try_from(x509.validity().not_after.timestamp()).unwrap_or(0),
            _ => return Err(refusal),
        };
        let grace = RENEWAL_GRACE_SECS.unsigned_abs();
        if now.as_secs().saturating_sub(last) >= grace {
            return Err(refusal);
        }
        // Everything else about it must be as good as on its last day.
        let then = UnixTime::since_unix_epoch(Duration::from_secs(last));
        self.strict.verify_client_cert(end_entity, intermediates, then)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.strict.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.strict.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

/// Who is at the other end of a connection, as the requests on it carry it: nobody, where no certificate was shown.
#[derive(Debug, Clone, Default)]
pub struct PeerInfo {
    /// Who.
    pub peer: Option<Arc<Peer>>,
    /// The connection.
    pub(crate) held: Option<Arc<Held>>,
    /// Where it comes from; a proxy's address, where there is one between.
    pub(crate) from: Option<IpAddr>,
}

/// An accepted connection.
pub struct Connection {
    stream: TlsStream<BufReader<TcpStream>>,
    peer: Option<Arc<Peer>>,
    from: IpAddr,
    /// When a connection without a certificate ends.
    deadline: Option<Pin<Box<Sleep>>>,
    /// When it ends for another's sake.
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    ticket: Ticket,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// What waits for the other end waits for the connection's end too.
    fn unless_over<T>(&mut self, cx: &mut Context<'_>, polled: Poll<std::io::Result<T>>) -> Poll<std::io::Result<T>> {
        if polled.is_pending() && self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionAborted.into()));
        }
        polled
    }

    fn took(&mut self, cx: &mut Context<'_>, written: Poll<std::io::Result<usize>>) -> Poll<std::io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.ticket.taken(*bytes);
        }
        self.unless_over(cx, written)
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerInfo;
    fn connect_info(&self) -> PeerInfo {
        PeerInfo { peer: self.peer.clone(), held: Some(self.ticket.held()), from: Some(self.from) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.ticket.heard();
        }
        self.unless_over(cx, read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.took(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_over(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.took(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
