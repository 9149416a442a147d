//! What manufacturer and hospitals have written to one another: `letters/<hospital>/<side>/<number>.json`.
//!
//! A hospital's folder has both series whole from the first letter on, so that none can be left out or swapped. A
//! manufacturer's has of each hospital what concerns the product: its notices, the hospital's reports, and the answers.

use std::collections::BTreeMap;

use suture_core::digest::Digest;
use suture_core::id::{HdoId, ProductId};
use suture_core::notice::{Said, Side, VerifiedLetter};

use super::folder::Reading;
use super::partners::Partners;
use super::repository::Repository;
use crate::failure::{Failure, Outcome};

/// A letter that the key which it names has signed.
#[derive(Debug)]
pub struct Kept {
    /// What was written.
    pub letter: VerifiedLetter,
    /// Whether a root in the folder names its key for whoever wrote it.
    pub is_listed: bool,
}

/// The letters of both sides, by hospital, side and number.
#[derive(Debug, Default)]
pub struct Letters {
    /// All of them; a hospital's manufacturer's first.
    pub all: Vec<Kept>,
    /// The acknowledgements among them that count, by the SHA-256 of what they answer.
    answers: BTreeMap<Digest, usize>,
}

/// Where a letter is.
pub fn place(hdo: &HdoId, side: Side, number: u64) -> String {
    format!("letters/{hdo}/{side}/{number}.json")
}

/// The hospital, side and number that a path names.
pub fn of_path(path: &str) -> Option<(HdoId, Side, u64)> {
    let mut parts = path.strip_prefix("letters/")?.splitn(3, '/');
    let (hdo, side, file): (HdoId, Side, _) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    let number: u64 = file.strip_suffix(".json")?.parse().ok()?;
    (path == place(&hdo, side, number)).then_some((hdo, side, number))
}

fn refused(path: &str, why: &str) -> Failure {
    Failure::untrusted(format!("{path}: {why}"))
}

fn one(path: &str, bytes: &[u8], (hdo, side, number): (&HdoId, Side, u64)) -> Outcome<VerifiedLetter> {
    let letter = VerifiedLetter::verify(bytes).map_err(|e| refused(path, "it does not verify").because(&e))?;
    if (letter.from, &letter.hdo, letter.number) != (side, hdo, number) {
        return Err(refused(path, "it is another letter, or another hospital's"));
    }
    Ok(letter)
}

impl Letters {
    /// Verifies both series of a hospital: each letter is signed by the key that it names, and names the one before it. Whether
    /// a root of its side has ever named that key is said of each.
    ///
    /// # Errors
    ///
    /// One does not verify, is missing, or is another's.
    pub fn read(files: &Reading<'_>, hdo: &HdoId, catalog: &Repository, approvals: &Repository) -> Outcome<Self> {
        let mut letters = Self::default();
        for (side, repository) in [(Side::Manufacturer, catalog), (Side::Hospital, approvals)] {
            let mut previous = None;
            for number in 1_u64.. {
                let path = place(hdo, side, number);
                let Some(bytes) = files.get(&path) else { break };
                let letter = one(&path, bytes, (hdo, side, number))?;
                if letter.previous != previous {
                    return Err(refused(&path, "it does not follow the letter before it"));
                }
                previous = Some(letter.digest());
                let is_listed = repository.roots.iter().any(|root| letter.is_listed(root));
                letters.all.push(Kept { letter, is_listed });
            }
        }
        Ok(letters.with_answers())
    }

    /// Verifies what of the manufacturer's letters with all hospitals is here.
    ///
    /// # Errors
    ///
    /// One does not verify, or is another's.
    pub fn of_manufacturer(files: &Reading<'_>, catalog: &Repository, partners: &Partners) -> Outcome<Self> {
        let mut letters = Self::default();
        for path in files.keys() {
            let Some((hdo, side, number)) = of_path(path) else { continue };
            let Some(bytes) = files.get(path) else { continue };
            let letter = one(path, bytes, (&hdo, side, number))?;
            let is_listed = match side {
                Side::Manufacturer => catalog.roots.iter().any(|root| letter.is_listed(root)),
                Side::Hospital => partners.roots(&hdo).any(|root| letter.is_listed(root)),
            };
            letters.all.push(Kept { letter, is_listed });
        }
        // By number, not by its text.
        letters.all.sort_by(|a, b| {
            let by = |kept: &Kept| (kept.letter.hdo.clone(), kept.letter.from, kept.letter.number);
            by(a).cmp(&by(b))
        });
        Ok(letters.with_answers())
    }

    fn with_answers(mut self) -> Self {
        for (place, kept) in self.all.iter().enumerate().filter(|(_, kept)| kept.is_listed) {
            if let Said::Acknowledgement(answer) = &kept.letter.said {
                self.answers.entry(answer.sha256).or_insert(place);
            }
        }
        self
    }

    /// The letter that acknowledges one, if there is one: by the other side, with its SHA-256, by a key that counts.
    pub fn answer(&self, letter: &VerifiedLetter) -> Option<&VerifiedLetter> {
        let answer = &self.all.get(*self.answers.get(&letter.digest())?)?.letter;
        ((answer.from, &answer.hdo) == (letter.from.other(), &letter.hdo)).then_some(answer)
    }
}

/// The product that a letter is about; none where it answers another.
pub fn product(letter: &VerifiedLetter) -> Option<&ProductId> {
    match &letter.said {
        Said::Notice(notice) => Some(&notice.product),
        Said::Suspicion(suspicion) => Some(&suspicion.product),
        Said::Acknowledgement(_) => None,
    }
}
