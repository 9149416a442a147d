//! Reading the record from its beginning, entry by entry: the first one that is broken is named.

use super::entry::{AuditError, Entry};
use super::tree::{Frontier, Head};
use crate::digest::Digest;

/// One entry as it is handed out: whole, or as its digest where it concerns somebody else or is kept no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its place, from 1.
    pub seq: u64,
    /// The payload, unless it is withheld.
    pub payload: Option<Vec<u8>>,
    /// SHA-256 of the payload.
    pub payload_sha256: Digest,
    /// The root of the tree that ends with this entry.
    pub root: Digest,
}

/// Verifies entries as they come in, in order.
#[derive(Debug, Clone)]
pub struct Reading {
    frontier: Frontier,
    last_seen: Head,
}

impl Reading {
    /// Begins at the record's beginning and will insist on passing through `last_seen`, the head that the caller kept from
    /// the last time; [`Head::empty`] where there was no last time.
    pub fn from_start(last_seen: Head) -> Self {
        Self { frontier: Frontier::EMPTY, last_seen }
    }

    /// How far it has been verified.
    pub fn head(&self) -> Head {
        self.frontier.head()
    }

    /// How many entries were taken.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Verifies the next entry; reads it, unless it is withheld. An error names the first entry that is broken, and nothing is
    /// taken in then.
    ///
    /// # Errors
    ///
    /// It is not the next one, not the one that was recorded, or the record was another when it was seen last.
    pub fn take(&mut self, leaf: &Leaf) -> Result<Option<Entry>, AuditError> {
        let seq = self.frontier.size().saturating_add(1);
        if leaf.seq != seq {
            return Err(AuditError::Gap { wanted: seq, offered: leaf.seq });
        }
        if leaf.payload.as_ref().is_some_and(|payload| Digest::of(payload) != leaf.payload_sha256) {
            return Err(AuditError::Payload(seq));
        }
        let mut next = self.frontier.clone();
        next.push(&leaf.payload_sha256);
        let head = next.head();
        if leaf.root != head.root {
            return Err(AuditError::Hash(seq));
        }
        if seq == self.last_seen.size && head != self.last_seen {
            return Err(AuditError::Rewritten { seq, before: self.last_seen.root });
        }
        let entry = leaf.payload.as_ref().map(|payload| Entry::parse(seq, payload)).transpose()?;
        self.frontier = next;
        Ok(entry)
    }

    /// Says that there are no more entries: they must lead to the head that is signed, and not end before the one that was
    /// seen last.
    ///
    /// # Errors
    ///
    /// They do not.
    pub fn finish(self, signed: &Head) -> Result<Head, AuditError> {
        let (head, seen) = (self.head(), self.last_seen);
        if head.size < seen.size {
            return Err(AuditError::Rewritten { seq: seen.size, before: seen.root });
        }
        if head == *signed { Ok(head) } else { Err(AuditError::Head { seq: head.size, signed: signed.size }) }
    }
}
