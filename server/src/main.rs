//! `suture-server`: wires the command line to the library.

use std::process::ExitCode;

use clap::Parser as _;
use suture_server::cli::{self, Cli};
use suture_server::config::Faults;

/// Twice the speed of glibc's in bulk transfer.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("suture-server: {error:#}");
            let configuration = error.is::<Faults>();
            if configuration { ExitCode::from(EXIT_CONFIGURATION) } else { ExitCode::FAILURE }
        }
    }
}
