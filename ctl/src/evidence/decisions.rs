//! Bundles declined or deferred: `decisions/<number>.json`, as they were signed.

use std::collections::BTreeMap;

use suture_core::decision::VerifiedDecision;
use suture_core::id::HdoId;

use super::folder::Reading;
use super::kind;
use super::repository::Repository;
use super::served::Served;
use crate::failure::{Failure, Outcome};

/// Verifies those that the server's list says are signed, each to be what the list says.
///
/// # Errors
///
/// One is missing, does not verify, or says something else.
pub fn read(
    files: &Reading<'_>,
    approvals: &Repository,
    hdo: &HdoId,
    served: &Served,
) -> Outcome<BTreeMap<u64, VerifiedDecision>> {
    let mut all = BTreeMap::new();
    for decision in &served.decisions {
        let place = kind::decision(decision.number);
        let refused = |why: &str| Failure::untrusted(format!("{place}: {why}"));
        let bytes = match files.get(&place) {
            Some(bytes) if decision.signed => bytes,
            None if !decision.signed => continue,
            Some(_) => return Err(refused("the server's list says that it is not signed")),
            None => return Err(refused("it is signed, and missing")),
        };
        let stated = VerifiedDecision::verify(bytes).map_err(|e| refused("it is refused").because(&e))?;
        let (d, said) = (&stated.decision, decision);
        let differs = (&stated.hdo, &d.product, d.release) != (hdo, &said.product, said.release)
            || (d.choice.as_str(), &d.reason, &d.compensating)
                != (said.choice.as_str(), &said.reason, &said.compensating)
            || (d.review.to_string(), stated.name.as_str()) != (said.review.clone(), said.by.as_str());
        if differs {
            return Err(refused("the server's list says something else"));
        }
        if !approvals.ever_named(&stated.key) {
            return Err(refused("the key that signed it has never approved for the hospital"));
        }
        all.insert(decision.number, stated);
    }
    Ok(all)
}
