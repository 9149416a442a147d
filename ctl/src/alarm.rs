//! The fork alarm on the operators' side: what devices have signed that they verified, against what this home has.
//!
//! Attack: a server that shows some devices other signed metadata than it shows this operator, and says nothing of it. It
//! can hold a device's words back, but it cannot change them: they are verified with the report keys of the signed roster.
//! Beside that the server's own alarm is told, marked as its word.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use suture_core::audit::Head;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::id::HdoId;
use suture_core::report::{Seen, Sighting};
use suture_core::sign::Signature;
use suture_core::trust::Edition;
use suture_proto::v1;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::history::History;
use crate::hospital::{Documents, inventory};
use crate::print::grouped;
use crate::trust_store::{TrustStore, Which};

/// A device that has verified other targets metadata than this home knows, or than the server published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// `catalog` or `approvals`.
    pub repository: String,
    /// The version.
    pub version: u64,
    /// The device, where one may know.
    pub device: Option<String>,
    /// SHA-256 of what the device verified.
    pub device_sha256: String,
    /// SHA-256 of what this home, or the server, knows under that version; none where neither knows such a version.
    pub known_sha256: Option<String>,
    /// `signature`: this program has compared what the device signed. `server`: the server says so.
    pub by: &'static str,
    /// When it was over, by the server's word; the device is back on what was published.
    pub over: Option<String>,
}

/// What a device has signed that it saw last, of both repositories; in its newest report and at its last check-in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sighted {
    /// Of the catalog.
    pub catalog: Option<Seen>,
    /// Of the approvals.
    pub approvals: Option<Seen>,
    /// Of the server's audit record.
    pub audit: Option<Head>,
    /// What the device holds against that record; its reports say it.
    pub doubt: Option<String>,
}

/// What a device has proven by its roster's key: at the check-in, and in the last report.
pub fn sighted(hdo: &HdoId, device: &v1::Device, documents: &Documents) -> Vec<Sighted> {
    let id = device.record.as_ref().and_then(|r| r.id.parse().ok());
    let Some(roster) = id.and_then(|id| documents.device(&id)) else { return Vec::new() };
    let mut proven = Vec::new();
    if let Some(said) = &device.said {
        let seen = |seen: &Option<v1::MetadataSeen>| seen.as_ref().and_then(|s| Seen::try_from(s).ok());
        let sighting = Sighting::new(hdo.clone(), roster.id.clone(), seen(&said.catalog), seen(&said.approvals));
        let audit = said.audit.as_ref().and_then(|seen| suture_proto::head_seen(seen).ok().flatten());
        let sighting = sighting.with_audit(audit);
        let signature = Signature::try_from(said.seen_signature.as_ref()).ok();
        if signature.is_some_and(|signature| sighting.verify(&roster.report_key, &signature).is_ok()) {
            let Sighting { catalog, approvals, audit, .. } = sighting;
            proven.push(Sighted { catalog, approvals, audit, doubt: None });
        }
    }
    if let Some(report) = inventory::proven(device.proven.as_ref(), Some(roster)).filter(|r| r.hdo == *hdo) {
        let (audit, doubt) = report.record.map_or((None, None), |record| (Some(record.head), record.doubt));
        proven.push(Sighted { catalog: report.catalog, approvals: report.approvals, audit, doubt });
    }
    proven
}

/// Compares what these devices have signed with what this home knows, fetching and proving what it lacks, and adds what the
/// server says. An honest device that is behind is no alarm: what it verified once was in force is proven from what is now.
pub async fn look(
    context: &Context<'_>,
    client: &mut Client,
    hdo: &HdoId,
    documents: &Documents,
    devices: &[v1::Device],
) -> Outcome<Vec<Alarm>> {
    let mut alarms = Vec::new();
    for which in [Which::Catalog, Which::Approvals] {
        let mut seen: BTreeMap<Edition, String> = BTreeMap::new();
        for device in devices {
            let id = device.record.as_ref().map(|r| r.id.clone()).unwrap_or_default();
            for sighted in sighted(hdo, device, documents) {
                let of = match which {
                    Which::Catalog => sighted.catalog,
                    Which::Approvals => sighted.approvals,
                };
                if let Some(seen_here) = of.filter(|s| s.targets > 0) {
                    seen.entry(seen_here.edition()).or_insert_with(|| id.clone());
                }
            }
        }
        let store = TrustStore::of(&context.home, which);
        if seen.is_empty() || !store.is_pinned()? {
            continue;
        }
        let history = known(context, client, &store, seen.keys()).await?;
        alarms.extend(compare(which, &history, &seen));
    }
    alarms.extend(devices.iter().flat_map(|d| &d.forks).map(told));
    Ok(alarms)
}

/// What this home knows, as far back and as far ahead as devices have seen.
async fn known(
    context: &Context<'_>,
    client: &mut Client,
    store: &TrustStore<'_>,
    seen: impl Iterator<Item = &Edition> + Clone,
) -> Outcome<History> {
    let newest = seen.clone().map(|e| e.version).max().unwrap_or(0);
    if store.history()?.newest().is_none_or(|e| e.version < newest) {
        // Somebody may have published since this command began.
        store.refresh_base(client, context.now()).await?;
    }
    let oldest = seen.map(|e| e.version).min().unwrap_or(0);
    store.history_back_to(client, oldest).await
}

fn compare(which: Which, history: &History, seen: &BTreeMap<Edition, String>) -> Vec<Alarm> {
    let oldest = history.oldest().map_or(0, |e| e.version);
    let differs = |(edition, device): (&Edition, &String)| {
        let known = history.get(edition.version);
        // What is older than a walk back goes can be compared no more.
        let judged = edition.version >= oldest && known != Some(edition.sha256);
        judged.then(|| Alarm {
            repository: which.as_str().to_owned(),
            version: edition.version,
            device: Some(device.clone()),
            device_sha256: edition.sha256.to_string(),
            known_sha256: known.map(|d| d.to_string()),
            by: "signature",
            over: None,
        })
    };
    seen.iter().filter_map(differs).collect()
}

/// What the server says.
pub fn told(fork: &v1::Fork) -> Alarm {
    let digest = |bytes: &[u8]| Digest::try_from(bytes).map_or_else(|_| hex::encode(bytes), |d| d.to_string());
    Alarm {
        repository: fork.repository.split('/').next().unwrap_or_default().to_owned(),
        version: fork.targets_version,
        device: Some(fork.device.clone()).filter(|d| !d.is_empty()),
        device_sha256: digest(&fork.targets_sha256),
        known_sha256: (!fork.published_sha256.is_empty()).then(|| digest(&fork.published_sha256)),
        by: "server",
        over: (fork.healed_ms > 0).then(|| Timestamp::from_millisecond(fork.healed_ms).ok().map(format_utc)).flatten(),
    }
}

impl Alarm {
    /// One sentence.
    pub fn to_text(&self) -> String {
        let device = match &self.device {
            Some(device) => format!("device {device}"),
            None => "a hospital's device".to_owned(),
        };
        let whose = match self.by {
            "signature" => "by its own signature",
            _ => "as the server says",
        };
        let known = match (&self.known_sha256, self.by) {
            (Some(sha256), "signature") => format!("this home knows {}", grouped(sha256)),
            (Some(sha256), _) => format!("the server published {}", grouped(sha256)),
            (None, _) => "nobody here was ever shown such a version".to_owned(),
        };
        let over = self.over.as_ref().map(|at| format!(" (over since {at})")).unwrap_or_default();
        format!(
            "{device} verified, {whose}, version {} of the {} with SHA-256 {}; {known}{over}",
            self.version,
            self.repository,
            grouped(&self.device_sha256)
        )
    }
}

/// Fails the command where an alarm is not over, once its result has been printed.
pub fn raise(alarms: &[Alarm]) -> Outcome {
    let open: Vec<&Alarm> = alarms.iter().filter(|a| a.over.is_none()).collect();
    let Some(first) = open.first() else { return Ok(()) };
    let lines: Vec<String> = open.iter().take(20).map(|a| a.to_text()).collect();
    let more = open.len().saturating_sub(lines.len());
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    Err(Failure::untrusted(format!(
        "FORK: devices have verified other signed metadata than are known here under that version. Only the {} targets keys \
         can sign them, so they are stolen or used twice, or the device lies\n  {}{more}",
        first.repository,
        lines.join("\n  ")
    ))
    .next(format!(
        "stop what runs (`suturectl rollout stop`) and sign nothing more; look at the device; compare `suturectl {} status` with \
         your colleagues' over another channel; if nobody can explain the second one, replace the targets keys",
        first.repository
    )))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use suture_core::approval::{Pinned, Roster, RosterDevice};
    use suture_core::label::Labels;
    use suture_core::phase::Phase;
    use suture_core::report::{Report, Running, Took};
    use suture_core::sign::{LocalKey, Signer as _};
    use suture_core::version::Release;

    fn key(n: u8) -> LocalKey {
        LocalKey::from_seed(&zeroize::Zeroizing::new([n; 32]))
    }

    fn documents() -> Documents {
        let device = RosterDevice {
            id: "pump-1".parse().unwrap(),
            report_key: key(9).public(),
            product: "pump".parse().unwrap(),
            hardware: "rev-a".parse().unwrap(),
            ward: "icu".parse().unwrap(),
            labels: Labels::default(),
        };
        let roster = Roster::new("riverside".parse().unwrap(), suture_core::approval::Part::ALL, vec![device]);
        let pinned = Pinned::of("rosters/all.json".to_owned(), b"r");
        Documents { rosters: vec![(pinned, roster)], ..Documents::default() }
    }

    fn seen(version: u64, of: &[u8]) -> Seen {
        Seen { root: 1, targets: version, targets_sha256: Digest::of(of) }
    }

    fn report(approvals: Option<Seen>) -> Report {
        Report {
            kind: Report::TYPE.to_owned(),
            hdo: "riverside".parse().unwrap(),
            device: "pump-1".parse().unwrap(),
            number: 1,
            at: "2026-11-24T12:00:00Z".parse().unwrap(),
            product: "pump".parse().unwrap(),
            running: Running { version: "1.0.0".parse().unwrap(), release: Release(1), manifest: Digest::of(b"m") },
            approval: None,
            manifest: None,
            phase: Phase::Idle,
            reason: None,
            stop: None,
            permanent: false,
            integrity: None,
            sources: None,
            took: Took::default(),
            catalog: None,
            approvals,
            record: None,
            log: None,
        }
    }

    /// What a hospital with pump-1 on its roster has signed, and pump-1 with its last report, signed by its key.
    pub(crate) fn reported(change: impl FnOnce(&mut Report)) -> (Documents, v1::Device) {
        let mut report = report(None);
        change(&mut report);
        let device = v1::Device {
            record: Some(v1::DeviceRecord { id: "pump-1".to_owned(), ..Default::default() }),
            proven: Some((&report.sign(&key(9)).unwrap()).into()),
            ..Default::default()
        };
        (documents(), device)
    }

    /// As the server hands out what pump-1 has said at a check-in and in its last report, signed with these keys.
    fn device(said: (u8, &Seen), reported: (u8, &Seen)) -> v1::Device {
        let (hdo, id): (HdoId, suture_core::id::DeviceId) = ("riverside".parse().unwrap(), "pump-1".parse().unwrap());
        let sighting = Sighting::new(hdo, id, None, Some(said.1.clone()));
        let report = report(Some(reported.1.clone()));
        v1::Device {
            record: Some(v1::DeviceRecord { id: "pump-1".to_owned(), ..Default::default() }),
            said: Some(v1::CheckInRequest {
                approvals: Some(said.1.into()),
                seen_signature: sighting.sign(&key(said.0)).unwrap().0.to_vec().into(),
                ..Default::default()
            }),
            proven: Some((&report.sign(&key(reported.0)).unwrap()).into()),
            ..Default::default()
        }
    }

    fn history(files: &[(u64, &[u8])]) -> History {
        let mut history = History::default();
        history.extend(files.iter().map(|(version, of)| Edition { version: *version, sha256: Digest::of(of) }));
        history
    }

    fn alarms(device: &v1::Device, history: &History) -> Vec<(u64, Option<String>)> {
        let hdo = "riverside".parse().unwrap();
        let of = sighted(&hdo, device, &documents()).into_iter().filter_map(|s| s.approvals);
        let seen = of.map(|s| (s.edition(), "pump-1".to_owned())).collect();
        compare(Which::Approvals, history, &seen).into_iter().map(|a| (a.version, a.known_sha256)).collect()
    }

    #[test]
    fn two_digests_under_one_version_are_an_alarm_wherever_the_device_signed_it() {
        let known = history(&[(2, b"2"), (3, b"3")]);
        let (honest, behind, forked) = (seen(3, b"3"), seen(2, b"2"), seen(3, b"other"));
        assert_eq!(alarms(&device((9, &honest), (9, &honest)), &known), []);
        assert_eq!(alarms(&device((9, &honest), (9, &behind)), &known), [], "a device that is behind is no fork");
        let expected = [(3, Some(Digest::of(b"3").to_string()))];
        assert_eq!(alarms(&device((9, &forked), (9, &honest)), &known), expected);
        assert_eq!(alarms(&device((9, &honest), (9, &forked)), &known), expected);
        assert_eq!(
            alarms(&device((9, &seen(4, b"4")), (9, &honest)), &known),
            [(4, None)],
            "which nobody here was shown"
        );
        assert_eq!(alarms(&device((9, &seen(1, b"1")), (9, &honest)), &known), [], "too old to be compared");
    }

    #[test]
    fn what_the_rosters_key_has_not_signed_raises_and_hides_nothing() {
        let known = history(&[(3, b"3")]);
        let (honest, forked) = (seen(3, b"3"), seen(3, b"other"));
        assert_eq!(alarms(&device((8, &forked), (8, &forked)), &known), [], "the server's own invention");
        // An honest word that somebody else signed does not stand for the one that the device did.
        assert_eq!(alarms(&device((8, &honest), (9, &forked)), &known).len(), 1);
        // Nor does a signature under another word: the server changes what was said.
        let mut changed = device((9, &forked), (8, &honest));
        changed.said.as_mut().unwrap().approvals = Some((&honest).into());
        assert_eq!(sighted(&"riverside".parse().unwrap(), &changed, &documents()), []);
    }

    #[test]
    fn an_open_alarm_fails_the_command_and_names_both_contents() {
        let fork = v1::Fork {
            repository: "approvals/riverside".to_owned(),
            device: "pump-1".to_owned(),
            targets_version: 3,
            targets_sha256: vec![1; 32].into(),
            published_sha256: vec![2; 32].into(),
            ..Default::default()
        };
        let failure = raise(&[told(&fork)]).unwrap_err();
        let text = failure.to_text();
        assert_eq!(failure.exit, crate::failure::Exit::Untrusted);
        for part in
            ["pump-1", "version 3 of the approvals", "0101 0101", "0202 0202", "as the server says", "rollout stop"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let over = told(&v1::Fork { healed_ms: 1, ..fork });
        assert!(raise(&[over]).is_ok(), "what is over is shown and fails nothing");
    }
}
