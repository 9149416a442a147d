//! The orchestration of one approval in waves.
//!
//! The rules are pure: [`step`] says what is due, [`word`] what a device is told. [`run`] carries it out, once however
//! often it is asked. None of it is authority: a device installs in its signed slots alone, and where its wave waits for the
//! hospital's signature once it has that itself. The server can only make it wait.

mod gate;
pub(crate) mod news;
pub(crate) mod run;
mod waves;

use jiff::Timestamp;
use suture_core::approval::{Wave, waits};
use suture_core::id::ApprovalId;
use suture_core::phase::{Code, Phase, Reason};

pub(crate) use gate::{Gate, Progress};
pub(crate) use waves::WaveSet;

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Waves open as their gates do.
    Running,
    /// Nothing new begins until somebody resumes it.
    Paused,
    /// Somebody ended it.
    Aborted,
    /// Another approval took its place.
    Superseded,
    /// The approval ended before all devices had.
    Expired,
    /// Every device came to an end that needs nobody.
    Complete,
}

impl State {
    const ALL: [Self; 6] =
        [Self::Running, Self::Paused, Self::Aborted, Self::Superseded, Self::Expired, Self::Complete];

    /// The name in the store and on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Aborted => "aborted",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Complete => "complete",
        }
    }

    /// The state of that name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }

    /// Whether nothing will change any more.
    pub(crate) const fn is_over(self) -> bool {
        !matches!(self, Self::Running | Self::Paused)
    }
}

/// A rollout as the rules see it.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Its id.
    pub(crate) id: ApprovalId,
    /// Where it stands.
    pub(crate) state: State,
    /// What is said of its state.
    pub(crate) reason: Option<Reason>,
    /// The last wave that has opened.
    pub(crate) wave: u32,
    /// All waves, as signed.
    pub(crate) waves: Vec<Wave>,
    /// Those that wait for the hospital's signature.
    pub(crate) unsigned: WaveSet,
    /// All devices.
    pub(crate) devices: Vec<Progress>,
    /// Failures of the open wave that a person has accepted by resuming.
    pub(crate) forgiven: u32,
    /// When the approval ends.
    pub(crate) expires: Timestamp,
}

impl View {
    /// Of the failures that were forgiven, those that still stand. A device that tries again, or has succeeded since,
    /// leaves none over for another device to use up.
    pub(crate) fn still_forgiven(&self) -> u32 {
        let failed = self.devices.iter().filter(|d| d.wave == self.wave && d.phase.is_failure()).count();
        self.forgiven.min(u32::try_from(failed).unwrap_or(u32::MAX))
    }

    /// Says so, where that is not said yet.
    fn await_signature(&self, wave: u32) -> Option<Action> {
        let reason = waits(&self.id, wave);
        (self.reason.as_ref() != Some(&reason)).then_some(Action::Await(reason))
    }
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Open this wave.
    Open(u32),
    /// Say that the hospital's signature is waited for: nothing else keeps the wave shut.
    Await(Reason),
    /// Pause: a person must look.
    Pause(Reason),
    /// Every device has ended.
    Complete,
    /// The approval has ended, some devices have not.
    Expire,
}

/// What is due now, if anything. Repeating it after the action was carried out yields the next action or none.
pub(crate) fn step(view: &View, now: Timestamp) -> Option<Action> {
    if view.state.is_over() {
        return None;
    }
    if view.devices.iter().all(|d| d.phase == Phase::Confirmed) {
        return Some(Action::Complete);
    }
    if view.expires <= now {
        return Some(Action::Expire);
    }
    if view.state == State::Paused {
        return None;
    }
    let wave = view.waves.get(view.wave as usize)?;
    let devices: Vec<_> = view.devices.iter().copied().filter(|d| d.wave == view.wave).collect();
    let last = view.wave as usize + 1 == view.waves.len();
    match gate::judge(view.wave, wave, &devices, view.forgiven, now) {
        Gate::Failed(reason) => Some(Action::Pause(reason)),
        Gate::Open if !last && view.unsigned.holds(view.wave + 1) => view.await_signature(view.wave + 1),
        Gate::Open if !last => Some(Action::Open(view.wave + 1)),
        Gate::Open if view.devices.iter().all(|d| d.phase.is_outcome()) => Some(Action::Complete),
        // The first wave is on from the beginning, and yet waits where it has such a gate.
        Gate::Open | Gate::Shut(_) if view.unsigned.holds(view.wave) => view.await_signature(view.wave),
        Gate::Open | Gate::Shut(_) => None,
    }
}

/// What a device in `wave` is told; `why` is the rollout's own reason for its state, `unsigned` that its wave waits for the
/// hospital's signature, where it does.
pub(crate) fn word(
    state: State,
    open_wave: u32,
    wave: u32,
    why: Option<&Reason>,
    unsigned: Option<Reason>,
) -> Result<(), Reason> {
    let told = |code, text: &str| {
        let text = why.map_or_else(|| text.to_owned(), |r| format!("{text}: {}", r.text));
        Err(Reason::new(code, text))
    };
    match state {
        State::Running if wave <= open_wave => unsigned.map_or(Ok(()), Err),
        State::Running => Err(Reason::new(
            Code::WaveClosed,
            format!("wave {} has not opened; wave {} is on", wave + 1, open_wave + 1),
        )),
        State::Paused => told(Code::Paused, "the rollout is paused"),
        State::Aborted => told(Code::Aborted, "the rollout is aborted"),
        State::Superseded => told(Code::Superseded, "another approval took its place"),
        State::Expired => told(Code::SlotsOver, "the approval has ended"),
        State::Complete => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).unwrap()
    }

    fn view(phases: &[(u32, Phase)]) -> View {
        let wave = Wave {
            needs_server: true,
            needs_signature: false,
            min_confirmed_percent: 100,
            max_failures: 0,
            max_failed_percent: 100,
            soak_secs: 0,
        };
        View {
            id: "pump-2".parse().unwrap(),
            state: State::Running,
            reason: None,
            unsigned: WaveSet::default(),
            wave: 0,
            waves: vec![wave.clone(), wave],
            devices: phases.iter().map(|&(wave, phase)| Progress { wave, phase, since: at(0) }).collect(),
            forgiven: 0,
            expires: at(1_000),
        }
    }

    #[test]
    fn waves_open_in_order_and_the_last_completes() {
        use Phase::{Confirmed, Offered};
        let mut v = view(&[(0, Offered), (1, Offered)]);
        assert_eq!(step(&v, at(0)), None);
        v.devices[0].phase = Confirmed;
        assert_eq!(step(&v, at(0)), Some(Action::Open(1)));
        v.wave = 1;
        assert_eq!(step(&v, at(0)), None);
        v.devices[1].phase = Confirmed;
        assert_eq!(step(&v, at(0)), Some(Action::Complete));
    }

    #[test]
    fn a_canary_that_falls_back_pauses_it_and_the_second_wave_stays_shut() {
        let mut v = view(&[(0, Phase::FellBack), (1, Phase::Offered)]);
        assert!(matches!(step(&v, at(0)), Some(Action::Pause(r)) if r.code == Code::FailureCeiling));
        v.state = State::Paused;
        assert_eq!(step(&v, at(0)), None);
        assert_eq!(word(State::Paused, 0, 1, None, None).unwrap_err().code, Code::Paused);
        assert_eq!(word(State::Running, 0, 1, None, None).unwrap_err().code, Code::WaveClosed);
    }

    #[test]
    fn what_was_forgiven_of_one_device_or_wave_excuses_no_other() {
        use Phase::{FellBack, Offered};
        let mut v = view(&[(0, FellBack), (0, Offered), (1, FellBack)]);
        v.forgiven = 1;
        assert_eq!((v.still_forgiven(), step(&v, at(0))), (1, None));
        v.devices[0].phase = Offered;
        v.forgiven = v.still_forgiven();
        v.devices[1].phase = FellBack;
        assert!(matches!(step(&v, at(0)), Some(Action::Pause(r)) if r.code == Code::FailureCeiling));
    }

    #[test]
    fn a_wave_without_its_signature_stays_shut_and_that_is_said_once() {
        use Phase::{Confirmed, Offered};
        let mut v = view(&[(0, Offered), (1, Offered)]);
        v.unsigned = WaveSet::of([1]);
        assert_eq!(step(&v, at(0)), None, "the wave before comes first");
        v.devices[0].phase = Confirmed;
        let Some(Action::Await(reason)) = step(&v, at(0)) else { panic!("nothing is said") };
        assert_eq!(reason, waits(&v.id, 1));
        v.reason = Some(reason);
        assert_eq!(step(&v, at(0)), None);
        v.unsigned = WaveSet::default();
        assert_eq!(step(&v, at(0)), Some(Action::Open(1)));
    }

    #[test]
    fn the_first_wave_may_wait_for_a_signature_too() {
        let mut v = view(&[(0, Phase::Offered), (1, Phase::Offered)]);
        v.unsigned = WaveSet::of([0]);
        let Some(Action::Await(reason)) = step(&v, at(0)) else { panic!("nothing is said") };
        assert_eq!(reason, waits(&v.id, 0));
        assert_eq!(word(State::Running, 0, 0, None, Some(reason)).unwrap_err().code, Code::SignatureNeeded);
        assert_eq!(word(State::Running, 0, 1, None, None).unwrap_err().code, Code::WaveClosed);
        v.devices[0].phase = Phase::FellBack;
        assert!(matches!(step(&v, at(0)), Some(Action::Pause(_))), "a failure comes before a wait");
    }

    #[test]
    fn it_ends_with_its_approval_even_when_paused() {
        let mut v = view(&[(0, Phase::Offered), (1, Phase::Offered)]);
        v.state = State::Paused;
        assert_eq!(step(&v, at(1_000)), Some(Action::Expire));
        v.state = State::Aborted;
        assert_eq!(step(&v, at(1_000)), None);
    }

    #[test]
    fn only_a_running_rollout_with_an_open_wave_lets_a_device_go() {
        for state in State::ALL {
            let goes = |unsigned| word(state, 3, 3, None, unsigned).is_ok();
            assert_eq!(goes(None), matches!(state, State::Running | State::Complete), "{state:?}");
            assert_eq!(goes(Some(waits(&"pump-2".parse().unwrap(), 3))), state == State::Complete, "{state:?}");
        }
    }
}
