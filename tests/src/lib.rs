//! The stage for journeys, faults and tampering: a real server, the real ctl and the real agent, on loopback, under one
//! temporary directory, with a clock that the test moves.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this crate is tests; a failure ought to stop them where it happens"
)]

pub mod hostile;
pub mod world;
