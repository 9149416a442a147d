//! What the machine asks for, done by the device and by what is around it, as the agent does it.

use suture_core::phase::Code;

use super::{Bend, Done, Holder, Slot, Stop, World, reason, trouble};
use crate::gate::{self, Question, Word};
use crate::machine::lives::signed::{self, BUDGET, at, install};
use crate::machine::{Action, Event, State};

impl World<'_> {
    fn fault(&mut self, one_in: u64) -> bool {
        self.faults && self.luck.one_in(one_in)
    }

    pub(super) fn act(&mut self, action: Action) -> Result<Done, Stop> {
        let target = self.state.attempt().map_or(0, |a| signed::release(&a.bundle.manifest));
        Ok(match action {
            Action::Fetch if self.fault(6) => Done::Wait(Event::Hindered(trouble(Code::Transfer))),
            Action::Fetch if self.fault(60) => Done::Wait(Event::Unusable(reason(Code::UnusableBundle))),
            Action::Fetch => {
                self.fetched = true;
                Done::On(Event::Fetched)
            }
            Action::Stage => self.stage(target)?,
            Action::Gate => self.gate(target)?,
            Action::Claim => self.claim()?,
            Action::Switch => self.switch(target)?,
            Action::Revert if matches!(self.state, State::Reverting { restarted: true, .. }) => match self.fault(8) {
                true => Done::On(Event::Broken(reason(Code::HealthFailed))),
                false => Done::On(Event::Reverted),
            },
            Action::Restart | Action::Revert if self.asks && self.bend != Bend::AsksNobodyAgain => {
                self.claim_again()?
            }
            Action::Restart => {
                self.restart()?;
                if self.fault(8) {
                    Done::On(Event::Broken(reason(Code::RestartFailed)))
                } else {
                    Done::On(Event::Restarted)
                }
            }
            Action::Probe if self.fault(5) => Done::On(Event::Broken(reason(Code::HealthFailed))),
            Action::Probe if self.signed.variants[self.variant].return_to_service => Done::On(Event::Unchecked),
            Action::Probe => Done::On(Event::Healthy),
            Action::Revert => {
                if self.fault(3) {
                    return Ok(Done::On(Event::Broken(reason(Code::InstallFailed))));
                }
                if self.slots[self.current].release == target {
                    self.current = 1 - self.current;
                    self.line()?;
                }
                if self.fault(6) {
                    return Ok(Done::On(Event::Broken(reason(Code::InstallFailed))));
                }
                self.restart()?;
                Done::On(Event::Restarted)
            }
            Action::Release if self.fault(6) => Done::Wait(Event::Hindered(trouble(Code::InterlockUnknown))),
            Action::Release => {
                if self.holder == Holder::Agent {
                    self.holder = Holder::Nobody;
                    // At once somebody takes it who has waited for it.
                    if self.fault(3) {
                        self.holder = Holder::Clinic;
                    }
                }
                self.line()?;
                Done::Wait(Event::Released)
            }
        })
    }

    fn stage(&mut self, target: u64) -> Result<Done, Stop> {
        let side = if self.bend == Bend::WritesTheSlotInUse { self.current } else { 1 - self.current };
        if self.slots[side] == (Slot { release: target, sound: true }) {
            return Ok(Done::On(Event::Staged));
        }
        if !self.fetched {
            return Ok(Done::On(Event::Damaged(reason(Code::WrongBytes))));
        }
        self.slots[side] = Slot { release: 0, sound: false };
        self.line()?;
        if self.fault(8) {
            return Ok(Done::Wait(Event::Hindered(trouble(Code::DiskFull))));
        }
        self.slots[side] = Slot { release: target, sound: true };
        self.line()?;
        Ok(Done::On(Event::Staged))
    }

    fn gate(&mut self, target: u64) -> Result<Done, Stop> {
        let (event, choice) = self.look();
        let same = match (&event, self.state.attempt()) {
            (Event::Chosen(next), Some(attempt)) => next.is_same(attempt),
            _ => false,
        };
        let Some(choice) = choice.filter(|_| same) else { return Ok(Done::Wait(event)) };
        let spare = self.slots[1 - self.current];
        if spare.release != target {
            return Ok(Done::Wait(Event::Damaged(reason(Code::WrongBytes))));
        }
        let question = Question {
            slots: &choice.slots,
            install: &install(),
            held: None,
            unsigned: None,
            retry: self.tries.waits(choice.policy, at(self.now)),
            needs_server: false,
            word: Word::Go,
        };
        let window = match gate::ask(&question, at(self.now)) {
            Ok(window) => window,
            Err(trouble) => return Ok(Done::Wait(Event::Hindered(trouble))),
        };
        if !spare.sound && self.bend != Bend::RunsUnhashed {
            return Ok(Done::Wait(Event::Damaged(reason(Code::WrongBytes))));
        }
        // It took its time.
        if self.fault(6) {
            self.now += 6;
        }
        Ok(Done::On(Event::Open(window)))
    }

    fn claim(&mut self) -> Result<Done, Stop> {
        if self.fault(6) {
            self.now += 4;
        }
        if self.holder == Holder::Clinic && self.bend != Bend::TakesADeviceInUse {
            return Ok(Done::Wait(Event::Hindered(trouble(Code::InUse))));
        }
        if self.fault(8) {
            if self.holder == Holder::Nobody && self.luck.one_in(2) {
                self.holder = Holder::Agent;
            }
            return Ok(Done::On(Event::Unclear(trouble(Code::InterlockUnknown))));
        }
        if self.holder == Holder::Nobody {
            self.holder = Holder::Agent;
        }
        self.asks = false;
        self.line()?;
        Ok(Done::On(Event::Claimed))
    }

    fn claim_again(&mut self) -> Result<Done, Stop> {
        let nobody_comes = self.fault(2);
        match self.holder {
            Holder::Clinic => return Ok(Done::Wait(Event::Hindered(trouble(Code::InUse)))),
            Holder::Nobody if nobody_comes => return Ok(Done::Wait(Event::Hindered(trouble(Code::PersonNeeded)))),
            Holder::Nobody => self.holder = Holder::Agent,
            Holder::Agent => {}
        }
        self.asks = false;
        self.line()?;
        Ok(Done::On(Event::Claimed))
    }

    fn switch(&mut self, target: u64) -> Result<Done, Stop> {
        if self.fault(6) {
            self.now += 4;
        }
        if self.switched() {
            return Ok(Done::On(Event::Switched));
        }
        let State::Switching { window, .. } = &self.state else { return Ok(Done::Later) };
        if !window.holds(at(self.now)) && self.bend != Bend::LooksAtNoClock {
            return Ok(Done::On(Event::Resumed { switched: false }));
        }
        if self.stopped {
            return Ok(Done::On(Event::Hindered(trouble(Code::StopOrder))));
        }
        if self.fault(20) {
            return Ok(Done::On(Event::Broken(reason(Code::InstallFailed))));
        }
        // The rules, as they are written down, and not as the code has them.
        let variant = &self.signed.variants[self.variant];
        let open = variant.slots.iter().any(|(start, end)| *start <= self.now && self.now + BUDGET <= *end);
        if !open {
            return Err(self.broken("it installs outside of its opening").into());
        }
        match self.holder {
            Holder::Agent => {}
            Holder::Clinic => return Err(self.broken("it installs while the device is in clinical use").into()),
            Holder::Nobody => return Err(self.broken("it installs without the interlock").into()),
        }
        if target < self.slots[self.current].release && !variant.permit {
            return Err(self.broken("it goes down without a permit").into());
        }
        self.current = 1 - self.current;
        if self.bend == Bend::ReleasesTooEarly {
            self.holder = Holder::Nobody;
        }
        self.line()?;
        Ok(Done::On(Event::Switched))
    }

    fn restart(&mut self) -> Result<(), Stop> {
        match self.holder {
            Holder::Agent => {}
            Holder::Clinic => return Err(self.broken("it restarts a device in clinical use").into()),
            Holder::Nobody => return Err(self.broken("it restarts a device without the interlock").into()),
        }
        self.boots()?;
        self.line()
    }
}
