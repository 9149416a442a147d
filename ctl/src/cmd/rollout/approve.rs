//! `rollout approve`: signs what this program has computed itself, and nothing that it was sent.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use suture_core::approval::SignedDocument as _;
use suture_core::digest::Digest;
use suture_core::limits::MAX_PLAN_BYTES;
use suture_core::plan::{Facts, Plan, Signing};
use suture_core::principal::Principal;
use suture_core::trust::Status;
use suture_proto::v1;

use super::plan::{self, BundleName};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::hospital::{Desk, refused};
use crate::keys::KeyName;

/// Arguments of `rollout approve`.
#[derive(Debug, Clone, Args)]
pub struct ApproveArgs {
    /// The digest that `rollout plan` printed, or the file that it wrote
    plan: String,
    /// Why, for the record that the approval pins
    #[arg(long)]
    reason: String,
    /// What the signature means
    #[arg(long, default_value = "approved")]
    meaning: String,
    /// The key that signs targets
    #[arg(long, value_name = "KEY", default_value = "targets")]
    key: KeyName,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: ApproveArgs) -> Outcome {
    let mut desk = Desk::open(context).await?;
    let bytes = read(&mut desk, &args.plan).await?;
    let plan = parse(&args.plan, &bytes)?;
    let bundle = BundleName { product: plan.bundle.step.product.clone(), release: plan.bundle.step.release };
    let facts = plan::facts(context, &mut desk, &bundle).await?;
    check(&plan, &facts, context.now())?;
    sign(context, &mut desk, &plan, &args.reason, &args.meaning, &args.key).await?;
    let digest = Digest::of(&bytes);
    let rollout = &plan.request.approval;
    let result = json!({ "rollout": rollout, "plan_sha256": digest, "devices": plan.devices.len() });
    context.print.note(&format!("to follow it: suturectl rollout watch {rollout}"));
    context
        .print
        .result(&result, |_| format!("approved: rollout {rollout}, {} devices, plan {digest}", plan.devices.len()))
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
    if facts.approvals.iter().any(|a| a.id == plan.request.approval) {
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
            "it is too late for {} of the plan's {} devices, {first} for one: their slots are over",
            lost.len(),
            plan.devices.len()
        ))
        .next(again));
    }
    Ok(())
}

fn differs(plan: &Plan, mine: &Plan) -> &'static str {
    let parts = [
        (plan.rosters == mine.rosters, "rosters"),
        (plan.wards == mine.wards, "wards and calendars"),
        (plan.supersedes == mine.supersedes, "superseded approvals"),
        (plan.blocked == mine.blocked, "devices that are left out"),
        (plan.devices == mine.devices, "devices and slots"),
    ];
    parts.iter().find(|(equal, _)| !equal).map_or("waves or dates", |(_, name)| name)
}

/// Signs the approval and its document for people as the approvals' next version, and publishes it.
pub(super) async fn sign(
    context: &Context<'_>,
    desk: &mut Desk,
    plan: &Plan,
    reason: &str,
    meaning: &str,
    key: &KeyName,
) -> Outcome {
    let approver = match context.home.server()?.principal()? {
        Principal::Operator(_, name) => name.to_string(),
        other => other.to_string(),
    };
    let signing = Signing { approver, meaning: meaning.to_owned(), reason: reason.to_owned() };
    let (approval, operator) = plan.to_approval(&signing, context.now()).map_err(refused)?;
    desk.publish(context, key, |edit| edit.approve(&approval, &operator).map_err(refused)).await
}
