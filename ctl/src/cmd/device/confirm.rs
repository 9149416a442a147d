//! `device confirm`, and what of a device is signed.
//!
//! Attack: a server, or a thief of an operator's certificate by an import, that tells of another ward or of other labels, and so puts
//! a device out of its ward's cap and into another plan. The fingerprint that a person reads at the device covers its keys alone. So
//! the rest is what is signed of it already, or what the hospital's own list says, or what a person has been shown and has agreed to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use suture_core::approval::RosterDevice;
use suture_core::digest::Digest;
use suture_core::id::DeviceId;
use suture_core::report;
use suture_core::sign::PublicKey;
use suture_proto::{parse, v1};

use super::import;
use crate::agree::agree;
use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files;
use crate::hospital::{Desk, Documents, refused};
use crate::print::{Table, grouped};
use crate::repository::{Done, Signing};

/// Arguments of `device confirm`.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfirmArgs {
    /// The device
    id: DeviceId,
    /// What `suture-agent enroll` showed at the device; white space and colons are ignored
    #[arg(long)]
    fingerprint: String,
    /// Where the rest of what is signed comes from.
    #[command(flatten)]
    words: Words,
    /// With what it is signed.
    #[command(flatten)]
    signing: Signing,
}

/// Where what is signed of devices beside their keys comes from. What is signed of one already stays, where no list is given.
#[derive(Debug, Clone, clap::Args)]
pub struct Words {
    /// The hospital's own list, which `device import` reads: what is signed of a device is what stands there, whatever the server says
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Without a list: sign what the server says of ward, labels, product and hardware without asking; it is shown all the same
    #[arg(long, conflicts_with = "list")]
    yes: bool,
}

/// The hospital's own list.
type List = BTreeMap<String, v1::DeviceRecord>;

impl Words {
    /// Reads the list, where there is one.
    pub(in crate::cmd) fn read(&self) -> Outcome<Option<List>> {
        let Some(path) = &self.list else { return Ok(None) };
        let records = import::read(&files::need(path, super::MAX_CSV_BYTES)?)?;
        Ok(Some(records.into_iter().map(|record| (record.id.clone(), record)).collect()))
    }

    /// Shows what the server alone has said of devices that are to be signed, and asks whether it is so.
    pub(in crate::cmd) fn agree(&self, context: &mut Context<'_>, unseen: &[&RosterDevice]) -> Outcome {
        if unseen.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(["device", "product", "hardware", "ward", "labels"]);
        for d in unseen {
            let [id, product, hardware] = [d.id.to_string(), d.product.to_string(), d.hardware.to_string()];
            table.row([id, product, hardware, d.ward.to_string(), d.labels.to_string()]);
        }
        context.print.note(&format!("to be signed, by what the server says:\n{}", table.to_text().trim_end()));
        let next = "--list with the hospital's own list; or read what the server says, above, and add --yes";
        agree(context, "Is that so of the devices, and to be signed?", self.yes, next)
    }
}

/// What is to stand on the roster.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cmd) struct Entry {
    pub(in crate::cmd) device: RosterDevice,
    /// Whether beside the key it is merely what the server says.
    pub(in crate::cmd) unseen: bool,
    /// Whether the server says something else.
    pub(in crate::cmd) differs: bool,
}

/// Says of which devices the server tells something else than what is signed.
pub(in crate::cmd) fn warn(context: &mut Context<'_>, entries: &[Entry]) {
    let others: Vec<_> = entries.iter().filter(|e| e.differs).map(|e| e.device.id.as_str()).collect();
    if let Some(first) = others.first() {
        let more = if others.len() > 1 { format!(" and {} more", others.len() - 1) } else { String::new() };
        context.print.note(&format!(
            "note: the server says otherwise of {first}{more}; what is signed is the hospital's own word, and `device import` \
             tells it to the server"
        ));
    }
}

/// Runs it.
pub(super) async fn run(
    context: &mut Context<'_>,
    ConfirmArgs { id, fingerprint: typed, words, signing }: ConfirmArgs,
) -> Outcome {
    let typed = fingerprint(&typed)?;
    let list = words.read()?;
    let mut desk = Desk::open_base(context).await?;
    let request = v1::GetDeviceRequest { id: id.to_string() };
    let device = desk.client.get_device(request).await?.device.unwrap_or_default();
    let entry = entry(&id, &device, &typed, &desk.documents, list.as_ref())?;
    words.agree(context, entry.unseen.then_some(&entry.device).as_slice())?;
    warn(context, std::slice::from_ref(&entry));
    let entry = entry.device;
    let confirm = v1::ConfirmDeviceRequest { id: id.to_string(), fingerprint: typed.as_bytes().to_vec().into() };
    if device.state == "pending" {
        desk.client.confirm_device(confirm).await?;
    }
    if desk.documents.device(&id) != Some(&entry)
        && let Done::Waiting(waiting) =
            desk.publish(context, &signing, |edit| edit.admit(entry.clone()).map_err(refused)).await?
    {
        return waiting.print(context);
    }
    context.print.result(&entry, |e| {
        format!("{} is confirmed and on the signed roster: {} {} in ward {}", e.id, e.product, e.hardware, e.ward)
    })
}

/// The roster's entry of a device that enrolled with just the keys whose fingerprint a person has read at the device.
pub(in crate::cmd) fn entry(
    id: &DeviceId,
    device: &v1::Device,
    typed: &Digest,
    documents: &Documents,
    list: Option<&List>,
) -> Outcome<Entry> {
    let said = device.record.clone().unwrap_or_default();
    if said.id != id.as_str() {
        return Err(Failure::untrusted(format!("the server was asked for {id} and tells of {:?}", said.id)));
    }
    let report_key = report_key(id, device, typed)?;
    let of = |record: &v1::DeviceRecord| -> Outcome<RosterDevice> {
        Ok(RosterDevice {
            id: id.clone(),
            report_key,
            product: parse("product", &record.product)?,
            hardware: parse("hardware_id", &record.hardware_id)?,
            ward: parse("ward", &record.ward)?,
            labels: parse("labels", &record.labels.join(" "))?,
        })
    };
    let device = match (list, documents.device(id)) {
        (Some(list), _) => of(list.get(id.as_str()).ok_or_else(|| {
            Failure::new(format!("the list does not name {id}"))
                .next("add it to the list, and `suturectl device import`")
        })?)?,
        (None, Some(signed)) => RosterDevice { report_key, ..signed.clone() },
        (None, None) => return Ok(Entry { device: of(&said)?, unseen: true, differs: false }),
    };
    let differs = of(&said).ok().as_ref() != Some(&device);
    Ok(Entry { device, unseen: false, differs })
}

/// The key of a device's reports, once the fingerprint proves that it is the device's own.
fn report_key(id: &DeviceId, device: &v1::Device, typed: &Digest) -> Outcome<PublicKey> {
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
    Ok(report_key)
}

/// Reads a fingerprint as people type it.
pub(in crate::cmd) fn fingerprint(text: &str) -> Outcome<Digest> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != ':' && *c != '-').collect();
    digits
        .to_ascii_lowercase()
        .parse()
        .or_fail(|| "that is no fingerprint: it has 64 hexadecimal digits, in groups of four".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::approval::{Part, Pinned, Roster};
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
        let entry =
            |id: &DeviceId, device: &v1::Device, typed: &Digest| entry(id, device, typed, &Documents::default(), None);
        let Entry { device: on, unseen, .. } = entry(&id, &device("pending", seen, its), &seen).unwrap();
        assert!(unseen);
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
    fn the_ward_and_the_labels_are_the_hospitals_own_word_and_never_the_servers_alone() {
        let id: DeviceId = "pump-1".parse().unwrap();
        let its = keys(b"tls", 4);
        let seen = report::fingerprint(&its.0, &its.1);
        let mut told = device("active", seen, its);
        let new = entry(&id, &told, &seen, &Documents::default(), None).unwrap();
        let before = RosterDevice { report_key: keys(b"tls", 5).1, ..new.device.clone() };
        let roster = Roster::new("riverside".parse().unwrap(), Part::ALL, vec![before]);
        let documents = Documents { rosters: vec![(Pinned::of("r".to_owned(), b"r"), roster)], ..Documents::default() };
        let record = told.record.as_mut().unwrap();
        (record.ward, record.labels) = ("er".to_owned(), Vec::new());

        // On the roster already: another key, and what was signed of it.
        let again = entry(&id, &told, &seen, &documents, None).unwrap();
        assert_eq!(again, Entry { device: new.device.clone(), unseen: false, differs: true });
        // The hospital's list, which may move a device too.
        let list = import::read(b"id,product,hardware,ward,labels\npump-1,pump,rev-a,icu,area=icu\n").unwrap();
        let list: List = list.into_iter().map(|record| (record.id.clone(), record)).collect();
        let listed = entry(&id, &told, &seen, &Documents::default(), Some(&list)).unwrap();
        assert_eq!(listed, again);
        let failure = entry(&id, &told, &seen, &documents, Some(&List::new())).unwrap_err().to_text();
        assert!(failure.contains("does not name pump-1"), "{failure}");
        // The server alone: a person must have seen it.
        let unseen = entry(&id, &told, &seen, &Documents::default(), None).unwrap();
        assert!(unseen.unseen && unseen.device.ward.as_str() == "er");
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
