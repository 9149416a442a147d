//! What a payload holds, and which of the old one's files a new one has most likely come from.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::ops::Range;

use crate::archive::{ArchiveError, Entry, Kind, Reader};
use crate::delta::{DeltaError, Source};
use crate::digest::{Digest, Hasher};

/// One entry of an archived tree, or the whole of an image.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// What an archive says of it.
    pub(crate) head: Option<Entry>,
    /// Head and content, in the payload.
    pub(crate) whole: Range<u64>,
    /// The content of a file.
    pub(crate) content: Range<u64>,
    /// Of a file that has any content.
    pub(crate) sha256: Option<Digest>,
}

impl Item {
    fn path(&self) -> &str {
        self.head.as_ref().map_or("", |head| head.path.as_str())
    }
}

/// Reads a payload from its beginning.
struct Sequential<'a, S> {
    source: &'a S,
    at: u64,
}

impl<S: Source> Read for Sequential<'_, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.source.length().saturating_sub(self.at);
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        self.source.read_at(self.at, out.get_mut(..n).unwrap_or_default())?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Counts what is taken out of a reader.
struct Counted<'a, R> {
    reader: R,
    count: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(out)?;
        self.count.set(self.count.get() + n as u64);
        Ok(n)
    }
}

/// What both payloads hold, in order. If either is not an archived tree, or a cut one, each is one item: an image.
pub(crate) fn items<O: Source, N: Source>(old: &O, new: &N) -> Result<(Vec<Item>, Vec<Item>), DeltaError> {
    Ok(match (tree(old, "old")?, tree(new, "new")?) {
        (Some(old), Some(new)) => (old, new),
        _ => (vec![image(old)], vec![image(new)]),
    })
}

fn image<S: Source>(source: &S) -> Item {
    Item { head: None, whole: 0..source.length(), content: 0..source.length(), sha256: None }
}

fn tree<S: Source>(source: &S, which: &'static str) -> Result<Option<Vec<Item>>, DeltaError> {
    match entries(source) {
        Ok(items) => Ok(Some(items)),
        Err(ArchiveError::Io { source, .. }) => Err(DeltaError::Read { which, source }),
        Err(_) => Ok(None),
    }
}

fn entries<S: Source>(source: &S) -> Result<Vec<Item>, ArchiveError> {
    let count = Cell::new(0);
    let buffered = BufReader::with_capacity(256 << 10, Sequential { source, at: 0 });
    let mut reader = Reader::new(Counted { reader: buffered, count: &count })?;
    let mut items = Vec::new();
    let mut buffer = vec![0; 128 << 10];
    // The archive's magic belongs to its first entry, so that every byte but the last belongs to one.
    let mut start = 0;
    while let Some(head) = reader.next_entry()? {
        let content = count.get();
        let mut sha256 = None;
        if let Kind::File { size } = head.kind {
            let mut hash = Hasher::default();
            loop {
                let n = reader.read(&mut buffer).map_err(|source| match source.kind() {
                    io::ErrorKind::UnexpectedEof => ArchiveError::Truncated,
                    _ => ArchiveError::Io { action: "read", source },
                })?;
                if n == 0 {
                    break;
                }
                hash.update(buffer.get(..n).unwrap_or_default());
            }
            sha256 = (size > 0).then(|| hash.finish());
        }
        let end = count.get();
        items.push(Item { head: Some(head), whole: start..end, content: content..end, sha256 });
        start = end;
    }
    Ok(items)
}

/// A path without what versions change in it: every run of digits is one `0`.
fn plain(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    for c in path.chars() {
        if !c.is_ascii_digit() {
            plain.push(c);
        } else if !plain.ends_with('0') {
            plain.push('0');
        }
    }
    plain
}

fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The old payload's items by what they can be found.
pub(crate) struct Pairs<'a> {
    old: &'a [Item],
    by_path: HashMap<&'a str, usize>,
    by_plain_path: HashMap<String, Vec<usize>>,
    by_plain_name: HashMap<String, Vec<usize>>,
    by_content: HashMap<Digest, usize>,
}

impl<'a> Pairs<'a> {
    pub(crate) fn new(old: &'a [Item]) -> Self {
        let mut pairs = Self {
            old,
            by_path: HashMap::new(),
            by_plain_path: HashMap::new(),
            by_plain_name: HashMap::new(),
            by_content: HashMap::new(),
        };
        for (i, item) in old.iter().enumerate() {
            pairs.by_path.insert(item.path(), i);
            if let Some(sha256) = item.sha256 {
                pairs.by_content.entry(sha256).or_insert(i);
                pairs.by_plain_path.entry(plain(item.path())).or_default().push(i);
                pairs.by_plain_name.entry(plain(name(item.path()))).or_default().push(i);
            }
        }
        pairs
    }

    /// An old file with the same content: the one at the same path if that has it.
    pub(crate) fn same(&self, new: &Item) -> Option<&'a Item> {
        let sha256 = new.sha256?;
        let there = self.by_path.get(new.path()).and_then(|i| self.old.get(*i)).filter(|old| old.sha256 == new.sha256);
        there.or_else(|| self.by_content.get(&sha256).and_then(|i| self.old.get(*i)))
    }

    /// The old item that the new one has most likely come from: by its path, then by its path without numbers, then by its
    /// name.
    pub(crate) fn pair(&self, new: &Item) -> Option<&'a Item> {
        if let Some(i) = self.by_path.get(new.path()) {
            return self.old.get(*i);
        }
        new.sha256?;
        let size = |item: &Item| item.content.end - item.content.start;
        let nearest = |found: Option<&Vec<usize>>| {
            let items = found.into_iter().flatten().filter_map(|i| self.old.get(*i));
            items.min_by_key(|item| size(item).abs_diff(size(new)))
        };
        let path = nearest(self.by_plain_path.get(&plain(new.path())));
        path.or_else(|| nearest(self.by_plain_name.get(&plain(name(new.path())))))
    }
}
