//! Which runs of a new text are like runs of an old one: bsdiff's way (Percival, "Naive differences of executable code",
//! 2003).

use super::suffix::{Found, Suffixes};

/// A run that is alike in most of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) new: usize,
    pub(crate) old: usize,
    pub(crate) length: usize,
}

/// How many more bytes than the run that it would end a match has to explain.
const MIN_GAIN: usize = 8;
/// How many more bytes of a run have to be alike than not, or it is cheaper as fresh bytes.
const MIN_WORTH: i64 = 24;
/// A run that leads no further from its neighbours than this has a cheap place in the map: half is enough.
const NEAR: u64 = 4 << 10;

pub(crate) fn matches(old: &Suffixes, new: &[u8]) -> Vec<Match> {
    let text = old.text();
    let at_old = |place: i64| usize::try_from(place).ok().and_then(|place| text.get(place)).copied();
    let mut found_runs = Vec::new();
    // The run that is being told: where it began, and its distance from new to old.
    let (mut begin, mut begin_old) = (0_usize, 0_usize);
    let mut diagonal = 0_i64;
    let mut scan = 0;
    let mut length = 0;
    let mut place = 0;
    while scan < new.len() {
        scan += length;
        let mut score = 0_usize;
        let mut scored = scan;
        while scan < new.len() {
            let needle = new.get(scan..).unwrap_or_default();
            let Found { place: p, length: l } = old.longest(needle, scan as i64 + diagonal);
            (place, length) = (p, l);
            while scored < scan + length {
                score += usize::from(at_old(scored as i64 + diagonal) == new.get(scored).copied());
                scored += 1;
            }
            if (length == score && length != 0) || length > score + MIN_GAIN {
                break;
            }
            if at_old(scan as i64 + diagonal) == new.get(scan).copied() {
                score = score.saturating_sub(1);
            }
            scan += 1;
        }
        if length == score && scan < new.len() {
            continue;
        }
        let scan_end = scan.min(new.len());
        let forward = extend(new.get(begin..scan_end).unwrap_or_default(), text.get(begin_old..).unwrap_or_default());
        let mut backward = 0;
        if scan < new.len() {
            let before = new.get(begin..scan).unwrap_or_default();
            backward = extend_back(before, text.get(..place).unwrap_or_default());
        }
        let mut forward = forward;
        let overlap = (begin + forward + backward).saturating_sub(scan_end);
        if overlap > 0 {
            // Each byte goes to the side that explains more of them.
            let (mut sum, mut best, mut cut) = (0_i64, 0_i64, 0);
            for i in 0..overlap {
                let at = begin + forward - overlap + i;
                let byte = new.get(at).copied();
                sum += i64::from(byte == at_old((begin_old + forward - overlap + i) as i64));
                sum -= i64::from(byte == at_old((place + i) as i64 - backward as i64));
                if sum > best {
                    best = sum;
                    cut = i + 1;
                }
            }
            forward -= overlap - cut;
            backward -= cut;
        }
        if forward > 0 {
            found_runs.push(Match { new: begin, old: begin_old, length: forward });
        }
        begin = scan_end - backward;
        begin_old = place - backward;
        diagonal = place as i64 - scan as i64;
    }
    prune(found_runs, text, new)
}

/// Drops runs that are not worth their place in the map: short ones that lead elsewhere than both their neighbours.
fn prune(runs: Vec<Match>, old: &[u8], new: &[u8]) -> Vec<Match> {
    let diagonal = |run: &Match| run.old as i64 - run.new as i64;
    let mut kept: Vec<Match> = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        let a = new.get(run.new..run.new + run.length).unwrap_or_default();
        let b = old.get(run.old..run.old + run.length).unwrap_or_default();
        let gain: i64 = a.iter().zip(b).map(|(a, b)| if a == b { 1 } else { -1 }).sum();
        let near = |other: Option<&Match>| other.is_some_and(|other| diagonal(other).abs_diff(diagonal(run)) < NEAR);
        let near = near(kept.last()) || near(runs.get(i + 1));
        if gain >= if near { MIN_WORTH / 2 } else { MIN_WORTH } {
            kept.push(*run);
        }
    }
    kept
}

/// How far a run may go on while more than half of its last bytes are alike.
fn extend(new: &[u8], old: &[u8]) -> usize {
    let (mut score, mut best, mut length) = (0_i64, 0_i64, 0);
    for (i, (a, b)) in new.iter().zip(old).enumerate() {
        score += if a == b { 1 } else { -1 };
        if score > best {
            best = score;
            length = i + 1;
        }
    }
    length
}

fn extend_back(new: &[u8], old: &[u8]) -> usize {
    let (mut score, mut best, mut length) = (0_i64, 0_i64, 0);
    for (i, (a, b)) in new.iter().rev().zip(old.iter().rev()).enumerate() {
        score += if a == b { 1 } else { -1 };
        if score > best {
            best = score;
            length = i + 1;
        }
    }
    length
}
