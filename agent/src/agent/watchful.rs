//! What the agent sees that is a matter of security, for its hospital's monitoring.

use suture_core::digest::Digest;
use suture_core::event::{Kind, Run, begun};

use super::look::Look;
use super::{Agent, chain};
use crate::durable::{self, DurableError};

/// What the agent leaves behind of its run.
const RUN: &str = "run.json";

impl Agent {
    /// Tells of what hinders the device, where that is an attack's mark; of the same once an hour, with a count.
    pub(super) fn watch_for_attacks(&mut self, look: &Look) {
        let Look::Hindered(trouble) = look else { return };
        if let Some(kind) = Kind::of_code(trouble.reason.code) {
            let now = self.now();
            // A wrong clock's sentence names the time, so that no two were equal.
            let why = match kind {
                Kind::ClockWrong => trouble.reason.code.to_string(),
                _ => trouble.reason.to_string(),
            };
            self.sightings.tell(kind, &self.identity, &why, now);
        }
    }

    /// Tells how the last run ended, and whether the configuration is another; for a program that begins to run.
    pub fn has_begun(&mut self) {
        let (path, settings, now) = (self.settings.state_dir.join(RUN), self.settings_sha256(), self.now());
        let last = match durable::read_json::<Run>(&path) {
            // After a power cut the file may be the old one or none: neither says that the run ended as asked.
            Err(e) => {
                tracing::warn!(error = %chain(&e), "how the last run ended is not known");
                None
            }
            Ok(last) => last,
        };
        for kind in begun(last, &settings) {
            let detail = match kind {
                Kind::ConfigurationChanged => "agent.toml says otherwise than at the last start",
                _ => "suture-agent",
            };
            self.sightings.tell(kind, &self.identity, detail, now);
        }
        note(durable::write_json(&path, &Run { settings, ended: false }, durable::SECRET));
    }

    /// Writes down that the run has ended as asked.
    pub fn has_ended(&self) {
        let path = self.settings.state_dir.join(RUN);
        // Where the device has left its hospital nothing is to remain.
        if path.exists() {
            note(durable::write_json(&path, &Run { settings: self.settings_sha256(), ended: true }, durable::SECRET));
        }
    }

    /// Of the configuration as it was understood. Nothing of a secret is in it.
    fn settings_sha256(&self) -> Digest {
        Digest::of(format!("{:?}", self.settings).as_bytes())
    }
}

fn note(written: Result<(), DurableError>) {
    if let Err(e) = written {
        tracing::warn!(error = %chain(&e), "the next start cannot tell how this run ended");
    }
}
