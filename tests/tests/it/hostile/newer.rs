//! A server of a later release than the agent, and a hospital and a manufacturer that sign with later tools. What the agent does not
//! know it passes over in a message. Of what is signed it acts on nothing by half: a condition that it cannot read is one that it
//! cannot keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use suture_core::json::canonical;
use suture_proto::v1;
use suture_tests::hostile::Act;

use super::stage::{Keys, Row, Stage, row};

const ROWS: &[Row] = &[
    row("a later approval", "a condition that the agent does not know", BAD, |act, keys| {
        signed(act, keys, |head| head["terms"]["only_at_full_moon"] = json!(true));
    }),
    row("a later approval", "a condition on a wave that the agent does not know", BAD, |act, keys| {
        signed(act, keys, |head| head["terms"]["waves"][0]["needs_moon"] = json!(true));
    }),
    row("a later approval", "the next layout of it", BAD, |act, keys| {
        signed(act, keys, |head| head["format"] = json!(2));
    }),
];
const BAD: &str = "idle(bad-metadata)";

/// The hospital signs the approval's head again, edited past what this release's types hold.
fn signed(act: &mut Act, keys: &Keys, edit: impl FnOnce(&mut Value)) {
    let (name, bytes) = act.loot.approvals.targets.iter().find(|(name, _)| name.starts_with("approvals/")).unwrap();
    let id = name.split_once('.').unwrap().1.to_owned();
    let mut head: Value = serde_json::from_slice(bytes).unwrap();
    edit(&mut head);
    let path = format!("approvals/{id}");
    let target = act.loot.approvals.put_target(&path, &canonical(&head).unwrap(), None);
    let now = act.loot.now;
    act.loot.approvals.publish(&[&keys.approvals], now, |signed| signed["targets"][path] = target);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_server_is_understood_and_a_later_signature_not_by_half() {
    let mut stage = Stage::open().await;
    stage.play("A later release", ROWS).await;
    let device = stage.device();
    let mut act = Act::honest(&stage.loot);
    let more = Arc::new(AtomicU64::new(0));
    act.says_more = Some(more.clone());
    act.check_in = Arc::new(|answer| {
        let reason = v1::Reason { code: "moon-phase".to_owned(), text: "not this month".to_owned() };
        let word = |approval_id: &str, go| v1::ServerWord {
            approval_id: approval_id.to_owned(),
            go,
            reason: Some(reason.clone()),
        };
        // Of an approval that the device does not know, and of one whose id no agent of today can read.
        answer.words.extend([word("moonrise", false), word("Moon Rise / 2", true)]);
    });
    // Newer than what the rows have signed.
    signed(&mut act, &stage.keys, |_| {});
    stage.hostile.play(act);
    let mut agent = device.spawn();
    stage.installs(&device, &mut agent).await;
    agent.kill();
    assert!(more.load(Ordering::SeqCst) > 10, "the later release said no more than this one");
}
