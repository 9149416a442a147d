//! A line that breaks: again and again, each time long before a message has come; and while a call waits.

use suture_agent::client::{Client, Files as _, Which};
use suture_core::limits::MAX_TIMESTAMP_BYTES;
use suture_proto::connect::ProxyRules;
use suture_tests::world::{Kind, Spec, World};
use tokio::net::TcpListener;

use crate::ward::Ward;

/// Less than a message and than the longest chunk.
const EVERY: u64 = 100 << 10;
/// What TLS, HTTP/2 and gRPC say on a new connection, and what a check-in brings.
const GREETING: u64 = 24 << 10;
/// What is not whole of a frame of HTTP/2 and of a record of TLS, of which nothing can be handed on.
const UNFINISHED: u64 = 32 << 10;

async fn no_byte_of_the_payload_comes_twice(kind: Kind) {
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
    // The first connection knows of no cut, and asks for frames of which none comes whole.
    let most = needed + EVERY + (cuts + 1 + cycles) * GREETING + cuts * UNFINISHED;
    assert!(came <= most, "{came} bytes for {needed}, with {cuts} cuts");
    assert_eq!(pump.runs(), "1.1.0");
}

/// tonic's channel keeps what was the matter with a connection for the call that comes next, where the one that waited for it
/// has been given up.
async fn what_was_given_up_is_told_to_no_later_call(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let mut ward = Ward::open(world, Spec::default(), &["pump-1"]).await;
    let clock = ward.world.clock.clone();
    let identity = ward.pumps[0].agent().identity();
    let way = identity.ways().unwrap().way().unwrap();
    let mut client = Client::new(&identity.connection(way, clock, ProxyRules::none()).unwrap()).unwrap();
    let ask = async |client: &mut Client| {
        client.metadata(Which::Catalog, "timestamp.json", MAX_TIMESTAMP_BYTES).await.map(|found| found.is_some())
    };
    assert!(ask(&mut client).await.unwrap());

    ward.world.stop_server().await;
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    ward.world.line.lead_to(deaf.local_addr().unwrap());
    tokio::select! {
        answer = ask(&mut client) => panic!("there is nobody who could have answered {answer:?}"),
        accepted = deaf.accept() => drop(accepted),
    }
    drop(deaf);
    // And a server that is started again is found by the first call.
    for _ in 0..10 {
        ward.world.start_server().await;
        assert!(ask(&mut client).await.unwrap());
        ward.world.stop_server().await;
    }
}

on_both!(cuts, super::no_byte_of_the_payload_comes_twice);
on_both!(given_up, super::what_was_given_up_is_told_to_no_later_call);
