//! How much of the record one caller writes in a day.
//!
//! Attack: a stolen device, or a stolen operator's certificate, that fills the server's disk with entries, which nobody may
//! delete for years. So each device, each person and each organisation has so many a day (in UTC).
//!
//! What a device says beyond its bound is taken and kept with its reports as ever, since a device whose reports were refused
//! would be stuck; only the record has no more of it that day, and its last entry says so. Its reports themselves have a bound in
//! bytes, far above what it has to tell; those beyond it wait on the device for the next day. What a person does beyond it is
//! refused, and so not done. What only narrows goes on: nobody is kept from stopping something by what somebody else, or a thief
//! in their name, has written. Nor is anybody kept from renewing a certificate, by which they would stop it. What is newly signed by
//! keys that the server has not got is published though the day's entries are spent, so many times: by it a bundle is withdrawn and an
//! approval stopped. New roots, by which a thief's keys are taken out, have entries of their own, which no thief of the other keys
//! spends.

use jiff::Timestamp;
use serde_json::{Value, json};
use suture_core::audit::Concern;
use suture_core::id::{DeviceId, HdoId, ProductId};
use suture_core::limits::{
    DEVICE_REPORT_BYTES, MAX_DAILY_AGREEMENTS, MAX_DEVICE_ENTRIES, MAX_DEVICE_REPORT_BYTES, MAX_HOSPITAL_REPORT_BYTES,
    MAX_ORGANISATION_ENTRIES, MAX_ORGANISATION_WORDS, MAX_PERSON_ENTRIES, MAX_PERSON_SAID_BYTES, MAX_PERSON_WORDS,
    MAX_RESERVED_ENTRIES, MAX_SAID_BYTES, MAX_UNROSTERED_BYTES,
};
use suture_core::principal::Principal;

use super::{AuditError, append};
use crate::store::{Lock, Tx};

const DAY_SECS: i64 = 86_400;

/// What only narrows: it can be done again only once somebody has widened again. What is ordered though it stands already is
/// recorded under another name.
const NARROWS: [&str; 6] =
    ["rollout.paused", "rollout.aborted", "rollout.stopped", "device.revoked", "device.refused", "operator.revoked"];

/// What has a bound of its own, far below the day's entries ([`MAX_RENEWALS`](suture_core::limits::MAX_RENEWALS) for each identity).
/// Attack: a thief who spends the day's entries, so that the certificates of those who would stop something end.
const BOUNDED: &str = "certificate.renewed";

/// What an entry may fall back on once the day's are spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserve {
    /// Nothing.
    None,
    /// It is of a publication that was verified, of a version that was not used before.
    Publications,
    /// The same, with new roots.
    Roots,
}

impl Reserve {
    /// By what name it is counted.
    const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Publications => Some("publications"),
            Self::Roots => Some("roots"),
        }
    }
}

fn day(now: Timestamp) -> i64 {
    now.as_second().div_euclid(DAY_SECS)
}

/// By what name all persons of an organisation are counted together; none of who is no person.
fn organisation(actor: &Principal) -> Option<String> {
    match actor {
        Principal::Operator(hdo, _) => Some(format!("hdo/{hdo}")),
        Principal::Mdm(_) => Some("manufacturer".to_owned()),
        Principal::Server | Principal::Device(..) => None,
    }
}

/// Counts what a person says in a series, of which each word is kept for years.
///
/// Attack: a thief of one person's certificate who says all that the organisation may say, so that nobody else says anything.
///
/// # Errors
///
/// The person has said [`MAX_PERSON_SAID_BYTES`] that day, or the organisation [`MAX_SAID_BYTES`], or the database failed.
pub(crate) async fn said(tx: &mut Tx, actor: &Principal, bytes: usize, now: Timestamp) -> Result<(), AuditError> {
    let Some(organisation) = organisation(actor) else { return Ok(()) };
    let person = actor.to_string();
    if tx.count_written(&format!("said/{person}"), day(now), bytes as u64).await? > MAX_PERSON_SAID_BYTES {
        return Err(AuditError::PersonSaidTooMuch { writer: person });
    }
    if tx.count_written(&format!("said/{organisation}"), day(now), bytes as u64).await? > MAX_SAID_BYTES {
        return Err(AuditError::OrganisationSaidTooMuch { writer: organisation });
    }
    Ok(())
}

/// Counts a word that a person says in a series that has room for so many.
///
/// # Errors
///
/// The person has said [`MAX_PERSON_WORDS`] that day, or all persons of the organisation [`MAX_ORGANISATION_WORDS`], or the database
/// failed.
pub(crate) async fn worded(tx: &mut Tx, actor: &Principal, now: Timestamp) -> Result<(), AuditError> {
    let Some(organisation) = organisation(actor) else { return Ok(()) };
    let writer = actor.to_string();
    if tx.count_written(&format!("words/{writer}"), day(now), 1).await? > MAX_PERSON_WORDS {
        return Err(AuditError::PersonSaidTooOften { writer });
    }
    // Attack: a thief of one person's certificate who invites himself as colleagues.
    if tx.count_written(&format!("words/{organisation}"), day(now), 1).await? > MAX_ORGANISATION_WORDS {
        let what = format!("decisions and assessments of {organisation}");
        return Err(AuditError::TooManyWords { what, most: MAX_ORGANISATION_WORDS });
    }
    Ok(())
}

/// Counts an agreement that is proposed to a hospital for a product.
///
/// Attack: a thief of one person's certificate of the manufacturer's who proposes as many as there is room for, for ever.
///
/// # Errors
///
/// [`MAX_DAILY_AGREEMENTS`] were proposed to it that day, or the database failed.
pub(crate) async fn proposed(
    tx: &mut Tx,
    (hdo, product): (&HdoId, &ProductId),
    now: Timestamp,
) -> Result<(), AuditError> {
    if tx.count_written(&format!("agreements/{hdo}/{product}"), day(now), 1).await? > MAX_DAILY_AGREEMENTS {
        let what = format!("agreements proposed to {hdo} for {product}");
        return Err(AuditError::TooManyWords { what, most: MAX_DAILY_AGREEMENTS });
    }
    Ok(())
}

/// Counts an entry that a person is about to write.
///
/// Attack: a call that a revoked person's thief began while the certificate was in force, and ends after the revocation. Whoever
/// revokes holds the record's lock too, so that the one sees what the other has done, whichever is first.
pub(super) async fn person(
    tx: &mut Tx,
    (actor, reserve): (&Principal, Reserve),
    action: &str,
    now: Timestamp,
) -> Result<(), AuditError> {
    // A device's is counted by [`heard`], or comes of a token or a renewal, of which there are few.
    let Some(organisation) = organisation(actor) else { return Ok(()) };
    if tx.is_revoked_operator(actor).await? {
        return Err(AuditError::Revoked { actor: actor.to_string() });
    }
    let bounds = [(actor.to_string(), MAX_PERSON_ENTRIES), (organisation.clone(), MAX_ORGANISATION_ENTRIES)];
    let mut spent = None;
    for (writer, most) in bounds {
        if tx.count_written(&writer, day(now), 1).await? > most {
            spent.get_or_insert(AuditError::TooMany { writer, most });
        }
    }
    match (spent, reserve.name()) {
        (None, _) => {}
        (Some(_), _) if NARROWS.contains(&action) || action == BOUNDED => {}
        // What comes in force with it: all of that was signed, of which so much is published a day.
        (Some(_), None) if tx.is_publication() => {}
        (Some(spent), None) => return Err(spent),
        (Some(spent), Some(name)) => {
            let reserved = tx.count_written(&format!("{name}/{organisation}"), day(now), 1).await?;
            if reserved > MAX_RESERVED_ENTRIES {
                return Err(spent);
            }
        }
    }
    if reserve != Reserve::None {
        tx.note_publication();
    }
    Ok(())
}

/// Whether a report of so many bytes is kept, of a device that is on no signed roster of its hospital; it is counted then. Its
/// reports count nowhere, and any operator's certificate makes such devices by the thousand.
pub(crate) async fn has_room(tx: &mut Tx, hdo: &HdoId, bytes: usize, now: Timestamp) -> Result<bool, AuditError> {
    let kept = tx.count_written(&format!("unrostered/{hdo}"), day(now), bytes as u64).await?;
    Ok(kept <= MAX_UNROSTERED_BYTES)
}

/// How many of these reports, told by their bytes, are taken today of a device that is on its hospital's roster; they are counted
/// then. A device has always so much of its own, and beyond it shares a room with its hospital's other devices, so that whoever has
/// stolen the keys of some keeps none of the others from telling what they must.
pub(crate) async fn taken(
    tx: &mut Tx,
    (hdo, device): (&HdoId, &DeviceId),
    reports: impl Iterator<Item = usize> + Clone,
    now: Timestamp,
) -> Result<usize, AuditError> {
    let writer = Principal::Device(hdo.clone(), device.clone());
    let asked: u64 = reports.clone().map(|bytes| bytes as u64).sum();
    let through = tx.count_written(&format!("reports/{writer}"), day(now), asked).await?;
    let before = through.saturating_sub(asked);
    let own = before.max(DEVICE_REPORT_BYTES);
    let shared = through.min(MAX_DEVICE_REPORT_BYTES).saturating_sub(own);
    let granted = match shared {
        0 => 0,
        shared => {
            let spent = tx.count_written(&format!("reports/hdo/{hdo}"), day(now), shared).await?.saturating_sub(shared);
            MAX_HOSPITAL_REPORT_BYTES.saturating_sub(spent).min(shared)
        }
    };
    let most = own.saturating_add(granted);
    let mut sum = before;
    let fitting = reports.take_while(|bytes| {
        sum = sum.saturating_add(*bytes as u64);
        sum <= most
    });
    Ok(fitting.count())
}

/// Whether it is the first time that day that reports of a device are put off.
pub(crate) async fn is_put_off_first(
    tx: &mut Tx,
    (hdo, device): (&HdoId, &DeviceId),
    now: Timestamp,
) -> Result<bool, AuditError> {
    let writer = Principal::Device(hdo.clone(), device.clone());
    Ok(tx.count_written(&format!("put-off/{writer}"), day(now), 1).await? == 1)
}

/// Records something that came of what a device has said; nothing where its bound is reached.
///
/// # Errors
///
/// As those of [`append`].
pub(crate) async fn heard(
    tx: &mut Tx,
    now: Timestamp,
    (hdo, device): (&HdoId, &DeviceId),
    (actor, concerns): (&Principal, Concern),
    (action, subject, detail): (&str, &str, Value),
) -> Result<(), AuditError> {
    tx.lock(Lock::AuditChain).await?;
    let writer = Principal::Device(hdo.clone(), device.clone());
    let entries = tx.count_written(&writer.to_string(), day(now), 1).await?;
    if entries < MAX_DEVICE_ENTRIES {
        append(tx, now, actor, concerns, action, subject, detail).await?;
    } else if entries == MAX_DEVICE_ENTRIES {
        tracing::warn!(%hdo, %device, "a device has said so much that no more of it is recorded today");
        let detail = json!({ "most": MAX_DEVICE_ENTRIES, "not_recorded": action });
        let what = "device.told-too-much";
        append(tx, now, &Principal::Server, hdo.into(), what, device.as_str(), detail).await?;
    }
    Ok(())
}
