//! From errors to statuses: what the caller can do about it decides the code.

use std::error::Error;

use suture_core::event::Kind;
use suture_proto::Invalid;
use tonic::{Code, Status};

use crate::audit::AuditError;
use crate::audit::key::KeyError;
use crate::blobs::BlobError;
use crate::clearance::ClearError;
use crate::delta::DeltaError;
use crate::effect::EffectError;
use crate::events::refused;
use crate::identity::IdentityError;
use crate::life::TakeLifeError;
use crate::notice::take::LetterTakeError;
use crate::publish::PublishError;
use crate::refresh::NewsError;
use crate::report::SubmitError;
use crate::rollout::RolloutError;
use crate::stop::TakeError;
use crate::store::StoreError;
use crate::transfer::TransferError;

/// A call's end other than its answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: Code,
    text: String,
    /// What security event it is.
    kind: Option<Kind>,
}

impl Refusal {
    /// A refusal with a sentence that says what and what to do next.
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), kind: None }
    }

    /// A field that does not hold what it must.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, text)
    }

    /// Something that is not there.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(Code::NotFound, text)
    }

    /// A failure with its causes. Nothing of it holds a secret: errors name operations and things.
    fn caused(code: Code, error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { code, text, kind: None }
    }

    /// It is a security event.
    pub(crate) fn is(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// A failure of ours: the log has the causes, the caller a sentence.
    fn ours(error: &dyn Error) -> Self {
        let full = Self::caused(Code::Internal, error);
        tracing::error!(error = full.text, "a call failed");
        Self::new(Code::Internal, format!("{error}; the server's log says why"))
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, text, kind } = refusal;
        match kind {
            Some(kind) => refused::marked(kind, Self::new(code, text)),
            None => Self::new(code, text),
        }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self { kind: refused::mark(&status), ..Self::new(status.code(), status.message()) }
    }
}

impl From<Invalid> for Refusal {
    fn from(error: Invalid) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        if error.is_disk_full() {
            tracing::error!(%error, "the database's disk is full");
            Self::new(Code::ResourceExhausted, error.to_string())
        } else if matches!(error, StoreError::Altered { .. }) {
            tracing::error!(%error, "what was signed is not as it was stored");
            Self::new(Code::DataLoss, error.to_string())
        } else if error.is_retryable() {
            Self::new(Code::Unavailable, error.to_string())
        } else if matches!(error, StoreError::TooMuch { .. }) {
            Self::new(Code::FailedPrecondition, error.to_string())
        } else {
            Self::ours(&error)
        }
    }
}

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Self {
        (&error).into()
    }
}

impl From<&BlobError> for Refusal {
    fn from(error: &BlobError) -> Self {
        if error.is_disk_full() {
            tracing::error!(error = error as &dyn Error, "the object store is full");
            Self::new(Code::ResourceExhausted, error.to_string())
        } else if error.is_passing() {
            tracing::warn!(error = error as &dyn Error, "the object store cannot be used at present");
            Self::new(Code::Unavailable, format!("{error} at present; try again"))
        } else {
            Self::ours(error)
        }
    }
}

impl From<AuditError> for Refusal {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Store(error) => error.into(),
            AuditError::Revoked { .. } => Self::caused(Code::Unauthenticated, &error).is(Kind::CertificateRevoked),
            AuditError::TooMany { .. }
            | AuditError::PersonSaidTooMuch { .. }
            | AuditError::PersonSaidTooOften { .. }
            | AuditError::TooManyWords { .. }
            | AuditError::OrganisationSaidTooMuch { .. } => {
                Self::caused(Code::ResourceExhausted, &error).is(Kind::LimitReached)
            }
            error => Self::ours(&error),
        }
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            error => Self::ours(&error),
        }
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Csr(_) => Self::invalid(format!("csr: {error}")),
            error => Self::ours(&error),
        }
    }
}

impl From<TransferError> for Refusal {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Store(error) => error.into(),
            TransferError::Blob(error) => error.into(),
            TransferError::Invalid(_) | TransferError::ChunksMissing { .. } => {
                Self::caused(Code::InvalidArgument, &error)
            }
            TransferError::NotFound { .. } => Self::caused(Code::NotFound, &error),
            TransferError::Busy | TransferError::Own { .. } => Self::caused(Code::ResourceExhausted, &error),
            TransferError::Damaged { .. } | TransferError::Stopped(_) | TransferError::Lay(_) => Self::ours(&error),
        }
    }
}

impl From<DeltaError> for Refusal {
    fn from(error: DeltaError) -> Self {
        match error {
            DeltaError::Store(error) => error.into(),
            DeltaError::Blob(error) => error.into(),
            DeltaError::Invalid(_) => Self::caused(Code::InvalidArgument, &error),
            DeltaError::Gone => Self::caused(Code::FailedPrecondition, &error),
        }
    }
}

impl From<RolloutError> for Refusal {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Store(error) => error.into(),
            RolloutError::Audit(error) => error.into(),
            RolloutError::NotFound(_) => Self::caused(Code::NotFound, &error),
            RolloutError::State { .. } => Self::caused(Code::FailedPrecondition, &error),
            RolloutError::Document(_) => Self::caused(Code::InvalidArgument, &error),
            RolloutError::NoApproval(_) => Self::ours(&error),
        }
    }
}

impl From<TakeError> for Refusal {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Store(error) => error.into(),
            TakeError::Rollout(error) => error.into(),
            TakeError::NoApproval(_) | TakeError::NoRoot(_) => Self::caused(Code::NotFound, &error),
            TakeError::Old { .. } => Self::caused(Code::FailedPrecondition, &error),
            TakeError::Refused(_) => Self::caused(Code::InvalidArgument, &error).is(Kind::SignatureRefused),
            TakeError::Root(_) => Self::ours(&error),
        }
    }
}

impl From<LetterTakeError> for Refusal {
    fn from(error: LetterTakeError) -> Self {
        match error {
            LetterTakeError::Store(error) => error.into(),
            LetterTakeError::Audit(error) => error.into(),
            LetterTakeError::Root(_) => Self::ours(&error),
            LetterTakeError::Hospital(_) => Self::caused(Code::NotFound, &error),
            LetterTakeError::Moved { .. } => Self::caused(Code::Aborted, &error),
            LetterTakeError::Full { .. } => Self::caused(Code::ResourceExhausted, &error),
            LetterTakeError::Other { .. } => Self::caused(Code::PermissionDenied, &error),
            LetterTakeError::Letter(_)
            | LetterTakeError::Key { .. }
            | LetterTakeError::Deadline(_)
            | LetterTakeError::Answers(_)
            | LetterTakeError::Updates(_) => Self::caused(Code::InvalidArgument, &error),
        }
    }
}

impl From<ClearError> for Refusal {
    fn from(error: ClearError) -> Self {
        match error {
            ClearError::Store(error) => error.into(),
            ClearError::Audit(error) => error.into(),
            ClearError::NoDevice(_) | ClearError::NoRoot(_) => Self::caused(Code::NotFound, &error),
            ClearError::NotAwaited(_) | ClearError::OtherCheck(_) => Self::caused(Code::FailedPrecondition, &error),
            ClearError::Refused(_) => Self::caused(Code::InvalidArgument, &error).is(Kind::SignatureRefused),
            ClearError::Root(_) => Self::ours(&error),
        }
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Store(error) => error.into(),
            SubmitError::Rollout(error) => error.into(),
            SubmitError::Audit(error) => error.into(),
            SubmitError::Refused { .. } | SubmitError::Foreign { .. } => {
                Self::caused(Code::InvalidArgument, &error).is(Kind::SignatureRefused)
            }
            SubmitError::Unknown => Self::caused(Code::FailedPrecondition, &error),
            SubmitError::Revoked => Self::caused(Code::Unauthenticated, &error).is(Kind::CertificateRevoked),
        }
    }
}

impl From<EffectError> for Refusal {
    fn from(error: EffectError) -> Self {
        match error {
            EffectError::Store(error) => error.into(),
            EffectError::Rollout(error) => error.into(),
            EffectError::Life { source: TakeLifeError::Store(error), .. } => error.into(),
            error @ EffectError::NotUploaded { .. } => Self::caused(Code::FailedPrecondition, &error),
            error => Self::caused(Code::InvalidArgument, &error),
        }
    }
}

impl From<NewsError> for Refusal {
    fn from(error: NewsError) -> Self {
        match error {
            NewsError::Store(error) => error.into(),
            error => Self::ours(&error),
        }
    }
}

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        use suture_core::trust::TrustError;
        match error {
            PublishError::Store(error) => error.into(),
            PublishError::Audit(error) => error.into(),
            PublishError::Seal { .. } | PublishError::Sealing | PublishError::Random(_) => Self::ours(&error),
            PublishError::TooMuch(_) => Self::caused(Code::ResourceExhausted, &error).is(Kind::LimitReached),
            PublishError::Trust(TrustError::VersionTaken { .. }) => Self::caused(Code::AlreadyExists, &error),
            PublishError::Trust(TrustError::BaseMoved { .. }) => Self::caused(Code::FailedPrecondition, &error),
            PublishError::Trust(ref trust) => {
                let kind = Kind::of_code(trust.code());
                Self { kind, ..Self::caused(Code::InvalidArgument, &error) }
            }
            PublishError::ForeignKeys { .. }
            | PublishError::Nothing
            | PublishError::TooManyRoots(_)
            | PublishError::Unlisted(_)
            | PublishError::FileMissing(_) => Self::caused(Code::InvalidArgument, &error),
        }
    }
}
