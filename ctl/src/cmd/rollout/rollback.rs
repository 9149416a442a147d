//! `rollout rollback`: the way back for devices that have proven by their signature that they run the rollout's bundle.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::json;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, ProductId};
use suture_core::manifest::manifest_path;
use suture_core::plan::{self, Known, Selector};
use suture_core::trust::{CatalogEntry, Repository, Status};
use suture_core::version::Release;
use suture_proto::{Invalid, parse, parse_digest};

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
    let origin = Origin::find(context, &desk, &args.rollout).await?;
    let known = known(&mut desk).await?;
    let moved = origin.moved(&known);
    if moved.is_empty() && !origin.listed {
        return Err(Failure::new(format!("no device has proven that it runs what {} brought", args.rollout))
            .next("its approval has ended as well, so there is nothing to take back"));
    }
    if moved.is_empty() {
        context.print.note("no device has proven that it runs the rollout's bundle: this is an abort");
        if !args.yes {
            let result = json!({ "rollout": args.rollout, "abort": true, "signed": false });
            return context.print.result(&result, |_| "add --yes to abort it and sign the stop order".to_owned());
        }
        return stop::abort(context, &mut desk, &args.rollout, &args.reason, &args.key).await;
    }
    let catalog = desk.catalog(context).await?;
    let bundle = origin.target(&catalog, args.to)?;
    let facts = facts(context, &mut desk, &bundle).await?;
    let selector = Selector { devices: moved, ..Selector::default() };
    let mut request = args.pace.request(fresh_id(context, &bundle)?, selector, context.now());
    request.permit_downgrade = true;
    // One that has ended is superseded by its end, and the approvals list it no more.
    request.supersedes = if origin.listed { BTreeSet::from([args.rollout.clone()]) } else { BTreeSet::new() };
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

/// What a rollout brought, and to whom it was meant to.
struct Origin {
    product: ProductId,
    release: Release,
    manifest: Digest,
    devices: BTreeSet<DeviceId>,
    /// Whether the hospital's approvals list it still: what is said here is then signed.
    listed: bool,
}

impl Origin {
    /// From the signed approval; where that has ended, from the server, whose word is then checked: the catalog must list
    /// the bundle under the same name, and each device must have proven by its own signature that it runs it. So a server
    /// that lies can leave devices out, and nothing else.
    async fn find(context: &Context<'_>, desk: &Desk, rollout: &ApprovalId) -> Outcome<Self> {
        if let Some(approval) = desk.documents.approval(rollout) {
            let step = approval.steps.last().ok_or_else(|| Failure::new("the approval has no steps"))?;
            return Ok(Self {
                product: step.product.clone(),
                release: step.release,
                manifest: step.sha256,
                devices: approval.devices.iter().map(|d| d.id.clone()).collect(),
                listed: true,
            });
        }
        let said = super::watch::fetch(context, rollout).await?;
        let wrong = |e: Invalid| Failure::new(format!("the server's word on {rollout} makes no sense: {e}"));
        let devices = said.devices.iter().map(|d| parse("devices.id", &d.id)).collect::<Result<_, _>>();
        Ok(Self {
            product: parse("product", &said.product).map_err(wrong)?,
            release: Release(said.release),
            manifest: parse_digest("manifest_sha256", &said.manifest_sha256).map_err(wrong)?,
            devices: devices.map_err(wrong)?,
            listed: false,
        })
    }

    /// Its devices whose signed report says that they run it.
    fn moved(&self, known: &[Known]) -> BTreeSet<DeviceId> {
        let arrived = |k: &&Known| k.proven && k.running.as_ref().is_some_and(|r| r.manifest == self.manifest);
        known.iter().filter(arrived).filter(|k| self.devices.contains(&k.id)).map(|k| k.id.clone()).collect()
    }

    /// The release to go back to.
    fn target(&self, catalog: &Repository, to: Option<u64>) -> Outcome<BundleName> {
        let path = manifest_path(&self.product, self.release);
        if catalog.target(&path).is_none_or(|t| t.sha256 != self.manifest) {
            let text = format!("the catalog lists another bundle as {} release {}", self.product, self.release);
            return Err(Failure::new(text).next("ask the manufacturer; plan the way back by `rollout plan` if need be"));
        }
        let listed = catalog.targets().filter_map(|(_, t)| CatalogEntry::of(t));
        let listed: Vec<_> = listed.filter(|e| e.product == self.product).collect();
        let release = choose(&listed, self.release, to).ok_or_else(|| {
            let text = format!("the catalog lists no release of {} below {} to go back to", self.product, self.release);
            Failure::new(text)
                .next("--to RELEASE, if there is one that you know of; `suturectl bundle list` lists them")
        })?;
        Ok(BundleName { product: self.product.clone(), release })
    }
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
