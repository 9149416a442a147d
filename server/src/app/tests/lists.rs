//! Lists that have grown long, and what one answer has of them.

use suture_core::digest::Digest;
use suture_core::exposure::Part;
use suture_core::id::HdoId;
use suture_core::limits::{MAX_AUDIT_ENTRY_BYTES, MAX_MESSAGE_BYTES, MAX_ROWS_PER_CALL, MAX_UNPAGED_ROWS};
use suture_core::version::Release;
use suture_proto::v1;

use super::*;
use crate::audit;
use crate::store::exposure::{Read, Unread};

/// So many numbers, counted from 1, and what is made of each.
async fn fill(world: &World, many: u32, statement: &str) {
    let text = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many}) {statement} FROM n WHERE true \
         ON CONFLICT DO NOTHING"
    );
    let mut tx = world.app.store().begin().await.unwrap();
    let Driver::Sqlite(c) = tx.driver() else { unreachable!() };
    sqlx::query(sqlx::AssertSqlSafe(text)).execute(c).await.unwrap();
    tx.commit().await.unwrap();
}

const HOSPITALS: &str = "INSERT INTO hdo (id, name, created_ms) SELECT 'h' || i, 'A hospital', 0";
const BUNDLES: &str = "INSERT INTO bundle (product, release, version, path, manifest_sha256, status, payload_length, \
    published_ms) SELECT 'p' || (i % 7), i, '1.' || i || '.0', 'bundles/' || i, CAST(printf('%032d', i) AS BLOB), \
    'current', 1, 0";
/// Of which three each began in one second.
const ROLLOUTS: &str = "INSERT INTO rollout (hdo, id, state, product, version, release, manifest_sha256, approval_sha256, \
    wave, waves, wave_opened_ms, unsigned_waves, attempt_timeout_secs, max_attempts, plan_sha256, ticket, created_ms, \
    expires_ms) SELECT 'h1', 'a' || i, 'complete', 'p0', '1.0.0', 7, zeroblob(32), zeroblob(32), 0, 1, 0, 0, 60, 1, \
    zeroblob(32), '', 1000 * (i / 3), 9";

/// Attack: lists that grow for years, each asked for as a whole by many at once.
#[tokio::test]
async fn what_grows_without_end_is_listed_by_pages_and_a_caller_that_knows_none_loses_no_row() {
    let world = World::start("16").await;
    let kim = Principal::Operator("h1".parse().unwrap(), "kim".parse().unwrap());
    for (many, whole) in [(2_500, true), (MAX_UNPAGED_ROWS + 1, false)] {
        for statement in [HOSPITALS, BUNDLES, ROLLOUTS] {
            fill(&world, many, statement).await;
        }
        let mut ada = connect::operator_client(world.connect(Some(world.operator().await)).await.unwrap());
        let mut kim = connect::operator_client(world.connect(Some(world.joined(&kim).await)).await.unwrap());
        let (mut hdos, mut bundles, mut rollouts) = (Vec::<v1::Hdo>::new(), Vec::<v1::Bundle>::new(), Vec::new());
        loop {
            let after = hdos.last().map(|hdo| hdo.id.clone()).unwrap_or_default();
            let answer = ada.list_hdos(v1::ListHdosRequest { after, limit: u32::MAX }).await.unwrap().into_inner();
            assert!(answer.hdos.len() <= MAX_ROWS_PER_CALL as usize, "{}", answer.hdos.len());
            hdos.extend(answer.hdos);
            if !answer.more {
                break;
            }
        }
        loop {
            let last = bundles.last();
            let request = v1::ListBundlesRequest {
                after_product: last.map(|bundle| bundle.product.clone()).unwrap_or_default(),
                after_release: last.map(|bundle| bundle.release).unwrap_or_default(),
                limit: MAX_ROWS_PER_CALL,
            };
            let answer = ada.list_bundles(request).await.unwrap().into_inner();
            assert!(answer.bundles.len() <= MAX_ROWS_PER_CALL as usize, "{}", answer.bundles.len());
            bundles.extend(answer.bundles);
            if !answer.more {
                break;
            }
        }
        loop {
            let after = rollouts.last().map(|rollout: &v1::Rollout| rollout.id.clone()).unwrap_or_default();
            let request = v1::ListRolloutsRequest { all: true, after, limit: 700 };
            let answer = kim.list_rollouts(request).await.unwrap().into_inner();
            assert!(answer.rollouts.len() <= 700, "{}", answer.rollouts.len());
            rollouts.extend(answer.rollouts);
            if !answer.more {
                break;
            }
        }
        let many = many as usize;
        assert_eq!((hdos.len(), bundles.len(), rollouts.len()), (many, many, many));
        assert!(
            bundles.is_sorted_by_key(|b| (b.product.clone(), b.release)) && hdos.is_sorted_by_key(|h| h.id.clone())
        );
        assert!(rollouts.is_sorted_by_key(|r| (-r.created_ms, r.id.clone())));
        // As a program asks that has never heard of pages.
        let all = ada.list_hdos(v1::ListHdosRequest::default()).await.map(|answer| answer.into_inner().hdos);
        assert_eq!(all.map_err(|e| e.code()), if whole { Ok(hdos) } else { Err(Code::FailedPrecondition) });
        let all = ada.list_bundles(v1::ListBundlesRequest::default()).await.map(|answer| answer.into_inner().bundles);
        assert_eq!(all.map_err(|e| e.code()), if whole { Ok(bundles) } else { Err(Code::FailedPrecondition) });
        let request = v1::ListRolloutsRequest { all: true, ..Default::default() };
        let all = kim.list_rollouts(request).await.map(|answer| answer.into_inner().rollouts);
        assert_eq!(all.map_err(|e| e.code()), if whole { Ok(rollouts) } else { Err(Code::FailedPrecondition) });
        let request = v1::ListRolloutsRequest { all: true, after: "nothing".to_owned(), limit: 1 };
        assert_eq!(kim.list_rollouts(request).await.unwrap_err().code(), Code::NotFound);
    }
    world.stop().await;
}

/// Attack: suggestions as long as they may be, to many hospitals.
#[tokio::test]
async fn the_longest_proposals_to_many_hospitals_are_read_to_the_end() {
    let world = World::start("16").await;
    for statement in [
        HOSPITALS,
        BUNDLES,
        "INSERT INTO proposal (hdo, product, release, id, suggestion, note, proposed_by, created_ms, expires_ms) SELECT \
         'h' || i, 'p' || (i % 7), i, i, zeroblob(16384), 'a louder alarm', 'ada', i / 3, 4000000000000",
    ] {
        fill(&world, 1_200, statement).await;
    }
    let mut ada = connect::operator_client(world.connect(Some(world.operator().await)).await.unwrap());
    let (mut all, mut pages) = (Vec::<v1::RolloutProposal>::new(), 0);
    loop {
        let after = all.last().map(|last| v1::ProposalPlace {
            created_ms: last.created_ms,
            hdo: last.hdo.clone(),
            product: last.product.clone(),
            release: last.release,
        });
        let answer = ada.list_proposals(v1::ListProposalsRequest { after, limit: 1_000 }).await.unwrap().into_inner();
        all.extend(answer.proposals);
        pages += 1;
        if !answer.more {
            break;
        }
    }
    assert_eq!((all.len(), pages), (1_200, 2));
    assert!(all.is_sorted_by_key(|p| (-p.created_ms, p.hdo.clone())));
    let refused = ada.list_proposals(v1::ListProposalsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    world.stop().await;
}

/// Bundles that carry one component, each of which as many devices of each hospital run.
async fn carried(world: &World, bundles: u32, hospitals: &[&str], text: &str) -> v1::ExposureQuestion {
    fill(world, bundles, BUNDLES).await;
    let mut tx = world.app.store().begin().await.unwrap();
    for hdo in hospitals {
        tx.insert_hdo(&hdo.parse().unwrap(), "A hospital", world.app.now()).await.unwrap();
    }
    for n in 1..=bundles {
        let manifest = Digest::try_from(format!("{n:032}").as_bytes()).unwrap();
        let part = Part { package: None, name: "openssl".to_owned(), version: text.to_owned(), reference: None };
        let read = Read { listed: true, parts: vec![part], ..Default::default() };
        let (product, path) = (format!("p{}", n % 7).parse().unwrap(), format!("bundles/{n}"));
        tx.put_read_bundle(&Unread { product, release: Release(n.into()), path, manifest }, &read, world.app.now())
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    for hdo in hospitals {
        let devices = format!(
            "INSERT INTO device (hdo, id, product, hardware_id, ward, serial, udi, labels, state, imported_ms, \
             runs_manifest, said_manifest, reports_through) SELECT '{hdo}', 'd' || i, 'p' || (i % 7), 'rev-a', 'icu', '', \
             '', '', 'active', 0, CAST(printf('%032d', i) AS BLOB), CAST(printf('%032d', i) AS BLOB), 0"
        );
        fill(world, bundles, &devices).await;
    }
    v1::ExposureQuestion { name: "openssl".to_owned(), ..Default::default() }
}

#[tokio::test]
async fn hospitals_with_many_exposed_bundles_each_come_by_fewer_a_page() {
    let world = World::start("16").await;
    let question = carried(&world, 400, &["a", "b", "c", "d", "e"], "3.0").await;
    let mut ada = connect::operator_client(world.connect(Some(world.operator().await)).await.unwrap());
    let (mut after, mut pages, mut rows) = (String::new(), Vec::new(), 0);
    loop {
        let request = v1::ListExposedHospitalsRequest { question: Some(question.clone()), after, limit: 100 };
        let answer = ada.list_exposed_hospitals(request).await.unwrap().into_inner();
        let of: std::collections::BTreeSet<_> = answer.hospitals.iter().map(|row| row.hdo.clone()).collect();
        rows += answer.hospitals.len();
        pages.push(of.into_iter().collect::<String>());
        if !answer.more {
            break;
        }
        after = answer.last;
    }
    assert_eq!((pages, rows), (vec!["abc".to_owned(), "de".to_owned()], 5 * 400));
    world.stop().await;
}

#[tokio::test]
async fn exposure_of_more_than_fits_into_one_answer_is_refused_with_what_to_ask_instead() {
    let world = World::start("16").await;
    let mut question = carried(&world, 9_000, &[], &"3".repeat(2_000)).await;
    let mut ada = connect::operator_client(world.connect(Some(world.operator().await)).await.unwrap());
    let ask = |question: &v1::ExposureQuestion| v1::GetExposureRequest { question: Some(question.clone()) };
    let refused = ada.get_exposure(ask(&question)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("--product"), "{refused:?}");
    question.product = "p1".to_owned();
    assert!(ada.get_exposure(ask(&question)).await.unwrap().into_inner().bundles.len() > 1_000);
    world.stop().await;
}

/// Attack: entries as long as they may be, so that nobody reads the record past them.
#[tokio::test]
async fn the_longest_entries_of_the_record_are_read_to_the_end() {
    let world = World::start("16").await;
    let hdo: HdoId = "riverside".parse().unwrap();
    let mut tx = world.app.store().begin().await.unwrap();
    tx.insert_hdo(&hdo, "Riverside", world.app.now()).await.unwrap();
    let text = "x".repeat(MAX_AUDIT_ENTRY_BYTES - 1_000);
    let many = MAX_MESSAGE_BYTES / text.len() + 20;
    for _ in 0..many {
        let detail = serde_json::json!({ "text": text });
        audit::append(&mut tx, world.app.now(), &Principal::Server, (&hdo).into(), "test.append", "test", detail)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let kim = Principal::Operator(hdo, "kim".parse().unwrap());
    let mut kim = connect::operator_client(world.connect(Some(world.joined(&kim).await)).await.unwrap());
    let (mut after, mut long) = (0, 0);
    loop {
        let answer = kim.list_audit(v1::ListAuditRequest { after, limit: 1_000 }).await.unwrap().into_inner();
        assert_eq!(answer.entries.first().map(|entry| entry.seq), Some(after + 1));
        long += answer.entries.iter().filter(|entry| entry.payload.len() > text.len()).count();
        after = answer.entries.last().unwrap().seq;
        if !answer.more {
            break;
        }
    }
    assert_eq!(long, many);
    world.stop().await;
}
