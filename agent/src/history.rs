//! What happened on the device, for `suture-agent log`: what the machine told, and what people at the device said.
//!
//! A line of JSON for each, in `log.jsonl`; once that is full it becomes `log.1.jsonl` in the place of the one before. It is
//! for people alone: nothing is decided by it, a line that was torn is passed over, and one that could not be written is
//! missing and keeps nothing up.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::{format_utc, utc, whole_second};
use suture_core::limits::{MAX_LOG_BYTES, MAX_LOG_ENTRIES};
use suture_core::phase::Reason;

use crate::durable::{self, DurableError};
use crate::machine::Told;

const NOW: &str = "log.jsonl";
const BEFORE: &str = "log.1.jsonl";

/// The loop and the local face write, one at a time.
static PEN: Mutex<()> = Mutex::new(());

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Adds lines.
///
/// # Errors
///
/// The disk.
pub fn add(state_dir: &Path, entries: &[Entry]) -> Result<(), DurableError> {
    let Ok(_pen) = PEN.lock() else { return Ok(()) };
    let path = state_dir.join(NOW);
    let written = (|| {
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
            serde_json::to_writer(&mut bytes, entry)?;
            bytes.push(b'\n');
        }
        file.write_all(&bytes)?;
        file.sync_data()
    })();
    written.map_err(DurableError::io("write", &path))
}

/// The last lines, oldest first. A file that cannot be read is as one that is not there.
pub fn last(state_dir: &Path) -> Vec<Entry> {
    let mut entries: Vec<Entry> = [BEFORE, NOW].iter().flat_map(|name| read(&state_dir.join(name))).collect();
    let surplus = entries.len().saturating_sub(MAX_LOG_ENTRIES);
    entries.drain(..surplus);
    entries
}

fn read(path: &Path) -> Vec<Entry> {
    let whole = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One line more than the bound may be in it.
        fs::File::open(path)?.take(MAX_LOG_BYTES.saturating_mul(2)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = whole().unwrap_or_default();
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
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
