//! The device's side: it fetches, verifies, waits for its opening, installs, proves its health and reports.
//!
//! [`agent`] holds the loop; [`machine`] decides, purely; [`journal`] keeps what was decided; everything else does one thing
//! that the machine asks for.

pub mod agent;
pub mod backoff;
pub mod checkpoint;
pub mod choice;
pub mod client;
pub mod config;
pub mod data;
pub mod deferral;
pub mod departure;
pub mod doctor;
pub mod documents;
pub mod durable;
mod earlier;
pub mod face;
pub mod fetch;
pub mod floor;
pub mod gate;
pub mod guide;
pub mod hand;
pub mod health;
pub mod history;
pub mod hold;
pub mod identity;
pub mod import;
pub mod inbox;
pub mod install;
pub mod integrity;
pub mod interlock;
pub mod itself;
pub mod journal;
pub mod lease;
mod lock;
pub mod machine;
pub mod news;
pub mod outbox;
pub mod power;
pub mod presence;
pub mod process;
pub mod provision;
pub mod pulse;
pub mod record;
pub mod report;
pub mod runs;
pub mod sightings;
pub mod status;
pub mod stick;
pub mod stops;
mod ticks;
pub mod tls_clock;
pub mod took;
pub mod traffic;
pub mod trust_store;
pub mod unwritten;
pub mod ways;
pub mod why;

pub use agent::{Agent, AgentError, Pass, Surroundings};

// Ed25519 alone: what suture-core can verify besides is for its own tests.
const _: () = assert!(!suture_core::INTEROP, "suture-core's feature `interop` is for tests; build without it");
