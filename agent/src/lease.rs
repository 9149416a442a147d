//! The device's lease: what it holds of the server's, kept on disk until the server knows that it is given back.
//!
//! Asked for in an open slot before the interlock is claimed, and once more between claim and switch, so that the server
//! knows of a device that may be lost from then on. It is said again while the device is out of service, beside whatever is
//! being done: no answer to that stops anything. `lease.json` in the state directory is there before the first question and
//! goes after the last answer, so that a lease is given back also where the agent was stopped in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::{utc, whole_second};
use suture_core::id::ApprovalId;
use suture_core::lease::Stage;
use suture_core::limits::LEASE_RENEWED;
use tokio::task::JoinHandle;

use crate::client::{Client, LeaseAnswer};
use crate::durable::{self, DurableError};

/// A lease that the device holds, or may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// By which approval.
    pub approval: ApprovalId,
    /// When it was first asked for, by the device's clock.
    #[serde(with = "utc")]
    pub since: Timestamp,
}

/// What is known of it on disk and in this process.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    held: Option<Held>,
    /// The file cannot be read: there may be one.
    damaged: bool,
    keeper: Option<Keeper>,
}

/// Says again and again that the device holds it.
#[derive(Debug)]
struct Keeper {
    begun: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lease {
    /// Opens what is below the state directory. A file that cannot be read is taken for a lease that is to be given back.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn open(state_dir: &Path) -> Result<Self, DurableError> {
        let path = place(state_dir);
        let (held, damaged) = match durable::read_json(&path) {
            Ok(held) => (held, false),
            Err(e) if e.is_damage() => (None, true),
            Err(e) => return Err(e),
        };
        Ok(Self { path, held, damaged, keeper: None })
    }

    /// What another process holds, as `status` shows it.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn shown(state_dir: &Path) -> Result<Option<Held>, DurableError> {
        durable::read_json(&place(state_dir))
    }

    /// Whether there is something to give back.
    pub fn is_owed(&self) -> bool {
        self.held.is_some() || self.damaged
    }

    /// The lease that is held by an approval.
    pub fn by(&self, approval: &ApprovalId) -> Option<&Held> {
        self.held.as_ref().filter(|held| held.approval == *approval)
    }

    /// Notes that one is about to be asked for.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn note(&mut self, approval: &ApprovalId, now: Timestamp) -> Result<(), DurableError> {
        if self.by(approval).is_some() {
            return Ok(());
        }
        let held = Held { approval: approval.clone(), since: whole_second(now) };
        durable::write_json(&self.path, &held, durable::OPEN)?;
        (self.held, self.damaged, self.keeper) = (Some(held), false, None);
        Ok(())
    }

    /// Forgets it: the server has said that there is none, or that it is given back.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn forget(&mut self) -> Result<(), DurableError> {
        self.keeper = None;
        durable::remove(&self.path)?;
        (self.held, self.damaged) = (None, false);
        Ok(())
    }

    /// Says it no more by the connection that it was said by; [`Lease::keep`] begins anew.
    pub fn rest(&mut self) {
        self.keeper = None;
    }

    /// Has it said again from now on, by a client of its own, beside whatever else is done. `begun`: the device is past the
    /// switch. One that another process took is said again at once.
    pub fn keep(&mut self, client: &Client, begun: bool) {
        let Some(held) = &self.held else { return };
        if let Some(keeper) = self.keeper.as_ref().filter(|k| !k.task.is_finished()) {
            keeper.begun.store(begun, Ordering::Relaxed);
            return;
        }
        let (approval, mut client) = (held.approval.clone(), client.clone());
        let flag = Arc::new(AtomicBool::new(begun));
        let stage = flag.clone();
        let task = tokio::spawn(async move {
            let period = Duration::try_from(LEASE_RENEWED).unwrap_or(Duration::from_secs(300));
            let mut tick = tokio::time::interval(period);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            // Whoever has just asked need not ask again.
            if !begun {
                tick.tick().await;
            }
            loop {
                tick.tick().await;
                let stage = if stage.load(Ordering::Relaxed) { Stage::Begun } else { Stage::Wanted };
                match client.take_lease(&approval, stage).await {
                    Ok(LeaseAnswer::Granted) => {}
                    Ok(LeaseAnswer::Refused { reason, .. }) => tracing::info!(%reason, "the lease is not renewed"),
                    Err(e) => tracing::info!(error = %e, "the lease could not be renewed; it goes on without"),
                }
            }
        });
        self.keeper = Some(Keeper { begun: flag, task });
    }
}

fn place(state_dir: &Path) -> PathBuf {
    state_dir.join("lease.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_held_is_known_after_a_restart_until_it_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let (id, other) = ("a1".parse().unwrap(), "a2".parse().unwrap());
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut lease = Lease::open(dir.path()).unwrap();
        assert!(!lease.is_owed());
        lease.note(&id, now).unwrap();
        lease.note(&id, now + jiff::SignedDuration::from_secs(60)).unwrap();
        let mut lease = Lease::open(dir.path()).unwrap();
        assert_eq!(lease.by(&id).map(|h| h.since), Some(now), "since it was first asked for");
        assert!(lease.is_owed() && lease.by(&other).is_none());
        lease.note(&other, now).unwrap();
        assert!(lease.by(&id).is_none(), "a device has one");
        lease.forget().unwrap();
        assert!(!Lease::open(dir.path()).unwrap().is_owed() && Lease::shown(dir.path()).unwrap().is_none());
    }

    #[test]
    fn a_torn_file_is_a_lease_to_give_back() {
        let dir = tempfile::tempdir().unwrap();
        // Torn, and below a bad sector.
        for harm in [|place: &Path| std::fs::write(place, b"{\"appr").unwrap(), |place: &Path| durable::lose(place)] {
            harm(&place(dir.path()));
            let mut lease = Lease::open(dir.path()).unwrap();
            assert!(lease.is_owed());
            lease.forget().unwrap();
            assert!(!Lease::open(dir.path()).unwrap().is_owed());
            harm(&place(dir.path()));
            let now = Timestamp::from_second(1_800_000_000).unwrap();
            Lease::open(dir.path()).unwrap().note(&"a1".parse().unwrap(), now).unwrap();
            assert!(
                Lease::open(dir.path()).unwrap().by(&"a1".parse().unwrap()).is_some(),
                "what is asked for takes its place"
            );
        }
    }
}
