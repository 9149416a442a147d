//! `device release`: the hospital's signed word from afar that a device was clinically checked after its update, and that it is
//! fit, or with `--unfit` that its old version is to come back.
//!
//! The device verifies it as it verifies approvals, so neither the server nor whoever has captured it can let a device back
//! to patients. It is signed on the device's own signed report that it waits for the check, and counts for that check alone.
//! A person at the device needs none of this: `suture-agent release --checked`.

use std::path::PathBuf;

use serde::Serialize;
use suture_core::approval::{Clearance, ClearanceError, SignedDocument as _, VerifiedClearance};
use suture_core::clock::{format_utc, whole_second};
use suture_core::id::{ApprovalId, DeviceId};
use suture_core::limits::MAX_STOP_BYTES;
use suture_core::phase::{Code, Phase};
use suture_core::principal::Principal;
use suture_core::report::Report;
use suture_proto::v1;

use crate::cmd::rollout::order::{Signatures, approver};
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::files;
use crate::hospital::{Desk, inventory, orders};
use crate::keys::KeyName;

/// What it is given.
#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    /// The device; not with --sign, where the file says it
    #[arg(required_unless_present = "sign", conflicts_with = "sign")]
    id: Option<DeviceId>,
    /// What was checked, and how; recorded and shown
    #[arg(long, required_unless_present = "sign", conflicts_with = "sign")]
    reason: Option<String>,
    /// The check has failed: the device puts its old version back, and goes back to service with that
    #[arg(long, conflicts_with = "sign")]
    unfit: bool,
    /// The key that signs
    #[arg(long, value_name = "KEY", default_value = "targets")]
    key: KeyName,
    /// Where several must sign: the file that goes round [default: release-DEVICE.json]
    #[arg(long, value_name = "FILE", conflicts_with = "sign")]
    envelope: Option<PathBuf>,
    /// Sign a release that a colleague has begun; whoever completes it publishes it
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
}

/// What became of it.
#[derive(Debug, Serialize)]
struct Told {
    device: DeviceId,
    approval: ApprovalId,
    by: String,
    /// Whether the check has failed.
    unfit: bool,
    reason: String,
    /// When the device reported that it waits for the check.
    reported_at: String,
    /// Signatures that it has, and needs.
    signatures: Signatures,
    /// Whether the server has it, and hands it to the device.
    published: bool,
    /// Where it was written to, where more must sign.
    envelope: Option<String>,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: ReleaseArgs) -> Outcome {
    let ReleaseArgs { id, reason, unfit, key, envelope, sign } = args;
    orders::must_be_free(envelope.as_deref())?;
    let mut desk = Desk::open_base(context).await?;
    let signer = approver(context, desk.approvals.root(), &key)?;
    let (bytes, file) = match (id, reason, sign) {
        (_, _, Some(file)) => {
            let bytes = files::need(&file, MAX_STOP_BYTES)?;
            let clearance = Clearance::read_unverified(&bytes).map_err(untrusted)?;
            let report = awaited(&mut desk, &clearance.device).await?;
            if clearance != of(&clearance, &report) {
                return Err(Failure::untrusted(format!(
                    "this is not of the check that {} waits for since {}",
                    clearance.device,
                    format_utc(report.at)
                ))
                .next("talk to whoever began it; then begin a new one"));
            }
            context.print.note(&format!("you sign: {}", clearance.to_text()));
            (Clearance::countersign(&bytes, &*signer).map_err(refused)?, Some((file, true)))
        }
        (Some(id), Some(reason), None) => {
            let report = awaited(&mut desk, &id).await?;
            let by = match context.home.server()?.principal()? {
                Principal::Operator(_, name) => name.to_string(),
                other => other.to_string(),
            };
            let said = Clearance {
                kind: Clearance::TYPE.to_owned(),
                format: 1,
                hdo: desk.hdo.clone(),
                device: id.clone(),
                approval: report.approval.clone().ok_or_else(|| none_awaited(&id))?,
                manifest: report.manifest.ok_or_else(|| none_awaited(&id))?,
                reported_at: report.at,
                unfit,
                by,
                reason,
                signed_at: whole_second(context.now()),
            };
            (said.sign(&[&*signer]).map_err(refused)?, envelope.map(|file| (file, false)))
        }
        _ => return Err(Failure::new("name the device and a reason, or the file to be signed with --sign")),
    };
    let said = Clearance::read_unverified(&bytes).map_err(refused)?;
    let told = |signatures, published, envelope: Option<&PathBuf>| Told {
        device: said.device.clone(),
        approval: said.approval.clone(),
        by: said.by.clone(),
        unfit: said.unfit,
        reason: said.reason.clone(),
        reported_at: format_utc(said.reported_at),
        signatures,
        published,
        envelope: envelope.map(|file| file.display().to_string()),
    };
    match VerifiedClearance::verify(desk.approvals.root(), &desk.hdo, &bytes) {
        Ok(_) => {
            if let Some((file, replaces)) = &file {
                orders::write(file, &bytes, *replaces)?;
            }
            desk.client.release_device(v1::ReleaseDeviceRequest { envelope: bytes.into() }).await?;
            let needed = desk.approvals.root().authority(suture_core::trust::Role::Targets).threshold();
            let told = told(Signatures::all(needed), true, file.as_ref().map(|(file, _)| file));
            context.print.result(&told, |t| {
                format!(
                    "{}\nthe server hands it to the device, which {} at its next check-in; see `suturectl device why {}`",
                    said.to_text(),
                    if t.unfit { "puts its old version back" } else { "goes back to service" },
                    t.device
                )
            })
        }
        Err(ClearanceError::TooFew { valid, threshold, .. }) => {
            let (file, replaces) = file.unwrap_or_else(|| (format!("release-{}.json", said.device).into(), false));
            orders::write(&file, &bytes, replaces)?;
            let told = told(Signatures { given: valid, needed: threshold }, false, Some(&file));
            context.print.result(&told, |_| {
                format!(
                    "{}\nsigned by {valid} of {threshold}: the device stays out of service; the next approver runs\n  \
                     suturectl device release --sign {}",
                    said.to_text(),
                    file.display()
                )
            })
        }
        Err(e) => Err(untrusted(e)),
    }
}

/// The same on the check that a report tells of.
fn of(clearance: &Clearance, report: &Report) -> Clearance {
    Clearance {
        approval: report.approval.clone().unwrap_or_else(|| clearance.approval.clone()),
        manifest: report.manifest.unwrap_or(clearance.manifest),
        reported_at: report.at,
        hdo: report.hdo.clone(),
        ..clearance.clone()
    }
}

/// The device's own signed report that it waits for a check, where nothing that it has signed since says otherwise.
///
/// Attack: a server that shows the report of an earlier check. What is signed on it counts for that check, and the device
/// passes it over.
async fn awaited(desk: &mut Desk, id: &DeviceId) -> Outcome<Report> {
    let roster = desk.documents.device(id).cloned();
    let roster = roster.ok_or_else(|| {
        Failure::new(format!("{id} is on no signed roster")).next("`suturectl device list` names those that are")
    })?;
    let answer = desk.client.get_device(v1::GetDeviceRequest { id: id.to_string() }).await?;
    let reports = answer.reports.iter().filter_map(|r| inventory::proven(Some(r), Some(&roster)));
    let last = reports.filter(|r| r.approval.is_some()).max_by_key(|r| r.number);
    let waits = |r: &Report| {
        r.phase == Phase::Held && r.reason.as_ref().is_some_and(|reason| reason.code == Code::ReturnToService)
    };
    last.filter(waits).ok_or_else(|| none_awaited(id))
}

fn none_awaited(id: &DeviceId) -> Failure {
    Failure::new(format!("by its own signed reports {id} waits for no check"))
        .next(format!("`suturectl device why {id}` says what it does"))
}

fn refused(error: ClearanceError) -> Failure {
    Failure::of(Exit::Failed, &error)
}

fn untrusted(error: ClearanceError) -> Failure {
    Failure::of(Exit::Untrusted, &error)
}
