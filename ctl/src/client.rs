//! The server's calls. Nothing else in this program sees tonic.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use rustls_pki_types::CertificateDer;
use suture_core::digest::Digest;
use suture_core::limits::RENEWAL_GRACE_SECS;
use suture_core::trust::{Held, News};
use suture_proto::connect::{self, ConnectError, Identity, Settings, Trust};
use suture_proto::v1::operator_service_client::OperatorServiceClient;
use suture_proto::{Invalid, UNREAD, v1};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::context::{Context, Unread};
use crate::failure::{Exit, Failure, Outcome};
use crate::home::Server;
use crate::identity;
use crate::trust_store::Which;
use crate::witness;

/// How long a single question may take, and a file's next piece. Other streams have no such bound: HTTP/2 pings tell a dead server
/// from a slow one. Attack: a captured server that answers pings and never the question, so that a stop is never sent.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// A connection to the server.
#[derive(Debug, Clone)]
pub struct Client {
    calls: OperatorServiceClient<Channel>,
    unread: Unread,
    changed: Changed,
    patience: Duration,
}

/// The connection by which this command has changed something of which the server's record tells, once it has.
#[derive(Debug, Clone, Default)]
pub struct Changed(Arc<Mutex<Option<OperatorServiceClient<Channel>>>>);

impl Changed {
    fn by(&self, calls: &OperatorServiceClient<Channel>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(calls.clone());
    }

    /// A client on that connection; none where nothing was changed, or it was taken already.
    pub fn take(&self) -> Option<Client> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Client::by(calls))
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let exit = match &error {
            ConnectError::Intercepted { .. } | ConnectError::Certificate { .. } => Exit::Untrusted,
            _ => Exit::Unreachable,
        };
        Self::of(exit, &error).next("`suturectl doctor` tests the way to the server step by step")
    }
}

/// A field of the server's answer that does not hold what it must.
impl From<Invalid> for Failure {
    fn from(error: Invalid) -> Self {
        Self::new("the server's answer cannot be read").because(&error).next("is this suturectl older than the server?")
    }
}

/// What a failed call means.
pub(crate) fn refusal(call: &str, status: Status) -> Failure {
    if let Some(error) = connect::find(&status) {
        return error.clone().into();
    }
    if connect::certificate_refused(&status) {
        return Failure::new(format!("{call}: the server does not take the certificate of this home"))
            .exit(Exit::Refused)
            .next("is it of another server, or long expired? ask for a new token and join again in a new --home");
    }
    if let Some(source) = std::error::Error::source(&status) {
        // No status of the server's: the connection broke.
        return Failure::new(format!("{call}: the connection to the server broke"))
            .exit(Exit::Unreachable)
            .because(source)
            .next(
                "try again; a server hangs up on a certificate that it does not know: `suturectl doctor` tests the way",
            );
    }
    let said = status.message();
    let failure = Failure::new(format!("{call}: {}", if said.is_empty() { status.code().description() } else { said }));
    match status.code() {
        Code::Unavailable => {
            failure.exit(Exit::Unreachable).next("try again; `suturectl doctor` tests the way to the server")
        }
        Code::Unauthenticated => failure
            .exit(Exit::Refused)
            .next("the certificate or token is not valid (any more); ask for a new token and join again"),
        Code::PermissionDenied => {
            failure.exit(Exit::Refused).next("`suturectl whoami` says who the server takes this home for")
        }
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => {
            failure.exit(Exit::Refused).next("look at what is there now, and do it upon that")
        }
        Code::ResourceExhausted => {
            failure.exit(Exit::Refused).next("try again later; if it stays, tell whoever runs the server")
        }
        // The sentence says which field or thing it is.
        Code::NotFound | Code::InvalidArgument | Code::OutOfRange => failure.exit(Exit::Refused),
        Code::DeadlineExceeded => failure.exit(Exit::Failed).next("run the command again; what was sent is kept"),
        Code::Unimplemented => failure.exit(Exit::Failed).next("the server is older than this suturectl"),
        _ => failure.exit(Exit::Failed).next("tell whoever runs the server; its log says why"),
    }
}

/// What an answer says of letters that nobody has opened; 0 where it says nothing that can be read.
fn unread(headers: &MetadataMap) -> u64 {
    headers.get(UNREAD).and_then(|n| n.to_str().ok()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn overdue(call: &str, patience: Duration) -> Failure {
    Failure::new(format!("{call}: the server has not answered within {} s", patience.as_secs()))
        .exit(Exit::Unreachable)
        .next("what was asked for may have been done: look before trying again")
}

/// One method a call: the request's message in, the answer's message out. Those that are `recorded` leave an entry in the
/// server's record, or may.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $response:ident $(, $recorded:ident)?;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                pub async fn $name(&mut self, request: v1::$request) -> Outcome<v1::$response> {
                    match tokio::time::timeout(self.patience, self.calls.$name(request)).await {
                        Ok(Ok(response)) => {
                            self.unread.set(unread(response.metadata()));
                            $(self.$recorded();)?
                            Ok(response.into_inner())
                        }
                        Ok(Err(status)) => Err(refusal(stringify!($name), status)),
                        Err(_) => Err(overdue(stringify!($name), self.patience)),
                    }
                }
            )*
        }
    };
}

calls! {
    /// Spends a token.
    join(JoinRequest) -> JoinResponse;
    /// A new certificate for the same identity.
    renew(RenewRequest) -> RenewResponse;
    /// Who the server takes this operator for.
    who_am_i(WhoAmIRequest) -> WhoAmIResponse;
    /// What differs of the repositories that are named.
    refresh(RefreshRequest) -> RefreshResponse;
    /// Public halves of a repository's online keys.
    get_online_keys(GetOnlineKeysRequest) -> GetOnlineKeysResponse;
    /// Puts signed metadata in force.
    publish_metadata(PublishMetadataRequest) -> PublishMetadataResponse, recorded;
    /// Which chunks the server lacks.
    missing_chunks(MissingChunksRequest) -> MissingChunksResponse;
    /// Stores an index or a document.
    put_document(PutDocumentRequest) -> PutDocumentResponse;
    /// Bundles that are published.
    list_bundles(ListBundlesRequest) -> ListBundlesResponse;
    /// A new hospital.
    invite_hdo(InviteHdoRequest) -> InviteHdoResponse, recorded;
    /// The hospitals.
    list_hdos(ListHdosRequest) -> ListHdosResponse;
    /// A colleague.
    invite_operator(InviteOperatorRequest) -> InviteOperatorResponse, recorded;
    /// A colleague who leaves.
    revoke_operator(RevokeOperatorRequest) -> RevokeOperatorResponse, recorded;
    /// Devices of the inventory.
    import_devices(ImportDevicesRequest) -> ImportDevicesResponse, recorded;
    /// An enrolment token's digest.
    create_device_token(CreateDeviceTokenRequest) -> CreateDeviceTokenResponse, recorded;
    /// What the server has found of forks.
    list_forks(ListForksRequest) -> ListForksResponse;
    /// Devices, by filters.
    list_devices(ListDevicesRequest) -> ListDevicesResponse;
    /// One device.
    get_device(GetDeviceRequest) -> GetDeviceResponse;
    /// A person has compared the fingerprint.
    confirm_device(ConfirmDeviceRequest) -> ConfirmDeviceResponse, recorded;
    /// A device that is back in service.
    return_device(ReturnDeviceRequest) -> ReturnDeviceResponse, recorded;
    /// Lets devices back to patients after their check.
    release_device(ReleaseDeviceRequest) -> ReleaseDeviceResponse, recorded;
    /// A device that must not come back.
    revoke_device(RevokeDeviceRequest) -> RevokeDeviceResponse, recorded;
    /// Keeps a plan for the other approvers.
    store_plan(StorePlanRequest) -> StorePlanResponse;
    /// A plan by its digest.
    get_plan(GetPlanRequest) -> GetPlanResponse;
    /// What devices have signed, as it was received.
    list_reports(ListReportsRequest) -> ListReportsResponse;
    /// Rollouts.
    list_rollouts(ListRolloutsRequest) -> ListRolloutsResponse;
    /// One rollout.
    get_rollout(GetRolloutRequest) -> GetRolloutResponse;
    /// Pauses.
    pause_rollout(PauseRolloutRequest) -> PauseRolloutResponse, recorded;
    /// Goes on.
    resume_rollout(ResumeRolloutRequest) -> ResumeRolloutResponse, recorded;
    /// Ends.
    abort_rollout(AbortRolloutRequest) -> AbortRolloutResponse, recorded;
    /// Records that a bundle is declined or deferred.
    record_decision(RecordDecisionRequest) -> RecordDecisionResponse, recorded;
    /// The hospital's decisions.
    list_decisions(ListDecisionsRequest) -> ListDecisionsResponse;
    /// Suggests a rollout to hospitals.
    propose(ProposeRequest) -> ProposeResponse, recorded;
    /// A proposal that is not to be followed any more.
    take_back_proposal(TakeBackProposalRequest) -> TakeBackProposalResponse, recorded;
    /// What was suggested.
    list_proposals(ListProposalsRequest) -> ListProposalsResponse;
    /// How far a bundle is at each hospital.
    get_adoption(GetAdoptionRequest) -> GetAdoptionResponse;
    /// What bundles are to a vulnerability or a component.
    get_exposure(GetExposureRequest) -> GetExposureResponse;
    /// Devices that run exposed bundles.
    list_exposed_devices(ListExposedDevicesRequest) -> ListExposedDevicesResponse;
    /// How many there are at each hospital.
    list_exposed_hospitals(ListExposedHospitalsRequest) -> ListExposedHospitalsResponse;
    /// What the signers of an approval have stated.
    get_statements(GetStatementsRequest) -> GetStatementsResponse;
    /// Hands over a stop order or a lift.
    publish_stop(PublishStopRequest) -> PublishStopResponse, recorded;
    /// The newest order for each approval.
    get_stops(GetStopsRequest) -> GetStopsResponse;
    /// Records what was found of a risk.
    record_risk(RecordRiskRequest) -> RecordRiskResponse, recorded;
    /// The register of risk.
    list_risks(ListRisksRequest) -> ListRisksResponse;
    /// Proposes who does what.
    propose_agreement(ProposeAgreementRequest) -> ProposeAgreementResponse, recorded;
    /// Agrees to that.
    consent_to_agreement(ConsentToAgreementRequest) -> ConsentToAgreementResponse, recorded;
    /// What was agreed.
    list_agreements(ListAgreementsRequest) -> ListAgreementsResponse;
    /// A device that is out of use for good.
    decommission_device(DecommissionDeviceRequest) -> DecommissionDeviceResponse, recorded;
    /// What devices may fetch at once, and how many do.
    get_transfer_limits(GetTransferLimitsRequest) -> GetTransferLimitsResponse;
    /// Limits them.
    set_transfer_limits(SetTransferLimitsRequest) -> SetTransferLimitsResponse, recorded;
    /// Takes limits away.
    clear_transfer_limits(ClearTransferLimitsRequest) -> ClearTransferLimitsResponse, recorded;
    /// Hands over signed letters.
    send_letters(SendLettersRequest) -> SendLettersResponse, recorded;
    /// What one side has written.
    list_letters(ListLettersRequest) -> ListLettersResponse;
    /// How far the series with each hospital is.
    list_letter_heads(ListLetterHeadsRequest) -> ListLetterHeadsResponse;
    /// That letters have been verified and opened.
    mark_letters(MarkLettersRequest) -> MarkLettersResponse, recorded;
    /// An answer by certificate alone.
    acknowledge_letter(AcknowledgeLetterRequest) -> AcknowledgeLetterResponse, recorded;
    /// The notices that were sent.
    list_notices(ListNoticesRequest) -> ListNoticesResponse;
    /// How far a notice has come at each hospital.
    get_notice_status(GetNoticeStatusRequest) -> GetNoticeStatusResponse;
    /// When each hospital was told, and how far what helps is there.
    get_notice_clocks(GetNoticeClocksRequest) -> GetNoticeClocksResponse;
    /// Where notices are delivered to.
    add_contact(AddContactRequest) -> AddContactResponse, recorded;
    /// Who is told of notices, and how.
    list_contacts(ListContactsRequest) -> ListContactsResponse;
    /// Tells one of them no more.
    remove_contact(RemoveContactRequest) -> RemoveContactResponse, recorded;
    /// What came of a letter's deliveries.
    list_deliveries(ListDeliveriesRequest) -> ListDeliveriesResponse;
    /// Security events.
    list_events(ListEventsRequest) -> ListEventsResponse;
    /// Devices that have been silent for too long.
    list_lost_devices(ListLostDevicesRequest) -> ListLostDevicesResponse;
    /// Says what is too long.
    set_lost_after(SetLostAfterRequest) -> SetLostAfterResponse, recorded;
    /// The record.
    list_audit(ListAuditRequest) -> ListAuditResponse;
    /// The record's newest checkpoint.
    get_checkpoint(GetCheckpointRequest) -> GetCheckpointResponse;
    /// One entry of it, with its proof.
    prove_audit(ProveAuditRequest) -> ProveAuditResponse;
}

/// A rollout's states as they come.
#[derive(Debug)]
pub struct Watch(Streaming<v1::WatchRolloutResponse>);

impl Watch {
    /// The next message; `None` once the rollout has ended.
    pub async fn next(&mut self) -> Outcome<Option<v1::WatchRolloutResponse>> {
        self.0.message().await.map_err(|status| refusal("watch_rollout", status))
    }
}

impl Client {
    fn recorded(&self) {
        self.changed.by(&self.calls);
    }

    /// Connects as this home's operator, and holds the server to what this home remembers of its audit record.
    pub async fn connect(context: &Context<'_>) -> Outcome<Self> {
        let mut client = Self::certified(context).await?;
        match witness::follow(context, &mut client).await {
            // What stops devices is signed, or only narrows, and goes through whatever is said of the record, and whatever became of
            // the file in which this home remembers it.
            Err(failure) if context.stops_devices && failure.exit != Exit::Unreachable => {
                // That the record is in doubt is told behind the command, by what was put aside.
                if failure.exit != Exit::Untrusted {
                    let text = format!("note: the server's record was not looked at: {}", failure.message);
                    context.asides.add(text);
                }
                Ok(client)
            }
            followed => followed.map(|_| client),
        }
    }

    /// Connects as this home's operator; renews the certificate where that is due.
    async fn certified(context: &Context<'_>) -> Outcome<Self> {
        let server = context.home.server()?;
        let identity = identity::load(&context.home)?;
        let (due, ended) = identity::renewal_due(&identity, context.clock.now());
        let mut client = Self::open(&settings(context, &server, Some(identity))?).await?.telling(context);
        if !due {
            return Ok(client);
        }
        match client.renewed(context, &server).await {
            Ok(renewed) => Ok(renewed),
            Err(failure) if ended => Err(failure.next(format!(
                "the certificate could not be renewed; {} days after its end only a new token helps",
                RENEWAL_GRACE_SECS / 86_400
            ))),
            // Attack: a thief of the certificate who renews it until it cannot be renewed any more that day, so that nobody stops
            // anything by it. What is asked for is asked for by the one that is still good.
            Err(failure) => {
                context.asides.add(format!("note: the certificate could not be renewed yet: {}", failure.message));
                Ok(client)
            }
        }
    }

    /// The same server by a new certificate.
    async fn renewed(&mut self, context: &Context<'_>, server: &Server) -> Outcome<Self> {
        let request = v1::RenewRequest { csr: identity::renewal(&context.home)?.into() };
        let v1::RenewResponse { chain } = self.renew(request).await?;
        let identity = identity::with_chain(&context.home, &chain)?;
        let renewed = Self::open(&settings(context, server, Some(identity))?).await?.telling(context);
        // A disk without room is in nobody's way: the next command renews again.
        if let Err(failure) = identity::store_chain(&context.home, &chain) {
            context.asides.add(format!("note: the new certificate could not be kept: {}", failure.message));
        }
        Ok(renewed)
    }

    /// The same, which tells this command what waits, and that it has changed something.
    fn telling(self, context: &Context<'_>) -> Self {
        Self { unread: context.unread.clone(), changed: context.changed.clone(), ..self }
    }

    /// Connects by these settings.
    pub async fn open(settings: &Settings) -> Outcome<Self> {
        let channel = connect::connect(settings).await?;
        Ok(Self::by(connect::operator_client(channel)))
    }

    fn by(calls: OperatorServiceClient<Channel>) -> Self {
        Self { calls, unread: Unread::default(), changed: Changed::default(), patience: CALL_TIMEOUT }
    }

    /// What differs of a repository from what this home holds, in one answer. None of it has been looked at.
    pub async fn news(&mut self, which: Which, held: &Held) -> Outcome<News> {
        let held = Some(v1::HeldMetadata::from(held));
        let request = match which {
            Which::Catalog => v1::RefreshRequest { catalog: held, approvals: None },
            Which::Approvals => v1::RefreshRequest { catalog: None, approvals: held },
        };
        let v1::RefreshResponse { catalog, approvals, stops: _, clearance: _ } = self.refresh(request).await?;
        let news = match which {
            Which::Catalog => catalog,
            Which::Approvals => approvals,
        };
        Ok(news.map(News::from).unwrap_or_default())
    }

    /// A metadata file of at most `limit` bytes; `None` where the server says that there is none, and only then.
    pub async fn metadata(&mut self, which: Which, name: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        let request = v1::GetMetadataRequest { repository: Some(which.to_wire()), name: name.to_owned() };
        let asked = tokio::time::timeout(self.patience, self.calls.get_metadata(request)).await;
        match asked.map_err(|_| overdue("get_metadata", self.patience))? {
            Ok(response) => {
                let content = response.into_inner().content;
                if content.len() as u64 > limit {
                    return Err(Failure::untrusted(format!(
                        "the server's {name} has {} bytes, more than the {limit} that it may have",
                        content.len()
                    )));
                }
                Ok(Some(content.to_vec()))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(refusal("get_metadata", status)),
        }
    }

    /// A target's bytes under its consistent-snapshot name; gives up at the first byte beyond `length`.
    pub async fn target(&mut self, which: Which, name: &str, length: u64) -> Outcome<Vec<u8>> {
        async fn within<T>(patience: Duration, piece: impl Future<Output = Result<T, Status>>) -> Outcome<T> {
            let piece = tokio::time::timeout(patience, piece).await.map_err(|_| overdue("get_target", patience))?;
            piece.map_err(|status| refusal("get_target", status))
        }
        let request = v1::GetTargetRequest { repository: Some(which.to_wire()), name: name.to_owned() };
        let mut pieces = within(self.patience, self.calls.get_target(request)).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(v1::GetTargetResponse { content }) = within(self.patience, pieces.message()).await? {
            bytes.extend_from_slice(&content);
            if bytes.len() as u64 > length {
                return Err(Failure::untrusted(format!("the server sends more for {name} than its {length} bytes")));
            }
        }
        Ok(bytes)
    }

    /// A bundle's document, as its manifest names it: of just that length, and of that digest.
    pub async fn document(&mut self, sha256: &Digest, length: u64) -> Outcome<Vec<u8>> {
        let bytes = self.target(Which::Catalog, &format!("documents/{sha256}"), length).await?;
        if bytes.len() as u64 != length || Digest::of(&bytes) != *sha256 {
            return Err(Failure::untrusted(format!("what the server sends is not the document {sha256}")));
        }
        Ok(bytes)
    }

    /// Uploads chunks, message by message. An error of the source ends the upload; what has landed stays.
    pub async fn upload_chunks<S>(&mut self, messages: S) -> Outcome<v1::UploadChunksResponse>
    where
        S: Stream<Item = v1::UploadChunksRequest> + Send + 'static,
    {
        let response = self.calls.upload_chunks(messages.fuse()).await;
        response.map(tonic::Response::into_inner).map_err(|status| refusal("upload_chunks", status))
    }

    /// A rollout's state at once and after every change; [`crate::hospital::rollouts`] puts it together.
    pub async fn watch_rollout(&mut self, id: &str) -> Outcome<Watch> {
        let request = v1::WatchRolloutRequest { id: id.to_owned() };
        let response = self.calls.watch_rollout(request).await.map_err(|s| refusal("watch_rollout", s))?;
        Ok(Watch(response.into_inner()))
    }
}

/// How to reach a server that this home has joined.
pub fn settings(context: &Context<'_>, server: &Server, identity: Option<Identity>) -> Outcome<Settings> {
    Ok(Settings {
        address: server.address.clone(),
        trust: Trust::Cas(server.certificates()?.into_iter().map(CertificateDer::from).collect()),
        identity,
        proxy: context.proxy.clone(),
        clock: context.clock.clone(),
    })
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tonic::transport::Endpoint;

    use super::*;

    /// Found: a captured server that answered everything but this held a stop up for ever, and the advice for that was never told.
    #[tokio::test]
    async fn a_server_that_never_answers_is_waited_for_only_so_long_whatever_is_asked() {
        // The other end takes what is sent and says nothing.
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let mut ours = Some(TokioIo::new(ours));
        let connector = tower::service_fn(move |_| {
            let line = ours.take().ok_or_else(|| std::io::Error::other("there is one line"));
            async move { line }
        });
        let channel = Endpoint::from_static("http://silent.example").connect_with_connector_lazy(connector);
        let mut client =
            Client { patience: Duration::from_millis(20), ..Client::by(OperatorServiceClient::new(channel)) };
        let asked = async {
            let metadata = client.metadata(Which::Approvals, "timestamp.json", 9).await.err();
            let target = client.target(Which::Approvals, "a", 9).await.err();
            let other = client.get_checkpoint(v1::GetCheckpointRequest { seen: None }).await.err();
            [metadata, target, other]
        };
        // Far more than they take; without a bound this is where it ends.
        let failed = tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap();
        for failure in failed {
            let failure = failure.unwrap();
            assert!(failure.exit == Exit::Unreachable && failure.message.contains("has not answered"), "{failure:?}");
        }
        drop(theirs);
    }
}
