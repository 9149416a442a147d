//! A transaction that another was in the way of, begun anew.

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;

use super::StoreError;

/// How often a transaction is begun in all.
const TRIES: u32 = 5;
/// How long is waited before the second, and twice as long before each further one: 150 milliseconds in all.
const FIRST_WAIT: Duration = Duration::from_millis(10);
/// After that long none is begun anew: SQLite has waited by itself before it said no.
const LONGEST: Duration = Duration::from_secs(10);

/// Runs what begins, fills and commits one transaction, and runs it again where the database says that another transaction
/// was in the way: then nothing of it is done. Where it is not known whether it was done, as when a connection broke at the
/// commit, it is not repeated here.
pub(crate) async fn retried<T, E, F, R>(run: F) -> Result<T, E>
where
    E: Error + 'static,
    F: Fn() -> R,
    R: Future<Output = Result<T, E>>,
{
    let (begun, mut wait) = (Instant::now(), FIRST_WAIT);
    for _ in 1..TRIES {
        match run().await {
            Err(error) if was_in_the_way(&error) && begun.elapsed() < LONGEST => {
                tracing::debug!(error = &error as &dyn Error, "a transaction is begun anew");
            }
            done => return done,
        }
        tokio::time::sleep(wait).await;
        wait = wait.saturating_mul(2);
    }
    run().await
}

/// Whether an error, or what caused it, is that another transaction was in the way.
fn was_in_the_way(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<StoreError>().is_some_and(StoreError::is_contention) {
            return true;
        }
        cause = error.source();
    }
    false
}
