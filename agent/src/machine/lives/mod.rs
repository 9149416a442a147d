//! A hundred thousand lives of a device, each with the power cut after any line, a torn journal, altered bytes, a clinic that
//! takes the device when it is free, and a clock that goes on. What must hold is looked at where it would break, by [`world`];
//! and for each rule there is a control, in which it is bent and must be caught.

mod book;
mod signed;
mod world;

use std::collections::BTreeMap;

use signed::Signed;
use world::{Bend, Broken, World};

/// In every run of the tests.
const LIVES: u64 = 100_000;
/// Cycles in which anything may go wrong.
const FAULTY: u32 = 5;
/// Cycles after that, in which nothing does; far more than any attempt takes.
const CALM: u32 = 40;

/// How a life ended: the machine's state, and what runs.
type End = (&'static str, u64);

fn live(signed: &mut Signed, seed: u64, bend: Bend) -> Result<End, Broken> {
    let mut world = World::born(signed, seed, bend);
    for _ in 0..FAULTY {
        world.cycle()?;
    }
    world.calm();
    for _ in 0..CALM {
        if let Some(end) = world.rests()? {
            return Ok(end);
        }
        world.cycle()?;
    }
    Err(world.broken("it never came to rest"))
}

#[test]
fn no_life_breaks_a_rule() {
    let mut signed = Signed::all();
    let mut ends: BTreeMap<End, u64> = BTreeMap::new();
    for seed in 0..LIVES {
        match live(&mut signed, seed, Bend::Nothing) {
            Ok(end) => *ends.entry(end).or_default() += 1,
            Err(broken) => panic!("life {seed}: {broken}"),
        }
    }
    println!("{LIVES} lives ended: {ends:?}");
    // Each of these is a life that a device may have; where one is never led, the chances are set wrongly.
    for end in [("idle", 1), ("idle", 2), ("idle", 3), ("held", 2), ("held", 3)] {
        assert!(ends.get(&end).is_some_and(|lives| *lives > 10), "{end:?}: {ends:?}");
    }
}

#[test]
fn each_rule_is_missed_where_it_is_bent() {
    let mut signed = Signed::all();
    // The same bend may show in one way or another, as the clinic comes early or late.
    let unheld = ["without the interlock", "in clinical use", "with the interlock held"];
    for (bend, said) in [
        (Bend::RunsUnhashed, &["unverified bytes"][..]),
        (Bend::GoesOnAfterACut, &["unverified bytes", "without the interlock", "in clinical use"]),
        (Bend::WritesTheSlotInUse, &["no whole version"]),
        (Bend::LooksAtNoClock, &["outside of its opening"]),
        (Bend::TakesADeviceInUse, &["in clinical use"]),
        (Bend::AsksNobodyAgain, &["restarts a device"]),
        (Bend::ReleasesTooEarly, &unheld),
        (Bend::NeedsNoPermit, &["without a permit"]),
        (Bend::KeepsOneRecord, &unheld),
        (Bend::NeverComesToRest, &["never came to rest"]),
    ] {
        let caught = (0..LIVES).find_map(|seed| live(&mut signed, seed, bend).err().map(|broken| (seed, broken)));
        let Some((seed, broken)) = caught else { panic!("{bend:?} was not caught") };
        println!("{bend:?}: caught in life {seed}");
        assert!(said.iter().any(|said| broken.rule.contains(said)), "{bend:?}: {broken}");
    }
}
