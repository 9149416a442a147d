//! `suture-server init`: a new server in a directory.

use crate::init::{Made, init};
use suture_core::clock::Clock as _;
use suture_core::id::OperatorName;

use super::Output;
use super::SystemClock;
use super::flags::Flags;

/// Arguments of `init`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Name of the manufacturer's first operator.
    #[arg(long)]
    operator: OperatorName,
    #[command(flatten)]
    flags: Box<Flags>,
}

/// Makes it.
pub(super) async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let settings = args.flags.into_settings(None)?;
    output.print(&init(&settings, &args.operator, SystemClock.now()).await?, text)
}

fn text(made: &Made) -> String {
    format!(
        "configuration           {}\n\
         CA certificate          {}\n\
         CA fingerprint          {}\n\
         audit record's key      {}\n\
         first operator's token  {} (once, until {})\n",
        made.config.display(),
        made.ca.display(),
        made.ca_sha256,
        made.audit_key,
        made.token.display(),
        made.expires
    )
}
