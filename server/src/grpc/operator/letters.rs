//! What the two sides write to one another, and how far it has come.

use jiff::Timestamp;
use serde_json::json;
use suture_core::id::{HdoId, ProductId};
use suture_core::limits::{
    MAX_CLOCK_NOTICES, MAX_LETTERS, MAX_LETTERS_PER_CALL, MAX_MESSAGE_BYTES, MAX_ROOTS_PER_CALL, MAX_ROWS_PER_CALL,
};
use suture_core::notice::{Side, VerifiedLetter};
use suture_core::principal::Principal;
use suture_core::trust::Role;
use suture_core::version::Release;
use suture_proto::{Repository, parse, parse_digest, v1};
use tonic::Code;

use super::super::{Api, Refusal};
use super::decisions::name;
use super::organisation::sentence;
use crate::notice::side;
use crate::notice::take::{LetterTakeError, key_of, root_by, take, told};
use crate::store::Lock;
use crate::store::letters::{Answer, ClocksOf, HospitalClocks, Kept, SentNotice, Step};

fn step(step: Option<Step>) -> Option<v1::LetterStep> {
    step.map(|Step { by, at }| v1::LetterStep { by, at_ms: at.as_millisecond() })
}

fn message(kept: Kept) -> v1::StoredLetter {
    let Kept { hdo: _, number, sha256: _, content, stored, answer_by, delivered, read, answered, repeats } = kept;
    let (answered, answer) = answered.map_or((None, None), |(step, answer)| (Some(step), Some(answer)));
    let (answer, answer_sha256) = answer.map_or((String::new(), None), |a| (a.text, a.sha256));
    v1::StoredLetter {
        number,
        content: content.into(),
        stored_ms: stored.as_millisecond(),
        delivered: step(delivered),
        read: step(read),
        answered: step(answered),
        answer,
        answer_sha256: answer_sha256.map(|d| d.as_bytes().to_vec()).unwrap_or_default().into(),
        answer_by_ms: answer_by.map_or(0, Timestamp::as_millisecond),
        repeats,
    }
}

fn small(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn within(limit: u32, most: u32) -> u32 {
    if limit == 0 { most } else { limit.min(most) }
}

/// The hospital that a caller means: its own, or for the manufacturer the one that it names.
fn hospital(principal: &Principal, named: &str) -> Result<HdoId, Refusal> {
    match principal.hdo() {
        Some(own) if named.is_empty() || named == own.as_str() => Ok(own.clone()),
        Some(_) => Err(Refusal::new(Code::PermissionDenied, "hdo: a hospital sees its own letters only")),
        None if named.is_empty() => Err(Refusal::invalid("hdo: name the hospital")),
        None => Ok(parse("hdo", named)?),
    }
}

/// The side that a caller is on.
fn own_side(principal: &Principal) -> Result<Side, Refusal> {
    side(principal).ok_or_else(|| Refusal::new(Code::PermissionDenied, "only an operator may call this"))
}

fn no_letter(from: Side, number: u64) -> Refusal {
    Refusal::not_found(format!("the {from} has written no letter {number}"))
}

impl Api {
    pub(super) async fn send(
        &self,
        principal: &Principal,
        request: v1::SendLettersRequest,
    ) -> Result<v1::SendLettersResponse, Refusal> {
        let v1::SendLettersRequest { letters } = request;
        if letters.is_empty() || letters.len() > MAX_LETTERS_PER_CALL as usize {
            let text = format!("letters: {} are not 1 to {MAX_LETTERS_PER_CALL}", letters.len());
            return Err(Refusal::invalid(text));
        }
        let (now, by) = (self.app.now(), name(principal)?);
        let letters = letters.iter().map(|letter| VerifiedLetter::verify(letter)).collect::<Result<Vec<_>, _>>();
        let letters = letters.map_err(LetterTakeError::from)?;
        let mut turn = self.app.turns().wait_of(principal).await;
        let mut tx = self.app.store().begin().await?;
        turn.begin();
        // Numbers go up without gaps, whoever else writes at this moment.
        tx.lock(Lock::AuditChain).await?;
        let root = root_by(&mut tx, principal).await?;
        for letter in &letters {
            take(&mut tx, (principal, &by, root.as_ref()), letter, now).await?;
        }
        tx.commit().await?;
        Ok(v1::SendLettersResponse {})
    }

    pub(super) async fn letters(
        &self,
        principal: &Principal,
        request: v1::ListLettersRequest,
    ) -> Result<v1::ListLettersResponse, Refusal> {
        let v1::ListLettersRequest { hdo, from, after, limit, roots_after } = request;
        let (hdo, from) = (hospital(principal, &hdo)?, parse::<Side>("from", &from)?);
        let limit = within(limit, MAX_LETTERS_PER_CALL);
        let found = self.app.store().letters((&hdo, from), after.min(MAX_LETTERS), limit + 1).await?;
        let roots = match roots_after {
            Some(version) => self.roots(&hdo, version).await?,
            None => Vec::new(),
        };
        let room = MAX_MESSAGE_BYTES.saturating_sub(roots.iter().map(bytes::Bytes::len).sum());
        let (found, more) = page(found, limit, room);
        Ok(v1::ListLettersResponse { letters: found.into_iter().map(message).collect(), more, roots })
    }

    /// A hospital's roots after a version: by their keys its letters are verified. They are public halves of keys and the
    /// names of those who sign, which stand in the letters too.
    async fn roots(&self, hdo: &HdoId, after: u64) -> Result<Vec<bytes::Bytes>, Refusal> {
        let repository = Repository::Approvals(hdo.clone()).to_string();
        let mut roots = Vec::new();
        let mut version = after.saturating_add(1);
        while roots.len() < MAX_ROOTS_PER_CALL {
            let name = Role::Root.served_name(version);
            let Some(root) = self.app.store().repo_file(&repository, &name).await? else { break };
            roots.push(root.into());
            version = version.saturating_add(1);
        }
        Ok(roots)
    }

    pub(super) async fn heads(
        &self,
        request: v1::ListLetterHeadsRequest,
    ) -> Result<v1::ListLetterHeadsResponse, Refusal> {
        let v1::ListLetterHeadsRequest { from, after, limit, product } = request;
        let from: Side = parse("from", &from)?;
        let after = (!after.is_empty()).then(|| parse("after", &after)).transpose()?;
        let product: Option<ProductId> = (!product.is_empty()).then(|| parse("product", &product)).transpose()?;
        let limit = within(limit, MAX_ROWS_PER_CALL);
        let store = self.app.store();
        let mut found = store.letter_heads(from, product.as_ref(), after.as_ref(), limit + 1).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let heads = found.into_iter().map(|(hdo, head)| v1::LetterHead {
            hdo: hdo.to_string(),
            number: head.map_or(0, |head| head.number),
            sha256: head.map(|head| head.sha256.as_bytes().to_vec()).unwrap_or_default().into(),
        });
        Ok(v1::ListLetterHeadsResponse { heads: heads.collect(), more })
    }

    pub(super) async fn mark(
        &self,
        principal: &Principal,
        request: v1::MarkLettersRequest,
    ) -> Result<v1::MarkLettersResponse, Refusal> {
        let v1::MarkLettersRequest { hdo, delivered_through, read } = request;
        let (hdo, from) = (hospital(principal, &hdo)?, own_side(principal)?.other());
        let (now, by) = (self.app.now(), name(principal)?);
        let mut tx = self.app.store().begin().await?;
        tx.lock(Lock::AuditChain).await?;
        let (delivered, opened) = match from {
            Side::Manufacturer => ("notice.delivered", "notice.read"),
            Side::Hospital => ("report.delivered", "report.read"),
        };
        let marked = tx.deliver_letters((&hdo, from), delivered_through.min(MAX_LETTERS), by.as_str(), now).await?;
        if let Some(last) = marked.last() {
            let detail = json!({ "letters": marked.len(), "first": marked.first(), "last": last, "by": by });
            told(&mut tx, principal, (&hdo, *last), delivered, detail, now).await?;
        }
        if read > 0 {
            if tx.letter(&hdo, from, read.min(MAX_LETTERS)).await?.is_none() {
                return Err(no_letter(from, read));
            }
            if tx.read_letter((&hdo, from, read), by.as_str(), now).await? {
                let detail = json!({ "letter": read, "by": by });
                told(&mut tx, principal, (&hdo, read), opened, detail, now).await?;
            }
        }
        tx.commit().await?;
        Ok(v1::MarkLettersResponse {})
    }

    pub(super) async fn acknowledge(
        &self,
        principal: &Principal,
        request: v1::AcknowledgeLetterRequest,
    ) -> Result<v1::AcknowledgeLetterResponse, Refusal> {
        let v1::AcknowledgeLetterRequest { hdo, number, sha256, text } = request;
        let (hdo, from) = (hospital(principal, &hdo)?, own_side(principal)?.other());
        let sha256 = parse_digest("sha256", &sha256)?;
        let text = sentence("text", &text)?.to_owned();
        let (now, by) = (self.app.now(), name(principal)?);
        let mut tx = self.app.store().begin().await?;
        tx.lock(Lock::AuditChain).await?;
        match tx.letter(&hdo, from, number.min(MAX_LETTERS)).await? {
            Some(kept) if kept.sha256 == sha256 && kept.answer_by.is_some() => {}
            Some(_) => {
                let why = format!("letter {number} is another than you name, or asks for no answer");
                return Err(Refusal::new(Code::FailedPrecondition, why));
            }
            None => return Err(no_letter(from, number)),
        }
        if let Some(key) = key_of(&mut tx, (&hdo, from.other()), &by).await? {
            return Err(Refusal::invalid(format!(
                "{by} holds the key {key}, so the acknowledgement is signed with it; acknowledge at the home where it is"
            )));
        }
        let answer = Answer { by: by.to_string(), text: text.clone(), sha256: None };
        if !tx.answer_letter((&hdo, from, number), &answer, now).await? {
            return Err(Refusal::new(Code::AlreadyExists, format!("letter {number} is acknowledged already")));
        }
        let action = if from == Side::Manufacturer { "notice.acknowledged" } else { "report.acknowledged" };
        let detail = json!({ "letter": number, "text": text, "signed": false });
        told(&mut tx, principal, (&hdo, number), action, detail, now).await?;
        tx.commit().await?;
        Ok(v1::AcknowledgeLetterResponse {})
    }

    pub(super) async fn notices(&self, request: v1::ListNoticesRequest) -> Result<v1::ListNoticesResponse, Refusal> {
        let v1::ListNoticesRequest { before_ms, before_id, limit } = request;
        let before = match before_ms {
            0 => None,
            ms => {
                let at = Timestamp::from_millisecond(ms).map_err(|e| Refusal::invalid(format!("before_ms: {e}")))?;
                Some((at, parse_digest("before_id", &before_id)?))
            }
        };
        let limit = within(limit, MAX_ROWS_PER_CALL);
        let mut found = self.app.store().sent_notices(before, self.app.now(), limit + 1).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let notices = found.into_iter().map(|sent| {
            let SentNotice { id, kind, product, first, counts } = sent;
            let [hospitals, delivered, read, answered, overdue] = counts.map(small);
            v1::SentNotice {
                id: id.as_bytes().to_vec().into(),
                kind,
                product: product.to_string(),
                first_ms: first.as_millisecond(),
                hospitals,
                delivered,
                read,
                answered,
                overdue,
            }
        });
        Ok(v1::ListNoticesResponse { notices: notices.collect(), more })
    }

    pub(super) async fn notice_status(
        &self,
        request: v1::GetNoticeStatusRequest,
    ) -> Result<v1::GetNoticeStatusResponse, Refusal> {
        let v1::GetNoticeStatusRequest { id, after, limit } = request;
        let id = parse_digest("id", &id)?;
        let after = (!after.is_empty()).then(|| parse("after", &after)).transpose()?;
        let limit = within(limit, MAX_LETTERS_PER_CALL);
        let mut found = self.app.store().noticed(&id, after.as_ref(), limit + 1).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let hospitals = found.into_iter().map(|(name, kept)| v1::NoticedHospital {
            hdo: kept.hdo.to_string(),
            name,
            letter: Some(message(kept)),
        });
        Ok(v1::GetNoticeStatusResponse { hospitals: hospitals.collect(), more })
    }

    pub(super) async fn clocks(
        &self,
        request: v1::GetNoticeClocksRequest,
    ) -> Result<v1::GetNoticeClocksResponse, Refusal> {
        let v1::GetNoticeClocksRequest { product, release, notices, distributed_by_ms, after, limit } = request;
        let (product, release): (ProductId, _) = (parse("product", &product)?, Release(release));
        if notices.len() > MAX_CLOCK_NOTICES {
            return Err(Refusal::invalid(format!("notices: more than {MAX_CLOCK_NOTICES}")));
        }
        let notices = notices.iter().map(|id| parse_digest("notices", id)).collect::<Result<_, _>>()?;
        let distributed_by = Timestamp::from_millisecond(distributed_by_ms)
            .map_err(|e| Refusal::invalid(format!("distributed_by_ms: {e}")))?;
        let after = (!after.is_empty()).then(|| parse("after", &after)).transpose()?;
        let limit = within(limit, MAX_LETTERS_PER_CALL);
        let mut found = self.app.store().hospitals_with(&product, after.as_ref(), limit + 1).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let mut tx = self.app.store().read().await?;
        let listed = tx.bundle_manifest(&product, release).await?;
        let published = tx.bundle_published(&product, release).await?;
        let (Some((_, manifest_sha256)), Some(published)) = (listed, published) else {
            let text = format!("the catalog lists no {product} release {release}: `suturectl bundle list`");
            return Err(Refusal::not_found(text));
        };
        let of = ClocksOf { product, release, manifest_sha256, notices, distributed_by };
        let mut hospitals = Vec::with_capacity(found.len());
        for (hdo, name) in found {
            let HospitalClocks { sent, delivered, answered, devices, confirmed, in_time } =
                tx.hospital_clocks(&hdo, &of).await?;
            let ms = |at: Option<Timestamp>| at.map_or(0, Timestamp::as_millisecond);
            hospitals.push(v1::HospitalClocks {
                hdo: hdo.to_string(),
                name,
                sent_ms: ms(sent),
                delivered_ms: ms(delivered),
                answered_ms: ms(answered),
                devices: small(devices),
                confirmed: small(confirmed),
                confirmed_in_time: small(in_time),
            });
        }
        Ok(v1::GetNoticeClocksResponse { published_ms: published.as_millisecond(), hospitals, more })
    }
}

/// As many letters as were asked for and fit into one message, and whether there are more.
fn page(mut found: Vec<Kept>, limit: u32, room: usize) -> (Vec<Kept>, bool) {
    let mut bytes = 0usize;
    let fit = found.iter().take(limit as usize).take_while(|kept| {
        // 4 KiB for what stands beside a letter.
        bytes = bytes.saturating_add(kept.content.len()).saturating_add(4 << 10);
        bytes <= room
    });
    let fit = fit.count();
    let more = found.len() > fit;
    found.truncate(fit);
    (found, more)
}
