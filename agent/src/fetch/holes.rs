//! Where a file has no bytes yet: what was never written need not be read to know that it is zeros.

use std::fs::File;
use std::ops::Range;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// The holes of a file, asked for from its beginning to its end.
pub(super) struct Holes<'a> {
    file: &'a File,
    /// The run of data that was found last.
    data: Range<u64>,
}

impl<'a> Holes<'a> {
    /// Of this file. Moves where it stands.
    pub(super) fn of(file: &'a File) -> Self {
        Self { file, data: 0..0 }
    }

    /// Whether all of this range is in a hole. A file system that does not know its holes has none.
    pub(super) fn hold(&mut self, range: &Range<u64>) -> bool {
        if self.data.end <= range.start {
            self.data = match seek(self.file, SeekFrom::Data(range.start)) {
                Ok(start) => start..seek(self.file, SeekFrom::Hole(start)).unwrap_or(u64::MAX),
                Err(Errno::NXIO) => u64::MAX..u64::MAX,
                Err(_) => 0..u64::MAX,
            };
        }
        self.data.start >= range.end
    }
}
