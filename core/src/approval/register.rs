//! The register: what operators and the server read of a hospital's approvals, and devices do not.

use serde::{Deserialize, Serialize};

use super::document::{SignedDocument, first_broken, strictly_ascending};
use super::path::Registered;
use super::pinned::Pinned;
use crate::id::HdoId;
use crate::limits::{MAX_REGISTER_BYTES, MAX_REGISTER_FILES};

/// Rosters, calendars and operators' documents, pinned in one file of which the targets metadata show devices only the
/// digest: so that these stay small, and tell no device of wards or of other devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// Always `suture-register`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// The files, ascending by path.
    pub files: Vec<Pinned>,
}

impl SignedDocument for Register {
    const TYPE: &'static str = "suture-register";
    const MAX_BYTES: u64 = MAX_REGISTER_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let roster = |file: &Pinned| match Registered::of(&file.path) {
            Some(Registered::Roster(part)) => Some(part),
            _ => None,
        };
        // In ascending order, what lies between a part and a part of it overlaps both; so neighbours tell.
        let rosters: Vec<_> = self.files.iter().filter_map(roster).collect();
        let apart = !rosters.iter().zip(rosters.iter().skip(1)).any(|(a, b)| a.overlaps(*b));
        first_broken(&[
            (self.files.len() <= MAX_REGISTER_FILES, "files lists too many"),
            (strictly_ascending(self.files.iter().map(|f| &f.path)), "files are not in ascending order, each once"),
            (
                self.files.iter().all(|f| Registered::of(&f.path).is_some()),
                "a file is no roster, no calendar and no operators' document",
            ),
            (apart, "two rosters may list the same device"),
        ])
    }
}

impl Register {
    /// A register of these files.
    pub fn new(hdo: HdoId, files: Vec<Pinned>) -> Self {
        Self { kind: Self::TYPE.to_owned(), format: 1, hdo, files }
    }

    /// The file under a path.
    pub fn file(&self, path: &str) -> Option<&Pinned> {
        self.files.binary_search_by(|f| f.path.as_str().cmp(path)).ok().and_then(|i| self.files.get(i))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(paths: &[&str]) -> Register {
        let files = paths.iter().map(|p| Pinned::of((*p).to_owned(), p.as_bytes())).collect();
        Register::new("riverside".parse().unwrap(), files)
    }

    #[test]
    fn it_is_read_as_it_was_written_and_finds_its_files() {
        let written =
            register(&["calendars/wards/icu.json", "operator/pump-7.json", "rosters/00.json", "rosters/01.json"]);
        let read = Register::parse(&written.to_bytes().unwrap()).unwrap();
        assert_eq!(read, written);
        assert_eq!(read.file("operator/pump-7.json"), written.files.get(1));
        assert_eq!(read.file("operator/pump-8.json"), None);
    }

    #[test]
    fn what_it_may_not_list_is_refused() {
        for (paths, rule) in [
            (vec!["rosters/all.json", "calendars/wards/icu.json"], "ascending"),
            (vec!["calendars/wards/icu.json", "calendars/wards/icu.json"], "ascending"),
            (vec!["approvals/pump-7.json"], "no roster"),
            (vec!["slots/pump-7/all.json"], "no roster"),
            (vec!["rosters/01.json", "rosters/0110.json"], "same device"),
            (vec!["rosters/0.json", "rosters/all.json"], "same device"),
        ] {
            let broken = register(&paths).broken_rule().unwrap();
            assert!(broken.contains(rule), "{paths:?}: {broken}");
        }
    }
}
