//! Chunks and deltas as they come off the wire, without a copy.
//!
//! tonic's decoder gathers every message in a buffer of its own, and hands it on once it is whole. For what is received in
//! bulk the answer is read here instead, and handed on as HTTP/2 delivers it: on a line of 2 Mbit/s a message takes a
//! second, and on one that breaks in less than that none would ever come whole.

mod reader;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::StreamExt as _;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use prost::Message;
use suture_proto::connect;
use suture_proto::v1;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service as _, StdError};

use self::reader::{Form, PREFIX_BYTES, Reader};
use super::stall::{Stalled, Watch};
use super::wire::Wire;
use super::{CALL_TIMEOUT, ClientError, DeltaBytes, Piece, Pieces};
use crate::checkpoint::{self, Deed};

/// What the server answers to `request`, by the method of this path: `/suture.v1.DeviceService/FetchChunks`.
pub async fn chunks(wire: &Wire, path: &'static str, request: &v1::FetchChunksRequest) -> Result<Pieces, ClientError> {
    Ok(Box::pin(open(wire, path, request, Form::Chunks).await?))
}

/// The same of a delta.
pub async fn delta(wire: &Wire, request: &v1::FetchDeltaRequest) -> Result<DeltaBytes, ClientError> {
    let pieces = open(wire, "/suture.v1.DeviceService/FetchDelta", request, Form::Delta).await?;
    Ok(Box::pin(pieces.flat_map(|pieces| {
        futures::stream::iter(match pieces {
            Ok(pieces) => pieces.into_iter().map(|piece| Ok(piece.stored)).collect(),
            Err(error) => vec![Err(error)],
        })
    })))
}

/// The pieces of an answer, those that came together together.
async fn open<M: Message>(
    wire: &Wire,
    path: &'static str,
    request: &M,
    form: Form,
) -> Result<impl futures::Stream<Item = Result<Vec<Piece>, ClientError>> + Send + use<M>, ClientError> {
    let call = form.call();
    let asked = tokio::time::timeout(CALL_TIMEOUT, ask(wire, path, request, call));
    let response = checkpoint::deed(Deed::Call(call), asked).await.unwrap_or(Err(ClientError::Timeout { call }))?;
    if !response.status().is_success() {
        let text = format!("HTTP status {}, which no server of Suture gives", response.status());
        return Err(ClientError::Interrupted { call, text });
    }
    // A call that fails at once has its status where others have their headers.
    if let Some(status) = Status::from_header_map(response.headers()) {
        ended(&status, call)?;
    }
    let answer = Answer { wire: wire.clone(), response, reader: Reader::new(form), watch: Watch::default(), call };
    Ok(futures::stream::try_unfold(answer, async |mut answer| {
        let next = answer.next().await;
        // Whatever broke off here breaks off the next call too, if that goes the same way.
        if matches!(next, Err(ClientError::Interrupted { .. } | ClientError::Stalled { .. })) {
            answer.wire.broke(&answer.response);
        }
        Ok(next?.map(|pieces| (pieces, answer)))
    }))
}

async fn ask(
    wire: &Wire,
    path: &'static str,
    request: &impl Message,
    call: &'static str,
) -> Result<Response<Body>, ClientError> {
    let length = request.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES.saturating_add(length));
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    request.encode(&mut bytes).map_err(|e| senseless(call, &e.to_string()))?;
    let mut asked = Request::post(path)
        .body(Body::new(Full::<Bytes>::new(bytes.freeze())))
        .map_err(|e| senseless(call, &e.to_string()))?;
    *asked.version_mut() = http::Version::HTTP_2;
    asked.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    asked.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let failed = |e: StdError| match connect::find(e.as_ref()) {
        Some(known) => ClientError::Connect(known.clone()),
        None => ClientError::of(call, &Status::from_error(e)),
    };
    wire.clone().call(asked).await.map_err(failed)
}

/// A call's answer: messages, and then its status.
struct Answer {
    wire: Wire,
    response: Response<Body>,
    reader: Reader,
    watch: Watch,
    /// The call, in messages to people.
    call: &'static str,
}

impl Answer {
    /// The next pieces.
    async fn next(&mut self) -> Result<Option<Vec<Piece>>, ClientError> {
        let call = self.call;
        let interrupted = |text: &str| ClientError::Interrupted { call, text: text.to_owned() };
        loop {
            let frame = match self.watch.over(self.response.body_mut().frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(status))) => return Err(ClientError::of(call, &status)),
                Ok(None) => return Err(interrupted("it ended without a status")),
                Err(Stalled) => return Err(ClientError::Stalled { call }),
            };
            match frame.into_data() {
                Ok(data) => {
                    self.watch.came(data.len());
                    let pieces = self.reader.take(data)?;
                    if !pieces.is_empty() {
                        return Ok(Some(pieces));
                    }
                }
                Err(frame) => {
                    let status = frame.trailers_ref().and_then(Status::from_header_map);
                    ended(&status.ok_or_else(|| interrupted("it ended without a status"))?, call)?;
                    // Said to be whole, and yet cut: nothing of it is lost that came.
                    let whole = self.reader.is_between_messages();
                    return if whole { Ok(None) } else { Err(interrupted("it ended within a message")) };
                }
            }
        }
    }
}

/// The call is over: well, or not.
fn ended(status: &Status, call: &'static str) -> Result<(), ClientError> {
    if status.code() == tonic::Code::Ok { Ok(()) } else { Err(ClientError::of(call, status)) }
}

fn senseless(call: &'static str, text: &str) -> ClientError {
    ClientError::Senseless { call, text: text.to_owned() }
}
