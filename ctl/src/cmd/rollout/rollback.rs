//! `rollout rollback`: the way back for devices that have proven by their signature that they run the rollout's bundle.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::json;
use suture_core::approval::Approval;
use suture_core::id::{ApprovalId, DeviceId};
use suture_core::plan::{self, Known, Selector};
use suture_core::trust::{CatalogEntry, Repository, Status};
use suture_core::version::Release;

use super::plan::{BundleName, Pace, facts, fresh_id, known, show, store};
use super::{approve, stop};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::{Desk, refused};
use crate::keys::KeyName;

/// Arguments of `rollout rollback`.
#[derive(Debug, Clone, Args)]
pub struct RollbackArgs {
    /// The rollout to go back from
    rollout: ApprovalId,
    /// The release to go back to [default: the next lower one that the manufacturer has not withdrawn]
    #[arg(long)]
    to: Option<u64>,
    /// Why, for the record
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    pace: Pace,
    /// Sign and publish it; without, it is only shown
    #[arg(long)]
    yes: bool,
    /// The key that signs targets
    #[arg(long, value_name = "KEY", default_value = "targets")]
    key: KeyName,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: RollbackArgs) -> Outcome {
    let mut desk = Desk::open(context).await?;
    let approval = desk.documents.approval(&args.rollout).cloned().ok_or_else(|| {
        Failure::new(format!("the approvals list no {}: it has expired, or there was none", args.rollout))
            .next("`suturectl rollout plan --permit-downgrade` plans a way back for devices that you name")
    })?;
    let known = known(&mut desk).await?;
    let moved = moved(&approval, &known);
    if moved.is_empty() {
        context.print.note("no device has proven that it runs the rollout's bundle: this is an abort");
        if !args.yes {
            let result = json!({ "rollout": args.rollout, "abort": true, "signed": false });
            return context.print.result(&result, |_| "add --yes to abort it and sign the stop order".to_owned());
        }
        return stop::abort(context, &mut desk, &args.rollout, &args.reason, &args.key).await;
    }
    let catalog = desk.catalog(context).await?;
    let bundle = target(&catalog, &approval, args.to)?;
    let facts = facts(context, &mut desk, &bundle).await?;
    let selector = Selector { devices: moved, ..Selector::default() };
    let mut request = args.pace.request(fresh_id(context, &bundle)?, selector, context.now());
    request.permit_downgrade = true;
    request.supersedes = BTreeSet::from([args.rollout.clone()]);
    let plan = plan::plan(&facts, &request, &known, context.now()).map_err(refused)?;
    let digest = store(&mut desk, &plan).await?;
    if args.yes && plan.devices.is_empty() {
        return Err(Failure::new("no device can be planned for the way back; `device why` tells of each")
            .next("look at the plan without --yes"));
    }
    if args.yes {
        approve::sign(context, &mut desk, &plan, &args.reason, "approved", &args.key).await?;
        context.print.note(&format!("signed: rollout {} takes the place of {}", plan.request.approval, args.rollout));
    } else {
        context.print.note("nothing is signed; add --yes to sign and publish this way back");
    }
    show(context, &plan, digest)
}

/// Devices of the approval whose signed report says that they run what it led to.
fn moved(approval: &Approval, known: &[Known]) -> BTreeSet<DeviceId> {
    let arrived = |k: &&Known| {
        let runs = k.running.as_ref().map(|r| r.manifest);
        k.proven && runs.is_some() && runs == approval.steps.last().map(|s| s.sha256)
    };
    known.iter().filter(arrived).filter(|k| approval.device(&k.id).is_some()).map(|k| k.id.clone()).collect()
}

/// The release to go back to.
fn target(catalog: &Repository, approval: &Approval, to: Option<u64>) -> Outcome<BundleName> {
    let step = approval.steps.last().ok_or_else(|| Failure::new("the approval has no steps"))?;
    let listed = catalog.targets().filter_map(|(_, t)| CatalogEntry::of(t));
    let listed: Vec<_> = listed.filter(|e| e.product == step.product).collect();
    let release = choose(&listed, step.release, to).ok_or_else(|| {
        Failure::new(format!("the catalog lists no release of {} below {} to go back to", step.product, step.release))
            .next("--to RELEASE, if there is one that you know of; `suturectl catalog status` lists them")
    })?;
    Ok(BundleName { product: step.product.clone(), release })
}

fn choose(listed: &[CatalogEntry], from: Release, to: Option<u64>) -> Option<Release> {
    match to {
        Some(release) => Some(Release(release)),
        None => listed.iter().filter(|e| e.release < from && e.status != Status::Withdrawn).map(|e| e.release).max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_leads_to_the_next_lower_release_that_is_not_withdrawn() {
        let entry = |release, status| CatalogEntry {
            product: "pump".parse().unwrap(),
            release: Release(release),
            version: "1.0".parse().unwrap(),
            hardware: Vec::new(),
            min_release: Release(0),
            status,
            floor: Release(0),
        };
        let listed = [
            entry(1, Status::Superseded),
            entry(2, Status::Withdrawn),
            entry(3, Status::Current),
            entry(4, Status::Current),
        ];
        assert_eq!(choose(&listed, Release(4), None), Some(Release(3)));
        assert_eq!(choose(&listed, Release(3), None), Some(Release(1)));
        assert_eq!(choose(&listed, Release(1), None), None);
        assert_eq!(choose(&listed, Release(4), Some(1)), Some(Release(1)));
    }
}
