//! Security events on disk, until the server has them.
//!
//! They are fewer than reports and weigh less: nothing waits for them, and a disk that cannot take them keeps the device from
//! nothing. Equal ones within an hour are one with a count. One that has been sent grows no more, so that each is counted
//! once, however often it is sent. The least grave, and of those the oldest, go where there are too many, and how many
//! went is an event itself.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::event::{Batch, Event, Kind, Numbered, Observer, SignedBatch, What};
use suture_core::limits::{MAX_DEVICE_EVENTS, MAX_EVENT_BATCH};
use suture_core::principal::Principal;

use crate::agent::chain;
use crate::durable;
use crate::identity::Identity;

/// The events that wait.
#[derive(Debug)]
pub struct Sightings {
    path: PathBuf,
    kept: Kept,
    /// Up to which number they may be on their way already, and grow no more.
    sealed: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The last number that was used.
    last: u64,
    /// In the order of their numbers.
    events: Vec<Numbered>,
}

impl Sightings {
    /// Opens those of a state directory. What cannot be read is lost, and that is an event too, once there is an identity.
    pub fn open(state_dir: &Path) -> Self {
        let path = state_dir.join("events.json");
        let kept = match durable::read_json::<Kept>(&path) {
            Ok(kept) => kept.unwrap_or_default(),
            Err(e) => {
                tracing::error!(error = %chain(&e), "the security events that waited are lost");
                Kept::default()
            }
        };
        let sealed = kept.last;
        Self { path, kept, sealed }
    }

    /// Tells of one, and makes it durable.
    pub fn tell(&mut self, kind: Kind, identity: &Identity, detail: &str, now: Timestamp) {
        let device = identity.device();
        let subject = Principal::Device(device.hdo.clone(), device.device.clone()).to_string();
        self.add(Event::once(What::new(kind, Observer::Device, Some(&device.hdo), &subject, detail), now));
        self.write();
    }

    fn add(&mut self, event: Event) {
        let sealed = self.sealed;
        let earlier = self.kept.events.iter_mut().filter(|e| e.number > sealed).find(|e| e.event.takes(&event));
        if let Some(earlier) = earlier {
            earlier.event.count = earlier.event.count.saturating_add(event.count);
            earlier.event.last = earlier.event.last.max(event.last);
            return;
        }
        self.push(event);
        while self.kept.events.len() > MAX_DEVICE_EVENTS {
            self.make_room();
        }
    }

    fn push(&mut self, event: Event) {
        self.kept.last += 1;
        self.kept.events.push(Numbered { number: self.kept.last, event });
    }

    /// Drops the least grave and oldest, and counts it among those that were dropped, however long ago those were: events that
    /// are hours apart would else each leave an event, until these were all that is left.
    fn make_room(&mut self) {
        let droppable = self.kept.events.iter().enumerate().filter(|(_, e)| e.event.what.kind != Kind::EventsDropped);
        let Some(at) = droppable.min_by_key(|(_, e)| (e.event.what.kind.severity(), e.number)).map(|(at, _)| at) else {
            self.kept.events.remove(0);
            return;
        };
        let Event { what, first, last, count } = self.kept.events.remove(at).event;
        let what = What { kind: Kind::EventsDropped, detail: "the least grave and oldest".to_owned(), ..what };
        let sealed = self.sealed;
        match self.kept.events.iter_mut().filter(|e| e.number > sealed).find(|e| e.event.what == what) {
            Some(Numbered { event, .. }) => {
                event.count = event.count.saturating_add(count);
                event.first = event.first.min(first);
                event.last = event.last.max(last);
            }
            None => self.push(Event { what, first, last, count }),
        }
    }

    /// The oldest of those that wait, signed; none where none wait. They grow no more from here on.
    pub fn batch(&mut self, identity: &Identity) -> Option<SignedBatch> {
        let events: Vec<Numbered> = self.kept.events.iter().take(MAX_EVENT_BATCH).cloned().collect();
        self.sealed = self.sealed.max(events.last()?.number);
        let device = identity.device();
        let batch =
            Batch { kind: Batch::TYPE.to_owned(), hdo: device.hdo.clone(), device: device.device.clone(), events };
        let signed = batch.sign(identity.report_key());
        signed.inspect_err(|e| tracing::error!(error = %chain(e), "security events cannot be signed")).ok()
    }

    /// The server has those up to a number; what it claims beyond the last that was sent is a lie.
    pub fn stored_through(&mut self, through: u64) {
        let through = through.min(self.sealed);
        let before = self.kept.events.len();
        self.kept.events.retain(|e| e.number > through);
        if self.kept.events.len() < before {
            self.write();
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.kept.events.len()
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.kept.events.is_empty()
    }

    fn write(&self) {
        if let Err(e) = durable::write_json(&self.path, &self.kept, durable::SECRET) {
            tracing::error!(error = %chain(&e), "security events cannot be kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        "2026-11-24T15:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(secs)
    }

    fn event(kind: Kind, detail: &str, secs: i64) -> Event {
        let hdo = "riverside".parse().unwrap();
        Event::once(What::new(kind, Observer::Device, Some(&hdo), "hdo/riverside/device/pump-1", detail), at(secs))
    }

    fn counts(sightings: &Sightings) -> u64 {
        sightings.kept.events.iter().map(|e| e.event.count).sum()
    }

    #[test]
    fn what_was_sent_grows_no_more_and_what_is_stored_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut sightings = Sightings::open(dir.path());
        sightings.add(event(Kind::MetadataReplayed, "a", 0));
        sightings.add(event(Kind::MetadataReplayed, "a", 60));
        assert_eq!((sightings.len(), counts(&sightings)), (1, 2));
        // As a batch does.
        sightings.sealed = 1;
        sightings.add(event(Kind::MetadataReplayed, "a", 120));
        assert_eq!((sightings.len(), counts(&sightings)), (2, 3), "the first is on its way");
        sightings.stored_through(u64::MAX);
        assert_eq!(sightings.kept.events[0].number, 2, "the second was never sent, whatever the server claims");
        sightings.write();
        let mut again = Sightings::open(dir.path());
        assert_eq!((again.len(), again.kept.last), (1, 2));
        again.add(event(Kind::MetadataReplayed, "a", 180));
        assert_eq!(again.kept.events[1].number, 3, "it may have been sent before the restart");
    }

    #[test]
    fn too_many_drop_the_least_grave_and_lose_no_count() {
        let dir = tempfile::tempdir().unwrap();
        let mut sightings = Sightings::open(dir.path());
        sightings.add(event(Kind::MetadataReplayed, "grave", 0));
        for i in 0..10_000 {
            sightings.add(event(Kind::Restarted, &format!("start {i}"), i));
        }
        assert!(sightings.len() <= MAX_DEVICE_EVENTS, "{}", sightings.len());
        assert_eq!(counts(&sightings), 10_001);
        assert!(sightings.kept.events.iter().any(|e| e.event.what.kind == Kind::MetadataReplayed));
        assert!(sightings.kept.events.is_sorted_by(|a, b| a.number < b.number));
    }

    /// A device that its server hears for weeks without taking its events, whether it lies or has none to give them to.
    #[test]
    fn too_many_that_are_hours_apart_leave_the_grave_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut sightings = Sightings::open(dir.path());
        sightings.add(event(Kind::Tampered, "grave", 0));
        for i in 1..1_000 {
            sightings.add(event(Kind::Restarted, &format!("start {i}"), i * 7_200));
            if i == 500 {
                // As each check-in's batch does.
                sightings.sealed = sightings.kept.last;
            }
        }
        assert_eq!((sightings.len(), counts(&sightings)), (MAX_DEVICE_EVENTS, 1_000));
        let of = |kind| sightings.kept.events.iter().filter(|e| e.event.what.kind == kind).count();
        assert_eq!((of(Kind::Tampered), of(Kind::EventsDropped), of(Kind::Restarted)), (1, 2, MAX_DEVICE_EVENTS - 3));
        assert!(sightings.kept.events.is_sorted_by(|a, b| a.number < b.number));
    }

    #[test]
    fn a_damaged_file_costs_the_events_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("events.json"), "{").unwrap();
        assert!(Sightings::open(dir.path()).is_empty());
    }
}
