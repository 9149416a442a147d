//! Where a bundle's bytes came from, kept on disk for the reports that tell of it: what was counted goes with the agent that
//! counted it, and reports are written after it was started anew.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use suture_core::digest::Digest;
use suture_core::progress::{Progress, Sources};

use crate::durable::{self, DurableError};

/// As it lies on disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Of which bundle.
    manifest: Digest,
    sources: Sources,
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("sources.json")
}

/// Keeps what was counted of a bundle that is whole. An agent that was started anew, and found all there, counts nothing, and
/// leaves what was known.
pub(crate) fn keep(state_dir: &Path, manifest: &Digest, progress: &Progress) -> Result<(), DurableError> {
    let Some(sources) = Sources::of(progress) else { return Ok(()) };
    let was_begun_before = progress.kept_bytes() > 0;
    if was_begun_before && kept(state_dir, manifest).is_some() {
        return Ok(());
    }
    durable::write_json(&path(state_dir), &Kept { manifest: *manifest, sources }, durable::OPEN)
}

/// What is known of that bundle.
pub(crate) fn kept(state_dir: &Path, manifest: &Digest) -> Option<Sources> {
    let kept = durable::read_json::<Kept>(&path(state_dir)).ok().flatten();
    kept.filter(|kept| kept.manifest == *manifest).map(|kept| kept.sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_outlives_the_agent_and_not_the_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let mut progress = Progress { total_bytes: 100, present_bytes: 99, slot_a_bytes: 99, ..Progress::default() };
        keep(dir.path(), &one, &progress).unwrap();
        assert_eq!(kept(dir.path(), &one), None, "it is not whole");
        (progress.present_bytes, progress.delta_made_bytes, progress.delta_bytes) = (100, 1, 7);
        keep(dir.path(), &one, &progress).unwrap();
        let known = kept(dir.path(), &one).unwrap();
        assert_eq!((known.slot_a_bytes, known.delta_bytes, kept(dir.path(), &two)), (99, 7, None));
        // Started anew, all is there.
        let found = Progress { total_bytes: 100, present_bytes: 100, ..Progress::default() };
        keep(dir.path(), &one, &found).unwrap();
        assert_eq!(kept(dir.path(), &one), Some(known));
        // Fetched anew, or another one.
        progress.delta_bytes = 8;
        keep(dir.path(), &one, &progress).unwrap();
        assert_eq!(kept(dir.path(), &one).unwrap().delta_bytes, 8);
        keep(dir.path(), &two, &found).unwrap();
        assert_eq!((kept(dir.path(), &one), kept(dir.path(), &two).unwrap().total_bytes), (None, 100));
    }
}
