//! `suturectl device`: the hospital's devices, from the inventory list to the signed roster.

pub(super) mod import;
mod lost;
mod release;
mod show;
mod why;

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use suture_core::approval::RosterDevice;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, ProductId, WardId};
use suture_core::label::Label;
use suture_core::report;
use suture_core::sign::PublicKey;
use suture_core::token::Grant;
use suture_proto::{parse, v1};

use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files;
use crate::hospital::leases::Down;
use crate::hospital::{Desk, refused};
use crate::print::grouped;
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
    #[command(after_help = "Example: suturectl device confirm pump-1 --fingerprint \"3f0a 91c2 5d77\"")]
    Confirm {
        /// The device
        id: DeviceId,
        /// What `suture-agent enroll` showed at the device; white space and colons are ignored
        #[arg(long)]
        fingerprint: String,
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
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
        Command::Confirm { id, fingerprint, signing } => confirm(context, id, &fingerprint, &signing).await,
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
    let bytes =
        files::read(&csv, MAX_CSV_BYTES)?.ok_or_else(|| Failure::new(format!("there is no file {}", csv.display())))?;
    let devices = import::read(&bytes)?;
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

async fn confirm(context: &mut Context<'_>, id: DeviceId, typed: &str, signing: &Signing) -> Outcome {
    let typed = fingerprint(typed)?;
    let mut desk = Desk::open_base(context).await?;
    let request = v1::GetDeviceRequest { id: id.to_string() };
    let device = desk.client.get_device(request).await?.device.unwrap_or_default();
    let entry = entry(&id, &device, &typed)?;
    let confirm = v1::ConfirmDeviceRequest { id: id.to_string(), fingerprint: typed.as_bytes().to_vec().into() };
    if device.state == "pending" {
        desk.client.confirm_device(confirm).await?;
    }
    if desk.documents.device(&id) != Some(&entry)
        && let Done::Waiting(waiting) =
            desk.publish(context, signing, |edit| edit.admit(entry.clone()).map_err(refused)).await?
    {
        return waiting.print(context);
    }
    context.print.result(&entry, |e| {
        format!("{} is confirmed and on the signed roster: {} {} in ward {}", e.id, e.product, e.hardware, e.ward)
    })
}

/// The roster's entry of a device that enrolled with just the keys whose fingerprint a person has read at the device.
pub(super) fn entry(id: &DeviceId, device: &v1::Device, typed: &Digest) -> Outcome<RosterDevice> {
    let record = device.record.clone().unwrap_or_default();
    if record.id != id.as_str() {
        return Err(Failure::untrusted(format!("the server was asked for {id} and tells of {:?}", record.id)));
    }
    if !matches!(device.state.as_str(), "pending" | "active") {
        return Err(Failure::new(format!("{id} is {}, not pending: it has not enrolled", device.state))
            .next(format!("`suturectl device token {id}`, then `suture-agent enroll` at the device")));
    }
    if device.fingerprint.as_ref() != typed.as_bytes() {
        return Err(Failure::untrusted(format!(
            "the server holds other keys for {id} than the device showed: {} there, {} typed",
            grouped(&hex::encode(&device.fingerprint)),
            grouped(&typed.to_string())
        ))
        .next("read it again at the device; if it stays different, do not confirm: somebody else may have enrolled"));
    }
    let report_key =
        PublicKey::from_bytes(&device.report_key).or_fail(|| format!("the server has no usable report key of {id}"))?;
    // Attack: a server that shows the fingerprint that was typed, and beside it a report key of its own.
    let tls_key = Digest::try_from(device.tls_key_sha256.as_ref());
    if !tls_key.is_ok_and(|tls_key| report::fingerprint(&tls_key, &report_key) == *typed) {
        return Err(Failure::untrusted(format!(
            "the keys that the server gives for {id} do not make up the fingerprint that the device showed"
        ))
        .next("do not confirm; the server, or what lies between, has put another key in"));
    }
    Ok(RosterDevice {
        id: id.clone(),
        report_key,
        product: parse("product", &record.product)?,
        hardware: parse("hardware_id", &record.hardware_id)?,
        ward: parse("ward", &record.ward)?,
        labels: parse("labels", &record.labels.join(" "))?,
    })
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

/// Reads a fingerprint as people type it.
pub(crate) fn fingerprint(text: &str) -> Outcome<Digest> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != ':' && *c != '-').collect();
    digits
        .to_ascii_lowercase()
        .parse()
        .or_fail(|| "that is no fingerprint: it has 64 hexadecimal digits, in groups of four".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::sign::{LocalKey, Signer as _};

    fn keys(tls: &[u8], report: u8) -> (Digest, PublicKey) {
        (Digest::of(tls), LocalKey::from_seed(&zeroize::Zeroizing::new([report; 32])).public())
    }

    fn device(state: &str, fingerprint: Digest, (tls, report): (Digest, PublicKey)) -> v1::Device {
        v1::Device {
            record: Some(v1::DeviceRecord {
                id: "pump-1".to_owned(),
                product: "pump".to_owned(),
                hardware_id: "rev-a".to_owned(),
                ward: "icu".to_owned(),
                labels: vec!["area=icu".to_owned()],
                ..Default::default()
            }),
            state: state.to_owned(),
            fingerprint: fingerprint.as_bytes().to_vec().into(),
            report_key: report.as_bytes().to_vec().into(),
            tls_key_sha256: tls.as_bytes().to_vec().into(),
            ..Default::default()
        }
    }

    #[test]
    fn only_the_keys_that_a_person_has_seen_get_on_the_roster() {
        let id: DeviceId = "pump-1".parse().unwrap();
        let (its, others) = (keys(b"tls", 4), keys(b"tls", 5));
        let (seen, other) = (report::fingerprint(&its.0, &its.1), report::fingerprint(&others.0, &others.1));
        let on = entry(&id, &device("pending", seen, its), &seen).unwrap();
        assert_eq!((on.ward.as_str(), on.hardware.as_str(), on.report_key), ("icu", "rev-a", its.1));
        assert_eq!(on.labels.to_string(), "area=icu");
        let swapped = entry(&id, &device("pending", other, others), &seen).unwrap_err().to_text();
        assert!(swapped.contains("other keys") && swapped.contains("do not confirm"), "{swapped}");
        // The fingerprint is the right one, the key beside it is the server's.
        let slipped_in = entry(&id, &device("pending", seen, others), &seen).unwrap_err().to_text();
        assert!(slipped_in.contains("do not make up"), "{slipped_in}");
        assert!(entry(&id, &device("imported", seen, its), &seen).unwrap_err().to_text().contains("not enrolled"));
        assert!(entry(&"pump-2".parse().unwrap(), &device("pending", seen, its), &seen).is_err());
    }

    #[test]
    fn a_fingerprint_is_read_as_it_was_written_down() {
        let digest = Digest::of(b"keys");
        let groups = grouped(&digest.to_string());
        for text in [groups.clone(), groups.to_uppercase(), groups.replace(' ', ":"), digest.to_string()] {
            assert_eq!(fingerprint(&text).unwrap(), digest);
        }
        assert!(fingerprint(&groups[1..]).is_err());
    }
}
