//! `suturectl vex`: what the manufacturer says of vulnerabilities after a release, by its signature.

mod list;
mod publish;

use clap::Subcommand;
use suture_core::id::ProductId;

use crate::context::Context;
use crate::failure::Outcome;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Manufacturer: publish statements about vulnerabilities, signed into the catalog
    ///
    /// The file is kept as it is: OpenVEX 0.2, CSAF 2.0 or CycloneDX VEX. It speaks of every release of the product that it
    /// names (`pkg:generic/PRODUCT@VERSION`, the product's id and version, or as its SBOM names it) or that carries the component
    /// which it names. Of two documents about the same the one that was published later counts.
    #[command(verbatim_doc_comment, after_help = "Example: suturectl vex publish acme-2026-001.json --product pump")]
    Publish(publish::PublishArgs),
    /// Manufacturer: take statements back, with a reason that every hospital reads
    #[command(
        verbatim_doc_comment,
        after_help = "Example: suturectl vex withdraw pump acme-2026-001 --reason \"it named the wrong version\""
    )]
    Withdraw(publish::WithdrawArgs),
    /// The statements that the catalog lists, newest first
    #[command(verbatim_doc_comment, after_help = "Example: suturectl vex list --product pump")]
    List {
        /// Of this product [default: of all]
        #[arg(long)]
        product: Option<ProductId>,
    },
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Publish(args) => publish::run(context, args).await,
        Command::Withdraw(args) => publish::withdraw(context, args).await,
        Command::List { product } => list::run(context, product.as_ref()).await,
    }
}
