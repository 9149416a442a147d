//! What leaves the server for others' monitoring: lines to a syslog receiver over TLS, and to a file.

pub mod file;
pub mod syslog;
