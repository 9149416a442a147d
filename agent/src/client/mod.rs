//! The server, as the device sees it: the only room where tonic's types are.
//!
//! Every answer is bounded in time and size, and nothing in it is believed: metadata, documents and chunks are verified by
//! whoever asked for them.

pub mod bulk;
mod check_in;
mod deltas;
mod documents;
mod enrolment;
mod error;
mod indexes;
mod leases;
mod stall;
mod throttle;
mod turn;
mod wire;

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use suture_core::digest::Digest;
use suture_core::limits::MAX_STOPS_PER_ANSWER;
use suture_core::pace::Rate;
use suture_core::phase::Reason;
use suture_core::report::Signed;
use suture_proto::connect::{self, Dialer, Settings};
use suture_proto::v1;
use suture_proto::v1::device_service_client::DeviceServiceClient;
use tonic::Status;

pub use check_in::{Heard, Said};
pub use deltas::{DeltaBytes, DeltaOffer, Deltas, OfferedDelta};
pub use enrolment::Enrolment;
pub use error::ClientError;
pub use indexes::Indexes;
pub use leases::LeaseAnswer;
pub use wire::Wire;

use throttle::{Throttle, slowly};
use turn::Line;

use crate::backoff::Random;
use crate::checkpoint::{self, Deed};
use crate::news::{Holdings, Tidings};
use crate::ticks::{System, Ticks};
use crate::traffic::Traffic;

/// How long one small call, or one message of a stream, may take. Chunks and deltas have a rule of their own: see [`stall`].
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes a second in which documents come at least: a modem's rate.
const LEAST_RATE: u64 = 4 << 10;

/// The server.
#[derive(Debug, Clone)]
pub struct Client {
    inner: DeviceServiceClient<Wire>,
    /// The connection of `inner`.
    wire: Wire,
    traffic: Arc<Traffic>,
    line: Arc<Line>,
    throttle: Option<Arc<Throttle>>,
}

/// How the client behaves on a network that others use as well. It lasts over connections.
#[derive(Debug, Clone)]
pub struct Manners {
    line: Arc<Line>,
    throttle: Option<Arc<Throttle>>,
}

impl Manners {
    /// Reads no faster than `rate`, where there is one; `random` is for the jitter of those who stand in line.
    pub fn new(rate: Option<Rate>, random: Random) -> Self {
        let ticks: Arc<dyn Ticks> = Arc::new(System::start());
        let throttle = rate.map(|rate| Arc::new(Throttle::new(rate, ticks.clone())));
        Self { line: Arc::new(Line::new(random, ticks)), throttle }
    }
}

/// For a few small calls.
impl Default for Manners {
    fn default() -> Self {
        Self::new(None, Arc::new(|| 0))
    }
}

/// Which of the two repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The manufacturer's.
    Catalog,
    /// The hospital's.
    Approvals,
}

/// Where signed files come from.
pub trait Files: Send {
    /// A metadata file of at most `max_bytes`; `None` where the server says that there is none.
    fn metadata(
        &mut self,
        of: Which,
        name: &str,
        max_bytes: u64,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, ClientError>> + Send;

    /// A target, document or index of at most `max_bytes`.
    fn target(
        &mut self,
        of: Which,
        name: &str,
        max_bytes: u64,
    ) -> impl Future<Output = Result<Vec<u8>, ClientError>> + Send;
}

/// A chunk as it travels, or a part of one.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Its place in the index.
    pub ordinal: u32,
    /// Of its stored form, what follows what came before.
    pub stored: Bytes,
    /// How many bytes of it are still to come.
    pub left: u32,
}

/// Chunks as they come.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Vec<Piece>, ClientError>> + Send>>;

/// Where chunks come from.
pub trait Chunks: Send {
    /// The chunks at these places of an index, ascending; the first without the `held` bytes that the caller has of it.
    fn chunks(
        &mut self,
        index: &Digest,
        ranges: &[Range<u32>],
        held: u32,
    ) -> impl Future<Output = Result<Pieces, ClientError>> + Send;
}

impl Client {
    /// A client that connects with its first call, and again whenever the connection is lost.
    pub fn new(settings: &Settings) -> Result<Self, ClientError> {
        Self::mannered(settings, &Manners::default())
    }

    /// As [`Client::new`], for a client that fetches as a device does.
    pub fn mannered(settings: &Settings, manners: &Manners) -> Result<Self, ClientError> {
        let dialer = Dialer::new(settings)?;
        let wire = Wire::by(match manners.throttle.as_ref().map(|throttle| throttle.rate().bytes() / 2) {
            // What half a second brings: enough for the longest way, and what is sent before anything is read is little.
            Some(window) => dialer.reading_slowly(u32::try_from(window).unwrap_or(u32::MAX)),
            None => dialer,
        });
        let Manners { line, throttle } = manners.clone();
        let inner = connect::device_client(wire.clone());
        Ok(Self { inner, wire, traffic: Arc::default(), line, throttle })
    }

    /// Why the transfer under way stands in line, if it does.
    pub fn in_line(&self) -> Option<Reason> {
        self.line.reason()
    }

    /// As a new connection of the same agent: what was counted goes on being counted.
    pub fn counting(self, traffic: &Arc<Traffic>) -> Self {
        Self { traffic: traffic.clone(), ..self }
    }

    /// What was said and heard so far; chunks of payloads are in [`crate::fetch::Counters`] instead.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// What differs of both repositories from what the device holds, where no check-in has brought it.
    pub async fn refresh(&mut self, held: &Holdings) -> Result<Tidings, ClientError> {
        let request = self.traffic.asks(v1::RefreshRequest::from(held));
        Ok(self.traffic.hears(timely("the refresh", self.inner.refresh(request)).await?).into())
    }

    /// Hands over reports; the highest number up to which the server has them all.
    pub async fn submit(&mut self, reports: &[Signed]) -> Result<u64, ClientError> {
        let request = v1::SubmitReportsRequest { reports: reports.iter().map(Into::into).collect() };
        let v1::SubmitReportsResponse { stored_through } =
            self.traffic.hears(timely("the reports", self.inner.submit_reports(self.traffic.asks(request))).await?);
        Ok(stored_through)
    }
}

async fn timely<T>(
    call: &'static str,
    answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, ClientError> {
    match checkpoint::deed(Deed::Call(call), tokio::time::timeout(CALL_TIMEOUT, answer)).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(ClientError::of(call, &status)),
        Err(_) => Err(ClientError::Timeout { call }),
    }
}

impl From<&Holdings> for v1::RefreshRequest {
    fn from(held: &Holdings) -> Self {
        let Holdings { catalog, approvals } = held;
        Self { catalog: Some(catalog.into()), approvals: Some(approvals.into()) }
    }
}

impl From<v1::RefreshResponse> for Tidings {
    fn from(answer: v1::RefreshResponse) -> Self {
        let v1::RefreshResponse { catalog, approvals, stops, clearance } = answer;
        Self {
            catalog: catalog.map(Into::into).unwrap_or_default(),
            approvals: approvals.map(Into::into).unwrap_or_default(),
            stops: stops.into_iter().take(MAX_STOPS_PER_ANSWER).map(Into::into).collect(),
            clearance: (!clearance.is_empty()).then(|| clearance.into()),
        }
    }
}

impl Chunks for Client {
    async fn chunks(&mut self, index: &Digest, ranges: &[Range<u32>], held: u32) -> Result<Pieces, ClientError> {
        let length = |pieces: &Vec<Piece>| pieces.iter().map(|piece| piece.stored.len()).sum();
        const PATH: &str = "/suture.v1.DeviceService/FetchChunks";
        let range = |r: &Range<u32>| v1::ChunkRange { first: r.start, count: r.end.saturating_sub(r.start) };
        let request = v1::FetchChunksRequest {
            index_sha256: index.as_bytes().to_vec().into(),
            ranges: ranges.iter().map(range).collect(),
            held_bytes: held,
        };
        loop {
            match bulk::chunks(&self.wire, PATH, &self.traffic.asks(request.clone())).await {
                Ok(pieces) => return Ok(slowly(pieces, self.throttle.clone(), length)),
                Err(answer) => self.line.wait(answer).await?,
            }
        }
    }
}
