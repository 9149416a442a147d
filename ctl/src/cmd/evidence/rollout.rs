//! What a rollout was: its approval with all that belongs to it, its bundles, and what its devices have signed.

use std::collections::BTreeSet;

use suture_core::approval::path::{self, Registered};
use suture_core::approval::{Gates, Head, OperatorDocument, Pinned, Register, SignedDocument};
use suture_core::id::{ApprovalId, DeviceId};
use suture_core::trust::Targets;
use suture_proto::v1;

use super::gather::{Gathering, pin, pin_of};
use super::{product, repository};
use crate::evidence::{kind, served};
use crate::failure::{Exit, Failure, OrFail as _, Outcome};
use crate::hospital::{inventory, rollouts};
use crate::trust_store::Which;

/// Gathers it.
pub(super) async fn gather(gathering: &mut Gathering<'_, '_>, id: &ApprovalId) -> Outcome {
    gathering.hdo()?;
    let devices = approval(gathering, id).await?;
    reports(gathering, id).await?;
    rosters(gathering, &devices).await?;
    inventory(gathering, &devices).await?;
    let ids: BTreeSet<String> = devices.iter().map(ToString::to_string).collect();
    gathering.forks(|device| ids.contains(device)).await?;
    let bundles = gathering.served.bundles.clone();
    gathering.decisions(|d| bundles.iter().any(|b| b.product.as_str() == d.product && b.release.0 == d.release)).await
}

/// Takes an approval, and gives the devices that it names.
pub(super) async fn approval(gathering: &mut Gathering<'_, '_>, id: &ApprovalId) -> Outcome<BTreeSet<DeviceId>> {
    let (targets, target) = repository::listing(gathering, id).await?;
    let listed = path::approval(id);
    let bytes = gathering.target(Which::Approvals, &pin(&listed, &target)).await?;
    let head = Head::parse(&bytes).or_fail(|| format!("{listed} cannot be read"))?;
    let mut shards = Vec::new();
    for (_, shard) in head.shards() {
        shards.push(gathering.target(Which::Approvals, &shard).await?);
    }
    let shards: Vec<&[u8]> = shards.iter().map(Vec::as_slice).collect();
    let approval = head.whole(&shards).or_fail(|| format!("{listed} cannot be read"))?;
    let terms = &approval.terms;
    let words = gathering.target(Which::Approvals, &terms.operator_document).await?;
    let words = OperatorDocument::parse(&words).or_fail(|| "the document for people cannot be read".to_owned())?;
    for roster in &words.rosters {
        gathering.target(Which::Approvals, roster).await?;
    }
    beside(gathering, id, &targets, (terms, target.sha256)).await?;
    plan(gathering, &words).await?;
    for step in &terms.steps {
        bundle(gathering, step).await?;
    }
    let rollout = rollouts::rollout(&mut gathering.client, id).await?;
    gathering.served.rollouts.push(served::Rollout::of(rollout)?);
    Ok(approval.devices.iter().map(|d| d.id.clone()).collect())
}

/// Gates, notes, orders and statements.
async fn beside(
    gathering: &mut Gathering<'_, '_>,
    id: &ApprovalId,
    targets: &Targets,
    (terms, head): (&suture_core::approval::Terms, suture_core::digest::Digest),
) -> Outcome {
    let gates = path::gates(id);
    if let Some(target) = targets.target(&gates) {
        let bytes = gathering.target(Which::Approvals, &pin(&gates, target)).await?;
        let gates = Gates::read(terms, head, &bytes).or_fail(|| format!("{gates} cannot be read"))?;
        for open in &gates.open {
            gathering.target(Which::Approvals, &open.note).await?;
        }
    }
    let stop = path::stop(id);
    if let Some(target) = targets.target(&stop) {
        gathering.target(Which::Approvals, &pin(&stop, target)).await?;
    }
    let served = gathering.client.get_stops(v1::GetStopsRequest {}).await?.envelopes;
    let known = crate::hospital::orders::remembered(&gathering.context.home, id)?;
    let orders = served.iter().map(|b| b.to_vec()).chain(known.map(|order| order.bytes().to_vec()));
    let of_it = |bytes: &Vec<u8>| {
        suture_core::approval::StopOrder::read_unverified(bytes).ok().filter(|order| order.approval == *id)
    };
    let newest = orders.filter_map(|bytes| Some((of_it(&bytes)?, bytes))).max_by_key(|(o, _)| (o.counter, o.stopped));
    if let Some((_, bytes)) = newest {
        gathering.put(kind::stop(id), bytes)?;
    }
    let request = v1::GetStatementsRequest { rollout: id.to_string() };
    for bytes in gathering.client.get_statements(request).await?.statements {
        let statement = suture_core::approval::VerifiedStatement::verify(&bytes).map_err(|e| {
            Failure::of(Exit::Untrusted, &e).next("the server hands out a statement that nobody has signed")
        })?;
        gathering.put(crate::hospital::statements::place(&statement), bytes.to_vec())?;
    }
    Ok(())
}

/// The plan that was approved, where the server still keeps it.
async fn plan(gathering: &mut Gathering<'_, '_>, words: &OperatorDocument) -> Outcome {
    let sha256 = words.plan_sha256;
    let request = v1::GetPlanRequest { sha256: sha256.as_bytes().to_vec().into() };
    match gathering.client.get_plan(request).await {
        Ok(answer) => gathering.put(kind::plan(&sha256), answer.plan.to_vec()),
        Err(failure) if failure.exit == Exit::Refused => {
            gathering.note(&format!("the server keeps the plan {} no longer", sha256.short()));
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}

/// A step's manifest with its documents, and when it was published.
async fn bundle(gathering: &mut Gathering<'_, '_>, step: &suture_core::approval::Step) -> Outcome {
    let known = gathering.served.bundles.iter().any(|b| b.product == step.product && b.release == step.release);
    if !known {
        let (product, release) = (step.product.to_string(), step.release.0);
        gathering.bundles(|b| b.product == product && b.release == release).await?;
    }
    product::manifest(gathering, &pin_of(&step.path, step.length, step.sha256)).await
}

/// What the devices of a rollout have signed of it.
pub(super) async fn reports(gathering: &mut Gathering<'_, '_>, id: &ApprovalId) -> Outcome {
    gathering.reports("", id.as_str()).await?;
    let count = gathering.lines.len();
    gathering.note(&format!("rollout {id}: approval, signers and slots; {count} reports so far"));
    Ok(())
}

/// The register in force, and its rosters on which one of these devices is: by their keys the reports count.
pub(super) async fn rosters(gathering: &mut Gathering<'_, '_>, devices: &BTreeSet<DeviceId>) -> Outcome {
    let Some(base) = gathering.approvals.clone() else { return Ok(()) };
    let Some(target) = base.targets_metadata().target(path::REGISTER) else { return Ok(()) };
    let bytes = gathering.target(Which::Approvals, &pin(path::REGISTER, target)).await?;
    let register = Register::parse(&bytes).or_fail(|| "the register cannot be read".to_owned())?;
    let holds = |pinned: &&Pinned| match Registered::of(&pinned.path) {
        Some(Registered::Roster(part)) => devices.iter().any(|device| part.holds(device)),
        _ => false,
    };
    for pinned in register.files.iter().filter(holds) {
        gathering.target(Which::Approvals, pinned).await?;
    }
    Ok(())
}

/// What the inventory says of these devices.
pub(super) async fn inventory(gathering: &mut Gathering<'_, '_>, devices: &BTreeSet<DeviceId>) -> Outcome {
    gathering.devices.extend(devices.iter().cloned());
    // Few by name, many by the list: it has a thousand in one answer.
    if devices.len() <= 16 {
        for id in devices {
            gathering.device(id).await?;
        }
        return Ok(());
    }
    for device in inventory::devices(&mut gathering.client, "", "", "").await? {
        let row = served::Device::of(&device)?;
        if devices.contains(&row.id) {
            gathering.served.devices.push(row);
        }
    }
    Ok(())
}
