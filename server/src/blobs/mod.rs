//! Objects: packs of chunks, chunk indexes and documents, too large for the database.

mod directory;
pub(crate) mod s3;
#[cfg(test)]
mod suite;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use suture_core::clock::Clock;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use directory::Directory;
use s3::S3;
pub use s3::{S3Error, S3Place, S3Way};

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
    store: Store,
}

/// Where the objects are.
#[derive(Debug, Clone)]
enum Store {
    Directory(Arc<Directory>),
    S3(Arc<S3>),
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
    #[error("the object store is full; {name} was not stored")]
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
    /// A bucket failed otherwise.
    #[error("cannot {doing} object {name} in {place}")]
    S3 {
        /// What was tried.
        doing: &'static str,
        /// With which object.
        name: String,
        /// Which bucket, at which endpoint.
        place: String,
        /// Why it failed.
        source: Box<S3Error>,
    },
}

impl BlobError {
    /// Whether the same call may succeed in a while, without anybody's doing: a bucket cannot be reached, or has too much to do.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::S3 { source, .. } if source.is_passing())
    }

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
        Ok(Self { store: Store::Directory(Arc::new(directory)) })
    }

    /// Opens the store in a bucket, and tries there what a server does: a key that may not, a bucket that is not there or a
    /// clock that is wrong is found now and not at the first publication.
    pub async fn open_s3(place: &S3Place, way: &S3Way, clock: Arc<dyn Clock>) -> Result<Self, BlobError> {
        let s3 = S3::open(place, way, clock).await?;
        s3.try_all().await?;
        Ok(Self { store: Store::S3(Arc::new(s3)) })
    }

    /// Stores an object.
    pub async fn put(&self, name: &str, content: Bytes) -> Result<(), BlobError> {
        let name = Name::parse(name)?;
        match self.store.clone() {
            Store::Directory(store) => blocking("put", name.to_string(), move || store.put(&name, &content)).await,
            Store::S3(store) => store.put(&name, content).await,
        }
    }

    /// Reads `length` bytes from `offset`.
    pub async fn get_range(&self, name: &str, offset: u64, length: u64) -> Result<Bytes, BlobError> {
        let name = Name::parse(name)?;
        match self.store.clone() {
            Store::Directory(store) => {
                blocking("read", name.to_string(), move || store.get_range(&name, offset, length)).await
            }
            Store::S3(store) => store.get_range(&name, offset, length).await,
        }
    }

    /// Reads up to `length` bytes from `offset`: fewer where the object ends before. Begins at once, whether or not anybody
    /// waits for it. Dropped, it does not begin, or ends as soon as it can; `held` is dropped once it has ended.
    pub fn get_up_to<H: Send + 'static>(
        &self,
        name: &str,
        offset: u64,
        length: usize,
        held: H,
    ) -> impl Future<Output = Result<Bytes, BlobError>> + Send + 'static + use<H> {
        let store = self.store.clone();
        let begun = Name::parse(name).map(|name| {
            let text = name.to_string();
            let begun = match store {
                Store::Directory(store) => tokio::task::spawn_blocking(move || {
                    let _held = held;
                    store.get_up_to(&name, offset, length)
                }),
                Store::S3(store) => tokio::spawn(async move {
                    let _held = held;
                    store.get_up_to(&name, offset, length).await
                }),
            };
            ended("read", text, AbortOnDropHandle::new(begun))
        });
        async move { begun?.await }
    }

    /// How many reads of [`Blobs::get_up_to`] a directory has begun.
    #[cfg(test)]
    pub(crate) fn reads(&self) -> usize {
        match &self.store {
            Store::Directory(store) => store.reads(),
            Store::S3(_) => 0,
        }
    }

    /// The length of an object, if it is there.
    pub async fn length(&self, name: &str) -> Result<Option<u64>, BlobError> {
        let name = Name::parse(name)?;
        match self.store.clone() {
            Store::Directory(store) => blocking("look for", name.to_string(), move || store.length(&name)).await,
            Store::S3(store) => store.length(&name).await,
        }
    }

    /// Deletes an object.
    pub async fn delete(&self, name: &str) -> Result<(), BlobError> {
        let name = Name::parse(name)?;
        match self.store.clone() {
            Store::Directory(store) => blocking("delete", name.to_string(), move || store.delete(&name)).await,
            Store::S3(store) => store.delete(&name).await,
        }
    }

    /// At most `limit` names of a kind behind `after` (a whole name), in order.
    pub async fn list(&self, kind: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, BlobError> {
        let after = after.map(Name::parse).transpose()?;
        if !is_kind(kind) {
            return Err(BlobError::Name(kind.to_owned()));
        }
        match self.store.clone() {
            Store::Directory(store) => {
                let kind = kind.to_owned();
                blocking("list", kind.clone(), move || store.list(&kind, after.as_ref(), limit)).await
            }
            Store::S3(store) => store.list(kind, after.as_ref(), limit).await,
        }
    }
}

/// Begins at once.
fn blocking<T: Send + 'static>(
    doing: &'static str,
    name: String,
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> impl Future<Output = Result<T, BlobError>> + Send + 'static {
    ended(doing, name, tokio::task::spawn_blocking(work))
}

/// What a task comes to.
async fn ended<T>(
    doing: &'static str,
    name: String,
    begun: impl Future<Output = Result<Result<T, BlobError>, JoinError>>,
) -> Result<T, BlobError> {
    match begun.await {
        Ok(done) => done,
        Err(stopped) => Err(BlobError::Io { doing, name, source: std::io::Error::other(stopped) }),
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
