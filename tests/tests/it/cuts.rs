//! A line that breaks again and again, each time before a frame more has come than before.

use suture_core::limits::{CHUNK_MAX_STORED_BYTES, FRAME_BYTES};
use suture_tests::world::{Kind, Spec, World};

use crate::ward::Ward;

/// Less than two frames, and enough for the longest chunk with what TLS and HTTP/2 say before it.
const EVERY: u64 = CHUNK_MAX_STORED_BYTES as u64 + (48 << 10);
/// What TLS, HTTP/2 and gRPC say on a new connection, and what a check-in brings.
const GREETING: u64 = 24 << 10;

async fn every_cut_costs_a_frame_at_most(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let mut ward = Ward::open(world, Spec::default(), &["pump-1"]).await;
    assert_eq!(ward.pumps[0].cycle().await, "idle(nothing-approved)");
    ward.approve().await;
    let (world, pump) = (&ward.world, &mut ward.pumps[0]);

    let before = world.line.down();
    world.line.cut_every(EVERY);
    // A cut may meet a check-in too; then the device says so, and comes again.
    let mut cycles = 0;
    while pump.cycle().await != "idle(up-to-date)" {
        cycles += 1;
        assert!(cycles < 20, "{} after {} cuts", pump.state(), world.line.cuts());
    }
    let (came, cuts) = (world.line.down() - before, world.line.cuts());
    world.line.mend();
    let needed = pump.chunk_bytes();
    assert!(needed > 900 << 10, "the release's own megabyte came by chunks: {needed}");
    assert!(cuts >= needed / EVERY, "{cuts} cuts in {came} bytes");
    let most = needed + (cuts + 1 + cycles) * GREETING + cuts * (FRAME_BYTES as u64);
    assert!(came <= most, "{came} bytes for {needed}, with {cuts} cuts");
    assert_eq!(pump.runs(), "1.1.0");
}

on_both!(every_cut, super::every_cut_costs_a_frame_at_most);
