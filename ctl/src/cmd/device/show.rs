//! Devices as tables: what they have signed, and what the server merely says.

use jiff::Timestamp;
use serde::Serialize;
use suture_core::approval::RosterDevice;
use suture_core::clock::{day_of, format_utc};
use suture_core::id::{DeviceId, HdoId};
use suture_core::label::{LabelSelector, Labels};
use suture_core::legible::indented;
use suture_core::life::Standing;
use suture_core::phase::Reason;
use suture_core::plan::{Installs, Known};
use suture_core::progress::Progress;
use suture_core::report::{Integrity, Seen};
use suture_proto::{head_seen, progress, v1};

use super::lost::Silence;
use crate::alarm::{self, Alarm, Sighted};
use crate::cmd::life::{DeviceLife, device_life, lives, uncovered};
use crate::context::Context;
use crate::exposure::{self, Open};
use crate::failure::{Failure, Outcome};
use crate::hospital::leases::Down;
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
    /// By the signed roster, where that has the device; else by the server's word.
    labels: Labels,
    /// Whether the inventory says otherwise of product, hardware, ward or labels than the signed roster does.
    differs_from_roster: bool,
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
    /// What installs on it, and the data that lie on it: what it said at its last check-in.
    installs: Option<Installs>,
    phase: Option<String>,
    reason: Option<Reason>,
    /// How far the bundle has come that it fetches or has fetched, and where from.
    fetched: Option<Progress>,
    /// Whether that is by the device's own signature; otherwise it is what it said at its last check-in.
    fetched_proven: bool,
    /// The lease by which it counts as down in its ward, by the server's word.
    lease: Option<Down>,
    /// Its last report, where the roster's key has signed it.
    report: Option<Reported>,
    /// Whether what it runs lies on its disk as it was signed, by its last report.
    integrity: Option<Integrity>,
    /// The metadata that it has signed it verified: at its last check-in, and in its last report.
    seen: Vec<Sighted>,
    /// What it said of that at its last check-in, by the server's word.
    said: Sighted,
    /// What the device holds against the server's audit record, by its last signed report.
    record_doubt: Option<String>,
    /// How far its own log reached then: `suture-agent log --verify --signed` compares it.
    log: Option<String>,
    /// Where that is not what is known here.
    alarms: Vec<Alarm>,
    /// What is open in what it runs, by the documents that the catalog pins; none where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<Open>,
    /// In which stage what it runs is; null in lists, and where the manufacturer has said nothing.
    life: Option<DeviceLife>,
    /// Why it is out of use for good, by whom and since when; null in lists, and where it is not.
    decommissioned: Option<OutOfUse>,
}

/// That a device was taken out of use, by the server's record.
#[derive(Debug, Serialize)]
struct OutOfUse {
    reason: String,
    by: String,
    at: Option<String>,
}

/// What of a report is proven beside what runs and how far it got.
#[derive(Debug, Serialize)]
struct Reported {
    /// Counts up by one.
    number: u64,
    /// By the device's clock.
    at: String,
}

/// How far a bundle has come; none where the device attempts none.
pub(super) fn fetched(said: &v1::CheckInRequest) -> Option<Progress> {
    let progress = progress(said.fetched_bytes, said.total_bytes, said.transfer.as_ref());
    (progress.total_bytes > 0).then_some(progress)
}

fn shown(hdo: &HdoId, device: &v1::Device, documents: &Documents, alarms: &[Alarm]) -> Shown {
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
    let sources = report.as_ref().and_then(|r| r.sources);
    let told = |seen: Option<&v1::MetadataSeen>| seen.and_then(|s| Seen::try_from(s).ok());
    Shown {
        open: None,
        report: report.as_ref().map(|r| Reported { number: r.number, at: format_utc(r.at) }),
        integrity: report.as_ref().and_then(|r| r.integrity.clone()),
        record_doubt: report.as_ref().and_then(|r| r.record.as_ref()?.doubt.clone()),
        log: report.as_ref().and_then(|r| r.log.map(|head| head.to_string())),
        seen: alarm::sighted(hdo, device, documents),
        said: Sighted {
            catalog: told(said.and_then(|s| s.catalog.as_ref())),
            approvals: told(said.and_then(|s| s.approvals.as_ref())),
            audit: said.and_then(|s| s.audit.as_ref()).and_then(|seen| head_seen(seen).ok().flatten()),
            doubt: None,
        },
        alarms: alarms.iter().filter(|a| a.device.as_ref() == Some(&record.id)).cloned().collect(),
        life: None,
        decommissioned: None,
        on_roster: roster.is_some(),
        key_matches_roster: roster.map(|r| r.report_key.as_bytes().as_slice() == device.report_key.as_ref()),
        fingerprint: grouped(&hex::encode(&device.fingerprint)),
        last_seen: (device.last_seen_ms > 0)
            .then(|| Timestamp::from_millisecond(device.last_seen_ms).ok().map(format_utc))
            .flatten(),
        version: running.map(|r| r.version.to_string()),
        release: running.map(|r| r.release.0),
        proven: report.is_some(),
        installs: known.as_ref().and_then(|k| k.installs),
        phase: phase.map(|p| p.to_string()),
        reason,
        fetched: sources.map(Progress::from).or_else(|| said.and_then(fetched)),
        fetched_proven: sources.is_some(),
        lease: device.lease.as_ref().and_then(Down::of),
        state: device.state.clone(),
        differs_from_roster: roster.is_some_and(|r| differs(&record, r)),
        labels: roster.map_or_else(|| record.labels.join(" ").parse().unwrap_or_default(), |r| r.labels.clone()),
        id: record.id,
        product: record.product,
        hardware: record.hardware_id,
        ward: record.ward,
        serial: record.serial,
        udi: record.udi,
    }
}

/// Whether what the inventory says is not what is signed.
fn differs(record: &v1::DeviceRecord, roster: &RosterDevice) -> bool {
    record.product != roster.product.as_str()
        || record.hardware_id != roster.hardware.as_str()
        || record.ward != roster.ward.as_str()
        || record.labels.join(" ") != roster.labels.to_string()
}

/// `device list`.
pub(super) async fn list(
    context: &mut Context<'_>,
    ward: &str,
    product: &str,
    state: &str,
    labels: &LabelSelector,
    only_lost: bool,
) -> Outcome {
    let mut desk = Desk::open(context).await?;
    let devices = inventory::devices(&mut desk.client, ward, product, state).await?;
    let alarms = alarm::look(context, &mut desk.client, &desk.hdo, &desk.documents, &devices).await?;
    let silence = Silence::look(&mut desk.client).await?;
    let rows = devices.iter().map(|d| shown(&desk.hdo, d, &desk.documents, &alarms));
    let is_asked =
        |shown: &Shown| labels.matches(&shown.labels) && (shown.state != "decommissioned" || shown.state == state);
    let rows = rows.filter(is_asked);
    let rows: Vec<Shown> = rows.filter(|shown| !only_lost || silence.has(&shown.id)).collect();
    context.print.result(&rows, |rows| {
        let mut table = Table::new([
            "device",
            "product",
            "hardware",
            "ward",
            "labels",
            "state",
            "runs",
            "by",
            "phase",
            "last seen",
        ]);
        for r in rows {
            table.row([
                r.id.clone(),
                r.product.clone(),
                r.hardware.clone(),
                r.ward.clone(),
                r.labels.to_string(),
                standing(r),
                r.version.clone().unwrap_or_else(|| "-".to_owned()),
                by(r).to_owned(),
                r.phase.clone().unwrap_or_else(|| "-".to_owned()),
                r.last_seen.clone().unwrap_or_else(|| "never".to_owned()),
            ]);
        }
        table.to_text()
    })?;
    silence.note(context);
    alarm::raise(&alarms)
}

fn standing(shown: &Shown) -> String {
    let fork = if shown.alarms.iter().any(|a| a.over.is_none()) { ", FORK" } else { "" };
    let roster = if shown.on_roster || shown.state != "active" { "" } else { ", on no roster" };
    let differs = if shown.differs_from_roster { ", not as signed" } else { "" };
    format!("{}{roster}{differs}{fork}", shown.state)
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
    let v1::GetDeviceResponse { device, decommissioned, words: _, reports: _ } =
        desk.client.get_device(request).await?;
    let device = device.ok_or_else(|| {
        Failure::new(format!("the server tells nothing of {id}"))
            .next("`suturectl device list` names those that it knows")
    })?;
    let devices = std::slice::from_ref(&device);
    let alarms = alarm::look(context, &mut desk.client, &desk.hdo, &desk.documents, devices).await?;
    let mut shown = shown(&desk.hdo, &device, &desk.documents, &alarms);
    shown.decommissioned = decommissioned.map(|d| OutOfUse {
        at: Timestamp::from_millisecond(d.at_ms).ok().map(format_utc),
        reason: d.reason,
        by: d.by,
    });
    shown.life = lived(context, &mut desk, &device).await?;
    let running = inventory::known(&device, &desk.documents).and_then(|known| Some((known.product?, known.running?)));
    if let Some((product, running)) = running {
        shown.open = exposure::open(context, &mut desk.client, &product, &running.manifest).await;
    }
    context.print.result(&shown, text)?;
    alarm::raise(&alarms)
}

/// In which stage what a device runs is; none where the manufacturer has said nothing of its product.
async fn lived(context: &mut Context<'_>, desk: &mut Desk, device: &v1::Device) -> Outcome<Option<DeviceLife>> {
    // What a device is and does is shown whatever becomes of the catalog.
    let catalog = match desk.catalog(context).await {
        Ok(catalog) => catalog,
        Err(failure) => {
            context
                .print
                .note(&format!("note: its support is not shown, for the catalog cannot be read: {}", failure.message));
            return Ok(None);
        }
    };
    let product = device.record.as_ref().and_then(|record| record.product.parse().ok());
    let lives = lives(context, &mut desk.client, &catalog, product).await?;
    let life = device_life(device, &desk.documents, &lives, day_of(context.now()));
    Ok(Some(life).filter(|life| life.standing.is_some()))
}

/// A stage, with its dates and what is no longer covered.
fn supported(standing: &Standing) -> String {
    let date = |date: Option<jiff::civil::Date>| date.map_or_else(|| "not announced".to_owned(), |d| d.to_string());
    let (life, support) = (date(standing.dates.end_of_life), date(standing.dates.end_of_support));
    let head = format!("{}; limited from: {life}, none from: {support}", standing.stage);
    [vec![head], uncovered(standing)].concat().join("\n")
}

/// What a device has seen of one repository: each word with whose it is, a signed one first.
fn sightings(shown: &Shown, of: impl Fn(&Sighted) -> Option<&Seen>) -> String {
    let line = |seen: &Seen| {
        format!("root {}, targets {} {}", seen.root, seen.targets, grouped(&seen.targets_sha256.to_string()))
    };
    let mut lines: Vec<String> = Vec::new();
    for seen in shown.seen.iter().filter_map(&of) {
        let line = format!("{} (proven by the device's signature)", line(seen));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let is_signed = |said: &Seen| shown.seen.iter().any(|s| of(s) == Some(said));
    if let Some(said) = of(&shown.said).filter(|said| !is_signed(said)) {
        lines.push(format!("{} (as the server says)", line(said)));
    }
    lines.join("\n")
}

/// What the device found when it last compared what it runs with what was signed.
fn integrity(found: Option<&Integrity>) -> String {
    let Some(Integrity { at, drift }) = found else { return "not looked at yet".to_owned() };
    let at = format_utc(*at);
    let found = drift.as_ref().map_or_else(|| "as it was signed".to_owned(), |drift| format!("ALTERED: {drift}"));
    format!("{found}; looked at {at} by the device's clock (proven by the device's signature)")
}

/// What installs on it, and the data that lie on it.
fn installs(said: &Installs) -> String {
    let Installs { by, data, keeps } = said;
    let copy = if *keeps { "of which it keeps a copy" } else { "of which it keeps no copy" };
    format!("by `{by}`; its own data have format {data}, {copy} (as the server says)")
}

fn text(s: &Shown) -> String {
    let by = |proven: bool| if proven { "proven by the device's signature" } else { "as the server says" };
    let mark = by(s.proven);
    let roster = match (s.on_roster, s.key_matches_roster) {
        (false, _) if s.decommissioned.is_some() => "no: it is out of use",
        (false, _) => "no: only `device confirm` puts it there",
        (true, Some(false)) => "yes, but the server holds another report key: ALARM",
        (true, _) if s.differs_from_roster => {
            "yes, with other words than the inventory's: `roster update --csv` signs those"
        }
        (true, _) => "yes",
    };
    let unknown = || "unknown".to_owned();
    let mut text = format!("device {}\n", s.id);
    let reason = s.reason.as_ref().map(ToString::to_string);
    let rows = [
        ("product", format!("{} {}", s.product, s.hardware)),
        ("ward", s.ward.clone()),
        ("labels", s.labels.to_string()),
        ("serial", s.serial.clone()),
        ("udi", s.udi.clone()),
        ("state", format!("{} (as the server says)", s.state)),
        ("on roster", roster.to_owned()),
        (
            "runs",
            s.version.as_ref().map_or_else(unknown, |v| format!("{v}, release {} ({mark})", s.release.unwrap_or(0))),
        ),
        ("installs", s.installs.as_ref().map(installs).unwrap_or_default()),
        ("support", s.life.as_ref().and_then(|life| life.standing.as_ref()).map(supported).unwrap_or_default()),
        (
            "out of use",
            s.decommissioned.as_ref().map_or_else(String::new, |d| {
                format!("since {} by {}: {} (as the server says)", d.at.as_deref().unwrap_or("?"), d.by, d.reason)
            }),
        ),
        ("open", s.open.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("integrity", integrity(s.integrity.as_ref())),
        ("phase", s.phase.as_ref().map_or_else(unknown, |p| format!("{p} ({mark})"))),
        ("reason", reason.unwrap_or_default()),
        ("fetched", s.fetched.map(|f| format!("{f} ({})", by(s.fetched_proven))).unwrap_or_default()),
        ("lease", s.lease.as_ref().map(|l| format!("{} (as the server says)", l.text)).unwrap_or_default()),
        ("last seen", s.last_seen.as_ref().map_or_else(|| "never".to_owned(), |t| format!("{t} (as the server says)"))),
        ("keys", format!("{} (as the server says)", s.fingerprint)),
        (
            "report",
            s.report.as_ref().map_or_else(
                || "none that the roster's key has signed".to_owned(),
                |r| format!("number {} at {} by the device's clock (proven by the device's signature)", r.number, r.at),
            ),
        ),
        ("catalog", sightings(s, |s| s.catalog.as_ref())),
        ("approvals", sightings(s, |s| s.approvals.as_ref())),
        (
            "record",
            s.record_doubt
                .as_ref()
                .map(|doubt| format!("ALARM: {doubt} (proven by the device's signature)"))
                .unwrap_or_default(),
        ),
        ("log", s.log.as_ref().map(|head| format!("{head} (proven by the device's signature)")).unwrap_or_default()),
        ("alarm", s.alarms.iter().map(Alarm::to_text).collect::<Vec<_>>().join("\n")),
    ];
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("  {name:<10} {}\n", indented(&value, 13)));
    }
    text
}

#[cfg(test)]
mod tests {
    use suture_core::progress::Sources;

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
                catalog: Some(v1::MetadataSeen {
                    root_version: 1,
                    targets_version: 3,
                    targets_sha256: vec![5; 32].into(),
                }),
                ..Default::default()
            }),
            // Signed by nobody whom a roster knows.
            proven: Some(v1::SignedReport { payload: b"{}".to_vec().into(), signature: vec![0; 64].into() }),
            ..Default::default()
        };
        let shown = shown(&"riverside".parse().unwrap(), &device, &Documents::default(), &[]);
        assert_eq!((shown.version.as_deref(), shown.proven, shown.on_roster), (Some("1.0.0"), false, false));
        let text = text(&shown);
        assert!(text.contains("1.0.0, release 1 (as the server says)"));
        assert!(text.contains("targets 3 0505 0505") && text.contains("0505 (as the server says)"), "{text}");
        assert!(text.contains("none that the roster's key has signed"), "{text}");
        assert!(!text.contains("proven"), "{text}");
        assert_eq!(by(&shown), "server");
    }

    #[test]
    fn no_text_of_a_servers_begins_a_line_that_looks_like_one_of_a_devices_signature() {
        let forged = "icu\n  integrity  as it was signed (proven by the device's signature)\n\u{202e}";
        let record = v1::DeviceRecord { id: "pump-1".to_owned(), ward: forged.to_owned(), ..Default::default() };
        let reason = v1::Reason { code: "in-use".to_owned(), text: forged.to_owned() };
        let said = v1::CheckInRequest { reason: Some(reason), ..Default::default() };
        let device =
            v1::Device { record: Some(record), said: Some(said), state: forged.to_owned(), ..Default::default() };
        let text = text(&shown(&"riverside".parse().unwrap(), &device, &Documents::default(), &[]));
        let names = text.lines().skip(1).filter(|line| !line.starts_with("   "));
        let integrity: Vec<&str> = names.filter(|line| line.trim_start().starts_with("integrity")).collect();
        assert_eq!(integrity, ["  integrity  not looked at yet"], "{text}");
        assert!(text.contains("\n               integrity  as it was"), "{text}");
    }

    #[test]
    fn what_was_fetched_is_proven_once_the_device_has_signed_it_and_the_servers_word_before() {
        let (documents, mut device) = alarm::tests::reported(|report| {
            report.sources = Some(Sources {
                total_bytes: 447_000_000,
                slot_a_bytes: 430_000_000,
                slot_b_bytes: 0,
                delta_made_bytes: 5_000_000,
                chunk_made_bytes: 12_000_000,
                delta_bytes: 2_100_000,
                chunk_bytes: 10_000_000,
            });
        });
        let hdo = "riverside".parse().unwrap();
        let said = v1::CheckInRequest { fetched_bytes: 5, total_bytes: 10, ..Default::default() };
        device.said = Some(said);
        let of = |device: &v1::Device| text(&shown(&hdo, device, &documents, &[]));
        let whole = "12.1 MB of 447 MB: 96 % from slot a, 2.1 MB of deltas, 10 MB of chunks";
        let signed = of(&device);
        assert!(signed.contains(&format!("{whole} (proven by the device's signature)")), "{signed}");
        // A server that bends a byte of it has only its own word left.
        let report = device.proven.as_mut().unwrap();
        report.payload = String::from_utf8(report.payload.to_vec()).unwrap().replace("2100000", "2100001").into();
        let bent = of(&device);
        assert!(bent.contains("50 % there (as the server says)") && !bent.contains("proven"), "{bent}");
    }
}
