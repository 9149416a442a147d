//! Devices that fall silent, found by one server of all, and those that are back.
//!
//! A device that is switched off looks the same as one that was stolen or is kept from speaking: its hospital hears of each.
//! A check-in costs nothing for this. What was silent only because the server itself was away is not lost: nothing is
//! looked for until every device has had the time to check in.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use suture_core::clock::format_utc;
use suture_core::event::{Event, Kind, Observer, What};
use suture_core::limits::MAX_KEPT_EVENTS;
use suture_core::principal::Principal;
use tokio_util::sync::CancellationToken;

use super::{Turn, keep};
use crate::app::App;
use crate::store::lost::Silent;
use crate::store::{Store, StoreError, retried};

/// How often it is looked for.
const LOOK: Duration = Duration::from_secs(30);
/// How many check-ins every device may have missed after the server's start before it is looked for.
const GRACE: u32 = 3;
/// Devices in one transaction.
const PART: u32 = 500;

/// Looks until the server stops.
pub(crate) async fn keep(app: Arc<App>, turn: Turn, shutdown: CancellationToken) {
    let grace = app.settings().check_in.saturating_mul(GRACE);
    if shutdown.run_until_cancelled(tokio::time::sleep(grace)).await.is_none() {
        return;
    }
    while shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        let now = app.now();
        let looked = async { if turn.is_ours(now).await? { look(app.store(), now).await } else { Ok(()) } };
        if let Err(error) = looked.await {
            tracing::error!(error = &error as &dyn std::error::Error, "lost devices could not be looked for");
        }
    }
}

/// Tells of devices that have fallen silent, and of those that are back; of some now and of the others at the next look.
pub(crate) async fn look(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let lost = store.fallen_silent(now, PART).await?;
    retried(|| lose(store, &lost, now)).await?;
    let found = store.found_again(PART).await?;
    retried(|| find(store, &found, now)).await
}

async fn lose(store: &Store, lost: &[Silent], now: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let mut events = Vec::new();
    for silent in lost {
        if tx.lose(silent).await? {
            let detail = format!("last heard at {}", format_utc(silent.last_seen));
            events.push(event(Kind::DeviceLost, silent, &detail, now));
        }
    }
    keep::put(&mut tx, &events, MAX_KEPT_EVENTS, now).await?;
    tx.commit().await
}

async fn find(store: &Store, found: &[(Silent, bool)], now: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let mut events = Vec::new();
    for (silent, is_active) in found {
        // One that was revoked is looked for no more, and did not come back either.
        if tx.find(silent).await? && *is_active {
            let detail = format!("heard at {}", format_utc(silent.last_seen));
            events.push(event(Kind::DeviceBack, silent, &detail, now));
        }
    }
    keep::put(&mut tx, &events, MAX_KEPT_EVENTS, now).await?;
    tx.commit().await
}

fn event(kind: Kind, silent: &Silent, detail: &str, now: Timestamp) -> Event {
    let subject = Principal::Device(silent.hdo.clone(), silent.device.clone()).to_string();
    Event::once(What::new(kind, Observer::Server, Some(&silent.hdo), &subject, detail), now)
}
