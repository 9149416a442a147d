//! Stop orders by whatever way they come, and what a person at the device has handed over.

use std::path::Path;

use jiff::Timestamp;
use suture_core::approval::{VerifiedStop, path};
use suture_core::limits::MAX_STOP_BYTES;
use suture_core::trust::Repository;

use super::{Agent, chain};
use crate::durable;
use crate::import::{self, ImportError, Stores};
use crate::inbox::Entry;
use crate::stick::Stick;
use crate::stops::KeepError;

impl Agent {
    /// Keeps the orders that the server's last answer brought. One that does not verify is passed over: it may be signed by
    /// a key that only a root yet to be fetched names, and it is looked at again after the refresh.
    pub(super) fn heed_heard(&mut self, approvals: Option<&Repository>) {
        if self.heard_stops.is_empty() {
            return;
        }
        let root = match self.approvals.root() {
            Ok(Some(root)) => root,
            Ok(None) => return,
            Err(e) => return tracing::error!(error = %chain(&e), "stop orders cannot be verified"),
        };
        for bytes in self.heard_stops.clone() {
            match VerifiedStop::verify(&root, &self.identity.device().hdo, &bytes) {
                Ok(stop) => self.keep(&stop, approvals),
                Err(e) => tracing::warn!(error = %chain(&e), "a stop order that the server handed out is refused"),
            }
        }
    }

    /// Keeps a verified order; one that cannot be kept holds everything up.
    pub(super) fn keep(&mut self, stop: &VerifiedStop, approvals: Option<&Repository>) {
        let hdo = &self.identity.device().hdo;
        // Junk by a thief whose key the hospital has taken out of its root; nothing that anybody has approved.
        let displaced = |other: &VerifiedStop| {
            approvals.is_some_and(|a| {
                a.target(&path::approval(&other.approval)).is_none()
                    && VerifiedStop::verify(a.root(), hdo, other.bytes()).is_err()
            })
        };
        // By the root that is there now: a stick may just have brought it.
        let root = self.approvals.root().ok().flatten();
        let stands = |lift: &VerifiedStop| {
            root.as_ref()
                .is_none_or(|root| VerifiedStop::verify(root, &self.identity.device().hdo, lift.bytes()).is_ok())
        };
        match self.stops.take(stop, self.judged_by(), displaced, stands) {
            Ok(true) => tracing::info!(order = stop.to_text(), "it is kept, and obeyed from now on"),
            Ok(false) => {}
            Err(e) => {
                tracing::error!(error = %chain(&e), "nothing is begun until it is kept");
                if let KeepError::Disk { .. } = e {
                    self.found(&e.into());
                }
            }
        }
    }

    /// Takes in what a person has handed over. What cannot be read or kept now stays, and is tried again.
    pub(super) async fn take_in(&mut self) {
        for entry in self.waiting() {
            let done = match &entry {
                Entry::Stop(_) => self.heed_entry(&entry, None),
                Entry::Stick(_) if !entry.is_whole().unwrap_or(false) => self.heed_entry(&entry, None),
                Entry::Stick(path) => {
                    let refreshed = self.import(path).await;
                    // After the refresh: the stick may bring the root that names an order's signer.
                    self.heed_entry(&entry, None) && refreshed
                }
            };
            if done && let Err(e) = self.inbox.remove(&entry) {
                tracing::error!(error = %chain(&e), "what was taken in cannot be removed");
            }
        }
    }

    /// Keeps the orders that a person has handed over and that were not taken in yet: after a refresh, and as the last look
    /// before the switch.
    pub(super) fn heed_inbox(&mut self, approvals: Option<&Repository>) {
        for entry in self.waiting() {
            self.heed_entry(&entry, approvals);
        }
    }

    /// What waits in the inbox. Where that cannot be said it may be an order that stops: nothing is begun until it can.
    fn waiting(&mut self) -> Vec<Entry> {
        self.inbox.entries().unwrap_or_else(|e| {
            tracing::error!(error = %chain(&e), "the inbox cannot be read, and nothing is begun until it can");
            self.stops.miss();
            Vec::new()
        })
    }

    /// Keeps the orders of one thing in the inbox; false where it must be tried again.
    fn heed_entry(&mut self, entry: &Entry, approvals: Option<&Repository>) -> bool {
        // Not refused: nobody knows what it was, and it may be an order that stops.
        if !entry.is_whole().unwrap_or(false) {
            let place = entry.path().display();
            tracing::error!("{place} was handed over and is damaged; hand it over again, or remove it");
            self.stops.miss();
            return false;
        }
        let found = match entry {
            Entry::Stop(path) => self.order_of(path),
            Entry::Stick(path) => Stick::open(path).map_err(ImportError::from).and_then(|mut stick| {
                import::stops(&self.approvals, &mut stick, &self.identity.device().hdo).map(|(stops, _)| stops)
            }),
        };
        match found {
            Ok(stops) => {
                for stop in &stops {
                    self.keep(stop, approvals);
                }
                // One that could not be kept stays here.
                stops.iter().all(|stop| self.stops.holds(stop))
            }
            // Nothing is begun before there is a root, and then it is judged.
            Err(e @ ImportError::NoRoot) => {
                tracing::info!(why = %e, "a stop order that was handed over waits");
                false
            }
            // It may be an order that stops: nothing is begun until that is known.
            Err(e) if e.is_of_the_disk() => {
                tracing::error!(error = %chain(&e), "stop orders that were handed over cannot be read; it is tried again");
                self.stops.miss();
                false
            }
            Err(e) => {
                tracing::error!(error = %chain(&e), "stop orders that were handed over are refused");
                true
            }
        }
    }

    /// The order in a file of the inbox; none where the file has gone.
    fn order_of(&self, path: &Path) -> Result<Vec<VerifiedStop>, ImportError> {
        let Some(bytes) = durable::read(path, MAX_STOP_BYTES)? else { return Ok(Vec::new()) };
        let root = self.approvals.root()?.ok_or(ImportError::NoRoot)?;
        Ok(vec![VerifiedStop::verify(&root, &self.identity.device().hdo, &bytes)?])
    }

    /// Refreshes both stores from a stick that was handed over; false where the disk failed and it must be tried again.
    async fn import(&mut self, path: &Path) -> bool {
        let now = self.judged_by();
        let stores = Stores { catalog: &self.catalog, approvals: &self.approvals };
        let imported = match Stick::open(path) {
            Ok(mut stick) => import::import(stores, &mut stick, self.identity.device(), now).await,
            Err(e) => Err(e.into()),
        };
        match imported {
            Ok(done) => {
                let (catalog, approvals) = (done.catalog.targets, done.approvals.targets);
                tracing::info!(catalog, approvals, news = done.news, "a stick was taken in");
                for unfound in done.unfound {
                    tracing::warn!(
                        unfound,
                        "what an approval names is listed by a role whose file the stick does not prove"
                    );
                }
                true
            }
            Err(e) => {
                tracing::error!(error = %chain(&e), "a stick was not taken in");
                !e.is_of_the_disk()
            }
        }
    }

    /// The instant that a stick is judged by. Attack: a clock set back, so that a stale stick looks fresh.
    fn judged_by(&self) -> Timestamp {
        let proven = self.floors.as_ref().map_or(Timestamp::UNIX_EPOCH, |f| f.time());
        self.now().max(proven)
    }
}
