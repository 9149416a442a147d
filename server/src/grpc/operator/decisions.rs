//! Bundles that a hospital declines or defers.

use serde_json::json;
use suture_core::decision::Decision;
use suture_core::id::{HdoId, OperatorName, ProductId};
use suture_core::limits::{MAX_DECISIONS, MAX_ROWS_PER_CALL};
use suture_core::principal::Principal;
use suture_core::version::Release;
use suture_proto::{parse, parse_digest, v1};
use tonic::Code;

use super::super::{Api, Refusal};
use crate::audit;
use crate::store::Lock;
use crate::store::decisions::Decided;

fn message(decided: Decided) -> v1::Decision {
    let Decided { number, version, manifest_sha256, decision, by, at, later, rollout } = decided;
    let Decision { product, release, plan_sha256, choice, reason, compensating, review } = decision;
    v1::Decision {
        number,
        product: product.to_string(),
        version: version.to_string(),
        release: release.0,
        manifest_sha256: manifest_sha256.as_bytes().to_vec().into(),
        plan_sha256: plan_sha256.map(|s| s.as_bytes().to_vec()).unwrap_or_default().into(),
        choice: choice.as_str().to_owned(),
        reason,
        compensating,
        review: review.to_string(),
        decided_by: by.to_string(),
        decided_ms: at.as_millisecond(),
        later: later.unwrap_or(0),
        rollout: rollout.unwrap_or_default(),
    }
}

/// The name of whoever calls; every operator has one.
pub(super) fn name(principal: &Principal) -> Result<OperatorName, Refusal> {
    match principal {
        Principal::Operator(_, name) | Principal::Mdm(name) => Ok(name.clone()),
        _ => Err(Refusal::new(Code::PermissionDenied, "only an operator may call this")),
    }
}

impl Api {
    pub(super) async fn decide(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::RecordDecisionRequest,
    ) -> Result<v1::RecordDecisionResponse, Refusal> {
        let v1::RecordDecisionRequest {
            product,
            release,
            manifest_sha256,
            plan_sha256,
            choice,
            reason,
            compensating,
            review,
        } = request;
        let product: ProductId = parse("product", &product)?;
        let manifest = parse_digest("manifest_sha256", &manifest_sha256)?;
        let plan_sha256 = (!plan_sha256.is_empty()).then(|| parse_digest("plan_sha256", &plan_sha256)).transpose()?;
        let (choice, review) = (parse("choice", &choice)?, parse("review", &review)?);
        let decision =
            Decision { product, release: Release(release), plan_sha256, choice, reason, compensating, review };
        let now = self.app.now();
        decision.check(now).map_err(|e| Refusal::invalid(e.to_string()))?;
        let by = name(principal)?;
        let mut tx = self.app.store().begin().await?;
        // Numbers go up without gaps, whoever else decides at this moment.
        tx.lock(Lock::AuditChain).await?;
        let listed = tx.bundle_manifest(&decision.product, decision.release).await?;
        if listed.is_none_or(|(_, sha256)| sha256 != manifest) {
            let text =
                format!("the catalog lists no such {} release {}: `suturectl bundle list`", decision.product, release);
            return Err(Refusal::not_found(text));
        }
        let number = tx.decision_count(hdo).await? + 1;
        if number > MAX_DECISIONS {
            let text = format!("{hdo} has {MAX_DECISIONS} decisions on record, and no more fit");
            return Err(Refusal::new(Code::ResourceExhausted, text));
        }
        tx.put_decision(hdo, number, &decision, &by, now).await?;
        let action = format!("bundle.{}", decision.choice);
        let subject = format!("{}@{}", decision.product, decision.release);
        let detail = json!({ "number": number, "manifest_sha256": manifest, "decision": decision });
        audit::append(&mut tx, now, principal, hdo.into(), &action, &subject, detail).await?;
        tx.commit().await?;
        Ok(v1::RecordDecisionResponse { number })
    }

    pub(super) async fn decisions(
        &self,
        hdo: &HdoId,
        request: v1::ListDecisionsRequest,
    ) -> Result<v1::ListDecisionsResponse, Refusal> {
        let v1::ListDecisionsRequest { all, before, limit } = request;
        let before = if before == 0 { MAX_DECISIONS + 1 } else { before.min(MAX_DECISIONS + 1) };
        let limit = if limit == 0 { MAX_ROWS_PER_CALL } else { limit.min(MAX_ROWS_PER_CALL) };
        let mut decisions = self.app.store().decisions(hdo, all, before, limit + 1).await?;
        let more = decisions.len() > limit as usize;
        decisions.truncate(limit as usize);
        Ok(v1::ListDecisionsResponse { decisions: decisions.into_iter().map(message).collect(), more })
    }
}
