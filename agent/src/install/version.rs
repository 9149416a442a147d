//! A version that lies on the device whole, as far as what lies beside it says.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use suture_core::chunk::Index;
use suture_core::digest::Digest;
use suture_core::id::PayloadName;
use suture_core::limits::MAX_INDEX_BYTES;
use suture_core::manifest::{Manifest, Payload, PayloadFormat};
use suture_core::plan::Installs;
use suture_core::report::Running;

use super::command::Program;
use super::error::io_error;
use super::sum::{Passed, Sum};
use super::view::View;
use super::{InstallError, Installer, Side, Within, regular, tree};
use crate::config::Settings;
use crate::durable;

/// Written to in pieces of that.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// A program that is asked where bytes lie answers by then.
const ASKED: Duration = Duration::from_secs(60);

/// A version that lies on the device.
#[derive(Debug, Clone)]
pub struct Version {
    /// Where, as people are told it.
    pub side: Side,
    /// What it is.
    pub manifest: Manifest,
    /// The digest of its manifest's bytes.
    pub digest: Digest,
    /// Where its payloads' chunk indexes are.
    pub(super) indexes: PathBuf,
    /// Where its payloads' bytes are.
    pub(super) bytes: Bytes,
}

/// Where the bytes of a version can be read again.
#[derive(Debug, Clone)]
pub(super) enum Bytes {
    /// Each payload by its name in this directory.
    Directory(PathBuf),
    /// Each, which is an image, at the beginning of a file or block device of its own.
    Media(Vec<(PayloadName, PathBuf)>),
    /// Where the installer's program says.
    Asked(Program),
}

impl Version {
    /// What a report says of it.
    pub fn running(&self) -> Running {
        Running { version: self.manifest.version.clone(), release: self.manifest.release, manifest: self.digest }
    }

    /// What a check-in says of what installs here, while this version runs.
    pub fn installs(&self, settings: &Settings, installer: &Installer) -> Installs {
        let data = self.manifest.install.data.as_ref().map_or(0, |data| data.format);
        Installs { by: installer.contract().kind(), data, keeps: settings.data.is_some() }
    }

    /// The chunk index that is kept of one of its payloads; none where it is not there or not readable.
    pub fn index(&self, payload: &Payload) -> Option<Index> {
        let path = self.indexes.join(format!("{}.index", payload.name));
        let bytes = durable::read(&path, MAX_INDEX_BYTES).ok()??;
        (Digest::of(&bytes) == payload.index_sha256).then(|| Index::parse(&bytes).ok())?
    }

    /// A payload's bytes, to be read from anywhere.
    pub fn view(&self, payload: &Payload) -> Result<View, InstallError> {
        let path = self.place(payload)?;
        Ok(match &self.bytes {
            Bytes::Media(_) => View::of_medium(&path, payload.length)?,
            Bytes::Directory(_) | Bytes::Asked(_) => View::open(payload.format, &path)?,
        })
    }

    /// Streams a payload's bytes: the file, or the tree packed again, or what lies on the medium.
    pub fn read<W: Write>(&self, payload: &Payload, out: W) -> Result<(), InstallError> {
        self.read_at(payload, &self.place(payload)?, out)
    }

    /// Hashes all of it again and compares it with its manifest. Before each piece is hashed its length is shown to `pass`,
    /// which may take its time, or end it.
    pub fn verify(&self, pass: &mut dyn FnMut(u64) -> io::Result<()>) -> Result<(), InstallError> {
        self.manifest.payloads.iter().try_for_each(|payload| self.verify_at(payload, &self.place(payload)?, pass))
    }

    /// The same of one payload, which lies there.
    pub(super) fn verify_at(
        &self,
        payload: &Payload,
        path: &Path,
        pass: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<(), InstallError> {
        let mut passed = Passed { sum: Sum::default(), pass };
        self.read_at(payload, path, &mut passed)?;
        passed.sum.check(payload)
    }

    fn read_at<W: Write>(&self, payload: &Payload, path: &Path, out: W) -> Result<(), InstallError> {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        match (&self.bytes, payload.format) {
            (Bytes::Media(_), _) => super::image::read_medium(path, payload.length, &mut out)?,
            (_, PayloadFormat::Tree) => {
                tree::pack(path, &mut out)?;
            }
            (_, PayloadFormat::Image) => {
                let mut file = regular::open(path).map_err(io_error("open", path))?;
                io::copy(&mut file, &mut out).map_err(io_error("read", path))?;
            }
        }
        out.flush().map_err(io_error("read", path))
    }

    fn place(&self, payload: &Payload) -> Result<PathBuf, InstallError> {
        let place = match &self.bytes {
            Bytes::Directory(directory) => Some(directory.join(payload.name.as_str())),
            Bytes::Media(places) => places.iter().find(|(name, _)| *name == payload.name).map(|(_, path)| path.clone()),
            Bytes::Asked(program) => program.place(&self.digest, payload, &Within::limit(ASKED))?,
        };
        place.ok_or_else(|| InstallError::Hidden { payload: payload.name.to_string() })
    }
}
