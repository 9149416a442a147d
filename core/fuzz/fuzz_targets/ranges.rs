#![no_main]

#[expect(dead_code, reason = "each target uses one of the properties")]
#[path = "../properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::ranges::hold(bytes));
