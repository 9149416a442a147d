//! The properties that the fuzz targets try (`core/fuzz`), held to the committed seeds, so that they hold on every build and
//! not only where somebody fuzzes. The seeds are real documents, small; `SUTURE_SEEDS=write` writes them anew:
//!
//! ```text
//! SUTURE_SEEDS=write cargo test -p suture-core --test fuzz_seeds
//! ```

#![expect(clippy::unwrap_used, reason = "tests; a failure ought to stop them where it happens")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use suture_core::approval::{
    Clearance, GateNote, Gates, Head, OperatorDocument, Register, Roster, Service, SignedDocument, SlotShard, StopOrder,
};
use suture_core::archive::Writer;
use suture_core::audit::Entry;
use suture_core::chunk::{self, Index};
use suture_core::delta::{Payload, make};
use suture_core::digest::Digest;
use suture_core::event::Batch;
use suture_core::life::Life;
use suture_core::manifest::Manifest;
use suture_core::plan::Plan;
use suture_core::report::Report;
use suture_core::responsibility::{Agreement, Consent};
use suture_core::risk::Assessment;
use suture_core::sign::{LocalKey, Signer};
use suture_core::token::Token;
use suture_core::trust::Role;
use suture_core::window::Calendar;
use zeroize::Zeroizing;

#[cfg(test)]
#[path = "../fuzz/properties/mod.rs"]
mod properties;

type Hold = fn(&[u8]);
const TARGETS: [(&str, Hold); 9] = [
    ("json", properties::json::hold),
    ("metadata", properties::metadata::hold),
    ("refresh", properties::refresh::hold),
    ("documents", properties::documents::hold),
    ("foreign", properties::foreign::hold),
    ("payload", properties::payload::hold),
    ("ranges", properties::ranges::hold),
    ("records", properties::records::hold),
    ("delta", properties::delta::hold),
];

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}

#[test]
fn the_properties_hold_for_every_seed_and_for_what_is_left_of_it_when_it_is_cut_or_spoilt() {
    if std::env::var("SUTURE_SEEDS").is_ok_and(|v| v == "write") {
        write_seeds();
    }
    for (target, hold) in TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(folder(target)).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            hold(&bytes);
            for i in 1..8 {
                hold(bytes.get(..bytes.len() * i / 8).unwrap());
                let mut spoilt = bytes.clone();
                let place = bytes.len() * i / 8;
                spoilt.iter_mut().skip(place).take(1).for_each(|b| *b ^= 1 << i);
                hold(&spoilt);
            }
            count += 1;
        }
        assert!(count > 0, "no seeds for {target}");
    }
}

/// Seeds that the parsers refuse would lead the fuzzer nowhere: a document whose form has changed is changed here too.
#[test]
fn the_seeds_are_documents_that_the_parsers_accept() {
    let bytes = |value: &Value| serde_json::to_vec(value).unwrap();
    Head::parse(&bytes(&head())).unwrap();
    SlotShard::parse(&bytes(&slots())).unwrap();
    Register::parse(&bytes(&register())).unwrap();
    Roster::parse(&bytes(&roster())).unwrap();
    StopOrder::parse(&bytes(&stop())).unwrap();
    Clearance::parse(&bytes(&clearance())).unwrap();
    OperatorDocument::parse(&bytes(&operator_document())).unwrap();
    Calendar::parse(&bytes(&calendar())).unwrap();
    Plan::parse(&bytes(&plan())).unwrap();
    Gates::parse(&bytes(&gates())).unwrap();
    GateNote::parse(&bytes(&gate_note())).unwrap();
    Service::parse(&bytes(&service())).unwrap();
    Life::parse(&bytes(&life())).unwrap();
    Assessment::parse(&bytes(&assessment())).unwrap();
    Agreement::parse(&bytes(&agreement())).unwrap();
    Consent::parse(&bytes(&consent())).unwrap();
    Manifest::parse(&bytes(&manifest())).unwrap();
    Entry::parse(1, &bytes(&audit())).unwrap();
    serde_json::from_value::<Report>(report()).unwrap();
    serde_json::from_value::<Report>(report_with_all()).unwrap();
    serde_json::from_value::<Batch>(events()).unwrap();
    serde_json::from_value::<Token>(token()).unwrap();
}

fn life() -> Value {
    let change = |at: &str, eos: &str, more: Value| {
        let mut change = json!({
            "at": at, "by": "ada", "why": "as sold",
            "dates": { "general_availability": "2026-01-01", "end_of_life": "2030-01-01", "end_of_support": eos },
            "components": [{ "component": "pkg:generic/openssl@1.1.1", "end_of_support": "2027-05-01" }],
            "not_covered": ["the Bluetooth stack"],
        });
        change.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        change
    };
    let range = json!({ "releases": "1..3", "earlier": "the old board" });
    let changes =
        [change("2026-02-01T00:00:00Z", "2032-01-01", json!({})), change("2026-03-01T00:00:00Z", "2031-06-01", range)];
    json!({ "_type": "suture-life", "format": 1, "product": "pump", "changes": changes })
}

fn assessment() -> Value {
    json!({
        "_type": "suture-risk", "format": 1, "hdo": "riverside", "number": 1,
        "group": { "product": "pump", "releases": "1..3", "wards": ["icu"], "labels": { "area": ["icu"] }, "devices": ["pump-1"] },
        "hazard": "a wrong dose", "likelihood": "remote", "severity": "critical", "exploitability": "low",
        "treatment": "acceptance", "reason": "no other pump", "compensating": ["a network of their own"],
        "reviewer": "Dr. Lee", "expires": "2027-05-01", "name": "kim", "assessed_at": "2026-11-24T15:00:00Z",
    })
}

fn agreement() -> Value {
    let cell = json!({ "task": "apply-patches", "stage": "support", "holder": "shared-manufacturer", "note": "contract 4711" });
    json!({
        "_type": "suture-agreement", "format": 1, "hdo": "riverside", "product": "pump", "number": 1, "cells": [cell],
        "from": "2027-01-01", "until": "2028-01-01", "reason": "on site", "name": "ada",
        "proposed_at": "2026-11-24T15:00:00Z",
    })
}

fn consent() -> Value {
    json!({
        "_type": "suture-consent", "format": 1, "hdo": "riverside", "product": "pump", "number": 1,
        "agreement_sha256": Digest::of(b"agreement"), "name": "kim", "consented_at": "2026-11-25T15:00:00Z",
    })
}

/// Every seed, by target and name. What a target reads behind its first byte is said in its property's doc.
fn seeds() -> BTreeMap<(&'static str, String), Vec<u8>> {
    let mut seeds = BTreeMap::new();
    let mut put = |target, name: &str, choice: Option<u8>, bytes: &[u8]| {
        let mut seed: Vec<u8> = choice.into_iter().collect();
        seed.extend_from_slice(bytes);
        seeds.insert((target, name.to_owned()), seed);
    };
    let text = |value: &Value| serde_json::to_vec(value).unwrap();

    put("json", "mixed", None, "{\"a\": [1, -7, true, null], \"\u{e9}\": \"x\\n\\u0001\\\"\\\\\u{301}\"}".as_bytes());
    put("json", "nested", None, format!("{}{}", "[".repeat(64), "]".repeat(64)).as_bytes());
    put("json", "numbers", None, b"[18446744073709551615,-9223372036854775808,0,-1]");

    for (role, file) in properties::world::repository() {
        let choice = u8::try_from(Role::ALL.iter().position(|r| *r == role).unwrap()).unwrap();
        let signed = serde_json::from_slice::<Value>(&file).unwrap();
        put("metadata", &format!("{role}-file"), Some(choice), &file);
        put("metadata", &format!("{role}-signed"), Some(choice | 4), &text(signed.get("signed").unwrap()));
        if role == Role::Root {
            let second = properties::world::second_root();
            put("metadata", "next-root", Some(choice), &second);
        }
    }

    put("refresh", "honest", None, &[11, 9, 11, 9, 11]);
    put("refresh", "rotate", None, &[11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 11]);
    put("refresh", "online-keys", None, &[0, 0, 0, 0, 0, 192, 0, 160, 0, 0, 0, 0, 9, 8, 1, 11]);
    put("refresh", "replay", None, &[9, 9, 11, 6, 3, 200, 11, 7, 250, 7, 250, 11]);
    put("refresh", "late", None, &[1, 0, 170, 0, 2, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 8, 2, 7, 100, 11]);

    let documents = [
        ("approval", head()),
        ("roster", roster()),
        ("stop", stop()),
        ("operator", operator_document()),
        ("calendar", calendar()),
        ("slots", slots()),
        ("register", register()),
        ("service", service()),
        ("stop-signed", stop()),
        ("plan", plan()),
        ("gates", gates()),
        ("gate-note", gate_note()),
    ];
    for (choice, (name, document)) in (0..).zip(&documents) {
        put("documents", name, Some(choice), &text(document));
    }
    put("documents", "ics", Some(12), ICS.as_bytes());
    put("documents", "clearance", Some(13), &text(&clearance()));
    put("documents", "life", Some(14), &text(&life()));
    put("documents", "risk", Some(15), &text(&assessment()));
    put("documents", "agreement", Some(16), &text(&agreement()));
    put("documents", "consent", Some(17), &text(&consent()));

    for (choice, kind) in [(0, "sbom"), (1, "vex")] {
        for (name, document) in others(kind) {
            put("foreign", &name, Some(choice), &document);
        }
    }
    put("foreign", "purl", Some(2), b"pkg:deb/debian/attr@1:2.4.47-2%2Bb1?arch=source#usr/bin");
    put("foreign", "notes", Some(3), "# 1.1.0\n\n- a louder alarm \u{e9}\n".as_bytes());
    put("foreign", "form", Some(3), b"%PDF-1.7\n%%EOF\n");

    put("payload", "manifest", Some(0), &text(&manifest()));
    let entry = chunk::Entry { sha256: Digest::of(b"raw"), length: 3 };
    put("payload", "index", Some(1), &Index::new(vec![entry, entry]).unwrap().to_bytes());
    put("payload", "stored-raw", Some(2), b"\x03\x00\x00raw");
    let frame = chunk::encode(&[7; 300], 1).unwrap();
    put("payload", "stored-frame", Some(2), &[&[0x2c, 1, 0], frame.as_slice()].concat());
    let mut tree = Writer::new(Vec::new()).unwrap();
    tree.directory("bin", 0o755).unwrap();
    tree.file("bin/pump", 0o755, 5, b"hello".as_slice()).unwrap();
    tree.link("current", "bin/pump").unwrap();
    put("payload", "tree", Some(3), &tree.finish().unwrap());
    put("payload", "cut", Some(4), b"cut where the content says");

    for (name, seed) in delta() {
        let choice = match name {
            "head" => 0,
            "pair" => 2,
            _ => 1,
        };
        put("delta", name, Some(choice), &seed);
    }

    put("records", "report", Some(0), &text(&report()));
    put("records", "report-record", Some(0), &text(&report_with_all()));
    put("records", "audit", Some(1), &text(&audit()));
    put("records", "events", Some(6), &text(&events()));
    for (name, seed) in [
        ("deb", "vers:deb/>=3.0.2|<3.0.8\n3.0.5-1~deb12u1\n1:3.0.2\n3.0.8~rc1\n3.0.8"),
        ("npm", "vers:npm/<1.0.0|>=1.2.3|!=1.5.0|<2.0.0|3.0.0\n1.5.0-rc.1\nv1.5\n1.5.0+build\n4"),
        ("rpm", "vers:rpm/1%3A1.1.1k-9.el8|>2:0\n1:1.1.1k-9.el8\n2.0^git1\n2.0~rc1\n02"),
        ("generic", "vers:generic/<=4.2|5.0\n4.2rc1\n4.02\n4.2.0.1\nfinal"),
        ("all", "vers:pypi/*\n1.0"),
        ("names", "vers:pypi/1.0|%C3%A9%7C\n1.0\n1.0.0"),
    ] {
        put("ranges", name, None, seed.as_bytes());
    }
    let token: Token = serde_json::from_value(token()).unwrap();
    put("records", "token", Some(2), token.encode().unwrap().as_bytes());
    let key = LocalKey::from_seed(&Zeroizing::new([7; 32]));
    put("records", "pem", Some(3), key.to_pem(None).unwrap().as_bytes());
    let key = key.public().to_string();
    for (name, value) in [
        ("id", "pump-07"),
        ("uri", "spiffe://acme.example/hdo/riverside/device/pump-1"),
        ("concern", "hdo/riverside"),
        ("key", &key),
        ("phase", "confirmed"),
    ] {
        put("records", name, Some(4), value.as_bytes());
    }
    for (name, value) in [
        ("date", "2026-11-24T15:00:00Z"),
        ("weekly", "sat,mon-wed 02:00 1h30m"),
        ("once", "2026-11-24T17:00 30m"),
        ("freeze", "2026-12-24..2027-01-02"),
    ] {
        put("records", name, Some(5), value.as_bytes());
    }
    seeds
}

/// The small ones of the documents that others wrote (`tests/documents`).
fn others(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents").join(kind);
    let documents = fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
    });
    documents.filter(|(_, bytes)| bytes.len() < 8 << 10).collect()
}

/// What the target `delta` reads: a head, a map with its frame, two payloads.
fn delta() -> Vec<(&'static str, Vec<u8>)> {
    let old = properties::delta::old_payload(0);
    let mut pair = 300_u16.to_le_bytes().to_vec();
    pair.extend_from_slice(old.get(..300).unwrap());
    pair.extend_from_slice(old.get(100..300).unwrap());
    pair.extend_from_slice(b"and more");
    let (head, frame) = delta_from(&old, 0);
    let (_, arm) = delta_from(&properties::delta::old_payload(1), 1);
    let (_, relocatable) = delta_from(&properties::delta::old_payload(2), 2);
    let (_, packed) = delta_from(&[], 0);
    let seeds = [("head", head), ("frame", frame), ("arm", arm), ("relocatable", relocatable), ("packed", packed)];
    seeds.into_iter().chain([("pair", pair)]).collect()
}

/// The head of a delta, and its one region as the target reads it: with the kind of old payload that it leads from.
fn delta_from(old: &[u8], kind: u32) -> (Vec<u8>, Vec<u8>) {
    let mut new = if old.is_empty() { properties::delta::old_payload(0) } else { old.to_vec() };
    new.splice(9_000..9_000, *b"fresh bytes, and fresh bytes again..");
    new.iter_mut().step_by(501).skip(1).for_each(|byte| *byte ^= 3);
    let payload = |bytes: &[u8]| Payload { sha256: Digest::of(bytes), length: bytes.len() as u64 };
    let length = new.len() as u32;
    let mut parts = Vec::new();
    let new_source = new.as_slice();
    let head = make((&old, payload(old)), (&new_source, payload(&new)), &[u64::from(length)], |part| parts.push(part))
        .unwrap();
    let part = parts.first().unwrap();
    let mut region = (kind << 30 | length).to_le_bytes().to_vec();
    region.extend_from_slice(&(part.map.len() as u16).to_le_bytes());
    region.extend_from_slice(&part.map);
    region.extend_from_slice(part.frames.first().unwrap());
    (head.to_bytes().unwrap(), region)
}

fn write_seeds() {
    for (target, _) in TARGETS {
        fs::create_dir_all(folder(target)).unwrap();
        for old in fs::read_dir(folder(target)).unwrap() {
            fs::remove_file(old.unwrap().path()).unwrap();
        }
    }
    for ((target, name), bytes) in seeds() {
        fs::write(folder(target).join(name), bytes).unwrap();
    }
}

fn sha256() -> String {
    Digest::of(b"m").to_string()
}

fn step() -> Value {
    json!({
        "path": "bundles/pump/2/manifest.json", "length": 1234, "sha256": sha256(), "product": "pump", "release": 2,
        "hardware": ["rev-a"],
    })
}

fn gate() -> Value {
    json!({
        "needs_server": true, "needs_signature": true, "min_confirmed_percent": 100, "max_failures": 0,
        "max_failed_percent": 100, "soak_secs": 3600,
    })
}

fn devices() -> Value {
    let slot = json!({ "start": "2026-11-28T02:00:00Z", "end": "2026-11-28T02:30:00Z" });
    json!([{ "id": "d-1", "wave": 0, "slots": [slot] }])
}

fn pinned(path: &str) -> Value {
    json!({ "path": path, "length": 5, "sha256": sha256() })
}

fn head() -> Value {
    let terms = json!({
        "id": "a-1", "hdo": "riverside", "created": "2026-11-24T15:00:00Z", "expires": "2026-12-01T15:00:00Z",
        "steps": [step()], "supersedes": ["a-0"], "waves": [gate()], "max_attempts": 1, "retry_wait_secs": 900,
        "attempt_timeout_secs": 3600, "needs_lease": true, "ward_cap": 1, "permit_downgrade": false,
        "operator_document": pinned("operator/a-1.json"),
    });
    let shard = json!({ "length": 5, "sha256": sha256() });
    json!({ "_type": "suture-approval", "format": 1, "terms": terms, "devices": 3, "shards": [shard, shard] })
}

fn slots() -> Value {
    json!({ "_type": "suture-slots", "format": 1, "approval": "a-1", "part": "all", "devices": devices() })
}

fn register() -> Value {
    let files = ["calendars/wards/icu.json", "operator/a-1.json", "rosters/0.json", "rosters/1.json"].map(pinned);
    json!({ "_type": "suture-register", "format": 1, "hdo": "riverside", "files": files })
}

fn roster() -> Value {
    let key = LocalKey::from_seed(&Zeroizing::new([7; 32])).public();
    let device = json!({
        "id": "d-1", "report_key": key, "product": "pump", "hardware": "rev-a", "ward": "icu",
        "labels": { "area": "icu" },
    });
    json!({ "_type": "suture-roster", "format": 1, "hdo": "riverside", "part": "all", "devices": [device] })
}

fn stop() -> Value {
    json!({
        "_type": "suture-stop", "format": 1, "hdo": "riverside", "approval": "a-1", "counter": 1, "stopped": true,
        "signed_at": "2026-11-24T12:00:00Z",
    })
}

fn clearance() -> Value {
    json!({
        "_type": "suture-clearance", "format": 1, "hdo": "riverside", "device": "d-1", "approval": "a-1",
        "manifest": sha256(), "reported_at": "2026-11-24T12:00:00Z", "by": "kim", "reason": "flow measured",
        "signed_at": "2026-11-24T12:30:00Z",
    })
}

fn operator_document() -> Value {
    json!({
        "_type": "suture-operator-document", "format": 1, "approval": "a-1", "approver": "kim", "meaning": "approved",
        "reason": "a fault\nin the pump", "ticket": "CHG-1",
        "rosters": [pinned("rosters/all.json")], "plan_sha256": sha256(),
    })
}

fn gates() -> Value {
    let open = |wave: u32| json!({ "wave": wave, "opened": "2026-11-28T12:00:00Z", "note": pinned(&format!("gate-notes/a-1.{wave}.json")) });
    json!({
        "_type": "suture-gates", "format": 1, "hdo": "riverside", "approval": "a-1", "head_sha256": sha256(),
        "open": [open(0), open(2)],
    })
}

fn gate_note() -> Value {
    json!({
        "_type": "suture-gate-note", "format": 1, "approval": "a-1", "wave": 2, "approver": "kim",
        "reason": "the first pump\nran for a night",
    })
}

fn calendar() -> Value {
    json!({
        "_type": "suture-calendar", "format": 1, "hdo": "riverside", "scope": { "ward": "icu" }, "zone": "Europe/Vienna",
        "windows": [
            { "begins": { "weekly": { "days": ["sat", "sun"], "start": "02:00:00" } }, "duration_secs": 7200 },
            { "begins": { "once": { "start": "2026-11-27T17:00:00" } }, "duration_secs": 1800 },
            {
                "begins": { "rule": {
                    "start": "2026-11-10T01:00:00", "rule": "FREQ=MONTHLY;COUNT=12;BYDAY=2TU", "except": ["2026-12-08"],
                } },
                "duration_secs": 3600,
            },
        ],
        "freezes": [{ "first": "2026-12-24", "last": "2027-01-02" }],
    })
}

/// A change board's file.
const ICS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1@board\r\nSUMMARY:Patch\r\n  night\r\n\
    DTSTART;TZID=Europe/Vienna:20261110T010000\r\nDTEND;TZID=\"Europe/Vienna\":20261110T030000\r\n\
    RRULE:FREQ=MONTHLY;BYDAY=2TU\r\nEXDATE;VALUE=DATE:20261208\r\nRDATE:20261212T010000\r\nEND:VEVENT\r\n\
    BEGIN:VEVENT\r\nUID:1@board\r\nRECURRENCE-ID;TZID=Europe/Vienna:20270112T010000\r\nDTSTART:20270114T210000Z\r\n\
    DURATION:PT90M\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nUID:2@board\r\nDTSTART;VALUE=DATE:20261224\r\n\
    DTEND;VALUE=DATE:20270103\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn service() -> Value {
    json!({
        "_type": "suture-service", "format": 1, "hdo": "riverside", "since": 3,
        "addresses": ["https://suture.acme.example:7443", "https://[2001:db8::1]"], "authorities": ["MAMBAf8="],
    })
}

fn running() -> Value {
    json!({ "version": "1.0.0", "release": 1, "manifest": sha256() })
}

fn plan() -> Value {
    json!({
        "_type": "suture-plan", "format": 1, "hdo": "riverside", "created": "2026-11-24T15:00:00Z",
        "request": {
            "approval": "a-1", "selector": {
                "wards": ["icu"], "labels": { "area": ["icu"] }, "devices": [], "running": "1..3",
            },
            "waves": [{ "size": { "count": 1 }, "gate": gate() }, { "size": "rest", "gate": gate() }],
            "cap": 1, "slack_secs": 600, "slots_per_device": 1, "not_before": "2026-11-24T15:00:00Z",
            "horizon_secs": 604_800, "deadline": "2026-11-30T00:00:00Z", "spread_secs": 60, "max_attempts": 1, "retry_wait_secs": 900, "attempt_timeout_secs": 3600,
            "leases": true, "permit_downgrade": false, "supersedes": [], "reuse_slots": true, "ticket": "CHG-1",
        },
        "bundle": {
            "step": step(), "version": "2.0.0", "class": "routine", "min_release": 1, "status": "current",
            "floors": [{ "release": 2, "floor": 1, "status": "current" }], "risks": [risk()], "budget_secs": 600, "revert_budget_secs": 300,
            "return_to_service": true, "installer": "slots", "data": { "format": 2, "reads": [1] }, "payload_bytes": 5,
        },
        "way": [],
        "rosters": [pinned("rosters/all.json")],
        "wards": [
            { "ward": "icu", "zone": "Europe/Vienna", "calendars": [pinned("calendars/wards/icu.json")], "devices": ["d-1"] },
        ],
        "inventory": [{ "id": "d-1", "ward": "icu", "product": "pump", "running": running(), "installs": { "by": "slots", "data": 1, "keeps": true }, "proven": true, "settled": true }],
        "waves": [{
            "gate": gate(), "devices": 1, "begins": "2026-11-28T02:00:00Z", "ends": "2026-11-28T02:30:00Z",
        }],
        "devices": devices(), "blocked": [{ "id": "d-2", "reason": { "code": "no-opening", "text": "none" } }],
        "no_way_back": [{ "id": "d-1", "reason": { "code": "below-floor", "text": "below" } }],
        "supersedes": ["a-0"], "settled": ["d-1"], "reuses_until": "2026-11-28T02:00:00Z", "expected_finish": "2026-11-28T02:30:00Z", "expires": "2026-11-28T02:30:00Z",
    })
}

fn risk() -> Value {
    json!({ "from": "1..3", "hardware": ["rev-b"], "text": "the alarm is quiet", "url": "https://acme.example/fsn" })
}

fn manifest() -> Value {
    json!({
        "_type": "suture-manifest", "format": 1, "product": "pump", "version": "2.0.0", "release": 2,
        "hardware": ["rev-a"], "requires": { "min_release": 1 }, "class": "routine",
        "install": { "kind": "slots", "budget_secs": 600, "revert_budget_secs": 300, "return_to_service": true },
        "payloads": [{
            "name": "app", "format": "tree", "length": 5, "sha256": sha256(), "index_length": 56, "index_sha256": sha256(),
        }],
        "documents": [{ "kind": "release-notes", "name": "notes.md", "length": 9, "sha256": sha256() }],
        "risks": [risk()],
    })
}

fn report() -> Value {
    let seen = json!({ "root": 1, "targets": 2, "targets_sha256": sha256() });
    json!({
        "_type": "suture-report", "hdo": "riverside", "device": "d-1", "number": 1, "at": "2026-11-24T15:00:00Z",
        "product": "pump", "running": running(), "integrity": { "at": "2026-11-24T14:00:00Z", "drift": "slot a differs" },
        "approval": "a-1", "manifest": sha256(), "phase": "waiting",
        "reason": { "code": "in-use", "text": "in use" }, "sources": {
            "total_bytes": 447_000_000, "slot_a_bytes": 430_000_000, "slot_b_bytes": 0, "delta_made_bytes": 16_000_000,
            "chunk_made_bytes": 1_000_000, "delta_bytes": 2_100_000, "chunk_bytes": 300_000,
        }, "took": { "install_secs": 90, "revert_secs": 20 }, "catalog": seen, "approvals": seen,
    })
}

/// A report with everything that one may have besides.
fn report_with_all() -> Value {
    let more = json!({
        "stop": 3, "permanent": true,
        "record": { "head": { "size": 7, "root": sha256() }, "doubt": "the record does not go on from entry 7" },
        "log": { "line": 4711, "sha256": sha256() },
    });
    let mut report = report();
    report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    report
}

fn events() -> Value {
    let event = |number: u64, kind: &str| {
        json!({ "number": number, "event": {
            "what": { "kind": kind, "observer": "device", "hdo": "riverside", "subject": "hdo/riverside/device/d-1", "detail": "catalog" },
            "first": "2026-11-24T14:00:00Z", "last": "2026-11-24T15:00:00Z", "count": number,
        } })
    };
    let events = [event(1, "signature-refused"), event(4, "clock-wrong")];
    json!({ "_type": "suture-events", "hdo": "riverside", "device": "d-1", "events": events })
}

fn audit() -> Value {
    json!({
        "_type": "suture-audit", "seq": 1, "at": "2026-11-24T15:00:00Z", "actor": "hdo/riverside/operator/kim",
        "concerns": "hdo/riverside", "action": "rollout.pause", "subject": "a-1", "detail": { "reason": "a fault" },
        "salt": "07070707070707070707070707070707",
    })
}

fn token() -> Value {
    json!({
        "server": "https://localhost:7443", "ca_sha256": sha256(), "trust_domain": "acme.example",
        "grant": { "device": ["riverside", null] }, "catalog_root_sha256": sha256(), "approvals_root_sha256": null,
        "expires": "2026-11-24T15:00:00Z", "secret": "09".repeat(32),
    })
}
