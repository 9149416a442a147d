//! The server, as the device sees it: the only place where tonic's types are.
//!
//! Every answer is bounded in time and size, and nothing in it is believed: metadata, documents and chunks are verified by
//! whoever asked for them.

pub mod bulk;
mod indexes;

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use suture_core::digest::Digest;
use suture_core::id::ApprovalId;
use suture_core::limits::{MAX_MESSAGE_BYTES, MAX_STOPS_PER_ANSWER};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::progress::Progress;
use suture_core::report::{Running, Seen, Signed};
use suture_core::sign::Signature;
use suture_proto::connect::{self, ConnectError, Settings};
use suture_proto::v1::device_service_client::DeviceServiceClient;
use suture_proto::{parse_reason, v1};
use tonic::Status;
use tonic::transport::Channel;

pub use indexes::Indexes;

use crate::news::{Holdings, Tidings};
use crate::traffic::Traffic;

/// How long one small call, or one message of a stream, may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes a second that a document comes in at least: a modem's rate.
const LEAST_RATE: u64 = 4 << 10;

/// The server.
#[derive(Debug, Clone)]
pub struct Client {
    inner: DeviceServiceClient<Channel>,
    /// The connection of `inner`.
    channel: Channel,
    traffic: Arc<Traffic>,
}

/// Which of the two repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The manufacturer's.
    Catalog,
    /// The hospital's.
    Approvals,
}

/// Why the server gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server answered, and refused.
    #[error("the server refused {call}: {text}")]
    Refused {
        /// The call.
        call: &'static str,
        /// Why.
        text: String,
    },
    /// The server does not know, or no longer believes, the certificate that it was shown.
    #[error("the server does not accept this device's certificate ({call}: {text})")]
    Stranger {
        /// The call.
        call: &'static str,
        /// Why.
        text: String,
    },
    /// The server has no such thing.
    #[error("the server has no such thing ({call}: {text})")]
    NotFound {
        /// The call.
        call: &'static str,
        /// What it says.
        text: String,
    },
    /// The connection broke, or the server is in trouble.
    #[error("{call} was interrupted: {text}")]
    Interrupted {
        /// The call.
        call: &'static str,
        /// What is known.
        text: String,
    },
    /// No answer in time.
    #[error("no answer to {call} within {} s", CALL_TIMEOUT.as_secs())]
    Timeout {
        /// The call.
        call: &'static str,
    },
    /// More than was asked for.
    #[error("the answer to {call} is longer than {limit} bytes")]
    TooLong {
        /// The call.
        call: &'static str,
        /// The bound.
        limit: u64,
    },
    /// More chunks than were asked for.
    #[error("the answer to {call} holds more chunks than were asked for")]
    TooMany {
        /// The call.
        call: &'static str,
    },
    /// A stick that cannot be read, or lacks something.
    #[error("the stick: {text}")]
    Stick {
        /// What is wrong.
        text: String,
    },
    /// An answer that contradicts itself.
    #[error("the answer to {call} makes no sense: {text}")]
    Senseless {
        /// The call.
        call: &'static str,
        /// What does not fit.
        text: String,
    },
}

impl ClientError {
    /// The kind of reason.
    pub const fn code(&self) -> Code {
        match self {
            Self::Connect(_) | Self::Timeout { .. } => Code::ServerUnreachable,
            Self::TooLong { .. } | Self::TooMany { .. } => Code::EndlessData,
            Self::Senseless { .. } => Code::WrongBytes,
            Self::Refused { .. }
            | Self::Stranger { .. }
            | Self::NotFound { .. }
            | Self::Interrupted { .. }
            | Self::Stick { .. } => Code::Transfer,
        }
    }

    /// Whether the server was reached and answered with what no server answers: more than was asked for, or what makes no
    /// sense. Everything else is as if it were not there.
    pub const fn is_abuse(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::TooMany { .. } | Self::Senseless { .. })
    }

    /// Whether another way to the server may lead further.
    pub const fn is_of_the_way(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Timeout { .. })
    }

    fn of(call: &'static str, status: &Status) -> Self {
        if let Some(known) = connect::find(status) {
            return Self::Connect(known.clone());
        }
        let text = status.message().chars().take(500).collect();
        match status.code() {
            tonic::Code::NotFound => Self::NotFound { call, text },
            tonic::Code::Unauthenticated => Self::Stranger { call, text },
            // A message beyond the bound on all messages is read no further.
            tonic::Code::OutOfRange => Self::TooLong { call, limit: MAX_MESSAGE_BYTES as u64 },
            tonic::Code::Unavailable
            | tonic::Code::Internal
            | tonic::Code::Unknown
            | tonic::Code::Aborted
            | tonic::Code::Cancelled
            | tonic::Code::DeadlineExceeded
            | tonic::Code::ResourceExhausted => Self::Interrupted { call, text },
            _ => Self::Refused { call, text },
        }
    }
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

/// A chunk as it travels.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Its place in the index.
    pub ordinal: u32,
    /// Its stored form.
    pub stored: Bytes,
}

/// Chunks as they come.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Vec<Piece>, ClientError>> + Send>>;

/// Where chunks come from.
pub trait Chunks: Send {
    /// The chunks at these places of an index, ascending.
    fn chunks(
        &mut self,
        index: &Digest,
        ranges: &[Range<u32>],
    ) -> impl Future<Output = Result<Pieces, ClientError>> + Send;
}

/// What the device says at a check-in.
#[derive(Debug, Clone)]
pub struct Said {
    /// What it is.
    pub product: String,
    /// Its hardware revision.
    pub hardware: String,
    /// What runs.
    pub running: Option<Running>,
    /// The catalog that it verified last.
    pub catalog: Option<Seen>,
    /// The approvals that it verified last.
    pub approvals: Option<Seen>,
    /// What it does.
    pub phase: Phase,
    /// Why no further.
    pub reason: Option<Reason>,
    /// The attempt.
    pub approval: Option<ApprovalId>,
    /// Of the bundle that is attempted.
    pub progress: Progress,
    /// The device's signature over what it has seen of both; see [`suture_core::report::Sighting`].
    pub seen_signature: Option<Signature>,
    /// What it holds of both repositories, where it wants to hear what differs.
    pub held: Option<Holdings>,
}

/// What the server says at a check-in.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Whether the hospital has confirmed the device.
    pub confirmed: bool,
    /// The server's clock, Unix milliseconds; for diagnosis only.
    pub server_ms: i64,
    /// When to ask again.
    pub next: Duration,
    /// What it says of each approval: `None` is go, else why not.
    pub words: Vec<(ApprovalId, Option<Reason>)>,
    /// Up to which number it has the reports.
    pub stored_through: u64,
    /// What differs from what the device holds, where it asked and is confirmed.
    pub news: Option<Tidings>,
}

impl Client {
    /// A client that connects with its first call, and again whenever the connection is lost.
    pub fn new(settings: &Settings) -> Result<Self, ClientError> {
        let channel = connect::connect_lazily(settings)?;
        Ok(Self { inner: connect::device_client(channel.clone()), channel, traffic: Arc::default() })
    }

    /// As a new connection of the same agent: what was counted goes on being counted.
    pub fn counting(self, traffic: &Arc<Traffic>) -> Self {
        Self { traffic: traffic.clone(), ..self }
    }

    /// What was said and heard so far; chunks of payloads are in [`crate::fetch::Counters`] instead.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Says how the device is, and hears what the server holds back.
    pub async fn check_in(&mut self, said: Said) -> Result<Heard, ClientError> {
        const CALL: &str = "the check-in";
        let Said {
            product,
            hardware,
            running,
            catalog,
            approvals,
            phase,
            reason,
            approval,
            progress,
            seen_signature,
            held,
        } = said;
        let request = v1::CheckInRequest {
            product,
            hardware_id: hardware,
            running_version: running.as_ref().map(|r| r.version.to_string()).unwrap_or_default(),
            running_release: running.as_ref().map_or(0, |r| r.release.0),
            running_manifest_sha256: running.map(|r| r.manifest.as_bytes().to_vec().into()).unwrap_or_default(),
            catalog: catalog.as_ref().map(Into::into),
            approvals: approvals.as_ref().map(Into::into),
            phase: v1::Phase::from(phase).into(),
            reason: reason.as_ref().map(Into::into),
            approval_id: approval.map(String::from).unwrap_or_default(),
            fetched_bytes: progress.present_bytes,
            total_bytes: progress.total_bytes,
            transfer: (progress.total_bytes > 0).then(|| (&progress).into()),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            held: held.as_ref().map(Into::into),
            seen_signature: seen_signature.map(|s| s.0.to_vec().into()).unwrap_or_default(),
        };
        let v1::CheckInResponse { confirmed, server_time_ms, next_check_in_ms, words, reports_stored_through, news } =
            self.traffic.hears(timely(CALL, self.inner.check_in(self.traffic.asks(request))).await?);
        // An approval id that cannot be read cannot be one that this device knows.
        let words = words.into_iter().filter_map(|word| {
            let v1::ServerWord { approval_id, go, reason } = word;
            let why = || parse_reason(reason.as_ref()).unwrap_or_else(|| Reason::new(Code::WaveClosed, "not yet"));
            Some((approval_id.parse().ok()?, (!go).then(why)))
        });
        Ok(Heard {
            confirmed,
            server_ms: server_time_ms,
            next: Duration::from_millis(next_check_in_ms.into()),
            words: words.collect(),
            stored_through: reports_stored_through,
            news: news.map(Into::into),
        })
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

    /// Spends an enrolment token. The certificate chain.
    pub async fn enroll(&mut self, request: Enrolment<'_>) -> Result<Vec<Vec<u8>>, ClientError> {
        let Enrolment { secret, csr, report_key, device, product, hardware } = request;
        let request = v1::EnrollRequest {
            secret: secret.to_vec().into(),
            csr: csr.to_vec().into(),
            report_key: report_key.to_vec().into(),
            device_id: device.to_owned(),
            product: product.to_owned(),
            hardware_id: hardware.to_owned(),
        };
        let v1::EnrollResponse { chain } = timely("the enrolment", self.inner.enroll(request)).await?;
        Ok(chain.into_iter().map(Into::into).collect())
    }

    /// A new certificate. The chain.
    pub async fn renew(&mut self, csr: &[u8]) -> Result<Vec<Vec<u8>>, ClientError> {
        let request = v1::RenewRequest { csr: csr.to_vec().into() };
        let v1::RenewResponse { chain } = timely("the renewal", self.inner.renew(request)).await?;
        Ok(chain.into_iter().map(Into::into).collect())
    }
}

/// What an enrolment hands over.
#[derive(Debug)]
pub struct Enrolment<'a> {
    /// The token's secret.
    pub secret: &'a [u8; 32],
    /// PKCS#10, DER.
    pub csr: &'a [u8],
    /// Ed25519.
    pub report_key: &'a [u8; 32],
    /// The id that the device takes.
    pub device: &'a str,
    /// What it is.
    pub product: &'a str,
    /// Its hardware revision.
    pub hardware: &'a str,
}

async fn timely<T>(
    call: &'static str,
    answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, ClientError> {
    match tokio::time::timeout(CALL_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(ClientError::of(call, &status)),
        Err(_) => Err(ClientError::Timeout { call }),
    }
}

async fn next<T>(call: &'static str, stream: &mut tonic::Streaming<T>) -> Result<Option<T>, ClientError> {
    match tokio::time::timeout(CALL_TIMEOUT, stream.message()).await {
        Ok(Ok(message)) => Ok(message),
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
        let v1::RefreshResponse { catalog, approvals, stops } = answer;
        Self {
            catalog: catalog.map(Into::into).unwrap_or_default(),
            approvals: approvals.map(Into::into).unwrap_or_default(),
            stops: stops.into_iter().take(MAX_STOPS_PER_ANSWER).map(Into::into).collect(),
        }
    }
}

impl From<Which> for v1::Repository {
    fn from(which: Which) -> Self {
        use v1::repository::Which as W;
        // Empty: the device's own hospital.
        let which = match which {
            Which::Catalog => W::Catalog(true),
            Which::Approvals => W::Approvals(String::new()),
        };
        Self { which: Some(which) }
    }
}

impl Files for Client {
    async fn metadata(&mut self, of: Which, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, ClientError> {
        const CALL: &str = "the metadata";
        let request = v1::GetMetadataRequest { repository: Some(of.into()), name: name.to_owned() };
        match timely(CALL, self.inner.get_metadata(self.traffic.asks(request))).await.map(|m| self.traffic.hears(m)) {
            Ok(v1::GetMetadataResponse { content }) if content.len() as u64 > max_bytes => {
                Err(ClientError::TooLong { call: CALL, limit: max_bytes })
            }
            Ok(v1::GetMetadataResponse { content }) => Ok(Some(content.into())),
            Err(ClientError::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn target(&mut self, of: Which, name: &str, max_bytes: u64) -> Result<Vec<u8>, ClientError> {
        const CALL: &str = "the document";
        let request = v1::GetTargetRequest { repository: Some(of.into()), name: name.to_owned() };
        let stream = timely(CALL, self.inner.get_target(self.traffic.asks(request))).await?;
        whole(CALL, stream, &self.traffic, max_bytes).await
    }
}

/// All pieces of a document of at most `max_bytes`.
async fn whole(
    call: &'static str,
    mut stream: tonic::Streaming<v1::GetTargetResponse>,
    traffic: &Traffic,
    max_bytes: u64,
) -> Result<Vec<u8>, ClientError> {
    let whole = async {
        let mut bytes = Vec::new();
        while let Some(part) = next(call, &mut stream).await? {
            let v1::GetTargetResponse { content } = traffic.hears(part);
            if content.is_empty() {
                return Err(ClientError::Senseless { call, text: "a piece of it is empty".to_owned() });
            }
            bytes.extend_from_slice(&content);
            if bytes.len() as u64 > max_bytes {
                return Err(ClientError::TooLong { call, limit: max_bytes });
            }
        }
        Ok(bytes)
    };
    // Attack: slow retrieval. A byte now and then must not hold the device up for ever.
    let patience = CALL_TIMEOUT.saturating_add(Duration::from_secs(max_bytes / LEAST_RATE));
    tokio::time::timeout(patience, whole).await.unwrap_or(Err(ClientError::Timeout { call }))
}

impl Chunks for Client {
    async fn chunks(&mut self, index: &Digest, ranges: &[Range<u32>]) -> Result<Pieces, ClientError> {
        const PATH: &str = "/suture.v1.DeviceService/FetchChunks";
        let range = |r: &Range<u32>| v1::ChunkRange { first: r.start, count: r.end.saturating_sub(r.start) };
        let request = v1::FetchChunksRequest {
            index_sha256: index.as_bytes().to_vec().into(),
            ranges: ranges.iter().map(range).collect(),
        };
        bulk::fetch(self.channel.clone(), PATH, &self.traffic.asks(request)).await
    }
}
