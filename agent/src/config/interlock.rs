//! `[interlock]`: how the device's own software is asked whether it is in clinical use.

use std::path::PathBuf;
use std::time::Duration;

use super::faults::Faults;
use super::{Command, written};

/// How the device's own software is asked whether it is in clinical use.
#[derive(Debug, Clone)]
pub enum Signal {
    /// By a program, called with `claim` or `release`.
    Program(Command),
    /// Over its Unix socket.
    Socket {
        /// Where.
        path: PathBuf,
        /// How long an answer may take.
        timeout: Duration,
    },
    /// By a file that whoever holds the device has made.
    LockFile(PathBuf),
}

impl Signal {
    pub(super) fn validate(faults: &mut Faults, i: written::Interlock) -> Option<Self> {
        let timeout = faults.secs("interlock.timeout_secs", i.timeout_secs, 10, 86_400);
        match (i.command, i.socket, i.lock_file) {
            (Some(argv), None, None) => faults.command("interlock", argv, timeout).map(Self::Program),
            (None, Some(path), None) => {
                faults.absolute("interlock.socket", path).map(|path| Self::Socket { path, timeout })
            }
            (None, None, Some(path)) => faults.absolute("interlock.lock_file", path).map(Self::LockFile),
            _ => {
                faults.add(
                    "[interlock] must name one of command, socket and lock_file; without the table a person confirms",
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::with;
    use super::*;

    #[test]
    fn an_interlock_is_one_of_three() {
        let health = "[health]\ncommand = [\"x\"]\n";
        let good = |tables: &str| with(&format!("{health}{tables}")).unwrap();
        assert!(matches!(good("[interlock]\nsocket = \"/run/s\"").interlock, Some(Signal::Socket { .. })));
        assert!(matches!(good("[interlock]\nlock_file = \"/var/l\"").interlock, Some(Signal::LockFile(_))));
        assert!(good("").interlock.is_none());
        for bad in [
            "[interlock]",
            "[interlock]\nsocket = \"/run/s\"\nlock_file = \"/var/l\"",
            "[interlock]\nsocket = \"run/s\"",
        ] {
            assert!(with(&format!("{health}{bad}\n")).is_err(), "{bad}");
        }
    }
}
