//! Settings as text, before anybody has understood them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::s3::KEY_VARIABLES;
use super::{ENV_PREFIX, Fault, KEYS};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In the configuration file.
    File(PathBuf),
    /// In this environment variable.
    Environment(String),
    /// On the command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// Values as text, and what was wrong with them so far.
#[derive(Default)]
pub struct Written {
    values: BTreeMap<&'static str, (String, Source)>,
    pub(super) faults: Vec<Fault>,
    /// Keys of a bucket, by the names that other programs know. They are secrets, and never part of a fault.
    given: BTreeMap<String, Zeroizing<String>>,
    /// The file could not be read, so nobody knows what is missing.
    unread: bool,
}

impl Written {
    /// Takes in a configuration file's text. Numbers and lists of texts are taken as they would be written in the
    /// environment.
    pub fn file(&mut self, path: &Path, text: &str) {
        let source = Source::File(path.to_owned());
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(e) => {
                let e: toml::de::Error = e;
                let before = text.get(..e.span().map_or(0, |span| span.start)).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                let found = format!("line {line}: {}", e.message());
                self.fault("configuration file", Some((found, source)), "TOML");
                self.unread = true;
                return;
            }
        };
        for (key, value) in table {
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Array(items) => {
                    let texts = items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
                    texts.collect::<Vec<_>>().join(",")
                }
                other => other.to_string(),
            };
            self.put(&key, value, source.clone());
        }
    }

    /// Says that the configuration file cannot be read.
    pub fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        let found = (error.to_string(), Source::File(path.to_owned()));
        self.fault("configuration file", Some(found), "a file that the server may read");
        self.unread = true;
    }

    /// Takes in those environment variables that are ours, and a bucket's keys. `SUTURE_SERVER_CONFIG` names the file and is
    /// no setting.
    pub fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (name, value) in variables {
            if KEY_VARIABLES.contains(&name.as_str()) {
                self.given.insert(name, Zeroizing::new(value.trim().to_owned()));
                continue;
            }
            match name.strip_prefix(ENV_PREFIX) {
                None | Some("CONFIG") => {}
                Some(key) => self.put(&key.to_ascii_lowercase(), value, Source::Environment(name.clone())),
            }
        }
    }

    /// Takes in a flag.
    pub fn flag(&mut self, key: &'static str, value: &str) {
        self.put(key, value.to_owned(), Source::Flag);
    }

    fn put(&mut self, key: &str, value: String, source: Source) {
        match KEYS.iter().find(|(known, _)| *known == key) {
            Some((known, _)) => drop(self.values.insert(known, (value, source))),
            None => {
                let known: Vec<&str> = KEYS.iter().map(|(known, _)| *known).collect();
                self.fault(key, Some((value, source)), &format!("one of the settings {}", known.join(", ")));
            }
        }
    }

    /// Whether there is more than an empty text.
    pub(super) fn says(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|(value, _)| !value.is_empty())
    }

    /// What an environment variable of other programs holds.
    pub(super) fn given(&self, name: &str) -> Option<String> {
        self.given.get(name).filter(|value| !value.is_empty()).map(|value| value.as_str().to_owned())
    }

    /// A value that must be there; none where it is not, or not understood, which is a fault.
    pub(super) fn need<T>(&mut self, key: &'static str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        match self.values.remove(key) {
            Some(written) => self.read(key, written, read),
            None => {
                if !self.unread {
                    self.fault(key, None, allowed(key));
                }
                None
            }
        }
    }

    /// A value that has a default; none where it is not understood, which is a fault.
    pub(super) fn or<T>(&mut self, key: &'static str, default: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        match self.values.remove(key) {
            Some(written) => self.read(key, written, read),
            None => read(default),
        }
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        (value, source): (String, Source),
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let understood = read(&value);
        if understood.is_none() {
            self.fault(key, Some((value, source)), allowed(key));
        }
        understood
    }

    fn fault(&mut self, key: &str, found: Option<(String, Source)>, allowed: &str) {
        // A database's URL may hold a password, under its own key or under a misspelt one.
        let found = found.map(|(value, source)| {
            let secret = key == "database" || (value.contains("://") && value.contains('@'));
            (if secret { "(not shown)".to_owned() } else { value }, source)
        });
        self.faults.push(Fault { key: key.to_owned(), found, allowed: allowed.to_owned() });
    }
}

fn allowed(key: &str) -> &'static str {
    KEYS.iter().find(|(known, _)| *known == key).map_or("", |(_, allowed)| allowed)
}
