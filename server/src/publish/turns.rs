//! Whose turn it is to write much at once: to publish, and what else an organisation writes by the megabyte.
//!
//! Attack: a hospital that lists as much as it may, and has all of it read at one publication after another, each of which
//! fails at its end: nobody else writes meanwhile, and no device of any hospital is heard. So one repository's publications come
//! one after another, and behind one that took long the next waits for longer still, whatever came of it.
//!
//! Attack: the same by a stolen operator's certificate, with inventories that are imported to look at what would change, with
//! plans and with letters, by as many people of that hospital's own making as it likes. So of each organisation one of these is
//! under way at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use suture_core::principal::Principal;
use suture_proto::Repository;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

/// What a publication may take before the next one waits.
const FREE: Duration = Duration::from_secs(1);
/// How often as long as it took beyond that the next one waits.
const TIMES: u32 = 3;

/// When each repository's next publication may begin.
type Next = Arc<tokio::sync::Mutex<Instant>>;

/// All turns. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<String, Next>>>);

/// A publication under way.
#[derive(Debug)]
pub(crate) struct Turn {
    next: OwnedMutexGuard<Instant>,
    begun: Instant,
}

impl Turns {
    /// Waits until it is the repository's turn. There are as many repositories as hospitals, and one more.
    pub(crate) async fn wait(&self, repository: &Repository) -> Turn {
        self.wait_for(repository.to_string()).await
    }

    /// Waits until it is the turn of somebody's organisation. There are as many as hospitals, and the manufacturer.
    pub(crate) async fn wait_of(&self, principal: &Principal) -> Turn {
        self.wait_for(principal.hdo().map_or_else(|| "manufacturer".to_owned(), |hdo| format!("hdo/{hdo}"))).await
    }

    async fn wait_for(&self, whose: String) -> Turn {
        let next = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(whose).or_insert_with(|| Arc::new(Instant::now().into())).clone()
        };
        let next = next.lock_owned().await;
        tokio::time::sleep_until(*next).await;
        Turn { next, begun: Instant::now() }
    }
}

impl Turn {
    /// The waiting for others is over; what is done counts from here.
    pub(crate) fn begin(&mut self) {
        self.begun = Instant::now();
    }
}

impl Drop for Turn {
    /// Also where the caller has gone in the middle of it.
    fn drop(&mut self) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.begun).saturating_sub(FREE);
        *self.next = now.checked_add(took.saturating_mul(TIMES)).unwrap_or(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack: the next one right behind the last.
    #[tokio::test]
    async fn behind_a_publication_that_took_long_others_have_three_times_as_long() {
        let (turns, catalog) = (Turns::default(), Repository::Catalog);
        let lakeside = Repository::Approvals("lakeside".parse().unwrap());
        let before = |millis| Instant::now().checked_sub(Duration::from_millis(millis)).unwrap();
        let mut turn = turns.wait(&catalog).await;
        turn.begun = before(3_600_000);
        // It stood in line, and was short.
        turn.begin();
        drop(turn);
        let next = turns.wait(&catalog).await;
        assert!(*next.next <= Instant::now(), "a short one keeps none of its own waiting");
        drop(turns.wait(&lakeside).await);
        let waits = tokio::spawn({
            let turns = turns.clone();
            async move { drop(turns.wait(&Repository::Catalog).await) }
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!waits.is_finished(), "one after another, and no other repository's");
        let mut long = next;
        long.begun = before(1_100);
        let hung_up = Instant::now();
        drop(long);
        waits.await.unwrap();
        assert!(hung_up.elapsed() >= Duration::from_millis(300), "{:?}", hung_up.elapsed());
    }
}
