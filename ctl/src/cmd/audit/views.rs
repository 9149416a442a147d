//! What the hospital's devices have seen of the record, beside what this home reads of it.
//!
//! Attack: a server that shows devices one record and operators another. Each goes on with its own and finds nothing wrong; but
//! devices sign the head that they remember, and a head that is none of the record that is read here is a fork.

use std::collections::BTreeMap;

use suture_core::audit::Head;
use suture_core::principal::Principal;

use crate::alarm;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::{Desk, inventory};
use crate::trust_store::{TrustStore, Which};

/// Heads that devices have signed, and what they hold against the server.
#[derive(Debug, Default)]
pub(super) struct Views {
    heads: BTreeMap<u64, Vec<(String, Head)>>,
    agree: std::collections::BTreeSet<String>,
    wrong: Vec<String>,
}

impl Views {
    /// What this hospital's devices have signed; nothing at a manufacturer's, or where nothing is pinned to judge them by.
    pub(super) async fn gather(context: &mut Context<'_>) -> Outcome<Self> {
        let mut views = Self::default();
        let is_hospital = matches!(context.home.server()?.principal()?, Principal::Operator(..));
        if !is_hospital || !TrustStore::of(&context.home, Which::Approvals).is_pinned()? {
            return Ok(views);
        }
        let mut desk = Desk::open_base(context).await?;
        for device in inventory::devices(&mut desk.client, "", "", "").await? {
            let id = device.record.as_ref().map(|r| r.id.clone()).unwrap_or_default();
            for seen in alarm::sighted(&desk.hdo, &device, &desk.documents) {
                if let Some(head) = seen.audit {
                    views.saw(&id, head);
                }
                if let Some(doubt) = seen.doubt {
                    views.wrong.push(format!("device {id} says: {doubt}"));
                }
            }
        }
        Ok(views)
    }

    fn saw(&mut self, device: &str, head: Head) {
        self.heads.entry(head.size).or_default().push((device.to_owned(), head));
    }

    /// Compares with the record as far as it was read.
    pub(super) fn compare(&mut self, read: &Head) {
        for (device, head) in self.heads.remove(&read.size).unwrap_or_default() {
            if head == *read {
                self.agree.insert(device);
            } else {
                self.wrong.push(differs(&device, &head, "here its hash is another"));
            }
        }
    }

    /// How many devices agree; fails where one does not.
    pub(super) fn finish(mut self, end: &Head) -> Outcome<usize> {
        self.compare(&Head::empty());
        let missing = format!("this record ends at entry {}", end.size);
        let beyond = self.heads.values().flatten().map(|(device, head)| differs(device, head, &missing));
        self.wrong.extend(beyond.collect::<Vec<_>>());
        if self.wrong.is_empty() {
            return Ok(self.agree.len());
        }
        Err(Failure::untrusted(format!("the server shows others another audit record: {}", self.wrong.join("; "))).next(
            "do nothing more through this server; keep this home, and at each device that is named the file record.json, as \
             evidence",
        ))
    }
}

fn differs(device: &str, head: &Head, why: &str) -> String {
    format!("device {device} has signed that it saw {} entries with hash {}, and {why}", head.size, head.root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::digest::Digest;

    fn head(size: u64, of: &[u8]) -> Head {
        Head { size, root: Digest::of(of) }
    }

    #[test]
    fn a_head_that_is_none_of_the_record_is_a_fork_wherever_it_lies() {
        let read = |views: &mut Views| {
            for size in 1..=5 {
                views.compare(&head(size, &size.to_be_bytes()));
            }
        };
        let honest = |size: u64| head(size, &size.to_be_bytes());
        let mut views = Views::default();
        views.saw("pump-1", honest(3));
        views.saw("pump-1", honest(5));
        views.saw("pump-2", honest(3));
        read(&mut views);
        assert_eq!(views.finish(&honest(5)).unwrap(), 2);
        for (forked, says) in [(head(3, b"other"), "3 entries"), (head(6, b"6"), "ends at entry 5")] {
            let mut views = Views::default();
            views.saw("pump-1", honest(4));
            views.saw("pump-2", forked);
            read(&mut views);
            let failure = views.finish(&honest(5)).unwrap_err();
            let text = failure.to_text();
            assert!(text.contains("pump-2") && text.contains(says) && !text.contains("pump-1"), "{text}");
            assert_eq!(failure.exit, crate::failure::Exit::Untrusted);
        }
    }
}
