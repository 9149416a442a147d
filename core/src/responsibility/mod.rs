//! Who does what over a product's life: the manufacturer, the hospital, or both and who leads.
//!
//! IMDRF N60 and N70 have the tasks shared and handed over in steps, and Health-ISAC's practice gives the usual split ([`usual`]):
//! what the manufacturer does in development goes to the provider through support and limited support, until at the end of
//! support nearly all is the provider's. Both sides can agree otherwise: an [`Agreement`] is signed by the manufacturer and
//! consented to by the hospital, and the newest that both have signed holds, whole. What an agreement does not name is as
//! usual.

mod agreement;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

pub use self::agreement::{Agreed, Agreement, Consent};
pub use self::task::{Holder, Task, usual};

use crate::life::Stage;

/// Where a cell comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// As is usual.
    Usual,
    /// An agreement of that number.
    Agreement(u64),
}

/// Who does a task in a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Who.
    pub holder: Holder,
    /// By what.
    pub source: Source,
    /// What both sides note on it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// The whole table.
pub type Table = BTreeMap<Task, BTreeMap<Stage, Cell>>;

/// The table that an agreement makes; none: as is usual.
pub fn table(agreement: Option<&Agreement>) -> Table {
    let agreed = |task, stage| {
        let agreement = agreement?;
        let cell = agreement.cells.iter().find(|cell| (cell.task, cell.stage) == (task, stage))?;
        let source = Source::Agreement(agreement.number);
        Some(Cell { holder: cell.holder, source, note: cell.note.clone() })
    };
    let cell = |task, stage| {
        let usual = || Cell { holder: usual(task, stage), source: Source::Usual, note: String::new() };
        agreed(task, stage).unwrap_or_else(usual)
    };
    let row = |task| Stage::ALL.into_iter().map(|stage| (stage, cell(task, stage))).collect();
    Task::ALL.iter().map(|task| (*task, row(*task))).collect()
}

/// The agreement that holds on a day, of those that both sides have signed: the newest that has begun. One that has ended
/// takes those before it with it, for it took their place.
pub fn in_force<'a>(agreements: impl IntoIterator<Item = &'a Agreement>, day: Date) -> Option<&'a Agreement> {
    let begun = agreements.into_iter().filter(|a| a.from <= day);
    begun.max_by_key(|a| a.number).filter(|a| a.until.is_none_or(|until| day < until))
}
