//! Whether a version that panics or hangs leads to a new start by itself.
//!
//! The boot loader counts a new version's starts, and goes back after the last: only where the machine starts again. Linux halts for ever
//! once it has panicked, unless it is told otherwise, and what hangs is ended by a watchdog alone.

use std::fs;
use std::path::Path;

use suture_proto::connect::Finding;

use crate::config::Way;
use crate::durable;

/// After how many seconds Linux starts again once it has panicked: 0 never, less at once (Linux,
/// Documentation/admin-guide/sysctl/kernel.rst).
const PANIC: &str = "sys/kernel/panic";
/// Linux, Documentation/ABI/testing/sysfs-class-watchdog.
const WATCHDOGS: &str = "class/watchdog";

/// Both, where a boot loader counts the starts, by what Linux says below `proc` and `sys`.
pub(super) fn findings(way: &Way, proc: &Path, sys: &Path) -> Vec<Finding> {
    match way {
        Way::Image(_) | Way::Rauc { .. } => panic(proc).into_iter().chain([watchdog(sys)]).collect(),
        Way::Slots | Way::Command(_) => Vec::new(),
    }
}

/// Nothing where it cannot be read: it may be set all the same.
fn panic(proc: &Path) -> Option<Finding> {
    let said = durable::read(&proc.join(PANIC), durable::MAX_STATE_BYTES).ok().flatten()?;
    let secs: i64 = std::str::from_utf8(&said).ok()?.trim().parse().ok()?;
    Some(match secs {
        0 => Finding::doubtful(
            "panic",
            "a version that panics halts for ever (kernel.panic is 0), and the boot loader goes back only as the device starts again; put \
             panic=10 among the kernel's arguments, for both slots",
        ),
        1.. => Finding::good("panic", format!("Linux starts again {secs} s after it has panicked")),
        _ => Finding::good("panic", "Linux starts again once it has panicked"),
    })
}

fn watchdog(sys: &Path) -> Finding {
    let advice = "a version that hangs stays so, and the boot loader goes back only as the device starts again; have the boot loader \
                  arm one, or systemd by RuntimeWatchdogSec=, in the image of every version";
    let dogs = fs::read_dir(sys.join(WATCHDOGS)).into_iter().flatten().flatten();
    let (mut there, mut silent) = (false, false);
    for dog in dogs {
        there = true;
        match fs::read_to_string(dog.path().join("state")) {
            Ok(state) if state.trim() == "active" => {
                return Finding::good("watchdog", format!("{} is armed", dog.file_name().display()));
            }
            Ok(_) => {}
            Err(_) => silent = true,
        }
    }
    let said = match (there, silent) {
        (false, _) => "Linux has no watchdog",
        (true, false) => "no watchdog is armed",
        (true, true) => "Linux does not say whether a watchdog is armed (CONFIG_WATCHDOG_SYSFS); where none is",
    };
    let link = if silent { ", " } else { ": " };
    Finding::doubtful("watchdog", format!("{said}{link}{advice}"))
}

#[cfg(test)]
mod tests {
    use suture_proto::connect::Outcome;

    use super::*;

    #[test]
    fn a_linux_that_halts_for_ever_once_it_has_panicked_is_doubtful() {
        let proc = tempfile::tempdir().unwrap();
        assert!(panic(proc.path()).is_none(), "it cannot be read");
        fs::create_dir_all(proc.path().join("sys/kernel")).unwrap();
        for (said, outcome) in
            [("0\n", Some(Outcome::Doubtful)), ("10\n", Some(Outcome::Good)), ("-1", Some(Outcome::Good)), ("x", None)]
        {
            fs::write(proc.path().join(PANIC), said).unwrap();
            let found = panic(proc.path());
            assert_eq!(found.as_ref().map(|finding| finding.outcome), outcome, "{said}");
            assert!(found.is_none_or(|f| f.outcome == Outcome::Good || f.text.contains("panic=10")));
        }
    }

    #[test]
    fn a_watchdog_that_is_not_armed_or_not_there_is_doubtful() {
        let sys = tempfile::tempdir().unwrap();
        let said = |outcome| {
            let found = watchdog(sys.path());
            assert_eq!(found.outcome, outcome, "{}", found.text);
            assert!(outcome == Outcome::Good || found.text.contains("RuntimeWatchdogSec="), "{}", found.text);
            found.text
        };
        assert!(said(Outcome::Doubtful).starts_with("Linux has no watchdog: "));
        let dogs = ["watchdog0", "watchdog1"].map(|dog| sys.path().join(WATCHDOGS).join(dog));
        dogs.iter().for_each(|dog| fs::create_dir_all(dog).unwrap());
        assert!(said(Outcome::Doubtful).starts_with("Linux does not say"));
        dogs.iter().for_each(|dog| fs::write(dog.join("state"), "inactive\n").unwrap());
        assert!(said(Outcome::Doubtful).starts_with("no watchdog is armed: "));
        fs::write(dogs[1].join("state"), "active\n").unwrap();
        assert_eq!(said(Outcome::Good), "watchdog1 is armed");

        // The directories' own trial counts starts of the device's software, which something restarts already.
        let program = crate::config::Command { argv: vec!["/rauc".to_owned()], timeout: std::time::Duration::ZERO };
        let looked = |way| findings(&way, sys.path(), sys.path()).len();
        assert_eq!(looked(Way::Rauc { program: program.clone(), system_conf: "/rauc.conf".into() }), 1);
        assert_eq!((looked(Way::Slots), looked(Way::Command(program))), (0, 0));
    }
}
