//! `suturectl risk`: the hospital's register of risk.

mod assess;
mod list;

use std::collections::BTreeSet;

use clap::Subcommand;
use jiff::civil::Date;
use suture_core::clock::day_of;
use suture_core::id::{HdoId, ProductId};
use suture_core::limits::{MAX_ASSESSMENTS, MAX_WORDS_PER_CALL};
use suture_core::risk::{self, Assessment, Member};
use suture_core::trust::Root;
use suture_core::version::Release;
use suture_proto::v1;

pub(crate) use self::list::remind;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::words::{Heard, Series, followed, heard};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record what was found of a risk in a group of devices, and what is done about it
    ///
    /// A later assessment of the same group takes the place of an earlier one. It holds a year, half a year where support ends
    /// within two years, a quarter after its end.
    #[command(
        verbatim_doc_comment,
        after_help = "Examples: suturectl risk assess --product pump --ward icu --hazard \"a wrong dose over the network\" --likelihood remote \\\n\
        \x20             --severity critical --exploitability medium --treatment acceptance --reason \"no other pump until spring\" \\\n\
        \x20             --compensating \"a network of their own\" --reviewer \"Dr. Lee\""
    )]
    Assess(Box<assess::AssessArgs>),
    /// The newest assessment of each group
    #[command(verbatim_doc_comment, after_help = "Example: suturectl risk list --all")]
    List {
        /// Also those that a later one has replaced
        #[arg(long)]
        all: bool,
        /// As CSV, one row for each assessment
        #[arg(long)]
        csv: bool,
    },
    /// One assessment, whole
    #[command(verbatim_doc_comment, after_help = "Example: suturectl risk show 7")]
    Show {
        /// Its number
        number: u64,
    },
    /// Groups whose assessment is overdue
    #[command(verbatim_doc_comment, after_help = "Example: suturectl risk overdue --within 30")]
    Overdue {
        /// Also those that will be within so many days
        #[arg(long, value_name = "DAYS", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=366))]
        within: i64,
        /// As CSV, one row for each assessment
        #[arg(long)]
        csv: bool,
    },
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Assess(args) => assess::run(context, *args).await,
        Command::List { all, csv } => list::list(context, all, csv).await,
        Command::Show { number } => list::show(context, number).await,
        Command::Overdue { within, csv } => list::overdue(context, within, csv).await,
    }
}

/// The whole register, verified word by word and followed from its first.
pub(crate) async fn register(
    context: &Context<'_>,
    client: &mut Client,
    hdo: &HdoId,
) -> Outcome<Vec<Heard<Assessment>>> {
    let mut all: Vec<Heard<Assessment>> = Vec::new();
    loop {
        let after = all.last().map_or(0, |last| last.word.number);
        let v1::ListRisksResponse { risks, more } =
            client.list_risks(v1::ListRisksRequest { after, limit: MAX_WORDS_PER_CALL }).await?;
        let moved = !risks.is_empty();
        for risk in risks {
            all.push(heard(risk)?);
        }
        if !more {
            break;
        }
        if !moved || all.len() as u64 > MAX_ASSESSMENTS {
            return Err(Failure::untrusted("the server's register of risk does not come to an end"));
        }
    }
    if let Some(other) = all.iter().find(|heard| heard.word.hdo != *hdo) {
        return Err(Failure::untrusted(format!("the server's register of risk is that of {}", other.word.hdo)));
    }
    followed(context, &Series::Risk(hdo), &all)?;
    Ok(all)
}

/// Those that count: of each group the newest.
pub(crate) fn newest(register: &[Heard<Assessment>]) -> Vec<&Heard<Assessment>> {
    let newest = risk::newest(register.iter().map(|heard| &heard.word));
    let numbers: BTreeSet<u64> = newest.into_iter().map(|word| word.number).collect();
    register.iter().filter(|heard| numbers.contains(&heard.word.number)).collect()
}

/// The devices that no acceptance in force covers, by words whose keys the hospital's root lists.
pub(crate) fn uncovered<'m>(
    register: &[Heard<Assessment>],
    root: &Root,
    what: (&ProductId, Release),
    devices: impl IntoIterator<Item = Member<'m>>,
    day: Date,
) -> Vec<Member<'m>> {
    let newest = newest(register);
    let listed = newest.into_iter().filter(|heard| heard.word.is_listed(root)).map(|heard| &*heard.word);
    risk::uncovered(listed, what, devices, day)
}

/// Today, in UTC.
fn today(context: &Context<'_>) -> Date {
    day_of(context.now())
}
