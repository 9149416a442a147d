//! `suturectl device`: the hospital's devices, from the inventory list to the signed roster.

pub(super) mod confirm;
pub(super) mod import;
mod lost;
mod release;
mod show;
mod why;

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use suture_core::clock::format_utc;
use suture_core::id::{DeviceId, ProductId, WardId};
use suture_core::label::Label;
use suture_core::token::Grant;
use suture_proto::v1;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::hospital::Desk;
use crate::hospital::leases::Down;
use crate::repository::{Done, Signing};
use crate::token::{self, Lifetime};

/// An import of 10,000 devices is far below.
const MAX_CSV_BYTES: u64 = 16 << 20;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add or correct devices from the hospital's own list
    #[command(after_help = "Example: suturectl device import --csv devices.csv --dry-run")]
    Import {
        /// CSV whose first line names the columns: id, product, hardware, ward, and if known serial, udi, labels (area=icu kind=bedside)
        #[arg(long, value_name = "FILE")]
        csv: PathBuf,
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Make an enrolment token, for one device or for any imported one
    #[command(after_help = "Example: suturectl device token pump-1")]
    Token {
        /// The device
        id: Option<DeviceId>,
        /// How long the token lasts.
        #[command(flatten)]
        lifetime: Lifetime,
    },
    /// Say that the fingerprint shown at the device is this one, and put the device on the signed roster
    #[command(
        after_help = "Example: suturectl device confirm pump-1 --fingerprint \"3f0a 91c2 5d77\" --list devices.csv"
    )]
    Confirm(confirm::ConfirmArgs),
    /// The devices
    #[command(after_help = "Examples: suturectl device list --ward icu\n\
    \x20         suturectl device list --lost")]
    List {
        /// Of this ward
        #[arg(long)]
        ward: Option<WardId>,
        /// Of this product
        #[arg(long)]
        product: Option<ProductId>,
        /// In this state: imported, pending, active, revoked or decommissioned [default: all but those decommissioned]
        #[arg(long)]
        state: Option<String>,
        /// With this label, as in area=icu; several must all hold, and of one key any. By the signed roster, where it has the device
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<Label>,
        /// Only those that have been silent for longer than the hospital allows
        #[arg(long)]
        lost: bool,
    },
    /// Set after what silence a device counts as lost: from 1h to a year, and 7 days where nothing is set
    #[command(after_help = "Example: suturectl device lost-after 48h")]
    LostAfter {
        /// As in 48h
        after: jiff::SignedDuration,
    },
    /// One device: what it has proven by its signature, and what the server merely says
    #[command(after_help = "Example: suturectl device show pump-1")]
    Show {
        /// The device
        id: DeviceId,
    },
    /// What stands between a device and its update, in the order in which it must be met
    #[command(after_help = "Example: suturectl device why pump-1")]
    Why {
        /// The device
        id: DeviceId,
    },
    /// Say that a device is back in service, so that it counts no more among those of its ward that are down
    #[command(after_help = "Example: suturectl device return pump-1 --reason \"restarted by hand\"")]
    Return {
        /// The device
        id: DeviceId,
        /// How that was found, for the record
        #[arg(long)]
        reason: String,
    },
    /// Say that a device was clinically checked after its update, by the signatures of as many as approve: it goes back to
    /// clinical use by that
    #[command(after_help = "Example: suturectl device release pump-1 --reason \"flow measured at three points\"")]
    Release(release::ReleaseArgs),
    /// Refuse a device's certificate from the next call on, and take it off the signed roster
    #[command(after_help = "Example: suturectl device revoke pump-1 --reason \"stolen\"")]
    Revoke {
        /// The device
        id: DeviceId,
        /// Why, for the record
        #[arg(long)]
        reason: String,
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
    /// Take a device out of use for good: its certificate is refused, it leaves the signed roster and never enrols again. All
    /// that is known of it stays: `device list --state decommissioned`, `device show`
    #[command(after_help = "Example: suturectl device decommission pump-1 --reason \"sold; disk wiped\"")]
    Decommission {
        /// The device
        id: DeviceId,
        /// Why, and what became of it and of the data on it, for the record
        #[arg(long)]
        reason: String,
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Import { csv, dry_run } => import(context, csv, dry_run).await,
        Command::Token { id, lifetime } => make_token(context, id, lifetime).await,
        Command::Confirm(args) => confirm::run(context, args).await,
        Command::LostAfter { after } => lost::set(context, after).await,
        Command::List { ward, product, state, label, lost } => {
            let text = |v: Option<String>| v.unwrap_or_default();
            let (ward, product) = (text(ward.map(String::from)), text(product.map(String::from)));
            show::list(context, &ward, &product, &text(state), &label.into_iter().collect(), lost).await
        }
        Command::Show { id } => show::one(context, &id).await,
        Command::Why { id } => why::run(context, &id).await,
        Command::Return { id, reason } => give_back(context, &id, reason).await,
        Command::Release(args) => release::run(context, args).await,
        Command::Revoke { id, reason, signing } => revoke(context, id, reason, &signing).await,
        Command::Decommission { id, reason, signing } => decommission(context, id, reason, &signing).await,
    }
}

async fn import(context: &mut Context<'_>, csv: PathBuf, dry_run: bool) -> Outcome {
    context.home.server()?.hdo()?;
    let devices = import::read(&files::need(&csv, MAX_CSV_BYTES)?)?;
    let request = v1::ImportDevicesRequest { devices, dry_run };
    let v1::ImportDevicesResponse { added, changed, unchanged } =
        context.connect().await?.import_devices(request).await?;
    if changed > 0 && !dry_run {
        context.print.note(
            "what the signed rosters say of confirmed devices is still as it was: `roster update --csv` signs it anew",
        );
    }
    let result = json!({ "added": added, "changed": changed, "unchanged": unchanged, "dry_run": dry_run });
    context.print.result(&result, |_| {
        let would = if dry_run { "would be: " } else { "" };
        format!("{would}{added} added, {changed} changed, {unchanged} unchanged")
    })
}

async fn make_token(context: &mut Context<'_>, id: Option<DeviceId>, lifetime: Lifetime) -> Outcome {
    let grant = Grant::Device(context.home.server()?.hdo()?, id.clone());
    let composed = token::compose(context, grant, lifetime)?;
    if composed.token.catalog_root_sha256.is_none() || composed.token.approvals_root_sha256.is_none() {
        return Err(Failure::new(
            "this home trusts no catalog or no approvals yet, so a device could not check either",
        )
        .next("`suturectl hdo join`, or `suturectl approvals init`"));
    }
    let request = v1::CreateDeviceTokenRequest {
        device_id: id.map(String::from).unwrap_or_default(),
        secret_sha256: composed.secret_sha256().into(),
        expires_ms: composed.expires_ms(),
    };
    context.connect().await?.create_device_token(request).await?;
    let (text, expires) = (composed.text()?, format_utc(composed.token.expires));
    context.print.note(&format!(
        "Good for one device, until {expires}: `suture-agent enroll --token-file -` at the device, and paste it there."
    ));
    context.print.result(&json!({ "token": text, "expires": expires }), |_| text.clone())
}

async fn give_back(context: &mut Context<'_>, id: &DeviceId, reason: String) -> Outcome {
    context.home.server()?.hdo()?;
    let request = v1::ReturnDeviceRequest { id: id.to_string(), reason };
    let v1::ReturnDeviceResponse { lease } = context.connect().await?.return_device(request).await?;
    let ended = lease.as_ref().and_then(Down::of);
    context.print.result(&json!({ "device": id, "ended": ended }), |_| match &ended {
        Some(down) => format!("{id} counts as down no more; {}", down.text),
        None => format!("{id} counted as down by no lease; nothing was changed"),
    })
}

async fn revoke(context: &mut Context<'_>, id: DeviceId, reason: String, signing: &Signing) -> Outcome {
    let mut desk = Desk::open_base(context).await?;
    desk.client.revoke_device(v1::RevokeDeviceRequest { id: id.to_string(), reason }).await?;
    if !off_the_roster(context, &mut desk, &id, signing).await? {
        return Ok(());
    }
    context.print.result(&json!({ "revoked": id }), |_| {
        format!("{id} is refused from now on and on no roster; slots that are signed for it end with their approval")
    })
}

async fn decommission(context: &mut Context<'_>, id: DeviceId, reason: String, signing: &Signing) -> Outcome {
    let mut desk = Desk::open_base(context).await?;
    desk.client.decommission_device(v1::DecommissionDeviceRequest { id: id.to_string(), reason }).await?;
    if !off_the_roster(context, &mut desk, &id, signing).await? {
        return Ok(());
    }
    context.print.result(&json!({ "decommissioned": id }), |_| {
        format!("{id} is out of use for good and on no roster; what is known of it stays: suturectl device show {id}")
    })
}

/// Takes a device off the signed roster; false where others must sign that too, which is printed then.
async fn off_the_roster(context: &mut Context<'_>, desk: &mut Desk, id: &DeviceId, signing: &Signing) -> Outcome<bool> {
    if desk.documents.device(id).is_some() {
        let dismissed = desk.publish(context, signing, |edit| {
            edit.dismiss(id);
            Ok(())
        });
        if let Done::Waiting(waiting) = dismissed.await? {
            context
                .print
                .note(&format!("{id} is refused by the server from now on; it leaves the signed roster later"));
            waiting.print(context)?;
            return Ok(false);
        }
    }
    Ok(true)
}
