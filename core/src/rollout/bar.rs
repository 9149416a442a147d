//! Whether a device that failed is offered the same again by the same approval. Pure.
//!
//! A device keeps to that by itself ([`crate::retry`]), by its own record. The server says no besides, so that one whose
//! record was lost, or was put back from a copy, does not try what it has shown not to bear.

use crate::id::ApprovalId;
use crate::phase::{Code, Phase, Reason};

/// Whether an attempt that has come to `phase` was the device's last by its approval. `tries` are those that have failed of
/// the same step, with this one.
pub fn is_barred(phase: Phase, reason: Option<&Reason>, tries: u32, max_attempts: u32) -> bool {
    let for_good = reason.is_some_and(|r| r.code.is_permanent());
    match phase {
        Phase::FellBack => for_good || tries >= max_attempts,
        Phase::Failed => for_good,
        // A person had to come for it.
        Phase::Held => true,
        _ => false,
    }
}

/// That a device is not offered it again, and what would change that.
pub fn barred(approval: &ApprovalId) -> Reason {
    let text = format!(
        "the device has failed with approval {approval} and is not offered it again; a new approval, or a stop and its lift, \
         lets it try again"
    );
    Reason::new(Code::AttemptsSpent, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_transient_is_tried_again_and_only_as_often_as_was_signed() {
        let reason = |code| Some(Reason::new(code, "why"));
        let [transient, permanent] = [Code::InstallFailed, Code::HealthFailed].map(reason);
        for phase in Phase::ALL {
            let ends = |reason: &Option<Reason>, tries| is_barred(phase, reason.as_ref(), tries, 2);
            let (fell_back, failed, held) = (phase == Phase::FellBack, phase == Phase::Failed, phase == Phase::Held);
            assert_eq!(ends(&transient, 1), held, "{phase}");
            assert_eq!(ends(&transient, 2), held || fell_back, "{phase}");
            assert_eq!(ends(&permanent, 1), held || fell_back || failed, "{phase}");
            assert_eq!(ends(&None, 1), held, "{phase}");
        }
        assert_eq!(barred(&"pump-2".parse().unwrap()).code, Code::AttemptsSpent);
    }
}
