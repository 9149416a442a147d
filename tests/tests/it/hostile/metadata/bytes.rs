//! Files that cannot be read, that can be read in two ways, or that have no end.

use serde_json::json;
use suture_core::trust::Role;
use suture_tests::hostile::{Act, sign};

use super::super::stage::{Row, row};
use super::{BAD_METADATA, ENDLESS_DATA, both_ways};

/// Files that two readers could understand differently. The attacker signs what the online keys sign.
const DOUBLE_MEANING: &[Row] = &[
    row("duplicate JSON names", "a timestamp with two versions", BAD_METADATA, |act, _| {
        spoil(act, |text| text.replacen("\"version\":", "\"version\":9,\"version\":", 1));
    }),
    row("a number of two readings", "a timestamp whose version is 5.0", BAD_METADATA, |act, _| {
        spoil(act, |text| format!("{}.0}}}}", text.trim_end_matches("}}")));
    }),
    row("two files in one", "a second object behind the timestamp", BAD_METADATA, |act, _| {
        spoil(act, |text| format!("{text}{{}}"));
    }),
    row("a nest without a floor", "16,000 brackets", BAD_METADATA, |act, _| {
        spoil(act, |_| "[".repeat(16_000));
    }),
    row(
        "one role for another",
        "a snapshot under the timestamp's name, signed with its key",
        BAD_METADATA,
        |act, _| {
            let key = act.loot.approvals.timestamp_key.clone();
            let snapshot = act.loot.approvals.signed(Role::Snapshot);
            act.loot.approvals.metadata.insert("timestamp.json".to_owned(), sign(&snapshot, &[&key]));
        },
    ),
    row("version 0", "a snapshot that pins a version 0", BAD_METADATA, |act, _| {
        let now = act.loot.now;
        let targets = act.loot.approvals.bytes(Role::Targets).to_vec();
        let lie = |signed: &mut serde_json::Value| signed["meta"]["targets.json"]["version"] = json!(0);
        act.loot.approvals.seal_edited(&targets, now, lie, |_| {});
    }),
    row("a bomb of metadata", "approvals of 2 MiB that hold 300,000 objects", BAD_METADATA, |act, _| {
        let (now, version) = (act.loot.now, act.loot.approvals.version(Role::Targets) + 1);
        let objects = r#"{"":0},"#.repeat(300_000);
        let bomb = format!(r#"{{"signatures":[],"signed":{{"version":{version},"x":[{objects}0]}}}}"#);
        act.loot.approvals.put(Role::Targets, bomb.clone().into_bytes());
        act.loot.approvals.seal(bomb.as_bytes(), now);
    }),
    row("an expiry of two readings", "a timestamp that ends at 2099-01-01T00:00:00+14:00", BAD_METADATA, |act, _| {
        let now = act.loot.now;
        let targets = act.loot.approvals.bytes(Role::Targets).to_vec();
        let lie = |signed: &mut serde_json::Value| signed["expires"] = json!("2099-01-01T00:00:00+14:00");
        act.loot.approvals.seal_edited(&targets, now, |_| {}, lie);
    }),
];

pub(crate) const ENDLESS: &[Row] = &[
    row("endless data", "a timestamp of 17 KiB", ENDLESS_DATA, |act, _| {
        spoil(act, |text| format!("{text}{}", " ".repeat(17 << 10)));
    }),
    row("endless data", "a timestamp of 20 MiB, more than any message may have", ENDLESS_DATA, |act, _| {
        spoil(act, |text| format!("{text}{}", " ".repeat(20 << 20)));
    }),
    row("endless data", "a next root of 600 KiB", ENDLESS_DATA, |act, _| {
        act.loot.approvals.metadata.insert("2.root.json".to_owned(), vec![b' '; 600 << 10]);
    }),
    row("endless data", "a snapshot one byte longer than its timestamp pins", ENDLESS_DATA, |act, _| {
        let name = Role::Snapshot.served_name(act.loot.approvals.version(Role::Snapshot));
        act.loot.approvals.metadata.get_mut(&name).unwrap().push(b' ');
    }),
    row("endless data", "approvals one byte longer than their snapshot pins", ENDLESS_DATA, |act, _| {
        let name = Role::Targets.served_name(act.loot.approvals.version(Role::Targets));
        act.loot.approvals.metadata.get_mut(&name).unwrap().push(b' ');
    }),
];

/// The approvals' timestamp, its text changed.
fn spoil(act: &mut Act, change: fn(String) -> String) {
    let text = String::from_utf8(act.loot.approvals.bytes(Role::Timestamp).to_vec()).unwrap();
    let spoilt = change(text.clone());
    assert_ne!(spoilt, text);
    act.loot.approvals.metadata.insert("timestamp.json".to_owned(), spoilt.into_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_or_has_no_end() {
    both_ways(&[("Files of two meanings", DOUBLE_MEANING), ("Endless metadata", ENDLESS)]).await;
}
