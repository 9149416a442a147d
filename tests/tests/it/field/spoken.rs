//! What the agent of 0.1.0 says and hears, in messages of its own: numbers and types as they were, names as it liked. Once 0.1.0
//! is out nothing here is changed: it stands for devices that nobody has walked to since.
//!
//! Only what it cannot do without is here. Fields that later releases have are not, on purpose.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Enroll {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) secret: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) csr: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) report_key: Vec<u8>,
    #[prost(string, tag = "4")]
    pub(super) device: String,
    #[prost(string, tag = "5")]
    pub(super) product: String,
    #[prost(string, tag = "6")]
    pub(super) hardware: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Renew {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) csr: Vec<u8>,
}

/// The answer to both.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Certified {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) chain: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Reason {
    #[prost(string, tag = "1")]
    pub(super) code: String,
    #[prost(string, tag = "2")]
    pub(super) text: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CheckIn {
    #[prost(string, tag = "1")]
    pub(super) product: String,
    #[prost(string, tag = "2")]
    pub(super) hardware: String,
    #[prost(string, tag = "3")]
    pub(super) version: String,
    #[prost(uint64, tag = "4")]
    pub(super) release: u64,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) manifest: Vec<u8>,
    #[prost(int32, tag = "8")]
    pub(super) phase: i32,
    #[prost(message, optional, tag = "9")]
    pub(super) reason: Option<Reason>,
    #[prost(string, tag = "10")]
    pub(super) approval: String,
    #[prost(string, tag = "13")]
    pub(super) agent: String,
    #[prost(message, optional, tag = "14")]
    pub(super) held: Option<Refresh>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CheckedIn {
    #[prost(bool, tag = "1")]
    pub(super) confirmed: bool,
    #[prost(uint32, tag = "3")]
    pub(super) next_ms: u32,
    #[prost(message, repeated, tag = "4")]
    pub(super) words: Vec<Word>,
    #[prost(uint64, tag = "5")]
    pub(super) stored_through: u64,
    #[prost(message, optional, tag = "6")]
    pub(super) news: Option<News>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Word {
    #[prost(string, tag = "1")]
    pub(super) approval: String,
    #[prost(bool, tag = "2")]
    pub(super) go: bool,
}

/// It holds nothing yet of either.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Refresh {
    #[prost(message, optional, tag = "1")]
    pub(super) catalog: Option<Held>,
    #[prost(message, optional, tag = "2")]
    pub(super) approvals: Option<Held>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Held {
    #[prost(uint64, tag = "1")]
    pub(super) root: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct News {
    #[prost(message, optional, tag = "1")]
    pub(super) catalog: Option<OfOne>,
    #[prost(message, optional, tag = "2")]
    pub(super) approvals: Option<OfOne>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OfOne {
    #[prost(message, repeated, tag = "1")]
    pub(super) files: Vec<File>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct File {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) content: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Repository {
    #[prost(bool, optional, tag = "1")]
    pub(super) catalog: Option<bool>,
    #[prost(string, optional, tag = "2")]
    pub(super) approvals: Option<String>,
}

/// A metadata file or a target by its name.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Named {
    #[prost(message, optional, tag = "1")]
    pub(super) repository: Option<Repository>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Content {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) content: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FetchChunks {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) index: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub(super) ranges: Vec<Run>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Run {
    #[prost(uint32, tag = "1")]
    pub(super) first: u32,
    #[prost(uint32, tag = "2")]
    pub(super) count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Chunks {
    #[prost(message, repeated, tag = "1")]
    pub(super) chunks: Vec<Chunk>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Chunk {
    #[prost(uint32, tag = "1")]
    pub(super) ordinal: u32,
    #[prost(uint32, tag = "2")]
    pub(super) stored_length: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TakeLease {
    #[prost(string, tag = "1")]
    pub(super) approval: String,
    #[prost(int32, tag = "2")]
    pub(super) stage: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Leased {
    #[prost(message, optional, tag = "1")]
    pub(super) lease: Option<Nothing>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Nothing {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Submit {
    #[prost(message, repeated, tag = "1")]
    pub(super) reports: Vec<Report>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Report {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) signature: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Submitted {
    #[prost(uint64, tag = "1")]
    pub(super) stored_through: u64,
}
