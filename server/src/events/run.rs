//! Whether the server's last run ended as asked, and by which settings it ran: a file in its data directory.
//!
//! Of several servers with one database each has a directory of its own, and tells of itself.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::event::{Kind, Run, begun};
use suture_core::json;

use super::Events;
use crate::config::Settings;

const FILE: &str = "run.json";

/// SHA-256 of the settings as they were understood, to be compared with the next start's.
fn digest(settings: &Settings) -> Digest {
    Digest::of(format!("{settings:?}").as_bytes())
}

/// Tells what the last run left, and writes down that this one has begun.
pub(crate) fn begin(events: &Events, settings: &Settings, now: Timestamp) {
    let path = settings.data_dir.join(FILE);
    let last = match fs::read(&path) {
        Ok(bytes) => json::from_slice::<Run>(&bytes).ok(),
        Err(_) => None,
    };
    let digest = digest(settings);
    for kind in begun(last, &digest) {
        let detail = match kind {
            Kind::ConfigurationChanged => {
                "server.toml, its environment or its flags say otherwise than at the last start"
            }
            _ => "suture-server",
        };
        events.tell(kind, None, &format!("server {}", settings.address.host), detail, now);
    }
    write(&path, Run { settings: digest, ended: false });
}

/// Writes down that the run has ended as asked.
pub(crate) fn end(settings: &Settings) {
    write(&settings.data_dir.join(FILE), Run { settings: digest(settings), ended: true });
}

fn write(path: &Path, run: Run) {
    let done = json::to_canonical(&run).map_err(io::Error::other).and_then(|bytes| {
        let new = path.with_extension("new");
        fs::write(&new, bytes)?;
        fs::File::open(&new)?.sync_all()?;
        fs::rename(&new, path)
    });
    if let Err(error) = done {
        tracing::warn!(path = %path.display(), %error, "the next start cannot tell how this run ended");
    }
}
