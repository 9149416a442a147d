//! Rollouts that the manufacturer suggests to hospitals. Nothing of it is authority.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;
use suture_core::approval::SignedDocument as _;
use suture_core::audit::Concern;
use suture_core::id::{HdoId, ProductId};
use suture_core::limits::{MAX_PROPOSAL_SECS, MAX_PROPOSALS, MAX_PROPOSED_HOSPITALS};
use suture_core::plan::Suggestion;
use suture_core::principal::Principal;
use suture_core::version::Release;
use suture_proto::{Invalid, parse, v1};
use tonic::Code;

use super::super::{Api, Refusal};
use super::decisions::name;
use super::organisation::sentence;
use super::page::Page;
use crate::audit;
use crate::store::proposals::{Place, Proposal};

impl Api {
    pub(super) async fn suggest(
        &self,
        principal: &Principal,
        request: v1::ProposeRequest,
    ) -> Result<v1::ProposeResponse, Refusal> {
        let v1::ProposeRequest { hdos, product, release, suggestion, note, expires_ms } = request;
        let product: ProductId = parse("product", &product)?;
        let release = Release(release);
        Suggestion::parse(&suggestion).map_err(|e| Refusal::invalid(format!("suggestion: {e}")))?;
        let note = sentence("note", &note)?.to_owned();
        let asked = hdos.iter().map(|id| parse("hdos", id)).collect::<Result<BTreeSet<HdoId>, Invalid>>()?;
        let (now, by) = (self.app.now(), name(principal)?);
        let expires = Timestamp::from_millisecond(expires_ms).map_err(|e| Invalid::new("expires_ms", e))?;
        if !(1..=MAX_PROPOSAL_SECS).contains(&expires.duration_since(now).as_secs()) {
            let days = MAX_PROPOSAL_SECS / 86_400;
            return Err(Refusal::invalid(format!("expires_ms: a suggestion lasts a second to {days} days")));
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|_| Refusal::new(Code::Internal, "the system gives no random numbers; try again"))?;
        let id = hex::encode(random);
        let mut tx = self.app.store().begin().await?;
        if tx.bundle_manifest(&product, release).await?.is_none() {
            return Err(Refusal::not_found(format!(
                "the catalog lists no {product} release {release}; publish it first: `suturectl bundle publish`"
            )));
        }
        let known: BTreeSet<HdoId> = tx.hdos().await?.into_iter().map(|h| h.id).collect();
        if let Some(unknown) = asked.difference(&known).next() {
            return Err(Refusal::not_found(format!("there is no hospital {unknown}; `suturectl hdo list`")));
        }
        let hdos = if asked.is_empty() { known } else { asked };
        if hdos.is_empty() || hdos.len() > MAX_PROPOSED_HOSPITALS {
            return Err(Refusal::invalid(format!(
                "hdos: {} hospitals; a suggestion goes to 1 to {MAX_PROPOSED_HOSPITALS} at once: name them",
                hdos.len()
            )));
        }
        tx.drop_proposals(now).await?;
        for hdo in &hdos {
            if tx.other_proposals(hdo, &product, release).await? >= MAX_PROPOSALS {
                let text = format!("{hdo} has {MAX_PROPOSALS} suggestions already; wait until one has expired");
                return Err(Refusal::new(Code::ResourceExhausted, text));
            }
            tx.put_proposal(&Proposal {
                id: id.clone(),
                hdo: hdo.clone(),
                product: product.clone(),
                release,
                suggestion: suggestion.to_vec(),
                note: note.clone(),
                by: by.clone(),
                created: now,
                expires,
            })
            .await?;
        }
        let subject = format!("{product}@{release}");
        for hdo in &hdos {
            let detail = json!({ "id": id, "note": note });
            audit::append(&mut tx, now, principal, hdo.into(), "rollout.proposed", &subject, detail).await?;
        }
        let detail = json!({ "id": id, "note": note, "hospitals": hdos.len() });
        audit::append(&mut tx, now, principal, Concern::Manufacturer, "rollout.proposed", &subject, detail).await?;
        tx.commit().await?;
        Ok(v1::ProposeResponse { id, hdos: hdos.iter().map(ToString::to_string).collect() })
    }

    pub(super) async fn take_back(
        &self,
        principal: &Principal,
        request: v1::TakeBackProposalRequest,
    ) -> Result<v1::TakeBackProposalResponse, Refusal> {
        let v1::TakeBackProposalRequest { id, hdos, reason } = request;
        let reason = sentence("reason", &reason)?;
        let asked = hdos.iter().map(|id| parse("hdos", id)).collect::<Result<BTreeSet<HdoId>, Invalid>>()?;
        let now = self.app.now();
        let mut tx = self.app.store().begin().await?;
        tx.drop_proposals(now).await?;
        let found = tx.proposal_to(&id).await?;
        let Some((product, release, _)) = found.first().cloned() else {
            return Err(Refusal::not_found(format!(
                "there is no proposal {id:?}, or it has expired, or another took its place; `suturectl rollout proposals`"
            )));
        };
        let have: BTreeSet<HdoId> = found.into_iter().map(|(_, _, hdo)| hdo).collect();
        if let Some(without) = asked.difference(&have).next() {
            return Err(Refusal::not_found(format!("{without} has no proposal {id}; `suturectl rollout proposals`")));
        }
        let hdos = if asked.is_empty() { have } else { asked };
        let subject = format!("{product}@{release}");
        for hdo in &hdos {
            tx.drop_proposal(hdo, &product, release).await?;
            let detail = json!({ "id": id, "reason": reason });
            audit::append(&mut tx, now, principal, hdo.into(), "rollout.proposal-taken-back", &subject, detail).await?;
        }
        let detail = json!({ "id": id, "reason": reason, "hospitals": hdos.len() });
        let action = "rollout.proposal-taken-back";
        audit::append(&mut tx, now, principal, Concern::Manufacturer, action, &subject, detail).await?;
        tx.commit().await?;
        Ok(v1::TakeBackProposalResponse { hdos: hdos.iter().map(ToString::to_string).collect() })
    }

    pub(super) async fn proposals(
        &self,
        principal: &Principal,
        request: v1::ListProposalsRequest,
    ) -> Result<v1::ListProposalsResponse, Refusal> {
        let v1::ListProposalsRequest { after, limit } = request;
        let v1::ProposalPlace { created_ms, hdo, product, release } = after.unwrap_or_default();
        let after = match hdo.as_str() {
            "" => None,
            hdo => Some(Place {
                created: Timestamp::from_millisecond(created_ms).map_err(|e| Invalid::new("after.created_ms", e))?,
                hdo: parse("after.hdo", hdo)?,
                product: parse("after.product", &product)?,
                release: Release(release),
            }),
        };
        let page = Page::of(limit);
        let store = self.app.store();
        let mut found = store.proposals(principal.hdo(), self.app.now(), after.as_ref(), page.wanted()).await?;
        let more = page.cut(&mut found, "proposals")?;
        let proposals = found.into_iter().map(|(proposal, version)| {
            let Proposal { id, hdo, product, release, suggestion, note, by, created, expires } = proposal;
            v1::RolloutProposal {
                id,
                hdo: hdo.to_string(),
                product: product.to_string(),
                version: version.to_string(),
                release: release.0,
                suggestion: suggestion.into(),
                note,
                proposed_by: by.to_string(),
                created_ms: created.as_millisecond(),
                expires_ms: expires.as_millisecond(),
            }
        });
        let mut proposals: Vec<v1::RolloutProposal> = proposals.collect();
        let cut = page.fit(&mut proposals, "proposals")?;
        Ok(v1::ListProposalsResponse { proposals, more: more || cut })
    }
}
