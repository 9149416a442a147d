//! What the tests of letters share: an afternoon, and a clock that stands still in it.

use jiff::Timestamp;
use suture_core::clock::Clock;

pub(super) struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        at()
    }
}

pub(super) fn at() -> Timestamp {
    "2026-11-24T15:00:00Z".parse().unwrap()
}
