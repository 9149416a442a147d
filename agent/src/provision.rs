//! The factory's first version into slot a, and a person's word that a held device is in order again.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use suture_core::chunk::{ChunkError, Entry, Index, cut};
use suture_core::digest::Digest;
use suture_core::id::PayloadName;
use suture_core::limits::MAX_MANIFEST_BYTES;
use suture_core::manifest::{Manifest, ManifestError, PayloadFormat};

use crate::config::Settings;
use crate::durable::{self, DurableError};
use crate::install::{InstallError, Installer, TreeError, Within, pack};
use crate::itself::Itself;

/// Why a device was not provisioned.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// A file.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The slots.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The manifest is not there.
    #[error("there is no manifest {}", .0.display())]
    NoManifest(PathBuf),
    /// The manifest.
    #[error("the manifest is refused")]
    Manifest(#[from] ManifestError),
    /// Another version is there.
    #[error("this device runs {0} already; it is changed by an approved update and by nothing else")]
    Provisioned(String),
    /// The manifest is for another device.
    #[error("the manifest is for {manifest}, this device is a {device}")]
    Other {
        /// What the manifest is for.
        manifest: String,
        /// What the configuration says.
        device: String,
    },
    /// The manifest is for another installer, or for larger slots.
    #[error("this device cannot have it: {0}")]
    Refused(String),
    /// A payload was not named.
    #[error("payload {0} is missing: name it with --payload {0}=PATH")]
    Unnamed(PayloadName),
    /// The bytes are others.
    #[error("payload {0} is not the one that the manifest names: its bytes have another digest")]
    WrongBytes(PayloadName),
    /// A payload could not be read.
    #[error("cannot read payload {name}")]
    Read {
        /// Which.
        name: PayloadName,
        /// Why.
        source: io::Error,
    },
    /// The agent's own program is not found.
    #[error("this program cannot be found to be put into its own slot")]
    Program(#[source] io::Error),
    /// A payload could not be cut.
    #[error("cannot index payload {name}")]
    Index {
        /// Which.
        name: PayloadName,
        /// Why.
        source: ChunkError,
    },
}

/// Puts the manifest's version into a slot and makes `current` name it. What it is made of must have the digests that the
/// manifest names. Done twice it is done once.
pub fn provision(
    settings: &Settings,
    manifest: &Path,
    payloads: &[(PayloadName, PathBuf)],
) -> Result<Manifest, ProvisionError> {
    let bytes = durable::read(manifest, MAX_MANIFEST_BYTES)?;
    let bytes = bytes.ok_or_else(|| ProvisionError::NoManifest(manifest.to_owned()))?;
    let parsed = Manifest::parse(&bytes)?;
    if parsed.product != settings.product || !parsed.hardware.contains(&settings.hardware) {
        let hardware: Vec<_> = parsed.hardware.iter().map(|h| h.as_str()).collect();
        return Err(ProvisionError::Other {
            manifest: format!("{} on {}", parsed.product, hardware.join(", ")),
            device: format!("{} on {}", settings.product, settings.hardware),
        });
    }
    durable::make_dirs(&settings.slots_dir, durable::OPEN_DIR)?;
    let installer = Installer::new(settings);
    if let Some(refusal) = installer.refusal(&parsed) {
        return Err(ProvisionError::Refused(refusal));
    }
    let within = Within::limit(installer.limits().prepare);
    if let Some(itself) = Itself::new(settings.itself.as_ref(), &settings.state_dir) {
        itself.provision(&parsed, &std::env::current_exe().map_err(ProvisionError::Program)?)?;
    }
    // Also where a power cut came after all but this.
    let work = settings.slots_dir.join("provision.tmp");
    durable::remove_tree(&work)?;
    match installer.contract().running(&within)? {
        Some(running) if running.digest == Digest::of(&bytes) => return Ok(parsed),
        Some(running) => return Err(ProvisionError::Provisioned(running.manifest.version.to_string())),
        None => {}
    }
    durable::make_dir(&work)?;
    let mut ready = Vec::new();
    for payload in &parsed.payloads {
        let name = &payload.name;
        let (_, path) =
            payloads.iter().find(|(n, _)| n == name).ok_or_else(|| ProvisionError::Unnamed(name.clone()))?;
        let file = match payload.format {
            PayloadFormat::Image => path.clone(),
            PayloadFormat::Tree => {
                let archive = work.join(name.as_str());
                let file = File::create_new(&archive).map_err(DurableError::io("make", &archive))?;
                let mut out = BufWriter::with_capacity(256 << 10, file);
                pack(path, &mut out)?;
                out.flush().map_err(DurableError::io("write", &archive))?;
                archive
            }
        };
        let index = index_of(name, &file)?.to_bytes();
        if Digest::of(&index) != payload.index_sha256 {
            return Err(ProvisionError::WrongBytes(name.clone()));
        }
        ready.push((payload.clone(), file, index));
    }
    installer.contract().provision(&bytes, &ready, &within)?;
    durable::remove_tree(&work)?;
    Ok(parsed)
}

pub(crate) fn index_of(name: &PayloadName, file: &Path) -> Result<Index, ProvisionError> {
    let read = |source| ProvisionError::Read { name: name.clone(), source };
    let source = BufReader::new(File::open(file).map_err(read)?);
    let mut entries = Vec::new();
    for chunk in cut(source) {
        let chunk = chunk.map_err(read)?;
        let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        entries.push(Entry { sha256: Digest::of(&chunk), length });
    }
    Index::new(entries).map_err(|source| ProvisionError::Index { name: name.clone(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::install::{Slots, bundle};

    fn settings(dir: &Path) -> Settings {
        let text = format!(
            "state_dir = {0:?}\nslots_dir = {1:?}\nproduct = \"pump\"\nhardware = \"rev-a\"\n\
             [restart]\ncommand = [\"true\"]\n[health]\ncommand = [\"true\"]\n",
            dir.join("state"),
            dir.join("slots")
        );
        Settings::validate(toml::from_str(&text).unwrap()).unwrap()
    }

    #[test]
    fn the_factorys_version_is_laid_down_once_and_only_with_the_right_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let (_, bytes, _) = bundle(dir.path(), 1, b"one");
        let (_, other, _) = bundle(dir.path(), 2, b"two");
        let manifest = dir.path().join("manifest.json");
        let name: PayloadName = "app".parse().unwrap();
        fs::write(&manifest, &bytes).unwrap();
        assert!(matches!(provision(&settings, &manifest, &[]), Err(ProvisionError::Unnamed(_))));
        let wrong = [(name.clone(), dir.path().join("tree-2"))];
        assert!(matches!(provision(&settings, &manifest, &wrong), Err(ProvisionError::WrongBytes(_))));
        assert!(Slots::new(&settings.slots_dir).running().unwrap().is_none());
        let right = [(name.clone(), dir.path().join("tree-1"))];
        for _ in 0..2 {
            provision(&settings, &manifest, &right).unwrap();
        }
        assert_eq!(Slots::new(&settings.slots_dir).running().unwrap().unwrap().digest, Digest::of(&bytes));
        fs::write(&manifest, &other).unwrap();
        let next = [(name, dir.path().join("tree-2"))];
        assert!(matches!(provision(&settings, &manifest, &next), Err(ProvisionError::Provisioned(_))));
    }
}
