//! What manufacturer and hospital write to one another: notices, reports of a suspicion, and the answers to both.
//!
//! IMDRF N70 (legacy medical devices) asks for active communication: to make information available without telling anybody is
//! "not recommended". So each [`Letter`] is addressed to one hospital, or comes from one, is answered, and what is not
//! answered in time is repeated. FDA's guidance on postmarket management (2016) gives the clocks: customers told within 30 days,
//! what ends the risk distributed within 60 ([`Clocks`]).
//!
//! A letter is signed: a manufacturer's by a key of the catalog's targets role, a hospital's by a key of its approvals'
//! targets role. The server keeps and shows them and is no authority over them. Either side numbers what it writes to the
//! other from 1, and each letter names the SHA-256 of the one before.
//!
//! | attack | stopped by |
//! | --- | --- |
//! | a letter that the server has made up, or made another of | [`VerifiedLetter::verify`], the key that it names; [`follow`] asks whether the root lists that key |
//! | a letter to one hospital shown to another, or back to its writer | [`follow`], hospital and side |
//! | a letter left out, or two in another order | [`follow`], its number and the digest of the one before |
//! | the newest ones held back from whoever has seen them | [`follow`], the last [`Head`] that a program has seen |
//! | an old key, stolen after it was replaced | [`Standing::Unlisted`], where no letter behind it is by a key in force |
//!
//! What the server can do is to hold back the newest letters from whoever has seen none of them yet: hence the deadlines, the
//! deliveries, and that each side sees how far the other has come.

mod acknowledgement;
mod clocks;
mod content;
mod indicator;
mod letter;
mod series;
mod support;
mod suspicion;
#[cfg(test)]
pub(crate) mod tests;

pub use acknowledgement::Acknowledgement;
pub use clocks::{Clocks, answer_days, repeat_due};
pub use content::{Attachment, Cve, Incomplete, Kind, Notice, Severity};
pub use indicator::{Indicator, IndicatorError, IndicatorKind};
pub use letter::{Letter, LetterError, Said, Side, VerifiedLetter};
pub use series::{Followed, LettersError, Standing, follow};
pub use support::{Component, SupportChange, Upgrade, UpgradeScope};
pub use suspicion::{Suspicion, SuspicionKind};

pub use crate::series::{Head, SeriesError};

/// Whether a text says something, in at most so many bytes, and steers no terminal.
fn said(text: &str, most: usize) -> bool {
    !text.trim().is_empty() && within(text, most)
}

/// The same for one that may be empty.
fn within(text: &str, most: usize) -> bool {
    text.len() <= most && !text.chars().any(|c| c.is_control() && c != '\n')
}
