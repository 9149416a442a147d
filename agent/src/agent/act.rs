//! What the machine asks for, done. Each arm is one verb; each can be repeated with the effect of once.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use suture_core::approval::Slot;
use suture_core::digest::Digest;
use suture_core::lease::Stage;
use suture_core::phase::{Code, Reason};
use suture_core::select::Choice;

use tokio::time::Instant;

use super::look::Situation;
use super::{Agent, AgentError, MAX_STEPS, chain};
use crate::client::ClientError;
use crate::config::Settings;
use crate::fetch::{Fetch, FetchError, Room, sources};
use crate::gate::{self, Question, Word};
use crate::health;
use crate::install::{InstallError, Slots};
use crate::interlock::Claim;
use crate::machine::{Action, After, Event, State, Trouble};
use crate::power;
use crate::process;

/// How often a running fetch is told to `status`.
const PROGRESS: Duration = Duration::from_secs(5);
/// How often it is told to the server, which writes down what it is told: a person who watches a rollout looks no oftener,
/// and ten thousand devices that fetch cost it 170 rows a second.
const TELL: Duration = Duration::from_secs(60);
/// After that, from the first byte that comes, a fetch is left for a new look at what is signed: a stop order must not wait
/// for a long transfer.
const FETCH_SPELL: Duration = Duration::from_secs(600);

/// What is kept of the time before a slot.
const SLOT_MARGIN: Duration = Duration::from_secs(3_600);
/// Bytes a second of a thin line: 512 kbit/s.
const THIN_LINE: u64 = 64 << 10;

/// What an action came to.
enum Done {
    /// The machine goes on.
    On(Event),
    /// The machine goes on, and then something must be waited for.
    Wait(Event),
    /// Nothing to tell: the action is repeated in the next cycle.
    Later,
}

impl Agent {
    /// Does one action after another until something must be waited for. Without a situation only what needs none is done.
    pub(super) async fn advance(&mut self, mut situation: Option<Situation>) -> Result<(), AgentError> {
        for _ in 0..MAX_STEPS {
            let Some(action) = self.journal.state().duty() else { break };
            if self.stop.is_cancelled() {
                break;
            }
            let Settings { restart, health, .. } = &self.settings;
            self.pulse.beat(restart.timeout.saturating_add(health.deadline));
            match self.act(action, &mut situation).await? {
                Done::On(event) => self.apply(event)?,
                Done::Wait(event) => {
                    self.apply(event)?;
                    break;
                }
                Done::Later => break,
            }
        }
        if let State::Idle { .. } = self.journal.state() {
            Fetch::discard_all(&self.settings.state_dir)?;
        }
        Ok(())
    }

    async fn act(&mut self, action: Action, situation: &mut Option<Situation>) -> Result<Done, AgentError> {
        match (action, situation) {
            (Action::Fetch, Some(situation)) => self.fetch(situation).await,
            (Action::Stage, Some(situation)) => self.stage(situation).await,
            (Action::Gate, Some(situation)) => self.gate(situation).await,
            (Action::Fetch | Action::Stage | Action::Gate, None) => Ok(Done::Later),
            (Action::Claim, _) => Ok(self.claim().await),
            (Action::Switch, _) => self.switch().await,
            (Action::Restart, _) => Ok(self.restart().await),
            (Action::Probe, _) => Ok(self.probe().await),
            (Action::Revert, _) => Ok(self.revert().await),
            (Action::Release, _) => self.release().await,
        }
    }

    async fn fetch(&mut self, situation: &mut Situation) -> Result<Done, AgentError> {
        situation.is_fresh = false;
        // The server has said when to ask again; what was said of one bundle holds for all.
        if self.ask_again.is_some_and(|at| Instant::now() < at) {
            return Ok(Done::Later);
        }
        self.ask_again = None;
        let manifest = situation.attempt.bundle.manifest;
        Fetch::keep_only(&self.settings.state_dir, &manifest)?;
        let fetch = Fetch::new(&self.settings.state_dir, &manifest, self.slots.clone(), self.counters.clone())
            .within(Room::reserving(self.settings.fetch.reserve_bytes));
        let mut client = self.client.clone();
        let retry = (self.retry, self.around.random.clone());
        let stop = self.stop.clone();
        let (slots, now) = (&situation.choice.slots, self.now());
        let patience = |bytes| patience(slots, now, bytes);
        let running = fetch.run(&mut client, &situation.catalog, &situation.choice, retry, patience);
        tokio::pin!(running);
        let spell = tokio::time::sleep(FETCH_SPELL);
        tokio::pin!(spell);
        let before = self.counters.came_bytes();
        let mut tick = tokio::time::interval_at(Instant::now() + PROGRESS, PROGRESS);
        let mut told = LastTold::default();
        let result = loop {
            tokio::select! {
                result = &mut running => break Some(result),
                _ = tick.tick() => {
                    self.pulse.beat(Duration::ZERO);
                    self.counters.measure(PROGRESS);
                    // What is on disk is read again by each spell, which may take longer than one: it begins with the
                    // network.
                    if self.counters.came_bytes() == before && !self.counters.waiting.load(Ordering::Relaxed) {
                        spell.as_mut().reset(Instant::now() + FETCH_SPELL);
                    }
                    self.write_live();
                    if told.is_due(PROGRESS, self.client.in_line().is_some()) {
                        let (mut client, said) = (self.client.clone(), self.said());
                        // Beside the transfer, which does not wait for it; what the server says is heard in the next cycle.
                        tokio::spawn(async move { client.check_in(said).await });
                    }
                }
                () = &mut spell => {
                    self.ask_again = Some(Instant::now());
                    break None;
                }
                () = stop.cancelled() => break None,
                // It may be a stop order, by a person's hand.
                () = self.inbox.news() => break None,
            }
        };
        self.counters.rest();
        Ok(match result {
            None => Done::Later,
            Some(Ok(())) => {
                sources::keep(&self.settings.state_dir, &manifest, &self.counters.progress())?;
                Done::On(Event::Fetched)
            }
            Some(Err(FetchError::Client(ClientError::Deferred { text, deferral }))) => {
                self.ask_again = Some(Instant::now() + self.jittered(deferral.after));
                let reason = Reason::new(deferral.code, text);
                Done::Wait(Event::Hindered(Trouble { reason, until: deferral.until }))
            }
            Some(Err(e)) if e.is_permanent() => Done::Wait(Event::Unusable(e.reason())),
            Some(Err(e)) => Done::Wait(Event::Hindered(Trouble::new(e.reason()))),
        })
    }

    /// Up to a quarter longer: a ward's devices do not come all at once.
    pub(super) fn jittered(&self, wait: Duration) -> Duration {
        let share = f64::from((self.around.random)()) / f64::from(u32::MAX) / 4.0;
        wait.saturating_add(wait.mul_f64(share))
    }

    async fn stage(&mut self, situation: &mut Situation) -> Result<Done, AgentError> {
        situation.is_fresh = false;
        let manifest = situation.attempt.bundle.manifest;
        let fetch = Fetch::new(&self.settings.state_dir, &manifest, self.slots.clone(), self.counters.clone());
        let slots = self.slots.clone();
        let staged = blocking(move || stage(&slots, &fetch, &manifest)).await;
        Ok(match staged {
            Some(Staged::Whole) => {
                Fetch::discard_all(&self.settings.state_dir)?;
                Done::On(Event::Staged)
            }
            Some(Staged::Damaged(reason)) => Done::On(Event::Damaged(reason)),
            Some(Staged::Contradiction(reason)) => Done::Wait(Event::Unusable(reason)),
            Some(Staged::Hindered(reason)) => Done::Wait(Event::Hindered(Trouble::new(reason))),
            None => Done::Later,
        })
    }

    /// TRUST, order on the device, 8: in its slot, refreshed again, hashed again. What is asked of the wave's signature is
    /// asked of that refresh too.
    async fn gate(&mut self, situation: &mut Situation) -> Result<Done, AgentError> {
        if !situation.is_fresh {
            // Hours may have passed with fetching: what is signed, and what the server says, may have changed.
            self.check_in().await;
            match self.look().await?.into_event() {
                (Event::Chosen(attempt), Some(next)) if attempt.is_same(&situation.attempt) => *situation = next,
                // Another one, or none: the next cycle begins with it.
                (event, _) => return Ok(Done::Wait(event)),
            }
        }
        let manifest = situation.attempt.bundle.manifest;
        let held = self.slots.spare().and_then(|side| Ok((side, self.slots.manifest(side)?)));
        let (side, install) = match held {
            Ok((side, Some((held, digest)))) if digest == manifest => (side, held.install),
            Ok(_) => {
                let reason =
                    Reason::new(Code::WrongBytes, "the new version is no longer in its slot; it is fetched again");
                return Ok(Done::Wait(Event::Damaged(reason)));
            }
            Err(e) => return Ok(Done::Wait(Event::Hindered(Trouble::new(Reason::from(&e))))),
        };
        let word = match &self.heard {
            None => Word::Unheard,
            Some(heard) => match heard.words.iter().find(|(id, _)| *id == situation.choice.approval) {
                None => Word::Silent,
                Some((_, None)) => Word::Go,
                Some((_, Some(reason))) => Word::Wait(reason.clone()),
            },
        };
        let Choice { slots, unsigned, needs_server, policy, tries, .. } = &situation.choice;
        let question = Question {
            slots,
            install: &install,
            unsigned: unsigned.as_ref(),
            retry: tries.waits(*policy, self.now()),
            needs_server: *needs_server,
            word,
        };
        let window = match gate::ask(&question, self.now()) {
            Ok(window) => window,
            Err(trouble) => return Ok(Done::Wait(Event::Hindered(trouble))),
        };
        if let Err(reason) = power::ask(self.settings.power, Path::new(power::SUPPLIES)) {
            return Ok(Done::Wait(Event::Hindered(Trouble::new(reason))));
        }
        // Asked before minutes go by with hashing: a ward that is busy says so at once.
        if situation.choice.needs_lease
            && let Some(trouble) = self.take_lease(&situation.choice.approval, Stage::Wanted).await?
        {
            return Ok(Done::Wait(Event::Hindered(trouble)));
        }
        let slots = self.slots.clone();
        Ok(match blocking(move || slots.verify(side, &manifest)).await {
            Some(Ok(_)) => Done::On(Event::Open(window)),
            Some(Err(e)) => Done::Wait(match rejected(&e) {
                true => Event::Damaged(Reason::from(&e)),
                false => Event::Hindered(Trouble::new(Reason::from(&e))),
            }),
            None => Done::Later,
        })
    }

    async fn claim(&self) -> Done {
        let State::Claiming { attempt, window, .. } = self.journal.state() else { return Done::Later };
        match self.interlock.claim(&attempt.approval, window, self.now()).await {
            Claim::Held => Done::On(Event::Claimed),
            Claim::Refused(trouble) => Done::Wait(Event::Hindered(trouble)),
            Claim::Unclear(trouble) => Done::On(Event::Unclear(trouble)),
        }
    }

    async fn switch(&mut self) -> Result<Done, AgentError> {
        let State::Switching { attempt, .. } = self.journal.state() else { return Ok(Done::Later) };
        let (approval, manifest) = (attempt.approval.clone(), attempt.bundle.manifest);
        // From here on the device may be lost while it is out of service, so the server is to know that it begins.
        if self.lease.by(&approval).is_some()
            && !self.slots.runs(&manifest).unwrap_or(false)
            && let Some(trouble) = self.take_lease(&approval, Stage::Beginning).await?
        {
            return Ok(Done::On(Event::Hindered(trouble)));
        }
        Ok(self.switch_now())
    }

    fn switch_now(&mut self) -> Done {
        // TRUST, order on the device, 8: no stop. Hashing and claiming may have taken minutes since the last look.
        self.heed_inbox();
        let State::Switching { attempt, window } = self.journal.state() else { return Done::Later };
        let manifest = attempt.bundle.manifest;
        let stopped = self.stops.is_stopped(&attempt.approval) || self.stops.trouble(&attempt.approval).is_some();
        match self.slots.runs(&manifest) {
            Ok(true) => return Done::On(Event::Switched),
            // The clock is looked at again before the link is touched.
            Ok(false) if !window.holds(self.now()) => return Done::On(Event::Resumed { switched: false }),
            Ok(false) if stopped => {
                let text = format!("the hospital has stopped approval {}", attempt.approval);
                return Done::On(Event::Hindered(Trouble::new(Reason::new(Code::StopOrder, text))));
            }
            Ok(false) => {}
            Err(e) => return Done::On(Event::Broken(Reason::from(&e))),
        }
        match self.slots.switch_to(&manifest) {
            Ok(()) => Done::On(Event::Switched),
            Err(e) => Done::On(Event::Broken(Reason::from(&e))),
        }
    }

    async fn restart(&self) -> Done {
        let ending = process::run(&self.settings.restart, &[], None).await;
        if ending.is_success() {
            return Done::On(Event::Restarted);
        }
        Done::On(Event::Broken(Reason::new(Code::RestartFailed, format!("the restart command {ending}"))))
    }

    async fn probe(&self) -> Done {
        let server = async || {
            let (mut client, said) = (self.client.clone(), self.said());
            client.check_in(said).await.map(drop).map_err(|e| format!("the server cannot be reached: {}", chain(&e)))
        };
        tokio::select! {
            proof = health::prove(&self.settings.health, server) => Done::On(match proof {
                Ok(()) => Event::Healthy,
                Err(reason) => Event::Broken(reason),
            }),
            () = self.stop.cancelled() => Done::Later,
        }
    }

    /// DESIGN, rule 5: always a way back.
    async fn revert(&self) -> Done {
        let State::Reverting { attempt, .. } = self.journal.state() else { return Done::Later };
        if let Err(e) = self.slots.switch_from(&attempt.bundle.manifest) {
            return Done::On(Event::Broken(Reason::from(&e)));
        }
        match self.restart().await {
            Done::On(Event::Restarted) => Done::On(Event::Reverted),
            other => other,
        }
    }

    async fn release(&mut self) -> Result<Done, AgentError> {
        // The floor is raised after confirmation, before anything else can be begun.
        if let (State::Releasing { after: After::Confirmed(attempt), .. }, Ok(floors)) =
            (self.journal.state(), &mut self.floors)
        {
            let time = floors.time();
            floors.raise(attempt.floor, time)?;
        }
        Ok(match self.interlock.release().await {
            Ok(()) => Done::Wait(Event::Released),
            Err(reason) => Done::Wait(Event::Hindered(Trouble::new(reason))),
        })
    }
}

/// What the server was told of a running fetch.
#[derive(Default)]
struct LastTold {
    /// How long ago, and whether the device stood in line then; nothing yet.
    last: Option<(Duration, bool)>,
}

impl LastTold {
    /// Whether it is to be told now that so much more time has passed: once soon after the fetch has begun, when the device
    /// comes into line or out of it, and each [`TELL`].
    fn is_due(&mut self, passed: Duration, in_line: bool) -> bool {
        let last = self.last.map(|(ago, was)| (ago.saturating_add(passed), was));
        let due = last.is_none_or(|(ago, was)| ago >= TELL || was != in_line);
        self.last = if due { Some((Duration::ZERO, in_line)) } else { last };
        due
    }
}

/// How long a delta that is being made may be waited for, as far as the next slot is concerned: it begins an hour later at
/// least, and by the time that all of `bytes` take as chunks over a thin line.
fn patience(slots: &[Slot], now: Timestamp, bytes: u64) -> Duration {
    // A slot that has begun leaves no time.
    let Some(slot) = slots.iter().find(|slot| now < slot.end) else { return Duration::ZERO };
    let until = Duration::try_from(slot.start.duration_since(now)).unwrap_or(Duration::ZERO);
    until.saturating_sub(SLOT_MARGIN).saturating_sub(Duration::from_secs(bytes / THIN_LINE))
}

enum Staged {
    Whole,
    Damaged(Reason),
    Contradiction(Reason),
    Hindered(Reason),
}

/// Writes the spare slot from what was fetched. What is there already, from before a restart, is hashed and kept.
fn stage(slots: &Slots, fetch: &Fetch, manifest: &Digest) -> Staged {
    if slots.spare().and_then(|side| slots.verify(side, manifest)).is_ok() {
        return Staged::Whole;
    }
    let fetched = match fetch.fetched() {
        Ok(fetched) => fetched,
        Err(e @ FetchError::Unusable(_)) => return Staged::Contradiction(e.reason()),
        Err(e) => return Staged::Damaged(e.reason()),
    };
    match slots.write(&fetched.manifest, &fetched.payloads) {
        Ok(_) => Staged::Whole,
        Err(e) if rejected(&e) && fetch.is_whole() => {
            let text = format!("the bundle contradicts itself: {}", chain(&e));
            Staged::Contradiction(Reason::new(Code::UnusableBundle, text))
        }
        Err(e) if rejected(&e) => Staged::Damaged(Reason::from(&e)),
        Err(e) => Staged::Hindered(Reason::from(&e)),
    }
}

/// Whether the bytes are at fault rather than the disk.
fn rejected(error: &InstallError) -> bool {
    use suture_core::archive::ArchiveError;

    use crate::install::TreeError;
    match error {
        InstallError::WrongBytes { .. } | InstallError::Empty { .. } => true,
        InstallError::Tree(TreeError::Archive(e)) => !matches!(e, ArchiveError::Io { .. }),
        InstallError::Tree(TreeError::Foreign(_)) => true,
        _ => false,
    }
}

/// Runs what keeps a disk busy beside the network. `None` where the runtime is ending.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_fetch_is_told_each_minute_and_when_it_comes_into_line() {
        let mut told = LastTold::default();
        let at: Vec<u32> = (1..=30).filter(|n| told.is_due(PROGRESS, (10..12).contains(n))).collect();
        assert_eq!(at, [1, 10, 12, 24], "after 5, 50, 60 and 120 s");
    }

    #[test]
    fn a_delta_is_waited_for_only_while_the_slot_is_far() {
        let at = |secs: i64| Timestamp::from_second(1_000_000 + secs).unwrap();
        let slot = |start, end| Slot { start: at(start), end: at(end) };
        let secs = |slots: &[Slot], bytes| patience(slots, at(0), bytes).as_secs();
        assert_eq!(secs(&[], 0), 0);
        assert_eq!(secs(&[slot(-10, 10)], 0), 0, "it has begun");
        assert_eq!(secs(&[slot(3_600, 7_200)], 0), 0);
        assert_eq!(secs(&[slot(3_700, 7_200)], 0), 100);
        assert_eq!(secs(&[slot(3_700, 7_200)], 60 * THIN_LINE), 40);
        assert_eq!(secs(&[slot(-20, -10), slot(10_000, 10_001)], 0), 6_400, "one that is over counts no more");
        assert_eq!(secs(&[slot(100_000, 100_001)], u64::MAX), 0);
    }
}
