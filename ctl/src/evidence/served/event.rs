//! Security events that concern the evidence's devices. What a device has seen it has signed, and the server has verified that;
//! it keeps what was said and not the signature, so in a folder all of it is the server's word.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::utc;
use suture_core::event::{Kind, Observer};
use suture_proto::v1;

use super::at;
use crate::failure::{Failure, Outcome};

/// One, or several equal ones within an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Which.
    pub number: u64,
    /// What happened.
    pub kind: Kind,
    /// Who has seen it.
    pub observer: Observer,
    /// Whom or what it is about.
    pub subject: String,
    /// What else is known.
    pub detail: String,
    /// The first time.
    #[serde(with = "utc")]
    pub first: Timestamp,
    /// The last time.
    #[serde(with = "utc")]
    pub last: Timestamp,
    /// How often.
    pub count: u64,
}

impl Event {
    /// What the server says.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn of(event: v1::SecurityEvent) -> Outcome<Self> {
        let v1::SecurityEvent { number, seq: _, kind, observer, hdo: _, subject, detail, first_ms, last_ms, count } =
            event;
        let unknown = |what: &str, text: &str| {
            Failure::new(format!("the server tells of {what} {text:?}, which this program does not know"))
                .next("update suturectl")
        };
        Ok(Self {
            number,
            kind: Kind::from_name(&kind).ok_or_else(|| unknown("the event", &kind))?,
            observer: Observer::from_name(&observer).ok_or_else(|| unknown("the observer", &observer))?,
            subject,
            detail,
            first: at(first_ms)?,
            last: at(last_ms)?,
            count,
        })
    }
}
