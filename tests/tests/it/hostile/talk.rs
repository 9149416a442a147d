//! What the server merely says: words, times, confirmations, acknowledgements. It can make a device wait, and no more.

use std::sync::Arc;

use serde_json::json;
use suture_proto::v1::{CheckInResponse, Reason, ServerWord};
use suture_tests::hostile::Act;

use super::documents::{earlier, hospital, later};
use super::stage::{Row, Stage, row};

/// Words about an approval that is in force and whose slot has begun.
pub(super) const NARROWER: &[Row] = &[
    row("holding back", "it says that the rollout is paused, for ever", "waiting(paused)", |act, _| {
        says(act, |answer| word(answer, "paused", "it is not"));
    }),
    row(
        "holding back",
        "it says nothing of the approval, whose wave needs its word",
        "waiting(wave-closed)",
        |act, _| {
            says(act, |answer| answer.words.clear());
        },
    ),
    row("replayed words", "go for other approvals, and none for this", "waiting(wave-closed)", |act, _| {
        says(act, |answer| answer.words = vec![go("a".repeat(64)), go("../../..".to_owned()), go(String::new())]);
    }),
    row("a reason without sense", "a code that nobody knows, and 10 MB of text", "waiting(unknown)", |act, _| {
        says(act, |answer| word(answer, "install-it-now", &"x".repeat(10 << 20)));
    }),
];

/// Words that would widen, were they believed.
const WIDER: &[Row] = &[
    row("a time that is no time", "its clock stands at the end of all numbers", "waiting(before-slot)", |act, keys| {
        hospital(act, keys, later);
        says(act, |answer| answer.server_time_ms = i64::MAX);
    }),
    row("a time long past", "its clock stands in 1970, before the approval ended", "idle(slots-over)", |act, keys| {
        hospital(act, keys, earlier);
        says(act, |answer| answer.server_time_ms = 0);
    }),
    row("never again", "it asks not to be asked for 49 days", "waiting(before-slot)", |act, keys| {
        hospital(act, keys, later);
        says(act, |answer| answer.next_check_in_ms = u32::MAX);
    }),
    row("go for what is not signed", "go for an approval that no metadata list", UNMOVED, |act, keys| {
        let now = act.loot.now;
        act.loot.approvals.publish(&[&keys.approvals], now, |signed| signed["targets"] = json!({}));
    }),
    row("a hidden approval", "nothing newer than the device has, until that expires", UNMOVED, |act, _| {
        let now = act.loot.now;
        let known = act.loot.approvals.known();
        act.loot.approvals.seal(&known, now);
    }),
];

/// Lies about the device's reports.
pub(super) const LIES: &[Row] = &[
    row(
        "false acknowledgement",
        "it has every report up to the last number there is",
        "waiting(before-slot)",
        |act, keys| {
            hospital(act, keys, later);
            says(act, |answer| answer.reports_stored_through = u64::MAX);
            act.stored = Arc::new(|_| u64::MAX);
        },
    ),
    row(
        "false acknowledgement",
        "it has every report that is under way, and the next thousand",
        "waiting(before-slot)",
        |act, keys| {
            hospital(act, keys, later);
            act.stored = Arc::new(|last| last + 1_000);
        },
    ),
    row("swallowed reports", "it never has any", "waiting(before-slot)", |act, keys| {
        hospital(act, keys, later);
        act.stored = Arc::new(|_| 0);
    }),
];

/// The approval is hidden, and nothing else is done.
pub(super) fn hidden() -> &'static Row {
    WIDER.iter().find(|row| row.attack == "a hidden approval").unwrap()
}

const UNMOVED: &str = "idle(nothing-approved)";

fn says(act: &mut Act, change: fn(&mut CheckInResponse)) {
    act.check_in = Arc::new(change);
}

fn go(approval_id: String) -> ServerWord {
    ServerWord { approval_id, go: true, reason: None }
}

fn word(answer: &mut CheckInResponse, code: &str, text: &str) {
    for word in &mut answer.words {
        (word.go, word.reason) = (false, Some(Reason { code: code.to_owned(), text: text.to_owned() }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words() {
    let mut stage = Stage::open().await;
    stage.play("Words that narrow", NARROWER).await;
    stage.play("Words that would widen", WIDER).await;
    stage.play("Lies about reports", LIES).await;
}
