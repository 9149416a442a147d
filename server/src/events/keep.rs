//! What waits, written: in one transaction every few seconds, however much there is of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use suture_core::event::{Event, Kind, Observer, What};
use suture_core::id::HdoId;
use suture_core::limits::MAX_KEPT_EVENTS;
use tokio_util::sync::CancellationToken;

use super::Events;
use crate::app::App;
use crate::store::{Store, StoreError, Tx, retried};

/// How often what waits is written.
const WRITE: Duration = Duration::from_secs(5);

/// Writes what waits until the server stops; [`flush`] then writes the last.
pub(crate) async fn keep(app: Arc<App>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(WRITE)).await.is_some() {
        flush(app.events(), app.store(), app.now()).await;
    }
}

/// Writes what waits, once what another is writing is written. What cannot be written waits on, within the same bound.
///
/// Attack: an operator who asks for events and resets the call at once: its handler is let go of wherever it waits, and with it
/// what it had taken in order to write it. So that is written by a task of its own, whether or not anybody waits for it.
pub(crate) async fn flush(events: &Events, store: &Store, now: Timestamp) {
    let turn = events.writing.clone().lock_owned().await;
    let waiting = events.waiting().take();
    if waiting.is_empty() {
        return;
    }
    let (events, store) = (events.clone(), store.clone());
    let written = tokio::spawn(async move {
        if let Err(error) = retried(|| write(&store, &waiting, MAX_KEPT_EVENTS, now)).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "security events could not be written and wait on");
            let mut fold = events.waiting();
            waiting.into_iter().for_each(|event| fold.add(event));
        }
        drop(turn);
    });
    if let Err(error) = written.await {
        tracing::error!(%error, "the writing of security events was broken off");
    }
}

pub(super) async fn write(store: &Store, events: &[Event], most: u64, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    put(&mut tx, events, most, now).await?;
    tx.commit().await
}

/// Keeps events, and no more of each hospital than there may be.
pub(super) async fn put(tx: &mut Tx, events: &[Event], most: u64, now: Timestamp) -> Result<(), StoreError> {
    tx.put_events(events).await?;
    let hdos: BTreeSet<Option<&HdoId>> = events.iter().map(|event| event.what.hdo.as_ref()).collect();
    for hdo in hdos {
        let dropped = tx.trim_events(hdo, most).await?;
        if dropped > 0 {
            tracing::warn!(hdo = hdo.map(HdoId::as_str), dropped, "there are too many security events");
            let what = What::new(Kind::EventsDropped, Observer::Server, hdo, "server", "the least grave and oldest");
            tx.put_events(&[Event { count: dropped, ..Event::once(what, now) }]).await?;
        }
    }
    Ok(())
}
