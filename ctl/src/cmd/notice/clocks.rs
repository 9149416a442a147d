//! `notice clocks`: told within 30 days, distributed within 60 (FDA, postmarket guidance, 2016, V.B).

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use suture_core::clock::{day_of, parse_day};
use suture_core::digest::Digest;
use suture_core::id::HdoId;
use suture_core::limits::MAX_LETTERS_PER_CALL;
use suture_core::notice::{Clocks, Said};
use suture_proto::{parse, v1};

use super::list::{all_sent, by_beginning, first_letter};
use crate::client::Client;
use crate::cmd::rollout::BundleName;
use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::letters::instant;
use crate::print::Table;

/// Arguments of `notice clocks`.
#[derive(Debug, clap::Args)]
pub struct ClocksArgs {
    /// The bundle that ends the risk
    #[arg(value_name = "PRODUCT@RELEASE")]
    bundle: BundleName,
    /// The day on which the manufacturer learned of it [default: as the notices say]
    #[arg(long, value_name = "DATE", value_parser = day)]
    learned: Option<Date>,
    /// A notice that told of it before there was a release to name, by the beginning of its id; may be given several times
    #[arg(long, value_name = "ID")]
    notice: Vec<String>,
}

fn day(text: &str) -> Result<Date, String> {
    parse_day(text).ok_or_else(|| format!("{text:?} is not a date like 2027-01-15"))
}

/// One hospital's clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Hospital {
    hdo: HdoId,
    name: String,
    told: Option<String>,
    delivered: Option<String>,
    acknowledged: Option<String>,
    /// Whether it was delivered by the day on which that was due; none while it is neither.
    told_in_time: Option<bool>,
    devices: u32,
    confirmed: u32,
    confirmed_in_time: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Shown {
    bundle: String,
    published: Option<String>,
    learned: String,
    #[serde(flatten)]
    clocks: Clocks,
    hospitals: Vec<Hospital>,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: ClocksArgs) -> Outcome {
    let ClocksArgs { bundle, learned, notice } = args;
    context.home.server()?.manufacturer()?;
    let mut client = context.connect().await?;
    let mut named = Vec::new();
    for beginning in &notice {
        named.push(by_beginning(&mut client, beginning).await?);
    }
    let learned = match learned {
        Some(day) => day,
        None => learned_of(context, &mut client, &bundle, &named).await?,
    };
    let clocks = Clocks::from(learned);
    // The day counts until its end.
    let end = clocks.distributed_by.tomorrow().and_then(|day| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)));
    let distributed_by_ms = end.or_fail(|| "the day is beyond all days".to_owned())?.as_millisecond();
    let (published, hospitals) =
        fetch(&mut client, &bundle, &named, distributed_by_ms, (clocks, day_of(context.now()))).await?;
    let shown = Shown { bundle: bundle.to_string(), published, learned: learned.to_string(), clocks, hospitals };
    context.print.result(&shown, text)
}

/// The first day that the notices name.
async fn learned_of(
    context: &mut Context<'_>,
    client: &mut Client,
    bundle: &BundleName,
    named: &[Digest],
) -> Outcome<Date> {
    let mut days = Vec::new();
    for sent in all_sent(client).await? {
        let (_, kept) = first_letter(context, client, sent.id).await?;
        if let Said::Notice(notice) = &kept.letter.said
            && notice.product == bundle.product
            && (notice.fixed_by == Some(bundle.release) || named.contains(&sent.id))
        {
            days.extend(notice.learned);
        }
    }
    days.into_iter().min().ok_or_else(|| {
        Failure::new(format!("no notice that names {bundle} says when the risk was learned of"))
            .next("--learned DATE, or --notice ID for one that told of it before there was a release")
    })
}

async fn fetch(
    client: &mut Client,
    bundle: &BundleName,
    named: &[Digest],
    distributed_by_ms: i64,
    (clocks, today): (Clocks, Date),
) -> Outcome<(Option<String>, Vec<Hospital>)> {
    let mut found: Vec<Hospital> = Vec::new();
    loop {
        let after = found.last().map(|h| h.hdo.to_string()).unwrap_or_default();
        let request = v1::GetNoticeClocksRequest {
            product: bundle.product.to_string(),
            release: bundle.release.0,
            notices: named.iter().map(|id| id.as_bytes().to_vec().into()).collect(),
            distributed_by_ms,
            after: after.clone(),
            limit: MAX_LETTERS_PER_CALL,
        };
        let v1::GetNoticeClocksResponse { published_ms, hospitals, more } = client.get_notice_clocks(request).await?;
        for hospital in hospitals {
            let hospital = read(hospital, clocks, today)?;
            if found.last().is_some_and(|last| last.hdo >= hospital.hdo) {
                return Err(Failure::untrusted("the server's list of hospitals does not come to an end"));
            }
            found.push(hospital);
        }
        if !more || found.last().is_none_or(|last| last.hdo.as_str() == after) {
            return Ok((instant(published_ms), found));
        }
    }
}

fn read(message: v1::HospitalClocks, clocks: Clocks, today: Date) -> Outcome<Hospital> {
    let v1::HospitalClocks { hdo, name, sent_ms, delivered_ms, answered_ms, devices, confirmed, confirmed_in_time } =
        message;
    let delivered_on = jiff::Timestamp::from_millisecond(delivered_ms).ok().filter(|_| delivered_ms != 0).map(day_of);
    let told_in_time = match delivered_on {
        Some(day) => Some(day <= clocks.told_by),
        None => (today > clocks.told_by).then_some(false),
    };
    Ok(Hospital {
        hdo: parse("hdo", &hdo)?,
        name,
        told: instant(sent_ms),
        delivered: instant(delivered_ms),
        acknowledged: instant(answered_ms),
        told_in_time,
        devices,
        confirmed,
        confirmed_in_time,
    })
}

fn text(shown: &Shown) -> String {
    let headings = ["hospital", "told", "delivered", "acknowledged", "in time", "devices", "confirmed", "by day 60"];
    let mut table = Table::new(headings);
    for h in &shown.hospitals {
        let cell = |at: &Option<String>| at.clone().unwrap_or_default();
        let in_time = match h.told_in_time {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        table.row([
            format!("{} ({})", h.hdo, h.name),
            cell(&h.told),
            cell(&h.delivered),
            cell(&h.acknowledged),
            in_time.to_owned(),
            h.devices.to_string(),
            h.confirmed.to_string(),
            h.confirmed_in_time.to_string(),
        ]);
    }
    let total = |of: fn(&Hospital) -> u32| shown.hospitals.iter().map(of).fold(0, u32::saturating_add);
    let (devices, in_time) = (total(|h| h.devices), total(|h| h.confirmed_in_time));
    let percent = u64::from(in_time) * 100 / u64::from(devices.max(1));
    let told = shown.hospitals.iter().filter(|h| h.told_in_time == Some(true)).count();
    format!(
        "{}, learned of on {}, published {}\ntold by {} (30 days): {told} of {} hospitals\ndistributed by {} (60 days): {in_time} of \
         {devices} devices, {percent} %\n{}",
        shown.bundle,
        shown.learned,
        shown.published.clone().unwrap_or_default(),
        shown.clocks.told_by,
        shown.hospitals.len(),
        shown.clocks.distributed_by,
        table.to_text()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hospital_is_told_in_time_up_to_the_end_of_the_thirtieth_day() {
        let clocks = Clocks::from("2026-11-24".parse().unwrap());
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let told = |delivered_ms: i64, today: &str| {
            let message = v1::HospitalClocks { hdo: "riverside".to_owned(), delivered_ms, ..Default::default() };
            read(message, clocks, today.parse().unwrap()).unwrap().told_in_time
        };
        assert_eq!(told(at("2026-12-24T23:59:59Z"), "2027-03-01"), Some(true));
        assert_eq!(told(at("2026-12-25T00:00:00Z"), "2027-03-01"), Some(false));
        assert_eq!((told(0, "2026-12-24"), told(0, "2026-12-25")), (None, Some(false)));
    }
}
