//! Where the agent may end: just before each of its side effects, and just after those that reach beyond its own files.
//!
//! Accident: the power fails, or the process is killed, between any two lines. What is done here is on the disk, or at the
//! device, or at the server by then, or it is not; each such place has a name, and a test ends a real agent at every one of
//! them, starts it again and looks what becomes of it. [`FILES`], [`PLACES`] and [`DEEDS`] are the whole list: that test fails where an
//! agent passes a place that is not in it, or never passes one that is.
//!
//! Who watches is handed in from outside, once for the process, because the files are written far below anything that could
//! hand a watcher down. In the shipped program nobody watches: a place costs a look at a word of memory.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

/// What is about to be done with a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// It is made.
    Make,
    /// Its bytes are written: beside it, where it has some already.
    Write,
    /// What was written is brought to the disk.
    Sync,
    /// It gets its name: what was written beside it takes its place.
    Rename,
    /// The names in its directory are brought to the disk.
    Settle,
    /// It is removed, and all that is below it.
    Remove,
}

/// What reaches beyond the agent's own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The interlock is claimed.
    Claim,
    /// The device's software is restarted.
    Restart,
    /// The new version's health is probed.
    Probe,
    /// The interlock is released.
    Release,
    /// The server is called, for this.
    Call(&'static str),
    /// The installer takes this step.
    Install(&'static str),
    /// The program that keeps the device's own data is told this word.
    Data(&'static str),
}

/// A place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint<'a> {
    /// Before this is done with that file.
    File(Step, &'a Path),
    /// Before this is done with a place that the configuration names, which has this part.
    Place(Step, &'static str, &'a Path),
    /// Before a deed.
    Before(Deed),
    /// After it, before anything is known of it on the disk.
    After(Deed),
}

/// What is passed on the way of a file that is replaced whole.
const REPLACED: &[Step] = &[Step::Write, Step::Sync, Step::Rename, Step::Settle];
/// The same, where it is removed when it has served.
const PASSING: &[Step] = &[Step::Write, Step::Sync, Step::Rename, Step::Settle, Step::Remove];

/// A directory for them, made once.
const MADE: &[Step] = &[Step::Make, Step::Settle];
/// The same, until it has served.
const HELD: &[Step] = &[Step::Make, Step::Settle, Step::Remove];
/// What is written where it lies, with nothing beside it.
const OVER: &[Step] = &[Step::Write, Step::Sync];
/// A slot, where it is replaced by the one that was written.
const SLOT: &[Step] = &[Step::Remove, Step::Rename, Step::Settle];
/// The same; what is known of a partition lies in a directory of that name.
const MADE_SLOT: &[Step] = &[Step::Make, Step::Remove, Step::Rename, Step::Settle];
/// A link to one.
const LINK: &[Step] = &[Step::Make, Step::Rename, Step::Settle];
/// What is made, gets another name, and goes.
const PASSAGE: &[Step] = &[Step::Make, Step::Rename, Step::Settle, Step::Remove];
/// A directory that is written anew each time.
const ANEW: &[Step] = &[Step::Remove, Step::Make, Step::Sync];

/// Every file that the agent changes: its place (`*` stands for a part of one name, `**` for all that is below), what is done
/// with it, and what it is for. The first that fits counts.
pub const FILES: &[(&str, &[Step], &str)] = &[
    ("inbox/*.tmp/**", &[Step::Make, Step::Write, Step::Sync, Step::Rename, Step::Settle], "what is read of a stick"),
    ("inbox/*.tmp", PASSAGE, "all of that, until it has its name, and once it was taken in"),
    ("journal.json", PASSING, "what the device is at: the newest record, or the one before"),
    ("journal.second.json", PASSING, "the other one of these two"),
    ("outbox/*.report", PASSING, "a signed report that the server has not got"),
    ("outbox/mark.json", REPLACED, "up to which number it has got them"),
    ("floor.json", REPLACED, "what never sinks"),
    (".suture-floor.json", REPLACED, "its second copy, beside the slots"),
    ("lease.json", PASSING, "the server's lease, until it is given back"),
    ("stops/*.json", PASSING, "a stop order or lift"),
    ("catalog/root.json", REPLACED, "the manufacturer's root"),
    ("catalog/root.before.json", REPLACED, "the root before it"),
    ("catalog/*.json", PASSING, "its other metadata"),
    ("approvals/root.json", REPLACED, "the hospital's root"),
    ("approvals/root.before.json", REPLACED, "the root before it"),
    ("approvals/*.json", PASSING, "its other metadata"),
    ("documents/*", PASSING, "a signed document, by digest"),
    ("delegated/*", PASSING, "metadata of a role that the catalog delegates to"),
    ("identity/asked.pem", PASSING, "the keys of a device that enrols, until it has"),
    ("identity/*.copy", REPLACED, "the second copy of each of the next five"),
    ("identity/report.pem", REPLACED, "the report key"),
    ("identity/ca.pem", REPLACED, "the server's authority, as enrolment had it"),
    ("identity/tls.pem", REPLACED, "the key for connections, and its certificate"),
    ("identity/device.json", REPLACED, "what enrolment settled"),
    ("identity/ways.json", REPLACED, "the signed ways to the server"),
    ("identity/earlier.pem", REPLACED, "earlier certificates"),
    ("inbox/*.stop", PASSING, "a stop order by a person's hand"),
    ("inbox/*.stick", &[Step::Rename, Step::Settle], "what was read of a stick"),
    ("*.lock", PASSING, "the interlock, where it is a file"),
    ("question.json", PASSING, "what a person at the device is asked"),
    ("confirmation.json", PASSING, "what that person has said"),
    ("deferrals.json", REPLACED, "how often the interlock has put an attempt off"),
    ("took.json", REPLACED, "how long installs have taken"),
    ("events.json", PASSING, "security events that the server has not got"),
    ("run.json", PASSING, "how the last run of the agent ended, and by which settings it ran"),
    ("hold.json", PASSING, "a person's word that nothing is begun"),
    ("farewell", PASSING, "that the device leaves its hospital, which is being told"),
    ("leaving", PASSING, "a device that leaves its hospital, until nothing of it is left"),
    ("sources.json", PASSING, "where a bundle's bytes came from"),
    ("data-copy.json.copy", PASSING, "the second copy of the next one"),
    ("data-copy.json", PASSING, "for which bundle the device's own data were copied"),
    ("gave-way.json", REPLACED, "which programs of the agent's own gave way"),
    ("record.json", PASSING, "what it remembers of the server's audit record"),
    ("integrity.json", PASSING, "whether what runs lies there as it was signed"),
    (
        "live.json",
        &[Step::Write, Step::Rename, Step::Settle, Step::Remove],
        "how far the agent is, for people; of no use after a power cut",
    ),
    ("log.jsonl", &[Step::Settle, Step::Remove], "what has happened, for people"),
    ("fetch/*/manifest.json", REPLACED, "a manifest on its way"),
    ("fetch/*/*.index", REPLACED, "a payload's index on its way"),
    ("fetch/*/*.part", &[Step::Write, Step::Sync], "a payload on its way"),
    ("fetch/*/*.rest", &[Step::Write, Step::Rename], "the chunk that is on its way"),
    ("fetch/*/*.wrong", REPLACED, "what was wrong with a payload's deltas"),
    ("fetch/*", MADE, "a bundle on its way"),
    ("fetch", &[Step::Make, Step::Settle, Step::Remove], "all of that"),
    ("slots/provision.tmp", &[Step::Make, Step::Settle, Step::Remove], "the factory's version, as it is packed"),
    ("slots/bundle.tmp", &[Step::Make, Step::Settle, Step::Remove], "what the installer's program is to install"),
    ("slots/*.new", ANEW, "a slot that is being written"),
    ("suture-agent/*.new", ANEW, "the same, of the agent's own program"),
    ("*.new/*", &[Step::Write], "a payload in it"),
    (".suture/manifest.json", PASSING, "what the slot holds"),
    (".suture/*.index", REPLACED, "a payload's index in it"),
    (".suture/*/manifest.json", REPLACED, "what the installer's program has written"),
    (".suture/*/*.index", REPLACED, "a payload's index of it"),
    (".suture/rauc.json", REPLACED, "what RAUC says that the slot holds"),
    (".suture/*", HELD, "both of these, of one version, until it is there no more"),
    ("slots/.suture", MADE, "all of these, where they do not lie in the slot"),
    ("slots/*/.suture", MADE, "what is known of a slot that is a partition"),
    ("slots/restart.json", REPLACED, "by which start of the device a restart of it was asked for"),
    ("slots/a", MADE_SLOT, "a slot, where it is replaced by the one that was written"),
    ("slots/b", MADE_SLOT, "the other"),
    ("slots/current", LINK, "the link that names the slot in use"),
    ("slots/trial-*", PASSAGE, "the way back of a slot that is not confirmed"),
    ("suture-agent/program.tmp", &[Step::Write, Step::Settle, Step::Remove], "the agent's next program, unpacked"),
    ("suture-agent/a/*", &[Step::Sync], "that it can be run"),
    ("suture-agent/b/*", &[Step::Sync], "that it can be run"),
    ("suture-agent/a", SLOT, "a slot of the agent's own"),
    ("suture-agent/b", SLOT, "the other"),
    ("suture-agent/current", LINK, "the link that names the agent's program"),
    ("suture-agent/trial-*", PASSAGE, "the way back of one that has not reported"),
    ("entries/*.conf", PASSING, "an entry of systemd-boot's"),
    ("trust/catalog", MADE, "a directory"),
    ("trust/approvals", MADE, "a directory"),
    ("trust", HELD, "a directory"),
    ("documents", MADE, "a directory"),
    ("delegated", MADE, "a directory"),
    ("identity", HELD, "a directory"),
    ("outbox", HELD, "a directory"),
    ("stops", HELD, "a directory"),
    ("inbox", HELD, "a directory"),
    ("state", MADE, "a directory"),
];

/// Every place that the configuration names and that is written where it lies.
pub const PLACES: &[(&str, &[Step], &str)] = &[
    ("a payload's place", OVER, "a partition, or a file in the place of one"),
    ("the boot loader's environment", OVER, "one of U-Boot's two copies"),
];

/// Every deed.
pub const DEEDS: &[(Deed, &str)] = &[
    (Deed::Claim, "from then on the device refuses clinical use"),
    (Deed::Restart, "from then on the version that the link names runs"),
    (Deed::Probe, "changes nothing"),
    (Deed::Release, "from then on the device may be used"),
    (Deed::Install("prepare"), "from then on the new version lies beside the old one"),
    (Deed::Install("switch"), "from then on the new version starts next"),
    (Deed::Install("commit"), "from then on nothing goes back by itself"),
    (Deed::Install("revert"), "from then on the old version starts next"),
    (Deed::Install("settle"), "from then on what runs starts next"),
    (Deed::Data("snapshot"), "there is a copy of the device's own data"),
    (Deed::Data("restore"), "the device's own data are as they were"),
    (Deed::Data("discard"), "the copy is gone"),
    (Deed::Call("the enrolment"), "the token is spent, for all but these keys"),
    (Deed::Call("the check-in"), "changes nothing"),
    (Deed::Call("the renewal"), "there is another certificate"),
    (Deed::Call("the metadata"), "changes nothing"),
    (Deed::Call("the document"), "changes nothing"),
    (Deed::Call("the refresh"), "changes nothing"),
    (Deed::Call("the lease"), "the ward's place may be taken"),
    (Deed::Call("the lease's return"), "the ward's place is free"),
    (Deed::Call("the reports"), "the server has them"),
    (Deed::Call("the index"), "changes nothing"),
    (Deed::Call("the transfer"), "changes nothing"),
    (Deed::Call("the delta's head"), "changes nothing"),
    (Deed::Call("the delta"), "changes nothing"),
];

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Make => "make",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Settle => "settle",
            Self::Remove => "remove",
        })
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Claim => "claim",
            Self::Restart => "restart",
            Self::Probe => "probe",
            Self::Release => "release",
            Self::Call(what) => return write!(f, "call for {what}"),
            Self::Install(step) => return write!(f, "the installer's {step}"),
            Self::Data(word) => return write!(f, "the data's {word}"),
        })
    }
}

/// Its name, as in [`names`]; of a file that is not in the list, its path.
impl fmt::Display for Checkpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(step, path) => match FILES.iter().find(|(pattern, ..)| is(pattern, path)) {
                Some((pattern, ..)) => write!(f, "{step} {pattern}"),
                None => write!(f, "{step} {}", path.display()),
            },
            Self::Place(step, what, _) => write!(f, "{step} {what}"),
            Self::Before(deed) => write!(f, "before {deed}"),
            Self::After(deed) => write!(f, "after {deed}"),
        }
    }
}

/// The names of all places.
pub fn names() -> impl Iterator<Item = String> {
    let files = FILES
        .iter()
        .chain(PLACES)
        .flat_map(|(pattern, steps, _)| steps.iter().map(move |step| format!("{step} {pattern}")));
    let deeds = DEEDS.iter().flat_map(|(deed, _)| [format!("before {deed}"), format!("after {deed}")]);
    files.chain(deeds)
}

/// Whether the last names of a path are these.
fn is(pattern: &str, path: &Path) -> bool {
    if let Some(above) = pattern.strip_suffix("/**") {
        return path.ancestors().skip(1).any(|path| is(above, path));
    }
    let mut names = path.components().rev().filter_map(|c| c.as_os_str().to_str());
    pattern.rsplit('/').all(|wanted| {
        names.next().is_some_and(|name| match wanted.split_once('*') {
            Some((before, after)) => {
                name.len() >= before.len().saturating_add(after.len())
                    && name.starts_with(before)
                    && name.ends_with(after)
            }
            None => name == wanted,
        })
    })
}

/// Who watches. An error is the effect's: as if the disk had refused.
pub type Watcher = Box<dyn Fn(&Checkpoint<'_>) -> io::Result<()> + Send + Sync>;

static WATCHER: OnceLock<Watcher> = OnceLock::new();

/// Has somebody watch in this process from now on. For tests: the programs that are shipped do not call it.
///
/// # Errors
///
/// Somebody watches already.
pub fn watch(watcher: Watcher) -> Result<(), Watcher> {
    WATCHER.set(watcher)
}

/// Passes a place before an effect that may fail.
///
/// # Errors
///
/// Whoever watches wants the effect to fail.
pub(crate) fn pass(checkpoint: Checkpoint<'_>) -> io::Result<()> {
    #[cfg(test)]
    crate::durable::power::step()?;
    match WATCHER.get() {
        Some(watcher) => watcher(&checkpoint),
        None => Ok(()),
    }
}

/// Passes a place of a file.
///
/// # Errors
///
/// See [`pass`].
pub(crate) fn file(step: Step, path: &Path) -> io::Result<()> {
    pass(Checkpoint::File(step, path))
}

/// Passes a place that the configuration names.
///
/// # Errors
///
/// See [`pass`].
pub(crate) fn place(step: Step, what: &'static str, path: &Path) -> io::Result<()> {
    pass(Checkpoint::Place(step, what, path))
}

/// Does a deed between its two places.
pub(crate) async fn deed<T>(deed: Deed, done: impl Future<Output = T>) -> T {
    // A deed has its own ways to fail.
    let _ = pass(Checkpoint::Before(deed));
    let came = done.await;
    let _ = pass(Checkpoint::After(deed));
    came
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_place_has_a_name_of_its_own_and_a_file_the_first_that_fits() {
        let all: Vec<_> = names().collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        let name = |path: &str| Checkpoint::File(Step::Rename, Path::new(path)).to_string();
        assert_eq!(name("/s/state/outbox/00000000000000000001.report"), "rename outbox/*.report");
        assert_eq!(name("/s/state/trust/catalog/root.json"), "rename catalog/root.json");
        assert_eq!(name("/s/state/trust/catalog/timestamp.json"), "rename catalog/*.json");
        assert_eq!(name("/s/state/inbox/0a.tmp/catalog/1.root.json"), "rename inbox/*.tmp/**");
        assert_eq!(name("/s/state/inbox/0a.tmp"), "rename inbox/*.tmp");
        assert_eq!(name("/s/slots/b.new/.suture/app.index"), "rename .suture/*.index");
        assert_eq!(name("/s/elsewhere"), "rename /s/elsewhere", "which is in no list, and so no test passes with it");
        let call = Checkpoint::After(Deed::Call("the reports")).to_string();
        assert!(all.contains(&call) && call == "after call for the reports");
    }
}
