//! The machine: what the device does next, decided purely. [`step`] takes the state, what happened and the time, and
//! returns the next state with what is to be told and done. It opens no file and asks nobody.
//!
//! ```text
//! the way:            idle -> fetching -> staging -> waiting -> claiming -> switching -> restarting
//! and on:             restarting -> confirming -> releasing -> idle
//! given up, finished: fetching -> idle, staging -> idle, waiting -> idle
//! begun anew:         staging -> fetching, waiting -> fetching
//! not now after all:  claiming -> waiting, claiming -> releasing, switching -> releasing, releasing -> waiting
//! it was switched:    claiming -> restarting
//! the way back:       switching -> reverting, restarting -> reverting, confirming -> reverting -> releasing
//! a person checks:    confirming -> checking -> releasing
//! and finds it unfit: checking -> reverting
//! a person is needed: reverting -> held -> releasing, claiming -> held
//! started anew:       held -> reverting
//! ```
//!
//! Each arrow is a way from one state to another, and there are no others: a test compares them with the table. By
//! `checking` the way leads where the manifest asks for a person's check before clinical use: the new version has proven its
//! health, and the interlock stays held until that is said; where the check has failed the old version comes back.
//!
//! Before `claiming` nothing on the device has changed, and an attempt may be given up at any time. From `switching` on it
//! finishes or reverts, even if the slot ends meanwhile. The interlock is held in every state from `claiming` to
//! `releasing`. The agent's journal holds the state; a restart at any line enters it again with `resumed`, and `started` counts
//! it before that while a version is to prove itself, the new one or the one that is put back. A claim can end without a release
//! all the same, where it is a person's word: so after a start, after a disk that took nothing, and after a word from afar that the
//! device is unfit, `restarting` and `reverting` have it claimed once more before anything goes down.
//!
//! The table is complete: what is not in it is refused, and a test compares it with what [`step`] does.
//!
//! | in         | on       | to                            |
//! |------------|----------|-------------------------------|
//! | idle       | chosen   | fetching                      |
//! | idle       | nothing  | idle                          |
//! | idle       | hindered | idle                          |
//! | idle       | resumed  | idle                          |
//! | fetching   | chosen   | fetching                      |
//! | fetching   | nothing  | fetching idle                 |
//! | fetching   | hindered | fetching                      |
//! | fetching   | resumed  | fetching                      |
//! | fetching   | unusable | idle                          |
//! | fetching   | fetched  | staging                       |
//! | staging    | chosen   | fetching staging              |
//! | staging    | nothing  | idle staging                  |
//! | staging    | hindered | staging                       |
//! | staging    | resumed  | staging                       |
//! | staging    | unusable | idle                          |
//! | staging    | damaged  | fetching                      |
//! | staging    | staged   | waiting                       |
//! | waiting    | chosen   | fetching waiting              |
//! | waiting    | nothing  | idle waiting                  |
//! | waiting    | hindered | waiting                       |
//! | waiting    | resumed  | waiting                       |
//! | waiting    | unusable | idle                          |
//! | waiting    | damaged  | fetching                      |
//! | waiting    | open     | claiming waiting              |
//! | claiming   | hindered | waiting                       |
//! | claiming   | unclear  | releasing                     |
//! | claiming   | claimed  | releasing switching           |
//! | claiming   | resumed  | releasing restarting          |
//! | claiming   | broken   | held                          |
//! | switching  | switched | restarting                    |
//! | switching  | broken   | reverting                     |
//! | switching  | resumed  | releasing restarting          |
//! | switching  | hindered | releasing                     |
//! | restarting | hindered | restarting                    |
//! | restarting | claimed  | restarting                    |
//! | restarting | restarted | confirming                   |
//! | restarting | broken   | reverting                     |
//! | restarting | started  | restarting reverting          |
//! | restarting | resumed  | restarting reverting          |
//! | confirming | healthy  | releasing                     |
//! | confirming | unchecked | checking                     |
//! | confirming | broken   | reverting                     |
//! | confirming | started  | confirming reverting          |
//! | confirming | resumed  | confirming reverting          |
//! | reverting  | hindered | reverting                     |
//! | reverting  | claimed  | reverting                     |
//! | reverting  | restarted | reverting                    |
//! | reverting  | started  | held reverting                |
//! | reverting  | reverted | releasing                     |
//! | reverting  | broken   | held reverting                |
//! | reverting  | resumed  | reverting                     |
//! | releasing  | released | idle waiting                  |
//! | releasing  | hindered | releasing                     |
//! | releasing  | resumed  | releasing                     |
//! | checking   | checked  | releasing                     |
//! | checking   | unfit    | reverting                     |
//! | checking   | resumed  | checking                      |
//! | held       | resumed  | held reverting                |
//! | held       | recovered | releasing                    |

mod event;
#[cfg(test)]
mod lives;
mod state;
mod step;
#[cfg(test)]
mod tests;

pub use event::{Action, Event, Failure, MachineError, Nothing, Step, Told};
pub use state::{After, Attempt, Bundle, State, Subject, Trouble, Window};
pub use step::{step, too_late};
