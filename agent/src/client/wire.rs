//! The connection to the server, and the next one once it is lost.
//!
//! tonic's channel connects again by itself, but may hand what was the matter with the connection before to a call that
//! comes later, and a call that was begun on a connection about to break fails with it. So a channel that failed is left for
//! a fresh one, at once, and a call of which nothing has come yet is made once more.
//!
//! A line that breaks is asked for in small frames: of a frame that is cut nothing is handed on.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use suture_proto::connect::{ConnectError, Dialer, Frames, Settings};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, StdError};
use tonic::transport::Channel;

/// A connection that lasted as long was on a good line: of what comes in that time, a frame is not much.
const CALM: Duration = Duration::from_secs(600);
/// The call that is not made again, for it may have been answered: it spends a token.
const ONCE: &str = "/suture.v1.DeviceService/Enroll";

/// The server's calls, over one connection after another.
#[derive(Debug, Clone)]
pub struct Wire(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dialer: Dialer,
    present: Mutex<Present>,
}

#[derive(Debug)]
struct Present {
    channel: Channel,
    frames: Frames,
    /// Counts channels.
    number: u64,
    /// Whether any call has used it.
    is_used: bool,
    /// When it was answered on first.
    answered: Option<Instant>,
}

/// Which channel an answer came on.
#[derive(Debug, Clone, Copy)]
struct Number(u64);

impl Wire {
    /// Connects with the first call.
    pub fn new(settings: &Settings) -> Result<Self, ConnectError> {
        Ok(Self::by(Dialer::new(settings)?))
    }

    pub(super) fn by(dialer: Dialer) -> Self {
        let frames = Frames::Wide;
        let channel = dialer.channel(frames);
        let present = Present { channel, frames, number: 0, is_used: false, answered: None };
        Self(Arc::new(Shared { dialer, present: Mutex::new(present) }))
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.0.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this answer came on has failed since.
    pub(super) fn broke<B>(&self, answer: &Response<B>) {
        if let Some(Number(number)) = answer.extensions().get() {
            self.leave(*number);
        }
    }

    /// The next call goes by another channel, unless it does already.
    fn leave(&self, number: u64) {
        let mut present = self.present();
        if present.number != number {
            return;
        }
        // One that was never answered on says nothing of how long a connection lasts.
        let frames = match present.answered.map(|at| at.elapsed()) {
            Some(lasted) if lasted < CALM => Frames::Narrow,
            Some(_) => Frames::Wide,
            None => present.frames,
        };
        let channel = self.0.dialer.channel(frames);
        *present = Present { channel, frames, number: number.wrapping_add(1), is_used: false, answered: None };
    }

    /// The channel, its number, and whether this is the first call on it.
    fn take(&self) -> (Channel, u64, bool) {
        let mut present = self.present();
        let is_first = !std::mem::replace(&mut present.is_used, true);
        (present.channel.clone(), present.number, is_first)
    }

    fn answered(&self, number: u64) {
        let mut present = self.present();
        if present.number == number && present.answered.is_none() {
            present.answered = Some(Instant::now());
        }
    }

    async fn ask(self, request: Request<Body>) -> Result<Response<Body>, StdError> {
        let (parts, body) = request.into_parts();
        // What is sent is one message, and made already.
        let body = body.collect().await?.to_bytes();
        let mut is_last = parts.uri.path() == ONCE;
        loop {
            let request = Request::from_parts(parts.clone(), Body::new(Full::<Bytes>::new(body.clone())));
            let (channel, number, is_first) = self.take();
            let mut asking = Asking { wire: &self, number, is_answered: false };
            let answer = ask(channel, request).await;
            match answer {
                Ok(mut answer) => {
                    asking.is_answered = true;
                    self.answered(number);
                    answer.extensions_mut().insert(Number(number));
                    return Ok(answer);
                }
                // What a fresh connection says is how it is.
                Err(error) if is_first || is_last => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "the connection was lost; a call is made again"
                    );
                    is_last = true;
                }
            }
        }
    }
}

async fn ask(mut channel: Channel, request: Request<Body>) -> Result<Response<Body>, tonic::transport::Error> {
    poll_fn(|cx| Service::<Request<Body>>::poll_ready(&mut channel, cx)).await?;
    channel.call(request).await
}

/// A call that waits for its answer. Where it fails, or is given up, the channel is left: nobody else is to wait for what
/// this one has waited for.
struct Asking<'a> {
    wire: &'a Wire,
    number: u64,
    is_answered: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.wire.leave(self.number);
        }
    }
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<Response<Body>, StdError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        // Whether the channel is ready is waited for with the call, which may take another.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().ask(request))
    }
}
