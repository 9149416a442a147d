//! What goes wrong, one thing at a time: a clear error, its exit code or status named, and nothing half done.

mod configuration;
mod device;
mod disk;
mod limits;
mod lost_answer;
mod neighbours;
mod record;
mod strangers;
mod tokens;
mod unreadable;
mod watching;

use suture_tests::world::Failed;
use tonic::{Code, Status};

/// A command failed with that exit code and said each of these.
fn failed<T: std::fmt::Debug>(result: Result<T, Failed>, exit: u8, parts: &[&str]) {
    let Failed { exit: actual, said } = result.unwrap_err();
    assert_eq!(actual, exit, "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not said: {said}");
    }
}

/// A call was refused with that status and a sentence that holds each of these.
fn refused<T>(result: Result<T, Status>, code: Code, parts: &[&str]) {
    let Err(status) = result else { panic!("the call was answered, not refused with {code:?}") };
    assert_eq!(status.code(), code, "{status}");
    for part in parts {
        assert!(status.message().contains(part), "{part:?} is not said: {status}");
    }
}
