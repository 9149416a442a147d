//! The two signed repositories: the manufacturer's catalog (what may run) and a hospital's approvals (that, where and when
//! it runs).
//!
//! Both are repositories after The Update Framework 1.0.34, verified by the same code. Whoever holds the server, its
//! database, its storage and its online keys gets nothing past this module that the offline keys did not sign. It stops:
//!
//! | attack | stopped by |
//! | --- | --- |
//! | arbitrary software: metadata or files that the owner did not sign | [`Verified`], [`Repository::verify_target`] |
//! | rollback: metadata older than seen before | [`Refresh`], versions against the stored ones |
//! | freeze: old metadata for ever | [`Refresh`], expiry against `now` |
//! | mix-and-match: files that were never in force together | [`Refresh`], version, length and hashes pinned from above |
//! | fast-forward: versions driven up to lock the owner out | [`Refresh`], stored files go when online keys change |
//! | endless data | [`Request::max_bytes`], [`Role::max_bytes`], a bounded number of roots |
//! | one key that counts as two, a threshold of nothing | [`Authority`] and the one loop in [`Verified`] |
//! | a file that two readers understand differently | [`crate::json`] |
//!
//! Nothing here reads a file or a socket. The caller fetches and stores; [`Refresh`] says what:
//!
//! ```
//! use std::collections::BTreeMap;
//! use suture_core::trust::{Answer, Refresh, Repository, Stored, TrustError};
//!
//! /// Brings a client's store up to date from a server's files.
//! fn refresh(
//!     store: &mut Stored,
//!     server: &BTreeMap<String, Vec<u8>>,
//!     now: jiff::Timestamp,
//! ) -> Result<Repository, TrustError> {
//!     let mut refresh = Refresh::start(store.clone(), now)?;
//!     while let Some(request) = refresh.request() {
//!         // Over a network: read at most `request.max_bytes`, and give up on any failure but "there is no such file".
//!         let answer = match server.get(&request.name) {
//!             Some(bytes) => Answer::Found(bytes.clone()),
//!             None => Answer::NotFound,
//!         };
//!         for change in refresh.supply(answer)? {
//!             store.apply(&change); // on a disk: write, fsync, rename, fsync the directory
//!         }
//!     }
//!     refresh.finish()
//! }
//! # use suture_core::sign::{LocalKey, Signer};
//! # use suture_core::trust::{Target, Verified, edit};
//! # use zeroize::Zeroizing;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let now: jiff::Timestamp = "2026-11-24T15:00:00Z".parse()?;
//! # let [offline, online] = [1, 2].map(|n| LocalKey::from_seed(&Zeroizing::new([n; 32])));
//! # let role = |key: &LocalKey| edit::RoleDraft::single(key.public());
//! # let root = edit::RootDraft {
//! #     version: 1, expires: now + edit::ROOT_LIFETIME,
//! #     root: role(&offline), targets: role(&offline), snapshot: role(&online), timestamp: role(&online),
//! # };
//! # let root = edit::sign_root(&root, &[&offline])?;
//! # let mut draft = edit::TargetsDraft::first(now, edit::CATALOG_LIFETIME);
//! # draft.targets.insert("notes/1.txt".to_owned(), Target::of(b"hello", None));
//! # let targets = edit::sign_targets(&draft, &[&offline])?;
//! # let trusted = Verified::pinned(&root)?;
//! # let snapshot = edit::sign_snapshot(1, now + edit::ONLINE_LIFETIME, &Verified::by(&trusted, &targets)?, &online)?;
//! # let timestamp = edit::sign_timestamp(1, now + edit::ONLINE_LIFETIME, &Verified::by(&trusted, &snapshot)?, &online)?;
//! # let server: BTreeMap<String, Vec<u8>> = [
//! #     ("1.targets.json", targets), ("1.snapshot.json", snapshot), ("timestamp.json", timestamp),
//! # ].map(|(name, bytes)| (name.to_owned(), bytes)).into();
//!
//! let mut store = Stored { root, ..Stored::default() }; // the root was pinned at provisioning
//! let repository = refresh(&mut store, &server, now)?;
//!
//! let name = repository.file_name("notes/1.txt"); // what to ask the server for: notes/<sha256>.1.txt
//! assert!(name.is_some_and(|n| n.starts_with("notes/2cf24dba")));
//! repository.verify_target("notes/1.txt", b"hello")?;
//! assert!(repository.verify_target("notes/1.txt", b"hallo").is_err());
//!
//! // Later, without a network:
//! assert!(Repository::open(store.clone(), now).is_ok());
//! assert!(Repository::open(store, now + edit::ONLINE_LIFETIME).is_err()); // a frozen repository is no authority
//! # Ok(())
//! # }
//! ```

pub(crate) mod beside;
mod catalog;
mod delegation;
mod descent;
pub mod edit;
mod error;
mod exchange;
mod hashes;
mod interop;
mod key;
mod metadata;
mod news;
mod proposal;
mod publication;
mod refresh;
mod repository;
mod role;
mod search;
mod targets;
#[cfg(test)]
mod tests;
mod transport;
mod verify;

pub use catalog::{CatalogEntry, Status};
pub use delegation::{Delegations, delegated_name};
pub use descent::{Descent, Edition, EditionError};
pub use error::TrustError;
pub use exchange::{Answer, Change, Request, Stored};
pub use metadata::{Pin, Root, SPEC_VERSION, Snapshot, Timestamp};
pub use news::{Held, News};
pub use proposal::{Proposal, Proposed, Want};
pub use publication::{Delegated, Publication, verify_delegating, verify_publication};
pub use refresh::Refresh;
pub use repository::{Base, Repository};
pub use role::{Authority, Role, key_id, key_object};
pub use search::Search;
pub use targets::{Target, Targets, served_target_name};
pub use transport::{Transport, fetch_with, refresh_with};
pub use verify::{Metadata, Verified};
