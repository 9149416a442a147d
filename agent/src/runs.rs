//! What runs on the device, as the loop found it at last, for whoever asks at the device meanwhile.
//!
//! An installer does one step at a time. Asked once more from beside the loop, it would answer after the step in hand, which may take an
//! hour, and any account of the device could have its program started as often as it likes.

use std::sync::{Mutex, PoisonError};

use suture_core::phase::Reason;
use suture_core::report::Running;

/// What runs: none where nothing does, or why that is not known.
pub type Found = Result<Option<Running>, Reason>;

/// The same, where it was asked after.
#[derive(Debug, Default)]
pub struct Runs(Mutex<Option<Found>>);

impl Runs {
    /// Remembers it.
    pub fn note(&self, found: &Found) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
    }

    /// As it was noted at last; none before the loop has asked for the first time.
    pub fn found(&self) -> Option<Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
