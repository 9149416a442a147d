//! Attacks by what signed metadata lead to, and by what was signed for others or for another time.

use jiff::SignedDuration;
use serde_json::{Value, json};
use suture_core::approval::{Approval, path};
use suture_core::clock::format_utc;
use suture_core::trust::Role;
use suture_tests::hostile::Act;

use super::stage::{Keys, Row, Stage, real_time, row};

/// Files that the metadata pin.
pub(super) const SUBSTITUTED: &[Row] = &[
    row("same-length substitution", "an approval, one letter changed", "idle(wrong-bytes)", |act, _| {
        act.loot.approvals.replace_targets("approvals/", |content| flip(content, b"rev-a", b"rev-b"));
    }),
    row("same-length substitution", "an approval's slots, given to another", "idle(wrong-bytes)", |act, _| {
        act.loot.approvals.replace_targets("slots/", |content| flip(content, b"pump-1", b"pump-2"));
    }),
    row("withholding", "the approval's slots cannot be had", "idle(transfer)", |act, _| {
        act.loot.approvals.targets.retain(|name, _| !name.starts_with("slots/"));
    }),
    row("endless data", "an approval one byte longer than it was signed", "idle(endless-data)", |act, _| {
        act.loot.approvals.replace_targets("approvals/", |content| content.push(b' '));
    }),
    row("arbitrary software", "an approval cut short", "idle(wrong-bytes)", |act, _| {
        act.loot.approvals.replace_targets("approvals/", |content| content.truncate(content.len() - 1));
    }),
    row("withholding", "the approval is listed and cannot be had", "idle(transfer)", |act, _| {
        act.loot.approvals.targets.retain(|name, _| !name.starts_with("approvals/"));
    }),
    row("endless data", "an approval that never ends", "idle(endless-data)", |act, _| {
        act.target = Some(std::sync::Arc::new(|(of, _)| {
            let piece = || Ok(suture_proto::v1::GetTargetResponse { content: vec![b' '; 1 << 10].into() });
            (of == "approvals").then(|| Box::pin(futures::stream::repeat_with(piece)) as _)
        }));
    }),
    row("endless data", "an approval of empty pieces without end", "idle(wrong-bytes)", |act, _| {
        act.target = Some(std::sync::Arc::new(|(of, _)| {
            let piece = || Ok(suture_proto::v1::GetTargetResponse { content: Vec::new().into() });
            (of == "approvals").then(|| Box::pin(futures::stream::repeat_with(piece)) as _)
        }));
    }),
];

/// What the hospital or the manufacturer really signed, for another device, another time or by mistake; and the server says
/// go to all of it.
const SIGNED_FOR_OTHERS: &[Row] = &[
    row("another hospital's approval", "signed by that hospital's keys", "idle(bad-signature)", |act, keys| {
        let now = act.loot.now;
        let approval = change(approval(act), |approval| approval["hdo"] = json!("hilltop"));
        list(act, &approval, |repo, edit| repo.publish(&[&keys.attacker], now, edit));
    }),
    row("another hospital's approval", "signed by this hospital", "idle(wrong-hospital)", |act, keys| {
        hospital(act, keys, |approval| approval["hdo"] = json!("hilltop"));
    }),
    row("another device's approval", "go for it", "idle(not-for-this-device)", |act, keys| {
        hospital(act, keys, |approval| approval["devices"][0]["id"] = json!("pump-2"));
    }),
    row("wrong hardware", "a bundle for rev-b, approved by mistake", "idle(wrong-hardware)", |act, keys| {
        hospital(act, keys, |approval| approval["steps"][0]["hardware"] = json!(["rev-b"]));
        manufacturer(act, keys, |custom| custom["hardware"] = json!(["rev-b"]));
    }),
    row("wrong product", "another product's bundle, approved by mistake", "idle(wrong-product)", |act, keys| {
        hospital(act, keys, |approval| approval["steps"][0]["product"] = json!("monitor"));
        manufacturer(act, keys, |custom| custom["product"] = json!("monitor"));
    }),
    row(
        "mix of two owners",
        "an approval of other hardware than the catalog has",
        "idle(not-in-catalog)",
        |act, keys| {
            hospital(act, keys, |approval| approval["steps"][0]["hardware"] = json!(["rev-a", "rev-b"]));
        },
    ),
    row("withdrawn", "go for what the manufacturer has withdrawn", "idle(withdrawn)", |act, keys| {
        manufacturer(act, keys, |custom| custom["status"] = json!("withdrawn"));
    }),
    row("downgrade", "go for an older release without a permit", "idle(downgrade)", |act, keys| {
        hospital(act, keys, |approval| approval["steps"][0]["release"] = json!(0));
        manufacturer(act, keys, |custom| custom["release"] = json!(0));
    }),
    row("too far a step", "go for a release that 1.0.0 cannot reach", "idle(too-old-to-start)", |act, keys| {
        manufacturer(act, keys, |custom| custom["min_release"] = json!(2));
    }),
    row(
        "never in the catalog",
        "a catalog that does not list what was approved",
        "idle(not-in-catalog)",
        |act, keys| {
            let now = act.loot.now;
            act.loot.catalog.publish(&[&keys.catalog], now, |signed| {
                signed["targets"].as_object_mut().unwrap().retain(|path, _| !path.contains("/2/"));
            });
        },
    ),
    row("a slot that has passed", "an approval of yesterday, replayed with go", "idle(slots-over)", |act, keys| {
        hospital(act, keys, earlier);
    }),
    row("a slot that is to come", "go, a day before the slot", "waiting(before-slot)", |act, keys| {
        hospital(act, keys, later);
    }),
    row("a slot that is to come", "go, and its own clock a day ahead", "waiting(before-slot)", |act, keys| {
        hospital(act, keys, later);
        let ahead = real_time() + SignedDuration::from_hours(24);
        act.check_in = std::sync::Arc::new(move |answer| answer.server_time_ms = ahead.as_millisecond());
    }),
    row("what is left of a slot", "go, a minute before its end", "waiting(slot-too-short)", |act, keys| {
        let end = real_time() + SignedDuration::from_secs(60);
        hospital(act, keys, |approval| approval["devices"][0]["slots"][0]["end"] = json!(format_utc(end)));
    }),
    row(
        "replay of two approvals",
        "an old approval kept beside the one that replaced it",
        "idle(superseded)",
        |act, keys| {
            let now = act.loot.now;
            let old = approval(act)["id"].clone();
            let approval = change(approval(act), |approval| {
                approval["id"] = json!("f".repeat(64));
                approval["supersedes"] = json!([old]);
                approval["devices"][0]["id"] = json!("pump-2");
            });
            list(act, &approval, |repo, edit| repo.publish(&[&keys.approvals], now, edit));
        },
    ),
    row("two approvals at once", "both open, and go for both", "idle(conflicting-approvals)", |act, keys| {
        let now = act.loot.now;
        let approval = change(approval(act), |approval| approval["id"] = json!("f".repeat(64)));
        list(act, &approval, |repo, edit| repo.publish(&[&keys.approvals], now, edit));
    }),
];

/// The approval that the loot holds: what its head says to all devices, and the devices.
pub(super) fn approval(act: &Act) -> Value {
    let file = |dir: &str| {
        let (_, content) = act.loot.approvals.targets.iter().find(|(name, _)| name.starts_with(dir)).unwrap();
        serde_json::from_slice::<Value>(content).unwrap()
    };
    let mut approval = file("approvals/")["terms"].clone();
    approval["devices"] = file("slots/")["devices"].clone();
    approval
}

fn change(mut value: Value, edit: impl FnOnce(&mut Value)) -> Value {
    edit(&mut value);
    value
}

/// Lists an approval, as `publish` signs it.
pub(super) fn list(
    act: &mut Act,
    approval: &Value,
    publish: impl FnOnce(&mut suture_tests::hostile::Repo, Box<dyn FnOnce(&mut Value)>),
) {
    let mut terms = approval.clone();
    let devices = terms.as_object_mut().unwrap().remove("devices").unwrap();
    terms["operator_document"]["path"] = json!(format!("operator/{}.json", terms["id"].as_str().unwrap()));
    let approval =
        Approval { terms: serde_json::from_value(terms).unwrap(), devices: serde_json::from_value(devices).unwrap() };
    let sealed = approval.seal().unwrap();
    for (pinned, bytes) in &sealed.shards {
        act.loot.approvals.put_target(&pinned.path, bytes, None);
    }
    let path = path::approval(&approval.terms.id);
    let target = act.loot.approvals.put_target(&path, &sealed.head_bytes, None);
    publish(&mut act.loot.approvals, Box::new(move |signed| signed["targets"][path] = target));
}

/// The hospital signs the approval again, edited.
pub(super) fn hospital(act: &mut Act, keys: &Keys, edit: impl FnOnce(&mut Value)) {
    let now = act.loot.now;
    let approval = change(approval(act), edit);
    list(act, &approval, |repo, edit| repo.publish(&[&keys.approvals], now, edit));
}

/// The manufacturer signs its word on the second release again, edited.
pub(super) fn manufacturer(act: &mut Act, keys: &Keys, edit: impl FnOnce(&mut Value)) {
    let now = act.loot.now;
    act.loot.catalog.publish(&[&keys.catalog], now, |signed| {
        let path = "bundles/pump/2/manifest.json";
        edit(&mut signed["targets"][path]["custom"]);
    });
}

/// Its slot a day later.
pub(super) fn later(approval: &mut Value) {
    shift(approval, SignedDuration::from_hours(24));
}

/// Its slot a day earlier.
pub(super) fn earlier(approval: &mut Value) {
    shift(approval, SignedDuration::from_hours(-24));
}

fn shift(approval: &mut Value, by: SignedDuration) {
    let moved = |value: &Value| json!(format_utc(value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap() + by));
    approval["created"] = moved(&approval["created"]);
    let slot = &mut approval["devices"][0]["slots"][0];
    (slot["start"], slot["end"]) = (moved(&slot["start"]), moved(&slot["end"]));
    approval["expires"] = moved(&approval["expires"]);
}

/// Replaces the first occurrence by as many other bytes.
pub(super) fn flip(content: &mut [u8], old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len());
    let at = content.windows(old.len()).position(|w| w == old).unwrap();
    content[at..at + old.len()].copy_from_slice(new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_metadata_pin() {
    Stage::open().await.play("Documents in the place of the signed ones", SUBSTITUTED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_signed_for_others_or_for_another_time() {
    let mut stage = Stage::open().await;
    assert!(stage.loot.catalog.signed(Role::Targets)["targets"]["bundles/pump/2/manifest.json"].is_object());
    stage.play("Signed, but not for this device or not for now", SIGNED_FOR_OTHERS).await;
}
