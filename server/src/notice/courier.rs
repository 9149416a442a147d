//! One server of all that repeats what nobody answers, and delivers to hospitals' contacts.
//!
//! As with rollouts, that one server alone does it spares the others the work and is no lock: a try is written down before it
//! is made, and what a receiver gets twice has one id. Each step is bounded, and what it did not come to is due at the next.

use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::limits::{MAX_DELIVERIES_AT_ONCE, MAX_REPEATED_AT_ONCE};
use suture_core::notice::{Side, repeat_due};
use suture_core::principal::Principal;
use zeroize::Zeroizing;

use super::address::{Target, Webhook};
use super::line::Line;
use super::schedule::again;
use super::secret::Secret;
use super::sender::{SendError, Sender};
use super::take::told;
use super::webhook::Post;
use crate::audit::AuditError;
use crate::store::contacts::Due;
use crate::store::letters::Kept;
use crate::store::{Lock, Store, StoreError, retried};

/// The job's name among the claims.
const JOB: &str = "letters";
/// How often the server looks whether something is due.
pub(crate) const LOOK: Duration = Duration::from_secs(5);
/// A claim runs out after that long: more than a step takes.
const LASTS: SignedDuration = SignedDuration::from_secs(60);
/// A letter that was overdue while no server ran is not repeated again before that.
const LEAST_REPEAT: SignedDuration = SignedDuration::from_hours(24);

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CourierError {
    /// The record failed.
    #[error("the audit trail failed")]
    Audit(#[from] AuditError),
    /// The database failed.
    #[error("the letters' rows failed")]
    Store(#[from] StoreError),
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

/// A server that may deliver.
pub(crate) struct Courier {
    store: Store,
    sender: Sender,
    seal: Zeroizing<String>,
    holder: String,
}

/// A delivery that is about to be made.
struct Ready {
    due: Due,
    parcel: Parcel,
    is_last: bool,
}

/// What is handed over, and how.
enum Parcel {
    Post(Post),
    Line(Line),
    /// Its address was taken by a server that knew more.
    Nowhere(&'static str),
}

impl Parcel {
    /// The name of the way.
    const fn way(&self) -> &'static str {
        match self {
            Self::Post(_) | Self::Nowhere(_) => "webhook",
            Self::Line(_) => "syslog",
        }
    }
}

fn random() -> Result<u32, getrandom::Error> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

impl Courier {
    /// Under a name that no other server has.
    pub(crate) fn new(store: Store, sender: Sender, seal: Zeroizing<String>) -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        Ok(Self { store, sender, seal, holder: hex::encode(random) })
    }

    /// Repeats and delivers what is due, if something is, and this server has the job or nobody does.
    pub(crate) async fn look(&self, now: Timestamp) -> Result<(), CourierError> {
        if !self.store.letters_wait(now).await? || !retried(|| self.lead(now)).await? {
            return Ok(());
        }
        self.repeat(now).await?;
        self.deliver(now).await
    }

    async fn lead(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        let until = now.checked_add(LASTS).unwrap_or(now);
        let ours = tx.claim(JOB, &self.holder, now, until).await?;
        tx.commit().await?;
        Ok(ours)
    }

    /// Letters whose deadline is over go to further contacts, and both sides read of it.
    async fn repeat(&self, now: Timestamp) -> Result<(), CourierError> {
        let mut tx = self.store.begin().await?;
        tx.lock(Lock::AuditChain).await?;
        for overdue in tx.overdue_letters(now, MAX_REPEATED_AT_ONCE).await? {
            let repetition = overdue.repeats.saturating_add(1);
            let soonest = now.checked_add(LEAST_REPEAT).unwrap_or(now);
            let next = repeat_due(overdue.answer_by, repetition).map(|at| at.max(soonest));
            tx.repeat_letter(&overdue, next).await?;
            let action = match overdue.from {
                Side::Manufacturer => {
                    tx.put_deliveries(&overdue.hdo, overdue.number, repetition, now).await?;
                    "notice.overdue"
                }
                Side::Hospital => "report.overdue",
            };
            let detail = json!({
                "number": overdue.number, "kind": overdue.kind, "answer_by": format_utc(overdue.answer_by),
                "repetition": repetition,
            });
            told(&mut tx, &Principal::Server, (&overdue.hdo, overdue.number), action, detail, now).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn deliver(&self, now: Timestamp) -> Result<(), CourierError> {
        let ready = self.ready(now).await?;
        let tries = ready.iter().map(|ready| async move { (ready, self.send(&ready.parcel).await) });
        for (ready, outcome) in join_all(tries).await {
            // What one receiver has answered is written down whatever becomes of another's.
            if let Err(error) = retried(|| self.end(ready, &outcome, now)).await {
                let Due { hdo, contact, number, .. } = &ready.due;
                let error = &error as &dyn std::error::Error;
                tracing::error!(%hdo, %contact, number, error, "what became of a delivery could not be written down");
            }
        }
        Ok(())
    }

    /// Writes down what became of a try.
    async fn end(
        &self,
        ready: &Ready,
        outcome: &Result<String, SendError>,
        now: Timestamp,
    ) -> Result<(), CourierError> {
        let Ready { due, parcel, is_last } = ready;
        let (text, accepted) = match outcome {
            Ok(taken) => (format!("accepted: {taken}"), true),
            Err(error) if *is_last => (format!("given up after {} tries: {error}", due.tries), false),
            Err(error) => (error.to_string(), false),
        };
        let mut tx = self.store.begin().await?;
        tx.lock(Lock::AuditChain).await?;
        tx.end_delivery(due, &text, accepted).await?;
        let by = format!("{} {}", parcel.way(), due.contact);
        if accepted && tx.deliver_letter((&due.hdo, Side::Manufacturer, due.number), &by, now).await? {
            let detail = json!({ "letter": due.number, "by": by });
            let place = (&due.hdo, due.number);
            told(&mut tx, &Principal::Server, place, "notice.delivered", detail, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// What is tried now, each written down as tried before it is.
    async fn ready(&self, now: Timestamp) -> Result<Vec<Ready>, CourierError> {
        let mut tx = self.store.begin().await?;
        let mut ready = Vec::new();
        for due in tx.due_deliveries(now, MAX_DELIVERIES_AT_ONCE).await? {
            let again = again(due.tries, now, random()?);
            tx.try_delivery(&due, again, now).await?;
            let Some(letter) = tx.letter(&due.hdo, Side::Manufacturer, due.number).await? else { continue };
            let parcel = match Target::parse(&due.url) {
                Ok(Target::Webhook(to)) => Parcel::Post(self.post(to, &due, &letter, now)),
                Ok(Target::Syslog(host, port)) => Parcel::Line(Line::of((host, port), &due, &letter, now)),
                Err(why) => Parcel::Nowhere(why),
            };
            ready.push(Ready { due, parcel, is_last: again.is_none() });
        }
        tx.commit().await?;
        Ok(ready)
    }

    /// A letter as it is posted, signed for its contact.
    fn post(&self, to: Webhook, due: &Due, letter: &Kept, now: Timestamp) -> Post {
        let id = due.id();
        let body = json!({
            "type": if due.repetition == 0 { "notice.published" } else { "notice.overdue" },
            "timestamp": format_utc(now),
            "data": {
                "hospital": due.hdo,
                "number": due.number,
                "repetition": due.repetition,
                "acknowledge_by": letter.answer_by.map(format_utc),
                "sha256": Digest::of(&letter.content),
                "letter": String::from_utf8_lossy(&letter.content),
            },
        });
        let body = body.to_string().into_bytes();
        let signature = Secret::of(&self.seal, &due.hdo, &due.contact, &due.salt).sign(&id, now, &body);
        Post { to, id, at: now, signature, body }
    }

    /// Hands it over once; what the receiver has said to it.
    async fn send(&self, parcel: &Parcel) -> Result<String, SendError> {
        match parcel {
            Parcel::Post(post) => self.sender.post(post).await.map(|status| status.to_string()),
            Parcel::Line(line) => self.sender.tell(line).await.map(|()| "read to its end".to_owned()),
            Parcel::Nowhere(why) => Err(SendError::Url(why)),
        }
    }
}

#[cfg(test)]
mod tests;
