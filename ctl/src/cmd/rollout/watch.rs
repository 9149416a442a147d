//! `rollout list|show|watch`: how far rollouts are, as the server counts the devices' signed reports.

use std::collections::BTreeMap;

use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::id::ApprovalId;
use suture_core::phase::Reason;
use suture_core::progress::Progress;
use suture_proto::{parse_phase, parse_reason, progress, v1};

use crate::alarm;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::hospital::leases::Down;
use crate::hospital::rollouts::{self, Watched};
use crate::hospital::{Desk, inventory};
use crate::print::Table;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Shown {
    rollout: String,
    state: String,
    reason: Option<Reason>,
    product: String,
    version: String,
    release: u64,
    /// Counted from 1.
    wave: u32,
    waves: u32,
    /// The waves that wait for the hospital's signature, counted from 1.
    waits_for_signature: Vec<u32>,
    ticket: String,
    created: Option<String>,
    /// Its devices that count as down by a lease of the server's; told by `rollout show`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    down: Vec<Down>,
    /// Left out of lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    devices: Vec<Device>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Device {
    id: String,
    wave: u32,
    phase: String,
    reason: Option<Reason>,
    fetched_bytes: u64,
    total_bytes: u64,
    /// How they came, as the device says.
    progress: Progress,
}

fn shown(rollout: v1::Rollout) -> Shown {
    let device = |d: v1::RolloutDevice| Device {
        wave: d.wave + 1,
        phase: parse_phase(d.phase).map_or_else(|| "not heard of".to_owned(), |p| p.to_string()),
        reason: parse_reason(d.reason.as_ref()),
        fetched_bytes: d.fetched_bytes,
        total_bytes: d.total_bytes,
        progress: progress(d.fetched_bytes, d.total_bytes, d.transfer.as_ref()),
        id: d.id,
    };
    Shown {
        reason: parse_reason(rollout.reason.as_ref()),
        wave: rollout.wave.saturating_add(1).min(rollout.waves),
        waves: rollout.waves,
        waits_for_signature: rollout.unsigned_waves.iter().map(|w| w.saturating_add(1)).collect(),
        created: jiff::Timestamp::from_millisecond(rollout.created_ms).ok().map(format_utc),
        down: rollout.leases.iter().filter_map(Down::of).collect(),
        devices: rollout.devices.into_iter().map(device).collect(),
        rollout: rollout.id,
        state: rollout.state,
        product: rollout.product,
        version: rollout.version,
        release: rollout.release,
        ticket: rollout.ticket,
    }
}

/// `rollout list`.
pub(super) async fn list(context: &mut Context<'_>, all: bool) -> Outcome {
    context.home.server()?.hdo()?;
    let answer = context.connect().await?.list_rollouts(v1::ListRolloutsRequest { all }).await?;
    let rows: Vec<Shown> = answer.rollouts.into_iter().map(shown).collect();
    context.print.result(&rows, |rows| {
        let mut table = Table::new(["rollout", "state", "bundle", "wave", "ticket", "created"]);
        for r in rows {
            table.row([
                r.rollout.clone(),
                r.state.clone(),
                format!("{} {}", r.product, r.version),
                format!("{} of {}", r.wave, r.waves),
                r.ticket.clone(),
                r.created.clone().unwrap_or_default(),
            ]);
        }
        table.to_text()
    })
}

/// `rollout show`.
pub(super) async fn show(context: &mut Context<'_>, id: &ApprovalId) -> Outcome {
    let rollout = fetch(context, id).await?;
    context.print.result(&shown(rollout), text)
}

/// What the server says of a rollout.
pub(super) async fn fetch(context: &Context<'_>, id: &ApprovalId) -> Outcome<v1::Rollout> {
    context.home.server()?.hdo()?;
    rollouts::rollout(&mut context.connect().await?, id).await
}

fn text(r: &Shown) -> String {
    let mut table = Table::new(["  device", "wave", "phase", "fetched", "reason"]);
    for d in &r.devices {
        table.row([
            format!("  {}", d.id),
            d.wave.to_string(),
            d.phase.clone(),
            fetched(d),
            d.reason.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    let unsigned: Vec<String> = r.waits_for_signature.iter().map(ToString::to_string).collect();
    let unsigned = match unsigned.as_slice() {
        [] => String::new(),
        waves => format!("without the hospital's signature, as the server has it: wave {}\n", waves.join(", ")),
    };
    let down: String = r.down.iter().map(|d| format!("lease: {}\n", d.text)).collect();
    format!("{}\n{unsigned}{down}{}", head(r), table.to_text())
}

fn head(r: &Shown) -> String {
    let reason = r.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    format!("{}: {}{reason}, {} {}, wave {} of {}", r.rollout, r.state, r.product, r.version, r.wave, r.waves)
}

fn fetched(d: &Device) -> String {
    d.progress.to_string()
}

/// `rollout watch`: a line for each change, a JSON value a line with `--output json`, until the rollout has ended or, for
/// the sake of scripts, until it is paused by a failure.
pub(super) async fn watch(context: &mut Context<'_>, id: &ApprovalId) -> Outcome {
    context.home.server()?.hdo()?;
    compare(context).await?;
    let mut states = Watched::begin(&mut context.connect().await?, id).await?;
    let mut before: Option<Shown> = None;
    while let Some(rollout) = states.next().await? {
        let now = shown(rollout);
        if before.as_ref() == Some(&now) {
            continue;
        }
        let lines = changes(before.as_ref(), &now);
        context.print.result(&now, |_| lines)?;
        let ended = outcome(&now);
        // Before more devices follow. What a rollout came to counts for nothing where devices went by other approvals than
        // this operator sees.
        if ended.is_some() || before.as_ref().is_some_and(|b| !is_same_stage(b, &now)) {
            compare(context).await?;
        }
        if let Some(ended) = ended {
            return ended;
        }
        before = Some(now);
    }
    Err(Failure::new(format!("the server stopped telling of {id} before it ended"))
        .exit(Exit::Unreachable)
        .next("watch it again"))
}

/// Compares what the devices have signed that they verified with what this home knows: at the beginning, whenever a wave
/// opens or the rollout's state changes, and at the end. The server tells of rollouts without the signatures; they are asked
/// for with all devices, so not for every device's every step.
async fn compare(context: &Context<'_>) -> Outcome {
    let mut desk = Desk::open(context).await?;
    let devices = inventory::devices(&mut desk.client, "", "", "").await?;
    alarm::raise(&alarm::look(context, &mut desk.client, &desk.hdo, &desk.documents, &devices).await?)
}

/// Whether the rollout itself has not moved, whatever its devices did.
fn is_same_stage(a: &Shown, b: &Shown) -> bool {
    (&a.state, &a.reason, a.wave) == (&b.state, &b.reason, b.wave)
}

/// What a state says that the one before did not.
fn changes(before: Option<&Shown>, now: &Shown) -> String {
    let known: BTreeMap<&str, &Device> = before.iter().flat_map(|b| &b.devices).map(|d| (d.id.as_str(), d)).collect();
    let mut lines = Vec::new();
    if !before.is_some_and(|b| is_same_stage(b, now)) {
        lines.push(head(now));
    }
    for d in now.devices.iter().filter(|d| known.get(d.id.as_str()) != Some(d)) {
        let reason = d.reason.as_ref().map(|r| format!(", {r}")).unwrap_or_default();
        let fetched = if d.phase == "fetching" { format!(" {}", fetched(d)) } else { String::new() };
        lines.push(format!("  wave {} {}: {}{fetched}{reason}", d.wave, d.id, d.phase));
    }
    lines.join("\n")
}

/// Whether watching is over, and how.
fn outcome(r: &Shown) -> Option<Outcome> {
    match r.state.as_str() {
        "complete" => Some(Ok(())),
        "aborted" | "superseded" | "expired" => Some(Err(Failure::new(head(r)))),
        "paused" if r.reason.as_ref().is_some_and(|r| r.code != suture_core::phase::Code::Operator) => Some(Err(
            Failure::new(head(r))
                .next(format!("`suturectl rollout show {0}`, then resume, abort or `rollout rollback {0}`", r.rollout)),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::phase::Code;

    fn rollout(state: &str, reason: Option<Code>, phase: v1::Phase) -> Shown {
        shown(v1::Rollout {
            id: "r".to_owned(),
            state: state.to_owned(),
            reason: reason.map(|code| (&Reason::new(code, "so it is")).into()),
            waves: 2,
            devices: vec![v1::RolloutDevice { id: "pump-1".to_owned(), phase: phase as i32, ..Default::default() }],
            ..Default::default()
        })
    }

    #[test]
    fn scripts_learn_from_the_exit_code_how_it_ended() {
        let ended = |state: &str, reason| outcome(&rollout(state, reason, v1::Phase::Fetching)).map(|o| o.is_ok());
        assert_eq!(ended("complete", None), Some(true));
        assert_eq!(ended("running", None), None);
        assert_eq!(ended("paused", Some(Code::Operator)), None, "a colleague will resume it");
        assert_eq!(ended("paused", Some(Code::FailureCeiling)), Some(false));
        assert_eq!(ended("aborted", Some(Code::Operator)), Some(false));
        assert_eq!(ended("superseded", None), Some(false));
    }

    #[test]
    fn only_what_changed_is_told() {
        let (a, b) = (rollout("running", None, v1::Phase::Fetching), rollout("running", None, v1::Phase::Staged));
        assert!(changes(None, &a).starts_with("r: running"));
        assert_eq!(changes(Some(&a), &b), "  wave 1 pump-1: staged");
        assert_eq!(changes(Some(&a), &a), "");
    }
}
