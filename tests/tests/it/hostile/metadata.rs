//! Attacks by metadata.

use serde_json::json;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::{Role, key_id};
use suture_tests::hostile::{Act, pin, sign};

use super::stage::{Keys, Row, Stage, real_time, row};

/// Targets metadata of either repository that their owner has not signed.
pub(super) const ARBITRARY: &[Row] = &[
    row(
        ARBITRARY_SOFTWARE,
        "approvals that nobody signed, under a real snapshot and timestamp",
        BAD_SIGNATURE,
        |act, _| {
            let now = act.loot.now;
            act.loot.approvals.publish(&[], now, |_| {});
        },
    ),
    row(ARBITRARY_SOFTWARE, "approvals signed with both of its online keys", BAD_SIGNATURE, |act, _| {
        let now = act.loot.now;
        let [a, b] = [act.loot.approvals.snapshot_key.clone(), act.loot.approvals.timestamp_key.clone()];
        act.loot.approvals.publish(&[&a, &b], now, |_| {});
    }),
    row(ARBITRARY_SOFTWARE, "approvals signed with a key of its own", BAD_SIGNATURE, |act, keys| {
        let now = act.loot.now;
        act.loot.approvals.publish(&[&keys.attacker], now, |_| {});
    }),
    row(
        ARBITRARY_SOFTWARE,
        "approvals signed by the manufacturer instead of the hospital",
        BAD_SIGNATURE,
        |act, keys| {
            let now = act.loot.now;
            act.loot.approvals.publish(&[&keys.catalog, &keys.catalog_root], now, |_| {});
        },
    ),
    row(
        ARBITRARY_SOFTWARE,
        "a catalog signed by the hospital instead of the manufacturer",
        BAD_SIGNATURE,
        |act, keys| {
            let now = act.loot.now;
            act.loot.catalog.publish(&[&keys.approvals, &keys.approvals_root], now, |_| {});
        },
    ),
    row(ARBITRARY_SOFTWARE, "a catalog signed with its online keys", BAD_SIGNATURE, |act, _| {
        let now = act.loot.now;
        let [a, b] = [act.loot.catalog.snapshot_key.clone(), act.loot.catalog.timestamp_key.clone()];
        act.loot.catalog.publish(&[&a, &b], now, |_| {});
    }),
    row(
        "a role's key used for another role",
        "approvals signed with the hospital's root key",
        BAD_SIGNATURE,
        |act, keys| {
            let now = act.loot.now;
            act.loot.approvals.publish(&[&keys.approvals_root], now, |_| {});
        },
    ),
    row("a role's key used for another role", "a timestamp signed with the snapshot key", BAD_SIGNATURE, |act, _| {
        let key = act.loot.approvals.snapshot_key.clone();
        act.loot.approvals.next(Role::Timestamp, &[&key], |_| {});
    }),
    row("a signature kept under changed content", "the approvals, one instant changed", BAD_SIGNATURE, |act, _| {
        let now = act.loot.now;
        let real = String::from_utf8(act.loot.approvals.bytes(Role::Targets).to_vec()).unwrap();
        let expires = act.loot.approvals.signed(Role::Targets)["expires"].as_str().unwrap().to_owned();
        let changed = real.replace(&expires, "2099-01-01T00:00:00Z").into_bytes();
        act.loot.approvals.put(Role::Targets, changed.clone());
        act.loot.approvals.seal(&changed, now);
    }),
    row("one repository for another", "the catalog's files as the hospital's approvals", BAD_SIGNATURE, |act, _| {
        act.loot.approvals.metadata = act.loot.catalog.metadata.clone();
        // A root of another chain would be refused before.
        act.loot.approvals.metadata.remove("1.root.json");
        let now = act.loot.now;
        let targets = act.loot.catalog.bytes(Role::Targets).to_vec();
        act.loot.approvals.snapshot_key = act.loot.catalog.snapshot_key.clone();
        act.loot.approvals.timestamp_key = act.loot.catalog.timestamp_key.clone();
        act.loot.approvals.seal(&targets, now);
    }),
];

/// Who has signed, told wrongly; and the chain of roots.
pub(super) const KEYS_AND_ROOTS: &[Row] = &[
    row("key-id games", "its own signature under the hospital's key id", BAD_SIGNATURE, |act, keys| {
        forge_ids(act, keys, |own, owner| vec![(owner.to_owned(), own.to_owned())]);
    }),
    row("key-id games", "one key id that signs twice", BAD_METADATA, |act, keys| {
        forge_ids(act, keys, |own, owner| vec![(owner.to_owned(), own.to_owned()); 2]);
    }),
    row("threshold tricks", "one key of two under two ids, where two must sign", BAD_SIGNATURE, |act, keys| {
        // The owner's own root, made careless: the same key, and once more with a field that changes its id.
        let now = act.loot.now;
        let mut twin = act.loot.approvals.signed(Role::Root)["keys"][id(&keys.approvals)].clone();
        twin["note"] = json!("once more");
        let canonical = suture_core::json::canonical(&twin).unwrap();
        let twin_id = Digest::of(&canonical).to_string();
        act.loot.approvals.next(Role::Root, &[&keys.approvals_root], |root| {
            root["keys"][&twin_id] = twin;
            root["roles"]["targets"] = json!({ "keyids": [id(&keys.approvals), twin_id], "threshold": 2 });
        });
        act.loot.approvals.publish(&[&keys.approvals], now, |_| {});
        let mut file: serde_json::Value = serde_json::from_slice(act.loot.approvals.bytes(Role::Targets)).unwrap();
        let mut second = file["signatures"][0].clone();
        second["keyid"] = json!(twin_id);
        file["signatures"].as_array_mut().unwrap().push(second);
        let bytes = suture_core::json::to_bytes(&file).unwrap();
        act.loot.approvals.put(Role::Targets, bytes.clone());
        act.loot.approvals.seal(&bytes, now);
    }),
    row("threshold tricks", "a root that asks for no signature at all", BAD_METADATA, |act, keys| {
        act.loot
            .approvals
            .next(Role::Root, &[&keys.approvals_root], |root| root["roles"]["targets"]["threshold"] = json!(0));
    }),
    row("threshold tricks", "a root that lists one key id twice", BAD_METADATA, |act, keys| {
        act.loot.approvals.next(Role::Root, &[&keys.approvals_root], |root| {
            let id = id(&keys.approvals);
            root["roles"]["targets"] = json!({ "keyids": [id, id], "threshold": 2 });
        });
    }),
    row("key-id games", "a root in which the hospital's id stands for its own key", BAD_METADATA, |act, keys| {
        act.loot.approvals.next(Role::Root, &[&keys.approvals_root], |root| {
            root["keys"][id(&keys.approvals)]["keyval"]["public"] = json!(keys.attacker.public().to_string());
        });
    }),
    row("root self-signed", "a next root with its own keys, signed by them", BAD_SIGNATURE, |act, keys| {
        act.loot.approvals.next(Role::Root, &[&keys.attacker], |root| take_over(root, &keys.attacker));
    }),
    row(
        "root self-signed",
        "the same for the catalog, signed with the online keys as well",
        BAD_SIGNATURE,
        |act, keys| {
            let online = act.loot.catalog.timestamp_key.clone();
            act.loot.catalog.next(Role::Root, &[&keys.attacker, &online], |root| take_over(root, &keys.attacker));
        },
    ),
    row("root half signed", "a next root that its own new keys have not signed", BAD_SIGNATURE, |act, keys| {
        act.loot.approvals.next(Role::Root, &[&keys.approvals_root], |root| take_over(root, &keys.attacker));
    }),
    row("root skipped", "the root after next in the place of the next", "idle(mix-and-match)", |act, keys| {
        let next = act.loot.approvals.next(Role::Root, &[&keys.approvals_root], |root| root["version"] = json!(3));
        act.loot.approvals.metadata.remove("3.root.json");
        act.loot.approvals.metadata.insert("2.root.json".to_owned(), next);
    }),
    row("root rolled back", "the first root again in the place of the next", "idle(rollback)", |act, _| {
        let first = act.loot.approvals.bytes(Role::Root).to_vec();
        act.loot.approvals.metadata.insert("2.root.json".to_owned(), first);
    }),
    row("a revocation withheld", "errors in the place of the root that revokes a stolen key", UNMOVED, |act, keys| {
        // The hospital's old key approves whatever the thief likes; the next root, which says so, cannot be had.
        let now = act.loot.now;
        act.loot.approvals.publish(&[&keys.approvals], now, |_| {});
        act.metadata = Some(std::sync::Arc::new(|(of, name)| {
            (of == "approvals" && name == "2.root.json").then(|| Err(tonic::Status::internal("try again")))
        }));
    }),
];

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
        let version = act.loot.approvals.version(Role::Targets) - 1;
        let known = act.loot.approvals.metadata[&format!("{version}.targets.json")].clone();
        act.loot.approvals.seal_edited(&known, now, |_| {}, |signed| signed["expires"] = json!(format_utc(soon)));
    }),
];

pub(super) const MIX_AND_MATCH: &[Row] = &[
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
    row("an expiry of two readings", "a timestamp that ends at 2099-01-01T00:00:00+14:00", BAD_METADATA, |act, _| {
        let now = act.loot.now;
        let targets = act.loot.approvals.bytes(Role::Targets).to_vec();
        let lie = |signed: &mut serde_json::Value| signed["expires"] = json!("2099-01-01T00:00:00+14:00");
        act.loot.approvals.seal_edited(&targets, now, |_| {}, lie);
    }),
];

pub(super) const ENDLESS: &[Row] = &[
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

const ARBITRARY_SOFTWARE: &str = "arbitrary software";
const BAD_SIGNATURE: &str = "idle(bad-signature)";
const BAD_METADATA: &str = "idle(bad-metadata)";
const ENDLESS_DATA: &str = "idle(endless-data)";
/// It goes by what it has, in which nothing is approved.
const UNMOVED: &str = "idle(nothing-approved)";

fn id(key: &LocalKey) -> String {
    key_id(&key.public()).unwrap().to_string()
}

/// A root under which everything is the attacker's.
pub(super) fn take_over(root: &mut serde_json::Value, by: &LocalKey) {
    let own = id(by);
    root["keys"][&own] = suture_core::trust::key_object(&by.public());
    for role in ["root", "targets", "snapshot", "timestamp"] {
        root["roles"][role] = json!({ "keyids": [own], "threshold": 1 });
    }
}

/// Approvals signed by the attacker, whose signatures are then written anew: `ids` is given the attacker's signature and the
/// hospital's key id, and gives key ids with signatures.
fn forge_ids(act: &mut Act, keys: &Keys, ids: fn(&str, &str) -> Vec<(String, String)>) {
    let now = act.loot.now;
    act.loot.approvals.publish(&[&keys.attacker], now, |_| {});
    let mut file: serde_json::Value = serde_json::from_slice(act.loot.approvals.bytes(Role::Targets)).unwrap();
    let signature = file["signatures"][0]["sig"].as_str().unwrap().to_owned();
    let signatures = ids(&signature, &id(&keys.approvals)).into_iter();
    file["signatures"] = signatures.map(|(keyid, sig)| json!({ "keyid": keyid, "sig": sig })).collect();
    let bytes = suture_core::json::to_bytes(&file).unwrap();
    act.loot.approvals.put(Role::Targets, bytes.clone());
    act.loot.approvals.seal(&bytes, now);
}

/// The approvals' timestamp, its text changed.
fn spoil(act: &mut Act, change: fn(String) -> String) {
    let text = String::from_utf8(act.loot.approvals.bytes(Role::Timestamp).to_vec()).unwrap();
    let spoilt = change(text.clone());
    assert_ne!(spoilt, text);
    act.loot.approvals.metadata.insert("timestamp.json".to_owned(), spoilt.into_bytes());
}

/// Plays tables twice: the device asks for file after file, and it is sent everything with the answer to its check-in.
async fn both_ways(tables: &[(&str, &[Row])]) {
    let mut stage = Stage::open().await;
    for (in_one_answer, how) in [(false, "file by file"), (true, "in one answer")] {
        stage.in_one_answer = in_one_answer;
        for (table, rows) in tables {
            stage.play(&format!("{table}, {how}"), rows).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_their_owners_have_not_signed() {
    both_ways(&[("Arbitrary software", ARBITRARY)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_thresholds_and_roots() {
    both_ways(&[("Keys, thresholds and roots", KEYS_AND_ROOTS)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_in_force_once() {
    both_ways(&[("Rollback", ROLLBACK), ("Mix-and-match", MIX_AND_MATCH)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_past_its_time() {
    both_ways(&[("Freeze", FREEZE)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_or_has_no_end() {
    both_ways(&[("Files of two meanings", DOUBLE_MEANING), ("Endless metadata", ENDLESS)]).await;
}
