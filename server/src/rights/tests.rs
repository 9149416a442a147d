//! Every call by every role, against the table and against what the table must never say.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, HdoId, OperatorName};
use suture_core::sign::{LocalKey, Signer as _};
use tonic::Code;
use tower::ServiceExt as _;
use zeroize::Zeroizing;

use super::*;
use crate::store::certificates::Certificate;
use crate::store::devices::Enrolment;
use crate::store::suite::in_intensive_care;

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn now() -> Timestamp {
    "2026-11-24T15:00:00Z".parse().unwrap()
}

/// Every path of our services, from their descriptors.
fn ours() -> BTreeSet<String> {
    let set = prost_types::FileDescriptorSet::decode(suture_proto::DESCRIPTORS).unwrap();
    let mut paths = BTreeSet::new();
    for file in set.file {
        for service in &file.service {
            for method in &service.method {
                paths.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    assert!(paths.len() > 30, "{}", paths.len());
    paths
}

struct Scene {
    _dir: tempfile::TempDir,
    store: Store,
    rights: Rights,
}

fn hdo() -> HdoId {
    "riverside".parse().unwrap()
}

fn name(text: &str) -> OperatorName {
    text.parse().unwrap()
}

fn device(text: &str) -> DeviceId {
    text.parse().unwrap()
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}", dir.path().join("suture.db").display())).await.unwrap();
        let rights = Rights::new(store.clone(), Arc::new(At(now())), Events::default());
        let mut tx = store.begin().await.unwrap();
        tx.insert_hdo(&hdo(), "Riverside", now()).await.unwrap();
        tx.join_operator(None, &name("ada"), now()).await.unwrap();
        tx.join_operator(Some(&hdo()), &name("kim"), now()).await.unwrap();
        let key = LocalKey::from_seed(&Zeroizing::new([1; 32])).public();
        for id in ["active", "pending"] {
            let record = in_intensive_care(device(id));
            tx.import_devices(&hdo(), &[record], now()).await.unwrap();
            let fingerprint = Digest::of(id.as_bytes());
            let enrolment = Enrolment { fingerprint: &fingerprint, report_key: &key, now: now() };
            assert!(tx.enroll_device(&hdo(), &device(id), enrolment).await.unwrap());
        }
        assert!(tx.confirm_device(&hdo(), &device("active"), &Digest::of(b"active"), now()).await.unwrap());
        tx.commit().await.unwrap();
        Self { _dir: dir, store, rights }
    }

    /// A certificate that ends `secs` from now, on record.
    async fn peer(&self, principal: Principal, secs: i64) -> Arc<Peer> {
        let not_after = now() + SignedDuration::from_secs(secs);
        let spki = Digest::of(principal.to_string().as_bytes());
        let serial = Digest::of(format!("{principal} {secs}").as_bytes()).as_bytes()[..16].to_vec();
        let certificate =
            Certificate { serial: serial.clone(), principal: principal.clone(), spki, issued: now(), not_after };
        let mut tx = self.store.begin().await.unwrap();
        tx.insert_certificate(&certificate).await.unwrap();
        tx.commit().await.unwrap();
        Arc::new(Peer { principal, serial, spki, not_after })
    }

    async fn caller(&self, role: Role) -> Option<Arc<Peer>> {
        let (principal, secs) = match role {
            Anonymous => return None,
            ExpiredDevice => (Principal::Device(hdo(), device("active")), -1),
            ExpiredOperator => (Principal::Operator(hdo(), name("kim")), -1),
            PendingDevice => (Principal::Device(hdo(), device("pending")), 60),
            Device => (Principal::Device(hdo(), device("active")), 60),
            HdoOperator => (Principal::Operator(hdo(), name("kim")), 60),
            MdmOperator => (Principal::Mdm(name("ada")), 60),
        };
        Some(self.peer(principal, secs).await)
    }

    /// What a call comes to, through the layer, over a service that says yes to everything and names whom it saw.
    async fn call(&self, path: &str, peer: Option<Arc<Peer>>) -> Result<Option<Principal>, Status> {
        let yes = tower::service_fn(|request: http::Request<Body>| async move {
            assert!(request.extensions().get::<PeerInfo>().is_none());
            let mut response = http::Response::new(Body::empty());
            response.extensions_mut().insert(request.extensions().get::<Caller>().map(|c| c.principal().clone()));
            Ok::<_, Infallible>(response)
        });
        let mut request = http::Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        request.extensions_mut().insert(PeerInfo { peer, held: None, from: None });
        let response = self.rights.layer(yes).oneshot(request).await.unwrap();
        match Status::from_header_map(response.headers()) {
            Some(status) => Err(status),
            None => Ok(response.extensions().get::<Option<Principal>>().unwrap().clone()),
        }
    }

    async fn code(&self, path: &str, peer: &Arc<Peer>) -> Option<Code> {
        self.call(path, Some(peer.clone())).await.err().map(|status| status.code())
    }
}

#[test]
fn every_call_has_one_row_and_no_row_is_without_its_call() {
    let rows: Vec<&str> = TABLE.iter().map(|(path, _)| *path).collect();
    let distinct: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(rows.len(), distinct.len(), "a path has two rows");
    let of_suture: BTreeSet<String> =
        rows.iter().filter(|path| path.starts_with("/suture.")).map(|path| (*path).to_owned()).collect();
    assert_eq!(of_suture, ours());
}

#[tokio::test]
async fn every_call_by_every_role_comes_to_what_the_table_says() {
    let scene = Scene::new().await;
    let paths: BTreeSet<String> = ours().into_iter().chain(TABLE.iter().map(|(path, _)| (*path).to_owned())).collect();
    for role in Role::ALL {
        let peer = scene.caller(role).await;
        for path in &paths {
            let allowed = TABLE.iter().any(|(row, roles)| row == path && roles.contains(&role));
            match scene.call(path, peer.clone()).await {
                Ok(seen) => {
                    assert!(allowed, "{role:?} {path}");
                    assert_eq!(seen, peer.as_ref().map(|peer| peer.principal.clone()), "{role:?} {path}");
                }
                Err(status) => {
                    assert!(!allowed, "{role:?} {path}: {status}");
                    let want = if role == Anonymous { Code::Unauthenticated } else { Code::PermissionDenied };
                    assert_eq!(status.code(), want, "{role:?} {path}");
                    assert!(!status.message().is_empty());
                }
            }
        }
    }
}

/// Not what the table says but what it may never say, whoever edits it.
#[test]
fn some_rights_nobody_may_ever_have() {
    for (path, roles) in TABLE.iter().filter(|(path, _)| path.starts_with("/suture.")) {
        let (service, call) = path.rsplit_once('/').unwrap();
        for role in *roles {
            let fits = match role {
                Anonymous => ["Enroll", "Join"].contains(&call),
                ExpiredDevice | ExpiredOperator => call == "Renew",
                PendingDevice => ["Renew", "CheckIn"].contains(&call),
                Device => service.ends_with("DeviceService"),
                HdoOperator => service.ends_with("OperatorService") && !["UploadChunks", "InviteHdo"].contains(&call),
                MdmOperator => {
                    service.ends_with("OperatorService") && !call.contains("Device") && !call.contains("Rollout")
                }
            };
            assert!(fits, "{role:?} may call {path}");
        }
        assert!(!roles.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_in_the_table_is_refused_to_everybody() {
    let scene = Scene::new().await;
    for role in Role::ALL {
        let peer = scene.caller(role).await;
        for path in ["/suture.v1.DeviceService/Nothing", "/", "/suture.v1.OperatorService/WhoAmI/", "/other.Service/X"]
        {
            let status = scene.call(path, peer.clone()).await.unwrap_err();
            assert_eq!(status.code(), Code::PermissionDenied, "{role:?} {path}");
        }
    }
}

const CHECK_IN: &str = "/suture.v1.DeviceService/CheckIn";
const RENEW: &str = "/suture.v1.DeviceService/Renew";
const WHO_AM_I: &str = "/suture.v1.OperatorService/WhoAmI";

#[tokio::test]
async fn a_revocation_holds_from_the_next_call_on() {
    let scene = Scene::new().await;
    let active = Principal::Device(hdo(), device("active"));
    let (old, kim) = (scene.peer(active.clone(), 60).await, scene.caller(HdoOperator).await.unwrap());
    assert_eq!((scene.code(CHECK_IN, &old).await, scene.code(WHO_AM_I, &kim).await), (None, None));

    let mut tx = scene.store.begin().await.unwrap();
    tx.revoke_certificates(&active, now()).await.unwrap();
    tx.revoke_operator(Some(&hdo()), &name("kim"), now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(scene.code(CHECK_IN, &old).await, Some(Code::Unauthenticated));
    assert_eq!(scene.code(RENEW, &old).await, Some(Code::Unauthenticated), "revoked ones do not renew");
    assert_eq!(scene.code(WHO_AM_I, &kim).await, Some(Code::Unauthenticated));

    let new = scene.peer(active, 61).await;
    assert_eq!(scene.code(CHECK_IN, &new).await, None, "the device itself is in good standing");
    let mut tx = scene.store.begin().await.unwrap();
    tx.revoke_device(&hdo(), &device("active"), now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(scene.code(CHECK_IN, &new).await, Some(Code::Unauthenticated));
}

#[tokio::test]
async fn an_expired_certificate_renews_within_its_grace_and_does_nothing_else() {
    let scene = Scene::new().await;
    let active = || Principal::Device(hdo(), device("active"));
    let last_second = scene.peer(active(), 0).await;
    assert_eq!(scene.code(CHECK_IN, &last_second).await, None);
    let within = scene.peer(active(), 1 - RENEWAL_GRACE_SECS).await;
    assert_eq!(scene.code(RENEW, &within).await, None);
    assert_eq!(scene.code(CHECK_IN, &within).await, Some(Code::PermissionDenied));
    let beyond = scene.peer(active(), -RENEWAL_GRACE_SECS).await;
    assert_eq!(scene.code(RENEW, &beyond).await, Some(Code::Unauthenticated));
}

#[tokio::test]
async fn a_certificate_that_the_server_never_issued_or_issued_to_another_is_worth_nothing() {
    let scene = Scene::new().await;
    let genuine = scene.caller(MdmOperator).await.unwrap();
    let foreign = Arc::new(Peer { serial: vec![1], ..(*genuine).clone() });
    assert_eq!(scene.code(WHO_AM_I, &foreign).await, Some(Code::Unauthenticated));
    let borrowed = Arc::new(Peer { principal: Principal::Operator(hdo(), name("kim")), ..(*genuine).clone() });
    assert_eq!(scene.code(WHO_AM_I, &borrowed).await, Some(Code::Unauthenticated));
    let server = scene.peer(Principal::Server, 60).await;
    assert_eq!(scene.code(WHO_AM_I, &server).await, Some(Code::Unauthenticated));
}

#[tokio::test]
async fn without_its_database_the_server_lets_nobody_through() {
    let scene = Scene::new().await;
    let peer = scene.caller(MdmOperator).await.unwrap();
    scene.store.close().await;
    assert_eq!(scene.code(WHO_AM_I, &peer).await, Some(Code::Unavailable));
}

/// Attack: one certificate, by which calls are begun whose answers nobody takes.
#[tokio::test]
async fn what_is_asked_at_once_beyond_the_bound_waits_until_an_answer_has_gone() {
    let scene = Scene::new().await;
    let peer = scene.caller(HdoOperator).await;
    // Not an empty one: of such nothing is in memory, and it gives its place back at once.
    let answer = |_: http::Request<Body>| async {
        Ok::<_, Infallible>(http::Response::new(Body::new(http_body_util::Full::from("held"))))
    };
    let service = scene.rights.clone().layer(tower::service_fn(answer));
    let call = || {
        let mut request = http::Request::new(Body::empty());
        *request.uri_mut() = "/suture.v1.OperatorService/ListReports".parse().unwrap();
        request.extensions_mut().insert(PeerInfo { peer: peer.clone(), ..PeerInfo::default() });
        service.clone().oneshot(request)
    };
    let mut answers = Vec::new();
    for _ in 0..suture_core::limits::MAX_CALLS_PER_IDENTITY {
        answers.push(call().await.unwrap());
    }
    let next = tokio::spawn(call());
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!next.is_finished());
    // Its place goes with the answer's body, not with its head.
    let (_, body) = answers.pop().unwrap().into_parts();
    drop(body);
    assert_eq!(next.await.unwrap().unwrap().status(), http::StatusCode::OK);
}

/// Reads a request to its end, as a handler's does before it runs.
async fn read(request: http::Request<Body>) -> Result<http::Response<Body>, Infallible> {
    let read = request.into_body().collect().await;
    Ok(read.map_or_else(Status::into_http, |_| http::Response::new(Body::empty())))
}

/// Attack: a call whose headers come before the caller's revocation, and whose message after it.
#[tokio::test]
async fn a_call_that_is_held_open_is_refused_once_its_caller_is_revoked() {
    let mut scene = Scene::new().await;
    scene.rights.fresh = Duration::ZERO;
    let peer = scene.caller(HdoOperator).await;
    let let_through = Arc::new(AtomicBool::new(false));
    let whole = {
        let let_through = let_through.clone();
        move |request: http::Request<Body>| {
            let_through.store(true, Ordering::Release);
            read(request)
        }
    };
    let service = scene.rights.clone().layer(tower::service_fn(whole));
    let (rest, mut waits) = tokio::sync::mpsc::unbounded_channel::<()>();
    let said = futures::stream::once(async move {
        waits.recv().await;
        Ok::<_, Status>(hyper::body::Frame::data(bytes::Bytes::from_static(b"the rest")))
    });
    let mut request = http::Request::new(Body::new(http_body_util::StreamBody::new(said)));
    *request.uri_mut() = WHO_AM_I.parse().unwrap();
    request.extensions_mut().insert(PeerInfo { peer, ..PeerInfo::default() });
    let mut call = Box::pin(service.oneshot(request));
    while !let_through.load(Ordering::Acquire) {
        assert!(futures::poll!(&mut call).is_pending());
        tokio::task::yield_now().await;
    }
    let mut tx = scene.store.begin().await.unwrap();
    tx.revoke_operator(Some(&hdo()), &name("kim"), now()).await.unwrap();
    tx.commit().await.unwrap();
    rest.send(()).unwrap();
    let answer = call.await.unwrap();
    let status = Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(answer.headers().get("suture-event").is_none());
}
