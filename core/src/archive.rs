//! A directory as one run of bytes, so that the same tree always gives the same bytes: the payload format `tree`.
//!
//! It knows directories, files and symbolic links, and of each its name, permissions and content; no owners, no times, no
//! devices, no hard links. Times and owners would make two builds of one tree differ, the rest has no place in a slot.
//!
//! Attacks: a path that leaves the directory that it is unpacked into (`..`, absolute, through a link that stands where a
//! directory was expected), one path twice so that two readers keep different files, a set-user-id file. Hence there is
//! one order and every entry's parent has to stand before it as a *directory*; permissions are nine bits.
//!
//! Order: a directory, then what is in it, names ascending by bytes; what is in it comes before its next sibling. It is
//! the order in which a directory is walked with its names sorted (`walkdir`'s `sort_by_file_name`), not that of the whole
//! paths as strings: `a`, `a/z`, `a-b`. The root itself is not listed.
//!
//! Bytes, all numbers little endian:
//!
//! ```text
//! magic "SUTUREA1"   8 bytes
//! per entry:         kind u8 (1 directory, 2 file, 3 link), mode u16, path length u16, path;
//!                    for a file its size u64 and its bytes; for a link its target's length u16 and its target
//! at the end:        u8 0, then nothing
//! ```

use std::io::{self, Read, Write};

use crate::limits::{MAX_ARCHIVE_DEPTH, MAX_ARCHIVE_NAME_BYTES, MAX_ARCHIVE_PATH_BYTES};

const MAGIC: &[u8; 8] = b"SUTUREA1";
const END: u8 = 0;
const DIRECTORY: u8 = 1;
const FILE: u8 = 2;
const LINK: u8 = 3;
/// All that a mode may hold: read, write and execute for owner, group and others.
pub const MODE_BITS: u16 = 0o777;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory; what is in it follows.
    Directory,
    /// A file.
    File {
        /// How many bytes of content follow.
        size: u64,
    },
    /// A symbolic link. Its target is a text and may lead anywhere: whoever unpacks never follows one.
    Link {
        /// Where it points.
        target: String,
    },
}

/// One entry's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the root, names separated by `/`.
    pub path: String,
    /// Permissions, within [`MODE_BITS`]; for a link always 0o777.
    pub mode: u16,
    /// What stands there.
    pub kind: Kind,
}

/// Why an archive was refused or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It does not begin as one, or is of another format.
    #[error("this is no archived tree of format 1")]
    Magic,
    /// The source or the destination failed.
    #[error("cannot {action} the archived tree")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It ends in the middle.
    #[error("the archived tree ends in the middle")]
    Truncated,
    /// Something stands behind its end.
    #[error("something stands behind the end of the archived tree")]
    Trailing,
    /// An entry breaks a rule.
    #[error("{path:?} in the archived tree: {rule}")]
    Entry {
        /// Its path, as far as it can be told.
        path: String,
        /// What does not hold.
        rule: &'static str,
    },
    /// A file had another size when its content was read.
    #[error("{path:?} was promised with {promised} bytes and has another size; was it changed while it was read?")]
    Size {
        /// Its path.
        path: String,
        /// What its head says.
        promised: u64,
    },
}

fn entry_error(path: &str, rule: &'static str) -> ArchiveError {
    ArchiveError::Entry { path: path.to_owned(), rule }
}

fn reading(source: io::Error) -> ArchiveError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::Truncated,
        _ => ArchiveError::Io { action: "read", source },
    }
}

fn writing(source: io::Error) -> ArchiveError {
    ArchiveError::Io { action: "write", source }
}

/// The rules of order and place, one for writers and readers.
#[derive(Debug, Default)]
struct Order {
    /// The names of the last path, the last one included.
    last: Vec<String>,
    /// Whether the last path is a directory, so that something may stand in it.
    in_directory: bool,
}

impl Order {
    fn admit(&mut self, entry: &Entry) -> Result<(), ArchiveError> {
        let path = entry.path.as_str();
        let check = |holds: bool, rule| if holds { Ok(()) } else { Err(entry_error(path, rule)) };
        check(path.len() <= MAX_ARCHIVE_PATH_BYTES, "the path is too long")?;
        check(!path.contains('\0'), "the path holds a NUL")?;
        let names: Vec<&str> = path.split('/').collect();
        for name in &names {
            check(!matches!(*name, "" | "." | ".."), "the path is absolute or holds an empty name, `.` or `..`")?;
            check(name.len() <= MAX_ARCHIVE_NAME_BYTES, "a name in the path is too long")?;
        }
        check(names.len() <= MAX_ARCHIVE_DEPTH, "the path is too deep")?;
        check(entry.mode & !MODE_BITS == 0, "the mode holds more than read, write and execute")?;
        if let Kind::Link { target } = &entry.kind {
            check(entry.mode == MODE_BITS, "a link's mode is not 0777")?;
            check(
                !target.is_empty() && target.len() <= MAX_ARCHIVE_PATH_BYTES,
                "the link's target is empty or too long",
            )?;
            check(!target.contains('\0'), "the link's target holds a NUL")?;
        }

        let shared = names.iter().zip(&self.last).take_while(|(a, b)| **a == b.as_str()).count();
        // Every directory above must be open: the last path's own directories are, and the last path where it is one.
        let open = self.last.len() - usize::from(!self.in_directory && !self.last.is_empty());
        check(
            names.len() == shared + 1 && shared <= open,
            "it stands twice, or what it stands in is not a directory listed before it",
        )?;
        if let (Some(name), Some(before)) = (names.get(shared), self.last.get(shared)) {
            check(name.as_bytes() > before.as_bytes(), "it is out of order")?;
        }
        self.last = names.into_iter().map(str::to_owned).collect();
        self.in_directory = entry.kind == Kind::Directory;
        Ok(())
    }
}

/// Writes an archive. Refuses what [`Reader`] would.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    order: Order,
}

impl<W: Write> Writer<W> {
    /// Begins an archive. `out` is written in small pieces: buffer it.
    pub fn new(mut out: W) -> Result<Self, ArchiveError> {
        out.write_all(MAGIC).map_err(writing)?;
        Ok(Self { out, order: Order::default() })
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str, mode: u16) -> Result<(), ArchiveError> {
        self.head(&Entry { path: path.to_owned(), mode, kind: Kind::Directory })
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), ArchiveError> {
        let kind = Kind::Link { target: target.to_owned() };
        self.head(&Entry { path: path.to_owned(), mode: MODE_BITS, kind })
    }

    /// Adds a file whose `size` bytes of content do not pass through here: for whoever only asks where everything lies.
    pub fn file_head(&mut self, path: &str, mode: u16, size: u64) -> Result<(), ArchiveError> {
        self.head(&Entry { path: path.to_owned(), mode, kind: Kind::File { size } })
    }

    /// Adds a file of exactly `size` bytes, which `content` yields, no more and no fewer.
    pub fn file<R: Read>(&mut self, path: &str, mode: u16, size: u64, mut content: R) -> Result<(), ArchiveError> {
        self.file_head(path, mode, size)?;
        let mut left = size;
        let mut buffer = vec![0; 128 << 10];
        loop {
            let n = match content.read(&mut buffer) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(ArchiveError::Io { action: "read a file for", source: e }),
            };
            if n == 0 && left == 0 {
                return Ok(());
            }
            let piece = buffer.get(..n).unwrap_or_default();
            left = match left.checked_sub(piece.len() as u64) {
                Some(left) if n > 0 => left,
                _ => return Err(ArchiveError::Size { path: path.to_owned(), promised: size }),
            };
            self.out.write_all(piece).map_err(writing)?;
        }
    }

    /// What it is written to, as far as it has been written.
    pub fn written(&self) -> &W {
        &self.out
    }

    /// Ends the archive and gives back what it was written to.
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        self.out.write_all(&[END]).map_err(writing)?;
        self.out.flush().map_err(writing)?;
        Ok(self.out)
    }

    fn head(&mut self, entry: &Entry) -> Result<(), ArchiveError> {
        self.order.admit(entry)?;
        let kind = match entry.kind {
            Kind::Directory => DIRECTORY,
            Kind::File { .. } => FILE,
            Kind::Link { .. } => LINK,
        };
        let mut head = vec![kind];
        head.extend_from_slice(&entry.mode.to_le_bytes());
        push_text(&mut head, &entry.path)?;
        match &entry.kind {
            Kind::Directory => {}
            Kind::File { size } => head.extend_from_slice(&size.to_le_bytes()),
            Kind::Link { target } => push_text(&mut head, target)?,
        }
        self.out.write_all(&head).map_err(writing)
    }
}

fn push_text(head: &mut Vec<u8>, text: &str) -> Result<(), ArchiveError> {
    let length = u16::try_from(text.len()).map_err(|_| entry_error(text, "the path is too long"))?;
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Reads an archive entry by entry. After a [`Kind::File`] the content is read from the reader itself ([`Read`], which
/// ends with the file); what of it is not read is passed over by the next [`Reader::next_entry`].
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    order: Order,
    /// Content of the last file that has not been read yet.
    left: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Begins to read. `source` is read in small pieces: buffer it.
    pub fn new(mut source: R) -> Result<Self, ArchiveError> {
        let mut magic = [0; 8];
        source.read_exact(&mut magic).map_err(reading)?;
        if &magic != MAGIC {
            return Err(ArchiveError::Magic);
        }
        Ok(Self { source, order: Order::default(), left: 0, ended: false })
    }

    /// The next entry; `None` once the archive has ended and nothing stands behind it.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        if self.ended {
            return Ok(None);
        }
        self.pass_over()?;
        let [kind] = self.array()?;
        if kind == END {
            self.ended = true;
            let mut byte = [0];
            return match self.source.read_exact(&mut byte) {
                Ok(()) => Err(ArchiveError::Trailing),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                Err(e) => Err(reading(e)),
            };
        }
        let mode = u16::from_le_bytes(self.array()?);
        let path = self.text("the path is not UTF-8, or too long")?;
        let kind = match kind {
            DIRECTORY => Kind::Directory,
            FILE => Kind::File { size: u64::from_le_bytes(self.array()?) },
            LINK => Kind::Link { target: self.text("the link's target is not UTF-8, or too long")? },
            _ => return Err(entry_error(&path, "it is of an unknown kind")),
        };
        let entry = Entry { path, mode, kind };
        self.order.admit(&entry)?;
        if let Kind::File { size } = entry.kind {
            self.left = size;
        }
        Ok(Some(entry))
    }

    /// Copies the content of the file just read to `out`; fails where the archive ends before it does.
    pub fn copy_content<W: Write>(&mut self, mut out: W) -> Result<(), ArchiveError> {
        let mut buffer = vec![0; 128 << 10];
        while self.left > 0 {
            let n = match self.read(&mut buffer) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(reading(e)),
            };
            out.write_all(buffer.get(..n).unwrap_or_default()).map_err(writing)?;
        }
        Ok(())
    }

    fn pass_over(&mut self) -> Result<(), ArchiveError> {
        let passed = io::copy(&mut (&mut self.source).take(self.left), &mut io::sink()).map_err(reading)?;
        if passed != self.left {
            return Err(ArchiveError::Truncated);
        }
        self.left = 0;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(reading)?;
        Ok(bytes)
    }

    fn text(&mut self, rule: &'static str) -> Result<String, ArchiveError> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        if length > MAX_ARCHIVE_PATH_BYTES {
            return Err(entry_error("", rule));
        }
        let mut bytes = vec![0; length];
        self.source.read_exact(&mut bytes).map_err(reading)?;
        String::from_utf8(bytes).map_err(|e| entry_error(&String::from_utf8_lossy(e.as_bytes()), rule))
    }
}

/// The content of the file just read. Ends with the file; an archive that ends before it is an
/// [`io::ErrorKind::UnexpectedEof`].
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || out.is_empty() {
            return Ok(0);
        }
        let n = (&mut self.source).take(self.left).read(out)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
