//! Calls that are begun and held open: what happens meanwhile counts at their end.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use suture_core::chunk::{Entry, encode};
use suture_core::digest::Digest;
use suture_core::event::Kind;
use suture_core::principal::Principal;
use suture_proto::connect;
use suture_proto::v1;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::{Layer as _, ServiceExt as _};

use super::{World, csr, told};
use crate::identity::Peer;
use crate::store::certificates::Certificate;
use crate::store::tokens::TokenState;
use crate::tls::PeerInfo;

/// A message as gRPC frames it.
fn framed(message: &impl prost::Message) -> Bytes {
    let bytes = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    framed.extend(bytes);
    framed.into()
}

fn request(call: &str, body: Body) -> http::Request<Body> {
    let mut request = http::Request::new(body);
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = format!("/suture.v1.OperatorService/{call}").parse().unwrap();
    request.headers_mut().insert(http::header::CONTENT_TYPE, "application/grpc".parse().unwrap());
    request
}

/// What a call came to.
async fn code(response: http::Response<Body>) -> Code {
    match Status::from_header_map(response.headers()) {
        Some(status) => status.code(),
        None => {
            let whole = response.into_body().collect().await.unwrap();
            Status::from_header_map(whole.trailers().unwrap()).unwrap().code()
        }
    }
}

/// A call whose request comes as it is said.
struct Open {
    says: mpsc::UnboundedSender<Bytes>,
    answer: JoinHandle<Code>,
}

impl Open {
    fn begin(channel: &Channel, call: &str) -> Self {
        let (says, said) = mpsc::unbounded_channel();
        let said = UnboundedReceiverStream::new(said).map(|data: Bytes| Ok::<_, Status>(Frame::data(data)));
        let (channel, request) = (channel.clone(), request(call, Body::new(StreamBody::new(said))));
        let answer = tokio::spawn(async move { code(channel.oneshot(request).await.unwrap()).await });
        Self { says, answer }
    }

    fn say(&self, bytes: Bytes) {
        self.says.send(bytes).unwrap();
    }

    /// Nothing more is said.
    async fn end(self) -> Code {
        drop(self.says);
        self.answer.await.unwrap()
    }
}

/// Waits for what other tasks do.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

fn mdm(name: &str) -> Principal {
    Principal::Mdm(name.parse().unwrap())
}

/// Attack: a thief whose certificate is about to be revoked begins calls by their headers, and says the rest afterwards.
#[tokio::test]
async fn what_is_begun_before_a_revocation_and_said_after_it_is_refused() {
    let world = World::start("16").await;
    let (ada, bob) = (world.joined(&mdm("ada")).await, world.joined(&mdm("bob")).await);
    let thief = world.connect(Some(ada)).await.unwrap();
    let mut bob = connect::operator_client(world.connect(Some(bob)).await.unwrap());
    let expires_ms = (world.app.now() + jiff::SignedDuration::from_hours(1)).as_millisecond();
    let invitation = |name: &str, secret: u8| v1::InviteOperatorRequest {
        name: name.to_owned(),
        secret_sha256: Digest::of(&[secret; 32]).as_bytes().to_vec().into(),
        expires_ms,
    };
    let invite = framed(&invitation("eve", 1));
    let renew = framed(&v1::RenewRequest { csr: csr().csr });
    let held = || world.app.rights().calls().held_for(&mdm("ada"));
    let begin = async |call: &str, message: &Bytes| {
        let (open, before) = (Open::begin(&thief, call), held());
        open.say(message.slice(..5));
        until(|| held() >= before + 5).await;
        open
    };
    let inviting = begin("InviteOperator", &invite).await;
    let renewing = begin("Renew", &renew).await;
    let other = begin("Renew", &renew).await;
    bob.revoke_operator(v1::RevokeOperatorRequest { name: "ada".to_owned() }).await.unwrap();

    inviting.say(invite.slice(5..));
    assert_eq!(inviting.end().await, Code::Unauthenticated);
    renewing.say(renew.slice(5..));
    assert_eq!(renewing.end().await, Code::Unauthenticated);
    let token = world.app.store().read().await.unwrap().token(&Digest::of(&[1; 32]), world.app.now()).await.unwrap();
    assert!(matches!(token, TokenState::Unknown));
    // Nor does what was held come back with her whose it was.
    bob.invite_operator(invitation("ada", 2)).await.unwrap();
    let mut anonymous = connect::operator_client(world.connect(None).await.unwrap());
    let join = v1::JoinRequest { secret: vec![2; 32].into(), name: "ada".to_owned(), ..csr() };
    anonymous.join(join).await.unwrap();
    other.say(renew.slice(5..));
    assert_eq!(other.end().await, Code::Unauthenticated);
    let told = told(&world.app).await;
    let of_ada = told.iter().filter(|(kind, who, _)| *kind == Kind::CertificateRevoked && who == "mdm/ada");
    assert_eq!(of_ada.map(|(.., count)| count).sum::<u64>(), 3, "{told:?}");
    world.stop().await;
}

/// Whatever is on record of certificates that were in force beside, who joins anew has one.
#[tokio::test]
async fn whoever_joins_again_has_the_new_certificate_and_none_of_before() {
    let world = World::start("16").await;
    let bob = world.joined(&mdm("bob")).await;
    let mut bob = connect::operator_client(world.connect(Some(bob)).await.unwrap());
    let mut tx = world.app.store().begin().await.unwrap();
    let ada = "ada".parse().unwrap();
    tx.revoke_operator(None, &ada, world.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    // As a call that was under way at the revocation would leave it.
    let left = world.joined(&mdm("ada")).await;
    let mut tx = world.app.store().begin().await.unwrap();
    tx.revoke_operator(None, &ada, world.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    let expires_ms = (world.app.now() + jiff::SignedDuration::from_hours(1)).as_millisecond();
    let secret_sha256 = Digest::of(&[2; 32]).as_bytes().to_vec().into();
    let invite = v1::InviteOperatorRequest { name: "ada".to_owned(), secret_sha256, expires_ms };
    bob.invite_operator(invite).await.unwrap();
    let mut anonymous = connect::operator_client(world.connect(None).await.unwrap());
    let join = v1::JoinRequest { secret: vec![2; 32].into(), name: "ada".to_owned(), ..csr() };
    anonymous.join(join).await.unwrap();
    let mut thief = connect::operator_client(world.connect(Some(left)).await.unwrap());
    assert_eq!(thief.who_am_i(v1::WhoAmIRequest {}).await.unwrap_err().code(), Code::Unauthenticated);
    world.stop().await;
}

/// One chunk in a message, and its digest.
fn upload(content: u8) -> (Digest, Bytes) {
    let raw = vec![content; 1_000];
    let (sha256, data) = (Digest::of(&raw), encode(&raw, 1).unwrap());
    let entry = Entry { sha256, length: 1_000 };
    let chunk = v1::UploadedChunk {
        sha256: entry.sha256.as_bytes().to_vec().into(),
        raw_length: entry.length,
        stored_length: u32::try_from(data.len()).unwrap(),
    };
    (sha256, framed(&v1::UploadChunksRequest { chunks: vec![chunk], data: data.into() }))
}

/// Attack: a stolen certificate by which all places for uploads are held, by a message now and then.
#[tokio::test]
async fn uploads_of_one_certificate_leave_others_a_place_and_end_with_it() {
    let world = World::start("16").await;
    let (ada, bob) = (world.joined(&mdm("ada")).await, world.joined(&mdm("bob")).await);
    let (ada, bob) = (world.connect(Some(ada)).await.unwrap(), world.connect(Some(bob)).await.unwrap());
    let under_way = || world.app.transfer().uploads_under_way();
    let mut open = Vec::new();
    for n in 1..=2 {
        open.push(Open::begin(&ada, "UploadChunks"));
        until(|| under_way() == n).await;
    }
    assert_eq!(Open::begin(&ada, "UploadChunks").end().await, Code::ResourceExhausted);
    let other = Open::begin(&bob, "UploadChunks");
    other.say(upload(3).1);
    assert_eq!(other.end().await, Code::Ok);
    // What says nothing holds no place.
    let silent = Open::begin(&bob, "UploadChunks");
    silent.say(framed(&v1::UploadChunksRequest::default()));
    assert_eq!(silent.answer.await.unwrap(), Code::InvalidArgument);

    let mut tx = world.app.store().begin().await.unwrap();
    tx.revoke_operator(None, &"ada".parse().unwrap(), world.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    for open in open {
        open.say(upload(4).1);
        assert_eq!(open.answer.await.unwrap(), Code::Unauthenticated);
    }
    until(|| under_way() == 0).await;
    world.stop().await;
}

/// What hyper does where a stream is reset: it lets go of its handler as soon as that waits for anything.
#[tokio::test]
async fn what_was_verified_before_a_cut_is_kept_though_nobody_waits_for_the_answer() {
    let world = World::start("16").await;
    let Certificate { serial, principal, spki, not_after, .. } = world.issued(&mdm("ada")).await.0.certificate;
    let peer = Arc::new(Peer { principal, serial, spki, not_after });
    let (sha256, message) = upload(7);
    let cut = Arc::new(Notify::new());
    let said = {
        let cut = cut.clone();
        futures::stream::iter([message]).map(|data| Ok(Frame::data(data))).chain(futures::stream::once(async move {
            cut.notify_one();
            Err(Status::cancelled("reset"))
        }))
    };
    let mut request = request("UploadChunks", Body::new(StreamBody::new(Box::pin(said))));
    request.extensions_mut().insert(PeerInfo { peer: Some(peer), ..PeerInfo::default() });
    let service = world.app.rights().clone().layer(world.app.routes().await.unwrap());
    let mut answer = Box::pin(service.oneshot(request));
    tokio::select! {
        biased;
        () = cut.notified() => {}
        _ = &mut answer => {}
    }
    drop(answer);
    until(|| world.app.transfer().uploads_under_way() == 0).await;
    assert_eq!(world.app.transfer().missing(&[sha256]).await.unwrap(), [0_u32; 0]);
    world.stop().await;
}
