//! `suturectl approvals`: the hospital's signed approvals as a whole.

use clap::Subcommand;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::trust::Edition;
use suture_core::trust::edit::APPROVALS_LIFETIME;

use crate::alarm;
use crate::cmd::ceremony;
use crate::context::Context;
use crate::failure::Outcome;
use crate::hospital::{Desk, Documents, inventory};
use crate::print::{Table, grouped};
use crate::repository::{self, Done, Founders, Signing};
use crate::trust_store::Which;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Begin the approvals: sign the first root and publish them empty (`hdo join` does it too)
    #[command(after_help = "Example: suturectl approvals init")]
    Init {
        /// Who signs from the first version on.
        #[command(flatten)]
        founders: Founders,
    },
    /// Versions, ends, keys, and what is in force; fails where devices have verified something else
    #[command(after_help = "Example: suturectl approvals status")]
    Status {
        /// What a colleague's `status` prints: what is in force must be that, or descend from it
        #[arg(long, value_name = "VERSION:SHA256")]
        expect: Option<Edition>,
    },
    /// Sign what is in force again, before it ends or after
    #[command(after_help = "Example: suturectl approvals renew")]
    Renew {
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
    /// What others may have to sign too.
    #[command(flatten)]
    Ceremony(ceremony::Command),
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    repository: repository::Status,
    devices: usize,
    calendars: Vec<String>,
    approvals: Vec<Listed>,
    /// What devices have verified otherwise than this home, and what the server says of that.
    alarms: Vec<alarm::Alarm>,
}

#[derive(Serialize)]
struct Listed {
    id: String,
    bundle: String,
    devices: usize,
    expires: String,
    stopped: bool,
    superseded: bool,
    /// The waves that wait for the hospital's signature, counted from 1.
    waits_for_signature: Vec<u32>,
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Init { founders } => init(context, &founders).await,
        Command::Status { expect } => {
            let mut desk = Desk::open_expecting(context, expect).await?;
            let devices = inventory::devices(&mut desk.client, "", "", "").await?;
            let alarms = alarm::look(context, &mut desk.client, &desk.hdo, &desk.documents, &devices).await?;
            show(context, &desk, alarms.clone())?;
            alarm::raise(&alarms)
        }
        Command::Renew { signing } => {
            let mut desk = Desk::open_base(context).await?;
            match desk.publish(context, &signing, |_| Ok(())).await? {
                Done::Published(()) => show(context, &desk, Vec::new()),
                Done::Waiting(waiting) => waiting.print(context),
            }
        }
        Command::Ceremony(command) => ceremony::run(context, Which::Approvals, command).await,
    }
}

async fn init(context: &mut Context<'_>, founders: &Founders) -> Outcome {
    context.home.server()?.hdo()?;
    let begun = match repository::begin(context, Which::Approvals, founders, APPROVALS_LIFETIME).await? {
        Done::Published((begun, _)) => begun,
        Done::Waiting(waiting) => return waiting.print(context),
    };
    context.print.result(&begun, |b| {
        format!(
            "the approvals have begun\nroot {}\ncompare this fingerprint with the manufacturer over another channel; \
             device tokens made from now on carry it\n",
            grouped(&b.root_sha256.to_string())
        )
    })
}

fn show(context: &mut Context<'_>, desk: &Desk, alarms: Vec<alarm::Alarm>) -> Outcome {
    let repository = repository::status(context, Which::Approvals, &desk.approvals)?;
    let documents = &desk.documents;
    let shown = Shown {
        repository,
        devices: documents.rosters.iter().map(|(_, r)| r.devices.len()).sum(),
        calendars: documents.calendars.iter().map(|(_, c)| c.scope.to_string()).collect(),
        approvals: listed(documents),
        alarms,
    };
    context.print.result(&shown, |s| {
        let mut table = Table::new(["approval", "bundle", "devices", "until", "state"]);
        for a in &s.approvals {
            let waiting: Vec<String> = a.waits_for_signature.iter().map(ToString::to_string).collect();
            let state = match (a.stopped, a.superseded, waiting.as_slice()) {
                (true, _, _) => "stopped".to_owned(),
                (_, true, _) => "superseded".to_owned(),
                (_, _, []) => "in force".to_owned(),
                (_, _, waves) => format!("in force; wave {} waits for its signature", waves.join(", ")),
            };
            table.row([a.id.clone(), a.bundle.clone(), a.devices.to_string(), a.expires.clone(), state]);
        }
        format!(
            "{}\ndevices on rosters: {}\ncalendars: {}\n\n{}",
            s.repository.to_text(),
            s.devices,
            s.calendars.join(", "),
            table.to_text()
        )
    })
}

fn listed(documents: &Documents) -> Vec<Listed> {
    let row = |a: &suture_core::approval::Approval| Listed {
        id: a.terms.id.to_string(),
        bundle: a.terms.steps.last().map(|s| format!("{}@{}", s.product, s.release)).unwrap_or_default(),
        devices: a.devices.len(),
        expires: format_utc(a.terms.expires),
        stopped: documents.is_stopped(&a.terms.id),
        waits_for_signature: documents.unsigned(a).into_iter().map(|wave| wave.saturating_add(1)).collect(),
        superseded: documents.approvals.iter().any(|b| b.terms.supersedes.contains(&a.terms.id)),
    };
    documents.approvals.iter().map(row).collect()
}
