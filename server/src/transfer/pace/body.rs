//! An answer that is sent no faster than the hospital lets it be.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body;
use tonic::Status;
use tonic::body::Body;

use super::Stream;

/// What is sent at once where a rate holds: small beside what the least rate gives in a second, so that the line is used
/// evenly.
const PIECE_BYTES: usize = 16 << 10;

/// The body of a bulk answer.
pub(crate) struct Paced {
    inner: Body,
    stream: Stream,
    /// What is left of the frame that is being sent in pieces.
    left: Bytes,
    is_over: bool,
}

impl Paced {
    /// `inner`, as far as and as fast as `stream` may go.
    pub(crate) fn new(inner: Body, stream: Stream) -> Self {
        Self { inner, stream, left: Bytes::new(), is_over: false }
    }
}

impl body::Body for Paced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<body::Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if this.is_over {
                return Poll::Ready(None);
            }
            if let Some(status) = this.stream.ended() {
                this.is_over = true;
                this.stream.finish();
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers)?;
                return Poll::Ready(Some(Ok(body::Frame::trailers(trailers))));
            }
            if !this.left.is_empty() {
                let length = this.left.len().min(PIECE_BYTES);
                ready!(this.stream.poll_turn(cx, length));
                return Poll::Ready(Some(Ok(body::Frame::data(this.left.split_to(length)))));
            }
            let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx)?);
            if !frame.as_ref().is_some_and(body::Frame::is_data) {
                this.stream.finish();
            }
            // Nothing else is done, and no lock taken, where nothing is limited.
            if !this.stream.is_limited() {
                return Poll::Ready(frame.map(Ok));
            }
            match frame.map(body::Frame::into_data) {
                Some(Ok(data)) => this.left = data,
                Some(Err(frame)) => return Poll::Ready(Some(Ok(frame))),
                None => return Poll::Ready(None),
            }
        }
    }
}
