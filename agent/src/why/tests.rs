//! `suture-agent why` in each waiting state, beside what was read and found good: `agent/tests/why/*.txt`, one for each code and
//! one for each state that waits for no code. `SUTURE_SNAPSHOTS=write` writes them anew; then read them.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::Slot;
use suture_core::manifest::{Install, InstallKind};
use suture_core::phase::Phase;
use suture_core::retry::Policy;
use suture_core::version::Release;

use super::*;
use crate::fetch::FetchError;
use crate::gate::{self, Question as Gate, Word};
use crate::machine::{Attempt, Bundle, Event, Trouble, Window, step};

fn at(minute: i64) -> Timestamp {
    "2026-11-24T02:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

fn attempt() -> Attempt {
    let bundle = Bundle {
        path: "bundles/pump/2/manifest.json".into(),
        manifest: suture_core::digest::Digest::of(b"m"),
        release: Release(2),
    };
    let policy = Policy { max_attempts: 3, wait_secs: 600 };
    Attempt { approval: "pump-2".parse().unwrap(), bundle, number: 1, floor: Release(0), policy, order: 0, jitter: 0 }
}

fn window() -> Window {
    Window { start: at(0), latest: at(20) }
}

fn waiting(reason: Reason, until: Option<Timestamp>) -> State {
    State::Waiting { attempt: attempt(), trouble: Some(Trouble { reason, until }) }
}

fn fetching(reason: Reason, until: Option<Timestamp>) -> State {
    State::Fetching { attempt: attempt(), trouble: Some(Trouble { reason, until }) }
}

fn idle(reason: Reason) -> State {
    State::Idle { about: Some(attempt().subject()), phase: Phase::Idle, reason }
}

/// What the gate says.
fn gated(minute: i64, word: Word) -> State {
    let slots = [Slot { start: at(0), end: at(30) }, Slot { start: at(1_440), end: at(1_470) }];
    let (kind, return_to_service) = (InstallKind::Slots, false);
    let install = Install { kind, budget_secs: 300, revert_budget_secs: 300, return_to_service, data: None };
    let question =
        Gate { slots: &slots, install: &install, unsigned: None, held: None, retry: None, needs_server: true, word };
    let Trouble { reason, until } = gate::ask(&question, at(minute)).unwrap_err();
    waiting(reason, until)
}

/// What the machine makes of an event.
fn after(state: State, event: Event) -> State {
    step(state, event, at(5)).unwrap().state
}

fn confirming() -> State {
    State::Confirming { attempt: attempt(), resumes: 0 }
}

/// A device that waits for that code, as it would say it. A new code has no snapshot until it stands here.
fn state(code: Code) -> State {
    let said = |text: &str| Reason::new(code, text);
    match code {
        Code::NothingApproved => State::rest(),
        Code::UpToDate => {
            after(State::Releasing { after: After::Confirmed(attempt()), trouble: None }, Event::Released)
        }
        Code::NotForThisDevice => idle(said("approval pump-2 does not name this device")),
        Code::WrongHospital => idle(said("approval pump-2 is of hospital lakeside, this device belongs to riverside")),
        Code::NotInCatalog => idle(said("the manufacturer's catalog does not list pump release 2")),
        Code::Withdrawn => idle(said("the manufacturer has withdrawn pump release 2")),
        Code::WrongHardware => idle(said("pump release 2 is not for hardware rev-a")),
        Code::WrongProduct => idle(said("pump release 2 is not for this device, a monitor")),
        Code::Downgrade => {
            idle(said("pump release 2 is older than what runs, and approval pump-2 permits no downgrade"))
        }
        Code::BelowFloor => idle(said("pump release 2 is below the security floor, release 3")),
        Code::TooOldToStart => idle(said("pump release 4 can be reached from release 2 only; approve that first")),
        Code::KnownRisk => idle(said(
            "from release 1, on hardware rev-b, the manufacturer warns: the alarm stays silent until the next restart",
        )),
        Code::DataFormat => idle(said(
            "the device's data have format 2, and release 1 reads formats 1: what was written since would be lost; ask the \
             manufacturer",
        )),
        Code::WrongInstaller => idle(said("`image` installs on this device, and pump 1.1.0 is made for `slots`")),
        Code::TooManySteps => idle(said("the way to pump release 40 leads over more than 16 releases")),
        Code::RunningUnknown => idle(said("what this device runs is not known to those who plan")),
        Code::OtherRelease => idle(said("this device runs release 5, and releases 1 to 3 are asked for")),
        Code::ConflictingApprovals => {
            idle(said("approvals pump-2 and pump-3 are both in force and name other bundles"))
        }
        Code::AttemptsSpent => idle(said(
            "approval pump-2 of pump release 2 allows 3 tries, all spent; a new approval, or a stop and its lift, lets it try \
             again",
        )),
        Code::RetryWait => {
            waiting(said("the try before failed; the next waits as long as the hospital has signed"), Some(at(70)))
        }
        Code::NoCalendar => idle(said("ward icu has no calendar")),
        Code::NoOpening => idle(said("ward icu has no opening left that is long enough")),
        Code::PastDeadline => idle(said("no opening that is long enough ends before the deadline")),
        Code::BeforeSlot => gated(-60, Word::Go),
        Code::SlotsOver => gated(2_000, Word::Go),
        Code::SlotTooShort => gated(25, Word::Go),
        Code::Paused => gated(1, Word::Wait(said("the rollout is paused, operator: ward is full"))),
        Code::Aborted => gated(1, Word::Wait(said("the rollout is aborted"))),
        Code::StopOrder => idle(said("the hospital has stopped approval pump-2")),
        Code::Superseded => idle(said("another approval took the place of pump-2")),
        Code::WaveClosed => gated(1, Word::Silent),
        Code::SignatureNeeded => waiting(said("wave 2 of approval pump-2 waits for the hospital's signature"), None),
        Code::ServerUnreachable => gated(1, Word::Unheard),
        Code::WardBusy => waiting(
            said(
                "1 device of ward icu may be down at once, and as many are: pump-7 is down since 2026-11-24T01:40:00Z, by pump-2, \
                 and spoke last at 2026-11-24T01:58:00Z",
            ),
            Some(at(1)),
        ),
        Code::PersonNeeded => {
            waiting(said("a person at the device must run `suture-agent confirm` before 2026-11-24T02:20:00Z"), None)
        }
        Code::InUse => waiting(said("the device is in clinical use; it is asked again until the slot ends"), None),
        Code::InterlockUnknown => waiting(
            said("the interlock's program ended with exit code 2; whether the device is in use is not known"),
            None,
        ),
        Code::Deferred => waiting(
            said(
                "put off 3 times since 2026-11-21T02:00:00Z by the interlock's program /usr/lib/pump/interlock, which said last: \
                 the device is in clinical use",
            ),
            None,
        ),
        Code::ClockUnproven => idle(said(
            "the device's clock says 1970-01-01T00:03:12Z, but signatures prove that it is 2026-11-20T09:00:00Z at least; set \
             the clock",
        )),
        Code::MetadataExpired => idle(said("the approvals are refused: timestamp expired at 2026-11-23T09:00:00Z")),
        Code::Rollback => {
            idle(said("the approvals are refused: timestamp version 41 is older than 42, which was seen before"))
        }
        Code::MixAndMatch => {
            idle(said("the catalog is refused: snapshot 12 does not list the targets that came with it"))
        }
        Code::BadSignature => idle(said("the approvals are refused: targets are signed by 0 of 2 keys")),
        Code::BadMetadata => idle(said("approvals/pump-2.json: this is no approval that this program can read")),
        Code::EndlessData => idle(said("the catalog is refused: timestamp has more than 16384 bytes")),
        Code::UnusableBundle => idle(said("the bundle contradicts itself: payload app is no archive")),
        Code::WrongBytes => fetching(said("chunk 5f0a is not what was signed: its digest is another"), None),
        Code::Power => waiting(said("the device is not on mains; plug it in"), None),
        Code::DiskFull => {
            let full = FetchError::NoRoom { path: "/opt/device".into(), needed: 734_003_200, free: 104_857_600 };
            fetching(full.reason(), None)
        }
        Code::Transfer => fetching(said("the transfer was interrupted: the connection was closed"), None),
        Code::InLine => fetching(said("12 devices of this hospital are before it"), None),
        Code::QuietHours => {
            fetching(said("this hospital lets nothing be fetched until 2026-11-24T18:00:00Z"), Some(at(960)))
        }
        Code::InstallFailed => after(
            State::Releasing {
                after: After::FellBack(attempt(), said("cannot replace /opt/device/current: no space left on device")),
                trouble: None,
            },
            Event::Released,
        ),
        Code::RestartFailed => State::Idle {
            about: Some(attempt().subject()),
            phase: Phase::FellBack,
            reason: said("the restart command ended with exit code 1"),
        },
        Code::StartFailed => State::Idle {
            about: Some(attempt().subject()),
            phase: Phase::FellBack,
            reason: said("the new version was started 3 times and not confirmed, and the old one was put back"),
        },
        Code::HealthFailed => State::Idle {
            about: Some(attempt().subject()),
            phase: Phase::FellBack,
            reason: said(
                "the new version did not prove its health 3 times in a row within 60 s; last: the probe ended with exit code 1",
            ),
        },
        Code::ReturnToService => after(confirming(), Event::Unchecked),
        Code::Departed => idle(said("this device has left hospital riverside, at the word of a person at it")),
        Code::Unfit => after(
            State::Releasing {
                after: After::FellBack(
                    attempt(),
                    said("checked at the device by account kim (uid 1000) and found unfit: flow is 8 % too high"),
                ),
                trouble: None,
            },
            Event::Released,
        ),
        Code::Returned => idle(said(
            "checked and returned to service at the device by account kim (uid 1000): flow rate measured at three points",
        )),
        Code::HeldHere => waiting(
            said("held at the device since 2026-11-24T01:30:00Z by account kim (uid 1000): the ward is full"),
            None,
        ),
        Code::Pending => idle(said(
            "the hospital has not confirmed this device yet; it compares the fingerprint and runs `suturectl device confirm`",
        )),
        Code::Drift => idle(said("slot a, payload app: bin/pump is not what was signed")),
        Code::RecordRewritten => idle(said(
            "the audit record was rewritten, or is another one: what is signed now (6:0f..) does not extend what was signed before (5:3a..)",
        )),
        Code::StateDamaged => State::Held {
            attempt: None,
            reason: said(
                "the device's journal could not be read and lies in /var/lib/suture-agent/journal.damaged.json now; look whether \
                 the device runs as it should, then run `suture-agent recover`",
            ),
        },
        Code::TimedOut => gated(1, Word::Wait(said("it has said nothing since it was installing"))),
        Code::FailureCeiling => gated(1, Word::Wait(said("2 of wave 1 have failed, and 1 may"))),
        Code::Operator => gated(1, Word::Wait(said("ward is full"))),
        Code::Unknown => gated(1, Word::Wait(said("the moon is in the wrong house"))),
    }
}

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/why").join(format!("{name}.txt"));
    if std::env::var("SUTURE_SNAPSHOTS").is_ok_and(|how| how == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let read = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(text, read, "{name}");
}

fn text(state: &State) -> String {
    let why = machine(state, None).unwrap_or_else(|| panic!("{state:?} says nothing"));
    Whys { waits: vec![why], question: None }.text()
}

#[test]
fn every_code_says_what_is_wrong_what_happens_by_itself_and_what_can_be_done() {
    for code in Code::ALL {
        let state = state(*code);
        assert_eq!(state.trouble().map(|(reason, _)| reason.code), Some(*code));
        compare(code.as_str(), &text(&state));
    }
}

#[test]
fn states_that_wait_for_no_code_say_what_is_under_way() {
    let switching = State::Switching { attempt: attempt(), window: window() };
    let restarting = State::Restarting { attempt: attempt(), resumes: 0, trouble: None };
    let releasing = |after| State::Releasing { after, trouble: None };
    for (name, state) in [
        ("staging", State::Staging { attempt: attempt(), trouble: None }),
        ("staged", State::Waiting { attempt: attempt(), trouble: None }),
        ("claiming", State::Claiming { attempt: attempt(), window: window(), trouble: None }),
        ("installing", switching),
        ("restarting", restarting),
        ("confirming", confirming()),
        ("releasing", releasing(After::Confirmed(attempt()))),
    ] {
        compare(name, &text(&state));
    }
    assert_eq!(text(&releasing(After::Checked(attempt()))), text(&releasing(After::Confirmed(attempt()))));
}

#[test]
fn a_state_that_only_a_person_ends_says_so_whatever_the_code() {
    let reason = || Reason::new(Code::HealthFailed, "the restart command ended with exit code 1");
    compare("held-after-a-failed-way-back", &text(&State::Held { attempt: Some(attempt()), reason: reason() }));
    let asked = |code, text: &str| Some(Trouble::new(Reason::new(code, text)));
    let word = "the update has begun, and whether the device is in use now nobody has said in the last ten minutes: a person at the \
                device must run `suture-agent confirm` once more; then the new version is started";
    let trouble = asked(Code::PersonNeeded, word);
    compare("asked-once-more", &text(&State::Restarting { attempt: attempt(), resumes: 1, trouble }));
    let used = "the device is in clinical use; it is asked again until it is free; then the old version comes back, after unfit: checked and found unfit, by the hospital's signed word of kim: the alarm is silent";
    let (trouble, reason_) = (asked(Code::InUse, used), Reason::new(Code::Unfit, "the alarm is silent"));
    compare(
        "reverting-in-use",
        &text(&State::Reverting {
            attempt: attempt(),
            reason: reason_,
            failures: 0,
            starts: 0,
            restarted: false,
            trouble,
        }),
    );
    compare(
        "reverting",
        &text(&State::Reverting {
            attempt: attempt(),
            reason: reason(),
            failures: 0,
            starts: 0,
            restarted: false,
            trouble: None,
        }),
    );
    let told = Reason::new(
        Code::InterlockUnknown,
        "the interlock's program ended with exit code 1 when it was to release; the device may refuse clinical use until it does, \
         and it is tried again",
    );
    let trouble = Some(Trouble::new(told));
    compare("not-released", &text(&State::Releasing { after: After::Confirmed(attempt()), trouble }));
    // Found: of an installer that hangs it said that the device runs what it ran before, and that it is tried again.
    let silent = "`settle` took longer than 60 s";
    let trouble = asked(Code::InstallFailed, silent);
    compare("not-settled", &text(&State::Releasing { after: After::Recovered(reason()), trouble: trouble.clone() }));
    // Found: of one that is not even switched it said that what was begun is over.
    let waits = After::Wait(attempt(), Trouble::new(reason()));
    compare("not-settled-before-the-switch", &text(&State::Releasing { after: waits, trouble }));
    let trouble = asked(Code::DiskFull, "cannot write /boot/loader/loader.conf: no space left on device");
    let full = text(&State::Releasing { after: After::Recovered(reason()), trouble });
    assert!(full.contains("Free some space on the disk that is named"), "{full}");
    assert_eq!(Whys::default().text(), "nothing is waited for\n");
}

/// Most of what damages a device's record does not hold the device: nothing is begun, and that is all.
#[test]
fn a_damaged_record_that_does_not_hold_the_device_leads_to_no_command_that_refuses() {
    let text_of = "neither copy of what this device's releases may not sink below can be read (bad checksum); look at the disk; nothing is begun \
                   until a person has removed both, floor.json in the state directory and .suture-floor.json beside the slots";
    let said = text(&idle(Reason::new(Code::StateDamaged, text_of)));
    assert!(!said.contains("suture-agent recover"), "{said}");
    compare("state-damaged-idle", &said);
}

/// A snapshot that nothing is compared with any more would go on being believed.
#[test]
fn there_is_no_snapshot_of_what_is_not_said() {
    let others = ["staging", "staged", "claiming", "installing", "restarting", "confirming", "releasing"];
    let held = [
        "held-after-a-failed-way-back",
        "not-released",
        "not-settled",
        "not-settled-before-the-switch",
        "reverting",
        "reverting-in-use",
        "asked-once-more",
        "state-damaged-idle",
    ];
    let known: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).chain(others).chain(held).collect();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/why")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(known.contains(&name), "{}", path.display());
    }
}
