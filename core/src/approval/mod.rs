//! What the hospital signs: approvals, rosters, calendars' home and stop orders, as targets of its approvals repository.
//!
//! Devices fetch these documents, so they hold opaque ids and instants only. Names, reasons and tickets stand in an
//! operator document that the approval pins by digest and that devices do not fetch.
mod document;
mod head;
mod operator;
pub mod path;
mod roster;
mod service;
mod stop;

pub(crate) use document::first_broken;
pub use document::{DocumentError, SignedDocument};
pub use head::{Approval, DeviceSlots, Pinned, Slot, Step, Wave};
pub use operator::OperatorDocument;
pub use roster::{Roster, RosterDevice};
pub use service::Service;
pub use stop::{StopError, StopOrder, VerifiedStop};
