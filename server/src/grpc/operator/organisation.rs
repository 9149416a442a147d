//! Hospitals and operators.

use jiff::Timestamp;
use serde_json::json;
use suture_core::audit::Concern;
use suture_core::digest::Digest;
use suture_core::id::{HdoId, OperatorName};
use suture_core::limits::{MAX_TEXT_BYTES, MAX_TOKEN_SECS};
use suture_core::principal::Principal;
use suture_core::token::Grant;
use suture_proto::{Invalid, parse, parse_digest, v1};
use tonic::{Code, Request};

use super::super::token::{Shown, shown, spent};
use super::super::{Api, Newcomer, Refusal, caller};
use super::page::Page;
use crate::audit;
use crate::identity::Csr;
use crate::rights::Caller;
use crate::store::Lock;
use crate::store::operators::principal as principal_of;

/// When a token that a caller wants may end: later than now, and not too late.
pub(super) fn token_end(expires_ms: i64, now: Timestamp) -> Result<Timestamp, Refusal> {
    let end = Timestamp::from_millisecond(expires_ms).map_err(|e| Invalid::new("expires_ms", e))?;
    let life = end.duration_since(now).as_secs();
    if (1..=MAX_TOKEN_SECS).contains(&life) {
        Ok(end)
    } else {
        let text = format!("expires_ms: a token lives at least a second and at most {} days", MAX_TOKEN_SECS / 86_400);
        Err(Refusal::invalid(text))
    }
}

/// A sentence that somebody wrote.
pub(in crate::grpc) fn sentence<'a>(field: &'static str, text: &'a str) -> Result<&'a str, Refusal> {
    if text.trim().is_empty() {
        Err(Refusal::invalid(format!("{field}: is empty; it goes on record")))
    } else if text.len() > MAX_TEXT_BYTES {
        Err(Refusal::invalid(format!("{field}: {} bytes are more than {MAX_TEXT_BYTES}", text.len())))
    } else {
        Ok(text)
    }
}

fn known_secret() -> Refusal {
    Refusal::new(Code::AlreadyExists, "secret_sha256: that secret is known here; make a new one")
}

impl Api {
    pub(super) async fn join_operator(&self, request: v1::JoinRequest) -> Result<v1::JoinResponse, Refusal> {
        let v1::JoinRequest { secret, csr, name } = request;
        let csr = Csr::read(&csr)?;
        let now = self.app.now();
        let secret_sha256 = Digest::of(&secret);
        self.must_know(&secret_sha256, &csr, now).await?;
        let mut tx = self.app.store().begin().await?;
        let Shown { grant, spent_by } = shown(&mut tx, &secret_sha256, &csr, now).await?;
        let Newcomer::Operator(hdo, operator) = Newcomer::of(grant, &name)? else {
            return Err(Refusal::new(Code::Unauthenticated, "the token is a device's: use `suture-agent enroll`"));
        };
        let principal = principal_of(hdo.as_ref(), &operator);
        let uri = principal.uri(self.app.authority().domain());
        if let Some(by) = spent_by {
            if by != principal.to_string() {
                return Err(spent());
            }
            let issued = self.certify_again(tx, &csr, &principal, now).await?;
            return Ok(v1::JoinResponse { chain: issued.chain.into_iter().map(Into::into).collect(), uri });
        }
        if !tx.join_operator(hdo.as_ref(), &operator, now).await? {
            // By somebody who has just come with the same token, or by another.
            if !tx.spend_token(&secret_sha256, &principal, now).await? {
                return Err(spent());
            }
            let text = format!("name: there is an operator {operator} already; take another name");
            return Err(Refusal::new(Code::AlreadyExists, text));
        }
        // In the order in which a revocation takes them: the operator, the record, the tokens.
        tx.lock(Lock::AuditChain).await?;
        if !tx.spend_token(&secret_sha256, &principal, now).await? {
            return Err(spent());
        }
        if let Some(hdo) = &hdo {
            tx.end_invitations(hdo, now).await?;
        }
        // As at a device's enrolment: whatever is left of those of before is worth nothing.
        tx.revoke_certificates(&principal, now).await?;
        let issued = self.app.authority().issue(&csr, &principal, now)?;
        tx.insert_certificate(&issued.certificate).await?;
        let subject = principal.to_string();
        audit::append(&mut tx, now, &principal, Concern::of(&principal), "operator.joined", &subject, json!({}))
            .await?;
        tx.commit().await?;
        Ok(v1::JoinResponse { chain: issued.chain.into_iter().map(Into::into).collect(), uri })
    }

    pub(super) fn describe_caller<T>(&self, request: &Request<T>) -> Result<v1::WhoAmIResponse, Refusal> {
        let principal = caller(request)?;
        let end = Caller::of(request)?.peer.not_after;
        Ok(v1::WhoAmIResponse {
            uri: principal.uri(self.app.authority().domain()),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            server_time_ms: self.app.now().as_millisecond(),
            certificate_expires_ms: end.as_millisecond(),
        })
    }

    pub(super) async fn invite_hospital(
        &self,
        principal: &Principal,
        request: v1::InviteHdoRequest,
    ) -> Result<v1::InviteHdoResponse, Refusal> {
        let v1::InviteHdoRequest { hdo, name, secret_sha256, expires_ms } = request;
        let hdo: HdoId = parse("hdo", &hdo)?;
        let name = sentence("name", &name)?;
        let secret = parse_digest("secret_sha256", &secret_sha256)?;
        let now = self.app.now();
        let expires = token_end(expires_ms, now)?;
        let mut tx = self.app.store().begin().await?;
        // Inviting again is how a hospital whose first invitation was lost gets in, until somebody has.
        // Whoever was revoked has joined too: a manufacturer gets into no hospital that has lost its operators.
        match tx.hdos().await?.into_iter().find(|h| h.id == hdo) {
            Some(_) if !tx.operators(Some(&hdo)).await?.is_empty() => {
                let text = format!(
                    "{hdo} has joined already; its own operators invite their colleagues, and where none of them is left, \
                     whoever runs the server says `suture-server operator invite NAME --hdo {hdo}` there"
                );
                return Err(Refusal::new(Code::AlreadyExists, text));
            }
            Some(_) => {}
            None => {
                tx.insert_hdo(&hdo, name, now).await?;
            }
        }
        if !tx.insert_token(&secret, &Grant::Hdo(hdo.clone()), principal, now, expires).await? {
            return Err(known_secret());
        }
        audit::append(&mut tx, now, principal, (&hdo).into(), "hdo.invited", hdo.as_str(), json!({ "name": name }))
            .await?;
        tx.commit().await?;
        Ok(v1::InviteHdoResponse {})
    }

    pub(super) async fn hospitals(&self, request: v1::ListHdosRequest) -> Result<v1::ListHdosResponse, Refusal> {
        let v1::ListHdosRequest { after, limit } = request;
        let after = (!after.is_empty()).then(|| parse("after", &after)).transpose()?;
        let page = Page::of(limit);
        let mut found = self.app.store().read().await?.hdos_after(after.as_ref(), page.wanted()).await?;
        let more = page.cut(&mut found, "hospitals")?;
        let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let hdos = found.into_iter().map(|h| v1::Hdo {
            id: h.id.to_string(),
            name: h.name,
            operators: count(h.operators),
            devices: count(h.devices),
            root_sha256: h.root.map(|d| d.as_bytes().to_vec().into()).unwrap_or_default(),
        });
        Ok(v1::ListHdosResponse { hdos: hdos.collect(), more })
    }

    pub(super) async fn invite_colleague(
        &self,
        principal: &Principal,
        request: v1::InviteOperatorRequest,
    ) -> Result<v1::InviteOperatorResponse, Refusal> {
        let v1::InviteOperatorRequest { name, secret_sha256, expires_ms } = request;
        let name: OperatorName = parse("name", &name)?;
        let secret = parse_digest("secret_sha256", &secret_sha256)?;
        let now = self.app.now();
        let expires = token_end(expires_ms, now)?;
        let grant = match principal.hdo() {
            Some(hdo) => Grant::Operator(hdo.clone(), name.clone()),
            None => Grant::Mdm(name.clone()),
        };
        let mut tx = self.app.store().begin().await?;
        if !tx.insert_token(&secret, &grant, principal, now, expires).await? {
            return Err(known_secret());
        }
        let subject = principal_of(principal.hdo(), &name).to_string();
        audit::append(&mut tx, now, principal, Concern::of(principal), "operator.invited", &subject, json!({})).await?;
        tx.commit().await?;
        Ok(v1::InviteOperatorResponse {})
    }

    pub(super) async fn revoke_colleague(
        &self,
        principal: &Principal,
        request: v1::RevokeOperatorRequest,
    ) -> Result<v1::RevokeOperatorResponse, Refusal> {
        let v1::RevokeOperatorRequest { name } = request;
        let name: OperatorName = parse("name", &name)?;
        let whom = principal_of(principal.hdo(), &name);
        if whom == *principal {
            let text = "you would lock yourself out; let a colleague revoke you";
            return Err(Refusal::new(Code::FailedPrecondition, text));
        }
        let now = self.app.now();
        let mut tx = self.app.store().begin().await?;
        if !tx.revoke_operator(principal.hdo(), &name, now).await? {
            return Err(Refusal::not_found(format!("no operator {name} is in good standing here")));
        }
        // What the one who is revoked has under way is done by now and seen here, or finds the revocation.
        tx.lock(Lock::AuditChain).await?;
        tx.revoke_certificates(&whom, now).await?;
        let tokens_ended = tx.end_tokens_of(principal.hdo(), &name, now).await?;
        let subject = whom.to_string();
        let details = json!({ "tokens_ended": tokens_ended });
        audit::append(&mut tx, now, principal, Concern::of(principal), "operator.revoked", &subject, details).await?;
        tx.commit().await?;
        // Whoever was revoked while watching is sent away now.
        self.app.news().tell();
        Ok(v1::RevokeOperatorResponse {})
    }
}
