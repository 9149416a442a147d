//! Signing keys in files: PKCS#8 PEM, encrypted unless asked otherwise, readable by their owner only.
//!
//! Beside `<name>.pem` stands `<name>.pub`, so that listing keys and preparing a root need no passphrase.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use suture_core::sign::{LocalKey, PublicKey, SignError, Signer};
use zeroize::Zeroizing;

use crate::failure::{Failure, Outcome};
use crate::files::{self, Access};
use crate::home::Home;

/// A key file is some hundred bytes.
const MAX_KEY_BYTES: u64 = 64 << 10;
/// A passphrase file holds one line.
const MAX_PASSPHRASE_BYTES: u64 = 4 << 10;

/// Where passphrases come from.
#[derive(Debug, Clone)]
pub enum Passphrases {
    /// The first line of a file.
    File(PathBuf),
    /// A prompt, where there is a terminal.
    Prompt,
}

/// The name of a key: a safe file name.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Whether its file is encrypted.
    pub encrypted: bool,
}

impl Passphrases {
    /// The passphrase that opens a key.
    pub fn existing(&self, name: &KeyName) -> Outcome<Zeroizing<String>> {
        self.ask(&format!("Passphrase of the key {name}: "))
    }

    /// A passphrase for a new key, typed twice.
    pub fn chosen(&self, name: &KeyName) -> Outcome<Zeroizing<String>> {
        let passphrase = self.ask(&format!("New passphrase for the key {name}: "))?;
        if let Self::Prompt = self
            && self.ask("The same again: ")? != passphrase
        {
            return Err(Failure::new("the two passphrases differ; nothing was written"));
        }
        Ok(passphrase)
    }

    fn ask(&self, prompt: &str) -> Outcome<Zeroizing<String>> {
        let text = match self {
            Self::File(path) => {
                let bytes = files::read(path, MAX_PASSPHRASE_BYTES)?.map(Zeroizing::new);
                let bytes =
                    bytes.ok_or_else(|| Failure::new(format!("there is no passphrase file {}", path.display())))?;
                let text = std::str::from_utf8(&bytes).map_err(|e| {
                    Failure::new(format!("the passphrase file {} is no text", path.display())).because(&e)
                })?;
                Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
            }
            Self::Prompt if std::io::stdin().is_terminal() => Zeroizing::new(
                rpassword::prompt_password(prompt)
                    .map_err(|e| Failure::new("cannot read a passphrase from the terminal").because(&e))?,
            ),
            Self::Prompt => {
                return Err(Failure::new("a passphrase is needed and there is no terminal to ask at")
                    .next("--passphrase-file FILE, or SUTURE_PASSPHRASE_FILE"));
            }
        };
        if text.is_empty() {
            return Err(
                Failure::new("the passphrase is empty").next("choose one, or make the key with --no-passphrase")
            );
        }
        Ok(text)
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

    /// Writes a new key from 32 random bytes; refuses a name that is taken.
    pub fn create(&self, name: &KeyName, seed: &Zeroizing<[u8; 32]>, passphrase: Option<&str>) -> Outcome<PublicKey> {
        if self.exists(name)? {
            return Err(Failure::new(format!("there is a key named {name} already"))
                .next("choose another name; a key that signs is never overwritten"));
        }
        let key = LocalKey::from_seed(seed);
        self.store(name, &key, passphrase)?;
        Ok(key.public())
    }

    /// Whether there is a key of that name.
    pub fn exists(&self, name: &KeyName) -> Outcome<bool> {
        Ok(self.home.read(&pem_name(name))?.is_some())
    }

    /// Opens a key for signing.
    pub fn open(&self, name: &KeyName, passphrases: &Passphrases) -> Outcome<Box<dyn Signer>> {
        Ok(Box::new(self.open_file(name, passphrases)?))
    }

    fn open_file(&self, name: &KeyName, passphrases: &Passphrases) -> Outcome<LocalKey> {
        let path = self.home.path(&pem_name(name))?;
        let pem = read_pem(&path)?.ok_or_else(|| missing(name))?;
        let opened = match LocalKey::from_pem(&pem, None) {
            Err(SignError::PassphraseNeeded) => LocalKey::from_pem(&pem, Some(&passphrases.existing(name)?)),
            other => other,
        };
        opened.map_err(|e| Failure::new(format!("cannot open the key {}", path.display())).because(&e))
    }

    /// Encrypts a key under another passphrase, or none.
    pub fn change_passphrase(
        &self,
        name: &KeyName,
        old: &Passphrases,
        new: impl FnOnce() -> Outcome<Option<Zeroizing<String>>>,
    ) -> Outcome {
        let key = self.open_file(name, old)?;
        self.store(name, &key, new()?.as_ref().map(|p| p.as_str()))
    }

    /// A key's public half.
    pub fn public(&self, name: &KeyName) -> Outcome<PublicKey> {
        let bytes = self.home.read(&public_name(name))?.ok_or_else(|| missing(name))?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        PublicKey::try_from(text).map_err(|e| Failure::new(format!("{} is damaged", public_name(name))).because(&e))
    }

    /// All keys, by name.
    pub fn list(&self) -> Outcome<Vec<Listed>> {
        let directory = self.home.path("keys/x")?.with_file_name("");
        let entries = std::fs::read_dir(&directory)
            .map_err(|e| Failure::new(format!("cannot list {}", directory.display())).because(&e))?;
        let mut keys = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Failure::new(format!("cannot list {}", directory.display())).because(&e))?;
            let file = entry.file_name();
            let name = file.to_str().and_then(|f| f.strip_suffix(".pem")).and_then(|n| n.parse::<KeyName>().ok());
            let Some(name) = name else { continue };
            let pem = read_pem(&entry.path())?.unwrap_or_default();
            let public_key = self.public(&name)?;
            let encrypted = pem.contains("ENCRYPTED PRIVATE KEY");
            keys.push(Listed { name: name.0, public_key, encrypted });
        }
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(keys)
    }

    fn store(&self, name: &KeyName, key: &LocalKey, passphrase: Option<&str>) -> Outcome {
        let pem =
            key.to_pem(passphrase).map_err(|e| Failure::new(format!("cannot encrypt the key {name}")).because(&e))?;
        // The public half first: a key without it would be listed as damaged.
        self.home.write(&public_name(name), format!("{}\n", key.public()).as_bytes(), Access::Public)?;
        self.home.write(&pem_name(name), pem.as_bytes(), Access::Secret)
    }
}

fn pem_name(name: &KeyName) -> String {
    format!("keys/{name}.pem")
}

fn public_name(name: &KeyName) -> String {
    format!("keys/{name}.pub")
}

fn missing(name: &KeyName) -> Failure {
    Failure::new(format!("there is no key named {name}")).next("`suturectl key list`, or `suturectl key new NAME`")
}

fn read_pem(path: &Path) -> Outcome<Option<Zeroizing<String>>> {
    let Some(bytes) = files::read(path, MAX_KEY_BYTES)?.map(Zeroizing::new) else { return Ok(None) };
    let text = std::str::from_utf8(&bytes)
        .map_err(|e| Failure::new(format!("{} is no PEM file", path.display())).because(&e))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn name(text: &str) -> KeyName {
        text.parse().unwrap()
    }

    fn passphrase_file(dir: &Path, text: &str) -> Passphrases {
        let path = dir.join(format!("{}.pass", text.len()));
        std::fs::write(&path, format!("{text}\n")).unwrap();
        Passphrases::File(path)
    }

    #[test]
    fn a_key_is_encrypted_private_and_opens_with_its_passphrase_only() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("home")).unwrap();
        let keys = Keys::of(&home);
        let public = keys.create(&name("release"), &Zeroizing::new([5; 32]), Some("correct horse")).unwrap();
        let path = home.directory().join("keys/release.pem");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::read_to_string(&path).unwrap().contains("ENCRYPTED PRIVATE KEY"));
        let right = passphrase_file(dir.path(), "correct horse");
        let wrong = passphrase_file(dir.path(), "battery");
        assert_eq!(keys.open(&name("release"), &right).unwrap().public(), public);
        let failure = keys.open(&name("release"), &wrong).err().unwrap().to_text();
        assert!(failure.contains("passphrase does not open") && !failure.contains("battery"), "{failure}");
        assert!(keys.create(&name("release"), &Zeroizing::new([6; 32]), None).is_err(), "never overwritten");
        assert_eq!(keys.public(&name("release")).unwrap(), public);

        keys.change_passphrase(&name("release"), &right, || Ok(Some(Zeroizing::new("battery".to_owned())))).unwrap();
        assert_eq!(keys.open(&name("release"), &wrong).unwrap().public(), public);
        assert!(keys.open(&name("release"), &right).is_err());
    }

    #[test]
    fn keys_are_listed_by_name_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let keys = Keys::of(&home);
        keys.create(&name("b"), &Zeroizing::new([1; 32]), None).unwrap();
        keys.create(&name("a"), &Zeroizing::new([2; 32]), Some("p")).unwrap();
        let listed: Vec<_> = keys.list().unwrap().into_iter().map(|k| (k.name, k.encrypted)).collect();
        assert_eq!(listed, [("a".to_owned(), true), ("b".to_owned(), false)]);
        assert!(keys.open(&name("c"), &Passphrases::Prompt).err().unwrap().to_text().contains("no key named c"));
        for bad in ["../x", "", "A", "a/b"] {
            assert!(bad.parse::<KeyName>().is_err());
        }
    }

    #[test]
    fn an_empty_or_missing_passphrase_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(passphrase_file(dir.path(), "").chosen(&name("a")).is_err());
        assert!(Passphrases::File(dir.path().join("none")).existing(&name("a")).is_err());
    }
}
