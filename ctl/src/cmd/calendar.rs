//! `suturectl calendar`: when devices may be touched.

mod preview;
mod spec;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use suture_core::approval::{Approval, DeviceSlots};
use suture_core::id::{DeviceId, WardId};
use suture_core::window::{Calendar, Scope, ics};

use self::preview::PreviewArgs;
use self::spec::Spec;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::files::{self, Access};
use crate::hospital::{Desk, Documents, refused};
use crate::print::count;
use crate::repository::{Done, Signing};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign a calendar, in the place of the one before it: of flags, a TOML file, an iCalendar file, or several of them
    #[command(
        after_help = "Examples: suturectl calendar set icu --zone Europe/Berlin --weekly \"sat,sun 02:00 2h\" --freeze-yearly 12-24..01-02\n\
    \x20         suturectl calendar set --device pump-1 --ics board.ics"
    )]
    Set {
        /// Whose calendar.
        #[command(flatten)]
        whose: Whose,
        /// What it is made of.
        #[command(flatten)]
        spec: Spec,
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
    /// Take a calendar off, by signature: the others that bind its devices go on
    #[command(after_help = "Example: suturectl calendar remove icu")]
    Remove {
        /// Whose calendar.
        #[command(flatten)]
        whose: Whose,
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
    /// The signed calendars, or one of them
    #[command(after_help = "Example: suturectl calendar show icu")]
    Show {
        /// Whose calendar.
        #[command(flatten)]
        whose: Whose,
    },
    /// The next openings in UTC and in local time: of the signed calendars, or without a server of what the flags say
    ///
    /// Of a ward or a device, all its calendars together. With --rrule the openings begin with the rule's first start,
    /// otherwise now, unless --from says when.
    #[command(after_help = "Examples: suturectl calendar preview icu\n\
    \x20         suturectl calendar preview --rrule \"FREQ=MONTHLY;BYDAY=-1SU\" --dtstart 2026-10-25T02:30 --zone Europe/Berlin --duration 2h")]
    Preview(PreviewArgs),
    /// Write a signed calendar as an iCalendar file (RFC 5545)
    #[command(after_help = "Example: suturectl calendar export icu -o icu.ics")]
    Export {
        /// Whose calendar.
        #[command(flatten)]
        whose: Whose,
        /// The file; without, the calendar goes to standard output
        #[arg(short = 'o', long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Whose calendar: a ward's, a device's or the hospital's.
#[derive(Debug, Clone, Args)]
pub struct Whose {
    /// The ward
    #[arg(conflicts_with_all = ["hospital", "device"])]
    ward: Option<WardId>,
    /// The hospital's: it binds all devices
    #[arg(long, conflicts_with = "device")]
    hospital: bool,
    /// A device's own
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceId>,
}

impl Whose {
    fn scope(&self) -> Option<Scope> {
        let ward = || self.ward.clone().map(Scope::Ward);
        let device = || self.device.clone().map(Scope::Device);
        if self.hospital { Some(Scope::Hospital) } else { ward().or_else(device) }
    }

    fn needed(&self) -> Outcome<Scope> {
        self.scope().ok_or_else(|| Failure::new("whose calendar? name a ward, --device DEVICE, or --hospital"))
    }
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Set { whose, spec, signing } => {
            let (calendar, cancelled) = spec.calendar(context.home.server()?.hdo()?, whose.needed()?)?;
            for summary in cancelled {
                context.print.note(&format!("{summary:?} is cancelled and left out"));
            }
            let mut desk = Desk::open_base(context).await?;
            still_signed(context, &desk.documents, &calendar.scope);
            match desk.publish(context, &signing, |edit| edit.set_calendar(&calendar).map_err(refused)).await? {
                Done::Published(()) => context.print.result(&calendar, text),
                Done::Waiting(waiting) => waiting.print(context),
            }
        }
        Command::Remove { whose, signing } => {
            let scope = whose.needed()?;
            let mut desk = Desk::open_base(context).await?;
            still_signed(context, &desk.documents, &scope);
            let remove = |edit: &mut crate::hospital::Edit<'_>| {
                if edit.remove_calendar(&scope) { Ok(()) } else { Err(missing(&scope)) }
            };
            match desk.publish(context, &signing, remove).await? {
                Done::Published(()) => {
                    context.print.result(&json!({ "removed": scope }), |_| format!("{scope} has no calendar any more"))
                }
                Done::Waiting(waiting) => waiting.print(context),
            }
        }
        Command::Show { whose } => {
            let desk = Desk::open(context).await?;
            let scope = whose.scope();
            let all = desk.documents.calendars.into_iter().map(|(_, c)| c);
            let shown: Vec<_> = all.filter(|c| scope.as_ref().is_none_or(|s| *s == c.scope)).collect();
            if let (Some(scope), []) = (&scope, shown.as_slice()) {
                return Err(missing(scope));
            }
            context.print.result(&shown, |all| all.iter().map(text).collect::<Vec<_>>().join("\n"))
        }
        Command::Preview(args) => preview::run(context, &args).await,
        Command::Export { whose, out } => {
            let scope = whose.needed()?;
            let documents = Desk::open(context).await?.documents;
            let found = documents.calendars.into_iter().map(|(_, c)| c).find(|c| c.scope == scope);
            let file = ics::export(&found.ok_or_else(|| missing(&scope))?, context.now()).map_err(refused)?;
            match out {
                None => context.print.result(&json!({ "ics": file }), |_| file.trim_end().to_owned()),
                Some(path) => {
                    files::write(&path, file.as_bytes(), Access::Public)?;
                    let written = json!({ "file": path.display().to_string() });
                    context.print.result(&written, |_| format!("written to {}", path.display()))
                }
            }
        }
    }
}

/// Says which rollouts have slots for devices of a calendar: a device installs in the instants that are signed, and knows no
/// calendar. A new freeze moves none of them.
fn still_signed(context: &mut Context<'_>, documents: &Documents, scope: &Scope) {
    if let Some(text) = signed_already(documents, scope, context.now()) {
        context.print.note(&text);
    }
}

fn signed_already(documents: &Documents, scope: &Scope, now: Timestamp) -> Option<String> {
    let replaced: BTreeSet<_> = documents.approvals.iter().flat_map(|a| &a.terms.supersedes).collect();
    let open =
        |a: &&Approval| now < a.terms.expires && !replaced.contains(&a.terms.id) && !documents.is_stopped(&a.terms.id);
    let bound = |d: &&DeviceSlots| {
        let on_roster = documents.device(&d.id).is_some_and(|device| scope.binds(&d.id, &device.ward));
        on_roster && d.slots.iter().any(|slot| now < slot.end)
    };
    let slots = documents.approvals.iter().filter(open).map(|a| (&a.terms.id, a.devices.iter().filter(bound).count()));
    let named: Vec<_> = slots.filter(|(_, devices)| *devices > 0).collect();
    let list: Vec<String> = named.iter().take(8).map(|(id, n)| format!("{id} ({})", count(*n, "device"))).collect();
    let more = named.len().saturating_sub(8);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    (!named.is_empty()).then(|| {
        format!(
            "note: slots that are signed stay as they are, whatever the calendar says now: {}{more}; `rollout stop ROLLOUT`, or plan \
             anew with --supersedes ROLLOUT",
            list.join(", ")
        )
    })
}

fn missing(scope: &Scope) -> Failure {
    let flags = match scope {
        Scope::Hospital => "--hospital".to_owned(),
        Scope::Ward(ward) => ward.to_string(),
        Scope::Device(device) => format!("--device {device}"),
    };
    Failure::new(format!("{scope} has no calendar")).next(format!("`suturectl calendar set {flags} --zone ...`"))
}

fn text(calendar: &Calendar) -> String {
    let mut lines = format!("{}, {}\n", calendar.scope, calendar.zone);
    for window in &calendar.windows {
        lines.push_str(&format!("  open    {window}\n"));
    }
    for freeze in &calendar.freezes {
        lines.push_str(&format!("  frozen  {freeze}\n"));
    }
    for recurring in &calendar.recurring {
        lines.push_str(&format!("  frozen  {recurring}\n"));
    }
    if calendar.windows.is_empty() {
        lines.push_str("  open    when its other calendars are\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use suture_core::plan::Signing;

    use super::*;
    use crate::cmd::rollout::fixture::{at, facts, id, now, planned};

    #[test]
    fn a_calendar_that_is_signed_anew_moves_no_slot_and_that_is_said() {
        let facts = facts();
        let signing = Signing { approver: "kim".to_owned(), meaning: "approved".to_owned(), reason: "x".to_owned() };
        let approval = planned(&facts).to_approval(&signing, now()).unwrap().0;
        let documents = Documents { rosters: facts.rosters, approvals: vec![approval], ..Documents::default() };
        let said = |scope, at| signed_already(&documents, &scope, at);
        let text = said(Scope::Hospital, now()).unwrap();
        assert!(text.contains("pump-5 (2 devices)") && text.contains("rollout stop"), "{text}");
        assert!(said(Scope::Ward(id("icu")), now()).unwrap().contains("pump-5 (2 devices)"));
        assert!(said(Scope::Device(id("p1")), now()).unwrap().contains("pump-5 (1 device)"));
        assert_eq!(said(Scope::Ward(id("er")), now()), None);
        assert_eq!(said(Scope::Hospital, at("2027-01-01T00:00:00Z")), None, "over");
    }
}
