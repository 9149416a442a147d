//! For whoever builds the device: an installer of your own, in an hour.
//!
//! The agent fetches, verifies, waits for its slot, claims the interlock, asks after health and reports. How bytes come onto
//! your device, and how it starts them, it leaves to an *installer*. Three are built in: `slots`, two directories and a link;
//! `image`, two partitions and a boot loader; [`rauc`](crate::install::Rauc), if your device has it. If none is yours, `command` calls a program of yours for each step:
//!
//! ```toml
//! [installer]
//! kind = "command"
//! command = ["/usr/lib/pump/installer"]
//! ```
//!
//! and a bundle says `install = { kind = "command", .. }`; a device refuses a bundle of another kind before it fetches it.
//!
//! # The steps
//!
//! The program is called with the step's name behind its own arguments. It reads nothing. These are the steps:
//!
//! | step | what it does |
//! |------|--------------|
//! | `state` | Prints what is true now, a line each: `running DIGEST`, `prepared DIGEST`, `switched DIGEST`. A digest is the `SUTURE_MANIFEST` that `prepare` was given. `prepared` is what lies whole beside the version that runs. `switched` is what starts next, or was to: it stays until `commit` of another or `revert`. A line that is not true is left out; a slot's name, `a` or `b`, may follow, for people. |
//! | `prepare` | Writes the version in `SUTURE_BUNDLE` beside the one that runs, and returns once it is on the disk. |
//! | `path NAME` | Prints where payload NAME of version `SUTURE_MANIFEST` lies: a directory for a `tree`, a file for an `image`. The agent hashes it there, after `prepare`, before the switch and on its schedule, and takes bytes from it for the next version. 10: see `verify`. |
//! | `verify` | Only where `path` says 10: hashes version `SUTURE_MANIFEST`. |
//! | `switch` | Makes version `SUTURE_MANIFEST` the one that starts next. |
//! | `restart` | Makes what was switched to, or back to, run, and returns once it does. A program that restarts the device waits to be ended; after that it is called once more, and has nothing left to do. With `SUTURE_ANEW` it restarts what runs in any case: the device's own data were copied, or put back, meanwhile. 10: `[restart]` of agent.toml is run. |
//! | `probe` | 0: version `SUTURE_MANIFEST` runs and is well: the new one, and after a way back the old one. 10: `[health]` of agent.toml is asked. |
//! | `commit` | The new version has proven its health: it starts from now on, always. |
//! | `revert` | Makes the version from before the one that starts next; `restart` follows. |
//! | `settle` | At the agent's start, and before the device goes back into service, with nothing under way: what runs is what starts again. |
//!
//! # What it is told
//!
//! The environment holds these and nothing else:
//!
//! | variable | in | |
//! |----------|----|-|
//! | `PATH` | all | The agent's own. |
//! | `SUTURE_STEP` | all | The step's name. |
//! | `SUTURE_DIR` | all | `slots_dir` of agent.toml: a place for its files. The agent's own there are `.suture`, `.suture-floor.json`, `bundle.tmp` and `restart.json`. |
//! | `SUTURE_TIMEOUT_SECS` | all | After that it is killed, with its process group. |
//! | `SUTURE_MANIFEST` | all but `state`, `restart`, `settle` | The SHA-256 of the version's manifest: which version is meant. |
//! | `SUTURE_VERSION`, `SUTURE_RELEASE` | the same | Its version and release, for people. |
//! | `SUTURE_ANEW` | `restart` | `1` where what runs is to be restarted although it is what should run; else it is not there. |
//! | `SUTURE_BUNDLE` | `prepare` | A directory with one entry for each payload, by its name: a directory for a `tree`, which may be moved away; for an `image` a link to a file, which is to be copied. All of it was verified. |
//!
//! # What it answers
//!
//! | exit code | |
//! |-----------|-|
//! | 0 | Done. Also where there was nothing to do. |
//! | 10 | Left to the agent; for `path`, `restart`, `probe` and `settle`. |
//! | 20 | The bytes are not those that were signed. From `verify`: they are fetched again. Of what runs, on the schedule: the hospital is told that the device was altered; by any other code it is told nothing, and soon it is looked again. From `prepare`, which was given what had been verified: your device does not keep what is written, the attempt has failed, and people are told to look at its medium. |
//! | 28 | There is no room: it is tried again later, and people are told. |
//! | any other | It failed. Before the switch it is tried again later; from then on the agent goes back to the old version. A `state` that is to say whether something was switched is asked again before that, for five minutes. |
//!
//! The last line of its standard error goes into the log, and into the report where it failed. Of its standard output 64 KiB
//! are read.
//!
//! # What must hold
//!
//! - Power may fail at every line. Every step is called again then, with the same arguments, and must come to the same end. So
//!   write beside, sync, and rename; write last what says that it is whole.
//! - An agent that is killed leaves its step at work, and the next one calls it again. So take a lock.
//! - Never write what runs, or what it needs to start.
//! - A payload's directories have the modes that were signed, 0555 too, and the shipped unit's root has no capability. So before
//!   a tree is removed, or written over, let its directories be written: `chmod -R u+rwX`.
//! - The program inherits the agent's umask, which in the shipped unit is 0077, and an image's own file is the agent's alone. So it sets
//!   a umask of its own, and the modes of what it copies: else what was installed is closed to a device software that is not root.
//! - From `switch` on your device starts the new version by itself, and should go back by itself if that does not come up.
//!   `state` then tells what is true: the old one runs, the new one is switched to. The agent sees that, calls `revert` and
//!   reports that the device fell back.
//! - Right after each step `state` tells of it.
//!
//! The agent tests each installer of its own by these rules (`install/suite.rs`), this one among them.
//!
//! # Bytes that the kernel refuses once they are altered
//!
//! The agent hashes what runs at its start and on a schedule ([`crate::integrity`]). Should altered bytes never run, not
//! even between two looks, have the kernel compare each page as it is read: an image with a dm-verity hash tree, whose
//! root's hash is in what your boot chain verifies, goes through `image`, `rauc` or a program of yours like any other. For
//! files, `prepare` may call `fsverity enable` on each before it says that the version is whole; write the file first and
//! close it, for a protected one cannot be written any more.
//!
//! # A whole one
//!
//! This is one for a device whose software is one payload or more under a directory; 80 lines, of which the tests run every
//! one. Take it, and change how bytes are written and what is started.
//!
//! ```sh
#![doc = include_str!("install/command/example.sh")]
//! ```
