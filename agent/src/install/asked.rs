//! A restart of the whole device that is due, and whether it has come.
//!
//! Accident: `reboot` ends at once, and the device goes down minutes later. Where that is given up meanwhile, and the old version
//! counts as back because its slot still runs, the device is released and goes down with a patient. So it is written down before
//! the command runs by which start of the device it was asked for: as long as that one lasts, nothing has come back. The same
//! holds where the device's own data are taken from under what runs.
//!
//! `<slots_dir>/restart.json` holds the kernel's boot id of then. Where that cannot be read, as in a unit that hides it, it is known
//! to the process that has asked, and to no later one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{InstallError, Within};
use crate::config::Command;
use crate::durable;
use crate::process::Ending;

/// Where the kernel says by which start of the device it runs: random(4).
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// A UUID, in its longest form.
const MAX_BOOT_ID_BYTES: u64 = 64;
/// The restart command ended well, and nothing came of it in time.
pub(super) const LATE: &str = "the restart command ended well, and the device did not start again in time; it may go down yet, so it is kept \
                               out of use until it has, or is restarted by hand";

/// By which start of the device the kernel runs, where that file says it.
pub(crate) fn boot_id(file: &Path) -> Option<String> {
    let bytes = durable::read(file, MAX_BOOT_ID_BYTES).ok().flatten()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    path: PathBuf,
    boot_id: PathBuf,
    /// The last of this process: a disk that takes nothing must not keep the old version from coming back.
    here: Arc<Mutex<Option<Mark>>>,
}

/// By which start of the device; by none where nothing was asked for after all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    boot: Option<String>,
}

impl Asked {
    /// Below that directory; `boot_id` is [`BOOT_ID`] or what has its word.
    pub(super) fn new(slots_dir: &Path, boot_id: &Path) -> Self {
        Self { path: slots_dir.join("restart.json"), boot_id: boot_id.to_owned(), here: Arc::default() }
    }

    /// Whether the device may go down yet because it was asked to: nothing that runs is what came of it.
    pub(super) fn is_awaited(&self) -> bool {
        let now = self.boot();
        let here = self.here.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if here.is_some_and(|mark| mark.boot.is_none() || now.is_none() || mark.boot == now) {
            return true;
        }
        match durable::read_json::<Mark>(&self.path) {
            Ok(mark) => mark.is_some_and(|mark| mark.boot.is_some() && mark.boot == now),
            // Whoever cannot know it has it restarted once more, which writes it anew.
            Err(e) => {
                tracing::warn!(error = %crate::agent::chain(&e), "whether a restart was asked for cannot be read, and counts as asked for");
                true
            }
        }
    }

    /// Has the device restarted by that command, which may do no more than ask for it.
    pub(super) fn ask(&self, command: &Command, within: &Within) -> Result<(), InstallError> {
        let before = self.is_awaited();
        self.owe();
        let ending = within.run(command, &[]);
        if ending.is_success() {
            return Ok(());
        }
        // It says itself that nothing came of it. One that was killed may have asked before.
        if !before && matches!(ending, Ending::Exit(_) | Ending::NotStarted(_)) {
            self.note(None);
        }
        Err(InstallError::Restart(format!("the restart command {ending}")))
    }

    /// Whatever runs by now has to be restarted.
    pub(super) fn owe(&self) {
        self.note(Some(Mark { boot: self.boot() }));
    }

    /// It was restarted, without a start of the whole device.
    pub(super) fn over(&self) {
        if self.is_awaited() {
            self.note(None);
        }
    }

    /// What `doctor` says of it besides: nothing where all is well. It may see what the agent does not, which runs in a unit.
    pub(super) fn examined(&self) -> String {
        let why = match (self.boot_id == Path::new(BOOT_ID), self.boot()) {
            (true, _) => "the shipped unit hides",
            (false, None) => "nothing can be read in",
            (false, Some(_)) => return String::new(),
        };
        format!(
            "; {why} {}, without which a restart that was asked for and has not come is forgotten where the agent itself is started \
             again: set `boot_id` to a copy of {BOOT_ID}, as suture-agent.image.conf makes one",
            self.boot_id.display()
        )
    }

    fn note(&self, mark: Option<Mark>) {
        let written = durable::write_json(&self.path, mark.as_ref().unwrap_or(&Mark { boot: None }), durable::OPEN);
        if let Err(e) = written {
            tracing::warn!(error = %crate::agent::chain(&e), "whether a restart was asked for cannot be written down");
        }
        *self.here.lock().unwrap_or_else(PoisonError::into_inner) = mark;
    }

    fn boot(&self) -> Option<String> {
        boot_id(&self.boot_id)
    }
}
