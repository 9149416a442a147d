//! What happened on the device, for `suture-agent log`: what the machine told, and what people at the device said.
//!
//! A line of JSON for each, in `log.jsonl`; once that is full it becomes `log.1.jsonl` in the place of the one before. It is
//! for people alone: nothing is decided by it, a line that was torn is passed over, and one that could not be written is
//! missing and keeps nothing up.
//!
//! Attack: somebody at the device edits or removes what it has written down. Each line has a number and the hash of all lines
//! before it, and signed reports carry the head ([`head`]), so that whoever compares it with what the log says now
//! (`suture-agent log --verify`) finds the first line that is not as it was. A power cut tears the last line at most; the next
//! one goes on from the last that is whole.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::{format_utc, utc, whole_second};
use suture_core::digest::{Digest, Hasher};
use suture_core::json::{self, JsonError};
use suture_core::limits::{MAX_LOG_BYTES, MAX_LOG_ENTRIES};
use suture_core::phase::Reason;
use suture_core::report::LogHead;

use crate::durable::{self, DurableError};
use crate::machine::Told;

const NOW: &str = "log.jsonl";
const BEFORE: &str = "log.1.jsonl";

/// The loop and the local face write, one at a time.
static PEN: Mutex<()> = Mutex::new(());

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, by the device's clock.
    #[serde(with = "utc")]
    pub at: Timestamp,
    /// A phase that was reached, or what a person said: `hold`, `release`, `confirm`, …
    pub what: String,
    /// Of which approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why, in a person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// Who, where it was a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The journal's transition that told it: each is written once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<u64>,
}

impl Entry {
    /// What the machine told.
    pub fn told(transition: u64, told: &Told, now: Timestamp) -> Self {
        Self {
            at: whole_second(now),
            what: told.phase.to_string(),
            approval: told.subject.as_ref().map(|s| s.approval.to_string()),
            reason: told.reason.clone(),
            said: None,
            by: None,
            transition: Some(transition),
        }
    }

    /// What a person said.
    pub fn act(what: &str, by: &str, said: Option<&str>, now: Timestamp) -> Self {
        Self {
            at: whole_second(now),
            what: what.to_owned(),
            approval: None,
            reason: None,
            said: said.map(ToOwned::to_owned),
            by: Some(by.to_owned()),
            transition: None,
        }
    }

    fn line(&self) -> String {
        let Self { at, what, approval, reason, said, by, transition: _ } = self;
        let mut line = format!("{}  {what:<10}", format_utc(*at));
        let mut add = |text: String| line.push_str(&text);
        approval.iter().for_each(|id| add(format!("  {id}")));
        reason.iter().for_each(|reason| add(format!("  {reason}")));
        by.iter().for_each(|by| add(format!("  by {by}")));
        said.iter().for_each(|said| add(format!(": {said}")));
        line.trim_end().to_owned()
    }
}

/// A line: what happened, in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Its number, from 1, over the device's stay at its hospital.
    line: u64,
    /// The hash of the line before it; of the first, 64 zeros.
    before: Digest,
    #[serde(rename = "entry")]
    entry: Entry,
    /// Its own: SHA-256 over `before` and the SHA-256 of the number and the entry as canonical JSON.
    sha256: Digest,
}

impl Line {
    fn after(head: Option<LogHead>, entry: Entry) -> Result<Self, JsonError> {
        let (line, before) = match head {
            Some(LogHead { line, sha256 }) => (line.saturating_add(1), sha256),
            None => (1, Digest::from_bytes([0; 32])),
        };
        let sha256 = hash(line, &before, &entry)?;
        Ok(Self { line, before, entry, sha256 })
    }

    fn head(&self) -> LogHead {
        LogHead { line: self.line, sha256: self.sha256 }
    }
}

fn hash(line: u64, before: &Digest, entry: &Entry) -> Result<Digest, JsonError> {
    let content = Digest::of(&json::to_canonical(&(line, entry))?);
    let mut hasher = Hasher::default();
    hasher.update(before.as_bytes());
    hasher.update(content.as_bytes());
    Ok(hasher.finish())
}

/// The head: how many lines were written, and the hash over all of them. None before the first.
pub fn head(state_dir: &Path) -> Option<LogHead> {
    [NOW, BEFORE].iter().find_map(|name| whole(&state_dir.join(name)).last().map(Line::head))
}

/// Why the log is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Altered {
    /// A line's content is another.
    #[error("line {0} of the device's log was edited: it is not what its hash says")]
    Edited(u64),
    /// A line does not follow the one that stands before it.
    #[error("the device's log was altered between lines {before} and {line}: something was removed, or written anew")]
    Gap {
        /// The line before.
        before: u64,
        /// The one that does not follow.
        line: u64,
    },
    /// The line that a signed report names is another, or is not there.
    #[error("line {0} of the device's log is not the one that the device has signed, or is there no more")]
    Signed(u64),
}

/// What a log that was verified comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The first line that is kept.
    pub first: u64,
    /// The last, with its hash; none where nothing was written yet.
    pub head: Option<LogHead>,
    /// Lines that a power cut has torn, or that are no lines of this log.
    pub torn: u64,
}

/// Verifies what is kept of the log, and that it has the line that a signed report names, where one is given.
///
/// # Errors
///
/// The first line that is not as it was.
pub fn verify(state_dir: &Path, signed: Option<LogHead>) -> Result<Verified, Altered> {
    let (mut found, mut done) = (false, Verified { first: 0, head: None, torn: 0 });
    for name in [BEFORE, NOW] {
        for line in lines(&state_dir.join(name)) {
            let Some(line) = line else {
                done.torn = done.torn.saturating_add(1);
                continue;
            };
            if hash(line.line, &line.before, &line.entry).ok() != Some(line.sha256) {
                return Err(Altered::Edited(line.line));
            }
            match done.head {
                None => done.first = line.line,
                Some(head) if head.line.saturating_add(1) == line.line && head.sha256 == line.before => {}
                Some(head) => return Err(Altered::Gap { before: head.line, line: line.line }),
            }
            found |= signed == Some(line.head());
            done.head = Some(line.head());
        }
    }
    match signed {
        // What is older than the log goes back can be compared no more.
        Some(signed) if !found && signed.line >= done.first => Err(Altered::Signed(signed.line)),
        _ => Ok(done),
    }
}

/// The head that a person copied from `suturectl device show`: `<line>:<sha256>`.
pub fn parse_head(text: &str) -> Result<LogHead, String> {
    let form = || "write it as LINE:SHA256, as `suturectl device show` prints it".to_owned();
    let (line, sha256) = text.split_once(':').ok_or_else(form)?;
    Ok(LogHead { line: line.parse().map_err(|_| form())?, sha256: sha256.parse().map_err(|_| form())? })
}

/// Adds lines.
///
/// # Errors
///
/// The disk.
pub fn add(state_dir: &Path, entries: &[Entry]) -> Result<(), DurableError> {
    let Ok(_pen) = PEN.lock() else { return Ok(()) };
    let path = state_dir.join(NOW);
    let written = (|| {
        let mut at = head(state_dir);
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(durable::OPEN).open(&path)?;
        let mut length = file.metadata()?.len();
        if length >= MAX_LOG_BYTES {
            fs::rename(&path, state_dir.join(BEFORE))?;
            file = OpenOptions::new().read(true).append(true).create(true).mode(durable::OPEN).open(&path)?;
            length = 0;
        }
        let mut bytes = Vec::new();
        // What a power cut has torn ends where the next line begins.
        if length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                bytes.push(b'\n');
            }
        }
        for entry in entries {
            let line = Line::after(at, entry.clone()).map_err(io::Error::other)?;
            at = Some(line.head());
            serde_json::to_writer(&mut bytes, &line)?;
            bytes.push(b'\n');
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        Ok::<_, io::Error>(length == 0)
    })();
    // A signed report may name a line of it: a power cut that took a new file's name would look as if somebody had.
    if written.map_err(DurableError::io("write", &path))? { durable::sync_parent(&path) } else { Ok(()) }
}

/// The last lines, oldest first. A file that cannot be read is as one that is not there.
pub fn last(state_dir: &Path) -> Vec<Entry> {
    let lines = [BEFORE, NOW].iter().flat_map(|name| whole(&state_dir.join(name)));
    let mut entries: Vec<Entry> = lines.map(|line| line.entry).collect();
    let surplus = entries.len().saturating_sub(MAX_LOG_ENTRIES);
    entries.drain(..surplus);
    entries
}

/// The lines that can be read.
fn whole(path: &Path) -> Vec<Line> {
    lines(path).into_iter().flatten().collect()
}

/// Every line that is not empty; none for one that cannot be read.
fn lines(path: &Path) -> Vec<Option<Line>> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One line more than the bound may be in it.
        fs::File::open(path)?.take(MAX_LOG_BYTES.saturating_mul(2)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| json::from_slice(line).ok()).collect()
}

/// For people.
pub fn text(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "nothing has happened on this device yet\n".to_owned();
    }
    entries.iter().map(|entry| entry.line() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use suture_core::phase::{Code, Phase};

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).unwrap()
    }

    fn told(transition: u64) -> Entry {
        let reason = Some(Reason::new(Code::InUse, "the device is in clinical use"));
        let told = Told { subject: None, phase: Phase::Waiting, reason, stop: None, permanent: false };
        Entry::told(transition, &told, at(transition.cast_signed()))
    }

    #[test]
    fn lines_are_added_and_a_torn_one_costs_itself_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last(dir.path()), []);
        add(dir.path(), &[told(1), Entry::act("hold", "uid 0", Some("the ward is full"), at(2))]).unwrap();
        let path = dir.path().join(NOW);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 7]).unwrap();
        add(dir.path(), &[told(3)]).unwrap();
        assert_eq!(last(dir.path()), [told(1), told(3)]);
        fs::write(&path, [&b"\0\0\0\0\n\xff\n{\n"[..], &whole].concat()).unwrap();
        let entries = last(dir.path());
        assert_eq!((entries.len(), entries[1].what.as_str()), (2, "hold"));
        let text = text(&entries);
        assert!(text.contains("waiting     in-use: the device is in clinical use\n"), "{text}");
        assert!(text.ends_with("  hold        by uid 0: the ward is full\n"), "{text}");
    }

    fn edit(dir: &Path, name: &str, change: impl Fn(&mut Vec<String>)) {
        let mut lines: Vec<String> = fs::read_to_string(dir.join(name)).unwrap().lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(dir.join(name), lines.join("\n") + "\n").unwrap();
    }

    #[test]
    fn a_line_that_was_edited_removed_or_put_in_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(verify(dir.path(), None), Ok(Verified { first: 0, head: None, torn: 0 }));
        for n in 1..=5 {
            add(dir.path(), &[Entry::act("hold", "uid 0", Some(&format!("reason {n}")), at(n))]).unwrap();
        }
        let signed = head(dir.path());
        add(dir.path(), &[told(6)]).unwrap();
        let now = head(dir.path());
        assert_eq!(verify(dir.path(), signed), Ok(Verified { first: 1, head: now, torn: 0 }));
        let whole = fs::read(dir.path().join(NOW)).unwrap();
        type Edit = fn(&mut Vec<String>);
        let edits: [(Edit, Altered); 5] = [
            (|l| l[2] = l[2].replace("reason 3", "reason 9"), Altered::Edited(3)),
            (|l| drop(l.remove(2)), Altered::Gap { before: 2, line: 4 }),
            (|l| l.swap(1, 2), Altered::Gap { before: 1, line: 3 }),
            (|l| l.insert(3, l[1].clone()), Altered::Gap { before: 3, line: 2 }),
            // What was cut off at the end shows by what the device has signed.
            (|l| l.truncate(4), Altered::Signed(5)),
        ];
        for (change, altered) in edits {
            edit(dir.path(), NOW, change);
            assert_eq!(verify(dir.path(), signed), Err(altered));
            fs::write(dir.path().join(NOW), &whole).unwrap();
        }
        // Somebody who writes all of it anew has hashes that fit, and not the one that was signed.
        fs::remove_file(dir.path().join(NOW)).unwrap();
        for n in 1..=6 {
            add(dir.path(), &[Entry::act("hold", "uid 0", Some("another"), at(n))]).unwrap();
        }
        assert!(verify(dir.path(), None).is_ok());
        assert_eq!(verify(dir.path(), signed), Err(Altered::Signed(5)));
        let text = format!("5:{}", signed.unwrap().sha256);
        assert_eq!(parse_head(&text).ok(), signed);
        assert!(parse_head("5").is_err() && parse_head("x:y").is_err());
    }

    #[test]
    fn a_power_cut_breaks_no_log_and_neither_does_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        // A new file is told of only once its name is on the disk; with the next line there is nothing to wait for.
        for (settled, told) in [(false, told(1)), (true, told(2))] {
            durable::power::cut_after(0);
            assert_eq!(add(dir.path(), &[told]).is_ok(), settled);
            assert!(durable::power::restore());
        }
        let path = dir.path().join(NOW);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        add(dir.path(), &[told(3)]).unwrap();
        let verified = verify(dir.path(), None).unwrap();
        assert_eq!((verified.first, verified.head.unwrap().line, verified.torn), (1, 2, 1));
        let long = "x".repeat(1_000);
        for n in 0..400 {
            add(dir.path(), &[Entry::act("hold", "uid 0", Some(&long), at(n))]).unwrap();
        }
        let verified = verify(dir.path(), None).unwrap();
        assert_eq!((verified.head.unwrap().line, verified.torn), (402, 0));
        assert!(verified.first > 1);
        // The line that was signed long ago is kept no more, which is nobody's fault.
        assert!(verify(dir.path(), Some(LogHead { line: 1, sha256: Digest::of(b"") })).is_ok());
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_the_latest() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(1_000);
        for n in 0..600 {
            add(dir.path(), &[Entry::act("hold", &n.to_string(), Some(&long), at(n))]).unwrap();
        }
        let bytes: u64 = [NOW, BEFORE].iter().map(|name| fs::metadata(dir.path().join(name)).unwrap().len()).sum();
        assert!(bytes <= 2 * (MAX_LOG_BYTES + 2_000), "{bytes}");
        let entries = last(dir.path());
        assert_eq!(entries.last().unwrap().by.as_deref(), Some("599"));
        assert!(entries.len() <= MAX_LOG_ENTRIES && entries.len() > 100, "{}", entries.len());
    }
}
