//! What the hostile server does: it answers from its loot, and each part of an answer can be bent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use futures::Stream;
use suture_core::digest::Digest;
use suture_core::limits::FRAME_BYTES;
use suture_proto::v1;
use suture_server::identity::Authority;
use tonic::Status;

use super::{Loot, Repo};

/// Answers that come in pieces.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Takes an answer's place, or leaves it to the loot.
pub type Bend<A, T> = Arc<dyn Fn(A) -> Option<T> + Send + Sync>;
/// Repository (`catalog` or `approvals`) and name.
pub type File = (&'static str, String);
/// Chunks by their places.
pub type Chunks = Vec<(u32, Bytes)>;
/// A metadata file, or what the server says instead.
pub type Metadata = Result<Vec<u8>, Status>;
/// Certifies what a request (PKCS#10) asks for, with the captured authority.
pub type Certify = Arc<dyn Fn(&Authority, &[u8]) -> Vec<Vec<u8>> + Send + Sync>;

/// How it hands over the metadata that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sends {
    /// File by file, as they are asked for.
    Singly,
    /// All at once with the answer to a check-in.
    WithCheckIn,
    /// All at once when it is called for.
    OnCall,
}

/// A part to be played. What is `None` is answered from the loot, as an honest server would.
#[derive(Clone)]
pub struct Act {
    /// What it answers from.
    pub loot: Loot,
    /// What it says to every call, in the place of an answer.
    pub refusal: Option<Status>,
    /// How it hands over metadata.
    pub sends: Sends,
    /// Where each of its messages holds fields besides that no message has today, as a later release's would: how many did.
    pub says_more: Option<Arc<AtomicU64>>,
    /// Changes what it says where it sends them all at once.
    pub news: Arc<dyn Fn(&mut v1::RefreshResponse) + Send + Sync>,
    /// Changes what it says at a check-in.
    pub check_in: Arc<dyn Fn(&mut v1::CheckInResponse) + Send + Sync>,
    /// Up to which number it claims to have the reports, given the last number that came.
    pub stored: Arc<dyn Fn(u64) -> u64 + Send + Sync>,
    /// Answers for a metadata file.
    pub metadata: Option<Bend<File, Metadata>>,
    /// Answers for a target.
    pub target: Option<Bend<File, Answers<v1::GetTargetResponse>>>,
    /// Answers for chunks, given those that were asked for.
    pub chunks: Option<Bend<Chunks, Answers<v1::FetchChunksResponse>>>,
    /// Offers a delta, given the payload that it is to make and those that the device holds. None by itself.
    pub delta: Option<Bend<(Digest, Vec<Digest>), v1::GetDeltaResponse>>,
    /// Answers for parts of a delta, given how many bytes were asked for.
    pub delta_parts: Option<Bend<u64, Answers<v1::FetchDeltaResponse>>>,
    /// Answers whoever asks for a lease. It grants everything by itself.
    pub lease: Arc<dyn Fn() -> Result<v1::TakeLeaseResponse, Status> + Send + Sync>,
    /// Certifies at enrolment and at renewal.
    pub certify: Option<Certify>,
}

/// What a device said at a check-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// How far it got.
    pub phase: v1::Phase,
    /// Why no further: the code.
    pub code: String,
}

impl Act {
    /// An honest server's answers.
    pub fn honest(loot: &Loot) -> Self {
        Self {
            loot: loot.clone(),
            refusal: None,
            sends: Sends::Singly,
            says_more: None,
            news: Arc::new(|_| {}),
            check_in: Arc::new(|_| {}),
            stored: Arc::new(|last| last),
            metadata: None,
            target: None,
            chunks: None,
            delta: None,
            delta_parts: None,
            lease: Arc::new(|| {
                Ok(v1::TakeLeaseResponse { lease: Some(v1::Lease::default()), reason: None, ask_again_ms: 0 })
            }),
            certify: None,
        }
    }

    pub(super) fn repo(&self, of: Option<&v1::Repository>) -> (&'static str, &Repo) {
        match of.and_then(|r| r.which.as_ref()) {
            Some(v1::repository::Which::Catalog(_)) => ("catalog", &self.loot.catalog),
            _ => ("approvals", &self.loot.approvals),
        }
    }

    /// All metadata of both repositories at once.
    pub(super) fn news(&self) -> v1::RefreshResponse {
        let news = |of, repo: &Repo| {
            let bent = |name: &String| self.metadata.as_ref().is_some_and(|bend| bend((of, name.clone())).is_some());
            let files: Vec<_> = repo.metadata.iter().filter(|(name, _)| !bent(name)).collect();
            let version = |name: &str| name.strip_suffix(".root.json")?.parse::<u64>().ok();
            let roots = || files.iter().filter_map(|(name, _)| version(name));
            // A root that is kept back is one that there is.
            let all = roots().count() as u64 == roots().max().unwrap_or(0) && !bent(&"2.root.json".to_owned());
            v1::RepositoryNews {
                root_version: if all { roots().max().unwrap_or(0) } else { 0 },
                timestamp_stands: false,
                files: files
                    .into_iter()
                    .map(|(name, content)| v1::MetadataFile { name: name.clone(), content: content.clone().into() })
                    .collect(),
            }
        };
        let mut answer = v1::RefreshResponse {
            catalog: Some(news("catalog", &self.loot.catalog)),
            approvals: Some(news("approvals", &self.loot.approvals)),
            ..Default::default()
        };
        (self.news)(&mut answer);
        answer
    }

    /// Its words: go, for everything that the hospital has approved.
    pub(super) fn words(&self) -> Vec<v1::ServerWord> {
        let id = |name: &String| {
            let file = name.strip_prefix("approvals/")?.strip_suffix(".json")?;
            Some(file.split_once('.')?.1.to_owned())
        };
        let ids = self.loot.approvals.targets.keys().filter_map(id);
        ids.map(|approval_id| v1::ServerWord { approval_id, go: true, reason: None }).collect()
    }
}

/// A file in pieces, as an honest server sends it.
pub(super) fn pieces(content: Vec<u8>) -> Answers<v1::GetTargetResponse> {
    let pieces: Vec<_> =
        content.chunks(FRAME_BYTES).map(|c| Ok(v1::GetTargetResponse { content: c.to_vec().into() })).collect();
    Box::pin(futures::stream::iter(pieces))
}

/// Chunks, one to a frame. A stored form as long as the raw one is the raw one.
pub(super) fn frames(chunks: Chunks) -> Answers<v1::FetchChunksResponse> {
    let frame = |(ordinal, data): (u32, Bytes)| {
        let stored_length = u32::try_from(data.len()).unwrap();
        Ok(v1::FetchChunksResponse { chunks: vec![v1::FetchedChunk { ordinal, stored_length }], data })
    };
    Box::pin(futures::stream::iter(chunks.into_iter().map(frame)))
}
