//! Objects: packs of chunks, chunk indexes and documents, too large for the database.

mod directory;
#[cfg(test)]
mod suite;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use directory::Directory;

/// Longest id in a name.
const MAX_NAME_ID_BYTES: usize = 128;
/// Shortest id in a name: its first two characters choose a folder.
const MIN_NAME_ID_BYTES: usize = 3;

/// A store of immutable objects by name. Cheap to clone; clones are the same store.
///
/// What every implementation keeps to, and `suite` tests:
///
/// - A name is `<kind>/<id>`: the kind 1 to 16 lower-case letters, the id 3 to 128 lower-case letters and digits. The
///   caller derives the id from the content, so that one name never stands for two contents.
/// - [`Blobs::put`] is atomic and durable: once it has returned, the object is there after a power cut; until then, and
///   after a failure, nobody sees any of it. Putting what is there changes nothing.
/// - [`Blobs::get_range`] yields exactly what was asked for, or fails: never less.
/// - [`Blobs::delete`] of what is not there succeeds.
/// - Calls may come at once, from many tasks and from many server processes.
/// - The store verifies nothing: who reads an object compares its digest.
#[derive(Debug, Clone)]
pub struct Blobs {
    directory: Arc<Directory>,
}

/// Why an object could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Not a name of an object.
    #[error("{0:?} is not the name of an object: kind/id in lower-case letters and digits")]
    Name(String),
    /// There is no such object.
    #[error("there is no object {0}")]
    NotFound(String),
    /// The object is shorter than what was asked for.
    #[error("object {name} has {length} bytes, {end} were asked for")]
    Range {
        /// Which object.
        name: String,
        /// Its length.
        length: u64,
        /// The end of the range that was asked for.
        end: u64,
    },
    /// No space is left; nothing was stored.
    #[error("the disk of the object store is full; {name} was not stored")]
    DiskFull {
        /// Which object.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store failed otherwise.
    #[error("cannot {doing} object {name}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which object.
        name: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl BlobError {
    /// Whether space must be made first.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}

impl Blobs {
    /// Opens the store in a directory, which is made where it is missing, and clears away what an interrupted put left an
    /// hour ago or earlier.
    pub async fn open(root: &Path, now: Timestamp) -> Result<Self, BlobError> {
        let root = root.to_owned();
        let directory = blocking("open", root.display().to_string(), move || Directory::open(root, now)).await?;
        Ok(Self { directory: Arc::new(directory) })
    }

    /// Stores an object.
    pub async fn put(&self, name: &str, content: Bytes) -> Result<(), BlobError> {
        let (directory, name) = (self.directory.clone(), Name::parse(name)?);
        blocking("put", name.to_string(), move || directory.put(&name, &content)).await
    }

    /// Reads `length` bytes from `offset`.
    pub async fn get_range(&self, name: &str, offset: u64, length: u64) -> Result<Bytes, BlobError> {
        let (directory, name) = (self.directory.clone(), Name::parse(name)?);
        blocking("read", name.to_string(), move || directory.get_range(&name, offset, length)).await
    }

    /// Reads up to `length` bytes from `offset`: fewer where the object ends before. Begins at once, whether or not anybody
    /// waits for it.
    pub fn get_up_to(
        &self,
        name: &str,
        offset: u64,
        length: usize,
    ) -> impl Future<Output = Result<Bytes, BlobError>> + Send + 'static + use<> {
        let (directory, name) = (self.directory.clone(), Name::parse(name));
        let begun =
            name.map(|name| blocking("read", name.to_string(), move || directory.get_up_to(&name, offset, length)));
        async move { begun?.await }
    }

    /// The length of an object, if it is there.
    pub async fn length(&self, name: &str) -> Result<Option<u64>, BlobError> {
        let (directory, name) = (self.directory.clone(), Name::parse(name)?);
        blocking("look for", name.to_string(), move || directory.length(&name)).await
    }

    /// Deletes an object.
    pub async fn delete(&self, name: &str) -> Result<(), BlobError> {
        let (directory, name) = (self.directory.clone(), Name::parse(name)?);
        blocking("delete", name.to_string(), move || directory.delete(&name)).await
    }

    /// At most `limit` names of a kind behind `after` (a whole name), in order.
    pub async fn list(&self, kind: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, BlobError> {
        let after = after.map(Name::parse).transpose()?;
        if !is_kind(kind) {
            return Err(BlobError::Name(kind.to_owned()));
        }
        let (directory, kind) = (self.directory.clone(), kind.to_owned());
        blocking("list", kind.clone(), move || directory.list(&kind, after.as_ref(), limit)).await
    }
}

/// Begins at once.
fn blocking<T: Send + 'static>(
    doing: &'static str,
    name: String,
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> impl Future<Output = Result<T, BlobError>> + Send + 'static {
    let begun = tokio::task::spawn_blocking(work);
    async move {
        match begun.await {
            Ok(done) => done,
            Err(stopped) => Err(BlobError::Io { doing, name, source: std::io::Error::other(stopped) }),
        }
    }
}

/// A name that was checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    kind: String,
    id: String,
}

fn is_kind(kind: &str) -> bool {
    (1..=16).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase())
}

impl Name {
    fn parse(name: &str) -> Result<Self, BlobError> {
        let bad = || BlobError::Name(name.chars().take(MAX_NAME_ID_BYTES).collect());
        let (kind, id) = name.split_once('/').ok_or_else(bad)?;
        let id_fits = (MIN_NAME_ID_BYTES..=MAX_NAME_ID_BYTES).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if is_kind(kind) && id_fits { Ok(Self { kind: kind.to_owned(), id: id.to_owned() }) } else { Err(bad()) }
    }

    /// The first two characters of the id, for a folder: a directory with a million files serves nobody well.
    fn fan(&self) -> &str {
        self.id.get(..2).unwrap_or_default()
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}
