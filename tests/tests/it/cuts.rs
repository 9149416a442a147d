//! A line that breaks: again and again, each time long before a message has come; and while a call waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

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

/// A cut is known at once; this is for machines that do much else.
const CALL: Duration = Duration::from_secs(20);
/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(2);

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

/// tonic's channel keeps what was the matter with a connection for the call that comes next, where the one that waited for
/// it has been given up.
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

/// From the first byte that the server says in its TLS greeting to the last of the answer: each cut is an error with a
/// reason, none is an answer, and none is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_at_every_byte_of_a_short_exchange() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let mut ward = Ward::open(world, Spec::default(), &["pump-1"]).await;
    let clock = ward.world.clock.clone();
    let identity = ward.pumps[0].agent().identity();
    let settings = identity.connection(identity.ways().unwrap().way().unwrap(), clock, ProxyRules::none()).unwrap();
    let line = &ward.world.line;
    // A connection of its own each time, so that each begins with its first byte.
    let exchange = async || {
        let before = line.down();
        let found =
            Client::new(&settings).unwrap().metadata(Which::Catalog, "timestamp.json", MAX_TIMESTAMP_BYTES).await;
        (found.map(|found| found.is_some()), line.down() - before)
    };
    let (whole, length) = exchange().await;
    assert!(whole.unwrap() && length > 1_000, "{length} bytes");
    let (begun, mut reasons) = (Instant::now(), BTreeMap::<String, u64>::new());
    let mut answered = 0;
    for byte in 0..length {
        line.cut_after(byte);
        match tokio::time::timeout(CALL, exchange()).await {
            Ok((Err(error), _)) => *reasons.entry(format!("{}: {error}", error.code())).or_default() += 1,
            // What comes behind the answer is missed by nobody: it was whole.
            Ok((Ok(found), _)) => answered += u64::from(found),
            Err(_) => panic!("cut at byte {byte}, it waits still"),
        }
        line.mend();
    }
    let cut: u64 = reasons.values().sum();
    assert!(cut + answered == length && answered < 200, "{cut} of {length} cuts were errors");
    println!(
        "cut at each of {length} bytes, in {:.1} s; {answered} came behind the answer",
        begun.elapsed().as_secs_f64()
    );
    reasons.iter().for_each(|(reason, count)| println!("{count:>6} {reason}"));
    assert!(exchange().await.0.unwrap(), "the line is whole again");
}

/// The real agent, one cycle of it at each of some cuts from one end of a check-in to the other: it ends in good order,
/// says why it heard nothing, and takes no more memory than where nothing is cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_at_cuts_all_over_a_check_in() {
    const CUTS: u64 = 24;
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ward = Ward::open(world, Spec::default(), &["pump-1"]).await;
    let (line, pump) = (&ward.world.line, &ward.pumps[0]);
    let cycle = async || {
        let (mut agent, before) = (pump.spawn_once(), line.down());
        let mut highest = 0;
        while agent.is_alive() {
            highest = agent.highest_memory().unwrap_or(highest).max(highest);
            tokio::time::sleep(LOOK).await;
        }
        assert!(agent.ended().success(), "{}", pump.log());
        (highest, line.down() - before)
    };
    // The first brings what both sides have signed, later ones what is new.
    cycle().await;
    let (whole, length) = cycle().await;
    assert_eq!(pump.status().live.unwrap().server_trouble, None);
    let (mut most, mut unheard) = (0, 0);
    for cut in 0..CUTS {
        line.cut_after(cut * length / CUTS);
        let (memory, _) = cycle().await;
        line.mend();
        // What the line brings last comes behind the check-in.
        unheard += usize::from(pump.status().live.unwrap().server_trouble.is_some_and(|text| !text.is_empty()));
        most = memory.max(most);
    }
    assert!(unheard as u64 >= CUTS / 2, "it heard nothing {unheard} times of {CUTS}, and said so");
    assert!(most <= whole + (4 << 20), "{most} bytes of memory, and {whole} where nothing is cut");
    println!(
        "{CUTS} cuts in {length} bytes, {unheard} within the check-in: {most} bytes of memory, {whole} without a cut"
    );
}

on_both!(cuts, super::no_byte_of_the_payload_comes_twice);
on_both!(given_up, super::what_was_given_up_is_told_to_no_later_call);
