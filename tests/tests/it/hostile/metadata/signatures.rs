//! Who has signed, and who says so: keys, thresholds, and the chain of roots.

use serde_json::json;
use suture_core::digest::Digest;
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::{Role, key_id};
use suture_tests::hostile::Act;

use super::super::stage::{Keys, Row, row};
use super::{BAD_METADATA, BAD_SIGNATURE, UNMOVED, both_ways};

const ARBITRARY_SOFTWARE: &str = "arbitrary software";

/// Targets metadata of either repository that their owner has not signed.
const ARBITRARY: &[Row] = &[
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
pub(crate) const KEYS_AND_ROOTS: &[Row] = &[
    row("key-id games", "its own signature under the hospital's key id", BAD_SIGNATURE, |act, keys| {
        forge_ids(act, keys, |own, owner| vec![(owner.to_owned(), own.to_owned())]);
    }),
    row("key-id games", "one key id that signs twice", BAD_METADATA, |act, keys| {
        forge_ids(act, keys, |own, owner| vec![(owner.to_owned(), own.to_owned()); 2]);
    }),
    row("threshold tricks", "one key of two under two ids, where two must sign", BAD_SIGNATURE, |act, keys| {
        twin(act, keys, false);
    }),
    row("threshold tricks", "one holder of two keys, where two must sign", BAD_METADATA, |act, keys| {
        twin(act, keys, true);
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

fn id(key: &LocalKey) -> String {
    key_id(&key.public()).unwrap().to_string()
}

/// A root under which everything is the attacker's.
pub(crate) fn take_over(root: &mut serde_json::Value, by: &LocalKey) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_their_owners_have_not_signed() {
    both_ways(&[("Arbitrary software", ARBITRARY)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_thresholds_and_roots() {
    both_ways(&[("Keys, thresholds and roots", KEYS_AND_ROOTS)]).await;
}

/// The owner's own root, made careless: the same key, and once more with a field that changes its id, of which each signs
/// once. Whether the root says who holds it.
fn twin(act: &mut Act, keys: &Keys, held: bool) {
    let now = act.loot.now;
    let root = act.loot.approvals.signed(Role::Root);
    assert!(
        root["x-suture-holders"].as_object().is_some_and(|holders| !holders.is_empty()),
        "the root names no holder"
    );
    let mut twin = root["keys"][id(&keys.approvals)].clone();
    twin["note"] = json!("once more");
    let canonical = suture_core::json::canonical(&twin).unwrap();
    let twin_id = Digest::of(&canonical).to_string();
    act.loot.approvals.next(Role::Root, &[&keys.approvals_root], |root| {
        root["keys"][&twin_id] = twin;
        root["roles"]["targets"] = json!({ "keyids": [id(&keys.approvals), twin_id], "threshold": 2 });
        if !held {
            root["x-suture-holders"] = json!({});
        }
    });
    act.loot.approvals.publish(&[&keys.approvals], now, |_| {});
    let mut file: serde_json::Value = serde_json::from_slice(act.loot.approvals.bytes(Role::Targets)).unwrap();
    let mut second = file["signatures"][0].clone();
    second["keyid"] = json!(twin_id);
    file["signatures"].as_array_mut().unwrap().push(second);
    let bytes = suture_core::json::to_bytes(&file).unwrap();
    act.loot.approvals.put(Role::Targets, bytes.clone());
    act.loot.approvals.seal(&bytes, now);
}
