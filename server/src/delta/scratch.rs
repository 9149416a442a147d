//! A payload laid out in a file, to be read from anywhere while a delta is made of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use suture_core::delta::Source;

/// What is left free of the disk: 1 GiB.
const SPARE_BYTES: u64 = 1 << 30;

/// A file without a name: it is gone with whoever has it open, whatever ends that.
#[derive(Debug, Clone)]
pub(super) struct Scratch {
    file: Arc<File>,
    length: u64,
}

impl Scratch {
    /// A new file of `length` zeros in `dir`. Blocks.
    pub(super) fn new(dir: &Path, name: &str, length: u64) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join(name);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        std::fs::remove_file(&path)?;
        file.set_len(length)?;
        Ok(Self { file: Arc::new(file), length })
    }

    /// Its file, to be filled.
    pub(super) fn file(&self) -> Arc<File> {
        self.file.clone()
    }
}

impl Source for Scratch {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// Whether so many bytes fit onto the disk of `dir`, which exists, and some are left. Says what is missing.
pub(super) fn check_room(dir: &Path, needed: u64) -> Result<(), String> {
    let stat =
        rustix::fs::statvfs(dir).map_err(|e| format!("the free space of {} is not known: {e}", dir.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let needed = needed.saturating_add(SPARE_BYTES);
    if needed <= free {
        return Ok(());
    }
    Err(format!("{needed} bytes are needed on the disk of {}, {free} are free", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leaves_no_name_and_is_read_from_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("scratch");
        let scratch = Scratch::new(&inside, "new", 10).unwrap();
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 0);
        scratch.file().write_all_at(b"abc", 4).unwrap();
        let mut out = [1; 5];
        scratch.read_at(3, &mut out).unwrap();
        assert_eq!(&out, b"\0abc\0");
        assert!(scratch.read_at(6, &mut out).is_err());
        // What a killed process left in between is no hindrance.
        std::fs::write(inside.join("new"), b"left").unwrap();
        assert_eq!(Scratch::new(&inside, "new", 1).unwrap().length(), 1);
        check_room(&inside, 0).unwrap();
        assert!(check_room(&inside, u64::MAX).unwrap_err().contains("are free"));
    }
}
