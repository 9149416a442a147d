//! What a device is told at a check-in: whether there is news, and what the server holds back. It can only narrow.

use jiff::Timestamp;
use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::phase::Reason;

use crate::rollout;
use crate::store::{Store, StoreError};

/// What the server says of one approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// The approval.
    pub(crate) approval: ApprovalId,
    /// Go, or why not.
    pub(crate) verdict: Result<(), Reason>,
}

/// What a device reports of a transfer, for those who watch.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    /// By which approval.
    pub(crate) approval: ApprovalId,
    /// Bytes that are there.
    pub(crate) bytes: u64,
    /// Bytes that will be there.
    pub(crate) total: u64,
}

/// Keeps what the device said and answers with the server's words, newest approval first, and the report number up to
/// which all are stored.
pub(crate) async fn check_in(
    store: &Store,
    hdo: &HdoId,
    device: &DeviceId,
    said: &[u8],
    fetched: Option<Fetched>,
    now: Timestamp,
) -> Result<(Vec<Word>, u64), StoreError> {
    let mut tx = store.begin().await?;
    tx.keep_check_in(hdo, device, said, now).await?;
    if let Some(Fetched { approval, bytes, total }) = fetched {
        tx.update_fetched(hdo, &approval, device, bytes, total).await?;
    }
    let through = tx.device(hdo, device).await?.map_or(0, |d| d.reports_through);
    let words = words(&mut tx, hdo, device, now).await?;
    tx.commit().await?;
    Ok((words, through))
}

/// The server's words for a device.
pub(crate) async fn words(
    tx: &mut crate::store::Tx,
    hdo: &HdoId,
    device: &DeviceId,
    now: Timestamp,
) -> Result<Vec<Word>, StoreError> {
    let rollouts = tx.rollouts_of(hdo, device, now).await?;
    let word = |(r, wave): (crate::store::rollouts::Rollout, u32)| Word {
        verdict: rollout::word(r.state, r.wave, wave, r.reason.as_ref()),
        approval: r.id,
    };
    Ok(rollouts.into_iter().map(word).collect())
}
