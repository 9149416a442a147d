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
//! | rollback under new online keys, for which no version binds | when a file was signed: [`Refresh`], [`Search::taken`] |
//! | freeze: old metadata for ever | [`Refresh`], expiry against `now` |
//! | mix-and-match: files that were never in force together | [`Refresh`], version, length and hashes pinned from above |
//! | fast-forward: versions driven up to lock the owner out | [`Refresh`], stored files go when online keys change |
//! | endless data | [`Request::max_bytes`], [`Role::max_bytes`], a bounded number of roots and of delegated roles |
//! | a few megabytes that take hundreds of memory before anybody's signature is looked at | [`crate::json::parse_unverified`] |
//! | one key that counts as two, a threshold of nothing | [`Authority`] and the one loop in [`Verified`] |
//! | one person who counts as two | [`Root::holder`]: no root names one holder for two keys of a role that several must sign for |
//! | a delegated role that speaks for more than it was given | [`Search`]; approvals refuse every delegation |
//! | a file that two readers understand differently | [`crate::json`] |
//!
//! # Use
//!
//! Nothing here reads a file or a socket, and none of it asks what time it is. A caller brings a [`Transport`], which is
//! trusted with nothing, a place to store [`Change`]s, and the time. Here the transport is a directory, as on a stick:
//!
//! ```
//! use std::fs::File;
//! use std::io::{self, Read as _};
//! use std::path::PathBuf;
//! use suture_core::trust::{Answer, Refresh, Request, Stored, Transport, TrustError, fetch_with, refresh_with};
//!
//! type Error = Box<dyn std::error::Error>;
//!
//! /// `metadata/` and `targets/`, with the files by the names under which a server serves them.
//! struct Directory(PathBuf);
//!
//! impl Directory {
//!     fn read(&self, below: &str, request: &Request) -> Result<Answer, Error> {
//!         match File::open(self.0.join(below).join(&request.name)) {
//!             Ok(file) => {
//!                 let mut bytes = Vec::new();
//!                 file.take(request.max_bytes + 1).read_to_end(&mut bytes)?; // one byte too many is refused
//!                 Ok(Answer::Found(bytes))
//!             }
//!             // This and nothing else means that there is no such file. A stick that fails is no answer.
//!             Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Answer::NotFound),
//!             Err(e) => Err(e.into()),
//!         }
//!     }
//! }
//!
//! impl Transport for Directory {
//!     type Error = Error;
//!     fn metadata(&mut self, request: &Request) -> Result<Answer, Error> {
//!         self.read("metadata", request)
//!     }
//!     fn target(&mut self, request: &Request) -> Result<Answer, Error> {
//!         self.read("targets", request)
//!     }
//! }
//!
//! /// Brings a store up to date from a directory, and reads one file that the repository lists.
//! fn read_notes(store: &mut Stored, from: PathBuf, now: jiff::Timestamp) -> Result<Vec<u8>, Error> {
//!     let mut directory = Directory(from);
//!     let refresh = Refresh::start(store.clone(), now)?; // the catalog: .delegations(Delegations::Followed)
//!     let refresh = refresh_with(refresh, &mut directory, |change| {
//!         store.apply(change); // on a disk: write, fsync, rename, fsync the directory
//!         Ok(())
//!     })?;
//!     let mut repository = refresh.finish()?;
//!     fetch_with(&mut repository, "notes/1.txt", 1_000, now, &mut directory)
//! }
//! # use suture_core::sign::{LocalKey, Signer};
//! # use suture_core::trust::{Role, Target, Verified, edit};
//! # use zeroize::Zeroizing;
//! # fn main() -> Result<(), Error> {
//! # let now: jiff::Timestamp = "2026-11-24T15:00:00Z".parse()?;
//! # let [offline, online] = [1, 2].map(|n| LocalKey::from_seed(&Zeroizing::new([n; 32])));
//! # let role = |key: &LocalKey| edit::RoleDraft::single(key.public());
//! # let root = edit::RootDraft {
//! #     version: 1, expires: now + edit::ROOT_LIFETIME,
//! #     root: role(&offline), targets: role(&offline), snapshot: role(&online), timestamp: role(&online),
//! # };
//! # let root = edit::sign_root(&root, &[&offline])?;
//! # let mut draft = edit::TargetsDraft::first(now, edit::CATALOG_LIFETIME);
//! # let hello = Target::of(b"hello", None);
//! # let notes = format!("{}.1.txt", hello.sha256);
//! # draft.targets.insert("notes/1.txt".to_owned(), hello);
//! # let targets = edit::sign_targets(&draft, &[&offline])?;
//! # let trusted = Verified::pinned(&root)?;
//! # let snapshot = edit::sign_snapshot(1, now + edit::ONLINE_LIFETIME, &Verified::by(&trusted, &targets)?, &online)?;
//! # let timestamp = edit::sign_timestamp(1, now + edit::ONLINE_LIFETIME, &Verified::by(&trusted, &snapshot)?, &online)?;
//! # let stick = std::env::temp_dir().join(format!("suture-trust-example-{}", std::process::id()));
//! # std::fs::create_dir_all(stick.join("metadata"))?;
//! # std::fs::create_dir_all(stick.join("targets/notes"))?;
//! # for (name, bytes) in [("1.targets.json", targets), ("1.snapshot.json", snapshot), ("timestamp.json", timestamp)] {
//! #     std::fs::write(stick.join("metadata").join(name), bytes)?;
//! # }
//! # let notes = stick.join("targets/notes").join(notes);
//! # std::fs::write(&notes, "hello")?;
//!
//! let mut store = Stored { root, ..Stored::default() }; // the root was pinned at provisioning
//! assert_eq!(read_notes(&mut store, stick.clone(), now)?, b"hello");
//!
//! std::fs::write(&notes, "hallo")?; // somebody has changed the stick
//! let refused = read_notes(&mut store, stick.clone(), now).unwrap_err();
//! assert!(matches!(refused.downcast_ref(), Some(TrustError::WrongTarget { field: "sha256", .. })));
//!
//! // Later, with nothing to be reached, the stored files decide alone, until they expire.
//! Refresh::start(store.clone(), now)?.offline()?.finish()?.verify_target("notes/1.txt", b"hello")?;
//! assert!(Refresh::start(store, now + edit::ONLINE_LIFETIME)?.offline().is_err());
//! # std::fs::remove_dir_all(stick)?;
//! # Ok(())
//! # }
//! ```
//!
//! Whoever must not block while waiting writes the loops of [`refresh_with`] and [`fetch_with`] with an `.await`: they ask a
//! [`Refresh`] or a [`Search`] what it wants next, and supply the answer.
//!
//! # Post-quantum signatures
//!
//! Kinds of keys are open. A key of a kind that this program does not know keeps its id and its place in a role, its
//! signatures may have any length, and it never counts; unknown fields are hashed and signed over like all others. So a
//! root can list ML-DSA keys years before every device can verify by them: to a device that cannot, they are absent.
//!
//! A role's threshold counts keys, not kinds, and this decides what a mixed role can say. Let it list `e` Ed25519 keys, `p`
//! post-quantum keys and the threshold `t`.
//!
//! - `t <= e`: devices that know Ed25519 alone go on, and so does an attacker who can forge Ed25519. This is how one begins;
//!   it is no protection yet.
//! - `t > e`: at least `t - e` post-quantum keys must sign, whatever happens to Ed25519, and at least `t - p` Ed25519 keys,
//!   whatever happens to the other kind. Devices that know Ed25519 alone refuse such a root and stay at the one before, so
//!   it comes when the last of them has been updated.
//! - One person with a key of each kind, `t = 2`: both kinds are needed. `n` persons with one of each, `t = 2n`: all of both
//!   kinds. But "any `m` of `n` persons, each by both kinds" cannot be said for `m < n`: those `m` bring `2m` signatures, so
//!   the threshold can be no greater, and an attacker who forges the `n` Ed25519 signatures needs `2m - n` post-quantum keys
//!   besides: fewer than `m`, and none at all where `2m <= n`.
//! - What says it is a key whose kind is the pair: a composite of Ed25519 and ML-DSA, which verifies only if both do. That
//!   is
//!   one more `keytype`, with one id and one signature to a person, and the thresholds are as today: no new layout.

pub(crate) mod beside;
mod catalog;
mod delegation;
mod descent;
mod earlier;
pub mod edit;
mod error;
mod exchange;
mod grant;
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
mod survey;
mod targets;
#[cfg(test)]
mod tests;
mod transport;
mod verify;

pub use catalog::{CatalogEntry, Status, status_reason};
pub use delegation::{Delegation, Delegations, delegated_name};
pub use descent::{Descent, Edition, EditionError};
pub use error::TrustError;
pub use exchange::{Answer, Change, Request, Stored};
pub use grant::Grant;
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
