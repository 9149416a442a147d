//! How long a step may take.

use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::config::Command;
use crate::process::{self, Ending, Said};

/// How long a step may take, and whether it is to be left before that.
#[derive(Debug, Clone)]
pub struct Within {
    /// None where it lies beyond what the clock can say.
    deadline: Option<Instant>,
    stop: CancellationToken,
    ending: CancellationToken,
}

impl Within {
    /// So long from now, or until `stop` is cancelled.
    pub fn new(limit: Duration, stop: CancellationToken) -> Self {
        Self { deadline: Instant::now().checked_add(limit), stop, ending: CancellationToken::new() }
    }

    /// The same, where `ending` says that the agent is about to end.
    pub fn ending(self, ending: CancellationToken) -> Self {
        Self { ending, ..self }
    }

    /// So long from now.
    pub fn limit(limit: Duration) -> Self {
        Self::new(limit, CancellationToken::new())
    }

    /// What is left.
    pub fn left(&self) -> Duration {
        self.deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether the agent does not wait for it any more.
    pub fn is_left(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Whether the agent is about to end, as it does when the device goes down. What has begun may be finished; there is
    /// nothing to wait for any more.
    pub fn is_ending(&self) -> bool {
        self.is_left() || self.ending.is_cancelled()
    }

    /// Between two pieces of long work: an error once it is to end.
    pub fn check(&self) -> io::Result<()> {
        if self.is_left() {
            // Not as `Interrupted`, which is tried again for ever.
            Err(io::Error::other("it was given up"))
        } else if self.left().is_zero() {
            Err(io::Error::new(io::ErrorKind::TimedOut, "it has taken too long"))
        } else {
            Ok(())
        }
    }

    /// Runs a program within that time, or its own where that is less; killed with its process group when it is over.
    ///
    /// On a thread of its own: whoever asks may or may not be one that serves the network.
    pub fn run(&self, command: &Command, extra: &[&str]) -> Ending {
        self.wait(process::run(command, extra, Some(self.left()))).unwrap_or_else(|ending| ending)
    }

    /// Asks a program within that time. What it says is kept, and its environment is the one that is given.
    pub(super) fn ask(&self, command: &Command, extra: &[&str], variables: &[(String, OsString)]) -> Said {
        let asked = self.wait(process::ask(command, extra, variables, self.left()));
        asked.unwrap_or_else(|ending| Said { ending, answer: Vec::new(), last: Vec::new() })
    }

    fn wait<T: Send>(&self, program: impl Future<Output = T> + Send) -> Result<T, Ending> {
        let waited = async {
            tokio::select! {
                ended = program => Ok(ended),
                () = self.stop.cancelled() => Err(Ending::Killed),
            }
        };
        let work = || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(waited),
            Err(e) => Err(Ending::NotStarted(e.to_string())),
        };
        let lost = || Err(Ending::NotStarted("its thread has ended".to_owned()));
        std::thread::scope(|threads| threads.spawn(work).join().unwrap_or_else(|_| lost()))
    }
}
