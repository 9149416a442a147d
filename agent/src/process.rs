//! The device maker's programs: run with a time limit, killed with all that they started when it is over.

use std::process::Stdio;
use std::time::Duration;

use crate::config::Command;

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

/// Runs a program, with `extra` arguments behind its own, for at most its timeout or `limit`, whichever is less.
///
/// It reads nothing and what it prints goes to the agent's own standard error. Only the program itself is waited for: what
/// it leaves running, as a restart does, runs on.
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
    match tokio::time::timeout(limit, child.wait()).await {
        Ok(Ok(status)) => status.code().map_or(Ending::Killed, Ending::Exit),
        Ok(Err(e)) => Ending::NotStarted(format!("{program}: {e}")),
        Err(_) => {
            let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
            if let Some(group) = group {
                // Gone already is as good as killed.
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _ = child.wait().await;
            Ending::TimedOut(limit)
        }
    }
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
    async fn what_a_restart_leaves_running_is_not_waited_for() {
        assert!(run(&shell("sleep 2 >/dev/null 2>&1 &", 1_500), &[], None).await.is_success());
    }
}
