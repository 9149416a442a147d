//! What travels: a request and its answer, each one line of JSON.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The protocol's version.
pub const VERSION: u32 = 1;

/// A line that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`].
    pub v: u32,
    /// What is asked.
    pub ask: Ask,
    /// The person's name, where the account does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Of which agent; where it is left out, of whichever answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Everything.
    Status,
    /// What it waits for.
    Why,
    /// What happened.
    Log,
    /// Begin nothing.
    Hold {
        /// Why.
        reason: String,
    },
    /// Go on.
    Release {
        /// Why.
        reason: String,
        /// Not the hold ends: the device is clinically checked, and goes back to service.
        #[serde(default)]
        checked: bool,
    },
    /// The device was checked after its update and found unfit: the old version comes back.
    Unfit {
        /// What was found.
        reason: String,
    },
    /// It may be updated in this slot.
    Confirm,
    /// A held device is in order again.
    Recover {
        /// What was done.
        reason: String,
    },
    /// A signed stop order or lift.
    Stop {
        /// Its envelope.
        order: String,
    },
    /// What is on a stick.
    Import {
        /// What its directory is called, for messages.
        place: String,
    },
}

/// A line that is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`].
    pub v: u32,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is done, or told.
    Done(Done),
    /// It is not.
    Refused(Refused),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// For people.
    pub text: String,
    /// For programs.
    pub data: Value,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    /// For programs.
    pub code: RefusedCode,
    /// For people: what is wrong, and what to do.
    pub text: String,
}

/// What kind of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedCode {
    /// It is no request of this version.
    NotUnderstood,
    /// Whoever asks may not.
    NotAllowed,
    /// There is nothing now that it would be the answer to.
    NotNow,
    /// What was handed in is not signed as it must be.
    NotVerified,
    /// Another agent is meant.
    OtherAgent,
    /// Too many ask, or the agent is busy.
    Busy,
    /// The device failed.
    Failed,
}

impl Ask {
    /// Whether it changes something.
    pub const fn changes(&self) -> bool {
        !matches!(self, Self::Status | Self::Why | Self::Log)
    }
}

impl Refused {
    /// A refusal.
    pub fn new(code: RefusedCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl Answer {
    /// The line.
    pub fn of(outcome: Result<Done, Refused>) -> Self {
        let outcome = match outcome {
            Ok(done) => Outcome::Done(done),
            Err(refused) => Outcome::Refused(refused),
        };
        Self { v: VERSION, outcome }
    }

    /// What came of it.
    ///
    /// # Errors
    ///
    /// It was refused.
    pub fn into_result(self) -> Result<Done, Refused> {
        match self.outcome {
            Outcome::Done(done) => Ok(done),
            Outcome::Refused(refused) => Err(refused),
        }
    }
}
