//! Who loses the way back: devices that no approval could lead back to what they run, once the plan has been carried out.
//!
//! A device whose new version fails falls back by itself, and that is another thing: it needs no signature, and nothing of it
//! is lost here.

use super::{Blocked, Bundle, Known};
use crate::approval::RosterDevice;
use crate::phase::{Code, Reason};
use crate::trust::Status;

/// The device with the reason, where it would.
pub(super) fn lost(bundle: &Bundle, device: &RosterDevice, known: Option<&Known>) -> Option<Blocked> {
    let reason = reason(bundle, known.and_then(|k| k.running.as_ref()).map(|r| r.release))?;
    Some(Blocked { id: device.id.clone(), reason })
}

fn reason(bundle: &Bundle, runs: Option<crate::version::Release>) -> Option<Reason> {
    let (name, floor) = (bundle.name(), bundle.floor_after(bundle.step.release));
    let Some(runs) = runs else {
        let text = format!("it is not known what it runs; below release {floor} nothing leads back from {name}");
        return (floor.0 > 0).then(|| Reason::new(Code::RunningUnknown, text));
    };
    if bundle.step.release <= runs {
        return None;
    }
    if runs < floor {
        let text = format!("it runs release {runs}, and below release {floor} nothing is installed after {name}");
        return Some(Reason::new(Code::BelowFloor, text));
    }
    match bundle.floors.iter().find(|f| f.release == runs).map(|f| f.status) {
        None => {
            let text = format!("it runs release {runs}, which the manufacturer does not list");
            Some(Reason::new(Code::NotInCatalog, text))
        }
        Some(Status::Withdrawn) => {
            let text = format!("it runs release {runs}, which the manufacturer has withdrawn");
            Some(Reason::new(Code::Withdrawn, text))
        }
        Some(_) => None,
    }
}
