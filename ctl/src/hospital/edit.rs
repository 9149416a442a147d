//! The next version of the approvals repository, in the making.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{
    Approval, DocumentError, OperatorDocument, RosterDevice, Service, SignedDocument, VerifiedStop, path,
};
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::sign::Signer;
use suture_core::trust::edit::{APPROVALS_LIFETIME, TargetsDraft, sign_targets};
use suture_core::trust::{Target, Targets, TrustError, Verified};
use suture_core::window::Calendar;

use super::{Documents, RosterFull, rosters, target};

/// How long the targets outlive the last slot that they list, so that a device that was busy at its end can still finish.
const BEYOND_LAST_SLOT: SignedDuration = SignedDuration::from_hours(24);

/// A version in the making, built on one that was verified.
#[derive(Debug)]
pub struct Edit<'a> {
    hdo: HdoId,
    documents: &'a Documents,
    draft: TargetsDraft,
    files: BTreeMap<String, Vec<u8>>,
    now: Timestamp,
}

/// A signed version and the files that are new in it.
#[derive(Debug, Clone)]
pub struct Edited {
    /// The targets metadata.
    pub targets: Vec<u8>,
    /// By path.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl<'a> Edit<'a> {
    /// The first version; `documents` are empty.
    #[cfg(test)]
    pub fn first(hdo: HdoId, documents: &'a Documents, now: Timestamp) -> Self {
        let draft = TargetsDraft::first(now, APPROVALS_LIFETIME);
        Self { hdo, documents, draft, files: BTreeMap::new(), now }
    }

    /// The version after `base`, without approvals that have expired and what hangs on them. `base` itself may have
    /// expired: a hospital that approved nothing for a while signs on from what it signed last.
    pub fn after(hdo: HdoId, base: &Verified<Targets>, documents: &'a Documents, now: Timestamp) -> Self {
        let mut draft = TargetsDraft::following(base, now, APPROVALS_LIFETIME);
        for id in finished(&documents.approvals, now) {
            for path in [path::approval(id), path::operator_document(id), path::stop(id)] {
                draft.targets.remove(&path);
            }
        }
        let last = documents.approvals.iter().filter(|a| draft.targets.contains_key(&path::approval(&a.id)));
        let until = last.map(|a| a.expires).max();
        let mut edit = Self { hdo, documents, draft, files: BTreeMap::new(), now };
        until.into_iter().for_each(|end| edit.outlive(end));
        // Orders that came beside the repository are listed from now on.
        for order in &documents.stops {
            let listed = edit.draft.targets.get(&path::stop(&order.approval));
            if edit.draft.targets.contains_key(&path::approval(&order.approval))
                && listed.is_none_or(|t| t.sha256 != Digest::of(order.bytes()))
            {
                edit.stop(order);
            }
        }
        edit
    }

    /// Puts a ward's calendar in the place of the one before it.
    ///
    /// # Errors
    ///
    /// The calendar breaks a rule.
    pub fn set_calendar(&mut self, calendar: &Calendar) -> Result<(), DocumentError> {
        self.put(path::calendar(&calendar.ward), calendar)
    }

    /// Says where the server is and by whom it is certified, in the place of what was signed or enrolled before.
    ///
    /// # Errors
    ///
    /// The document would break a rule.
    pub fn set_service(&mut self, addresses: Vec<String>, authorities: Vec<String>) -> Result<Service, DocumentError> {
        let service = Service {
            kind: Service::TYPE.to_owned(),
            format: 1,
            hdo: self.hdo.clone(),
            since: self.draft.version,
            addresses,
            authorities,
        };
        self.put(path::SERVICE.to_owned(), &service)?;
        Ok(service)
    }

    /// Puts a device on its roster, in the place of what the roster said of it.
    ///
    /// # Errors
    ///
    /// Its roster is full, or breaks a rule.
    pub fn admit(&mut self, device: RosterDevice) -> Result<(), RosterFull> {
        let (path, roster) = rosters::with(&self.hdo, &self.documents.rosters, device)?;
        self.put(path, &roster).map_err(RosterFull::from)
    }

    /// Takes a device off its roster; says whether it was on one.
    ///
    /// # Errors
    ///
    /// The roster breaks a rule.
    pub fn dismiss(&mut self, id: &DeviceId) -> Result<bool, DocumentError> {
        let mut found = false;
        for (path, roster) in rosters::without(&self.documents.rosters, id) {
            found = true;
            self.put(path, &roster)?;
        }
        Ok(found)
    }

    /// Adds an approval and its document for people.
    ///
    /// # Errors
    ///
    /// One of the two breaks a rule.
    pub fn approve(&mut self, approval: &Approval, operator: &OperatorDocument) -> Result<(), DocumentError> {
        self.put(path::approval(&approval.id), approval)?;
        self.put(path::operator_document(&approval.id), operator)?;
        self.outlive(approval.expires);
        Ok(())
    }

    /// Lists an order that stops an approval, or lifts its stop, as it was signed.
    pub fn stop(&mut self, order: &VerifiedStop) {
        let path = path::stop(&order.approval);
        self.draft.targets.insert(path.clone(), Target::of(order.bytes(), None));
        self.files.insert(path, order.bytes().to_vec());
    }

    /// Signs.
    ///
    /// # Errors
    ///
    /// A key does not sign.
    pub fn sign(self, signers: &[&dyn Signer]) -> Result<Edited, TrustError> {
        Ok(Edited { targets: sign_targets(&self.draft, signers)?, files: self.files })
    }

    fn put<D: SignedDocument>(&mut self, path: String, document: &D) -> Result<(), DocumentError> {
        let (bytes, target) = target(document)?;
        self.draft.targets.insert(path.clone(), target);
        self.files.insert(path, bytes);
        Ok(())
    }

    fn outlive(&mut self, end: Timestamp) {
        let beyond = end.saturating_add(BEYOND_LAST_SLOT).unwrap_or(end);
        self.draft.expires = self.draft.expires.max(beyond).max(self.now);
    }
}

/// Approvals that no longer need to be listed: those that have expired, and with each all that it has superseded, which
/// would otherwise come back into force when it goes.
fn finished(approvals: &[Approval], now: Timestamp) -> BTreeSet<&ApprovalId> {
    let mut gone: BTreeSet<&ApprovalId> = BTreeSet::new();
    let mut look: Vec<&ApprovalId> = approvals.iter().filter(|a| a.expires <= now).map(|a| &a.id).collect();
    while let Some(id) = look.pop() {
        if gone.insert(id) {
            look.extend(approvals.iter().filter(|a| a.id == *id).flat_map(|a| &a.supersedes));
        }
    }
    gone
}
