//! Connections to the store: through the proxy where there is one, by TLS 1.3 where the endpoint says so.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use suture_proto::connect::{Authority, ProxyRules};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::Service;

use super::S3Error;

/// How long name, route, proxy and TLS may take together.
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);

/// Opens connections to one host.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) to: Authority,
    pub(super) proxy: ProxyRules,
    /// None where it is spoken to in the open.
    pub(super) tls: Option<TlsConnector>,
}

impl Line {
    async fn open(self) -> Result<Link, S3Error> {
        let late = |_| S3Error::Connect(self.to.host_port(), io::ErrorKind::TimedOut.into());
        let stream = tokio::time::timeout(CONNECT_PATIENCE, self.reach()).await.map_err(late)??;
        Ok(Link(TokioIo::new(stream)))
    }

    async fn reach(&self) -> Result<Box<dyn Stream>, S3Error> {
        let proxy = self.proxy.for_server(&self.to).map_err(|e| S3Error::Proxy(e.into()))?;
        let first = proxy.as_ref().map_or(&self.to, |proxy| &proxy.authority);
        let failed = |source| S3Error::Connect(first.host_port(), source);
        let mut stream = TcpStream::connect((first.host.as_str(), first.port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        if let Some(proxy) = &proxy {
            proxy.tunnel(&mut stream, &self.to).await.map_err(|e| S3Error::Proxy(e.into()))?;
        }
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        // What TLS itself refuses is such data; what breaks off may be there in a moment.
        let stranger = |source: io::Error| match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::Other => S3Error::Stranger(self.to.host_port(), source),
            _ => S3Error::Connect(self.to.host_port(), source),
        };
        let name = ServerName::try_from(self.to.host.clone()).map_err(|e| stranger(io::Error::other(e)))?;
        Ok(Box::new(tls.connect(name, stream).await.map_err(stranger)?))
    }
}

impl Service<Uri> for Line {
    type Response = Link;
    type Error = S3Error;
    type Future = BoxFuture<'static, Result<Link, S3Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S3Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().open())
    }
}

/// Bytes both ways.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection.
pub(super) struct Link(TokioIo<Box<dyn Stream>>);

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
