//! `suturectl report`: what a hospital tells the manufacturer: a suspicion, an incident, and what others may look for.

mod list;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use suture_core::id::{DeviceId, HdoId, ProductId};
use suture_core::limits::MAX_INDICATOR_FILE_BYTES;
use suture_core::notice::{Indicator, Said, Severity, Side, Suspicion, SuspicionKind};
use suture_core::version::Release;

use crate::cmd::notice::acknowledge::acknowledge;
use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files;
use crate::keys::KeyName;
use crate::letters::{From, Heads, Writing, fetch, find, root_of, send, write};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell the manufacturer of something that looks wrong, signed by one of the hospital's keys. As in: suturectl report
    /// suspicion --product pump --device pump-1 --text "it called an address that it never calls" --ioc seen.txt
    #[command(
        after_help = "Example: suturectl report suspicion --product pump --device pump-1 --text \"it called a stranger\" --ioc seen.txt"
    )]
    Suspicion(ReportArgs),
    /// Tell the manufacturer of something that has happened
    #[command(after_help = "Example: suturectl report incident --product pump --text \"the alarm stayed silent\"")]
    Incident(ReportArgs),
    /// Take a report back: there was nothing to it
    #[command(after_help = "Example: suturectl report withdraw 3 --text \"it was our own probe\"")]
    Withdraw {
        /// The report's number
        number: u64,
        /// Why
        #[arg(long)]
        text: String,
        /// The key that signs it
        #[arg(long, value_name = "KEY", default_value = "targets")]
        key: KeyName,
    },
    /// The reports, newest first: a hospital's own, at the manufacturer those of all hospitals
    #[command(after_help = "Example: suturectl report list")]
    List {
        /// Of this hospital; the manufacturer's operators only
        #[arg(long, value_name = "HOSPITAL")]
        hdo: Option<HdoId>,
    },
    /// One report, whole; at the manufacturer it counts as read from then on
    #[command(after_help = "Example: suturectl report show 3")]
    Show {
        /// The report's number
        number: u64,
        /// Of this hospital; the manufacturer's operators only
        #[arg(long, value_name = "HOSPITAL")]
        hdo: Option<HdoId>,
    },
    /// Answer a hospital's report, as its manufacturer. As in: suturectl report acknowledge 1 --hdo riverside --text "we look"
    #[command(after_help = "Example: suturectl report acknowledge 3 --hdo riverside --text \"we look into it\"")]
    Acknowledge {
        /// The report's number
        number: u64,
        /// The hospital
        #[arg(long, value_name = "HOSPITAL")]
        hdo: HdoId,
        /// What is done about it
        #[arg(long)]
        text: String,
        /// The key that signs it
        #[arg(long, value_name = "KEY", default_value = "targets")]
        key: KeyName,
    },
}

/// What is reported.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// The product
    #[arg(long)]
    product: ProductId,
    /// The release that the devices run
    #[arg(long)]
    release: Option<u64>,
    /// A device that it is about; may be given several times
    #[arg(long)]
    device: Vec<DeviceId>,
    /// How bad it is: informational, low, medium, high, critical
    #[arg(long, default_value = "medium", value_parser = severity)]
    severity: Severity,
    /// What was seen
    #[arg(long)]
    text: String,
    /// What others may look for: lines `type value`, or a STIX 2.1 bundle
    #[arg(long, value_name = "FILE")]
    ioc: Option<PathBuf>,
    /// The number of an earlier report that this one takes the place of
    #[arg(long, value_name = "NUMBER")]
    updates: Option<u64>,
    /// The key that signs it, one of those that sign the hospital's approvals
    #[arg(long, value_name = "KEY", default_value = "targets")]
    key: KeyName,
}

fn severity(text: &str) -> Result<Severity, String> {
    text.parse().map_err(str::to_owned)
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Suspicion(args) => report(context, SuspicionKind::Suspicion, args).await,
        Command::Incident(args) => report(context, SuspicionKind::Incident, args).await,
        Command::Withdraw { number, text, key } => withdraw(context, number, text, &key).await,
        Command::List { hdo } => list::run(context, hdo).await,
        Command::Show { number, hdo } => list::show(context, number, hdo).await,
        Command::Acknowledge { number, hdo, text, key } => {
            context.home.server()?.manufacturer()?;
            let mut client = context.connect().await?;
            acknowledge(context, &mut client, (&hdo, Side::Manufacturer), (number, text), &key).await
        }
    }
}

async fn report(context: &mut Context<'_>, kind: SuspicionKind, args: ReportArgs) -> Outcome {
    let ReportArgs { product, release, device, severity, text, ioc, updates, key } = args;
    let indicators = ioc.as_deref().map(indicators).transpose()?.unwrap_or_default();
    let release = release.map(Release);
    let report =
        Suspicion { kind, product, release, devices: device, severity, text, indicators, updates, withdrawn: false };
    tell(context, report, &key).await
}

fn indicators(path: &Path) -> Outcome<Vec<Indicator>> {
    let bytes = files::read(path, MAX_INDICATOR_FILE_BYTES)?
        .ok_or_else(|| Failure::new(format!("there is no {}", path.display())))?;
    Indicator::read(&bytes).or_fail(|| format!("{} holds no indicators that can be sent", path.display()))
}

async fn withdraw(context: &mut Context<'_>, number: u64, text: String, key: &KeyName) -> Outcome {
    let hdo = context.home.server()?.hdo()?;
    let mut client = context.connect().await?;
    let side = (&hdo, Side::Hospital);
    let root = root_of(context, &mut client, side).await?;
    let kept = find(fetch(context, &mut client, side, &root, From::First).await?, number, Side::Hospital)?;
    let Said::Suspicion(report) = &kept.letter.said else {
        return Err(Failure::new(format!("letter {number} is no report: `suturectl report list`")));
    };
    let report =
        Suspicion { text, updates: Some(number), withdrawn: true, indicators: Vec::new(), ..(**report).clone() };
    tell(context, report, key).await
}

/// Signs the report as the hospital's next letter, and sends it.
async fn tell(context: &mut Context<'_>, report: Suspicion, key: &KeyName) -> Outcome {
    let hdo = context.home.server()?.hdo()?;
    let mut client = context.connect().await?;
    let side = (&hdo, Side::Hospital);
    let root = root_of(context, &mut client, side).await?;
    let writing = Writing::open(context, &root, Side::Hospital, key)?;
    fetch(context, &mut client, side, &root, From::Seen).await?;
    let before = Heads::load(&context.home)?.get(&hdo, Side::Hospital);
    let letter = write(context, &writing, &hdo, before, Said::Suspicion(Box::new(report.clone())))?;
    send(context, &mut client, std::slice::from_ref(&letter), |_| Ok(())).await?;
    let result = json!({ "number": letter.number, "sha256": letter.digest(), "report": report });
    context.print.result(&result, |_| {
        let what = if report.withdrawn { "is taken back" } else { "is with the manufacturer" };
        format!("{} {} {what}; its answer: suturectl report show {}", report.kind, letter.number, letter.number)
    })
}
