//! The next version of the approvals repository, in the making.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::path::Registered;
use suture_core::approval::{
    Approval, DocumentError, GateNote, Gates, OpenWave, OperatorDocument, Pinned, Register, RosterDevice, Service,
    SignedDocument, StatementError, VerifiedStop, path,
};
use suture_core::clock::whole_second;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::sign::Signer;
use suture_core::trust::edit::{APPROVALS_LIFETIME, TargetsDraft, sign_targets};
use suture_core::trust::{Target, Targets, TrustError, Verified};
use suture_core::window::{Calendar, Scope};

use super::rosters::{RosterFull, Rosters};
use super::statements::{self, Words};
use super::{Documents, Files};

/// How long the targets outlive the last slot that they list, so that a device that was busy at its end can still finish.
const BEYOND_LAST_SLOT: SignedDuration = SignedDuration::from_hours(24);

/// A version in the making, built on one that was verified.
#[derive(Debug)]
pub struct Edit<'a> {
    hdo: HdoId,
    documents: &'a Documents,
    draft: TargetsDraft,
    registered: BTreeMap<String, Pinned>,
    rosters: Rosters,
    files: Files,
    /// The approvals that are new, with the SHA-256 of their heads, and what their signers say.
    stated: Vec<(ApprovalId, Digest, Words)>,
    now: Timestamp,
}

/// A signed version and the files that are new in it.
#[derive(Debug, Clone)]
pub struct Edited {
    /// The targets metadata.
    pub targets: Vec<u8>,
    /// By path.
    pub files: Files,
}

impl<'a> Edit<'a> {
    /// The first version; `documents` are empty.
    #[cfg(test)]
    pub fn first(hdo: HdoId, documents: &'a Documents, now: Timestamp) -> Self {
        Self::of(hdo, documents, TargetsDraft::first(now, APPROVALS_LIFETIME), now)
    }

    /// The version after `base`, without approvals that have expired and what hangs on them. `base` itself may have
    /// expired: a hospital that approved nothing for a while signs on from what it signed last.
    pub fn after(hdo: HdoId, base: &Verified<Targets>, documents: &'a Documents, now: Timestamp) -> Self {
        let mut edit = Self::of(hdo, documents, TargetsDraft::following(base, now, APPROVALS_LIFETIME), now);
        for id in finished(&documents.approvals, now) {
            edit.draft.targets.remove(&path::approval(id));
            edit.draft.targets.remove(&path::gates(id));
            edit.draft.targets.remove(&path::stop(id));
            edit.registered.remove(&path::operator_document(id));
            edit.registered
                .retain(|path, _| !matches!(Registered::of(path), Some(Registered::GateNote(of, _)) if of == *id));
        }
        let listed = |a: &&Approval| edit.draft.targets.contains_key(&path::approval(&a.terms.id));
        let until = documents.approvals.iter().filter(listed).map(|a| a.terms.expires).max();
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

    fn of(hdo: HdoId, documents: &'a Documents, draft: TargetsDraft, now: Timestamp) -> Self {
        let registered = documents.registered.iter().map(|p| (p.path.clone(), p.clone())).collect();
        let rosters = Rosters::new(hdo.clone(), &documents.rosters);
        Self { hdo, documents, draft, registered, rosters, files: Files::new(), stated: Vec::new(), now }
    }

    /// Puts a calendar in the place of the one before it.
    ///
    /// # Errors
    ///
    /// The calendar breaks a rule.
    pub fn set_calendar(&mut self, calendar: &Calendar) -> Result<(), DocumentError> {
        self.register(path::calendar(&calendar.scope), calendar)
    }

    /// Takes a calendar off; false where there is none.
    pub fn remove_calendar(&mut self, scope: &Scope) -> bool {
        self.registered.remove(&path::calendar(scope)).is_some()
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
        self.list(path::SERVICE.to_owned(), service.to_bytes()?);
        Ok(service)
    }

    /// Puts a device on its roster, in the place of what the roster said of it.
    ///
    /// # Errors
    ///
    /// Its roster is full and cannot be split.
    pub fn admit(&mut self, device: RosterDevice) -> Result<(), RosterFull> {
        self.rosters.admit(device)
    }

    /// Takes a device off its roster; says whether it was on one.
    pub fn dismiss(&mut self, id: &DeviceId) -> bool {
        self.rosters.dismiss(id)
    }

    /// Adds an approval and its document for people, in the words of that document.
    ///
    /// # Errors
    ///
    /// One of the two breaks a rule, or the document names nobody who could sign.
    pub fn approve(&mut self, approval: &Approval, operator: &OperatorDocument) -> Result<(), DocumentError> {
        let words = Words::of_document(&operator.approver, &operator.meaning, &operator.reason);
        let rule = "it names no operator who signs, or no meaning that a signature has";
        let words = words.ok_or(DocumentError::Rule { kind: OperatorDocument::TYPE, rule })?;
        self.approve_as(approval, operator, words)
    }

    /// As [`Edit::approve`], where whoever signs says this of it.
    ///
    /// # Errors
    ///
    /// One of the two breaks a rule.
    pub fn approve_as(
        &mut self,
        approval: &Approval,
        operator: &OperatorDocument,
        words: Words,
    ) -> Result<(), DocumentError> {
        let sealed = approval.seal()?;
        self.stated.push((approval.terms.id.clone(), Digest::of(&sealed.head_bytes), words));
        self.list(path::approval(&approval.terms.id), sealed.head_bytes);
        self.files.extend(sealed.shards.into_iter().map(|(pinned, bytes)| (pinned.path, bytes)));
        self.register(path::operator_document(&approval.terms.id), operator)?;
        self.outlive(approval.terms.expires);
        Ok(())
    }

    /// Opens a wave of an approval, counted from 0, beside those that are open, with the note of who did it and why.
    ///
    /// # Errors
    ///
    /// The approval is not listed, or one of the two documents would break a rule.
    pub fn open(&mut self, id: &ApprovalId, wave: u32, approver: String, reason: String) -> Result<(), DocumentError> {
        let head = self.draft.targets.get(&path::approval(id)).map(|t| t.sha256);
        let (Some(approval), Some(head)) = (self.documents.approval(id), head) else {
            return Err(DocumentError::Rule { kind: Gates::TYPE, rule: "its approval is not listed" });
        };
        let note =
            GateNote { kind: GateNote::TYPE.to_owned(), format: 1, approval: id.clone(), wave, approver, reason };
        let path = path::gate_note(id, wave);
        self.register(path.clone(), &note)?;
        let note = Pinned::of(path, &note.to_bytes()?);
        let mut gates = self.documents.gates(id).cloned().unwrap_or_else(|| Gates::new(&approval.terms, head));
        gates.open.push(OpenWave { wave, opened: whole_second(self.now), note });
        gates.open.sort_by_key(|open| open.wave);
        let bytes = gates.to_bytes()?;
        // As everybody will read it.
        Gates::read(&approval.terms, head, &bytes)?;
        self.list(path::gates(id), bytes);
        Ok(())
    }

    /// Lists an order that stops an approval, or lifts its stop, as it was signed.
    pub fn stop(&mut self, order: &VerifiedStop) {
        self.list(path::stop(&order.approval), order.bytes().to_vec());
    }

    /// Signs.
    ///
    /// # Errors
    ///
    /// A roster or the register breaks a rule, or a key does not sign.
    pub fn sign(mut self, signers: &[&dyn Signer]) -> Result<Edited, EditError> {
        let rosters = Rosters::new(self.hdo.clone(), &[]);
        for (part, roster) in std::mem::replace(&mut self.rosters, rosters).changes() {
            match roster {
                Some(roster) => self.register(path::roster(part), &roster)?,
                None => drop(self.registered.remove(&path::roster(part))),
            }
        }
        if !self.registered.values().eq(&self.documents.registered) {
            let register = Register::new(self.hdo.clone(), self.registered.values().cloned().collect());
            self.list(path::REGISTER.to_owned(), register.to_bytes()?);
        }
        for (id, head, words) in &self.stated {
            for signer in signers {
                let statement = words.state(&self.hdo, (id, *head), *signer, self.now)?;
                self.files.insert(statements::place(&statement), statement.bytes().to_vec());
            }
        }
        Ok(Edited { targets: sign_targets(&self.draft, signers)?, files: self.files })
    }

    /// A file for devices, which the targets metadata list.
    fn list(&mut self, path: String, bytes: Vec<u8>) {
        self.draft.targets.insert(path.clone(), Target::of(&bytes, None));
        self.files.insert(path, bytes);
    }

    /// A file for people and the server, which the register lists.
    fn register<D: SignedDocument>(&mut self, path: String, document: &D) -> Result<(), DocumentError> {
        let bytes = document.to_bytes()?;
        self.registered.insert(path.clone(), Pinned::of(path.clone(), &bytes));
        self.files.insert(path, bytes);
        Ok(())
    }

    fn outlive(&mut self, end: Timestamp) {
        let beyond = end.saturating_add(BEYOND_LAST_SLOT).unwrap_or(end);
        self.draft.expires = self.draft.expires.max(beyond).max(self.now);
    }
}

/// Why a version could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// A document breaks a rule.
    #[error("a document of the next version breaks a rule")]
    Document(#[from] DocumentError),
    /// The targets metadata could not be signed.
    #[error("the next version could not be signed")]
    Sign(#[from] TrustError),
    /// What the signer says of an approval could not be signed.
    #[error("what is said with the signature could not be signed")]
    State(#[from] StatementError),
}

/// Approvals that no longer need to be listed: those that have expired. One that has superseded another stays for as long as
/// that has not: without it the other would come back into force, and without the other a plan would not count the slots
/// that a device may still use which has not heard of it.
fn finished(approvals: &[Approval], now: Timestamp) -> BTreeSet<&ApprovalId> {
    let terms = || approvals.iter().map(|a| &a.terms);
    let mut gone: BTreeSet<&ApprovalId> = terms().filter(|t| t.expires <= now).map(|t| &t.id).collect();
    let lasting: BTreeSet<&ApprovalId> = terms().map(|t| &t.id).filter(|id| !gone.contains(id)).collect();
    for terms in terms().filter(|t| t.supersedes.iter().any(|id| lasting.contains(id))) {
        gone.remove(&terms.id);
    }
    gone
}
