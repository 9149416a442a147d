//! A person's word at the device that nothing is to be begun, kept in `hold.json` until a person takes it back.
//!
//! It is read again each time something is about to be begun, so it counts from the moment in which it is on disk, whether or
//! not an agent runs then. One that cannot be read holds too: it fails closed. What is past the switch it does not touch.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::{format_utc, utc};
use suture_core::phase::{Code, Reason};

use crate::durable::{self, DurableError};

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Why.
    pub reason: String,
    /// Who, as the device knows them.
    pub by: String,
    /// Since when.
    #[serde(with = "utc")]
    pub since: Timestamp,
}

impl Hold {
    /// The hold that stands, if one does.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn read(state_dir: &Path) -> Result<Option<Self>, DurableError> {
        durable::read_json(&place(state_dir))
    }

    /// Why nothing is begun, where a hold stands or cannot be read.
    pub fn standing(state_dir: &Path) -> Option<Reason> {
        let text = match Self::read(state_dir) {
            Ok(None) => return None,
            Ok(Some(Self { reason, by, since })) => {
                format!("held at the device since {} by {by}: {reason}", format_utc(since))
            }
            Err(e) => format!("whether the device is held here cannot be read, so it is: {e}"),
        };
        Some(Reason::new(Code::HeldHere, text))
    }

    /// Holds from now on.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn put(&self, state_dir: &Path) -> Result<(), DurableError> {
        durable::write_json(&place(state_dir), self, durable::OPEN)
    }

    /// Ends it, also one that cannot be read.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn end(state_dir: &Path) -> Result<(), DurableError> {
        durable::remove(&place(state_dir))
    }
}

fn place(state_dir: &Path) -> PathBuf {
    state_dir.join("hold.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_outlives_everything_but_its_end_and_a_torn_one_holds_too() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!((Hold::read(dir.path()).unwrap(), Hold::standing(dir.path())), (None, None));
        let since = "2026-11-24T02:00:00Z".parse().unwrap();
        let hold = Hold { reason: "the ward is full".into(), by: "account kim (uid 1000)".into(), since };
        hold.put(dir.path()).unwrap();
        assert_eq!(Hold::read(dir.path()).unwrap().as_ref(), Some(&hold));
        let reason = Hold::standing(dir.path()).unwrap();
        assert_eq!(reason.code, Code::HeldHere);
        assert_eq!(
            reason.text,
            "held at the device since 2026-11-24T02:00:00Z by account kim (uid 1000): the ward is full"
        );
        for torn in [&b""[..], b"{\"rea", b"\0\0\0", b"{}"] {
            std::fs::write(place(dir.path()), torn).unwrap();
            assert_eq!(Hold::standing(dir.path()).map(|r| r.code), Some(Code::HeldHere), "{torn:?}");
        }
        Hold::end(dir.path()).unwrap();
        Hold::end(dir.path()).unwrap();
        assert_eq!(Hold::standing(dir.path()), None);
    }
}
