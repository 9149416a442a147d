//! What is in the field already, and what will be there one day: programs of other releases than this one, and what they have
//! written.
//!
//! - [`written`]: what this release's programs sign, for `core/tests/field`, where every later release reads it.
//! - [`oldest`]: the agent of the first release, kept as it spoke, at the present server.
//!
//! A server of a later release is played among the hostile ones (`hostile/newer.rs`). `tests/compat.sh` does with whole programs of any revision what these do with messages.

mod oldest;
mod spoken;
mod written;
