//! Passphrases and PINs: from a prompt, or from the first line of a file. Never from an argument or the environment,
//! which other processes can read, and wiped from memory once used.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::KeyName;
use crate::failure::{Failure, Outcome};
use crate::files;

/// A file of secrets holds one line.
const MAX_SECRET_BYTES: u64 = 4 << 10;

/// Where a kind of secret comes from.
#[derive(Debug, Clone)]
enum Source {
    /// The first line of a file.
    File(PathBuf),
    /// A prompt, where there is a terminal.
    Prompt,
}

impl From<Option<PathBuf>> for Source {
    fn from(file: Option<PathBuf>) -> Self {
        file.map_or(Self::Prompt, Self::File)
    }
}

impl Source {
    /// Asks for a `what`; `flag` says how to give one where there is no terminal.
    fn ask(&self, what: &str, flag: &str, prompt: &str) -> Outcome<Zeroizing<String>> {
        let text = match self {
            Self::File(path) => {
                let bytes = files::read(path, MAX_SECRET_BYTES)?.map(Zeroizing::new);
                let bytes = bytes.ok_or_else(|| Failure::new(format!("there is no {what} file {}", path.display())))?;
                let text = std::str::from_utf8(&bytes)
                    .map_err(|e| Failure::new(format!("the {what} file {} is no text", path.display())).because(&e))?;
                Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
            }
            Self::Prompt if std::io::stdin().is_terminal() => Zeroizing::new(
                rpassword::prompt_password(prompt)
                    .map_err(|e| Failure::new(format!("cannot read a {what} from the terminal")).because(&e))?,
            ),
            Self::Prompt => {
                return Err(Failure::new(format!("a {what} is needed and there is no terminal to ask at")).next(flag));
            }
        };
        if text.is_empty() { Err(Failure::new(format!("the {what} is empty"))) } else { Ok(text) }
    }
}

/// Where the passphrases of key files come from.
#[derive(Debug, Clone)]
pub struct Passphrases(Source);

impl From<Option<PathBuf>> for Passphrases {
    /// The first line of that file, or a prompt.
    fn from(file: Option<PathBuf>) -> Self {
        Self(file.into())
    }
}

impl Passphrases {
    /// The passphrase that opens a key.
    pub fn existing(&self, name: &KeyName) -> Outcome<Zeroizing<String>> {
        self.ask(&format!("Passphrase of the key {name}: "))
    }

    /// A passphrase for a new key, typed twice.
    pub fn chosen(&self, name: &KeyName) -> Outcome<Zeroizing<String>> {
        let passphrase = self
            .ask(&format!("New passphrase for the key {name}: "))
            .map_err(|f| if f.next.is_some() { f } else { f.next("a passphrase, or --no-passphrase") })?;
        if matches!(self.0, Source::Prompt) && self.ask("The same again: ")? != passphrase {
            return Err(Failure::new("the two passphrases differ; nothing was written"));
        }
        Ok(passphrase)
    }

    fn ask(&self, prompt: &str) -> Outcome<Zeroizing<String>> {
        self.0.ask("passphrase", "--passphrase-file FILE, or SUTURE_PASSPHRASE_FILE", prompt)
    }
}

/// Where the PINs of tokens come from.
#[derive(Debug, Clone)]
pub struct Pins(Source);

impl From<Option<PathBuf>> for Pins {
    /// The first line of that file, or a prompt.
    fn from(file: Option<PathBuf>) -> Self {
        Self(file.into())
    }
}

impl Pins {
    /// The PIN of a token, described by `token`. On the last try before the token locks itself, a person must type it: a
    /// file that held a wrong PIN twice holds it a third time.
    pub fn of(&self, token: &str, last_try: bool) -> Outcome<Zeroizing<String>> {
        let source = if last_try { &Source::Prompt } else { &self.0 };
        let warning = if last_try { " (the LAST try: a wrong one locks the token)" } else { "" };
        let flag = if last_try {
            "only one try is left before the token locks itself: run the command at a terminal and type the PIN"
        } else {
            "--pin-file FILE, or SUTURE_PIN_FILE"
        };
        source.ask("PIN", flag, &format!("PIN of {token}{warning}: "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_or_missing_secret_is_refused_and_a_last_try_is_left_to_a_person() {
        let dir = tempfile::tempdir().unwrap();
        let name: KeyName = "a".parse().unwrap();
        let file = |text: &str| {
            let path = dir.path().join("secret");
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let failure = Passphrases::from(file("\n")).chosen(&name).unwrap_err().to_text();
        assert!(failure.contains("empty") && failure.contains("--no-passphrase"), "{failure}");
        assert!(Passphrases::from(Some(dir.path().join("none"))).existing(&name).is_err());
        let pins = Pins::from(file("1234\n5678\n"));
        assert_eq!(pins.of("the token", false).unwrap().as_str(), "1234");
        // Tests run without a terminal.
        if !std::io::stdin().is_terminal() {
            let failure = pins.of("the token", true).unwrap_err().to_text();
            assert!(failure.contains("only one try is left") && !failure.contains("1234"), "{failure}");
        }
    }
}
