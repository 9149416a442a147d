//! What this device remembers of its server's audit record, and what is made of a record that does not go on from there.
//!
//! Attack: a server that rewrites its record, or shows the devices another one than the operators. With each check-in it has to
//! show that its newest checkpoint extends the one that is remembered here ([`suture_core::audit::Witness`]). One that does not
//! is kept beside the remembered one as evidence, and told to the hospital in signed reports. It changes nothing else: the
//! record is no authority over what is installed, and a device that refused patches because of it would be the attacker's
//! gain.
//!
//! What was remembered stays remembered, so that the alarm stands until the server shows a record that goes on from there, or
//! until a person at the device has it forgotten (`suture-agent record --forget`), as after a server that was set back by
//! those who run it.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use suture_core::audit::{Head, LogKey, News, Refused, Taken, Witness};
use suture_core::clock::{format_utc, utc, whole_second};
use suture_core::id::TrustDomain;
use suture_core::phase::{Code, Reason};
use suture_core::report::RecordSeen;

use crate::durable::{self, DurableError};

/// A record that only grew is written down once in this time, 1 hour: each entry of a busy server's would cost the device's flash
/// a write. What a power cut takes of it is that the device asks from a little further back.
const WRITE_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// Its file.
pub const FILE: &str = "record.json";

/// A record that does not go on from what is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doubt {
    /// When it was first shown, by the device's clock.
    #[serde(with = "utc")]
    pub at: Timestamp,
    /// What is wrong, for people.
    pub text: String,
    /// The checkpoint that was shown, where the record's own key has signed it: with the remembered one it is evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<String>,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The key, and the last checkpoint that went on from the one before.
    pub witness: Witness,
    /// What stands against the server now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
    /// The first that ever did: kept when the server is back on the old record, as if nothing had been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_doubt: Option<Doubt>,
}

/// The record as the agent attends to it.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    kept: Option<Kept>,
    key: Option<LogKey>,
    origin: TrustDomain,
    told: bool,
    written: Option<Timestamp>,
}

impl Record {
    /// Reads what is remembered; before there is anything, the record is known by the key of the enrolment's token. One that
    /// cannot be read is as good as none: the device must go on, and begins anew by that key.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn open(state_dir: &Path, key: Option<LogKey>, origin: TrustDomain) -> Result<Self, DurableError> {
        let path = state_dir.join(FILE);
        let kept = match durable::read_json::<Kept>(&path) {
            Err(error) if error.is_damage() => {
                tracing::error!(%error, "what this device remembered of the audit record is lost");
                None
            }
            read => read?,
        };
        Ok(Self { path, kept, key, origin, told: false, written: None })
    }

    /// What is remembered, for the server; none where not even the key is known.
    pub fn witness(&self) -> Option<Witness> {
        let known = self.kept.as_ref().map(|kept| kept.witness.clone());
        known.or_else(|| self.key.clone().map(Witness::new))
    }

    /// The head that is remembered.
    pub fn head(&self) -> Option<Head> {
        self.kept.as_ref().and_then(|kept| kept.witness.head)
    }

    /// Whether the server has shown another record since.
    pub fn doubts(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.doubt.is_some())
    }

    /// Takes in what a check-in brought: the news, and the key in force by the server's word. What is to be told, where it is
    /// not what was told before: a reason, or that there is none any more.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn take(&mut self, news: &News, key: &str, now: Timestamp) -> Result<Option<Option<Reason>>, DurableError> {
        let Some(mut witness) = self.witness().or_else(|| self.first(key)) else {
            tracing::warn!("the server names no key of an audit record of its own");
            return Ok(None);
        };
        let before = self.kept.clone();
        let (doubt, first_doubt) = match &before {
            Some(kept) => (kept.doubt.clone(), kept.first_doubt.clone()),
            None => (None, None),
        };
        let next = match witness.take(news) {
            Ok(Taken::Stands | Taken::Grown) => Kept { witness, doubt: None, first_doubt },
            Err(refused) => {
                let text = refused.to_string();
                // The same again is no news, however the server varies it.
                let stands = doubt.filter(|doubt| doubt.text == text || doubt.offered.is_some());
                let doubt = stands.unwrap_or_else(|| Doubt { at: whole_second(now), text, offered: offered(&refused) });
                Kept { witness, first_doubt: first_doubt.or_else(|| Some(doubt.clone())), doubt: Some(doubt) }
            }
        };
        let only_grew = before.as_ref().is_some_and(|kept| {
            let same = kept.witness.key == next.witness.key && kept.doubt == next.doubt;
            same && kept.witness.head.is_some() && kept.first_doubt == next.first_doubt
        });
        let lately = self.written.is_some_and(|at| now >= at && now.duration_since(at) < WRITE_EVERY);
        if before.as_ref() != Some(&next) && !(only_grew && lately) {
            durable::write_json(&self.path, &next, durable::OPEN)?;
            self.written = Some(now);
        }
        let was = before.and_then(|kept| kept.doubt);
        let is = next.doubt.clone();
        self.kept = Some(next);
        // A process that was ended before it had told tells again; a hospital can hear it twice.
        let news = is != was || (is.is_some() && !self.told);
        self.told = true;
        Ok(news.then(|| {
            is.map(|doubt| {
                tracing::error!(doubt.text, "the server's audit record is in doubt");
                doubt.reason()
            })
        }))
    }

    /// Who was told of no key takes the one that he is shown first, of his own server's name.
    fn first(&self, key: &str) -> Option<Witness> {
        let key: LogKey = key.parse().ok()?;
        (key.origin == self.origin).then(|| Witness::new(key))
    }
}

fn offered(refused: &Refused) -> Option<String> {
    match refused {
        Refused::Rewritten { checkpoint, .. } => Some(checkpoint.clone()),
        Refused::Key(_) | Refused::Change(_) | Refused::TooLong => None,
    }
}

impl Doubt {
    /// For people and programs.
    pub fn reason(&self) -> Reason {
        Reason::new(Code::RecordRewritten, format!("{} (since {})", self.text, format_utc(self.at)))
    }
}

/// What is remembered, if anything is. A file that cannot be read says nothing.
pub fn kept(state_dir: &Path) -> Option<Kept> {
    durable::read_json(&state_dir.join(FILE)).ok().flatten()
}

/// The same, as reports say it.
pub fn seen(state_dir: &Path) -> Option<RecordSeen> {
    let Kept { witness, doubt, first_doubt: _ } = kept(state_dir)?;
    Some(RecordSeen { head: witness.head?, doubt: doubt.map(|doubt| doubt.reason().text) })
}

/// Forgets it, but for the key: by a person at the device, while no agent works on it.
///
/// # Errors
///
/// The disk.
pub fn forget(state_dir: &Path) -> Result<Option<Kept>, DurableError> {
    let Some(kept) = kept(state_dir) else { return Ok(None) };
    // The doubt goes with the next check-in, which tells the hospital so.
    let anew = Kept { witness: Witness::new(kept.witness.key.clone()), ..kept.clone() };
    durable::write_json(&state_dir.join(FILE), &anew, durable::OPEN)?;
    Ok(Some(kept))
}

#[cfg(test)]
mod tests;
