//! The orchestration of one approval in waves: its rules. Pure.
//!
//! [`step`] says what is due, from counts and the time; [`word`] what a device is told. The server carries it out; the
//! hospital's tools ask the same rules what a rollout waits for, and simulations run on them. None of it is authority: a
//! device installs in its signed slots alone, and where its wave waits for the hospital's signature once it has that itself.
//! The server can only make it wait.
//!
//! The rules see a rollout as counts by wave, [`Tally`], and never as its devices: what a step costs does not grow with the
//! fleet. How a device is counted says [`Progress`]: by its signed reports, and where it says nothing by the time.

mod bar;
mod gate;
mod heard;
mod standing;
mod step;
mod waves;
mod word;

use jiff::{SignedDuration, Timestamp};

pub use bar::{barred, is_barred};
pub use gate::{Gate, ceiling, judge};
pub use heard::heard;
pub use standing::{Progress, Standing, Tally};
pub use step::{Action, step};
pub use waves::WaveSet;
pub use word::{late, word};

use crate::approval::Wave;
use crate::id::ApprovalId;
use crate::phase::Reason;

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waves open as their gates do.
    Running,
    /// Nothing new begins until somebody resumes it.
    Paused,
    /// Somebody ended it.
    Aborted,
    /// Another approval took its place.
    Superseded,
    /// The approval ended before all devices had.
    Expired,
    /// Every device came to an end that needs nobody.
    Complete,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Running, Self::Paused, Self::Aborted, Self::Superseded, Self::Expired, Self::Complete];

    /// The name in the store and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Aborted => "aborted",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Complete => "complete",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }

    /// Whether nothing begins by it any more. Who was at it still says what came of it, or times out.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Running | Self::Paused)
    }
}

/// A rollout as the rules see it.
#[derive(Debug, Clone)]
pub struct View {
    /// Its id.
    pub id: ApprovalId,
    /// Where it stands.
    pub state: State,
    /// What is said of its state.
    pub reason: Option<Reason>,
    /// The last wave that has opened.
    pub wave: u32,
    /// All waves, in order.
    pub waves: Vec<Stage>,
    /// Those that wait for the hospital's signature.
    pub unsigned: WaveSet,
    /// Whether the manufacturer has withdrawn a bundle that it installs.
    pub withdrawn: bool,
    /// When the approval ends.
    pub expires: Timestamp,
    /// How long a device that has begun may say nothing.
    pub timeout: SignedDuration,
}

/// A wave of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What was signed of it.
    pub gate: Wave,
    /// How many of its devices count as what.
    pub tally: Tally,
}
