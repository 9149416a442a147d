//! What people say in a series: the register of risk, agreements on who does what.

use serde_json::json;
use suture_core::audit::Concern;
use suture_core::clock::day_of;
use suture_core::id::{HdoId, OperatorName, ProductId};
use suture_core::life::Life;
use suture_core::limits::{MAX_AGREEMENTS, MAX_ASSESSMENTS, MAX_LIFE_CHANGE_AGE, MAX_SIGNER_AHEAD, MAX_WORDS_PER_CALL};
use suture_core::principal::Principal;
use suture_core::responsibility::{Agreement, Consent};
use suture_core::risk::{self, Assessment};
use suture_core::trust::{Role, Root, Verified};
use suture_core::word::{self, Spoken, Word};
use suture_proto::{Repository, parse, v1};
use tonic::Code;

use super::super::{Api, Refusal};
use super::decisions::name;
use crate::audit::{self, growth};
use crate::store::agreements::Agreed;
use crate::store::risks::Recorded;
use crate::store::{Lock, Tx};

/// Reads what the caller says. Whoever holds a key that signs says it with that, for whoever has stolen a certificate has not
/// stolen a key.
async fn heard<D: Spoken>(
    tx: &mut Tx,
    repository: &Repository,
    by: &OperatorName,
    bytes: &[u8],
) -> Result<Word<D>, Refusal> {
    let word = Word::<D>::read(bytes).map_err(|e| Refusal::invalid(format!("word: {}", chain(&e))))?;
    if word.name() != by {
        return Err(Refusal::invalid(format!("word: it is {}'s, and {by} sends it", word.name())));
    }
    let root = tx.newest_repo_file(&repository.to_string(), Role::Root).await?;
    let unreadable = |e| Refusal::new(Code::Internal, format!("the root of {repository} cannot be read: {e}"));
    let root = root.map(|root| Verified::<Root>::pinned(&root.content)).transpose().map_err(unreadable)?;
    let held =
        root.iter().find_map(|root| root.authority(Role::Targets).keys().find(|key| root.holder(key) == Some(by)));
    match (word.key(), &root) {
        (Some(key), Some(root)) if !word.is_listed(root) => {
            Err(Refusal::invalid(format!("word: the key {key} is none that signs for {repository}, or another's")))
        }
        (Some(key), None) => Err(Refusal::invalid(format!("word: {repository} has no root that lists the key {key}"))),
        (None, _) if held.is_some() => Err(Refusal::invalid(format!(
            "word: {by} holds a key of {repository}, so it is signed with that; say it at the home where the key is"
        ))),
        _ => Ok(word),
    }
}

/// An error with what it came from, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// That somebody else was faster.
fn overtaken(what: &str) -> Refusal {
    Refusal::new(Code::FailedPrecondition, format!("word: {what} was recorded meanwhile; read it, and say it again"))
}

fn spoken(Recorded { word, by, at }: Recorded) -> v1::Spoken {
    v1::Spoken { word: word.into(), recorded_by: by.to_string(), recorded_ms: at.as_millisecond() }
}

fn page(limit: u32) -> u32 {
    if limit == 0 { MAX_WORDS_PER_CALL } else { limit.min(MAX_WORDS_PER_CALL) }
}

impl Api {
    /// Refuses a word that was not said lately.
    fn is_said_now(&self, at: jiff::Timestamp) -> Result<(), Refusal> {
        let age = self.app.now().duration_since(at);
        if (-MAX_SIGNER_AHEAD..=MAX_LIFE_CHANGE_AGE).contains(&age) {
            return Ok(());
        }
        Err(Refusal::invalid(format!("word: it says that it was said at {at}; look at the clock where it was")))
    }

    pub(super) async fn assess(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::RecordRiskRequest,
    ) -> Result<v1::RecordRiskResponse, Refusal> {
        let v1::RecordRiskRequest { word } = request;
        let (now, by) = (self.app.now(), name(principal)?);
        let mut tx = self.app.store().begin().await?;
        // Numbers go up without gaps, whoever else says something at this moment.
        tx.lock(Lock::AuditChain).await?;
        let said: Word<Assessment> = heard(&mut tx, &Repository::Approvals(hdo.clone()), &by, &word).await?;
        if said.hdo != *hdo {
            return Err(Refusal::invalid(format!("word: it is of the register of {}", said.hdo)));
        }
        self.is_said_now(said.assessed_at)?;
        growth::said(&mut tx, principal, word.len(), now).await?;
        growth::worded(&mut tx, principal, now).await?;
        if said.place() != word::after(tx.risk_head(hdo).await?) {
            return Err(overtaken("another assessment"));
        }
        if said.number > MAX_ASSESSMENTS {
            let text = format!("{hdo} has {MAX_ASSESSMENTS} assessments on record, and no more fit");
            return Err(Refusal::new(Code::ResourceExhausted, text));
        }
        let life = tx.life(&said.group.product).await?;
        let life = life.and_then(|(_, bytes)| suture_core::approval::SignedDocument::parse(&bytes).ok());
        let release = said.group.releases.map(suture_core::version::ReleaseRange::first);
        let end = life.and_then(|life: Life| life.dates(release).end_of_support);
        let last = risk::last_day(end, day_of(said.assessed_at));
        if said.expires > last {
            return Err(Refusal::new(
                Code::FailedPrecondition,
                format!("word: support of {} ends or has ended, so it holds until {last} at the latest", said.group),
            ));
        }
        tx.put_risk(&said, &by, now).await?;
        let detail = json!({
            "sha256": said.digest(), "product": said.group.product, "group_sha256": said.group.digest(),
            "treatment": said.treatment, "expires": said.expires.to_string(), "signed": said.key.is_some(),
            "likelihood": said.likelihood, "severity": said.severity, "exploitability": said.exploitability,
            "reason": said.reason, "reviewer": said.reviewer,
        });
        let subject = said.number.to_string();
        audit::append(&mut tx, now, principal, hdo.into(), "risk.assessed", &subject, detail).await?;
        tx.commit().await?;
        Ok(v1::RecordRiskResponse { number: said.number })
    }

    pub(super) async fn risks(
        &self,
        hdo: &HdoId,
        request: v1::ListRisksRequest,
    ) -> Result<v1::ListRisksResponse, Refusal> {
        let v1::ListRisksRequest { after, limit } = request;
        let limit = page(limit);
        let mut risks = self.app.store().risks(hdo, after.min(MAX_ASSESSMENTS), limit + 1).await?;
        let more = risks.len() > limit as usize;
        risks.truncate(limit as usize);
        Ok(v1::ListRisksResponse { risks: risks.into_iter().map(spoken).collect(), more })
    }

    pub(super) async fn offer_agreement(
        &self,
        principal: &Principal,
        request: v1::ProposeAgreementRequest,
    ) -> Result<v1::ProposeAgreementResponse, Refusal> {
        let v1::ProposeAgreementRequest { word } = request;
        let (now, by) = (self.app.now(), name(principal)?);
        let mut tx = self.app.store().begin().await?;
        tx.lock(Lock::AuditChain).await?;
        let said: Word<Agreement> = heard(&mut tx, &Repository::Catalog, &by, &word).await?;
        self.is_said_now(said.proposed_at)?;
        growth::said(&mut tx, principal, word.len(), now).await?;
        let (hdo, product) = (said.hdo.clone(), said.product.clone());
        if !tx.hdos().await?.iter().any(|known| known.id == hdo) {
            return Err(Refusal::not_found(format!("there is no hospital {hdo}; `suturectl hdo list`")));
        }
        growth::proposed(&mut tx, (&hdo, &product), now).await?;
        if said.place() != word::after(tx.agreement_head(&hdo, &product).await?.map(|(head, _)| head)) {
            return Err(overtaken("another proposal"));
        }
        if said.number > MAX_AGREEMENTS {
            let text = format!("{MAX_AGREEMENTS} agreements were proposed to {hdo} for {product}, and no more fit");
            return Err(Refusal::new(Code::ResourceExhausted, text));
        }
        tx.put_agreement(&said, &by, now).await?;
        let detail = json!({
            "number": said.number, "sha256": said.digest(), "from": said.from.to_string(), "reason": said.reason,
            "signed": said.key.is_some(),
        });
        for concerns in [Concern::Hospital(hdo.clone()), Concern::Manufacturer] {
            let detail = detail.clone();
            audit::append(&mut tx, now, principal, concerns, "agreement.proposed", product.as_str(), detail).await?;
        }
        tx.commit().await?;
        Ok(v1::ProposeAgreementResponse { number: said.number })
    }

    pub(super) async fn consent(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::ConsentToAgreementRequest,
    ) -> Result<v1::ConsentToAgreementResponse, Refusal> {
        let v1::ConsentToAgreementRequest { word } = request;
        let (now, by) = (self.app.now(), name(principal)?);
        let mut tx = self.app.store().begin().await?;
        tx.lock(Lock::AuditChain).await?;
        let said: Word<Consent> = heard(&mut tx, &Repository::Approvals(hdo.clone()), &by, &word).await?;
        self.is_said_now(said.consented_at)?;
        growth::said(&mut tx, principal, word.len(), now).await?;
        let product = said.product.clone();
        if said.hdo != *hdo {
            return Err(Refusal::invalid(format!("word: it is the consent of {}", said.hdo)));
        }
        let Some((head, consented)) = tx.agreement_head(hdo, &product).await? else {
            return Err(Refusal::not_found(format!("nothing was proposed to {hdo} for {product}")));
        };
        if (said.number, said.agreement_sha256) != (head.number, head.sha256) {
            return Err(overtaken("another proposal"));
        }
        let key = (hdo, &product, head.sha256);
        if consented || !tx.put_consent(key, said.bytes(), &by, now).await? {
            let text = format!("{hdo} has consented to agreement {} on {product} already", head.number);
            return Err(Refusal::new(Code::AlreadyExists, text));
        }
        let detail = json!({
            "number": said.number, "agreement_sha256": said.agreement_sha256, "sha256": said.digest(),
            "signed": said.key.is_some(),
        });
        for concerns in [Concern::Hospital(hdo.clone()), Concern::Manufacturer] {
            let detail = detail.clone();
            audit::append(&mut tx, now, principal, concerns, "agreement.signed", product.as_str(), detail).await?;
        }
        tx.commit().await?;
        Ok(v1::ConsentToAgreementResponse {})
    }

    pub(super) async fn agreements(
        &self,
        principal: &Principal,
        request: v1::ListAgreementsRequest,
    ) -> Result<v1::ListAgreementsResponse, Refusal> {
        let v1::ListAgreementsRequest { hdo, product, after, limit } = request;
        let hdo: HdoId = match principal.hdo() {
            Some(own) if hdo.is_empty() || hdo == own.as_str() => own.clone(),
            Some(_) => {
                return Err(Refusal::new(
                    Code::PermissionDenied,
                    format!("{hdo:?} is another hospital; each reads its own agreements only"),
                ));
            }
            None => parse("hdo", &hdo)?,
        };
        let product: ProductId = parse("product", &product)?;
        let limit = page(limit);
        let after = after.min(MAX_AGREEMENTS);
        let mut agreed = self.app.store().agreements((&hdo, &product), after, limit + 1).await?;
        let more = agreed.len() > limit as usize;
        agreed.truncate(limit as usize);
        let agreements = agreed.into_iter().map(|Agreed { agreement, consent }| v1::ListedAgreement {
            agreement: Some(spoken(agreement)),
            consent: consent.map(spoken),
        });
        Ok(v1::ListAgreementsResponse { agreements: agreements.collect(), more })
    }
}
