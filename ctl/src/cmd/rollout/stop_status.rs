//! `rollout stop-status`: which devices have said that they obey a stop order, and until when the others could still begin.
//!
//! What counts is signed: the approval's slots by the hospital, each device's last word by its report key as the roster has
//! it. The server can withhold a report, which makes a device look as if it had not answered. An answer names the order that
//! is obeyed by its counter.
//!
//! That a device can begin no more is said only where it has proven what it runs, and where nothing gives back what it has
//! spent. A lift does so, also where a stop has come after it that the device does not hear of: so a home remembers the lifts
//! that it has seen. One that has seen none may be looking at the rollout for the first time since: it says so, and counts the
//! device among those that could begin.
//!
//! Attack: a server that hides a second stop from a device, and shows its answer to the first one as that to the second. Or
//! one that shows the second to everybody but a device that has failed for good, and that the lift between lets go on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use suture_core::approval::{Approval, DeviceSlots, RosterDevice, VerifiedStop};
use suture_core::clock::format_utc;
use suture_core::id::{ApprovalId, DeviceId};
use suture_core::phase::{Code, Phase};
use suture_core::report::Report;
use suture_proto::v1;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::{Desk, inventory, orders};
use crate::print::Table;

/// How a device stands to a stop order, by its own signed word and the hospital's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "standing")]
enum Standing {
    /// It has said that it obeys the order in force, or a later one that this home has not heard of.
    Acknowledged { at: String },
    /// It can begin nothing more by this approval.
    Done { why: &'static str },
    /// The same unless it was lifted by an order that this home has not seen.
    Spent { why: &'static str, until: String },
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

/// What is known of an approval's orders, by their counters.
#[derive(Debug, Clone, Copy, Default)]
struct Orders {
    /// The stop in force.
    in_force: Option<u64>,
    /// The newest lift that this home has seen, whatever came after it.
    lift: Option<u64>,
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
    let orders = Orders {
        in_force: desk.documents.stop(rollout).filter(|order| order.stopped).map(|order| order.counter),
        lift: orders::lifted(&context.home, rollout)?.map(|lift| lift.weight()),
    };
    // When it failed is told by the report before it too.
    let is_enough = |r: &Report| settles(&approval, r) && !(r.permanent && orders.lift.is_some());
    let mut rows = Vec::new();
    for slots in &approval.devices {
        let roster = desk.documents.device(&slots.id).cloned();
        let device = said.get(slots.id.as_str());
        let mut reports: Vec<Report> =
            device.and_then(|d| inventory::proven(d.proven.as_ref(), roster.as_ref())).into_iter().collect();
        // Its last word is mostly about this approval; where it is not, what it said before is asked for.
        if device.is_some() && !reports.iter().any(is_enough) {
            reports = earlier(&mut desk, &slots.id, roster.as_ref()).await?;
        }
        let heard = device.and_then(|d| Timestamp::from_millisecond(d.last_seen_ms).ok()).filter(|t| !t.is_zero());
        let standing = standing((&approval, orders), slots, &reports, heard, context.now());
        rows.push(Row { device: slots.id.clone(), wave: slots.wave + 1, standing });
    }
    context.print.result(&Shown::new(rollout, desk.documents.stop(rollout), rows), text)
}

async fn earlier(desk: &mut Desk, id: &DeviceId, roster: Option<&RosterDevice>) -> Outcome<Vec<Report>> {
    let answer = desk.client.get_device(v1::GetDeviceRequest { id: id.to_string() }).await?;
    Ok(answer.reports.iter().filter_map(|r| inventory::proven(Some(r), roster)).collect())
}

/// Whether a report alone tells how its device stands.
fn settles(approval: &Approval, report: &Report) -> bool {
    report.approval.as_ref() == Some(&approval.terms.id)
}

/// Whether a device that says so may yet fall back from what it runs: it has not proven it, or could not even go back.
fn is_unproven(report: &Report) -> bool {
    match report.phase {
        Phase::Installing | Phase::Restarting | Phase::Confirming => true,
        Phase::Held => report.reason.as_ref().is_none_or(|reason| reason.code != Code::ReturnToService),
        _ => false,
    }
}

/// How a device stands to an approval and its orders, by its verified reports, the newest of which counts whatever order they
/// come in.
fn standing(
    (approval, orders): (&Approval, Orders),
    slots: &DeviceSlots,
    reports: &[Report],
    heard: Option<Timestamp>,
    now: Timestamp,
) -> Standing {
    let newest = reports.iter().max_by_key(|r| r.number);
    let last = reports.iter().filter(|r| settles(approval, r)).max_by_key(|r| r.number);
    let last_step = approval.terms.steps.last().map(|s| s.sha256);
    let runs = newest.is_some_and(|r| Some(r.running.manifest) == last_step);
    // Of reports that tell of no approval the phase alone is asked: what they are written for may come between any two others.
    let is_changing = newest.is_some_and(|r| r.phase != Phase::Held && is_unproven(r));
    if runs && !is_changing && !last.is_some_and(is_unproven) {
        return Standing::Done { why: "it runs what was approved" };
    }
    let end = slots.slots.iter().map(|s| s.end).max().map_or(approval.terms.expires, |e| e.min(approval.terms.expires));
    if end <= now {
        return Standing::Done { why: "its last slot has ended" };
    }
    let until = format_utc(end);
    match last.filter(|r| r.permanent).map_or(Spent::No, |r| spent(r, reports, orders)) {
        Spent::Yes => return Standing::Done { why: SPENT },
        Spent::UnlessLifted => return Standing::Spent { why: NO_LIFT_SEEN, until },
        Spent::No => {}
    }
    match last {
        Some(r) if orders.in_force.is_some_and(|counter| r.obeys(counter)) => {
            Standing::Acknowledged { at: format_utc(r.at) }
        }
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

const SPENT: &str = "it has failed for good, or its attempts are spent";
const NO_LIFT_SEEN: &str = "it has failed for good, or its attempts are spent, and this home has seen no lift since";

/// Whether a device begins no more because it has failed for good, or has no try left.
enum Spent {
    Yes,
    /// It was stopped since, and may have been lifted before that: then it has its tries back.
    UnlessLifted,
    No,
}

/// Whether what a device has spent is spent still.
///
/// A lift does so that weighs more than the Unix time of the failure: [`suture_core::retry::Tries::lifted`]. The device failed
/// between the report before it and its own, which may be written long after; of reports that were written together none tells
/// of a time before.
fn spent(failed: &Report, reports: &[Report], orders: Orders) -> Spent {
    let before = reports.iter().filter(|r| r.number < failed.number && r.at < failed.at).max_by_key(|r| r.number);
    let since = before.map_or(0, |before| u64::try_from(before.at.as_second()).unwrap_or(0));
    if orders.lift.is_some_and(|lift| since < lift) {
        return Spent::No;
    }
    match orders.in_force {
        Some(stop) if since < stop => Spent::UnlessLifted,
        _ => Spent::Yes,
    }
}

impl Shown {
    fn new(rollout: &ApprovalId, order: Option<&VerifiedStop>, devices: Vec<Row>) -> Self {
        let count = |is: fn(&Standing) -> bool| devices.iter().filter(|r| is(&r.standing)).count();
        let acknowledged = count(|s| matches!(s, Standing::Acknowledged { .. }));
        let done = count(|s| matches!(s, Standing::Done { .. }));
        Self {
            rollout: rollout.clone(),
            stopped: order.is_some_and(|o| o.stopped),
            counter: order.map(|o| o.counter),
            signed_at: order.map(|o| format_utc(o.signed_at)),
            acknowledged,
            done,
            unanswered: devices.len().saturating_sub(acknowledged).saturating_sub(done),
            safe_from: devices.iter().filter_map(|r| r.standing.until()).max().map(str::to_owned),
            devices,
        }
    }
}

impl Standing {
    fn until(&self) -> Option<&str> {
        match self {
            Self::Acknowledged { .. } | Self::Done { .. } => None,
            Self::Spent { until, .. } | Self::UnderWay { until, .. } | Self::Unanswered { until, .. } => Some(until),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Acknowledged { at } => format!("obeys, by its word of {at}"),
            Self::Done { why } => format!("can begin nothing more: {why}"),
            Self::Spent { why, .. } => format!("begins again only by a lift: {why}"),
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

#[cfg(test)]
mod tests {
    use suture_core::phase::Reason;
    use suture_core::report::Took;

    use super::super::fixture::{self, at, facts, id, now, on, planned};
    use super::*;

    const UNIX: i64 = 1_795_000_000;

    fn unix(secs: i64) -> Timestamp {
        Timestamp::from_second(UNIX + secs).unwrap()
    }

    /// The counter of an order that was signed then.
    fn signed(secs: i64) -> Option<u64> {
        u64::try_from(UNIX + secs).ok()
    }

    /// What p1 says of pump-5, while it runs that release.
    fn report(number: u64, secs: i64, phase: Phase, release: u64) -> Report {
        Report {
            kind: Report::TYPE.to_owned(),
            hdo: id("riverside"),
            device: id("p1"),
            number,
            at: unix(secs),
            product: id("pump"),
            running: on("p1", release).running.unwrap(),
            integrity: None,
            approval: Some(id("pump-5")),
            manifest: None,
            phase,
            reason: None,
            stop: None,
            permanent: false,
            sources: None,
            took: Took::default(),
            catalog: None,
            approvals: None,
            record: None,
            log: None,
        }
    }

    fn failed(number: u64, secs: i64) -> Report {
        Report { permanent: true, ..report(number, secs, Phase::FellBack, 3) }
    }

    fn held(number: u64, secs: i64, code: Code) -> Report {
        Report { reason: Some(Reason::new(code, "x")), ..report(number, secs, Phase::Held, 5) }
    }

    /// What the reports come to, in a word, before the first slot.
    fn stands(orders: Orders, reports: &[Report]) -> &'static str {
        stands_at(now(), orders, reports)
    }

    fn stands_at(now: Timestamp, orders: Orders, reports: &[Report]) -> &'static str {
        let plan = planned(&facts());
        let signing = suture_core::plan::Signing {
            approver: "kim".to_owned(),
            meaning: "approved".to_owned(),
            reason: "CVE-2026-1".to_owned(),
        };
        let (approval, _) = plan.to_approval(&signing, fixture::now()).unwrap();
        let standing = |reports: &[Report]| standing((&approval, orders), &approval.devices[0], reports, None, now);
        let mut turned = reports.to_vec();
        turned.reverse();
        assert_eq!(standing(&turned), standing(reports), "the device's numbers count, not the order they come in");
        match standing(reports) {
            Standing::Acknowledged { .. } => "obeys",
            Standing::Done { why } => why,
            Standing::Spent { .. } => "spent",
            Standing::UnderWay { .. } => "under way",
            Standing::Unanswered { .. } => "could begin",
        }
    }

    const RUNS: &str = "it runs what was approved";

    #[test]
    fn what_a_device_runs_counts_once_it_has_proven_it() {
        let none = Orders::default();
        let changing = [Phase::Installing, Phase::Restarting, Phase::Confirming];
        for phase in changing {
            // With two slots the link is over at the switch: the report of it says already what is to be proven.
            let said = report(7, 0, phase, 5);
            assert_eq!(stands(none, std::slice::from_ref(&said)), "under way", "{phase}");
            // An agent that was replaced between, or a damaged report, tells of no approval.
            let between = |phase| Report { approval: None, ..report(8, 1, phase, 5) };
            assert_eq!(stands(none, &[said.clone(), between(Phase::Idle)]), "under way", "{phase}");
            assert_eq!(stands(none, &[between(phase)]), "could begin", "{phase}");
            assert_eq!(stands(none, &[said, report(9, 2, Phase::FellBack, 3)]), "could begin", "a try is left");
        }
        assert_eq!(stands(none, &[report(7, 0, Phase::Confirming, 5), report(8, 1, Phase::Confirmed, 5)]), RUNS);
        assert_eq!(stands(none, &[report(8, 1, Phase::Confirmed, 5), held(9, 2, Code::ReturnToService)]), RUNS);
        let drifts = Report { approval: None, ..held(9, 2, Code::Drift) };
        assert_eq!(stands(none, &[report(8, 1, Phase::Confirmed, 5), drifts]), RUNS);
        // The way back did not work: a person brings the old version back.
        let stuck = Report { permanent: true, ..held(9, 2, Code::HealthFailed) };
        assert_eq!(stands(none, std::slice::from_ref(&stuck)), SPENT);
        let lifted = Orders { lift: signed(3), ..none };
        assert_eq!(stands(lifted, &[report(8, 1, Phase::Confirming, 5), stuck]), "could begin");
    }

    #[test]
    fn what_is_spent_is_given_back_by_a_lift_that_may_be_younger_whatever_came_after_it() {
        let before = report(7, 100, Phase::Confirming, 5);
        let reports = [before.clone(), failed(8, 200)];
        let orders = |in_force: Option<i64>, lift: Option<i64>| Orders {
            in_force: in_force.and_then(signed),
            lift: lift.and_then(signed),
        };
        assert_eq!(stands(orders(None, None), &reports), SPENT);
        assert_eq!(stands(orders(Some(90), Some(80)), &reports), SPENT);
        assert_eq!(stands(orders(None, Some(300)), &reports), "could begin");
        assert_eq!(stands(orders(Some(400), Some(300)), &reports), "could begin", "the stop may be hidden from it");
        // Stopped alone it stays as it is; that it was never lifted is no more than this home knows.
        assert_eq!(stands(orders(Some(300), None), &reports), "spent");
        // When it failed is not known to the second: the report of it may have been written long after.
        assert_eq!(stands(orders(None, Some(150)), &reports), "could begin");
        assert_eq!(stands(orders(None, Some(100)), &reports), SPENT, "it had not even begun to prove it");
        assert_eq!(stands(orders(None, Some(50)), &reports[1..]), "could begin", "nothing before it is known");
        // Written together, they tell of nothing that was before.
        let together = [report(7, 500, Phase::Confirming, 5), failed(8, 500)];
        assert_eq!(stands(orders(None, Some(300)), &together), "could begin");
        assert_eq!(stands(orders(None, Some(300)), &[report(6, 400, Phase::Waiting, 3), failed(8, 500)]), SPENT);
        // What it does after the lift tells by itself.
        let again = [before, failed(8, 200), report(9, 310, Phase::Confirming, 5), failed(10, 320)];
        assert_eq!(stands(orders(None, Some(300)), &again), SPENT);
    }

    #[test]
    fn that_no_device_can_begin_is_said_of_none_that_a_lift_unseen_could_let_go_on() {
        let shown = |standing| Shown::new(&id("pump-5"), None, vec![Row { device: id("p1"), wave: 1, standing }]);
        let until = "2026-12-07T01:00:00Z";
        let spent = shown(Standing::Spent { why: NO_LIFT_SEEN, until: until.to_owned() });
        assert_eq!((spent.done, spent.unanswered, spent.safe_from.as_deref()), (0, 1, Some(until)));
        let told = text(&spent);
        assert!(told.contains(&format!("from {until} on no device can begin any more")), "{told}");
        assert!(told.contains("begins again only by a lift"), "{told}");
        let done = shown(Standing::Done { why: SPENT });
        assert_eq!((done.done, done.unanswered, done.safe_from.as_deref()), (1, 0, None));
        assert!(text(&done).contains("0 have not answered; no device can begin any more\n"), "{}", text(&done));
    }

    #[test]
    fn an_answer_is_to_the_order_in_force_and_a_slot_that_is_over_needs_none() {
        let obeys = |stop| Report { stop, ..report(8, 200, Phase::Stopped, 3) };
        let orders = |secs| Orders { in_force: signed(secs), lift: None };
        assert_eq!(stands(orders(150), &[obeys(signed(150))]), "obeys");
        assert_eq!(stands(orders(151), &[obeys(signed(150))]), "could begin");
        assert_eq!(stands(orders(150), &[]), "could begin");
        assert_eq!(stands_at(at("2026-12-08T00:00:00Z"), orders(150), &[]), "its last slot has ended");
    }
}
