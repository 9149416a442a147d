//! `calendar preview`: what a calendar comes to, before it is signed and after.

use clap::Args;
use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::{Offset, TimeZone};
use serde::Serialize;
use suture_core::clock::{format_utc, parse_utc};
use suture_core::id::HdoId;
use suture_core::window::{Calendar, Opening, Openings, Scope};

use super::spec::Spec;
use super::{Whose, missing};
use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::hospital::{Desk, Documents, refused};
use crate::print::Table;

/// Arguments of `calendar preview`.
#[derive(Debug, Clone, Args)]
pub struct PreviewArgs {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    spec: Spec,
    /// How many
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// From this instant on, as in 2026-11-24T17:00:00Z
    #[arg(long, value_parser = instant)]
    from: Option<Timestamp>,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    parse_utc(text).ok_or_else(|| format!("{text:?} is not a UTC instant like 2026-11-24T17:00:00Z"))
}

/// An opening, as it is printed.
#[derive(Serialize)]
struct Shown {
    /// RFC 3339, UTC.
    start: String,
    end: String,
    /// The start as the calendar's clock shows it, RFC 3339 with the offset of that instant.
    local: String,
    local_end: String,
    zone: String,
}

pub(super) async fn run(context: &mut Context<'_>, args: &PreviewArgs) -> Outcome {
    let PreviewArgs { whose, spec, count, from } = args;
    let calendars = if spec.is_empty() {
        signed(&Desk::open(context).await?.documents, &whose.needed()?)?
    } else {
        // What hospital it is for does not change when it opens.
        let hdo = context.home.server().and_then(|s| s.hdo());
        let hdo = hdo.or_else(|_| "preview".parse::<HdoId>().or_fail(|| "no hospital".to_owned()))?;
        let (calendar, cancelled) = spec.calendar(hdo, whose.scope().unwrap_or(Scope::Hospital))?;
        for summary in cancelled {
            context.print.note(&format!("{summary:?} is cancelled and left out"));
        }
        vec![calendar]
    };
    // People read the times of the closest clock.
    let Some(closest) = calendars.last() else {
        return Err(Failure::new("there is no calendar to preview")
            .next("name a ward, or say what it is with --rrule or --weekly"));
    };
    let zone = closest.time_zone().map_err(refused)?;
    let from = from.or(spec.begins(&zone)).unwrap_or_else(|| context.now());
    let layers: Vec<&Calendar> = calendars.iter().collect();
    let next = Openings::new(&layers, from, end()).map_err(refused)?.take(usize::from(*count));
    let next = next.collect::<Result<Vec<Opening>, _>>().map_err(refused)?;
    let local = |at: Timestamp| {
        let shown = zone.to_offset_info(at).offset();
        format!("{}{}", shown.to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S"), offset(shown.seconds()))
    };
    let row = |o: &Opening| Shown {
        start: format_utc(o.start),
        end: format_utc(o.end),
        local: local(o.start),
        local_end: local(o.end),
        zone: closest.zone.clone(),
    };
    let shown: Vec<Shown> = next.iter().map(row).collect();
    let table = |_: &Vec<Shown>| table(&next, &zone, &closest.zone);
    context.print.result(&shown, table)
}

/// The end of the years that a calendar can be about, so that a rule which never begins is seen to, and is not given up.
fn end() -> Timestamp {
    Offset::UTC.to_timestamp(date(2200, 1, 1).at(0, 0, 0, 0)).unwrap_or(Timestamp::MAX)
}

/// The calendars that bind whose openings are asked for, the closest to it last.
fn signed(documents: &Documents, scope: &Scope) -> Outcome<Vec<Calendar>> {
    let mut scopes = vec![Scope::Hospital];
    match scope {
        Scope::Hospital => {}
        Scope::Ward(_) => scopes.push(scope.clone()),
        Scope::Device(device) => {
            let known = documents.device(device).ok_or_else(|| {
                Failure::new(format!("device {device} is on no signed roster"))
                    .next(format!("`suturectl device confirm {device}`"))
            })?;
            scopes.extend([Scope::Ward(known.ward.clone()), scope.clone()]);
        }
    }
    let find = |scope: &Scope| documents.calendars.iter().map(|(_, c)| c).find(|c| c.scope == *scope).cloned();
    let found: Vec<Calendar> = scopes.iter().filter_map(find).collect();
    if found.is_empty() { Err(missing(scope)) } else { Ok(found) }
}

fn table(openings: &[Opening], zone: &TimeZone, name: &str) -> String {
    if openings.is_empty() {
        return "no opening: nothing is open in all the calendars that bind".to_owned();
    }
    let local = |at| zone.to_datetime(at).strftime("%a %Y-%m-%d %H:%M:%S").to_string();
    let mut table = Table::new(["opens (UTC)", "closes (UTC)", "opens (local)", "closes (local)", ""]);
    for o in openings {
        table.row([format_utc(o.start), format_utc(o.end), local(o.start), local(o.end), name.to_owned()]);
    }
    table.to_text()
}

/// An offset as RFC 3339 writes it.
fn offset(seconds: i32) -> String {
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs() / 60);
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}
