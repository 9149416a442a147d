//! The device's side: it fetches, verifies, waits for its opening, installs, proves its health and reports.

pub mod config;
pub mod durable;
pub mod journal;
pub mod machine;
