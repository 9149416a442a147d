//! One binary for all integration tests: linking is what they cost most.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests; a failure ought to stop them where it happens"
)]

mod ceremony;
mod custody;
mod examples;
mod faults;
mod forks;
mod gates;
mod hospital;
mod hostile;
mod journey;
mod killed;
mod lapse;
mod recovery;
mod refresh;
mod refusals;
mod roster;
mod runbooks;
mod service;
mod sizes;
mod stops;
