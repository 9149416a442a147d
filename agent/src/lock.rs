//! Locks on files and directories. The kernel takes them back from whoever ends, however it ends.
//!
//! Accident: an agent ends, or is ended, while it starts a program, as health checks are started all the time. Until that has
//! become another program it holds a copy of whatever the agent held, and the next agent is told that there is one already. So a lock
//! is tried for a while before anybody is said to hold it.

use std::fs::File;
use std::io;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// How often a lock is tried, and the wait between two tries: 2 s in all. Who holds one in passing does so for milliseconds.
const TRIES: u32 = 200;
const WAIT: Duration = Duration::from_millis(10);

/// Locks what was opened, for as long as it stays open. False where another holds it.
pub(crate) fn take(file: &File) -> io::Result<bool> {
    for _ in 0..TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            #[expect(clippy::disallowed_methods, reason = "a lock that is never waited for without end tells nobody")]
            Err(Errno::WOULDBLOCK) => std::thread::sleep(WAIT),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(false)
}

/// The same for a lock that another may rightly hold for longer: tried so many times as long, 2 s each, and `told` once it is
/// waited for. False where it is held even then.
pub(crate) fn take_within(file: &File, rounds: u32, told: impl FnOnce()) -> io::Result<bool> {
    if take(file)? {
        return Ok(true);
    }
    if rounds > 1 {
        told();
    }
    for _ in 1..rounds {
        if take(file)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_in_passing_is_waited_for_and_what_is_not_given_back_only_so_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = File::create(&path).unwrap();
        assert!(take(&held).unwrap());
        // As the program has one that is about to become another.
        let copy = held.try_clone().unwrap();
        drop(held);
        let next = File::create(&path).unwrap();
        assert!(!take(&next).unwrap());
        let (began, begun) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            began.send(()).unwrap();
            take(&next).unwrap()
        });
        begun.recv().unwrap();
        drop(copy);
        assert!(other.join().unwrap());
    }

    #[test]
    fn what_is_rightly_held_for_longer_is_waited_for_and_that_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = File::create(&path).unwrap();
        assert!(take(&held).unwrap());
        let next = File::create(&path).unwrap();
        let mut told = 0;
        assert!(!take_within(&next, 1, || told += 1).unwrap() && told == 0);
        // It is given back once it is told that somebody waits.
        assert!(take_within(&next, 3, || drop(held)).unwrap());
        assert!(take_within(&next, 3, || told += 1).unwrap() && told == 0);
    }
}
