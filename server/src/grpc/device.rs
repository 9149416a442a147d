//! What a device may call.

use prost::Message as _;
use suture_core::audit::Concern;
use suture_core::digest::Digest;
use suture_core::event::{BatchError, Kind, SignedBatch};
use suture_core::id::{DeviceId, HdoId};
use suture_core::limits::{MAX_RENEWALS, MAX_REPORT_BYTES, MAX_REPORTS_PER_CALL, RENEWALS_COUNT};
use suture_core::principal::Principal;
use suture_core::report::{Seen, Signed};
use suture_core::sign::{PublicKey, Signature};
use suture_proto::v1::device_service_server::DeviceService;
use suture_proto::{Invalid, Repository, head_seen, parse, parse_digest, v1};
use tonic::{Code, Request, Response, Status};

use super::stream::{self, Answers};
use super::token::{Shown, shown, spent};
use super::{Api, Newcomer, Refusal, caller, device};
use crate::audit;
use crate::delta::Asker;
use crate::events;
use crate::events::device::TakeEventsError;
use crate::identity::{Csr, Issued, Peer};
use crate::offer::{self, CheckIn, Fetched, Word};
use crate::report;
use crate::rights::{Caller, Role};
use crate::store::certificates::Standing;
use crate::store::devices::Enrolment;
use crate::store::{Lock, StoreError, Tx};

#[tonic::async_trait]
impl DeviceService for Api {
    async fn enroll(&self, request: Request<v1::EnrollRequest>) -> Result<Response<v1::EnrollResponse>, Status> {
        Ok(Response::new(self.enroll_device(request.into_inner()).await?))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let peer = Caller::of(&request)?.peer.clone();
        Ok(Response::new(self.renew_certificate(&peer, request.into_inner()).await?))
    }

    async fn check_in(&self, request: Request<v1::CheckInRequest>) -> Result<Response<v1::CheckInResponse>, Status> {
        let ((hdo, id), principal) = (device(&request)?, caller(&request)?);
        let confirmed = Caller::of(&request)?.role == Role::Device;
        let mut said = request.into_inner();
        // Answered, and not kept: it is no word of the device's to its hospital.
        let held = said.held.take();
        let events = said.events.take();
        // Attack: a device whose one word fills the answer that shows a hospital all of its devices.
        let length = said.encoded_len();
        if length > MAX_REPORT_BYTES {
            return Err(Refusal::invalid(format!("{length} bytes are more than the {MAX_REPORT_BYTES} allowed")).into());
        }
        let now = self.app.now();
        let mut answer = v1::CheckInResponse {
            confirmed,
            server_time_ms: now.as_millisecond(),
            next_check_in_ms: self.app.settings().check_in_ms(),
            words: Vec::new(),
            reports_stored_through: 0,
            news: None,
            audit: None,
            events_stored_through: 0,
        };
        if !confirmed {
            return Ok(Response::new(answer));
        }
        let fetched = match said.approval_id.as_str() {
            "" => None,
            text => Some(Fetched {
                approval: parse("approval_id", text).map_err(Refusal::from)?,
                bytes: said.fetched_bytes,
                total: said.total_bytes,
                transfer: said.transfer.as_ref().map(v1::Transfer::encode_to_vec),
            }),
        };
        let seen = |seen: &Option<v1::MetadataSeen>| seen.as_ref().map(Seen::try_from).transpose();
        let seen = (seen(&said.catalog).map_err(Refusal::from)?, seen(&said.approvals).map_err(Refusal::from)?);
        let signature = Signature::try_from(said.seen_signature.as_ref()).ok();
        let manifest = Digest::try_from(said.running_manifest_sha256.as_ref()).ok();
        let audit = said.audit.as_ref().map(head_seen).transpose().map_err(Refusal::from)?.flatten();
        let check_in = CheckIn { said: &said.encode_to_vec(), manifest, fetched, seen, audit, signature };
        let heard = offer::check_in(self.app.store(), &hdo, &id, check_in, now).await;
        let (words, through) = heard.map_err(Refusal::from)?;
        answer.words = words.into_iter().map(server_word).collect();
        answer.reports_stored_through = through;
        if let Some(events) = events {
            // As with the news: what is not taken comes again.
            answer.events_stored_through = self.device_events(&hdo, &id, &events, now).await;
        }
        if let Some(held) = held {
            // A failure is in the log, and no reason not to hear the device: it asks for itself what it was not told.
            answer.news = self.news(&principal, held).await.ok();
        }
        // The same holds for the record: a device without news of it remembers what it had.
        let remembered = said.audit.clone().unwrap_or_default();
        answer.audit = self.audit_news(&remembered).await.ok().filter(|(_, stands)| !stands).map(|(news, _)| news);
        Ok(Response::new(answer))
    }

    async fn refresh(&self, request: Request<v1::RefreshRequest>) -> Result<Response<v1::RefreshResponse>, Status> {
        let principal = caller(&request)?;
        Ok(Response::new(self.news(&principal, request.into_inner()).await?))
    }

    async fn get_metadata(
        &self,
        request: Request<v1::GetMetadataRequest>,
    ) -> Result<Response<v1::GetMetadataResponse>, Status> {
        let principal = caller(&request)?;
        Ok(Response::new(self.metadata(&principal, request.into_inner()).await?))
    }

    type GetTargetStream = Answers<v1::GetTargetResponse>;

    async fn get_target(
        &self,
        request: Request<v1::GetTargetRequest>,
    ) -> Result<Response<Self::GetTargetStream>, Status> {
        let principal = caller(&request)?;
        Ok(self.target(&principal, request.into_inner()).await?)
    }

    type FetchChunksStream = Answers<v1::FetchChunksResponse>;

    async fn fetch_chunks(
        &self,
        _: Request<v1::FetchChunksRequest>,
    ) -> Result<Response<Self::FetchChunksStream>, Status> {
        stream::chunks()
    }

    type GetIndexStream = Answers<v1::GetTargetResponse>;

    async fn get_index(&self, request: Request<v1::GetIndexRequest>) -> Result<Response<Self::GetIndexStream>, Status> {
        let v1::GetIndexRequest { index_sha256, held_sha256 } = request.into_inner();
        let index = parse_digest("index_sha256", &index_sha256).map_err(Refusal::from)?;
        let held =
            held_sha256.iter().map(|held| parse_digest("held_sha256", held)).collect::<Result<Vec<_>, Invalid>>();
        let runs = self.app.transfer().told_index(&index, &held.map_err(Refusal::from)?).await;
        Ok(stream::pieces(runs.map_err(Refusal::from)?))
    }

    async fn get_delta(&self, request: Request<v1::GetDeltaRequest>) -> Result<Response<v1::GetDeltaResponse>, Status> {
        let ((hdo, id), principal) = (device(&request)?, caller(&request)?.to_string());
        let v1::GetDeltaRequest { new_sha256, old_sha256 } = request.into_inner();
        let new = parse_digest("new_sha256", &new_sha256).map_err(Refusal::from)?;
        let held = old_sha256.iter().map(|old| parse_digest("old_sha256", old)).collect::<Result<Vec<_>, Invalid>>();
        let held = held.map_err(Refusal::from)?;
        let known = async {
            let mut tx = self.app.store().read().await?;
            let known = tx.device(&hdo, &id).await?;
            tx.commit().await?;
            Ok::<_, StoreError>(known)
        };
        let Some(known) = known.await.map_err(Refusal::from)? else {
            return Err(Refusal::new(Code::FailedPrecondition, format!("{id} is not in {hdo}'s inventory")).into());
        };
        let asker = Asker { name: &principal, product: &known.record.product };
        let offer = self.app.deltas().offer(&new, &held, asker, self.app.now()).await.map_err(Refusal::from)?;
        let millis = |secs: u64| u32::try_from(secs.saturating_mul(1_000)).unwrap_or(u32::MAX);
        Ok(Response::new(v1::GetDeltaResponse {
            delta: offer.delta.map(|(head, chunk_bytes)| v1::Delta { head: head.into(), chunk_bytes }),
            ask_again_ms: offer.ask_again_secs.map_or(0, millis),
        }))
    }

    type FetchDeltaStream = Answers<v1::FetchDeltaResponse>;

    async fn fetch_delta(
        &self,
        request: Request<v1::FetchDeltaRequest>,
    ) -> Result<Response<Self::FetchDeltaStream>, Status> {
        Ok(Response::new(stream::delta(self.app.deltas(), request.into_inner(), self.app.now()).await?))
    }

    async fn take_lease(
        &self,
        request: Request<v1::TakeLeaseRequest>,
    ) -> Result<Response<v1::TakeLeaseResponse>, Status> {
        let (hdo, id) = device(&request)?;
        Ok(Response::new(self.take_a_lease(&hdo, &id, request.into_inner()).await?))
    }

    async fn return_lease(
        &self,
        request: Request<v1::ReturnLeaseRequest>,
    ) -> Result<Response<v1::ReturnLeaseResponse>, Status> {
        let (hdo, id) = device(&request)?;
        let v1::ReturnLeaseRequest {} = request.into_inner();
        self.return_a_lease(&hdo, &id).await?;
        Ok(Response::new(v1::ReturnLeaseResponse {}))
    }

    async fn submit_reports(
        &self,
        request: Request<v1::SubmitReportsRequest>,
    ) -> Result<Response<v1::SubmitReportsResponse>, Status> {
        let (hdo, id) = device(&request)?;
        let v1::SubmitReportsRequest { reports } = request.into_inner();
        if reports.len() > MAX_REPORTS_PER_CALL {
            return Err(Refusal::invalid(format!("reports: more than {MAX_REPORTS_PER_CALL} in one call")).into());
        }
        let signed: Vec<Signed> =
            reports.iter().map(Signed::try_from).collect::<Result<_, Invalid>>().map_err(Refusal::from)?;
        let stored_through =
            report::submit(self.app.store(), &hdo, &id, &signed, self.app.now()).await.map_err(Refusal::from)?;
        self.app.news().tell();
        Ok(Response::new(v1::SubmitReportsResponse { stored_through }))
    }
}

/// The server's word on the wire.
pub(super) fn server_word(word: Word) -> v1::ServerWord {
    let Word { approval, verdict } = word;
    v1::ServerWord {
        approval_id: approval.to_string(),
        go: verdict.is_ok(),
        reason: verdict.err().as_ref().map(v1::Reason::from),
    }
}

impl Api {
    /// Takes what a device has seen and signed, and says up to which number that is here; 0 where nothing is taken.
    async fn device_events(&self, hdo: &HdoId, id: &DeviceId, message: &v1::SignedEvents, now: jiff::Timestamp) -> u64 {
        let v1::SignedEvents { payload, signature } = message;
        let taken = match Signature::try_from(signature.as_ref()) {
            Ok(signature) => {
                let signed = SignedBatch { payload: payload.to_vec(), signature };
                events::device::take(self.app.store(), hdo, id, &signed, now).await
            }
            Err(e) => Err(BatchError::from(e).into()),
        };
        taken.unwrap_or_else(|error| {
            tracing::warn!(%hdo, device = %id, error = &error as &dyn std::error::Error, "events are not taken");
            if matches!(error, TakeEventsError::Refused(_)) {
                let by = Principal::Device(hdo.clone(), id.clone());
                self.app.events().tell_of(Kind::SignatureRefused, &by, &error.to_string(), now);
            }
            0
        })
    }

    async fn enroll_device(&self, request: v1::EnrollRequest) -> Result<v1::EnrollResponse, Refusal> {
        let v1::EnrollRequest { secret, csr, report_key, device_id, product, hardware_id } = request;
        let csr = Csr::read(&csr)?;
        let key = PublicKey::from_bytes(&report_key).map_err(|e| Invalid::new("report_key", e))?;
        let now = self.app.now();
        let secret_sha256 = Digest::of(&secret);
        self.must_know(&secret_sha256, &csr, now).await?;
        let mut tx = self.app.store().begin().await?;
        let Shown { grant, spent_by } = shown(&mut tx, &secret_sha256, &csr, now).await?;
        let Newcomer::Device(hdo, bound) = Newcomer::of(grant, "")? else {
            return Err(Refusal::new(Code::Unauthenticated, "the token is an operator's: use `suturectl join`"));
        };
        let id = match (bound, device_id.as_str()) {
            (Some(bound), "") => bound,
            (Some(bound), text) if bound.as_str() != text => {
                return Err(Refusal::invalid(format!("device_id: the token is for {bound}, not for {text}")));
            }
            (_, text) => parse("device_id", text)?,
        };
        let principal = Principal::Device(hdo.clone(), id.clone());
        let Some(known) = tx.device(&hdo, &id).await? else {
            return Err(Refusal::not_found(format!(
                "{hdo} has no device {id}; import it with `suturectl device import`"
            )));
        };
        if let Some(by) = spent_by {
            // With another report key it would not be the device whose fingerprint a person compares.
            if by != principal.to_string() || known.fingerprint != Some(csr.fingerprint(&key)) {
                return Err(spent());
            }
            let issued = self.certify_again(tx, &csr, &principal, now).await?;
            return Ok(v1::EnrollResponse { chain: issued.chain.into_iter().map(Into::into).collect() });
        }
        if known.record.product.as_str() != product || known.record.hardware.as_str() != hardware_id {
            let text = format!(
                "{id} is on record as {} {}, the device says {product} {hardware_id}; correct whichever is wrong",
                known.record.product, known.record.hardware
            );
            return Err(Refusal::new(Code::FailedPrecondition, text));
        }
        let enrolment = Enrolment { fingerprint: &csr.fingerprint(&key), report_key: &key, now };
        if !tx.enroll_device(&hdo, &id, enrolment).await? {
            let text = format!("{id} is active already; revoke it first if its keys are lost");
            return Err(Refusal::new(Code::FailedPrecondition, text));
        }
        // In the order in which a revocation takes them: the device, the record, the tokens.
        tx.lock(Lock::AuditChain).await?;
        if !tx.spend_token(&secret_sha256, &principal, now).await? {
            return Err(spent());
        }
        tx.revoke_certificates(&principal, now).await?;
        // What the device's earlier keys have said is in the audit trail.
        tx.forget_forks(&hdo, &id).await?;
        let issued = self.app.authority().issue(&csr, &principal, now)?;
        tx.insert_certificate(&issued.certificate).await?;
        let detail = serde_json::json!({ "fingerprint": csr.fingerprint(&key) });
        audit::append(&mut tx, now, &principal, (&hdo).into(), "device.enrolled", id.as_str(), detail).await?;
        tx.commit().await?;
        Ok(v1::EnrollResponse { chain: issued.chain.into_iter().map(Into::into).collect() })
    }

    /// A new certificate for whoever calls, over a new key or the old one.
    pub(super) async fn renew_certificate(
        &self,
        peer: &Peer,
        request: v1::RenewRequest,
    ) -> Result<v1::RenewResponse, Refusal> {
        let v1::RenewRequest { csr } = request;
        let csr = Csr::read(&csr)?;
        let Peer { principal, serial, .. } = peer;
        let mut tx = self.app.store().begin().await?;
        // Attack: a call that was begun while the certificate was in force, and ends after its revocation. See `growth::person`.
        tx.lock(Lock::AuditChain).await?;
        if matches!(tx.standing(serial, principal).await?, Standing::Revoked | Standing::Unknown) {
            let text = "the certificate was revoked while the call was under way; ask for a new token";
            return Err(Refusal::new(Code::Unauthenticated, text).is(Kind::CertificateRevoked));
        }
        let issued = self.certify_again(tx, &csr, principal, self.app.now()).await?;
        Ok(v1::RenewResponse { chain: issued.chain.into_iter().map(Into::into).collect() })
    }

    /// A certificate for somebody who was issued one before.
    pub(super) async fn certify_again(
        &self,
        mut tx: Tx,
        csr: &Csr,
        principal: &Principal,
        now: jiff::Timestamp,
    ) -> Result<Issued, Refusal> {
        // Attack: one certificate that fills the database with others.
        let since = now.saturating_sub(RENEWALS_COUNT).unwrap_or(now);
        if tx.issued_since(principal, since).await? >= MAX_RENEWALS {
            let text =
                format!("{principal} was issued {MAX_RENEWALS} certificates within a day; the last of them counts");
            return Err(Refusal::new(Code::ResourceExhausted, text));
        }
        let issued = self.app.authority().issue(csr, principal, now)?;
        tx.insert_certificate(&issued.certificate).await?;
        let detail = serde_json::json!({ "until": suture_core::clock::format_utc(issued.certificate.not_after) });
        let subject = principal.to_string();
        audit::append(&mut tx, now, principal, Concern::of(principal), "certificate.renewed", &subject, detail).await?;
        tx.commit().await?;
        Ok(issued)
    }

    /// The repository that a caller names, if it may read it: the catalog is everybody's, approvals are the hospital's.
    pub(super) fn readable(
        &self,
        principal: &Principal,
        repository: Option<&v1::Repository>,
    ) -> Result<Repository, Refusal> {
        let repository = Repository::parse(repository, principal.hdo())?;
        match &repository {
            Repository::Catalog => Ok(repository),
            Repository::Approvals(hdo) if Some(hdo) == principal.hdo() => Ok(repository),
            Repository::Approvals(_) => {
                Err(Refusal::new(Code::PermissionDenied, "the approvals of another hospital are not yours to read"))
            }
        }
    }

    pub(super) async fn metadata(
        &self,
        principal: &Principal,
        request: v1::GetMetadataRequest,
    ) -> Result<v1::GetMetadataResponse, Refusal> {
        let v1::GetMetadataRequest { repository, name } = request;
        let repository = self.readable(principal, repository.as_ref())?;
        let content = self.app.store().repo_file(&repository.to_string(), &name).await;
        let content = content.inspect_err(|error| self.app.events().tell_altered(error, self.app.now()))?;
        let content = content.ok_or_else(|| Refusal::not_found(format!("{repository} has no {name}")))?;
        Ok(v1::GetMetadataResponse { content: content.into() })
    }

    pub(super) async fn target(
        &self,
        principal: &Principal,
        request: v1::GetTargetRequest,
    ) -> Result<Response<Answers<v1::GetTargetResponse>>, Refusal> {
        let v1::GetTargetRequest { repository, name } = request;
        let repository = self.readable(principal, repository.as_ref())?;
        if let (Repository::Catalog, Some(sha256)) = (&repository, stream::document_digest(&name)) {
            return Ok(stream::document(self.app.transfer().reader(&sha256).await?));
        }
        let file = self.app.store().target_file(&repository.to_string(), &name).await?;
        // Attack: a stolen device that looks around. What is not its own does not exist for it.
        let content = match (file, principal) {
            (Some((content, readers)), Principal::Device(_, id)) => readers.admit(id).then_some(content),
            (file, _) => file.map(|(content, _)| content),
        };
        let content = content.ok_or_else(|| Refusal::not_found(format!("{repository} has no target {name}")))?;
        Ok(stream::pieces(content.into()))
    }
}
