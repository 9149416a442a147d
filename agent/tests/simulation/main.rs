//! Rollouts in a simulated hospital: random fleets, calendars, faults and clocks, months in seconds, properties at every
//! event.
//!
//! Nothing here sleeps, opens a file or asks for the time: what happens is a queue of events over instants that are values,
//! and every chance comes from the case's seed. What decides is the real thing: the plan, the documents that it leads to,
//! the choice of a device among them, its gate, its machine. What is played is what they cannot decide: how long something
//! takes, what breaks, what people do.
//!
//! A failure names its case, made as simple as it fails: `SUTURE_SIMULATION=honest-17-3-pou` runs that one again and tells all
//! that happens. `SUTURE_SIMULATIONS=10` tries ten times as many cases as every run of the tests does.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests; a failure ought to stop them where it happens"
)]

mod approvals;
mod case;
mod catalog;
mod chance;
mod device;
mod figures;
mod hospital;
mod leases;
mod people;
mod request;
mod rollouts;
mod sabotage;
mod server;
mod simulation;
mod watch;

use case::{Case, Server};
use figures::Figures;
use sabotage::Sabotage;
use simulation::{Simulation, Violation};

fn run(case: Case, sabotage: Sabotage) -> Result<Figures, Violation> {
    Simulation::new(case, sabotage, false).run()
}

/// The simplest case that breaks the same property.
fn shrunk(mut found: Violation) -> Violation {
    let same = |case: Case, property| run(case, Sabotage::None).err().filter(|v| v.property == property);
    while let Some(simpler) = found.case.simpler().find_map(|case| same(case, found.property)) {
        found = simpler;
    }
    found
}

/// So many cases from a seed on; the figures of all.
#[expect(clippy::print_stdout, reason = "what the cases came to, where somebody asks for the output")]
fn cases(server: Server, from: u64, count: u64) -> Figures {
    let more = std::env::var("SUTURE_SIMULATIONS").map_or(1, |times| times.parse().unwrap());
    let mut all = Figures::default();
    for seed in from..from + count * more {
        match run(Case::of(server, seed), Sabotage::None) {
            Ok(figures) => all.add(figures),
            Err(violation) => panic!("{}\nfirst seen as {violation}", shrunk(violation.clone())),
        }
    }
    println!("{all:?}");
    all
}

#[test]
fn with_a_hostile_server_no_slot_no_cap_and_no_signature_is_passed() {
    let figures = cases(Server::Hostile, 0, 3_000);
    assert!(figures.begun > figures.cases && figures.confirmed > figures.cases, "too little happens: {figures:?}");
}

/// How many cases it takes until a bent rule is caught by the property that it breaks; others may catch it before.
fn caught(server: Server, sabotage: Sabotage, property: &str, most: u64) -> u64 {
    let breaks = |seed: &u64| run(Case::of(server, *seed), sabotage).err().is_some_and(|v| v.property == property);
    if let Some(seed) = (0..most).find(breaks) {
        return seed + 1;
    }
    panic!("{sabotage:?} is not caught by {property:?} within {most} cases")
}

#[test]
fn with_an_honest_server_waves_wait_for_their_gates_and_rollouts_end() {
    let figures = cases(Server::Honest, 0, 7_000);
    let happens = figures.confirmed > figures.cases && figures.waves_opened > figures.cases / 10;
    let seldom = [figures.steps, figures.returned, figures.lifted];
    assert!(happens && seldom.iter().all(|n| *n > 20), "too little happens: {figures:?}");
    assert!(figures.complete > figures.cases / 5, "too little happens: {figures:?}");
}

#[test]
fn a_bent_rule_of_the_server_is_caught() {
    use Sabotage::*;
    let gate = "no wave opens before enough of the one before are confirmed, and for long enough";
    let bent = [
        (WordsAreIgnored, "no wave begins before its gate", 400),
        (WavesOpenEarly, gate, 100),
        (StagedCounts, gate, 400),
        (SoakIsForgotten, gate, 400),
        (CeilingIsForgotten, "failures exceed a ceiling by no more than what was in flight", 400),
        (LeasesAreIgnored, "nothing begins without the lease that it needs", 400),
        (LeasesAreNotCounted, "no lease is granted beside a cap's worth of devices that are down and say so", 2_000),
        (
            ReturnsAreForgotten,
            "a lease is refused for devices that are down, and were not said to be back, and for no others",
            4_000,
        ),
        (RolloutsNeverEnd, "every rollout ends", 100),
        (ReasonsAreLost, "a rollout that rests says what for", 100),
    ];
    for (sabotage, property, most) in bent {
        println!("{sabotage:?} is caught by case {}", caught(Server::Honest, sabotage, property, most));
    }
}

#[test]
fn a_bent_rule_of_plan_or_device_is_caught() {
    use Sabotage::*;
    let bent = [
        (CapIsIgnored, "no more devices of a ward have a slot than its cap", 100),
        (ReplacedAreForgotten, "never more devices of a ward are down than its cap", 10_000),
        (FreezesAreIgnored, "no slot touches a frozen date", 100),
        (SlotsAreIgnored, "no install begins outside a slot", 100),
        (WayBackIsForgotten, "what is left of a slot holds install and way back", 200),
        (ClockIsBelieved, "no install begins by a clock that signatures prove to be behind", 400),
        (SignaturesAreIgnored, "no signed gate is passed without its signature", 200),
        (StopsAreIgnored, "nothing is begun by a device that has the order to stop it", 400),
        (WithdrawalsAreIgnored, "a withdrawn bundle is never begun by a device that has seen that", 400),
        (DowngradesArePermitted, "a downgrade is never begun without a permit", 400),
        (StepsAreSkipped, "the steps of an approval come in order", 400),
        (FloorIsForgotten, "nothing below the security floor is begun", 2_000),
        (TriesAreForgotten, "an approval is not tried more often than it allows", 1_000),
        (FailuresForGoodAreForgotten, "nothing is tried again that failed for good", 1_000),
        (WaitsAreForgotten, "a try waits as long as was signed", 1_000),
        (UseIsIgnored, "the interlock is held from the switch to the release", 100),
    ];
    for (sabotage, property, most) in bent {
        println!("{sabotage:?} is caught by case {}", caught(Server::Hostile, sabotage, property, most));
    }
}

/// By its text alone: the one that was asked for, which then tells all that happens, or any.
#[test]
fn a_case_is_the_same_whenever_it_is_run() {
    let asked = std::env::var("SUTURE_SIMULATION").ok();
    let text = asked.as_deref().unwrap_or("honest-150-40-poushcbilq");
    let again = |trace| match Simulation::new(text.parse().unwrap(), Sabotage::None, trace).run() {
        Ok(figures) => figures,
        Err(violation) => panic!("{violation}"),
    };
    assert_eq!(again(asked.is_some()), again(false));
}
