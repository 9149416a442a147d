//! Whether a version is well, the new one or after a way back the old one: what the device's maker asks of it must succeed a
//! number of times in a row before a deadline.
//!
//! Rule 4: success is what the device proves. Nothing else makes an attempt `confirmed`.

mod probe;

use suture_core::phase::{Code, Reason};
use tokio::time::Instant;

use crate::config::Health;

/// Probes until the version has proven its health, or cannot any more. `server` says whether the server can be reached, and
/// is asked where the configuration wants it to be; `which` names the version to people.
///
/// The deadline runs on the monotonic clock: a step of the device's clock neither shortens nor lengthens it.
pub async fn prove(health: &Health, which: &str, server: impl AsyncFn() -> Result<(), String>) -> Result<(), Reason> {
    let deadline = Instant::now() + health.deadline;
    tokio::time::sleep(health.start_grace).await;
    let mut in_a_row = 0_u32;
    let mut last = None;
    loop {
        if Instant::now() >= deadline {
            let last = last.unwrap_or_else(|| "it was never asked in time".to_owned());
            let text = format!(
                "{which} did not prove its health {} times in a row within {} s; last: {last}",
                health.successes,
                health.deadline.as_secs()
            );
            return Err(Reason::new(Code::HealthFailed, text));
        }
        match round(health, &server, deadline).await {
            Ok(()) => in_a_row = in_a_row.saturating_add(1),
            Err(wrong) => {
                in_a_row = 0;
                // What the deadline cut off tells less than what was found before it.
                if last.is_none() || Instant::now() < deadline {
                    last = Some(wrong);
                }
            }
        }
        if in_a_row >= health.successes {
            return Ok(());
        }
        tokio::time::sleep(health.interval.min(deadline.saturating_duration_since(Instant::now()))).await;
    }
}

/// Asks everything once; the first that is wrong ends the round.
async fn round(
    health: &Health,
    server: &impl AsyncFn() -> Result<(), String>,
    deadline: Instant,
) -> Result<(), String> {
    for probe in &health.probes {
        probe::ask(probe, deadline.saturating_duration_since(Instant::now())).await?;
    }
    if health.server {
        let unreached = || "the server did not answer in time".to_owned();
        tokio::time::timeout_at(deadline, server()).await.unwrap_or_else(|_| Err(unreached()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::config::{Command, Probe};

    fn health(script: &str, deadline_ms: u64) -> Health {
        let argv = vec!["/bin/sh".into(), "-c".into(), script.into()];
        Health {
            probes: vec![Probe::Command(Command { argv, timeout: Duration::from_secs(60) })],
            server: false,
            start_grace: Duration::ZERO,
            successes: 3,
            interval: Duration::from_millis(10),
            deadline: Duration::from_millis(deadline_ms),
        }
    }

    async fn there() -> Result<(), String> {
        Ok(())
    }

    #[tokio::test]
    async fn successes_must_be_in_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let count = dir.path().join("count");
        // Fails each third time: never three in a row.
        let script = format!("echo x >> {0}; [ $(( $(wc -l < {0}) % 3 )) -ne 0 ]", count.display());
        let reason = prove(&health(&script, 1_500), "the new version", there).await.unwrap_err();
        assert_eq!(reason.code, Code::HealthFailed);
        assert!(reason.text.contains("exit code 1"), "{}", reason.text);
        let script = format!("echo x >> {0}; [ $(wc -l < {0}) -gt 8 ]", count.display());
        prove(&health(&script, 10_000), "the new version", there).await.unwrap();
    }

    #[tokio::test]
    async fn all_probes_must_succeed_in_the_same_round() {
        let mut both = health("exit 0", 300);
        both.probes.push(Probe::Command(Command {
            argv: ["/bin/sh", "-c", "exit 7"].map(str::to_owned).to_vec(),
            timeout: Duration::from_secs(60),
        }));
        let reason = prove(&both, "the new version", there).await.unwrap_err();
        assert!(reason.text.contains("exit code 7"), "{}", reason.text);
    }

    #[tokio::test]
    async fn the_server_counts_only_where_it_is_asked_for() {
        let asked = AtomicU32::new(0);
        let gone = async || {
            asked.fetch_add(1, Ordering::Relaxed);
            Err("the server cannot be reached".to_owned())
        };
        prove(&health("exit 0", 10_000), "the new version", &gone).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        let wanted = Health { server: true, ..health("exit 0", 300) };
        let reason = prove(&wanted, "the new version", &gone).await.unwrap_err();
        assert!(reason.text.contains("cannot be reached"), "{}", reason.text);
        prove(&Health { server: true, ..health("exit 0", 10_000) }, "the new version", there).await.unwrap();
    }

    #[tokio::test]
    async fn within_its_grace_it_is_not_asked() {
        let dir = tempfile::tempdir().unwrap();
        let count = dir.path().join("count");
        let script = format!("echo x >> {}", count.display());
        let graced = Health { start_grace: Duration::from_secs(3_600), ..health(&script, 1) };
        let proving = tokio::time::timeout(Duration::from_millis(100), prove(&graced, "the new version", there)).await;
        assert!(proving.is_err() && !count.exists());
    }

    #[tokio::test]
    async fn a_check_that_hangs_ends_with_the_deadline() {
        let reason = prove(&health("sleep 600", 200), "the new version", there).await.unwrap_err();
        assert!(reason.text.contains("took longer"), "{}", reason.text);
    }
}
