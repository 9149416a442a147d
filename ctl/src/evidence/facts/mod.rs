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
use crate::failure::{OrFail as _, Outcome};

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
            files.insert(
                "facts/outcome.csv".to_owned(),
                csv(outcome::HEADINGS, self.outcomes.iter().map(|o| o.cells()))?,
            );
        }
        if !self.timings.is_empty() {
            files.insert("facts/timings.json".to_owned(), pretty(&self.timings)?);
        }
        if !self.exposure.releases.is_empty() {
            files.insert("facts/exposure.json".to_owned(), pretty(&self.exposure)?);
        }
        if !self.exposure.devices.is_empty() {
            let rows = self.exposure.devices.iter().map(exposure::Moved::cells);
            files.insert("facts/exposure.csv".to_owned(), csv(exposure::HEADINGS, rows)?);
        }
        if !self.notices.is_empty() {
            files.insert("facts/notices.json".to_owned(), pretty(&self.notices)?);
            let rows = self.notices.iter().map(Notice::cells);
            files.insert("facts/notices.csv".to_owned(), csv(notice::HEADINGS, rows)?);
        }
        // That there is none is a fact too.
        files.insert("facts/deviations.json".to_owned(), pretty(&self.deviations)?);
        let rows = self.deviations.iter().map(Deviation::cells);
        files.insert("facts/deviations.csv".to_owned(), csv(deviation::HEADINGS, rows)?);
        Ok(())
    }
}

/// A table for a spreadsheet. Attack: a device's or a person's text that a spreadsheet takes for a formula; a cell that begins
/// as one does gets an apostrophe before it.
fn csv<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Outcome<Vec<u8>> {
    let failed = || "cannot write a table".to_owned();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(headings).or_fail(failed)?;
    for row in rows {
        let cells =
            row.map(|cell| if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell });
        writer.write_record(cells).or_fail(failed)?;
    }
    writer.into_inner().map_err(|e| e.into_error()).or_fail(failed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        let row = ["=HYPERLINK(\"http://evil\")".to_owned(), "a, \"b\"".to_owned()];
        let bytes = csv(["reason", "text"], [row].into_iter()).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, "reason,text\n\"'=HYPERLINK(\"\"http://evil\"\")\",\"a, \"\"b\"\"\"\n");
    }
}
