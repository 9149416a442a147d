//! Which texts of the record this home was given, and what can be said of those that it was not.
//!
//! Attack: a server that withholds the text of one of the reader's own entries, and lets it pass for somebody else's. A leaf
//! does not show whom its entry concerns, only the text does ([`suture_core::audit`]), so that nothing in the record refutes
//! that. What is found all the same: a text that this home was given before, and that is withheld now although no entry of the
//! record says that it was deleted.

use serde_json::Value;
use suture_core::audit::{Entry, Head};
use suture_core::principal::Principal;

use crate::failure::{Failure, Outcome};
use crate::witness::Read;

/// What the reading has met so far.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Entries without a text, as first and last of those that stand together; ascending.
    withheld: Vec<(u64, u64)>,
    /// Entries whose texts were deleted, as entries of the record's own say: first and last.
    deleted: Vec<(u64, u64)>,
}

/// How many entries came without a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Withheld {
    /// All of them.
    pub(super) all: u64,
    /// Of those, the ones whose texts were deleted, as the record itself says.
    pub(super) deleted: u64,
}

impl Texts {
    /// Takes in the entry at `seq`, or that its text is withheld.
    pub(super) fn take(&mut self, seq: u64, entry: Option<&Entry>) {
        match entry {
            None => match self.withheld.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(seq) => *last = seq,
                _ => self.withheld.push((seq, seq)),
            },
            Some(entry) => self.deleted.extend(deleted(entry)),
        }
    }

    /// What it comes to. `before` is what this home was given when it read the record up to `since`.
    ///
    /// # Errors
    ///
    /// Texts are withheld that this home was given before.
    pub(super) fn finish(&self, reader: &Principal, before: Option<(&Read, Head)>) -> Outcome<Withheld> {
        let all = self.count(u64::MAX, |_| true);
        let deleted = self.count(u64::MAX, |seq| self.is_deleted(seq));
        if let Some((read, since)) = before.filter(|(read, _)| read.by == reader.to_string()) {
            let now = self.count(since.size, |seq| !self.is_deleted(seq));
            if let Some(gone) = now.checked_sub(read.withheld).filter(|gone| *gone > 0) {
                return Err(Failure::untrusted(format!(
                    "the server withholds the texts of {gone} or more entries of the audit record that it has given to this \
                     home before, and no entry says that they were deleted"
                ))
                .next("ask those who run the server for them, and compare with a colleague's `suturectl audit export`"));
            }
        }
        Ok(Withheld { all, deleted })
    }

    fn count(&self, through: u64, counts: impl Fn(u64) -> bool) -> u64 {
        let spans = self.withheld.iter().flat_map(|(first, last)| *first..=(*last).min(through));
        u64::try_from(spans.filter(|seq| counts(*seq)).count()).unwrap_or(u64::MAX)
    }

    fn is_deleted(&self, seq: u64) -> bool {
        self.deleted.iter().any(|(first, last)| (first..=last).contains(&&seq))
    }
}

/// Whose texts an entry says were deleted: none that stand behind it.
fn deleted(entry: &Entry) -> Option<(u64, u64)> {
    let said = |name: &str| entry.detail.get(name).and_then(Value::as_u64);
    let is_word = entry.action == "audit.pruned" && entry.actor == Principal::Server.to_string();
    let (first, last) = (said("first")?, said("last")?.min(entry.seq.saturating_sub(1)));
    is_word.then_some((first, last))
}

#[cfg(test)]
mod tests {
    use suture_core::audit::{Concern, Salt};
    use suture_core::digest::Digest;

    use super::*;

    fn entry(seq: u64, action: &str, detail: Value) -> Entry {
        Entry {
            kind: Entry::TYPE.to_owned(),
            seq,
            at: "2026-11-24T15:00:00Z".parse().unwrap(),
            actor: "server".to_owned(),
            concerns: Concern::Everybody,
            action: action.to_owned(),
            subject: "server".to_owned(),
            detail: detail.as_object().cloned().unwrap_or_default(),
            salt: Salt([0; 16]),
        }
    }

    /// Ten entries of which these come without a text; the last may say that others were deleted.
    fn read(withheld: &[u64], pruned: Option<(u64, u64)>) -> Texts {
        let mut texts = Texts::default();
        for seq in 1..=10 {
            let says = entry(seq, "rollout.pause", Value::Null);
            texts.take(seq, (!withheld.contains(&seq)).then_some(&says));
        }
        if let Some((first, last)) = pruned {
            texts.take(11, Some(&entry(11, "audit.pruned", serde_json::json!({ "first": first, "last": last }))));
        }
        texts
    }

    #[test]
    fn a_text_that_was_given_before_is_missed_unless_the_record_says_that_it_was_deleted() {
        let kim = Principal::Operator("riverside".parse().unwrap(), "kim".parse().unwrap());
        let lee = Principal::Operator("lakeside".parse().unwrap(), "lee".parse().unwrap());
        let since = Head { size: 10, root: Digest::of(b"root") };
        let before = Read { by: kim.to_string(), withheld: 2 };
        let with = |texts: Texts, reader: &Principal| texts.finish(reader, Some((&before, since)));
        let (all, none) = (|all, deleted| Withheld { all, deleted }, None);
        assert_eq!(with(read(&[2, 3], none), &kim).unwrap(), all(2, 0));
        // One of its own more: the server says now that it is another's.
        let failure = with(read(&[2, 3, 7], none), &kim).unwrap_err();
        assert_eq!(failure.exit, crate::failure::Exit::Untrusted);
        assert!(failure.to_text().contains("texts of 1 or more entries"), "{}", failure.to_text());
        // Deleted as the record has it, with that of others; what it does not name is missed all the same.
        assert_eq!(with(read(&[1, 2, 3, 4], none), &lee).unwrap(), all(4, 0));
        assert_eq!(with(read(&[1, 2, 3, 4], Some((1, 4))), &kim).unwrap(), all(4, 4));
        assert!(with(read(&[1, 2, 3, 4, 7, 8, 9], Some((1, 4))), &kim).is_err());
        // Before it has read it, it takes the server's word.
        assert_eq!(read(&[2, 3, 7], none).finish(&kim, None).unwrap(), all(3, 0));
        // Nobody deletes what stands behind his own word, and nobody but the server says so.
        assert_eq!(deleted(&entry(5, "audit.pruned", serde_json::json!({ "first": 1, "last": 9 }))), Some((1, 4)));
        let other =
            Entry { actor: kim.to_string(), ..entry(5, "audit.pruned", serde_json::json!({ "first": 1, "last": 2 })) };
        assert_eq!(deleted(&other), None);
    }
}
