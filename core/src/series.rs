//! Documents in a row, numbered from 1 without gaps, each of which names the SHA-256 of the one before: whoever has seen one
//! notices when an earlier one is left out, put elsewhere or changed.
//!
//! [`crate::word`] and [`crate::notice`] are such rows; what is signed in them, and by whom, is theirs to say.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The end of a row, or what a program has seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The document's number.
    pub number: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// One document's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number and its own SHA-256.
    pub head: Head,
    /// What it names as the one before; none in the first.
    pub previous: Option<Digest>,
}

/// Why documents are not the row that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// One is not where it should be.
    #[error("number {wanted} is missing: number {found} is in its place")]
    Gap {
        /// Which should be there.
        wanted: u64,
        /// Which is.
        found: u64,
    },
    /// One does not name the one before it as it is shown.
    #[error("number {0} does not name the one before it as it is shown")]
    Chain(u64),
    /// What was seen before is another now, or is gone.
    #[error("number {number} was seen here with the SHA-256 {seen}, and is another now, or gone")]
    Rewritten {
        /// Which.
        number: u64,
        /// As it was.
        seen: Digest,
    },
}

/// The place after a head: its number, and what it names as the one before.
pub fn after(head: Option<Head>) -> (u64, Option<Digest>) {
    head.map_or((1, None), |head| (head.number.saturating_add(1), Some(head.sha256)))
}

/// Whether a place may be in a row at all: the first names none before it, each other one does.
pub(crate) const fn placed(number: u64, previous: Option<&Digest>) -> bool {
    number > 0 && (number == 1) == previous.is_none()
}

/// Follows a row, ascending; its end. The first that is shown may have any number up to `begins`; `known` is the end that was
/// seen before.
///
/// # Errors
///
/// One is missing, does not stand upon the one before, or is another than was seen.
pub(crate) fn follow(
    links: impl IntoIterator<Item = Link>,
    begins: u64,
    known: Option<Head>,
) -> Result<Option<Head>, SeriesError> {
    let mut before: Option<Head> = None;
    for Link { head, previous } in links {
        let found = head.number;
        match before {
            None if found > begins => return Err(SeriesError::Gap { wanted: begins, found }),
            None => {}
            Some(before) => {
                let (wanted, stands_on) = after(Some(before));
                if found != wanted {
                    return Err(SeriesError::Gap { wanted, found });
                }
                if previous != stands_on {
                    return Err(SeriesError::Chain(found));
                }
            }
        }
        if let Some(known) = known.filter(|known| known.number == found && *known != head) {
            return Err(SeriesError::Rewritten { number: found, seen: known.sha256 });
        }
        before = Some(head);
    }
    match known.filter(|known| before.is_none_or(|last| last.number < known.number)) {
        Some(known) => Err(SeriesError::Rewritten { number: known.number, seen: known.sha256 }),
        None => Ok(before),
    }
}
