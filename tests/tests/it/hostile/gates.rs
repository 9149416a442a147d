//! Attacks on human gates: the server says go, and whatever it shows, nobody at the hospital has opened the device's wave.

use serde_json::{Value, json};
use suture_core::clock::format_utc;
use suture_core::trust::Role;
use suture_tests::hostile::Act;

use super::documents::{flip, hospital};
use super::stage::{Keys, Row, Stage, row};

const GATES: &[Row] = &[
    row("a human gate", "go, and the wave is open by its word", "waiting(signature-needed)", |act, keys| {
        gated(act, keys);
    }),
    row("a human gate", "an opening of the attacker's own", "idle(bad-signature)", |act, keys| {
        gated(act, keys);
        let gates = gates(act);
        list(act, &[&keys.attacker], &gates);
    }),
    row("a human gate", "another approval's opening in its place, signed", "waiting(bad-metadata)", |act, keys| {
        gated(act, keys);
        let gates = change(gates(act), |gates| {
            gates["approval"] = json!("another");
            gates["open"][0]["note"]["path"] = json!("gate-notes/another.0.json");
        });
        list(act, &[&keys.approvals], &gates);
    }),
    row("a human gate", "another approval's opening in its place, swapped", "waiting(wrong-bytes)", |act, keys| {
        gated(act, keys);
        let gates = gates(act);
        list(act, &[&keys.approvals], &gates);
        act.loot.approvals.replace_targets("gates/", |content| flip(content, b"riverside", b"riversidf"));
    }),
    row("a human gate", "another hospital's opening, signed by mistake", "waiting(bad-metadata)", |act, keys| {
        gated(act, keys);
        let gates = change(gates(act), |gates| gates["hdo"] = json!("hilltop"));
        list(act, &[&keys.approvals], &gates);
    }),
    row("a human gate", "the opening of an earlier approval of that id", "waiting(bad-metadata)", |act, keys| {
        // The hospital opened a wave of what it had approved before, and approved other words under the id since.
        let earlier = head(act);
        gated(act, keys);
        let gates = change(gates(act), |gates| gates["head_sha256"] = earlier);
        list(act, &[&keys.approvals], &gates);
    }),
    row("a human gate", "an old opening, of another wave, for the newer one", "waiting(wrong-bytes)", |act, keys| {
        gated(act, keys);
        let new = gates(act);
        list(act, &[&keys.approvals], &new);
        let old = serde_json::to_vec(&change(new, |gates| gates["open"][0]["wave"] = json!(1))).unwrap();
        act.loot.approvals.replace_targets("gates/", |content| content.clone_from(&old));
    }),
    row("withholding", "the opening is listed and cannot be had", "waiting(transfer)", |act, keys| {
        gated(act, keys);
        let gates = gates(act);
        list(act, &[&keys.approvals], &gates);
        act.loot.approvals.targets.retain(|name, _| !name.starts_with("gates/"));
    }),
    row("endless data", "an opening one byte longer than it was signed", "waiting(endless-data)", |act, keys| {
        gated(act, keys);
        let gates = gates(act);
        list(act, &[&keys.approvals], &gates);
        act.loot.approvals.replace_targets("gates/", |content| content.push(b' '));
    }),
];

/// The hospital's approval, its only wave waiting for a signature.
fn gated(act: &mut Act, keys: &Keys) {
    hospital(act, keys, |approval| approval["waves"][0]["needs_signature"] = json!(true));
}

fn change(mut value: Value, edit: impl FnOnce(&mut Value)) -> Value {
    edit(&mut value);
    value
}

fn listed(act: &Act) -> (String, Value) {
    let targets = act.loot.approvals.signed(Role::Targets)["targets"].clone();
    let (path, target) = targets.as_object().unwrap().iter().find(|(path, _)| path.starts_with("approvals/")).unwrap();
    let id = path.strip_prefix("approvals/").and_then(|name| name.strip_suffix(".json")).unwrap();
    (id.to_owned(), target["hashes"]["sha256"].clone())
}

/// What the targets metadata say of the approval's head.
fn head(act: &Act) -> Value {
    listed(act).1
}

/// The document that would open the wave.
fn gates(act: &Act) -> Value {
    let (id, head) = listed(act);
    let note = json!({ "path": format!("gate-notes/{id}.0.json"), "length": 4, "sha256": "0".repeat(64) });
    json!({
        "_type": "suture-gates", "format": 1, "hdo": "riverside", "approval": id, "head_sha256": head,
        "open": [{ "wave": 0, "opened": format_utc(act.loot.now), "note": note }],
    })
}

/// Lists it, signed with `keys`.
fn list(act: &mut Act, keys: &[&suture_core::sign::LocalKey], gates: &Value) {
    let path = format!("gates/{}.json", listed(act).0);
    let target = act.loot.approvals.put_target(&path, &serde_json::to_vec(gates).unwrap(), None);
    let now = act.loot.now;
    act.loot.approvals.publish(keys, now, |signed| signed["targets"][path] = target);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_approver_has_opened() {
    let mut stage = Stage::open().await;
    stage.play("Human gates", GATES).await;
    // The gate is all that kept a device from it: the one that has suffered these installs once an approver opens it.
    let device = stage.device();
    let mut agent = device.spawn();
    for row in [&GATES[0], &GATES[6]] {
        assert_eq!(stage.suffers(row, &device, &mut agent).await, None, "{}", row.server);
    }
    let mut act = Act::honest(&stage.loot);
    gated(&mut act, &stage.keys);
    let gates = gates(&act);
    list(&mut act, &[&stage.keys.approvals], &gates);
    // Once more, so that this is newer than what the last row had signed.
    list(&mut act, &[&stage.keys.approvals], &gates);
    stage.hostile.play(act);
    stage.installs(&device, &mut agent).await;
    agent.kill();
}
