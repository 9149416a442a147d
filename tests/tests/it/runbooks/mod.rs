//! The runbooks of `deploy/runbooks/`: every command that they quote is one that the programs understand, and those for lost
//! and stolen keys are played, command by command as they stand on the page.

mod captured;
mod credentials;
mod lost;
mod page;
mod quoted;
mod recovery;
mod stolen;

pub(crate) use self::page::is_ours;
pub(crate) use self::quoted::helped;
