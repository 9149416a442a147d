//! A hospital's approvals repository as its operators see and change it.
//!
//! What is read here has been verified against the hospital's own root, and what is signed is built upon it: nothing that
//! a server says finds its way into a signature.

mod desk;
mod edit;
#[cfg(test)]
pub(crate) mod fixture;
pub mod inventory;
pub mod leases;
pub mod orders;
pub mod rollouts;
mod rosters;
mod shelf;
pub mod statements;

use std::collections::BTreeMap;

use suture_core::approval::path::{self, Listed, Registered};
use suture_core::approval::{
    Approval, DocumentError, Gates, Head, Opened, Pinned, Register, Roster, RosterDevice, Service, SignedDocument,
    StopError, VerifiedStop,
};
use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::trust::{Targets, Verified};
use suture_core::window::Calendar;

pub use self::desk::{Desk, kept_documents, refused};
pub use self::edit::{Edit, EditError, Edited};
pub use self::rosters::RosterFull;

/// The bytes of a repository's files, by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The documents that the repository lists, its register, and the heads of its approvals.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    /// Everything that the register lists, operators' documents and notes included, ascending by path.
    pub registered: Vec<Pinned>,
    /// The shards of slots that the heads of the approvals pin.
    pub shards: Vec<Pinned>,
    /// Rosters, ascending by path.
    pub rosters: Vec<(Pinned, Roster)>,
    /// Calendars, ascending by path.
    pub calendars: Vec<(Pinned, Calendar)>,
    /// Approvals, ascending by id.
    pub approvals: Vec<Approval>,
    /// What is opened by signature of each approval that has such waves, ascending by approval.
    pub gates: Vec<Gates>,
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
        source: DocumentError,
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
    /// What must be fetched yet before [`Documents::read`], of `files` that are there: first what the targets metadata
    /// list, then what the register and the heads among that pin, then nothing.
    ///
    /// # Errors
    ///
    /// A file is another than was signed, or cannot be read.
    pub fn needed(targets: &Targets, files: &Files) -> Result<Vec<Pinned>, ReadError> {
        let listed: Vec<_> = listed(targets).map(|(_, pinned)| pinned).collect();
        let missing = |pinned: &Pinned| !files.contains_key(&pinned.path);
        if listed.iter().any(missing) {
            return Ok(listed.into_iter().filter(missing).collect());
        }
        let mut pinned = Vec::new();
        for file in listed {
            match Listed::of(&file.path) {
                Some(Listed::Register) => {
                    let register: Register = read(&file, files)?;
                    let ours = |p: &Pinned| {
                        !matches!(
                            Registered::of(&p.path),
                            Some(Registered::OperatorDocument(_) | Registered::GateNote(..))
                        )
                    };
                    pinned.extend(register.files.into_iter().filter(ours));
                }
                Some(Listed::Approval(_)) => {
                    let head: Head = read(&file, files)?;
                    pinned.extend(head.shards().map(|(_, shard)| shard));
                }
                _ => {}
            }
        }
        Ok(pinned.into_iter().filter(missing).collect())
    }

    /// Reads the files that [`Documents::needed`] names, each verified by exact length and digest.
    ///
    /// # Errors
    ///
    /// A file is missing, is another than was signed, cannot be read, or is not what its path says.
    pub fn read(hdo: &HdoId, targets: &Verified<Targets>, files: &Files) -> Result<Self, ReadError> {
        Self::read_by(hdo, targets, files, |bytes| VerifiedStop::listed(targets, hdo, bytes))
    }

    /// As [`Documents::read`], for targets metadata that are still being signed: `stop` judges each stop order that they
    /// list, which nobody's signature on them vouches for yet.
    ///
    /// # Errors
    ///
    /// As [`Documents::read`].
    pub fn read_by(
        hdo: &HdoId,
        targets: &Targets,
        files: &Files,
        stop: impl Fn(&[u8]) -> Result<VerifiedStop, StopError>,
    ) -> Result<Self, ReadError> {
        let mut documents = Self::default();
        for (stands_for, pinned) in listed(targets) {
            let placed = match stands_for {
                Listed::Approval(id) => {
                    let head: Head = read(&pinned, files)?;
                    let ours = head.terms.hdo == *hdo && head.terms.id == id;
                    documents.shards.extend(head.shards().map(|(_, shard)| shard));
                    documents.approvals.push(whole(head, &pinned, files)?);
                    ours
                }
                Listed::Gates(id) => {
                    let path = || pinned.path.clone();
                    let head = targets.target(&path::approval(&id));
                    // Heads come before it, ascending by path; without its approval it opens nothing.
                    let (Some(approval), Some(head)) = (documents.approval(&id), head) else {
                        return Err(ReadError::Misplaced { path: path() });
                    };
                    let gates = Gates::read(&approval.terms, head.sha256, bytes(&pinned, files)?)
                        .map_err(|source| ReadError::Document { path: path(), source })?;
                    documents.gates.push(gates);
                    true
                }
                Listed::Stop(id) => {
                    let stop = stop(bytes(&pinned, files)?)
                        .map_err(|source| ReadError::Stop { path: pinned.path.clone(), source })?;
                    let ours = stop.approval == id;
                    documents.stops.push(stop);
                    ours
                }
                Listed::Register => {
                    let register: Register = read(&pinned, files)?;
                    let ours = register.hdo == *hdo;
                    documents.registered = register.files;
                    ours
                }
                Listed::Service => {
                    let service: Service = read(&pinned, files)?;
                    let ours = service.hdo == *hdo;
                    documents.service = Some(service);
                    ours
                }
            };
            if !placed {
                return Err(ReadError::Misplaced { path: pinned.path });
            }
        }
        for pinned in documents.registered.clone() {
            let placed = match Registered::of(&pinned.path) {
                Some(Registered::Roster(part)) => {
                    let roster: Roster = read(&pinned, files)?;
                    let ours = roster.hdo == *hdo && roster.part == part;
                    documents.rosters.push((pinned.clone(), roster));
                    ours
                }
                Some(Registered::Calendar(scope)) => {
                    let calendar: Calendar = read(&pinned, files)?;
                    let ours = calendar.hdo == *hdo && calendar.scope == scope;
                    documents.calendars.push((pinned.clone(), calendar));
                    ours
                }
                Some(Registered::OperatorDocument(_) | Registered::GateNote(..)) => true,
                None => false,
            };
            if !placed {
                return Err(ReadError::Misplaced { path: pinned.path });
            }
        }
        Ok(documents)
    }

    /// The pin of a file that the targets metadata do not list themselves: the register's, or a head's.
    pub fn pinned(&self, path: &str) -> Option<&Pinned> {
        self.registered.iter().chain(&self.shards).find(|p| p.path == path)
    }

    /// The roster's entry of a device.
    pub fn device(&self, id: &DeviceId) -> Option<&RosterDevice> {
        self.rosters.iter().find_map(|(_, roster)| {
            // A roster is ascending by id, or it was refused.
            let at = roster.devices.binary_search_by(|d| d.id.cmp(id)).ok()?;
            roster.devices.get(at)
        })
    }

    /// The approval of that id.
    pub fn approval(&self, id: &ApprovalId) -> Option<&Approval> {
        self.approvals.iter().find(|a| a.terms.id == *id)
    }

    /// What is opened by signature of an approval.
    pub fn gates(&self, id: &ApprovalId) -> Option<&Gates> {
        self.gates.iter().find(|g| g.approval == *id)
    }

    /// The same, for who decides by it.
    pub fn opened(&self, id: &ApprovalId) -> Opened {
        self.gates(id).map_or(Opened::Nothing, |gates| Opened::By(gates.clone()))
    }

    /// The waves of an approval that wait for the hospital's signature, counted from 0.
    pub fn unsigned(&self, approval: &Approval) -> Vec<u32> {
        let opened = self.opened(&approval.terms.id);
        let waves = u32::try_from(approval.terms.waves.len()).unwrap_or(u32::MAX);
        (0..waves).filter(|wave| opened.missing(&approval.terms, *wave).is_some()).collect()
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

/// What the targets metadata list and this program knows, as pins: a later program's additions are its own business.
fn listed(targets: &Targets) -> impl Iterator<Item = (Listed, Pinned)> {
    targets.targets().filter_map(|(path, target)| {
        let pinned = Pinned { path: path.to_owned(), length: target.length, sha256: target.sha256 };
        Some((Listed::of(path)?, pinned))
    })
}

/// A file's bytes, verified.
fn bytes<'a>(pinned: &Pinned, files: &'a Files) -> Result<&'a [u8], ReadError> {
    let path = || pinned.path.clone();
    let bytes = files.get(&pinned.path).map(Vec::as_slice).unwrap_or_default();
    pinned.verify(bytes).map_err(|source| ReadError::Bytes { path: path(), source })?;
    Ok(bytes)
}

fn read<D: SignedDocument>(pinned: &Pinned, files: &Files) -> Result<D, ReadError> {
    D::parse(bytes(pinned, files)?).map_err(|source| ReadError::Document { path: pinned.path.clone(), source })
}

/// The approval of a head and of all its shards.
fn whole(head: Head, pinned: &Pinned, files: &Files) -> Result<Approval, ReadError> {
    let shards = head.shards().map(|(_, shard)| bytes(&shard, files)).collect::<Result<Vec<_>, _>>()?;
    head.whole(&shards).map_err(|source| ReadError::Document { path: pinned.path.clone(), source })
}

#[cfg(test)]
mod tests;
