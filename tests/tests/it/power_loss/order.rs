//! What reaches the disk before what, as the kernel was asked for it: each file that is replaced is written, synced, renamed,
//! and its directory synced, and before anything is done beyond the agent's own files the journal says so on the disk. Seen by
//! `strace`, which believes nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::scene::Scene;

const CALLS: &str =
    "openat,write,pwrite64,fsync,fdatasync,syncfs,rename,renameat,renameat2,link,linkat,unlink,unlinkat,execve";
/// Enough of a write that a journal's state is in it.
const SHOWN_BYTES: &str = "8192";

/// One call, as it was completed.
struct Call {
    name: String,
    rest: String,
}

/// The calls in the order of their ends; a call that another thread's interrupts is put together again.
fn calls(log: &str) -> Vec<Call> {
    let (mut calls, mut begun) = (Vec::new(), BTreeMap::new());
    for line in log.lines() {
        let Some((pid, text)) = line.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(rest) = text.strip_prefix("<... ") {
            let end = rest.split_once("resumed>").map_or("", |(_, end)| end);
            if let Some(start) = begun.remove(pid) {
                calls.extend(call(&format!("{start}{end}")));
            }
        } else if let Some(start) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(pid.to_owned(), start.to_owned());
        } else {
            calls.extend(call(text));
        }
    }
    calls
}

fn call(text: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    // What failed changed nothing.
    let failed = rest.rsplit_once(" = ").is_none_or(|(_, result)| result.starts_with('-'));
    (!failed).then(|| Call { name: name.to_owned(), rest: rest.to_owned() })
}

/// The file of a descriptor: `9</path>`.
fn file(rest: &str) -> &str {
    rest.split_once('<').and_then(|(_, path)| path.split_once('>')).map_or("", |(path, _)| path)
}

/// The paths in quotes.
fn paths(rest: &str) -> Vec<&str> {
    rest.split('"').skip(1).step_by(2).filter(|path| path.starts_with('/')).collect()
}

#[derive(Default)]
struct Disk {
    /// Written, and not synced since.
    dirty: BTreeSet<String>,
    /// Renamed, and their directories not synced since.
    unsettled: BTreeSet<String>,
    /// What was written into a file last.
    text: BTreeMap<String, String>,
    /// The state in the newest record that is on the disk.
    journal: String,
    seen: BTreeMap<&'static str, usize>,
}

const STATES: [&str; 11] = [
    "idle",
    "fetching",
    "staging",
    "waiting",
    "claiming",
    "switching",
    "restarting",
    "confirming",
    "reverting",
    "releasing",
    "held",
];

impl Disk {
    fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Something is done that a restart cannot take back: the journal says so, on the disk.
    fn deed(&mut self, what: &'static str, state: &str) {
        self.see(what);
        let loose: Vec<_> = self.unsettled.iter().filter(|p| p.contains("/journal")).collect();
        assert!(loose.is_empty(), "{what} before {loose:?} was on the disk");
        assert_eq!(self.journal, state, "the journal at: {what}");
    }

    fn renamed(&mut self, from: &str, to: &str) {
        // Shown to people while the agent runs, and of no use after a cut.
        if to.ends_with("/live.json") {
            return;
        }
        assert!(!self.dirty.contains(from), "{from} got the name {to} before it was on the disk");
        self.unsettled.insert(to.to_owned());
        if let Some(text) = self.text.remove(from) {
            self.text.insert(to.to_owned(), text);
        }
        self.see("rename");
    }

    fn synced(&mut self, path: &str) {
        self.dirty.remove(path);
        self.see("sync");
        let settled: Vec<_> =
            self.unsettled.iter().filter(|p| Path::new(p).parent() == Some(Path::new(path))).cloned().collect();
        for path in settled {
            self.unsettled.remove(&path);
            if path.contains("/journal") {
                let text = &self.text[&path];
                let of = |state: &&str| text.contains(&format!("\\\"state\\\":{{\\\"{state}\\\":"));
                self.journal = STATES.into_iter().find(|state| of(state)).unwrap().to_owned();
                self.see("record");
            }
        }
    }
}

/// Follows a log; what a case's directory has to do with is all that counts.
fn follow(log: &str, dir: &str) -> Disk {
    let mut disk = Disk::default();
    for Call { name, rest } in calls(log) {
        match name.as_str() {
            "execve" if rest.contains("slots/current/app/FAULT") => disk.deed("restart", "restarting"),
            "execve" if rest.contains("/answers\"") && rest.contains("\"test\"") => disk.deed("probe", "confirming"),
            "write" | "pwrite64" if file(&rest).starts_with(dir) => {
                let path = file(&rest).to_owned();
                disk.text.insert(path.clone(), rest);
                disk.dirty.insert(path);
            }
            "fsync" | "fdatasync" => disk.synced(file(&rest)),
            "syncfs" => disk.dirty.clear(),
            "rename" | "renameat" | "renameat2" => {
                if let [from, to] = paths(&rest)[..]
                    && to.starts_with(dir)
                {
                    match to.strip_prefix(dir) {
                        Some("/slots/current") => disk.deed("switch", "switching"),
                        Some("/slots/b") => {
                            let below: Vec<_> = disk.dirty.iter().filter(|p| p.starts_with(from)).collect();
                            assert!(below.is_empty(), "{below:?} are in the slot before they are on the disk");
                            disk.deed("slot", "staging");
                        }
                        _ => disk.renamed(from, to),
                    }
                }
            }
            "link" | "linkat" if rest.contains("in-use.lock") => disk.deed("claim", "claiming"),
            "unlink" | "unlinkat" if paths(&rest).iter().any(|p| p.ends_with("/in-use.lock")) => {
                disk.deed("release", "releasing");
            }
            _ => {}
        }
    }
    disk
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_before_the_disk_has_it_and_no_file_gets_its_name_before_its_bytes() {
    let may = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if !may.expect("strace is missing: apt-get install strace").success() {
        println!("this system lets nobody trace a process");
        return;
    }
    let scene = Scene::open(super::journeys::SLOTS).await;
    let case = scene.case("confirmed");
    let (log, dir) = (case.dir.join("strace.log"), case.dir.to_str().unwrap());
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", SHOWN_BYTES, "-e", CALLS, "-o"]).arg(&log).arg(env!("CARGO_BIN_EXE_cut-agent"));
    command.arg("--config").arg(case.dir.join("agent.toml"));
    command.args(["--now-ms", &scene.now.as_millisecond().to_string(), "run"]).stdin(Stdio::null());
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let log = fs::read_to_string(log).unwrap();
    let disk = follow(&log, dir);
    println!("{:?}", disk.seen);
    for deed in ["slot", "claim", "switch", "restart", "probe", "release"] {
        assert_eq!(disk.seen.get(deed), Some(&1), "{deed}: {:?}", disk.seen);
    }
    // Each transition of the journey, from the claim on twice.
    assert!(disk.seen["record"] >= 15 && disk.seen["rename"] > disk.seen["record"], "{:?}", disk.seen);
    let left: Vec<_> = disk.unsettled.iter().filter(|p| p.starts_with(dir)).collect();
    assert!(left.is_empty(), "names that never came to the disk: {left:?}");
}

#[test]
fn a_log_in_which_something_comes_too_early_is_not_passed() {
    let state = |s: &str| format!("\"{{\\\"state\\\":{{\\\"{s}\\\":{{}}}}}}\"");
    let record = |s: &str| {
        format!(
            "1 write(7</d/state/journal.json.tmp>, {}, 9) = 9\n1 fsync(7</d/state/journal.json.tmp>) = 0\n\
             1 rename(\"/d/state/journal.json.tmp\", \"/d/state/journal.json\") = 0\n",
            state(s)
        )
    };
    let settle =
        "2 fsync(8</d/state> <unfinished ...>\n1 write(1</dev/null>, \"x\", 1) = 1\n2 <... fsync resumed>) = 0\n";
    let switch = "1 rename(\"/d/slots/current.new\", \"/d/slots/current\") = 0\n";
    let good = format!("{}{settle}{switch}", record("switching"));
    assert_eq!(follow(&good, "/d").seen.get("switch"), Some(&1));
    let failed = format!(
        "{}{settle}1 rename(\"/d/slots/current.new\", \"/d/slots/current\") = -1 ENOENT (x)\n",
        record("switching")
    );
    assert_eq!(follow(&failed, "/d").seen.get("switch"), None);
    for (wrong, log) in [
        ("the directory is not synced", format!("{}{switch}", record("switching"))),
        ("another state", format!("{}{settle}{switch}", record("claiming"))),
        ("no fsync", good.replace("1 fsync(7</d/state/journal.json.tmp>) = 0\n", "")),
        ("an fsync that failed", good.replace("journal.json.tmp>) = 0", "journal.json.tmp>) = -1 EIO (x)")),
    ] {
        let followed = std::panic::catch_unwind(|| follow(&log, "/d"));
        assert!(followed.is_err(), "{wrong} was passed");
    }
}
