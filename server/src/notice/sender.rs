//! The way out to hospitals' contacts: an address that was checked, a receiver that proves who it is, and a bound on all of it.
//!
//! | attack, or mishap | what happens |
//! | --- | --- |
//! | a name that leads into the server's own network | [`super::address::allowed`], on the very address that is connected to |
//! | somebody between | TLS 1.3 by known authorities; a post's body is signed besides |
//! | a receiver that stands still | all of it takes [`DELIVERY_PATIENCE`] at most |

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::StatusCode;
use jiff::SignedDuration;
use suture_core::clock::Clock;
use suture_core::limits::{DELIVERY_PATIENCE, MAX_AUTHORITIES_BYTES};
use suture_proto::connect::{Authority, ConnectError, ProxyRules};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::{Network, allowed};
use crate::export::syslog::SyslogError;
use crate::tls::{self, TlsError};

/// By what a server delivers.
#[derive(Clone)]
pub(crate) struct Sender {
    /// PEM: who may certify receivers.
    pub(crate) authorities: PathBuf,
    /// Private networks that may be called.
    pub(crate) networks: Vec<Network>,
    /// The way out.
    pub(crate) proxy: ProxyRules,
    /// As whom it sends lines: the host of the server's address.
    pub(crate) name: String,
    pub(crate) clock: Arc<dyn Clock>,
    /// How long all of it may take.
    pub(crate) patience: SignedDuration,
}

/// Why something was not delivered: what the contact's owner reads.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("the address cannot be used: {0}")]
    Url(&'static str),
    #[error("the name {0} leads nowhere")]
    Resolve(String),
    #[error(
        "{0} leads into a private network, where this server calls nobody (`webhook_networks` in its configuration)"
    )]
    Private(String),
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    #[error("the proxy lets nothing through: {0}")]
    Proxy(ConnectError),
    #[error("the server's file of authorities cannot be read (`webhook_authorities` in its configuration): {0}")]
    Authorities(std::io::Error),
    #[error("TLS cannot be spoken: {0}")]
    Setup(TlsError),
    #[error("the receiver does not prove by TLS 1.3 that it is {0}: {1}")]
    Tls(String, std::io::Error),
    #[error("{}", with_cause(.0))]
    Syslog(SyslogError),
    #[error("the receiver answers with no HTTP: {0}")]
    Http(hyper::Error),
    #[error("the request cannot be written")]
    Request,
    #[error("no answer within {} s", .0.as_secs())]
    Late(SignedDuration),
    #[error("the receiver answered {0}, and redirects are not followed")]
    Redirect(StatusCode),
    #[error("the receiver answered {0}")]
    Refused(StatusCode),
}

fn with_cause(error: &SyslogError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

impl Sender {
    /// The same as everywhere, but for what a configuration says.
    pub(crate) fn new(
        (authorities, networks, proxy): (PathBuf, Vec<Network>, ProxyRules),
        name: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { authorities, networks, proxy, name, clock, patience: DELIVERY_PATIENCE }
    }

    /// One that trusts an authority and may call this machine.
    #[cfg(test)]
    pub(crate) fn local(dir: &std::path::Path, authority: &[u8], clock: Arc<dyn Clock>) -> Self {
        let (path, networks) = (dir.join("authorities.pem"), Network::parse("127.0.0.0/8"));
        std::fs::write(&path, authority).expect("a directory of the test's");
        let rules = (path, networks.into_iter().collect(), ProxyRules::none());
        Self::new(rules, "suture.example".to_owned(), clock)
    }

    /// What `sending` comes to, where it does so in time.
    pub(super) async fn within<T>(&self, sending: impl Future<Output = Result<T, SendError>>) -> Result<T, SendError> {
        let late = || SendError::Late(self.patience);
        let patience = std::time::Duration::try_from(self.patience).map_err(|_| late())?;
        tokio::time::timeout(patience, sending).await.map_err(|_| late())?
    }

    /// TLS by which a receiver proves who it is.
    pub(super) async fn tls(&self, protocol: Option<&[u8]>) -> Result<TlsConnector, SendError> {
        let authorities = self.read_authorities().await?;
        tls::client::connector(&authorities, protocol, self.clock.clone()).map_err(SendError::Setup)
    }

    /// A connection to an address that was checked, through the proxy where there is one.
    pub(super) async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, SendError> {
        let address = self.resolve(host, port).await?;
        let place = Authority { host: address.ip().to_string(), port: address.port() };
        // The proxy is asked for the checked address, not for the name: it might find another.
        let named = Authority { host: host.to_owned(), port };
        let Some(proxy) = self.proxy.for_server(&named).map_err(SendError::Proxy)? else {
            return TcpStream::connect(address).await.map_err(SendError::Connect);
        };
        let way = (proxy.authority.host.as_str(), proxy.authority.port);
        let mut stream = TcpStream::connect(way).await.map_err(SendError::Connect)?;
        proxy.tunnel(&mut stream, &place).await.map_err(SendError::Proxy)?;
        Ok(stream)
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr, SendError> {
        let nowhere = || SendError::Resolve(host.to_owned());
        let found = tokio::net::lookup_host((host, port)).await.map_err(|_| nowhere())?;
        let found: Vec<SocketAddr> = found.collect();
        let fit = found.iter().find(|address| allowed(address.ip(), &self.networks));
        match (fit, found.first()) {
            (Some(address), _) => Ok(*address),
            (None, Some(_)) => Err(SendError::Private(host.to_owned())),
            (None, None) => Err(nowhere()),
        }
    }

    async fn read_authorities(&self) -> Result<Vec<u8>, SendError> {
        let read = async {
            let mut bytes = Vec::new();
            let file = tokio::fs::File::open(&self.authorities).await?;
            file.take(MAX_AUTHORITIES_BYTES).read_to_end(&mut bytes).await?;
            Ok(bytes)
        };
        read.await.map_err(SendError::Authorities)
    }
}
