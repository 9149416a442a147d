//! Past the end of support nothing new is rolled out without a signed acceptance of the risk.
//!
//! The hospital's own program asks the same before anybody signs, and verifies what it is told; here it is asked again so
//! that no other program begins such a rollout unnoticed. The devices do not ask. A way back is exempt: an approval that permits
//! a lower release begins whatever is on record, for nothing may stand between a patient and the version that worked.

use jiff::Timestamp;
use suture_core::approval::{Approval, RosterDevice, SignedDocument as _};
use suture_core::clock::day_of;
use suture_core::id::{ApprovalId, DeviceId, ProductId};
use suture_core::life::{Life, Stage};
use suture_core::risk::{self, Assessment, Member};
use suture_core::trust::{Root, Verified};
use suture_core::version::Release;
use suture_core::word::Word;

use crate::store::{StoreError, Tx};

/// That a rollout may not begin.
#[derive(Debug, thiserror::Error)]
#[error(
    "{approval}: support of {product} release {release} ended on {ended}, and no signed acceptance of that risk in force names \
     {count} of its devices, {first} for one: `suturectl risk assess --treatment acceptance`"
)]
pub(crate) struct Unaccepted {
    approval: ApprovalId,
    product: ProductId,
    release: Release,
    ended: jiff::civil::Date,
    count: usize,
    first: DeviceId,
}

/// Whether an approval needs an acceptance of risk, and for what: where it leads to a release that has no support.
pub(crate) async fn is_needed(
    tx: &mut Tx,
    approval: &Approval,
    now: Timestamp,
) -> Result<Option<jiff::civil::Date>, StoreError> {
    // Rule 5, always a way back, comes before IMDRF N70's acceptance of risk: the release that worked is often the one
    // that has no support any more, and a ward waits for it on the night on which the new one fails. What a permit lets
    // through is no more than that: who signs it has said in so many words that devices go down, and evidence lists it as a deviation.
    if approval.terms.permit_downgrade {
        return Ok(None);
    }
    let Some(last) = approval.terms.steps.last() else { return Ok(None) };
    // What does not parse was never taken; see `crate::life`.
    let Some(life) = tx.life(&last.product).await?.and_then(|(_, bytes)| Life::parse(&bytes).ok()) else {
        return Ok(None);
    };
    let standing = life.standing(Some(last.release), day_of(now));
    Ok(standing.dates.end_of_support.filter(|_| standing.stage == Stage::EndOfSupport))
}

/// The refusal, if a device of the approval is covered by no acceptance. `roster` are the hospital's devices.
pub(crate) async fn refused(
    tx: &mut Tx,
    root: &Verified<Root>,
    (approval, ended): (&Approval, jiff::civil::Date),
    roster: &[RosterDevice],
    now: Timestamp,
) -> Result<Option<Unaccepted>, StoreError> {
    let (terms, day) = (&approval.terms, day_of(now));
    let Some(last) = terms.steps.last() else { return Ok(None) };
    let recorded = tx.acceptances(&terms.hdo, &last.product, day).await?;
    let words = recorded.iter().filter_map(|bytes| Word::<Assessment>::read(bytes).ok());
    let words: Vec<Word<Assessment>> = words.filter(|word| word.hdo == terms.hdo && word.is_listed(root)).collect();
    let known = roster.iter().filter(|device| approval.device(&device.id).is_some()).map(Member::from);
    let covered = (&last.product, last.release);
    let uncovered: Vec<DeviceId> =
        risk::uncovered(words.iter().map(|w| &**w), covered, known, day).into_iter().map(|m| m.id.clone()).collect();
    // A device that stands on no roster is in no group.
    let strange = approval.devices.iter().map(|d| &d.id).filter(|id| !roster.iter().any(|device| device.id == **id));
    let open: Vec<DeviceId> = uncovered.into_iter().chain(strange.cloned()).collect();
    Ok(open.first().map(|first| Unaccepted {
        approval: terms.id.clone(),
        product: last.product.clone(),
        release: last.release,
        ended,
        count: open.len(),
        first: first.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use suture_core::approval::{Pinned, Step, Terms};
    use suture_core::clock::parse_day;
    use suture_core::digest::Digest;
    use suture_core::life::{Change, Dates};

    use super::*;
    use crate::store::suite::each;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// An approval that leads to release 1, for no device at all.
    fn approval(permit_downgrade: bool) -> Approval {
        let terms = Terms {
            id: "rollout-1".parse().unwrap(),
            hdo: "riverside".parse().unwrap(),
            created: at("2031-01-01T00:00:00Z"),
            expires: at("2031-03-01T00:00:00Z"),
            steps: vec![Step {
                path: "bundles/pump/1/manifest.json".to_owned(),
                length: 1,
                sha256: Digest::of(b"manifest"),
                product: "pump".parse().unwrap(),
                release: Release(1),
                hardware: Vec::new(),
            }],
            supersedes: Vec::new(),
            waves: Vec::new(),
            max_attempts: 1,
            retry_wait_secs: 60,
            attempt_timeout_secs: 60,
            needs_lease: false,
            ward_cap: 1,
            permit_downgrade,
            operator_document: Pinned::of("operator.json".to_owned(), b"{}"),
        };
        Approval { terms, devices: Vec::new() }
    }

    #[tokio::test]
    async fn past_the_end_of_support_an_acceptance_is_asked_for_and_never_on_the_way_back() {
        each(async |store| {
            let pump: ProductId = "pump".parse().unwrap();
            let change = Change {
                at: at("2026-02-01T00:00:00Z"),
                by: "ada".parse().unwrap(),
                why: "as sold".to_owned(),
                releases: None,
                dates: Dates {
                    general_availability: parse_day("2026-01-01"),
                    end_of_support: parse_day("2031-02-01"),
                    ..Dates::default()
                },
                short_notice: None,
                earlier: None,
                components: Vec::new(),
                not_covered: Vec::new(),
            };
            let life = Life::begin(pump.clone(), change).unwrap();
            let mut tx = store.begin().await.unwrap();
            tx.put_life(&pump, &life.to_bytes().unwrap(), at("2026-02-01T00:00:00Z")).await.unwrap();
            let (before, after) = (at("2031-01-31T23:59:59Z"), at("2031-02-01T00:00:00Z"));
            let ended = parse_day("2031-02-01");
            for (permit, now, want) in
                [(false, before, None), (false, after, ended), (true, before, None), (true, after, None)]
            {
                assert_eq!(is_needed(&mut tx, &approval(permit), now).await.unwrap(), want, "{permit} {now}");
            }
        })
        .await;
    }
}
