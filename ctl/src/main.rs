//! `suturectl`: see [`suture_ctl`].

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use suture_core::clock::Clock;

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place of this program that asks for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let code = runtime.block_on(suture_ctl::run(std::env::args_os(), &mut out, &mut err, Arc::new(SystemClock)));
    // A look-up that still hangs in the system's resolver must not keep a finished command waiting.
    runtime.shutdown_background();
    Ok(ExitCode::from(code))
}
