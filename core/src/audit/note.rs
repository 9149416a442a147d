//! Signed notes: a text and signatures over it, in C2SP's `signed-note` form, with Ed25519.
//!
//! ```text
//! <text, ends with a line break>
//! <empty line>
//! — <key's name> <base64 of the key's 4-byte hash and the signature>
//! ```
//!
//! The key's hash is the first four bytes of `SHA-256(name || 0x0A || 0x01 || public key)`. Signatures of keys that are not
//! known are passed over, as the form has it: a note may carry those of other witnesses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::digest::Digest;
use crate::limits::{MAX_NOTE_BYTES, MAX_NOTE_SIGNATURES};
use crate::sign::{PublicKey, SignError, Signature, Signer};

/// The signature type of Ed25519, in the form's list.
pub(super) const ED25519: u8 = 1;

/// Why a note was refused.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// Not of a note's form.
    #[error("the signed note cannot be read: {0}")]
    Form(&'static str),
    /// The key that is asked for has not signed it.
    #[error("the note is not signed by {name}'s key {id}")]
    Unsigned {
        /// Whose.
        name: String,
        /// The key's hash.
        id: String,
    },
    /// A signature by that key's name and hash that does not verify.
    #[error("the note's signature does not verify")]
    Signature(#[from] SignError),
}

/// What tells a key of `name` from others.
pub(super) fn key_id(name: &str, key: &PublicKey) -> [u8; 4] {
    let bytes = [name.as_bytes(), &[b'\n', ED25519], key.as_bytes().as_slice()].concat();
    let [a, b, c, d, ..] = *Digest::of(&bytes).as_bytes();
    [a, b, c, d]
}

/// Signs a text that ends with a line break.
pub(super) fn sign(text: &str, name: &str, key: &dyn Signer) -> Result<String, SignError> {
    let signature = key.sign(text.as_bytes())?;
    let bytes = [key_id(name, &key.public()).as_slice(), &signature.0].concat();
    Ok(format!("{text}\n\u{2014} {name} {}\n", BASE64.encode(bytes)))
}

/// The text of a note that `key` of `name` has signed.
pub(super) fn open<'a>(note: &'a str, name: &str, key: &PublicKey) -> Result<&'a str, NoteError> {
    let form = NoteError::Form;
    if note.len() > MAX_NOTE_BYTES {
        return Err(form("it is too long"));
    }
    if note.chars().any(|c| c < ' ' && c != '\n') {
        return Err(form("it holds a control character"));
    }
    let cut = note.rfind("\n\n").ok_or(form("no empty line stands before its signatures"))?;
    let (text, signatures) = (note.get(..=cut), note.get(cut + 2..));
    let (Some(text), Some(signatures)) = (text, signatures) else { return Err(form("it is cut short")) };
    let lines = signatures.strip_suffix('\n').ok_or(form("its last line is cut short"))?;
    let id = key_id(name, key);
    for (n, line) in lines.split('\n').enumerate() {
        if n >= MAX_NOTE_SIGNATURES {
            return Err(form("it has too many signatures"));
        }
        let parts = line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' '));
        let (signer, encoded) = parts.ok_or(form("a signature's line is none"))?;
        let bytes = BASE64.decode(encoded).map_err(|_| form("a signature is not in base64"))?;
        if signer != name || !bytes.starts_with(&id) {
            continue;
        }
        let signature = Signature::try_from(bytes.get(id.len()..).unwrap_or_default())?;
        key.verify(text.as_bytes(), &signature)?;
        return Ok(text);
    }
    Err(NoteError::Unsigned { name: name.to_owned(), id: hex::encode(id) })
}
