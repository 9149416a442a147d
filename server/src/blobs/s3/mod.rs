//! Objects in a bucket of an S3 service: `<prefix><kind>/<first two characters>/<id>`, as a directory has them, so that one is
//! copied into the other by any tool.
//!
//! Attack: whoever holds the bucket, or the line to it, gives other bytes, or keeps them back. Bytes are verified by whoever reads
//! them, by digests that are signed: nothing is gained by it but that nobody is served.

mod call;
mod error;
mod line;
pub(crate) mod place;
#[cfg(test)]
pub(super) mod service;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{StatusCode, header};
use rusty_s3::actions::ListObjectsV2;
use suture_core::clock::Clock;
use suture_core::digest::Digest;
use suture_core::limits::MAX_AUTHORITIES_BYTES;

pub use error::S3Error;
pub use place::{S3Place, S3Way};

use self::call::{Answer, Calls};
use self::line::Line;
use super::{BlobError, Name};
use crate::tls;

/// The largest offset that is asked for: more than S3 lets an object have, less than what services read as a number.
const FURTHEST: u64 = 1 << 50;
/// Names in one page of a list, by S3's own bound.
const PAGE: usize = 1_000;
/// What a page may have in bytes: 4 MiB, which is 4 KiB a name.
const MAX_PAGE_BYTES: usize = 4 << 20;
/// Pages that a list may pass: others' objects may lie there, though not without end.
const MAX_PAGES: usize = 1_000;
/// How often a read that breaks off goes on. Each time some of it has come.
const MAX_RESUMED: u32 = 8;
/// Objects of this kind are put at a start, and deleted again.
const CHECK_KIND: &str = "checks";
/// What memory is asked for before bytes come: a store may say that it has more than there is. 64 MiB, a pack.
const MOST_AT_ONCE: usize = 64 << 20;
/// S3's header for the digest of what is put.
const CHECKSUM: &str = "x-amz-checksum-sha256";

/// A store in a bucket.
pub(super) struct S3 {
    calls: Calls,
    place: S3Place,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.place.fmt(f)
    }
}

/// How far a try came.
enum Took {
    All,
    /// Some bytes, and then this.
    Some(S3Error),
}

/// A part of an object.
struct Part {
    bytes: Vec<u8>,
    /// The object's length, once the store has said it.
    total: Option<u64>,
}

impl S3 {
    /// Opens it and calls nobody.
    pub(super) async fn open(place: &S3Place, way: &S3Way, clock: Arc<dyn Clock>) -> Result<Self, BlobError> {
        let failed = |source| fail(place, "open the store of", "keys and certificates", source);
        let (to_read, authorities) = (place.clone(), way.authorities.clone());
        let (is_secure, to) = place.authority().map_err(failed)?;
        let read = move || {
            let pem = if is_secure { Some(read_authorities(authorities)?) } else { None };
            Ok::<_, S3Error>((to_read.credentials()?, pem))
        };
        let stopped = |e: tokio::task::JoinError| S3Error::Broken(e.into());
        let read = tokio::task::spawn_blocking(read).await.map_err(stopped).and_then(|read| read);
        let (credentials, pem) = read.map_err(failed)?;
        let tls = match pem {
            Some(pem) => {
                let connector = tls::client::connector(&pem, Some(b"http/1.1"), clock.clone());
                Some(connector.map_err(S3Error::Tls).map_err(failed)?)
            }
            None => None,
        };
        let line = Line { to, proxy: way.proxy.clone(), tls };
        Ok(Self { calls: Calls::new(line, place.bucket().clone(), credentials, clock), place: place.clone() })
    }

    /// Does once what a server needs: looks, puts, reads, lists and deletes a small object.
    pub(super) async fn try_all(&self) -> Result<(), BlobError> {
        let mut random = [0; 16];
        let name = |id: &str| Name { kind: CHECK_KIND.to_owned(), id: id.to_owned() };
        getrandom::fill(&mut random).map_err(|e| self.failed("put", &name("random"))(e.into()))?;
        let name = name(&hex::encode(random));
        self.length(&name).await?;
        self.put(&name, Bytes::copy_from_slice(&random)).await?;
        let read = self.get_range(&name, 0, random.len() as u64).await?;
        let listed = self.list(CHECK_KIND, None, 1).await?;
        self.delete(&name).await?;
        if read[..] != random || listed.is_empty() || self.length(&name).await?.is_some() {
            return Err(self.failed("try", &name)(S3Error::Altered));
        }
        Ok(())
    }

    fn key(&self, name: &Name) -> String {
        format!("{}{}/{}/{}", self.place.prefix(), name.kind, name.fan(), name.id)
    }

    fn failed(&self, doing: &'static str, name: &Name) -> impl Fn(S3Error) -> BlobError {
        move |error| fail(&self.place, doing, &name.to_string(), error)
    }

    pub(super) async fn put(&self, name: &Name, content: Bytes) -> Result<(), BlobError> {
        let length = content.len() as u64;
        if self.length(name).await? == Some(length) {
            return Ok(());
        }
        let failed = self.failed("put", name);
        let hashed = content.clone();
        let sha256 = tokio::task::spawn_blocking(move || BASE64.encode(Digest::of(&hashed).as_bytes())).await;
        let sha256 = sha256.map_err(|e| failed(S3Error::Broken(e.into())))?;
        let key = self.key(name);
        // S3 shows an object only once it is whole and durable; by the digest it refuses one that is not what was sent.
        let mut tries = self.calls.tries(length);
        let confirmed = loop {
            if let Some(done) = tries.spend(self.put_once(&key, &sha256, content.clone())).await {
                break done.map_err(&failed)?;
            }
        };
        // A service that knows no digests must at least know how long the object has become.
        if confirmed || self.length(name).await? == Some(length) {
            return Ok(());
        }
        Err(failed(S3Error::Altered))
    }

    /// Whether the store has said that it has what was sent.
    async fn put_once(&self, key: &str, sha256: &str, content: Bytes) -> Result<bool, S3Error> {
        let action = self.calls.bucket.put_object(Some(&self.calls.credentials), key);
        let signed = self.calls.sign(action, vec![(CHECKSUM, sha256.to_owned())])?;
        match self.calls.once(signed, content).await?.header(CHECKSUM) {
            Some(stored) if stored == sha256 => Ok(true),
            Some(_) => Err(S3Error::Altered),
            None => Ok(false),
        }
    }

    pub(super) async fn get_range(&self, name: &Name, offset: u64, length: u64) -> Result<Bytes, BlobError> {
        let end = offset.saturating_add(length);
        let range = |length| BlobError::Range { name: name.to_string(), length, end };
        let (total, bytes) = match usize::try_from(length) {
            Ok(wanted) if length > 0 && offset <= FURTHEST => {
                let part = self.part(name, offset, wanted).await?;
                (part.total, part.bytes)
            }
            _ => (None, Vec::new()),
        };
        if bytes.len() as u64 == length && length > 0 {
            return Ok(bytes.into());
        }
        let total = match total {
            Some(total) => total,
            None => self.length(name).await?.ok_or_else(|| BlobError::NotFound(name.to_string()))?,
        };
        if end <= total && length == 0 { Ok(Bytes::new()) } else { Err(range(total)) }
    }

    pub(super) async fn get_up_to(&self, name: &Name, offset: u64, length: usize) -> Result<Bytes, BlobError> {
        if length == 0 || offset > FURTHEST {
            let there = self.length(name).await?.ok_or_else(|| BlobError::NotFound(name.to_string()));
            return there.map(|_| Bytes::new());
        }
        Ok(self.part(name, offset, length).await?.bytes.into())
    }

    /// Up to `wanted` bytes, at least one, from `offset`: as many as there are. Where a try broke off, the next goes on.
    async fn part(&self, name: &Name, offset: u64, wanted: usize) -> Result<Part, BlobError> {
        let key = self.key(name);
        let mut part = Part { bytes: Vec::new(), total: None };
        let mut resumed = 0;
        loop {
            let kept = part.bytes.len();
            let mut tries = self.calls.tries(wanted as u64);
            let got = loop {
                // What a try that was given up has left.
                part.bytes.truncate(kept);
                if let Some(got) = tries.spend(self.part_once(&key, &mut part, offset, wanted)).await {
                    break got;
                }
            };
            match got {
                Ok(Took::All) => return Ok(part),
                // What came is kept, and the rest is another call.
                Ok(Took::Some(_)) if resumed < MAX_RESUMED => resumed += 1,
                Ok(Took::Some(error)) => return Err(self.failed("read", name)(error)),
                Err(error) if error.is_not_found() => return Err(BlobError::NotFound(name.to_string())),
                Err(error) => return Err(self.failed("read", name)(error)),
            }
        }
    }

    async fn part_once(&self, key: &str, part: &mut Part, offset: u64, wanted: usize) -> Result<Took, S3Error> {
        let first = offset.saturating_add(part.bytes.len() as u64);
        let last = offset.saturating_add(wanted as u64).saturating_sub(1).min(FURTHEST << 1);
        let action = self.calls.bucket.get_object(Some(&self.calls.credentials), key);
        let signed = self.calls.sign(action, vec![("range", format!("bytes={first}-{last}"))])?;
        let answer = self.calls.once(signed, Bytes::new()).await?;
        part.take(answer, first, last).await
    }

    pub(super) async fn length(&self, name: &Name) -> Result<Option<u64>, BlobError> {
        let key = self.key(name);
        let mut tries = self.calls.tries(0);
        loop {
            match tries.spend(self.length_once(&key)).await {
                None => {}
                Some(Ok(length)) => return Ok(Some(length)),
                Some(Err(error)) if error.is_not_found() => return Ok(None),
                Some(Err(error)) => return Err(self.failed("look for", name)(error)),
            }
        }
    }

    async fn length_once(&self, key: &str) -> Result<u64, S3Error> {
        let action = self.calls.bucket.head_object(Some(&self.calls.credentials), key);
        let answer = self.calls.once(self.calls.sign(action, Vec::new())?, Bytes::new()).await?;
        let length = answer.header(header::CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        length.ok_or_else(|| S3Error::Odd("an object without a length".to_owned()))
    }

    pub(super) async fn delete(&self, name: &Name) -> Result<(), BlobError> {
        let key = self.key(name);
        let mut tries = self.calls.tries(0);
        loop {
            match tries.spend(self.delete_once(&key)).await {
                None => {}
                Some(Err(error)) if !error.is_not_found() => return Err(self.failed("delete", name)(error)),
                Some(_) => return Ok(()),
            }
        }
    }

    async fn delete_once(&self, key: &str) -> Result<(), S3Error> {
        let action = self.calls.bucket.delete_object(Some(&self.calls.credentials), key);
        self.calls.once(self.calls.sign(action, Vec::new())?, Bytes::new()).await.map(drop)
    }

    pub(super) async fn list(&self, kind: &str, after: Option<&Name>, limit: usize) -> Result<Vec<String>, BlobError> {
        let failed = |error| fail(&self.place, "list the objects of", kind, error);
        let folder = format!("{}{kind}/", self.place.prefix());
        let mut last = after.map(|after| self.key(after));
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            if found.len() >= limit {
                break;
            }
            let page = self.page(&folder, last.as_deref(), limit.min(PAGE)).await.map_err(failed)?;
            for key in &page {
                if last.as_ref().is_some_and(|last| key <= last) {
                    return Err(failed(S3Error::Odd("names are not in order".to_owned())));
                }
                // What is no name of an object was put here by hand, and is none of ours.
                let name = key.rsplit('/').next().and_then(|id| Name::parse(&format!("{kind}/{id}")).ok());
                found.extend(name.filter(|name| self.key(name) == *key).map(|name| name.to_string()));
                last = Some(key.clone());
            }
            if page.is_empty() {
                found.truncate(limit);
                return Ok(found);
            }
        }
        if found.len() < limit {
            return Err(failed(S3Error::Odd(format!("in {MAX_PAGES} pages there are others' objects alone"))));
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Keys below a folder behind one of them; none at the end.
    async fn page(&self, folder: &str, after: Option<&str>, most: usize) -> Result<Vec<String>, S3Error> {
        let mut tries = self.calls.tries(MAX_PAGE_BYTES as u64);
        loop {
            if let Some(page) = tries.spend(self.page_once(folder, after, most)).await {
                return page;
            }
        }
    }

    async fn page_once(&self, folder: &str, after: Option<&str>, most: usize) -> Result<Vec<String>, S3Error> {
        let mut list = self.calls.bucket.list_objects_v2(Some(&self.calls.credentials));
        list.with_prefix(folder.to_owned());
        list.with_max_keys(most);
        if let Some(after) = after {
            list.with_start_after(after.to_owned());
        }
        let mut answer = self.calls.once(self.calls.sign(list, Vec::new())?, Bytes::new()).await?;
        let mut text = Vec::new();
        answer.read_up_to(&mut text, MAX_PAGE_BYTES + 1).await?;
        let odd = |why: &str| S3Error::Odd(format!("a list {why}"));
        if text.len() > MAX_PAGE_BYTES {
            return Err(odd("of more than 4 MiB"));
        }
        let text = std::str::from_utf8(&text).map_err(|_| odd("that is not UTF-8"))?;
        // What the parser says would repeat the store's own words.
        let list = ListObjectsV2::parse_response(text).map_err(|_| odd("that is not as S3 writes one"))?;
        Ok(list.contents.into_iter().map(|object| object.key).collect())
    }
}

impl Part {
    /// Takes an answer to a request for the bytes from `first` to `last` in.
    async fn take(&mut self, mut answer: Answer<'_>, first: u64, last: u64) -> Result<Took, S3Error> {
        let odd = |text: &str| S3Error::Odd(text.to_owned());
        let (end, total) = match answer.status {
            // There is nothing from there on.
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok(Took::All),
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.header(header::CONTENT_RANGE.as_str()).and_then(content_range);
                let (start, end, total) = range.ok_or_else(|| odd("a part that does not say of what"))?;
                if start != first || end > last.saturating_add(1) || end > total {
                    return Err(odd("another part than was asked for"));
                }
                (end, total)
            }
            // All of it, which a service may answer where all was asked for.
            StatusCode::OK if first == 0 => {
                let total = answer.header(header::CONTENT_LENGTH.as_str()).and_then(|text| text.parse::<u64>().ok());
                let total = total.ok_or_else(|| odd("an object without a length"))?;
                (total.min(last.saturating_add(1)), total)
            }
            _ => return Err(odd("the whole where a part was asked for")),
        };
        self.total = Some(total);
        let most = usize::try_from(end.saturating_sub(first)).map_err(|_| odd("a part without bounds"))?;
        self.bytes.reserve_exact(most.min(MOST_AT_ONCE));
        let (before, most) = (self.bytes.len(), self.bytes.len().saturating_add(most));
        let read = match answer.read_up_to(&mut self.bytes, most).await {
            Ok(()) if self.bytes.len() < most => Err(S3Error::Broken("the answer is shorter than it says".into())),
            read => read,
        };
        match read {
            Ok(()) => Ok(Took::All),
            Err(error) if self.bytes.len() > before => Ok(Took::Some(error)),
            Err(error) => Err(error),
        }
    }
}

/// Reads `bytes <first>-<last>/<total>` as start, end and total.
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?, total.parse().ok()?))
}

fn read_authorities(path: PathBuf) -> Result<Vec<u8>, S3Error> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&path).and_then(|file| file.take(MAX_AUTHORITIES_BYTES).read_to_end(&mut bytes));
    file.map_err(|source| S3Error::Authorities { path, source })?;
    Ok(bytes)
}

fn fail(place: &S3Place, doing: &'static str, name: &str, error: S3Error) -> BlobError {
    let name = name.to_owned();
    if error.is_full() {
        return BlobError::DiskFull { name, source: std::io::Error::other(error) };
    }
    BlobError::S3 { doing, name, place: place.to_string(), source: Box::new(error) }
}
