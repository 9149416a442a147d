//! A device and what is around it: two slots and what runs, the interlock and the clinic, the journal, the clock. It does what
//! the machine asks for, as the agent does, and looks after each line whether a rule is broken.

mod device;

use std::fmt;

use suture_core::phase::{Code, Reason};
use suture_core::retry::Tries;

use super::book::Book;
use super::signed::{self, FIRST, Signed, at, digest};
use crate::machine::{Event, Failure, State, Trouble, step};

/// Which rule is bent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bend {
    Nothing,
    /// What is staged is not hashed again before it is switched to.
    RunsUnhashed,
    /// After a cut between claim and switch nothing is asked again.
    GoesOnAfterACut,
    WritesTheSlotInUse,
    LooksAtNoClock,
    TakesADeviceInUse,
    /// After a cut, or a word from afar, the interlock counts as held still.
    AsksNobodyAgain,
    /// The interlock is released with the switch.
    ReleasesTooEarly,
    NeedsNoPermit,
    /// The journal keeps nothing beside its newest record from the claim on.
    KeepsOneRecord,
    /// A release that failed is not tried again.
    NeverComesToRest,
}

/// A rule that was broken, and where.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) rule: &'static str,
    trace: Vec<&'static str>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; the last of it: {}", self.rule, self.trace.join(" "))
    }
}

/// Why a line was not reached.
pub(super) enum Stop {
    Cut,
    Broken(Broken),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    /// 0: none, or a part of one.
    release: u64,
    /// Every byte of it is as signed.
    sound: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Nobody,
    Agent,
    Clinic,
}

struct Luck(u64);

impl Luck {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One time out of so many.
    fn one_in(&mut self, many: u64) -> bool {
        (self.next() >> 20).is_multiple_of(many)
    }
}

pub(super) struct World<'a> {
    signed: &'a mut Signed,
    variant: usize,
    bend: Bend,
    luck: Luck,
    faults: bool,
    /// In minutes.
    now: i64,
    stopped: bool,
    slots: [Slot; 2],
    current: usize,
    holder: Holder,
    /// The interlock is a person's word, which ends with the cut.
    by_word: bool,
    /// The interlock is to be asked once more.
    asks: bool,
    /// What was fetched is whole.
    fetched: bool,
    book: Book,
    state: State,
    tries: Tries,
    resumed: bool,
    trace: Vec<&'static str>,
}

enum Done {
    On(Event),
    Wait(Event),
    Later,
}

impl<'a> World<'a> {
    pub(super) fn born(signed: &'a mut Signed, seed: u64, bend: Bend) -> Self {
        let mut luck = Luck((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        luck.next();
        let variant = (luck.next() >> 20) as usize % signed.variants.len();
        let by_word = luck.one_in(3);
        let mut book = Book::new();
        book.single = bend == Bend::KeepsOneRecord;
        Self {
            signed,
            variant,
            bend,
            luck,
            faults: true,
            now: -5,
            stopped: false,
            slots: [Slot { release: FIRST, sound: true }, Slot { release: 0, sound: false }],
            current: 0,
            holder: Holder::Nobody,
            by_word,
            asks: true,
            fetched: false,
            book,
            state: State::rest(),
            tries: Tries::default(),
            resumed: false,
            trace: Vec::new(),
        }
    }

    /// From now on nothing goes wrong, and nobody takes the device.
    pub(super) fn calm(&mut self) {
        self.faults = false;
        if self.holder == Holder::Clinic {
            self.holder = Holder::Nobody;
        }
    }

    pub(super) fn broken(&self, rule: &'static str) -> Broken {
        let from = self.trace.len().saturating_sub(60);
        Broken { rule, trace: self.trace[from..].to_vec() }
    }

    /// How it ended, where it rests.
    pub(super) fn rests(&mut self) -> Result<Option<super::End>, Broken> {
        let end = (self.state.name(), self.slots[self.current].release);
        if !self.resumed || !matches!(self.state, State::Idle { .. } | State::Held { .. }) {
            return Ok(None);
        }
        if matches!(self.state, State::Idle { .. }) {
            if self.holder == Holder::Agent {
                return Err(self.broken("it rests with the interlock held"));
            }
            // What is chosen is begun, until all of it is told.
            if let (Event::Chosen(_), _) = self.look() {
                return Ok(None);
            }
        }
        Ok(Some(end))
    }

    /// A cycle, as far as it comes; then some time passes.
    pub(super) fn cycle(&mut self) -> Result<(), Broken> {
        match self.pass() {
            Ok(()) => {}
            Err(Stop::Broken(broken)) => return Err(broken),
            Err(Stop::Cut) => self.cut()?,
        }
        self.now += match self.luck.next() % 8 {
            0 => 45,
            1 | 2 => 9,
            _ => 3,
        };
        if self.faults {
            self.stopped |= self.luck.one_in(40);
            self.holder = match self.holder {
                Holder::Nobody if self.luck.one_in(4) => Holder::Clinic,
                Holder::Clinic if self.luck.one_in(2) => Holder::Nobody,
                other => other,
            };
            if self.luck.one_in(10) {
                self.alter();
            }
        }
        Ok(())
    }

    /// Somebody alters, or a disk loses, what does not run.
    fn alter(&mut self) {
        let spare = 1 - self.current;
        // From the switch on the other slot is the way back, of which one copy is assumed to last.
        if !self.state.is_committed() {
            self.slots[spare].sound = false;
            self.fetched = false;
        }
    }

    /// The process ends, or the power: what was written last may be torn, and the device boots what the link names.
    fn cut(&mut self) -> Result<(), Broken> {
        (self.resumed, self.asks) = (false, true);
        self.trace.push("CUT");
        self.word_ends();
        if self.luck.one_in(3) {
            self.trace.push("TORN");
            self.book.tear();
        }
        let link = self
            .state
            .attempt()
            .is_some_and(|a| self.slots[self.current].release == signed::release(&a.bundle.manifest));
        if !link && self.luck.one_in(3) {
            let spare = 1 - self.current;
            self.slots[spare].sound = false;
            self.trace.push("ALTERED");
        }
        let Some(record) = self.book.newest() else { return Err(self.broken("both records are lost")) };
        (self.state, self.tries) = (record.state.clone(), record.tries.clone());
        self.boots()
    }

    /// Whoever gave it has gone, and whoever comes knows nothing of it.
    fn word_ends(&mut self) {
        if self.by_word && self.holder == Holder::Agent {
            self.holder = if self.faults && self.luck.one_in(2) { Holder::Clinic } else { Holder::Nobody };
        }
    }

    /// The device's software is started: what the link names runs.
    fn boots(&self) -> Result<(), Broken> {
        let Slot { release, sound } = self.slots[self.current];
        if release == 0 || !self.slots.iter().any(|slot| slot.sound) {
            return Err(self.broken("no whole version is left"));
        }
        if sound { Ok(()) } else { Err(self.broken("unverified bytes run")) }
    }

    /// Between two lines.
    fn line(&mut self) -> Result<(), Stop> {
        if !self.slots.iter().any(|slot| slot.sound) {
            return Err(self.broken("no whole version is left").into());
        }
        if self.faults && self.luck.one_in(24) { Err(Stop::Cut) } else { Ok(()) }
    }

    /// One pass of the agent's loop.
    fn pass(&mut self) -> Result<(), Stop> {
        if !self.resumed {
            let (faults, luck) = (self.faults, &mut self.luck);
            self.book.even_out(|| if faults && luck.one_in(24) { Err(Stop::Cut) } else { Ok(()) })?;
            let began = self.state.clone();
            if began.counts_starts() {
                self.apply(Event::Started)?;
                self.line()?;
            }
            let switched = self.switched();
            // Held by that very start, it is left alone until the next.
            if !matches!(self.state, State::Held { .. }) || !began.counts_starts() {
                self.apply(Event::Resumed { switched })?;
            }
            self.resumed = true;
        }
        if self.state.is_committed() {
            self.advance()?;
        }
        if !self.state.is_committed() {
            let event = self.look().0;
            self.apply(event)?;
            self.advance()?;
        }
        Ok(())
    }

    fn switched(&self) -> bool {
        self.state.attempt().is_some_and(|a| self.slots[self.current].release == signed::release(&a.bundle.manifest))
    }

    fn look(&mut self) -> (Event, Option<suture_core::select::Choice>) {
        let runs = self.slots[self.current].release;
        let bent = self.bend == Bend::NeedsNoPermit;
        self.signed.look(self.variant, runs, &self.tries, self.stopped, self.now, bent)
    }

    fn apply(&mut self, event: Event) -> Result<(), Stop> {
        let (now, name) = (at(self.now), event.name());
        let bent = match (&self.state, &event, self.bend) {
            (State::Switching { .. }, Event::Resumed { switched: false }, Bend::GoesOnAfterACut) => !self.resumed,
            (State::Claiming { attempt, window, .. }, Event::Claimed, Bend::LooksAtNoClock) => {
                self.state = State::Switching { attempt: attempt.clone(), window: *window };
                true
            }
            (State::Releasing { .. }, Event::Released, Bend::NeverComesToRest) => true,
            _ => false,
        };
        if bent {
            return self.write(self.state.clone(), self.tries.clone());
        }
        let Ok(next) = step(self.state.clone(), event, now) else {
            return Err(self.broken("an event that the machine refuses").into());
        };
        if let Some(Failure { attempt, reason, for_good }) = &next.fails {
            let tries = std::mem::take(&mut self.tries);
            let tries = if next.spends.is_some() { tries.spend() } else { tries };
            self.tries = tries.fail(attempt.policy, (reason, *for_good), now, attempt.order, attempt.jitter);
        } else if next.spends.is_some() {
            self.tries = std::mem::take(&mut self.tries).spend();
        } else if next.succeeds.is_some() {
            self.tries = std::mem::take(&mut self.tries).succeed();
        }
        self.trace.extend(["on", name, "->", next.state.name()]);
        if next.state != self.state {
            self.write(next.state, self.tries.clone())?;
        }
        let may_hold = self.state.is_committed();
        if self.holder == Holder::Agent && !may_hold {
            return Err(self.broken("it waits with the interlock held").into());
        }
        Ok(())
    }

    fn write(&mut self, state: State, tries: Tries) -> Result<(), Stop> {
        let (faults, luck) = (self.faults, &mut self.luck);
        let line = || if faults && luck.one_in(24) { Err(Stop::Cut) } else { Ok(()) };
        self.book.write(state.clone(), tries, line)?;
        self.state = state;
        Ok(())
    }

    fn advance(&mut self) -> Result<(), Stop> {
        while let Some(action) = self.state.duty() {
            self.line()?;
            match self.act(action)? {
                Done::On(event) => self.apply(event)?,
                Done::Wait(event) => return self.apply(event),
                Done::Later => break,
            }
        }
        if let State::Checking { .. } = self.state
            && (!self.faults || self.luck.one_in(3))
        {
            let unfit = self.luck.one_in(4);
            if unfit {
                // From afar, days later.
                self.asks = true;
                self.word_ends();
            }
            self.apply(if unfit { Event::Unfit(reason(Code::Unfit)) } else { Event::Checked(reason(Code::Returned)) })?;
            return self.advance();
        }
        Ok(())
    }
}

fn reason(code: Code) -> Reason {
    Reason::new(code, "text")
}

fn trouble(code: Code) -> Trouble {
    Trouble::new(reason(code))
}

#[test]
fn a_device_is_born_with_the_first_release_and_knows_it_by_its_digest() {
    assert_eq!(signed::release(&digest(FIRST)), FIRST);
}
