//! What a program leaves behind of its last run, and what its next start makes of it.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::digest::Digest;

/// What a program has written down of its run: at its start, and again when it ends as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// SHA-256 of its settings.
    pub settings: Digest,
    /// Whether it ended as asked.
    pub ended: bool,
}

/// What a start by these settings says, given what the last run left; nothing at the very first.
pub fn begun(last: Option<Run>, settings: &Digest) -> Vec<Kind> {
    let Some(last) = last else { return Vec::new() };
    let mut kinds = vec![if last.ended { Kind::Restarted } else { Kind::RestartedUnexpectedly }];
    if last.settings != *settings {
        kinds.push(Kind::ConfigurationChanged);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_says_whether_the_last_run_ended_as_asked_and_whether_the_settings_are_the_same() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        assert_eq!(begun(None, &one), []);
        assert_eq!(begun(Some(Run { settings: one, ended: true }), &one), [Kind::Restarted]);
        assert_eq!(begun(Some(Run { settings: one, ended: false }), &one), [Kind::RestartedUnexpectedly]);
        let changed = [Kind::Restarted, Kind::ConfigurationChanged];
        assert_eq!(begun(Some(Run { settings: one, ended: true }), &two), changed);
    }
}
