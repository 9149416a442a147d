//! Attacks by metadata, each played twice: the device asks for file after file, and it is sent everything with the answer to
//! its check-in.

mod bytes;
mod signatures;
mod versions;

pub(super) use bytes::ENDLESS;
pub(super) use signatures::{KEYS_AND_ROOTS, take_over};
pub(super) use versions::MIX_AND_MATCH;

use super::stage::{Row, Stage};
use suture_tests::hostile::Sends;

pub(super) const BAD_SIGNATURE: &str = "idle(bad-signature)";
pub(super) const BAD_METADATA: &str = "idle(bad-metadata)";
pub(super) const ENDLESS_DATA: &str = "idle(endless-data)";
/// It goes by what it has, in which nothing is approved.
pub(super) const UNMOVED: &str = "idle(nothing-approved)";

/// Plays tables both ways.
async fn both_ways(tables: &[(&str, &[Row])]) {
    let mut stage = Stage::open().await;
    for (sends, how) in [(Sends::Singly, "file by file"), (Sends::WithCheckIn, "in one answer")] {
        stage.sends = sends;
        for (table, rows) in tables {
            stage.play(&format!("{table}, {how}"), rows).await;
        }
    }
}
