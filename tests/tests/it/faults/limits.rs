//! Messages over their limits: refused by name, and the connection goes on.

use bytes::Bytes;
use suture_core::chunk::{Entry, Index};
use suture_core::digest::Digest;
use suture_core::limits::{
    MAX_ANONYMOUS_REQUEST_BYTES, MAX_CHUNKS_PER_CALL, MAX_IMPORT_DEVICES, MAX_MESSAGE_BYTES, MAX_MESSAGE_PARTS,
    MAX_PLAN_BYTES, MAX_RENEWALS, MAX_TEXT_BYTES, RENEWALS_COUNT,
};
use suture_proto::v1;
use suture_proto::v1::put_document_request::Kind as DocumentKind;
use suture_tests::world::wire::Newcomer;
use suture_tests::world::{Kind, Spec, World};
use tonic::Code;

use super::refused;

#[tokio::test]
async fn a_message_over_its_limit_is_refused_and_its_connection_goes_on() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let mut calls = world.operator_calls(Some(ada.identity())).await;
    let put =
        |length| v1::PutDocumentRequest { kind: DocumentKind::Document.into(), content: Bytes::from(vec![0; length]) };
    refused(calls.put_document(put(MAX_MESSAGE_BYTES + 1)).await, Code::OutOfRange, &[&MAX_MESSAGE_BYTES.to_string()]);
    // Not refused for its length alone, and on the same connection.
    calls.put_document(put(MAX_MESSAGE_BYTES - 1_024)).await.unwrap();
    calls.who_am_i(v1::WhoAmIRequest {}).await.unwrap();

    // A stream is bounded by the message too.
    let frame = v1::UploadChunksRequest { chunks: Vec::new(), data: vec![0; MAX_MESSAGE_BYTES + 1].into() };
    let upload = calls.upload_chunks(futures::stream::iter([frame])).await;
    refused(upload, Code::OutOfRange, &[&MAX_MESSAGE_BYTES.to_string()]);
    calls.who_am_i(v1::WhoAmIRequest {}).await.unwrap();
}

#[tokio::test]
async fn who_has_little_to_say_is_cut_off_early_and_a_list_of_nothings_is_not_read() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let mut strangers = world.device_calls(None).await;
    let most = MAX_ANONYMOUS_REQUEST_BYTES.to_string();
    let enroll = |length| v1::EnrollRequest { csr: Bytes::from(vec![0; length]), ..Default::default() };
    refused(strangers.enroll(enroll(MAX_ANONYMOUS_REQUEST_BYTES)).await, Code::OutOfRange, &[&most]);
    // A shorter one is heard, and refused for what it says.
    refused(strangers.enroll(enroll(MAX_ANONYMOUS_REQUEST_BYTES - 1_024)).await, Code::InvalidArgument, &["PKCS#10"]);

    let mut calls = world.operator_calls(Some(ada.identity())).await;
    let nothings = v1::MissingChunksRequest { sha256: vec![Bytes::new(); MAX_MESSAGE_PARTS + 1] };
    refused(calls.missing_chunks(nothings).await, Code::OutOfRange, &[&MAX_MESSAGE_PARTS.to_string(), "parts"]);
    calls.who_am_i(v1::WhoAmIRequest {}).await.unwrap();
}

#[tokio::test]
async fn an_index_is_taken_only_if_it_is_whole_and_its_chunks_are_there() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let mut calls = world.operator_calls(Some(ada.identity())).await;
    let good = Index::new(vec![Entry { sha256: Digest::of(b"a chunk"), length: 7 }]).unwrap().to_bytes();
    // Magic, total, count, entries.
    let with = |at: usize, bytes: &[u8]| {
        let mut index = good.clone();
        index[at..at + bytes.len()].copy_from_slice(bytes);
        index
    };
    for (index, said) in [
        (with(16, &u32::MAX.to_le_bytes()), "count"),
        (with(16, &2_u32.to_le_bytes()), "count"),
        (with(8, &u64::MAX.to_le_bytes()), "add up to 7 bytes"),
        (with(0, b"X"), "index"),
        (good[..good.len() - 1].to_vec(), "count"),
        (good.clone(), "1 of the index's chunks are missing"),
    ] {
        let sha256 = Digest::of(&index);
        let request = v1::PutDocumentRequest { kind: DocumentKind::Index.into(), content: index.into() };
        refused(calls.put_document(request).await, Code::InvalidArgument, &[said]);
        // And it is not stored.
        let fetch = v1::FetchChunksRequest {
            index_sha256: sha256.as_bytes().to_vec().into(),
            ranges: vec![v1::ChunkRange { first: 0, count: 1 }],
            held_bytes: 0,
        };
        refused(calls.fetch_chunks(fetch).await, Code::NotFound, &["no index"]);
    }
}

#[tokio::test]
async fn questions_that_ask_too_much_are_refused_with_the_bound() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let bundle = world.publish(&ada, Spec::default()).await;
    let mut calls = world.operator_calls(Some(ada.identity())).await;
    let invalid = Code::InvalidArgument;

    let digest = Bytes::from(vec![7; 32]);
    let ask = |count| v1::MissingChunksRequest { sha256: vec![digest.clone(); count] };
    refused(calls.missing_chunks(ask(MAX_CHUNKS_PER_CALL + 1)).await, invalid, &["more than 65536"]);
    let answer = calls.missing_chunks(ask(MAX_CHUNKS_PER_CALL)).await.unwrap().into_inner();
    assert_eq!(answer.missing.len(), MAX_CHUNKS_PER_CALL);

    let manifest = std::fs::read(bundle.dir.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let index = Bytes::from(hex::decode(manifest["payloads"][0]["index_sha256"].as_str().unwrap()).unwrap());
    let content = calls.get_target(v1::GetTargetRequest {
        repository: Some(v1::Repository { which: Some(v1::repository::Which::Catalog(true)) }),
        name: format!("documents/{}", hex::encode(&index)),
    });
    let content = content.await.unwrap().into_inner().message().await.unwrap().unwrap().content;
    let chunks = u32::try_from(Index::parse(&content).unwrap().entries().len()).unwrap();
    let range = |first, count| v1::ChunkRange { first, count };
    for bad in [
        vec![],
        vec![range(0, 0)],
        vec![range(chunks, 1)],
        vec![range(0, chunks + 1)],
        vec![range(u32::MAX, u32::MAX)],
        vec![range(1, 1), range(0, 1)],
        vec![range(0, 2), range(1, 1)],
    ] {
        let request = v1::FetchChunksRequest { index_sha256: index.clone(), ranges: bad.clone(), held_bytes: 0 };
        let said = if bad.is_empty() { "no range".to_owned() } else { format!("index's {chunks} chunks") };
        refused(calls.fetch_chunks(request).await, invalid, &[&said]);
    }
    let whole = v1::FetchChunksRequest { index_sha256: index, ranges: vec![range(0, chunks)], held_bytes: 0 };
    let mut frames = calls.fetch_chunks(whole.clone()).await.unwrap().into_inner();
    let (mut came, mut bytes) = (Vec::new(), Vec::new());
    while let Some(frame) = frames.message().await.unwrap() {
        came.extend(frame.chunks);
        bytes.extend(frame.data);
    }
    assert_eq!(came.len(), chunks as usize);

    // From within the first chunk on; of one that the caller has all of, nothing can be sent.
    let first = came[0].stored_length;
    let within = v1::FetchChunksRequest { held_bytes: first - 1, ..whole.clone() };
    let mut rest = Vec::new();
    let mut frames = calls.fetch_chunks(within).await.unwrap().into_inner();
    while let Some(frame) = frames.message().await.unwrap() {
        rest.extend(frame.data);
    }
    assert_eq!(rest, bytes[first as usize - 1..]);
    for held_bytes in [first, u32::MAX] {
        let request = v1::FetchChunksRequest { held_bytes, ..whole.clone() };
        refused(calls.fetch_chunks(request).await, invalid, &[&format!("it has {first}")]);
    }
}

/// Attack: one certificate that fills the database with others.
#[tokio::test]
async fn an_identity_is_issued_so_many_certificates_within_a_day() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let mut calls = world.operator_calls(Some(ada.identity())).await;
    let newcomer = Newcomer::default();
    let renew = || v1::RenewRequest { csr: newcomer.csr().into() };
    // Joining was the first.
    for _ in 1..MAX_RENEWALS {
        calls.renew(renew()).await.unwrap();
    }
    refused(calls.renew(renew()).await, Code::ResourceExhausted, &[&MAX_RENEWALS.to_string(), "within a day"]);
    calls.who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    world.clock.advance(RENEWALS_COUNT);
    calls.renew(renew()).await.unwrap();
}

#[tokio::test]
async fn a_hospital_stores_nothing_over_its_bound() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    let mut calls = world.operator_calls(Some(kim.identity())).await;
    let invalid = Code::InvalidArgument;

    let plan = |length: u64| v1::StorePlanRequest { plan: vec![b' '; usize::try_from(length).unwrap()].into() };
    refused(calls.store_plan(plan(MAX_PLAN_BYTES + 1)).await, invalid, &[&MAX_PLAN_BYTES.to_string()]);
    refused(calls.store_plan(plan(0)).await, invalid, &["empty"]);
    calls.store_plan(plan(MAX_PLAN_BYTES)).await.unwrap();

    let record = |id: String, serial: String| v1::DeviceRecord {
        id,
        product: "pump".to_owned(),
        hardware_id: "rev-a".to_owned(),
        ward: "icu".to_owned(),
        serial,
        udi: String::new(),
        labels: Vec::new(),
    };
    let import = |devices| v1::ImportDevicesRequest { devices, dry_run: false };
    let many = (0..=MAX_IMPORT_DEVICES).map(|i| record(format!("pump-{i}"), String::new())).collect();
    refused(calls.import_devices(import(many)).await, invalid, &["more than 10000", "in parts"]);
    // One bad row, and none is taken.
    let long =
        vec![record("pump-1".to_owned(), String::new()), record("pump-2".to_owned(), "9".repeat(MAX_TEXT_BYTES + 1))];
    refused(calls.import_devices(import(long)).await, invalid, &["device 2", "serial"]);
    let devices = kim.json(&["device", "list"]).await.unwrap();
    assert_eq!(devices.as_array().unwrap().len(), 0);
}
