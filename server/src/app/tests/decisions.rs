//! What one person decides in a day.

use suture_core::digest::Digest;
use suture_core::limits::MAX_PERSON_WORDS;
use suture_core::version::Release;
use suture_proto::v1;

use super::*;
use crate::store::bundles::Bundle;

/// Attack: a thief of one person's certificate, which signs nothing, who decides until no decision of the hospital's fits any more.
#[tokio::test]
async fn one_person_spends_no_series_of_the_hospitals_in_a_day() {
    let world = World::start("16").await;
    let mut tx = world.app.store().begin().await.unwrap();
    let manifest_sha256 = Digest::of(b"manifest");
    tx.insert_hdo(&"riverside".parse().unwrap(), "Riverside", world.app.now()).await.unwrap();
    tx.put_bundle(&Bundle {
        product: "pump".parse().unwrap(),
        release: Release(2),
        version: "1.1.0".parse().unwrap(),
        path: "bundles/pump/2/manifest.json".to_owned(),
        manifest_sha256,
        status: "current".to_owned(),
        payload_length: 1,
        published: world.app.now(),
    })
    .await
    .unwrap();
    let day = world.app.now().as_second() / 86_400;
    tx.count_written("words/hdo/riverside/operator/kim", day, MAX_PERSON_WORDS - 1).await.unwrap();
    tx.commit().await.unwrap();
    let decide = async |name: &str| {
        let by = Principal::Operator("riverside".parse().unwrap(), name.parse().unwrap());
        let mut calls = connect::operator_client(world.connect(Some(world.joined(&by).await)).await.unwrap());
        let request = v1::RecordDecisionRequest {
            product: "pump".to_owned(),
            release: 2,
            manifest_sha256: manifest_sha256.as_bytes().to_vec().into(),
            choice: "deferred".to_owned(),
            reason: "the ward is rebuilt".to_owned(),
            compensating: "a network of their own".to_owned(),
            review: "2027-01-15".to_owned(),
            ..Default::default()
        };
        calls.record_decision(request).await.map(|answer| answer.into_inner().number)
    };
    assert_eq!(decide("kim").await.unwrap(), 1);
    let refused = decide("kim").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("operator/kim") && refused.message().contains("00:00 UTC"), "{refused:?}");
    assert_eq!(decide("sam").await.unwrap(), 2);
    world.later(9 * 3_600);
    assert_eq!(decide("kim").await.unwrap(), 3, "the next day");
    world.stop().await;
}
