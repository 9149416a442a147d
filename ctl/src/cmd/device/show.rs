//! Devices as tables: what they have signed, and what the server merely says.

use jiff::Timestamp;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::id::DeviceId;
use suture_core::phase::Reason;
use suture_core::plan::Known;
use suture_proto::v1;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::{Desk, Documents, inventory};
use crate::print::{Table, grouped};

#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    product: String,
    hardware: String,
    ward: String,
    serial: String,
    udi: String,
    state: String,
    on_roster: bool,
    /// Whether the server holds the key that the roster has.
    key_matches_roster: Option<bool>,
    fingerprint: String,
    last_seen: Option<String>,
    version: Option<String>,
    release: Option<u64>,
    /// Whether version and release are by the device's own signature.
    proven: bool,
    phase: Option<String>,
    reason: Option<Reason>,
}

fn shown(device: &v1::Device, documents: &Documents) -> Shown {
    let record = device.record.clone().unwrap_or_default();
    let id: Option<DeviceId> = record.id.parse().ok();
    let roster = id.as_ref().and_then(|id| documents.device(id));
    let report = inventory::proven(device.proven.as_ref(), roster);
    let known: Option<Known> = inventory::known(device, documents);
    let said = device.said.as_ref();
    let running = known.as_ref().and_then(|k| k.running.as_ref());
    let phase = report.as_ref().map(|r| r.phase).or_else(|| said.and_then(|s| suture_proto::parse_phase(s.phase)));
    let reason = match &report {
        Some(report) => report.reason.clone(),
        None => said.and_then(|s| suture_proto::parse_reason(s.reason.as_ref())),
    };
    Shown {
        on_roster: roster.is_some(),
        key_matches_roster: roster.map(|r| r.report_key.as_bytes().as_slice() == device.report_key.as_ref()),
        fingerprint: grouped(&hex::encode(&device.fingerprint)),
        last_seen: (device.last_seen_ms > 0)
            .then(|| Timestamp::from_millisecond(device.last_seen_ms).ok().map(format_utc))
            .flatten(),
        version: running.map(|r| r.version.to_string()),
        release: running.map(|r| r.release.0),
        proven: report.is_some(),
        phase: phase.map(|p| p.to_string()),
        reason,
        state: device.state.clone(),
        id: record.id,
        product: record.product,
        hardware: record.hardware_id,
        ward: record.ward,
        serial: record.serial,
        udi: record.udi,
    }
}

/// `device list`.
pub(super) async fn list(context: &mut Context<'_>, ward: &str, product: &str, state: &str) -> Outcome {
    let mut desk = Desk::open(context).await?;
    let devices = inventory::devices(&mut desk.client, ward, product, state).await?;
    let rows: Vec<Shown> = devices.iter().map(|d| shown(d, &desk.documents)).collect();
    context.print.result(&rows, |rows| {
        let mut table =
            Table::new(["device", "product", "hardware", "ward", "state", "runs", "by", "phase", "last seen"]);
        for r in rows {
            table.row([
                r.id.clone(),
                r.product.clone(),
                r.hardware.clone(),
                r.ward.clone(),
                if r.on_roster || r.state != "active" { r.state.clone() } else { "active, on no roster".to_owned() },
                r.version.clone().unwrap_or_else(|| "-".to_owned()),
                by(r).to_owned(),
                r.phase.clone().unwrap_or_else(|| "-".to_owned()),
                r.last_seen.clone().unwrap_or_else(|| "never".to_owned()),
            ]);
        }
        table.to_text()
    })
}

fn by(shown: &Shown) -> &'static str {
    match (&shown.version, shown.proven) {
        (None, _) => "",
        (Some(_), true) => "signed",
        (Some(_), false) => "server",
    }
}

/// `device show`.
pub(super) async fn one(context: &mut Context<'_>, id: &DeviceId) -> Outcome {
    let mut desk = Desk::open(context).await?;
    let request = v1::GetDeviceRequest { id: id.to_string() };
    let device = desk.client.get_device(request).await?.device;
    let device = device.ok_or_else(|| Failure::new(format!("the server tells nothing of {id}")))?;
    context.print.result(&shown(&device, &desk.documents), text)
}

fn text(s: &Shown) -> String {
    let mark = if s.proven { "proven by the device's signature" } else { "as the server says" };
    let roster = match (s.on_roster, s.key_matches_roster) {
        (false, _) => "no: only `device confirm` puts it there",
        (true, Some(false)) => "yes, but the server holds another report key: ALARM",
        (true, _) => "yes",
    };
    let unknown = || "unknown".to_owned();
    let mut text = format!("device {}\n", s.id);
    let reason = s.reason.as_ref().map(ToString::to_string);
    let rows = [
        ("product", format!("{} {}", s.product, s.hardware)),
        ("ward", s.ward.clone()),
        ("serial", s.serial.clone()),
        ("udi", s.udi.clone()),
        ("state", format!("{} (as the server says)", s.state)),
        ("on roster", roster.to_owned()),
        (
            "runs",
            s.version.as_ref().map_or_else(unknown, |v| format!("{v}, release {} ({mark})", s.release.unwrap_or(0))),
        ),
        ("phase", s.phase.as_ref().map_or_else(unknown, |p| format!("{p} ({mark})"))),
        ("reason", reason.unwrap_or_default()),
        ("last seen", s.last_seen.as_ref().map_or_else(|| "never".to_owned(), |t| format!("{t} (as the server says)"))),
        ("keys", s.fingerprint.clone()),
    ];
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("  {name:<10} {value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_signature_proves_is_marked_as_the_servers_word() {
        let device = v1::Device {
            record: Some(v1::DeviceRecord { id: "pump-1".to_owned(), ..Default::default() }),
            state: "active".to_owned(),
            said: Some(v1::CheckInRequest {
                running_version: "1.0.0".to_owned(),
                running_release: 1,
                running_manifest_sha256: vec![7; 32].into(),
                ..Default::default()
            }),
            // Signed by nobody whom a roster knows.
            proven: Some(v1::SignedReport { payload: b"{}".to_vec().into(), signature: vec![0; 64].into() }),
            ..Default::default()
        };
        let shown = shown(&device, &Documents::default());
        assert_eq!((shown.version.as_deref(), shown.proven, shown.on_roster), (Some("1.0.0"), false, false));
        assert!(text(&shown).contains("1.0.0, release 1 (as the server says)"));
        assert_eq!(by(&shown), "server");
    }
}
