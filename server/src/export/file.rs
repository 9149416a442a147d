//! Lines to a file, which is turned over when it is full: `events.jsonl`, then `events.jsonl.1` and so on, the oldest last.
//!
//! Attack: events without end that fill the disk. The files together have a bound.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How many full files are kept beside the one that is written.
pub const KEPT_FILES: u32 = 8;

/// A file that lines are appended to.
#[derive(Debug, Clone)]
pub struct Lines {
    path: PathBuf,
    most_bytes: u64,
}

impl Lines {
    /// Into a file that is turned over before it has more than so many bytes.
    pub const fn new(path: PathBuf, most_bytes: u64) -> Self {
        Self { path, most_bytes }
    }

    /// Where.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends lines and makes them durable. What a power cut has left of a line is ended first, so that it spoils no other.
    pub fn append(&self, lines: &[String]) -> io::Result<()> {
        let mut file = self.open()?;
        let mut length = file.metadata()?.len();
        if length > 0 && !self.ends_a_line()? {
            file.write_all(b"\n")?;
            length += 1;
        }
        for line in lines {
            let bytes = line.len() as u64 + 1;
            if length > 0 && length + bytes > self.most_bytes {
                file.sync_all()?;
                self.turn_over()?;
                file = self.open()?;
                length = 0;
            }
            file.write_all(format!("{line}\n").as_bytes())?;
            length += bytes;
        }
        file.sync_all()
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o640).open(&self.path)
    }

    fn ends_a_line(&self) -> io::Result<bool> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        Ok(last == *b"\n")
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name: OsString = self.path.clone().into();
        name.push(format!(".{number}"));
        name.into()
    }

    fn turn_over(&self) -> io::Result<()> {
        for number in (1..KEPT_FILES).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_turned_over_the_oldest_goes_and_no_line_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let lines = Lines::new(dir.path().join("events.jsonl"), 100);
        for i in 0..200 {
            lines.append(&[format!("{{\"number\":{i:010}}}"), format!("{{\"again\":{i:010}}}")]).unwrap();
        }
        let mut all = Vec::new();
        for number in (1..=KEPT_FILES).rev() {
            let text = fs::read_to_string(lines.numbered(number)).unwrap();
            assert!(text.len() <= 100, "{number}");
            all.extend(text.lines().map(str::to_owned).collect::<Vec<_>>());
        }
        all.extend(fs::read_to_string(lines.path()).unwrap().lines().map(str::to_owned));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 9, "no more files than are kept");
        let expected: Vec<_> =
            (0..200).flat_map(|i| [format!("{{\"number\":{i:010}}}"), format!("{{\"again\":{i:010}}}")]).collect();
        assert!(!all.is_empty() && expected.ends_with(&all), "{all:?}");
    }

    #[test]
    fn what_a_power_cut_has_left_of_a_line_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let lines = Lines::new(dir.path().join("events.jsonl"), 1_000);
        fs::write(lines.path(), "{\"whole\":1}\n{\"cu").unwrap();
        lines.append(&["{\"next\":1}".to_owned()]).unwrap();
        let text = fs::read_to_string(lines.path()).unwrap();
        assert_eq!(text, "{\"whole\":1}\n{\"cu\n{\"next\":1}\n");
    }
}
