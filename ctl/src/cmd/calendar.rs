//! `suturectl calendar`: when a ward's devices may be touched.

mod spec;

use clap::Subcommand;
use jiff::SignedDuration;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::id::{HdoId, WardId};
use suture_core::limits::MAX_HORIZON_SECS;
use suture_core::window::{Calendar, Opening, openings};

use self::spec::Spec;
use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::hospital::{Desk, refused};
use crate::print::Table;
use crate::repository::{Done, Signing};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign a ward's calendar, in the place of the one before it
    Set {
        /// The ward
        ward: WardId,
        #[command(flatten)]
        spec: Spec,
        #[command(flatten)]
        signing: Signing,
    },
    /// The signed calendars, or one ward's
    Show {
        /// The ward
        ward: Option<WardId>,
    },
    /// The next openings in UTC and in the ward's time: of the signed calendar, or without a server of the flags or file
    Preview {
        /// The ward
        ward: WardId,
        #[command(flatten)]
        spec: Spec,
        /// How many
        #[arg(long, default_value_t = 10)]
        count: usize,
    },
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Set { ward, spec, signing } => {
            let calendar = spec.calendar(context.home.server()?.hdo()?, ward)?;
            let mut desk = Desk::open_base(context).await?;
            match desk.publish(context, &signing, |edit| edit.set_calendar(&calendar).map_err(refused)).await? {
                Done::Published(()) => context.print.result(&calendar, text),
                Done::Waiting(waiting) => waiting.print(context),
            }
        }
        Command::Show { ward } => {
            let desk = Desk::open(context).await?;
            let all = desk.documents.calendars.into_iter().map(|(_, c)| c);
            let shown: Vec<_> = all.filter(|c| ward.as_ref().is_none_or(|w| *w == c.ward)).collect();
            if let (Some(ward), []) = (&ward, shown.as_slice()) {
                return Err(missing(ward));
            }
            context.print.result(&shown, |all| all.iter().map(text).collect::<Vec<_>>().join("\n"))
        }
        Command::Preview { ward, spec, count } => preview(context, ward, &spec, count).await,
    }
}

#[derive(Serialize)]
struct Shown {
    start: String,
    end: String,
    local_start: String,
    local_end: String,
    zone: String,
}

async fn preview(context: &mut Context<'_>, ward: WardId, spec: &Spec, count: usize) -> Outcome {
    let calendar = if spec.is_empty() {
        let documents = Desk::open(context).await?.documents;
        let found = documents.calendars.into_iter().map(|(_, c)| c).find(|c| c.ward == ward);
        found.ok_or_else(|| missing(&ward))?
    } else {
        // What hospital it is for does not change when it opens.
        let hdo = context.home.server().and_then(|s| s.hdo());
        spec.calendar(hdo.or_else(|_| "preview".parse::<HdoId>().or_fail(|| "no hospital".to_owned()))?, ward)?
    };
    let now = context.now();
    let until = now.saturating_add(SignedDuration::from_secs(MAX_HORIZON_SECS)).unwrap_or(now);
    let next = openings(&calendar, now, until, count).map_err(refused)?;
    let zone = calendar.time_zone().map_err(refused)?;
    let local = |at| zone.to_datetime(at).strftime("%a %Y-%m-%d %H:%M:%S").to_string();
    let row = |o: &Opening| Shown {
        start: format_utc(o.start),
        end: format_utc(o.end),
        local_start: local(o.start),
        local_end: local(o.end),
        zone: calendar.zone.clone(),
    };
    let shown: Vec<Shown> = next.iter().map(row).collect();
    context.print.result(&shown, |rows| {
        if rows.is_empty() {
            return "no opening within 400 days".to_owned();
        }
        let mut table = Table::new(["opens (UTC)", "closes (UTC)", "opens (local)", "closes (local)", ""]);
        for r in rows {
            let Shown { start, end, local_start, local_end, zone } = r;
            table.row([start.clone(), end.clone(), local_start.clone(), local_end.clone(), zone.clone()]);
        }
        table.to_text()
    })
}

fn missing(ward: &WardId) -> Failure {
    Failure::new(format!("ward {ward} has no calendar")).next(format!("`suturectl calendar set {ward} --zone ...`"))
}

fn text(calendar: &Calendar) -> String {
    let mut lines = format!("ward {}, {}\n", calendar.ward, calendar.zone);
    for window in &calendar.windows {
        lines.push_str(&format!("  open    {window}\n"));
    }
    for freeze in &calendar.freezes {
        lines.push_str(&format!("  frozen  {freeze}\n"));
    }
    if calendar.windows.is_empty() {
        lines.push_str("  never open\n");
    }
    lines
}
