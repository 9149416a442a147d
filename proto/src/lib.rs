//! The wire: `suture.v1`, generated from the `.proto` files, whose comments are the API reference, and the conversions
//! between its messages and `suture-core`'s types.

mod audit;
pub mod codec;
pub mod connect;
mod convert;
pub mod deferral;
mod lease;
mod limits;
mod refresh;
#[cfg(test)]
mod wire;

pub use audit::{hashes, head_seen};
pub use convert::{Invalid, Repository, parse, parse_digest, parse_phase, parse_reason, progress};
pub use lease::parse_stage;

/// The header of an answer to an operator in which the server counts the letters of the other side that nobody has opened.
pub const UNREAD: &str = "suture-unread";

/// The generated messages, clients and servers.
#[expect(missing_docs, reason = "generated; the .proto files carry the comments")]
#[expect(clippy::all, clippy::allow_attributes, unused_qualifications, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("suture.v1");
}

/// The serialised `FileDescriptorSet`, for reflection and for the test that every call has a row in the table of rights.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/suture.v1.bin"));
