//! Why a bundle is not there yet, or never will be.

use std::io;
use std::path::{Path, PathBuf};

use suture_core::chunk::ChunkError;
use suture_core::id::HardwareId;
use suture_core::manifest::ManifestError;
use suture_core::phase::{Code, Reason};
use suture_core::progress::size;
use suture_core::version::Release;

use crate::client::ClientError;
use crate::durable::DurableError;
use crate::install::InstallError;

/// Why a bundle is not there yet, or never will be.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The disk.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What came is not what was signed. It is not kept; another try may bring the right bytes.
    #[error("{what} is not what was signed: {why}")]
    WrongBytes {
        /// What came.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// What was signed can never be installed here.
    #[error("the bundle cannot be used: {0}")]
    Unusable(String),
    /// The manufacturer warns of it, from what runs here on this hardware.
    #[error("from release {from}, on hardware {hardware}, {warning}")]
    Risk {
        /// What runs.
        from: Release,
        /// The device's.
        hardware: HardwareId,
        /// The manifest's words.
        warning: String,
    },
    /// The data that the device has written would be lost, or could not be had back.
    #[error("{0}")]
    Data(String),
    /// What runs cannot be read.
    #[error("what runs on this device cannot be read")]
    Running(#[source] InstallError),
    /// The bundle does not fit.
    #[error("{} are needed on the disk of {}, {} are free", size(*needed), path.display(), size(*free))]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// What is needed.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// A worker of the fetch ended without a word.
    #[error("a part of the fetch ended by itself")]
    Lost,
}

impl FetchError {
    /// Whether trying again can never help.
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Unusable(_) | Self::Risk { .. } | Self::Data(_))
    }

    /// The reason for people and reports.
    pub fn reason(&self) -> Reason {
        let full = |e: &io::Error| matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let code = match self {
            Self::Client(e) => e.code(),
            Self::Durable(e) if e.is_full() => Code::DiskFull,
            Self::Io { source, .. } if full(source) => Code::DiskFull,
            Self::NoRoom { .. } => Code::DiskFull,
            Self::Durable(_) | Self::Io { .. } | Self::Lost => Code::Transfer,
            Self::WrongBytes { .. } => Code::WrongBytes,
            Self::Unusable(_) => Code::UnusableBundle,
            Self::Risk { .. } => Code::KnownRisk,
            Self::Data(_) => Code::DataFormat,
            Self::Running(e) => Reason::from(e).code,
        };
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Reason::new(code, text)
    }

    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }

    pub(super) fn chunk(error: &ChunkError) -> Self {
        Self::WrongBytes { what: "a chunk".to_owned(), why: error.to_string() }
    }
}

pub(super) fn wrong(what: &str, why: &dyn std::fmt::Display) -> FetchError {
    FetchError::WrongBytes { what: what.to_owned(), why: why.to_string() }
}

pub(super) fn sentence(error: &ManifestError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
