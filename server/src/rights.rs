//! Who may call what: one table, deny by default.
//!
//! Every request passes [`Rights`] before any handler sees it. The caller's standing is asked of the database each time,
//! so that a revocation holds on connections that are open already. Whether the hospital in a request is the caller's own
//! is the handlers' business; they find the [`Caller`] in the request's extensions.
//!
//! Attack: a thief who begins a call while the certificate is in force and says the rest after its revocation. What a request says
//! has its time, and who has taken long over it is asked for anew at its end (`asked`); what is changed and who was revoked wait
//! for one another in the database.

mod asked;

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use suture_core::clock::Clock;
use suture_core::event::Kind;
use suture_core::id::HdoId;
use suture_core::limits::RENEWAL_GRACE_SECS;
use suture_core::notice::Side;
use suture_core::principal::Principal;
use suture_proto::UNREAD;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::calls::{Calls, Holds, Place, Placed};
use crate::connections::{Awaited, Held};
use crate::events::Events;
use crate::events::refused::{self, marked};
use crate::identity::Peer;
use crate::notice;
use crate::store::certificates::Standing;
use crate::store::devices::DeviceState;
use crate::store::{Store, StoreError};
use crate::tls::PeerInfo;
use asked::{Asked, FRESH, within};

/// What a caller is, for the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Showed no certificate.
    Anonymous,
    /// A device in good standing whose certificate has expired within its grace.
    ExpiredDevice,
    /// An operator in good standing whose certificate has expired within its grace.
    ExpiredOperator,
    /// A device that nobody has confirmed yet.
    PendingDevice,
    /// A confirmed device.
    Device,
    /// A hospital's operator.
    HdoOperator,
    /// A manufacturer's operator.
    MdmOperator,
}

use Role::{Anonymous, Device, ExpiredDevice, ExpiredOperator, HdoOperator, MdmOperator, PendingDevice};

impl Role {
    /// All roles.
    pub const ALL: [Self; 7] =
        [Anonymous, ExpiredDevice, ExpiredOperator, PendingDevice, Device, HdoOperator, MdmOperator];
}

/// Both kinds of operators.
const OPERATORS: &[Role] = &[HdoOperator, MdmOperator];

/// Every call, with the roles that may make it. What is not here is refused.
pub const TABLE: &[(&str, &[Role])] = &[
    ("/suture.v1.DeviceService/Enroll", &[Anonymous]),
    ("/suture.v1.DeviceService/Renew", &[ExpiredDevice, PendingDevice, Device]),
    ("/suture.v1.DeviceService/CheckIn", &[PendingDevice, Device]),
    ("/suture.v1.DeviceService/Refresh", &[Device]),
    ("/suture.v1.DeviceService/GetMetadata", &[Device]),
    ("/suture.v1.DeviceService/GetTarget", &[Device]),
    ("/suture.v1.DeviceService/FetchChunks", &[Device]),
    ("/suture.v1.DeviceService/GetIndex", &[Device]),
    ("/suture.v1.DeviceService/GetDelta", &[Device]),
    ("/suture.v1.DeviceService/FetchDelta", &[Device]),
    ("/suture.v1.DeviceService/TakeLease", &[Device]),
    ("/suture.v1.DeviceService/ReturnLease", &[Device]),
    ("/suture.v1.DeviceService/SubmitReports", &[Device]),
    ("/suture.v1.OperatorService/Join", &[Anonymous]),
    ("/suture.v1.OperatorService/Renew", &[ExpiredOperator, HdoOperator, MdmOperator]),
    ("/suture.v1.OperatorService/WhoAmI", OPERATORS),
    ("/suture.v1.OperatorService/GetOnlineKeys", OPERATORS),
    ("/suture.v1.OperatorService/Refresh", OPERATORS),
    ("/suture.v1.OperatorService/GetMetadata", OPERATORS),
    ("/suture.v1.OperatorService/GetTarget", OPERATORS),
    ("/suture.v1.OperatorService/PublishMetadata", OPERATORS),
    ("/suture.v1.OperatorService/MissingChunks", &[MdmOperator]),
    ("/suture.v1.OperatorService/UploadChunks", &[MdmOperator]),
    ("/suture.v1.OperatorService/PutDocument", &[MdmOperator]),
    ("/suture.v1.OperatorService/FetchChunks", OPERATORS),
    ("/suture.v1.OperatorService/ListBundles", OPERATORS),
    ("/suture.v1.OperatorService/InviteHdo", &[MdmOperator]),
    ("/suture.v1.OperatorService/ListHdos", &[MdmOperator]),
    ("/suture.v1.OperatorService/InviteOperator", OPERATORS),
    ("/suture.v1.OperatorService/RevokeOperator", OPERATORS),
    ("/suture.v1.OperatorService/ImportDevices", &[HdoOperator]),
    ("/suture.v1.OperatorService/CreateDeviceToken", &[HdoOperator]),
    ("/suture.v1.OperatorService/ListForks", OPERATORS),
    ("/suture.v1.OperatorService/ListDevices", &[HdoOperator]),
    ("/suture.v1.OperatorService/GetDevice", &[HdoOperator]),
    ("/suture.v1.OperatorService/ConfirmDevice", &[HdoOperator]),
    ("/suture.v1.OperatorService/RevokeDevice", &[HdoOperator]),
    ("/suture.v1.OperatorService/ReturnDevice", &[HdoOperator]),
    ("/suture.v1.OperatorService/ReleaseDevice", &[HdoOperator]),
    ("/suture.v1.OperatorService/StorePlan", &[HdoOperator]),
    ("/suture.v1.OperatorService/GetPlan", &[HdoOperator]),
    ("/suture.v1.OperatorService/RecordDecision", &[HdoOperator]),
    ("/suture.v1.OperatorService/ListDecisions", &[HdoOperator]),
    ("/suture.v1.OperatorService/Propose", &[MdmOperator]),
    ("/suture.v1.OperatorService/TakeBackProposal", &[MdmOperator]),
    ("/suture.v1.OperatorService/ListProposals", OPERATORS),
    ("/suture.v1.OperatorService/GetAdoption", &[MdmOperator]),
    ("/suture.v1.OperatorService/GetExposure", OPERATORS),
    ("/suture.v1.OperatorService/ListExposedDevices", &[HdoOperator]),
    ("/suture.v1.OperatorService/ListExposedHospitals", &[MdmOperator]),
    ("/suture.v1.OperatorService/GetStatements", &[HdoOperator]),
    ("/suture.v1.OperatorService/ListReports", &[HdoOperator]),
    ("/suture.v1.OperatorService/ListRollouts", &[HdoOperator]),
    ("/suture.v1.OperatorService/GetRollout", &[HdoOperator]),
    ("/suture.v1.OperatorService/WatchRollout", &[HdoOperator]),
    ("/suture.v1.OperatorService/PauseRollout", &[HdoOperator]),
    ("/suture.v1.OperatorService/ResumeRollout", &[HdoOperator]),
    ("/suture.v1.OperatorService/AbortRollout", &[HdoOperator]),
    ("/suture.v1.OperatorService/PublishStop", &[HdoOperator]),
    ("/suture.v1.OperatorService/GetStops", &[HdoOperator]),
    ("/suture.v1.OperatorService/RecordRisk", &[HdoOperator]),
    ("/suture.v1.OperatorService/ListRisks", &[HdoOperator]),
    ("/suture.v1.OperatorService/ProposeAgreement", &[MdmOperator]),
    ("/suture.v1.OperatorService/ConsentToAgreement", &[HdoOperator]),
    ("/suture.v1.OperatorService/ListAgreements", OPERATORS),
    ("/suture.v1.OperatorService/DecommissionDevice", &[HdoOperator]),
    ("/suture.v1.OperatorService/ListEvents", OPERATORS),
    ("/suture.v1.OperatorService/ListLostDevices", &[HdoOperator]),
    ("/suture.v1.OperatorService/SetLostAfter", &[HdoOperator]),
    ("/suture.v1.OperatorService/GetTransferLimits", &[HdoOperator]),
    ("/suture.v1.OperatorService/SetTransferLimits", &[HdoOperator]),
    ("/suture.v1.OperatorService/ClearTransferLimits", &[HdoOperator]),
    ("/suture.v1.OperatorService/SendLetters", OPERATORS),
    ("/suture.v1.OperatorService/ListLetters", OPERATORS),
    ("/suture.v1.OperatorService/ListLetterHeads", &[MdmOperator]),
    ("/suture.v1.OperatorService/MarkLetters", OPERATORS),
    ("/suture.v1.OperatorService/AcknowledgeLetter", OPERATORS),
    ("/suture.v1.OperatorService/ListNotices", &[MdmOperator]),
    ("/suture.v1.OperatorService/GetNoticeStatus", &[MdmOperator]),
    ("/suture.v1.OperatorService/GetNoticeClocks", &[MdmOperator]),
    ("/suture.v1.OperatorService/AddContact", &[HdoOperator]),
    ("/suture.v1.OperatorService/ListContacts", &[HdoOperator]),
    ("/suture.v1.OperatorService/RemoveContact", &[HdoOperator]),
    ("/suture.v1.OperatorService/ListDeliveries", &[HdoOperator]),
    ("/suture.v1.OperatorService/ListAudit", OPERATORS),
    ("/suture.v1.OperatorService/GetCheckpoint", OPERATORS),
    ("/suture.v1.OperatorService/ProveAudit", OPERATORS),
    // A load balancer's probe has no certificate; a watch would hold a connection.
    ("/grpc.health.v1.Health/Check", &Role::ALL),
    ("/grpc.health.v1.Health/Watch", OPERATORS),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", OPERATORS),
];

/// Calls that say something for as long as they like. Who makes them is asked for anew by their handlers, or changes nothing.
const STREAMS: [&str; 2] = [UPLOAD_CHUNKS, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"];

/// The call that brings chunks.
pub(crate) const UPLOAD_CHUNKS: &str = "/suture.v1.OperatorService/UploadChunks";

/// Who makes a request, as its handler finds it in the extensions. Anonymous requests have none.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What the table took it for.
    pub role: Role,
    /// The certificate that it showed.
    pub peer: Arc<Peer>,
}

impl Caller {
    /// The caller of a request. Only calls that the table opens to `Anonymous` are without one.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<&Self, Status> {
        request.extensions().get::<Self>().ok_or_else(no_certificate)
    }

    /// The caller's identity.
    pub fn principal(&self) -> &Principal {
        &self.peer.principal
    }
}

/// Decides, for every request, whether it may go on.
#[derive(Clone)]
pub struct Rights {
    store: Store,
    clock: Arc<dyn Clock>,
    events: Events,
    calls: Calls,
    /// What was said within that long of being let through needs no second look.
    fresh: Duration,
    table: Arc<HashMap<&'static str, &'static [Role]>>,
}

impl Rights {
    /// The table over a database and a clock.
    pub fn new(store: Store, clock: Arc<dyn Clock>, events: Events) -> Self {
        let table = Arc::new(TABLE.iter().copied().collect());
        Self { store, clock, events, calls: Calls::default(), fresh: FRESH, table }
    }

    /// Whether `peer` may call `path` now, and as what. For a stream that stays open, ask again before what it sends.
    pub async fn check(&self, path: &str, peer: Option<&Arc<Peer>>) -> Result<Option<Caller>, Status> {
        let caller = match peer {
            Some(peer) => Some(Caller { role: self.role(peer).await?, peer: peer.clone() }),
            None => None,
        };
        let role = caller.as_ref().map_or(Anonymous, |caller| caller.role);
        match self.table.get(path) {
            Some(roles) if roles.contains(&role) => Ok(caller),
            Some(_) => Err(refusal(role, path)),
            None => Err(Status::permission_denied("this server has no such call")),
        }
    }

    /// All calls that are under way.
    #[cfg(test)]
    pub(crate) const fn calls(&self) -> &Calls {
        &self.calls
    }

    /// How many letters wait for somebody to open them; told with each answer, so that nobody need ask. That it cannot be
    /// found out keeps no call from being answered.
    async fn unread(&self, (hdo, from): &(Option<HdoId>, Side)) -> u64 {
        self.store.unread_letters(hdo.as_ref(), *from).await.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "unread letters could not be counted");
            0
        })
    }

    async fn role(&self, peer: &Peer) -> Result<Role, Status> {
        let overdue_secs = self.clock.now().as_second().saturating_sub(peer.not_after.as_second());
        if overdue_secs >= RENEWAL_GRACE_SECS {
            let text = "the certificate expired too long ago to be renewed; ask for a new token";
            return Err(marked(Kind::CertificateExpired, Status::unauthenticated(text)));
        }
        let expired = overdue_secs > 0;
        let standing = self.store.standing(&peer.serial, &peer.principal).await.map_err(|e| unknown(&e))?;
        match (standing, &peer.principal) {
            (Standing::Revoked, _) => {
                let text = "the certificate or its holder was revoked; ask for a new token";
                Err(marked(Kind::CertificateRevoked, Status::unauthenticated(text)))
            }
            (Standing::Operator, Principal::Operator(..) | Principal::Mdm(_)) if expired => Ok(ExpiredOperator),
            (Standing::Operator, Principal::Operator(..)) => Ok(HdoOperator),
            (Standing::Operator, Principal::Mdm(_)) => Ok(MdmOperator),
            (Standing::Device(_), Principal::Device(..)) if expired => Ok(ExpiredDevice),
            (Standing::Device(DeviceState::Active), Principal::Device(..)) => Ok(Device),
            (Standing::Device(DeviceState::Pending), Principal::Device(..)) => Ok(PendingDevice),
            _ => {
                let text = "this server does not know the certificate; ask for a new token";
                Err(marked(Kind::CertificateUnknown, Status::unauthenticated(text)))
            }
        }
    }
}

/// Whose letters wait for a caller: for an operator, those of the other side.
fn unread_of(principal: &Principal) -> Option<(Option<HdoId>, Side)> {
    notice::side(principal).map(|side| (principal.hdo().cloned(), side.other()))
}

/// An answer that keeps its call's place, and whose connection ends where nobody takes it. What has no place is bulk, which sees
/// to that itself.
fn counted(body: Body, place: Option<Place>, held: Option<Arc<Held>>) -> Body {
    match (place, held) {
        (None, _) => body,
        (Some(place), None) => Body::new(Placed::new(body, place)),
        (Some(place), Some(held)) => Body::new(Placed::new(Body::new(Awaited::new(body, held)), place)),
    }
}

fn no_certificate() -> Status {
    Status::unauthenticated(
        "this call needs a client certificate: enrol with a token first (`suturectl join` or `suture-agent enroll`)",
    )
}

fn refusal(role: Role, path: &str) -> Status {
    let what = match role {
        Anonymous => return marked(Kind::CallForbidden, no_certificate()),
        ExpiredDevice | ExpiredOperator => "the certificate has expired; renew it first, it may call nothing else",
        PendingDevice => "the device is pending: its hospital must compare its fingerprint and confirm it first",
        Device => "a device may not make this call",
        HdoOperator => "a hospital's operator may not make this call",
        MdmOperator => "a manufacturer's operator may not make this call",
    };
    Status::permission_denied(format!("{what} ({path})"))
}

fn unknown(error: &StoreError) -> Status {
    tracing::error!(error = error as &dyn std::error::Error, "a caller's standing could not be asked for");
    Status::unavailable("the server cannot tell just now whether the certificate is in force; try again")
}

impl<S> Layer<S> for Rights {
    type Service = Guarded<S>;
    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { rights: self.clone(), inner }
    }
}

/// A service behind the table of rights.
#[derive(Clone)]
pub struct Guarded<S> {
    rights: Rights,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // The clone that was polled ready goes into the future, a fresh one takes its place.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let rights = self.rights.clone();
        Box::pin(async move {
            let PeerInfo { peer, held, from } = request.extensions_mut().remove().unwrap_or_default();
            let path = request.uri().path().to_owned();
            let admitted = match rights.check(&path, peer.as_ref()).await {
                Ok(caller) => match &caller {
                    Some(known) => rights.calls.enter(known.principal(), &path).await.map(|place| (caller, place)),
                    None => Ok((None, None)),
                },
                Err(status) => Err(status),
            };
            let answer = match admitted {
                Ok((caller, place)) => {
                    if let Some(held) = &held {
                        request.extensions_mut().insert(held.clone());
                    }
                    let role = caller.as_ref().map_or(Anonymous, |caller| caller.role);
                    let unread = caller.as_ref().and_then(|caller| unread_of(caller.principal()));
                    if let Some(caller) = caller {
                        request.extensions_mut().insert(caller);
                    }
                    let unread = match &unread {
                        Some(of) => rights.unread(of).await,
                        None => 0,
                    };
                    let said = |body| match &place {
                        Some(place) => place.said(body),
                        None => body,
                    };
                    let again = {
                        let (rights, path, peer) = (rights.clone(), path.clone(), peer.clone());
                        async move { rights.check(&path, peer.as_ref()).await.map(drop) }
                    };
                    let whole = |body| match STREAMS.contains(&path.as_str()) {
                        true => body,
                        false => Body::new(Asked::new(body, rights.fresh, Box::pin(again))),
                    };
                    let mut response = inner.call(request.map(|body| whole(within(role, said(body))))).await?;
                    let holds = response.extensions_mut().remove::<Holds>().unwrap_or_default();
                    match place.map(|place| place.answered(holds)).transpose() {
                        Ok(place) => {
                            if unread > 0 {
                                response.headers_mut().insert(UNREAD, unread.into());
                            }
                            Ok(response.map(|body| counted(body, place.flatten(), held)))
                        }
                        // What it would have answered is let go here.
                        Err(status) => Ok(status.into_http()),
                    }
                }
                Err(status) => Ok(status.into_http()),
            };
            answer.map(|mut answer| {
                let (who, now) = ((peer.as_deref(), from), rights.clock.now());
                refused::tell(&rights.events, &path, who, answer.headers_mut(), now);
                answer
            })
        })
    }
}

#[cfg(test)]
mod tests;
