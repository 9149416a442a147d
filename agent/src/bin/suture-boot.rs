//! `suture-boot SLOTS_DIR`: what systemd runs before each start of the device's software, see
//! [`Slots::before_start`]. It needs no agent, no network, no clock and no configuration, and is done in milliseconds.
//!
//! It never keeps the device from starting: what it cannot read or change it names on standard error, and ends with exit
//! code 0. Exit code 64 is a wrong command line, which whoever writes the unit sees at the first start.

use std::path::Path;
use std::process::ExitCode;

use suture_agent::install::{Slots, Start};

/// As the agent's: the command line is wrong (EX_USAGE).
const EXIT_USAGE: u8 = 64;

#[expect(clippy::print_stderr, reason = "a program's last word, which systemd writes into its journal")]
fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(dir), None) = (arguments.next(), arguments.next()) else {
        eprintln!("suture-boot: name the directory of the slots, `slots_dir` of agent.toml, and nothing else");
        return ExitCode::from(EXIT_USAGE);
    };
    match Slots::new(Path::new(&dir)).before_start() {
        Ok(Start::Plain) => {}
        Ok(Start::Counted(trial)) => {
            let (side, starts, limit) = (trial.side.as_str(), trial.starts, trial.limit);
            eprintln!("suture-boot: slot {side} is not confirmed yet; this is its start {starts} of {limit}");
        }
        Ok(Start::PutBack(trial)) => {
            let (side, old, limit) = (trial.side.as_str(), trial.side.other().as_str(), trial.limit);
            eprintln!("suture-boot: slot {side} was started {limit} times and not confirmed; slot {old} is put back");
        }
        Err(e) => {
            eprintln!("suture-boot: {}; what `current` names is started as it is", suture_agent::agent::chain(&e));
        }
    }
    ExitCode::SUCCESS
}
