//! A hospital's limits, held: how many of its devices fetch at once, how fast, and when.
//!
//! Each call that sends in bulk asks for a place before it begins, and for its turn before each piece that it sends. Where a
//! hospital has set no limit it is counted and otherwise sent as if this file were not there. What is held here is one
//! server's: several servers behind one address each hold the limits by themselves.

mod body;
mod places;
mod queue;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use jiff::Timestamp;
use suture_core::clock::{Clock, format_utc};
use suture_core::id::HdoId;
use suture_core::limits::MAX_QUIET;
use suture_core::pace::{Limits, Timetable};
use suture_core::phase::Code;
use suture_core::principal::Principal;
use suture_proto::deferral::Deferral;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::places::{Places, Turned};
use self::queue::{Place, Queue, Turn};
use crate::store::{Store, StoreError};

pub(crate) use self::body::Paced;

/// How often it is looked which limits hold: those of a time of the day that has begun, or that another server was told.
const LOOK: Duration = Duration::from_secs(5);
/// The longest sleep of a stream that waits for its turn, after which it looks whether the limits are others.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Nothing is limited.
const FREE: u8 = 0;
/// Something is.
const LIMITED: u8 = 1;
/// Nothing may be fetched.
const CLOSED: u8 = 2;

/// The limits of all hospitals that fetch just now.
#[derive(Clone)]
pub(crate) struct Pace {
    store: Store,
    clock: Arc<dyn Clock>,
    sites: Arc<Mutex<HashMap<HdoId, Arc<Site>>>>,
    /// What the monotonic clock is counted from.
    start: Instant,
}

/// One hospital.
struct Site {
    state: Mutex<State>,
    /// What every stream looks at, without a lock.
    mode: AtomicU8,
}

#[derive(Default)]
struct State {
    limits: Limits,
    /// Where nothing may be fetched: until when.
    opens: Option<Timestamp>,
    queue: Queue,
    places: Places,
}

impl Site {
    fn new() -> Self {
        Self { state: Mutex::default(), mode: AtomicU8::new(FREE) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heed(&self, timetable: &Timetable, at: Timestamp, now: Duration) {
        let limits = timetable.at(at);
        let mut state = self.state();
        state.opens = if limits.is_closed() { timetable.opens(at) } else { None };
        if state.limits != limits {
            state.limits = limits;
            state.queue.limit(&limits, now);
            let rated = limits.rate.or(limits.device_rate).is_some();
            let mode = if limits.is_closed() {
                CLOSED
            } else if rated {
                LIMITED
            } else {
                FREE
            };
            self.mode.store(mode, Ordering::Release);
        }
    }
}

/// One call's place, and its way through the queue. Given back when it is dropped.
pub(crate) struct Stream {
    site: Arc<Site>,
    who: Principal,
    is_over: Arc<AtomicBool>,
    place: Option<Place>,
    /// All was sent, or the server itself has ended it.
    is_whole: bool,
    sleep: Option<Pin<Box<Sleep>>>,
    start: Instant,
    clock: Arc<dyn Clock>,
}

impl Pace {
    /// Nobody fetches yet.
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, sites: Arc::default(), start: Instant::now() }
    }

    /// A place for a call of `who`. None where nobody's limits are on it: a manufacturer's operator.
    pub(crate) async fn admit(&self, who: &Principal) -> Result<Option<Stream>, Status> {
        let Some(hdo) = who.hdo() else { return Ok(None) };
        let timetable = self.store.timetable(hdo).await.map_err(|e| Status::from(crate::grpc::Refusal::from(e)))?;
        let (at, now) = (self.clock.now(), self.start.elapsed());
        let site = self.sites().entry(hdo.clone()).or_insert_with(|| Arc::new(Site::new())).clone();
        site.heed(&timetable, at, now);
        let mut state = site.state();
        if state.limits.is_closed() {
            return Err(quiet(state.opens, at));
        }
        let places = state.limits.places();
        let is_over = match who {
            Principal::Device(_, id) => state.places.enter(id, places, now).map_err(in_line)?,
            _ => Arc::default(),
        };
        state.queue.enter(who, now);
        drop(state);
        let (start, clock) = (self.start, self.clock.clone());
        let who = who.clone();
        Ok(Some(Stream { site, who, is_over, place: None, is_whole: false, sleep: None, start, clock }))
    }

    /// Limits that were just set.
    pub(crate) fn heed(&self, hdo: &HdoId, timetable: &Timetable, at: Timestamp) {
        let site = self.sites().get(hdo).cloned();
        if let Some(site) = site {
            site.heed(timetable, at, self.start.elapsed());
        }
    }

    /// Devices of a hospital that fetch here, and that stand in line.
    pub(crate) fn crowd(&self, hdo: &HdoId) -> (usize, usize) {
        let site = self.sites().get(hdo).cloned();
        site.map_or((0, 0), |site| site.state().places.count(self.start.elapsed()))
    }

    /// Keeps the limits of all who fetch up to date until `shutdown`, and forgets hospitals that nobody fetches for.
    pub(crate) async fn keep(self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            if let Err(error) = self.look().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the limits on transfers cannot be read");
            }
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        let now = self.start.elapsed();
        let active: Vec<(HdoId, Arc<Site>)> = {
            let mut sites = self.sites();
            // One that a call has just been given is in two hands.
            sites.retain(|_, site| Arc::strong_count(site) > 1 || site.state().places.count(now) != (0, 0));
            sites.iter().map(|(hdo, site)| (hdo.clone(), site.clone())).collect()
        };
        for (hdo, site) in active {
            site.heed(&self.store.timetable(&hdo).await?, self.clock.now(), self.start.elapsed());
        }
        Ok(())
    }

    fn sites(&self) -> MutexGuard<'_, HashMap<HdoId, Arc<Site>>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Whether its pieces must wait for their turn.
    fn is_limited(&self) -> bool {
        self.site.mode.load(Ordering::Acquire) != FREE
    }

    /// Nothing more is to be sent.
    fn finish(&mut self) {
        self.is_whole = true;
    }

    /// Why it may not go on, where it may not.
    fn ended(&self) -> Option<Status> {
        if self.is_over.load(Ordering::Acquire) {
            return Some(Status::aborted("this device has begun newer transfers, which go on in its place"));
        }
        if self.site.mode.load(Ordering::Acquire) == CLOSED {
            return Some(quiet(self.site.state().opens, self.clock.now()));
        }
        None
    }

    /// Ready when so many bytes may be sent.
    fn poll_turn(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            let now = self.start.elapsed();
            let turn = self.site.state().queue.turn(&self.who, &mut self.place, bytes, now, cx.waker());
            match turn {
                Turn::Now => return Poll::Ready(()),
                Turn::Called => return Poll::Pending,
                Turn::After(wait) => self.sleep = Some(Box::pin(tokio::time::sleep(wait.min(LONGEST_SLEEP)))),
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.site.state();
        state.queue.leave(&self.who, self.place);
        if let Principal::Device(_, id) = &self.who {
            state.places.leave(id, (&self.is_over, self.is_whole), self.start.elapsed());
        }
    }
}

/// The answer to a device that has no place.
fn in_line(turned: Turned) -> Status {
    let Turned { fetching, number, after } = turned;
    let secs = after.as_secs();
    let text = match number {
        Some(number) => {
            format!("{fetching} devices of this hospital fetch at once; you are number {number}, ask again in {secs} s")
        }
        None => format!("{fetching} devices of this hospital fetch at once and too many wait; ask again in {secs} s"),
    };
    Deferral { code: Code::InLine, after, until: None }.to_status(text)
}

/// The answer where nothing may be fetched.
fn quiet(opens: Option<Timestamp>, now: Timestamp) -> Status {
    let most = MAX_QUIET.unsigned_abs();
    let left = opens.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
    let after = left.unwrap_or(most).clamp(Duration::from_secs(1), most);
    let until = match opens {
        Some(at) => format!("until {}", format_utc(at)),
        None => "until it changes its limits".to_owned(),
    };
    let text = format!("this hospital lets nothing be fetched {until}");
    Deferral { code: Code::QuietHours, after, until: opens }.to_status(text)
}

#[cfg(test)]
mod tests;
