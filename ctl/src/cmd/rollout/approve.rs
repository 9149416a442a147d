//! `rollout approve`: signs what this program has computed itself, and nothing that it was sent.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use suture_core::approval::{Approval, Meaning, OperatorDocument, SignedDocument as _};
use suture_core::digest::Digest;
use suture_core::id::DeviceId;
use suture_core::limits::MAX_PLAN_BYTES;
use suture_core::plan::{Facts, Known, Plan, Signing};
use suture_core::trust::{Role, Status};
use suture_proto::v1;

use super::decide::{self, About, Instead};
use super::plan::{self, BundleName};
use super::print::agreed;
use super::stage;
use super::waves::gated;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::hospital::statements::{Saying, Words, may_use};
use crate::hospital::{Desk, refused};
use crate::keys::Keys;
use crate::print::count;
use crate::repository::{self, Done};

/// Arguments of `rollout approve`.
#[derive(Debug, Clone, Args)]
pub struct ApproveArgs {
    /// The digest that `rollout plan` printed, or the file that it wrote; with --decline or --defer also a bundle, as in
    /// pump@7
    plan: String,
    /// Why, for the record that the approval pins
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    saying: Saying,
    #[command(flatten)]
    instead: Instead,
    #[command(flatten)]
    signing: repository::Signing,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: ApproveArgs) -> Outcome {
    if let Some(decided) = args.instead.decided() {
        // Where nobody approves, the approvals may have lapsed.
        let mut desk = Desk::open_base(context).await?;
        if let Ok(bundle) = args.plan.parse() {
            return decide::run(context, &mut desk, About::Bundle(bundle), (decided, args.reason), &args.signing.key)
                .await;
        }
        let bytes = read(&mut desk, &args.plan).await?;
        let plan = parse(&args.plan, &bytes)?;
        let about = About::Plan(&plan, Digest::of(&bytes));
        return decide::run(context, &mut desk, about, (decided, args.reason), &args.signing.key).await;
    }
    let mut desk = Desk::open(context).await?;
    let bytes = read(&mut desk, &args.plan).await?;
    let plan = parse(&args.plan, &bytes)?;
    let bundle = BundleName { product: plan.bundle.step.product.clone(), release: plan.bundle.step.release };
    let facts = plan::facts(context, &mut desk, &bundle, &plan.inventory).await?;
    check(&plan, &facts, context.now())?;
    prove(&mut desk, &plan).await?;
    if let Some(stages) = stage::of(context, &mut desk, &plan).await? {
        stages.may_begin()?;
    }
    if args.saying.meaning == Meaning::Reviewed && desk.approvals.root().authority(Role::Targets).threshold() == 1 {
        return Err(Failure::new("one signature is enough here, and this one would only say that it was reviewed")
            .next("--meaning approved; or have two sign: `suturectl approvals set-threshold --role targets 2`"));
    }
    let words = Words::of(context, &args.saying, &args.reason)?;
    // Whoever approves by the digest alone has seen nothing of it yet.
    context.print.note(&format!(
        "{} of {} is signed for {}:\n  {}",
        plan.request.approval,
        plan.bundle.name(),
        count(plan.devices.len(), "device"),
        agreed(&plan).join("\n  ")
    ));
    if let Done::Waiting(waiting) = sign(context, &mut desk, &plan, words, &args.signing).await? {
        return waiting.print(context);
    }
    let digest = Digest::of(&bytes);
    let rollout = &plan.request.approval;
    let waiting = gated(plan.waves.iter().map(|w| &w.gate));
    let result = json!({
        "rollout": rollout, "plan_sha256": digest, "devices": plan.devices.len(), "waits_for_signature": waiting,
    });
    for n in &waiting {
        context.print.note(&format!(
            "wave {n} waits for a signature of its own: suturectl rollout open {rollout} --wave {n} --reason TEXT"
        ));
    }
    context.print.note(&format!("to follow it: suturectl rollout watch {rollout}"));
    context.print.result(&result, |_| {
        format!("approved: rollout {rollout}, {}, plan {digest}", count(plan.devices.len(), "device"))
    })
}

/// The plan's bytes, from the file, or from the server by the digest.
async fn read(desk: &mut Desk, named: &str) -> Outcome<Vec<u8>> {
    let Ok(digest) = named.parse::<Digest>() else {
        let path = PathBuf::from(named);
        return files::read(&path, MAX_PLAN_BYTES)?
            .ok_or_else(|| Failure::new(format!("{named:?} is neither a digest of 64 digits nor a file")));
    };
    let request = v1::GetPlanRequest { sha256: digest.as_bytes().to_vec().into() };
    Ok(desk.client.get_plan(request).await?.plan.to_vec())
}

/// The plan, if its bytes are those that were named.
fn parse(named: &str, bytes: &[u8]) -> Outcome<Plan> {
    if let Ok(digest) = named.parse::<Digest>()
        && Digest::of(bytes) != digest
    {
        return Err(Failure::untrusted(format!("the server gave another plan ({}) for {digest}", Digest::of(bytes)))
            .next("do not approve; use the file that `rollout plan -o` wrote"));
    }
    let plan = Plan::parse(bytes).map_err(refused)?;
    // The digest of what is acted upon is the digest that was shown: the form is canonical or it is no plan.
    if plan.to_bytes().map_err(refused)? != bytes {
        return Err(
            Failure::untrusted("the plan is not in its canonical form").next("make it anew with `rollout plan`")
        );
    }
    Ok(plan)
}

/// Computes the plan again from what is signed now.
fn check(plan: &Plan, facts: &Facts, now: Timestamp) -> Outcome {
    let again = "`suturectl rollout plan` again, and approve what it shows";
    if facts.hdo != plan.hdo {
        return Err(Failure::untrusted(format!("the plan is of hospital {}, not of {}", plan.hdo, facts.hdo)));
    }
    if facts.bundle.status == Status::Withdrawn {
        return Err(Failure::new("the manufacturer has withdrawn the bundle").next("there is nothing to approve"));
    }
    if facts.bundle != plan.bundle {
        return Err(Failure::untrusted("the catalog says other things of the bundle than the plan").next(again));
    }
    if facts.approvals.iter().any(|a| a.terms.id == plan.request.approval) {
        return Err(Failure::new(format!("{} is approved already", plan.request.approval))
            .next(format!("`suturectl rollout show {}`", plan.request.approval)));
    }
    let mine =
        plan.recompute(facts).map_err(|e| Failure::untrusted("the plan cannot be computed again").because(&e))?;
    if mine != *plan {
        let what = differs(plan, &mine);
        return Err(Failure::untrusted(format!(
            "computed again from what is signed now, the plan comes out differently, in its {what}"
        ))
        .next(again));
    }
    if plan.devices.is_empty() {
        return Err(Failure::new("the plan names no device").next(again));
    }
    let lost = plan.lost(now);
    if let Some(first) = lost.first() {
        return Err(Failure::new(format!(
            "it is too late for {} of the plan's {}: {first} is one whose slots are over",
            lost.len(),
            count(plan.devices.len(), "device")
        ))
        .next(again));
    }
    Ok(())
}

/// That the devices whose earlier slots the plan does not count have proven to this program too that they are done with them.
///
/// Attack: a plan that says so of devices that are not, kept for the approvers by a server that then keeps the new approval from
/// these.
async fn prove(desk: &mut Desk, plan: &Plan) -> Outcome {
    if plan.settled.is_empty() {
        return Ok(());
    }
    let known = plan::known(desk).await?;
    match unproven(plan, &known) {
        None => Ok(()),
        Some(id) => Err(Failure::untrusted(format!(
            "the plan gives away slots of {id}, and no signed report of its proves that it runs what they were for"
        ))
        .next("`suturectl rollout plan` again, and approve what it shows")),
    }
}

/// The first device that the plan takes to be done and that has not proven it.
fn unproven<'a>(plan: &'a Plan, known: &[Known]) -> Option<&'a DeviceId> {
    let said = |known: &[Known], id: &DeviceId| {
        let proven = known.iter().find(|k| k.id == *id).filter(|k| k.proven && k.settled);
        proven.and_then(|k| k.running.as_ref()).map(|r| r.manifest)
    };
    plan.settled.iter().find(|id| {
        let mine = said(known, id);
        mine.is_none() || mine != said(&plan.inventory, id)
    })
}

fn differs(plan: &Plan, mine: &Plan) -> &'static str {
    let parts = [
        (plan.rosters == mine.rosters, "rosters"),
        (plan.wards == mine.wards, "wards and calendars"),
        (plan.supersedes == mine.supersedes, "superseded approvals"),
        (plan.way == mine.way, "releases on the way"),
        (plan.blocked == mine.blocked, "devices that are left out"),
        (plan.no_way_back == mine.no_way_back, "devices that lose the way back"),
        (plan.settled == mine.settled, "devices whose earlier slots are not counted"),
        (plan.devices == mine.devices, "devices and slots"),
    ];
    parts.iter().find(|(equal, _)| !equal).map_or("waves or dates", |(_, name)| name)
}

/// The plan behind an approval that somebody else has signed, if it leads to that very approval: the server contributes the
/// plan's bytes, whose digest the approval pins; what it comes to is computed here.
pub(crate) async fn computed_again(
    context: &mut Context<'_>,
    desk: &mut Desk,
    approval: &Approval,
    operator: &OperatorDocument,
) -> Outcome<Plan> {
    let digest = operator.plan_sha256.to_string();
    let plan = parse(&digest, &read(desk, &digest).await?)?;
    let bundle = BundleName { product: plan.bundle.step.product.clone(), release: plan.bundle.step.release };
    let facts = plan::facts(context, desk, &bundle, &plan.inventory).await?;
    check(&plan, &facts, context.now())?;
    prove(desk, &plan).await?;
    comes_to(&plan, approval, operator)?;
    if let Some(stages) = stage::of(context, desk, &plan).await? {
        stages.may_begin()?;
    }
    Ok(plan)
}

fn comes_to(plan: &Plan, approval: &Approval, operator: &OperatorDocument) -> Outcome {
    let OperatorDocument { approver, meaning, reason, .. } = operator.clone();
    let signing = Signing { approver, meaning, reason };
    let (mine, document) = plan.to_approval(&signing, approval.terms.created).map_err(refused)?;
    if mine == *approval && document == *operator {
        return Ok(());
    }
    Err(Failure::untrusted(format!("the approval {} says other things than its plan leads to", approval.terms.id))
        .next("do not sign it; ask whoever made it, and have it planned and approved again"))
}

/// Signs the approval and its document for people as the approvals' next version, and publishes it.
pub(super) async fn sign(
    context: &Context<'_>,
    desk: &mut Desk,
    plan: &Plan,
    words: Words,
    by: &repository::Signing,
) -> Outcome<Done<()>> {
    may_use(context, desk.approvals.root(), &Keys::of(&context.home).public(&by.key)?)?;
    let signing =
        Signing { approver: words.name.to_string(), meaning: words.meaning.to_string(), reason: words.reason.clone() };
    let (approval, operator) = plan.to_approval(&signing, context.now()).map_err(refused)?;
    desk.publish(context, by, |edit| edit.approve_as(&approval, &operator, words).map_err(refused)).await
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{at, facts, id, now, on, planned};
    use super::*;
    use crate::failure::Exit;
    use suture_core::plan::Floor;
    use suture_core::version::Release;

    /// How `check` refuses a plan of the fixture's facts, after a change to the facts or the plan.
    fn refused(at: Timestamp, change: impl FnOnce(&mut Facts, &mut Plan)) -> (Exit, String) {
        let mut facts = facts();
        let mut plan = planned(&facts);
        change(&mut facts, &mut plan);
        let failure = check(&plan, &facts, at).unwrap_err();
        (failure.exit, failure.to_text())
    }

    #[test]
    fn a_plan_that_comes_out_again_is_approved() {
        let facts = facts();
        check(&planned(&facts), &facts, now()).unwrap();
    }

    #[test]
    fn what_is_signed_now_decides_and_not_what_the_plan_says() {
        type Change = fn(&mut Facts, &mut Plan);
        let changes: [(Change, &str); 7] = [
            (|facts, _| facts.hdo = id("lakeside"), "of hospital riverside, not of lakeside"),
            (
                |facts, _| {
                    facts.bundle.floors =
                        vec![Floor { release: Release(5), floor: Release(4), status: Status::Current }]
                },
                "other things",
            ),
            (|_, plan| plan.bundle.step.sha256 = Digest::of(b"another bundle"), "other things"),
            (|_, plan| plan.devices[0].slots[0].start = now(), "devices and slots"),
            (|_, plan| plan.blocked.clear(), "devices that are left out"),
            (|facts, _| facts.calendars[0].0.sha256 = Digest::of(b"another calendar"), "wards and calendars"),
            (|facts, _| facts.rosters[0].0.sha256 = Digest::of(b"another roster"), "rosters"),
        ];
        for (change, part) in changes {
            let (exit, text) = refused(now(), change);
            assert_eq!(exit, Exit::Untrusted, "{text}");
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn slots_are_given_away_only_by_a_proof_that_the_approver_has_too() {
        let mut plan = planned(&facts());
        assert_eq!(unproven(&plan, &[]), None);
        (plan.settled, plan.inventory) = (vec![id("p1"), id("p2")], vec![on("p1", 4), on("p2", 4)]);
        assert_eq!(unproven(&plan, &[on("p2", 4), on("p1", 4)]), None);
        let said = |change: fn(&mut Known)| {
            let mut known = [on("p1", 4), on("p2", 4)];
            change(&mut known[1]);
            unproven(&plan, &known).map(ToString::to_string)
        };
        let p2 = Some("p2".to_owned());
        assert_eq!(said(|known| known.proven = false), p2, "the server says so");
        assert_eq!(said(|known| known.settled = false), p2, "it is being changed");
        assert_eq!(said(|known| known.running = None), p2);
        assert_eq!(said(|known| *known = on("p2", 5)), p2, "it runs another by now");
        assert_eq!(unproven(&plan, &[on("p1", 4)]).map(DeviceId::as_str), Some("p2"));
    }

    #[test]
    fn a_plan_that_has_had_its_day_is_not_signed() {
        let (_, text) = refused(now(), |facts, plan| {
            facts.bundle.status = Status::Withdrawn;
            plan.bundle.status = Status::Withdrawn;
        });
        assert!(text.contains("withdrawn"), "{text}");
        let (_, text) = refused(now(), |facts, plan| {
            let signing =
                Signing { approver: "kim".to_owned(), meaning: "approved".to_owned(), reason: "x".to_owned() };
            facts.approvals = vec![plan.to_approval(&signing, now()).unwrap().0];
        });
        assert!(text.contains("approved already") && text.contains("rollout show pump-5"), "{text}");
        // Two slots a device: both Tuesdays are over.
        let (_, text) = refused(at("2026-12-02T00:00:00Z"), |_, _| {});
        assert!(text.contains("too late for 2 of the plan's 2 devices"), "{text}");
        let (_, text) = refused(now(), |facts, plan| {
            facts.bundle.step.hardware = vec![id("rev-b")];
            *plan = planned(facts);
        });
        assert!(text.contains("names no device"), "{text}");
    }

    #[test]
    fn an_approval_is_countersigned_only_if_its_plan_comes_to_it() {
        let plan = planned(&facts());
        let signing = Signing { approver: "kim".to_owned(), meaning: "approved".to_owned(), reason: "x".to_owned() };
        let (approval, operator) = plan.to_approval(&signing, now()).unwrap();
        comes_to(&plan, &approval, &operator).unwrap();
        let changes: [fn(&mut Approval, &mut OperatorDocument); 4] = [
            |approval, _| approval.terms.permit_downgrade = true,
            |approval, _| approval.devices[0].slots[0].start = now(),
            |approval, _| approval.terms.steps[0].sha256 = Digest::of(b"another bundle"),
            |_, operator| operator.ticket = "CHG-2".to_owned(),
        ];
        for change in changes {
            let (mut approval, mut operator) = (approval.clone(), operator.clone());
            change(&mut approval, &mut operator);
            let failure = comes_to(&plan, &approval, &operator).unwrap_err();
            assert_eq!(failure.exit, Exit::Untrusted);
            assert!(failure.to_text().contains("do not sign it"), "{}", failure.to_text());
        }
    }
}
