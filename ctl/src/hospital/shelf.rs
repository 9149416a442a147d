//! The hospital's files as this home has read them, by digest, so that only what changed is fetched again.
//!
//! What is kept is verified each time it is read, as what is fetched: the home's disk is believed no more than the server.

use std::collections::BTreeSet;
use std::ffi::OsString;

use suture_core::approval::Pinned;
use suture_core::limits::MAX_REGISTER_BYTES;

use crate::client::Client;
use crate::failure::{Exit, Failure, Outcome};
use crate::files::{self, Access};
use crate::home::Home;
use crate::trust_store::Which;

const DIRECTORY: &str = "trust/approvals/documents";

/// A pinned file's bytes: from the home, or else from the server, if that is to be asked, and then kept.
pub(super) async fn fetch(home: &Home, client: Option<&mut Client>, pinned: &Pinned) -> Outcome<Vec<u8>> {
    if pinned.length > MAX_REGISTER_BYTES {
        let (path, length) = (&pinned.path, pinned.length);
        return Err(Failure::untrusted(format!("{path} has {length} bytes, more than any document may have")));
    }
    let name = format!("{DIRECTORY}/{}", pinned.sha256);
    let kept = files::read(&home.path(&name)?, pinned.length).ok().flatten();
    if let Some(bytes) = kept.filter(|bytes| pinned.verify(bytes).is_ok()) {
        return Ok(bytes);
    }
    let Some(client) = client else {
        return Err(Failure::new(format!("this home has not kept {}", pinned.path)));
    };
    let bytes = client.target(Which::Approvals, &pinned.file_name(), pinned.length).await?;
    pinned.verify(&bytes).map_err(|e| Failure::of(Exit::Untrusted, &e))?;
    home.write(&name, &bytes, Access::Public)?;
    Ok(bytes)
}

/// Removes what none of `pins` stands for.
pub(super) fn keep_only<'a>(home: &Home, pins: impl Iterator<Item = &'a Pinned>) -> Outcome {
    let wanted: BTreeSet<OsString> = pins.map(|p| p.sha256.to_string().into()).collect();
    let directory = home.directory().join(DIRECTORY);
    let Ok(entries) = std::fs::read_dir(&directory) else { return Ok(()) };
    for entry in entries.flatten().filter(|e| !wanted.contains(&e.file_name())) {
        files::remove(&entry.path())?;
    }
    Ok(())
}
