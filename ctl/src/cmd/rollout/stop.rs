//! `rollout pause|resume|abort`: the server's word at once, and for an abort the hospital's signature behind it.

use serde_json::json;
use suture_core::id::ApprovalId;
use suture_proto::v1;

use super::order;
use crate::context::Context;
use crate::failure::Outcome;
use crate::hospital::Desk;
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
    context.connect().await?.resume_rollout(request).await?;
    context.print.result(&json!({ "rollout": id, "paused": false }), |_| format!("{id} goes on"))
}

/// `rollout abort`.
pub(super) async fn abort(
    context: &mut Context<'_>,
    desk: &mut Desk,
    id: &ApprovalId,
    reason: &str,
    signing: &Signing,
) -> Outcome {
    end(context, desk, id, reason, signing).await?;
    context.print.result(&json!({ "rollout": id, "aborted": true, "stop_order": true }), |_| aborted(id))
}

/// Aborts a rollout: the server stops it at once; the stop order makes it hold for devices that the server does not reach,
/// and against the server.
pub(super) async fn end(
    context: &mut Context<'_>,
    desk: &mut Desk,
    id: &ApprovalId,
    reason: &str,
    signing: &Signing,
) -> Outcome {
    let request = v1::AbortRolloutRequest { id: id.to_string(), reason: reason.to_owned() };
    // A server that refuses or fails does not keep the hospital from signing.
    let served = desk.client.abort_rollout(request).await;
    order::obey(context, desk, id, &signing.key).await?;
    if let Err(failure) = served {
        context.print.note(&format!("note: the stop order is signed; the server itself said: {}", failure.message));
    }
    Ok(())
}

/// What [`end`] has come to.
pub(super) fn aborted(id: &ApprovalId) -> String {
    format!("{id} is aborted and its stop order is signed; what has begun finishes or reverts")
}
