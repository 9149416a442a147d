//! The background job: makes what is wanted, deletes what is dropped, one server of all at a time, one delta at a time.
//!
//! What it does is in the database before and after each delta, so a server that is stopped or killed leaves a delta that is
//! wanted still and a claim that runs out; whoever claims next begins that delta anew. Should two servers believe that the
//! claim is theirs, because their clocks differ by more than it lasts, both make the same objects under the same names.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::nothing;
use super::production::{JobError, KIND, Made, Production};
use crate::app::App;
use crate::store::StoreError;
use crate::store::deltas::{Delta, DeltaState, Pair};

/// The job's name among the claims.
const JOB: &str = "delta";
/// A claim that is not repeated runs out after that long.
const CLAIM: SignedDuration = SignedDuration::from_secs(120);
/// How often it is repeated.
const REPEAT: Duration = Duration::from_secs(30);
/// How often the job looks without being woken: another server may have died over its work.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// What failed is tried again after that long, …
const RETRY: SignedDuration = SignedDuration::from_mins(10);
/// … and given up after so many tries.
const MAX_TRIES: u64 = 3;
/// Objects looked at together.
const PAGE: usize = 1_000;

/// What one server does of it.
pub(super) struct Job {
    app: Arc<App>,
    holder: String,
    scratch: PathBuf,
    /// Whether objects that no row names have been looked for.
    swept: bool,
    /// What is being made.
    trying: Option<Pair>,
}

/// Makes and deletes until `shutdown`.
pub(crate) async fn keep(app: Arc<App>, shutdown: CancellationToken) {
    if app.settings().delta_sources == 0 {
        return;
    }
    let mut job = match Job::new(app) {
        Ok(job) => job,
        Err(error) => {
            tracing::error!(%error, "no deltas are made: the system gives no random numbers");
            return;
        }
    };
    loop {
        // At the start first of all: an earlier server may have left work.
        match shutdown.run_until_cancelled(job.round()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "deltas could not be looked after");
            }
            None => return job.stop().await,
        }
        let woken = async {
            tokio::select! {
                () = job.app.deltas().wake.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        };
        if shutdown.run_until_cancelled(woken).await.is_none() {
            return;
        }
    }
}

impl Job {
    /// A job that has not claimed anything yet.
    pub(super) fn new(app: Arc<App>) -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let scratch = app.settings().data_dir.join("scratch");
        Ok(Self { app, holder: hex::encode(random), scratch, swept: false, trying: None })
    }

    /// Leaves a round that was cut off to another server, or to the next start of this one.
    pub(super) async fn stop(mut self) {
        self.break_off().await;
        self.give_back().await;
    }

    /// Does all that there is to do, if the job is this server's.
    pub(super) async fn round(&mut self) -> Result<(), JobError> {
        if !self.is_needed().await? || !self.claim().await? {
            return Ok(());
        }
        let result = self.work().await;
        self.give_back().await;
        result
    }

    async fn is_needed(&self) -> Result<bool, StoreError> {
        let store = self.app.store();
        Ok(!self.swept || store.deltas_wanted().await? > 0 || !store.dropped_deltas().await?.is_empty())
    }

    async fn work(&mut self) -> Result<(), JobError> {
        if !self.swept {
            self.sweep().await?;
            self.swept = true;
        }
        loop {
            self.drop_oldest().await?;
            self.delete_dropped().await?;
            let retry = self.app.now().checked_sub(RETRY).unwrap_or(jiff::Timestamp::MIN);
            let Some(delta) = self.app.store().next_delta(retry).await? else { return Ok(()) };
            self.trying = Some(delta.pair);
            let settled = tokio::select! {
                result = self.settle(&delta) => Some(result),
                () = self.until_lost() => None,
            };
            if let Some(result) = settled {
                self.trying = None;
                result?;
            }
            if self.trying.is_some() || !self.claim().await? {
                tracing::warn!("another server has taken over the making of deltas");
                self.break_off().await;
                return Ok(());
            }
        }
    }

    async fn claim(&self) -> Result<bool, StoreError> {
        let now = self.app.now();
        let until = now.checked_add(CLAIM).unwrap_or(now);
        let mut tx = self.app.store().begin().await?;
        let ours = tx.claim(JOB, &self.holder, now, until).await?;
        tx.commit().await?;
        Ok(ours)
    }

    /// Repeats the claim, and returns once it is another's.
    async fn until_lost(&self) {
        loop {
            tokio::time::sleep(REPEAT).await;
            match self.claim().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the claim on deltas was not repeated");
                }
            }
        }
    }

    async fn give_back(&self) {
        let done = async {
            let mut tx = self.app.store().begin().await?;
            tx.release(JOB, &self.holder).await?;
            tx.commit().await
        };
        if let Err(error) = done.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the claim on deltas is left to run out");
        }
    }

    /// What was being made was not, and that is no fault of it.
    async fn break_off(&mut self) {
        let Some(pair) = self.trying.take() else { return };
        let done = async {
            let mut tx = self.app.store().begin().await?;
            tx.try_delta(&pair, -1, self.app.now()).await?;
            tx.commit().await
        };
        if let Err(error) = done.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a delta that was broken off counts as tried");
        }
    }

    /// Makes one delta and records what that came to.
    async fn settle(&self, delta: &Delta) -> Result<(), JobError> {
        let pair = &delta.pair;
        let mut tx = self.app.store().begin().await?;
        tx.try_delta(pair, 1, self.app.now()).await?;
        tx.commit().await?;
        let begun = Instant::now();
        let made = Production { app: &self.app, scratch: &self.scratch, pair: *pair }.run().await;
        let now = self.app.now();
        let (old, new) = (pair.old.short(), pair.new.short());
        let from = if pair.old == nothing() { "nothing" } else { old.as_str() };
        let mut tx = self.app.store().begin().await?;
        let keeps = match made {
            Ok(Made::Delta(made)) => {
                let (bytes, secs) = (made.length, begun.elapsed().as_secs());
                tracing::info!(from, to = new, bytes, secs, "made a delta");
                tx.put_delta(pair, &made, now).await?;
                true
            }
            Ok(Made::Useless(why)) => {
                tracing::info!(from, to = new, why, "a delta is not kept");
                tx.end_delta(pair, DeltaState::Useless, &why, now).await?;
                false
            }
            Ok(Made::Gone) => {
                tx.end_delta(pair, DeltaState::Dropped, "a payload is not listed any more", now).await?;
                true
            }
            Err(error) => {
                let why = chain(&error);
                let given_up = delta.tries.saturating_add(1) >= MAX_TRIES;
                tracing::error!(from, to = new, error = why, given_up, "a delta could not be made");
                if given_up {
                    tx.end_delta(pair, DeltaState::Failed, &why, now).await?;
                }
                !given_up
            }
        };
        tx.commit().await?;
        if !keeps {
            self.delete(pair).await?;
        }
        Ok(())
    }

    /// Keeps to what deltas may take of the store.
    async fn drop_oldest(&self) -> Result<(), JobError> {
        while self.app.store().deltas_length().await? > self.app.settings().delta_store_bytes {
            let mut tx = self.app.store().begin().await?;
            tx.drop_oldest_delta(self.app.now()).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn delete_dropped(&self) -> Result<(), JobError> {
        loop {
            let dropped = self.app.store().dropped_deltas().await?;
            if dropped.is_empty() {
                return Ok(());
            }
            for delta in dropped {
                self.delete(&delta.pair).await?;
                tracing::info!(from = delta.pair.old.short(), to = delta.pair.new.short(), "deleted a delta");
            }
        }
    }

    /// Deletes a delta's objects, then forgets their names.
    async fn delete(&self, pair: &Pair) -> Result<(), JobError> {
        for region in self.app.store().delta_regions(pair).await? {
            self.app.blobs().delete(&region.object).await?;
        }
        let mut tx = self.app.store().begin().await?;
        tx.forget_delta(pair).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deletes objects that no row names: what a try that was broken off left, where the next one made other bytes.
    async fn sweep(&self) -> Result<(), JobError> {
        let named: HashSet<String> = self.app.store().delta_objects().await?.into_iter().collect();
        let mut after: Option<String> = None;
        loop {
            let page = self.app.blobs().list(KIND, after.as_deref(), PAGE).await?;
            for object in page.iter().filter(|object| !named.contains(*object)) {
                self.app.blobs().delete(object).await?;
            }
            match page.last() {
                Some(last) => after = Some(last.clone()),
                None => return Ok(()),
            }
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
