//! What must hold of core's parsers whatever bytes they are given, beyond that they do not panic.
//!
//! Each module has one `hold`, which panics where something does not. The fuzz targets call it with what libFuzzer makes up,
//! `core/tests/fuzz_seeds.rs` with the committed seeds.

pub(crate) mod delta;
pub(crate) mod documents;
pub(crate) mod foreign;
pub(crate) mod json;
pub(crate) mod metadata;
pub(crate) mod payload;
pub(crate) mod ranges;
pub(crate) mod records;
pub(crate) mod refresh;
pub(crate) mod world;
