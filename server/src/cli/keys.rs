//! `suture-server keys`: which online keys the server holds, and the next ones.

use crate::publish::{self, Held};
use suture_core::clock::Clock as _;
use suture_core::sign::PublicKey;

use super::SystemClock;
use super::{Configured, Output};

/// The subcommands.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show the public halves of the present and the next ones.
    #[command(after_help = "Example: suture-server keys list --config server.toml")]
    List(Configured),
    /// Prepare the next ones; they sign from the moment at which a root that names them is published. The server may run.
    #[command(after_help = "Example: suture-server keys rotate --config server.toml --repository catalog")]
    Rotate {
        #[command(flatten)]
        configured: Configured,
        /// `catalog` or `approvals/<hospital>` [default: every published repository].
        #[arg(long)]
        repository: Option<String>,
        /// Make them anew, even if some are prepared already.
        #[arg(long)]
        again: bool,
    },
}

/// Runs one.
pub(super) async fn run(command: Command, output: Output) -> anyhow::Result<()> {
    let now = SystemClock.now();
    match command {
        Command::List(configured) => {
            output.print(&publish::list(&configured.settings()?, now).await?, |held| text(held))
        }
        Command::Rotate { configured, repository, again } => {
            let held = publish::rotate(&configured.settings()?, repository.as_deref(), again, now).await?;
            output.print(&held, |held| text(held) + NEXT)
        }
    }
}

const NEXT: &str = "next: each repository's owner names them in a new root:\n\
\x20 the manufacturer  suturectl catalog rotate --online\n\
\x20 a hospital        suturectl approvals rotate --online\n";

fn text(held: &[Held]) -> String {
    let next = |key: Option<PublicKey>| key.map_or_else(|| "none prepared".to_owned(), |k| k.to_string());
    let one = |Held { repository, keys }: &Held| {
        format!(
            "{repository}\n  timestamp       {}\n  snapshot        {}\n  next timestamp  {}\n  next snapshot   {}\n",
            keys.timestamp,
            keys.snapshot,
            next(keys.next_timestamp),
            next(keys.next_snapshot)
        )
    };
    held.iter().map(one).collect()
}
