//! What is due. Pure.

use jiff::Timestamp;

use super::gate::{Gate, ceiling, judge};
use super::{State, View};
use crate::approval::waits;
use crate::phase::{Code, Reason};

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open this wave.
    Open(u32),
    /// Say that the hospital's signature is waited for: nothing else keeps the wave shut.
    Await(Reason),
    /// Pause: a person must look.
    Pause(Reason),
    /// Nobody is waited for any longer, and enough are confirmed.
    Complete,
    /// The approval has ended, some devices have not, and none is at it any more, or for no longer than is waited for.
    Expire,
}

impl View {
    /// The rollout once an action was carried out.
    #[must_use]
    pub fn after(mut self, action: &Action) -> Self {
        self.reason = match action {
            Action::Await(reason) | Action::Pause(reason) => Some(reason.clone()),
            Action::Expire => Some(Reason::new(Code::SlotsOver, "the approval has ended")),
            Action::Open(_) | Action::Complete => None,
        };
        match action {
            Action::Open(wave) => self.wave = *wave,
            Action::Await(_) => {}
            Action::Pause(_) => self.state = State::Paused,
            Action::Complete => self.state = State::Complete,
            Action::Expire => self.state = State::Expired,
        }
        self
    }

    /// Why it must not go on, where the manufacturer has withdrawn what it installs and that is not said yet. A stop order
    /// is the hospital's own word and stays said.
    fn withdrawal(&self) -> Option<Reason> {
        let is_said = self.state == State::Paused
            && self.reason.as_ref().is_some_and(|r| matches!(r.code, Code::Withdrawn | Code::StopOrder));
        (self.withdrawn && !is_said).then(|| withdrawn(self))
    }

    /// Says so, where that is not said yet.
    fn await_signature(&self, wave: u32) -> Option<Action> {
        let reason = waits(&self.id, wave);
        (self.reason.as_ref() != Some(&reason)).then_some(Action::Await(reason))
    }

    /// Devices that may still begin or are at it, in all waves; those too that a person has let go and that have tries left.
    fn open(&self) -> u64 {
        self.waves.iter().map(|w| u64::from(w.tally.open()) + u64::from(w.tally.again)).sum()
    }
}

fn withdrawn(view: &View) -> Reason {
    let text = format!(
        "the manufacturer has withdrawn a bundle that {} installs; plan and approve another, or ask the manufacturer",
        view.id
    );
    Reason::new(Code::Withdrawn, text)
}

/// What is due now, if anything. Repeating it after the action was carried out ([`View::after`]) yields the next action or
/// none.
pub fn step(view: &View, now: Timestamp) -> Option<Action> {
    if view.state.is_over() {
        return None;
    }
    if view.waves.iter().all(|w| w.tally.confirmed == w.tally.devices) {
        return Some(Action::Complete);
    }
    // Who began in the last of its slots says what came of it, or times out by itself. Nothing else is due any more. One that
    // says again and again that it goes on, and whose last slot is over, is not waited for.
    if view.expires <= now {
        let spoken = view.waves.iter().all(|w| w.tally.begun == 0);
        let enough = now.duration_since(view.expires) >= view.timeout;
        return (spoken || enough).then_some(Action::Expire);
    }
    if let Some(reason) = view.withdrawal() {
        return Some(Action::Pause(reason));
    }
    if view.state == State::Paused {
        return None;
    }
    // Waves before the open one too, whose devices may fail late, and those after it, which may not wait for the server.
    let numbered = || (0..).zip(&view.waves);
    if let Some(reason) = numbered().find_map(|(number, w)| ceiling(number, &w.gate, &w.tally)) {
        return Some(Action::Pause(reason));
    }
    let wave = view.waves.get(view.wave as usize)?;
    let last = view.wave as usize + 1 == view.waves.len();
    match judge(view.wave, &wave.gate, &wave.tally, now) {
        Gate::Failed(reason) => Some(Action::Pause(reason)),
        Gate::Open if !last && view.unsigned.holds(view.wave + 1) => view.await_signature(view.wave + 1),
        Gate::Open if !last => Some(Action::Open(view.wave + 1)),
        Gate::Open if view.open() == 0 => Some(Action::Complete),
        // The first wave is on from the beginning, and yet waits where it has such a gate.
        Gate::Open | Gate::Shut(_) if view.unsigned.holds(view.wave) => view.await_signature(view.wave),
        Gate::Open | Gate::Shut(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Stage, Tally, WaveSet};
    use super::*;
    use jiff::SignedDuration;

    use crate::approval::Wave;
    use crate::rollout::word;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).unwrap()
    }

    /// Two waves of one device each.
    fn view() -> View {
        let gate = Wave {
            needs_server: true,
            needs_signature: false,
            min_confirmed_percent: 100,
            max_failures: 0,
            max_failed_percent: 100,
            soak_secs: 0,
        };
        let stage = Stage { gate, tally: Tally { devices: 1, ..Tally::default() } };
        View {
            id: "pump-2".parse().unwrap(),
            state: State::Running,
            reason: None,
            unsigned: WaveSet::default(),
            wave: 0,
            waves: vec![stage.clone(), stage],
            withdrawn: false,
            expires: at(1_000),
            timeout: SignedDuration::from_secs(600),
        }
    }

    fn pauses(view: &View) -> Reason {
        match step(view, at(0)) {
            Some(Action::Pause(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn waves_open_in_order_and_the_last_completes() {
        let mut v = view();
        assert_eq!(step(&v, at(0)), None);
        v.waves[0].tally.confirmed = 1;
        assert_eq!(step(&v, at(0)), Some(Action::Open(1)));
        v = v.after(&Action::Open(1));
        assert_eq!((v.wave, step(&v, at(0))), (1, None));
        v.waves[1].tally.confirmed = 1;
        assert_eq!(step(&v, at(0)), Some(Action::Complete));
        assert_eq!(step(&v.after(&Action::Complete), at(0)), None);
    }

    #[test]
    fn a_canary_that_falls_back_pauses_it_and_the_second_wave_stays_shut() {
        let mut v = view();
        v.waves[0].tally.failed = 1;
        let reason = pauses(&v);
        assert_eq!(reason.code, Code::FailureCeiling);
        v = v.after(&Action::Pause(reason));
        assert_eq!((v.state, step(&v, at(0))), (State::Paused, None));
    }

    #[test]
    fn a_late_failure_in_a_wave_before_the_open_one_pauses_it_and_so_does_one_after_it() {
        for wave in [0, 1] {
            let mut v = view();
            v.waves[0].tally = Tally { devices: 2, confirmed: 1, ..Tally::default() };
            v.waves[1].tally = Tally { devices: 2, ..Tally::default() };
            v.wave = 1 - wave;
            assert!(!matches!(step(&v, at(0)), Some(Action::Pause(_))));
            v.waves[wave as usize].tally.failed = 1;
            assert!(pauses(&v).text.contains(&format!("wave {} failed", wave + 1)));
        }
    }

    #[test]
    fn a_silent_device_pauses_it_until_it_speaks_or_is_forgiven() {
        let mut v = view();
        v.waves[0].tally.timed_out = 1;
        assert_eq!(pauses(&v).code, Code::FailureCeiling);
        v.waves[0].tally = Tally { devices: 1, forgiven: 1, ..Tally::default() };
        assert_eq!(step(&v, at(0)), Some(Action::Open(1)), "without it");
        v.waves[0].tally = Tally { devices: 1, begun: 1, ..Tally::default() };
        assert_eq!(step(&v, at(0)), None, "it speaks");
    }

    #[test]
    fn it_goes_on_without_those_who_missed_their_slots_once_a_person_says_so() {
        let mut v = view();
        v.waves[0].tally.missed = 1;
        assert_eq!(pauses(&v).code, Code::WaveClosed);
        v.waves[0].tally = Tally { devices: 1, forgiven: 1, ..Tally::default() };
        v = v.after(&Action::Open(1));
        v.waves[1].tally.missed = 1;
        assert_eq!(pauses(&v).code, Code::WaveClosed);
        v.waves[1].gate.min_confirmed_percent = 0;
        assert_eq!(step(&v, at(0)), Some(Action::Complete), "nobody is left to wait for");
    }

    #[test]
    fn it_is_not_complete_while_one_that_was_let_go_may_begin_anew() {
        let mut v = view();
        v.waves[0].tally = Tally { devices: 1, again: 1, ..Tally::default() };
        assert_eq!(step(&v, at(0)), Some(Action::Open(1)), "no gate waits for it");
        v = v.after(&Action::Open(1));
        v.waves[1].tally.confirmed = 1;
        assert_eq!(step(&v, at(0)), None);
        v.waves[0].tally = Tally { devices: 1, failed: 1, ..Tally::default() };
        assert_eq!(pauses(&v).code, Code::FailureCeiling, "what it came to counts");
        v.waves[0].tally = Tally { devices: 1, forgiven: 1, ..Tally::default() };
        assert_eq!(step(&v, at(0)), Some(Action::Complete));
    }

    #[test]
    fn a_withdrawal_pauses_it_once_and_also_where_it_was_paused() {
        let mut v = view();
        v.withdrawn = true;
        let reason = pauses(&v);
        assert_eq!(reason.code, Code::Withdrawn);
        v = v.after(&Action::Pause(reason));
        assert_eq!(step(&v, at(0)), None);
        v.reason = Some(Reason::new(Code::Operator, "ward is full"));
        assert_eq!(pauses(&v).code, Code::Withdrawn);
        v.reason = Some(Reason::new(Code::StopOrder, "stopped"));
        assert_eq!(step(&v, at(0)), None, "the hospital's own word stays");
        v.state = State::Running;
        v.reason = None;
        assert_eq!(pauses(&v).code, Code::Withdrawn, "whoever resumed it");
        for stage in &mut v.waves {
            stage.tally.confirmed = 1;
        }
        assert_eq!(step(&v, at(0)), Some(Action::Complete), "there is nothing left to halt");
    }

    #[test]
    fn a_wave_without_its_signature_stays_shut_and_that_is_said_once() {
        let mut v = view();
        v.unsigned = WaveSet::of([1]);
        assert_eq!(step(&v, at(0)), None, "the wave before comes first");
        v.waves[0].tally.confirmed = 1;
        let Some(Action::Await(reason)) = step(&v, at(0)) else { panic!("nothing is said") };
        assert_eq!(reason, waits(&v.id, 1));
        v = v.after(&Action::Await(reason));
        assert_eq!(step(&v, at(0)), None);
        v.unsigned = WaveSet::default();
        assert_eq!(step(&v, at(0)), Some(Action::Open(1)));
    }

    #[test]
    fn the_first_wave_may_wait_for_a_signature_too() {
        let mut v = view();
        v.unsigned = WaveSet::of([0]);
        let Some(Action::Await(reason)) = step(&v, at(0)) else { panic!("nothing is said") };
        assert_eq!(reason, waits(&v.id, 0));
        assert_eq!(word(State::Running, 0, 0, None, Some(reason)).unwrap_err().code, Code::SignatureNeeded);
        v.waves[0].tally.failed = 1;
        assert_eq!(pauses(&v).code, Code::FailureCeiling, "a failure comes before a wait");
    }

    #[test]
    fn it_ends_with_its_approval_even_when_paused() {
        let mut v = view();
        v.state = State::Paused;
        assert_eq!(step(&v, at(1_000)), Some(Action::Expire));
        v.state = State::Aborted;
        assert_eq!(step(&v, at(1_000)), None);
    }

    #[test]
    fn it_does_not_end_while_a_device_is_at_it() {
        for state in [State::Running, State::Paused] {
            let mut v = View { state, wave: 1, ..view() };
            v.waves[0].tally.confirmed = 1;
            v.waves[1].tally.begun = 1;
            assert_eq!(step(&v, at(1_599)), None, "it says what came of it, or times out");
            assert_eq!(step(&v, at(1_600)), Some(Action::Expire), "and is waited for no longer than that");
            v.waves[1].tally = Tally { devices: 1, timed_out: 1, ..Tally::default() };
            assert_eq!(step(&v, at(1_000)), Some(Action::Expire));
            v.waves[1].tally = Tally { devices: 1, confirmed: 1, ..Tally::default() };
            assert_eq!(step(&v, at(1_000)), Some(Action::Complete));
        }
    }

    #[test]
    fn nothing_but_its_end_is_due_once_its_time_is_over() {
        let due = |change: fn(&mut View), secs| {
            let mut v = view();
            v.waves[0].tally = Tally { devices: 2, begun: 1, confirmed: 1, ..Tally::default() };
            v.waves[0].gate.min_confirmed_percent = 50;
            change(&mut v);
            step(&v, at(secs))
        };
        let changes: [fn(&mut View); 4] =
            [|_| {}, |v| v.unsigned = WaveSet::of([1]), |v| v.withdrawn = true, |v| v.waves[1].tally.failed = 1];
        for change in changes {
            assert!(due(change, 999).is_some());
            assert_eq!(due(change, 1_000), None);
        }
    }
}
