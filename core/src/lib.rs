//! The rules that the manufacturer's tools, the hospital's tools, the server and the device must agree on.
//!
//! Nothing here opens a socket or a file, awaits, or asks for the time: what is decided here is decided from the
//! arguments alone, so that a safety reviewer can read it, and a test can replay it, without the rest.
//!
//! The way of a patch, file by file:
//!
//! 1. [`manifest`] says what one version of a product is; [`chunk`] cuts its payload, [`archive`] orders a tree into one.
//! 2. [`trust`] signs and verifies the two repositories: the manufacturer's catalog and the hospital's approvals.
//! 3. [`window`] turns a ward's calendar into openings; [`plan`] turns openings, roster and inventory into slots.
//! 4. [`approval`] is what the hospital signs; [`select`] is how a device decides what, if anything, it may install now.
//! 5. [`phase`] names how far a device got and why it goes no further; [`report`] is how it says so, signed.
//! 6. [`rollout`] says when the next wave opens, when it pauses, and whom it waits for.
//! 7. [`retry`] is how often a device tries, [`lease`] how many of a ward are down at once where one is down beyond its slot.
//! 8. [`pace`] is what a hospital's network lets its devices fetch, and when.
//! 9. [`decision`] is what a hospital says where it does not install.
//! 10. [`notice`] is what the two sides write to one another: notices, reports of a suspicion, acknowledgements.
//! 11. [`life`] is how long a product is supported, [`responsibility`] who does what meanwhile, and [`risk`] what a hospital finds
//!     and accepts.
//! 12. [`document`] reads what travels with a bundle for people: what it is made of, and what vulnerabilities do to it.
//! 13. [`exposure`] says which devices carry what, and which vulnerabilities they are exposed to.
//! 14. [`audit`] chains the record, so that the past cannot be rewritten unnoticed.
//! 15. [`event`] is what security staff wants to know at once.

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
pub mod exposure;
pub mod id;
pub mod json;
pub mod label;
pub mod lease;
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
pub mod sign;
pub mod token;
pub mod trust;
pub mod version;
pub mod window;
pub mod word;

/// Whether this build verifies what only tests may: see the feature `interop`. A program asserts at compile time that it
/// does not, because Cargo unites the features of all that it builds together.
pub const INTEROP: bool = cfg!(feature = "interop");
