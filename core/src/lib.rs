//! The rules that the manufacturer's tools, the hospital's tools, the server and the device must agree on.
//!
//! Nothing here opens a socket or a file, awaits, or asks for the time: what is decided here is decided from the
//! arguments alone, so that a safety reviewer can read it, and a test can replay it, without the rest.
//!
//! The way of a patch, step by step: the rules here, and where the programs keep them.
//!
//! | step | the rules | the programs |
//! | --- | --- | --- |
//! | publish | [`manifest`] says what one version is; [`chunk`] cuts its payload, [`archive`] orders a tree into one; [`document`] reads its SBOM and VEX | `ctl/src/bundle/build.rs`, `ctl/src/bundle/pack.rs`, `ctl/src/bundle/upload.rs` |
//! | sign | [`sign`], and [`trust`] for the manufacturer's catalog and the hospital's approvals | `ctl/src/repository/mod.rs`, `ctl/src/keys/mod.rs`, `ctl/src/envelope/mod.rs` where one signature does not suffice |
//! | store | [`trust::Publication`] is what takes force with one another, or not at all | `server/src/transfer/upload.rs`, `server/src/publish/mod.rs`, `server/src/store/mod.rs`, `server/src/blobs/mod.rs` |
//! | rollout | [`window`] turns calendars into openings, [`plan`] openings, roster and inventory into slots; [`approval`] is what the hospital signs of it; [`rollout`] says when the next wave opens, and whom it waits for | `ctl/src/cmd/rollout/plan.rs`, `ctl/src/cmd/rollout/approve.rs`, `server/src/rollout/mod.rs` |
//! | offer | [`select`] is how a device decides what it may install now, if anything; [`lease`] how many of a ward are down at once | `server/src/offer.rs`, `agent/src/client/check_in.rs`, `agent/src/agent/talk.rs` |
//! | fetch | [`delta`] is what old and new have in common, [`pace`] what the hospital's network lets its devices fetch | `server/src/transfer/fetch.rs`, `server/src/delta/mod.rs`, `agent/src/fetch/mod.rs` |
//! | verify | [`trust::Refresh`] is the order in which metadata are taken, [`chunk::Index`] what each byte must hash to | `agent/src/trust_store.rs`, `agent/src/fetch/index.rs` |
//! | schedule | [`approval::SlotShard`] is when each device may, [`select::slot_at`] whether that is now, [`retry`] how often it tries | `agent/src/choice.rs`, `agent/src/gate.rs`, `agent/src/interlock/mod.rs` |
//! | install | [`phase`] names how far a device got and why it goes no further | `agent/src/machine/mod.rs`, `agent/src/agent/act/mod.rs`, `agent/src/install/mod.rs`, `agent/src/health/mod.rs` |
//! | report | [`report`] is how it says so, signed, and each time counted once | `agent/src/report.rs`, `agent/src/outbox.rs`, `server/src/report.rs`, `server/src/effect.rs` |
//!
//! Beside the way:
//!
//! - [`decision`] is what a hospital says where it does not install.
//! - [`notice`] is what the two sides write to one another: notices, reports of a suspicion, acknowledgements.
//! - [`life`] is how long a product is supported, [`responsibility`] who does what meanwhile, and [`risk`] what a hospital finds
//!   and accepts.
//! - [`exposure`] says which devices carry what, and which vulnerabilities they are exposed to.
//! - [`audit`] chains the record, so that the past cannot be rewritten unnoticed.
//! - [`event`] is what security staff wants to know at once.
//! - [`legible`] lets a person read what is there, whoever wrote it.

pub mod approval;
pub mod archive;
pub mod audit;
pub mod chunk;
pub mod clock;
pub mod decision;
pub mod delta;
pub mod digest;
pub mod document;
pub mod event;
pub mod evidence;
pub mod exposure;
pub mod id;
pub mod json;
pub mod label;
pub mod lease;
pub mod legible;
pub mod life;
pub mod limits;
pub mod manifest;
pub mod notice;
pub mod pace;
pub mod phase;
pub mod plan;
pub mod principal;
pub mod progress;
pub mod report;
pub mod responsibility;
pub mod retry;
pub mod risk;
pub mod rollout;
pub mod select;
pub mod series;
pub mod sign;
pub mod token;
pub mod trust;
pub mod version;
pub mod window;
pub mod word;

/// Whether this build verifies what only tests may: see the feature `interop`. A program asserts at compile time that it
/// does not, because Cargo unites the features of all that it builds together.
pub const INTEROP: bool = cfg!(feature = "interop");
