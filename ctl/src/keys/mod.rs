//! Signing keys, each under a name: in an encrypted file ([`file`]) or on a PKCS#11 token ([`token`]).
//!
//! What signs takes a [`Signer`] and does not know which of the two it has.

mod file;
mod secret;
pub mod token;

use std::collections::BTreeSet;

use suture_core::sign::{LocalKey, PublicKey, Signer};
use zeroize::Zeroizing;

use crate::failure::{Failure, Outcome};
use crate::files::Locked;
use crate::home::Home;

pub use secret::{Passphrases, Pins};

/// The name of a key: a safe file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName(String);

impl std::str::FromStr for KeyName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // The alphabet of ids: no separator, no `..`.
        match text.parse::<suture_core::id::PayloadName>() {
            Ok(name) => Ok(Self(name.as_str().to_owned())),
            Err(_) => Err(format!("{text:?} is not a key name: 1 to 64 characters of a-z, 0-9, '.', '_', '-'")),
        }
    }
}

impl KeyName {
    /// The name of the key for the repository's root role.
    pub fn root() -> Self {
        Self("root".to_owned())
    }

    /// The name of the key for the repository's targets role.
    pub fn targets() -> Self {
        Self("targets".to_owned())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key as `key list` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its public half.
    pub public_key: PublicKey,
    /// Where its private half is.
    #[serde(flatten)]
    pub place: Place,
}

/// Where a private key is kept.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(tag = "place", rename_all = "snake_case")]
pub enum Place {
    /// In a file of the home.
    File {
        /// Whether a passphrase protects it.
        encrypted: bool,
    },
    /// On a PKCS#11 token.
    Token {
        /// The token's label.
        token: String,
        /// Its serial number.
        serial: String,
        /// The module that reaches it.
        module: String,
        /// The key's id on it, in hexadecimal digits.
        id: String,
    },
}

impl Place {
    /// For a table.
    pub fn to_text(&self) -> String {
        match self {
            Self::File { encrypted: true } => "encrypted file".to_owned(),
            Self::File { encrypted: false } => "file, NOT encrypted".to_owned(),
            Self::Token { token, serial, .. } => format!("token {token:?}, serial {serial}"),
        }
    }
}

/// The keys of a home.
#[derive(Debug, Clone)]
pub struct Keys<'a> {
    home: &'a Home,
}

impl<'a> Keys<'a> {
    /// The keys of this home.
    pub fn of(home: &'a Home) -> Self {
        Self { home }
    }

    /// Writes a new key from 32 random bytes into a file; refuses a name that is taken.
    pub fn create(&self, name: &KeyName, seed: &Zeroizing<[u8; 32]>, passphrase: Option<&str>) -> Outcome<PublicKey> {
        self.must_be_free(name)?;
        let key = LocalKey::from_seed(seed);
        let pem = file::pem(name, &key, passphrase)?;
        let lock = self.free(name)?;
        file::create(&lock, name, &key.public(), &pem)?;
        Ok(key.public())
    }

    /// Makes a key on a token, from the token's own randomness; refuses a name that is taken. `id` is fresh random bytes:
    /// what tells the key from the token's others.
    pub fn create_on_token(
        &self,
        name: &KeyName,
        choice: &token::Choice,
        pins: &Pins,
        id: [u8; 16],
    ) -> Outcome<PublicKey> {
        self.must_be_free(name)?;
        token::create(|record| record.write(&self.free(name)?, name), name, choice, pins, id)
    }

    /// Gives a name to a key that is on a token already; refuses a name that is taken. `nonce` is fresh random bytes, which
    /// the key must sign.
    pub fn add_from_token(
        &self,
        name: &KeyName,
        choice: &token::Choice,
        object: &token::Object,
        pins: &Pins,
        nonce: [u8; 32],
    ) -> Outcome<token::Added> {
        self.must_be_free(name)?;
        token::add(|record| record.write(&self.free(name)?, name), choice, object, pins, nonce)
    }

    fn must_be_free(&self, name: &KeyName) -> Outcome {
        if self.exists(name)? {
            return Err(Failure::new(format!("there is a key named {name} already"))
                .next("choose another name; a key that signs is never overwritten"));
        }
        Ok(())
    }

    /// The directory of the keys, in which nobody writes meanwhile and the name is free yet. Accident: two commands at once that make
    /// a key of one name, each of which has found it free before.
    fn free(&self, name: &KeyName) -> Outcome<Locked> {
        let lock = self.home.lock("keys", false)?;
        self.must_be_free(name)?;
        Ok(lock)
    }

    /// Whether there is a key of that name.
    pub fn exists(&self, name: &KeyName) -> Outcome<bool> {
        Ok(file::exists(self.home, name)? || token::Record::read(self.home, name)?.is_some())
    }

    /// Opens a key for signing.
    pub fn open(&self, name: &KeyName, passphrases: &Passphrases, pins: &Pins) -> Outcome<Box<dyn Signer>> {
        match self.on_token(name)? {
            Some(record) => record.open(name, pins),
            None => Ok(Box::new(file::open(self.home, name, passphrases)?)),
        }
    }

    /// Encrypts a key's file under another passphrase, or none.
    pub fn change_passphrase(
        &self,
        name: &KeyName,
        old: &Passphrases,
        new: impl FnOnce() -> Outcome<Option<Zeroizing<String>>>,
    ) -> Outcome {
        if let Some(record) = self.on_token(name)? {
            return Err(Failure::new(format!(
                "the key {name} is on {record} and has no passphrase; the token has a PIN"
            ))
            .next("change the PIN with the token's own tool, as `pkcs11-tool --change-pin` or its maker's"));
        }
        let key = file::open(self.home, name, old)?;
        let pem = file::pem(name, &key, new()?.as_ref().map(|p| p.as_str()))?;
        file::replace(self.home, name, &pem)
    }

    /// A key's public half.
    pub fn public(&self, name: &KeyName) -> Outcome<PublicKey> {
        match self.on_token(name)? {
            Some(record) => Ok(record.public_key),
            None => file::public(self.home, name),
        }
    }

    /// A key as it is listed.
    pub fn show(&self, name: &KeyName) -> Outcome<Listed> {
        let (public_key, place) = match self.on_token(name)? {
            Some(record) => (record.public_key, record.place()),
            None => {
                // The private half first: where there is no key at all, its name is what is missing.
                let encrypted = file::is_encrypted(self.home, name)?;
                (file::public(self.home, name)?, Place::File { encrypted })
            }
        };
        Ok(Listed { name: name.as_str().to_owned(), public_key, place })
    }

    /// All keys, by name, and why others cannot be read. No token need be plugged in.
    pub fn list(&self) -> Outcome<(Vec<Listed>, Vec<Failure>)> {
        let directory = self.home.path("keys/x")?.with_file_name("");
        let entries = std::fs::read_dir(&directory)
            .map_err(|e| Failure::new(format!("cannot list {}", directory.display())).because(&e))?;
        let mut names = BTreeSet::new();
        for entry in entries {
            let entry = entry.map_err(|e| Failure::new(format!("cannot list {}", directory.display())).because(&e))?;
            let file = entry.file_name();
            let name = file.to_str().and_then(|f| f.strip_suffix(".pem").or_else(|| f.strip_suffix(".p11")));
            let Some(name) = name.and_then(|n| n.parse::<KeyName>().ok()) else { continue };
            names.insert(name);
        }
        let (mut keys, mut unreadable) = (Vec::new(), Vec::new());
        for name in names {
            match self.show(&name) {
                Ok(key) => keys.push(key),
                Err(failure) => unreadable.push(failure),
            }
        }
        Ok((keys, unreadable))
    }

    /// What is recorded of a key on a token; none where the key is in a file.
    fn on_token(&self, name: &KeyName) -> Outcome<Option<token::Record>> {
        let record = token::Record::read(self.home, name)?;
        if record.is_some() && file::exists(self.home, name)? {
            return Err(Failure::new(format!(
                "keys/{name}.pem and keys/{name}.p11 are both there; which of them is {name}?"
            ))
            .next("move one of the two files out of the home's keys directory"));
        }
        Ok(record)
    }
}

/// What a key signs to show that it can: no document begins like it. `nonce` is fresh random bytes.
pub fn test_text(nonce: &[u8]) -> Vec<u8> {
    format!("suture: a test of a signing key, and no document: {}", hex::encode(nonce)).into_bytes()
}

fn missing(name: &KeyName) -> Failure {
    Failure::new(format!("there is no key named {name}")).next("`suturectl key list`, or `suturectl key new NAME`")
}

#[cfg(test)]
mod tests;
