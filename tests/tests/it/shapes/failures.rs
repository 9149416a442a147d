//! How `suturectl` fails beside `--output json`: one JSON object on standard error and nothing else, whatever is wrong, with the
//! exit code that it names. Every command is tried as it stands in its own example, in each of the ways in which most go wrong;
//! what only some meet follows by itself.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use suture_tests::world::{HDO, Kind, Operator, World, text};

use super::manufacturer::ADVISORY;
use crate::help::{examples, filled, leaves, words};

/// Whose words are followed by a place to write to: there, not where the tests run.
const WRITES: [&str; 5] = ["-o", "--out", "--output-dir", "--envelope", "write"];

/// What a command printed, and its exit code.
struct Ended {
    words: Vec<String>,
    exit: u8,
    out: String,
    err: String,
}

impl Ended {
    /// What is wrong with how the failure is told.
    fn fault(&self) -> Option<String> {
        let Self { words, exit, out, err } = self;
        let told = |why: &str| Some(format!("{words:?}: {why}: {err}"));
        let Ok(fields) = serde_json::from_str::<BTreeMap<String, Value>>(err) else {
            return told("it is not one object and nothing else");
        };
        if err.trim_end().lines().count() != 1 {
            return told("it has several lines");
        }
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        if names != ["causes", "error", "exit", "next", "notes"] {
            return told("it has other fields");
        }
        let texts = |name| fields[name].as_array().is_some_and(|list| list.iter().all(Value::is_string));
        let next = fields["next"].is_string() || fields["next"].is_null();
        if !(texts("causes") && texts("notes") && next && fields["error"].as_str().is_some_and(|e| !e.is_empty())) {
            return told("its fields are of other types");
        }
        if fields["exit"] != *exit {
            return told("it names another exit code");
        }
        // What was found is told before it fails the command, and is a value too.
        let printed = out.is_empty() || serde_json::from_str::<Value>(out).is_ok();
        if printed { None } else { told(&format!("it printed {out}")) }
    }

    fn told(&self) -> Value {
        serde_json::from_str(&self.err).unwrap_or_default()
    }
}

async fn ctl(who: &Operator, words: &[String]) -> Ended {
    let home = ["suturectl", "--home", text(who.home()), "--output", "json"].map(str::to_owned);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let line = [&home[..], words].concat();
    let exit = Box::pin(suture_ctl::run(line, &mut out, &mut err, who.clock())).await;
    let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
    Ended { words: words.to_owned(), exit, out, err }
}

/// Every command as its first example has it, but for the program's name. What it would write it writes below `dir`, and no
/// passphrase is asked for.
fn commands(dir: &Path) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    leaves(&suture_ctl::command(), &[], &mut found);
    let line = |(path, text): (Vec<String>, String)| {
        let path = path.join(" ");
        let lines = examples("suturectl", &text);
        let line = lines.iter().find(|line| **line == path || line.starts_with(&format!("{path} "))).unwrap();
        let mut line: Vec<String> = words(line).into_iter().skip(1).map(|word| filled(&word)).collect();
        for at in 1..line.len() {
            if WRITES.contains(&line[at - 1].as_str()) {
                line[at] = text_of(&dir.join(line[at].trim_start_matches(['/', '~'])));
            }
        }
        line.extend(["--passphrase-file".to_owned(), text_of(&dir.join("no-such-file"))]);
        if line[1] == "change-passphrase" {
            line.extend(["--new-passphrase-file".to_owned(), text_of(&dir.join("no-such-file"))]);
        }
        line
    };
    found.into_iter().map(line).collect()
}

fn text_of(path: &Path) -> String {
    text(path).to_owned()
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// Runs all of them, and says how many ended with each code.
async fn all(who: &Operator, commands: &[Vec<String>], faults: &mut Vec<String>) -> BTreeMap<u8, usize> {
    let mut codes = BTreeMap::new();
    for words in commands {
        let ended = ctl(who, words).await;
        if ended.exit != 0 {
            faults.extend(ended.fault());
        }
        *codes.entry(ended.exit).or_default() += 1;
    }
    codes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_of_suturectl_is_one_object_and_nothing_else() {
    let mut world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    let commands = commands(&world.path("."));
    let (count, mut faults) = (commands.len(), Vec::new());

    // Nobody understands it: a flag that there is not, and words that end too early.
    for words in &commands {
        let ended = ctl(&ada, &[words.clone(), owned(&["--warp"])].concat()).await;
        assert_eq!(ended.exit, 2, "{words:?}");
        assert!(ended.told()["error"].as_str().is_some_and(|e| e.contains("--warp")), "{}", ended.err);
        faults.extend(ended.fault());
    }
    let early = ctl(&ada, &owned(&["rollout"])).await;
    assert_eq!((early.exit, early.fault()), (2, None), "{}", early.err);

    // Nobody has joined anything; what the program says of itself it says all the same.
    let nobody = world.operator("nobody");
    let codes = all(&nobody, &commands, &mut faults).await;
    assert!(codes.keys().all(|code| [0, 1].contains(code)) && codes[&0] <= 6, "{codes:?}");

    // Whoever was an operator is none any more.
    let (eve, lee) = (world.colleague(&ada, "eve").await, world.colleague(&kim, "lee").await);
    ada.run(&["operator", "revoke", "eve"]).await.unwrap();
    kim.run(&["operator", "revoke", "lee"]).await.unwrap();
    let by_maker = all(&eve, &commands, &mut faults).await;
    let by_hospital = all(&lee, &commands, &mut faults).await;
    assert!(by_maker[&3] > count / 3 && by_hospital[&3] > count / 2, "{by_maker:?}, {by_hospital:?}");

    // Refused, and what does not verify.
    let (junk, folder, none) = (world.path("junk.json"), world.path("folder"), "0".repeat(64));
    std::fs::write(&junk, "{}").unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("README.md"), "all is well").unwrap();
    let ca = world.data_dir().join("ca.pem");
    for (who, exit, words) in [
        (&ada, 3, &["operator", "revoke", "nobody"][..]),
        (&kim, 3, &["rollout", "pause", "pump-2", "--reason", "x"]),
        (&kim, 3, &["device", "show", "pump-9"]),
        (&ada, 5, &["catalog", "trust", &none]),
        (&ada, 5, &["catalog", "show", text(&junk)]),
        (&ada, 5, &["hdo", "pin", HDO, "--root", &none]),
        (&kim, 5, &["approvals", "sign", text(&junk), "--yes"]),
        (&kim, 5, &["evidence", "verify", text(&folder)]),
        (&kim, 5, &["service", "trust", text(&ca), "--sha256", &none]),
        (&kim, 5, &["audit", "verify", "--file", text(&junk)]),
    ] {
        let ended = ctl(who, &owned(words)).await;
        faults.extend(ended.fault());
        if ended.exit != exit {
            faults.push(format!("{words:?} ended with {}, not {exit}: {}", ended.exit, ended.err));
        }
    }

    // What would be said beside a result goes with the failure.
    let letter = world.path("advisory.toml");
    std::fs::write(&letter, ADVISORY).unwrap();
    ada.run(&["notice", "publish", text(&letter), "--all"]).await.unwrap();
    let told = ctl(&kim, &owned(&["rollout", "pause", "pump-2", "--reason", "x"])).await;
    assert_eq!(told.fault(), None);
    assert!(told.told()["notes"].to_string().contains("suturectl notice list"), "{}", told.err);

    // Nobody answers.
    world.stop_server().await;
    let by_maker = all(&ada, &commands, &mut faults).await;
    let by_hospital = all(&kim, &commands, &mut faults).await;
    assert!(by_maker[&4] > count / 3 && by_hospital[&4] > count / 2, "{by_maker:?}, {by_hospital:?}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
