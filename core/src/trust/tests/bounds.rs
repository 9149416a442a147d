//! Bounds at their very edge: what is allowed is allowed, and one more is not.

use serde_json::{Value, json};

use super::world::*;
use crate::trust::{Role, Status, Targets, TrustError, Verified};

/// Targets, written with white space behind them until they have that many bytes.
fn of_length(length: u64) -> Result<Verified<Targets>, TrustError> {
    let world = World::new();
    let mut bytes = world.files["1.targets.json"].clone();
    bytes.resize(length as usize, b' ');
    Verified::by(&world.verified_root(), &bytes)
}

#[test]
fn a_file_may_be_as_long_as_its_role_allows() {
    let limit = Role::Targets.max_bytes();
    assert!(of_length(limit).is_ok());
    refused!(of_length(limit + 1), TrustError::TooLong { role: Role::Targets, .. });
}

#[test]
fn a_file_bears_sixty_four_signatures_and_no_more() {
    let world = World::new();
    let with = |n: usize| {
        let bytes = tamper(&world.files["1.targets.json"], |file| {
            let all = file["signatures"].as_array_mut().unwrap();
            let more = |i: usize| -> Value { json!({ "keyid": format!("{i:064x}"), "sig": "" }) };
            all.extend((all.len()..n).map(more));
        });
        Verified::<Targets>::by(&world.verified_root(), &bytes)
    };
    assert!(with(64).is_ok());
    refused!(with(65), TrustError::Rule { role: Role::Targets, .. });
}

#[test]
fn a_status_reads_as_it_is_written() {
    for status in [Status::Current, Status::Superseded, Status::Withdrawn] {
        assert_eq!(json!(status), json!(status.as_str()));
    }
}
