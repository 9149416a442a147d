//! What manufacturer and hospital have written to one another: `letters/<side>/<number>.json`, each series whole from its first
//! letter on, so that none can be left out or swapped.

use suture_core::id::HdoId;
use suture_core::notice::{Said, Side, VerifiedLetter};

use super::folder::Reading;
use super::repository::Repository;
use crate::failure::{Failure, Outcome};

/// The letters of both sides, each ascending by number.
#[derive(Debug, Default)]
pub struct Letters {
    /// All of them, the manufacturer's first; each with whether a root in the folder names its key for whoever wrote it.
    pub all: Vec<(VerifiedLetter, bool)>,
}

/// Where a letter is.
pub fn place(side: Side, number: u64) -> String {
    format!("letters/{side}/{number}.json")
}

/// The side and number that a path names.
pub fn of_path(path: &str) -> Option<(Side, u64)> {
    let (side, file) = path.strip_prefix("letters/")?.split_once('/')?;
    let (side, number): (Side, u64) = (side.parse().ok()?, file.strip_suffix(".json")?.parse().ok()?);
    (path == place(side, number)).then_some((side, number))
}

impl Letters {
    /// Verifies both series: each letter is signed by the key that it names, and names the one before it. Whether a root of its
    /// side has ever named that key is said of each.
    ///
    /// # Errors
    ///
    /// One does not verify, is missing, or is another's.
    pub fn read(files: &Reading<'_>, hdo: &HdoId, catalog: &Repository, approvals: &Repository) -> Outcome<Self> {
        let mut letters = Self::default();
        for (side, repository) in [(Side::Manufacturer, catalog), (Side::Hospital, approvals)] {
            let mut previous = None;
            for number in 1_u64.. {
                let path = place(side, number);
                let Some(bytes) = files.get(&path) else { break };
                let refused = |why: &str| Failure::untrusted(format!("{path}: {why}"));
                let letter = VerifiedLetter::verify(bytes).map_err(|e| refused("it does not verify").because(&e))?;
                if (letter.from, &letter.hdo, letter.number) != (side, hdo, number) {
                    return Err(refused("it is another letter, or another hospital's"));
                }
                if letter.previous != previous {
                    return Err(refused("it does not follow the letter before it"));
                }
                previous = Some(letter.digest());
                let is_listed = repository.roots.iter().any(|root| letter.is_listed(root));
                letters.all.push((letter, is_listed));
            }
        }
        Ok(letters)
    }

    /// The letter that acknowledges one, if there is one: by the other side, with its SHA-256.
    pub fn answer(&self, letter: &VerifiedLetter) -> Option<&VerifiedLetter> {
        let digest = letter.digest();
        self.all.iter().map(|(other, _)| other).find(|other| match &other.said {
            Said::Acknowledgement(answer) => other.from == letter.from.other() && answer.sha256 == digest,
            Said::Notice(_) | Said::Suspicion(_) => false,
        })
    }
}
