//! Ceremonies of both repositories, the record, and keys on tokens.

use serde_json::Value;
use suture_tests::world::{Hsm, Operator, text};

use super::{Shapes, string};
use crate::delegated::{LINE, PATHS};
use crate::hospital::Hospital;

/// Keys come and go, alone and by two signatures, in the catalog or in the approvals.
async fn repository(h: &Hospital, s: &mut Shapes, who: &Operator, which: &str) {
    s.play(who, &["key", "new", "second", "--no-passphrase"]).await;
    let status = s.play(who, &[which, "status"]).await;
    let file = h.world.path(format!("{which}.envelope.json"));
    let (root, second) = (string(&status["root_sha256"]), who.public("second").await);
    let both = ["--root-key", "root", "--root-key", "second"];
    for words in [
        &[which, "trust", &root][..],
        &[which, "rotate"],
        &[which, "add-key", "--role", "root", "--key", "second"],
        &[which, "set-threshold", "--role", "root", "2", "--envelope", text(&file)],
        &[which, "show", text(&file)],
        &[which, "sign", text(&file), "--key", "second", "--yes"],
        &[&[which, "set-threshold", "--role", "root", "1"], &both[..]].concat()[..],
        &[&[which, "remove-key", "--role", "root", "--public", &second], &both[..]].concat()[..],
        &[which, "renew"],
    ] {
        s.play(who, words).await;
    }
}

async fn record(h: &Hospital, s: &mut Shapes) {
    let (ada, file, proof) = (&h.ada, h.world.path("record.jsonl"), h.world.path("entry.json"));
    for words in [
        &["events", "list"][..],
        &["audit", "list", "--limit", "200"],
        &["audit", "verify"],
        &["audit", "key"],
        &["audit", "export", "-o", text(&file)],
        &["audit", "verify", "--file", text(&file)],
        &["audit", "prove", "1", "-o", text(&proof)],
        &["audit", "verify", "--proof", text(&proof)],
        &["audit", "restart", "--reason", "restored from the backup of Sunday"],
    ] {
        s.play(ada, words).await;
    }
    s.play_lines(ada, &["events", "export"]).await;
}

/// A product line signs for itself, and then does not.
async fn line(h: &Hospital, s: &mut Shapes) {
    let ada = &h.ada;
    s.play(ada, &["key", "new", "line", "--no-passphrase"]).await;
    let public = ada.public("line").await;
    let delegate = ["catalog", "delegate", LINE, "--path", PATHS, "--public", &public];
    let file = h.world.path("line.envelope.json");
    let waiting = s.play(ada, &[&delegate[..], &["--envelope", text(&file)]].concat()).await;
    assert_eq!(waiting["published"], Value::Bool(false));
    s.play(ada, &["catalog", "show", text(&file)]).await;
    s.play(ada, &[&delegate[..], &["--role-key", "line"]].concat()).await;
    s.play(ada, &["catalog", "status"]).await;
    s.play(ada, &["catalog", "undelegate", LINE]).await;
}

/// The last of all: whoever works with a token has the machine's clock, and everybody else from then on.
async fn tokens(h: &Hospital, s: &mut Shapes) {
    let hsm = Hsm::new(&h.world);
    hsm.token("safe");
    let max = h.world.operator("max").with(&hsm);
    s.play(&max, &["key", "new", "first", "--token", "safe"]).await;
    s.play(&max, &["key", "add-token", "again", "--token", "safe"]).await;
    s.play(&max, &["key", "list"]).await;
    s.play(&max, &["key", "check", "again"]).await;
}

/// All of it.
pub(super) async fn play(h: &Hospital, s: &mut Shapes) {
    record(h, s).await;
    line(h, s).await;
    repository(h, s, &h.ada, "catalog").await;
    repository(h, s, &h.kim, "approvals").await;
    s.play(&h.kim, &["approvals", "init"]).await;
    tokens(h, s).await;
}
