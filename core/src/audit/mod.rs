//! The record of what was changed, as a Merkle log, so that the past cannot be rewritten unnoticed.
//!
//! Attack: whoever holds the server removes, reorders or alters entries after the fact, or shows one record to some and
//! another to others.
//!
//! Each [`Entry`] is a leaf of one tree that only grows (RFC 6962, section 2.1). The tree's [`Head`] stands for all of it,
//! and the server signs it with a key that it uses for nothing else: a [`Checkpoint`], in the form of C2SP's
//! tlog-checkpoint. Who remembers one ([`Witness`]) is shown with the next that it extends the one before, by a proof of a
//! few hundred bytes and without reading the record. Every `suturectl` and every device does so. It is a witness, no
//! authority: a record that was rewritten keeps no device from being patched.
//!
//! A hospital must be able to verify the record without reading what concerns other hospitals. Therefore the leaves are the
//! *digests* of the payloads: `leaf(n) = SHA-256(0x00 || SHA-256(payload(n)))`; an entry of somebody else is handed out as
//! its digest alone, and one whose time of keeping is over as well. Each payload holds a [`Salt`], so that nobody finds out
//! what an entry says by hashing guesses.
//!
//! What a leaf does not show is whom its entry concerns: the payload alone says so. That an entry is withheld because it is
//! somebody else's is therefore the server's word, and a reader cannot tell one of its own from another's by the record. To bind
//! it, each leaf would have to be made of two digests, one of a part that is always shown and names the organisation in a form
//! that only it recognises (a keyed hash of the entry's place, by a secret that the server has given to that organisation alone),
//! or else every hospital would learn when others act. Entries that are there already could not be given such a part: it would begin
//! with another format. Until then a reader finds that a text is gone that it was given before, and no more.
//!
//! Until this tree the record was a chain of hashes. It is not kept beside the tree: whatever it showed the tree shows too,
//! from any place instead of from the beginning. What a chain alone could do is to name the first entry that is broken, and
//! for that each entry is handed out with the tree's root behind it ([`Reading`]).

mod checkpoint;
mod entry;
mod export;
mod note;
mod proof;
mod reading;
mod tree;
mod witness;

pub use checkpoint::{Checkpoint, CheckpointError, KeyChange, LogKey};
pub use entry::{AuditError, Concern, ConcernError, Entry, Salt};
pub use export::{ExportError, ExportReader, ProvenEntry, Summary, export_head, export_line};
pub use note::NoteError;
pub use proof::{Span, consistency, extends, includes, inclusion};
pub use reading::{Leaf, Reading};
pub use tree::{Frontier, Head, Place, leaf_hash};
pub use witness::{News, Refused, Taken, Witness};

#[cfg(test)]
mod tests;
