//! `suturectl bundle`.

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Outcome;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {}

/// Runs one.
pub async fn run(_: &mut Context<'_>, command: Command) -> Outcome {
    match command {}
}
