//! What a device is told at a check-in: whether there is news, and what the server holds back. It can only narrow.

use jiff::Timestamp;
use suture_core::approval::waits;
use suture_core::audit::Head;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::phase::Reason;
use suture_core::report::{Seen, Sighting};
use suture_core::rollout::{self, late, word};
use suture_core::sign::Signature;

use crate::audit::AuditError;
use crate::fork;
use crate::store::rollouts::Place;
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
    /// How they came, as it said it.
    pub(crate) transfer: Option<Vec<u8>>,
}

/// What a device said at a check-in.
pub(crate) struct CheckIn<'a> {
    /// The message as it came, to be kept.
    pub(crate) said: &'a [u8],
    /// What runs by it.
    pub(crate) manifest: Option<Digest>,
    /// Of a transfer, for those who watch.
    pub(crate) fetched: Option<Fetched>,
    /// The catalog and the approvals that it verified.
    pub(crate) seen: (Option<Seen>, Option<Seen>),
    /// The head of the audit record that it remembers.
    pub(crate) audit: Option<Head>,
    /// Its signature over these.
    pub(crate) signature: Option<Signature>,
}

/// Keeps what the device said and answers with the server's words, newest approval first, and the report number up to
/// which all are stored.
pub(crate) async fn check_in(
    store: &Store,
    hdo: &HdoId,
    device: &DeviceId,
    check_in: CheckIn<'_>,
    now: Timestamp,
) -> Result<(Vec<Word>, u64), AuditError> {
    let CheckIn { said, manifest, fetched, seen: (catalog, approvals), audit, signature } = check_in;
    let mut tx = store.begin().await?;
    tx.keep_check_in(hdo, device, said, manifest.as_ref(), now).await?;
    if let Some(Fetched { approval, bytes, total, transfer }) = fetched {
        tx.update_fetched(hdo, &approval, device, (bytes, total), transfer.as_deref(), now).await?;
    }
    let known = tx.device(hdo, device).await?;
    let words = words(&mut tx, hdo, device, now).await?;
    let sighting = Sighting::new(hdo.clone(), device.clone(), catalog, approvals).with_audit(audit);
    let key = known.as_ref().and_then(|d| d.report_key);
    let proven = key.zip(signature).is_some_and(|(key, signature)| sighting.verify(&key, &signature).is_ok());
    fork::watch(&mut tx, &sighting, proven, now).await?;
    let through = known.map_or(0, |d| d.reports_through);
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
    let places = tx.rollouts_of(hdo, device, now).await?;
    let said = |Place { rollout: r, wave, slots_end, barred }: Place| {
        let unsigned = r.unsigned.holds(wave).then(|| waits(&r.id, wave));
        let no = barred.then(|| rollout::barred(&r.id)).or_else(|| late(slots_end, now));
        let verdict = word(r.state, r.wave, wave, r.reason.as_ref(), unsigned).and(no.map_or(Ok(()), Err));
        Word { verdict, approval: r.id }
    };
    Ok(places.into_iter().map(said).collect())
}
