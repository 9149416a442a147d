//! Which editions of a repository's targets metadata this home has verified or signed: one line each, `VERSION:SHA256`.
//!
//! It is what a fork is told by. Every edition in it led to the next by digest, so there is no gap between the oldest and
//! the newest; what came before the oldest can be proven from it at any time.

use std::collections::BTreeMap;

use suture_core::digest::Digest;
use suture_core::trust::Edition;

use crate::failure::{Failure, Outcome};

/// How many are kept, the newest; far more than one walk back goes: 8,192.
const MAX_EDITIONS: usize = 8_192;

/// Editions by version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    editions: BTreeMap<u64, Digest>,
}

impl History {
    /// Reads the file's text.
    ///
    /// # Errors
    ///
    /// A line is no edition, or a version has two.
    pub fn parse(text: &str) -> Outcome<Self> {
        let mut history = Self::default();
        for line in text.lines() {
            let edition: Edition =
                line.parse().map_err(|e| Failure::new("the list of editions is damaged").because(&e))?;
            if history.editions.insert(edition.version, edition.sha256).is_some_and(|known| known != edition.sha256) {
                return Err(Failure::new(format!("the list of editions has version {} twice", edition.version)));
            }
        }
        Ok(history)
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let line = |(version, sha256): (&u64, &Digest)| format!("{}\n", Edition { version: *version, sha256: *sha256 });
        self.editions.iter().map(line).collect()
    }

    /// The newest.
    pub fn newest(&self) -> Option<Edition> {
        self.editions.last_key_value().map(|(version, sha256)| Edition { version: *version, sha256: *sha256 })
    }

    /// The oldest.
    pub fn oldest(&self) -> Option<Edition> {
        self.editions.first_key_value().map(|(version, sha256)| Edition { version: *version, sha256: *sha256 })
    }

    /// The digest of a version.
    pub fn get(&self, version: u64) -> Option<Digest> {
        self.editions.get(&version).copied()
    }

    /// Adds what was proven to lead to, or to come from, what is here.
    pub fn extend(&mut self, proven: impl IntoIterator<Item = Edition>) {
        self.editions.extend(proven.into_iter().map(|e| (e.version, e.sha256)));
        while self.editions.len() > MAX_EDITIONS {
            self.editions.pop_first();
        }
    }

    /// Adds what another has that is newer, or older, than all that is here.
    pub fn keep_newer(&mut self, other: &Self) {
        let (oldest, newest) = (self.oldest().map(|e| e.version), self.newest().map(|e| e.version));
        let beyond = |version: u64| newest.is_none_or(|n| version > n) || oldest.is_none_or(|o| version < o);
        let more = other.editions.iter().filter(|(version, _)| beyond(**version));
        let more: Vec<_> = more.map(|(version, sha256)| Edition { version: *version, sha256: *sha256 }).collect();
        self.extend(more);
    }

    /// Begins anew from an edition that a person vouches for. What was verified before goes where it says otherwise, and
    /// stays where it is the same.
    pub fn anchor(&mut self, edition: Edition) {
        if self.get(edition.version) != Some(edition.sha256) {
            self.editions = BTreeMap::from([(edition.version, edition.sha256)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edition(version: u64, of: &str) -> Edition {
        Edition { version, sha256: Digest::of(of.as_bytes()) }
    }

    #[test]
    fn a_history_is_read_as_it_was_written_and_never_says_two_things() {
        let mut history = History::default();
        history.extend([edition(3, "c"), edition(2, "b"), edition(4, "d")]);
        assert_eq!((history.oldest(), history.newest()), (Some(edition(2, "b")), Some(edition(4, "d"))));
        assert_eq!(History::parse(&history.to_text()).unwrap(), history);
        let twice = format!("{}{}\n", history.to_text(), edition(3, "x"));
        assert!(History::parse(&twice).unwrap_err().to_text().contains("version 3 twice"));
        assert!(History::parse("3:abc").is_err());
    }

    #[test]
    fn the_newest_are_kept() {
        let mut history = History::default();
        history.extend((1..=MAX_EDITIONS as u64 + 5).map(|n| edition(n, "x")));
        assert_eq!(history.oldest(), Some(edition(6, "x")));
    }

    #[test]
    fn a_persons_word_replaces_what_contradicts_it_and_nothing_else() {
        let mut history = History::default();
        history.extend([edition(1, "a"), edition(2, "b")]);
        let before = history.clone();
        history.anchor(edition(1, "a"));
        assert_eq!(history, before);
        history.anchor(edition(2, "other"));
        assert_eq!((history.oldest(), history.newest()), (Some(edition(2, "other")), Some(edition(2, "other"))));
    }
}
