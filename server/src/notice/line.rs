//! One delivery by syslog over TLS (RFC 5425), for receivers that read lines and no webhooks.
//!
//! Syslog signs nothing and a line is short, so a line says that there is something to read and by when it is to be answered,
//! and names the letter by its SHA-256. Who reads it fetches the letter with `suturectl notice show`, which verifies it.

use jiff::Timestamp;
use serde_json::json;
use suture_core::clock::format_utc;
use suture_core::notice::{Said, Severity, VerifiedLetter};

use super::sender::{SendError, Sender};
use crate::export::syslog::{Message, Receiver, Syslog};
use crate::store::contacts::Due;
use crate::store::letters::Kept;

/// Where nothing is known of how bad it is: normal, but significant.
const NOTICE: u8 = 5;

/// What is told in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The receiver's name or address, and its port.
    pub(crate) to: (String, u16),
    /// Of syslog.
    pub(crate) severity: u8,
    pub(crate) at: Timestamp,
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

impl Line {
    /// What a letter comes to.
    pub(crate) fn of(to: (String, u16), due: &Due, letter: &Kept, at: Timestamp) -> Self {
        let kind = if due.repetition == 0 { "notice-published" } else { "notice-overdue" };
        let mut told = json!({
            "type": kind,
            "id": due.id(),
            "hospital": due.hdo,
            "number": due.number,
            "repetition": due.repetition,
            "acknowledge_by": letter.answer_by.map(format_utc),
            "sha256": letter.sha256,
        });
        let mut severity = NOTICE;
        // Letters are verified when they are taken.
        if let Ok(letter) = VerifiedLetter::verify(&letter.content)
            && let Said::Notice(notice) = &letter.said
            && let Some(told) = told.as_object_mut()
        {
            severity = grade(notice.severity);
            told.insert("kind".to_owned(), notice.kind.as_str().into());
            told.insert("product".to_owned(), notice.product.as_str().into());
            told.insert("severity".to_owned(), notice.severity.as_str().into());
            told.insert("subject".to_owned(), notice.subject.as_str().into());
        }
        Self { to, severity, at, kind, text: told.to_string() }
    }
}

/// The severity of syslog (RFC 5424, 6.2.1), as security events have theirs.
const fn grade(severity: Severity) -> u8 {
    match severity {
        Severity::Informational => 6,
        Severity::Low => 5,
        Severity::Medium => 4,
        Severity::High => 3,
        Severity::Critical => 2,
    }
}

impl Sender {
    /// Tells it once, in a connection of its own. The receiver has read it where this is no error.
    pub(crate) async fn tell(&self, line: &Line) -> Result<(), SendError> {
        self.within(async {
            let Line { to: (host, port), severity, at, kind, text } = line;
            let tcp = self.reach(host, *port).await?;
            let receiver = Receiver::by(host, *port, self.tls(None).await?).map_err(SendError::Syslog)?;
            let message = Message { severity: *severity, at: *at, host: &self.name, kind, text };
            let sent = async {
                let mut syslog = Syslog::over(&receiver, tcp).await?;
                syslog.send(&message).await?;
                syslog.finish().await
            };
            sent.await.map_err(SendError::Syslog)
        })
        .await
    }
}

#[cfg(test)]
mod tests;
