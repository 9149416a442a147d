//! Stop orders and lifts as a home knows them: those that it signed or has seen, and those that the server hands out.
//!
//! Each is listed in the signed approvals or verified by the hospital's present root before it counts. `stops/<approval>.json`
//! in the home keeps the newest of each, so that an order that the server did not take is not lost with the command that
//! made it; `lifts/<approval>.json` the newest lift, also once a stop has come after it: a device may have heard of the one and
//! not of the other.
//!
//! Attack: an approver's key that was stolen. Once the root names it no more, what it signed stops and lifts nothing here, as
//! it does on a device that hears of it only then; a device that heard of its stop before holds to it. The next stop
//! outbids it ([`counted`]); a lift does once such a stop is there.

use std::path::Path;

use suture_core::approval::VerifiedStop;
use suture_core::id::{ApprovalId, HdoId};
use suture_core::limits::MAX_STOP_BYTES;
use suture_core::trust::{Root, Verified};
use suture_proto::v1;

use super::Documents;
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files::{self, Access};
use crate::home::Home;

/// Keeps an order in the home.
pub fn remember(home: &Home, order: &VerifiedStop) -> Outcome {
    home.write(&name(&order.approval), order.bytes(), Access::Public)?;
    remember_lift(home, order)
}

/// As [`remember`]; where a command stops devices, what this home has no room for is said, and in no order's way.
pub fn keep(context: &Context<'_>, order: &VerifiedStop) -> Outcome {
    unless_it_stops(context, remember(&context.home, order))
}

/// Trouble with this home's own files, where a command stops devices.
fn unless_it_stops<T: Default>(context: &Context<'_>, done: Outcome<T>) -> Outcome<T> {
    match done {
        Err(failure) if context.stops_devices => {
            context.asides.add(format!("note: {}", failure.message));
            Ok(T::default())
        }
        done => done,
    }
}

/// The newest lift for an approval that this home has seen, whatever came after it, and whether or not its signers are still
/// approvers: a device may have taken it while they were.
pub fn lifted(home: &Home, id: &ApprovalId) -> Outcome<Option<VerifiedStop>> {
    let Some(bytes) = files::read(&home.path(&lift_name(id))?, MAX_STOP_BYTES)? else { return Ok(None) };
    let lift = VerifiedStop::kept(&bytes).or_fail(|| format!("{} is damaged; remove it", lift_name(id)))?;
    Ok(Some(lift).filter(|lift| lift.approval == *id && !lift.stopped))
}

/// Keeps a lift beside what comes after it.
fn remember_lift(home: &Home, order: &VerifiedStop) -> Outcome {
    if order.stopped || lifted(home, &order.approval)?.is_some_and(|known| !order.is_news_after(&known)) {
        return Ok(());
    }
    home.write(&lift_name(&order.approval), order.bytes(), Access::Public)
}

/// The newest order for an approval that this home has seen, whether or not its signer is still an approver.
pub fn remembered(home: &Home, id: &ApprovalId) -> Outcome<Option<VerifiedStop>> {
    let Some(bytes) = files::read(&home.path(&name(id))?, MAX_STOP_BYTES)? else { return Ok(None) };
    let order = VerifiedStop::kept(&bytes).or_fail(|| format!("{} is damaged; remove it", name(id)))?;
    Ok(Some(order).filter(|o| o.approval == *id))
}

/// As [`remembered`]; where a command stops devices, one that is damaged is as none: the next counts by the time.
fn recalled(context: &Context<'_>, id: &ApprovalId) -> Outcome<Option<VerifiedStop>> {
    unless_it_stops(context, remembered(&context.home, id))
}

/// The highest counter of the orders for an approval that this home has seen, of whatever kind and whoever signed them.
pub fn counted(context: &Context<'_>, id: &ApprovalId) -> Outcome<Option<u64>> {
    let remembered = recalled(context, id)?.map(|o| o.counter);
    let lifted = unless_it_stops(context, lifted(&context.home, id))?.map(|o| o.counter);
    Ok(remembered.max(lifted))
}

/// The newest order for an approval that this home knows of, of those that count and those that it remembers.
pub fn newest(context: &Context<'_>, documents: &Documents, id: &ApprovalId) -> Outcome<Option<VerifiedStop>> {
    let counts = documents.stop(id).cloned();
    Ok(match (recalled(context, id)?, counts) {
        (Some(remembered), Some(counts)) if !remembered.is_news_after(&counts) => Some(counts),
        (remembered, counts) => remembered.or(counts),
    })
}

/// Adds to what the repository lists the orders that came beside it. A server that hands out none, or others than approvers
/// have signed, is not believed and stops nothing.
pub async fn learn(
    context: &Context<'_>,
    client: &mut Client,
    root: &Verified<Root>,
    hdo: &HdoId,
    documents: &mut Documents,
) -> Outcome {
    let seen = |order: &VerifiedStop| unless_it_stops(context, remember_lift(&context.home, order));
    documents.stops.iter().try_for_each(seen)?;
    let served = client.get_stops(v1::GetStopsRequest {}).await.map(|answer| answer.envelopes).unwrap_or_default();
    for order in served.iter().filter_map(|bytes| VerifiedStop::verify(root, hdo, bytes).ok()) {
        if documents.approval(&order.approval).is_some() {
            seen(&order)?;
            documents.learn(order);
        }
    }
    let listed: Vec<_> = documents.approvals.iter().map(|a| a.terms.id.clone()).collect();
    for id in listed {
        let remembered = recalled(context, &id)?;
        if let Some(order) = remembered.and_then(|o| VerifiedStop::verify(root, hdo, o.bytes()).ok()) {
            seen(&order)?;
            documents.learn(order);
        }
    }
    Ok(())
}

/// Hands an order to the server; says whether the server did not know it.
pub async fn publish(client: &mut Client, order: &VerifiedStop) -> Outcome<bool> {
    let request = v1::PublishStopRequest { envelope: order.bytes().to_vec().into() };
    Ok(client.publish_stop(request).await?.news)
}

/// Where the home keeps the order for an approval, for people.
pub fn place(home: &Home, id: &ApprovalId) -> String {
    home.directory().join(name(id)).display().to_string()
}

fn name(id: &ApprovalId) -> String {
    format!("stops/{id}.json")
}

fn lift_name(id: &ApprovalId) -> String {
    format!("lifts/{id}.json")
}

/// Looks for a file that an order is to be written to, before anything is signed.
pub fn must_be_free(path: Option<&Path>) -> Outcome {
    match path.filter(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(Failure::new(format!("{} is there already", path.display())).next("name another file")),
        None => Ok(()),
    }
}

/// Writes an order to a file that is to be carried. An existing one is not touched, unless it is what was signed on.
pub fn write(path: &Path, bytes: &[u8], replaces: bool) -> Outcome {
    if replaces {
        return Ok(files::write(path, bytes, Access::Public)?);
    }
    must_be_free(Some(path))?;
    Ok(files::create(path, bytes)?)
}
