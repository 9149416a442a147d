//! Keys on PKCS#11 tokens: smart cards, USB tokens, hardware security modules. (Not the enrolment tokens of
//! [`crate::token`].)
//!
//! Beside the keys in files stands `<name>.p11`, which holds no secret: which module reaches the token, which token it is,
//! which object on it, and the public key. The private key was made on the token and cannot be taken out of it; the PIN is
//! asked for at each command and kept nowhere.
//!
//! What a token says is believed no further than it can be verified: every signature is checked against the recorded public
//! key before anybody uses it, so a token, a module or a record that was exchanged signs nothing.

mod error;
mod object;
mod signer;
mod slot;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use suture_core::sign::{PublicKey, Signer};

use super::secret::Pins;
use super::{KeyName, Place};
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files::{Access, Locked};
use crate::home::Home;

use object::KeyObject;
use signer::{Login, TokenKey};
use slot::{Module, Token};

/// The module that reaches every token which this machine has been told of.
const DEFAULT_MODULE: &str = "p11-kit-proxy.so";
/// `CKA_ID` has no bound in the standard; nobody uses more.
const MAX_ID_BYTES: usize = 64;

/// Which token.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The PKCS#11 module that reaches it: an absolute path. Without one p11-kit's proxy is asked.
    pub module: Option<PathBuf>,
    /// Its label.
    pub label: String,
    /// Its serial number, where several have that label.
    pub serial: Option<String>,
}

/// Which object on a token.
#[derive(Debug, Clone, Default)]
pub struct Object {
    /// Its id, in hexadecimal digits.
    pub id: Option<String>,
    /// Its label.
    pub label: Option<String>,
}

/// A key that was given a name.
#[derive(Debug)]
pub struct Added {
    /// Its public half.
    pub public_key: PublicKey,
    /// Whether the token lets the private half out, wrapped or plain.
    pub extractable: bool,
}

/// `<name>.p11`: a key on a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format: u32,
    /// The module that reaches the token.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The token's serial number, as its maker gave it.
    pub serial: String,
    /// The key's `CKA_ID`, in hexadecimal digits.
    pub id: String,
    /// The public half.
    pub public_key: PublicKey,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token {:?} (serial {})", self.token, self.serial)
    }
}

impl Record {
    const FORMAT: u32 = 1;

    fn of(token: &Token, module: PathBuf, id: &[u8], public_key: PublicKey) -> Self {
        Self {
            format: Self::FORMAT,
            module,
            token: token.label.clone(),
            serial: token.serial.clone(),
            id: hex::encode(id),
            public_key,
        }
    }

    /// Reads a key's record; none where there is none.
    pub fn read(home: &Home, name: &KeyName) -> Outcome<Option<Self>> {
        let file = file_name(name);
        let Some(bytes) = home.read(&file)? else { return Ok(None) };
        let record: Self = serde_json::from_slice(&bytes).or_fail(|| format!("{file} is damaged"))?;
        if record.format != Self::FORMAT {
            return Err(Failure::new(format!("{file} has format {}, which is unknown here", record.format))
                .next("use the suturectl that wrote it, or a newer one"));
        }
        id_bytes(&record.id)?;
        Ok(Some(record))
    }

    /// Writes the record of a key of which there is none yet.
    pub(super) fn write(&self, lock: &Locked, name: &KeyName) -> Outcome {
        let mut bytes = serde_json::to_vec_pretty(self).or_fail(|| format!("cannot write {}", file_name(name)))?;
        bytes.push(b'\n');
        Ok(lock.create(&format!("{name}.p11"), &bytes, Access::Public)?)
    }

    /// Where the key is.
    pub fn place(&self) -> Place {
        Place::Token {
            token: self.token.clone(),
            serial: self.serial.clone(),
            module: self.module.display().to_string(),
            id: self.id.clone(),
        }
    }

    /// Logs in and finds the key.
    pub(super) fn open(&self, name: &KeyName, pins: &Pins) -> Outcome<Box<dyn Signer>> {
        let module = Module::load(&self.module)?;
        let token = module.find(&self.token, Some(&self.serial))?;
        let session = module.log_in(&token, pins, slot::Access::Read)?;
        let object = KeyObject::by_id(&session, &token, &id_bytes(&self.id)?)?.ok_or_else(|| {
            Failure::new(format!("{token} holds no private key with the id {} any more", self.id)).next(format!(
                "the key {name} was deleted or the token was initialised anew: then it is lost, see the runbook lost-key.md"
            ))
        })?;
        // Told here and not at the first signature, where the token shows its public key at all.
        if object.public_key.is_some_and(|there| there != self.public_key) {
            return Err(Failure::untrusted(format!(
                "{} names another public key than {token} has under the id {}",
                file_name(name),
                self.id
            ))
            .next("one of the two was exchanged: compare both with the keys that `catalog status` or `approvals status` shows before anything is signed"));
        }
        let login = Login { module, session, token, pins: pins.clone() };
        Ok(Box::new(TokenKey::new(login, &object, self.public_key)))
    }
}

/// Makes a key pair on a token and records it under a name.
pub(super) fn create(
    record: impl FnOnce(Record) -> Outcome,
    name: &KeyName,
    choice: &Choice,
    pins: &Pins,
    id: [u8; 16],
) -> Outcome<PublicKey> {
    let path = choice.module_path()?;
    let module = Module::load(&path)?;
    let token = module.find(&choice.label, choice.serial.as_deref())?;
    module.must_make_ed25519(&token)?;
    let session = module.log_in(&token, pins, slot::Access::Write)?;
    let login = Login { module, session, token, pins: pins.clone() };
    let Login { session, token, .. } = &login;
    let pair = object::generate(session, token, name.as_str(), &id)?;
    let recorded = pair.checked(session, token).and_then(|object| {
        let public_key = object.public_key.ok_or_else(|| object::shows_no_public_key(token))?;
        // A key that has never signed must not be the one that a repository is begun with.
        signer::prove(&login, &object, public_key, &id)?;
        record(Record::of(token, path, &id, public_key))?;
        Ok(public_key)
    });
    if recorded.is_err() {
        // Nobody knows of the pair: it must not stay on the token as a riddle.
        pair.destroy(session);
    }
    recorded
}

/// Records a key that is on a token already, once it has signed `nonce`.
pub(super) fn add(
    record: impl FnOnce(Record) -> Outcome,
    choice: &Choice,
    wanted: &Object,
    pins: &Pins,
    nonce: [u8; 32],
) -> Outcome<Added> {
    let path = choice.module_path()?;
    let module = Module::load(&path)?;
    let token = module.find(&choice.label, choice.serial.as_deref())?;
    let session = module.log_in(&token, pins, slot::Access::Read)?;
    let login = Login { module, session, token, pins: pins.clone() };
    let Login { session, token, .. } = &login;
    let object = object::choose(session, token, wanted)?;
    let public_key = object.public_key.ok_or_else(|| object::shows_no_public_key(token))?;
    can_be_recorded(&object.id)?;
    signer::prove(&login, &object, public_key, &nonce)?;
    record(Record::of(token, path, &object.id, public_key))?;
    Ok(Added { public_key, extractable: object.extractable })
}

impl Choice {
    fn module_path(&self) -> Outcome<PathBuf> {
        match &self.module {
            // A bare name is looked for where libraries are, which is p11-kit's to say; anything else must not depend on
            // where a command happens to be run.
            None => Ok(PathBuf::from(DEFAULT_MODULE)),
            Some(path) => {
                std::path::absolute(path).or_fail(|| format!("cannot tell where the module {} is", path.display()))
            }
        }
    }
}

fn file_name(name: &KeyName) -> String {
    format!("keys/{name}.p11")
}

fn id_bytes(id: &str) -> Outcome<Vec<u8>> {
    let bytes = hex::decode(id).or_fail(|| format!("{id:?} is no id of a key: hexadecimal digits"))?;
    if bytes.is_empty() || bytes.len() > MAX_ID_BYTES {
        return Err(Failure::new(format!("{id:?} is no id of a key: 1 to {MAX_ID_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Whether a key of that id is found again by its record.
fn can_be_recorded(id: &[u8]) -> Outcome {
    match id.len() {
        1..=MAX_ID_BYTES => Ok(()),
        n => Err(Failure::new(format!(
            "the key on the token has an id of {n} bytes, and can be recorded with 1 to {MAX_ID_BYTES}"
        ))
        .next("give it another with the token's own tool, as `pkcs11-tool --set-id`")),
    }
}

fn is_default(module: &Path) -> bool {
    module == Path::new(DEFAULT_MODULE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found: a key with an id that no record is read with was recorded, and then no key of the home could be listed.
    #[test]
    fn a_key_is_recorded_only_by_an_id_that_its_record_is_read_with() {
        for (length, fits) in [(0, false), (1, true), (MAX_ID_BYTES, true), (MAX_ID_BYTES + 1, false)] {
            let id = vec![7; length];
            assert_eq!(can_be_recorded(&id).is_ok(), fits, "{length}");
            assert_eq!(id_bytes(&hex::encode(&id)).is_ok(), fits, "{length}");
        }
    }
}
