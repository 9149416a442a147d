//! What the hospital signs: approvals, rosters, calendars' home and stop orders, as files of its approvals repository.
//!
//! The targets metadata list what devices read: the heads of approvals, the waves opened by signature, stop orders, where
//! the server is. That stays small however many devices a hospital has, and holds opaque ids and instants only. What people
//! and the server read besides (rosters, calendars, names, reasons, tickets) is in a register, of which devices see the
//! digest alone. The slots of an approval are in shards that its head pins; a device reads the head and its own shard.
mod clearance;
mod document;
mod gates;
mod head;
mod operator;
mod own_key;
mod part;
pub mod path;
mod pinned;
mod register;
mod roster;
mod service;
mod slots;
mod statement;
mod stop;
mod terms;
mod whole;

pub use clearance::{Clearance, ClearanceError, VerifiedClearance};
pub(crate) use document::first_broken;
pub use document::{DocumentError, SignedDocument};
pub use gates::{Gates, OpenWave, Opened, waits};
pub use head::{Head, ShardPin, Share};
pub use operator::{GateNote, OperatorDocument};
pub use own_key::{ByOwnKey, OwnKey};
pub use part::{Part, PartError};
pub use pinned::Pinned;
pub use register::Register;
pub use roster::{Roster, RosterDevice};
pub use service::Service;
pub use slots::{DeviceSlots, Slot, SlotShard};
pub use statement::{Meaning, SignedBy, Statement, StatementError, VerifiedStatement, all_stated};
pub use stop::{StopError, StopOrder, VerifiedStop};
pub use terms::{Step, Terms, Wave};
pub use whole::{Approval, Sealed};
