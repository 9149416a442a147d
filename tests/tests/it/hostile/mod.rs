//! A server in the attacker's hands tries everything that is known against the real agent. Nothing is installed, and
//! the agent says what was tried.
//!
//! Each table below is printed with its test. A row is a device of its own, as enrolled and up to date with all that both
//! sides had signed before the approval; its agent is the real program, under the real clock, and talks with the hostile
//! server over gRPC and TLS.

mod burden;
mod colleague;
mod deltas;
mod documents;
mod floor;
mod gates;
mod holders;
mod identity;
mod leases;
mod letters;
mod line;
mod metadata;
mod newer;
mod news;
mod recovery;
mod stage;
mod sticks;
mod talk;
mod transfer;
mod withdrawal;
