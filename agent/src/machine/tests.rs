//! The table in the module's documentation is the transition table, and random lives with crashes in them keep the rules.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use suture_core::digest::Digest;
use suture_core::phase::{Code, Phase, Reason};
use suture_core::retry::{Policy, Tries};
use suture_core::version::Release;

use super::*;

const POLICY: Policy = Policy { max_attempts: 3, wait_secs: 60 };

fn attempt(approval: &str) -> Attempt {
    let bundle =
        Bundle { path: "bundles/pump/2/manifest.json".into(), manifest: Digest::of(b"m"), release: Release(2) };
    let (approval, floor) = (approval.parse().unwrap(), Release(0));
    Attempt { approval, bundle, number: 1, floor, policy: POLICY, order: 0, jitter: 7 }
}

fn reason(code: Code) -> Reason {
    Reason::new(code, "text")
}

fn noon() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn after(minutes: i64) -> Timestamp {
    noon() + SignedDuration::from_mins(minutes)
}

/// Open from noon; a switch may be made for ten minutes.
fn window() -> Window {
    Window { start: noon(), latest: after(10) }
}

fn states() -> Vec<State> {
    let a = || attempt("a1");
    let trouble = || Some(Trouble::new(reason(Code::InUse)));
    let mut all = vec![
        State::rest(),
        State::Idle { about: Some(a().subject()), phase: Phase::FellBack, reason: reason(Code::HealthFailed) },
        State::Fetching { attempt: a(), trouble: None },
        State::Staging { attempt: a(), trouble: None },
        State::Waiting { attempt: a(), trouble: None },
        State::Waiting { attempt: a(), trouble: trouble() },
        State::Claiming { attempt: a(), window: window(), trouble: None },
        State::Switching { attempt: a(), window: window() },
        State::Releasing { after: After::Confirmed(a()), trouble: None },
        State::Releasing { after: After::FellBack(a(), reason(Code::HealthFailed)), trouble: trouble() },
        State::Releasing { after: After::Wait(a(), Trouble::new(reason(Code::InUse))), trouble: None },
        State::Releasing { after: After::Recovered(reason(Code::StateDamaged)), trouble: None },
        State::Releasing { after: After::Checked(a()), trouble: None },
        State::Checking { attempt: a(), since: noon(), reason: reason(Code::ReturnToService) },
        State::Held { attempt: None, reason: reason(Code::StateDamaged) },
        State::Held { attempt: Some(a()), reason: reason(Code::InstallFailed) },
    ];
    for n in [0, 3, 4] {
        all.push(State::Restarting { attempt: a(), resumes: n, trouble: None });
        all.push(State::Confirming { attempt: a(), resumes: n });
        for (restarted, trouble) in [(false, None), (false, trouble()), (true, None)] {
            let reason = reason(Code::HealthFailed);
            all.push(State::Reverting { attempt: a(), reason, failures: n, starts: n, restarted, trouble });
        }
    }
    all
}

fn nothing(phase: Phase, code: Code) -> Event {
    Event::Nothing(Nothing { about: Some(attempt("a1").subject()), phase, reason: reason(code), stop: None })
}

fn events() -> Vec<Event> {
    vec![
        Event::Started,
        Event::Resumed { switched: false },
        Event::Resumed { switched: true },
        Event::Chosen(attempt("a1")),
        Event::Chosen(attempt("a2")),
        nothing(Phase::Idle, Code::NothingApproved),
        nothing(Phase::Idle, Code::AttemptsSpent),
        nothing(Phase::Waiting, Code::NotInCatalog),
        nothing(Phase::Stopped, Code::StopOrder),
        Event::Hindered(Trouble::until(reason(Code::BeforeSlot), after(1))),
        Event::Unusable(reason(Code::UnusableBundle)),
        Event::Fetched,
        Event::Staged,
        Event::Damaged(reason(Code::WrongBytes)),
        Event::Open(window()),
        Event::Claimed,
        Event::Unclear(Trouble::new(reason(Code::InterlockUnknown))),
        Event::Switched,
        Event::Restarted,
        Event::Healthy,
        Event::Unchecked,
        Event::Checked(reason(Code::Returned)),
        Event::Unfit(reason(Code::Unfit)),
        Event::Broken(reason(Code::HealthFailed)),
        Event::Reverted,
        Event::Released,
        Event::Recovered,
    ]
}

type Table = BTreeMap<(String, String), BTreeSet<String>>;

/// The table as it is documented.
fn documented() -> Table {
    let mut documented = Table::new();
    for line in include_str!("mod.rs").lines().filter_map(|l| l.strip_prefix("//! | ")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if let [from, on, to, ""] = cells[..]
            && from != "in"
        {
            let to = to.split_whitespace().map(str::to_owned).collect();
            assert!(documented.insert((from.into(), on.into()), to).is_none(), "{from} on {on} stands twice");
        }
    }
    documented
}

#[test]
fn the_diagram_has_the_tables_arrows_and_no_others() {
    let mut drawn = BTreeSet::new();
    let text = include_str!("mod.rs");
    let diagram = text.split("```text").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for line in diagram.lines().filter_map(|l| l.split_once(':')) {
        for chain in line.1.split(',') {
            let states: Vec<_> = chain.split("->").map(str::trim).collect();
            assert!(states.len() > 1, "{chain}");
            for arrow in states.windows(2) {
                assert!(drawn.insert((arrow[0].to_owned(), arrow[1].to_owned())), "{arrow:?} is drawn twice");
            }
        }
    }
    let table = documented();
    let arrows = table.iter().flat_map(|((from, _), to)| to.iter().map(|to| (from.clone(), to.clone())));
    assert_eq!(drawn, arrows.filter(|(from, to)| from != to).collect());
}

#[test]
fn the_documented_table_is_the_transition_table() {
    let documented = documented();
    let mut real = Table::new();
    for state in states() {
        for event in events() {
            for now in [after(-1), after(5), after(11)] {
                let key = (state.name().to_owned(), event.name().to_owned());
                if let Ok(step) = step(state.clone(), event.clone(), now) {
                    real.entry(key).or_default().insert(step.state.name().to_owned());
                }
            }
        }
    }
    for key in documented.keys().chain(real.keys()) {
        assert_eq!(documented.get(key), real.get(key), "{key:?}: documented, then real");
    }
}

/// The state as an agent finds it that is started again, and has counted that.
fn started(state: State, now: Timestamp) -> State {
    if state.counts_starts() { step(state, Event::Started, now).unwrap().state } else { state }
}

#[test]
fn the_fourth_start_goes_by_what_the_installer_says_and_a_fifth_does_not_ask_it() {
    let resumed = |switched| Event::Resumed { switched };
    for mut state in [
        State::Restarting { attempt: attempt("a1"), resumes: 0, trouble: None },
        State::Confirming { attempt: attempt("a1"), resumes: 0 },
    ] {
        let name = state.name();
        for start in 1..=4 {
            state = started(state, after(5));
            assert_eq!(state.name(), name, "{start}");
            let goes_on = step(state.clone(), resumed(true), after(5)).unwrap().state;
            assert_eq!(goes_on == state, start < 4, "{start}: {goes_on:?}");
            // Asked twice by one start, it counts once.
            assert_eq!(goes_on.name(), if start < 4 { name } else { "reverting" }, "{start}");
            assert_eq!(step(state.clone(), resumed(false), after(5)).unwrap().state.name(), "reverting");
        }
        assert_eq!(started(state, after(5)).name(), "reverting");
    }
}

#[test]
fn a_state_survives_the_journal_and_repeats_its_duty() {
    for state in states() {
        let json = suture_core::json::to_canonical(&state).unwrap();
        assert_eq!(suture_core::json::from_slice::<State>(&json).unwrap(), state);
        let step = step(started(state, after(5)), Event::Resumed { switched: true }, after(5)).unwrap();
        assert_eq!(step.action, step.state.duty());
    }
}

#[test]
fn a_cut_before_the_switch_has_everything_asked_again() {
    let state = State::Switching { attempt: attempt("a1"), window: window() };
    let step = step(state, Event::Resumed { switched: false }, after(5)).unwrap();
    assert!(window().holds(after(5)));
    assert!(matches!(step.state, State::Releasing { after: After::Wait(..), .. }), "{:?}", step.state);
}

#[test]
fn the_same_obstacle_is_told_once_however_often_it_is_met() {
    let mut state = State::Waiting { attempt: attempt("a1"), trouble: None };
    let mut told = 0;
    for _ in 0..5 {
        for event in [Event::Open(window()), Event::Hindered(Trouble::new(reason(Code::InUse)))] {
            let next = step(state, event, after(5)).unwrap();
            told += next.told.len();
            state = next.state;
        }
    }
    assert_eq!(told, 1);
}

#[test]
fn a_fallback_stays_the_last_word_when_the_tries_are_used_up() {
    let state = State::Idle {
        about: Some(attempt("a1").subject()),
        phase: Phase::FellBack,
        reason: reason(Code::HealthFailed),
    };
    let step = step(state.clone(), nothing(Phase::Idle, Code::AttemptsSpent), noon()).unwrap();
    assert_eq!((step.state, step.told), (state, vec![]));
}

/// What a device is, outside of the agent.
#[derive(Debug, Default)]
struct Device {
    /// Which attempt's slot the link names; none: the old version.
    switched: bool,
    claimed: bool,
    /// Chosen by the strategy: whether each thing works.
    minutes: i64,
}

/// Answers a duty as a device might; the luck decides what works.
fn perform(action: Action, device: &mut Device, luck: u8) -> Event {
    let broken = || Event::Broken(reason(Code::InstallFailed));
    match action {
        Action::Fetch => match luck % 8 {
            0 => Event::Hindered(Trouble::new(reason(Code::Transfer))),
            1 => Event::Unusable(reason(Code::UnusableBundle)),
            2 => nothing(Phase::Stopped, Code::StopOrder),
            3 => Event::Chosen(attempt("a2")),
            _ => Event::Fetched,
        },
        Action::Stage => match luck % 4 {
            0 => Event::Damaged(reason(Code::WrongBytes)),
            1 => Event::Hindered(Trouble::new(reason(Code::DiskFull))),
            _ => Event::Staged,
        },
        Action::Gate => match luck % 8 {
            0 => Event::Hindered(Trouble::new(reason(Code::BeforeSlot))),
            1 => Event::Damaged(reason(Code::WrongBytes)),
            2 => nothing(Phase::Withdrawn, Code::Withdrawn),
            _ => Event::Open(window()),
        },
        Action::Claim => match luck % 4 {
            0 => Event::Hindered(Trouble::new(reason(Code::InUse))),
            1 => {
                // A claim that timed out may have been made all the same.
                device.claimed = luck & 16 != 0;
                Event::Unclear(Trouble::new(reason(Code::InterlockUnknown)))
            }
            _ => {
                device.claimed = true;
                Event::Claimed
            }
        },
        Action::Switch => {
            assert!(device.claimed, "a switch without a claim");
            if luck.is_multiple_of(4) {
                return broken();
            }
            // The agent looks at the clock again before it touches the link.
            if !device.switched && !window().holds(after(device.minutes)) {
                return Event::Resumed { switched: false };
            }
            device.switched = true;
            Event::Switched
        }
        Action::Restart => {
            assert!(device.claimed && device.switched);
            if luck.is_multiple_of(4) { broken() } else { Event::Restarted }
        }
        Action::Probe => {
            assert!(device.claimed && device.switched);
            match luck % 3 {
                0 => broken(),
                _ if luck & 64 != 0 => Event::Unchecked,
                _ => Event::Healthy,
            }
        }
        Action::Revert => {
            assert!(device.claimed, "the way back without a claim");
            if luck.is_multiple_of(8) {
                return broken();
            }
            device.switched = false;
            Event::Reverted
        }
        Action::Release => {
            if luck.is_multiple_of(4) {
                return Event::Hindered(Trouble::new(reason(Code::InterlockUnknown)));
            }
            device.claimed = false;
            Event::Released
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// A life of duties, with a crash before or after any of them, ends at rest or held, and no rule is broken on the way.
    #[test]
    fn any_life_with_crashes_keeps_the_rules(lucks in proptest::collection::vec((any::<u8>(), 0u8..6, 0i64..4), 1..80)) {
        let mut device = Device { minutes: -3, ..Device::default() };
        let mut state = State::rest();
        let mut outcomes = 0;
        let mut begun = 0;
        for (luck, crash, minutes) in lucks.into_iter().chain(std::iter::repeat_n((7, 5, 0), 60)) {
            device.minutes += minutes;
            let now = after(device.minutes);
            let event = match state.duty() {
                // Stopped before the duty was done.
                Some(_) if crash == 0 => Event::Resumed { switched: device.switched },
                // Stopped after it, before the journal heard of it.
                Some(action) if crash == 1 => {
                    perform(action, &mut device, luck);
                    Event::Resumed { switched: device.switched }
                }
                Some(action) => perform(action, &mut device, luck),
                // A person comes in their own time, and never before the new version runs and the interlock is held.
                None if state.name() == "checking" && luck.is_multiple_of(2) => {
                    prop_assert!(device.switched && device.claimed);
                    match luck & 8 {
                        0 => Event::Checked(reason(Code::Returned)),
                        _ => Event::Unfit(reason(Code::Unfit)),
                    }
                }
                None if state.attempt().is_some() => Event::Resumed { switched: device.switched },
                None if begun < 3 && state.name() == "idle" => {
                    begun += 1;
                    device.switched = false;
                    Event::Chosen(attempt("a1"))
                }
                None => Event::Resumed { switched: device.switched },
            };
            let before = state.clone();
            let state_then = if let Event::Resumed { .. } = event { started(state, now) } else { state };
            let next = step(state_then, event.clone(), now);
            prop_assert!(next.is_ok(), "{before:?} refused {event:?}");
            let next = next.unwrap();
            outcomes += next.told.iter().filter(|t| t.phase.is_outcome()).count();
            state = next.state;
            if matches!(state, State::Idle { .. } | State::Waiting { .. } | State::Fetching { .. }) {
                prop_assert!(!device.claimed, "{state:?} with the interlock held");
            }
            if let State::Idle { phase: Phase::Confirmed, .. } = state {
                prop_assert!(device.switched);
            }
            if let State::Idle { phase: Phase::FellBack, .. } = state {
                prop_assert!(!device.switched, "fell back, and the link still names the new version");
            }
        }
        let attempt_open = matches!(state, State::Waiting { .. });
        prop_assert!(attempt_open || state.duty().is_none(), "ended in {state:?}");
        prop_assert!(outcomes >= begun - usize::from(attempt_open || state.attempt().is_some()));
    }

    /// Failures of every kind, with a crash before or after any line: the tries are counted no later than the switch, there
    /// are never more than were signed, none follows one that failed for good, and none begins before its wait is over.
    #[test]
    fn no_life_has_more_tries_than_were_signed(
        lucks in proptest::collection::vec((any::<u8>(), 0u8..6, 0i64..4), 1..200), codes in proptest::collection::vec(0usize..3, 4),
    ) {
        let kinds = [Code::InstallFailed, Code::DiskFull, Code::HealthFailed];
        let mut device = Device { minutes: 0, ..Device::default() };
        let (mut state, mut tries, mut switches) = (State::rest(), Tries::default(), 0);
        for (luck, crash, minutes) in lucks {
            device.minutes = (device.minutes + minutes).min(9);
            let now = after(device.minutes);
            let resumed = Event::Resumed { switched: device.switched };
            let event = match state.duty() {
                Some(_) if crash == 0 => resumed,
                Some(Action::Gate) if tries.waits(POLICY, now).is_some() => {
                    Event::Hindered(Trouble::new(reason(Code::RetryWait)))
                }
                Some(action) => {
                    let before = device.switched;
                    let done = perform(action, &mut device, luck);
                    if action == Action::Switch && !before && device.switched {
                        prop_assert!(tries.ended.is_none(), "one failed for good");
                        prop_assert_eq!(tries.waits(POLICY, now), None);
                        switches += 1;
                    }
                    match done {
                        Event::Broken(_) => Event::Broken(reason(kinds[codes[tries.spent.min(3) as usize]])),
                        // Another approval is another count.
                        Event::Chosen(_) => continue,
                        _ if crash == 1 => Event::Resumed { switched: device.switched },
                        done => done,
                    }
                }
                None if state.name() == "idle" && !tries.is_over(POLICY) => {
                    device.switched = false;
                    Event::Chosen(Attempt { number: tries.spent + 1, ..attempt("a1") })
                }
                None => resumed,
            };
            let state_then = if let Event::Resumed { .. } = event { started(state, now) } else { state };
            let next = step(state_then, event, now).unwrap();
            if next.spends.is_some() {
                tries = tries.spend();
            }
            if let Some(Failure { attempt, reason, for_good }) = next.fails {
                tries = tries.fail(attempt.policy, (&reason, for_good), now, attempt.order, attempt.jitter);
                prop_assert!(tries.spent > 0, "it failed before it was counted");
            }
            if matches!(next.state, State::Restarting { .. } | State::Confirming { .. } | State::Reverting { .. }) {
                prop_assert_eq!(next.state.attempt().map(|a| a.number), Some(tries.spent), "counted from the switch on");
            }
            state = next.state;
            prop_assert!(tries.spent <= POLICY.max_attempts && switches <= POLICY.max_attempts);
        }
    }
}

/// Found: each start began the way back anew, so that a device which its own fault, or the way back itself, takes down was never
/// held.
#[test]
fn a_device_that_goes_down_before_the_old_version_has_proven_its_health_is_held_in_the_end() {
    let confirming = State::Confirming { attempt: attempt("a1"), resumes: 0 };
    let reverting = step(confirming, Event::Broken(reason(Code::HealthFailed)), after(0)).unwrap().state;
    let restarted = step(reverting.clone(), Event::Restarted, after(0)).unwrap().state;
    for mut state in [reverting.clone(), restarted] {
        let mut starts = 0;
        while state.name() != "held" {
            state = started(state, after(0));
            starts += 1;
            assert!(starts < 10);
            if state.name() != "held" {
                state = step(state, Event::Resumed { switched: false }, after(0)).unwrap().state;
            }
        }
        assert_eq!(starts, 4);
    }
    // While it waits to be put back it has not been touched.
    let hindered = Event::Hindered(Trouble::new(reason(Code::PersonNeeded)));
    let waits = step(reverting, hindered, after(0)).unwrap().state;
    assert_eq!(started(waits.clone(), after(0)), waits);
    // While a device waits to be restarted, no start says anything against the new version.
    let waits = State::Restarting {
        attempt: attempt("a1"),
        resumes: 0,
        trouble: Some(Trouble::new(reason(Code::PersonNeeded))),
    };
    assert_eq!(started(waits.clone(), after(0)), waits, "it has not been started yet");
}
