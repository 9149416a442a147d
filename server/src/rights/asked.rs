//! What a caller says: no more than it may, within its time, and still by one who may say it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{self, Frame, SizeHint};
use suture_core::limits::{MAX_ANONYMOUS_REQUEST_BYTES, MAX_DEVICE_REQUEST_BYTES};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use super::Role::{self, Anonymous, Device, ExpiredDevice, ExpiredOperator, HdoOperator, MdmOperator, PendingDevice};

/// How long a request may take to come: two minutes, for that long `suturectl` waits for its answer.
const REQUEST_TIME: Duration = Duration::from_secs(120);
/// Who was let through is not asked for again where all was said within that long: a second.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// What a caller says, cut off where it is more than the role has to say in one call. The limit on messages alone would let
/// anybody hold 16 MiB of memory with each call.
pub(super) fn within(role: Role, body: Body) -> Body {
    let most = match role {
        Anonymous => MAX_ANONYMOUS_REQUEST_BYTES,
        ExpiredDevice | ExpiredOperator | PendingDevice | Device => MAX_DEVICE_REQUEST_BYTES,
        // Uploads are streams without end; each message of theirs has its own limit.
        HdoOperator | MdmOperator => return body,
    };
    Body::new(Limited::new(body, most).map_err(move |error| match error.downcast::<Status>() {
        Ok(status) => *status,
        Err(error) if error.is::<LengthLimitError>() => {
            Status::out_of_range(format!("the request is longer than the {most} bytes that such a caller may send"))
        }
        Err(error) => Status::from_error(error),
    }))
}

/// A request that is read as a whole before its handler runs.
pub(super) struct Asked {
    inner: Body,
    fresh: Instant,
    until: Pin<Box<Sleep>>,
    /// Whether the caller may still make the call; nothing once that was found out.
    again: Option<BoxFuture<'static, Result<(), Status>>>,
    /// What comes last, while that is found out.
    last: Option<Option<Frame<Bytes>>>,
}

impl Asked {
    /// A request that was let through just now, of one who is asked for `again` unless all of it comes while that is `fresh`.
    pub(super) fn new(inner: Body, fresh: Duration, again: BoxFuture<'static, Result<(), Status>>) -> Self {
        let now = Instant::now();
        let until = Box::pin(tokio::time::sleep_until(now + REQUEST_TIME));
        Self { inner, fresh: now + fresh, until, again: Some(again), last: None }
    }
}

impl body::Body for Asked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.last.is_none() {
            // What comes without a pause leaves the timer no time.
            if Instant::now() >= this.until.deadline() || this.until.as_mut().poll(cx).is_ready() {
                let text = format!("the request has not come within {} s", REQUEST_TIME.as_secs());
                return Poll::Ready(Some(Err(Status::deadline_exceeded(text))));
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)).transpose()? {
                Some(frame) if frame.is_data() => return Poll::Ready(Some(Ok(frame))),
                last => this.last = Some(last),
            }
            if Instant::now() < this.fresh {
                this.again = None;
            }
        }
        if let Some(again) = &mut this.again {
            let may = ready!(again.as_mut().poll(cx));
            this.again = None;
            if let Err(status) = may {
                return Poll::Ready(Some(Err(status)));
            }
        }
        Poll::Ready(this.last.as_mut().and_then(Option::take).map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, future, stream};
    use http_body_util::StreamBody;

    use super::*;

    fn said(frames: Vec<Frame<Bytes>>) -> Body {
        Body::new(StreamBody::new(stream::iter(frames).map(Ok::<_, Status>)))
    }

    fn refused() -> BoxFuture<'static, Result<(), Status>> {
        Box::pin(future::ready(Err(Status::unauthenticated("revoked"))))
    }

    /// Attack: a call that is begun before a revocation, and held until after it.
    #[tokio::test]
    async fn who_takes_long_over_a_request_is_asked_for_anew_at_its_end() {
        let one = || Frame::data(Bytes::from_static(b"one"));
        let ends = || Frame::trailers(http::HeaderMap::new());
        for has_trailers in [false, true] {
            let frames = || if has_trailers { vec![one(), ends()] } else { vec![one()] };
            let mut slow = Asked::new(said(frames()), Duration::ZERO, refused());
            assert!(slow.frame().await.unwrap().unwrap().is_data());
            assert!(!body::Body::is_end_stream(&slow));
            assert_eq!(slow.frame().await.unwrap().unwrap_err().code(), tonic::Code::Unauthenticated);
            let quick = Asked::new(said(frames()), FRESH * 3_600, refused());
            assert_eq!(quick.collect().await.unwrap().to_bytes(), "one");
            let still = Asked::new(said(frames()), Duration::ZERO, Box::pin(future::ready(Ok(()))));
            assert_eq!(still.collect().await.unwrap().to_bytes(), "one");
        }
    }

    /// Attack: calls whose requests come drop by drop, for days.
    #[tokio::test]
    async fn a_request_has_its_time() {
        let endless = stream::repeat_with(|| Ok::<_, Status>(Frame::data(Bytes::from_static(b"drop"))));
        for body in [
            Body::new(StreamBody::new(stream::pending::<Result<Frame<Bytes>, Status>>())),
            Body::new(StreamBody::new(endless)),
        ] {
            let mut asked = Asked::new(body, FRESH, refused());
            asked.until = Box::pin(tokio::time::sleep_until(Instant::now()));
            let late = loop {
                if let Err(status) = asked.frame().await.unwrap() {
                    break status;
                }
            };
            assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
        }
    }
}
