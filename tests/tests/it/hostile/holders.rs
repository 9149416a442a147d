//! What each thief gets who has stolen less than the server.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use suture_agent::identity::Identity;
use suture_core::clock::Clock as _;
use suture_core::decision::{Choice, Decision, Stated};
use suture_core::phase::Phase;
use suture_core::report::{Report, Running, Took};
use suture_core::responsibility::Consent;
use suture_core::risk::{Assessment, Exploitability, Group, Likelihood, Severity, Treatment};
use suture_core::sign::{LocalKey, PublicKey, Signer as _};
use suture_core::version::Release;
use suture_core::word::Word;
use suture_proto::v1;
use suture_server::rights::{Role, TABLE};
use suture_tests::hostile::{Loot, Repo, sign};
use suture_tests::world::{Device, HDO};
use tonic::{Code, Status};
use zeroize::Zeroizing;

use crate::hospital::Hospital;

/// Everything that devices obey, by name.
async fn signed(hospital: &Hospital) -> BTreeMap<String, Vec<u8>> {
    let loot = Loot::take(&hospital.world, &[]).await;
    // The server signs its timestamps and snapshots anew as it likes.
    let files = |repo: Repo| {
        let offline = |name: &String| name.ends_with(".root.json") || name.ends_with(".targets.json");
        repo.metadata.into_iter().filter(move |(name, _)| offline(name)).chain(repo.targets)
    };
    files(loot.catalog).map(|(n, c)| (format!("catalog/{n}"), c)).chain(files(loot.approvals)).collect()
}

fn approvals(hdo: &str) -> Option<v1::Repository> {
    Some(v1::Repository { which: Some(v1::repository::Which::Approvals(hdo.to_owned())) })
}

fn catalog() -> Option<v1::Repository> {
    Some(v1::Repository { which: Some(v1::repository::Which::Catalog(true)) })
}

/// Calls of an operator's whose only effect is that they answer.
const READS: &[&str] = &[
    "Renew",
    "WhoAmI",
    "GetOnlineKeys",
    "Refresh",
    "GetMetadata",
    "GetTarget",
    "FetchChunks",
    "ListBundles",
    "ListForks",
    "ListDevices",
    "GetDevice",
    "GetPlan",
    "ListReports",
    "ListRollouts",
    "GetRollout",
    "WatchRollout",
    "GetStops",
    "GetExposure",
    "ListExposedDevices",
    "ListAudit",
    "GetCheckpoint",
    "ProveAudit",
    "Watch",
    "Check",
    "ServerReflectionInfo",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hospital_operators_certificate() {
    let mut hospital = Hospital::open().await;
    let draft = hospital.draft().await;
    let (rollout, start, _) = hospital.approve(draft).await;
    let before = signed(&hospital).await;
    let thief = LocalKey::from_seed(&Zeroizing::new([66; 32]));
    let mut calls = hospital.world.operator_calls(Some(hospital.kim.identity())).await;
    let mut tried: BTreeSet<&str> = READS.iter().copied().collect();
    let mut refused = |name: &'static str, result: Result<(), Status>| {
        tried.insert(name);
        let status = result.expect_err(name);
        assert!(!matches!(status.code(), Code::Internal | Code::Unknown | Code::Unavailable), "{name}: {status}");
    };

    // What devices obey needs a key that the roots name, for every repository.
    let loot = Loot::take(&hospital.world, &[]).await;
    let theirs =
        [(catalog(), &loot.catalog), (approvals(HDO), &loot.approvals), (approvals("hilltop"), &loot.approvals)];
    for (repository, repo) in theirs {
        for keys in [&[&thief][..], &[]] {
            let mut forged = repo.clone();
            forged.publish(keys, loot.now, |_| {});
            let request = v1::PublishMetadataRequest {
                repository: repository.clone(),
                targets: forged.bytes(suture_core::trust::Role::Targets).to_vec().into(),
                ..Default::default()
            };
            refused("PublishMetadata", calls.publish_metadata(request).await.map(drop));
        }
        let mut root = repo.signed(suture_core::trust::Role::Root);
        root["version"] = serde_json::json!(repo.version(suture_core::trust::Role::Root) + 1);
        super::metadata::take_over(&mut root, &thief);
        let request =
            v1::PublishMetadataRequest { repository, roots: vec![sign(&root, &[&thief]).into()], ..Default::default() };
        refused("PublishMetadata", calls.publish_metadata(request).await.map(drop));
    }
    let id = rollout.parse().unwrap();
    let order = suture_core::approval::StopOrder::next(HDO.parse().unwrap(), id, None, true, loot.now).unwrap();
    let envelope = order.sign(&[&thief]).unwrap().into();
    refused("PublishStop", calls.publish_stop(v1::PublishStopRequest { envelope }).await.map(drop));
    let request = v1::ConfirmDeviceRequest { id: "pump-2".to_owned(), fingerprint: vec![7; 32].into() };
    refused("ConfirmDevice", calls.confirm_device(request).await.map(drop));

    // What the server keeps for itself can be spoilt: inventory, plans that nobody has signed, invitations, who is let in.
    let record = v1::DeviceRecord {
        id: "pump-9".to_owned(),
        product: "pump".to_owned(),
        hardware_id: "rev-b".to_owned(),
        ward: "er".to_owned(),
        ..Default::default()
    };
    calls.import_devices(v1::ImportDevicesRequest { devices: vec![record], dry_run: false }).await.unwrap();
    let expires_ms = (loot.now + SignedDuration::from_hours(1)).as_millisecond();
    let secret_sha256 = suture_core::digest::Digest::of(&[9; 32]).as_bytes().to_vec();
    let request = v1::CreateDeviceTokenRequest {
        device_id: "pump-9".to_owned(),
        secret_sha256: secret_sha256.clone().into(),
        expires_ms,
    };
    calls.create_device_token(request).await.unwrap();
    let request = v1::InviteOperatorRequest {
        name: "eve".to_owned(),
        secret_sha256: suture_core::digest::Digest::of(&[10; 32]).as_bytes().to_vec().into(),
        expires_ms,
    };
    calls.invite_operator(request).await.unwrap();
    let request = v1::RevokeDeviceRequest { id: "pump-2".to_owned(), reason: "x".to_owned() };
    calls.revoke_device(request).await.unwrap();
    calls.store_plan(v1::StorePlanRequest { plan: b"{}".to_vec().into() }).await.unwrap();
    // A transfer can be made to wait, until somebody looks: `suturectl transfer show`, and each change is in the audit.
    let nothing = v1::TransferLimits { rate_bits: Some(0), ..Default::default() };
    let limits = v1::SetTransferLimitsRequest { limits: Some(nothing), ..Default::default() };
    calls.set_transfer_limits(limits).await.unwrap();
    let found = calls.get_transfer_limits(v1::GetTransferLimitsRequest {}).await.unwrap().into_inner();
    assert_eq!(found.otherwise.and_then(|limits| limits.rate_bits), Some(0));
    calls.clear_transfer_limits(v1::ClearTransferLimitsRequest::default()).await.unwrap();
    // Security events can be read, and so can which devices are silent; when that is too long is on record.
    calls.list_events(v1::ListEventsRequest::default()).await.unwrap();
    calls.list_lost_devices(v1::ListLostDevicesRequest::default()).await.unwrap();
    calls.set_lost_after(v1::SetLostAfterRequest { secs: 86_400 }).await.unwrap();
    let manifest = suture_core::digest::Digest::of(&std::fs::read(hospital.second.dir.join("manifest.json")).unwrap());
    let decision = v1::RecordDecisionRequest {
        product: "pump".to_owned(),
        release: 2,
        manifest_sha256: manifest.as_bytes().to_vec().into(),
        choice: "declined".to_owned(),
        reason: "x".to_owned(),
        compensating: "x".to_owned(),
        review: loot.now.strftime("%Y-%m-%d").to_string(),
        ..Default::default()
    };
    // Not even a word on the record under the name of whose certificate it is: that takes kim's key too.
    let refused = calls.record_decision(decision.clone()).await.unwrap_err();
    assert_eq!((refused.code(), refused.message().contains("kim holds the key")), (Code::InvalidArgument, true));
    let own = LocalKey::from_seed(&Zeroizing::new([66; 32]));
    let stated = Stated {
        kind: "suture-decision".to_owned(),
        format: 1,
        hdo: HDO.parse().unwrap(),
        manifest_sha256: manifest,
        decision: Decision {
            product: "pump".parse().unwrap(),
            release: Release(2),
            plan_sha256: None,
            choice: Choice::Declined,
            reason: "x".to_owned(),
            compensating: "x".to_owned(),
            review: decision.review.parse().unwrap(),
        },
        key: own.public(),
        name: "kim".parse().unwrap(),
        decided_at: "2026-11-24T12:00:00Z".parse().unwrap(),
    };
    let forged = stated.sign(&own).unwrap().bytes().to_vec().into();
    let refused = calls.record_decision(v1::RecordDecisionRequest { signed: forged, ..decision }).await.unwrap_err();
    assert!(refused.message().contains("none that approves"), "{refused}");
    let decisions = v1::ListDecisionsRequest { all: true, ..Default::default() };
    let decisions = calls.list_decisions(decisions).await.unwrap().into_inner().decisions;
    assert!(decisions.is_empty());
    assert!(calls.list_proposals(v1::ListProposalsRequest::default()).await.unwrap().into_inner().proposals.is_empty());
    let statements = v1::GetStatementsRequest { rollout: rollout.clone() };
    assert_eq!(calls.get_statements(statements).await.unwrap().into_inner().statements.len(), 1);
    super::letters::thief(&hospital, &mut calls, &own).await;
    // A place in a ward's cap can be given back; the slots that are signed keep the cap.
    let back = v1::ReturnDeviceRequest { id: "pump-1".to_owned(), reason: "x".to_owned() };
    assert_eq!(calls.return_device(back).await.map(|found| found.into_inner().lease).ok().flatten(), None);
    // Nor on the register of risk, nor to an agreement: each takes kim's key.
    let kim: suture_core::id::OperatorName = "kim".parse().unwrap();
    let key = |key: &LocalKey| Some(key.public());
    let unsigned = Word::unsigned(&assessment(kim.clone(), None, loot.now)).unwrap();
    let request = v1::RecordRiskRequest { word: unsigned.bytes().to_vec().into() };
    let refused = calls.record_risk(request).await.unwrap_err();
    assert!(refused.message().contains("kim holds a key"), "{refused}");
    let forged = Word::sign(&assessment(kim.clone(), key(&own), loot.now), &own).unwrap();
    let request = v1::RecordRiskRequest { word: forged.bytes().to_vec().into() };
    let refused = calls.record_risk(request).await.unwrap_err();
    assert!(refused.message().contains("none that signs"), "{refused}");
    let lee = Word::unsigned(&assessment("lee".parse().unwrap(), None, loot.now)).unwrap();
    let request = v1::RecordRiskRequest { word: lee.bytes().to_vec().into() };
    assert!(calls.record_risk(request).await.unwrap_err().message().contains("lee's, and kim sends it"));
    let consent = Consent {
        kind: "suture-consent".to_owned(),
        format: 1,
        hdo: HDO.parse().unwrap(),
        product: "pump".parse().unwrap(),
        number: 1,
        agreement_sha256: manifest,
        key: key(&own),
        name: kim,
        consented_at: loot.now,
    };
    let consent = Word::sign(&consent, &own).unwrap();
    let request = v1::ConsentToAgreementRequest { word: consent.bytes().to_vec().into() };
    assert_eq!(calls.consent_to_agreement(request).await.unwrap_err().code(), Code::InvalidArgument);
    let register = v1::ListRisksRequest { after: 0, limit: 0 };
    assert!(calls.list_risks(register).await.unwrap().into_inner().risks.is_empty());
    let other =
        v1::ListAgreementsRequest { hdo: "hilltop".to_owned(), product: "pump".to_owned(), ..Default::default() };
    assert_eq!(calls.list_agreements(other).await.unwrap_err().code(), Code::PermissionDenied);
    // As a revocation, a device out of use is the hospital's own loss, and on record; devices that are approved are not touched.
    let request = v1::DecommissionDeviceRequest { id: "pump-9".to_owned(), reason: "x".to_owned() };
    calls.decommission_device(request).await.unwrap();
    // A device that waits for a person's check is let go by the approvers' signatures, of which the thief has none.
    let forged = v1::ReleaseDeviceRequest { envelope: b"{\"signatures\":[],\"signed\":{}}".to_vec().into() };
    assert_eq!(calls.release_device(forged).await.unwrap_err().code(), Code::InvalidArgument);
    let (id, reason) = (rollout.clone(), "x".to_owned());
    calls.pause_rollout(v1::PauseRolloutRequest { id: id.clone(), reason: reason.clone() }).await.unwrap();

    // The device waits, and that is all: what was signed is as it was.
    hospital.world.clock.set(start);
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(paused)");
    hospital.untouched();
    assert_eq!(signed(&hospital).await, before);
    calls.resume_rollout(v1::ResumeRolloutRequest { id: id.clone(), reason: reason.clone() }).await.unwrap();
    hospital.confirms(&rollout).await;
    assert!(calls.abort_rollout(v1::AbortRolloutRequest { id, reason }).await.is_err(), "it is complete");
    assert_eq!(signed(&hospital).await, before);

    // What comes of these stands in `colleague`: a colleague who is revoked, a rollout that is aborted while it runs.
    tried.extend(["RevokeOperator", "AbortRollout"]);
    tried.extend(super::letters::TRIED);
    tried.extend([
        "ImportDevices",
        "CreateDeviceToken",
        "StorePlan",
        "InviteOperator",
        "RevokeDevice",
        "PauseRollout",
        "ResumeRollout",
        "GetTransferLimits",
        "SetTransferLimits",
        "ClearTransferLimits",
        "ListEvents",
        "ListLostDevices",
        "SetLostAfter",
        "RecordDecision",
        "ListDecisions",
        "ListProposals",
        "GetStatements",
        "ReturnDevice",
        "ReleaseDevice",
        "RecordRisk",
        "ListRisks",
        "ConsentToAgreement",
        "ListAgreements",
        "DecommissionDevice",
    ]);
    let may = TABLE.iter().filter(|(_, roles)| roles.contains(&Role::HdoOperator));
    let untried: Vec<_> = may.filter(|(path, _)| !tried.contains(path.rsplit('/').next().unwrap())).collect();
    assert!(untried.is_empty(), "a thief may call these too; try what comes of it: {untried:?}");
}

/// That the risk of every pump is accepted.
fn assessment(name: suture_core::id::OperatorName, key: Option<PublicKey>, now: jiff::Timestamp) -> Assessment {
    Assessment {
        kind: "suture-risk".to_owned(),
        format: 1,
        hdo: HDO.parse().unwrap(),
        number: 1,
        previous: None,
        group: Group {
            product: "pump".parse().unwrap(),
            releases: None,
            wards: BTreeSet::new(),
            labels: Default::default(),
            devices: BTreeSet::new(),
        },
        hazard: "x".to_owned(),
        likelihood: Likelihood::Remote,
        severity: Severity::Minor,
        exploitability: Exploitability::Low,
        treatment: Treatment::Acceptance,
        reason: "x".to_owned(),
        compensating: vec!["x".to_owned()],
        reviewer: "x".to_owned(),
        expires: suture_core::clock::day_of(now),
        key,
        name,
        assessed_at: now,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enrolment_token() {
    let mut hospital = Hospital::open().await;
    let csv = hospital.world.path("more.csv");
    std::fs::write(&csv, "id,product,hardware,ward,serial,udi\npump-3,pump,rev-a,icu,SN-3,UDI-3\n").unwrap();
    hospital.kim.run(&["device", "import", "--csv", csv.to_str().unwrap()]).await.unwrap();
    let token = hospital.kim.json(&["device", "token", "pump-3"]).await.unwrap();
    let draft = hospital.draft().await;
    let (rollout, start, _) = hospital.approve(draft).await;
    let identity = hospital.world.enroll(token["token"].as_str().unwrap(), "pump-3").await.unwrap();
    let mut calls = hospital.world.device_calls(Some(identity)).await;
    let heard = calls.check_in(v1::CheckInRequest::default()).await.unwrap().into_inner();
    assert!(!heard.confirmed && heard.words.is_empty() && heard.news.is_none(), "{heard:?}");

    // It reads nothing, and what it says opens no gate.
    let metadata = v1::GetMetadataRequest { repository: approvals(HDO), name: "timestamp.json".to_owned() };
    assert_eq!(calls.get_metadata(metadata).await.unwrap_err().code(), Code::PermissionDenied);
    let target = v1::GetTargetRequest { repository: catalog(), name: "x".to_owned() };
    assert_eq!(calls.get_target(target).await.map(drop).unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(calls.refresh(v1::RefreshRequest::default()).await.unwrap_err().code(), Code::PermissionDenied);
    let chunks = calls.fetch_chunks(v1::FetchChunksRequest::default()).await.map(drop);
    assert_eq!(chunks.unwrap_err().code(), Code::PermissionDenied);
    let key = LocalKey::from_seed(&Zeroizing::new([7; 32]));
    let lie = claim(&hospital, "pump-3", 1, &rollout).sign(&key).unwrap();
    let reports = v1::SubmitReportsRequest { reports: vec![(&lie).into()] };
    assert_eq!(calls.submit_reports(reports).await.unwrap_err().code(), Code::PermissionDenied);

    hospital.world.clock.set(start);
    hospital.confirms(&rollout).await;
}

/// That a device runs what was approved, and is in order.
fn claim(hospital: &Hospital, device: &str, number: u64, rollout: &str) -> Report {
    let step = hospital.second.step();
    Report {
        kind: Report::TYPE.to_owned(),
        hdo: HDO.parse().unwrap(),
        device: device.parse().unwrap(),
        number,
        at: hospital.world.clock.now(),
        product: step.product.clone(),
        running: Running { version: "1.1.0".parse().unwrap(), release: step.release, manifest: step.sha256 },
        approval: Some(rollout.parse().unwrap()),
        manifest: Some(step.sha256),
        phase: Phase::Confirmed,
        reason: None,
        stop: None,
        permanent: false,
        integrity: None,
        sources: None,
        took: Took::default(),
        catalog: None,
        approvals: None,
        record: None,
        log: None,
    }
}

/// The certificate and the keys of a device, in a thief's hands.
fn identity(pump: &Device) -> Identity {
    Identity::open(&pump.dir.join("state")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_devices_identity() {
    let hospital = Hospital::open().await;
    let draft = hospital.world.draft(&hospital.kim, &["--bundle", "pump@2", "--wave", "rest:signed"]).await;
    let (rollout, ..) = hospital.approve(draft).await;
    let open = ["rollout", "open", &rollout, "--wave", "1", "--reason", "Dr. Novak has seen it run"];
    hospital.kim.run(&open).await.unwrap();
    let stolen = identity(&hospital.pumps[0]);
    let way = stolen.ways().unwrap().way().unwrap();
    let proxy = suture_proto::connect::ProxyRules::none();
    let settings = stolen.connection(way, hospital.world.clock.clone(), proxy).unwrap();
    let mut calls = hospital.world.device_calls(settings.identity.clone()).await;

    // Other hospitals' approvals, and everything that is not for devices, under whatever name.
    let metadata = |hdo: &str| v1::GetMetadataRequest { repository: approvals(hdo), name: "timestamp.json".to_owned() };
    assert_eq!(calls.get_metadata(metadata("hilltop")).await.unwrap_err().code(), Code::PermissionDenied);
    let loot = Loot::take(&hospital.world, &[]).await;
    let (mut read, mut kept) = (Vec::new(), BTreeSet::new());
    for name in loot.approvals.targets.keys() {
        let request = v1::GetTargetRequest { repository: approvals(""), name: name.clone() };
        match calls.get_target(request).await {
            Ok(answer) => {
                let mut stream = answer.into_inner();
                while let Some(piece) = stream.message().await.unwrap() {
                    read.extend_from_slice(&piece.content);
                }
            }
            Err(status) => {
                assert!(matches!(status.code(), Code::PermissionDenied | Code::NotFound), "{name}: {status}");
                kept.insert(name.split('/').next().unwrap().to_owned());
            }
        }
    }
    let kinds: Vec<&str> = kept.iter().map(String::as_str).collect();
    for hidden in ["calendars", "gate-notes", "operator", "rosters"] {
        assert!(kinds.contains(&hidden), "a device reads {hidden}: {kinds:?} alone are kept from it");
    }
    // No person, ward, serial number or reason in all that it may read.
    let read = String::from_utf8_lossy(&read).into_owned();
    assert!(read.contains("pump-1"), "its own approval at least");
    // Which waves are open it may know, of any approval: their numbers, when, and a note's digest. Not who, nor why.
    assert!(read.contains("suture-gates"), "a gate that it could not read would stay shut");
    for name in ["kim", "icu", "SN-pump", "UDI-pump", "a mistake", "report_key", "Novak"] {
        assert!(!read.contains(name), "a device reads {name:?}");
    }

    // It is no operator.
    let mut operators = hospital.world.operator_calls(settings.identity).await;
    assert_eq!(operators.who_am_i(v1::WhoAmIRequest {}).await.unwrap_err().code(), Code::PermissionDenied);
    let listed = operators.list_devices(v1::ListDevicesRequest::default()).await;
    assert_eq!(listed.unwrap_err().code(), Code::PermissionDenied);

    // Its lies are its own: none of another device, signed as it may be.
    let mut say = async |device: &str, number, key: &dyn suture_core::sign::Signer| {
        let report = claim(&hospital, device, number, &rollout).sign(key).unwrap();
        calls.submit_reports(v1::SubmitReportsRequest { reports: vec![(&report).into()] }).await
    };
    let next = 1_000;
    assert_eq!(say("pump-2", next, stolen.report_key()).await.unwrap_err().code(), Code::InvalidArgument);
    let own = LocalKey::from_seed(&Zeroizing::new([66; 32]));
    assert_eq!(say("pump-1", next, &own).await.unwrap_err().code(), Code::InvalidArgument);
    say("pump-1", next, stolen.report_key()).await.unwrap();
    let shown = hospital.kim.json(&["rollout", "show", &rollout]).await.unwrap();
    let phases: BTreeMap<_, _> =
        shown["devices"].as_array().unwrap().iter().map(|d| (d["id"].as_str().unwrap(), &d["phase"])).collect();
    assert_eq!((phases["pump-1"], phases["pump-2"]), (&"confirmed".into(), &"offered".into()), "{shown}");
    assert_ne!(own.public(), stolen.report_key().public());
}
