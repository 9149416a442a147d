//! `suturectl`: see [`suture_ctl`].

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, setrlimit};
use suture_core::clock::Clock;
use suture_ctl::print::Terminal;

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place of this program that asks for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The usual size, where a terminal does not say its own.
const USUAL: (usize, usize) = (80, 24);

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => USUAL,
    }
}

fn main() -> anyhow::Result<ExitCode> {
    // A core file would hold whatever private key is open. That the system refuses keeps nobody from working.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let is_terminal = io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb");
    let terminal = is_terminal.then_some(Terminal { size });
    let running = suture_ctl::run_on(std::env::args_os(), &mut out, &mut err, terminal, Arc::new(SystemClock));
    let code = runtime.block_on(running);
    // A look-up that still hangs in the system's resolver must not keep a finished command waiting.
    runtime.shutdown_background();
    Ok(ExitCode::from(code))
}
