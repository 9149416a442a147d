//! What goes wrong with an installer.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use suture_core::archive::ArchiveError;
use suture_core::manifest::ManifestError;
use suture_core::phase::{Code, Reason};

use super::tree::TreeError;
use crate::durable::{self, DurableError};

/// Why an installer could not do a step, or say what lies on the device.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A state file of a slot.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// A tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The disk refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `current` is there and names neither slot.
    #[error("{} does not name slot a or b; a person must look at it", .0.display())]
    Link(PathBuf),
    /// The link, or the attempt, needs a slot that is not there or not whole.
    #[error("slot {side} holds no whole version")]
    Empty {
        /// Which.
        side: &'static str,
    },
    /// It cannot be said what runs.
    #[error("it is not known what this device runs; see `suture-agent doctor`")]
    Unknown,
    /// A slot's own manifest cannot be read.
    #[error("the manifest of slot {side} cannot be read")]
    Manifest {
        /// Which.
        side: &'static str,
        /// Why.
        source: ManifestError,
    },
    /// The installer does not show the bytes of what is installed.
    #[error("the installer does not show where payload {payload} lies")]
    Hidden {
        /// Which.
        payload: String,
    },
    /// What was prepared is not there.
    #[error("the new version is no longer in its place; it is fetched again")]
    NotPrepared,
    /// The bytes are not the payload's.
    #[error("the bytes of payload {payload} are not those that were signed")]
    WrongBytes {
        /// Which.
        payload: String,
    },
    /// It was written as it was signed, and that is not what lies there: the medium is at fault, or what writes it.
    #[error(
        "payload {payload} was written as it was signed, and something else lies there when it is read again; look at the \
             device's medium"
    )]
    Unkept {
        /// Which.
        payload: String,
    },
    /// What the boot loader is told by, or tells.
    #[error("{0}")]
    Boot(String),
    /// The restart command, or what it should have led to.
    #[error("{0}")]
    Restart(String),
    /// What runs is not what was switched to.
    #[error("{0}")]
    Unproven(String),
    /// It was started as often as it may be before it was confirmed.
    #[error("the new version was started {0} times and not confirmed; suture-boot put the old one back")]
    GaveWay(u32),
    /// The boot loader has gone back by itself.
    #[error("{0}")]
    WentBack(String),
    /// Somebody else has been changing the slots for longer than it takes.
    #[error("{} is locked by another program for longer than a change of the slots takes; look for a `suture-boot` or \
             `suture-agent` that hangs", .0.display())]
    Locked(PathBuf),
    /// The bytes are as they were signed, and nothing that this device's installer takes.
    #[error("{0}")]
    Refused(String),
    /// An installer's program, or a program that it asks, has failed.
    #[error("{what}: {text}")]
    Program {
        /// Which, at what.
        what: String,
        /// How it ended and the last that it printed.
        text: String,
    },
    /// A step has not ended in time.
    #[error("`{step}` took longer than {} s", limit.as_secs())]
    Slow {
        /// Which.
        step: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// The agent ends, or a thread of it has.
    #[error("`{0}` was left unfinished; it is done again at the next start")]
    Left(&'static str),
    /// The slot in use was to be written.
    #[error("slot {side} is in use and is not written")]
    InUse {
        /// Which.
        side: &'static str,
    },
}

impl InstallError {
    /// The same, where the bytes were verified before they were written.
    pub(crate) fn unkept(self) -> Self {
        match self {
            Self::WrongBytes { payload } => Self::Unkept { payload },
            other => other,
        }
    }

    /// Whether the disk had no room.
    pub fn is_full(&self) -> bool {
        let full = |e: &io::Error| matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        self.said().is_some_and(full)
    }

    /// Whether it is the system that had nothing left to read with, or the time that was given.
    fn is_short(&self) -> bool {
        self.said().is_some_and(durable::is_short)
    }

    /// What the system said, where it did.
    const fn said(&self) -> Option<&io::Error> {
        match self {
            Self::Durable(DurableError::Io { source, .. })
            | Self::Tree(TreeError::Io { source, .. } | TreeError::Archive(ArchiveError::Io { source, .. }))
            | Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether something was read that is not as it was signed, or lies there and cannot be read. All else is trouble of the
    /// installer's own, and says nothing of what lies on the device.
    pub fn is_of_what_lies(&self) -> bool {
        match self {
            Self::Durable(_) | Self::Tree(_) | Self::Io { .. } => !self.is_full() && !self.is_short(),
            Self::Link(_)
            | Self::Empty { .. }
            | Self::Unknown
            | Self::Manifest { .. }
            | Self::WrongBytes { .. }
            | Self::Unkept { .. } => true,
            Self::Hidden { .. }
            | Self::NotPrepared
            | Self::Boot(_)
            | Self::Restart(_)
            | Self::Unproven(_)
            | Self::GaveWay(_)
            | Self::WentBack(_)
            | Self::Locked(_)
            | Self::Refused(_)
            | Self::Program { .. }
            | Self::Slow { .. }
            | Self::Left(_)
            | Self::InUse { .. } => false,
        }
    }

    /// Whether the bytes are at fault rather than the disk.
    pub const fn is_wrong_bytes(&self) -> bool {
        match self {
            Self::WrongBytes { .. }
            | Self::Refused(_)
            | Self::NotPrepared
            | Self::Empty { .. }
            | Self::Tree(TreeError::Foreign(_)) => true,
            Self::Tree(TreeError::Archive(e)) => !matches!(e, ArchiveError::Io { .. }),
            _ => false,
        }
    }
}

impl From<&InstallError> for Reason {
    fn from(error: &InstallError) -> Self {
        let code = match error {
            e if e.is_full() => Code::DiskFull,
            InstallError::WrongBytes { .. } | InstallError::NotPrepared => Code::WrongBytes,
            InstallError::Link(_) | InstallError::Manifest { .. } => Code::StateDamaged,
            InstallError::Refused(_) => Code::UnusableBundle,
            InstallError::Restart(_) => Code::RestartFailed,
            InstallError::Unproven(_) => Code::HealthFailed,
            InstallError::GaveWay(_) | InstallError::WentBack(_) => Code::StartFailed,
            _ => Code::InstallFailed,
        };
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            text.push_str(&format!(": {source}"));
        }
        Self::new(code, text)
    }
}

pub(super) fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::Io { operation, path, source }
}
