//! A version that lies on the device whole, as far as what lies beside it says.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use suture_core::chunk::Index;
use suture_core::digest::Digest;
use suture_core::limits::MAX_INDEX_BYTES;
use suture_core::manifest::{Manifest, Payload, PayloadFormat};
use suture_core::report::Running;

use super::error::io_error;
use super::sum::{Passed, Sum};
use super::view::View;
use super::{InstallError, Side, regular, tree};
use crate::durable;

/// Written to in pieces of that.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

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
}

impl Version {
    /// What a report says of it.
    pub fn running(&self) -> Running {
        Running { version: self.manifest.version.clone(), release: self.manifest.release, manifest: self.digest }
    }

    /// The chunk index that is kept of one of its payloads; none where it is not there or not readable.
    pub fn index(&self, payload: &Payload) -> Option<Index> {
        let path = self.indexes.join(format!("{}.index", payload.name));
        let bytes = durable::read(&path, MAX_INDEX_BYTES).ok()??;
        (Digest::of(&bytes) == payload.index_sha256).then(|| Index::parse(&bytes).ok())?
    }

    /// A payload's bytes, to be read from anywhere.
    pub fn view(&self, payload: &Payload) -> Result<View, InstallError> {
        Ok(View::open(payload.format, &self.place(payload)?)?)
    }

    /// Streams a payload's bytes: the file, or the tree packed again.
    pub fn read<W: Write>(&self, payload: &Payload, out: W) -> Result<(), InstallError> {
        let path = self.place(payload)?;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        match payload.format {
            PayloadFormat::Tree => {
                tree::pack(&path, &mut out)?;
            }
            PayloadFormat::Image => {
                let mut file = regular::open(&path).map_err(io_error("open", &path))?;
                io::copy(&mut file, &mut out).map_err(io_error("read", &path))?;
            }
        }
        out.flush().map_err(io_error("read", &path))
    }

    /// Hashes all of it again and compares it with its manifest. Before each piece is hashed its length is shown to `pass`,
    /// which may take its time, or end it.
    pub fn verify(&self, pass: &mut dyn FnMut(u64) -> io::Result<()>) -> Result<(), InstallError> {
        for payload in &self.manifest.payloads {
            let mut passed = Passed { sum: Sum::default(), pass: &mut *pass };
            self.read(payload, &mut passed)?;
            passed.sum.check(payload)?;
        }
        Ok(())
    }

    fn place(&self, payload: &Payload) -> Result<PathBuf, InstallError> {
        match &self.bytes {
            Bytes::Directory(directory) => Ok(directory.join(payload.name.as_str())),
        }
    }
}
