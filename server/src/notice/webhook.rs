//! One delivery by HTTPS: a POST with Standard Webhooks' headers, to an address that was checked.
//!
//! | attack, or mishap | what happens |
//! | --- | --- |
//! | a name that leads into the server's own network | [`super::address::allowed`], on the very address that is connected to |
//! | a redirect to there | is not followed |
//! | an answer without end, or none | headers are bounded, the body is not read, all of it takes [`DELIVERY_PATIENCE`] at most |
//! | somebody between | TLS 1.3 by known authorities; the body is signed besides |
//! | the same delivery twice | `webhook-id` is the same, so that a receiver can tell |

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::ServerName;
use suture_core::clock::Clock;
use suture_core::limits::{DELIVERY_PATIENCE, MAX_AUTHORITIES_BYTES};
use suture_proto::connect::{Authority, ConnectError, ProxyRules};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::address::{Network, Target, allowed};
use crate::tls::{self, TlsError};

/// What of an answer's headers is read.
const MAX_ANSWER_BYTES: usize = 16 << 10;
/// Headers of an answer.
const MAX_ANSWER_HEADERS: usize = 64;

/// By what a server delivers.
#[derive(Clone)]
pub(crate) struct Sender {
    /// PEM: who may certify receivers.
    pub(crate) authorities: PathBuf,
    /// Private networks that may be called.
    pub(crate) networks: Vec<Network>,
    /// The way out.
    pub(crate) proxy: ProxyRules,
    pub(crate) clock: Arc<dyn Clock>,
    /// How long all of it may take.
    pub(crate) patience: SignedDuration,
}

/// What is posted.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) url: String,
    pub(crate) id: String,
    pub(crate) at: Timestamp,
    pub(crate) signature: String,
    pub(crate) body: Vec<u8>,
}

/// Why something was not delivered: what the contact's owner reads.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
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

impl Sender {
    /// The same as everywhere, but for what a configuration says.
    pub(crate) fn new(
        (authorities, networks, proxy): (PathBuf, Vec<Network>, ProxyRules),
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { authorities, networks, proxy, clock, patience: DELIVERY_PATIENCE }
    }

    /// Posts it once. The receiver has taken it where this is no error.
    pub(crate) async fn post(&self, post: &Post) -> Result<StatusCode, PostError> {
        let late = || PostError::Late(self.patience);
        let patience = std::time::Duration::try_from(self.patience).map_err(|_| late())?;
        let status = tokio::time::timeout(patience, self.exchange(post)).await.map_err(|_| late())??;
        match status {
            status if status.is_success() => Ok(status),
            status if status.is_redirection() => Err(PostError::Redirect(status)),
            status => Err(PostError::Refused(status)),
        }
    }

    async fn exchange(&self, post: &Post) -> Result<StatusCode, PostError> {
        let target = Target::parse(&post.url).map_err(PostError::Url)?;
        let stream = self.reach(&target).await?;
        let connector =
            tls::client::connector(&self.read_authorities().await?, self.clock.clone()).map_err(PostError::Setup)?;
        let name = ServerName::try_from(target.host.clone()).map_err(|_| PostError::Url("its host is no name"))?;
        let stream = connector.connect(name, stream).await.map_err(|e| PostError::Tls(target.host.clone(), e))?;
        let (mut calls, connection) = http1::Builder::new()
            .max_buf_size(MAX_ANSWER_BYTES)
            .max_headers(MAX_ANSWER_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(PostError::Http)?;
        let request = Request::post(target.path.as_str())
            .header(header::HOST, target.authority.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("suture-server/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", post.id.as_str())
            .header("webhook-timestamp", post.at.as_second().to_string())
            .header("webhook-signature", post.signature.as_str())
            .body(Full::new(Bytes::from(post.body.clone())))
            .map_err(|_| PostError::Request)?;
        // The connection moves only while it is asked for; it ends here with the answer's headers.
        let answer = calls.send_request(request);
        tokio::pin!(connection, answer);
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = &mut connection => match ended {
                Err(error) => Err(error),
                Ok(()) => answer.await,
            },
        };
        Ok(answer.map_err(PostError::Http)?.status())
    }

    /// A connection to an address that was checked, through the proxy where there is one.
    async fn reach(&self, target: &Target) -> Result<TcpStream, PostError> {
        let address = self.resolve(target).await?;
        let place = Authority { host: address.ip().to_string(), port: address.port() };
        // The proxy is asked for the checked address, not for the name: it might find another.
        let named = Authority { host: target.host.clone(), port: target.port };
        let Some(proxy) = self.proxy.for_server(&named).map_err(PostError::Proxy)? else {
            return TcpStream::connect(address).await.map_err(PostError::Connect);
        };
        let way = (proxy.authority.host.as_str(), proxy.authority.port);
        let mut stream = TcpStream::connect(way).await.map_err(PostError::Connect)?;
        proxy.tunnel(&mut stream, &place).await.map_err(PostError::Proxy)?;
        Ok(stream)
    }

    async fn resolve(&self, target: &Target) -> Result<SocketAddr, PostError> {
        let nowhere = || PostError::Resolve(target.host.clone());
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await.map_err(|_| nowhere())?;
        let found: Vec<SocketAddr> = found.collect();
        let fit = found.iter().find(|address| allowed(address.ip(), &self.networks));
        match (fit, found.first()) {
            (Some(address), _) => Ok(*address),
            (None, Some(_)) => Err(PostError::Private(target.host.clone())),
            (None, None) => Err(nowhere()),
        }
    }

    async fn read_authorities(&self) -> Result<Vec<u8>, PostError> {
        let read = async {
            let mut bytes = Vec::new();
            let file = tokio::fs::File::open(&self.authorities).await?;
            file.take(MAX_AUTHORITIES_BYTES).read_to_end(&mut bytes).await?;
            Ok(bytes)
        };
        read.await.map_err(PostError::Authorities)
    }
}

#[cfg(test)]
pub(crate) mod tests;
