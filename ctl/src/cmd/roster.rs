//! `suturectl roster`: the devices that the hospital has signed for, and many more by one signature.

mod update;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;
use suture_core::approval::RosterDevice;
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, WardId};
use suture_core::limits::MAX_IMPORT_DEVICES;
use suture_proto::v1;

use super::device::confirm::{Words, entry, fingerprint, warn};
use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files;
use crate::hospital::{Desk, refused};
use crate::print::{Table, count};
use crate::repository::{Done, Signing};

/// A list of 10,000 devices is far below.
const MAX_CSV_BYTES: u64 = 16 << 20;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The devices on the signed rosters, each with the key that its reports are verified by
    #[command(after_help = "Example: suturectl roster show --ward icu")]
    Show {
        /// Of this ward
        #[arg(long)]
        ward: Option<WardId>,
    },
    /// Confirm many devices at once, by one signature: `device confirm` for a list of fingerprints read at the devices
    #[command(after_help = "Example: suturectl roster sign --csv seen.csv --list devices.csv")]
    Sign {
        /// CSV whose first line is `id,fingerprint`
        #[arg(long, value_name = "FILE")]
        csv: PathBuf,
        /// Where the rest of what is signed comes from.
        #[command(flatten)]
        words: Words,
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
    /// Sign anew what the hospital's own list says of confirmed devices: ward, labels, product, hardware. Their keys stay
    #[command(after_help = "Example: suturectl roster update --csv devices.csv --dry-run")]
    Update {
        /// The CSV that `device import` reads; devices that it does not name stay as they are
        #[arg(long, value_name = "FILE")]
        csv: PathBuf,
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
}

#[derive(Serialize)]
struct Shown {
    approvals_version: u64,
    devices: Vec<RosterDevice>,
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Show { ward } => show(context, ward.as_ref()).await,
        Command::Update { csv, dry_run, signing } => update::run(context, &csv, dry_run, &signing).await,
        Command::Sign { csv, words, signing } => sign(context, csv, &words, &signing).await,
    }
}

async fn show(context: &mut Context<'_>, ward: Option<&WardId>) -> Outcome {
    let desk = Desk::open_base(context).await?;
    let listed = desk.documents.rosters.iter().flat_map(|(_, r)| &r.devices);
    let mut devices: Vec<_> = listed.filter(|d| ward.is_none_or(|w| *w == d.ward)).cloned().collect();
    devices.sort_by(|a, b| a.id.cmp(&b.id));
    let shown = Shown { approvals_version: desk.approvals.targets_metadata().version(), devices };
    context.print.result(&shown, |s| {
        let mut table = Table::new(["device", "product", "hardware", "ward", "labels", "report key"]);
        for d in &s.devices {
            let row = [d.id.to_string(), d.product.to_string(), d.hardware.to_string(), d.ward.to_string()];
            let [id, product, hardware, ward] = row;
            table.row([id, product, hardware, ward, d.labels.to_string(), d.report_key.to_string()]);
        }
        format!(
            "{}\n{}, by version {} of the approvals\n",
            table.to_text(),
            count(s.devices.len(), "device"),
            s.approvals_version
        )
    })
}

async fn sign(context: &mut Context<'_>, csv: PathBuf, words: &Words, signing: &Signing) -> Outcome {
    let typed = read(&files::need(&csv, MAX_CSV_BYTES)?)?;
    let list = words.read()?;
    let mut desk = Desk::open_base(context).await?;
    // Every device is looked at before anything is done: one wrong fingerprint, and nothing is.
    let (mut entries, mut pending) = (Vec::new(), Vec::new());
    for (id, typed) in typed {
        let device = desk.client.get_device(v1::GetDeviceRequest { id: id.to_string() }).await?;
        let device = device.device.unwrap_or_default();
        entries.push(entry(&id, &device, &typed, &desk.documents, list.as_ref())?);
        if device.state == "pending" {
            let fingerprint = typed.as_bytes().to_vec().into();
            pending.push(v1::ConfirmDeviceRequest { id: id.to_string(), fingerprint });
        }
    }
    let unseen: Vec<_> = entries.iter().filter(|e| e.unseen).map(|e| &e.device).collect();
    words.agree(context, &unseen)?;
    warn(context, &entries);
    let mut entries: Vec<_> = entries.into_iter().map(|e| e.device).collect();
    for request in pending {
        desk.client.confirm_device(request).await?;
    }
    entries.retain(|entry| desk.documents.device(&entry.id) != Some(entry));
    let admitted: Vec<DeviceId> = entries.iter().map(|entry| entry.id.clone()).collect();
    if !admitted.is_empty() {
        let admit = |edit: &mut crate::hospital::Edit<'_>| {
            entries.into_iter().try_for_each(|entry| edit.admit(entry).map_err(refused))
        };
        if let Done::Waiting(waiting) = desk.publish(context, signing, admit).await? {
            return waiting.print(context);
        }
    }
    context.print.result(&json!({ "admitted": admitted }), |_| match admitted.len() {
        0 => "every device of the list is on the signed rosters already; nothing was changed".to_owned(),
        1 => "1 device is confirmed and newly on the signed rosters".to_owned(),
        n => format!("{n} devices are confirmed and newly on the signed rosters"),
    })
}

/// Reads the list; every line is checked before the server is asked anything.
fn read(bytes: &[u8]) -> Outcome<BTreeMap<DeviceId, Digest>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let headers = reader.headers().or_fail(|| "the first line cannot be read".to_owned())?;
    if headers.iter().ne(["id", "fingerprint"]) {
        return Err(Failure::new("line 1 is not `id,fingerprint`"));
    }
    let mut read = BTreeMap::new();
    for row in reader.records() {
        let row = row.or_fail(|| "the file cannot be read".to_owned())?;
        let line = row.position().map_or(0, csv::Position::line);
        let cell = |i: usize| row.get(i).unwrap_or_default();
        let id: DeviceId = cell(0).parse().or_fail(|| format!("line {line}: {:?} is no device id", cell(0)))?;
        let typed = fingerprint(cell(1)).map_err(|e| Failure::new(format!("line {line}, {id}: {}", e.message)))?;
        if read.insert(id.clone(), typed).is_some() {
            return Err(Failure::new(format!("line {line}: device {id} stands in the list twice")));
        }
        if read.len() > MAX_IMPORT_DEVICES {
            return Err(Failure::new(format!("more than {MAX_IMPORT_DEVICES} devices; split the file")));
        }
    }
    if read.is_empty() { Err(Failure::new("the file lists no device")) } else { Ok(read) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_line_is_named_and_nothing_is_confirmed() {
        let sum = "ab".repeat(32);
        let good = read(format!("id,fingerprint\npump-1,{sum}\npump-2, {sum} \n").as_bytes()).unwrap();
        assert_eq!(good.len(), 2);
        for (text, named) in [
            (format!("fingerprint,id\n{sum},pump-1\n"), "line 1"),
            (format!("id,fingerprint\nPump 1,{sum}\n"), "line 2: \"Pump 1\""),
            ("id,fingerprint\npump-1,abcd\n".to_owned(), "line 2, pump-1: that is no fingerprint"),
            (format!("id,fingerprint\npump-1,{sum}\npump-1,{sum}\n"), "line 3: device pump-1"),
            ("id,fingerprint\n".to_owned(), "no device"),
        ] {
            let failure = read(text.as_bytes()).unwrap_err().to_text();
            assert!(failure.contains(named), "{failure}");
        }
    }
}
