//! The server on a real port, seen through real TLS.

mod decisions;
mod held;
mod lists;

use std::sync::Mutex;

use jiff::SignedDuration;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use suture_core::principal::Principal;
use suture_core::trust::Role;
use suture_proto::Repository;
use suture_proto::connect::{self, Identity, ProxyRules, Trust};
use suture_proto::v1::{GetMetadataRequest, HeldMetadata, RefreshRequest, WhoAmIRequest};
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;
use crate::config::Written;
use crate::identity::{Csr, Issued};
use crate::store::Driver;
use crate::store::events::Of;

struct ManualClock(Mutex<Timestamp>);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

struct World {
    app: Arc<App>,
    clock: Arc<ManualClock>,
    address: String,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), AppError>>,
    dir: tempfile::TempDir,
}

impl World {
    async fn start(max_connections: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut written = Written::default();
        written.flag("data_dir", dir.path().join("data").to_str().unwrap());
        written.flag("address", "https://localhost:7443");
        written.flag("trust_domain", "acme.example");
        written.flag("max_connections", max_connections);
        written.flag("drain_secs", "2");
        let settings = Settings::of(written).unwrap();
        let clock = Arc::new(ManualClock(Mutex::new("2026-11-24T15:00:00Z".parse().unwrap())));
        crate::init::init(&settings, &"ada".parse().unwrap(), clock.now()).await.unwrap();
        Self::run(settings, clock, dir).await
    }

    async fn run(settings: Settings, clock: Arc<ManualClock>, dir: tempfile::TempDir) -> Self {
        let app = App::open(settings, clock.clone()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(app.clone().serve(listener, shutdown.clone()));
        Self { app, clock, address, shutdown, serving, dir }
    }

    fn later(&self, secs: i64) {
        *self.clock.0.lock().unwrap() += SignedDuration::from_secs(secs);
    }

    /// An operator with a certificate that is on record.
    async fn operator(&self) -> Identity {
        self.joined(&Principal::Mdm("ada".parse().unwrap())).await
    }

    /// Somebody of that name, of a hospital that is there, or of the manufacturer.
    async fn joined(&self, principal: &Principal) -> Identity {
        let (issued, key) = self.issued(principal).await;
        connect::identity(issued.chain, PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())))
    }

    /// The same, with what is on record of the certificate.
    async fn issued(&self, principal: &Principal) -> (Issued, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap();
        let csr = Csr::read(csr.der()).unwrap();
        let name = match principal {
            Principal::Mdm(name) | Principal::Operator(_, name) => name,
            other => panic!("{other} is no operator"),
        };
        let issued = self.app.authority().issue(&csr, principal, self.app.now()).unwrap();
        let mut tx = self.app.store().begin().await.unwrap();
        tx.join_operator(principal.hdo(), name, self.app.now()).await.unwrap();
        tx.insert_certificate(&issued.certificate).await.unwrap();
        tx.commit().await.unwrap();
        (issued, key)
    }

    async fn connect(&self, identity: Option<Identity>) -> Result<Channel, connect::ConnectError> {
        let settings = connect::Settings {
            address: self.address.clone(),
            trust: Trust::Cas(vec![CertificateDer::from(self.app.authority().certificate().to_vec())]),
            identity,
            proxy: ProxyRules::none(),
            clock: self.clock.clone(),
        };
        connect::connect(&settings).await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

async fn health(channel: Channel) -> Result<(), tonic::Status> {
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.map(drop)
}

/// The status of a call that an operator may make; none once handlers answer it.
async fn who_am_i(channel: &Channel) -> Option<Code> {
    connect::operator_client(channel.clone()).who_am_i(WhoAmIRequest {}).await.err().map(|status| status.code())
}

const REFUSED: [Option<Code>; 2] = [Some(Code::Unauthenticated), Some(Code::PermissionDenied)];

#[tokio::test]
async fn without_a_certificate_only_what_is_for_everybody_is_answered() {
    let world = World::start("16").await;
    let channel = world.connect(None).await.unwrap();
    health(channel.clone()).await.unwrap();
    assert_eq!(who_am_i(&channel).await, Some(Code::Unauthenticated));
    world.stop().await;
}

#[tokio::test]
async fn a_revocation_reaches_a_connection_that_is_open() {
    let world = World::start("16").await;
    let channel = world.connect(Some(world.operator().await)).await.unwrap();
    assert!(!REFUSED.contains(&who_am_i(&channel).await));
    let mut tx = world.app.store().begin().await.unwrap();
    tx.revoke_operator(None, &"ada".parse().unwrap(), world.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(who_am_i(&channel).await, Some(Code::Unauthenticated));
    world.stop().await;
}

#[tokio::test]
async fn an_expired_certificate_shakes_hands_within_its_grace_and_is_told_to_renew() {
    let world = World::start("16").await;
    let identity = world.operator().await;
    let open = world.connect(Some(identity.clone())).await.unwrap();
    world.later(suture_core::limits::CERTIFICATE_SECS + 1);
    assert_eq!(who_am_i(&open).await, Some(Code::PermissionDenied), "on the old connection");
    let fresh = world.connect(Some(identity.clone())).await.unwrap();
    assert_eq!(who_am_i(&fresh).await, Some(Code::PermissionDenied), "on a new one");

    world.later(suture_core::limits::RENEWAL_GRACE_SECS);
    world.app.tls.renew(world.app.now()).unwrap();
    let refused = match world.connect(Some(identity)).await {
        Ok(channel) => who_am_i(&channel).await.is_some(),
        Err(_) => true,
    };
    assert!(refused, "beyond its grace");
    world.stop().await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_does_not_shake_hands() {
    let (world, other) = (World::start("16").await, World::start("16").await);
    let stranger = other.operator().await;
    let refused = match world.connect(Some(stranger)).await {
        Ok(channel) => health(channel).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    world.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn who_stays_silent_holds_up_nobody_but_itself() {
    let world = World::start("2").await;
    // One place is taken by a client that never speaks; the other serves.
    let port = world.address.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let silent = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    health(world.connect(None).await.unwrap()).await.unwrap();
    drop(silent);
    world.stop().await;
}

/// Attack: connections that do nothing, until nobody else gets one.
#[tokio::test]
async fn where_every_place_is_taken_the_quietest_gives_its_own() {
    let world = World::start("3").await;
    let identity = world.operator().await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let channel = world.connect(Some(identity.clone())).await.unwrap();
        health(channel.clone()).await.unwrap();
        open.push(channel);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_stopped_server_has_closed_its_database_and_opens_again() {
    let world = World::start("16").await;
    let open = world.connect(None).await.unwrap();
    health(open.clone()).await.unwrap();
    let (settings, clock, dir) = (world.app.settings().clone(), world.clock.clone(), world.dir);
    world.shutdown.cancel();
    world.serving.await.unwrap().unwrap();
    assert!(health(open).await.is_err());
    assert!(world.app.store().ping().await.is_err());
    App::open(settings, clock).await.unwrap().store().ping().await.unwrap();
    drop(dir);
}

#[tokio::test]
async fn init_leaves_a_server_that_is_there_alone() {
    let world = World::start("16").await;
    let again = crate::init::init(world.app.settings(), &"eve".parse().unwrap(), world.app.now()).await;
    assert!(matches!(again, Err(crate::init::InitError::Exists(_))));
    world.stop().await;
}

/// The security events that the server keeps: kind, whom they are about, how often.
async fn told(app: &App) -> Vec<(Kind, String, u64)> {
    events::keep::flush(app.events(), app.store(), app.now()).await;
    let mut tx = app.store().read().await.unwrap();
    let kept = tx.events_after(Of::All, 0, None, 1_000).await.unwrap();
    let told = kept.into_iter().map(|kept| kept.event);
    told.map(|event| (event.what.kind, event.what.subject, event.count)).collect()
}

#[tokio::test]
async fn what_is_refused_is_a_security_event_and_its_mark_never_leaves_the_server() {
    let world = World::start("16").await;
    let anonymous = connect::operator_client(world.connect(None).await.unwrap());
    for _ in 0..3 {
        let refused = anonymous.clone().who_am_i(WhoAmIRequest {}).await.unwrap_err();
        assert!(refused.metadata().get("suture-event").is_none(), "{refused:?}");
    }
    let mut joining = anonymous.clone();
    let token = suture_proto::v1::JoinRequest { secret: vec![1; 32].into(), ..csr() };
    assert_eq!(joining.join(token).await.unwrap_err().code(), Code::Unauthenticated);
    let identity = world.operator().await;
    let ada = world.connect(Some(identity)).await.unwrap();
    let mut tx = world.app.store().begin().await.unwrap();
    tx.revoke_operator(None, &"ada".parse().unwrap(), world.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    who_am_i(&ada).await.unwrap();
    let mut told = told(&world.app).await;
    told.sort();
    let here = "127.0.0.1".to_owned();
    assert_eq!(
        told,
        [
            (Kind::CertificateRevoked, "mdm/ada".to_owned(), 1),
            (Kind::CallForbidden, here.clone(), 3),
            (Kind::TokenRefused, here, 1),
        ]
    );
    world.stop().await;
}

/// Attack: somebody who edits the database.
#[tokio::test]
async fn metadata_altered_where_they_are_kept_are_a_security_event_and_whoever_asks_hears_so() {
    let world = World::start("16").await;
    let mut tx = world.app.store().begin().await.unwrap();
    tx.put_repo_file("catalog", Role::Root, 1, b"as it was signed", world.app.now()).await.unwrap();
    let Driver::Sqlite(c) = tx.driver() else { unreachable!() };
    sqlx::query("UPDATE repo_file SET content = X'00'").execute(c).await.unwrap();
    tx.commit().await.unwrap();
    let identity = world.operator().await;
    let mut ada = connect::operator_client(world.connect(Some(identity)).await.unwrap());
    let held = RefreshRequest { catalog: Some(HeldMetadata::default()), approvals: None };
    let file = GetMetadataRequest { repository: Some((&Repository::Catalog).into()), name: "1.root.json".to_owned() };
    for refused in [ada.refresh(held).await.unwrap_err(), ada.get_metadata(file).await.unwrap_err()] {
        assert_eq!(refused.code(), Code::DataLoss, "{refused:?}");
        assert!(refused.message().contains("1.root.json of catalog was altered"), "{refused:?}");
    }
    assert_eq!(told(&world.app).await, [(Kind::MetadataRefused, "catalog/1.root.json".to_owned(), 2)]);
    world.stop().await;
}

/// Attack: nobody's calls with tokens that were made up, until nobody else can write.
#[tokio::test]
async fn a_token_that_was_made_up_waits_in_no_line_of_those_who_write() {
    let world = World::start("16").await;
    let mut anonymous = connect::operator_client(world.connect(None).await.unwrap());
    let writer = world.app.store().begin().await.unwrap();
    let token = suture_proto::v1::JoinRequest { secret: vec![1; 32].into(), ..csr() };
    assert_eq!(anonymous.join(token).await.unwrap_err().code(), Code::Unauthenticated);
    drop(writer);
    world.stop().await;
}

/// Attack: a thief of a certificate who says without end what is kept for ever, each time as long as it may be.
#[tokio::test]
async fn what_an_organisation_says_in_a_day_has_a_bound_in_bytes() {
    let world = World::start("16").await;
    let hdo: suture_core::id::HdoId = "riverside".parse().unwrap();
    let mut tx = world.app.store().begin().await.unwrap();
    tx.insert_hdo(&hdo, "Riverside", world.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    let agreement = |product: &str| suture_core::responsibility::Agreement {
        kind: "suture-agreement".to_owned(),
        format: 1,
        hdo: hdo.clone(),
        product: product.parse().unwrap(),
        number: 1,
        previous: None,
        cells: Vec::new(),
        from: "2027-01-01".parse().unwrap(),
        until: None,
        reason: "as usual".to_owned(),
        key: None,
        name: "ada".parse().unwrap(),
        proposed_at: world.app.now(),
    };
    let mut ada = connect::operator_client(world.connect(Some(world.operator().await)).await.unwrap());
    let request = |product: &str| {
        let word = suture_core::word::Word::unsigned(&agreement(product)).unwrap();
        suture_proto::v1::ProposeAgreementRequest { word: word.bytes().to_vec().into() }
    };
    assert_eq!(ada.propose_agreement(request("pump")).await.unwrap().into_inner().number, 1);
    let mut tx = world.app.store().begin().await.unwrap();
    let day = world.app.now().as_second() / 86_400;
    tx.count_written("said/manufacturer", day, 1 << 40).await.unwrap();
    tx.commit().await.unwrap();
    let refused = ada.propose_agreement(request("monitor")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    world.later(9 * 3_600);
    assert_eq!(ada.propose_agreement(request("monitor")).await.unwrap().into_inner().number, 1, "the next day");
    world.stop().await;
}

/// Attack: whole documents that many ask for, and take piece by piece as slowly as they may.
#[tokio::test]
async fn a_document_that_is_sent_in_pieces_counts_as_a_whole_while_it_is_sent() {
    let world = World::start("16").await;
    let content = vec![7; 4 << 20];
    let catalog = Repository::Catalog;
    let mut tx = world.app.store().begin().await.unwrap();
    let readers = crate::store::repository::Readers::Operators;
    tx.put_target_file(&catalog.to_string(), "notes", &content, readers, world.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    let mut ada = connect::operator_client(world.connect(Some(world.operator().await)).await.unwrap());
    let request = suture_proto::v1::GetTargetRequest { repository: Some((&catalog).into()), name: "notes".to_owned() };
    let mut answer = ada.get_target(request).await.unwrap().into_inner();
    let held = world.app.rights().calls().held_for(&Principal::Mdm("ada".parse().unwrap()));
    assert!(held >= content.len() as u64, "{held}");
    let mut read = 0;
    while let Some(piece) = answer.message().await.unwrap() {
        read += piece.content.len();
    }
    assert_eq!(read, content.len());
    world.stop().await;
}

/// Attack: whoever finds the invitation of a hospital that was lost, and for which another was made.
#[tokio::test]
async fn once_a_hospital_has_joined_no_earlier_invitation_lets_anybody_in_beside_it() {
    let world = World::start("16").await;
    let mut ada = connect::operator_client(world.connect(Some(world.operator().await)).await.unwrap());
    let mut anonymous = connect::operator_client(world.connect(None).await.unwrap());
    let expires_ms = (world.app.now() + SignedDuration::from_hours(1)).as_millisecond();
    let invite = |secret: u8| suture_proto::v1::InviteHdoRequest {
        hdo: "riverside".to_owned(),
        name: "Riverside".to_owned(),
        secret_sha256: suture_core::digest::Digest::of(&[secret; 32]).as_bytes().to_vec().into(),
        expires_ms,
    };
    let join = |secret: u8, name: &str| suture_proto::v1::JoinRequest {
        secret: vec![secret; 32].into(),
        name: name.to_owned(),
        ..csr()
    };
    for secret in [1, 2] {
        ada.invite_hdo(invite(secret)).await.unwrap();
    }
    anonymous.join(join(2, "kim")).await.unwrap();
    assert_eq!(anonymous.join(join(1, "eve")).await.unwrap_err().code(), Code::Unauthenticated);
    // Nor does the manufacturer get into one that has lost all of its operators.
    let mut tx = world.app.store().begin().await.unwrap();
    let (hdo, kim) = ("riverside".parse().unwrap(), "kim".parse().unwrap());
    assert!(tx.revoke_operator(Some(&hdo), &kim, world.app.now()).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(ada.invite_hdo(invite(3)).await.unwrap_err().code(), Code::AlreadyExists);
    world.stop().await;
}

/// Attack: inventories that are imported without end, only to look at what would change, by people of a hospital's own making.
#[tokio::test]
async fn a_hospital_imports_one_inventory_at_a_time_and_keeps_no_other_from_it() {
    let world = World::start("16").await;
    let mut hospitals = Vec::new();
    for hdo in ["riverside", "hill"] {
        let kim = Principal::Operator(hdo.parse().unwrap(), "kim".parse().unwrap());
        let mut tx = world.app.store().begin().await.unwrap();
        tx.insert_hdo(kim.hdo().unwrap(), hdo, world.app.now()).await.unwrap();
        tx.commit().await.unwrap();
        let calls = connect::operator_client(world.connect(Some(world.joined(&kim).await)).await.unwrap());
        hospitals.push((kim, calls));
    }
    let import = |mut calls: suture_proto::v1::operator_service_client::OperatorServiceClient<_>| {
        tokio::spawn(async move {
            let nothing = suture_proto::v1::ImportDevicesRequest { devices: Vec::new(), dry_run: true };
            calls.import_devices(nothing).await.unwrap();
        })
    };
    let [(riverside, theirs), (_, others)] = &hospitals[..] else { unreachable!("there are two") };
    let under_way = world.app.turns().wait_of(riverside).await;
    let waits = import(theirs.clone());
    import(others.clone()).await.unwrap();
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!waits.is_finished());
    drop(under_way);
    waits.await.unwrap();
    world.stop().await;
}

/// A request to join by a key that is good.
fn csr() -> suture_proto::v1::JoinRequest {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap();
    suture_proto::v1::JoinRequest { csr: csr.der().to_vec().into(), name: "eve".to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_handshake_that_fails_is_a_security_event() {
    let (world, other) = (World::start("16").await, World::start("16").await);
    let stranger = other.operator().await;
    if let Ok(channel) = world.connect(Some(stranger)).await {
        health(channel).await.unwrap_err();
    }
    // The refusal is told by the task that shook hands, which may end after the client has.
    let told = loop {
        let told = told(&world.app).await;
        if !told.is_empty() {
            break told;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((told[0].0, told[0].1.as_str()), (Kind::HandshakeRefused, "127.0.0.1"));
    world.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_start_tells_how_the_last_run_ended_and_whether_the_settings_are_others() {
    let world = World::start("16").await;
    let (mut settings, clock) = (world.app.settings().clone(), world.clock.clone());
    assert_eq!(told(&world.app).await, [], "the very first start");
    world.shutdown.cancel();
    world.serving.await.unwrap().unwrap();
    let mut dir = Some(world.dir);
    let mut run = async |settings: &Settings, ends: bool| {
        let world = World::run(settings.clone(), clock.clone(), dir.take().unwrap()).await;
        health(world.connect(None).await.unwrap()).await.unwrap();
        let told = told(&world.app).await;
        if ends {
            world.shutdown.cancel();
            world.serving.await.unwrap().unwrap();
        } else {
            world.serving.abort();
        }
        dir = Some(world.dir);
        let mut kinds: Vec<_> = told.into_iter().map(|(kind, _, count)| (kind, count)).collect();
        kinds.sort();
        kinds
    };
    assert_eq!(run(&settings, false).await, [(Kind::Restarted, 1)]);
    assert_eq!(run(&settings, true).await, [(Kind::Restarted, 1), (Kind::RestartedUnexpectedly, 1)]);
    settings.max_connections += 1;
    let all = [(Kind::Restarted, 2), (Kind::RestartedUnexpectedly, 1), (Kind::ConfigurationChanged, 1)];
    assert_eq!(run(&settings, true).await, all);
}
