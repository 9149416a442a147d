//! Where a hospital's operators want notices delivered to.

use jiff::Timestamp;
use serde_json::json;
use suture_core::id::{ContactName, HdoId};
use suture_core::limits::{MAX_CONTACTS, MAX_LETTERS};
use suture_core::principal::Principal;
use suture_proto::{parse, v1};
use tonic::Code;

use super::super::{Api, Refusal};
use super::decisions::name;
use crate::audit;
use crate::notice::address::Target;
use crate::notice::secret::Secret;
use crate::store::Lock;
use crate::store::contacts::{Contact, Delivery};

impl Api {
    pub(super) async fn add_contact(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::AddContactRequest,
    ) -> Result<v1::AddContactResponse, Refusal> {
        let v1::AddContactRequest { name: contact, url, further } = request;
        let contact: ContactName = parse("name", &contact)?;
        let target = Target::parse(&url).map_err(|why| Refusal::invalid(format!("url: {why}")))?;
        let mut salt = [0; 16];
        getrandom::fill(&mut salt)
            .map_err(|_| Refusal::new(Code::Internal, "the system gives no random numbers; try again"))?;
        let (now, by) = (self.app.now(), name(principal)?);
        let mut tx = self.app.store().begin().await?;
        // Nobody adds a seventeenth beside this one.
        tx.lock(Lock::AuditChain).await?;
        if tx.contact_count(hdo).await? >= MAX_CONTACTS {
            let text = format!("{hdo} has {MAX_CONTACTS} contacts; remove one: `suturectl notice contact remove`");
            return Err(Refusal::new(Code::ResourceExhausted, text));
        }
        if !tx.put_contact(hdo, (&contact, &url, further), &salt, (by.as_str(), now)).await? {
            let text = format!("name: {hdo} has a contact {contact}; remove it first");
            return Err(Refusal::new(Code::AlreadyExists, text));
        }
        let detail = json!({ "url": url, "further": further });
        audit::append(&mut tx, now, principal, hdo.into(), "contact.added", contact.as_str(), detail).await?;
        tx.commit().await?;
        let secret = match target {
            Target::Webhook(_) => Secret::of(self.app.seal(), hdo, &contact, &salt).to_text().as_str().to_owned(),
            // A line is signed by nobody.
            Target::Syslog(..) => String::new(),
        };
        Ok(v1::AddContactResponse { secret })
    }

    pub(super) async fn contacts(&self, hdo: &HdoId) -> Result<v1::ListContactsResponse, Refusal> {
        let contacts = self.app.store().contacts(hdo).await?.into_iter().map(|contact| {
            let Contact { name, url, further, by, added, counts, last } = contact;
            let [accepted, waiting, given_up] = counts;
            let (last_outcome, last_ms) = last.map_or((String::new(), 0), |(text, at)| (text, at.as_millisecond()));
            v1::Contact {
                name: name.to_string(),
                url,
                further,
                added_by: by,
                added_ms: added.as_millisecond(),
                accepted,
                waiting,
                given_up,
                last_outcome,
                last_ms,
            }
        });
        Ok(v1::ListContactsResponse { contacts: contacts.collect() })
    }

    pub(super) async fn remove_contact(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::RemoveContactRequest,
    ) -> Result<v1::RemoveContactResponse, Refusal> {
        let v1::RemoveContactRequest { name: contact } = request;
        let contact: ContactName = parse("name", &contact)?;
        let now = self.app.now();
        let mut tx = self.app.store().begin().await?;
        if !tx.drop_contact(hdo, &contact).await? {
            let text = format!("{hdo} has no contact {contact}; `suturectl notice contact list`");
            return Err(Refusal::not_found(text));
        }
        audit::append(&mut tx, now, principal, hdo.into(), "contact.removed", contact.as_str(), json!({})).await?;
        tx.commit().await?;
        Ok(v1::RemoveContactResponse {})
    }

    pub(super) async fn deliveries(
        &self,
        hdo: &HdoId,
        request: v1::ListDeliveriesRequest,
    ) -> Result<v1::ListDeliveriesResponse, Refusal> {
        let v1::ListDeliveriesRequest { number } = request;
        let found = self.app.store().deliveries(hdo, number.min(MAX_LETTERS)).await?.into_iter().map(|delivery| {
            let Delivery { contact, repetition, tries, outcome, accepted, due, tried } = delivery;
            let ms = |at: Option<Timestamp>| at.map_or(0, Timestamp::as_millisecond);
            v1::Delivery {
                contact: contact.to_string(),
                repetition,
                tries,
                outcome,
                accepted,
                due_ms: ms(due),
                tried_ms: ms(tried),
            }
        });
        Ok(v1::ListDeliveriesResponse { deliveries: found.collect() })
    }
}
