//! The server: publishes signed bundles, keeps the fleet's record and runs rollouts.
//!
//! It holds no key that a device obeys (rule 1 of `suture_core`): what it serves was signed elsewhere, and what it says itself
//! can only narrow.

pub mod app;
pub mod audit;
pub mod authorities;
pub mod blobs;
pub(crate) mod calls;
mod clearance;
pub mod cli;
pub mod config;
pub mod connections;
pub(crate) mod delta;
pub(crate) mod effect;
pub mod events;
pub mod export;
pub(crate) mod exposure;
pub(crate) mod fork;
pub(crate) mod grpc;
pub mod identity;
pub mod init;
pub mod invitation;
mod lease;
pub(crate) mod life;
pub(crate) mod notice;
pub(crate) mod offer;
pub mod publish;
pub(crate) mod refresh;
pub(crate) mod report;
pub mod rights;
pub(crate) mod risk;
pub(crate) mod rollout;
pub(crate) mod seal;
pub(crate) mod statement;
mod stop;
pub mod store;
pub mod tls;
pub(crate) mod transfer;

pub use app::App;
pub use config::Settings;

// Ed25519 alone: what suture-core can verify besides is for its own tests.
const _: () = assert!(!suture_core::INTEROP, "suture-core's feature `interop` is for tests; build without it");
