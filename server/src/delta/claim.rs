//! The making of deltas as one server's work among all.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::production::JobError;
use crate::app::App;
use crate::store::{StoreError, Tx};

/// The job's name among the claims.
const JOB: &str = "delta";
/// A claim that is not repeated runs out after that long.
const LASTS: SignedDuration = SignedDuration::from_secs(120);
/// How often it is repeated.
const REPEAT: Duration = Duration::from_secs(30);

/// One server's claim.
#[derive(Clone)]
pub(super) struct Claim {
    app: Arc<App>,
    holder: String,
}

impl Claim {
    /// Under a name that no other server has.
    pub(super) fn new(app: Arc<App>) -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        Ok(Self { app, holder: hex::encode(random) })
    }

    /// Takes the job, or says again that it is this server's.
    pub(super) async fn take(&self) -> Result<bool, StoreError> {
        let mut tx = self.app.store().begin().await?;
        let ours = self.repeat(&mut tx).await?;
        tx.commit().await?;
        Ok(ours)
    }

    /// Begins a transaction that repeats the claim, and changes nothing where it is another's: a server that slept through
    /// its claim must not undo what the next one does.
    pub(super) async fn begin(&self) -> Result<Tx, JobError> {
        let mut tx = self.app.store().begin().await?;
        if self.repeat(&mut tx).await? { Ok(tx) } else { Err(JobError::Lost) }
    }

    async fn repeat(&self, tx: &mut Tx) -> Result<bool, StoreError> {
        let now = self.app.now();
        tx.claim(JOB, &self.holder, now, now.checked_add(LASTS).unwrap_or(now)).await
    }

    /// Repeats the claim, and returns once it is another's.
    pub(super) async fn until_lost(&self) {
        loop {
            tokio::time::sleep(REPEAT).await;
            match self.take().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the claim on deltas was not repeated");
                }
            }
        }
    }

    /// Leaves the job to whoever wants it.
    pub(super) async fn give_back(&self) {
        let done = async {
            let mut tx = self.app.store().begin().await?;
            tx.release(JOB, &self.holder).await?;
            tx.commit().await
        };
        if let Err(error) = done.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the claim on deltas is left to run out");
        }
    }
}
