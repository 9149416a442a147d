//! Answers about fleets that were made up, beside what one finds who looks at every device by itself.

mod documents;
mod fleet;
mod load;

use std::collections::{BTreeMap, BTreeSet};

use suture_core::digest::Digest;
use suture_core::exposure::why::{Course as RolloutCourse, Place, Why, why};
use suture_core::exposure::{self, Answer, Question};
use suture_core::id::{DeviceId, ProductId};
use suture_core::version::Release;

use super::{Asked, Counts, Course, Look, Page, count};
use crate::store::suite::each;
use crate::store::{Store, Tx};
use fleet::{Fleet, Hospital, NOW, Random, at, question};

/// A device that is exposed, and why.
type Row = (ProductId, Release, DeviceId, bool, Why, Option<String>);

/// All exposed devices of a hospital, one by one: by the fleet as it was made, and by each rollout's own list of devices.
async fn by_hand(tx: &mut Tx, fleet: &Fleet, hospital: &Hospital, answer: &Answer) -> Vec<Row> {
    let fixes: BTreeSet<Digest> = fleet
        .bundles
        .iter()
        .filter(|b| answer.fixes.get(&b.product).is_some_and(|f| f.contains(&b.release)))
        .map(|b| b.manifest)
        .collect();
    let mut rows = Vec::new();
    for device in hospital.devices.iter().filter(|d| !d.revoked) {
        let found = fleet.bundles.iter().zip(&answer.findings).find(|(b, _)| Some(b.manifest) == device.runs());
        let Some((bundle, _)) = found.filter(|(_, finding)| finding.verdict.is_exposed()) else { continue };
        let mut places = Vec::new();
        for rollout in hospital.rollouts.iter().filter(|r| fixes.contains(&r.manifest_sha256)) {
            let members = tx.members(&hospital.hdo, &rollout.id).await.unwrap();
            for member in members.iter().filter(|m| m.device == device.id) {
                let course = RolloutCourse::of(rollout.state, rollout.expires <= at(NOW));
                let place = Place { rollout: course, standing: member.standing };
                places.push(((course.is_open(), rollout.created, rollout.id.to_string()), place));
            }
        }
        places.sort_by(|(a, _), (b, _)| a.cmp(b));
        let nearest = places.pop();
        let newer: Vec<Release> = answer.fixes_for(&bundle.product, bundle.release).collect();
        let decided = hospital.decisions.iter().filter(|(number, decision)| {
            let of = |other: &suture_core::decision::Decision| {
                (&other.product, other.release) == (&decision.product, decision.release)
            };
            let later = hospital.decisions.iter().any(|(n, other)| n > number && of(other));
            // Decisions are of the third second, and a rollout's time is a whole one.
            let answered = hospital
                .rollouts
                .iter()
                .any(|r| (&r.product, r.release) == (&decision.product, decision.release) && r.created >= at(3));
            decision.product == bundle.product && newer.contains(&decision.release) && !later && !answered
        });
        let decided = decided.max_by_key(|(number, _)| *number).map(|(_, decision)| decision.choice);
        let why = why(nearest.as_ref().map(|(_, place)| *place), !newer.is_empty(), decided);
        let rollout = nearest.map(|((_, _, id), _)| id);
        rows.push((bundle.product.clone(), bundle.release, device.id.clone(), device.proven.is_some(), why, rollout));
    }
    rows.sort_by(|a, b| (&a.0, a.1, &a.2).cmp(&(&b.0, b.1, &b.2)));
    rows
}

async fn compare(store: &Store, fleet: &Fleet, random: &mut Random) -> usize {
    let mut exposed = 0;
    for product in &fleet.products {
        let asked = Asked { question: question(random), product: Some(product.clone()) };
        let bundles: Vec<_> = fleet.bundles.iter().filter(|b| b.product == *product).cloned().collect();
        let expected = exposure::answer(&asked.question, &bundles, &fleet.claims);
        let mut tx = store.read().await.unwrap();
        let look = Look::take(&mut tx, &asked).await.unwrap();
        assert_eq!(look.material.pending, 0);
        assert_eq!(look.answer, expected, "{:?}", asked.question);
        let whole = Fleet { products: Vec::new(), bundles, claims: BTreeMap::new(), hospitals: Vec::new() };
        for hospital in &fleet.hospitals {
            let rows = by_hand(&mut tx, &whole, hospital, &expected).await;
            exposed += rows.len();
            let course = Course::of(store, &mut tx, &hospital.hdo, &look, at(NOW)).await.unwrap();
            let mut counts: BTreeMap<Digest, Counts> = BTreeMap::new();
            for (product, release, _, proven, why, _) in &rows {
                let manifest = whole.bundles.iter().find(|b| (&b.product, b.release) == (product, *release)).unwrap();
                let count = counts.entry(manifest.manifest).or_default();
                *(if *proven { &mut count.proven } else { &mut count.believed }) += 1;
                *count.whys.entry(*why).or_default() += 1;
            }
            assert_eq!(count(&mut tx, &hospital.hdo, &look, &course).await.unwrap(), counts);
            let mut listed: Vec<Row> = Vec::new();
            let (mut from, limit) = (None, u32::try_from(1 + random.below(5)).unwrap());
            loop {
                let page = Page::read(&mut tx, &hospital.hdo, &look, &course, from, limit).await.unwrap().unwrap();
                assert!(page.devices.len() <= limit as usize);
                from = page.devices.last().map(|((bundle, _), d)| (bundle.manifest, d.device.clone()));
                for ((bundle, _), d) in page.devices {
                    let why = course.why(&look, bundle, d.place.as_ref().map(|(_, place)| *place));
                    let rollout = d.place.map(|(id, _)| id.to_string());
                    listed.push((bundle.product.clone(), bundle.release, d.device, d.proven, why, rollout));
                }
                if !page.more {
                    break;
                }
            }
            assert_eq!(listed, rows);
            let (running, unknown) = tx.running(&hospital.hdo).await.unwrap();
            let here = || hospital.devices.iter().filter(|d| !d.revoked);
            for r in &running {
                let of = |proven: bool| {
                    here().filter(|d| d.runs() == Some(r.manifest) && d.proven.is_some() == proven).count() as u64
                };
                assert_eq!((r.proven, r.believed), (of(true), of(false)));
            }
            let all: u64 = running.iter().map(|r| r.proven + r.believed).sum::<u64>() + unknown.values().sum::<u64>();
            assert_eq!(all, here().count() as u64);
        }
    }
    exposed
}

#[tokio::test]
async fn what_is_found_by_the_index_is_what_one_finds_who_looks_at_each_device() {
    each(async |store| {
        let mut exposed = 0;
        for seed in 0..24 {
            let mut tx = store.begin().await.unwrap();
            let fleet = Fleet::make(&mut tx, seed).await;
            tx.commit().await.unwrap();
            let mut random = Random(seed.wrapping_mul(77));
            for _ in 0..4 {
                exposed += compare(&store, &fleet, &mut random).await;
            }
        }
        // Fleets in which nothing is exposed would show nothing.
        assert!(exposed > 400, "{exposed}");
    })
    .await;
}

#[tokio::test]
async fn a_page_from_a_bundle_that_is_exposed_no_more_is_refused() {
    each(async |store| {
        let mut tx = store.begin().await.unwrap();
        let fleet = Fleet::make(&mut tx, 1).await;
        let question = Question { vulnerability: Some("CVE-1".to_owned()), component: None };
        let look = Look::take(&mut tx, &Asked { question, product: None }).await.unwrap();
        let from = Some((fleet.bundles[0].manifest, "device-00".parse().unwrap()));
        let hdo = &fleet.hospitals[0].hdo;
        assert!(Page::read(&mut tx, hdo, &look, &Course::default(), from, 10).await.unwrap().is_none());
        assert!(Page::read(&mut tx, hdo, &look, &Course::default(), None, 10).await.unwrap().is_some());
    })
    .await;
}
