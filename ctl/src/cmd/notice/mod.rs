//! `suturectl notice`: what the manufacturer tells its hospitals.

pub(in crate::cmd) mod acknowledge;
pub(crate) mod auto;
mod clocks;
mod contact;
mod list;
pub(crate) mod publish;
mod show;
mod spec;
mod status;

use std::path::PathBuf;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Outcome;
use crate::keys::KeyName;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign a notice for each hospital and publish it, as in: suturectl notice publish advisory.toml
    ///
    /// The file says kind, product, severity, subject, text and actions, and what else its kind asks for; what is missing is
    /// named. It goes to the hospitals that have devices of the product, unless --hdo or --all says otherwise.
    #[command(after_help = publish::EXAMPLE)]
    Publish(publish::PublishArgs),
    /// The notices: at a hospital those that it has got, at the manufacturer those that it has sent, or with --hdo one
    /// hospital's
    #[command(after_help = "Example: suturectl notice list --open")]
    List {
        /// Of this hospital; the manufacturer's operators only
        #[arg(long, value_name = "HOSPITAL")]
        hdo: Option<suture_core::id::HdoId>,
        /// Those alone that are not acknowledged yet
        #[arg(long)]
        open: bool,
    },
    /// One notice, whole; at a hospital it counts as read from then on. As in: suturectl notice show 3
    #[command(after_help = "Example: suturectl notice show 3")]
    Show {
        /// At a hospital the notice's number, at the manufacturer the beginning of its id
        #[arg(value_name = "NUMBER|ID")]
        which: String,
        /// Fetch and verify the documents that belong to it, into this directory
        #[arg(long, value_name = "DIR")]
        documents: Option<PathBuf>,
    },
    /// Say that a notice was read and what is done about it, signed where this home has one of the hospital's keys. As in:
    /// suturectl notice acknowledge 3 --text "installed in all wards by Friday"
    #[command(after_help = "Example: suturectl notice acknowledge 3 --text \"installed in all wards by Friday\"")]
    Acknowledge {
        /// The notice's number
        number: u64,
        /// What is done about it, for the record and for the manufacturer
        #[arg(long)]
        text: String,
        /// The key that signs it
        #[arg(long, value_name = "KEY", default_value = "targets")]
        key: KeyName,
    },
    /// How far a notice has come at each hospital: delivered, read, acknowledged, overdue. As in: suturectl notice status 3f0a91
    #[command(after_help = "Example: suturectl notice status 3f0a91 --verify")]
    Status {
        /// The beginning of its id, as `notice list` shows it
        id: String,
        /// Verify the signature of each acknowledgement that the server shows as signed
        #[arg(long)]
        verify: bool,
        /// As CSV, one row for each hospital
        #[arg(long)]
        csv: bool,
    },
    /// The 30 and 60 days of FDA's postmarket guidance: who was told when of what a bundle ends, and how far the bundle is.
    /// As in: suturectl notice clocks pump@3 --learned 2026-11-20
    #[command(after_help = "Example: suturectl notice clocks pump@3 --learned 2026-11-20")]
    Clocks(clocks::ClocksArgs),
    /// Where notices are delivered to, besides this program
    #[command(subcommand)]
    Contact(contact::Command),
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Publish(args) => publish::run(context, args).await,
        Command::List { hdo, open } => list::run(context, hdo, open).await,
        Command::Show { which, documents } => show::run(context, &which, documents.as_deref()).await,
        Command::Acknowledge { number, text, key } => acknowledge::run(context, number, text, &key).await,
        Command::Status { id, verify, csv } => status::run(context, &id, verify, csv).await,
        Command::Clocks(args) => clocks::run(context, args).await,
        Command::Contact(command) => contact::run(context, command).await,
    }
}
