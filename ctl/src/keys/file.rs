//! Keys in files: PKCS#8 PEM, encrypted unless asked otherwise, readable by their owner only.
//!
//! Beside `<name>.pem` stands `<name>.pub`, so that listing keys and preparing a root need no passphrase.

use std::path::Path;

use suture_core::sign::{LocalKey, PublicKey, SignError, Signer as _};
use zeroize::Zeroizing;

use super::secret::Passphrases;
use super::{KeyName, missing};
use crate::failure::{Failure, Outcome};
use crate::files::{self, Access};
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

/// Writes a key, encrypted where a passphrase is given.
pub(super) fn store(home: &Home, name: &KeyName, key: &LocalKey, passphrase: Option<&str>) -> Outcome {
    let pem = key.to_pem(passphrase).map_err(|e| Failure::new(format!("cannot encrypt the key {name}")).because(&e))?;
    // The public half first: a key without it would be listed as damaged.
    home.write(&public_name(name), format!("{}\n", key.public()).as_bytes(), Access::Public)?;
    home.write(&pem_name(name), pem.as_bytes(), Access::Secret)
}

/// The public half.
pub(super) fn public(home: &Home, name: &KeyName) -> Outcome<PublicKey> {
    let bytes = home.read(&public_name(name))?.ok_or_else(|| missing(name))?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    PublicKey::try_from(text).map_err(|e| Failure::new(format!("{} is damaged", public_name(name))).because(&e))
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
