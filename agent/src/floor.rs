//! What never sinks: the security floor of releases, and the time that offline signatures prove.
//!
//! Order on the device: the time floor rises only from offline-signed `signed_at`; the release floor is raised after
//! confirmation, fsynced, in two places. One damaged copy is mended from the other at the agent's start; with both damaged
//! nothing is begun.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::{utc, whole_second};
use suture_core::version::Release;

use crate::durable::{self, DurableError};

/// The floors, as both places hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    release: Release,
    #[serde(with = "utc")]
    time: Timestamp,
}

/// The floors of a device.
#[derive(Debug)]
pub struct Floors {
    places: [PathBuf; 2],
    record: Record,
    /// Not every place holds it.
    uneven: bool,
}

impl Floors {
    /// Reads both places and takes the higher of each. `Err` where neither can be read and one is there.
    pub fn open(state_dir: &Path, slots_dir: &Path) -> Result<Self, DurableError> {
        let places = [state_dir.join("floor.json"), slots_dir.join(".suture-floor.json")];
        let mut record: Option<Record> = None;
        let mut damage = None;
        let mut held = Vec::new();
        let [_, second] = &places;
        for place in &places {
            match durable::read_json::<Record>(place) {
                Ok(found) => held.push(found),
                // The second place is written after the first. Where it is not there, what is damaged is the first word ever
                // written, and nothing was begun by it.
                Err(DurableError::Damaged { .. }) if place != second && !second.exists() => {}
                Err(e) => damage = Some(e),
            }
        }
        for found in held.iter().flatten() {
            record = Some(record.map_or(*found, |r| r.max(*found)));
        }
        match (record, damage) {
            (None, Some(e)) => Err(e),
            (record, _) => {
                let none = Record { release: Release(0), time: Timestamp::UNIX_EPOCH };
                let uneven = held.len() < places.len() || held.iter().any(|found| *found != record);
                Ok(Self { places, record: record.unwrap_or(none), uneven })
            }
        }
    }

    /// Nothing below this release is installed.
    pub fn release(&self) -> Release {
        self.record.release
    }

    /// A clock below this is wrong.
    pub fn time(&self) -> Timestamp {
        self.record.time
    }

    /// Raises them; writes nothing where neither is raised and both places hold them.
    pub fn raise(&mut self, release: Release, time: Timestamp) -> Result<(), DurableError> {
        let next = self.record.max(Record { release, time: whole_second(time) });
        if next != self.record || self.uneven {
            for place in &self.places {
                durable::write_json(place, &next, durable::OPEN)?;
            }
            (self.record, self.uneven) = (next, false);
        }
        Ok(())
    }

    /// Writes them to the place that does not hold them.
    pub fn mend(&mut self) -> Result<(), DurableError> {
        self.raise(self.record.release, self.record.time)
    }
}

impl Record {
    fn max(self, other: Self) -> Self {
        Self { release: self.release.max(other.release), time: self.time.max(other.time) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_never_sink_and_one_damaged_place_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let (state, slots) = (dir.path().join("state"), dir.path().join("slots"));
        durable::make_dir(&state).unwrap();
        durable::make_dir(&slots).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (early, late) = (at("2026-11-24T12:00:00Z"), at("2026-11-25T12:00:00Z"));
        let mut floors = Floors::open(&state, &slots).unwrap();
        floors.raise(Release(3), late).unwrap();
        floors.raise(Release(2), early).unwrap();
        assert_eq!((floors.release(), floors.time()), (Release(3), late));
        for (i, place) in floors.places.clone().iter().enumerate() {
            std::fs::write(place, b"\0\0\0").unwrap();
            let mut floors = Floors::open(&state, &slots).unwrap();
            assert_eq!(floors.release(), Release(3 + i as u64));
            floors.raise(Release(4 + i as u64), late).unwrap();
            assert!(durable::read_json::<Record>(place).unwrap().is_some());
        }
        // Both are mended before the next cut, not with the next raise, which may be a year away.
        for (i, place) in floors.places.clone().iter().enumerate() {
            std::fs::write(place, b"").unwrap();
            Floors::open(&state, &slots).unwrap().mend().unwrap();
            assert_eq!(durable::read_json::<Record>(place).unwrap().unwrap().release, Release(5), "{i}");
        }
        for place in &floors.places {
            std::fs::write(place, b"").unwrap();
        }
        assert!(Floors::open(&state, &slots).is_err());
        // The first word of all, torn before there was a second.
        std::fs::remove_file(&floors.places[1]).unwrap();
        let mut first = Floors::open(&state, &slots).unwrap();
        assert_eq!(first.release(), Release(0));
        first.raise(Release(1), early).unwrap();
        // The second was never written alone.
        std::fs::remove_file(&floors.places[0]).unwrap();
        std::fs::write(&floors.places[1], b"").unwrap();
        assert!(Floors::open(&state, &slots).is_err());
    }
}
