//! Why the agent cannot work, and an error as people read it.

use suture_core::report::ReportError;

use crate::client::ClientError;
use crate::durable::DurableError;
use crate::identity::IdentityError;
use crate::install::InstallError;
use crate::journal::JournalError;
use crate::stops::KeepError;

/// Why the agent cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The server's address or its own certificate.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The stop orders.
    #[error(transparent)]
    Stops(#[from] KeepError),
    /// The slots.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Whether something was switched is not known.
    #[error("{}", Self::UNSAID)]
    Unsaid(#[source] InstallError),
    /// A report.
    #[error("a report cannot be signed")]
    Report(#[from] ReportError),
    /// Neither enrolment nor the hospital says where the server is.
    #[error("no way to the server is known; enrol the device again with a new token")]
    NoWay,
    /// A constant of this program is wrong.
    #[error("the back-off is not valid")]
    Backoff,
    /// Another agent works on the same state.
    #[error("another suture-agent works on {0}; stop it first, as by `systemctl stop suture-agent`")]
    Busy(String),
}

impl AgentError {
    /// What is wrong with an installer that says neither yes nor no.
    pub(super) const UNSAID: &str = "the device's installer cannot say whether it has switched to the new version";
}

/// An error with all that lies below it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent errors repeat their source.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
