//! What all clients are tried with.

use jiff::Timestamp;

use super::base::{Base, Files};

/// Refreshes by one client that keeps its store, up to the first that is refused.
pub(super) struct Case {
    pub(super) steps: Vec<Step>,
    /// Paths that are looked up after each.
    pub(super) paths: Vec<String>,
    /// Whether a target counts only where its bytes are served too.
    pub(super) download: bool,
    /// What was done to it, for people.
    pub(super) edits: Vec<&'static str>,
}

/// One refresh: when, and against what.
pub(super) struct Step {
    pub(super) now: Timestamp,
    pub(super) generation: usize,
    pub(super) put: Files,
    pub(super) remove: Vec<String>,
}

impl Step {
    /// A server that does nothing wrong.
    pub(super) fn honest(generation: usize, now: Timestamp) -> Self {
        Self { now, generation, put: Files::new(), remove: Vec::new() }
    }

    /// The server's files at that step.
    pub(super) fn files(&self, base: &Base) -> Files {
        let mut files = base.generations[self.generation].clone();
        files.extend(self.put.clone());
        for name in &self.remove {
            files.remove(name);
        }
        files
    }
}
