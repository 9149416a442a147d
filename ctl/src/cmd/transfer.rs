//! `suturectl transfer`: how much the hospital's devices may fetch at once, and when.

use clap::Subcommand;
use serde::Serialize;
use suture_core::pace::{Hours, Limits, Rate};
use suture_proto::v1;

use crate::context::Context;
use crate::failure::Outcome;
use crate::print::{Table, counted};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Limit what devices fetch: at certain hours, or, without --between, at all other times. Each server holds the limits
    /// by itself
    #[command(
        after_help = "Example: suturectl transfer set --between \"mon-fri 07:00-18:00\" --zone Europe/Berlin --rate 20Mbit --streams 8"
    )]
    Set {
        /// Of all devices together, a second: 20Mbit, 500kbit; 0 lets nothing be fetched
        #[arg(long)]
        rate: Option<Rate>,
        /// Of each device, a second: 2Mbit
        #[arg(long, value_name = "RATE")]
        device_rate: Option<Rate>,
        /// How many devices may fetch at once; the others stand in line. Unless given, as many as have 256kbit of --rate
        /// each
        #[arg(long, value_name = "DEVICES")]
        streams: Option<u32>,
        /// When: 07:00-18:00, "mon-fri 07:00-18:00", 22:00-06:00; where several hold at once, the strictest of each limit
        /// does
        #[arg(long, value_name = "HOURS")]
        between: Option<Hours>,
        /// By whose clock: Europe/Berlin. Needed once, with the first hours
        #[arg(long)]
        zone: Option<String>,
    },
    /// What is set, what holds now, and how many devices fetch and stand in line
    #[command(after_help = "Example: suturectl transfer show")]
    Show,
    /// Take limits away: those of certain hours, or all
    #[command(after_help = "Example: suturectl transfer clear --between \"mon-fri 07:00-18:00\"")]
    Clear {
        /// Those of these hours only
        #[arg(long, value_name = "HOURS")]
        between: Option<Hours>,
    },
}

#[derive(Serialize)]
struct Shown {
    zone: Option<String>,
    periods: Vec<Period>,
    otherwise: Said,
    now: Said,
    fetching: u32,
    in_line: u32,
}

#[derive(Serialize)]
struct Period {
    between: String,
    #[serde(flatten)]
    limits: Said,
}

/// Limits, in bits a second and devices at once; what is not there is not limited.
#[derive(Serialize)]
struct Said {
    #[serde(rename = "rate_bits_per_sec", serialize_with = "bits")]
    rate: Option<Rate>,
    #[serde(rename = "device_rate_bits_per_sec", serialize_with = "bits")]
    device_rate: Option<Rate>,
    streams: Option<u32>,
}

fn bits<S: serde::Serializer>(rate: &Option<Rate>, to: S) -> Result<S::Ok, S::Error> {
    rate.map(Rate::bits).serialize(to)
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    context.home.server()?.hdo()?;
    let mut client = context.connect().await?;
    let text = |hours: Option<Hours>| hours.map(|h| h.to_string()).unwrap_or_default();
    match command {
        Command::Set { rate, device_rate, streams, between, zone } => {
            let limits = Some((&Limits { rate, device_rate, streams }).into());
            let zone = zone.unwrap_or_default();
            client.set_transfer_limits(v1::SetTransferLimitsRequest { zone, hours: text(between), limits }).await?;
        }
        Command::Show => {}
        Command::Clear { between } => {
            client.clear_transfer_limits(v1::ClearTransferLimitsRequest { hours: text(between) }).await?;
        }
    }
    let v1::GetTransferLimitsResponse { zone, periods, otherwise, now, fetching, in_line } =
        client.get_transfer_limits(v1::GetTransferLimitsRequest {}).await?;
    let mut shown = Vec::with_capacity(periods.len());
    for v1::TransferPeriod { hours, limits } in periods {
        shown.push(Period { between: hours, limits: said(limits)? });
    }
    let zone = Some(zone).filter(|zone| !zone.is_empty());
    let shown = Shown { zone, periods: shown, otherwise: said(otherwise)?, now: said(now)?, fetching, in_line };
    context.print.result(&shown, text_of)
}

fn said(limits: Option<v1::TransferLimits>) -> Outcome<Said> {
    let Limits { rate, device_rate, streams } = Limits::try_from(&limits.unwrap_or_default())?;
    Ok(Said { rate, device_rate, streams })
}

fn text_of(shown: &Shown) -> String {
    let Shown { zone, periods, otherwise, now, fetching, in_line } = shown;
    let mut table = Table::new(["when", "all together", "each device", "devices at once"]);
    let mut row = |when: String, limits: &Said| {
        let cell = |value: Option<String>| value.unwrap_or_else(|| "no limit".to_owned());
        let Said { rate, device_rate, streams } = limits;
        let written = |rate: &Option<Rate>| cell(rate.map(|rate| rate.to_string()));
        table.row([when, written(rate), written(device_rate), cell(streams.map(|n| n.to_string()))]);
    };
    for Period { between, limits } in periods {
        row(format!("{between} {}", zone.as_deref().unwrap_or_default()), limits);
    }
    row(if periods.is_empty() { "always".to_owned() } else { "otherwise".to_owned() }, otherwise);
    row("now".to_owned(), now);
    let fetching = counted(*fetching, "device", "fetches", "fetch");
    format!("{}{fetching} now; in line: {in_line}\n", table.to_text())
}
