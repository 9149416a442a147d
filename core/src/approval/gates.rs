//! Human gates: the waves that a hospital has opened by its signature.
//!
//! A wave that asks for it ([`Wave::needs_signature`]) stays shut until a document of the approvals repository opens it. The
//! targets metadata list that document as they list the approval, so it takes as many approvers, it ends with them, and an
//! older version of it is refused. Attacks stopped here, all of them a closed gate:
//!
//! | attack | stopped by |
//! | --- | --- |
//! | a server that says the wave is open | nothing that a server says is asked; the targets keys sign the document |
//! | the document of another approval, or of another hospital | [`Gates::read`], `approval` and `hdo` in what is signed |
//! | the document of an earlier approval that had the same id | [`Gates::read`], the SHA-256 of the approval's head |
//! | a document that is withheld, cut or cannot be read | [`Opened`], which opens nothing then |
//! | a document of before, put in the place of a newer one | the targets metadata, which pin its length and SHA-256 |
//!
//! What was opened is closed by a stop order and in no other way: a device that acts on an opening may hear nothing else for
//! as long as the approvals count, and a stop order reaches it by any way. [`Gates::closed_again`] finds a document that
//! tries it otherwise.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{DocumentError, SignedDocument, first_broken, hold, strictly_ascending};
use super::path;
use super::pinned::Pinned;
use super::terms::Terms;
#[cfg(doc)]
use super::terms::Wave;
use crate::clock::utc;
use crate::digest::Digest;
use crate::id::{ApprovalId, HdoId};
use crate::limits::{MAX_GATES_BYTES, MAX_WAVES};
use crate::phase::{Code, Reason};

/// The waves of one approval that the hospital has opened. Devices read it: who opened a wave and why is in the note that it
/// pins, which they do not fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gates {
    /// Always `suture-gates`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// The approval.
    pub approval: ApprovalId,
    /// SHA-256 of the approval's head: what the signers saw when they opened a wave of it.
    pub head_sha256: Digest,
    /// The waves that are open, ascending; the others of the approval that ask for a signature are closed.
    pub open: Vec<OpenWave>,
}

/// A wave that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenWave {
    /// The wave, counted from 0.
    pub wave: u32,
    /// When it was signed open, by the signer's clock. For people: it proves no time.
    #[serde(with = "utc")]
    pub opened: Timestamp,
    /// The note of who opened it and why.
    pub note: Pinned,
}

impl SignedDocument for Gates {
    const TYPE: &'static str = "suture-gates";
    const MAX_BYTES: u64 = MAX_GATES_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let own = |open: &OpenWave| open.note.path == path::gate_note(&self.approval, open.wave);
        first_broken(&[
            ((1..=MAX_WAVES).contains(&self.open.len()), "open lists no wave, or too many"),
            (strictly_ascending(self.open.iter().map(|o| o.wave)), "waves are not in ascending order, each once"),
            (self.open.iter().all(|o| (o.wave as usize) < MAX_WAVES), "a wave is beyond the last that there can be"),
            (self.open.iter().all(own), "a note is another wave's"),
        ])
    }
}

impl Gates {
    /// The document that opens nothing yet, to be added to; as such it is not valid.
    pub fn new(terms: &Terms, head_sha256: Digest) -> Self {
        let (kind, hdo, approval) = (Self::TYPE.to_owned(), terms.hdo.clone(), terms.id.clone());
        Self { kind, format: 1, hdo, approval, head_sha256, open: Vec::new() }
    }

    /// Reads the document for one approval, whose head has this SHA-256: no other document opens a wave of it.
    ///
    /// # Errors
    ///
    /// It is too long, unreadable, breaks a rule, is of another approval, or opens a wave that has no such gate.
    pub fn read(terms: &Terms, head_sha256: Digest, bytes: &[u8]) -> Result<Self, DocumentError> {
        let gates = Self::parse(bytes)?;
        let gated = |o: &OpenWave| terms.waves.get(o.wave as usize).is_some_and(|w| w.needs_signature);
        hold(
            Self::TYPE,
            &[
                (gates.hdo == terms.hdo, "it is of another hospital"),
                (gates.approval == terms.id, "it is of another approval"),
                (gates.head_sha256 == head_sha256, "it was signed for other words under this approval's id"),
                (gates.open.iter().all(gated), "it opens a wave that the approval does not have, or that has no gate"),
            ],
        )?;
        Ok(gates)
    }

    /// Whether it opens a wave, counted from 0.
    pub fn opens(&self, wave: u32) -> bool {
        self.open.iter().any(|o| o.wave == wave)
    }

    /// A wave that `before` opened and this one does not, or otherwise.
    pub fn closed_again(&self, before: &Self) -> Option<u32> {
        before.open.iter().find(|o| !self.open.contains(o)).map(|o| o.wave)
    }
}

/// What is known of an approval's human gates to whoever decides. It fails closed: what is not known is not open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Opened {
    /// The hospital has opened no wave by its signature.
    #[default]
    Nothing,
    /// It has opened these.
    By(Gates),
    /// It lists a document that cannot be had or cannot be used, and why.
    Unknown(Reason),
}

impl Opened {
    /// Why it is not known what is open, where it is not.
    pub fn unknown(&self) -> Option<&Reason> {
        match self {
            Self::Unknown(reason) => Some(reason),
            Self::Nothing | Self::By(_) => None,
        }
    }

    /// Why no device of a wave may begin; none where the wave asks for no signature, or has it. `wave` counts from 0.
    pub fn missing(&self, terms: &Terms, wave: u32) -> Option<Reason> {
        // A wave that does not exist needs what nobody can give.
        let needed = terms.waves.get(wave as usize).is_none_or(|w| w.needs_signature);
        match self {
            _ if !needed => None,
            Self::By(gates) if gates.approval == terms.id && gates.opens(wave) => None,
            Self::Nothing | Self::By(_) => Some(waits(&terms.id, wave)),
            Self::Unknown(Reason { code, text }) => {
                let id = &terms.id;
                let text = format!("whether wave {} of approval {id} is signed open is not known: {text}", wave + 1);
                Some(Reason::new(*code, text))
            }
        }
    }
}

/// That a wave, counted from 0, waits for the hospital's signature: who must do what.
pub fn waits(approval: &ApprovalId, wave: u32) -> Reason {
    let n = wave.saturating_add(1);
    let text = format!(
        "wave {n} of approval {approval} waits for the hospital's signature: `suturectl rollout open {approval} --wave {n} \
         --reason TEXT`"
    );
    Reason::new(Code::SignatureNeeded, text)
}

#[cfg(test)]
mod tests;
