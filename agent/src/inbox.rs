//! What a person at the device hands to the running agent: `inbox/` in the state directory.
//!
//! The agent alone changes its stores, so that two processes never write one file. `suture-agent stop` and `suture-agent
//! import` verify first, then leave here what they verified, whole or not at all: written beside, fsynced, renamed. The
//! agent verifies it again, by what it holds when it gets there, and takes it out. It is woken by the kernel, so that a stop
//! order does not wait for the next check-in.
//!
//! Accident: a disk that loses what was handed over, of which a person was told that the device obeys it. Everything here has
//! a digest of its contents for a name, so what was lost is not taken for something that is refused: it stays, and nothing is
//! begun until it is handed over again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use suture_core::digest::{Digest, Hasher};
use suture_core::limits::{MAX_STOP_BYTES, MAX_TARGETS_BYTES};
use tokio::io::unix::AsyncFd;
use walkdir::WalkDir;

use crate::durable::{self, DurableError};
use crate::lock;

/// Things that wait; an agent that runs takes them out within a cycle.
const MAX_ENTRIES: usize = 16;
/// How long a hand-over waits for another, in rounds of 2 s: 24 s, while that reads a slow stick. Two such waits, as an import
/// has, stay below the minute in which the local face answers.
const PATIENCE: u32 = 12;
const STOP: &str = "stop";
const STICK: &str = "stick";

/// The agent's end of the inbox.
#[derive(Debug)]
pub struct Inbox {
    dir: PathBuf,
    /// None where the kernel gives no such thing: then it is looked into each cycle.
    watch: Option<AsyncFd<OwnedFd>>,
    woken: AtomicBool,
}

/// Something in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A stop order or lift, in a file.
    Stop(PathBuf),
    /// What was read of a stick, in a directory of the same layout.
    Stick(PathBuf),
}

impl Entry {
    /// Whether it is what was handed over.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn is_whole(&self) -> Result<bool, DurableError> {
        let name = match self {
            Self::Stop(path) => match durable::read(path, MAX_STOP_BYTES) {
                // No torn file is longer than it was: that is junk, and refused as such. Or it was taken out meanwhile.
                Err(DurableError::TooLong { .. }) | Ok(None) => return Ok(true),
                read => Digest::of(&read?.unwrap_or_default()),
            },
            // Nobody has handed that over.
            Self::Stick(path) if !path.is_dir() => return Ok(true),
            Self::Stick(path) => {
                let mut files = BTreeMap::new();
                for entry in WalkDir::new(path).into_iter().filter_map(Result::ok).filter(|e| e.file_type().is_file()) {
                    let Some(name) = entry.path().strip_prefix(path).ok().and_then(Path::to_str) else {
                        return Ok(false);
                    };
                    match durable::read(entry.path(), MAX_TARGETS_BYTES) {
                        Err(DurableError::TooLong { .. }) => return Ok(false),
                        read => files.insert(name.to_owned(), Digest::of(&read?.unwrap_or_default())),
                    };
                }
                name_of(files.iter().map(|(name, digest)| (name.as_str(), *digest)))
            }
        };
        Ok(self.path().file_stem().is_some_and(|stem| stem == name.to_string().as_str()))
    }

    /// Its file or directory.
    pub fn path(&self) -> &Path {
        match self {
            Self::Stop(path) | Self::Stick(path) => path,
        }
    }
}

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The agent has not taken what came before.
    #[error("{0} things wait for the agent already; does it run? see `suture-agent status`")]
    Full(usize),
    /// Another hands something over, and does not come to its end.
    #[error(
        "another hands something to the agent and has not ended within {secs} s: it holds the lock {}; let it end, or end it \
         (`fuser {}` says which program it is), and do this again", lock.display(), lock.display()
    )]
    Held {
        /// What it holds.
        lock: PathBuf,
        /// How long it was waited for.
        secs: u32,
    },
}

impl Inbox {
    /// Opens the inbox, and removes what a hand-over that was cut off has left. Must be called within a runtime.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn open(state_dir: &Path) -> Result<Self, DurableError> {
        let dir = inbox(state_dir);
        durable::make_dir(&dir)?;
        // Accident: a disk that can only be read any more. The device starts all the same, to say so.
        if let Err(e) = clear(&dir) {
            tracing::warn!(error = %e, "what a hand-over that was cut off has left in the inbox stays there");
        }
        let watch =
            watch(&dir).map_err(|e| tracing::warn!(error = %e, "the inbox is looked into each cycle only")).ok();
        Ok(Self { dir, watch, woken: AtomicBool::new(false) })
    }

    /// What waits, in the order of the names. An inbox that is gone holds nothing, and is made again by whoever puts something in.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn entries(&self) -> Result<Vec<Entry>, DurableError> {
        match entries(&self.dir) {
            Err(DurableError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            found => found,
        }
    }

    /// Takes something out. Accident: the power fails while a directory is removed. What is left of it would be what was
    /// handed over and is damaged, which holds everything up; so it loses its name first.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn remove(&self, entry: &Entry) -> Result<(), DurableError> {
        if !entry.path().is_dir() {
            return durable::remove(entry.path());
        }
        let taken = entry.path().with_extension("taken.tmp");
        durable::remove_tree(&taken)?;
        durable::rename(entry.path(), &taken)?;
        durable::remove_tree(&taken)
    }

    /// Waits until something is put in. Cancelling it loses nothing.
    pub async fn news(&self) {
        let Some(watch) = &self.watch else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = watch.readable().await else { return std::future::pending().await };
            match ready.try_io(|fd| told(fd.get_ref()).map_err(Into::into)) {
                Ok(Ok(true)) => {
                    self.woken.store(true, Ordering::Relaxed);
                    return;
                }
                Ok(Ok(false)) => {}
                Ok(Err(_)) => return std::future::pending().await,
                // Nothing after all.
                Err(_) => {}
            }
        }
    }

    /// A cycle begins, which looks at what is there: of that there is no more news. Otherwise its fetch would be left for it.
    pub fn rouse(&self) {
        if let Some(watch) = &self.watch {
            let _ = told(watch.get_ref());
        }
        self.woken.store(false, Ordering::Relaxed);
    }

    /// Whether something was put in since the cycle began.
    pub fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed)
    }
}

/// Leaves a stop order for the agent.
///
/// # Errors
///
/// The disk, or too much waits.
pub fn put_stop(state_dir: &Path, envelope: &[u8]) -> Result<(), InboxError> {
    let (dir, _lock) = room(state_dir)?;
    Ok(durable::write(&dir.join(format!("{}.{STOP}", Digest::of(envelope))), envelope, durable::OPEN)?)
}

/// Leaves what was read of a stick for the agent, by path in the stick.
///
/// # Errors
///
/// The disk, or too much waits.
pub fn put_stick(state_dir: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<(), InboxError> {
    let (dir, _lock) = room(state_dir)?;
    let name = name_of(files.iter().map(|(path, bytes)| (path.as_str(), Digest::of(bytes))));
    let (beside, place) = (dir.join(format!("{name}.tmp")), dir.join(format!("{name}.{STICK}")));
    if place.exists() {
        if Entry::Stick(place.clone()).is_whole()? {
            return Ok(());
        }
        durable::remove_tree(&place)?;
    }
    durable::remove_tree(&beside)?;
    durable::make_dir(&beside)?;
    for (path, bytes) in files {
        let path = beside.join(path);
        if let Some(parent) = path.parent() {
            durable::make_dir(parent)?;
        }
        durable::write(&path, bytes, durable::OPEN)?;
        // The directories on the way are new too.
        for above in path.ancestors().skip(1).take_while(|a| *a != dir.as_path()) {
            durable::sync_dir(above)?;
        }
    }
    Ok(durable::rename(&beside, &place)?)
}

/// The name of a stick that holds these files, ascending by their paths.
fn name_of<'a>(files: impl IntoIterator<Item = (&'a str, Digest)>) -> Digest {
    let mut name = Hasher::default();
    for (path, digest) in files {
        name.update(path.as_bytes());
        name.update(digest.as_bytes());
    }
    name.finish()
}

/// A directory for looking at something without changing anything; it goes when this is dropped, or with the next start.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// The directory; empty at first.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = durable::remove_tree(&self.path) {
            tracing::warn!(error = %e, "the next start of the agent removes it");
        }
    }
}

/// Makes one; nobody else can hand anything over meanwhile.
///
/// # Errors
///
/// The disk, or too much waits.
pub fn scratch(state_dir: &Path) -> Result<Scratch, InboxError> {
    let (dir, lock) = room(state_dir)?;
    let path = dir.join("scratch.tmp");
    durable::remove_tree(&path)?;
    durable::make_dir(&path)?;
    Ok(Scratch { path, _lock: lock })
}

/// Removes what hand-overs that were cut off have left.
fn clear(dir: &Path) -> Result<(), DurableError> {
    // Whoever hands something over now holds the lock, and what it writes is no leftover.
    let (_, file) = lock_file(dir)?;
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
        for path in list(dir)? {
            if path.extension().is_some_and(|e| e == "tmp") {
                durable::remove_tree(&path)?;
            }
        }
    }
    Ok(())
}

fn inbox(state_dir: &Path) -> PathBuf {
    state_dir.join("inbox")
}

fn room(state_dir: &Path) -> Result<(PathBuf, File), InboxError> {
    room_within(state_dir, PATIENCE)
}

/// Accident: an import that reads a stick which does not answer. Whoever brings a stop order is told so, and waits no longer.
fn room_within(state_dir: &Path, rounds: u32) -> Result<(PathBuf, File), InboxError> {
    let dir = inbox(state_dir);
    durable::make_dir(&dir)?;
    let (path, lock) = lock_file(&dir)?;
    let told = || tracing::warn!(lock = %path.display(), "waiting for another that hands something to the agent");
    if !lock::take_within(&lock, rounds, told).map_err(DurableError::io("lock", &path))? {
        return Err(InboxError::Held { lock: path, secs: rounds.saturating_mul(2) });
    }
    let waiting = entries(&dir)?.len();
    if waiting < MAX_ENTRIES { Ok((dir, lock)) } else { Err(InboxError::Full(waiting)) }
}

fn lock_file(dir: &Path) -> Result<(PathBuf, File), DurableError> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(DurableError::io("make", &path))?;
    Ok((path, file))
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, DurableError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(DurableError::io("list", dir))? {
        paths.push(entry.map_err(DurableError::io("list", dir))?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}

fn entries(dir: &Path) -> Result<Vec<Entry>, DurableError> {
    let entry = |path: PathBuf| match path.extension().and_then(|e| e.to_str()) {
        Some(STOP) => Some(Entry::Stop(path)),
        Some(STICK) => Some(Entry::Stick(path)),
        _ => None,
    };
    Ok(list(dir)?.into_iter().filter_map(entry).collect())
}

/// Told of renames into the directory, which is how everything arrives in it.
#[expect(
    deprecated,
    reason = "its successor is unsafe for the sake of types that close what they own; an OwnedFd does not"
)]
fn watch(dir: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&fd, dir, WatchFlags::MOVED_TO)?;
    AsyncFd::with_interest(fd, tokio::io::Interest::READABLE)
}

/// Takes all that the kernel tells of the directory by now, and says whether something of it was put in. What is taken out is renamed
/// first, which is told too and is no news: a fetch was left for it.
fn told(fd: &OwnedFd) -> Result<bool, Errno> {
    let mut buffer = [MaybeUninit::uninit(); 4_096];
    let mut events = inotify::Reader::new(fd, &mut buffer);
    let is_news = |event: inotify::Event<'_>| event.file_name().is_none_or(|name| !name.to_bytes().ends_with(b".tmp"));
    let mut found = is_news(events.next()?);
    loop {
        match events.next() {
            Ok(event) => found |= is_news(event),
            Err(Errno::AGAIN) => return Ok(found),
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> BTreeMap<String, Vec<u8>> {
        [("catalog/1.root.json", b"root".to_vec()), ("stops/a.json", b"{}".to_vec())]
            .map(|(path, bytes)| (path.to_owned(), bytes))
            .into()
    }

    #[tokio::test]
    async fn what_is_handed_over_wakes_the_agent_and_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::open(dir.path()).unwrap();
        assert!(inbox.entries().unwrap().is_empty() && !inbox.is_woken());
        put_stop(dir.path(), b"order").unwrap();
        inbox.news().await;
        assert!(inbox.is_woken());
        inbox.rouse();
        assert!(!inbox.is_woken());
        put_stick(dir.path(), &files()).unwrap();
        inbox.news().await;
        put_stop(dir.path(), b"order").unwrap();
        put_stick(dir.path(), &files()).unwrap();
        let entries = inbox.entries().unwrap();
        assert_eq!(entries.len(), 2, "the same twice is once");
        for entry in &entries {
            match entry {
                Entry::Stop(path) => assert_eq!(fs::read(path).unwrap(), b"order"),
                Entry::Stick(path) => assert_eq!(fs::read(path.join("catalog/1.root.json")).unwrap(), b"root"),
            }
            inbox.remove(entry).unwrap();
        }
        assert!(inbox.entries().unwrap().is_empty());
        fs::remove_dir_all(dir.path().join("inbox")).unwrap();
        assert!(inbox.entries().unwrap().is_empty(), "what is gone holds nothing");
        put_stop(dir.path(), b"order").unwrap();
        assert_eq!(inbox.entries().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn of_what_a_cycle_looks_at_there_is_no_more_news() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::open(dir.path()).unwrap();
        for order in [b"one", b"two"] {
            put_stop(dir.path(), order).unwrap();
        }
        inbox.rouse();
        let queue = inbox.watch.as_ref().unwrap().get_ref();
        assert_eq!(told(queue), Err(Errno::AGAIN));
        // Nor of what it takes out.
        put_stick(dir.path(), &files()).unwrap();
        inbox.rouse();
        inbox.entries().unwrap().iter().for_each(|entry| inbox.remove(entry).unwrap());
        assert_ne!(told(queue), Ok(true));
        put_stop(dir.path(), b"three").unwrap();
        inbox.news().await;
        assert!(inbox.is_woken());
    }

    #[tokio::test]
    async fn a_hand_over_that_was_cut_off_is_none_and_goes_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        put_stick(dir.path(), &files()).unwrap();
        let inbox = dir.path().join("inbox");
        let whole = list(&inbox).unwrap().into_iter().find(|p| p.extension().is_some_and(|e| e == STICK)).unwrap();
        fs::rename(&whole, whole.with_extension("tmp")).unwrap();
        fs::write(inbox.join("x.stop.tmp"), b"half").unwrap();
        assert!(Inbox::open(dir.path()).unwrap().entries().unwrap().is_empty());
        assert_eq!(list(&inbox).unwrap(), [inbox.join("lock")]);
    }

    #[test]
    fn what_the_disk_has_lost_is_not_what_was_handed_over_until_it_is_handed_over_again() {
        let dir = tempfile::tempdir().unwrap();
        let put = || {
            put_stop(dir.path(), b"an order").unwrap();
            put_stick(dir.path(), &files()).unwrap();
            entries(&inbox(dir.path())).unwrap()
        };
        for entry in put() {
            assert!(entry.is_whole().unwrap());
            let file = match &entry {
                Entry::Stop(path) => path.clone(),
                Entry::Stick(path) => path.join("catalog/1.root.json"),
            };
            for torn in [&b""[..], b"an ", b"\0\0\0\0\0\0\0\0"] {
                fs::write(&file, torn).unwrap();
                assert!(!entry.is_whole().unwrap());
            }
            assert!(put().contains(&entry) && entry.is_whole().unwrap());
            if let Entry::Stick(path) = &entry {
                fs::remove_file(path.join("stops/a.json")).unwrap();
                assert!(!entry.is_whole().unwrap());
            }
        }
    }

    #[test]
    fn an_agent_that_takes_nothing_out_is_not_fed_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..MAX_ENTRIES {
            put_stop(dir.path(), &n.to_be_bytes()).unwrap();
        }
        assert!(matches!(put_stop(dir.path(), b"one more"), Err(InboxError::Full(MAX_ENTRIES))));
        assert!(matches!(put_stick(dir.path(), &files()), Err(InboxError::Full(_))));
    }

    /// Found: a stop order waited without a bound for an import from a stick that did not answer.
    #[test]
    fn a_hand_over_that_does_not_end_is_waited_for_only_so_long_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let slow = scratch(dir.path()).unwrap();
        let text = room_within(dir.path(), 1).unwrap_err().to_string();
        let lock = dir.path().join("inbox/lock");
        assert!(
            text.contains(lock.to_str().unwrap()) && text.contains("within 2 s") && text.contains("again"),
            "{text}"
        );
        drop(slow);
        put_stop(dir.path(), b"order").unwrap();
        assert_eq!(entries(&inbox(dir.path())).unwrap().len(), 1);
    }
}
