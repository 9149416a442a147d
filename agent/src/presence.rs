//! Whether a person stands at the device.
//!
//! The device's maker may name a program that knows: a service key that is plugged in, a button that is held, a cover that is
//! open. Without one it is a terminal that hangs at the device: a console or a serial line. What a remote shell gives is a
//! pseudo-terminal, and counts for nothing.

use std::os::fd::AsFd;

use rustix::fs::FileType;

use crate::config::Command;
use crate::process;

/// Major numbers of the Unix98 pseudo-terminals' device ends, from the kernel's list of allocated devices.
const PSEUDO_TERMINALS: std::ops::RangeInclusive<u32> = 136..=143;

/// Says why it is not known that somebody is there.
///
/// # Errors
///
/// What to do to be known to be there.
pub async fn ask(program: Option<&Command>, input: impl AsFd) -> Result<(), String> {
    match program {
        Some(program) => by(program).await,
        None if is_console(input) => Ok(()),
        None => Err(
            "nobody is known to be at the device: run this on its own console or serial line, which a remote shell \
                     is not; or have the maker name a program in [presence]"
                .to_owned(),
        ),
    }
}

/// The same by the maker's program alone: for what a screen of the device's own may say too, which is no terminal.
///
/// # Errors
///
/// What to do to be known to be there.
pub async fn by(program: &Command) -> Result<(), String> {
    match process::run(program, &[], None).await {
        ending if ending.is_success() => Ok(()),
        ending => Err(format!(
            "nobody is known to be at the device: the presence program {ending}; do what the device's maker says for it (a \
             key, a button), and try again"
        )),
    }
}

/// A character device that is a terminal, and no pseudo-terminal.
fn is_console(input: impl AsFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(&input) else { return false };
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && rustix::termios::isatty(&input)
        && !PSEUDO_TERMINALS.contains(&rustix::fs::major(stat.st_rdev))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_program_knows_or_a_console_and_nothing_else() {
        let none = File::open("/dev/null").unwrap();
        let program = |script: &str| Command {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            timeout: Duration::from_secs(5),
        };
        assert!(ask(Some(&program("exit 0")), &none).await.is_ok());
        let why = ask(Some(&program("exit 1")), &none).await.unwrap_err();
        assert!(why.contains("exit code 1"), "{why}");
        let why = ask(None, &none).await.unwrap_err();
        assert!(why.contains("console"), "{why}");
    }
}
