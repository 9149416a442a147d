//! `suturectl hdo`: the manufacturer invites hospitals; a hospital's first operator joins.

use clap::Subcommand;
use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::id::HdoId;
use suture_core::token::Grant;
use suture_proto::v1;

use super::device::confirm::fingerprint;
use super::hdo_join;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::letters;
use crate::lists;
use crate::print::Table;
use crate::token::{self, Lifetime};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Manufacturer: register a hospital and make the token for its first operator
    #[command(after_help = "Example: suturectl hdo invite riverside --name \"Riverside Hospital\"")]
    Invite {
        /// The hospital's id: a-z, 0-9, '.', '_', '-'
        id: HdoId,
        /// Its name, for people
        #[arg(long)]
        name: String,
        /// How long the token lasts.
        #[command(flatten)]
        lifetime: Lifetime,
    },
    /// Manufacturer: the hospitals, and whether the root that the server shows is the one that people have compared
    #[command(after_help = "Example: suturectl hdo list")]
    List,
    /// Manufacturer: say that a hospital's root is the one with this fingerprint, which its people have read out
    ///
    /// `hdo join` and `approvals status` print it there. From then on the hospital's acknowledgements and reports are verified by
    /// that root and what follows from it, whatever the server shows; until then by the first root that the server has shown.
    #[command(after_help = "Example: suturectl hdo pin riverside --root \"3f0a 91c2 ...\"")]
    Pin {
        /// The hospital's id
        id: HdoId,
        /// SHA-256 of its first root, with or without spaces
        #[arg(long, value_name = "FINGERPRINT")]
        root: String,
    },
    /// Hospital: spend the manufacturer's token and begin the hospital's approvals
    #[command(after_help = "Example: suturectl hdo join --token-file hospital.token --name kim")]
    Join(hdo_join::Args),
}

#[derive(Serialize)]
struct Invited {
    hdo: HdoId,
    token: String,
    expires: String,
}

#[derive(Serialize)]
struct Hdo {
    id: String,
    name: String,
    operators: u32,
    devices: u32,
    root_sha256: Option<Digest>,
    /// As people have compared it; none where they have not.
    compared_sha256: Option<Digest>,
}

impl Hdo {
    /// Whether the server shows another root than was compared.
    fn is_another(&self) -> bool {
        self.compared_sha256.is_some() && self.compared_sha256 != self.root_sha256
    }
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Invite { id, name, lifetime } => invite(context, id, name, lifetime).await,
        Command::List => list(context).await,
        Command::Pin { id, root } => pin(context, &id, &root).await,
        Command::Join(args) => hdo_join::run(context, args).await,
    }
}

async fn invite(context: &mut Context<'_>, hdo: HdoId, name: String, lifetime: Lifetime) -> Outcome {
    context.home.server()?.manufacturer()?;
    let composed = token::compose(context, Grant::Hdo(hdo.clone()), lifetime)?;
    if composed.token.catalog_root_sha256.is_none() {
        context.print.note("note: there is no catalog yet, so this token cannot carry its fingerprint; run `suturectl catalog init` first if it should");
    }
    let request = v1::InviteHdoRequest {
        hdo: hdo.to_string(),
        name,
        secret_sha256: composed.secret_sha256().into(),
        expires_ms: composed.expires_ms(),
    };
    context.connect().await?.invite_hdo(request).await?;
    let invited =
        Invited { hdo, token: composed.text()?, expires: suture_core::clock::format_utc(composed.token.expires) };
    context.print.note(&format!(
        "Hand this token to {} over a channel that you trust; it is good once, until {}.",
        invited.hdo, invited.expires
    ));
    context.print.result(&invited, |i| i.token.clone())
}

async fn list(context: &mut Context<'_>) -> Outcome {
    let hdos = lists::hospitals(&mut context.connect().await?).await?;
    let mut rows = Vec::with_capacity(hdos.len());
    for v1::Hdo { id, name, operators, devices, root_sha256 } in hdos {
        let root_sha256 = match root_sha256.is_empty() {
            true => None,
            false => Some(suture_proto::parse_digest("root_sha256", &root_sha256)?),
        };
        let compared_sha256 = letters::compared(&context.home, &suture_proto::parse("id", &id)?)?;
        rows.push(Hdo { id, name, operators, devices, root_sha256, compared_sha256 });
    }
    let others: Vec<String> = rows.iter().filter(|hdo| hdo.is_another()).map(|hdo| hdo.id.clone()).collect();
    context.print.result(&rows, |rows| {
        let mut table = Table::new(["hospital", "name", "operators", "devices", "root", "compared"]);
        for r in rows {
            let root = r.root_sha256.map_or_else(|| "none yet".to_owned(), |d| d.short());
            let compared = match r.compared_sha256 {
                None => "no",
                Some(_) if r.is_another() => "ANOTHER ROOT",
                Some(_) => "yes",
            };
            let (operators, devices) = (r.operators.to_string(), r.devices.to_string());
            table.row([r.id.clone(), r.name.clone(), operators, devices, root, compared.to_owned()]);
        }
        table.to_text()
    })?;
    if others.is_empty() {
        return Ok(());
    }
    Err(Failure::untrusted(format!("the server shows other roots of {} than were compared", others.join(", ")))
        .next("believe nothing that it shows of these hospitals, and ask them over another channel"))
}

async fn pin(context: &mut Context<'_>, hdo: &HdoId, typed: &str) -> Outcome {
    context.home.server()?.manufacturer()?;
    let root = fingerprint(typed)?;
    let mut client = context.connect().await?;
    let version = letters::pin(context, &mut client, hdo, root).await?.version();
    let pinned = serde_json::json!({ "hdo": hdo, "root_sha256": root, "root_version": version });
    context.print.result(&pinned, |_| {
        format!("{hdo}: its word is verified by the root {root} and what follows from it, now version {version}")
    })
}
