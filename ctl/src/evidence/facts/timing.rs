//! How long it took: published, approved, confirmed; and the rate at which updates are delivered (FDA premarket guidance, VI.B),
//! with the shares within 30 and 60 days of publication (postmarket guidance, V.B, for what is out of cycle).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use suture_core::clock::day_of;
use suture_core::id::{ApprovalId, ProductId};
use suture_core::limits::{DISTRIBUTED_WITHIN_DAYS, TOLD_WITHIN_DAYS};
use suture_core::manifest::PatchClass;
use suture_core::version::Release;

use super::{DeviceOutcome, instant};
use crate::evidence::Evidence;

/// Of one rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timing {
    /// Which.
    pub rollout: ApprovalId,
    /// What it brings.
    pub product: ProductId,
    /// What it brings.
    pub release: Release,
    /// Routine or out of cycle, by the manifest, where the folder has it.
    pub class: Option<PatchClass>,
    /// When the bundle was published, by the server's clock and word.
    #[serde(serialize_with = "instant")]
    pub published: Option<Timestamp>,
    /// When the first signer signed, by that signer's clock.
    #[serde(serialize_with = "instant")]
    pub first_signed: Option<Timestamp>,
    /// When the approval was made, by its signed terms.
    #[serde(serialize_with = "instant")]
    pub approved: Option<Timestamp>,
    /// When the first device was confirmed, by its own clock.
    #[serde(serialize_with = "instant")]
    pub first_confirmed: Option<Timestamp>,
    /// When the last one was.
    #[serde(serialize_with = "instant")]
    pub last_confirmed: Option<Timestamp>,
    /// Devices that the approval names.
    pub devices: usize,
    /// Of these, confirmed.
    pub confirmed: usize,
    /// Confirmed on each day (UTC).
    pub days: Vec<Day>,
    /// Devices a day, from the day of the first to that of the last confirmation, in hundredths.
    pub per_day_hundredths: Option<u64>,
    /// Confirmed within so many days of publication.
    pub within: Vec<Within>,
}

/// A day on which devices were confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Day {
    /// Which, in UTC.
    pub day: String,
    /// How many.
    pub confirmed: usize,
}

/// A share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Within {
    /// Of publication.
    pub days: i64,
    /// Devices confirmed by then.
    pub confirmed: usize,
    /// Of all that are named, in thousandths.
    pub share_thousandths: usize,
}

/// Of every rollout in the folder.
pub(super) fn timings(evidence: &Evidence, outcomes: &[DeviceOutcome]) -> Vec<Timing> {
    let timing = |(id, approved): (&ApprovalId, &crate::evidence::approval::Approved)| {
        let terms = &approved.approval.terms;
        let step = terms.steps.last()?;
        let published = evidence.served.bundle(&step.product, step.release).map(|b| b.published);
        let of_it: Vec<&DeviceOutcome> = outcomes.iter().filter(|o| o.rollout == *id).collect();
        let mut confirmed: Vec<Timestamp> = of_it.iter().filter_map(|o| o.confirmed).collect();
        confirmed.sort();
        let manifest = evidence.released.bundles.iter().find(|b| b.sha256 == step.sha256);
        let first_signed = approved.signers.iter().filter_map(|s| suture_core::clock::parse_utc(&s.signed_at)).min();
        Some(Timing {
            rollout: id.clone(),
            product: step.product.clone(),
            release: step.release,
            class: manifest.map(|b| b.manifest.class),
            published,
            first_signed,
            approved: Some(terms.created),
            first_confirmed: confirmed.first().copied(),
            last_confirmed: confirmed.last().copied(),
            devices: of_it.len(),
            confirmed: confirmed.len(),
            days: days(&confirmed),
            per_day_hundredths: per_day(&confirmed),
            within: published.map(|from| within(from, &confirmed, of_it.len())).unwrap_or_default(),
        })
    };
    evidence.approved.iter().filter_map(timing).collect()
}

fn days(confirmed: &[Timestamp]) -> Vec<Day> {
    let mut days: BTreeMap<String, usize> = BTreeMap::new();
    for at in confirmed {
        *days.entry(day_of(*at).to_string()).or_default() += 1;
    }
    days.into_iter().map(|(day, confirmed)| Day { day, confirmed }).collect()
}

fn per_day(confirmed: &[Timestamp]) -> Option<u64> {
    let (first, last) = (day_of(*confirmed.first()?), day_of(*confirmed.last()?));
    let days = u64::try_from((last - first).get_days()).ok()?.saturating_add(1);
    (confirmed.len() as u64).saturating_mul(100).checked_div(days)
}

fn within(published: Timestamp, confirmed: &[Timestamp], of: usize) -> Vec<Within> {
    let share = |days: i64| {
        let until =
            published.checked_add(SignedDuration::from_hours(days.saturating_mul(24))).unwrap_or(Timestamp::MAX);
        let confirmed = confirmed.iter().filter(|at| **at <= until).count();
        let share_thousandths = confirmed.saturating_mul(1_000).checked_div(of).unwrap_or(0);
        Within { days, confirmed, share_thousandths }
    };
    [TOLD_WITHIN_DAYS, DISTRIBUTED_WITHIN_DAYS].map(share).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_shares_are_counted_by_days_of_utc() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let confirmed = ["2026-11-01T23:59:59Z", "2026-11-02T00:00:00Z", "2026-11-04T12:00:00Z"].map(at).to_vec();
        let told: Vec<_> = days(&confirmed).into_iter().map(|d| (d.day, d.confirmed)).collect();
        assert_eq!(told, [("2026-11-01".to_owned(), 1), ("2026-11-02".to_owned(), 1), ("2026-11-04".to_owned(), 1)]);
        assert_eq!(per_day(&confirmed), Some(75), "three devices in four days");
        assert_eq!(per_day(&[]), None);
        let shares = within(at("2026-10-03T00:00:00Z"), &confirmed, 4);
        let told: Vec<_> = shares.iter().map(|w| (w.days, w.confirmed, w.share_thousandths)).collect();
        assert_eq!(told, [(30, 2, 500), (60, 3, 750)], "the thirtieth day counts to its last second");
        assert_eq!(within(at("2026-10-03T00:00:00Z"), &[], 0)[0].share_thousandths, 0);
    }
}
