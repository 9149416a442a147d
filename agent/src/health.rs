//! Whether the new version is well: a command that must succeed a number of times in a row before a deadline.

use suture_core::phase::{Code, Reason};
use tokio::time::Instant;

use crate::config::Health;
use crate::process;

/// Probes until the version has proven its health, or cannot any more.
///
/// The deadline runs on the monotonic clock: a step of the device's clock neither shortens nor lengthens it.
pub async fn prove(health: &Health) -> Result<(), Reason> {
    let deadline = Instant::now() + health.deadline;
    let mut in_a_row = 0_u32;
    let mut last = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let last = last.map_or_else(|| "it was never asked in time".to_owned(), |l| format!("last, it {l}"));
            let text = format!(
                "the health check did not succeed {} times in a row within {} s; {last}",
                health.successes,
                health.deadline.as_secs()
            );
            return Err(Reason::new(Code::HealthFailed, text));
        }
        let ending = process::run(&health.command, &[], Some(left)).await;
        in_a_row = if ending.is_success() { in_a_row.saturating_add(1) } else { 0 };
        if in_a_row >= health.successes {
            return Ok(());
        }
        last = Some(ending);
        tokio::time::sleep(health.interval.min(deadline.saturating_duration_since(Instant::now()))).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Command;

    fn health(script: &str, deadline_ms: u64) -> Health {
        let argv = vec!["/bin/sh".into(), "-c".into(), script.into()];
        Health {
            command: Command { argv, timeout: Duration::from_secs(60) },
            successes: 3,
            interval: Duration::from_millis(10),
            deadline: Duration::from_millis(deadline_ms),
        }
    }

    #[tokio::test]
    async fn successes_must_be_in_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let count = dir.path().join("count");
        // Fails each third time: never three in a row.
        let script = format!("echo x >> {0}; [ $(( $(wc -l < {0}) % 3 )) -ne 0 ]", count.display());
        let reason = prove(&health(&script, 600)).await.unwrap_err();
        assert_eq!(reason.code, Code::HealthFailed);
        let script = format!("echo x >> {0}; [ $(wc -l < {0}) -gt 8 ]", count.display());
        prove(&health(&script, 10_000)).await.unwrap();
    }

    #[tokio::test]
    async fn a_check_that_hangs_ends_with_the_deadline() {
        let reason = prove(&health("sleep 600", 200)).await.unwrap_err();
        assert!(reason.text.contains("took longer"), "{}", reason.text);
    }
}
