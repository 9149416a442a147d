//! The orchestration of one approval in waves: carrying out what the rules say, and telling those who watch.
//!
//! The rules are pure and stand in [`suture_core::rollout`]. [`run`] carries them out, once however often it is asked.

pub(crate) mod news;
pub(crate) mod run;
