//! The device maker's programs: run with a time limit, killed with their process group when it is over, or when the agent
//! leaves them. What a program starts is in its group, unless that takes itself out of it, as what calls `setsid` does. An
//! agent that is killed itself kills nothing.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;

use crate::config::Command;

/// Of what a program answers, that much is kept: 64 KiB. What is more is read and thrown away.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Of what it says besides, the last: 2 KiB.
const MAX_LAST_BYTES: usize = 2 << 10;
/// Once it has ended, what it has left in its pipes is waited for that long: whatever it left running may hold them open.
const DRAIN: Duration = Duration::from_millis(200);

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Exit(i32),
    /// By a signal.
    Killed,
    /// It took longer than it may and was killed.
    TimedOut(Duration),
    /// It could not be started.
    NotStarted(String),
}

impl Ending {
    /// Whether it ended with exit code 0.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Exit(0))
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "ended with exit code {code}"),
            Self::Killed => f.write_str("was killed by a signal"),
            Self::TimedOut(limit) => write!(f, "took longer than {} s", limit.as_secs_f64()),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

/// How a program ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// How it ended.
    pub ending: Ending,
    /// What it wrote to its standard output, from the beginning.
    pub answer: Vec<u8>,
    /// The end of what it wrote to its standard error.
    pub last: Vec<u8>,
}

/// A program's process group, as long as the program is not over. Dropped before that, it is killed.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // Gone already is as good as killed.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program with those arguments behind its own and that environment alone, for at most its timeout or `limit`. What it
/// says is kept, within bounds. It reads nothing; left unfinished, it is killed with its process group.
pub async fn ask(command: &Command, extra: &[&str], variables: &[(String, OsString)], limit: Duration) -> Said {
    let limit = limit.min(command.timeout);
    let ended = |ending| Said { ending, answer: Vec::new(), last: Vec::new() };
    let Some((program, arguments)) = command.argv.split_first() else {
        return ended(Ending::NotStarted("no program is configured".to_owned()));
    };
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).args(extra).env_clear().envs(variables.iter().cloned());
    child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = match child.spawn() {
        Ok(child) => child,
        Err(e) => return ended(Ending::NotStarted(format!("{program}: {e}"))),
    };
    let mut group = Group::of(&child);
    let (mut answer, mut last) = (Vec::new(), Vec::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ending = {
        let reading = async { tokio::join!(keep_first(out, &mut answer), keep_last(err, &mut last)) };
        let waiting = tokio::time::timeout(limit, child.wait());
        tokio::pin!(reading, waiting);
        let ending = tokio::select! {
            ending = &mut waiting => {
                if ending.is_ok() {
                    let _ = tokio::time::timeout(DRAIN, &mut reading).await;
                }
                ending
            }
            _ = &mut reading => waiting.await,
        };
        if ending.is_err() {
            group.kill();
        }
        ending
    };
    let ending = match ending {
        Ok(Ok(status)) => status.code().map_or(Ending::Killed, Ending::Exit),
        Ok(Err(e)) => {
            // How it ended is not known, nor whether.
            group.kill();
            Ending::NotStarted(format!("{program}: {e}"))
        }
        Err(_) => {
            let _ = child.wait().await;
            Ending::TimedOut(limit)
        }
    };
    // What a program leaves running, as one that restarts something does, runs on.
    group.0 = None;
    Said { ending, answer, last }
}

async fn keep_first(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    pieces(from, |piece| {
        let room = MAX_ANSWER_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
    })
    .await;
}

async fn keep_last(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    pieces(from, |piece| {
        kept.extend_from_slice(piece);
        kept.drain(..kept.len().saturating_sub(MAX_LAST_BYTES));
    })
    .await;
}

async fn pieces(from: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 8 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        take(buffer.get(..read).unwrap_or_default());
    }
}

/// Runs a program, with `extra` arguments behind its own, for at most its timeout or `limit`, whichever is less.
///
/// It reads nothing and what it prints goes to the agent's own standard error. Only the program itself is waited for: what
/// it leaves running, as a restart does, runs on. Left unfinished, it is killed with its process group.
pub async fn run(command: &Command, extra: &[&str], limit: Option<Duration>) -> Ending {
    let limit = limit.map_or(command.timeout, |l| l.min(command.timeout));
    let Some((program, arguments)) = command.argv.split_first() else {
        return Ending::NotStarted("no program is configured".to_owned());
    };
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).args(extra).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    child.stdout(std::io::stderr()).stderr(Stdio::inherit());
    let mut child = match child.spawn() {
        Ok(child) => child,
        Err(e) => return Ending::NotStarted(format!("{program}: {e}")),
    };
    // Accident: an agent that is stopped leaves an installer to go on beside the one that its next start begins.
    let mut group = Group::of(&child);
    let ending = match tokio::time::timeout(limit, child.wait()).await {
        Ok(Ok(status)) => status.code().map_or(Ending::Killed, Ending::Exit),
        Ok(Err(e)) => {
            // How it ended is not known, nor whether.
            group.kill();
            Ending::NotStarted(format!("{program}: {e}"))
        }
        Err(_) => {
            group.kill();
            let _ = child.wait().await;
            Ending::TimedOut(limit)
        }
    };
    // What a program leaves running, as one that restarts something does, runs on.
    group.0 = None;
    ending
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout_ms: u64) -> Command {
        let argv = ["/bin/sh", "-c", script, "sh"].map(str::to_owned).to_vec();
        Command { argv, timeout: Duration::from_millis(timeout_ms) }
    }

    #[tokio::test]
    async fn endings_are_told_apart() {
        assert_eq!(run(&shell("exit 0", 5_000), &[], None).await, Ending::Exit(0));
        assert_eq!(run(&shell("[ \"$1\" = claim ]", 5_000), &["claim"], None).await, Ending::Exit(0));
        assert_eq!(run(&shell("exit 3", 5_000), &[], None).await, Ending::Exit(3));
        assert_eq!(run(&shell("kill -9 $$", 5_000), &[], None).await, Ending::Killed);
        let nowhere = Command { argv: vec!["/nowhere/x".into()], timeout: Duration::from_secs(1) };
        assert!(matches!(run(&nowhere, &[], None).await, Ending::NotStarted(_)));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_killed_with_its_children() {
        let ending = run(&shell("sleep 600 & wait", 100), &[], None).await;
        assert!(matches!(ending, Ending::TimedOut(_)));
    }

    #[tokio::test]
    async fn what_a_program_says_is_kept_within_bounds_and_its_environment_is_what_it_is_given() {
        let variables = [("A".to_owned(), "one two".into()), ("PATH".to_owned(), std::env::var_os("PATH").unwrap())];
        let said = async |script: &str, ms| ask(&shell(script, ms), &["x"], &variables, Duration::from_secs(60)).await;
        let env = said("echo \"$1 $A ${HOME-none}\"; echo why >&2; exit 4", 5_000).await;
        assert_eq!(env, Said { ending: Ending::Exit(4), answer: b"x one two none\n".into(), last: b"why\n".into() });
        let endless = said("yes; exit 0", 300).await;
        assert!(matches!(endless.ending, Ending::TimedOut(_)));
        assert_eq!(endless.answer.len(), MAX_ANSWER_BYTES);
        let loud = said("head -c 1000000 /dev/zero >&2; echo the end >&2", 20_000).await;
        assert_eq!((loud.ending, loud.last.len()), (Ending::Exit(0), MAX_LAST_BYTES));
        assert!(loud.last.ends_with(b"the end\n"));
    }

    #[tokio::test]
    async fn one_that_holds_its_pipes_open_behind_it_is_not_waited_for() {
        let (command, variables) = (shell("sleep 600 & echo done", 60_000), [("PATH".into(), "/bin:/usr/bin".into())]);
        let said = ask(&command, &[], &variables, Duration::MAX);
        assert_eq!(said.await, Said { ending: Ending::Exit(0), answer: b"done\n".into(), last: Vec::new() });
    }

    /// A program whose child would go on, left in its middle: the child ends with it.
    async fn left<T: std::fmt::Debug>(begin: impl AsyncFnOnce(Command) -> T) {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", pid.display());
        let begun = async {
            while !pid.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = begin(shell(&script, 600_000)) => panic!("{ended:?}"),
            () = begun => {}
        }
        dies(std::fs::read_to_string(&pid).unwrap().trim()).await;
    }

    /// Waits until the process has ended.
    async fn dies(pid: &str) {
        let stat = format!("/proc/{pid}/stat");
        // Gone, or dead and waiting for whoever adopted it.
        let is_dead = || std::fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "));
        let ended = async {
            while !is_dead() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ended).await.expect("what it started goes on without it");
    }

    #[tokio::test]
    async fn one_that_is_left_is_killed_with_all_that_it_started() {
        let variables = [("PATH".to_owned(), std::env::var_os("PATH").unwrap())];
        left(async |command| ask(&command, &[], &variables, Duration::MAX).await).await;
        left(async |command| run(&command, &[], None).await).await;
    }

    /// A program whose ending somebody else has taken.
    async fn taken(begin: impl AsyncFnOnce(Command) -> Ending) {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let script = format!("sleep 600 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", pids.display());
        let begun = async {
            while !pids.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let running = begin(shell(&script, 600_000));
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => panic!("{ended:?}"),
            () = begun => {}
        }
        let pids = std::fs::read_to_string(&pids).unwrap();
        let (program, child) = pids.trim().split_once(' ').unwrap();
        let program = Pid::from_raw(program.parse().unwrap()).unwrap();
        rustix::process::kill_process(program, Signal::KILL).unwrap();
        rustix::process::waitpid(Some(program), rustix::process::WaitOptions::empty()).unwrap();
        let ended = running.await;
        assert!(matches!(ended, Ending::NotStarted(_)), "{ended:?}");
        dies(child).await;
    }

    #[tokio::test]
    async fn one_whose_ending_cannot_be_known_is_killed_with_its_group() {
        let variables = [("PATH".to_owned(), std::env::var_os("PATH").unwrap())];
        taken(async |command| ask(&command, &[], &variables, Duration::MAX).await.ending).await;
        taken(async |command| run(&command, &[], None).await).await;
    }

    #[tokio::test]
    async fn what_a_restart_leaves_running_is_not_waited_for() {
        assert!(run(&shell("sleep 2 >/dev/null 2>&1 &", 1_500), &[], None).await.is_success());
    }
}
