//! Attacks on delegated roles: a product line of the manufacturer's signs for its own bundles, and the hospital has approved
//! one that it lists.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::{Role, key_id, key_object};
use suture_tests::hostile::{Act, Sends};
use suture_tests::world::{Bundle, Device, Operator, Spec, World, text};
use tonic::Status;

use super::metadata::{BAD_METADATA, BAD_SIGNATURE};
use super::stage::{Keys, Row, Stage, report, row, state, touched};
use super::talk;
use crate::hospital::Hospital;

/// The role.
const LINE: &str = "pumps";
/// What it may speak for.
const PATHS: &str = "bundles/pump/3/*";
/// What the hospital has approved.
const APPROVED: &str = "bundles/pump/3/manifest.json";

/// Lets the line speak for its paths, by a key that it makes.
async fn delegate(world: &World, ada: &Operator) {
    ada.run(&["key", "new", "line", "--no-passphrase"]).await.unwrap();
    let public = ada.json(&["key", "export-public", "line"]).await.unwrap();
    let file = world.path("delegate.envelope.json");
    let public = public["public_key"].as_str().unwrap();
    let args = ["catalog", "delegate", LINE, "--path", PATHS, "--public", public, "--envelope", text(&file)];
    ada.run(&args).await.unwrap();
    ada.run(&["catalog", "sign", text(&file), "--key", "line", "--yes"]).await.unwrap();
}

/// A bundle that the line lists.
async fn publish(world: &World, ada: &Operator, release: u64) -> Bundle {
    let bundle = world.build(ada, Spec { release, ..Spec::default() }).await;
    ada.run(&["bundle", "sign", text(&bundle.dir), "--role", LINE, "--key", "line"]).await.unwrap();
    ada.run(&["bundle", "publish", text(&bundle.dir)]).await.unwrap();
    bundle
}

impl Stage {
    /// A captured server whose catalog delegates. The devices know the line's list as the snapshot has it, and have not
    /// fetched it: nothing of it was approved before.
    async fn delegating() -> Self {
        let hospital = Hospital::open().await;
        delegate(&hospital.world, &hospital.ada).await;
        let third = publish(&hospital.world, &hospital.ada, 3).await;
        let plan = ["--bundle", "pump@3", "--device", "pump-1", "--slots", "1", "--slack", "60s"];
        let draft = hospital.world.draft(&hospital.kim, &plan).await;
        let mut stage = Self::captured(hospital, draft, &[&third]).await;
        let pem = fs::read_to_string(stage.hospital.ada.home().join("keys/line.pem")).unwrap();
        stage.keys.line = Some(LocalKey::from_pem(&pem, None).unwrap());
        assert!(stage.loot.catalog.signed(Role::Targets)["targets"].get(APPROVED).is_none(), "the line alone lists it");
        stage
    }
}

/// The line's list is kept back, or another comes in its place.
const LISTS: &[Row] = &[
    row("withholding", "the line's list cannot be had", "idle(transfer)", |act, _| {
        act.loot.catalog.metadata.retain(|name, _| !name.ends_with(".pumps.json"));
    }),
    row("withholding", "an error in the place of the line's list", "idle(transfer)", |act, _| {
        act.metadata =
            Some(Arc::new(|(_, name)| name.ends_with(".pumps.json").then(|| Err(Status::internal("later")))));
    }),
    row("arbitrary software", "a list signed with a key of its own", BAD_SIGNATURE, |act, keys| {
        publish_list(act, &[&keys.attacker], |_| {});
    }),
    row("arbitrary software", "a list that nobody signed", BAD_SIGNATURE, |act, _| {
        publish_list(act, &[], |_| {});
    }),
    row("arbitrary software", "a list signed with the catalog's online keys", BAD_SIGNATURE, |act, _| {
        let [a, b] = [act.loot.catalog.snapshot_key.clone(), act.loot.catalog.timestamp_key.clone()];
        publish_list(act, &[&a, &b], |_| {});
    }),
    row(
        "a role's key used for another role",
        "a list signed with the catalog's targets and root keys",
        BAD_SIGNATURE,
        |act, keys| publish_list(act, &[&keys.catalog, &keys.catalog_root], |_| {}),
    ),
    row(
        "a role's key used for another role",
        "the catalog's targets signed with the line's key",
        BAD_SIGNATURE,
        |act, keys| {
            let now = act.loot.now;
            act.loot.catalog.publish(&[line(keys)], now, |_| {});
        },
    ),
    row("a delegation to its own key", "in targets that the attacker signs", BAD_SIGNATURE, |act, keys| {
        let now = act.loot.now;
        act.loot.catalog.publish(&[&keys.attacker], now, |signed| take_over(signed, &keys.attacker));
        publish_list(act, &[&keys.attacker], |_| {});
    }),
    row("rollback of a line's list", "an older one under a new snapshot and timestamp", "idle(rollback)", |act, _| {
        let now = act.loot.now;
        let old = act.loot.catalog.metadata["1.pumps.json"].clone();
        act.loot.catalog.seal_delegated(LINE, Some(&old), now);
    }),
    row("rollback by omission", "a snapshot that lists no such list any more", "idle(rollback)", |act, _| {
        let now = act.loot.now;
        act.loot.catalog.seal_delegated(LINE, None, now);
    }),
    row("mix-and-match", "an older list under the name of the newest", "idle(mix-and-match)", |act, _| {
        let newest = act.loot.catalog.delegated(LINE).0;
        let old = act.loot.catalog.metadata["1.pumps.json"].clone();
        act.loot.catalog.metadata.insert(format!("{newest}.pumps.json"), old);
    }),
    row("endless data", "a list one byte longer than its snapshot pins", "idle(endless-data)", |act, _| {
        let newest = act.loot.catalog.delegated(LINE).0;
        act.loot.catalog.metadata.get_mut(&format!("{newest}.pumps.json")).unwrap().push(b' ');
    }),
    row("freeze", "a list that has expired, under fresh online signatures", "idle(metadata-expired)", |act, keys| {
        let past = act.loot.now - jiff::SignedDuration::from_secs(1);
        let past = json!(suture_core::clock::format_utc(past));
        publish_list(act, &[line(keys)], |signed| signed["expires"] = past);
    }),
    row("a file of two readings", "a list with a name twice, signed by the line", BAD_METADATA, |act, keys| {
        publish_list(act, &[line(keys)], |_| {});
        let (version, bytes) = act.loot.catalog.delegated(LINE);
        let text = String::from_utf8(bytes.to_vec()).unwrap().replacen("\"version\":", "\"version\":9,\"version\":", 1);
        let (now, list) = (act.loot.now, text.into_bytes());
        act.loot.catalog.metadata.insert(format!("{version}.pumps.json"), list.clone());
        act.loot.catalog.seal_delegated(LINE, Some(&list), now);
    }),
];

/// Who has the line's key and the server besides: the worst of both.
const LINES_KEY: &[Row] = &[
    row(
        "a line's stolen key",
        "a bundle of its own, go, and nobody has approved it",
        "idle(nothing-approved)",
        |act, keys| {
            let now = act.loot.now;
            publish_list(act, &[line(keys)], |signed| {
                let listed = signed["targets"][APPROVED].clone();
                signed["targets"]["bundles/pump/3/evil.json"] = listed;
            });
            let known = act.loot.approvals.known();
            act.loot.approvals.seal(&known, now);
        },
    ),
    row("a line's stolen key", "other bytes under the path that is approved", "idle(not-in-catalog)", |act, keys| {
        let evil = act.loot.catalog.put_target(APPROVED, b"{\"evil\":true}", None);
        publish_list(act, &[line(keys)], |signed| {
            let custom = signed["targets"][APPROVED]["custom"].clone();
            signed["targets"][APPROVED] = evil;
            signed["targets"][APPROVED]["custom"] = custom;
        });
    }),
    row("a line's stolen key", "what is approved is withdrawn", "idle(withdrawn)", |act, keys| {
        publish_list(act, &[line(keys)], |signed| signed["targets"][APPROVED]["custom"]["status"] = json!("withdrawn"));
    }),
    row("a line's stolen key", "what is approved is listed no more", "idle(not-in-catalog)", |act, keys| {
        publish_list(act, &[line(keys)], |signed| signed["targets"] = json!({}));
    }),
    row(
        "outside of its paths",
        "a bundle of another path, approved by mistake",
        "idle(not-in-catalog)",
        |act, keys| {
            let other = "bundles/pump/4/manifest.json";
            super::documents::hospital(act, keys, |approval| approval["steps"][0]["path"] = json!(other));
            publish_list(act, &[line(keys)], |signed| {
                let listed = signed["targets"][APPROVED].clone();
                signed["targets"][other] = listed;
            });
        },
    ),
    row(
        "outside of its paths",
        "another word on what the catalog has withdrawn itself",
        "idle(withdrawn)",
        |act, keys| {
            // The catalog's own word comes first, whatever the line has listed since.
            let now = act.loot.now;
            let (_, list) = act.loot.catalog.delegated(LINE);
            let listed = serde_json::from_slice::<Value>(list).unwrap()["signed"]["targets"][APPROVED].clone();
            act.loot.catalog.publish(&[&keys.catalog], now, |signed| {
                signed["targets"][APPROVED] = listed;
                signed["targets"][APPROVED]["custom"]["status"] = json!("withdrawn");
            });
            publish_list(act, &[line(keys)], |_| {});
        },
    ),
    row("a line of a line", "the line lets the attacker speak for all bundles", "idle(not-in-catalog)", |act, keys| {
        let now = act.loot.now;
        let (_, list) = act.loot.catalog.delegated(LINE);
        let mut theirs = serde_json::from_slice::<Value>(list).unwrap()["signed"].clone();
        let other = "bundles/pump/4/manifest.json";
        theirs["targets"] = json!({ other: theirs["targets"][APPROVED] });
        theirs["version"] = json!(1);
        super::documents::hospital(act, keys, |approval| approval["steps"][0]["path"] = json!(other));
        publish_list(act, &[line(keys)], |signed| {
            take_over(signed, &keys.attacker);
            signed["delegations"]["roles"][0]["name"] = json!("thieves");
        });
        let theirs = suture_tests::hostile::sign(&theirs, &[&keys.attacker]);
        act.loot.catalog.metadata.insert("1.thieves.json".to_owned(), theirs.clone());
        act.loot.catalog.seal_delegated("thieves", Some(&theirs), now);
    }),
    row("the hospital's approvals", "signed with the line's key", BAD_SIGNATURE, |act, keys| {
        let now = act.loot.now;
        act.loot.approvals.publish(&[line(keys)], now, |_| {});
    }),
];

/// A hospital delegates nothing, and whoever has its keys cannot either.
const APPROVALS: &[Row] = &[
    row("approvals that delegate", "to the attacker, signed by the hospital's own key", BAD_METADATA, |act, keys| {
        let now = act.loot.now;
        act.loot.approvals.publish(&[&keys.approvals], now, |signed| take_over(signed, &keys.attacker));
    }),
    row("approvals that delegate", "to nobody, signed by the hospital's own key", BAD_METADATA, |act, keys| {
        let now = act.loot.now;
        act.loot.approvals.publish(&[&keys.approvals], now, |signed| {
            signed["delegations"] = json!({ "keys": {}, "roles": [] });
        });
    }),
];

fn line(keys: &Keys) -> &LocalKey {
    keys.line.as_ref().unwrap()
}

/// The line's next list, edited, signed with `keys`, in force.
fn publish_list(act: &mut Act, keys: &[&LocalKey], edit: impl FnOnce(&mut Value)) {
    let now = act.loot.now;
    act.loot.catalog.publish_delegated(LINE, keys, now, edit);
}

/// Delegations by which a key speaks for every bundle.
fn take_over(signed: &mut Value, key: &LocalKey) {
    let id = key_id(&key.public()).unwrap().to_string();
    signed["delegations"] = json!({
        "keys": { &id: key_object(&key.public()) },
        "roles": [{ "name": LINE, "keyids": [id], "threshold": 1, "paths": ["bundles/*/*/*"], "terminating": true }],
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lines_list_that_is_kept_back_or_is_another() {
    let mut stage = Stage::delegating().await;
    for (sends, how) in [(Sends::Singly, "file by file"), (Sends::WithCheckIn, "in one answer")] {
        stage.sends = sends;
        stage.play(&format!("Delegated roles, {how}"), LISTS).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lines_stolen_key() {
    let mut stage = Stage::delegating().await;
    stage.play("With a product line's key", LINES_KEY).await;
    stage.play("Approvals that delegate", APPROVALS).await;
    // The same devices, and the same server with nothing bent, install what the line lists.
    let device = stage.device();
    let mut agent = device.spawn();
    stage.hostile.play(Act::honest(&stage.loot));
    stage.installs_version("1.2.0", &device, &mut agent).await;
    agent.kill();
}

/// The files that a device keeps of roles that the catalog delegates to.
fn kept(device: &Device) -> Vec<std::path::PathBuf> {
    let dir = device.dir.join("state/trust/catalog/delegated");
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_was_damaged_at_the_device() {
    let mut stage = Stage::delegating().await;
    let device = stage.device();
    // Fetched, with the list that it takes; the server says wait.
    let waits = &talk::NARROWER[0];
    assert_eq!(stage.plays(waits, &device).await, None);
    let files = kept(&device);
    assert_eq!(files.len(), 1, "{files:?}");
    let whole = fs::read(&files[0]).unwrap();
    let spoilt = String::from_utf8(whole.clone()).unwrap().replace("current", "curreNt");
    fs::write(&files[0], &spoilt).unwrap();

    // What it keeps is never taken for what the server has.
    let withheld = row("a damaged file", "and the server keeps the list back", "waiting(transfer)", |act, keys| {
        (talk::NARROWER[0].play)(act, keys);
        act.loot.catalog.metadata.retain(|name, _| !name.ends_with(".pumps.json"));
    });
    let wrong = stage.plays(&withheld, &device).await;
    report("What the device keeps", vec![(withheld.attack, withheld.server, state(&device), wrong)]);
    assert_eq!((fs::read_to_string(&files[0]).unwrap(), touched(&device)), (spoilt, None));

    // It fetches the list anew, and installs.
    let mut agent = device.spawn();
    stage.hostile.play(Act::honest(&stage.loot));
    stage.installs_version("1.2.0", &device, &mut agent).await;
    agent.kill();
    let files = kept(&device);
    assert_eq!(fs::read(&files[0]).unwrap(), whole);
}
