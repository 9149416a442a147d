//! systemd-boot's entries, whose file names count the tries.
//!
//! `<name>-b+3.conf` is an entry that was never tried and may be three times; the boot loader makes `<name>-b+2-1.conf` of it
//! before it starts it, and at last `<name>-b+0-3.conf`; one without a count is good (UAPI.1 Boot Loader Specification, boot
//! counting). systemd-boot 251 and later sort entries that have no try left to the end, then by `sort-key`, then the higher
//! `version` first. So an entry that is to be tried next is written with the next version, and loader.conf names no other
//! default than `<name>-*`.
//!
//! Accident: systemd's own `systemd-bless-boot.service` takes the count off an entry once the system is up, long before its
//! health is proven; what then hangs is not gone back from by the boot loader. The device masks it (`deploy/agent.toml`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::loader::{Order, TRIES};
use crate::durable::{self, DurableError};
use crate::install::error::io_error;
use crate::install::{InstallError, Side};

/// The unit that takes the count off.
const BLESSING: &str = "systemd-bless-boot.service";
/// Where systemd looks for it, the first that has it counts (`systemd.unit(5)`). Below `/run` a mask ends with the very start
/// that it is needed for, so those places are not among them.
const UNITS: [&str; 4] =
    ["etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// The last line of each entry that is written here: a comment, as the specification has them.
const END: &str = "\n# written by suture-agent\n";
/// An entry needs no more.
const MAX_ENTRY_BYTES: u64 = 64 << 10;
/// In the directory are a few; more are not looked at.
const MAX_ENTRIES: usize = 1_000;

/// Where the entries are and what they are made of.
#[derive(Debug, Clone)]
pub struct Entries {
    /// `loader/entries` of the partition that the boot loader reads.
    pub dir: PathBuf,
    /// What each of our entries' names begins with.
    pub name: String,
    /// For slot a: the entry without `sort-key` and `version`.
    pub a: PathBuf,
    /// For slot b.
    pub b: PathBuf,
}

/// Whether systemd's own unit, which takes the count off an entry as soon as the system is up, is kept from it; the device's
/// file system is below `root`. Accident: see above.
///
/// # Errors
///
/// It is not, and what to do.
pub fn nobody_blesses(root: &Path) -> Result<String, String> {
    let unit = UNITS.iter().map(|dir| root.join(dir).join(BLESSING)).find(|path| fs::symlink_metadata(path).is_ok());
    let Some(unit) = unit else {
        return Ok(format!("there is no {BLESSING}, so nothing but the agent takes a version for good"));
    };
    // A mask is a link to /dev/null, or an empty file.
    let masked = match fs::read_link(&unit) {
        Ok(to) => to == Path::new("/dev/null"),
        Err(_) => fs::metadata(&unit).is_ok_and(|meta| meta.is_file() && meta.len() == 0),
    };
    if masked {
        return Ok(format!("{BLESSING} is masked, so nothing but the agent takes a version for good"));
    }
    Err(format!(
        "{BLESSING} is not masked: it takes a new version for good once that has started, before the agent has asked after its \
         health, and the boot loader does not go back any more; run `systemctl mask {BLESSING}` (without --runtime), in the \
         image of every version"
    ))
}

/// One of our entries.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    side: Side,
    path: PathBuf,
    version: u64,
    left: Option<u32>,
    /// Whether it ends as it was written; one that is not is only removed.
    whole: bool,
}

impl Entries {
    /// The entry that is sorted first among those that may be started, or would be if it had a try left.
    pub(super) fn order(&self) -> Result<Order, InstallError> {
        let entries = self.read()?;
        let first = entries.iter().filter(|entry| entry.whole).max_by_key(|entry| entry.version);
        let first = first.ok_or_else(|| {
            InstallError::Boot(format!(
                "{} has no entry {}-a.conf or {}-b.conf",
                self.dir.display(),
                self.name,
                self.name
            ))
        })?;
        Ok(Order { first: first.side, left: first.left })
    }

    pub(super) fn attempt(&self, side: Side) -> Result<(), InstallError> {
        let entries = self.read()?;
        let of = |side| entries.iter().filter(move |entry: &&Entry| entry.side == side);
        let other = of(side.other()).map(|entry| entry.version).max().unwrap_or(0);
        let version = entries.iter().map(|entry| entry.version).max().unwrap_or(0);
        // Done already, and not tried since.
        let is_first = |entry: &Entry| entry.whole && entry.left == Some(TRIES) && entry.version > other;
        if of(side).any(is_first) && of(side).count() == 1 {
            return Ok(());
        }
        // An entry of the other slot that counts would end the way back.
        self.bless(&entries, side.other())?;
        let path = self.dir.join(format!("{}-{}+{TRIES}.conf", self.name, side.as_str()));
        self.write(side, version.saturating_add(1), &path)?;
        self.remove(of(side).filter(|entry| entry.path != path))
    }

    pub(super) fn keep(&self, side: Side) -> Result<(), InstallError> {
        let entries = self.read()?;
        self.bless(&entries, side)?;
        self.remove(entries.iter().filter(|entry| entry.side != side))
    }

    /// Has the newest entry of a slot be good, and alone of that slot.
    fn bless(&self, entries: &[Entry], side: Side) -> Result<(), InstallError> {
        let good = self.dir.join(format!("{}-{}.conf", self.name, side.as_str()));
        let mut own: Vec<&Entry> = entries.iter().filter(|entry| entry.side == side).collect();
        own.sort_by_key(|entry| (entry.whole, entry.version));
        match own.pop_if(|entry| entry.whole) {
            None => self.write(side, entries.iter().map(|e| e.version).max().unwrap_or(0).saturating_add(1), &good)?,
            Some(entry) if entry.path == good => {}
            Some(entry) => durable::rename(&entry.path, &good)?,
        }
        self.remove(own.into_iter().filter(|entry| entry.path != good))
    }

    fn write(&self, side: Side, version: u64, path: &Path) -> Result<(), InstallError> {
        let template = match side {
            Side::A => &self.a,
            Side::B => &self.b,
        };
        let none = || DurableError::io("open", template)(io::ErrorKind::NotFound.into());
        let text = durable::read(template, MAX_ENTRY_BYTES)?.ok_or_else(none)?;
        let head = format!("sort-key {}\nversion {version}\n", self.name);
        Ok(durable::write(path, &[head.as_bytes(), &text, END.as_bytes()].concat(), durable::OPEN)?)
    }

    fn remove<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> Result<(), InstallError> {
        for entry in entries {
            durable::remove(&entry.path)?;
        }
        Ok(())
    }

    fn read(&self) -> Result<Vec<Entry>, InstallError> {
        let list = fs::read_dir(&self.dir).map_err(io_error("list", &self.dir))?;
        let mut entries = Vec::new();
        for item in list.take(MAX_ENTRIES) {
            let name = item.map_err(io_error("list", &self.dir))?.file_name();
            let Some((side, left)) = name.to_str().and_then(|name| self.parse(name)) else { continue };
            let path = self.dir.join(&name);
            let Some(text) = durable::read(&path, MAX_ENTRY_BYTES)? else { continue };
            let text = String::from_utf8_lossy(&text);
            // Accident: a file system without a journal, as the boot loader's is, that has lost the end of what was written
            // last. The boot loader would start it in vain; it is none, and written anew.
            let whole = left.is_none() || text.ends_with(END);
            let version =
                text.lines().filter(|_| whole).find_map(|line| line.strip_prefix("version")?.trim().parse().ok());
            entries.push(Entry { side, path, version: version.unwrap_or(0), left, whole });
        }
        Ok(entries)
    }

    /// `<name>-a.conf`, `<name>-a+LEFT.conf` and `<name>-a+LEFT-DONE.conf`; none of another name.
    fn parse(&self, name: &str) -> Option<(Side, Option<u32>)> {
        let rest = name.strip_prefix(&self.name)?.strip_prefix('-')?.strip_suffix(".conf")?;
        let (side, count) = rest.split_once('+').map_or((rest, None), |(side, count)| (side, Some(count)));
        let side = [Side::A, Side::B].into_iter().find(|s| s.as_str() == side)?;
        let digits = |text: &str| if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
        match count {
            None => Some((side, None)),
            Some(count) => {
                let (left, done) = count.split_once('-').map_or((count, None), |(left, done)| (left, Some(done)));
                done.is_none_or(|done| digits(done).is_some()).then_some(())?;
                Some((side, Some(digits(left)?)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nobody_blesses_where_the_unit_is_masked_for_good_or_not_there() {
        let root = tempfile::tempdir().unwrap();
        let at = |dir: &str| {
            let dir = root.path().join(dir).join("systemd/system");
            fs::create_dir_all(&dir).unwrap();
            dir.join(BLESSING)
        };
        assert!(nobody_blesses(root.path()).unwrap().starts_with("there is no"));
        fs::write(at("usr/lib"), "[Service]\n").unwrap();
        let wrong = nobody_blesses(root.path()).unwrap_err();
        assert!(
            wrong.contains("is not masked") && wrong.contains("systemctl mask systemd-bless-boot.service"),
            "{wrong}"
        );
        // Gone with the start that it is needed for.
        symlink("/dev/null", at("run")).unwrap();
        assert!(nobody_blesses(root.path()).is_err());
        symlink("/dev/null", at("etc")).unwrap();
        assert!(nobody_blesses(root.path()).unwrap().contains("is masked"));
        fs::remove_file(at("etc")).unwrap();
        fs::write(at("etc"), "").unwrap();
        assert!(nobody_blesses(root.path()).unwrap().contains("is masked"));
        // One's own in its place, as by `systemctl edit --full`.
        fs::write(at("etc"), "[Service]\n").unwrap();
        assert!(nobody_blesses(root.path()).is_err());
    }
}
