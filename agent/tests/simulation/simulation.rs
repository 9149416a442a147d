//! The queue of what happens, over time that passes only by it.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use suture_core::clock::format_utc;
use suture_core::sign::{LocalKey, Signer as _};

use crate::approvals::Approvals;
use crate::case::{Case, Fault, Server};
use crate::catalog::{Catalog, Version, versions};
use crate::chance::Chance;
use crate::device::{Device, Report};
use crate::figures::Figures;
use crate::hospital::{HARDWARE, Hospital};
use crate::people::Act;
use crate::sabotage::Sabotage;
use crate::server::Desk;
use crate::watch::Watch;

/// More than any case takes: one that takes more goes in circles.
const MAX_EVENTS: u64 = 300_000;

/// What happens.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A device begins a cycle.
    Wake(usize),
    /// What it was doing comes to its end.
    Done(usize, u64),
    /// Its power goes.
    Cut(usize, u64),
    /// Its power comes back.
    Power(usize),
    /// It says that it is down by a lease, if the process is the same.
    Speak(usize, u64),
    /// Reports reach the server.
    Arrive(usize, Vec<Report>),
    /// The server's answer reaches the device: it has all reports up to that one.
    Stored(usize, u64),
    /// The server looks at a rollout though nobody has said anything.
    Tick(usize),
    /// A person does something.
    Act(Act),
}

/// A property that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) case: Case,
    pub(crate) property: &'static str,
    pub(crate) device: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) text: String,
}

/// What everything that may break a property returns.
pub(crate) type Outcome = Result<(), Violation>;

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device.as_deref().unwrap_or("no device");
        let Self { case, property, at, text, .. } = self;
        write!(
            f,
            "it does not hold that {property}: {device} at {}: {text}; again with SUTURE_SIMULATION={case}",
            format_utc(*at)
        )
    }
}

/// A hospital, its devices, the manufacturer, the server, and the time.
pub(crate) struct Simulation {
    pub(crate) case: Case,
    pub(crate) sabotage: Sabotage,
    trace: bool,
    pub(crate) chance: Chance,
    pub(crate) now: Timestamp,
    /// Nothing can be begun any more from then on.
    pub(crate) end: Timestamp,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    queued: u64,
    pub(crate) hospital: Hospital,
    pub(crate) versions: Vec<Version>,
    /// In truth; devices may know older ones.
    pub(crate) catalog: Rc<Catalog>,
    /// The same of approvals.
    pub(crate) approvals: Rc<Approvals>,
    pub(crate) devices: Vec<Device>,
    pub(crate) desk: Desk,
    pub(crate) watch: Watch,
    pub(crate) figures: Figures,
}

impl Simulation {
    /// The world of a case, before anything has happened.
    pub(crate) fn new(case: Case, sabotage: Sabotage, trace: bool) -> Self {
        let seed = Chance::new(case.seed);
        let key = LocalKey::from_seed(&zeroize::Zeroizing::new([1; 32])).public();
        let hospital = Hospital::new(&mut seed.fork(1), case.size, key);
        let versions = versions(&mut seed.fork(2), &HARDWARE);
        let now = hospital.begins;
        let (catalog, approvals) = (Rc::new(Catalog::new(&versions, now)), Rc::new(Approvals::new(now)));
        let mut world = seed.fork(3);
        let device = |(i, it): (u64, &suture_core::approval::RosterDevice)| {
            let fits = |v: &&Version| v.step.hardware.contains(&it.hardware);
            let old = usize::from(world.percent(30));
            let runs = versions.iter().filter(fits).nth(old).unwrap_or(&versions[0]);
            Device::new(it.clone(), runs.running(), seed.fork(1_000 + i), catalog.clone(), approvals.clone())
        };
        let devices: Vec<_> = (0..).zip(&hospital.devices).map(device).collect();
        let desk = Desk::new(seed.fork(4), devices.len());
        let figures = Figures { cases: 1, devices: devices.len() as u64, ..Figures::default() };
        Self {
            case,
            sabotage,
            trace,
            chance: seed.fork(5),
            now,
            end: now,
            queue: BTreeMap::new(),
            queued: 0,
            hospital,
            versions,
            catalog,
            approvals,
            devices,
            desk,
            watch: Watch::default(),
            figures,
        }
    }

    /// Runs it until nothing happens any more.
    pub(crate) fn run(mut self) -> Result<Figures, Violation> {
        let begins = self.now;
        self.begin_people();
        for i in 0..self.devices.len() {
            if self.faults(i, Fault::Clock, 15) {
                let d = &mut self.devices[i];
                let most = d.chance.pick(&[120, 7_200, 20 * 86_400]);
                let skew = d.chance.secs(0, most);
                d.skew = if d.chance.percent(50) { skew } else { -skew };
            }
            self.resume(i)?;
        }
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.figures.events += 1;
            if self.figures.events > MAX_EVENTS {
                return self
                    .violated("a simulation comes to an end", None, "it goes in circles")
                    .map(|()| self.figures);
            }
            self.now = at;
            self.watch_time()?;
            match happening {
                Happening::Wake(i) => self.wake(i)?,
                Happening::Done(i, generation) => self.done(i, generation)?,
                Happening::Cut(i, generation) if self.devices[i].generation == generation => self.cut(i)?,
                Happening::Cut(..) => {}
                Happening::Speak(i, process) if self.devices[i].process == process => self.speak(i),
                Happening::Speak(..) => {}
                Happening::Power(i) => {
                    self.devices[i].power = true;
                    self.say(i, || "power".to_owned());
                    self.resume(i)?;
                }
                Happening::Arrive(i, reports) => self.arrive(i, &reports)?,
                Happening::Stored(i, through) => self.devices[i].outbox.retain(|r| r.number > through),
                Happening::Tick(r) => self.advance_rollout(r)?,
                Happening::Act(act) => self.act(act)?,
            }
        }
        self.watch_end()?;
        self.figures.days = self.now.duration_since(begins).as_hours() / 24;
        Ok(self.figures)
    }

    /// Puts into the queue what will happen.
    pub(crate) fn later(&mut self, at: Timestamp, happening: Happening) {
        self.queued += 1;
        self.queue.insert((at, self.queued), happening);
    }

    /// Whether a fault happens to a device that happens so many times of a hundred. Which faults there are shifts no chance.
    pub(crate) fn faults(&mut self, i: usize, fault: Fault, percent: u32) -> bool {
        self.devices[i].chance.percent(percent) && self.case.faults.may(fault)
    }

    /// Power goes. What was being done has taken effect or not.
    pub(crate) fn cut(&mut self, i: usize) -> Outcome {
        use crate::device::Effect;
        let took = self.devices[i].chance.percent(50);
        let effect = self.devices[i].effect;
        match effect {
            Some(Effect::Switch) if took && self.may_switch(i) && self.begins_by_lease(i).is_none() => self.link(i)?,
            Some(Effect::Revert) if took => self.unlink(i),
            Some(Effect::Claim) => self.devices[i].claimed = took,
            Some(Effect::Release) if took => {
                self.devices[i].claimed = false;
                self.watch_return(i)?;
            }
            _ => {}
        }
        self.excuse(i, "its power was cut");
        self.say(i, || "power cut".to_owned());
        let d = &mut self.devices[i];
        d.forget();
        d.power = false;
        let out = match d.chance.below(10) {
            0 => d.chance.secs(3_600, 5 * 86_400),
            1..4 => d.chance.secs(60, 3_600),
            _ => d.chance.secs(0, 60),
        };
        // Somebody finds it, and says so; what they say may be wrong.
        if d.lease.is_some() && out > SignedDuration::from_mins(10) && d.chance.percent(50) {
            let found = d.chance.secs(60, 7_200);
            self.later(self.now + found, Happening::Act(Act::Return(i)));
        }
        self.later(self.now + out, Happening::Power(i));
        Ok(())
    }

    pub(crate) fn is_online(&self, i: usize) -> bool {
        self.devices[i].offline_until <= self.now && !self.desk.is_out(self.now)
    }

    pub(crate) fn is_hostile(&self) -> bool {
        self.case.server == Server::Hostile
    }

    /// All devices hear of something new within a while.
    pub(crate) fn spread(&mut self) {
        for i in 0..self.devices.len() {
            let wait = self.devices[i].chance.secs(0, 900);
            self.rouse(i, wait);
        }
    }

    /// That a property does not hold.
    pub(crate) fn violated(&self, property: &'static str, i: Option<usize>, text: impl Into<String>) -> Outcome {
        let device = i.map(|i| self.devices[i].it.id.to_string());
        Err(Violation { case: self.case, property, device, at: self.now, text: text.into() })
    }

    /// A line of the trace.
    #[expect(clippy::print_stderr, reason = "only where somebody has asked to see one case")]
    pub(crate) fn say(&self, i: usize, what: impl FnOnce() -> String) {
        if self.trace {
            let d = &self.devices[i];
            let reason = d.state.trouble().map(|(reason, _)| reason.to_string()).unwrap_or_default();
            eprintln!("{} {} {}: {} {reason}", format_utc(self.now), d.it.id, what(), d.state.name());
        }
    }

    /// The same of what people and the server do.
    #[expect(clippy::print_stderr, reason = "only where somebody has asked to see one case")]
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{} {}", format_utc(self.now), what());
        }
    }
}

/// A time in days.
pub(crate) fn days(n: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * n)
}
