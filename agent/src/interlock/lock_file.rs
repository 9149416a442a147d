//! A file that whoever holds the device has made: the device's software when it goes into clinical use, or the agent.
//!
//! Whoever wants the device makes the file, and only if it is not there (`O_CREAT | O_EXCL`); who has made it writes a line
//! into it and removes it afterwards. The agent's line is `suture-agent`. The device's software does not go into clinical use
//! while there is a file that it has not made. What it leaves behind when it crashes, it alone takes away.
//!
//! The file must lie where it outlives a power cut, as in `/var/lib`: on a file system in memory a claim would end with the
//! power, and the device could be taken into use before its new version has proven itself.
//!
//! Attack: another account that may write there puts the agent's line in the place of the device's own, so that a device in
//! use is taken. A file counts as the agent's only where the agent's own account owns it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use suture_core::phase::{Code, Reason};

use super::{Claim, still_held};
use crate::checkpoint::{self, Step};
use crate::durable;
use crate::machine::Trouble;

const OURS: &str = "suture-agent\n";
/// Anybody may read whose claim it is.
const MODE: Mode = Mode::from_bits_truncate(durable::OPEN);

/// Whose the device is.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    Ours,
    Theirs,
    /// There is a file without a whole line in it.
    Nameless,
}

pub(super) fn claim(path: &Path) -> Claim {
    match holder(path) {
        Ok(Holder::Ours) => Claim::Held,
        Ok(Holder::Theirs) => Claim::in_use(),
        Ok(Holder::Nameless) => {
            let text = format!(
                "the lock file {} holds no whole line, so nobody knows whose it is: the device's software writes its own or \
                 takes it away, or a person at the device removes it",
                path.display()
            );
            Claim::Refused(Trouble::new(Reason::new(Code::InterlockUnknown, text)))
        }
        Ok(Holder::Nobody) => match make(path) {
            Ok(true) => Claim::Held,
            // Somebody was quicker.
            Ok(false) => Claim::in_use(),
            Err(e) => unknown(path, &e),
        },
        Err(e) => unknown(path, &e),
    }
}

pub(super) fn release(path: &Path) -> Result<(), Reason> {
    let failed = |e: &dyn std::fmt::Display| still_held(&format!("the lock file {} failed: {e}", path.display()));
    match holder(path) {
        Ok(Holder::Ours) => durable::remove(path).map_err(|e| failed(&e)),
        // Accident: the agent was killed once the file was gone and before the directory was on the disk; a power cut after the
        // release would bring the claim back, and nobody would ever release it.
        Ok(Holder::Nobody) => durable::sync_gone(path).map_err(|e| failed(&e)),
        Ok(Holder::Theirs | Holder::Nameless) => Ok(()),
        Err(e) => Err(failed(&e)),
    }
}

fn unknown(path: &Path, e: &io::Error) -> Claim {
    let text = format!("the lock file {} failed: {e}; whether the device is in use is not known", path.display());
    Claim::unclear(text)
}

/// Only a file that says so is the agent's own: an empty one may be another's who has not written yet.
fn holder(path: &Path) -> io::Result<Holder> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: File = match openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => file.into(),
        Err(rustix::io::Errno::NOENT) => return Ok(Holder::Nobody),
        Err(e) => return Err(e.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let owner = file.metadata()?.uid();
    let mut line = Vec::with_capacity(OURS.len() + 1);
    file.take(OURS.len() as u64 + 1).read_to_end(&mut line)?;
    Ok(whose(&line, owner, rustix::process::geteuid().as_raw()))
}

/// Whose a file with that line is, by the account that owns it and the agent's own.
fn whose(line: &[u8], owner: u32, own: u32) -> Holder {
    match line {
        line if line == OURS.as_bytes() && owner == own => Holder::Ours,
        line if line.contains(&b'\n') || line.len() > OURS.len() => Holder::Theirs,
        // Another's who has not written yet, or what a torn disk has left.
        _ => Holder::Nameless,
    }
}

/// Makes the file with its line in it, whole and on disk; false where there is one. It gets its name by a link, so that no
/// moment and no power cut leaves one without a line, of which nobody would know whose it is.
fn make(path: &Path) -> io::Result<bool> {
    let beside = path.with_added_extension("suture-agent");
    match std::fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    checkpoint::file(Step::Write, path)?;
    let mut file: File = openat(CWD, &beside, flags, MODE)?.into();
    durable::permit(&file, MODE.bits())?;
    file.write_all(OURS.as_bytes())?;
    checkpoint::file(Step::Sync, path)?;
    file.sync_all()?;
    checkpoint::file(Step::Rename, path)?;
    let linked = std::fs::hard_link(&beside, path);
    std::fs::remove_file(&beside)?;
    durable::sync_parent(path).map_err(io::Error::other)?;
    match linked {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_makes_the_file_has_the_device() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        for _ in 0..2 {
            assert_eq!(claim(&path), Claim::Held);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), OURS);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        for _ in 0..2 {
            release(&path).unwrap();
        }
        assert!(!path.exists());
        for theirs in ["", "pump 4711\n", "suture-agent", "suture-agent\n\n"] {
            std::fs::write(&path, theirs).unwrap();
            let Claim::Refused(t) = claim(&path) else { panic!("{theirs:?}") };
            let whole = theirs.ends_with('\n');
            assert_eq!(t.reason.code, if whole { Code::InUse } else { Code::InterlockUnknown }, "{theirs:?}");
            release(&path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), theirs, "another's claim is left alone");
        }
    }

    #[test]
    fn anybody_may_read_whose_it_is_whatever_the_umask_is() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        rustix::process::umask(Mode::from_bits_truncate(0o077));
        assert_eq!(claim(&path), Claim::Held);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn the_agents_line_by_another_account_is_no_claim_of_the_agents() {
        for (line, owner, holder) in [
            (OURS, 0, Holder::Ours),
            (OURS, 1_000, Holder::Theirs),
            ("pump 4711\n", 0, Holder::Theirs),
            ("pump 4711\n", 1_000, Holder::Theirs),
            ("suture", 1_000, Holder::Nameless),
            ("", 0, Holder::Nameless),
        ] {
            assert_eq!(whose(line.as_bytes(), owner, 0), holder, "{line:?} of {owner}");
        }
        // Where it can be made so: a file of the agent's that was given away.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(claim(&path), Claim::Held);
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
            let Claim::Refused(trouble) = claim(&path) else { panic!("a device in use is taken") };
            assert_eq!(trouble.reason.code, Code::InUse);
            release(&path).unwrap();
            assert!(path.exists());
        }
    }

    #[test]
    fn a_release_that_was_cut_off_is_on_the_disk_before_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(claim(&path), Claim::Held);
        // Removed, and killed before the directory was on the disk.
        durable::power::cut_after(1);
        assert!(release(&path).is_err() && durable::power::restore() && !path.exists());
        durable::power::cut_after(0);
        assert!(release(&path).is_err(), "the disk has not said that it is gone");
        durable::power::restore();
        release(&path).unwrap();
    }

    #[test]
    fn what_a_kill_left_beside_it_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(path.with_added_extension("suture-agent"), "sut").unwrap();
        assert_eq!(claim(&path), Claim::Held);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_file_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("lock"), dir.path().join("link"));
        std::fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        for wrong in [&path, &link, &dir.path().join("no/lock")] {
            let claimed = claim(wrong);
            assert!(matches!(claimed, Claim::Unclear(_)), "{}: {claimed:?}", wrong.display());
        }
        assert!(release(&path).is_err() && release(&link).is_err());
    }
}
