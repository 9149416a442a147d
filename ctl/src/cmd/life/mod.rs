//! `suturectl life`: how long a product is supported, by the manufacturer's signed word.

mod list;
mod set;
mod show;

use clap::Subcommand;
use jiff::civil::Date;
use suture_core::clock::parse_day;
use suture_core::id::ProductId;
use suture_core::version::Release;

pub(crate) use self::list::{DeviceLife, device_life, lives};
pub(crate) use self::show::{text, uncovered};

use crate::context::Context;
use crate::failure::Outcome;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Manufacturer: set dates of a product or of some of its releases, signed into the catalog
    ///
    /// Dates that are not named stay as they are. An end of life or of support takes two years of notice, or --short-notice
    /// with the reason; a date moves earlier with --earlier and the reason. Nothing that was said is ever taken back: `life
    /// history` shows it all.
    #[command(
        verbatim_doc_comment,
        after_help = "Example: suturectl life set pump --general-availability 2026-01-01 --eol 2031-01-01 --eos 2033-01-01 --reason \"as sold\""
    )]
    Set(Box<set::SetArgs>),
    /// The stage, the dates, and what is no longer covered
    #[command(verbatim_doc_comment, after_help = "Example: suturectl life show pump --release 7 --as-of 2031-06-01")]
    Show {
        /// The product
        product: ProductId,
        /// Of this release [default: of the product as such, and of every range of releases with dates of its own]
        #[arg(long)]
        release: Option<u64>,
        /// As it will be, or was, on a day, by what was known then
        #[arg(long, value_name = "DATE", value_parser = date)]
        as_of: Option<Date>,
    },
    /// Every change: when, by whom, what and why
    #[command(verbatim_doc_comment, after_help = "Example: suturectl life history pump")]
    History {
        /// The product
        product: ProductId,
    },
    /// The dates in the words of another format
    #[command(verbatim_doc_comment, after_help = "Example: suturectl life export pump --openeox > pump.openeox.json")]
    Export {
        /// The product
        product: ProductId,
        /// OpenEoX Core 1.0, one JSON object; its end of life is the last day of any support
        #[arg(long, required = true)]
        openeox: bool,
        /// Of this release [default: of the product as such]
        #[arg(long)]
        release: Option<u64>,
    },
    /// Hospital: the devices with the stage of what they run
    #[command(
        verbatim_doc_comment,
        after_help = "Examples: suturectl life list --past-eos\n\
        \x20         suturectl life list --within 365 --csv > ending.csv"
    )]
    List(list::ListArgs),
}

pub(crate) fn date(text: &str) -> Result<Date, String> {
    parse_day(text).ok_or_else(|| format!("{text:?} is not a date like 2027-01-15"))
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Set(args) => set::run(context, *args).await,
        Command::Show { product, release, as_of } => show::run(context, &product, release.map(Release), as_of).await,
        Command::History { product } => show::history(context, &product).await,
        Command::Export { product, openeox: _, release } => show::export(context, &product, release.map(Release)).await,
        Command::List(args) => list::run(context, args).await,
    }
}
