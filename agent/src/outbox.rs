//! Reports on disk: stored before they are sent, removed when the server says that it has them.
//!
//! Each report is a file of its own, named by its number; numbers count up by one from 1 and are never used twice. The last
//! one stays when the server has it, until there is a later one: its name says how far the numbers have got, which no torn
//! file takes away. The journal hands over what each of its transitions tells together with the transition's number, so that a transition that
//! is entered again after a restart is told once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use suture_core::limits::{MAX_OUTBOX_REPORTS, MAX_REPORT_NUMBER, MAX_REPORTS_PER_CALL};
use suture_core::report::Signed;
use suture_core::sign::Signature;

use crate::durable::{self, DurableError};

/// For reports that tell of no outcome: what an attempt came to always finds a tenth more.
const ROOM: usize = MAX_OUTBOX_REPORTS - MAX_OUTBOX_REPORTS / 10;

/// The reports that wait.
#[derive(Debug)]
pub struct Outbox {
    dir: PathBuf,
    mark: Mark,
    /// Numbers of the files that the server has not got, ascending.
    waiting: Vec<u64>,
    /// The last file that it has got.
    last: Option<u64>,
    told: Place,
    suspect: Option<Suspect>,
}

/// A report that the disk did not give, which it may give in a moment.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    number: u64,
    /// Whether that was before this round.
    was_before: bool,
}

/// Which report of which of the journal's transitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    transition: u64,
    place: u32,
}

/// What is known of reports whose files are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    /// Every report up to this number is stored at the server.
    through: u64,
    /// Every report up to this place has been told.
    told: Place,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    told: Place,
    payload: String,
    signature: String,
}

/// What lies in a report's file.
enum Read {
    Whole(Kept),
    /// Torn, or not there.
    Damaged,
    /// The disk does not give it. Accident: a bad sector, or a bus that has failed for a moment.
    Ungiven,
}

impl Read {
    fn whole(self) -> Option<Kept> {
        match self {
            Self::Whole(kept) => Some(kept),
            Self::Damaged | Self::Ungiven => None,
        }
    }
}

impl Kept {
    fn signed(&self) -> Option<Signed> {
        let payload = hex::decode(&self.payload).ok()?;
        let signature = Signature::try_from(hex::decode(&self.signature).ok()?.as_slice()).ok()?;
        Some(Signed { payload, signature })
    }
}

impl Outbox {
    /// Opens the outbox in a directory, which is made where it is missing.
    pub fn open(dir: &Path) -> Result<Self, DurableError> {
        durable::make_dir(dir)?;
        let mut outbox = Self::read(dir)?;
        // Accident: a disk that takes nothing. They are sent once more, and counted once.
        if let Err(e) = outbox.stored_through(outbox.mark.through) {
            tracing::warn!(error = %e, "reports that the server has cannot be removed yet");
        }
        Ok(outbox)
    }

    /// The same with nothing written, for whoever looks at it; empty where there is none.
    pub fn read(dir: &Path) -> Result<Self, DurableError> {
        let mark = match durable::read_json(&mark_path(dir)) {
            Ok(mark) => mark.unwrap_or_default(),
            // The files and the server's answers give both numbers again.
            Err(e) if e.is_damage() => Mark::default(),
            Err(e) => return Err(e),
        };
        let mut waiting = Vec::new();
        let entries = match fs::read_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            entries => Some(entries.map_err(DurableError::io("list", dir))?),
        };
        for entry in entries.into_iter().flatten() {
            let name = entry.map_err(DurableError::io("list", dir))?.file_name();
            let number = name.to_str().and_then(|n| n.strip_suffix(".report")).and_then(|n| n.parse::<u64>().ok());
            waiting.extend(number);
        }
        waiting.sort_unstable();
        let mut outbox = Self { dir: dir.to_owned(), mark, waiting, last: None, told: mark.told, suspect: None };
        // A process may be over after one round.
        let first = outbox.waiting.first().filter(|n| matches!(outbox.kept(**n), Ok(Read::Ungiven)));
        outbox.suspect = first.map(|number| Suspect { number: *number, was_before: true });
        let last = outbox.waiting.iter().rev().find_map(|n| outbox.kept(*n).ok()?.whole());
        outbox.told = outbox.told.max(last.map_or(Place::default(), |k| k.told));
        Ok(outbox)
    }

    /// The last transition of which anything has been told.
    pub fn transition(&self) -> u64 {
        self.told.transition
    }

    /// How many reports wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the reports of a whole attempt find room. Nothing is begun where they do not: nothing is lost.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < ROOM
    }

    /// Stores the report at a place of what a transition tells; nothing, where it was told before. `sign` signs the report
    /// with the number that it gets. One that tells of no outcome is dropped where there is no room for it.
    pub fn put<E: From<DurableError>>(
        &mut self,
        transition: u64,
        place: u32,
        is_outcome: bool,
        sign: impl FnOnce(u64) -> Result<Signed, E>,
    ) -> Result<(), E> {
        let told = Place { transition, place };
        if told <= self.told {
            return Ok(());
        }
        if self.waiting.len() < if is_outcome { MAX_OUTBOX_REPORTS } else { ROOM } {
            let number = self.waiting.last().copied().unwrap_or(0).max(self.mark.through).saturating_add(1);
            self.write(number, told, &sign(number)?)?;
            self.waiting.push(number);
        } else {
            tracing::warn!(transition, "the outbox is full: a report is dropped");
        }
        self.told = told;
        Ok(())
    }

    /// Another round begins, in which what the disk did not give is asked for once more.
    pub fn begin_round(&mut self) {
        if let Some(suspect) = &mut self.suspect {
            suspect.was_before = true;
        }
    }

    /// The oldest reports, as many as one call takes. `substitute` signs a report for a number whose file was damaged: a
    /// number that never came would hold up all that are behind it. What the disk does not give counts as that where it did not
    /// give it in an earlier round either; until then the reports end before it.
    pub fn oldest<E: From<DurableError>>(
        &mut self,
        mut substitute: impl FnMut(u64) -> Result<Signed, E>,
    ) -> Result<Vec<Signed>, E> {
        let mut reports = Vec::new();
        for number in self.waiting.iter().copied().take(MAX_REPORTS_PER_CALL) {
            let read = self.kept(number)?;
            if matches!(read, Read::Ungiven) && !self.suspect.is_some_and(|s| s.number == number && s.was_before) {
                tracing::warn!(
                    number,
                    "the disk does not give a report; it is read once more before another one takes its number"
                );
                self.suspect = Some(Suspect { number, was_before: false });
                break;
            }
            reports.push(match read.whole().and_then(|kept| kept.signed()) {
                Some(signed) => signed,
                None => {
                    tracing::error!(number, "a report on disk was damaged; another one takes its number");
                    let signed = substitute(number)?;
                    self.write(number, Place::default(), &signed)?;
                    signed
                }
            });
            self.suspect = self.suspect.filter(|s| s.number != number);
        }
        Ok(reports)
    }

    /// The server has everything up to `number`: it is removed here. A number that is higher than any of ours, as after
    /// the loss of the state directory, is counted on from; one that no device can have reached is a lie, and passed over:
    /// after the last number there is no next.
    pub fn stored_through(&mut self, number: u64) -> Result<(), DurableError> {
        if number > MAX_REPORT_NUMBER {
            tracing::warn!(number, "the server claims to have reports that no device can have written");
            return Ok(());
        }
        if number > self.mark.through {
            let mark = Mark { through: number, told: self.told };
            durable::write_json(&mark_path(&self.dir), &mark, durable::SECRET)?;
            self.mark = mark;
        }
        while let Some(first) = self.waiting.first().copied().filter(|n| *n <= self.mark.through) {
            if let Some(last) = self.last {
                durable::remove(&self.dir.join(file_name(last)))?;
            }
            self.last = Some(first);
            self.waiting.remove(0);
        }
        Ok(())
    }

    /// A report's file.
    fn kept(&self, number: u64) -> Result<Read, DurableError> {
        match durable::read_json(&self.dir.join(file_name(number))) {
            Ok(Some(kept)) => Ok(Read::Whole(kept)),
            Ok(None) => Ok(Read::Damaged),
            Err(e @ DurableError::Io { .. }) if e.is_damage() => Ok(Read::Ungiven),
            Err(e) if e.is_damage() => Ok(Read::Damaged),
            Err(e) => Err(e),
        }
    }

    fn write(&self, number: u64, told: Place, signed: &Signed) -> Result<(), DurableError> {
        let (payload, signature) = (hex::encode(&signed.payload), hex::encode(signed.signature.0));
        let kept = Kept { told, payload, signature };
        durable::write_json(&self.dir.join(file_name(number)), &kept, durable::SECRET)
    }
}

fn mark_path(dir: &Path) -> PathBuf {
    dir.join("mark.json")
}

fn file_name(number: u64) -> String {
    format!("{number:020}.report")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(number: u64) -> Result<Signed, DurableError> {
        Ok(Signed { payload: number.to_string().into_bytes(), signature: Signature([number as u8; 64]) })
    }

    fn numbers(outbox: &mut Outbox) -> Vec<u64> {
        let reports = outbox.oldest(signed).unwrap();
        reports.iter().map(|r| String::from_utf8_lossy(&r.payload).parse().unwrap()).collect()
    }

    #[test]
    fn a_transition_told_again_after_a_restart_gets_no_second_number() {
        let dir = tempfile::tempdir().unwrap();
        for (places, through) in [(1, 0), (2, 0), (2, 0), (2, 1), (2, 2), (2, 2)] {
            // Each round is a restart that tells the same transition again, the first one cut in its middle.
            let mut outbox = Outbox::open(dir.path()).unwrap();
            for place in 0..places {
                outbox.put(7, place, false, signed).unwrap();
            }
            outbox.stored_through(through).unwrap();
        }
        let mut outbox = Outbox::open(dir.path()).unwrap();
        assert!(outbox.is_empty());
        assert_eq!(outbox.transition(), 7);
        outbox.put(8, 0, false, signed).unwrap();
        assert_eq!(numbers(&mut outbox), [3], "numbers 1 and 2 are never used again");
    }

    /// Accident: a kill just before what the server has was removed, and a disk that is for reading alone by now.
    #[test]
    fn what_cannot_be_removed_at_a_start_keeps_no_outbox_from_being_opened() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        (1..4).for_each(|transition| outbox.put(transition, 0, false, signed).unwrap());
        let mark = Mark { through: 3, told: outbox.told };
        durable::write_json(&mark_path(dir.path()), &mark, durable::SECRET).unwrap();
        let first = dir.path().join(file_name(1));
        let kept = fs::read(&first).unwrap();
        fs::remove_file(&first).unwrap();
        fs::create_dir(&first).unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        assert_eq!(outbox.transition(), 3);
        assert!(outbox.stored_through(3).is_err(), "it is tried again at each check-in");
        fs::remove_dir(&first).unwrap();
        fs::write(&first, kept).unwrap();
        outbox.stored_through(3).unwrap();
        assert!(outbox.is_empty());
    }

    #[test]
    fn numbers_go_on_from_the_servers_where_the_state_was_lost() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        outbox.stored_through(41).unwrap();
        outbox.put(1, 0, false, signed).unwrap();
        assert_eq!(numbers(&mut outbox), [42]);
        // A lie must not lead to the end of all numbers.
        outbox.stored_through(u64::MAX).unwrap();
        outbox.put(2, 0, false, signed).unwrap();
        assert_eq!(numbers(&mut outbox), [42, 43]);
    }

    #[test]
    fn no_torn_file_leads_to_a_number_that_was_used() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        for transition in 1..4 {
            outbox.put(transition, 0, false, signed).unwrap();
        }
        outbox.stored_through(3).unwrap();
        assert!(outbox.is_empty());
        let files = || fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path());
        assert_eq!(files().count(), 2, "the mark, and the last of the reports");
        for torn in files().collect::<Vec<_>>() {
            let whole = fs::read(&torn).unwrap();
            fs::write(&torn, b"").unwrap();
            let mut outbox = Outbox::open(dir.path()).unwrap();
            assert_eq!(outbox.transition(), 3);
            outbox.put(3, 0, false, signed).unwrap();
            outbox.put(4, 0, false, signed).unwrap();
            // What the server has already is sent again where the mark is lost, and is no news to it.
            assert_eq!(numbers(&mut outbox).last(), Some(&4));
            fs::remove_file(dir.path().join(file_name(4))).unwrap();
            fs::write(&torn, whole).unwrap();
        }
    }

    #[test]
    fn a_damaged_report_does_not_hold_up_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        for transition in 1..4 {
            outbox.put(transition, 0, false, signed).unwrap();
        }
        fs::write(dir.path().join(file_name(2)), b"").unwrap();
        fs::write(dir.path().join("mark.json"), b"\0\0").unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        assert_eq!(outbox.transition(), 3);
        assert_eq!(numbers(&mut outbox), [1, 2, 3]);
    }

    /// Accident: a bad sector below any of its files.
    #[test]
    fn what_the_disk_does_not_give_is_as_what_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        (1..4).for_each(|transition| outbox.put(transition, 0, false, signed).unwrap());
        outbox.stored_through(1).unwrap();
        for number in 1..4 {
            durable::lose(&dir.path().join(file_name(number)));
            durable::lose(&mark_path(dir.path()));
            let mut outbox = Outbox::open(dir.path()).unwrap();
            assert_eq!(outbox.transition(), if number < 3 { 3 } else { 0 }, "the last file says how far it got");
            let before: Vec<_> = (1..number).collect();
            // The first was asked for as the outbox was opened.
            (1..number.min(3)).for_each(|_| assert_eq!(numbers(&mut outbox), before, "it may be there in a moment"));
            outbox.begin_round();
            assert_eq!(numbers(&mut outbox), [1, 2, 3], "another one takes the number of what is lost");
            outbox.stored_through(1).unwrap();
            assert_eq!((outbox.len(), Outbox::open(dir.path()).unwrap().len()), (2, 2), "both are written anew");
        }
    }

    /// Accident: a bus that fails for a moment. Found: a report that could be read a second later was replaced for good.
    #[test]
    fn a_report_that_the_disk_gives_again_is_the_one_that_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        (1..4).for_each(|transition| outbox.put(transition, 0, false, signed).unwrap());
        let substitute = |_| Ok::<_, DurableError>(Signed { payload: b"9".to_vec(), signature: Signature([9; 64]) });
        for lost in [2, 1, 3] {
            let path = dir.path().join(file_name(lost));
            let whole = fs::read(&path).unwrap();
            durable::lose(&path);
            let before = outbox.oldest(substitute).unwrap();
            assert_eq!(before.len() as u64, lost - 1, "what comes before it is sent");
            assert_eq!(outbox.oldest(substitute).unwrap(), before, "twice in a round is no second time");
            outbox.begin_round();
            fs::remove_file(&path).unwrap();
            fs::write(&path, whole).unwrap();
            assert_eq!(numbers(&mut outbox), [1, 2, 3]);
        }
        // Not given at a start, and given by the time that it is sent.
        let path = dir.path().join(file_name(1));
        let whole = fs::read(&path).unwrap();
        durable::lose(&path);
        let mut outbox = Outbox::open(dir.path()).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, whole).unwrap();
        assert!(outbox.oldest(substitute).unwrap().iter().all(|report| report.payload != b"9"));
    }

    #[test]
    fn what_does_not_fit_is_dropped_but_for_outcomes() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        outbox.waiting = (1..=ROOM as u64).collect();
        assert!(!outbox.has_room());
        outbox.put(1, 0, false, signed).unwrap();
        assert_eq!(outbox.len(), ROOM);
        outbox.put(2, 0, true, signed).unwrap();
        assert_eq!(outbox.len(), ROOM + 1);
    }
}
