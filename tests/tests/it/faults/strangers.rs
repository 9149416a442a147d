//! Callers who are nobody, somebody else's, not yet anybody, or no longer anybody.

use suture_proto::connect::Identity;
use suture_proto::v1;
use suture_tests::world::wire::{Newcomer, enroll_request};
use suture_tests::world::{Failed, HDO, Kind, Operator, Spec, World, text};
use tonic::{Code, Status};

use super::{failed, refused};

/// The repository of a hospital's approvals.
fn approvals(hdo: &str) -> Option<v1::Repository> {
    Some(v1::Repository { which: Some(v1::repository::Which::Approvals(hdo.to_owned())) })
}

fn catalog() -> Option<v1::Repository> {
    Some(v1::Repository { which: Some(v1::repository::Which::Catalog(true)) })
}

fn metadata(repository: Option<v1::Repository>) -> v1::GetMetadataRequest {
    v1::GetMetadataRequest { repository, name: "timestamp.json".to_owned() }
}

/// The second hospital, whose operator is lee.
async fn lakeside(world: &World, ada: &Operator) -> Operator {
    let invitation = ada.json(&["hdo", "invite", "lakeside", "--name", "Lakeside Clinic"]).await.unwrap();
    let lee = world.operator("lee");
    let token = invitation["token"].as_str().unwrap();
    lee.run(&["hdo", "join", token, "--name", "lee", "--no-passphrase"]).await.unwrap();
    lee
}

#[tokio::test]
async fn without_a_certificate_nothing_but_joining_is_answered() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let says = ["needs a client certificate", "suturectl join"];
    let mut operators = world.operator_calls(None).await;
    refused(operators.who_am_i(v1::WhoAmIRequest {}).await, Code::Unauthenticated, &says);
    refused(operators.list_audit(v1::ListAuditRequest::default()).await, Code::Unauthenticated, &says);
    refused(operators.get_metadata(metadata(catalog())).await, Code::Unauthenticated, &says);
    let publication = v1::PublishMetadataRequest { repository: catalog(), ..Default::default() };
    refused(operators.publish_metadata(publication).await, Code::Unauthenticated, &says);
    let mut devices = world.device_calls(None).await;
    refused(devices.check_in(v1::CheckInRequest::default()).await, Code::Unauthenticated, &says);
    refused(devices.fetch_chunks(v1::FetchChunksRequest::default()).await, Code::Unauthenticated, &says);
    // The same connection may join.
    let token = std::fs::read_to_string(world.data_dir().join("operator.token")).unwrap();
    let request = suture_tests::world::wire::join_request(token.trim(), "ada", &Newcomer::default());
    operators.join(request).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_nobodys() {
    let (world, other) = (World::start(Kind::Sqlite).await.unwrap(), World::start(Kind::Sqlite).await.unwrap());
    let (ada, eve) = (world.manufacturer().await, other.manufacturer().await);
    let refusal = match world.connect(Some(eve.identity())).await {
        Ok(channel) => suture_proto::connect::operator_client(channel).who_am_i(v1::WhoAmIRequest {}).await.err(),
        Err(_) => Some(Status::unavailable("")),
    };
    assert!(refusal.is_some(), "a stranger's certificate was taken");

    // What a person sees whose home holds it.
    for file in ["identity/tls.key", "identity/chain.pem"] {
        std::fs::copy(eve.home().join(file), ada.home().join(file)).unwrap();
    }
    let Failed { exit, said } = ada.run(&["whoami"]).await.unwrap_err();
    // The server's alert may be overtaken by the end of the connection.
    assert!(matches!(exit, 3 | 4), "{exit}: {said}");
    assert!(said.contains("certificate"), "{said}");
}

async fn hospitals_apart(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let (_kim, lee) = (world.hospital(&ada).await, lakeside(&world, &ada).await);
    let mut calls = world.operator_calls(Some(lee.identity())).await;

    calls.get_metadata(metadata(approvals("lakeside"))).await.unwrap();
    calls.get_metadata(metadata(catalog())).await.unwrap();
    let denied = Code::PermissionDenied;
    refused(calls.get_metadata(metadata(approvals(HDO))).await, denied, &["another hospital"]);
    let target = v1::GetTargetRequest { repository: approvals(HDO), name: "rosters/x".to_owned() };
    refused(calls.get_target(target).await, denied, &["another hospital"]);

    // Not even with signatures that are in force: whose repository it is comes first.
    let mut ada_calls = world.operator_calls(Some(ada.identity())).await;
    let targets = v1::GetMetadataRequest { repository: catalog(), name: "1.targets.json".to_owned() };
    let targets = ada_calls.get_metadata(targets).await.unwrap().into_inner().content;
    for repository in [catalog(), approvals(HDO)] {
        let publication = v1::PublishMetadataRequest {
            repository: repository.clone(),
            targets: targets.clone(),
            ..Default::default()
        };
        refused(calls.publish_metadata(publication).await, denied, &["not yours to publish"]);
        refused(calls.get_online_keys(v1::GetOnlineKeysRequest { repository }).await, denied, &["not yours"]);
    }
    // The manufacturer has no part in a hospital's approvals either.
    refused(ada_calls.get_metadata(metadata(approvals(HDO))).await, denied, &["another hospital"]);
    let publication = v1::PublishMetadataRequest { repository: approvals(HDO), targets, ..Default::default() };
    refused(ada_calls.publish_metadata(publication).await, denied, &["not yours to publish"]);

    // Devices of the other are not there at all.
    let plan = v1::GetPlanRequest { sha256: vec![0; 32].into() };
    refused(calls.get_plan(plan).await, Code::NotFound, &["lakeside has no plan"]);
    let device = v1::GetDeviceRequest { id: "pump-1".to_owned() };
    refused(calls.get_device(device).await, Code::NotFound, &["lakeside has no device"]);
}
on_both!(a_hospital_reads_and_publishes_its_own_alone, super::hospitals_apart);

/// The digest of a bundle's one chunk index.
fn index_sha256(bundle: &std::path::Path) -> Vec<u8> {
    let manifest = std::fs::read(bundle.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    hex::decode(manifest["payloads"][0]["index_sha256"].as_str().unwrap()).unwrap()
}

async fn fetch(world: &World, who: &Identity, index: &[u8]) -> Result<usize, Status> {
    let request = v1::FetchChunksRequest {
        index_sha256: index.to_vec().into(),
        ranges: vec![v1::ChunkRange { first: 0, count: 1 }],
        held_bytes: 0,
    };
    let mut frames = world.device_calls(Some(who.clone())).await.fetch_chunks(request).await?.into_inner();
    let mut length = 0;
    while let Some(frame) = frames.message().await? {
        length += frame.data.len();
    }
    Ok(length)
}

async fn not_yet_and_no_longer(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let bundle = world.publish(&ada, Spec::default()).await;
    let index = index_sha256(&bundle.dir);
    let kim = world.hospital(&ada).await;
    let file = world.path("devices.csv");
    std::fs::write(&file, "id,product,hardware,ward\npump-1,pump,rev-a,icu\n").unwrap();
    kim.run(&["device", "import", "--csv", text(&file)]).await.unwrap();
    let token = kim.json(&["device", "token", "pump-1"]).await.unwrap();
    let newcomer = Newcomer::default();
    let request = enroll_request(token["token"].as_str().unwrap(), "pump-1", &newcomer);
    let chain = world.device_calls(None).await.enroll(request).await.unwrap().into_inner().chain;
    let pump = newcomer.certified(&chain);

    // Pending: it may say that it is there, and nothing else.
    let pending = ["pending", "compare its fingerprint"];
    let mut calls = world.device_calls(Some(pump.clone())).await;
    let answer = calls.check_in(v1::CheckInRequest::default()).await.unwrap().into_inner();
    assert!(!answer.confirmed && answer.words.is_empty());
    refused(fetch(&world, &pump, &index).await, Code::PermissionDenied, &pending);
    refused(calls.get_metadata(metadata(catalog())).await, Code::PermissionDenied, &pending);
    let target = v1::GetTargetRequest { repository: catalog(), name: format!("documents/{}", hex::encode(&index)) };
    refused(calls.get_target(target.clone()).await, Code::PermissionDenied, &pending);
    refused(calls.submit_reports(v1::SubmitReportsRequest::default()).await, Code::PermissionDenied, &pending);

    // A fingerprint that is not the device's confirms nothing.
    let wrong = "0".repeat(64);
    failed(kim.run(&["device", "confirm", "pump-1", "--fingerprint", &wrong]).await, 5, &["do not confirm"]);
    refused(fetch(&world, &pump, &index).await, Code::PermissionDenied, &pending);

    let shown = kim.json(&["device", "list"]).await.unwrap();
    let fingerprint = shown[0]["fingerprint"].as_str().unwrap().to_owned();
    kim.run(&["device", "confirm", "pump-1", "--fingerprint", &fingerprint, "--yes"]).await.unwrap();
    assert!(fetch(&world, &pump, &index).await.unwrap() > 0);
    calls.get_target(target.clone()).await.unwrap();

    // Revoked: nothing, on the connection that was open as on a new one.
    kim.run(&["device", "revoke", "pump-1", "--reason", "lost"]).await.unwrap();
    let revoked = ["revoked", "ask for a new token"];
    refused(fetch(&world, &pump, &index).await, Code::Unauthenticated, &revoked);
    refused(calls.get_target(target).await, Code::Unauthenticated, &revoked);
    refused(calls.check_in(v1::CheckInRequest::default()).await, Code::Unauthenticated, &revoked);
    let renewal = v1::RenewRequest { csr: newcomer.csr().into() };
    refused(calls.renew(renewal).await, Code::Unauthenticated, &revoked);
}
on_both!(a_device_gets_nothing_before_it_is_confirmed_and_after_it_is_revoked, super::not_yet_and_no_longer);
