//! What the choice by approvals and catalog is to the machine, decided purely.

use suture_core::approval::{Share, Step};
use suture_core::id::{ApprovalId, DeviceId};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::retry;
use suture_core::select::{Catalog, Choice, Facts, next_step};

use crate::machine::{Attempt, Bundle, Nothing, Subject};

/// The device's next try at what was chosen. `order` is the counter of the newest order for the approval that it has heard
/// of; 0: of none.
pub fn attempt(choice: &Choice, device: &DeviceId, order: u64) -> Attempt {
    let bundle = Bundle { path: choice.step.path.clone(), manifest: choice.step.sha256, release: choice.step.release };
    let number = choice.tries.spent.saturating_add(1);
    Attempt {
        approval: choice.approval.clone(),
        bundle,
        number,
        floor: choice.floor,
        policy: choice.policy,
        order,
        jitter: retry::seed(device, &choice.approval, number),
    }
}

/// The step whose tries say whether the device has been told of an approval's end already: the one that it is at, for that
/// an earlier one was taken says nothing of it; where the last one runs, the last.
pub fn step_of<'a>(facts: &Facts, catalog: &impl Catalog, share: &'a Share) -> Option<&'a Step> {
    let last = || share.mine.as_ref().and_then(|mine| mine.path(&share.terms).last().copied());
    next_step(facts, catalog, share).or_else(last)
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
    // What an attempt came to was told when it ended; what befell its approval since is no news of this device.
    let phase = match approval {
        Some(_) if spent > 0 => Phase::Idle,
        None if reason.code == Code::UpToDate => Phase::Idle,
        _ => phase_of(reason.code),
    };
    let step = terms.and_then(|t| if phase == Phase::Confirmed { t.steps.last() } else { t.steps.first() });
    let manifest = step.map(|s| s.sha256);
    let stop = stop.filter(|_| phase == Phase::Stopped && approval.is_some());
    Nothing { about: approval.map(|approval| Subject { approval, manifest }), phase, reason, stop }
}

/// What a refusal is for an approval: its end on this device, something that may still change, or no affair of it.
fn phase_of(code: Code) -> Phase {
    match code {
        // It came to run that by another approval, by which it has proven its health.
        Code::UpToDate => Phase::Confirmed,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use suture_core::approval::{DeviceSlots, Opened, Pinned, Slot, Terms, path};
    use suture_core::digest::Digest;
    use suture_core::report::Running;
    use suture_core::trust::{CatalogEntry, Status};
    use suture_core::version::Release;

    use super::*;

    struct Listed(Vec<Step>);

    impl Catalog for Listed {
        fn entry(&self, path: &str) -> Option<(u64, Digest, CatalogEntry)> {
            let step = self.0.iter().find(|s| s.path == path)?;
            let entry = CatalogEntry {
                product: step.product.clone(),
                release: step.release,
                version: "1".parse().unwrap(),
                hardware: step.hardware.clone(),
                min_release: Release(0),
                status: Status::Current,
                floor: Release(0),
            };
            Some((step.length, step.sha256, entry))
        }
    }

    fn digest(release: u64) -> Digest {
        Digest::of(&release.to_be_bytes())
    }

    fn step(release: u64) -> Step {
        Step {
            path: format!("bundles/pump/{release}/manifest.json"),
            length: 900,
            sha256: digest(release),
            product: "pump".parse().unwrap(),
            release: Release(release),
            hardware: vec!["rev-a".parse().unwrap()],
        }
    }

    fn share(steps: Vec<Step>) -> Share {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let id: ApprovalId = "pump-3".parse().unwrap();
        let terms = Terms {
            hdo: "riverside".parse().unwrap(),
            created: at("2026-11-24T12:00:00Z"),
            expires: at("2026-11-25T12:00:00Z"),
            steps,
            supersedes: Vec::new(),
            waves: Vec::new(),
            max_attempts: 1,
            retry_wait_secs: 0,
            attempt_timeout_secs: 3_600,
            needs_lease: false,
            ward_cap: 1,
            permit_downgrade: false,
            operator_document: Pinned::of(path::operator_document(&id), b""),
            id,
        };
        let slot = Slot { start: at("2026-11-25T11:00:00Z"), end: at("2026-11-25T12:00:00Z") };
        let mine = DeviceSlots { id: "pump-1".parse().unwrap(), wave: 0, steps: Vec::new(), slots: vec![slot] };
        Share { terms, mine: Some(mine), opened: Opened::Nothing }
    }

    fn facts(release: u64) -> Facts {
        let running = Running { version: "1".parse().unwrap(), release: Release(release), manifest: digest(release) };
        Facts {
            hdo: "riverside".parse().unwrap(),
            device: "pump-1".parse().unwrap(),
            product: "pump".parse().unwrap(),
            hardware: "rev-a".parse().unwrap(),
            running: Some(running),
            floor: Release(0),
            tries: BTreeMap::new(),
        }
    }

    #[test]
    fn a_device_that_has_confirmed_the_last_step_has_no_news_of_a_stop_order_or_of_a_successor() {
        let share = share(vec![step(2), step(3)]);
        let catalog = Listed(share.terms.steps.clone());
        let at = |release| step_of(&facts(release), &catalog, &share).map(|s| s.release.0);
        assert_eq!([at(1), at(2), at(3)], [Some(2), Some(3), Some(3)]);
        for code in [Code::StopOrder, Code::Superseded] {
            let told = |spent| {
                let reason = Reason::new(code, "it ended");
                nothing(reason, Some(share.terms.id.clone()), std::slice::from_ref(&share), spent, Some(7))
            };
            assert_eq!((told(1).phase, told(1).stop), (Phase::Idle, None), "its outcome was told");
            assert!(told(0).phase.is_outcome());
        }
    }

    #[test]
    fn a_device_that_came_to_run_the_last_step_by_another_approval_says_that_it_is_confirmed() {
        let share = share(vec![step(2), step(3)]);
        let told = |approval: Option<&ApprovalId>, spent| {
            let reason = Reason::new(Code::UpToDate, "it runs already");
            let nothing = nothing(reason, approval.cloned(), std::slice::from_ref(&share), spent, None);
            (nothing.phase, nothing.about.and_then(|about| about.manifest))
        };
        let id = Some(&share.terms.id);
        assert_eq!(told(id, 0), (Phase::Confirmed, Some(digest(3))));
        assert_eq!(told(id, 1).0, Phase::Idle, "it told that when it was");
        assert_eq!(told(None, 0).0, Phase::Idle);
    }
}
