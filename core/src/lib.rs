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
//! - [`audit`] keeps the record as a Merkle log, so that the past cannot be rewritten unnoticed.
//! - [`event`] is what security staff wants to know at once.
//! - [`legible`] lets a person read what is there, whoever wrote it.
//!
//! # The rules
//!
//! None of them bends, whatever is built upon them; a comment that says "Rule 5" names the fifth.
//!
//! 1. Two sides sign: a device installs what the manufacturer's catalog lists and the hospital's approval names, for this device at
//!    this time. The server holds no key that a device obeys, and relays and sticks are trusted with nothing.
//! 2. What must hold against the server is signed by the hospital; the server can only narrow it: pause, withhold, delay.
//! 3. Never while in use. The interlock is a claim: the device's own software refuses clinical use until it is let go. Where it is unknown
//!    or silent, it is not now, and nobody overrides it from afar.
//! 4. Success is what the device proves: it has started the new version, passed its health check, and says so, signed.
//! 5. There is always a way back. The old version stays whole until the new one is confirmed, and power may fail at any instant.
//! 6. Nothing is lost and nothing counts twice: a report is on the device's disk before it is sent, and counts once.
//! 7. Nothing connects to a device. It speaks to one outbound port, by TLS 1.3, both sides authenticated, and each call is authorised anew.
//! 8. The past is not rewritten unnoticed: the server keeps a record in which nothing can be replaced, and devices and homes remember how
//!    far they have seen it.
//! 9. Nothing is silent: each "no" and "not yet" has a code for machines and a sentence for people.
//!
//! # Order on the device
//!
//! What it checks before it installs. The first that fails is the reason that people see; a comment names a step by its number.
//!
//! 1. The time is read once a look, and held against what offline signatures prove. They alone raise that floor; by a clock below it
//!    nothing is begun.
//! 2. Catalog and approvals are refreshed as a whole. Where that fails nothing is begun, and what is stored stays.
//! 3. Stop orders; then the approvals that name this device. Of two that contradict one another it takes neither.
//! 4. What the approval names is what the catalog lists, by length, digest and each field that both have, and is not withdrawn.
//! 5. The hardware fits, and so do the security floor and the release to start from. To go back to an older release takes a permit, and
//!    no permit leads below the floor; the way back from an install that failed is always open.
//! 6. The manifest has the length and the digest that were signed, is read strictly, and says what was signed of it. There is room for
//!    all of it before the first chunk is fetched.
//! 7. Each chunk has its length and its digest, and what was on disk already is hashed again.
//! 8. In its slot: once more what is newest, where anything can be reached; the approval is still there and no stop is; what was staged is
//!    hashed again; the interlock is claimed; no stop has come meanwhile, by what can be heard; then it switches. From there on it
//!    finishes or goes back, also past the slot's end.
//!    The release floor is raised once the new version is confirmed, in two places.

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
