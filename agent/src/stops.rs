//! The stop orders that this device has heard, kept whatever the server says later.
//!
//! Attack: a server, or a thief of its keys, that hands out a stop order no more, or never did, to devices that got it by a
//! stick. What was verified once stays here until a lift of a higher counter, signed by the approvers' threshold, takes its
//! place, or until the approval itself has ended by a time that signatures prove. A file that is damaged, or has no room,
//! stops too: it fails closed.
//!
//! `stops/<approval>.json` in the state directory holds the envelope as it was signed, and when its approval ends where that
//! is known.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::approval::{StopError, VerifiedStop};
use suture_core::clock::{format_utc, parse_utc};
use suture_core::id::ApprovalId;
use suture_core::limits::MAX_KEPT_STOPS;
use suture_core::phase::{Code, Reason};

use crate::durable::{self, DurableError};

/// All orders, of each approval the newest.
#[derive(Debug)]
pub struct Stops {
    dir: PathBuf,
    kept: BTreeMap<ApprovalId, Kept>,
    /// Their files cannot be read.
    damaged: BTreeSet<ApprovalId>,
    /// An order came that had no room, or could not be written; or something that may be one cannot be read.
    lost: bool,
    /// The approvals of which an order was heard since [`Stops::begin_hearing`].
    heard: BTreeSet<ApprovalId>,
}

#[derive(Debug, Clone)]
struct Kept {
    stop: VerifiedStop,
    expires: Option<Timestamp>,
}

/// An order's file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    envelope: String,
    expires: Option<String>,
}

/// A kept order, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Of which approval.
    pub approval: ApprovalId,
    /// `stopped`, `lifted`, or `damaged`, which stops too.
    pub standing: &'static str,
    /// Its counter.
    pub counter: Option<u64>,
    /// When it was signed, by the signer's clock.
    pub signed_at: Option<String>,
    /// When the approval ends, and the order with it, where that is known.
    pub ends: Option<String>,
}

/// Why an order was not kept. Nothing is begun until it is.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The disk.
    #[error("the stop order for {approval} cannot be kept")]
    Disk {
        /// Of which approval.
        approval: ApprovalId,
        /// Why.
        source: DurableError,
    },
    /// There are too many.
    #[error("{MAX_KEPT_STOPS} stop orders are kept already, and there is no room for that of {0}")]
    Full(ApprovalId),
}

impl Stops {
    /// Opens the orders below the state directory.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or listed. A single file that cannot be read stops its approval.
    pub fn open(state_dir: &Path) -> Result<Self, DurableError> {
        let dir = state_dir.join("stops");
        durable::make_dir(&dir)?;
        let (kept, damaged) = read_all(&dir)?;
        Ok(Self { dir, kept, damaged, lost: false, heard: BTreeSet::new() })
    }

    /// The orders below a state directory that another process works on: for saying what is known there.
    ///
    /// # Errors
    ///
    /// The directory cannot be listed.
    pub fn known(state_dir: &Path) -> Result<Vec<VerifiedStop>, DurableError> {
        Ok(peek(state_dir)?.0.into_values().map(|k| k.stop).collect())
    }

    /// The same for people, with those that cannot be read.
    ///
    /// # Errors
    ///
    /// The directory cannot be listed.
    pub fn shown(state_dir: &Path) -> Result<Vec<Shown>, DurableError> {
        let (kept, damaged) = peek(state_dir)?;
        let shown = |(approval, Kept { stop, expires }): (ApprovalId, Kept)| Shown {
            approval,
            standing: if stop.stopped { "stopped" } else { "lifted" },
            counter: Some(stop.counter),
            signed_at: Some(format_utc(stop.signed_at)),
            ends: expires.map(format_utc),
        };
        let broken = |approval| Shown { approval, standing: "damaged", counter: None, signed_at: None, ends: None };
        let mut all: Vec<_> = kept.into_iter().map(shown).chain(damaged.into_iter().map(broken)).collect();
        all.sort_by(|a, b| a.approval.cmp(&b.approval));
        Ok(all)
    }

    /// Keeps an order where it is news; false where it is none, or a lift far ahead of the time. `displaced` says of an order that is
    /// kept whether it may go where there is no more room, and `stands` of a lift whether the hospital's root still stands for it:
    /// [`VerifiedStop::outlives`].
    ///
    /// # Errors
    ///
    /// It could not be kept. From then on [`Stops::trouble`] keeps everything from being begun.
    pub fn take(
        &mut self,
        stop: &VerifiedStop,
        now: Timestamp,
        displaced: impl Fn(&VerifiedStop) -> bool,
        stands: impl Fn(&VerifiedStop) -> bool,
    ) -> Result<bool, KeepError> {
        let id = &stop.approval;
        if stop.is_ahead(now) {
            tracing::warn!(approval = %id, counter = stop.counter, "a lift lies far ahead of the time, and is not taken");
            return Ok(false);
        }
        self.heard.insert(id.clone());
        let known = self.kept.get(id);
        if !self.damaged.contains(id)
            && known.is_some_and(|k| !stop.is_news_after(&k.stop) && !stop.outlives(&k.stop, &stands))
        {
            return Ok(false);
        }
        let kept = Kept { stop: stop.clone(), expires: known.and_then(|k| k.expires) };
        let done = self.make_room(id, displaced).and_then(|()| self.put(kept));
        self.lost |= done.is_err();
        done.map(|()| true)
    }

    /// Notes when an approval ends, as the hospital has signed it, and drops the orders for those that have ended by
    /// `proven`, a time that signatures prove: nothing can be begun by them any more.
    ///
    /// One that is still told of stays: it would be written anew each time, and flash memory wears out by that.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn tidy<'a>(
        &mut self,
        ends: impl IntoIterator<Item = (&'a ApprovalId, Timestamp)>,
        proven: Timestamp,
    ) -> Result<(), KeepError> {
        for (id, expires) in ends {
            if let Some(kept) = self.kept.get(id).filter(|k| k.expires != Some(expires)) {
                self.put(Kept { expires: Some(expires), ..kept.clone() })?;
            }
        }
        let is_over = |id: &ApprovalId, k: &Kept| k.expires.is_some_and(|e| e <= proven) && !self.heard.contains(id);
        let over: Vec<_> = self.kept.iter().filter(|(id, k)| is_over(id, k)).map(|(id, _)| id.clone()).collect();
        over.iter().try_for_each(|id| self.forget(id))
    }

    /// All that are in force and those that lifted one.
    pub fn orders(&self) -> Vec<VerifiedStop> {
        self.kept.values().map(|k| k.stop.clone()).collect()
    }

    /// Whether an order is kept, or a newer one.
    pub fn holds(&self, stop: &VerifiedStop) -> bool {
        self.kept.get(&stop.approval).is_some_and(|k| !stop.is_news_after(&k.stop))
    }

    /// Whether nothing may be begun by an approval.
    pub fn is_stopped(&self, id: &ApprovalId) -> bool {
        self.damaged.contains(id) || self.kept.get(id).is_some_and(|k| k.stop.stopped)
    }

    /// The counter of the newest order for an approval, where one can be read.
    pub fn counter(&self, id: &ApprovalId) -> Option<u64> {
        self.kept.get(id).filter(|_| !self.damaged.contains(id)).map(|k| k.stop.counter)
    }

    /// What the newest order for an approval weighs, where one can be read: see [`suture_core::approval::StopOrder::weight`].
    pub fn weight(&self, id: &ApprovalId) -> Option<u64> {
        self.kept.get(id).filter(|_| !self.damaged.contains(id)).map(|k| k.stop.weight())
    }

    /// Why nothing may be begun by an approval although no order that can be read stops it.
    pub fn trouble(&self, id: &ApprovalId) -> Option<Reason> {
        let text = if self.damaged.contains(id) {
            format!("the order for {id} on disk is damaged; bring it again: `suture-agent stop FILE`, or a stick")
        } else if self.lost {
            "a stop order may have been handed over that could not be looked for, read or kept, and the log says what failed: no room for more \
             orders, or a disk to be freed or mended; then bring it again: `suture-agent stop FILE`, or a stick"
                .to_owned()
        } else {
            return None;
        };
        Some(Reason::new(Code::StateDamaged, text))
    }

    /// Why nothing may be begun by an approval, where that is so: an order that can be read says so, or one may.
    pub fn hinders(&self, id: &ApprovalId) -> Option<Reason> {
        let stopped = self.is_stopped(id) && !self.damaged.contains(id);
        let by_order = || Reason::new(Code::StopOrder, format!("the hospital has stopped approval {id}"));
        stopped.then(by_order).or_else(|| self.trouble(id))
    }

    /// Begins a look at all that is told of: whatever is heard from now on is kept or lost anew.
    pub fn begin_hearing(&mut self) {
        self.lost = false;
        self.heard.clear();
    }

    /// Something came that cannot be read and may be an order: [`Stops::trouble`] keeps everything from being begun until
    /// the next look.
    pub fn miss(&mut self) {
        self.lost = true;
    }

    fn make_room(&mut self, id: &ApprovalId, displaced: impl Fn(&VerifiedStop) -> bool) -> Result<(), KeepError> {
        if self.kept.contains_key(id) || self.kept.len() < MAX_KEPT_STOPS {
            return Ok(());
        }
        let oldest = self.kept.values().map(|k| &k.stop).filter(|s| displaced(s)).min_by_key(|s| s.signed_at);
        match oldest.map(|s| s.approval.clone()) {
            Some(oldest) => self.forget(&oldest),
            None => Err(KeepError::Full(id.clone())),
        }
    }

    fn put(&mut self, kept: Kept) -> Result<(), KeepError> {
        let id = kept.stop.approval.clone();
        let file = File {
            // Strict JSON, hence UTF-8.
            envelope: String::from_utf8_lossy(kept.stop.bytes()).into_owned(),
            expires: kept.expires.map(format_utc),
        };
        durable::write_json(&self.path(&id), &file, durable::OPEN)
            .map_err(|source| KeepError::Disk { approval: id.clone(), source })?;
        self.damaged.remove(&id);
        self.kept.insert(id, kept);
        Ok(())
    }

    fn forget(&mut self, id: &ApprovalId) -> Result<(), KeepError> {
        durable::remove(&self.path(id)).map_err(|source| KeepError::Disk { approval: id.clone(), source })?;
        self.kept.remove(id);
        Ok(())
    }

    fn path(&self, id: &ApprovalId) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }
}

impl Shown {
    /// One line.
    pub fn text(&self) -> String {
        let Self { approval, standing, counter, signed_at, ends } = self;
        let (Some(counter), Some(signed_at)) = (counter, signed_at) else {
            return format!("{approval}: {standing}; it stays stopped until the order is brought again");
        };
        let ends = ends.as_ref().map(|at| format!("; the approval ends {at}")).unwrap_or_default();
        format!("{approval}: {standing} by order {counter} of {signed_at}{ends}")
    }
}

type Read = (BTreeMap<ApprovalId, Kept>, BTreeSet<ApprovalId>);

fn peek(state_dir: &Path) -> Result<Read, DurableError> {
    let dir = state_dir.join("stops");
    if dir.exists() { read_all(&dir) } else { Ok(Read::default()) }
}

fn read_all(dir: &Path) -> Result<Read, DurableError> {
    let (mut kept, mut damaged) = (BTreeMap::new(), BTreeSet::new());
    for entry in fs::read_dir(dir).map_err(DurableError::io("list", dir))? {
        let path = entry.map_err(DurableError::io("list", dir))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".json"));
        let Some(id) = name.and_then(|n| n.parse::<ApprovalId>().ok()) else { continue };
        match read(&path) {
            Ok(order) if order.stop.approval == id => {
                kept.insert(id, order);
            }
            // The agent has removed it meanwhile: its approval has ended.
            Err(ReadError::Gone) => {}
            other => {
                let why = other.err().map(|e| e.to_string()).unwrap_or_default();
                tracing::error!(approval = %id, why, "a stop order on disk is damaged; its approval stays stopped");
                damaged.insert(id);
            }
        }
    }
    Ok((kept, damaged))
}

fn read(path: &Path) -> Result<Kept, ReadError> {
    let file: File = durable::read_json(path)?.ok_or(ReadError::Gone)?;
    let expires = file.expires.as_deref().map(|text| parse_utc(text).ok_or(ReadError::Expires)).transpose()?;
    Ok(Kept { stop: VerifiedStop::kept(file.envelope.as_bytes())?, expires })
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Durable(#[from] DurableError),
    #[error(transparent)]
    Stop(#[from] StopError),
    #[error("it went while it was read")]
    Gone,
    #[error("its end is no instant")]
    Expires,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use suture_core::approval::StopOrder;

    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minutes).unwrap()
    }

    fn order(id: &str, counter: u64, stopped: bool) -> VerifiedStop {
        let id = id.parse().unwrap();
        let mut order = StopOrder::next("riverside".parse().unwrap(), id, None, stopped, at(0)).unwrap();
        order.counter = counter;
        VerifiedStop::kept(&order.sign(&[]).unwrap()).unwrap()
    }

    fn never(_: &VerifiedStop) -> bool {
        false
    }

    fn always(_: &VerifiedStop) -> bool {
        true
    }

    #[test]
    fn a_stop_outlives_the_process_and_only_a_higher_counter_lifts_it() {
        let dir = tempfile::tempdir().unwrap();
        let id = "a1".parse().unwrap();
        let mut stops = Stops::open(dir.path()).unwrap();
        assert!(!stops.is_stopped(&id));
        assert!(stops.take(&order("a1", 5, true), at(0), never, always).unwrap());
        assert_eq!((stops.counter(&id), stops.counter(&"a2".parse().unwrap())), (Some(5), None));
        assert!(!stops.take(&order("a1", 5, true), at(0), never, always).unwrap(), "no news");
        for old in [order("a1", 4, false), order("a1", 5, false)] {
            assert!(!stops.take(&old, at(0), never, always).unwrap());
        }
        let mut stops = Stops::open(dir.path()).unwrap();
        assert!(stops.is_stopped(&id));
        assert!(stops.take(&order("a1", 6, false), at(0), never, always).unwrap());
        assert!(!Stops::open(dir.path()).unwrap().is_stopped(&id));
        assert_eq!(Stops::known(dir.path()).unwrap(), [order("a1", 6, false)]);
    }

    #[test]
    fn a_lift_far_ahead_is_not_taken_and_one_goes_with_the_keys_that_signed_it() {
        let dir = tempfile::tempdir().unwrap();
        let id = "a1".parse().unwrap();
        let mut stops = Stops::open(dir.path()).unwrap();
        let clock = u64::try_from(at(0).as_second()).unwrap();
        stops.take(&order("a1", clock, true), at(0), never, always).unwrap();
        assert!(!stops.take(&order("a1", clock + 601, false), at(0), never, always).unwrap());
        assert!(stops.is_stopped(&id) && stops.hinders(&id).unwrap().code == Code::StopOrder);
        assert!(stops.take(&order("a1", clock + 600, false), at(0), never, always).unwrap());
        assert_eq!(stops.counter(&id), Some(clock + 600));
        // A stop that is signed by the time would be none after it.
        assert!(!stops.take(&order("a1", clock + 60, true), at(1), never, always).unwrap());
        // Once its signers have left, it is; but for the one that was lifted, which the approvals may list still.
        assert!(!stops.take(&order("a1", clock + 599, true), at(1), never, never).unwrap());
        assert!(stops.take(&order("a1", clock + 60, true), at(1), never, never).unwrap());
        assert!(stops.is_stopped(&id));
        assert!(!stops.take(&order("a1", clock + 30, true), at(1), never, never).unwrap(), "a stop stays");
    }

    #[test]
    fn a_damaged_order_stops_until_it_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let id: ApprovalId = "a1".parse().unwrap();
        Stops::open(dir.path()).unwrap().take(&order("a1", 6, false), at(0), never, always).unwrap();
        let path = dir.path().join("stops/a1.json");
        let whole = fs::read(&path).unwrap();
        for bytes in [&whole[..whole.len() / 2], b"", b"{}", b"\0"] {
            fs::write(&path, bytes).unwrap();
            let stops = Stops::open(dir.path()).unwrap();
            assert!(stops.is_stopped(&id) && stops.trouble(&id).is_some() && stops.counter(&id).is_none());
            assert_eq!(stops.hinders(&id).unwrap().code, Code::StateDamaged);
            let shown = Stops::shown(dir.path()).unwrap();
            assert_eq!((shown.len(), shown[0].standing, &shown[0].approval), (1, "damaged", &id));
            assert!(shown[0].text().contains("stays stopped"), "{}", shown[0].text());
        }
        let mut stops = Stops::open(dir.path()).unwrap();
        assert!(stops.take(&order("a1", 6, false), at(0), never, always).unwrap());
        assert!(!Stops::open(dir.path()).unwrap().is_stopped(&id));
    }

    #[test]
    fn what_has_no_room_keeps_everything_from_being_begun() {
        let dir = tempfile::tempdir().unwrap();
        let mut stops = Stops::open(dir.path()).unwrap();
        for n in 0..MAX_KEPT_STOPS {
            stops.take(&order(&format!("a{n}"), 1, true), at(0), never, always).unwrap();
        }
        let id = "late".parse().unwrap();
        assert!(matches!(stops.take(&order("late", 1, true), at(0), never, always), Err(KeepError::Full(_))));
        assert!(stops.trouble(&id).is_some() && stops.trouble(&"other".parse().unwrap()).is_some());
        let code = |stops: &Stops, id: &str| stops.hinders(&id.parse().unwrap()).map(|reason| reason.code);
        // Nobody has signed that it is stopped, as far as is known here.
        assert_eq!(code(&stops, "late"), Some(Code::StateDamaged));
        assert_eq!(code(&stops, "a1"), Some(Code::StopOrder));
        assert!(stops.take(&order("a0", 2, false), at(0), never, always).unwrap(), "what is there is replaced");
        stops.begin_hearing();
        assert!(stops.trouble(&id).is_none());
        assert_eq!((code(&stops, "late"), code(&stops, "a1")), (None, Some(Code::StopOrder)));
        stops.miss();
        assert!(stops.trouble(&id).is_some(), "what cannot be read may be one");
        stops.begin_hearing();
        assert!(stops.take(&order("late", 1, true), at(0), |s| s.approval.as_str() == "a7", always).unwrap());
        assert!(stops.is_stopped(&id) && !stops.is_stopped(&"a7".parse().unwrap()) && stops.trouble(&id).is_none());
        assert_eq!(Stops::open(dir.path()).unwrap().orders().len(), MAX_KEPT_STOPS);
    }

    #[test]
    fn an_order_goes_with_its_approval_by_proven_time_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (ended, open): (ApprovalId, ApprovalId) = ("ended".parse().unwrap(), "open".parse().unwrap());
        let mut stops = Stops::open(dir.path()).unwrap();
        for id in ["ended", "open", "unheard-of"] {
            stops.take(&order(id, 1, true), at(0), never, always).unwrap();
        }
        stops.tidy([(&ended, at(10)), (&open, at(30))], at(9)).unwrap();
        assert!(stops.is_stopped(&ended));
        let ends: Vec<_> = Stops::shown(dir.path()).unwrap().into_iter().map(|s| s.ends).collect();
        assert_eq!(ends, [Some(format_utc(at(10))), Some(format_utc(at(30))), None], "by name");
        // Told of all the same, it is neither removed nor written: an order that is replaced is another file.
        let mut stops = Stops::open(dir.path()).unwrap();
        let file = || fs::metadata(dir.path().join("stops/ended.json")).unwrap().ino();
        let before = file();
        for _ in 0..2 {
            stops.begin_hearing();
            assert!(!stops.take(&order("ended", 1, true), at(0), never, always).unwrap());
            stops.tidy([(&ended, at(10))], at(10)).unwrap();
            assert_eq!(file(), before);
        }
        stops.begin_hearing();
        stops.tidy([], at(10)).unwrap();
        assert!(!stops.is_stopped(&ended) && stops.is_stopped(&open));
        stops.tidy([], Timestamp::MAX).unwrap();
        let left: Vec<_> = Stops::open(dir.path()).unwrap().orders().iter().map(|s| s.approval.to_string()).collect();
        assert_eq!(left, ["unheard-of"]);
    }
}
