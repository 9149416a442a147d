//! Chunks on the wire without a copy.
//!
//! tonic's encoder copies every message into a buffer of its own. For chunks, which are all that is ever sent in bulk, the
//! calls are answered here instead: the head of a message is written anew, and behind it goes the memory that the store was
//! read into, the same for all who fetch the same.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::Stream;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use hyper::body;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use suture_core::limits::MAX_MESSAGE_BYTES;
use suture_core::principal::Principal;
use suture_proto::codec::CountedCodec;
use suture_proto::v1;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec as _, Streaming};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;

use super::Refusal;
use crate::blobs::BlobError;
use crate::connections::{Awaited, Held};
use crate::rights::Caller;
use crate::transfer::pace::{Pace, Paced};
use crate::transfer::{Frame, Range, Transfer};

/// The call, in both services.
const CALL: &str = "/FetchChunks";
/// The other one that sends in bulk, which is answered as tonic does.
const DELTA_CALL: &str = "/FetchDelta";
/// The answer to a caller without a certificate.
const NOBODY: &str = "a bulk call needs a client certificate";
/// The number of `data` in [`v1::FetchChunksResponse`].
const DATA_FIELD: u32 = 2;

/// A service whose `FetchChunks` is answered here, and whose bulk answers are paced.
#[derive(Clone)]
pub(crate) struct Bulk<S> {
    inner: S,
    transfer: Transfer,
    pace: Pace,
}

impl<S> Bulk<S> {
    /// `inner` answers every other call.
    pub(crate) fn new(inner: S, transfer: Transfer, pace: Pace) -> Self {
        Self { inner, transfer, pace }
    }
}

impl<S: NamedService> NamedService for Bulk<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Bulk<S>
where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<Response<Body>, Infallible>,
        >,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let chunks = path.ends_with(CALL);
        if !chunks && !path.ends_with(DELTA_CALL) {
            return self.inner.call(request);
        }
        let caller = request.extensions().get::<Caller>().map(|caller| caller.principal().clone());
        let held = request.extensions().get::<Arc<Held>>().cloned();
        let answer: Self::Future = if chunks {
            let (transfer, who) = (self.transfer.clone(), caller.clone());
            Box::pin(async move { Ok(fetch(&transfer, who, request).await.unwrap_or_else(Status::into_http)) })
        } else {
            self.inner.call(request)
        };
        let pace = self.pace.clone();
        Box::pin(async move {
            let admitted = match &caller {
                Some(caller) => pace.admit(caller).await,
                None => Err(Status::unauthenticated(NOBODY)),
            };
            let stream = match admitted {
                Ok(stream) => stream,
                Err(status) => return Ok(status.into_http()),
            };
            let mut answer = answer.await?;
            if let Some(stream) = stream {
                answer = answer.map(|body| Body::new(Paced::new(body, stream)));
            }
            Ok(match held {
                Some(held) => answer.map(|body| Body::new(Awaited::new(body, held))),
                None => answer,
            })
        })
    }
}

/// The chunks that a request asks for.
async fn fetch(transfer: &Transfer, who: Option<Principal>, request: Request<Body>) -> Result<Response<Body>, Status> {
    let who = who.ok_or_else(|| Status::unauthenticated(NOBODY))?;
    let decoder = CountedCodec::<(), v1::FetchChunksRequest>::default().decoder();
    let mut messages = Streaming::new_request(decoder, request.into_body(), None, Some(MAX_MESSAGE_BYTES));
    let message = messages.message().await?.ok_or_else(|| Status::invalid_argument("the call says nothing"))?;
    let v1::FetchChunksRequest { index_sha256, ranges, held_bytes } = message;
    let index = suture_proto::parse_digest("index_sha256", &index_sha256).map_err(Refusal::from)?;
    let ranges = ranges.into_iter().map(|v1::ChunkRange { first, count }| Range { first, count }).collect();
    let frames = transfer.fetch(who, &index, ranges, held_bytes).await.map_err(Refusal::from)?;
    let mut response =
        Response::new(Body::new(Messages { frames: Box::pin(frames), next: VecDeque::new(), over: false }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// Frames as gRPC sends them: messages, and then the call's status.
struct Messages {
    frames: Pin<Box<dyn Stream<Item = Result<Frame, Arc<BlobError>>> + Send>>,
    /// What is left of the message under way.
    next: VecDeque<Bytes>,
    over: bool,
}

impl body::Body for Messages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<body::Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.next.is_empty() {
            let status = match ready!(self.frames.as_mut().poll_next(cx)) {
                Some(Ok(frame)) => {
                    self.next = message(frame)?;
                    None
                }
                Some(Err(error)) => Some(Refusal::from(&*error).into()),
                None => Some(Status::ok("")),
            };
            if let Some(status) = status {
                self.over = true;
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers)?;
                return Poll::Ready(Some(Ok(body::Frame::trailers(trailers))));
            }
        }
        Poll::Ready(self.next.pop_front().map(|bytes| Ok(body::Frame::data(bytes))))
    }
}

/// A message: that it is not compressed, its length, and its protobuf form, whose last field is the chunks' bytes as they
/// lie in memory.
fn message(frame: Frame) -> Result<VecDeque<Bytes>, Status> {
    let Frame { chunks, data } = frame;
    let chunks =
        chunks.into_iter().map(|(ordinal, stored_length)| v1::FetchedChunk { ordinal, stored_length }).collect();
    let head = v1::FetchChunksResponse { chunks, data: Bytes::new() };
    let data_length = data.iter().map(Bytes::len).sum::<usize>() as u64;
    let head_length = head.encoded_len() + key_len(DATA_FIELD) + encoded_len_varint(data_length);
    let length = u32::try_from(head_length as u64 + data_length).map_err(|e| Status::internal(e.to_string()))?;
    let mut bytes = BytesMut::with_capacity(5 + head_length);
    bytes.put_u8(0);
    bytes.put_u32(length);
    head.encode(&mut bytes).map_err(|e| Status::internal(e.to_string()))?;
    encode_key(DATA_FIELD, WireType::LengthDelimited, &mut bytes);
    encode_varint(data_length, &mut bytes);
    Ok([bytes.freeze()].into_iter().chain(data).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is written by hand reads as what tonic and prost would have written.
        #[test]
        fn a_message_reads_as_it_was_meant(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..4),
            chunks in prop::collection::vec((any::<u32>(), any::<u32>()), 1..20),
        ) {
            let data = pieces.iter().cloned().map(Bytes::from).collect();
            let written: Vec<u8> = message(Frame { chunks: chunks.clone(), data }).unwrap().into_iter().flatten().collect();
            prop_assert_eq!(written[0], 0);
            prop_assert_eq!(u32::from_be_bytes(written[1..5].try_into().unwrap()) as usize, written.len() - 5);
            let v1::FetchChunksResponse { chunks: read, data } = v1::FetchChunksResponse::decode(&written[5..]).unwrap();
            prop_assert_eq!(read.into_iter().map(|c| (c.ordinal, c.stored_length)).collect::<Vec<_>>(), chunks);
            prop_assert_eq!(&data[..], &pieces.concat());
        }
    }
}
