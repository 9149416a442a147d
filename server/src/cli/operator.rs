//! `suture-server operator`: a way in for an organisation of which nobody can call the server any more.

use crate::invitation::{Invited, invite};
use suture_core::clock::Clock as _;
use suture_core::id::{HdoId, OperatorName};

use super::SystemClock;
use super::{Configured, Output};

/// The subcommands.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make a token, good once and for a week, for an operator whose organisation has nobody left who could: its last
    /// operator's certificate or home is lost. It gives no signing key and names no root. It goes on record. The server may
    /// run.
    #[command(after_help = "Example: suture-server operator invite kim --hdo riverside --config server.toml")]
    Invite {
        /// The operator's name; not one that has joined and was not revoked.
        name: OperatorName,
        /// The hospital [default: the manufacturer].
        #[arg(long)]
        hdo: Option<HdoId>,
        #[command(flatten)]
        configured: Configured,
    },
}

/// Runs one.
pub(super) async fn run(command: Command, output: Output) -> anyhow::Result<()> {
    let Command::Invite { name, hdo, configured } = command;
    output.print(&invite(&configured.settings()?, hdo, &name, SystemClock.now()).await?, text)
}

fn text(invited: &Invited) -> String {
    format!(
        "token for {}  {} (once, until {})\n\
         next: hand it over by a channel that you trust; its holder says `suturectl join --token-file FILE`, and then\n\
         `suturectl catalog trust FINGERPRINT`, at a hospital `suturectl approvals trust FINGERPRINT` too, as written down before\n",
        invited.principal,
        invited.token.display(),
        invited.expires
    )
}
