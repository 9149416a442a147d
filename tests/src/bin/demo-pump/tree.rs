//! The tree that the program was installed with.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Where the program's own files are, and the version that they had when it started.
pub(crate) struct Tree {
    root: PathBuf,
    version: String,
}

impl Tree {
    /// The tree around this executable: the directory above its `bin`. Links are resolved, so that it stays the slot that
    /// was started, whatever `current` is made to name later.
    pub(crate) fn of_this_program() -> anyhow::Result<Self> {
        let exe = std::env::current_exe().context("finding this program's own path")?;
        let root = exe.parent().and_then(Path::parent);
        Self::open(root.with_context(|| format!("{} is in no tree", exe.display()))?)
    }

    /// The tree at `root`.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        let file = root.join("VERSION");
        let version = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        Ok(Self { root: root.to_owned(), version: version.trim().to_owned() })
    }

    /// The version at start.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// What a pump does before it is let near a patient, for as much of a pump as this is. The error is what it found.
    pub(crate) fn self_test(&self) -> Result<(), String> {
        if self.version.is_empty() || self.version == "broken" {
            return Err(format!("the version reads {:?}", self.version));
        }
        match fs::read_to_string(self.root.join("FAULT")) {
            Ok(fault) => Err(format!("self-test: {}", fault.trim())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(format!("self-test: {error}")),
        }
    }
}
