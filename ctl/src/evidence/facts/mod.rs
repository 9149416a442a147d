//! What is drawn from the files: the outcome of each device, deviations, timings, exposure, how far notices came. Functions of what was verified, and nothing
//! else; each row says what it rests on.

mod deviation;
pub mod exposure;
pub mod notice;
mod outcome;
mod timing;

use serde::Serialize;

pub use self::deviation::{Deviation, What};
pub use self::exposure::Exposure;
pub use self::notice::Notice;
pub use self::outcome::{Outcome as DeviceOutcome, Step};
pub use self::timing::{Day, Timing, Within};
use super::index::pretty;
use super::{Evidence, Files};
use crate::failure::Outcome;
use crate::sheet::table;

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Of each rollout and device, ascending.
    pub outcomes: Vec<DeviceOutcome>,
    /// What did not go as planned.
    pub deviations: Vec<Deviation>,
    /// Of each rollout.
    pub timings: Vec<Timing>,
    /// Which vulnerabilities are open, before and after.
    pub exposure: Exposure,
    /// How far notices and reports of suspicion came.
    pub notices: Vec<Notice>,
}

impl Facts {
    /// Draws them up.
    pub fn of(evidence: &Evidence) -> Self {
        let outcomes = outcome::outcomes(evidence);
        let exposure = exposure::exposure(evidence, &outcomes);
        let notices = notice::notices(evidence);
        let deviations = deviation::deviations(evidence, &outcomes, &exposure, &notices);
        let timings = timing::timings(evidence, &outcomes);
        Self { outcomes, deviations, timings, exposure, notices }
    }

    /// Writes them to the folder, for programs and for spreadsheets.
    ///
    /// # Errors
    ///
    /// One cannot be written.
    pub fn write(&self, files: &mut Files) -> Outcome {
        if !self.outcomes.is_empty() {
            files.insert("facts/outcome.json".to_owned(), pretty(&self.outcomes)?);
            let rows = self.outcomes.iter().map(DeviceOutcome::cells);
            files.insert("facts/outcome.csv".to_owned(), table(outcome::HEADINGS, rows).into_bytes());
        }
        if !self.timings.is_empty() {
            files.insert("facts/timings.json".to_owned(), pretty(&self.timings)?);
        }
        if !self.exposure.releases.is_empty() {
            files.insert("facts/exposure.json".to_owned(), pretty(&self.exposure)?);
        }
        if !self.exposure.devices.is_empty() {
            let rows = self.exposure.devices.iter().map(exposure::Moved::cells);
            files.insert("facts/exposure.csv".to_owned(), table(exposure::HEADINGS, rows).into_bytes());
        }
        if !self.notices.is_empty() {
            files.insert("facts/notices.json".to_owned(), pretty(&self.notices)?);
            let rows = self.notices.iter().map(Notice::cells);
            files.insert("facts/notices.csv".to_owned(), table(notice::HEADINGS, rows).into_bytes());
        }
        // That there is none is a fact too.
        files.insert("facts/deviations.json".to_owned(), pretty(&self.deviations)?);
        let rows = self.deviations.iter().map(Deviation::cells);
        files.insert("facts/deviations.csv".to_owned(), table(deviation::HEADINGS, rows).into_bytes());
        Ok(())
    }
}

/// JSON of an instant that may be missing.
fn instant<S: serde::Serializer>(at: &Option<jiff::Timestamp>, s: S) -> Result<S::Ok, S::Error> {
    at.map(suture_core::clock::format_utc).serialize(s)
}

/// The same as text, where there is one.
fn opt(at: Option<jiff::Timestamp>) -> Option<String> {
    at.map(suture_core::clock::format_utc)
}

/// Text of an instant that may be missing.
pub fn text(at: Option<jiff::Timestamp>) -> String {
    at.map(suture_core::clock::format_utc).unwrap_or_default()
}
