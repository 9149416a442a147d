//! What one side has written to the other, in order: nothing left out, nothing between, nothing of somebody else.

use serde::Serialize;

use super::{Side, VerifiedLetter};
use crate::id::HdoId;
use crate::series::{self, Head, SeriesError};

/// What a letter's key counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The root in force lists it.
    Listed,
    /// The root lists it no longer, and a later letter by a key that it lists, or what this program has seen, stands upon
    /// the letter.
    Chained,
    /// The root does not list it: it may be anybody's.
    Unlisted,
}

/// Why letters are not the series that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LettersError {
    /// One is of another series.
    #[error("letter {number} of the {from}'s series with {hdo} is of another series")]
    Foreign {
        /// The hospital.
        hdo: HdoId,
        /// Who writes.
        from: Side,
        /// Which.
        number: u64,
    },
    /// One is missing, does not stand upon the one before, or is another than was seen.
    #[error("the {from}'s letters with {hdo} are not the series that they should be")]
    Series {
        /// The hospital.
        hdo: HdoId,
        /// Who writes.
        from: Side,
        /// What is wrong with it.
        source: SeriesError,
    },
}

/// Letters that follow upon one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Of each letter, in their order.
    pub standing: Vec<Standing>,
    /// The last letter that counts; what was known where none is newer.
    pub head: Option<Head>,
}

/// Follows letters of one side, ascending, from the one that was seen last, or from an earlier one, or from the first.
/// `listed` is whether the root in force lists a letter's key for its name.
///
/// # Errors
///
/// One is missing, does not stand upon the one before, belongs elsewhere, or is another than was seen.
pub fn follow(
    (hdo, from): (&HdoId, Side),
    known: Option<Head>,
    letters: &[VerifiedLetter],
    listed: impl Fn(&VerifiedLetter) -> bool,
) -> Result<Followed, LettersError> {
    if let Some(foreign) = letters.iter().find(|letter| (&letter.hdo, letter.from) != (hdo, from)) {
        return Err(LettersError::Foreign { hdo: hdo.clone(), from, number: foreign.number });
    }
    // The first that is shown may lie anywhere up to what is known, and at 1 where nothing is.
    let begins = known.map_or(1, |known| known.number);
    series::follow(letters.iter().map(VerifiedLetter::link), begins, known).map_err(|source| LettersError::Series {
        hdo: hdo.clone(),
        from,
        source,
    })?;
    let seen = known.map_or(0, |known| known.number);
    let mut stands = false;
    let mut standing: Vec<Standing> = Vec::with_capacity(letters.len());
    for letter in letters.iter().rev() {
        let is_listed = listed(letter);
        stands = stands || is_listed || letter.number <= seen;
        standing.push(match (is_listed, stands) {
            (true, _) => Standing::Listed,
            (false, true) => Standing::Chained,
            (false, false) => Standing::Unlisted,
        });
    }
    standing.reverse();
    let last = letters.iter().zip(&standing).rev().find(|(_, s)| **s != Standing::Unlisted);
    let head = last.map(|(letter, _)| letter.head()).or(known);
    Ok(Followed { standing, head })
}
