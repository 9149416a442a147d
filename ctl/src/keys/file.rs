//! Keys in files: PKCS#8 PEM, encrypted unless asked otherwise, readable by their owner only.
//!
//! Beside `<name>.pem` stands `<name>.pub`, so that listing keys and preparing a root need no passphrase.

use std::path::Path;

use suture_core::sign::{LocalKey, PublicKey, SignError};
use zeroize::Zeroizing;

use super::secret::Passphrases;
use super::{KeyName, missing};
use crate::failure::{Failure, Outcome};
use crate::files::{self, Access, Locked};
use crate::home::Home;

/// A key file is some hundred bytes.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Whether there is a file for that key.
pub(super) fn exists(home: &Home, name: &KeyName) -> Outcome<bool> {
    Ok(home.read(&pem_name(name))?.is_some())
}

/// Opens a key for signing.
pub(super) fn open(home: &Home, name: &KeyName, passphrases: &Passphrases) -> Outcome<LocalKey> {
    let path = home.path(&pem_name(name))?;
    let pem = read_pem(&path)?.ok_or_else(|| missing(name))?;
    let opened = match LocalKey::from_pem(&pem, None) {
        Err(SignError::PassphraseNeeded) => LocalKey::from_pem(&pem, Some(&passphrases.existing(name)?)),
        other => other,
    };
    opened.map_err(|e| Failure::new(format!("cannot open the key {}", path.display())).because(&e))
}

/// A key's file, encrypted where a passphrase is given, which takes long.
pub(super) fn pem(name: &KeyName, key: &LocalKey, passphrase: Option<&str>) -> Outcome<Zeroizing<String>> {
    let pem = key.to_pem(passphrase);
    pem.map_err(|e| Failure::new(format!("cannot encrypt the key {name}")).because(&e))
}

/// Writes a key that must not be there yet.
pub(super) fn create(lock: &Locked, name: &KeyName, public: &PublicKey, pem: &str) -> Outcome {
    // The public half first: a key without it would be listed as damaged.
    lock.write(&format!("{name}.pub"), format!("{public}\n").as_bytes(), Access::Public)?;
    Ok(lock.create(&format!("{name}.pem"), pem.as_bytes(), Access::Secret)?)
}

/// Puts a key's file in the place of the one that there is.
pub(super) fn replace(home: &Home, name: &KeyName, pem: &str) -> Outcome {
    home.write(&pem_name(name), pem.as_bytes(), Access::Secret)
}

/// The public half.
pub(super) fn public(home: &Home, name: &KeyName) -> Outcome<PublicKey> {
    let Some(bytes) = home.read(&public_name(name))? else {
        return Err(match exists(home, name)? {
            true => Failure::new(format!("{} is there without {}, its public half", pem_name(name), public_name(name)))
                .next("bring it back from the copy of this home"),
            false => missing(name),
        });
    };
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    PublicKey::try_from(text).map_err(|e| {
        let damaged = Failure::new(format!("{} is damaged", public_name(name))).because(&e);
        damaged.next("bring it back from the copy of this home")
    })
}

/// Whether the file is encrypted.
pub(super) fn is_encrypted(home: &Home, name: &KeyName) -> Outcome<bool> {
    let pem = read_pem(&home.path(&pem_name(name))?)?.ok_or_else(|| missing(name))?;
    Ok(pem.contains("ENCRYPTED PRIVATE KEY"))
}

fn pem_name(name: &KeyName) -> String {
    format!("keys/{name}.pem")
}

fn public_name(name: &KeyName) -> String {
    format!("keys/{name}.pub")
}

fn read_pem(path: &Path) -> Outcome<Option<Zeroizing<String>>> {
    let Some(bytes) = files::read(path, MAX_KEY_BYTES)?.map(Zeroizing::new) else { return Ok(None) };
    let text = std::str::from_utf8(&bytes)
        .map_err(|e| Failure::new(format!("{} is no PEM file", path.display())).because(&e))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}
