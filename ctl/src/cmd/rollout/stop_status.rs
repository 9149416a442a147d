//! `rollout stop-status`: which devices have said that they obey a stop order, and until when the others could still begin.
//!
//! What counts is signed: the approval's slots by the hospital, each device's last word by its report key as the roster has
//! it. The server can withhold a report, which makes a device look as if it had not answered. An answer names the order that
//! is obeyed by its counter.
//!
//! Attack: a server that hides a second stop from a device, and shows its answer to the first one as that to the second.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use suture_core::approval::{Approval, DeviceSlots, RosterDevice};
use suture_core::clock::format_utc;
use suture_core::id::{ApprovalId, DeviceId};
use suture_core::phase::Phase;
use suture_core::report::Report;
use suture_proto::v1;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::{Desk, inventory};
use crate::print::Table;

/// How a device stands to a stop order, by its own signed word and the hospital's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "standing")]
enum Standing {
    /// It has said that it obeys the order in force, or a later one that this home has not heard of.
    Acknowledged { at: String },
    /// It can begin nothing more by this approval.
    Done { why: &'static str },
    /// It has begun, and finishes or reverts.
    UnderWay { phase: Phase, at: String, until: String },
    /// It has not answered, and could still begin.
    Unanswered {
        /// The last phase that it has signed of this approval.
        phase: Option<Phase>,
        /// The earlier order that it has answered to, where that is its last word.
        obeyed: Option<u64>,
        /// When it last said anything, by the server's clock.
        last_heard: Option<String>,
        /// The end of its last slot.
        until: String,
    },
}

#[derive(Debug, Serialize)]
struct Row {
    device: DeviceId,
    wave: u32,
    #[serde(flatten)]
    standing: Standing,
}

#[derive(Debug, Serialize)]
struct Shown {
    rollout: ApprovalId,
    /// Whether a stop order is in force.
    stopped: bool,
    counter: Option<u64>,
    signed_at: Option<String>,
    acknowledged: usize,
    done: usize,
    unanswered: usize,
    /// From then on no device can begin any more, whoever hides what from it; none where that is so already.
    safe_from: Option<String>,
    devices: Vec<Row>,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, rollout: &ApprovalId) -> Outcome {
    let mut desk = Desk::open_base(context).await?;
    let approval = desk.documents.approval(rollout).cloned();
    let approval = approval.ok_or_else(|| {
        Failure::new(format!("the approvals list no {rollout}"))
            .next("what is not listed, devices do not begin; `suturectl rollout list --all` shows how it ended")
    })?;
    let product = approval.terms.steps.first().map(|s| s.product.as_str()).unwrap_or_default();
    let said = inventory::devices(&mut desk.client, "", product, "").await?;
    let said: BTreeMap<String, v1::Device> =
        said.into_iter().filter_map(|d| Some((d.record.as_ref()?.id.clone(), d))).collect();
    let in_force = desk.documents.stop(rollout).filter(|order| order.stopped).map(|order| order.counter);
    let mut rows = Vec::new();
    for slots in &approval.devices {
        let roster = desk.documents.device(&slots.id).cloned();
        let device = said.get(slots.id.as_str());
        let mut reports: Vec<Report> =
            device.and_then(|d| inventory::proven(d.proven.as_ref(), roster.as_ref())).into_iter().collect();
        // Its last word is mostly about this approval; where it is not, what it said before is asked for.
        if device.is_some() && !reports.iter().any(|r| settles(&approval, r)) {
            reports = earlier(&mut desk, &slots.id, roster.as_ref()).await?;
        }
        let heard = device.and_then(|d| Timestamp::from_millisecond(d.last_seen_ms).ok()).filter(|t| !t.is_zero());
        let standing = standing((&approval, in_force), slots, &reports, heard, context.now());
        rows.push(Row { device: slots.id.clone(), wave: slots.wave + 1, standing });
    }
    let order = desk.documents.stop(rollout);
    let count = |is: fn(&Standing) -> bool| rows.iter().filter(|r| is(&r.standing)).count();
    let shown = Shown {
        rollout: rollout.clone(),
        stopped: in_force.is_some(),
        counter: order.map(|o| o.counter),
        signed_at: order.map(|o| format_utc(o.signed_at)),
        acknowledged: count(|s| matches!(s, Standing::Acknowledged { .. })),
        done: count(|s| matches!(s, Standing::Done { .. })),
        unanswered: count(|s| matches!(s, Standing::Unanswered { .. } | Standing::UnderWay { .. })),
        safe_from: rows.iter().filter_map(|r| r.standing.until()).max().map(str::to_owned),
        devices: rows,
    };
    context.print.result(&shown, text)
}

async fn earlier(desk: &mut Desk, id: &DeviceId, roster: Option<&RosterDevice>) -> Outcome<Vec<Report>> {
    let answer = desk.client.get_device(v1::GetDeviceRequest { id: id.to_string() }).await?;
    Ok(answer.reports.iter().filter_map(|r| inventory::proven(Some(r), roster)).collect())
}

/// Whether a report alone tells how its device stands.
fn settles(approval: &Approval, report: &Report) -> bool {
    report.approval.as_ref() == Some(&approval.terms.id)
}

/// How a device stands to the stop of that counter, where one is in force, by its verified reports, the newest of which
/// counts whatever order they come in.
fn standing(
    (approval, in_force): (&Approval, Option<u64>),
    slots: &DeviceSlots,
    reports: &[Report],
    heard: Option<Timestamp>,
    now: Timestamp,
) -> Standing {
    let newest = reports.iter().max_by_key(|r| r.number);
    let last_step = approval.terms.steps.last().map(|s| s.sha256);
    if newest.is_some_and(|r| Some(r.running.manifest) == last_step) {
        return Standing::Done { why: "it runs what was approved" };
    }
    let end = slots.slots.iter().map(|s| s.end).max().map_or(approval.terms.expires, |e| e.min(approval.terms.expires));
    if end <= now {
        return Standing::Done { why: "its last slot has ended" };
    }
    let last = reports.iter().filter(|r| settles(approval, r)).max_by_key(|r| r.number);
    if last.is_some_and(|r| r.permanent) {
        return Standing::Done { why: "it has failed for good, or its attempts are spent" };
    }
    let until = format_utc(end);
    match last {
        Some(r) if in_force.is_some_and(|counter| r.obeys(counter)) => Standing::Acknowledged { at: format_utc(r.at) },
        Some(r) if matches!(r.phase, Phase::Installing | Phase::Restarting | Phase::Confirming) => {
            Standing::UnderWay { phase: r.phase, at: format_utc(r.at), until }
        }
        last => Standing::Unanswered {
            phase: last.map(|r| r.phase),
            obeyed: last.filter(|r| r.phase == Phase::Stopped).and_then(|r| r.stop),
            last_heard: heard.map(format_utc),
            until,
        },
    }
}

impl Standing {
    fn until(&self) -> Option<&str> {
        match self {
            Self::Acknowledged { .. } | Self::Done { .. } => None,
            Self::UnderWay { until, .. } | Self::Unanswered { until, .. } => Some(until),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Acknowledged { at } => format!("obeys, by its word of {at}"),
            Self::Done { why } => format!("can begin nothing more: {why}"),
            Self::UnderWay { phase, at, .. } => format!("had begun at {at} ({phase}); it finishes or reverts"),
            Self::Unanswered { phase, obeyed, last_heard, .. } => {
                let mut phase = phase.map_or("nothing of it".to_owned(), |p| p.to_string());
                if let Some(counter) = obeyed {
                    phase = format!("{phase} by order {counter}");
                }
                let heard = last_heard.as_deref().unwrap_or("never");
                format!("has not answered; said last: {phase}; heard of: {heard}")
            }
        }
    }
}

fn text(s: &Shown) -> String {
    let order = match (&s.counter, &s.signed_at, s.stopped) {
        (Some(counter), Some(at), true) => format!("stopped by order {counter} of {at}"),
        (Some(counter), Some(at), false) => format!("NOT stopped: lifted by order {counter} of {at}"),
        _ => "NOT stopped: there is no stop order".to_owned(),
    };
    let safe = match &s.safe_from {
        Some(at) => format!("from {at} on no device can begin any more, whatever is hidden from it"),
        None => "no device can begin any more".to_owned(),
    };
    let mut table = Table::new(["  device", "wave", "could begin until", "standing"]);
    for row in &s.devices {
        let until = row.standing.until().unwrap_or_default().to_owned();
        table.row([format!("  {}", row.device), row.wave.to_string(), until, row.standing.to_text()]);
    }
    format!(
        "{}: {order}\n{} obey by their signed word, {} can begin nothing more, {} have not answered; {safe}\n{}",
        s.rollout,
        s.acknowledged,
        s.done,
        s.unanswered,
        table.to_text()
    )
}
