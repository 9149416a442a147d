//! What people say in series: the hospital's register of risk, `risks/<number>.json`, and who does what as both sides agreed,
//! `agreements/<hospital>/<product>/<number>.json` with the hospital's consent in `<number>.consent.json`.
//!
//! Each series is whole from its first word on, so that none can be left out or swapped. A word that names no key is the server's
//! alone: it knows by whose certificate it came.

use jiff::civil::Date;
use suture_core::digest::Digest;
use suture_core::id::{HdoId, ProductId};
use suture_core::responsibility::{Agreement, Consent, in_force};
use suture_core::risk::{self, Assessment};
use suture_core::trust::{Root, Verified};
use suture_core::word::{Spoken, Word};

use super::folder::Reading;
use super::partners::Partners;
use super::repository::Repository;
use crate::failure::{Failure, Outcome};

/// A word, and what its key counts for.
#[derive(Debug)]
pub struct Said<D> {
    /// What was said.
    pub word: Word<D>,
    /// Whether a root in the folder names its key for whoever says it.
    pub is_listed: bool,
}

impl<D: Spoken> Said<D> {
    fn of<'r>(word: Word<D>, roots: impl IntoIterator<Item = &'r Verified<Root>>) -> Self {
        let is_listed = roots.into_iter().any(|root| word.is_listed(root));
        Self { word, is_listed }
    }

    /// Whether it counts: by a key that a root names, or by certificate alone.
    fn counts(&self) -> bool {
        self.is_listed || self.word.key().is_none()
    }

    /// What it rests on, for people.
    pub fn rests_on(&self) -> &'static str {
        match (self.is_listed, self.word.key()) {
            (true, _) => "verified",
            (false, None) => "no: the server's word, by certificate alone",
            (false, Some(_)) => "NO ROOT HERE NAMES ITS KEY",
        }
    }
}

/// An agreement, and the hospital's consent to it.
#[derive(Debug)]
pub struct Pair {
    /// What the manufacturer proposed.
    pub agreement: Said<Agreement>,
    /// That the hospital agrees.
    pub consent: Option<Said<Consent>>,
}

impl Pair {
    /// Whether both sides have said it.
    pub fn is_agreed(&self) -> bool {
        self.agreement.counts() && self.consent.as_ref().is_some_and(Said::counts)
    }
}

/// Where an assessment is.
pub fn risk(number: u64) -> String {
    format!("risks/{number}.json")
}

/// Where an agreement is.
pub fn agreement(hdo: &HdoId, product: &ProductId, number: u64) -> String {
    format!("agreements/{hdo}/{product}/{number}.json")
}

/// Where the consent to it is.
pub fn consent(hdo: &HdoId, product: &ProductId, number: u64) -> String {
    format!("agreements/{hdo}/{product}/{number}.consent.json")
}

/// The hospital, product and number that an agreement's path names, or its consent's.
pub fn agreed_at(path: &str) -> Option<(HdoId, ProductId, u64)> {
    let mut parts = path.strip_prefix("agreements/")?.splitn(3, '/');
    let (hdo, product) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let name = parts.next()?.strip_suffix(".json")?;
    let number = name.strip_suffix(".consent").unwrap_or(name).parse().ok()?;
    let is_it = path == agreement(&hdo, &product, number) || path == consent(&hdo, &product, number);
    is_it.then_some((hdo, product, number))
}

fn refused(path: &str, why: &str) -> Failure {
    Failure::untrusted(format!("{path}: {why}"))
}

fn word<D: Spoken>(path: &str, bytes: &[u8]) -> Outcome<Word<D>> {
    Word::read(bytes).map_err(|e| refused(path, "it is refused").because(&e))
}

/// That a word is the next of its series.
fn next<D: Spoken>(path: &str, word: &Word<D>, number: u64, previous: Option<Digest>) -> Outcome {
    if word.place() == (number, previous) { Ok(()) } else { Err(refused(path, "it does not follow the one before it")) }
}

/// The hospital's whole register of risk, as far as the folder has it.
///
/// # Errors
///
/// One is refused, another hospital's, or does not follow the one before it.
pub fn risks(files: &Reading<'_>, hdo: &HdoId, approvals: &Repository) -> Outcome<Vec<Said<Assessment>>> {
    let (mut all, mut previous) = (Vec::new(), None);
    for number in 1_u64.. {
        let path = risk(number);
        let Some(bytes) = files.get(&path) else { break };
        let word: Word<Assessment> = word(&path, bytes)?;
        next(&path, &word, number, previous)?;
        if word.hdo != *hdo {
            return Err(refused(&path, "it is another hospital's"));
        }
        previous = Some(word.digest());
        all.push(Said::of(word, &approvals.roots));
    }
    Ok(all)
}

/// The newest of each group, of a whole register.
pub fn newest(register: &[Said<Assessment>]) -> impl Iterator<Item = &Said<Assessment>> {
    let numbers: Vec<u64> = risk::newest(register.iter().map(|said| &said.word)).iter().map(|w| w.number).collect();
    register.iter().filter(move |said| numbers.contains(&said.word.number))
}

/// All agreements in the folder, by hospital, product and number.
///
/// # Errors
///
/// One is refused, another's, or does not follow the one before it; a consent is to another.
pub fn agreements(
    files: &Reading<'_>,
    catalog: &Repository,
    approvals: Option<(&HdoId, &Repository)>,
    partners: &Partners,
) -> Outcome<Vec<Pair>> {
    let mut places: Vec<(HdoId, ProductId, u64)> = files.keys().filter_map(|path| agreed_at(path)).collect();
    places.sort();
    places.dedup();
    let mut all: Vec<Pair> = Vec::new();
    for (hdo, product, number) in places {
        let path = agreement(&hdo, &product, number);
        if approvals.is_some_and(|(own, _)| *own != hdo) {
            return Err(refused(&path, "it is another hospital's"));
        }
        let bytes = files.get(&path).ok_or_else(|| refused(&path, "there is a consent to it, and it is missing"))?;
        let proposed: Word<Agreement> = word(&path, bytes)?;
        if (&proposed.hdo, &proposed.product) != (&hdo, &product) {
            return Err(refused(&path, "it is another agreement"));
        }
        let of_series = |pair: &&Pair| (&pair.agreement.word.hdo, &pair.agreement.word.product) == (&hdo, &product);
        let before = all.last().filter(of_series).map(|pair| &pair.agreement.word);
        next(&path, &proposed, before.map_or(1, |w| w.number.saturating_add(1)), before.map(Word::digest))?;
        let consented = consent(&hdo, &product, number);
        let given = match files.get(&consented) {
            None => None,
            Some(bytes) => {
                let given: Word<Consent> = word(&consented, bytes)?;
                if !given.is_to(&proposed, proposed.digest()) {
                    return Err(refused(&consented, "it is to another agreement"));
                }
                Some(match approvals {
                    Some((_, repository)) => Said::of(given, &repository.roots),
                    None => Said::of(given, partners.roots(&hdo)),
                })
            }
        };
        all.push(Pair { agreement: Said::of(proposed, &catalog.roots), consent: given });
    }
    Ok(all)
}

/// The agreement with a hospital on a product that holds on a day.
pub fn holds<'a>(pairs: &'a [Pair], hdo: &HdoId, product: &ProductId, day: Date) -> Option<&'a Pair> {
    let of_it = |pair: &&Pair| (&pair.agreement.word.hdo, &pair.agreement.word.product) == (hdo, product);
    let agreed: Vec<&Pair> = pairs.iter().filter(of_it).filter(|pair| pair.is_agreed()).collect();
    let number = in_force(agreed.iter().map(|pair| &*pair.agreement.word), day)?.number;
    agreed.into_iter().find(|pair| pair.agreement.word.number == number)
}
