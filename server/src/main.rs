//! `suture-server`: wires the command line to the library.

use std::process::ExitCode;

use clap::Parser as _;
use suture_server::cli::{self, Cli};
use suture_server::config::Faults;

/// Twice the speed of glibc's in bulk transfer.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A command failed: a file, the database, the port.
const EXIT_FAILURE: u8 = 1;
/// The command line or the configuration is wrong (EX_USAGE).
const EXIT_CONFIGURATION: u8 = 64;

#[expect(clippy::print_stderr, reason = "a program's last word")]
fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to say to a closed pipe.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_CONFIGURATION) } else { ExitCode::SUCCESS };
        }
    };
    let output = cli.output();
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let exit = if error.is::<Faults>() { EXIT_CONFIGURATION } else { EXIT_FAILURE };
            eprintln!("{}", output.failure(&error, exit));
            ExitCode::from(exit)
        }
    }
}
