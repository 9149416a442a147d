//! The background job: makes what is wanted, deletes what is dropped, one server of all at a time, one delta at a time.
//!
//! What it does is in the database before and after each delta, so a server that is stopped or killed leaves a delta that is
//! wanted still and a claim that runs out; whoever claims next begins that delta anew. Each change repeats the claim, so a
//! server that has lost it, because it stood still for longer than the claim lasts, changes nothing any more.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claim::Claim;
use super::nothing;
use super::production::{JobError, KIND, Made, Production};
use crate::app::App;
use crate::store::StoreError;
use crate::store::deltas::{Delta, DeltaState, Pair};

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
    claim: Claim,
    scratch: PathBuf,
    /// Whether objects that no row names have been looked for.
    swept: bool,
    /// What is being made, once its try is counted.
    trying: Option<Pair>,
}

/// Makes and deletes until `shutdown`. Where none are to be made, it deletes those that are there, and ends.
pub(crate) async fn keep(app: Arc<App>, shutdown: CancellationToken) {
    let are_off = app.settings().delta_sources == 0;
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
            Some(Ok(())) if are_off && job.swept => return,
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
        let scratch = app.settings().data_dir.join("scratch");
        Ok(Self { claim: Claim::new(app.clone())?, app, scratch, swept: false, trying: None })
    }

    /// Leaves a round that was cut off to another server, or to the next start of this one.
    pub(super) async fn stop(mut self) {
        self.break_off().await;
        self.claim.give_back().await;
    }

    /// Does all that there is to do, if the job is this server's.
    pub(super) async fn round(&mut self) -> Result<(), JobError> {
        if !self.is_needed().await? || !self.claim.take().await? {
            return Ok(());
        }
        let claim = self.claim.clone();
        let result = tokio::select! {
            result = self.work() => result,
            () = claim.until_lost() => Err(JobError::Lost),
        };
        if matches!(result, Err(JobError::Lost)) {
            tracing::warn!("another server has taken over the making of deltas");
            self.break_off().await;
            return Ok(());
        }
        claim.give_back().await;
        result
    }

    async fn is_needed(&self) -> Result<bool, StoreError> {
        let store = self.app.store();
        Ok(!self.swept || store.deltas_wanted().await? > 0 || !store.deltas_to_delete().await?.is_empty())
    }

    async fn work(&mut self) -> Result<(), JobError> {
        if self.app.settings().delta_sources == 0 {
            return self.delete_all().await;
        }
        if !self.swept {
            // What another release of this program made, devices of this one's cannot read, or less well.
            let mut tx = self.claim.begin().await?;
            tx.forget_other_formats(self.app.now()).await?;
            tx.commit().await?;
            self.sweep().await?;
            self.swept = true;
        }
        loop {
            self.crowd_out().await?;
            self.delete_dropped().await?;
            let retry = self.app.now().checked_sub(RETRY).unwrap_or(jiff::Timestamp::MIN);
            let Some(delta) = self.app.store().next_delta(retry).await? else { return Ok(()) };
            if delta.tries >= MAX_TRIES {
                self.give_up(&delta).await?;
                continue;
            }
            let mut tx = self.claim.begin().await?;
            tx.try_delta(&delta.pair, 1, self.app.now()).await?;
            tx.commit().await?;
            self.trying = Some(delta.pair);
            let settled = self.settle(&delta).await;
            if !matches!(settled, Err(JobError::Lost)) {
                self.trying = None;
            }
            settled?;
        }
    }

    /// Deletes what was made when deltas were made still.
    async fn delete_all(&mut self) -> Result<(), JobError> {
        let mut tx = self.claim.begin().await?;
        tx.drop_all_deltas(self.app.now()).await?;
        tx.commit().await?;
        self.delete_dropped().await?;
        self.sweep().await?;
        self.swept = true;
        Ok(())
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

    /// Ends one whose tries were all begun and none settled: what takes the server's memory, or the server with it, would
    /// do so for ever.
    async fn give_up(&self, delta: &Delta) -> Result<(), JobError> {
        let Delta { pair, tries, .. } = delta;
        let why = format!("the server ended, or could not say what came of it, {tries} times while making it");
        tracing::error!(from = from(pair), to = pair.new.short(), error = why, "a delta is not tried again");
        let mut tx = self.claim.begin().await?;
        tx.end_delta(pair, DeltaState::Failed, &why, self.app.now()).await?;
        Ok(tx.commit().await?)
    }

    /// Makes one delta and records what that came to.
    async fn settle(&self, delta: &Delta) -> Result<(), JobError> {
        let pair = &delta.pair;
        let begun = Instant::now();
        let production = Production { app: &self.app, claim: &self.claim, scratch: &self.scratch, pair: *pair };
        let made = production.run().await;
        let now = self.app.now();
        let (from, to) = (from(pair), pair.new.short());
        let mut tx = self.claim.begin().await?;
        match made {
            Ok(Made::Delta(made)) => {
                let (bytes, secs) = (made.length, begun.elapsed().as_secs());
                tracing::info!(from, to, bytes, secs, "made a delta");
                tx.put_delta(pair, &made, now).await?;
            }
            Ok(Made::Useless(why)) => {
                tracing::info!(from, to, why, "a delta is not kept");
                tx.end_delta(pair, DeltaState::Useless, &why, now).await?;
            }
            Ok(Made::Crowded(why)) => {
                tracing::warn!(from, to, why, "a delta is not kept; raise delta_store_gib");
                tx.end_delta(pair, DeltaState::Crowded, &why, now).await?;
            }
            Ok(Made::Gone) => {
                tx.end_delta(pair, DeltaState::Dropped, "a payload is not listed any more", now).await?;
            }
            Err(JobError::Lost) => return Err(JobError::Lost),
            Err(error) => {
                let why = chain(&error);
                let given_up = delta.tries.saturating_add(1) >= MAX_TRIES;
                tracing::error!(from, to, error = why, given_up, "a delta could not be made");
                if given_up {
                    tx.end_delta(pair, DeltaState::Failed, &why, now).await?;
                }
            }
        }
        Ok(tx.commit().await?)
    }

    /// Keeps to what deltas may take of the store.
    async fn crowd_out(&self) -> Result<(), JobError> {
        while self.app.store().deltas_length().await? > self.app.settings().delta_store_bytes {
            let mut tx = self.claim.begin().await?;
            tx.crowd_out_delta(self.app.now()).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn delete_dropped(&self) -> Result<(), JobError> {
        loop {
            let dropped = self.app.store().deltas_to_delete().await?;
            if dropped.is_empty() {
                return Ok(());
            }
            for delta in dropped {
                self.delete(&delta.pair).await?;
                tracing::info!(from = from(&delta.pair), to = delta.pair.new.short(), "deleted a delta's objects");
            }
        }
    }

    /// Deletes a delta's objects, then forgets their names.
    async fn delete(&self, pair: &Pair) -> Result<(), JobError> {
        // Another server that has taken over may be making this very delta.
        self.claim.begin().await?.commit().await?;
        for region in self.app.store().delta_regions(pair).await? {
            self.app.blobs().delete(&region.object).await?;
        }
        let mut tx = self.claim.begin().await?;
        tx.forget_delta(pair).await?;
        Ok(tx.commit().await?)
    }

    /// Deletes objects that no row names: what a try that was broken off left, where the next one made other bytes. A row
    /// comes before its object, so rows that are looked at after the objects name all that are somebody's, another server's
    /// too.
    async fn sweep(&self) -> Result<(), JobError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.app.blobs().list(KIND, after.as_deref(), PAGE).await?;
            let named = self.app.store().delta_objects(&page).await?;
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

/// What a delta is made from, for the log.
fn from(pair: &Pair) -> String {
    if pair.old == nothing() { "nothing".to_owned() } else { pair.old.short() }
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
