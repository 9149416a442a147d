//! One binary for all integration tests: linking is what they cost most.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests; a failure ought to stop them where it happens"
)]

mod examples;
mod journey;
mod refusals;
mod lapse;
