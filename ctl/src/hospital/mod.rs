//! A hospital's approvals repository as its operators see and change it.
//!
//! What is read here has been verified against the hospital's own root, and what is signed is built upon it: nothing that
//! a server says finds its way into a signature.

mod desk;
mod edit;
pub mod inventory;
mod rosters;

use std::collections::BTreeMap;

use suture_core::approval::{
    Approval, DocumentError, Pinned, Roster, RosterDevice, Service, SignedDocument, StopError, VerifiedStop, path,
};
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::trust::{Target, Targets, TrustError, Verified};
use suture_core::window::Calendar;

pub use self::desk::{Desk, refused};
pub use self::edit::{Edit, Edited};
pub use self::rosters::RosterFull;

/// The documents that the repository lists.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    /// Rosters, ascending by path.
    pub rosters: Vec<(Pinned, Roster)>,
    /// Calendars, ascending by path.
    pub calendars: Vec<(Pinned, Calendar)>,
    /// Approvals, ascending by id.
    pub approvals: Vec<Approval>,
    /// The newest order on each approval that has one, ascending by id.
    pub stops: Vec<VerifiedStop>,
    /// Where the server is, if the hospital has signed that.
    pub service: Option<Service>,
}

/// Why a document that the repository lists was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The server handed out none, or other bytes than were signed.
    #[error("{path} is not the file that the hospital signed")]
    Bytes {
        /// Its path.
        path: String,
        /// What differs.
        source: TrustError,
    },
    /// It cannot be read.
    #[error("{path} cannot be read")]
    Document {
        /// Its path.
        path: String,
        /// Why.
        source: DocumentError,
    },
    /// It is no stop order of the hospital's.
    #[error("{path} is refused")]
    Stop {
        /// Its path.
        path: String,
        /// Why.
        source: StopError,
    },
    /// It is about something else than its path says, or about another hospital.
    #[error("{path} is signed, and is about something else than its path says")]
    Misplaced {
        /// Its path.
        path: String,
    },
}

impl Documents {
    /// The paths of what must be fetched before [`Documents::read`].
    pub fn needed(targets: &Targets) -> Vec<String> {
        let ours = |path: &str| {
            path == path::SERVICE
                || ["rosters/", "calendars/", "approvals/", "stops/"].iter().any(|d| path.starts_with(d))
        };
        targets.targets().map(|(path, _)| path).filter(|p| ours(p)).map(str::to_owned).collect()
    }

    /// Reads the files that [`Documents::needed`] names, each verified by exact length and digest.
    ///
    /// # Errors
    ///
    /// A file is missing, is another than was signed, cannot be read, or is not what its path says.
    pub fn read(
        hdo: &HdoId,
        targets: &Verified<Targets>,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, ReadError> {
        Self::read_by(hdo, targets, files, |bytes| VerifiedStop::listed(targets, hdo, bytes))
    }

    /// As [`Documents::read`], for targets metadata that are still being signed: `stop` judges each stop order that they list,
    /// which nobody's signature on them vouches for yet.
    ///
    /// # Errors
    ///
    /// As [`Documents::read`].
    pub fn read_by(
        hdo: &HdoId,
        targets: &Targets,
        files: &BTreeMap<String, Vec<u8>>,
        stop: impl Fn(&[u8]) -> Result<VerifiedStop, StopError>,
    ) -> Result<Self, ReadError> {
        let mut documents = Self::default();
        for path in Self::needed(targets) {
            let bytes = files.get(&path).map(Vec::as_slice).unwrap_or_default();
            targets.verify_target(&path, bytes).map_err(|source| ReadError::Bytes { path: path.clone(), source })?;
            documents.take(hdo, &stop, path, bytes)?;
        }
        Ok(documents)
    }

    fn take(
        &mut self,
        hdo: &HdoId,
        stop: &impl Fn(&[u8]) -> Result<VerifiedStop, StopError>,
        at: String,
        bytes: &[u8],
    ) -> Result<(), ReadError> {
        let pinned = Pinned { path: at.clone(), sha256: Digest::of(bytes) };
        let placed = if at.starts_with("rosters/") {
            let roster: Roster = parse(&at, bytes)?;
            let ours = roster.hdo == *hdo;
            self.rosters.push((pinned, roster));
            ours
        } else if at.starts_with("calendars/") {
            let calendar: Calendar = parse(&at, bytes)?;
            let ours = calendar.hdo == *hdo && path::calendar(&calendar.ward) == at;
            self.calendars.push((pinned, calendar));
            ours
        } else if at.starts_with("approvals/") {
            let approval: Approval = parse(&at, bytes)?;
            let ours = approval.hdo == *hdo && path::approval(&approval.id) == at;
            self.approvals.push(approval);
            ours
        } else if at == path::SERVICE {
            let service: Service = parse(&at, bytes)?;
            let ours = service.hdo == *hdo;
            self.service = Some(service);
            ours
        } else {
            let stop = stop(bytes).map_err(|source| ReadError::Stop { path: at.clone(), source })?;
            let ours = path::stop(&stop.approval) == at;
            self.stops.push(stop);
            ours
        };
        if placed { Ok(()) } else { Err(ReadError::Misplaced { path: at }) }
    }

    /// The roster's entry of a device.
    pub fn device(&self, id: &DeviceId) -> Option<&RosterDevice> {
        self.rosters.iter().flat_map(|(_, r)| &r.devices).find(|d| d.id == *id)
    }

    /// The approval of that id.
    pub fn approval(&self, id: &ApprovalId) -> Option<&Approval> {
        self.approvals.iter().find(|a| a.id == *id)
    }

    /// The newest order on an approval.
    pub fn stop(&self, id: &ApprovalId) -> Option<&VerifiedStop> {
        self.stops.iter().find(|s| s.approval == *id)
    }

    /// Whether a signed stop order is in force on an approval.
    pub fn is_stopped(&self, id: &ApprovalId) -> bool {
        self.stop(id).is_some_and(|s| s.stopped)
    }

    /// Takes an order that came beside the repository, where it is newer than the one that is known.
    pub fn learn(&mut self, order: VerifiedStop) {
        match self.stops.iter_mut().find(|s| s.approval == order.approval) {
            Some(known) if order.is_news_after(known) => *known = order,
            Some(_) => {}
            None => {
                self.stops.push(order);
                self.stops.sort_by(|a, b| a.approval.cmp(&b.approval));
            }
        }
    }
}

fn parse<D: SignedDocument>(path: &str, bytes: &[u8]) -> Result<D, ReadError> {
    D::parse(bytes).map_err(|source| ReadError::Document { path: path.to_owned(), source })
}

/// A document's bytes and the target that they make.
fn target<D: SignedDocument>(document: &D) -> Result<(Vec<u8>, Target), DocumentError> {
    let bytes = document.to_bytes()?;
    let target = Target::of(&bytes, None);
    Ok((bytes, target))
}

#[cfg(test)]
mod tests;
