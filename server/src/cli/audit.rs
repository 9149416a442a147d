//! `suture-server audit`: the key of the audit record, and how long its texts are kept.

use crate::audit::retention::{self, Pruned};
use jiff::civil::Date;
use serde::Serialize;
use suture_core::audit::LogKey;
use suture_core::clock::Clock as _;

use super::SystemClock;
use super::{Configured, Output};

/// The key that the record is signed with.
#[derive(Serialize)]
struct Named {
    key: LogKey,
}

/// The subcommands.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show the key by which operators and devices know the record: they compare it, and refuse another.
    #[command(after_help = "Example: suture-server audit key --config server.toml")]
    Key(Configured),
    /// Put another key in its place, which the present one signs: everybody follows by that alone. The server may run.
    #[command(after_help = "Example: suture-server audit rotate-key --config server.toml")]
    RotateKey(Configured),
    /// Delete the texts of entries older than a date, two years at least. Digests and tree stay: the record verifies as
    /// before, and a kept copy of a text is still proven to have stood in it. It goes on record. The server may run.
    #[command(after_help = "Example: suture-server audit prune --before 2024-01-01 --config server.toml")]
    Prune {
        /// The first day (UTC) whose entries keep their texts.
        #[arg(long, value_name = "DATE")]
        before: Date,
        #[command(flatten)]
        configured: Configured,
    },
}

/// Runs one.
pub(super) async fn run(command: Command, output: Output) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let key = |named: &Named| format!("{}\n", named.key);
    match command {
        Command::Key(configured) => {
            output.print(&Named { key: retention::key(&configured.settings()?, false, now).await? }, key)
        }
        Command::RotateKey(configured) => {
            output.print(&Named { key: retention::key(&configured.settings()?, true, now).await? }, key)
        }
        Command::Prune { before, configured } => {
            let pruned = retention::prune_configured(&configured.settings()?, before, now).await?;
            output.print(&pruned, |Pruned { entries, first, last }| match entries {
                0 => format!("no entry from before {before} has its text\n"),
                _ => format!("{entries} texts deleted, of entries {first} to {last}; their digests stay\n"),
            })
        }
    }
}
