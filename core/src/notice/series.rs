//! What one side has written to the other, in order: nothing left out, nothing between, nothing of somebody else.

use serde::{Deserialize, Serialize};

use super::{Side, VerifiedLetter};
use crate::digest::Digest;
use crate::id::HdoId;

/// The last letter of a series that a program has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

impl Head {
    /// The head that a letter is.
    pub fn of(letter: &VerifiedLetter) -> Self {
        Self { number: letter.number, sha256: letter.digest() }
    }
}

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
pub enum SeriesError {
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
    /// One is missing.
    #[error("letter {wanted} of the {from}'s series is missing: letter {found} is in its place")]
    Gap {
        /// Who writes.
        from: Side,
        /// Which should be there.
        wanted: u64,
        /// Which is.
        found: u64,
    },
    /// One does not stand upon the one before.
    #[error("letter {number} of the {from}'s series does not name the one before it as it is shown")]
    Chain {
        /// Who writes.
        from: Side,
        /// Which.
        number: u64,
    },
    /// What was seen before is another now, or is gone.
    #[error(
        "letter {number} of the {from}'s series was seen here with the SHA-256 {seen}, and is another now, or gone"
    )]
    Rewritten {
        /// Who writes.
        from: Side,
        /// Which.
        number: u64,
        /// As it was.
        seen: Digest,
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
) -> Result<Followed, SeriesError> {
    let mut before: Option<Head> = None;
    for letter in letters {
        let number = letter.number;
        if (&letter.hdo, letter.from) != (hdo, from) {
            return Err(SeriesError::Foreign { hdo: hdo.clone(), from, number });
        }
        match before {
            Some(before) if before.number.checked_add(1) != Some(number) => {
                return Err(SeriesError::Gap { from, wanted: before.number.saturating_add(1), found: number });
            }
            Some(before) if letter.previous != Some(before.sha256) => return Err(SeriesError::Chain { from, number }),
            // The first that is shown may lie anywhere up to what is known, and at 1 where nothing is.
            None if number > known.map_or(1, |known| known.number) => {
                return Err(SeriesError::Gap { from, wanted: known.map_or(1, |known| known.number), found: number });
            }
            _ => {}
        }
        let head = Head::of(letter);
        if let Some(known) = known.filter(|known| known.number == number && *known != head) {
            return Err(SeriesError::Rewritten { from, number, seen: known.sha256 });
        }
        before = Some(head);
    }
    if let Some(known) = known.filter(|known| before.is_none_or(|last| last.number < known.number)) {
        return Err(SeriesError::Rewritten { from, number: known.number, seen: known.sha256 });
    }
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
    let head = last.map(|(letter, _)| Head::of(letter)).or(known);
    Ok(Followed { standing, head })
}
