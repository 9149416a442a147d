//! `rollout why`: what a rollout waits for, in the order in which it must be met, and what would meet each.
//!
//! What both sides have signed is judged here, by the rules that the server runs on (`suture_core::rollout`). How far the
//! devices are is counted from their signed reports where the server shows them; what only the server says is marked so.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use suture_core::approval::Approval;
use suture_core::clock::format_utc;
use suture_core::id::{ApprovalId, DeviceId};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::rollout::{Gate, Progress, Standing, State, Tally, ceiling, heard, judge};
use suture_proto::{parse_phase, parse_reason, v1};

use super::show;
use crate::context::Context;
use crate::failure::Outcome;
use crate::hospital::leases::Down;
use crate::hospital::{Desk, Documents, inventory, rollouts};
use crate::why::{self, About, Remedy, Unmet, Word};

/// How many devices a sentence names.
const NAMED: usize = 5;

#[derive(Debug, Serialize)]
struct Shown {
    rollout: ApprovalId,
    /// The server's word.
    state: String,
    unmet: Vec<Unmet>,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, id: &ApprovalId) -> Outcome {
    let mut desk = Desk::open_base(context).await?;
    let catalog = desk.catalog(context).await?;
    let served = rollouts::rollout(&mut desk.client, id).await?;
    let devices = inventory::devices(&mut desk.client, "", &served.product, "").await?;
    let now = context.now();
    let withdrawn = |path: &str| catalog.target(path).and_then(show::withdrawn);
    let seen = Seen { id, documents: &desk.documents, served: &served, proven: proven(id, &desk.documents, &devices) };
    let mut unmet = seen.unmet(withdrawn, now);
    if let Some(end) = desk.approvals.lapsed(now) {
        let text = format!("the hospital's approvals expired at {}, and no device acts on them", format_utc(end));
        unmet.insert(0, Unmet::new(Word::Signed, Reason::new(Code::MetadataExpired, text), &About::default()));
    }
    let shown = Shown { rollout: id.clone(), state: served.state.clone(), unmet };
    context.print.result(&shown, |s| {
        let mut lines = why::lines(&s.unmet);
        if lines.is_empty() {
            lines.push(match s.state.as_str() {
                "complete" => format!("{id} is complete: nothing is waited for"),
                _ => format!(
                    "nothing stands in the way of {id}: its devices are at it, see `suturectl rollout watch {id}`"
                ),
            });
        }
        lines.join("\n")
    })
}

/// The same for a view that is drawn again and again: how far the devices are is the server's word, and withdrawals it tells
/// as its reason.
pub(super) fn by_the_server(
    id: &ApprovalId,
    documents: &Documents,
    served: &v1::Rollout,
    now: Timestamp,
) -> Vec<Unmet> {
    Seen { id, documents, served, proven: BTreeMap::new() }.unmet(|_| None, now)
}

/// How far devices are by their last report, where it is about this rollout and signed by the key on the roster.
fn proven(id: &ApprovalId, documents: &Documents, devices: &[v1::Device]) -> BTreeMap<String, Phase> {
    let report = |device: &v1::Device| {
        let name = device.record.as_ref()?.id.clone();
        let roster = name.parse::<DeviceId>().ok().and_then(|id| documents.device(&id).cloned());
        let report = inventory::proven(device.proven.as_ref(), roster.as_ref())?;
        let last = documents.approval(id)?.terms.steps.last()?.sha256;
        (report.approval.as_ref() == Some(id)).then(|| (name, heard(&report, &last).0))
    };
    devices.iter().filter_map(report).collect()
}

/// A rollout as this home sees it.
struct Seen<'a> {
    id: &'a ApprovalId,
    documents: &'a Documents,
    served: &'a v1::Rollout,
    proven: BTreeMap<String, Phase>,
}

/// A device of the rollout, its slots from what is signed.
struct Member<'a> {
    id: &'a str,
    progress: Progress,
    /// Whether a signed report says how far it is.
    proven: bool,
    reason: Option<Reason>,
    next_slot: Option<Timestamp>,
}

impl Seen<'_> {
    fn unmet(&self, withdrawn: impl Fn(&str) -> Option<String>, now: Timestamp) -> Vec<Unmet> {
        let of = About { approval: Some(self.id), device: None };
        let state = State::from_name(&self.served.state);
        if state == Some(State::Complete) {
            // What it installs runs everywhere; where people must check the devices, these are out of service still.
            let approval = self.documents.approval(self.id);
            return approval.map_or_else(Vec::new, |approval| held(&self.members(approval, now)));
        }
        let Some(approval) = self.documents.approval(self.id) else {
            let reason =
                Reason::new(Code::SlotsOver, format!("the approvals list no {} any more: it has ended", self.id));
            return vec![Unmet::new(Word::Signed, reason, &of)];
        };
        let mut unmet = self.signed(approval, withdrawn, now);
        // What ends it once and for all leaves no question of gates.
        let over = unmet.iter().any(|u| matches!(u.reason.code, Code::Superseded | Code::SlotsOver));
        unmet.extend(self.said(state, &unmet));
        if !over && state.is_none_or(|s| !s.is_over()) {
            unmet.extend(self.gates(approval, now));
        }
        unmet
    }

    /// What follows from what both sides have signed.
    fn signed(&self, approval: &Approval, withdrawn: impl Fn(&str) -> Option<String>, now: Timestamp) -> Vec<Unmet> {
        let (id, terms) = (self.id, &approval.terms);
        let of = About { approval: Some(id), device: None };
        let mut unmet = Vec::new();
        if let Some(by) = self.documents.approvals.iter().find(|a| a.terms.supersedes.contains(id)) {
            let reason = Reason::new(Code::Superseded, format!("{} took its place", by.terms.id));
            let how = format!("suturectl rollout why {}", by.terms.id);
            unmet.push(Unmet::with(Word::Signed, reason, Remedy::Command { how }));
        }
        if terms.expires <= now {
            let text = format!("the approval ended at {}", format_utc(terms.expires));
            unmet.push(Unmet::new(Word::Signed, Reason::new(Code::SlotsOver, text), &of));
        }
        for step in &terms.steps {
            if let Some(why) = withdrawn(&step.path) {
                let text = format!("the manufacturer has withdrawn {} release {}: {why}", step.product, step.release);
                let how = format!(
                    "suturectl rollout plan --bundle {}@RELEASE, with a release that is not withdrawn; back from this one: \
                     suturectl rollout rollback {id} --reason TEXT --yes",
                    step.product
                );
                unmet.push(Unmet::with(Word::Signed, Reason::new(Code::Withdrawn, text), Remedy::Command { how }));
            }
        }
        if let Some(stop) = self.documents.stop(id).filter(|s| s.stopped) {
            let text = format!("a signed stop order is in force, since {}", format_utc(stop.signed_at));
            unmet.push(Unmet::new(Word::Signed, Reason::new(Code::StopOrder, text), &of));
        }
        unmet
    }

    /// The server's own word on the rollout, unless that only repeats what is signed.
    fn said(&self, state: Option<State>, signed: &[Unmet]) -> Option<Unmet> {
        let of = About { approval: Some(self.id), device: None };
        let said = parse_reason(self.served.reason.as_ref());
        let known = |code| signed.iter().any(|u| u.reason.code == code);
        if said.as_ref().is_some_and(|r| known(r.code)) {
            return None;
        }
        let text = |what: &str| said.as_ref().map_or_else(|| what.to_owned(), |r| format!("{what}: {}", r.text));
        let (code, text) = match state? {
            State::Paused => (Code::Paused, text("it is paused")),
            State::Aborted => (Code::Aborted, text("it is aborted")),
            State::Superseded if !known(Code::Superseded) => {
                // Which one, the server has not said here.
                let reason = Reason::new(Code::Superseded, text("another approval took its place"));
                let how = "suturectl rollout list".to_owned();
                return Some(Unmet::with(Word::Server, reason, Remedy::Command { how }));
            }
            State::Expired if !known(Code::SlotsOver) => (Code::SlotsOver, text("it has ended")),
            _ => return None,
        };
        Some(Unmet::new(Word::Server, Reason::new(code, text), &of))
    }

    /// Signatures and the next slot, what the waves up to the one that is on lack, and the next one's signature.
    fn gates(&self, approval: &Approval, now: Timestamp) -> Vec<Unmet> {
        let of = About { approval: Some(self.id), device: None };
        let terms = &approval.terms;
        let timeout = SignedDuration::from_secs(i64::from(terms.attempt_timeout_secs));
        let (members, last) = (self.members(approval, now), terms.waves.len().saturating_sub(1));
        let unsigned = self.documents.unsigned(approval);
        let sign = |wave: &u32| Unmet::new(Word::Signed, suture_core::approval::waits(self.id, *wave), &of);
        let mut unmet: Vec<Unmet> = unsigned.iter().filter(|w| **w <= self.served.wave).map(sign).collect();
        unmet.extend(self.slots(&members, timeout, now));
        unmet.extend(held(&members));
        unmet.extend(self.leases(terms.needs_lease, &members));
        for (number, wave) in (0u32..).zip(&terms.waves).take((self.served.wave as usize).saturating_add(1)) {
            let mine: Vec<_> = members.iter().filter(|m| m.progress.wave == number).collect();
            let tally = Tally::of(mine.iter().map(|m| &m.progress), timeout, now);
            let by = if mine.iter().all(|m| m.proven) { Word::Device } else { Word::Server };
            let named = |standing: &[Standing]| {
                names(mine.iter().filter(|m| standing.contains(&m.progress.standing(timeout, now))).map(|m| m.id))
            };
            if let Some(reason) = ceiling(number, wave, &tally) {
                let failed = named(&[Standing::Failed, Standing::Retrying, Standing::TimedOut]);
                let how = format!(
                    "somebody finds out why ({failed}); then suturectl rollout resume {0} --reason TEXT, or suturectl rollout \
                     rollback {0} --reason TEXT --yes",
                    self.id
                );
                unmet.push(Unmet::with(by, reason, Remedy::Person { how }));
                continue;
            }
            // The last wave opens nothing; before it, what an earlier one lacks is past once the next is open.
            if (number as usize) < last && number == self.served.wave {
                unmet.extend(self.gate(judge(number, wave, &tally, now), (wave.soak_secs, &tally), by, &named));
            }
        }
        unmet.extend(unsigned.iter().filter(|w| **w == self.served.wave.saturating_add(1)).map(sign));
        unmet
    }

    /// Devices that wait for a lease: for whom, and who says when that one is back.
    fn leases(&self, needed: bool, members: &[Member<'_>]) -> Option<Unmet> {
        let waits = |code| {
            let said = members.iter().filter(move |m| m.reason.as_ref().is_some_and(|r| r.code == code));
            said.filter(|m| !m.progress.phase.is_outcome()).map(|m| m.id)
        };
        if !needed || waits(Code::WardBusy).next().is_none() {
            return None;
        }
        let down: Vec<Down> = self.served.leases.iter().filter_map(Down::of).collect();
        let who = match down.as_slice() {
            [] => "as many of the ward are down by another rollout as may be".to_owned(),
            down => down.iter().take(NAMED).map(|d| d.text.as_str()).collect::<Vec<_>>().join("; "),
        };
        let text =
            format!("wait until a device of their ward is back in service: {}; {who}", names(waits(Code::WardBusy)));
        let how = match down.as_slice() {
            [one] => format!(
                "{0} comes back into service; where it is, and cannot say so: suturectl device return {0} --reason TEXT",
                one.device
            ),
            _ => "one of them comes back into service; where it is, and cannot say so: suturectl device return DEVICE --reason \
                  TEXT"
                .to_owned(),
        };
        Some(Unmet::with(Word::Server, Reason::new(Code::WardBusy, text), Remedy::Itself { how }))
    }

    /// What a gate lacks.
    fn gate(
        &self,
        gate: Gate,
        (soak_secs, tally): (u32, &Tally),
        by: Word,
        named: &impl Fn(&[Standing]) -> String,
    ) -> Option<Unmet> {
        let reason = match gate {
            Gate::Open => return None,
            Gate::Shut(reason) | Gate::Failed(reason) => reason,
        };
        let soak = SignedDuration::from_secs(i64::from(soak_secs));
        let until = tally.last_confirmed.and_then(|at| at.checked_add(soak).ok());
        let remedy = match until.filter(|_| reason.text.contains("is watched until")) {
            Some(at) => Remedy::Time { how: "the wave has stood for its time".to_owned(), at },
            None if tally.open() == 0 => {
                Remedy::Command { how: format!("suturectl rollout resume {} --reason TEXT, without these", self.id) }
            }
            None => Remedy::Itself {
                how: format!(
                    "its devices confirm: {}",
                    named(&[Standing::Awaited, Standing::Begun, Standing::Retrying])
                ),
            },
        };
        Some(Unmet::with(by, reason, remedy))
    }

    /// The next slot of the devices that may begin, where none of them is in one and none is at it.
    fn slots(&self, members: &[Member<'_>], timeout: SignedDuration, now: Timestamp) -> Option<Unmet> {
        let open = |m: &&Member<'_>| m.progress.wave <= self.served.wave;
        let at_it = |m: &Member<'_>| m.progress.standing(timeout, now) == Standing::Begun;
        let mut waiting =
            members.iter().filter(open).filter(|m| m.progress.standing(timeout, now) == Standing::Awaited);
        if members.iter().any(at_it) {
            return None;
        }
        let next = waiting.clone().filter_map(|m| m.next_slot).min()?;
        if next <= now {
            return None;
        }
        let first = waiting.find(|m| m.next_slot == Some(next))?.id;
        let text =
            format!("no device that may begin is in a slot; the next, of {first}, begins at {}", format_utc(next));
        let remedy = Remedy::Time { how: format!("the slot of {first} begins"), at: next };
        Some(Unmet::with(Word::Signed, Reason::new(Code::BeforeSlot, text), remedy))
    }

    /// Those that the approval names, as far as the server and their own reports tell.
    fn members<'a>(&'a self, approval: &'a Approval, now: Timestamp) -> Vec<Member<'a>> {
        let told: BTreeMap<&str, &v1::RolloutDevice> = self.served.devices.iter().map(|d| (d.id.as_str(), d)).collect();
        let member = |device: &'a suture_core::approval::DeviceSlots| {
            let id = device.id.as_str();
            let told = told.get(id);
            let proven = self.proven.get(id).copied();
            let phase = proven.or_else(|| told.and_then(|d| parse_phase(d.phase))).unwrap_or(Phase::Offered);
            let since = told.and_then(|d| Timestamp::from_millisecond(d.changed_ms).ok()).unwrap_or(now);
            let slots_end = device.slots.last().map_or(now, |s| s.end);
            Member {
                id,
                progress: Progress {
                    wave: device.wave,
                    phase,
                    since,
                    slots_end,
                    barred: told.is_some_and(|d| d.barred),
                    forgiven: told.is_some_and(|d| d.forgiven),
                },
                proven: proven.is_some(),
                reason: told.and_then(|d| parse_reason(d.reason.as_ref())),
                next_slot: suture_core::select::slot_at(&device.slots, now).map(|s| s.start),
            }
        };
        approval.devices.iter().map(member).collect()
    }
}

/// Devices that only a person can help, by what the server says that they said; a condition for each reason.
fn held(members: &[Member<'_>]) -> Vec<Unmet> {
    let persons = [
        Code::PersonNeeded,
        Code::InterlockUnknown,
        Code::ClockUnproven,
        Code::DiskFull,
        Code::StateDamaged,
        Code::HeldHere,
        Code::Deferred,
        Code::ReturnToService,
    ];
    let mut by_code: BTreeMap<&str, (Code, BTreeSet<&str>)> = BTreeMap::new();
    for m in members {
        let over = m.progress.phase.is_outcome();
        // A device that is confirmed may wait for a person's check, and for nothing else.
        let counts = |code| persons.contains(&code) && (!over || code == Code::ReturnToService);
        if let Some(reason) = m.reason.as_ref().filter(|r| counts(r.code)) {
            by_code.entry(reason.code.as_str()).or_insert((reason.code, BTreeSet::new())).1.insert(m.id);
        }
    }
    let told = |(code, devices): (Code, BTreeSet<&str>)| {
        let who = names(devices.iter().copied());
        let text = match code {
            Code::ReturnToService => format!("confirmed, and out of service until a person has checked them: {who}"),
            Code::Deferred => format!("put off again and again by their interlocks: {who}"),
            Code::HeldHere => format!("held back by somebody at the device: {who}"),
            _ => format!("wait for a person: {who}"),
        };
        Unmet::new(Word::Server, Reason::new(code, text), &About::default())
    };
    by_code.into_values().map(told).collect()
}

/// `pump-1, pump-2 and 7 more`.
fn names<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = ids.collect();
    let first = all.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hospital::fixture::{approval, at, id, wave};
    use suture_core::approval::{StopOrder, VerifiedStop};

    /// Two waves of one device each, whose slots are from 02:00 to 03:00.
    fn documents(signed: bool) -> Documents {
        let approval = approval("pump-2", at("2026-11-25T03:00:00Z"), &[wave(false), wave(signed)]);
        Documents { approvals: vec![approval], ..Documents::default() }
    }

    fn served(state: &str, reason: Option<Code>, wave: u32, phases: &[v1::Phase]) -> v1::Rollout {
        let device = |(n, phase): (u32, &v1::Phase)| v1::RolloutDevice {
            id: format!("pump-{}", n + 1),
            wave: n,
            phase: *phase as i32,
            changed_ms: at("2026-11-25T02:05:00Z").as_millisecond(),
            ..Default::default()
        };
        v1::Rollout {
            state: state.to_owned(),
            reason: reason.map(|code| (&Reason::new(code, "so it is")).into()),
            wave,
            waves: 2,
            devices: (0..).zip(phases).map(device).collect(),
            ..Default::default()
        }
    }

    fn unmet(documents: &Documents, served: &v1::Rollout, proven: &[(&str, Phase)], now: &str) -> Vec<Unmet> {
        let rollout = id("pump-2");
        let proven = proven.iter().map(|(id, phase)| ((*id).to_owned(), *phase)).collect();
        let seen = Seen { id: &rollout, documents, served, proven };
        seen.unmet(|_| None, at(now))
    }

    fn told(unmet: &[Unmet]) -> Vec<(Word, Code)> {
        unmet.iter().map(|u| (u.by, u.reason.code)).collect()
    }

    const BEFORE: &str = "2026-11-25T01:00:00Z";
    const WITHIN: &str = "2026-11-25T02:10:00Z";

    #[test]
    fn before_its_slots_it_waits_for_the_gate_and_for_the_time() {
        let offered = served("running", None, 0, &[v1::Phase::Offered, v1::Phase::Offered]);
        let why = unmet(&documents(false), &offered, &[], BEFORE);
        assert_eq!(told(&why), [(Word::Signed, Code::BeforeSlot), (Word::Server, Code::WaveClosed)]);
        assert!(matches!(&why[1].remedy, Remedy::Itself { how } if how.contains("pump-1")), "{why:?}");
        assert!(matches!(why[0].remedy, Remedy::Time { at: begins, .. } if begins == at("2026-11-25T02:00:00Z")));
        // A report that a device has signed makes it the device's word.
        let why = unmet(&documents(false), &offered, &[("pump-1", Phase::Confirmed)], WITHIN);
        assert_eq!(told(&why), [], "the gate is open by what is signed, whatever the server has not done yet");
        let why = unmet(&documents(false), &offered, &[("pump-1", Phase::Installing)], WITHIN);
        assert_eq!(told(&why), [(Word::Device, Code::WaveClosed)]);
    }

    #[test]
    fn a_wave_that_waits_for_a_signature_says_what_to_type() {
        let confirmed = served("running", None, 0, &[v1::Phase::Confirmed, v1::Phase::Offered]);
        let why = unmet(&documents(true), &confirmed, &[("pump-1", Phase::Confirmed)], WITHIN);
        assert_eq!(told(&why), [(Word::Signed, Code::SignatureNeeded)]);
        assert!(
            matches!(&why[0].remedy, Remedy::Command { how } if how.contains("rollout open pump-2 --wave 2")),
            "{why:?}"
        );
    }

    #[test]
    fn a_failure_comes_with_the_device_and_the_two_ways_on() {
        let failed = served("paused", Some(Code::FailureCeiling), 0, &[v1::Phase::FellBack, v1::Phase::Offered]);
        let why = unmet(&documents(false), &failed, &[("pump-1", Phase::FellBack)], WITHIN);
        assert_eq!(told(&why), [(Word::Server, Code::Paused), (Word::Device, Code::FailureCeiling)]);
        let Remedy::Person { how } = &why[1].remedy else { panic!("{why:?}") };
        assert!(how.contains("pump-1") && how.contains("rollout resume pump-2") && how.contains("rollback"), "{how}");
    }

    #[test]
    fn whom_somebody_has_let_go_is_named_no_more() {
        let mut failed = served("running", None, 0, &[v1::Phase::FellBack, v1::Phase::Offered]);
        failed.devices[0].barred = true;
        let proven = [("pump-1", Phase::FellBack)];
        assert_eq!(told(&unmet(&documents(false), &failed, &proven, WITHIN)), [(Word::Device, Code::FailureCeiling)]);
        failed.devices[0].forgiven = true;
        assert_eq!(told(&unmet(&documents(false), &failed, &proven, WITHIN)), []);
    }

    #[test]
    fn a_ward_that_is_busy_says_for_whom_it_waits_and_who_says_that_it_is_back() {
        let mut waiting = served("running", None, 0, &[v1::Phase::Waiting, v1::Phase::Offered]);
        waiting.devices[0].reason = Some((&Reason::new(Code::WardBusy, "1 of icu may be down")).into());
        waiting.leases = vec![v1::Lease {
            device: "pump-9".to_owned(),
            approval_id: "pump-2".to_owned(),
            ward_cap: 1,
            silence_secs: 7_200,
            taken_ms: at(WITHIN).as_millisecond(),
            begun_ms: at(WITHIN).as_millisecond(),
            heard_ms: at(WITHIN).as_millisecond(),
            returned_ms: 0,
        }];
        let mut documents = documents(false);
        assert!(
            !told(&unmet(&documents, &waiting, &[], WITHIN)).contains(&(Word::Server, Code::WardBusy)),
            "no leases"
        );
        documents.approvals[0].terms.needs_lease = true;
        let why = unmet(&documents, &waiting, &[], WITHIN);
        let busy = why.iter().find(|u| u.reason.code == Code::WardBusy).unwrap();
        assert!(busy.reason.text.contains("pump-1; pump-9 is down since"), "{}", busy.reason.text);
        let Remedy::Itself { how } = &busy.remedy else { panic!("{busy:?}") };
        assert!(how.contains("suturectl device return pump-9"), "{how}");
        waiting.leases.clear();
        let why = unmet(&documents, &waiting, &[], WITHIN);
        assert!(why.iter().any(|u| u.reason.text.contains("by another rollout")), "{why:?}");
    }

    #[test]
    fn what_is_signed_comes_before_what_the_server_says() {
        let mut documents = documents(false);
        let order = StopOrder::next(id("riverside"), id("pump-2"), None, true, at(BEFORE)).unwrap();
        documents.stops = vec![VerifiedStop::kept(&order.sign(&[]).unwrap()).unwrap()];
        let paused = served("paused", Some(Code::StopOrder), 0, &[v1::Phase::Confirmed, v1::Phase::Offered]);
        let rollout = id("pump-2");
        let proven = BTreeMap::from([("pump-1".to_owned(), Phase::Confirmed)]);
        let seen = Seen { id: &rollout, documents: &documents, served: &paused, proven };
        let why = seen.unmet(|_| Some("the alarm is too quiet".to_owned()), at(WITHIN));
        assert_eq!(told(&why), [(Word::Signed, Code::Withdrawn), (Word::Signed, Code::StopOrder)]);
        assert!(why[0].reason.text.contains("the alarm is too quiet"));
    }

    #[test]
    fn what_is_over_is_over() {
        let expired = served("expired", None, 0, &[v1::Phase::Offered, v1::Phase::Offered]);
        let why = unmet(&documents(false), &expired, &[], "2026-11-26T00:00:00Z");
        assert_eq!(told(&why), [(Word::Signed, Code::SlotsOver)]);
        assert_eq!(told(&unmet(&Documents::default(), &expired, &[], WITHIN)), [(Word::Signed, Code::SlotsOver)]);
        let done = served("complete", None, 1, &[]);
        assert!(unmet(&documents(false), &done, &[], WITHIN).is_empty());
        let mut both = documents(false);
        let mut other = both.approvals[0].clone();
        (other.terms.id, other.terms.supersedes) = (id("pump-3"), vec![id("pump-2")]);
        both.approvals.push(other);
        let superseded = served("superseded", Some(Code::Superseded), 0, &[]);
        assert_eq!(told(&unmet(&both, &superseded, &[], WITHIN)), [(Word::Signed, Code::Superseded)]);
    }

    #[test]
    fn a_sentence_names_few_devices() {
        assert_eq!(names(["a", "b"].into_iter()), "a, b");
        assert_eq!(names(["a", "b", "c", "d", "e", "f", "g"].into_iter()), "a, b, c, d, e and 2 more");
    }
}
