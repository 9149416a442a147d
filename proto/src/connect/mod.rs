//! One outbound connection to the server, for `suture-agent` and `suturectl` alike: TLS 1.3 over TCP, through an HTTP
//! proxy where the environment names one, trusting the server's own CA and nothing else.
//!
//! Whoever sits between (a proxy, an inspecting firewall) is trusted with nothing: the certificates of the machine's
//! trust store mean nothing here, and one that does not lead to the pinned CA is named in the error, because "your firewall
//! opens TLS" is what the hospital's IT has to hear.

mod error;
mod probe;
mod proxy;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use hyper::body::Body;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use suture_core::clock::Clock;
use suture_core::limits::MAX_MESSAGE_BYTES;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::client::GrpcService;
use tonic::codegen::StdError;
use tonic::transport::{Channel, Endpoint};

pub use error::{Certificate, ConnectError, certificate_refused, find};
pub use probe::{Finding, Outcome, clock_finding, probe};
pub use proxy::{Proxy, ProxyRules};
pub use tls::{Identity, Trust};

use crate::v1::device_service_client::DeviceServiceClient;
use crate::v1::operator_service_client::OperatorServiceClient;

/// How long name, route, proxy and TLS may take, each.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(15);
/// What is read from the socket at once; rustls alone would ask for 4 KiB. 256 KiB are slower by a tenth, for they do not
/// stay in the nearest cache until they are decrypted.
const READ_BUFFER_BYTES: usize = 64 << 10;
/// HTTP/2 frames: 256 KiB carry bulk data faster by a tenth than the default of 16 KiB.
const MAX_FRAME_BYTES: u32 = 256 << 10;
/// The least that HTTP/2 lets a client ask for. A frame is handed on once it is whole, so what a cut loses is less than one.
const LEAST_FRAME_BYTES: u32 = 16 << 10;
/// HTTP/2 windows. The RFC's 64 KiB would cost a quarter of the rate.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// The RFC's default, below which no peer needs to go.
const LEAST_WINDOW_BYTES: u32 = 64 << 10;
/// See [`STREAM_WINDOW_BYTES`].
const CONNECTION_WINDOW_BYTES: u32 = 5 << 20;
/// While a call is open, a peer that does not answer a ping for [`PING_TIMEOUT`] is gone.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// See [`PING_INTERVAL`].
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Where to connect to, how to know the server, and who to be.
#[derive(Clone)]
pub struct Settings {
    /// `https://host:port`, or `https://host` for port 443.
    pub address: String,
    /// How the server is known.
    pub trust: Trust,
    /// The client's certificate, once it has one.
    pub identity: Option<Identity>,
    /// Which proxy to go through.
    pub proxy: ProxyRules,
    /// Certificates are valid or not by this clock.
    pub clock: Arc<dyn Clock>,
}

/// Host and port of a server, from its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Authority {
    /// Reads `https://host[:port]`; a path, a query and credentials are refused, and so is a host that no certificate can
    /// name.
    pub fn parse(address: &str) -> Result<Self, ConnectError> {
        let bad = |why| ConnectError::Address { address: address.to_owned(), why };
        let uri: Uri = address.trim_end_matches('/').parse().map_err(|_| bad("it is not a URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(bad("it does not begin with https://"));
        }
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("it holds more than host and port"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(bad("it names no host"));
        }
        let port = match authority.as_str().rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            None => 443,
            Some((_, port)) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| bad("its port is none"))?,
        };
        let read = Self { host: host.to_owned(), port };
        read.name().map_err(|_| bad("the host is not a name"))?;
        Ok(read)
    }

    fn name(&self) -> Result<ServerName<'static>, InvalidDnsNameError> {
        ServerName::try_from(self.host.clone())
    }

    /// `host:port`, an IPv6 address in brackets.
    pub fn host_port(&self) -> String {
        let Self { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// The byte stream below TLS.
type Raw = BufReader<TcpStream>;

/// Connects and waits until HTTP/2 is up. The channel connects again by itself when the connection is lost.
pub async fn connect(settings: &Settings) -> Result<Channel, ConnectError> {
    let (endpoint, connector) = endpoint(settings)?;
    let service = tower::service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move { connector.open().await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(service).await.map_err(|e| match find(&e) {
        Some(known) => known.clone(),
        None => ConnectError::Http { source: Arc::new(e) },
    })
}

/// What one connection after another is made by. They take up one another's TLS sessions, which spares the server's
/// certificate and its signature, though no round trip.
#[derive(Clone)]
pub struct Dialer {
    endpoint: Endpoint,
    connector: Connector,
}

/// How much of a call comes in one frame of HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// For speed.
    Wide,
    /// For a line that breaks.
    Narrow,
}

impl Dialer {
    /// Makes no connection yet.
    pub fn new(settings: &Settings) -> Result<Self, ConnectError> {
        let (endpoint, connector) = endpoint(settings)?;
        Ok(Self { endpoint, connector })
    }

    /// The same for a client that reads slowly: the server sends at most `window_bytes` of a call that were not read.
    pub fn reading_slowly(self, window_bytes: u32) -> Self {
        let window = window_bytes.clamp(LEAST_WINDOW_BYTES, STREAM_WINDOW_BYTES);
        Self { endpoint: self.endpoint.initial_stream_window_size(window), ..self }
    }

    /// A channel that connects with its first call, which then carries the [`ConnectError`] in its status (see [`find`]), and
    /// again whenever its connection is lost.
    pub fn channel(&self, frames: Frames) -> Channel {
        let most = match frames {
            Frames::Wide => MAX_FRAME_BYTES,
            Frames::Narrow => LEAST_FRAME_BYTES,
        };
        let connector = self.connector.clone();
        let service = tower::service_fn(move |_: Uri| {
            let connector = connector.clone();
            async move { connector.open().await.map(TokioIo::new) }
        });
        self.endpoint.clone().max_frame_size(most).connect_with_connector_lazy(service)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialer").field(&self.connector.server).finish()
    }
}

/// The operators' calls, with the limits on messages.
pub fn operator_client(channel: Channel) -> OperatorServiceClient<Channel> {
    OperatorServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// The devices' calls, with the limits on messages.
pub fn device_client<T>(service: T) -> DeviceServiceClient<T>
where
    T: GrpcService<
            tonic::body::Body,
            Error: Into<StdError>,
            ResponseBody: Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
        >,
{
    DeviceServiceClient::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

fn endpoint(settings: &Settings) -> Result<(Endpoint, Connector), ConnectError> {
    let connector = Connector::new(settings)?;
    let endpoint = Endpoint::from_shared(format!("https://{}", connector.server.host_port()))
        .map_err(|_| ConnectError::Address { address: settings.address.clone(), why: "it is not a URL" })?
        // Every step has its own bound; this one is for all of them and HTTP/2's greeting.
        .connect_timeout(STEP_TIMEOUT * 4)
        .max_frame_size(MAX_FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    Ok((endpoint, connector))
}

/// Opens connections, one step after another.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) server: Authority,
    pub(crate) proxy: Option<Proxy>,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Connector {
    pub(crate) fn new(settings: &Settings) -> Result<Self, ConnectError> {
        let server = Authority::parse(&settings.address)?;
        let name = server
            .name()
            .map_err(|_| ConnectError::Address { address: settings.address.clone(), why: "the host is not a name" })?;
        let config = tls::config(&settings.trust, settings.identity.as_ref(), settings.clock.clone())?;
        let proxy = settings.proxy.for_server(&server)?;
        Ok(Self { server, proxy, name, tls: TlsConnector::from(Arc::new(config)) })
    }

    async fn open(&self) -> Result<TlsStream<Raw>, ConnectError> {
        let stream = self.route().await?;
        self.secure(stream).await
    }

    /// A TCP connection to the server or its proxy.
    pub(crate) async fn reach(&self) -> Result<Raw, ConnectError> {
        let peer = self.peer();
        let addresses = self.resolve().await?;
        let mut last = None;
        for address in addresses {
            match tokio::time::timeout(STEP_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Small calls should not wait for more; a socket that refuses the option still carries them.
                    let _ = stream.set_nodelay(true);
                    return Ok(BufReader::with_capacity(READ_BUFFER_BYTES, stream));
                }
                Ok(Err(e)) => last = Some(e),
                Err(_) => last = Some(std::io::ErrorKind::TimedOut.into()),
            }
        }
        let source = last.unwrap_or_else(|| std::io::ErrorKind::NotFound.into());
        Err(ConnectError::Connect { peer: peer.host_port(), source: Arc::new(source) })
    }

    /// The addresses of the peer: of the proxy, if there is one.
    pub(crate) async fn resolve(&self) -> Result<Vec<std::net::SocketAddr>, ConnectError> {
        /// More are not tried.
        const MAX_ADDRESSES: usize = 8;
        let peer = self.peer();
        let fail = |source| ConnectError::Resolve { host: peer.host.clone(), source: Arc::new(source) };
        let lookup = tokio::net::lookup_host((peer.host.as_str(), peer.port));
        match tokio::time::timeout(STEP_TIMEOUT, lookup).await {
            Ok(Ok(found)) => Ok(found.take(MAX_ADDRESSES).collect()),
            Ok(Err(e)) => Err(fail(e)),
            Err(_) => Err(fail(std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// Through the proxy, if there is one.
    pub(crate) async fn route(&self) -> Result<Raw, ConnectError> {
        let mut stream = self.reach().await?;
        if let Some(proxy) = &self.proxy {
            proxy.tunnel(&mut stream, &self.server).await?;
        }
        Ok(stream)
    }

    /// TLS, and HTTP/2 agreed upon in it.
    pub(crate) async fn secure(&self, stream: Raw) -> Result<TlsStream<Raw>, ConnectError> {
        let server = || self.server.host_port();
        let stream = match tokio::time::timeout(STEP_TIMEOUT, self.tls.connect(self.name.clone(), stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(tls::name_failure(server(), e)),
            Err(_) => {
                return Err(ConnectError::Tls {
                    server: server(),
                    source: Arc::new(std::io::ErrorKind::TimedOut.into()),
                });
            }
        };
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Ok(stream),
            _ => Err(ConnectError::NoHttp2 { server: server() }),
        }
    }

    pub(crate) fn peer(&self) -> &Authority {
        self.proxy.as_ref().map_or(&self.server, |p| &p.authority)
    }
}

/// Reads a certificate chain and key from the PEM or DER that a program keeps; see [`Identity`].
pub fn identity(chain: Vec<Vec<u8>>, key: PrivateKeyDer<'static>) -> Identity {
    Identity { chain: chain.into_iter().map(CertificateDer::from).collect(), key: Arc::new(key) }
}

#[cfg(test)]
mod tests;
