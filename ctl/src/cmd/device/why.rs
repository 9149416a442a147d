//! `suturectl device why`: what stands between a device and its update, in the order in which it must be met.
//!
//! What both sides have signed is judged here by the device's own rules; the rest is what the device or the server says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use suture_core::approval::{Approval, Share};
use suture_core::clock::format_utc;
use suture_core::id::{DeviceId, HdoId};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::report::Report;
use suture_core::select::{Catalog, Facts, Selection, select, slot_at};
use suture_core::version::Release;
use suture_proto::{parse_phase, parse_reason, v1};

use crate::context::Context;
use crate::failure::Outcome;
use crate::hospital::leases::Down;
use crate::hospital::{Desk, Documents, inventory};
use crate::why::{self, About, Remedy, Unmet, Word};

use super::show;

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, id: &DeviceId) -> Outcome {
    let mut desk = Desk::open_base(context).await?;
    let catalog = desk.catalog(context).await?;
    let answer = desk.client.get_device(v1::GetDeviceRequest { id: id.to_string() }).await?;
    let now = context.now();
    let mut unmet = why(&desk.hdo, id, &answer, &desk.documents, &*catalog, now);
    if let Some(end) = desk.approvals.lapsed(now) {
        let text = format!("the hospital's approvals expired at {}, and no device acts on them", format_utc(end));
        unmet.insert(0, Unmet::new(Word::Signed, Reason::new(Code::MetadataExpired, text), &About::default()));
    }
    let said = answer.device.as_ref().and_then(|device| device.said.as_ref());
    let fetched = said.and_then(show::fetched).map(|f| format!("fetched, as the server says: {f}"));
    let lease = answer.device.as_ref().and_then(|device| device.lease.as_ref()).and_then(Down::of);
    let lease = lease.map(|l| format!("it holds a lease, as the server says: {}", l.text));
    context.print.result(&unmet, |unmet| {
        let mut lines = why::lines(unmet);
        if lines.is_empty() {
            lines.push(format!("nothing stands in the way of {id}: it acts at its next check-in"));
        }
        lines.extend(fetched.clone());
        lines.extend(lease.clone());
        lines.join("\n")
    })
}

fn why(
    hdo: &HdoId,
    id: &DeviceId,
    answer: &v1::GetDeviceResponse,
    documents: &Documents,
    catalog: &impl Catalog,
    now: Timestamp,
) -> Vec<Unmet> {
    let device = answer.device.clone().unwrap_or_default();
    let mut of = About { approval: None, device: Some(id) };
    let Some(roster) = documents.device(id) else {
        return vec![not_on_roster(id, &device.state)];
    };
    let mut unmet = Vec::new();
    if roster.report_key.as_bytes().as_slice() != device.report_key.as_ref() {
        let reason = Reason::new(
            Code::BadSignature,
            "the server holds another report key than the roster; its reports count for nothing",
        );
        let how = format!("compare its fingerprint again, then suturectl device confirm {id} --fingerprint HEX");
        unmet.push(Unmet::with(Word::Signed, reason, Remedy::Command { how }));
    }
    let known = inventory::known(&device, documents);
    let facts = Facts {
        hdo: hdo.clone(),
        device: id.clone(),
        product: roster.product.clone(),
        hardware: roster.hardware.clone(),
        running: known.and_then(|k| k.running),
        // What only the device knows, it says itself, below.
        floor: Release(0),
        tries: BTreeMap::new(),
    };
    let share = |a: &Approval| Share { opened: documents.opened(&a.terms.id), ..a.share(id) };
    let approvals: Vec<_> = documents.approvals.iter().map(share).collect();
    match select(&facts, catalog, &approvals, &documents.stops, now) {
        Selection::Nothing { reason, approval } => {
            of.approval = approval.as_ref();
            unmet.push(Unmet::new(Word::Signed, reason, &of));
            unmet.extend(own_word(&device, documents, &of));
        }
        Selection::Chosen(choice) => {
            of.approval = Some(&choice.approval);
            unmet.extend(choice.unsigned.map(|reason| Unmet::new(Word::Signed, reason, &of)));
            if let Some(slot) = slot_at(&choice.slots, now).filter(|s| now < s.start) {
                let text =
                    format!("its slot begins at {} and ends at {}", format_utc(slot.start), format_utc(slot.end));
                let remedy = Remedy::Time { how: "its slot begins".to_owned(), at: slot.start };
                unmet.push(Unmet::with(Word::Signed, Reason::new(Code::BeforeSlot, text), remedy));
            }
            let word = answer.words.iter().find(|w| w.approval_id == choice.approval.as_str());
            if let Some(reason) = word.filter(|w| !w.go).and_then(|w| parse_reason(w.reason.as_ref())) {
                unmet.push(Unmet::new(Word::Server, reason, &of));
            }
            unmet.extend(own_word(&device, documents, &of));
        }
    }
    unmet
}

/// What the device says itself, if it says that it waits or failed.
fn own_word(device: &v1::Device, documents: &Documents, of: &About<'_>) -> Option<Unmet> {
    let roster = of.device.and_then(|id| documents.device(id));
    let report = inventory::proven(device.proven.as_ref(), roster);
    let said = device.said.as_ref();
    let now_says = said.and_then(|s| parse_reason(s.reason.as_ref()));
    match (report, now_says) {
        // What it said on the way to the end that it has signed since: that is over.
        (Some(report), _) if is_over(&report, said) => report
            .reason
            .filter(|_| report.phase != Phase::Confirmed)
            .map(|reason| in_phase(Some(report.phase), Unmet::new(Word::Device, reason, of))),
        // Else the check-in is younger than the report where the two differ: reports tell of changes of phase.
        (_, Some(reason)) => {
            let phase = said.and_then(|said| parse_phase(said.phase));
            let Unmet { remedy, .. } = in_phase(phase, Unmet::new(Word::Server, reason.clone(), of));
            let at = Timestamp::from_millisecond(device.last_seen_ms).ok().filter(|_| device.last_seen_ms > 0);
            let at = at.map(|at| format!(", {}", format_utc(at))).unwrap_or_default();
            let text = format!("at its last check-in{at}: {}", reason.text);
            Some(Unmet::with(Word::Server, Reason { text, ..reason }, remedy))
        }
        (Some(report), None) if report.phase != Phase::Confirmed => {
            report.reason.map(|reason| in_phase(Some(report.phase), Unmet::new(Word::Device, reason, of)))
        }
        _ => None,
    }
}

/// A device that is held goes on by itself from nothing, whatever came before that.
fn in_phase(phase: Option<Phase>, unmet: Unmet) -> Unmet {
    match (phase, unmet.reason.code) {
        (Some(Phase::Held), code) if code != Code::ReturnToService => {
            let how = "whoever looks after the device puts it in order there, then suture-agent recover".to_owned();
            Unmet { remedy: Remedy::Person { how }, ..unmet }
        }
        _ => unmet,
    }
}

/// Whether the report tells how that attempt ended of which the check-in says that it is under way.
fn is_over(report: &Report, said: Option<&v1::CheckInRequest>) -> bool {
    let Some((said, phase)) = said.and_then(|said| Some((said, parse_phase(said.phase)?))) else { return false };
    let same = report.approval.as_ref().is_some_and(|approval| approval.as_str() == said.approval_id);
    same && report.phase.is_outcome() && !phase.is_outcome()
}

/// What is signed is that it is on no roster; why, and so what comes next, is the server's word.
fn not_on_roster(id: &DeviceId, state: &str) -> Unmet {
    let command = |text: String, how: String| (text, Remedy::Command { how });
    let (text, remedy) = match state {
        "" => command(
            format!(
                "{id} is on no signed roster; the server says that it knows no such device; `device import` adds it"
            ),
            "suturectl device import --csv FILE".to_owned(),
        ),
        "imported" => (
            format!(
                "{id} is on no signed roster; the server says that it has not enrolled; `device token {id}`, then `suture-agent \
                 enroll` at the device"
            ),
            Remedy::Person {
                how: format!("suturectl device token {id}, then at the device suture-agent enroll --token-file -"),
            },
        ),
        "decommissioned" => (
            format!("{id} is on no signed roster; the server says that it is out of use for good"),
            Remedy::Person {
                how: "a device that comes back is imported under another id, and enrols as that".to_owned(),
            },
        ),
        "revoked" => (
            format!("{id} is on no signed roster; the server says that it is revoked"),
            Remedy::Person { how: "somebody decides that it is to come back, and enrols it anew".to_owned() },
        ),
        _ => command(
            format!(
                "{id} is on no signed roster; the server says that it has enrolled; compare its fingerprint, then `device confirm {id}`"
            ),
            format!("suturectl device confirm {id} --fingerprint HEX"),
        ),
    };
    Unmet::with(Word::Signed, Reason::new(Code::Pending, text), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hospital::fixture::{approval, at, id, wave};
    use suture_core::approval::{Gates, OpenWave, Part, Pinned, Roster, RosterDevice, path};
    use suture_core::digest::Digest;
    use suture_core::label::Labels;
    use suture_core::manifest::manifest_path;
    use suture_core::sign::{LocalKey, Signer as _};
    use suture_core::trust::{CatalogEntry, Status};

    #[test]
    fn a_device_on_no_roster_is_told_its_next_step() {
        let id: DeviceId = "pump-1".parse().unwrap();
        for (state, step) in [("", "device import"), ("imported", "device token pump-1"), ("pending", "device confirm")]
        {
            let unmet = not_on_roster(&id, state);
            assert!(unmet.reason.text.contains(step), "{unmet:?}");
            assert_eq!(unmet.reason.code, Code::Pending);
        }
        for state in ["", "imported", "pending", "revoked", "decommissioned"] {
            let text = not_on_roster(&id, state).reason.text;
            assert!(text.starts_with("pump-1 is on no signed roster; the server says that it "), "{state}: {text}");
        }
    }

    /// Lists release 2 of the pump and nothing else.
    struct Shelf;

    impl Catalog for Shelf {
        fn entry(&self, path: &str) -> Option<(u64, Digest, CatalogEntry)> {
            let entry = CatalogEntry {
                product: id("pump"),
                release: Release(2),
                version: "2.0.0".parse().unwrap(),
                hardware: vec![id("rev-a")],
                min_release: Release(0),
                status: Status::Current,
                floor: Release(0),
            };
            (path == manifest_path(&id("pump"), Release(2))).then(|| (1, Digest::of(b"manifest"), entry))
        }
    }

    /// The hospital's word on pump-1: on the roster, and where that is asked for, approved for a slot at 02:00.
    fn documents(approved: bool) -> Documents {
        let report_key = LocalKey::from_seed(&zeroize::Zeroizing::new([9; 32])).public();
        let device = RosterDevice {
            id: id("pump-1"),
            report_key,
            product: id("pump"),
            hardware: id("rev-a"),
            ward: id("icu"),
            labels: Labels::default(),
        };
        let roster = Roster::new(id("riverside"), Part::ALL, vec![device]);
        let pinned = |path: &str| Pinned::of(path.to_owned(), path.as_bytes());
        let approval = approval("pump-2", at("2026-11-25T03:00:00Z"), &[wave(false)]);
        Documents {
            rosters: vec![(pinned("rosters/all.json"), roster)],
            approvals: if approved { vec![approval] } else { Vec::new() },
            ..Documents::default()
        }
    }

    fn answer(key: u8) -> v1::GetDeviceResponse {
        let key = LocalKey::from_seed(&zeroize::Zeroizing::new([key; 32])).public();
        let device = v1::Device {
            record: Some(v1::DeviceRecord { id: "pump-1".to_owned(), ..Default::default() }),
            state: "active".to_owned(),
            report_key: key.as_bytes().to_vec().into(),
            said: Some(v1::CheckInRequest {
                running_version: "1.0.0".to_owned(),
                running_release: 1,
                running_manifest_sha256: vec![7; 32].into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        v1::GetDeviceResponse { device: Some(device), ..Default::default() }
    }

    fn unmet(answer: &v1::GetDeviceResponse, documents: &Documents, now: &str) -> Vec<Unmet> {
        why(&id("riverside"), &id("pump-1"), answer, documents, &Shelf, at(now))
    }

    fn told(answer: &v1::GetDeviceResponse, documents: &Documents, now: &str) -> Vec<(Word, Code)> {
        unmet(answer, documents, now).into_iter().map(|u| (u.by, u.reason.code)).collect()
    }

    #[test]
    fn what_is_signed_comes_first_and_each_word_is_marked_with_whose_it_is() {
        let (before, within) = ("2026-11-25T01:00:00Z", "2026-11-25T02:10:00Z");
        assert_eq!(told(&answer(9), &documents(false), within), [(Word::Signed, Code::NothingApproved)]);
        assert_eq!(told(&answer(9), &documents(true), before), [(Word::Signed, Code::BeforeSlot)]);
        let slot = unmet(&answer(9), &documents(true), before).remove(0);
        assert!(matches!(slot.remedy, Remedy::Time { at: begins, .. } if begins == at("2026-11-25T02:00:00Z")));
        assert_eq!(told(&answer(9), &documents(true), within), [], "nothing stands in its way");

        let reason =
            |code: Code, text: &str| Some(v1::Reason { code: code.as_str().to_owned(), text: text.to_owned() });
        let mut held = answer(9);
        held.words = vec![v1::ServerWord {
            approval_id: "pump-2".to_owned(),
            go: false,
            reason: reason(Code::Paused, "paused"),
        }];
        if let Some(said) = held.device.as_mut().and_then(|d| d.said.as_mut()) {
            said.reason = reason(Code::InUse, "in use");
        }
        let all = [(Word::Signed, Code::BeforeSlot), (Word::Server, Code::Paused), (Word::Server, Code::InUse)];
        assert_eq!(told(&held, &documents(true), before), all);
        held.words[0].approval_id = "another".to_owned();
        assert_eq!(told(&held, &documents(true), within), [(Word::Server, Code::InUse)], "not on this approval");
    }

    #[test]
    fn a_wave_that_waits_for_a_signature_is_told_before_its_slot() {
        let before = "2026-11-25T01:00:00Z";
        let mut documents = documents(true);
        documents.approvals[0].terms.waves[0].needs_signature = true;
        let both = [(Word::Signed, Code::SignatureNeeded), (Word::Signed, Code::BeforeSlot)];
        assert_eq!(told(&answer(9), &documents, before), both);
        let mut gates = Gates::new(&documents.approvals[0].terms, Digest::of(b"head"));
        let note = Pinned::of(path::gate_note(&id("pump-2"), 0), b"note");
        gates.open.push(OpenWave { wave: 0, opened: at(before), note });
        documents.gates = vec![gates];
        assert_eq!(told(&answer(9), &documents, before), [(Word::Signed, Code::BeforeSlot)]);
    }

    #[test]
    fn a_server_that_holds_another_report_key_is_told_on() {
        let within = "2026-11-25T02:10:00Z";
        assert_eq!(told(&answer(8), &documents(true), within), [(Word::Signed, Code::BadSignature)]);
    }
}
