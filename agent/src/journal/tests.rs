//! What is on disk after a restart, and after a write that was torn.

use super::*;
use crate::machine::{Attempt, Bundle, Trouble, Window};
use suture_core::version::Release;

fn attempt() -> Attempt {
    let bundle =
        Bundle { path: "bundles/pump/2/manifest.json".into(), manifest: Digest::of(b"m"), release: Release(2) };
    let policy = Policy { max_attempts: 3, wait_secs: 600 };
    Attempt { approval: "a1".parse().unwrap(), bundle, number: 1, floor: Release(0), policy, order: 0, jitter: 0 }
}

fn now() -> Timestamp {
    "2026-11-24T15:00:00Z".parse().unwrap()
}

fn written() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    let mut journal = Journal::open(&path, 0).unwrap();
    journal.apply(Event::Chosen(attempt()), now()).unwrap();
    (dir, path)
}

#[test]
fn what_was_applied_is_there_after_a_restart() {
    let (_dir, path) = written();
    let journal = Journal::open(&path, 0).unwrap();
    assert_eq!(journal.state(), &State::Fetching { attempt: attempt(), trouble: None });
    assert_eq!(journal.told().1.len(), 2);
}

/// Every form in which a torn file was ever found, and one that is none.
fn torn(whole: &[u8]) -> Vec<Vec<u8>> {
    let cut = (0..whole.len()).step_by(5).map(|cut| whole[..cut].to_vec());
    let zeroed = (0..whole.len()).step_by(31).map(|from| {
        let mut bytes = whole.to_vec();
        bytes[from..].fill(0);
        bytes
    });
    let flipped = (0..whole.len()).step_by(7).map(|at| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1;
        bytes
    });
    let longer = [whole, b"\n"].concat();
    cut.chain(zeroed).chain(flipped).chain([longer]).collect()
}

#[test]
fn of_a_torn_record_the_one_before_counts() {
    let (_dir, path) = written();
    let mut journal = Journal::open(&path, 0).unwrap();
    for (n, event) in
        [Event::Fetched, Event::Staged, Event::Damaged(Reason::new(Code::WrongBytes, "x"))].into_iter().enumerate()
    {
        let before = journal.state().clone();
        journal.apply(event, now()).unwrap();
        let place = &journal.places[journal.at];
        assert_eq!(journal.at, (n + 1) % 2, "they take turns");
        let whole = std::fs::read(place).unwrap();
        for bytes in torn(&whole) {
            std::fs::write(place, &bytes).unwrap();
            let fallen = Journal::open(&path, 0).unwrap();
            assert_eq!((fallen.state(), fallen.record.written), (&before, journal.record.written - 1));
            assert_eq!(Journal::peek(&path).unwrap().unwrap().state(), &before);
        }
        // As where the rename never came to the disk.
        std::fs::remove_file(place).unwrap();
        assert_eq!(Journal::open(&path, 0).unwrap().state(), &before);
        std::fs::write(place, &whole).unwrap();
    }
    // What is done again takes the torn one's place, and counts as it did.
    std::fs::write(&journal.places[journal.at], b"").unwrap();
    let mut again = Journal::open(&path, 0).unwrap();
    again.apply(Event::Damaged(Reason::new(Code::WrongBytes, "x")), now()).unwrap();
    assert_eq!((&again.record, again.at), (&journal.record, journal.at));
    assert_eq!(Journal::open(&path, 0).unwrap().record, journal.record);
}

#[test]
fn what_was_told_of_a_lost_record_is_not_told_of_the_one_before() {
    let (_dir, path) = written();
    let mut journal = Journal::open(&path, 0).unwrap();
    let told = journal.told().0;
    journal.apply(Event::Nothing(withdrawn()), now()).unwrap();
    assert_eq!(journal.told().0, told + 1);
    std::fs::write(&journal.places[journal.at], b"").unwrap();
    // The outbox has what the lost record told.
    let mut journal = Journal::open(&path, told + 1).unwrap();
    assert_eq!(journal.told(), (told + 1, &[][..]));
    journal.apply(Event::Nothing(withdrawn()), now()).unwrap();
    assert_eq!(journal.told().0, told + 2);
}

#[test]
fn from_the_claim_on_no_torn_file_loses_a_record() {
    let (_dir, path) = written();
    let mut journal = Journal::open(&path, 0).unwrap();
    let window = Window { start: now(), latest: now() };
    for event in [Event::Fetched, Event::Staged, Event::Open(window)] {
        journal.apply(event, now()).unwrap();
    }
    for event in [Event::Claimed, Event::Switched, Event::Restarted, Event::Healthy] {
        for place in &places(&path) {
            let whole = std::fs::read(place).unwrap();
            std::fs::write(place, b"").unwrap();
            let opened = Journal::open(&path, 0).unwrap();
            assert_eq!((opened.state(), opened.told()), (journal.state(), journal.told()));
            // Before anything is done by it there are two again.
            assert_eq!(std::fs::read(place).unwrap(), whole);
        }
        journal.apply(event, now()).unwrap();
    }
}

#[test]
fn the_first_record_of_all_is_none_where_it_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    let mut journal = Journal::open(&path, 0).unwrap();
    journal.apply(Event::Chosen(attempt()), now()).unwrap();
    let (first, told) = (journal.told().0, journal.told().1.len());
    assert!(first == FIRST && told > 0);
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    for bytes in torn(&whole) {
        std::fs::write(&path, bytes).unwrap();
        // The outbox and the log may have what it told already.
        for known in [0, first] {
            assert_eq!(Journal::read(&path, (known, known)).unwrap().state(), &State::rest());
        }
    }
}

/// Accident: a disk that has lost the second file and mangled the first, of a device that was at something.
#[test]
fn a_torn_record_that_stands_alone_is_no_first_one_where_more_is_known() {
    let (_dir, path) = written();
    let mut journal = Journal::open(&path, 0).unwrap();
    let first = journal.told().0;
    journal.apply(Event::Fetched, now()).unwrap();
    journal.apply(Event::Staged, now()).unwrap();
    let known = journal.told().0;
    assert!(known > first);
    let places = places(&path);
    std::fs::remove_file(&places[1]).unwrap();
    for bytes in torn(&std::fs::read(&path).unwrap()) {
        std::fs::write(&path, &bytes).unwrap();
        // Whichever of the outbox, the log and the other files it is known by.
        for known in [(known, known), (0, known)] {
            assert_eq!(Journal::read(&path, known).unwrap().state().name(), "held");
        }
    }
    let journal = Journal::open(&path, known).unwrap();
    assert!(journal.state().trouble().unwrap().0.text.contains("journal.damaged.json"));
    assert!(journal.told().0 > known);
    assert_eq!(Journal::open(&path, known).unwrap().state().name(), "held");
}

#[test]
fn where_both_are_torn_the_device_is_held_and_the_evidence_kept() {
    let (_dir, path) = written();
    Journal::open(&path, 0).unwrap().apply(Event::Fetched, now()).unwrap();
    let places = places(&path);
    let whole = places.each_ref().map(|place| std::fs::read(place).unwrap());
    for (first, second) in torn(&whole[0]).iter().zip(torn(&whole[1]).iter().rev()) {
        std::fs::write(&places[0], first).unwrap();
        std::fs::write(&places[1], second).unwrap();
        assert!(Journal::peek(&path).is_err());
        let journal = Journal::open(&path, 41).unwrap();
        let State::Held { attempt: None, reason } = journal.state() else { panic!("{:?}", journal.state()) };
        assert_eq!(reason.code, Code::StateDamaged);
        assert!(journal.told().0 > 41, "transitions are counted on from what the outbox knows");
        let aside = places.each_ref().map(|place| std::fs::read(place.with_extension("damaged.json")).unwrap());
        assert_eq!((&aside[0], &aside[1]), (first, second));
        // It stays held, by a readable journal, until a person has spoken: also where that one is torn in its turn.
        assert_eq!(Journal::open(&path, 41).unwrap().state(), journal.state());
        std::fs::write(&places[0], b"").unwrap();
        assert_eq!(Journal::open(&path, 41).unwrap().state().name(), "held");
    }
}

#[test]
fn a_second_record_that_is_torn_and_stands_alone_holds_the_device_too() {
    let (_dir, path) = written();
    Journal::open(&path, 0).unwrap().apply(Event::Fetched, now()).unwrap();
    let places = places(&path);
    std::fs::remove_file(&places[0]).unwrap();
    std::fs::write(&places[1], b"torn").unwrap();
    assert!(Journal::peek(&path).is_err());
    for _ in 0..2 {
        let journal = Journal::open(&path, 41).unwrap();
        let State::Held { attempt: None, reason } = journal.state() else { panic!("{:?}", journal.state()) };
        assert!(reason.text.contains("second.damaged.json") && !reason.text.contains("json and"), "{reason}");
    }
    assert_eq!(std::fs::read(places[1].with_extension("damaged.json")).unwrap(), b"torn");
}

#[test]
fn a_journal_that_is_gone_altogether_holds_a_device_that_had_one_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    assert_eq!(Journal::open(&path, 0).unwrap().state(), &State::rest(), "a device that is new");
    for _ in 0..2 {
        let journal = Journal::open(&path, 41).unwrap();
        let State::Held { attempt: None, reason } = journal.state() else { panic!("{:?}", journal.state()) };
        assert_eq!(reason.code, Code::StateDamaged);
        assert!(reason.text.contains("is gone") && reason.text.contains("suture-agent recover"), "{reason}");
        assert!(journal.told().0 > 41, "transitions are counted on from what the outbox knows");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is set aside");
    places(&path).iter().for_each(|place| std::fs::remove_file(place).unwrap());
    let earlier = path.with_extension("damaged.json");
    std::fs::write(&earlier, b"evidence").unwrap();
    assert_eq!(Journal::open(&path, 41).unwrap().state().name(), "held");
    assert_eq!(std::fs::read(earlier).unwrap(), b"evidence", "there is none that is newer");
}

#[test]
fn what_the_outbox_could_not_take_is_told_with_what_comes_after_it() {
    let (_dir, path) = written();
    let mut journal = Journal::open(&path, 0).unwrap();
    let (number, first) = (journal.told().0, journal.told().1.to_vec());
    assert_eq!(first.len(), 2);
    journal.owes(true);
    // One that tells nothing takes nothing away.
    journal.apply(Event::Fetched, now()).unwrap();
    assert_eq!(journal.told(), (number, &first[..]));
    journal.apply(Event::Staged, now()).unwrap();
    let mut journal = Journal::open(&path, 0).unwrap();
    assert_eq!((journal.told().0, journal.told().1.len()), (number, 3));
    assert_eq!((&journal.told().1[..2], journal.told().1[2].phase), (&first[..], Phase::Staged));
    // However long nobody takes it, it has an end, and an outcome finds a place all the same.
    journal.owes(true);
    let told = |phase| Told { subject: None, phase, reason: None, stop: None, permanent: false };
    for _ in 0..2 * MAX_OWED {
        journal.mention(told(Phase::Waiting)).unwrap();
    }
    journal.mention(told(Phase::FellBack)).unwrap();
    assert_eq!((journal.told().0, journal.told().1.len()), (number, MAX_OWED + 1));
    assert_eq!(journal.told().1[MAX_OWED].phase, Phase::FellBack);
    journal.owes(false);
    journal.mention(told(Phase::Idle)).unwrap();
    assert_eq!(journal.told(), (number + 1, &[told(Phase::Idle)][..]));
}

#[test]
fn a_leftover_of_an_interrupted_write_is_of_no_account() {
    let (dir, path) = written();
    std::fs::write(dir.path().join("journal.json.tmp"), b"{\"form").unwrap();
    let mut journal = Journal::open(&path, 0).unwrap();
    journal.apply(Event::Fetched, now()).unwrap();
    assert_eq!(Journal::open(&path, 0).unwrap().state().name(), "staging");
}

#[test]
fn an_impossible_event_changes_nothing_on_disk() {
    let (_dir, path) = written();
    let read = || places(&path).map(|place| std::fs::read(place).ok());
    let before = read();
    let mut journal = Journal::open(&path, 0).unwrap();
    assert!(matches!(journal.apply(Event::Switched, now()), Err(JournalError::Machine(_))));
    assert_eq!(read(), before);
}

#[test]
fn tries_are_counted_and_the_memory_is_bounded() {
    let (_dir, path) = written();
    let mut journal = Journal::open(&path, 0).unwrap();
    let reason = Reason::new(Code::WrongBytes, "x");
    journal.apply(Event::Unusable(reason), now()).unwrap();
    let Attempt { approval, bundle, .. } = attempt();
    assert_eq!(journal.spent(&approval, &bundle.manifest), 1);
    assert_eq!(journal.spent(&approval, &Digest::of(b"the next step")), 0, "a step has its own tries");
    let last = &journal.last().unwrap().told;
    assert_eq!((last.phase, last.permanent), (Phase::Failed, true));
    for i in 0..2 * MAX_TRIED {
        let approval = format!("b{i}").parse().unwrap();
        journal.record.retry((approval, attempt().bundle.manifest, attempt().policy), Tries::spend);
    }
    assert_eq!(journal.record.tried.len(), MAX_TRIED);
}

/// Goes as far as the switch.
fn switching(journal: &mut Journal, attempt: &Attempt) {
    let window = Window { start: now(), latest: now() };
    let way = [Event::Chosen(attempt.clone()), Event::Fetched, Event::Staged, Event::Open(window), Event::Claimed];
    for event in way {
        journal.apply(event, now()).unwrap();
    }
}

fn tries(path: &Path) -> Tries {
    Journal::open(path, 0).unwrap().tried().next_back().unwrap().tries.clone()
}

#[test]
fn what_a_try_came_to_is_known_after_a_restart_and_told_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    let mut journal = Journal::open(&path, 0).unwrap();
    switching(&mut journal, &attempt());
    let reason = |code| Reason::new(code, "x");
    journal.apply(Event::Broken(reason(Code::InstallFailed)), now()).unwrap();
    assert_eq!(tries(&path).spent, 1);
    journal.apply(Event::Reverted, now()).unwrap();
    assert!(!journal.told().1[0].permanent);
    let (why, until) = tries(&path).waits(attempt().policy, now()).unwrap();
    assert_eq!((why.code, until), (Code::RetryWait, now() + jiff::SignedDuration::from_secs(600)));
    // The second runs and does not prove its health.
    journal.apply(Event::Released, now()).unwrap();
    switching(&mut journal, &Attempt { number: 2, ..attempt() });
    for event in [Event::Switched, Event::Restarted, Event::Broken(reason(Code::HealthFailed)), Event::Reverted] {
        journal.apply(event, now()).unwrap();
    }
    assert!(journal.told().1[0].permanent, "{:?}", journal.told());
    let ended = tries(&path);
    assert_eq!((ended.spent, ended.is_over(attempt().policy)), (2, true));

    // Only a lift that was signed since gives the tries back, and not while something is being released.
    let since = u64::try_from(now().as_second()).unwrap() + 1;
    let lift = |journal: &mut Journal, counter| journal.lifted([(attempt().approval, counter)]).unwrap();
    lift(&mut journal, since);
    assert_eq!(tries(&path), ended);
    journal.apply(Event::Released, now()).unwrap();
    lift(&mut journal, since - 1);
    assert_eq!(tries(&path), ended);
    lift(&mut journal, since);
    assert_eq!((tries(&path).spent, tries(&path).ended), (0, None));
}

#[test]
fn a_device_that_a_person_had_to_come_for_does_not_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    let mut journal = Journal::open(&path, 0).unwrap();
    switching(&mut journal, &attempt());
    let broken = || Event::Broken(Reason::new(Code::InstallFailed, "x"));
    journal.apply(broken(), now()).unwrap();
    while journal.state().name() != "held" {
        journal.apply(broken(), now()).unwrap();
    }
    assert!(journal.told().1[0].permanent && tries(&path).is_over(attempt().policy));
    // Started again, it goes back by itself, and that was its last word on it all the same.
    journal.apply(Event::Resumed { switched: true }, now()).unwrap();
    journal.apply(Event::Reverted, now()).unwrap();
    assert_eq!((journal.told().1[0].phase, journal.told().1[0].permanent), (Phase::FellBack, true));
    assert_eq!(tries(&path).spent, 1);
}

/// Also where tries are left, and where the hospital stops the approval and lifts that.
#[test]
fn what_succeeded_is_not_tried_again_by_the_same_approval() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    let mut journal = Journal::open(&path, 0).unwrap();
    let policy = Policy { max_attempts: 3, ..attempt().policy };
    switching(&mut journal, &Attempt { policy, ..attempt() });
    for event in [Event::Switched, Event::Restarted, Event::Healthy] {
        journal.apply(event, now()).unwrap();
    }
    journal.apply(Event::Released, now()).unwrap();
    journal.lifted([(attempt().approval, u64::MAX)]).unwrap();
    let tries = tries(&path);
    assert!((tries.spent, tries.is_done(), tries.is_over(policy)) == (1, true, true), "{tries:?}");
}

/// By another approval, or by an agent that did not remember it so.
#[test]
fn what_runs_already_is_done_by_each_approval_that_leads_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    let mut journal = Journal::open(&path, 0).unwrap();
    let step = || attempt().tried();
    journal.fulfilled([step()]).unwrap();
    assert!((tries(&path).spent, tries(&path).is_done()) == (0, true));
    let before = std::fs::read(&path).unwrap();
    journal.fulfilled([step()]).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), before, "nothing is written that stands there");
    // Past the switch it has proven nothing yet.
    let other: ApprovalId = "a2".parse().unwrap();
    switching(&mut journal, &attempt());
    journal.fulfilled([(other.clone(), attempt().bundle.manifest, attempt().policy)]).unwrap();
    assert!(!journal.tried().any(|t| t.approval == other));
}

/// A lift that is older than the failure, by an approver's clock that was ahead, gives nothing back: the device had heard of it.
#[test]
fn an_order_that_was_heard_while_it_waited_is_no_news_when_the_try_fails() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    let mut journal = Journal::open(&path, 0).unwrap();
    let ahead = u64::try_from(now().as_second()).unwrap() + 3_600;
    journal.apply(Event::Chosen(attempt()), now()).unwrap();
    journal.apply(Event::Chosen(Attempt { order: ahead, ..attempt() }), now()).unwrap();
    journal.apply(Event::Unusable(Reason::new(Code::UnusableBundle, "x")), now()).unwrap();
    journal.lifted([(attempt().approval, ahead)]).unwrap();
    assert!(tries(&path).ended.is_some());
    journal.lifted([(attempt().approval, ahead + 1)]).unwrap();
    assert!(tries(&path).ended.is_none());
}

#[test]
fn that_a_person_put_the_device_in_order_is_the_attempts_last_word() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    let mut journal = Journal::open(&path, 0).unwrap();
    switching(&mut journal, &attempt());
    for event in [Event::Switched, Event::Restarted] {
        journal.apply(event, now()).unwrap();
    }
    while journal.state().name() != "held" {
        journal.apply(Event::Broken(Reason::new(Code::RestartFailed, "x")), now()).unwrap();
    }
    journal.apply(Event::Recovered, now()).unwrap();
    let told = &journal.told().1[0];
    assert_eq!((told.phase, told.permanent, &told.subject), (Phase::FellBack, true, &Some(attempt().subject())));
    assert!(told.reason.as_ref().unwrap().text.contains("a person has put"), "{told:?}");
    journal.apply(Event::Released, now()).unwrap();
    assert_eq!(journal.state().name(), "idle");
    assert!(tries(&path).is_over(attempt().policy) && tries(&path).spent == 1);
}

#[test]
fn what_stands_in_the_way_before_the_switch_uses_up_nothing() {
    let (_dir, path) = written();
    let mut journal = Journal::open(&path, 0).unwrap();
    for code in [Code::Transfer, Code::DiskFull, Code::InLine] {
        journal.apply(Event::Hindered(Trouble::new(Reason::new(code, "x"))), now()).unwrap();
    }
    journal.apply(Event::Fetched, now()).unwrap();
    journal.apply(Event::Damaged(Reason::new(Code::WrongBytes, "x")), now()).unwrap();
    assert_eq!(journal.spent(&attempt().approval, &attempt().bundle.manifest), 0);
}

#[test]
fn a_stop_is_answered_once_until_something_else_is_told_of_its_approval() {
    let (_dir, path) = written();
    let by = |id: &str, phase, stop| {
        let subject = Subject { approval: id.parse().unwrap(), manifest: None };
        Told { subject: Some(subject), phase, reason: None, stop, permanent: false }
    };
    let told = |id: &str, phase| by(id, phase, (phase == Phase::Stopped).then_some(7));
    let both = || [told("a1", Phase::Stopped), told("b2", Phase::Stopped)];
    let mut journal = Journal::open(&path, 0).unwrap();
    let state = journal.state().clone();
    journal.answer(both()).unwrap();
    assert_eq!(journal.told().1, both());
    let mut journal = Journal::open(&path, 0).unwrap();
    let first = journal.told().0;
    journal.answer(both()).unwrap();
    journal.answer([told("c3", Phase::Offered)]).unwrap();
    assert_eq!(journal.told().0, first, "nothing of that is news");
    // An order that was signed later is answered anew, and so is one that could not be read before.
    journal.answer([by("a1", Phase::Stopped, Some(9)), by("b2", Phase::Stopped, Some(6))]).unwrap();
    assert_eq!(journal.told(), (first + 1, &[by("a1", Phase::Stopped, Some(9))][..]));
    journal.answer([by("c3", Phase::Stopped, None)]).unwrap();
    journal.answer([by("c3", Phase::Stopped, Some(1)), by("a1", Phase::Stopped, None)]).unwrap();
    assert_eq!(journal.told(), (first + 3, &[by("c3", Phase::Stopped, Some(1))][..]));
    let first = journal.told().0;
    // A lift, and what the machine itself tells, take it back.
    journal.answer([told("b2", Phase::Offered), told("a1", Phase::Stopped)]).unwrap();
    assert_eq!(journal.told(), (first + 1, &[told("b2", Phase::Offered)][..]));
    assert_eq!(journal.state(), &state);
    journal.apply(Event::Nothing(withdrawn()), now()).unwrap();
    journal.answer(both()).unwrap();
    assert_eq!(journal.told().1, both());
    // As many are remembered as orders are kept.
    journal.answer((0..2 * MAX_KEPT_STOPS).map(|n| told(&format!("d{n}"), Phase::Stopped))).unwrap();
    assert_eq!(journal.record.obeyed.len(), MAX_KEPT_STOPS);
}

fn withdrawn() -> crate::machine::Nothing {
    let reason = Reason::new(Code::Withdrawn, "x");
    crate::machine::Nothing { about: Some(attempt().subject()), phase: Phase::Withdrawn, reason, stop: None }
}

/// Accident: a bad sector below one of both.
#[test]
fn of_two_records_one_may_be_unreadable_and_what_is_written_next_takes_its_place() {
    let (_dir, path) = written();
    let mut journal = Journal::open(&path, 0).unwrap();
    for event in [Event::Fetched, Event::Staged] {
        let before = journal.state().clone();
        journal.apply(event.clone(), now()).unwrap();
        let after = journal.record.clone();
        for bad in [journal.at, 1 - journal.at] {
            let whole = places(&path).map(|place| std::fs::read(place).unwrap());
            durable::lose(&journal.places[bad]);
            let counts = if bad == journal.at { &before } else { &after.state };
            assert_eq!(Journal::peek(&path).unwrap().unwrap().state(), counts);
            let mut opened = Journal::open(&path, 0).unwrap();
            assert_eq!((opened.state(), opened.at), (counts, 1 - bad));
            opened.write_again().unwrap();
            assert!(matches!(find(&journal.places[bad]).unwrap(), Found::Whole(record) if record.state == *counts));
            journal.places.iter().zip(whole).for_each(|(place, bytes)| std::fs::write(place, bytes).unwrap());
        }
    }
}

/// From the claim on both are there again before anything is done.
#[test]
fn past_the_claim_an_unreadable_record_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    let mut journal = Journal::open(&path, 0).unwrap();
    switching(&mut journal, &attempt());
    for place in places(&path) {
        durable::lose(&place);
        assert_eq!(Journal::open(&path, 0).unwrap().state(), journal.state());
        assert!(matches!(find(&place).unwrap(), Found::Whole(record) if *record == journal.record));
    }
}

#[test]
fn where_neither_record_can_be_read_the_device_is_held_and_goes_on_by_a_persons_word() {
    for (first, second) in [("bad", "bad"), ("bad", "torn"), ("torn", "bad"), ("gone", "bad"), ("bad", "gone")] {
        let (_dir, path) = written();
        let mut journal = Journal::open(&path, 0).unwrap();
        journal.apply(Event::Fetched, now()).unwrap();
        let places = places(&path);
        for (place, harm) in places.iter().zip([first, second]) {
            match harm {
                "bad" => durable::lose(place),
                "torn" => std::fs::write(place, b"torn").unwrap(),
                _ => std::fs::remove_file(place).unwrap(),
            }
        }
        assert!(Journal::peek(&path).is_err() || second == "gone");
        assert_eq!(Journal::read(&path, (41, 41)).unwrap().state().name(), "held", "{first} {second}");
        let mut journal = Journal::open(&path, 41).unwrap();
        let State::Held { attempt: None, reason } = journal.state() else { panic!("{:?}", journal.state()) };
        assert!(reason.code == Code::StateDamaged && reason.text.contains(".damaged.json"), "{reason}");
        assert!(journal.told().0 > 41);
        assert!(places.iter().all(|place| matches!(find(place).unwrap(), Found::Whole(_))), "{first} {second}");
        journal.apply(Event::Recovered, now()).unwrap();
        assert_ne!(Journal::open(&path, 41).unwrap().state().name(), "held");
    }
}

/// Accident: a disk that gives nothing as the agent starts, and gives all a moment later.
#[test]
fn a_record_that_can_be_read_again_before_anything_was_written_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    let mut journal = Journal::open(&path, 0).unwrap();
    switching(&mut journal, &attempt());
    let whole = places(&path).map(|place| std::fs::read(place).unwrap());
    places(&path).iter().for_each(|place| durable::lose(place));
    for (told, is_told) in [(journal.told().0, true), (journal.told().0 + 1, false)] {
        let mut opened = Journal::read(&path, (told, told)).unwrap();
        assert_eq!(opened.state().name(), "held");
        for (place, bytes) in places(&path).iter().zip(&whole) {
            std::fs::remove_file(place).unwrap();
            std::fs::write(place, bytes).unwrap();
        }
        opened.settle().unwrap();
        assert_eq!((opened.state(), opened.told().0), (journal.state(), told));
        assert_eq!(opened.told().1.is_empty(), !is_told, "what was told of a lost record");
        places(&path).iter().for_each(|place| durable::lose(place));
    }
}

/// Accident: a disk that takes nothing as the agent starts, and takes half of it the next time.
#[test]
fn where_a_start_cannot_write_the_evidence_stays_and_is_set_aside_once_it_can() {
    let (dir, path) = written();
    Journal::open(&path, 0).unwrap().apply(Event::Fetched, now()).unwrap();
    let second = path.with_extension("second.json");
    for place in [&path, &second] {
        std::fs::write(place, b"torn").unwrap();
    }
    let blocked =
        [&path, &second].map(|place| dir.path().join(format!("{}.tmp", place.file_name().unwrap().display())));
    blocked.iter().for_each(|place| std::fs::create_dir(place).unwrap());
    assert!(Journal::open(&path, 41).is_err());
    let mut journal = Journal::read(&path, (41, 41)).unwrap();
    assert_eq!(journal.state().name(), "held", "nobody knows what it was at");
    assert!(journal.apply(Event::Recovered, now()).is_err() && journal.write_again().is_err());
    std::fs::remove_dir(&blocked[1]).unwrap();
    assert!(journal.settle().is_err(), "one of both is written");
    std::fs::remove_dir(&blocked[0]).unwrap();
    journal.settle().unwrap();
    for place in [&path, &second] {
        assert_eq!(std::fs::read(place.with_extension("damaged.json")).unwrap(), b"torn");
    }
    assert!(journal.state().trouble().unwrap().0.text.contains("journal.damaged.json"));
    assert_eq!((journal.told().0, journal.told().1.len()), (42, 1), "it is told once, from what the outbox knows on");
    assert_eq!(Journal::open(&path, 41).unwrap().record, journal.record);
}
