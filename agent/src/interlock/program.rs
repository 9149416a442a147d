//! A program of the device's maker, called with `claim` or `release`.

use suture_core::phase::Reason;

use super::{Claim, still_held};
use crate::config::Command;
use crate::process::{self, Ending};

/// Exit code 0 is held, 1 in use; anything else, or no answer in time, is not known.
pub(super) async fn claim(command: &Command) -> Claim {
    match process::run(command, &["claim"], None).await {
        Ending::Exit(0) => Claim::Held,
        Ending::Exit(1) => Claim::in_use(),
        ending => {
            Claim::unclear(format!("the interlock's program {ending}; whether the device is in use is not known"))
        }
    }
}

/// Exit code 0 is released.
pub(super) async fn release(command: &Command) -> Result<(), Reason> {
    match process::run(command, &["release"], None).await {
        Ending::Exit(0) => Ok(()),
        ending => Err(still_held(&format!("the interlock's program {ending}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use suture_core::phase::Code;

    use super::*;

    fn program(script: &str) -> Command {
        let argv = vec!["/bin/sh".into(), "-c".into(), script.into()];
        Command { argv, timeout: Duration::from_millis(300) }
    }

    #[tokio::test]
    async fn only_exit_code_zero_is_a_claim() {
        assert_eq!(claim(&program("exit 0")).await, Claim::Held);
        let Claim::Refused(t) = claim(&program("exit 1")).await else { panic!() };
        assert_eq!(t.reason.code, Code::InUse);
        for script in ["exit 2", "kill -9 $$", "sleep 60"] {
            let Claim::Unclear(t) = claim(&program(script)).await else { panic!("{script}") };
            assert_eq!(t.reason.code, Code::InterlockUnknown);
        }
        let nowhere = Command { argv: vec!["/nowhere".into()], timeout: Duration::from_secs(1) };
        assert!(matches!(claim(&nowhere).await, Claim::Unclear(_)));
        assert!(release(&nowhere).await.is_err());
    }
}
