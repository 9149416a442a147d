//! The local face: what people at the device, and the device's own software, ask of the agent and say to it.
//!
//! A Unix socket, by default `/run/suture-agent/agent.sock`. A line of JSON is asked, a line of JSON is answered, as often as
//! wanted over one connection. `suture-agent status|why|log|hold|release|confirm|recover|stop|import` speak it, and a screen of
//! the device's maker may: show the `text` of `why`, and ask for `confirm` when its `data` has a `question`.
//!
//! ```text
//! asked                                                                                          by whom
//! {"v":1,"ask":"status"}           everything: what runs, what the agent does, what it waits for  who may read
//! {"v":1,"ask":"why"}              what it waits for, what happens by itself, what a person can do
//! {"v":1,"ask":"log"}              the last transitions and what people have said, oldest first
//! {"v":1,"ask":{"hold":{"reason":"the ward is full"}}}          nothing is begun until `release`  who may change
//! {"v":1,"ask":{"release":{"reason":"the ward is free"}}}       ends the hold
//! {"v":1,"ask":{"release":{"reason":"test 4 passed","checked":true}}}  it is clinically checked: back to service
//! {"v":1,"ask":{"unfit":{"reason":"test 4 failed"}}}            it is checked and unfit: the old version comes back
//! {"v":1,"ask":"confirm"}          the device may be updated in this slot: the answer to `question`
//! {"v":1,"ask":{"recover":{"reason":"put in order by hand"}}}   a held device is in order again
//! {"v":1,"ask":{"stop":{"order":"{..}"}}}                       a signed stop order or lift, as its file holds it
//! {"v":1,"ask":{"import":{"place":"/media/stick"}}}             beside it the directory's descriptor (SCM_RIGHTS)
//!
//! answered
//! {"v":1,"done":{"text":"for people, with line ends","data":..}}
//! {"v":1,"refused":{"code":"not-allowed","text":"what is wrong, and what to do"}}
//! ```
//!
//! Two more fields may be asked with: `by`, the name of the person who says it, where many use one account; it is recorded
//! beside the account that the kernel names, and is believed no further than that account is. And `state_dir`, the directory
//! of the agent that is meant: another one refuses. A field or a version that the agent does not know is refused too
//! (`not-understood`), so nothing is done by half. New questions may be added to version 1; what is there keeps its meaning.
//!
//! Who asks is what the kernel says of the other end (`SO_PEERCRED`), never what is sent. Who may read is everybody on the
//! device, unless `face.read_group` names a group; who may change is root, and `face.control_group` where it is named. A group
//! is looked up in `/etc/group` by the account's name, or is the account's own. Where the maker has named a presence
//! program, it must say besides that somebody stands at the device before `confirm`, `recover` or a check is taken from anyone.
//! None of it is authority over what may be
//! installed: whatever is said here only keeps the agent from something, answers what it asks of a person on the spot, or
//! hands over what others have signed.
//!
//! Attacks stopped here: a local user who keeps every connection (half of them are for those who may change), sends lines
//! without end or reads no answer (a line and an answer have a bound, and a minute each), or has the agent read for him what he
//! may not (a stick comes as an open directory, never as a path).

mod client;
mod errand;
mod peer;
mod said;
mod server;
mod wire;

pub use self::client::{Asked, ask, ask_or_do};
pub use self::errand::{Errand, Errands, Reply};
pub use self::peer::Who;
pub use self::said::{Hands, event, said};
pub use self::server::{FaceError, Listening, listen, serve};
pub use self::wire::{Answer, Ask, Done, Refused, RefusedCode, Request, VERSION};

#[cfg(test)]
mod tests;
