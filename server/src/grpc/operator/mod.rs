//! What operators may call. Each method finds out who calls and hands over to the file of its noun.

mod adoption;
mod audit;
mod bundles;
mod contacts;
mod decisions;
mod decommission;
mod devices;
mod events;
mod exposure;
mod letters;
mod limits;
mod organisation;
mod page;
mod proposals;
mod reports;
mod repository;
mod rollouts;
mod watch;
mod words;

use suture_proto::v1;
use suture_proto::v1::operator_service_server::OperatorService;
use tonic::{Request, Response, Status, Streaming};

use super::stream::{self, Answers};
use super::{Api, caller, hospital};
use crate::rights::Caller;

pub(super) use organisation::sentence;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl OperatorService for Api {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Answer<v1::JoinResponse> {
        Ok(Response::new(self.join_operator(request.into_inner()).await?))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Answer<v1::RenewResponse> {
        let peer = Caller::of(&request)?.peer.clone();
        Ok(Response::new(self.renew_certificate(&peer, request.into_inner()).await?))
    }

    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> Answer<v1::WhoAmIResponse> {
        Ok(Response::new(self.describe_caller(&request)?))
    }

    async fn get_online_keys(&self, request: Request<v1::GetOnlineKeysRequest>) -> Answer<v1::GetOnlineKeysResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.online_keys(&principal, request.into_inner()).await?))
    }

    async fn refresh(&self, request: Request<v1::RefreshRequest>) -> Answer<v1::RefreshResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.news(&principal, request.into_inner()).await?))
    }

    async fn get_metadata(&self, request: Request<v1::GetMetadataRequest>) -> Answer<v1::GetMetadataResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.metadata(&principal, request.into_inner()).await?))
    }

    type GetTargetStream = Answers<v1::GetTargetResponse>;

    async fn get_target(&self, request: Request<v1::GetTargetRequest>) -> Answer<Self::GetTargetStream> {
        let principal = caller(&request)?;
        Ok(self.target(&principal, request.into_inner()).await?)
    }

    async fn publish_metadata(
        &self,
        request: Request<v1::PublishMetadataRequest>,
    ) -> Answer<v1::PublishMetadataResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.publish(&principal, request.into_inner()).await?))
    }

    async fn missing_chunks(&self, request: Request<v1::MissingChunksRequest>) -> Answer<v1::MissingChunksResponse> {
        Ok(Response::new(self.lacking_chunks(request.into_inner()).await?))
    }

    async fn upload_chunks(
        &self,
        request: Request<Streaming<v1::UploadChunksRequest>>,
    ) -> Answer<v1::UploadChunksResponse> {
        let caller = Caller::of(&request)?.clone();
        Ok(Response::new(self.take_chunks(&caller, request.into_inner()).await?))
    }

    async fn put_document(&self, request: Request<v1::PutDocumentRequest>) -> Answer<v1::PutDocumentResponse> {
        Ok(Response::new(self.keep_document(request.into_inner()).await?))
    }

    type FetchChunksStream = Answers<v1::FetchChunksResponse>;

    async fn fetch_chunks(&self, _: Request<v1::FetchChunksRequest>) -> Answer<Self::FetchChunksStream> {
        stream::chunks()
    }

    async fn list_bundles(&self, request: Request<v1::ListBundlesRequest>) -> Answer<v1::ListBundlesResponse> {
        Ok(Response::new(self.bundles(request.into_inner()).await?))
    }

    async fn invite_hdo(&self, request: Request<v1::InviteHdoRequest>) -> Answer<v1::InviteHdoResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.invite_hospital(&principal, request.into_inner()).await?))
    }

    async fn list_hdos(&self, request: Request<v1::ListHdosRequest>) -> Answer<v1::ListHdosResponse> {
        Ok(Response::new(self.hospitals(request.into_inner()).await?))
    }

    async fn invite_operator(&self, request: Request<v1::InviteOperatorRequest>) -> Answer<v1::InviteOperatorResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.invite_colleague(&principal, request.into_inner()).await?))
    }

    async fn revoke_operator(&self, request: Request<v1::RevokeOperatorRequest>) -> Answer<v1::RevokeOperatorResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.revoke_colleague(&principal, request.into_inner()).await?))
    }

    async fn import_devices(&self, request: Request<v1::ImportDevicesRequest>) -> Answer<v1::ImportDevicesResponse> {
        let (principal, hdo) = hospital(&request)?;
        Ok(Response::new(self.import(&principal, &hdo, request.into_inner()).await?))
    }

    async fn create_device_token(
        &self,
        request: Request<v1::CreateDeviceTokenRequest>,
    ) -> Answer<v1::CreateDeviceTokenResponse> {
        let (principal, hdo) = hospital(&request)?;
        Ok(Response::new(self.device_token(&principal, &hdo, request.into_inner()).await?))
    }

    async fn list_forks(&self, request: Request<v1::ListForksRequest>) -> Answer<v1::ListForksResponse> {
        let principal = caller(&request)?;
        let v1::ListForksRequest {} = request.into_inner();
        Ok(Response::new(self.forks(&principal).await?))
    }

    async fn list_devices(&self, request: Request<v1::ListDevicesRequest>) -> Answer<v1::ListDevicesResponse> {
        let (_, hdo) = hospital(&request)?;
        Ok(Response::new(self.devices(&hdo, request.into_inner()).await?))
    }

    async fn get_device(&self, request: Request<v1::GetDeviceRequest>) -> Answer<v1::GetDeviceResponse> {
        let (_, hdo) = hospital(&request)?;
        Ok(Response::new(self.device(&hdo, request.into_inner()).await?))
    }

    async fn confirm_device(&self, request: Request<v1::ConfirmDeviceRequest>) -> Answer<v1::ConfirmDeviceResponse> {
        let (principal, hdo) = hospital(&request)?;
        Ok(Response::new(self.confirm(&principal, &hdo, request.into_inner()).await?))
    }

    async fn revoke_device(&self, request: Request<v1::RevokeDeviceRequest>) -> Answer<v1::RevokeDeviceResponse> {
        let (principal, hdo) = hospital(&request)?;
        Ok(Response::new(self.revoke(&principal, &hdo, request.into_inner()).await?))
    }

    async fn return_device(&self, request: Request<v1::ReturnDeviceRequest>) -> Answer<v1::ReturnDeviceResponse> {
        let (principal, hdo) = hospital(&request)?;
        Ok(Response::new(self.return_device_to_service(&principal, &hdo, request.into_inner()).await?))
    }

    async fn store_plan(&self, request: Request<v1::StorePlanRequest>) -> Answer<v1::StorePlanResponse> {
        let (principal, hdo) = hospital(&request)?;
        Ok(Response::new(self.keep_plan(&principal, &hdo, request.into_inner()).await?))
    }

    async fn get_plan(&self, request: Request<v1::GetPlanRequest>) -> Answer<v1::GetPlanResponse> {
        let (_, hdo) = hospital(&request)?;
        Ok(Response::new(self.plan(&hdo, request.into_inner()).await?))
    }

    async fn record_decision(&self, request: Request<v1::RecordDecisionRequest>) -> Answer<v1::RecordDecisionResponse> {
        let (principal, hdo) = hospital(&request)?;
        Ok(Response::new(self.decide(&principal, &hdo, request.into_inner()).await?))
    }

    async fn list_decisions(&self, request: Request<v1::ListDecisionsRequest>) -> Answer<v1::ListDecisionsResponse> {
        let (_, hdo) = hospital(&request)?;
        Ok(Response::new(self.decisions(&hdo, request.into_inner()).await?))
    }

    async fn propose(&self, request: Request<v1::ProposeRequest>) -> Answer<v1::ProposeResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.suggest(&principal, request.into_inner()).await?))
    }

    async fn take_back_proposal(
        &self,
        request: Request<v1::TakeBackProposalRequest>,
    ) -> Answer<v1::TakeBackProposalResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.take_back(&principal, request.into_inner()).await?))
    }

    async fn list_proposals(&self, request: Request<v1::ListProposalsRequest>) -> Answer<v1::ListProposalsResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.proposals(&principal, request.into_inner()).await?))
    }

    async fn get_adoption(&self, request: Request<v1::GetAdoptionRequest>) -> Answer<v1::GetAdoptionResponse> {
        Ok(Response::new(self.adoption(request.into_inner()).await?))
    }

    async fn get_exposure(&self, request: Request<v1::GetExposureRequest>) -> Answer<v1::GetExposureResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.exposure(&principal, request.into_inner()).await?))
    }

    async fn list_exposed_devices(
        &self,
        request: Request<v1::ListExposedDevicesRequest>,
    ) -> Answer<v1::ListExposedDevicesResponse> {
        let (_, hdo) = hospital(&request)?;
        Ok(Response::new(self.exposed_devices(&hdo, request.into_inner()).await?))
    }

    async fn list_exposed_hospitals(
        &self,
        request: Request<v1::ListExposedHospitalsRequest>,
    ) -> Answer<v1::ListExposedHospitalsResponse> {
        Ok(Response::new(self.exposed_hospitals(request.into_inner()).await?))
    }

    async fn get_statements(&self, request: Request<v1::GetStatementsRequest>) -> Answer<v1::GetStatementsResponse> {
        let (_, hdo) = hospital(&request)?;
        Ok(Response::new(self.statements(&hdo, request.into_inner()).await?))
    }

    async fn list_reports(&self, request: Request<v1::ListReportsRequest>) -> Answer<v1::ListReportsResponse> {
        let (_, hdo) = hospital(&request)?;
        Ok(Response::new(self.reports(&hdo, request.into_inner()).await?))
    }

    async fn list_rollouts(&self, request: Request<v1::ListRolloutsRequest>) -> Answer<v1::ListRolloutsResponse> {
        let (_, hdo) = hospital(&request)?;
        Ok(Response::new(self.rollouts(&hdo, request.into_inner()).await?))
    }

    async fn get_rollout(&self, request: Request<v1::GetRolloutRequest>) -> Answer<v1::GetRolloutResponse> {
        let (_, hdo) = hospital(&request)?;
        Ok(Response::new(self.rollout(&hdo, request.into_inner()).await?))
    }

    type WatchRolloutStream = Answers<v1::WatchRolloutResponse>;

    async fn watch_rollout(&self, request: Request<v1::WatchRolloutRequest>) -> Answer<Self::WatchRolloutStream> {
        let ((_, hdo), caller) = (hospital(&request)?, Caller::of(&request)?.clone());
        Ok(Response::new(self.watch(caller, hdo, request.into_inner()).await?))
    }

    async fn pause_rollout(&self, request: Request<v1::PauseRolloutRequest>) -> Answer<v1::PauseRolloutResponse> {
        let (principal, hdo) = hospital(&request)?;
        let v1::PauseRolloutRequest { id, reason } = request.into_inner();
        self.order(&principal, &hdo, &id, rollouts::Order::Pause, &reason).await?;
        Ok(Response::new(v1::PauseRolloutResponse {}))
    }

    async fn resume_rollout(&self, request: Request<v1::ResumeRolloutRequest>) -> Answer<v1::ResumeRolloutResponse> {
        let (principal, hdo) = hospital(&request)?;
        let v1::ResumeRolloutRequest { id, reason } = request.into_inner();
        self.order(&principal, &hdo, &id, rollouts::Order::Resume, &reason).await?;
        Ok(Response::new(v1::ResumeRolloutResponse {}))
    }

    async fn abort_rollout(&self, request: Request<v1::AbortRolloutRequest>) -> Answer<v1::AbortRolloutResponse> {
        let (principal, hdo) = hospital(&request)?;
        let v1::AbortRolloutRequest { id, reason } = request.into_inner();
        self.order(&principal, &hdo, &id, rollouts::Order::Abort, &reason).await?;
        Ok(Response::new(v1::AbortRolloutResponse {}))
    }

    async fn release_device(&self, request: Request<v1::ReleaseDeviceRequest>) -> Answer<v1::ReleaseDeviceResponse> {
        let (principal, hdo) = hospital(&request)?;
        let v1::ReleaseDeviceRequest { envelope } = request.into_inner();
        self.take_clearance(&principal, &hdo, &envelope).await?;
        Ok(Response::new(v1::ReleaseDeviceResponse {}))
    }

    async fn publish_stop(&self, request: Request<v1::PublishStopRequest>) -> Answer<v1::PublishStopResponse> {
        let (principal, hdo) = hospital(&request)?;
        let v1::PublishStopRequest { envelope } = request.into_inner();
        let news = self.take_stop(&principal, &hdo, &envelope).await?;
        Ok(Response::new(v1::PublishStopResponse { news }))
    }

    async fn get_stops(&self, request: Request<v1::GetStopsRequest>) -> Answer<v1::GetStopsResponse> {
        let (_, hdo) = hospital(&request)?;
        let v1::GetStopsRequest {} = request.into_inner();
        Ok(Response::new(self.stops(&hdo).await?))
    }

    async fn record_risk(&self, request: Request<v1::RecordRiskRequest>) -> Answer<v1::RecordRiskResponse> {
        let (principal, hdo) = hospital(&request)?;
        Ok(Response::new(self.assess(&principal, &hdo, request.into_inner()).await?))
    }

    async fn list_risks(&self, request: Request<v1::ListRisksRequest>) -> Answer<v1::ListRisksResponse> {
        let (_, hdo) = hospital(&request)?;
        Ok(Response::new(self.risks(&hdo, request.into_inner()).await?))
    }

    async fn propose_agreement(
        &self,
        request: Request<v1::ProposeAgreementRequest>,
    ) -> Answer<v1::ProposeAgreementResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.offer_agreement(&principal, request.into_inner()).await?))
    }

    async fn consent_to_agreement(
        &self,
        request: Request<v1::ConsentToAgreementRequest>,
    ) -> Answer<v1::ConsentToAgreementResponse> {
        let (principal, hdo) = hospital(&request)?;
        Ok(Response::new(self.consent(&principal, &hdo, request.into_inner()).await?))
    }

    async fn list_agreements(&self, request: Request<v1::ListAgreementsRequest>) -> Answer<v1::ListAgreementsResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.agreements(&principal, request.into_inner()).await?))
    }

    async fn decommission_device(
        &self,
        request: Request<v1::DecommissionDeviceRequest>,
    ) -> Answer<v1::DecommissionDeviceResponse> {
        let (principal, hdo) = hospital(&request)?;
        Ok(Response::new(self.take_out_of_use(&principal, &hdo, request.into_inner()).await?))
    }

    async fn list_events(&self, request: Request<v1::ListEventsRequest>) -> Answer<v1::ListEventsResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.events(&principal, request.into_inner()).await?))
    }

    async fn list_lost_devices(
        &self,
        request: Request<v1::ListLostDevicesRequest>,
    ) -> Answer<v1::ListLostDevicesResponse> {
        let (_, hdo) = hospital(&request)?;
        Ok(Response::new(self.lost_devices(&hdo, request.into_inner()).await?))
    }

    async fn set_lost_after(&self, request: Request<v1::SetLostAfterRequest>) -> Answer<v1::SetLostAfterResponse> {
        let (principal, hdo) = hospital(&request)?;
        self.silence(&principal, &hdo, request.into_inner()).await?;
        Ok(Response::new(v1::SetLostAfterResponse {}))
    }

    async fn get_transfer_limits(
        &self,
        request: Request<v1::GetTransferLimitsRequest>,
    ) -> Answer<v1::GetTransferLimitsResponse> {
        let (_, hdo) = hospital(&request)?;
        let v1::GetTransferLimitsRequest {} = request.into_inner();
        Ok(Response::new(self.limits(&hdo).await?))
    }

    async fn set_transfer_limits(
        &self,
        request: Request<v1::SetTransferLimitsRequest>,
    ) -> Answer<v1::SetTransferLimitsResponse> {
        let (principal, hdo) = hospital(&request)?;
        self.set_limits(&principal, &hdo, request.into_inner()).await?;
        Ok(Response::new(v1::SetTransferLimitsResponse {}))
    }

    async fn clear_transfer_limits(
        &self,
        request: Request<v1::ClearTransferLimitsRequest>,
    ) -> Answer<v1::ClearTransferLimitsResponse> {
        let (principal, hdo) = hospital(&request)?;
        self.clear_limits(&principal, &hdo, request.into_inner()).await?;
        Ok(Response::new(v1::ClearTransferLimitsResponse {}))
    }

    async fn get_checkpoint(&self, request: Request<v1::GetCheckpointRequest>) -> Answer<v1::GetCheckpointResponse> {
        Ok(Response::new(self.newest_checkpoint(request.into_inner()).await?))
    }

    async fn prove_audit(&self, request: Request<v1::ProveAuditRequest>) -> Answer<v1::ProveAuditResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.prove(&principal, request.into_inner()).await?))
    }

    async fn send_letters(&self, request: Request<v1::SendLettersRequest>) -> Answer<v1::SendLettersResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.send(&principal, request.into_inner()).await?))
    }

    async fn list_letters(&self, request: Request<v1::ListLettersRequest>) -> Answer<v1::ListLettersResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.letters(&principal, request.into_inner()).await?))
    }

    async fn list_letter_heads(
        &self,
        request: Request<v1::ListLetterHeadsRequest>,
    ) -> Answer<v1::ListLetterHeadsResponse> {
        Ok(Response::new(self.heads(request.into_inner()).await?))
    }

    async fn mark_letters(&self, request: Request<v1::MarkLettersRequest>) -> Answer<v1::MarkLettersResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.mark(&principal, request.into_inner()).await?))
    }

    async fn acknowledge_letter(
        &self,
        request: Request<v1::AcknowledgeLetterRequest>,
    ) -> Answer<v1::AcknowledgeLetterResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.acknowledge(&principal, request.into_inner()).await?))
    }

    async fn list_notices(&self, request: Request<v1::ListNoticesRequest>) -> Answer<v1::ListNoticesResponse> {
        Ok(Response::new(self.notices(request.into_inner()).await?))
    }

    async fn get_notice_status(
        &self,
        request: Request<v1::GetNoticeStatusRequest>,
    ) -> Answer<v1::GetNoticeStatusResponse> {
        Ok(Response::new(self.notice_status(request.into_inner()).await?))
    }

    async fn get_notice_clocks(
        &self,
        request: Request<v1::GetNoticeClocksRequest>,
    ) -> Answer<v1::GetNoticeClocksResponse> {
        Ok(Response::new(self.clocks(request.into_inner()).await?))
    }

    async fn add_contact(&self, request: Request<v1::AddContactRequest>) -> Answer<v1::AddContactResponse> {
        let (principal, hdo) = hospital(&request)?;
        Ok(Response::new(self.add_contact(&principal, &hdo, request.into_inner()).await?))
    }

    async fn list_contacts(&self, request: Request<v1::ListContactsRequest>) -> Answer<v1::ListContactsResponse> {
        let (_, hdo) = hospital(&request)?;
        let v1::ListContactsRequest {} = request.into_inner();
        Ok(Response::new(self.contacts(&hdo).await?))
    }

    async fn remove_contact(&self, request: Request<v1::RemoveContactRequest>) -> Answer<v1::RemoveContactResponse> {
        let (principal, hdo) = hospital(&request)?;
        Ok(Response::new(self.remove_contact(&principal, &hdo, request.into_inner()).await?))
    }

    async fn list_deliveries(&self, request: Request<v1::ListDeliveriesRequest>) -> Answer<v1::ListDeliveriesResponse> {
        let (_, hdo) = hospital(&request)?;
        Ok(Response::new(self.deliveries(&hdo, request.into_inner()).await?))
    }

    async fn list_audit(&self, request: Request<v1::ListAuditRequest>) -> Answer<v1::ListAuditResponse> {
        let principal = caller(&request)?;
        Ok(Response::new(self.audit(&principal, request.into_inner()).await?))
    }
}
