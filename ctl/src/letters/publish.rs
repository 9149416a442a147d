//! One notice to many hospitals: one letter in each one's series, all signed in one go.

use std::collections::BTreeSet;

use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::id::{HdoId, ProductId};
use suture_core::limits::{MAX_NOTICED_HOSPITALS, MAX_ROWS_PER_CALL};
use suture_core::notice::{Head, Notice, Said, Side, Standing};
use suture_core::trust::{Root, Verified};
use suture_proto::{parse, parse_digest, v1};

use super::sending::Sending;
use super::{From, Heads, Writing, fetch, send, write};
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::keys::KeyName;
use crate::print::counted;
use crate::repository;
use crate::trust_store::Which;

/// To whom a notice goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// Every hospital that has devices of the product.
    Users,
    /// The same; that there is none is no failure of what is told.
    AnyUsers,
    /// Every hospital.
    All,
    /// These.
    Named(BTreeSet<HdoId>),
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// The notice's id: the same at all hospitals.
    pub id: Digest,
    /// Its number at each.
    pub letters: Vec<Numbered>,
    /// As it went out: of one that was begun before, with the day that the others have.
    #[serde(skip)]
    pub notice: Notice,
}

/// One hospital's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Numbered {
    /// The hospital.
    pub hdo: HdoId,
    /// The letter's number in its series.
    pub number: u64,
}

/// Signs a notice for each recipient with a key of the catalog's targets role, and publishes it.
///
/// # Errors
///
/// It lacks something, nobody is to be told, the key may not sign, or a series is not as this home has seen it.
pub async fn publish(
    context: &mut Context<'_>,
    client: &mut Client,
    notice: &Notice,
    recipients: &Recipients,
    key: &KeyName,
) -> Outcome<Published> {
    notice.complete().map_err(|e| Failure::new(e.to_string()))?;
    let mut sending = Sending::resume(&context.home, notice, context.now())?;
    let notice = sending.notice.clone();
    let id = notice.id().or_fail(|| "the notice cannot be written".to_owned())?;
    context.home.server()?.manufacturer()?;
    let product = match recipients {
        Recipients::Users | Recipients::AnyUsers => Some(&notice.product),
        Recipients::All | Recipients::Named(_) => None,
    };
    let found = heads(client, product).await?;
    let chosen = chosen(recipients, found.iter().map(|(hdo, _)| hdo.clone()).collect())?;
    if chosen.is_empty() {
        return Ok(Published { id, letters: Vec::new(), notice });
    }
    let root = repository::base(context, client, Which::Catalog).await?.root().clone();
    let writing = Writing::open(context, &root, Side::Manufacturer, key)?;
    let mut letters = Vec::new();
    for (hdo, shown) in found.into_iter().filter(|(hdo, _)| chosen.contains(hdo)) {
        if sending.sent.contains_key(&hdo) {
            continue;
        }
        let before = match own_head(context, client, &hdo, shown, &root, &id).await? {
            Own::Head(head) => head,
            Own::Told(number) => {
                sending.sent.insert(hdo, number);
                continue;
            }
        };
        letters.push(write(context, &writing, &hdo, before, Said::Notice(Box::new(notice.clone())))?);
    }
    if !sending.sent.is_empty() {
        context.print.note(&format!(
            "note: {} it already, since the last time; it goes to the others, to be acknowledged by {} as there",
            counted(sending.sent.len(), "hospital", "has", "have"),
            format_utc(notice.acknowledge_by)
        ));
    }
    sending.keep(&context.home)?;
    let home = &context.home;
    send(context, client, &letters, |part| {
        sending.sent.extend(part.iter().map(|letter| (letter.hdo.clone(), letter.number)));
        sending.keep(home)
    })
    .await?;
    sending.done(&context.home)?;
    let letters = sending.sent.into_iter().map(|(hdo, number)| Numbered { hdo, number }).collect();
    Ok(Published { id, letters, notice })
}

/// Who of the hospitals that come into question is told.
fn chosen(recipients: &Recipients, known: BTreeSet<HdoId>) -> Outcome<BTreeSet<HdoId>> {
    let chosen = match recipients {
        Recipients::Named(named) => {
            if let Some(unknown) = named.difference(&known).next() {
                return Err(Failure::new(format!("there is no hospital {unknown}")).next("`suturectl hdo list`"));
            }
            named.clone()
        }
        Recipients::Users | Recipients::AnyUsers | Recipients::All => known,
    };
    let least = usize::from(*recipients != Recipients::AnyUsers);
    if (least..=MAX_NOTICED_HOSPITALS).contains(&chosen.len()) {
        return Ok(chosen);
    }
    let text = match chosen.len() {
        0 => "no hospital has devices that the notice is about, so it would go to nobody".to_owned(),
        n => format!("the notice would go to {n} hospitals, and it can go to {MAX_NOTICED_HOSPITALS} at most"),
    };
    Err(Failure::new(text).next("name them with --hdo, or --all for hospitals without devices of the product too"))
}

/// The own series with a hospital, before a notice.
enum Own {
    /// Its end.
    Head(Option<Head>),
    /// It holds the notice already, as that letter: the answer to the call was lost.
    Told(u64),
}

/// The end of the own series with a hospital: what the server shows, if it is, or follows upon, what this home has seen.
async fn own_head(
    context: &mut Context<'_>,
    client: &mut Client,
    hdo: &HdoId,
    shown: Option<Head>,
    root: &Verified<Root>,
    notice: &Digest,
) -> Outcome<Own> {
    let seen = Heads::load(&context.home)?.get(hdo, Side::Manufacturer);
    if seen == shown {
        return Ok(Own::Head(shown));
    }
    // A colleague has written, or the server has lost something: that is for the series itself to say.
    let letters = fetch(context, client, (hdo, Side::Manufacturer), root, From::Seen).await?;
    let is_it = |said: &Said| matches!(said, Said::Notice(said) if said.id().is_ok_and(|id| id == *notice));
    if let Some(told) = letters.iter().find(|kept| kept.standing != Standing::Unlisted && is_it(&kept.letter.said)) {
        return Ok(Own::Told(told.letter.number));
    }
    let head = Heads::load(&context.home)?.get(hdo, Side::Manufacturer);
    if head == shown {
        return Ok(Own::Head(shown));
    }
    Err(Failure::untrusted(format!("the last letters to {hdo} are by no key that the catalog's root lists"))
        .next("ask your colleagues whether one of them wrote them, with a key that was replaced since"))
}

/// How far the own series is with each hospital, by the server's word.
async fn heads(client: &mut Client, product: Option<&ProductId>) -> Outcome<Vec<(HdoId, Option<Head>)>> {
    let mut found: Vec<(HdoId, Option<Head>)> = Vec::new();
    loop {
        let after = found.last().map(|(hdo, _)| hdo.to_string()).unwrap_or_default();
        let request = v1::ListLetterHeadsRequest {
            from: Side::Manufacturer.as_str().to_owned(),
            after: after.clone(),
            limit: MAX_ROWS_PER_CALL,
            product: product.map(ToString::to_string).unwrap_or_default(),
        };
        let v1::ListLetterHeadsResponse { heads, more } = client.list_letter_heads(request).await?;
        for v1::LetterHead { hdo, number, sha256 } in heads {
            let hdo: HdoId = parse("hdo", &hdo)?;
            if found.last().is_some_and(|(last, _)| *last >= hdo) {
                return Err(Failure::untrusted("the server's list of hospitals does not come to an end"));
            }
            let head = match number {
                0 => None,
                number => Some(Head { number, sha256: parse_digest("sha256", &sha256)? }),
            };
            found.push((hdo, head));
        }
        if !more || found.last().is_none_or(|(last, _)| last.as_str() == after) {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(names: &[&str]) -> BTreeSet<HdoId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn that_nobody_has_such_devices_fails_a_notice_and_not_what_is_told_by_the_way() {
        let none = BTreeSet::new();
        let refused = chosen(&Recipients::Users, none.clone()).unwrap_err().to_text();
        assert!(refused.contains("would go to nobody") && refused.contains("--hdo"), "{refused}");
        assert_eq!(chosen(&Recipients::AnyUsers, none.clone()).unwrap(), none);
        let two = these(&["riverside", "hilltop"]);
        assert_eq!(chosen(&Recipients::AnyUsers, two.clone()).unwrap(), two);
        assert_eq!(chosen(&Recipients::Named(these(&["hilltop"])), two.clone()).unwrap(), these(&["hilltop"]));
        let unknown = chosen(&Recipients::Named(these(&["nowhere"])), two).unwrap_err().to_text();
        assert!(unknown.contains("no hospital nowhere"), "{unknown}");
        let many: BTreeSet<HdoId> = (0..=MAX_NOTICED_HOSPITALS).map(|n| format!("h{n}").parse().unwrap()).collect();
        assert!(chosen(&Recipients::AnyUsers, many).is_err());
    }
}
