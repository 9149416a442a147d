//! What has been done to a device: all its reports, and the approvals that they tell of.

use std::collections::BTreeSet;

use suture_core::id::{ApprovalId, DeviceId};
use suture_core::limits::MAX_EVIDENCE_ROLLOUTS;
use suture_core::report::Report;

use super::gather::Gathering;
use super::rollout;
use crate::failure::{Exit, Outcome};

/// Gathers it.
pub(super) async fn gather(gathering: &mut Gathering<'_, '_>, id: &DeviceId) -> Outcome {
    gathering.hdo()?;
    gathering.device(id).await?;
    gathering.reports(id.as_str(), "").await?;
    let lines = gathering.lines.len();
    gathering.note(&format!("device {id}: {lines} reports"));
    let devices = BTreeSet::from([id.clone()]);
    rollout::rosters(gathering, &devices).await?;
    for approval in told_of(gathering) {
        // A report may tell of an approval that this hospital's record no longer leads to; what it says stands by itself.
        match rollout::approval(gathering, &approval).await {
            Ok(_) => {}
            Err(failure) if failure.exit == Exit::Failed => {
                gathering.note(&format!("rollout {approval}: {}", failure.message));
            }
            Err(failure) => return Err(failure),
        }
    }
    for rollout in &mut gathering.served.rollouts {
        rollout.devices.retain(|member| member.id == *id);
    }
    let named = id.to_string();
    gathering.forks(|device| device == named).await
}

/// The approvals that its reports tell of, the latest first, as many as a folder has.
fn told_of(gathering: &Gathering<'_, '_>) -> Vec<ApprovalId> {
    let mut lines: Vec<_> = gathering.lines.iter().collect();
    lines.sort_by_key(|line| (line.received, line.number));
    let mut told: Vec<ApprovalId> = Vec::new();
    for line in lines.into_iter().rev() {
        let report: Option<Report> = suture_core::json::from_slice(line.payload.as_bytes()).ok();
        if let Some(id) = report.and_then(|r| r.approval).filter(|id| !told.contains(id)) {
            told.push(id);
        }
    }
    told.truncate(MAX_EVIDENCE_ROLLOUTS);
    told
}
