//! Chunks as they come off the wire, without a copy.
//!
//! tonic's decoder gathers every message in a buffer of its own. For chunks, which are all that is ever received in bulk,
//! the answer is read here instead: what HTTP/2 delivers is cut where chunks end, and only a chunk that lies across two
//! deliveries is put together. The server sends so that few do.
//!
//! Where a message breaks off, the chunks of it that came whole are kept: on a line of 2 Mbit/s a message takes a second.

use std::collections::VecDeque;
use std::future::poll_fn;

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use suture_core::limits::{CHUNK_MAX_STORED_BYTES, MAX_CHUNKS_PER_CALL, MAX_FRAME_BYTES};
use suture_proto::v1;
use tonic::Status;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::Channel;

use super::stall::{Stalled, Watch};
use super::{CALL_TIMEOUT, ClientError, Piece, Pieces};

/// The call, in messages.
const CALL: &str = "the transfer";
/// What stands before each gRPC message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// The number of `chunks` in [`v1::FetchChunksResponse`].
const CHUNKS_FIELD: u32 = 1;
/// The number of `data` there.
const DATA_FIELD: u32 = 2;

/// What the server answers to `request`, by the method of this path: `/suture.v1.DeviceService/FetchChunks`.
pub async fn fetch(
    channel: Channel,
    path: &'static str,
    request: &v1::FetchChunksRequest,
) -> Result<Pieces, ClientError> {
    let response = tokio::time::timeout(CALL_TIMEOUT, ask(channel, path, request))
        .await
        .unwrap_or(Err(ClientError::Timeout { call: CALL }))?;
    if !response.status().is_success() {
        let text = format!("HTTP status {}, which no server of Suture gives", response.status());
        return Err(ClientError::Interrupted { call: CALL, text });
    }
    // A call that fails at once has its status where others have their headers.
    if let Some(status) = Status::from_header_map(response.headers()) {
        ended(&status)?;
    }
    let (received, watch) = (Received::default(), Watch::default());
    let answer = Answer { body: response.into_body(), received, watch, broken: None };
    Ok(Box::pin(futures::stream::try_unfold(answer, async |mut answer| {
        if let Some(error) = answer.broken.take() {
            return Err(error);
        }
        match answer.next().await {
            Ok(frame) => Ok(frame.map(|pieces| (pieces, answer))),
            Err(error) => {
                let pieces = answer.received.broken_off();
                if pieces.is_empty() {
                    return Err(error);
                }
                answer.broken = Some(error);
                Ok(Some((pieces, answer)))
            }
        }
    })))
}

async fn ask(
    mut channel: Channel,
    path: &'static str,
    request: &v1::FetchChunksRequest,
) -> Result<Response<Body>, ClientError> {
    let failed = |e: tonic::transport::Error| ClientError::of(CALL, &Status::from_error(Box::new(e)));
    let length = request.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES.saturating_add(length));
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    request.encode(&mut bytes).map_err(|e| senseless(&e.to_string()))?;
    let mut asked =
        Request::post(path).body(Body::new(Full::new(bytes.freeze()))).map_err(|e| senseless(&e.to_string()))?;
    *asked.version_mut() = http::Version::HTTP_2;
    asked.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    asked.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    poll_fn(|cx| GrpcService::<Body>::poll_ready(&mut channel, cx)).await.map_err(failed)?;
    GrpcService::<Body>::call(&mut channel, asked).await.map_err(failed)
}

/// A call's answer: messages, and then its status.
struct Answer {
    body: Body,
    received: Received,
    watch: Watch,
    /// Why no more comes, while what came before is handed on.
    broken: Option<ClientError>,
}

impl Answer {
    /// The chunks of the next message.
    async fn next(&mut self) -> Result<Option<Vec<Piece>>, ClientError> {
        loop {
            if let Some(message) = self.received.message()? {
                return pieces(message, End::Whole).map(Some);
            }
            let frame = match self.watch.over(self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(status))) => return Err(ClientError::of(CALL, &status)),
                Ok(None) => return Err(interrupted("it ended without a status")),
                Err(Stalled) => return Err(ClientError::Stalled { call: CALL }),
            };
            match frame.into_data() {
                Ok(data) => {
                    self.watch.came(data.len());
                    self.received.segments.push(data);
                }
                Err(frame) => {
                    let status = frame.trailers_ref().and_then(Status::from_header_map);
                    ended(&status.ok_or_else(|| interrupted("it ended without a status"))?)?;
                    // Said to be whole, and yet cut: nothing of it is lost that came whole.
                    let whole = self.received.is_empty();
                    return if whole { Ok(None) } else { Err(interrupted("it ended within a message")) };
                }
            }
        }
    }
}

/// The call is over: well, or not.
fn ended(status: &Status) -> Result<(), ClientError> {
    if status.code() == tonic::Code::Ok { Ok(()) } else { Err(ClientError::of(CALL, status)) }
}

fn interrupted(text: &str) -> ClientError {
    ClientError::Interrupted { call: CALL, text: text.to_owned() }
}

fn senseless(text: &str) -> ClientError {
    ClientError::Senseless { call: CALL, text: text.to_owned() }
}

/// What has come and was not handed on yet: less than a message, and what came with its end.
#[derive(Debug, Default)]
struct Received {
    segments: Segments,
    /// How long the message under way is, once that is known.
    length: Option<usize>,
}

impl Received {
    const fn is_empty(&self) -> bool {
        self.length.is_none() && self.segments.length == 0
    }

    /// The next message, if all of it is there.
    fn message(&mut self) -> Result<Option<Segments>, ClientError> {
        let length = match self.length {
            Some(length) => length,
            None if self.segments.length < PREFIX_BYTES => return Ok(None),
            None => {
                if self.segments.get_u8() != 0 {
                    return Err(senseless("a frame is compressed, which was not asked for"));
                }
                let length = self.segments.get_u32() as usize;
                // Attack: endless data.
                if length > MAX_FRAME_BYTES {
                    return Err(ClientError::TooLong { call: CALL, limit: MAX_FRAME_BYTES as u64 });
                }
                *self.length.insert(length)
            }
        };
        if self.segments.length < length {
            return Ok(None);
        }
        self.length = None;
        Ok(Some(self.segments.split_to(length)))
    }

    /// The chunks of the message under way that came whole. What is senseless was not cut, and is not looked at any more.
    fn broken_off(&mut self) -> Vec<Piece> {
        if self.length.take().is_none() {
            return Vec::new();
        }
        pieces(std::mem::take(&mut self.segments), End::Cut).unwrap_or_default()
    }
}

/// How a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Where it said.
    Whole,
    /// Anywhere before.
    Cut,
}

/// Cuts a message into its chunks, which are to fill it exactly where it came whole.
fn pieces(mut message: Segments, end: End) -> Result<Vec<Piece>, ClientError> {
    let wrong = |e: prost::DecodeError| senseless(&e.to_string());
    let mut chunks = Vec::new();
    let mut data = Segments::default();
    while message.has_remaining() {
        let (tag, wire) = decode_key(&mut message).map_err(wrong)?;
        if !matches!((tag, wire), (CHUNKS_FIELD | DATA_FIELD, WireType::LengthDelimited)) {
            skip_field(wire, tag, &mut message, DecodeContext::default()).map_err(wrong)?;
            continue;
        }
        let mut length = usize::try_from(decode_varint(&mut message).map_err(wrong)?).unwrap_or(usize::MAX);
        if end == End::Cut && tag == DATA_FIELD {
            length = length.min(message.remaining());
        }
        if length > message.remaining() {
            return Err(senseless("a field is longer than its frame"));
        }
        if tag == DATA_FIELD {
            data = message.split_to(length);
        } else if chunks.len() < MAX_CHUNKS_PER_CALL {
            chunks.push(v1::FetchedChunk::decode(message.copy_to_bytes(length)).map_err(wrong)?);
        } else {
            return Err(ClientError::TooMany { call: CALL });
        }
    }
    if chunks.is_empty() {
        return Err(senseless("a frame holds no chunk"));
    }
    let mut pieces = Vec::with_capacity(chunks.len());
    for v1::FetchedChunk { ordinal, stored_length } in chunks {
        let length = stored_length as usize;
        if end == End::Cut && length > data.remaining() {
            return Ok(pieces);
        }
        if length == 0 || length > CHUNK_MAX_STORED_BYTES || length > data.remaining() {
            return Err(senseless("a chunk is empty, too long, or longer than its frame"));
        }
        pieces.push(Piece { ordinal, stored: data.copy_to_bytes(length) });
    }
    if data.has_remaining() { Err(senseless("a frame holds more than its chunks")) } else { Ok(pieces) }
}

/// Bytes as they came, in pieces.
#[derive(Debug, Default)]
struct Segments {
    /// None is empty.
    parts: VecDeque<Bytes>,
    /// Of all.
    length: usize,
}

impl Segments {
    fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.length = self.length.saturating_add(part.len());
            self.parts.push_back(part);
        }
    }

    /// The first `length` bytes, or as many as there are.
    fn split_to(&mut self, length: usize) -> Self {
        let mut first = Self::default();
        while first.length < length && self.length > 0 {
            first.push(self.next_part(length.saturating_sub(first.length)));
        }
        first
    }

    /// As much of the first part as is there, and `at_most` so much.
    fn next_part(&mut self, at_most: usize) -> Bytes {
        let Some(mut part) = self.parts.pop_front() else { return Bytes::new() };
        if part.len() > at_most {
            let first = part.split_to(at_most);
            self.parts.push_front(std::mem::replace(&mut part, first));
        }
        self.length = self.length.saturating_sub(part.len());
        part
    }
}

impl Buf for Segments {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn advance(&mut self, count: usize) {
        drop(self.split_to(count));
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        if self.chunk().len() >= length {
            return self.next_part(length);
        }
        let mut bytes = BytesMut::with_capacity(length.min(self.length));
        bytes.extend(self.split_to(length).parts);
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(ordinal: u32, stored_length: u32) -> v1::FetchedChunk {
        v1::FetchedChunk { ordinal, stored_length }
    }

    /// A message as gRPC sends it.
    fn sent(message: &v1::FetchChunksResponse) -> Vec<u8> {
        let encoded = message.encode_to_vec();
        let length = u32::try_from(encoded.len()).unwrap().to_be_bytes();
        [&[0][..], &length, &encoded].concat()
    }

    /// The chunks in the messages that come in these parts.
    fn read(parts: impl IntoIterator<Item = Bytes>) -> Result<Vec<Vec<Piece>>, ClientError> {
        let mut received = Received::default();
        let mut read = Vec::new();
        for part in parts {
            received.segments.push(part);
            while let Some(message) = received.message()? {
                read.push(pieces(message, End::Whole)?);
            }
        }
        assert!(received.is_empty(), "a message is left");
        Ok(read)
    }

    /// `bytes` cut at these places.
    fn cut(bytes: &[u8], places: &[prop::sample::Index]) -> Vec<Bytes> {
        let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        places.windows(2).map(|ends| Bytes::copy_from_slice(&bytes[ends[0]..ends[1]])).collect()
    }

    #[test]
    fn a_frame_is_filled_exactly_or_refused() {
        let one = |chunks, data: &'static [u8]| {
            let message = v1::FetchChunksResponse { chunks, data: Bytes::from_static(data) };
            read([sent(&message).into()]).map(|mut frames| frames.remove(0))
        };
        let good = one(vec![chunk(3, 2), chunk(5, 1)], b"abc").unwrap();
        assert_eq!(good.iter().map(|p| (p.ordinal, &p.stored[..])).collect::<Vec<_>>(), [(3, &b"ab"[..]), (5, b"c")]);
        for (chunks, data) in [
            (vec![], &b""[..]),
            (vec![chunk(0, 0)], b""),
            (vec![chunk(0, 4)], b"abc"),
            (vec![chunk(0, 2)], b"abc"),
            (vec![chunk(0, u32::MAX)], b"abc"),
        ] {
            assert!(matches!(one(chunks, data), Err(ClientError::Senseless { .. })));
        }
        let many = one(vec![chunk(0, 0); MAX_CHUNKS_PER_CALL + 1], b"");
        assert!(matches!(many, Err(ClientError::TooMany { .. })), "{many:?}");
    }

    #[test]
    fn what_lies_in_one_part_is_not_copied() {
        let message =
            v1::FetchChunksResponse { chunks: vec![chunk(0, 3), chunk(1, 4)], data: (&b"abcdefg"[..]).into() };
        let part = Bytes::from(sent(&message));
        let within = part.as_ptr_range();
        let frames = read([part.clone()]).unwrap();
        assert!(frames[0].iter().all(|piece| within.contains(&piece.stored.as_ptr())));
    }

    #[test]
    fn a_long_or_compressed_message_is_refused_by_its_head() {
        let mut received = Received::default();
        received.segments.push(vec![0, 0xff, 0, 0, 0].into());
        assert!(matches!(received.message(), Err(ClientError::TooLong { .. })));
        let mut received = Received::default();
        received.segments.push(vec![1, 0, 0, 0, 1].into());
        assert!(matches!(received.message(), Err(ClientError::Senseless { .. })));
    }

    proptest! {
        /// However the bytes come, what they say is the same.
        #[test]
        fn chunks_are_the_same_wherever_they_are_cut(
            frames in prop::collection::vec(prop::collection::vec((any::<u32>(), 1_u32..400), 1..6), 1..5),
            places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut bytes = Vec::new();
            let mut meant = Vec::new();
            for (number, frame) in frames.iter().enumerate() {
                let chunks = frame.iter().map(|&(ordinal, length)| chunk(ordinal, length)).collect();
                let length: u32 = frame.iter().map(|&(_, length)| length).sum();
                let data: Bytes = (0..length).map(|at| (at as usize + number) as u8).collect::<Vec<_>>().into();
                let mut left = data.clone();
                meant.push(frame.iter().map(|&(o, length)| (o, left.split_to(length as usize))).collect::<Vec<_>>());
                bytes.extend(sent(&v1::FetchChunksResponse { chunks, data }));
            }
            let read = read(cut(&bytes, &places)).unwrap();
            let read: Vec<Vec<_>> =
                read.into_iter().map(|f| f.into_iter().map(|p| (p.ordinal, p.stored)).collect()).collect();
            prop_assert_eq!(read, meant);
        }

        /// A message that breaks off yields the chunks before that, each of them whole, and no other.
        #[test]
        fn what_came_whole_before_a_cut_is_kept(
            lengths in prop::collection::vec(1_u32..400, 1..6),
            at in any::<prop::sample::Index>(),
            places in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let chunks: Vec<_> = (7..).zip(&lengths).map(|(ordinal, &length)| chunk(ordinal, length)).collect();
            let data: Bytes = (0..lengths.iter().sum::<u32>()).map(|at| at as u8).collect::<Vec<_>>().into();
            let bytes = sent(&v1::FetchChunksResponse { chunks, data: data.clone() });
            let came = &bytes[..at.index(bytes.len())];
            let mut received = Received::default();
            for part in cut(came, &places) {
                received.segments.push(part);
                prop_assert!(received.message().unwrap().is_none());
            }
            // The data are the last field.
            let mut left = data.slice(..(came.len() + data.len()).saturating_sub(bytes.len()));
            let mut meant = Vec::new();
            for (ordinal, &length) in (7_u32..).zip(&lengths) {
                if left.len() < length as usize {
                    break;
                }
                meant.push((ordinal, left.split_to(length as usize)));
            }
            let kept: Vec<_> = received.broken_off().into_iter().map(|p| (p.ordinal, p.stored)).collect();
            prop_assert_eq!(kept, meant);
            prop_assert!(received.is_empty() || came.len() < PREFIX_BYTES);
        }

        /// What is no message is refused as prost refuses it, and what prost takes is taken or lacks what a frame needs.
        #[test]
        fn no_bytes_are_read_otherwise_than_prost_reads_them(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            places in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut message = Segments::default();
            cut(&bytes, &places).into_iter().for_each(|part| message.push(part));
            if let Ok(pieces) = pieces(message, End::Whole) {
                let v1::FetchChunksResponse { chunks, data } = v1::FetchChunksResponse::decode(&bytes[..]).unwrap();
                prop_assert_eq!(pieces.iter().map(|p| p.ordinal).collect::<Vec<_>>(), chunks.iter().map(|c| c.ordinal).collect::<Vec<_>>());
                prop_assert_eq!(pieces.iter().flat_map(|p| p.stored.to_vec()).collect::<Vec<u8>>(), data.to_vec());
            }
        }
    }
}
