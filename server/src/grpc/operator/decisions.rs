//! Bundles that a hospital declines or defers.

use serde_json::json;
use suture_core::decision::{Decision, VerifiedDecision};
use suture_core::digest::Digest;
use suture_core::id::{HdoId, OperatorName, ProductId};
use suture_core::limits::{MAX_DECISIONS, MAX_ROWS_PER_CALL};
use suture_core::principal::Principal;
use suture_core::trust::{Role, Root, Verified};
use suture_core::version::Release;
use suture_proto::{Repository, parse, parse_digest, v1};
use tonic::Code;

use super::super::{Api, Refusal};
use crate::audit::{self, growth};
use crate::store::decisions::Decided;
use crate::store::{Lock, Tx};

fn message(decided: Decided) -> v1::Decision {
    let Decided { number, version, manifest_sha256, decision, by, at, signed, later, rollout } = decided;
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
        signed: signed.unwrap_or_default().into(),
    }
}

/// The name of whoever calls; every operator has one.
pub(super) fn name(principal: &Principal) -> Result<OperatorName, Refusal> {
    match principal {
        Principal::Operator(_, name) | Principal::Mdm(name) => Ok(name.clone()),
        _ => Err(Refusal::new(Code::PermissionDenied, "only an operator may call this")),
    }
}

/// Whether a decision is signed by whoever decides; refused where it is not and the hospital's root ties a key to the name, for
/// whoever has stolen a certificate has not stolen a key.
async fn is_signed(
    tx: &mut Tx,
    (hdo, manifest, decision, by): (&HdoId, &Digest, &Decision, &OperatorName),
    signed: &[u8],
) -> Result<bool, Refusal> {
    let repository = Repository::Approvals(hdo.clone()).to_string();
    let root = tx.newest_repo_file(&repository, Role::Root).await?;
    let unreadable = |e| Refusal::new(Code::Internal, format!("the approvals' root in the store cannot be read: {e}"));
    let root = root.map(|root| Verified::<Root>::pinned(&root.content)).transpose().map_err(unreadable)?;
    let keys = || root.iter().flat_map(|root| root.authority(Role::Targets).keys().map(move |key| (root, key)));
    if signed.is_empty() {
        return match keys().find(|(root, key)| root.holder(key) == Some(by)) {
            None => Ok(false),
            Some((_, key)) => Err(Refusal::invalid(format!(
                "signed: {by} holds the key {key} of {hdo}, so the decision is signed with it; decide at the home where it is"
            ))),
        };
    }
    let stated = VerifiedDecision::verify(signed).map_err(|e| Refusal::invalid(format!("signed: {e}")))?;
    let says = (&stated.hdo, &stated.manifest_sha256, &stated.decision, &stated.name);
    if says != (hdo, manifest, decision, by) {
        return Err(Refusal::invalid("signed: it is another decision, or somebody else's"));
    }
    match keys().find(|(_, key)| **key == stated.key) {
        None => Err(Refusal::invalid(format!("signed: the key {} is none that approves for {hdo}", stated.key))),
        Some((root, key)) => match root.holder(key).filter(|holder| *holder != by) {
            Some(holder) => Err(Refusal::invalid(format!("signed: the key {key} is {holder}'s, not {by}'s"))),
            None => Ok(true),
        },
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
            signed,
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
        growth::worded(&mut tx, principal, now).await?;
        let number = tx.decision_count(hdo).await? + 1;
        if number > MAX_DECISIONS {
            let text = format!("{hdo} has {MAX_DECISIONS} decisions on record, and no more fit");
            return Err(Refusal::new(Code::ResourceExhausted, text));
        }
        let is_signed = is_signed(&mut tx, (hdo, &manifest, &decision, &by), &signed).await?;
        tx.put_decision(hdo, number, &decision, (&by, is_signed.then_some(&*signed)), now).await?;
        let action = format!("bundle.{}", decision.choice);
        let subject = format!("{}@{}", decision.product, decision.release);
        let detail =
            json!({ "number": number, "manifest_sha256": manifest, "decision": decision, "signed": is_signed });
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
