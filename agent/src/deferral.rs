//! How often the interlock has put an attempt off: by which interlock, with which answer, since when. For each approval, on
//! disk.
//!
//! The interlock is asked every 15 seconds in an open slot, so asking is not what is counted: one deferral is one quarter of
//! an hour of a slot in which it let nothing begin. Once there are as many as the device's maker has configured
//! (`interlock.notify_after`), people are told, each time anew; nothing is ever forced. The number is the maker's and no
//! term of an approval, for it depends on what the device is: a pump runs for days, an analyser for minutes.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use suture_core::clock::{format_utc, utc, whole_second};
use suture_core::id::ApprovalId;
use suture_core::phase::{Code, Reason};

use crate::durable::{self, DurableError};
use crate::machine::Window;

/// Of a slot; what lies in one is one deferral.
const QUARTER: SignedDuration = SignedDuration::from_mins(15);
/// Approvals of which it is kept; the oldest goes first.
const MAX_KEPT: usize = 16;

/// What the interlock has put off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deferral {
    /// The approval.
    pub approval: ApprovalId,
    /// How often.
    pub count: u32,
    /// When it did so first.
    #[serde(with = "utc")]
    pub since: Timestamp,
    /// When it did so last.
    #[serde(with = "utc")]
    pub last: Timestamp,
    /// Which interlock.
    pub source: String,
    /// What it answered last.
    pub answer: Reason,
    /// The quarter of an hour that was counted last.
    #[serde(with = "utc")]
    quarter: Timestamp,
}

impl Deferral {
    /// What people are told.
    pub fn reason(&self) -> Reason {
        let Self { count, since, source, answer, .. } = self;
        let text = format!("put off {count} times since {} by {source}, which said last: {answer}", format_utc(*since));
        Reason::new(Code::Deferred, text)
    }
}

/// Counts an answer by which nothing may begin.
///
/// # Errors
///
/// The disk.
pub fn count(
    state_dir: &Path,
    approval: &ApprovalId,
    (source, answer): (&str, &Reason),
    window: &Window,
    now: Timestamp,
) -> Result<Deferral, DurableError> {
    let mut kept = read(state_dir)?;
    let before = kept.iter().position(|d| d.approval == *approval).map(|at| kept.remove(at));
    let into = now.duration_since(window.start).as_secs().div_euclid(QUARTER.as_secs());
    let quarter = window.start.saturating_add(SignedDuration::from_secs(into.saturating_mul(QUARTER.as_secs())));
    let quarter = quarter.unwrap_or(window.start);
    let now = whole_second(now);
    let same = before.as_ref().is_some_and(|d| d.quarter == quarter);
    if let Some(before) = before.as_ref().filter(|d| same && d.source == source && d.answer.code == answer.code) {
        // Nothing has changed that is worth a write to flash memory.
        return Ok(before.clone());
    }
    let deferral = Deferral {
        approval: approval.clone(),
        count: before.as_ref().map_or(0, |d| d.count).saturating_add(u32::from(!same)),
        since: before.map_or(now, |d| d.since),
        last: now,
        source: source.to_owned(),
        answer: answer.clone(),
        quarter,
    };
    kept.push(deferral.clone());
    let surplus = kept.len().saturating_sub(MAX_KEPT);
    kept.drain(..surplus);
    durable::write_json(&place(state_dir), &kept, durable::OPEN)?;
    Ok(deferral)
}

/// Forgets what an approval's attempts were put off: it has begun.
///
/// # Errors
///
/// The disk.
pub fn forget(state_dir: &Path, approval: &ApprovalId) -> Result<(), DurableError> {
    let mut kept = read(state_dir)?;
    let before = kept.len();
    kept.retain(|d| d.approval != *approval);
    if kept.len() == before {
        return Ok(());
    }
    durable::write_json(&place(state_dir), &kept, durable::OPEN)
}

/// What an approval's attempts were put off so far.
///
/// # Errors
///
/// The disk.
pub fn kept_count(state_dir: &Path, approval: &ApprovalId) -> Result<Option<Deferral>, DurableError> {
    Ok(read(state_dir)?.into_iter().find(|d| d.approval == *approval))
}

/// A file that cannot be read is begun anew: it only counts.
fn read(state_dir: &Path) -> Result<Vec<Deferral>, DurableError> {
    match durable::read_json(&place(state_dir)) {
        Ok(kept) => Ok(kept.unwrap_or_default()),
        Err(DurableError::Damaged { .. } | DurableError::TooLong { .. }) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

fn place(state_dir: &Path) -> PathBuf {
    state_dir.join("deferrals.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        "2026-11-24T02:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes)
    }

    fn window(day: i64) -> Window {
        Window { start: at(day * 1_440), latest: at(day * 1_440 + 60) }
    }

    #[test]
    fn a_quarter_of_an_hour_of_a_slot_counts_once_and_each_answer_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let id: ApprovalId = "pump-2".parse().unwrap();
        let say = |code, minute: i64, day: i64| {
            let answer = Reason::new(code, "no");
            count(dir.path(), &id, ("the lock file /var/lib/pump/in-use", &answer), &window(day), at(minute)).unwrap()
        };
        assert_eq!(kept_count(dir.path(), &id).unwrap(), None);
        for minute in [0, 1, 14] {
            assert_eq!(say(Code::InUse, minute, 0).count, 1);
        }
        // Another answer in the same quarter is kept and counts no further.
        let unknown = say(Code::InterlockUnknown, 14, 0);
        assert_eq!((unknown.count, unknown.answer.code), (1, Code::InterlockUnknown));
        assert_eq!(say(Code::InUse, 15, 0).count, 2);
        let third = say(Code::InUse, 1_440, 1);
        assert_eq!((third.count, third.since, third.last), (3, at(0), at(1_440)));
        let told = third.reason();
        assert_eq!(told.code, Code::Deferred);
        assert!(told.text.starts_with("put off 3 times since 2026-11-24T02:00:00Z by the lock file"), "{told}");
        forget(dir.path(), &id).unwrap();
        assert_eq!(kept_count(dir.path(), &id).unwrap(), None);
        assert_eq!(say(Code::InUse, 1_441, 1).count, 1, "it has begun meanwhile");
    }

    #[test]
    fn a_clock_that_was_set_back_and_a_torn_file_only_cost_the_count() {
        let dir = tempfile::tempdir().unwrap();
        let id: ApprovalId = "pump-2".parse().unwrap();
        let answer = Reason::new(Code::InUse, "no");
        let say = |minute| count(dir.path(), &id, ("x", &answer), &window(0), at(minute)).unwrap();
        assert_eq!((say(20).count, say(-20).count, say(20).count), (1, 2, 3));
        std::fs::write(place(dir.path()), b"[{\"app").unwrap();
        assert_eq!(say(20).count, 1);
        for n in 0..MAX_KEPT + 3 {
            let id = format!("a{n}").parse().unwrap();
            count(dir.path(), &id, ("x", &answer), &window(0), at(0)).unwrap();
        }
        assert_eq!(read(dir.path()).unwrap().len(), MAX_KEPT);
    }
}
