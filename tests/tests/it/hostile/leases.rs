//! Leases by a hostile server: it grants everything, and no slot and no gate opens by that; it refuses, and the device waits.

use std::sync::Arc;

use serde_json::json;
use suture_proto::v1;
use suture_tests::hostile::Act;
use tonic::Status;

use super::documents::{hospital, later};
use super::stage::{Keys, Row, Stage, row};

const LEASES: &[Row] = &[
    row("a slot that is to come", "a lease and go, a day before the slot", "waiting(before-slot)", |act, keys| {
        leased(act, keys, later);
    }),
    row("a human gate", "a lease and go, and nobody has opened the wave", "waiting(signature-needed)", |act, keys| {
        leased(act, keys, |approval| approval["waves"][0]["needs_signature"] = json!(true));
    }),
    row("withholding", "no lease, and no word why", "waiting(ward-busy)", |act, keys| {
        leased(act, keys, |_| {});
        act.lease = Arc::new(|| Ok(v1::TakeLeaseResponse { ask_again_ms: u32::MAX, ..Default::default() }));
    }),
    row("withholding", "go, and no answer on the lease", "waiting(server-unreachable)", |act, keys| {
        leased(act, keys, |_| {});
        act.lease = Arc::new(|| Err(Status::unimplemented("no such call")));
    }),
];

/// The hospital's approval asks for leases.
fn leased(act: &mut Act, keys: &Keys, edit: impl FnOnce(&mut serde_json::Value)) {
    hospital(act, keys, |approval| {
        approval["needs_lease"] = json!(true);
        edit(approval);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lease_opens_what_is_shut() {
    let mut stage = Stage::open().await;
    stage.play("Leases", LEASES).await;
    // A lease is all that was missing to the one that was refused.
    let device = stage.device();
    let mut agent = device.spawn();
    assert_eq!(stage.suffers(&LEASES[2], &device, &mut agent).await, None);
    let mut act = Act::honest(&stage.loot);
    leased(&mut act, &stage.keys, |_| {});
    // Once more, so that this is newer than what the row had signed.
    leased(&mut act, &stage.keys, |_| {});
    stage.hostile.play(act);
    stage.installs(&device, &mut agent).await;
    agent.kill();
}
