//! One call of the store: signed, sent, and given up where it comes to no end.
//!
//! | mishap | what happens |
//! | --- | --- |
//! | the store is overloaded, or the connection breaks | the call is made again, [`TRIES`] times in all, later each time: every call used here may be |
//! | it stands still | [`SILENCE`] after the last byte the try is over |
//! | it trickles | a try ends when even [`LEAST_RATE`] would have done |
//! | an answer without end | what was not asked for is not read, and its connection is closed |
//! | very many calls at once | [`CALLS`] go on, the others wait |

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rusty_s3::{Bucket, Credentials, S3Action};
use suture_core::clock::Clock;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::S3Error;
use super::line::Line;

/// Calls at a time: each holds a connection, and at most a pack of 64 MiB when it puts, a block of 1 MiB when it gets.
const CALLS: usize = 32;
/// How often a call is made before its failure counts.
const TRIES: u32 = 5;
/// How long before the second try, at most; twice as long before each that follows, …
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// … and no longer than that.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long nothing may move. A store may be silent while it makes 64 MiB durable.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes a second that a store must be able to move: 64 KiB.
const LEAST_RATE: u64 = 64 << 10;
/// What is sent at a time: 64 KiB.
const PIECE_BYTES: usize = 64 << 10;
/// A connection that nobody uses is closed after that long, before others on the way close it unseen.
const IDLE: Duration = Duration::from_secs(20);
/// What of an answer's headers is read.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Headers of an answer.
const MAX_HEADERS: usize = 100;
/// What of a refusal is read: 16 KiB. Code and message stand first.
const MAX_REFUSAL_BYTES: usize = 16 << 10;
/// For how long a signature counts. As long as S3 lets clocks differ.
const SIGNED_FOR: Duration = Duration::from_mins(15);
/// Who calls.
const USER_AGENT: &str = concat!("suture-server/", env!("CARGO_PKG_VERSION"));

/// Calls of one bucket.
pub(super) struct Calls {
    http: Client<Line, Sending>,
    places: Semaphore,
    pub(super) bucket: Bucket,
    pub(super) credentials: Credentials,
    clock: Arc<dyn Clock>,
    patience: Patience,
}

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// See [`SILENCE`].
    pub(super) silence: Duration,
    /// See [`FIRST_PAUSE`].
    pub(super) first_pause: Duration,
}

/// Headers that a call is made with.
pub(super) type Headers = Vec<(&'static str, String)>;

/// A call that was signed and is not made yet.
pub(super) struct Signed {
    method: Method,
    url: String,
    /// What of the URL nobody is shown.
    signature: String,
    headers: Headers,
}

/// Tries of one call.
pub(super) struct Tries {
    spent: u32,
    /// How long one may take.
    within: Duration,
    first_pause: Duration,
}

impl Tries {
    /// Makes one; none where it failed by what passes, and it is time for another.
    pub(super) async fn spend<T>(
        &mut self,
        one: impl Future<Output = Result<T, S3Error>>,
    ) -> Option<Result<T, S3Error>> {
        let done = timeout(self.within, one).await.unwrap_or(Err(S3Error::Slow(self.within)));
        self.spent += 1;
        match done {
            Err(error) if error.is_passing() && self.spent < TRIES => {
                tracing::debug!(%error, tries = self.spent, "the object store is asked again");
                let mut random = [0; 4];
                if let Err(none) = getrandom::fill(&mut random) {
                    return Some(Err(none.into()));
                }
                tokio::time::sleep(pause(self.first_pause, self.spent, u32::from_le_bytes(random))).await;
                None
            }
            done => Some(done),
        }
    }
}

/// An answer, its body still to be read.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Incoming,
    silence: Duration,
    _place: SemaphorePermit<'a>,
}

impl Calls {
    pub(super) fn new(line: Line, bucket: Bucket, credentials: Credentials, clock: Arc<dyn Clock>) -> Self {
        let patience = Patience { silence: SILENCE, first_pause: FIRST_PAUSE };
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(CALLS)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .http1_max_headers(MAX_HEADERS)
            .build(line);
        Self { http, places: Semaphore::new(CALLS), bucket, credentials, clock, patience }
    }

    /// The same, waiting for so long.
    #[cfg(test)]
    pub(super) fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Tries of a call that moves so many bytes.
    pub(super) fn tries(&self, bytes: u64) -> Tries {
        // Once until it is answered, and once until the answer has come.
        let within = self.patience.silence.saturating_mul(2).saturating_add(Duration::from_secs(bytes / LEAST_RATE));
        Tries { spent: 0, within, first_pause: self.patience.first_pause }
    }

    /// Signs a call, for now. Headers of S3's own are signed too.
    pub(super) fn sign<'s, A: S3Action<'s>>(&self, mut action: A, headers: Headers) -> Result<Signed, S3Error> {
        for (name, value) in headers.iter().filter(|(name, _)| name.starts_with("x-amz-")) {
            action.headers_mut().insert(*name, value.clone());
        }
        // As text, because the library has an older version's type for it.
        let now = self.clock.now().to_string().parse().map_err(|_| S3Error::Odd("a time that is none".to_owned()))?;
        let url = action.sign_with_time(SIGNED_FOR, &now);
        let signature = url.query_pairs().find(|(name, _)| name == "X-Amz-Signature");
        let signature = signature.map(|(_, value)| value.into_owned()).unwrap_or_default();
        let method = match A::METHOD {
            rusty_s3::Method::Head => Method::HEAD,
            rusty_s3::Method::Get => Method::GET,
            rusty_s3::Method::Post => Method::POST,
            rusty_s3::Method::Put => Method::PUT,
            rusty_s3::Method::Delete => Method::DELETE,
        };
        Ok(Signed { method, url: url.into(), signature, headers })
    }

    /// One try, to the answer's headers. What the store refuses is an error.
    pub(super) async fn once(&self, signed: Signed, content: Bytes) -> Result<Answer<'_>, S3Error> {
        let Signed { method, url, signature, headers } = signed;
        let odd = |_| S3Error::Odd("the request cannot be written".to_owned());
        let place = self.places.acquire().await.map_err(|e| S3Error::Broken(e.into()))?;
        let is_get = method == Method::GET;
        let mut request = Request::builder().uri(url).header(header::USER_AGENT, USER_AGENT);
        if method == Method::PUT {
            request = request.header(header::CONTENT_LENGTH, content.len());
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let moved = Arc::new(AtomicU64::new(0));
        let body = Sending { left: content, moved: moved.clone() };
        let answer = self.http.request(request.method(method).body(body).map_err(odd)?);
        let (head, body) = while_moving(answer, &moved, self.patience.silence).await?.map_err(failed)?.into_parts();
        let mut answer =
            Answer { status: head.status, headers: head.headers, body, silence: self.patience.silence, _place: place };
        let is_beyond = answer.status == StatusCode::RANGE_NOT_SATISFIABLE && is_get;
        if answer.status.is_success() || is_beyond {
            return Ok(answer);
        }
        let mut said = Vec::new();
        // What was said before it broke off is all there is.
        let _ = answer.read_up_to(&mut said, MAX_REFUSAL_BYTES).await;
        Err(S3Error::refused(answer.status, &said, &signature))
    }
}

impl Answer<'_> {
    /// A header's text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Takes the body in until it ends or `most` bytes are there, and nothing beyond.
    pub(super) async fn read_up_to(&mut self, into: &mut Vec<u8>, most: usize) -> Result<(), S3Error> {
        while into.len() < most {
            let frame = timeout(self.silence, self.body.frame()).await.map_err(|_| S3Error::Silent(self.silence))?;
            let Some(frame) = frame else { return Ok(()) };
            if let Ok(data) = frame.map_err(|e| S3Error::Broken(e.into()))?.into_data() {
                into.extend_from_slice(&data.slice(..data.len().min(most - into.len())));
            }
        }
        Ok(())
    }
}

/// Waits as long as the request's bytes leave, and then for a while.
async fn while_moving<T>(answer: impl Future<Output = T>, moved: &AtomicU64, silence: Duration) -> Result<T, S3Error> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let before = moved.load(Ordering::Relaxed);
        match tokio::time::timeout_at(Instant::now() + silence, &mut answer).await {
            Ok(answer) => return Ok(answer),
            Err(_) if moved.load(Ordering::Relaxed) != before => {}
            Err(_) => return Err(S3Error::Silent(silence)),
        }
    }
}

/// What `Line` said, where it did not come to a connection.
fn failed(error: hyper_util::client::legacy::Error) -> S3Error {
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        match cause.downcast_ref::<S3Error>() {
            Some(S3Error::Connect(to, source)) => return S3Error::Connect(to.clone(), again(source)),
            Some(S3Error::Stranger(to, source)) => return S3Error::Stranger(to.clone(), again(source)),
            Some(S3Error::Proxy(source)) => return S3Error::Proxy(source.clone()),
            _ => next = cause.source(),
        }
    }
    S3Error::Broken(error.into())
}

/// The same error, for another owner.
fn again(error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), error.to_string())
}

/// How long to wait before the try after so many: half of it chance, so that servers do not come all at once.
fn pause(first: Duration, tries: u32, random: u32) -> Duration {
    let whole = first.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    let half = whole / 2;
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// A body on its way out, piece by piece, so that it can be seen whether it moves.
struct Sending {
    left: Bytes,
    moved: Arc<AtomicU64>,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let length = self.left.len().min(PIECE_BYTES);
        if length == 0 {
            return Poll::Ready(None);
        }
        self.moved.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_half_of_each_is_chance() {
        for (tries, least, most) in [(1, 100, 200), (2, 200, 400), (4, 800, 1_600), (30, 2_500, 5_000)] {
            assert_eq!(pause(FIRST_PAUSE, tries, 0).as_millis(), least);
            assert_eq!(pause(FIRST_PAUSE, tries, u32::MAX).as_millis(), most);
        }
    }
}
