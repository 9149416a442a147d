//! A letter, as it is handed in.

use jiff::{Timestamp, ToSpan as _};
use serde_json::json;
use suture_core::audit::Concern;
use suture_core::clock::format_utc;
use suture_core::id::{HdoId, OperatorName};
use suture_core::limits::{MAX_ANSWER_DAYS, MAX_LETTERS};
use suture_core::notice::{
    Acknowledgement, Kind, LetterError, Notice, Said, Side, Suspicion, VerifiedLetter, answer_days,
};
use suture_core::principal::Principal;
use suture_core::sign::PublicKey;
use suture_core::trust::{Role, Root, TrustError, Verified};
use suture_proto::Repository;

use crate::audit::{self, AuditError};
use crate::store::letters::{Answer, Placed};
use crate::store::{StoreError, Tx};

/// Why a letter was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LetterTakeError {
    /// It is not sound, or not signed.
    #[error("a letter is refused")]
    Letter(#[from] LetterError),
    /// It is somebody else's.
    #[error("letter {number} to or from {hdo} is not yours to send: {why}")]
    Other { hdo: HdoId, number: u64, why: &'static str },
    /// Its key is not one that may write.
    #[error("the key of letter {number} is none that signs targets for the {from} now, or another's than {name}'s")]
    Key { number: u64, from: Side, name: OperatorName },
    /// The root in the store.
    #[error("the root in the store cannot be read")]
    Root(#[from] TrustError),
    /// There is no such hospital.
    #[error("there is no hospital {0}; `suturectl hdo list`")]
    Hospital(HdoId),
    /// Somebody else was faster, or the writer does not know the last one.
    #[error(
        "the {from}'s series with {hdo} is at letter {there}, and this is letter {number} or stands upon another; run it again"
    )]
    Moved { from: Side, hdo: HdoId, there: u64, number: u64 },
    /// No more fit.
    #[error("the {from}'s series with {hdo} has {MAX_LETTERS} letters, and no more fit")]
    Full { from: Side, hdo: HdoId },
    /// Its deadline makes no sense.
    #[error("acknowledge_by {0}: an answer is due between now and {MAX_ANSWER_DAYS} days ahead")]
    Deadline(Timestamp),
    /// It answers what is not there.
    #[error("letter {0} that it answers is not there, is another, or asks for no answer")]
    Answers(u64),
    /// It updates what is no report.
    #[error("letter {0} that it updates is no report")]
    Updates(u64),
    /// The record failed.
    #[error("the audit trail failed")]
    Audit(#[from] AuditError),
    /// The database failed.
    #[error("the letter could not be stored")]
    Store(#[from] StoreError),
}

/// The root by whose keys somebody's side writes; none where it has none.
///
/// # Errors
///
/// It cannot be read.
pub(crate) async fn root_by(tx: &mut Tx, principal: &Principal) -> Result<Option<Verified<Root>>, LetterTakeError> {
    root_of(tx, principal.hdo()).await
}

/// Takes a letter from whoever has signed it, by [`root_by`]. It was verified before anything was locked: of a hundred, each as
/// long as it may be, that takes a while in which nobody else could write.
///
/// # Errors
///
/// See [`LetterTakeError`]; nothing of it is kept then.
pub(crate) async fn take(
    tx: &mut Tx,
    (principal, name, root): (&Principal, &OperatorName, Option<&Verified<Root>>),
    letter: &VerifiedLetter,
    now: Timestamp,
) -> Result<(), LetterTakeError> {
    let (hdo, from, number) = (letter.hdo.clone(), letter.from, letter.number);
    let other = |why| Err(LetterTakeError::Other { hdo: letter.hdo.clone(), number, why });
    if super::side(principal) != Some(from) {
        return other("it is written by the other side");
    }
    if principal.hdo().is_some_and(|own| *own != hdo) {
        return other("it is another hospital's");
    }
    if letter.name != *name {
        return other("it bears somebody else's name");
    }
    if !root.is_some_and(|root| letter.is_listed(root)) {
        return Err(LetterTakeError::Key { number, from, name: letter.name.clone() });
    }
    if from == Side::Manufacturer && !tx.hdos().await?.iter().any(|h| h.id == hdo) {
        return Err(LetterTakeError::Hospital(hdo));
    }
    let before = tx.letter_head(&hdo, from).await?;
    let there = before.map_or(0, |head| head.number);
    if there >= MAX_LETTERS {
        return Err(LetterTakeError::Full { from, hdo });
    }
    if number != there + 1 || letter.previous != before.map(|head| head.sha256) {
        return Err(LetterTakeError::Moved { from, hdo, there, number });
    }
    keep(tx, letter, now).await?;
    record(tx, principal, letter, now).await
}

/// The root by whose keys a hospital writes, or the manufacturer.
async fn root_of(tx: &mut Tx, hdo: Option<&HdoId>) -> Result<Option<Verified<Root>>, LetterTakeError> {
    let repository = hdo.map_or(Repository::Catalog, |hdo| Repository::Approvals(hdo.clone()));
    let root = tx.newest_repo_file(&repository.to_string(), Role::Root).await?;
    Ok(root.map(|root| Verified::<Root>::pinned(&root.content)).transpose()?)
}

/// The key that a side's root ties to a person, if there is one: whoever has stolen their certificate has not stolen that.
pub(crate) async fn key_of(
    tx: &mut Tx,
    (hdo, side): (&HdoId, Side),
    name: &OperatorName,
) -> Result<Option<PublicKey>, LetterTakeError> {
    let Some(root) = root_of(tx, (side == Side::Hospital).then_some(hdo)).await? else { return Ok(None) };
    Ok(root.authority(Role::Targets).keys().find(|key| root.holder(key) == Some(name)).copied())
}

/// Keeps it, has it delivered, and does what it says.
async fn keep(tx: &mut Tx, letter: &VerifiedLetter, now: Timestamp) -> Result<(), LetterTakeError> {
    let (hdo, from, number) = (&letter.hdo, letter.from, letter.number);
    let mut placed = Placed {
        hdo,
        from,
        head: letter.head(),
        content: letter.bytes(),
        kind: letter.said.kind(),
        product: None,
        fixed_by: None,
        notice: None,
        answer_by: None,
    };
    match &letter.said {
        Said::Notice(notice) => {
            placed.product = Some(&notice.product);
            placed.fixed_by = notice.fixed_by;
            placed.notice = Some(notice.id().map_err(|source| {
                let kind = "suture-letter";
                LetterError::Document(suture_core::approval::DocumentError::Json { kind, source })
            })?);
            placed.answer_by = Some(deadline(notice, now)?);
            tx.put_letter(&placed, now).await?;
            tx.put_deliveries(hdo, number, 0, now).await?;
        }
        Said::Suspicion(suspicion) => {
            placed.product = Some(&suspicion.product);
            if let Some(updates) = suspicion.updates {
                updated(tx, hdo, updates).await?;
            }
            placed.answer_by = report_due(suspicion, now);
            tx.put_letter(&placed, now).await?;
        }
        Said::Acknowledgement(Acknowledgement { number: answered, sha256, text }) => {
            let there = tx.letter(hdo, from.other(), *answered).await?;
            if there.is_none_or(|there| there.sha256 != *sha256 || there.answer_by.is_none()) {
                return Err(LetterTakeError::Answers(*answered));
            }
            tx.put_letter(&placed, now).await?;
            let answer = Answer { by: letter.name.to_string(), text: text.clone(), sha256: Some(letter.digest()) };
            tx.answer_letter((hdo, from.other(), *answered), &answer, now).await?;
        }
    }
    Ok(())
}

fn deadline(notice: &Notice, now: Timestamp) -> Result<Timestamp, LetterTakeError> {
    let by = notice.acknowledge_by;
    let last = now.checked_add((24 * MAX_ANSWER_DAYS).hours()).unwrap_or(Timestamp::MAX);
    if now < by && by <= last { Ok(by) } else { Err(LetterTakeError::Deadline(by)) }
}

/// A report is to be answered as soon as an advisory of that severity would be; one that withdraws another needs no answer.
fn report_due(suspicion: &Suspicion, now: Timestamp) -> Option<Timestamp> {
    let days = answer_days(Kind::Advisory, suspicion.severity);
    let due = now.checked_add((24 * days).hours()).unwrap_or(Timestamp::MAX);
    (!suspicion.withdrawn).then_some(due)
}

async fn updated(tx: &mut Tx, hdo: &HdoId, number: u64) -> Result<(), LetterTakeError> {
    let kept = tx.letter(hdo, Side::Hospital, number).await?;
    let report = kept.and_then(|kept| VerifiedLetter::verify(&kept.content).ok());
    match report.map(|letter| letter.said.clone()) {
        Some(Said::Suspicion(_)) => Ok(()),
        _ => Err(LetterTakeError::Updates(number)),
    }
}

async fn record(
    tx: &mut Tx,
    principal: &Principal,
    letter: &VerifiedLetter,
    now: Timestamp,
) -> Result<(), LetterTakeError> {
    let action = match &letter.said {
        Said::Notice(_) => "notice.published",
        Said::Suspicion(_) => "report.sent",
        Said::Acknowledgement(_) if letter.from == Side::Hospital => "notice.acknowledged",
        Said::Acknowledgement(_) => "report.acknowledged",
    };
    let mut detail = json!({
        "number": letter.number, "sha256": letter.digest(), "kind": letter.said.kind(), "key": letter.key,
    });
    let more = match &letter.said {
        Said::Notice(n) => {
            json!({ "product": n.product, "subject": n.subject, "acknowledge_by": format_utc(n.acknowledge_by) })
        }
        Said::Suspicion(s) => json!({ "product": s.product, "updates": s.updates, "withdrawn": s.withdrawn }),
        Said::Acknowledgement(a) => json!({ "letter": a.number, "text": a.text, "signed": true }),
    };
    if let (Some(detail), Some(more)) = (detail.as_object_mut(), more.as_object()) {
        detail.extend(more.clone());
    }
    told(tx, principal, (&letter.hdo, letter.number), action, detail, now).await?;
    Ok(())
}

/// Records what both sides read: the hospital, and the manufacturer.
pub(crate) async fn told(
    tx: &mut Tx,
    principal: &Principal,
    (hdo, number): (&HdoId, u64),
    action: &str,
    detail: serde_json::Value,
    now: Timestamp,
) -> Result<(), AuditError> {
    let subject = format!("{hdo}/{number}");
    for concerns in [Concern::from(hdo), Concern::Manufacturer] {
        audit::append(tx, now, principal, concerns, action, &subject, detail.clone()).await?;
    }
    Ok(())
}
