//! What was in force once, what is past its time, and files that do not belong together.

use serde_json::json;
use suture_core::clock::format_utc;
use suture_core::trust::Role;
use suture_tests::hostile::pin;

use super::super::stage::{Row, real_time, row};
use super::{BAD_METADATA, both_ways};

const ROLLBACK: &[Row] = &[
    row("rollback of the timestamp", "an older version, freshly signed", "idle(rollback)", |act, _| {
        let key = act.loot.approvals.timestamp_key.clone();
        act.loot.approvals.next(Role::Timestamp, &[&key], |signed| signed["version"] = json!(1));
    }),
    row("rollback of the snapshot", "an older version under a new timestamp", "idle(rollback)", |act, _| {
        let key = act.loot.approvals.timestamp_key.clone();
        let old = act.loot.approvals.metadata["1.snapshot.json"].clone();
        act.loot.approvals.next(Role::Timestamp, &[&key], |signed| signed["meta"]["snapshot.json"] = pin(&old));
    }),
    row(
        "rollback of the approvals",
        "an older version under a new snapshot and timestamp",
        "idle(rollback)",
        |act, _| {
            let now = act.loot.now;
            let old = act.loot.approvals.metadata["1.targets.json"].clone();
            act.loot.approvals.seal(&old, now);
        },
    ),
    row(
        "rollback of the catalog",
        "an older version under a new snapshot and timestamp",
        "idle(rollback)",
        |act, _| {
            let now = act.loot.now;
            let old = act.loot.catalog.metadata["1.targets.json"].clone();
            act.loot.catalog.seal(&old, now);
        },
    ),
    row("rollback by omission", "a snapshot that lists no approvals any more", BAD_METADATA, |act, _| {
        let now = act.loot.now;
        let targets = act.loot.approvals.bytes(Role::Targets).to_vec();
        let drop = |signed: &mut serde_json::Value| {
            signed["meta"] = json!({ "others.json": pin(&targets) });
        };
        act.loot.approvals.seal_edited(&targets, now, drop, |_| {});
    }),
];

const FREEZE: &[Row] = &[
    row("freeze", "a timestamp that has expired", "idle(metadata-expired)", |act, _| {
        let (now, past) = (act.loot.now, act.loot.now - jiff::SignedDuration::from_secs(1));
        let targets = act.loot.approvals.bytes(Role::Targets).to_vec();
        act.loot.approvals.seal_edited(&targets, now, |_| {}, |signed| signed["expires"] = json!(format_utc(past)));
    }),
    row("freeze", "a snapshot that has expired", "idle(metadata-expired)", |act, _| {
        let (now, past) = (act.loot.now, act.loot.now - jiff::SignedDuration::from_secs(1));
        let targets = act.loot.approvals.bytes(Role::Targets).to_vec();
        act.loot.approvals.seal_edited(&targets, now, |signed| signed["expires"] = json!(format_utc(past)), |_| {});
    }),
    row(
        "freeze",
        "approvals that have expired, for ever under fresh online signatures",
        "idle(metadata-expired)",
        |act, keys| {
            let (now, past) = (act.loot.now, act.loot.now - jiff::SignedDuration::from_secs(1));
            act.loot.approvals.publish(&[&keys.approvals], now, |signed| signed["expires"] = json!(format_utc(past)));
        },
    ),
    row("freeze", "a catalog that has expired, the same way", "idle(metadata-expired)", |act, keys| {
        let (now, past) = (act.loot.now, act.loot.now - jiff::SignedDuration::from_secs(1));
        act.loot.catalog.publish(&[&keys.catalog], now, |signed| signed["expires"] = json!(format_utc(past)));
    }),
    row("freeze", "a root that has expired", "idle(metadata-expired)", |act, keys| {
        let past = act.loot.now - jiff::SignedDuration::from_secs(1);
        act.loot.approvals.next(Role::Root, &[&keys.approvals_root], |root| root["expires"] = json!(format_utc(past)));
    }),
    row("freeze", "a timestamp that never changes, until it expires", "idle(metadata-expired)", |act, _| {
        // The approvals that the device knows, and nothing newer: it has no way to know better before that time.
        let (now, soon) = (act.loot.now, real_time() + jiff::SignedDuration::from_secs(4));
        let known = act.loot.approvals.known();
        act.loot.approvals.seal_edited(&known, now, |_| {}, |signed| signed["expires"] = json!(format_utc(soon)));
    }),
];

pub(crate) const MIX_AND_MATCH: &[Row] = &[
    row("mix-and-match", "another snapshot of the version that the timestamp pins", "idle(mix-and-match)", |act, _| {
        let key = act.loot.approvals.snapshot_key.clone();
        act.loot.approvals.next(Role::Snapshot, &[&key], |signed| {
            signed["version"] = json!(signed["version"].as_u64().unwrap() - 1);
            signed["expires"] = json!("2099-01-01T00:00:00Z");
        });
    }),
    row("mix-and-match", "older approvals under the name of the newest", "idle(mix-and-match)", |act, _| {
        let newest = act.loot.approvals.version(Role::Targets);
        let old = act.loot.approvals.metadata["1.targets.json"].clone();
        act.loot.approvals.metadata.insert(format!("{newest}.targets.json"), old);
    }),
    row("mix-and-match", "the same, pinned by length and hash as that version", "idle(mix-and-match)", |act, _| {
        let now = act.loot.now;
        let newest = act.loot.approvals.version(Role::Targets);
        let old = act.loot.approvals.metadata["1.targets.json"].clone();
        act.loot.approvals.metadata.insert(format!("{newest}.targets.json"), old.clone());
        let lie = |signed: &mut serde_json::Value| signed["meta"]["targets.json"]["version"] = json!(newest);
        act.loot.approvals.seal_edited(&old, now, lie, |_| {});
    }),
    row("mix-and-match", "a snapshot whose second hash of the approvals is wrong", "idle(mix-and-match)", |act, _| {
        let now = act.loot.now;
        let targets = act.loot.approvals.bytes(Role::Targets).to_vec();
        let lie = |signed: &mut serde_json::Value| {
            signed["meta"]["targets.json"]["hashes"]["sha512"] = json!("0".repeat(128));
        };
        act.loot.approvals.seal_edited(&targets, now, lie, |_| {});
    }),
    row("mix-and-match", "a snapshot that hashes the approvals by nothing known", BAD_METADATA, |act, _| {
        let now = act.loot.now;
        let targets = act.loot.approvals.bytes(Role::Targets).to_vec();
        let lie = |signed: &mut serde_json::Value| signed["meta"]["targets.json"]["hashes"] = json!({ "md5": "00" });
        act.loot.approvals.seal_edited(&targets, now, lie, |_| {});
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_in_force_once() {
    both_ways(&[("Rollback", ROLLBACK), ("Mix-and-match", MIX_AND_MATCH)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_past_its_time() {
    both_ways(&[("Freeze", FREEZE)]).await;
}
