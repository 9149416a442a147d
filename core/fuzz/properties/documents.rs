//! The documents that a hospital signs, each by its type: read, written and read again they say the same.

use std::fmt::Debug;

use jiff::SignedDuration;
use jiff::civil::Date;
use suture_core::approval::{
    Clearance, GateNote, Gates, Head, OperatorDocument, Register, Roster, Service, SignedDocument, SlotShard,
    StopOrder, VerifiedClearance, VerifiedStop,
};
use suture_core::id::HdoId;
use suture_core::json;
use suture_core::life::Life;
use suture_core::limits::MAX_OPENINGS;
use suture_core::plan::Plan;
use suture_core::responsibility::{Agreement, Consent};
use suture_core::risk::Assessment;
use suture_core::trust::Verified;
use suture_core::window::{self, Calendar, Scope};
use suture_core::word::{Spoken, Word};

use super::world;

/// The first byte says which document.
pub(crate) fn hold(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    match choice % 18 {
        0 => head(rest),
        1 => drop(document::<Roster>(rest)),
        2 => drop(document::<StopOrder>(rest)),
        3 => drop(document::<OperatorDocument>(rest)),
        4 => calendar(rest),
        5 => slots(rest),
        6 => register(rest),
        7 => service(rest),
        8 => stop(rest),
        10 => gates(rest),
        11 => drop(document::<GateNote>(rest)),
        12 => ics(rest),
        13 => clearance(rest),
        14 => life(rest),
        15 => word::<Assessment>(rest),
        16 => word::<Agreement>(rest),
        17 => word::<Consent>(rest),
        _ => plan(rest),
    }
}

fn document<T: SignedDocument + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let document = T::parse(bytes).ok()?;
    assert!(bytes.len() as u64 <= T::MAX_BYTES);
    let (kind, format) = document.header();
    assert_eq!((kind, format), (T::TYPE, 1));
    let written = document.to_bytes().expect("what was read is valid and can be written");
    if written.len() as u64 <= T::MAX_BYTES {
        let again = T::parse(&written).expect("what was written can be read");
        assert_eq!(again, document);
        assert_eq!(again.to_bytes().expect("as before"), written, "one document has one form");
    }
    Some(document)
}

/// A history that is read is admitted change by change, and what it says of a day does not go back with the days.
fn life(bytes: &[u8]) {
    let Some(life) = document::<Life>(bytes) else { return };
    let (first, rest) = life.changes().split_first().expect("a history says something");
    let mut again = Life::begin(life.product.clone(), first.clone()).expect("it was admitted");
    for change in rest {
        let longer = again.then(change.clone()).expect("it was admitted");
        assert_eq!(longer.extends(&again).expect("it begins with what was said"), std::slice::from_ref(change));
        again = longer;
    }
    assert_eq!(again, life);
    let scopes = life.ranges().into_iter().map(|range| Some(range.first())).chain([None]);
    for scope in scopes {
        let stages = (2000..2100).map(|year| life.standing(scope, Date::constant(year, 1, 1)).stage);
        assert!(stages.is_sorted());
    }
}

/// A word that nobody signed is read as it was written; one that names a key needs its signature.
fn word<D: Spoken + PartialEq + Debug>(bytes: &[u8]) {
    if let Some(document) = document::<D>(bytes) {
        let unsigned = Word::unsigned(&document);
        assert_eq!(unsigned.is_ok(), document.key().is_none());
    }
    if let Ok(word) = Word::<D>::read(bytes) {
        assert_eq!(word.bytes(), bytes);
    }
}

fn head(bytes: &[u8]) {
    let Some(head) = document::<Head>(bytes) else { return };
    let device = "d-1".parse().expect("a device's id");
    let mut pins = head.shards().filter(|(part, _)| part.holds(&device));
    assert_eq!((pins.next(), pins.next()), (head.shard_of(&device), None), "a device has just one shard");
    assert_eq!(head.shards().count(), head.shards.len());
}

fn slots(bytes: &[u8]) {
    let Some(shard) = document::<SlotShard>(bytes) else { return };
    for device in &shard.devices {
        assert!(shard.part.holds(&device.id));
        let mut end = None;
        for slot in &device.slots {
            assert!(slot.start < slot.end);
            assert!(end.is_none_or(|end| end <= slot.start), "two slots of one device overlap");
            end = Some(slot.end);
        }
    }
}

fn register(bytes: &[u8]) {
    let Some(register) = document::<Register>(bytes) else { return };
    for file in &register.files {
        assert_eq!(register.file(&file.path), Some(file));
    }
}

fn gates(bytes: &[u8]) {
    let Some(gates) = document::<Gates>(bytes) else { return };
    for open in &gates.open {
        assert!(gates.opens(open.wave), "a wave that it lists is open");
    }
    let open = (0..64).filter(|wave| gates.opens(*wave)).count();
    assert_eq!(open, gates.open.len(), "each wave once, and none that it does not list");
    assert_eq!(gates.closed_again(&gates), None);
}

fn calendar(bytes: &[u8]) {
    let Some(calendar) = document::<Calendar>(bytes) else { return };
    let from = world::now();
    let until = from + SignedDuration::from_hours(24 * 60);
    let Ok(openings) = window::openings(&[&calendar], from, until, 64) else { return };
    assert!(openings.len() <= 64.min(MAX_OPENINGS));
    let mut end = None;
    for opening in &openings {
        assert!(from <= opening.start && opening.start < opening.end && opening.end <= until);
        assert!(end.is_none_or(|end| end < opening.start), "two openings overlap or touch");
        end = Some(opening.end);
    }
}

/// A change board's file: read or refused, and what is read can be signed, or is refused for what a calendar may not be.
fn ics(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let reading = window::ics::Reading { zone: Some("Europe/Vienna".to_owned()), ..Default::default() };
    let Ok(imported) = window::ics::import(text, &reading) else { return };
    let hdo: HdoId = "riverside".parse().expect("an id");
    let (windows, freezes, recurring) = (imported.windows, imported.freezes, imported.recurring);
    let read = Calendar { windows, freezes, recurring, ..Calendar::empty(hdo, Scope::Hospital, imported.zone) };
    let Ok(signed) = read.to_bytes() else { return };
    calendar(&signed);
    let file = window::ics::export(&read, world::now()).expect("its zone is known");
    let again = window::ics::import(&file, &window::ics::Reading::default()).expect("what was written can be read");
    assert_eq!((&again.freezes, &again.recurring), (&read.freezes, &read.recurring));
    assert_eq!(again.windows.len(), read.windows.len());
}

fn plan(bytes: &[u8]) {
    let Some(plan) = document::<Plan>(bytes) else { return };
    plan.digest().expect("a valid plan has a digest");
    assert!(plan.lost(world::now()).len() <= plan.devices.len());
}

fn service(bytes: &[u8]) {
    let Some(service) = document::<Service>(bytes) else { return };
    let certificates = service.certificates().expect("a valid document's certificates can be read");
    assert_eq!(certificates.iter().map(|der| Service::authority(der)).collect::<Vec<_>>(), service.authorities);
    assert!(service.addresses.iter().all(|a| a.starts_with("https://")));
}

/// What is signed as an order, by one approver and by both: one stops, both lift, and neither for another hospital.
fn stop(signed: &[u8]) {
    let Ok(signed) = json::parse(signed) else { return };
    let root = Verified::pinned(&world::first_root()).expect("a sound root");
    let hdo: HdoId = "riverside".parse().expect("an id");
    let other: HdoId = "lakeside".parse().expect("an id");
    let by = |keys: &[u8]| VerifiedStop::verify(&root, &hdo, &world::seal(&signed, keys));
    assert!(by(&[world::ROOT_A, world::ROOT_B, world::SNAPSHOT]).is_err(), "no approver signed it");
    if let Ok(order) = by(&[world::TARGETS_A]) {
        assert!(order.stopped, "one approver lifts");
    }
    let file = world::seal(&signed, &[world::TARGETS_A, world::TARGETS_B]);
    if let Ok(order) = VerifiedStop::verify(&root, &hdo, &file) {
        assert_eq!(order.bytes(), file);
        assert_eq!(order.hdo, hdo);
        assert_eq!(*VerifiedStop::kept(&file).expect("what was verified can be kept"), *order);
        assert!(VerifiedStop::verify(&root, &other, &file).is_err(), "another hospital's order");
        assert_eq!(by(&[world::TARGETS_B]).is_ok(), order.stopped, "one approver stops");
    }
}

/// What is signed of a checked device, by one approver and by both: both let it go, one never does, nor for another hospital.
fn clearance(bytes: &[u8]) {
    drop(document::<Clearance>(bytes));
    let Ok(signed) = json::parse(bytes) else { return };
    let root = Verified::pinned(&world::first_root()).expect("a sound root");
    let hdo: HdoId = "riverside".parse().expect("an id");
    let other: HdoId = "lakeside".parse().expect("an id");
    for too_few in [&[world::TARGETS_A][..], &[world::TARGETS_B, world::SNAPSHOT], &[world::ROOT_A, world::ROOT_B]] {
        assert!(VerifiedClearance::verify(&root, &hdo, &world::seal(&signed, too_few)).is_err(), "too few approvers");
    }
    let file = world::seal(&signed, &[world::TARGETS_A, world::TARGETS_B]);
    if let Ok(clearance) = VerifiedClearance::verify(&root, &hdo, &file) {
        assert_eq!(clearance.bytes(), file);
        assert_eq!(clearance.hdo, hdo);
        assert_eq!(Clearance::read_unverified(&file).expect("what is verified can be read"), *clearance);
        assert!(VerifiedClearance::verify(&root, &other, &file).is_err(), "another hospital's word");
    }
}
