//! What the choice by approvals and catalog is to the machine, decided purely.

use suture_core::approval::Share;
use suture_core::id::ApprovalId;
use suture_core::phase::{Code, Phase, Reason};
use suture_core::select::Choice;

use crate::machine::{Attempt, Bundle, Nothing, Subject};

/// The try at what was chosen, after `spent` tries by the same approval.
pub fn attempt(choice: &Choice, spent: u32) -> Attempt {
    let bundle = Bundle { path: choice.step.path.clone(), manifest: choice.step.sha256, release: choice.step.release };
    let number = spent.saturating_add(1);
    Attempt { approval: choice.approval.clone(), bundle, number, floor: choice.floor }
}

/// That nothing was chosen. `spent`: tries by the approval that the reason is about; `stop`: the counter of the order that
/// stops it, where one does.
pub fn nothing(
    reason: Reason,
    approval: Option<ApprovalId>,
    signed: &[Share],
    spent: u32,
    stop: Option<u64>,
) -> Nothing {
    let terms = approval.as_ref().and_then(|id| signed.iter().map(|s| &s.terms).find(|t| t.id == *id));
    let manifest = terms.and_then(|t| t.steps.first()).map(|s| s.sha256);
    // What an attempt came to was told when it ended; what befell its approval since is no news of this device.
    let phase = if approval.is_some() && spent > 0 { Phase::Idle } else { phase_of(reason.code) };
    let stop = stop.filter(|_| phase == Phase::Stopped && approval.is_some());
    Nothing { about: approval.map(|approval| Subject { approval, manifest }), phase, reason, stop }
}

/// What a refusal is for an approval: its end on this device, something that may still change, or no affair of it.
fn phase_of(code: Code) -> Phase {
    match code {
        Code::StopOrder => Phase::Stopped,
        Code::Withdrawn => Phase::Withdrawn,
        Code::Superseded => Phase::Superseded,
        Code::SlotsOver => Phase::Expired,
        Code::WrongHardware | Code::WrongProduct | Code::Downgrade | Code::BelowFloor | Code::TooOldToStart => {
            Phase::Failed
        }
        Code::NotInCatalog | Code::ConflictingApprovals => Phase::Waiting,
        _ => Phase::Idle,
    }
}
