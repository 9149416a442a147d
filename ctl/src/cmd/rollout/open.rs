//! `rollout open`: the hospital's signature on a wave that waits for it.
//!
//! It is signed on what this home has verified, by as many as approve; the server's part is to hand it on. What is open is
//! closed by a stop order and in no other way.

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use suture_core::approval::Approval;
use suture_core::clock::format_utc;
use suture_core::id::ApprovalId;
use suture_core::limits::MAX_WAVES;
use suture_core::principal::Principal;
use suture_proto::{parse_phase, v1};

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::{Desk, Documents, refused, rollouts};
use crate::print::count;
use crate::repository::{Done, Signing};

/// Arguments of `rollout open`.
#[derive(Debug, Clone, Args)]
pub struct OpenArgs {
    /// The rollout
    rollout: ApprovalId,
    /// The wave, counted from 1 as `rollout plan` shows it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_WAVES as i64))]
    wave: u32,
    /// Why, for the record; devices do not read it
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    signing: Signing,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: OpenArgs) -> Outcome {
    let OpenArgs { rollout, wave: number, reason, signing } = args;
    let wave = number.saturating_sub(1);
    let mut desk = Desk::open(context).await?;
    let devices = may_open(&desk.documents, &rollout, wave, context.now())?.devices.iter().filter(|d| d.wave == wave);
    let devices = devices.count();
    if wave > 0 {
        // It is said for the one who signs, and decides nothing.
        if let Ok(said) = rollouts::rollout(&mut desk.client, &rollout).await {
            context.print.note(&before(&said, wave));
        }
    }
    let approver = match context.home.server()?.principal()? {
        Principal::Operator(_, name) => name.to_string(),
        other => other.to_string(),
    };
    let opened =
        desk.publish(context, &signing, |edit| edit.open(&rollout, wave, approver, reason).map_err(refused)).await?;
    if let Done::Waiting(waiting) = opened {
        return waiting.print(context);
    }
    context.print.result(&json!({ "rollout": rollout, "wave": number, "opened": true, "devices": devices }), |_| {
        format!(
            "wave {number} of {rollout} is signed open for its {}; what begins is stopped by \
             `suturectl rollout stop {rollout}` and by nothing else",
            count(devices, "device")
        )
    })
}

/// The approval, if a wave of it, counted from 0, waits for a signature that still leads to something.
fn may_open<'a>(documents: &'a Documents, id: &ApprovalId, wave: u32, now: Timestamp) -> Outcome<&'a Approval> {
    let n = wave.saturating_add(1);
    let again = "plan and approve a new one: `suturectl rollout plan`";
    let Some(approval) = documents.approval(id) else {
        return Err(Failure::new(format!("the approvals list no {id}: there is nothing to open"))
            .next("`suturectl approvals status` lists what is approved"));
    };
    let Some(gate) = approval.terms.waves.get(wave as usize) else {
        return Err(Failure::new(format!("{id} has {} and no wave {n}", count(approval.terms.waves.len(), "wave"))));
    };
    if !gate.needs_signature {
        return Err(Failure::new(format!("wave {n} of {id} does not wait for a signature"))
            .next("nothing is left to do; `suturectl rollout show` tells what its devices wait for"));
    }
    if let Some(open) = documents.gates(id).and_then(|g| g.open.iter().find(|o| o.wave == wave)) {
        let since = format_utc(open.opened);
        return Err(Failure::new(format!("wave {n} of {id} is open already, since {since}"))
            .next(format!("nothing is left to do; `suturectl rollout stop {id}` closes it")));
    }
    if documents.is_stopped(id) {
        return Err(Failure::new(format!("{id} is stopped by a signed order"))
            .next(format!("`suturectl rollout lift {id}` first")));
    }
    if let Some(by) = documents.approvals.iter().find(|a| a.terms.supersedes.contains(id)) {
        return Err(Failure::new(format!("{} took the place of {id}", by.terms.id)).next(again));
    }
    let mine = approval.devices.iter().filter(|d| d.wave == wave).flat_map(|d| &d.slots);
    let end = mine.map(|s| s.end).max().unwrap_or(Timestamp::MIN).min(approval.terms.expires);
    if end <= now {
        return Err(Failure::new(format!("the last slot of wave {n} of {id} ended at {}", format_utc(end))).next(again));
    }
    Ok(approval)
}

/// How the waves before one came out, in the server's count.
fn before(rollout: &v1::Rollout, wave: u32) -> String {
    let earlier: Vec<_> =
        rollout.devices.iter().filter(|d| d.wave < wave).filter_map(|d| parse_phase(d.phase)).collect();
    let confirmed = earlier.iter().filter(|p| **p == suture_core::phase::Phase::Confirmed).count();
    let failed = earlier.iter().filter(|p| p.is_failure()).count();
    format!(
        "of the waves before it, as the server counts: {confirmed} of {} confirmed, {failed} failed or fell back",
        count(earlier.len(), "device")
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{at, facts, id, now, planned};
    use super::*;
    use suture_core::approval::{Gates, OpenWave, Pinned, StopOrder, VerifiedStop, path};
    use suture_core::digest::Digest;
    use suture_core::plan::Signing;

    /// The fixture's approval, its second wave waiting for a signature.
    fn documents() -> Documents {
        let mut plan = planned(&facts());
        plan.waves[1].gate.needs_signature = true;
        let signing = Signing { approver: "kim".to_owned(), meaning: "approved".to_owned(), reason: "x".to_owned() };
        Documents { approvals: vec![plan.to_approval(&signing, now()).unwrap().0], ..Documents::default() }
    }

    fn refused(documents: &Documents, wave: u32, at: Timestamp) -> String {
        may_open(documents, &id("pump-5"), wave, at).unwrap_err().to_text()
    }

    #[test]
    fn a_wave_is_opened_that_waits_for_it_and_no_other() {
        let documents = documents();
        assert_eq!(may_open(&documents, &id("pump-5"), 1, now()).unwrap().terms.id, id("pump-5"));
        assert!(refused(&documents, 0, now()).contains("wave 1 of pump-5 does not wait"));
        assert!(refused(&documents, 2, now()).contains("2 waves and no wave 3"));
        let other = may_open(&documents, &id("pump-6"), 1, now()).unwrap_err().to_text();
        assert!(other.contains("list no pump-6"), "{other}");
        // Two slots a device: both Tuesdays are over.
        assert!(refused(&documents, 1, at("2026-12-02T00:00:00Z")).contains("last slot of wave 2 of pump-5 ended"));
    }

    #[test]
    fn nothing_is_opened_that_is_open_or_leads_nowhere() {
        let mut open = documents();
        let mut gates = Gates::new(&open.approvals[0].terms, Digest::of(b"head"));
        let note = Pinned::of(path::gate_note(&id("pump-5"), 1), b"note");
        gates.open.push(OpenWave { wave: 1, opened: now(), note });
        open.gates = vec![gates];
        assert!(refused(&open, 1, now()).contains("open already, since 2026-11-23T12:00:00Z"));
        let mut stopped = documents();
        let order = StopOrder::next(id("riverside"), id("pump-5"), None, true, now()).unwrap();
        stopped.stops = vec![VerifiedStop::kept(&order.sign(&[]).unwrap()).unwrap()];
        assert!(refused(&stopped, 1, now()).contains("rollout lift pump-5"));
        let mut superseded = documents();
        let mut other = superseded.approvals[0].clone();
        (other.terms.id, other.terms.supersedes) = (id("pump-6"), vec![id("pump-5")]);
        superseded.approvals.push(other);
        assert!(refused(&superseded, 1, now()).contains("pump-6 took the place of pump-5"));
    }

    #[test]
    fn the_signer_is_told_how_the_earlier_waves_came_out() {
        let device = |wave, phase: v1::Phase| v1::RolloutDevice { wave, phase: phase as i32, ..Default::default() };
        let devices = vec![
            device(0, v1::Phase::Confirmed),
            device(0, v1::Phase::FellBack),
            device(1, v1::Phase::Confirmed),
            device(2, v1::Phase::Offered),
        ];
        let text = before(&v1::Rollout { devices, ..Default::default() }, 2);
        assert!(text.contains("2 of 3 devices confirmed, 1 failed or fell back"), "{text}");
    }
}
