//! Why the server gave no answer that can be used.

use suture_core::limits::{STALL_BYTES, STALL_WINDOW};
use suture_core::phase::Code;
use suture_proto::connect::{self, ConnectError};
use suture_proto::deferral::Deferral;
use tonic::Status;

use super::CALL_TIMEOUT;

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
    /// The server says when to ask again. The text is its own: it says why.
    #[error("{text}")]
    Deferred {
        /// Why.
        text: String,
        /// When.
        deferral: Deferral,
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
    /// What was signed is not as the server had stored it: somebody has altered it there.
    #[error("the server cannot answer {call}: {text}")]
    Altered {
        /// The call.
        call: &'static str,
        /// What it says.
        text: String,
    },
    /// No answer in time.
    #[error("no answer to {call} within {} s", CALL_TIMEOUT.as_secs())]
    Timeout {
        /// The call.
        call: &'static str,
    },
    /// It came too slowly.
    #[error("{call} stalled: in {} s of waiting less than {STALL_BYTES} bytes came", STALL_WINDOW.as_secs())]
    Stalled {
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
    /// More than any message holds.
    #[error("the answer to {call} is beyond what any server of Suture sends: {text}")]
    Boundless {
        /// The call.
        call: &'static str,
        /// Which bound.
        text: String,
    },
    /// More than was asked for.
    #[error("the answer to {call} holds more than was asked for")]
    TooMany {
        /// The call.
        call: &'static str,
    },
    /// A stick that lacks something, or holds what is no file of a stick. Read again, it says the same.
    #[error("the stick: {text}")]
    Stick {
        /// What is wrong.
        text: String,
    },
    /// The disk did not give what is there. Read again, it may.
    #[error("{place} cannot be read: {text}")]
    Unread {
        /// What was read.
        place: String,
        /// What the system said.
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
            Self::Connect(_) | Self::Timeout { .. } | Self::Stalled { .. } => Code::ServerUnreachable,
            Self::TooLong { .. } | Self::Boundless { .. } | Self::TooMany { .. } => Code::EndlessData,
            Self::Senseless { .. } => Code::WrongBytes,
            Self::Altered { .. } => Code::BadMetadata,
            Self::Deferred { deferral, .. } => deferral.code,
            Self::Refused { .. }
            | Self::Stranger { .. }
            | Self::NotFound { .. }
            | Self::Interrupted { .. }
            | Self::Stick { .. }
            | Self::Unread { .. } => Code::Transfer,
        }
    }

    /// Whether the server was reached and answered with what no server answers: more than was asked for, or what makes no
    /// sense. Everything else is as if it were not there.
    pub const fn is_abuse(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::Boundless { .. } | Self::TooMany { .. } | Self::Senseless { .. })
    }

    /// Whether another way to the server may lead further.
    pub const fn is_of_the_way(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Timeout { .. } | Self::Stalled { .. })
    }

    pub(super) fn of(call: &'static str, status: &Status) -> Self {
        if let Some(known) = connect::find(status) {
            return Self::Connect(known.clone());
        }
        let text = status.message().chars().take(500).collect();
        if let Some(deferral) = Deferral::of(status) {
            return Self::Deferred { text, deferral };
        }
        match status.code() {
            tonic::Code::NotFound => Self::NotFound { call, text },
            tonic::Code::Unauthenticated => Self::Stranger { call, text },
            // A message beyond the bounds on all messages is not read.
            tonic::Code::OutOfRange => Self::Boundless { call, text },
            tonic::Code::DataLoss => Self::Altered { call, text },
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
