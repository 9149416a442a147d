//! The commands' answers, and `deploy/reasons.md`: all reasons, exit codes and refusals on one page, which is written by the
//! code and compared with it. `SUTURE_SNAPSHOTS=write` writes it anew; then read it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tonic::{Code as StatusCode, Status};

use super::*;
use crate::client::refusal;
use crate::failure::Exit;
use crate::print::Format;

/// The statuses that a server's calls end with, and when.
const REFUSALS: [(StatusCode, &str); 14] = [
    (
        StatusCode::Unauthenticated,
        "the certificate or the token is not known, revoked or expired; devices renew theirs by themselves",
    ),
    (StatusCode::PermissionDenied, "the call is not for this kind of caller, or not for this one's things"),
    (StatusCode::InvalidArgument, "a field or a document does not hold what it must, or does not verify"),
    (StatusCode::NotFound, "what is named is not there, or is another hospital's"),
    (
        StatusCode::AlreadyExists,
        "it is there already, or that version of the list is taken: somebody published meanwhile; look, then try again",
    ),
    (
        StatusCode::FailedPrecondition,
        "not in this state, or what it was made upon has moved; look, then do it upon what is there now",
    ),
    (
        StatusCode::Aborted,
        "something newer has taken its place: the next letter's number, a device's newer transfer; do it again",
    ),
    (StatusCode::ResourceExhausted, "a bound is reached: the server's disk, calls at a time, tokens, letters"),
    (StatusCode::OutOfRange, "the request is longer than such a caller may send"),
    (StatusCode::Unavailable, "not just now: the database is busy or away; try again"),
    (
        StatusCode::DeadlineExceeded,
        "an upload has said nothing for too long; run the command again, what was sent is kept",
    ),
    (StatusCode::Unimplemented, "this server does not know the call; it is older than the caller"),
    (StatusCode::Internal, "a fault of the server's: its log says why"),
    (
        StatusCode::DataLoss,
        "what the server keeps is not what was signed, and is not handed out: its security events say which, its backup has it",
    ),
];

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn said(asked: &str, format: Format) -> Outcome<String> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = Args { code: (!asked.is_empty()).then(|| asked.to_owned()) };
    run(&args, &mut Printer::new(&mut out, &mut err, format))?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_code_is_explained_however_it_was_copied() {
    for asked in ["disk-full", "fell_back(disk-full)", "disk-full: 734 MB are needed", "disk"] {
        let text = said(asked, Format::Text).unwrap();
        assert!(text.starts_with("disk-full: Not enough disk."), "{text}");
        assert!(text.contains("not for good") && text.contains("makes room on its disk"), "{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&said("health-failed", Format::Json).unwrap()).unwrap();
    assert_eq!((&json[0]["word"], &json[0]["for_good"]), (&"device".into(), &true.into()), "{json}");
    assert_eq!(json[0]["met_by"], "person", "{json}");
    for nothing in ["warp-core", ")"] {
        assert!(said(nothing, Format::Text).is_err(), "{nothing}");
    }
    assert_eq!(said("", Format::Text).unwrap().lines().count(), Code::ALL.len() + 1);
}

#[test]
fn every_code_has_a_meaning_in_one_sentence() {
    for code in Code::ALL {
        let meaning = code.meaning();
        assert!(meaning.ends_with('.') && !meaning.starts_with(' '), "{code}: {meaning:?}");
    }
}

/// What `suture-agent why` says to whoever stands at the device, as the agent's own tests keep it.
fn at_the_device(code: Code) -> (String, String) {
    let (by_itself, you_can) = told(code.as_str());
    // It holds the device where the journal itself is lost, and only then `suture-agent recover` ends it.
    if code == Code::StateDamaged {
        let (idle, idle_can) = told("state-damaged-idle");
        return (format!("Held: {by_itself} Else: {idle}"), format!("Held: {you_can} Else: {idle_can}"));
    }
    (by_itself, you_can)
}

/// The two lines of one of the snapshots.
fn told(name: &str) -> (String, String) {
    let path = root(&format!("agent/tests/why/{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let line = |begins: &str| {
        let found = text.lines().find_map(|l| l.strip_prefix(begins));
        found.unwrap_or_else(|| panic!("{name} has no {begins}")).trim().to_owned()
    };
    (line("  by itself  "), line("  you can    "))
}

const HEAD: &str = "# Reasons, exit codes, refusals

Everything that the programs answer when they do not do a thing, on one page. It is written by the code that answers
(`SUTURE_SNAPSHOTS=write cargo nextest run -p suture-ctl --lib reasons`), and a test compares the two. Without a browser:
`suturectl reasons CODE` explains one, and needs no server; at the device, `suture-agent why` says the same of what it waits for.
Whose word a code usually is stands with it; the word in brackets that `device why` and `rollout why` print is this case's, and goes before.

";

fn reasons(page: &mut String) {
    page.push_str("## Reasons\n\nCodes are stable: monitoring may match on them. The sentence that comes with one says which thing it is about.\n");
    for word in [Word::Signed, Word::Device, Word::Server] {
        let _ = writeln!(page, "\nWord: {}.", word.worth());
    }
    let mut all = Code::ALL.to_vec();
    all.sort_by_key(|code| code.as_str());
    for code in all {
        let Explained { meaning, word, for_good, remedy, .. } = Explained::of(code);
        let (by_itself, you_can) = at_the_device(code);
        let lasts = if for_good { "for good" } else { "not for good" };
        let _ = write!(
            page,
            "\n### `{code}`\n\n{meaning} Word: {}; {lasts}.\n\n- The operator: {}.\n- By itself: {by_itself}\n- At the device: {you_can}\n",
            word.as_str(),
            remedy.text()
        );
    }
}

fn exits(page: &mut String) {
    page.push_str("\n## Exit codes\n\n| program | code | meaning |\n| --- | --- | --- |\n");
    let ctl = |exit: Exit| match exit {
        Exit::Failed => "failed here: a file, a key, a wrong input; `rollout watch`: the rollout did not complete",
        Exit::Usage => "the command line is not understood",
        Exit::Refused => "refused by the server: not allowed, not there, not in this state",
        Exit::Unreachable => "the server cannot be reached; what was asked for may have been done",
        Exit::Untrusted => "something does not verify: metadata, a digest, a fingerprint, the audit record",
    };
    let all = [Exit::Failed, Exit::Usage, Exit::Refused, Exit::Unreachable, Exit::Untrusted];
    let all = all.map(|exit| (exit as u8, ctl(exit)));
    let mut rows = vec![("suturectl", 0, "done")];
    rows.extend(all.map(|(code, text)| ("suturectl", code, text)));
    rows.sort_by_key(|(_, code, _)| *code);
    rows.extend([
        ("suture-server", 0, "done, or stopped as asked"),
        ("suture-server", 1, "failed: a file, the database, the port"),
        ("suture-server", 64, "the command line or the configuration is wrong; every fault of it is named at once"),
        ("suture-agent", 0, "done"),
        ("suture-agent", 1, "failed"),
        ("suture-agent", 2, "the command line is wrong"),
        ("suture-agent", 3, "refused by the agent: not by this account, or there is nothing now that it would answer"),
        ("suture-agent", 5, "what was handed over does not verify"),
        ("suture-agent", 64, "the configuration is wrong"),
        ("suture-boot", 0, "whatever it found: it never keeps the device from starting"),
        ("suture-boot", 64, "the command line is wrong"),
    ]);
    for (program, code, meaning) in rows {
        let _ = writeln!(page, "| `{program}` | {code} | {meaning} |");
    }
    page.push_str("\nA program that a signal has ended has 128 and the signal's number, by the shell's count: 130 after Ctrl-C.\n");
}

fn refusals(page: &mut String) {
    page.push_str(
        "\n## How the server refuses\n\nThe status of the call (gRPC), which `suturectl` turns into its exit code. The sentence \
         of the status says which thing it is about.\n\n| status | when | exit code |\n| --- | --- | --- |\n",
    );
    for (code, when) in REFUSALS {
        let exit = refusal("call", Status::new(code, "text")).exit as u8;
        let _ = writeln!(page, "| `{code:?}` | {when} | {exit} |");
    }
}

#[test]
fn the_page_is_what_the_code_says() {
    let mut page = HEAD.to_owned();
    reasons(&mut page);
    exits(&mut page);
    refusals(&mut page);
    let path = root("deploy/reasons.md");
    if std::env::var("SUTURE_SNAPSHOTS").is_ok_and(|how| how == "write") {
        std::fs::write(&path, &page).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "deploy/reasons.md is not what the code says; SUTURE_SNAPSHOTS=write writes it anew");
}

/// Every status that the server's sources give stands on the page, and none that they do not.
#[test]
fn the_servers_statuses_are_those_on_the_page() {
    fn read(dir: &Path, text: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if path.is_dir() && name != "tests" {
                read(&path, text);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let source = std::fs::read_to_string(&path).unwrap();
                text.push_str(source.split("#[cfg(test)]\nmod ").next().unwrap());
            }
        }
    }
    let mut source = String::new();
    read(&root("server/src"), &mut source);
    let snake = |code: StatusCode| {
        let name = format!("{code:?}");
        let parts =
            name.chars().map(|c| if c.is_uppercase() { format!("_{}", c.to_lowercase()) } else { c.to_string() });
        parts.collect::<String>().trim_start_matches('_').to_owned()
    };
    for code in (1..17).map(StatusCode::from_i32) {
        let given =
            [format!("Status::{}(", snake(code)), format!("(Code::{code:?},"), format!("Self::new(Code::{code:?}")];
        let is_given = given.iter().any(|g| source.contains(g));
        let is_told = REFUSALS.iter().any(|(told, _)| *told == code);
        assert_eq!(is_given, is_told, "{code:?}");
    }
}
