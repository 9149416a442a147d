//! A server in the attacker's hands: whoever holds its database, its storage, its online keys and its certificate authority.
//!
//! A [`Loot`] is all that there is to take from a server that ran. A [`Hostile`] server answers devices with it at the same
//! address, under a certificate of the captured authority, as an [`Act`] tells it to. What it cannot do is what the project
//! is about: sign for an offline key.

mod act;
mod forge;
mod loot;
mod more;
mod server;

pub use act::{Act, Answers, Bend, Certify, Chunks, File, Metadata, Said, Sends};
pub use forge::{pin, sign};
pub use loot::{Loot, Repo};
pub use more::MORE;
pub use server::Hostile;
