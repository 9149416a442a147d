//! The hospital's approvals repository as it was signed at one time, and how a device reads it: the real documents, by their
//! bytes. Signatures on the metadata are left out; what a device could not verify never reaches it here.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{
    Approval, Gates, Head, OpenWave, Opened, Pinned, Share, SignedDocument as _, StopOrder, VerifiedStop, path,
};
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId};

/// An approval that is listed.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) approval: Approval,
    pub(crate) head: Head,
    pub(crate) head_sha256: Digest,
    pub(crate) shards: Vec<(Pinned, Vec<u8>)>,
}

/// The repository.
#[derive(Debug, Clone)]
pub(crate) struct Approvals {
    pub(crate) version: u64,
    pub(crate) signed_at: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) listed: Vec<Rc<Listed>>,
    /// The gates documents.
    pub(crate) gates: BTreeMap<ApprovalId, Vec<u8>>,
    /// The newest order of each approval.
    pub(crate) stops: Vec<VerifiedStop>,
}

impl Approvals {
    pub(crate) fn new(now: Timestamp) -> Self {
        let (listed, gates, stops) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { version: 0, signed_at: now, expires: now, listed, gates, stops }.signed(now)
    }

    /// The next.
    pub(crate) fn signed(&self, now: Timestamp) -> Self {
        let expires = now + SignedDuration::from_hours(14 * 24);
        Self { version: self.version + 1, signed_at: now, expires, ..self.clone() }
    }

    pub(crate) fn find(&self, id: &ApprovalId) -> Option<&Rc<Listed>> {
        self.listed.iter().find(|l| l.approval.terms.id == *id)
    }

    /// The next, with one more approval.
    pub(crate) fn approving(&self, approval: Approval, now: Timestamp) -> Self {
        let sealed = approval.seal().unwrap();
        let (head, head_sha256) = (Head::parse(&sealed.head_bytes).unwrap(), Digest::of(&sealed.head_bytes));
        let mut next = self.signed(now);
        next.listed.push(Rc::new(Listed { approval, head, head_sha256, shards: sealed.shards }));
        next
    }

    /// The next, in which one more wave is signed open.
    pub(crate) fn opening(&self, id: &ApprovalId, wave: u32, now: Timestamp) -> Self {
        let mut next = self.signed(now);
        let Some(listed) = self.find(id) else { return next };
        let mut gates = match self.gates.get(id) {
            Some(bytes) => Gates::parse(bytes).unwrap(),
            None => Gates::new(&listed.head.terms, listed.head_sha256),
        };
        if !gates.opens(wave) {
            let note = Pinned::of(path::gate_note(id, wave), b"a note");
            gates.open.push(OpenWave { wave, opened: now, note });
            gates.open.sort_by_key(|o| o.wave);
        }
        next.gates.insert(id.clone(), gates.to_bytes().unwrap());
        next
    }

    /// The next, with a stop order for an approval, or its lift.
    pub(crate) fn ordering(&self, id: &ApprovalId, stopped: bool, now: Timestamp) -> Self {
        let mut next = self.signed(now);
        let last = next.stops.iter().find(|s| s.approval == *id).map(|s| s.counter);
        let Some(hdo) = self.find(id).map(|l| l.approval.terms.hdo.clone()) else { return next };
        let order = StopOrder::next(hdo, id.clone(), last, stopped, now).unwrap();
        next.stops.retain(|s| s.approval != *id);
        next.stops.push(VerifiedStop::kept(&order.sign(&[]).unwrap()).unwrap());
        next
    }

    /// Whether an order of this repository stops an approval.
    pub(crate) fn stops(&self, id: &ApprovalId) -> bool {
        VerifiedStop::stops(&self.stops, id)
    }

    /// Whether a listed approval replaces another.
    pub(crate) fn supersedes(&self, id: &ApprovalId) -> bool {
        self.listed.iter().any(|l| l.approval.terms.supersedes.contains(id))
    }

    /// All approvals as one device reads them, as `documents` of the agent does: the head, the shard that can name it, and
    /// the gates document where its wave asks for one. `known` is what it has read of earlier editions.
    pub(crate) fn shares(&self, device: &DeviceId, known: &[Share]) -> Vec<Share> {
        let share = |listed: &Rc<Listed>| {
            let id = &listed.head.terms.id;
            let mut share = match known.iter().find(|s| s.terms.id == *id) {
                Some(known) => known.clone(),
                None => {
                    let (part, pinned) = listed.head.shard_of(device).unwrap();
                    let (pin, bytes) = &listed.shards[part.number()];
                    assert_eq!(*pin, pinned);
                    listed.head.clone().share(device, bytes).unwrap()
                }
            };
            share.opened = match self.gates.get(id) {
                Some(bytes) if share.needs_signature() => {
                    Opened::By(Gates::read(&share.terms, listed.head_sha256, bytes).unwrap())
                }
                _ => Opened::Nothing,
            };
            share
        };
        self.listed.iter().map(share).collect()
    }
}
