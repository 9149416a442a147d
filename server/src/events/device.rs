//! What a device has seen and signed, counted once however often it is sent.
//!
//! Attack: a device's thief, or a server in between, that makes up what a device has seen. The batch is verified with the key
//! that the device enrolled with; the subject is the device, whatever it says itself.
//!
//! Attack: a stolen device that has seen grave things without end, until nothing else is left of what its hospital's security
//! staff would read. Of each device so many are kept, and its own go first.

use jiff::Timestamp;
use suture_core::event::{BatchError, Event, Observer, SignedBatch, What};
use suture_core::id::{DeviceId, HdoId};
use suture_core::limits::{MAX_KEPT_DEVICE_EVENTS, MAX_KEPT_EVENTS};
use suture_core::principal::Principal;

use super::keep;
use crate::store::{Lock, Store, StoreError, retried};

/// Of one event that a device tells, so that no device makes a number that nobody can add up: a thousand million.
const MAX_COUNT: u64 = 1_000_000_000;

/// Why they were not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeEventsError {
    /// They are not the device's.
    #[error("the device's security events are refused")]
    Refused(#[from] BatchError),
    /// The device has not enrolled.
    #[error("this device has no report key here; enrol it again")]
    Unknown,
    /// The database failed.
    #[error("the device's security events could not be stored")]
    Store(#[from] StoreError),
}

/// Stores a device's events and says up to which number they are here; without any, just that.
pub(crate) async fn take(
    store: &Store,
    hdo: &HdoId,
    device: &DeviceId,
    signed: &SignedBatch,
    now: Timestamp,
) -> Result<u64, TakeEventsError> {
    retried(|| put(store, hdo, device, signed, now)).await
}

async fn put(
    store: &Store,
    hdo: &HdoId,
    device: &DeviceId,
    signed: &SignedBatch,
    now: Timestamp,
) -> Result<u64, TakeEventsError> {
    let mut tx = store.begin().await?;
    let known = tx.device(hdo, device).await?.ok_or(TakeEventsError::Unknown)?;
    let key = known.report_key.ok_or(TakeEventsError::Unknown)?;
    let batch = signed.verify(&key, hdo, device)?;
    if !batch.events.is_empty() {
        // The same may be under way already, sent before: then that is here once this goes on.
        tx.lock(Lock::Events).await?;
    }
    let mut through = tx.events_through(hdo, device, &key).await?;
    let subject = Principal::Device(hdo.clone(), device.clone()).to_string();
    let mut news = Vec::new();
    for numbered in batch.events {
        if numbered.number <= through {
            continue;
        }
        through = numbered.number;
        let Event { what, first, last, count } = numbered.event;
        let detail = if what.subject == subject { what.detail } else { format!("{}: {}", what.subject, what.detail) };
        let what = What::new(what.kind, Observer::Device, Some(hdo), &subject, &detail);
        news.push(Event { what, first: first.min(last), last, count: count.clamp(1, MAX_COUNT) });
    }
    if !news.is_empty() {
        tx.set_events_through(hdo, device, &key, through).await?;
        keep::put(&mut tx, &news, MAX_KEPT_EVENTS, now).await?;
        tx.trim_events_of(hdo, &subject, MAX_KEPT_DEVICE_EVENTS).await?;
        tx.commit().await?;
    }
    Ok(through)
}
