//! `rollout pause|resume|abort`: the server's word at once, and for an abort the hospital's signature behind it.

use serde::Serialize;
use serde_json::json;
use suture_core::id::ApprovalId;
use suture_core::rollout::State;
use suture_proto::v1;

use super::order;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::{Desk, rollouts};
use crate::repository::Signing;

/// `rollout pause`: unsigned, so that it is quick; a device is held by it from its next check-in on.
pub(super) async fn pause(context: &mut Context<'_>, id: &ApprovalId, reason: String) -> Outcome {
    context.home.server()?.hdo()?;
    let request = v1::PauseRolloutRequest { id: id.to_string(), reason };
    context.connect().await?.pause_rollout(request).await?;
    context.print.result(&json!({ "rollout": id, "paused": true }), |_| {
        format!(
            "{id} is paused: devices begin nothing by it once they hear of it; what was planned --without-server goes on by its \
             slots until then, and a signed stop reaches it by any way: `rollout stop`"
        )
    })
}

/// `rollout resume`.
pub(super) async fn resume(context: &mut Context<'_>, id: &ApprovalId, reason: String) -> Outcome {
    context.home.server()?.hdo()?;
    let request = v1::ResumeRolloutRequest { id: id.to_string(), reason };
    let mut client = context.connect().await?;
    client.resume_rollout(request).await?;
    // It pauses again at once for what has failed while a person had paused it.
    let again = rollouts::rollout(&mut client, id).await.ok().filter(|said| said.state == State::Paused.as_str());
    let result = json!({ "rollout": id, "paused": again.is_some() });
    context.print.result(&result, |_| match again {
        None => format!("{id} goes on"),
        Some(said) => format!(
            "{id} pauses again at once: {}; look at it, then resume again, or abort",
            said.reason.map(|reason| reason.text).unwrap_or_default()
        ),
    })
}

/// `rollout abort`.
pub(super) async fn abort(
    context: &mut Context<'_>,
    desk: &mut Desk,
    id: &ApprovalId,
    reason: &str,
    signing: &Signing,
) -> Outcome {
    let ended = end(context, desk, id, reason, signing).await?;
    context.print.result(&ended.told, |_| ended.text())?;
    ended.refused.map_or(Ok(()), Err)
}

/// What [`end`] has come to: the order is signed, and at least one of the server's answers was that it has it.
pub(super) struct Ended {
    pub(super) told: Told,
    /// Why the server did not abort it.
    pub(super) refused: Option<Failure>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Told {
    rollout: ApprovalId,
    /// Whether the server has aborted it.
    aborted: bool,
    stop_order: bool,
    /// Whether the server has the order and hands it out.
    published: bool,
    /// Whether the signed approvals list it already; otherwise their next version does.
    listed: bool,
}

impl Ended {
    /// For people.
    pub(super) fn text(&self) -> String {
        let id = &self.told.rollout;
        let what = if self.told.aborted { "aborted and its stop order is signed" } else { "stopped by a signed order" };
        format!("{id} is {what}; what has begun finishes or reverts")
    }
}

/// Aborts a rollout: the server stops it at once; the stop order makes it hold for devices that the server does not reach,
/// and against the server.
pub(super) async fn end(
    context: &mut Context<'_>,
    desk: &mut Desk,
    id: &ApprovalId,
    reason: &str,
    signing: &Signing,
) -> Outcome<Ended> {
    let request = v1::AbortRolloutRequest { id: id.to_string(), reason: reason.to_owned() };
    // A server that refuses or fails does not keep the hospital from signing.
    let served = desk.client.abort_rollout(request).await;
    let aborted = served.is_ok();
    let (published, listed) = order::obey(context, desk, id, &signing.key).await.inspect_err(|_| {
        if aborted {
            context.asides.add(format!("note: the server has aborted {id}; there is no stop order that all have"));
        }
    })?;
    let refused = served.err().map(|failure| {
        let text = format!("{id} is stopped by a signed order; the server did not abort it: {}", failure.message);
        let next = "no device begins by it until the order is lifted; `suturectl rollout show` says what the server makes of it, and \
                    the command can be run again";
        Failure { message: text, next: Some(next.to_owned()), ..failure }
    });
    Ok(Ended { told: Told { rollout: id.clone(), aborted, stop_order: true, published, listed }, refused })
}
