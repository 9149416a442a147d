//! A notice on its way to many hospitals, kept until all of them have it: `notices/<digest>.json`.
//!
//! Accident: the line is cut between two calls, or the answer to one is lost. The same notice, when it is published again, goes on by
//! what lies here: with the day by which it is to be acknowledged, and so the id, that those have who were told, and to nobody twice.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::id::HdoId;
use suture_core::notice::Notice;

use crate::failure::{OrFail as _, Outcome};
use crate::files::{self, Access};
use crate::home::Home;

/// How far a notice has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sending {
    /// As it went out.
    pub(super) notice: Notice,
    /// The letter's number at each hospital that has it.
    pub(super) sent: BTreeMap<HdoId, u64>,
}

/// By what it says, whatever its day: without one in its file that is counted from each time that it is read.
fn name(notice: &Notice) -> Outcome<String> {
    let same = Notice { acknowledge_by: Timestamp::UNIX_EPOCH, ..notice.clone() };
    Ok(format!("notices/{}.json", same.id().or_fail(|| "the notice cannot be written".to_owned())?))
}

impl Sending {
    /// What was begun of a notice that says the same, as long as its day has not come; else its beginning.
    pub(super) fn resume(home: &Home, notice: &Notice, now: Timestamp) -> Outcome<Self> {
        let name = name(notice)?;
        let begun = home.read(&name)?.map(|bytes| serde_json::from_slice::<Self>(&bytes)).transpose();
        let begun = begun.or_fail(|| format!("{name} of this home is damaged; remove it"))?;
        Ok(match begun {
            Some(begun) if now < begun.notice.acknowledge_by => begun,
            _ => Self { notice: notice.clone(), sent: BTreeMap::new() },
        })
    }

    /// Keeps how far it has come.
    pub(super) fn keep(&self, home: &Home) -> Outcome {
        let bytes = serde_json::to_vec(self).or_fail(|| "the notice cannot be kept".to_owned())?;
        home.write(&name(&self.notice)?, &bytes, Access::Public)
    }

    /// All have it.
    pub(super) fn done(&self, home: &Home) -> Outcome {
        Ok(files::remove(&home.path(&name(&self.notice)?)?)?)
    }
}
