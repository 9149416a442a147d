//! A device leaves its hospital: it is sold, lent, sent back or scrapped. What makes it that hospital's is wiped.
//!
//! Keys, certificates, both pinned roots, all metadata, the journal, unsent reports, orders and what is being fetched go. What
//! the manufacturer vouches for stays: the slots, and the floors that never sink. To join another hospital the device enrols
//! anew, with that hospital's token, its root and keys of its own.
//!
//! Attack: a hospital's network, or a captured server, that moves a device to where other people approve. Nothing but a person
//! at the device begins a departure (see [`crate::presence`]), and enrolment refuses a device that has not left.
//!
//! What is to be wiped is everything that is not named here as staying, so that a file that is added later does not stay by
//! mistake. A mark is written first and removed last: after a power cut in between, whatever opens the state ends the wiping
//! before anything else.
//!
//! Accident: the power fails between the hospital's being told and the wiping. The hospital revokes the device as it hears
//! it, and the device would stay with keys that count no more. So that it leaves is written down before it is told: whatever
//! runs next tells it, until the server has it or knows the device no more, and wipes then.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::checkpoint::{self, Step};
use crate::durable::{self, DurableError};

/// Written before the hospital is told.
const FAREWELL: &str = "farewell";
/// Written before anything is wiped, removed after everything is.
const MARK: &str = "leaving";
/// What stays: the floors, and the file by which there is one agent to a state directory.
const STAYS: [&str; 3] = [MARK, "floor.json", "lock"];
/// What holds secrets is written over before it is removed. A disk that writes elsewhere keeps the old bytes until it needs
/// the room: such a device needs a disk that is encrypted, as before it is scrapped.
const SECRETS: &str = "identity";
/// Deeper than anything that the agent makes.
const MAX_DEPTH: u32 = 16;

/// Resolves to leave: from here on the device begins nothing, and does nothing but tell its hospital that it leaves.
///
/// # Errors
///
/// The disk failed, and the device stays.
pub fn resolve(state_dir: &Path) -> Result<(), DurableError> {
    durable::write(&state_dir.join(FAREWELL), b"", durable::OPEN)
}

/// Whether that was resolved.
pub fn is_resolved(state_dir: &Path) -> bool {
    state_dir.join(FAREWELL).exists()
}

/// Begins a departure: from here on the device belongs to nobody. Ends it, too, where nothing fails.
///
/// # Errors
///
/// The disk failed; whoever opens the state next goes on.
pub fn begin(state_dir: &Path) -> Result<(), DurableError> {
    durable::write(&state_dir.join(MARK), b"", durable::OPEN)?;
    finish(state_dir)
}

/// Whether a departure has begun and not ended.
pub fn has_begun(state_dir: &Path) -> bool {
    state_dir.join(MARK).exists()
}

/// Ends a departure that has begun, where one has.
///
/// # Errors
///
/// The disk failed, and nothing may be done with what is left.
pub fn finish(state_dir: &Path) -> Result<(), DurableError> {
    let mark = state_dir.join(MARK);
    if !mark.try_exists().map_err(DurableError::io("look for", &mark))? {
        return Ok(());
    }
    overwrite(&state_dir.join(SECRETS), 0)?;
    let entries = fs::read_dir(state_dir).map_err(DurableError::io("list", state_dir))?;
    for entry in entries {
        let entry = entry.map_err(DurableError::io("list", state_dir))?;
        if STAYS.iter().all(|stays| entry.file_name() != *stays) {
            durable::remove_tree(&entry.path())?;
        }
    }
    durable::remove(&mark)
}

/// Writes zeros over each file below a directory and waits until they are on disk.
fn overwrite(path: &PathBuf, depth: u32) -> Result<(), DurableError> {
    let meta = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        meta => meta.map_err(DurableError::io("look at", path))?,
    };
    if meta.is_dir() && depth < MAX_DEPTH {
        for entry in fs::read_dir(path).map_err(DurableError::io("list", path))? {
            overwrite(&entry.map_err(DurableError::io("list", path))?.path(), depth + 1)?;
        }
    } else if meta.is_file() {
        let length = usize::try_from(meta.len().min(durable::MAX_STATE_BYTES)).unwrap_or_default();
        let zeros = vec![0; length];
        let written = OpenOptions::new().write(true).open(path).and_then(|mut file| {
            checkpoint::file(Step::Write, path)?;
            file.write_all(&zeros)?;
            checkpoint::file(Step::Sync, path)?;
            file.sync_all()
        });
        written.map_err(DurableError::io("write over", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device's state, and a name of its key's file that stays open.
    fn state() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        for below in ["identity", "approvals/root", "outbox", "something/new"] {
            durable::make_dir(&state.join(below)).unwrap();
        }
        for file in ["identity/report.pem", "identity/tls.pem", "approvals/root/1.json", "outbox/1", "something/new/f"]
        {
            durable::write(&state.join(file), b"secret", durable::SECRET).unwrap();
        }
        for file in ["journal.json", "floor.json", "lock"] {
            durable::write(&state.join(file), b"here", durable::OPEN).unwrap();
        }
        (dir, state)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_stays_but_what_is_named_and_keys_are_written_over() {
        let (dir, state) = state();
        let key = dir.path().join("key");
        fs::hard_link(state.join("identity/tls.pem"), &key).unwrap();
        finish(&state).unwrap();
        assert!(state.join("identity").exists(), "nobody has begun");
        begin(&state).unwrap();
        assert_eq!(names(&state), ["floor.json", "lock"]);
        assert_eq!(fs::read(&key).unwrap(), [0; 6]);
        begin(&state).unwrap();
    }

    #[test]
    fn a_power_cut_anywhere_ends_in_the_same() {
        let mut cuts = 0;
        loop {
            let (_dir, state) = state();
            durable::power::cut_after(cuts);
            let begun = begin(&state);
            let cut = durable::power::restore();
            // Before the mark is there nothing has happened; from then on the rest follows.
            finish(&state).unwrap();
            let names = names(&state);
            let whole = names.iter().any(|n| n == "identity") && names.iter().any(|n| n == "journal.json");
            assert!(whole || names == ["floor.json", "lock"], "{cuts}: {names:?}");
            if !cut {
                begun.unwrap();
                assert!(!whole);
                break;
            }
            cuts += 1;
        }
        assert!(cuts > 5, "{cuts}");
    }
}
