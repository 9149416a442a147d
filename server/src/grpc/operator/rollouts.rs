//! Plans and rollouts.

use jiff::SignedDuration;
use prost::Message as _;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, HdoId};
use suture_core::limits::{
    MAX_KEPT_PLANS, MAX_KEPT_PLANS_BYTES, MAX_PLAN_BYTES, MAX_ROWS_PER_CALL, MAX_UNAPPROVED_NAMED,
};
use suture_core::principal::Principal;
use suture_core::rollout::{Progress, Stage};
use suture_proto::{parse, parse_digest, v1};

use super::super::{Api, Refusal};
use super::organisation::sentence;
use super::page::Page;
use crate::rollout::{RolloutError, order};
use crate::stop;
use crate::store::members::Member;
use crate::store::retried;
use crate::store::rollouts::Rollout;

pub(super) use crate::rollout::order::Order;

pub(super) fn message(rollout: Rollout, stages: Vec<Stage>, members: Vec<Member>) -> v1::Rollout {
    let timeout = rollout.timeout();
    v1::Rollout {
        id: rollout.id.to_string(),
        state: rollout.state.as_str().to_owned(),
        reason: rollout.reason.as_ref().map(v1::Reason::from),
        product: rollout.product.to_string(),
        version: rollout.version.to_string(),
        release: rollout.release.0,
        manifest_sha256: rollout.manifest_sha256.as_bytes().to_vec().into(),
        wave: rollout.wave,
        waves: rollout.waves,
        unsigned_waves: rollout.unsigned.iter().collect(),
        leases: Vec::new(),
        ticket: rollout.ticket,
        created_ms: rollout.created.as_millisecond(),
        expires_ms: rollout.expires.as_millisecond(),
        attempt_timeout_secs: rollout.attempt_timeout_secs,
        stages: stages.into_iter().map(stage).collect(),
        devices: members.into_iter().map(|m| device(m, timeout)).collect(),
    }
}

fn stage(Stage { gate, tally }: Stage) -> v1::RolloutWave {
    v1::RolloutWave {
        needs_server: gate.needs_server,
        needs_signature: gate.needs_signature,
        min_confirmed_percent: gate.min_confirmed_percent,
        max_failures: gate.max_failures,
        max_failed_percent: gate.max_failed_percent,
        soak_secs: gate.soak_secs,
        devices: tally.devices,
        begun: tally.begun,
        confirmed: tally.confirmed,
        failed: tally.failed,
        retrying: tally.retrying,
        timed_out: tally.timed_out,
        missed: tally.missed,
        ended: tally.ended,
        forgiven: tally.let_go(),
        last_confirmed_ms: tally.last_confirmed.map_or(0, |at| at.as_millisecond()),
    }
}

fn device(m: Member, timeout: SignedDuration) -> v1::RolloutDevice {
    let Progress { wave, phase, since, slots_end, barred, forgiven } = m.progress;
    let reason = m.progress.reason(m.standing, timeout).or(m.reason);
    v1::RolloutDevice {
        id: m.device.to_string(),
        wave,
        phase: v1::Phase::from(phase).into(),
        reason: reason.as_ref().map(v1::Reason::from),
        changed_ms: since.as_millisecond(),
        slots_end_ms: slots_end.as_millisecond(),
        standing: m.standing.as_str().to_owned(),
        forgiven,
        tries: m.tries,
        barred,
        fetched_bytes: m.fetched_bytes,
        total_bytes: m.total_bytes,
        // What was kept by a server that wrote it otherwise is no more than missed.
        transfer: m.transfer.and_then(|bytes| v1::Transfer::decode(bytes.as_slice()).ok()),
    }
}

impl Api {
    pub(super) async fn keep_plan(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::StorePlanRequest,
    ) -> Result<v1::StorePlanResponse, Refusal> {
        let v1::StorePlanRequest { plan } = request;
        if plan.is_empty() || plan.len() as u64 > MAX_PLAN_BYTES {
            return Err(Refusal::invalid(format!("plan: empty, or more than {MAX_PLAN_BYTES} bytes")));
        }
        let sha256 = Digest::of(&plan);
        let mut turn = self.app.turns().wait_of(principal).await;
        let mut tx = self.app.store().begin().await?;
        turn.begin();
        let now = self.app.now();
        tx.put_plan(hdo, &sha256, &plan, &principal.to_string(), now).await?;
        tx.drop_old_plans(hdo, MAX_KEPT_PLANS, MAX_KEPT_PLANS_BYTES, now).await?;
        tx.commit().await?;
        Ok(v1::StorePlanResponse { sha256: sha256.as_bytes().to_vec().into() })
    }

    pub(super) async fn plan(&self, hdo: &HdoId, request: v1::GetPlanRequest) -> Result<v1::GetPlanResponse, Refusal> {
        let v1::GetPlanRequest { sha256 } = request;
        let sha256 = parse_digest("sha256", &sha256)?;
        let plan = self.app.store().plan(hdo, &sha256).await?;
        let plan = plan.ok_or_else(|| Refusal::not_found(format!("{hdo} has no plan {sha256}; plan it again")))?;
        Ok(v1::GetPlanResponse { plan: plan.into() })
    }

    pub(super) async fn statements(
        &self,
        hdo: &HdoId,
        request: v1::GetStatementsRequest,
    ) -> Result<v1::GetStatementsResponse, Refusal> {
        let v1::GetStatementsRequest { rollout } = request;
        let id: ApprovalId = parse("rollout", &rollout)?;
        let statements = self.app.store().statements(hdo, &id).await?;
        Ok(v1::GetStatementsResponse { statements: statements.into_iter().map(Into::into).collect() })
    }

    pub(super) async fn rollouts(
        &self,
        hdo: &HdoId,
        request: v1::ListRolloutsRequest,
    ) -> Result<v1::ListRolloutsResponse, Refusal> {
        let v1::ListRolloutsRequest { all, after, limit } = request;
        let page = Page::of(limit);
        let mut tx = self.app.store().read().await?;
        let after = match after.as_str() {
            "" => None,
            id => {
                let id: ApprovalId = parse("after", id)?;
                let found = tx.rollout(hdo, &id).await?.ok_or_else(|| RolloutError::NotFound(id))?;
                Some((found.created, found.id))
            }
        };
        let mut found = tx.rollouts(hdo, all, after.as_ref(), page.wanted()).await?;
        let more = page.cut(&mut found, "rollouts")?;
        let rollouts = found.into_iter().map(|r| message(r, Vec::new(), Vec::new())).collect();
        Ok(v1::ListRolloutsResponse { rollouts, more })
    }

    pub(super) async fn rollout(
        &self,
        hdo: &HdoId,
        request: v1::GetRolloutRequest,
    ) -> Result<v1::GetRolloutResponse, Refusal> {
        let v1::GetRolloutRequest { id, after, limit } = request;
        let id: ApprovalId = parse("id", &id)?;
        let after = (!after.is_empty()).then(|| parse("after", &after)).transpose()?;
        let limit = if limit == 0 { MAX_ROWS_PER_CALL } else { limit.min(MAX_ROWS_PER_CALL) };
        let mut tx = self.app.store().read().await?;
        let rollout = tx.rollout(hdo, &id).await?;
        let rollout = rollout.ok_or_else(|| RolloutError::NotFound(id.clone()))?;
        let stages = tx.stages(hdo, &id).await?;
        // A page of a long list need not say it again.
        let mut unapproved = if after.is_none() { tx.unapproved(&rollout).await? } else { Vec::new() };
        let count = u32::try_from(unapproved.len()).unwrap_or(u32::MAX);
        unapproved.truncate(MAX_UNAPPROVED_NAMED);
        let mut members = tx.members_after(hdo, &id, after.as_ref(), limit + 1).await?;
        let more = members.len() > limit as usize;
        members.truncate(limit as usize);
        let now = self.app.now();
        let leases = tx.rollout_leases(hdo, &id).await?;
        let down = leases.iter().filter(|l| l.counts(now)).take(MAX_ROWS_PER_CALL as usize);
        let leases = down.map(Into::into).collect();
        Ok(v1::GetRolloutResponse {
            rollout: Some(v1::Rollout { leases, ..message(rollout, stages, members) }),
            more,
            unapproved: count,
            unapproved_ids: unapproved.iter().map(ToString::to_string).collect(),
        })
    }

    pub(super) async fn take_stop(&self, principal: &Principal, hdo: &HdoId, envelope: &[u8]) -> Result<bool, Refusal> {
        let mut tx = self.app.store().begin().await?;
        let news = stop::take(&mut tx, hdo, envelope, principal, self.app.now()).await?;
        tx.commit().await?;
        self.app.news().tell();
        Ok(news)
    }

    pub(super) async fn stops(&self, hdo: &HdoId) -> Result<v1::GetStopsResponse, Refusal> {
        let envelopes = self.app.store().read().await?.stops(hdo).await?;
        Ok(v1::GetStopsResponse { envelopes: envelopes.into_iter().map(Into::into).collect() })
    }

    pub(super) async fn order(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        id: &str,
        order: Order,
        reason: &str,
    ) -> Result<(), Refusal> {
        let id: ApprovalId = parse("id", id)?;
        let reason = sentence("reason", reason)?;
        let now = self.app.now();
        let (store, id) = (self.app.store(), &id);
        let done = retried(|| async move {
            let mut tx = store.begin().await?;
            order::order(&mut tx, hdo, id, order, principal, reason, now).await?;
            Ok::<_, RolloutError>(tx.commit().await?)
        });
        done.await?;
        self.app.news().tell();
        Ok(())
    }
}
