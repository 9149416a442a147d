//! `rollout stop|lift`: signed orders that devices obey whoever brings them.
//!
//! One approver stops, so that nobody waits for a colleague; it takes as many to lift as to approve. The order is signed by
//! what this home has verified; the server's part is to hand it on, and a file or a stick does that as well.

use std::path::{Path, PathBuf};

use serde::Serialize;
use suture_core::approval::{StopError, StopOrder, VerifiedStop};
use suture_core::id::ApprovalId;
use suture_core::limits::MAX_STOP_BYTES;
use suture_core::rollout::State;
use suture_core::sign::Signer;
use suture_core::trust::{Role, Root, Verified};

use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::files;
use crate::hospital::{Desk, orders, refused, rollouts};
use crate::keys::KeyName;
use crate::repository::{Done, Signing};
use crate::trust_store::{TrustStore, Which};

/// What `rollout stop` is given.
#[derive(Debug, clap::Args)]
pub struct StopArgs {
    /// The rollout
    rollout: ApprovalId,
    /// One approver's key; where several must approve, one stops all the same
    #[arg(long, value_name = "KEY", default_value = "targets")]
    key: KeyName,
    /// Write the order to FILE too, to be carried to devices: `suture-agent stop FILE` at each of them
    #[arg(long, value_name = "FILE")]
    envelope: Option<PathBuf>,
    /// Do not call the server: sign by what this home has verified, into the envelope alone
    #[arg(long, requires = "envelope")]
    offline: bool,
}

/// What `rollout lift` is given.
#[derive(Debug, clap::Args)]
pub struct LiftArgs {
    /// The rollout whose stop is to be lifted; not with --sign, where the file says it
    #[arg(required_unless_present = "sign", conflicts_with = "sign")]
    rollout: Option<ApprovalId>,
    /// The key that signs
    #[arg(long, value_name = "KEY", default_value = "targets")]
    key: KeyName,
    /// Where several must sign: the file that goes round [default: lift-ROLLOUT.json]
    #[arg(long, value_name = "FILE", conflicts_with = "sign")]
    envelope: Option<PathBuf>,
    /// Sign a lift that a colleague has begun; whoever completes it publishes it
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
}

/// What became of an order.
/// How many have signed, of how many who must.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in crate::cmd) struct Signatures {
    pub(in crate::cmd) given: usize,
    pub(in crate::cmd) needed: usize,
}

impl Signatures {
    /// All that are needed.
    pub(in crate::cmd) fn all(needed: usize) -> Self {
        Self { given: needed, needed }
    }
}

#[derive(Debug, Serialize)]
struct Told {
    rollout: ApprovalId,
    stopped: bool,
    counter: u64,
    /// Signatures that it has, and needs.
    signatures: Signatures,
    /// Whether the server has it and hands it out.
    published: bool,
    /// Whether the signed approvals list it already; otherwise their next version does.
    listed: bool,
    /// Where it was written to.
    envelope: Option<String>,
}

/// `rollout stop`.
pub(super) async fn stop(context: &mut Context<'_>, args: StopArgs) -> Outcome {
    let StopArgs { rollout, key, envelope, offline } = args;
    orders::must_be_free(envelope.as_deref())?;
    if offline {
        let root = Verified::<Root>::pinned(&TrustStore::of(&context.home, Which::Approvals).stored()?.root)?;
        let hdo = context.home.server()?.hdo()?;
        let last = orders::counted(context, &rollout)?;
        let signer = approver(context, &root, &key)?;
        let order = StopOrder::next(hdo.clone(), rollout, last, true, context.now()).map_err(refused)?;
        let order = signed(&root, &order, &*signer)?;
        return tell(context, &order, Signatures::all(1), (false, false), envelope.as_deref());
    }
    let mut desk = Desk::open_base(context).await.map_err(or_offline)?;
    let (published, listed) = obey(context, &mut desk, &rollout, &key).await?;
    let order = desk.documents.stop(&rollout).cloned();
    let order = order.ok_or_else(|| {
        Failure::new(format!("the order for {rollout} was published and is not listed"))
            .next("run the command again; `rollout stop-status` says who obeys it")
    })?;
    tell(context, &order, Signatures::all(1), (published, listed), envelope.as_deref())
}

/// What stops devices though the desk cannot be opened.
pub(super) fn or_offline(failure: Failure) -> Failure {
    failure.next("without the server: `rollout stop ROLLOUT --offline --envelope FILE`, and carry FILE to the devices")
}

/// Refuses a rollout that nobody has approved.
pub(super) fn is_listed(desk: &Desk, rollout: &ApprovalId) -> Outcome {
    match desk.documents.approval(rollout) {
        Some(_) => Ok(()),
        None => Err(Failure::new(format!("the approvals list no {rollout}: there is nothing to stop"))
            .next("`suturectl rollout list --all` names those that there are")),
    }
}

/// Sees to it that a stop order for an approval is signed, kept, published, and listed where one signature suffices for
/// that. Says whether it is published and listed.
///
/// It is signed already where the newest order that this home knows of is a stop that counts by the present root.
pub(super) async fn obey(
    context: &mut Context<'_>,
    desk: &mut Desk,
    rollout: &ApprovalId,
    key: &KeyName,
) -> Outcome<(bool, bool)> {
    is_listed(desk, rollout)?;
    let newest = orders::newest(context, &desk.documents, rollout)?;
    if !desk.documents.is_stopped(rollout) || newest.as_ref() != desk.documents.stop(rollout) {
        let signer = approver(context, desk.approvals.root(), key)?;
        let last = newest.map(|s| s.counter).max(orders::counted(context, rollout)?);
        let order = StopOrder::next(desk.hdo.clone(), rollout.clone(), last, true, context.now()).map_err(refused)?;
        let order = signed(desk.approvals.root(), &order, &*signer)?;
        // Before anything else, so that it is not lost with this process.
        orders::keep(context, &order)?;
        desk.documents.learn(order);
    }
    spread(context, desk, rollout, key).await
}

/// `rollout lift`.
pub(super) async fn lift(context: &mut Context<'_>, args: LiftArgs) -> Outcome {
    let LiftArgs { rollout, key, envelope, sign } = args;
    orders::must_be_free(envelope.as_deref())?;
    let mut desk = Desk::open_base(context).await?;
    let signer = approver(context, desk.approvals.root(), &key)?;
    let (bytes, file) = match (rollout, sign) {
        (_, Some(file)) => {
            let bytes = files::need(&file, MAX_STOP_BYTES)?;
            let order = StopOrder::read_unverified(&bytes).map_err(untrusted)?;
            may_lift(context, &desk, &order)?;
            context.print.note(&format!("you sign: {}", order.to_text()));
            (StopOrder::countersign(&bytes, &*signer).map_err(refused)?, Some((file, true)))
        }
        (Some(rollout), None) => {
            let last = orders::newest(context, &desk.documents, &rollout)?.map(|s| s.counter);
            let order = StopOrder::next(desk.hdo.clone(), rollout, last, false, context.now()).map_err(refused)?;
            may_lift(context, &desk, &order)?;
            (order.sign(&[&*signer]).map_err(refused)?, envelope.map(|file| (file, false)))
        }
        (None, None) => return Err(Failure::new("name the rollout, or the file to be signed with --sign")),
    };
    let needed = desk.approvals.root().authority(Role::Targets).threshold();
    match VerifiedStop::verify(desk.approvals.root(), &desk.hdo, &bytes) {
        Ok(order) => {
            orders::remember(&context.home, &order)?;
            let rollout = order.approval.clone();
            desk.documents.learn(order.clone());
            let done = spread(context, &mut desk, &rollout, &key).await?;
            if let Some((file, replaces)) = &file {
                orders::write(file, &bytes, *replaces)
                    .map_err(|f| also(f, "the lift is signed and published; its file is not written"))?;
            }
            let file = file.as_ref().map(|(file, _)| file.as_path());
            let told = told(&order, Signatures::all(needed), done, file);
            let state = rollouts::rollout(&mut desk.client, &rollout).await.ok().map(|said| said.state);
            let state = state.and_then(|state| State::ALL.into_iter().find(|s| s.as_str() == state));
            context.print.result(&told, |t| format!("{}\n{}", order.to_text(), lifted(&t.rollout, state)))
        }
        Err(StopError::TooFew { valid, threshold, .. }) => {
            let order = StopOrder::read_unverified(&bytes).map_err(refused)?;
            let (file, replaces) = file.unwrap_or_else(|| (format!("lift-{}.json", order.approval).into(), false));
            orders::write(&file, &bytes, replaces)?;
            let told = told(&order, Signatures { given: valid, needed: threshold }, (false, false), Some(&file));
            let (text, file) = (order.to_text(), file.display().to_string());
            context.print.result(&told, |_| {
                format!(
                    "{text}\nsigned by {valid} of {threshold}: nothing is lifted yet; the next approver runs\n  \
                     suturectl rollout lift --sign {file}"
                )
            })
        }
        Err(e) => Err(untrusted(e)),
    }
}

/// A lift is signed on what it lifts: the stop that the signer knows of, whose counter is the one before, and no other. That its
/// signer has left makes no difference: a device that took it holds to it.
fn may_lift(context: &Context<'_>, desk: &Desk, order: &StopOrder) -> Outcome {
    let id = &order.approval;
    if order.hdo != desk.hdo || order.stopped {
        return Err(Failure::untrusted(format!("this is no lift of hospital {}: {}", desk.hdo, order.to_text())));
    }
    if order.is_ahead(context.now()) {
        return Err(refused(StopError::Ahead(id.clone())));
    }
    match orders::newest(context, &desk.documents, id)? {
        Some(known) if known.stopped && known.counter.checked_add(1) == Some(order.counter) => Ok(()),
        Some(known) if known.stopped && known.counter < order.counter => Err(Failure::untrusted(format!(
            "the lift reaches further than the stop that this home knows of: {}, and {}",
            order.to_text(),
            known.to_text()
        ))
        .next("whoever stopped it last hands that on: `suturectl rollout stop ROLLOUT`; then begin a new lift")),
        Some(known) if known.stopped => {
            Err(Failure::untrusted(format!("{id} was stopped again since the lift was begun: {}", known.to_text()))
                .next("talk to whoever stopped it; then begin a new lift"))
        }
        _ => Err(Failure::new(format!("no stop order is in force on {id}: there is nothing to lift"))),
    }
}

/// Publishes the newest order for an approval, and lists it where this key alone may.
async fn spread(
    context: &mut Context<'_>,
    desk: &mut Desk,
    rollout: &ApprovalId,
    key: &KeyName,
) -> Outcome<(bool, bool)> {
    let order = desk.documents.stop(rollout).cloned();
    let order = order.ok_or_else(|| Failure::new(format!("there is no order for {rollout}")))?;
    let published = orders::publish(&mut desk.client, &order).await;
    let alone = desk.approvals.root().authority(Role::Targets).threshold() == 1;
    // A server that refuses or fails does not keep the hospital from signing.
    let listed = if alone {
        let signing = Signing { key: key.clone(), envelope: None };
        desk.publish(context, &signing, |_| Ok(())).await.map(|done| matches!(done, Done::Published(())))
    } else {
        Ok(false)
    };
    match (published, listed) {
        (Ok(_), Ok(listed)) => Ok((true, listed)),
        (Ok(_), Err(f)) => {
            context
                .print
                .note(&format!("note: the server has the order; the approvals do not list it yet: {}", f.message));
            Ok((true, false))
        }
        (Err(f), Ok(true)) => {
            context
                .print
                .note(&format!("note: the approvals list the order; beside them the server says: {}", f.message));
            Ok((false, true))
        }
        (Err(f), _) => Err(f.next(format!(
            "the order is signed and kept in {}: carry it to the devices, or run the command again",
            orders::place(&context.home, rollout)
        ))),
    }
}

/// Opens a key that the hospital's root names for its targets.
pub(in crate::cmd) fn approver(
    context: &Context<'_>,
    root: &Verified<Root>,
    key: &KeyName,
) -> Outcome<Box<dyn Signer>> {
    let signer = context.key(key)?;
    if root.authority(Role::Targets).keys().any(|k| *k == signer.public()) {
        return Ok(signer);
    }
    Err(Failure::new(format!("the key {key} is not one that the hospital's approvals are signed with"))
        .next("name an approver's key with --key; `suturectl approvals status` shows how many there are"))
}

fn signed(root: &Verified<Root>, order: &StopOrder, signer: &dyn Signer) -> Outcome<VerifiedStop> {
    let bytes = order.sign(&[signer]).map_err(refused)?;
    VerifiedStop::verify(root, &order.hdo, &bytes).map_err(refused)
}

fn told(order: &StopOrder, signatures: Signatures, done: (bool, bool), envelope: Option<&Path>) -> Told {
    Told {
        rollout: order.approval.clone(),
        stopped: order.stopped,
        counter: order.counter,
        signatures,
        published: done.0,
        listed: done.1,
        envelope: envelope.map(|f| f.display().to_string()),
    }
}

fn tell(
    context: &mut Context<'_>,
    order: &VerifiedStop,
    signatures: Signatures,
    done: (bool, bool),
    envelope: Option<&Path>,
) -> Outcome {
    // The file first: it stops devices, though the home has no room.
    if let Some(file) = envelope {
        orders::write(file, order.bytes(), false).map_err(|f| match done {
            (false, false) => f,
            _ => also(f, "the order is signed and published; its file is not written"),
        })?;
    }
    orders::keep(context, order)?;
    let told = told(order, signatures, done, envelope);
    context.print.result(&told, |t| {
        let way = match (t.published, t.listed) {
            (true, true) => "the server hands it out, and the signed approvals list it",
            (true, false) => "the server hands it out; the next signed version of the approvals lists it",
            (false, true) => "the signed approvals list it",
            (false, false) => "nobody has it but this home and the file",
        };
        let file = t.envelope.as_ref().map(|f| format!("\nto be carried: {f} (`suture-agent stop` at the device)"));
        format!(
            "{}\n{way}; what has begun finishes or reverts{}\nwho has obeyed: suturectl rollout stop-status {}",
            order.to_text(),
            file.unwrap_or_default(),
            t.rollout
        )
    })
}

/// What follows from a lift, by the state that the server has the rollout in.
fn lifted(id: &ApprovalId, state: Option<State>) -> String {
    match state {
        Some(State::Running) => "devices go on once they have it, in the slots that are left".to_owned(),
        Some(State::Paused) => format!(
            "devices go on once they have it, in the slots that are left; at the server: suturectl rollout resume {id}"
        ),
        Some(State::Aborted) => "the rollout stays aborted at the server, and cannot be resumed: devices that hear of that begin \
                                 nothing by it; one that does not, and whose wave does not wait for the server, may go on in \
                                 the slots that are left; for the others plan anew: suturectl rollout plan"
            .to_owned(),
        Some(State::Complete) => format!(
            "the rollout is complete at the server, which waits for no device by it: suturectl rollout show {id}"
        ),
        Some(State::Superseded | State::Expired) => format!(
            "the rollout is over at the server, and no device begins by it that hears of that: suturectl rollout show {id}"
        ),
        None => format!(
            "devices go on once they have it, in the slots that are left, unless the rollout has ended; what the server says \
             of it could not be read: suturectl rollout show {id}"
        ),
    }
}

/// A failure behind something that was done.
fn also(failure: Failure, done: &str) -> Failure {
    let (exit, next) = (failure.exit, failure.next.clone());
    Failure { next, ..Failure::new(done).exit(exit).because_of(failure) }
}

fn untrusted(error: StopError) -> Failure {
    Failure::of(Exit::Untrusted, &error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_lifts_is_told_to_resume_only_what_can_be_resumed() {
        let id: ApprovalId = "pump-2".parse().unwrap();
        for state in State::ALL {
            let text = lifted(&id, Some(state));
            assert_eq!(text.contains("rollout resume"), state == State::Paused, "{text}");
            assert_eq!(text.starts_with("devices go on"), !state.is_over(), "{text}");
        }
        assert!(lifted(&id, None).contains("unless the rollout has ended"));
    }
}
