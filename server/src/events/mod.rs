//! Security events on the server: raised where something is refused, found or changed, kept in the database, and sent on.
//!
//! What is refused is told here in passing (`Events::tell`): it costs a map's entry, waits in memory, folded, and is written
//! with all others by one task (`keep`). What is changed is told in the transaction that changes it, by the audit record's
//! own entry ([`crate::audit`]). What a device has seen comes with its check-in, signed (`device`). Silence is found by one
//! server of all (`lost`), and so is what nobody has renewed in time (`overdue`). `out` sends what is kept to a syslog
//! receiver and to a file.

pub(crate) mod device;
pub(crate) mod keep;
pub(crate) mod lost;
pub(crate) mod out;
pub(crate) mod overdue;
pub(crate) mod refused;
pub(crate) mod run;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use suture_core::event::{Event, Fold, Kind, Observer, What};
use suture_core::id::HdoId;
use suture_core::principal::Principal;

use crate::store::{Store, StoreError};

/// What waits for being written. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Events {
    waiting: Arc<Mutex<Fold>>,
    /// Whose turn it is to write what waits.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Events {
    /// Tells of an event that the server has seen.
    pub(crate) fn tell(&self, kind: Kind, hdo: Option<&HdoId>, subject: &str, detail: &str, now: Timestamp) {
        let what = What::new(kind, Observer::Server, hdo, subject, detail);
        tracing::debug!(event = kind.as_str(), subject = what.subject, detail = what.detail, "a security event");
        self.waiting().add(Event::once(what, now));
    }

    /// The same of one who has shown a certificate.
    pub(crate) fn tell_of(&self, kind: Kind, principal: &Principal, detail: &str, now: Timestamp) {
        self.tell(kind, principal.hdo(), &principal.to_string(), detail, now);
    }

    /// Tells of a signed file that was altered where the server keeps it, if that is what an error says: one event an hour for
    /// the file, whoever asks for it.
    pub(crate) fn tell_altered(&self, error: &StoreError, now: Timestamp) {
        let StoreError::Altered { repository, name } = error else { return };
        let hdo = repository.strip_prefix("approvals/").and_then(|hdo| hdo.parse().ok());
        self.tell(Kind::MetadataRefused, hdo.as_ref(), &format!("{repository}/{name}"), &error.to_string(), now);
    }

    fn waiting(&self) -> MutexGuard<'_, Fold> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that one server of all does at a time.
#[derive(Clone)]
pub(crate) struct Turn {
    store: Store,
    job: &'static str,
    holder: String,
    lasts: SignedDuration,
}

/// A claim that is not repeated runs out after that long, and another server takes over: for jobs of every some seconds.
const LASTS: SignedDuration = SignedDuration::from_secs(60);

impl Turn {
    /// A job, under a name that no other server has.
    pub(crate) fn new(store: Store, job: &'static str) -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        Ok(Self { store, job, holder: hex::encode(random), lasts: LASTS })
    }

    /// A job that is done as often, of which a turn lasts longer: no other server has one between two of this one's.
    pub(crate) fn every(self, every: SignedDuration) -> Self {
        Self { lasts: every + every / 2, ..self }
    }

    /// Whether it is this server's turn; it has it for a while then.
    pub(crate) async fn is_ours(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        let until = now.checked_add(self.lasts).unwrap_or(now);
        let ours = tx.claim(self.job, &self.holder, now, until).await?;
        tx.commit().await?;
        Ok(ours)
    }
}

#[cfg(test)]
mod tests;
