//! One delivery by HTTPS: a POST with Standard Webhooks' headers.
//!
//! | attack, or mishap | what happens |
//! | --- | --- |
//! | a redirect into the server's own network | is not followed |
//! | an answer without end, or none | headers are bounded, the body is not read |
//! | the same delivery twice | `webhook-id` is the same, so that a receiver can tell |

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls_pki_types::ServerName;

use super::address::Webhook;
use super::sender::{SendError, Sender};

/// What of an answer's headers is read.
const MAX_ANSWER_BYTES: usize = 16 << 10;
/// Headers of an answer.
const MAX_ANSWER_HEADERS: usize = 64;

/// What is posted.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) to: Webhook,
    pub(crate) id: String,
    pub(crate) at: Timestamp,
    pub(crate) signature: String,
    pub(crate) body: Vec<u8>,
}

impl Sender {
    /// Posts it once. The receiver has taken it where this is no error.
    pub(crate) async fn post(&self, post: &Post) -> Result<StatusCode, SendError> {
        match self.within(self.exchange(post)).await? {
            status if status.is_success() => Ok(status),
            status if status.is_redirection() => Err(SendError::Redirect(status)),
            status => Err(SendError::Refused(status)),
        }
    }

    async fn exchange(&self, post: &Post) -> Result<StatusCode, SendError> {
        let target = &post.to;
        let stream = self.reach(&target.host, target.port).await?;
        let connector = self.tls(Some(b"http/1.1")).await?;
        let name = ServerName::try_from(target.host.clone()).map_err(|_| SendError::Url("its host is no name"))?;
        let stream = connector.connect(name, stream).await.map_err(|e| SendError::Tls(target.host.clone(), e))?;
        let (mut calls, connection) = http1::Builder::new()
            .max_buf_size(MAX_ANSWER_BYTES)
            .max_headers(MAX_ANSWER_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(SendError::Http)?;
        let request = Request::post(target.path.as_str())
            .header(header::HOST, target.authority.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("suture-server/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", post.id.as_str())
            .header("webhook-timestamp", post.at.as_second().to_string())
            .header("webhook-signature", post.signature.as_str())
            .body(Full::new(Bytes::from(post.body.clone())))
            .map_err(|_| SendError::Request)?;
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
        Ok(answer.map_err(SendError::Http)?.status())
    }
}

#[cfg(test)]
pub(crate) mod tests;
