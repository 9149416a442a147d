//! `roster update`: signs anew what the hospital's own list says of confirmed devices: ward, labels, product, hardware.
//!
//! Attack: a server that moves a device into another ward, or gives it another label, and so into another plan. The list is
//! therefore read here, from the hospital's file, and never from the server; and the keys stay those that are signed.

use std::path::Path;

use serde::Serialize;
use suture_core::approval::RosterDevice;
use suture_core::id::DeviceId;
use suture_proto::{Invalid, parse, v1};

use crate::cmd::device::import;
use crate::context::Context;
use crate::failure::Outcome;
use crate::files;
use crate::hospital::{Desk, Documents, refused};
use crate::print::{Table, counted};
use crate::repository::{Done, Signing};

/// What becomes of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Change {
    device: DeviceId,
    field: &'static str,
    before: String,
    after: String,
}

#[derive(Serialize)]
struct Updated {
    changes: Vec<Change>,
    devices: usize,
    /// Devices of the list that are on no roster: `device confirm` puts them there.
    not_on_a_roster: usize,
    signed: bool,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, csv: &Path, dry_run: bool, signing: &Signing) -> Outcome {
    let records = import::read(&files::need(csv, super::MAX_CSV_BYTES)?)?;
    let mut desk = Desk::open_base(context).await?;
    let (entries, changes, not_on_a_roster) = compare(&records, &desk.documents)?;
    let devices = entries.len();
    if devices > 0 && !dry_run {
        let admit = |edit: &mut crate::hospital::Edit<'_>| {
            entries.into_iter().try_for_each(|entry| edit.admit(entry).map_err(refused))
        };
        if let Done::Waiting(waiting) = desk.publish(context, signing, admit).await? {
            return waiting.print(context);
        }
    }
    if devices > 0 {
        context.print.note("slots that are signed stay as they are; plans from now on go by the new words");
    }
    let updated = Updated { changes, devices, not_on_a_roster, signed: devices > 0 && !dry_run };
    context.print.result(&updated, text)
}

fn text(updated: &Updated) -> String {
    let mut table = Table::new(["device", "", "before", "after"]);
    for Change { device, field, before, after } in &updated.changes {
        table.row([device.to_string(), (*field).to_owned(), before.clone(), after.clone()]);
    }
    let [one, others] = match updated.signed {
        true => ["is signed anew", "are signed anew"],
        false => ["differs; nothing is signed", "differ; nothing is signed"],
    };
    let mut text = if updated.changes.is_empty() { String::new() } else { format!("{}\n", table.to_text()) };
    text.push_str(&counted(updated.devices, "device", one, others));
    if updated.not_on_a_roster > 0 {
        let n = updated.not_on_a_roster;
        text.push_str(&format!(
            "\n{n} of the list are on no roster: `device confirm` or `roster sign` puts them there"
        ));
    }
    text
}

/// The entries that the list changes, what it changes of them, and how many of its devices are on no roster.
fn compare(records: &[v1::DeviceRecord], documents: &Documents) -> Outcome<(Vec<RosterDevice>, Vec<Change>, usize)> {
    let (mut entries, mut changes, mut beside) = (Vec::new(), Vec::new(), 0);
    for record in records {
        let id: DeviceId = parse("id", &record.id)?;
        let Some(signed) = documents.device(&id) else {
            beside += 1;
            continue;
        };
        let entry = entry(record, signed)?;
        let fields = [
            ("product", signed.product.to_string(), entry.product.to_string()),
            ("hardware", signed.hardware.to_string(), entry.hardware.to_string()),
            ("ward", signed.ward.to_string(), entry.ward.to_string()),
            ("labels", signed.labels.to_string(), entry.labels.to_string()),
        ];
        if entry != *signed {
            let changed = fields.into_iter().filter(|(_, before, after)| before != after);
            changes.extend(changed.map(|(field, before, after)| Change { device: id.clone(), field, before, after }));
            entries.push(entry);
        }
    }
    Ok((entries, changes, beside))
}

fn entry(record: &v1::DeviceRecord, signed: &RosterDevice) -> Result<RosterDevice, Invalid> {
    Ok(RosterDevice {
        id: signed.id.clone(),
        report_key: signed.report_key,
        product: parse("product", &record.product)?,
        hardware: parse("hardware", &record.hardware_id)?,
        ward: parse("ward", &record.ward)?,
        labels: parse("labels", &record.labels.join(" "))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::approval::{Part, Pinned, Roster};
    use suture_core::sign::{LocalKey, Signer as _};

    #[test]
    fn the_hospitals_list_changes_what_is_said_of_a_device_and_never_its_key() {
        let report_key = LocalKey::from_seed(&zeroize::Zeroizing::new([9; 32])).public();
        let device = |id: &str, ward: &str, labels: &str| RosterDevice {
            id: id.parse().unwrap(),
            report_key,
            product: "pump".parse().unwrap(),
            hardware: "rev-a".parse().unwrap(),
            ward: ward.parse().unwrap(),
            labels: labels.parse().unwrap(),
        };
        let devices = vec![device("p1", "icu", ""), device("p2", "icu", "kind=mobile"), device("p4", "icu", "")];
        let roster = Roster::new("riverside".parse().unwrap(), Part::ALL, devices);
        let documents = Documents { rosters: vec![(Pinned::of("r".to_owned(), b"r"), roster)], ..Documents::default() };
        let csv = "id,product,hardware,ward,labels\np1,pump,rev-a,icu,area=icu\np2,pump,rev-a,er,kind=mobile\n\
                   p3,pump,rev-a,er,\n";
        let records = import::read(csv.as_bytes()).unwrap();
        let (entries, changes, beside) = compare(&records, &documents).unwrap();
        // p3 is not confirmed, and what the list leaves out stays as it is.
        assert_eq!((entries, beside), (vec![device("p1", "icu", "area=icu"), device("p2", "er", "kind=mobile")], 1));
        let told = changes.iter().map(|c| (c.device.as_str(), c.field, c.before.as_str(), c.after.as_str()));
        let told: Vec<_> = told.collect();
        assert_eq!(told, [("p1", "labels", "", "area=icu"), ("p2", "ward", "icu", "er")]);
    }
}
