//! Events on their way to others' monitoring: each way has a place in the order of changes up to which it has delivered,
//! which moves only after that. What could not be delivered is sent again; the table is the buffer, and its bound is
//! the buffer's.

use std::sync::Arc;
use std::time::Duration;

use suture_core::event::ocsf;
use tokio_util::sync::CancellationToken;

use super::Turn;
use crate::app::App;
use crate::config::{EventScope, EventsOut};
use crate::export::file::Lines;
use crate::export::syslog::{Message, Receiver, Syslog, SyslogError};
use crate::store::events::{Kept, Of};
use crate::store::{Store, StoreError};

/// How often it is looked for what is new.
const LOOK: Duration = Duration::from_secs(5);
/// After a failure it is waited longer each time, up to that long: 5 minutes.
const LONGEST: Duration = Duration::from_secs(300);
/// Events in one batch.
const BATCH: u32 = 500;

/// Where events go.
pub(crate) enum Way {
    /// To a receiver of syslog.
    Syslog(Box<Receiver>),
    /// Into a file.
    File(Lines),
}

/// Why a batch was not delivered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliverError {
    /// The database failed.
    #[error("security events could not be read")]
    Store(#[from] StoreError),
    /// The receiver.
    #[error("security events could not be sent")]
    Syslog(#[from] SyslogError),
    /// The file.
    #[error("security events could not be written to {path}")]
    File {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Way {
    /// The ways that the settings name.
    pub(crate) fn all(out: &EventsOut) -> Result<Vec<Self>, SyslogError> {
        let mut all = Vec::new();
        if let Some((host, port, authorities)) = &out.syslog {
            all.push(Self::Syslog(Box::new(Receiver::new(host, *port, authorities)?)));
        }
        if let Some(path) = &out.file {
            all.push(Self::File(Lines::new(path.clone(), out.file_bytes)));
        }
        Ok(all)
    }

    /// Its name among the cursors and the claims' holders.
    fn name(&self) -> String {
        match self {
            Self::Syslog(receiver) => receiver.address(),
            Self::File(lines) => format!("file:{}", lines.path().display()),
        }
    }

    /// The job of sending on this way.
    pub(crate) const fn job(&self) -> &'static str {
        match self {
            Self::Syslog(_) => "events-syslog",
            Self::File(_) => "events-file",
        }
    }
}

/// Sends until the server stops.
pub(crate) async fn keep(app: Arc<App>, way: Way, turn: Turn, shutdown: CancellationToken) {
    let mut wait = LOOK;
    while shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
        let done = async {
            if !turn.is_ours(app.now()).await? {
                return Ok(false);
            }
            let host = &app.settings().address.host;
            deliver(app.store(), &way, app.settings().events.scope, host).await
        };
        wait = match done.await {
            // There may be more.
            Ok(true) => Duration::ZERO,
            Ok(false) => LOOK,
            Err(error) => {
                let wait = wait.max(LOOK).saturating_mul(2).min(LONGEST);
                let secs = wait.as_secs();
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    secs,
                    "it is tried again, and nothing is lost"
                );
                wait
            }
        };
    }
}

/// Sends the next batch; false where there was nothing to send.
pub(crate) async fn deliver(store: &Store, way: &Way, scope: EventScope, host: &str) -> Result<bool, DeliverError> {
    let name = way.name();
    let of = match scope {
        EventScope::Own => Of::Own,
        EventScope::All => Of::All,
    };
    let mut tx = store.read().await?;
    let after = tx.event_cursor(&name).await?;
    let events = tx.events_after(of, after, None, BATCH).await?;
    drop(tx);
    let Some(last) = events.last().map(|kept| kept.seq) else { return Ok(false) };
    let lines: Vec<String> = events.iter().map(line).collect();
    match way {
        Way::Syslog(receiver) => {
            let mut syslog = Syslog::connect(receiver).await?;
            for (kept, text) in events.iter().zip(&lines) {
                let kind = kept.event.what.kind;
                let (at, severity) = (kept.event.last, kind.severity().syslog());
                syslog.send(&Message { severity, at, host, kind: kind.as_str(), text }).await?;
            }
            syslog.finish().await?;
        }
        Way::File(file) => {
            let (to, path) = (file.clone(), file.path().to_owned());
            let written = tokio::task::spawn_blocking(move || to.append(&lines)).await;
            written.map_err(std::io::Error::other).flatten().map_err(|source| DeliverError::File { path, source })?;
        }
    }
    let mut tx = store.begin().await?;
    tx.set_event_cursor(&name, last).await?;
    tx.commit().await?;
    Ok(true)
}

fn line(kept: &Kept) -> String {
    ocsf::event(&kept.event, &kept.number.to_string(), env!("CARGO_PKG_VERSION")).to_string()
}
