//! Security events: what a hospital's security staff wants to know at once, in a form that their monitoring reads.
//!
//! The audit record says what people did, and is proof. An event says that something was refused, was found, or fell silent,
//! and is a signal: FDA's premarket guidance (appendix 1, F: event detection and logging) asks that such events leave
//! the device in a machine-readable form, IEC 62443-4-2 (CR 6.1, CR 6.2) that they can be read and monitored continuously.
//!
//! [`Kind`] is the one list. Equal events within [`EVENT_WINDOW`](crate::limits::EVENT_WINDOW) are folded into one with a
//! count ([`Fold`]), so that a flood costs one row and loses no count. [`Run`] tells a restart that was asked for from one
//! that was not. A device signs what it has seen ([`Batch`]). [`ocsf`] writes events as the Open Cybersecurity Schema.

mod batch;
mod fold;
mod kind;
pub mod ocsf;
mod run;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::{utc, whole_second};
use crate::digest::{Digest, Hasher};
use crate::id::HdoId;
use crate::legible::deceives;
use crate::limits::{MAX_EVENT_DETAIL_BYTES, MAX_EVENT_SUBJECT_BYTES};

pub use batch::{Batch, BatchError, Numbered, SignedBatch};
pub use fold::{Fold, OTHERS};
pub use kind::{Kind, Severity};
pub use run::{Run, begun};

/// Who has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Observer {
    /// The server.
    Server,
    /// A device; its signature is verified by whoever takes the event.
    Device,
}

impl Observer {
    /// The name in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Device => "device",
        }
    }

    /// The observer of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Server, Self::Device].into_iter().find(|o| o.as_str() == name)
    }
}

impl fmt::Display for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What makes events equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct What {
    /// What happened.
    pub kind: Kind,
    /// Who has seen it.
    pub observer: Observer,
    /// The hospital that it concerns; none where it concerns the server as such, or the manufacturer.
    pub hdo: Option<HdoId>,
    /// Who or what it is about: an identity as the audit record writes it, an address, a file.
    pub subject: String,
    /// What else is known, as a sentence or less.
    pub detail: String,
}

impl What {
    /// With both texts cut to their bounds, and without characters that steer a terminal.
    pub fn new(kind: Kind, observer: Observer, hdo: Option<&HdoId>, subject: &str, detail: &str) -> Self {
        Self {
            kind,
            observer,
            hdo: hdo.cloned(),
            subject: bounded(subject, MAX_EVENT_SUBJECT_BYTES),
            detail: bounded(detail, MAX_EVENT_DETAIL_BYTES),
        }
    }

    /// A digest that equal ones share.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        let hdo = self.hdo.as_ref().map_or("", HdoId::as_str);
        for part in [self.kind.as_str(), self.observer.as_str(), hdo, &self.subject, &self.detail] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finish()
    }
}

/// One event, or several equal ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// What happened.
    pub what: What,
    /// The first time, by the clock of whoever saw it.
    #[serde(with = "utc")]
    pub first: Timestamp,
    /// The last time.
    #[serde(with = "utc")]
    pub last: Timestamp,
    /// How often.
    pub count: u64,
}

impl Event {
    /// It happened once.
    pub fn once(what: What, at: Timestamp) -> Self {
        let at = whole_second(at);
        Self { what, first: at, last: at, count: 1 }
    }
}

/// The text without control characters, cut at a character's boundary.
fn bounded(text: &str, most: usize) -> String {
    let mut short = String::with_capacity(text.len().min(most));
    for c in text.chars().map(|c| if deceives(c) { ' ' } else { c }) {
        if short.len() + c.len_utf8() > most {
            break;
        }
        short.push(c);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_lose_what_steers_a_terminal() {
        let what = What::new(Kind::CallForbidden, Observer::Server, None, "a\u{1b}[2Jb\n", &"é".repeat(10_000));
        assert_eq!(what.subject, "a [2Jb ");
        assert!(what.detail.len() <= MAX_EVENT_DETAIL_BYTES && what.detail.len() > MAX_EVENT_DETAIL_BYTES - 2);
    }

    #[test]
    fn no_two_different_ones_share_a_digest_by_where_their_texts_end() {
        let of = |subject: &str, detail: &str| {
            What::new(Kind::CallForbidden, Observer::Server, None, subject, detail).digest()
        };
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_eq!(of("ab", "c"), of("ab", "c"));
    }
}
