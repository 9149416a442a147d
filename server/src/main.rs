//! `suture-server`: wires the command line to the library.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;
use jiff::Timestamp;
use suture_core::clock::Clock;
use suture_server::config::Faults;

/// Twice the speed of glibc's in bulk transfer.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The command line or the configuration is wrong (EX_USAGE).
const EXIT_CONFIGURATION: u8 = 64;

/// The one clock that nobody handed in.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the server asks for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

#[expect(clippy::print_stderr, reason = "a program's last word")]
fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
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
