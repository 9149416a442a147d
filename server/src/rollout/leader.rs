//! One server of all that looks at what time makes due in rollouts: soaks that end, slots and approvals that run out,
//! devices that fall silent.
//!
//! Reports move a rollout on whichever server takes them. That one server alone looks besides spares the others the work;
//! it is no lock: a leader that stood still for longer than its claim lasts, and then goes on, does nothing twice, because
//! each rollout is advanced under its hospital's lock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::RolloutError;
use super::run::advance_all;
use crate::store::{Store, StoreError, retried};

/// The job's name among the claims.
const JOB: &str = "rollouts";
/// How often the leader looks, and the others whether there is one.
pub(crate) const LOOK: Duration = Duration::from_secs(5);
/// A claim that is not repeated runs out after that long, and another server takes over.
const LASTS: SignedDuration = SignedDuration::from_secs(20);

/// A server that may lead.
#[derive(Clone)]
pub(crate) struct Leader {
    store: Store,
    holder: String,
}

impl Leader {
    /// Under a name that no other server has.
    pub(crate) fn new(store: Store) -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        Ok(Self { store, holder: hex::encode(random) })
    }

    /// Carries out everything that is due in all rollouts, if this server leads or nobody does; true where something was
    /// done.
    pub(crate) async fn look(&self, now: Timestamp) -> Result<bool, RolloutError> {
        if !retried(|| self.lead(now)).await? {
            return Ok(false);
        }
        advance_all(&self.store, now).await
    }

    /// Takes the lead, or says again that this server has it.
    async fn lead(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        let until = now.checked_add(LASTS).unwrap_or(now);
        let ours = tx.claim(JOB, &self.holder, now, until).await?;
        tx.commit().await?;
        Ok(ours)
    }

    /// Leaves the lead to whoever wants it, so that nobody waits for it to run out.
    pub(crate) async fn resign(&self) {
        let done = async {
            let mut tx = self.store.begin().await?;
            tx.release(JOB, &self.holder).await?;
            tx.commit().await
        };
        if let Err(error) = done.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the claim on rollouts is left to run out");
        }
    }
}
