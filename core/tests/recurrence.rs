//! Our recurrence rules beside those of Python's dateutil, which shares no line with them: the same starts, in every case.
//!
//! The cases are made by a seeded chance. Three thousand are tried in every run of the tests; `SUTURE_RECURRENCE` asks for
//! more. Left out is where the two read RFC 5545 apart, as the documentation of our rules says: BYDAY with and without
//! numbers together, BYWEEKNO without BYDAY, weeks that lie in two years (there our own tests go by the ISO's weeks), BYSETPOS with weeks that begin before the first start, and what the standard
//! forbids.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests; a failure ought to stop them where it happens"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use suture_core::window::{Calendar, Openings, Recurrence, Rule, Scope, Window, parse_local};

/// How many starts of a rule are compared.
const STARTS: usize = 20;

/// A seeded chance (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn maybe(&mut self, rule: &mut String, name: &str, of: &[&str]) {
        if self.below(3) == 0 {
            rule.push_str(&format!(";{name}={}", self.one(of)));
        }
    }
}

/// A rule and its first start, within what both read alike.
fn case(number: u64) -> Value {
    let mut chance = Chance(number);
    let freq = chance.one(&["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"]);
    let mut rule = format!("FREQ={freq};INTERVAL={}", chance.below(5) + 1);
    // Both walk there step by step: days are far for what goes by minutes.
    let fine = freq == "MINUTELY" || freq == "SECONDLY";
    if !fine {
        chance.maybe(&mut rule, "BYMONTH", &["1", "2", "3,10", "2,5,11", "12"]);
    }
    let weeks = freq == "YEARLY" && chance.below(4) == 0;
    if weeks {
        rule.push_str(&format!(";BYWEEKNO={}", chance.one(&["2", "20", "51", "-2", "3,27"])));
    }
    if freq != "WEEKLY" && !fine {
        chance.maybe(&mut rule, "BYMONTHDAY", &["1", "13", "29", "31", "-1", "-3", "1,15,-1"]);
    }
    if ["YEARLY", "HOURLY"].contains(&freq) {
        chance.maybe(&mut rule, "BYYEARDAY", &["1", "60", "100,200", "366", "-1", "-366,-307"]);
    }
    match freq {
        _ if weeks => rule.push_str(&format!(";BYDAY={}", chance.one(&["MO", "TU,SA", "SU,MO,WE"]))),
        "YEARLY" | "MONTHLY" => {
            chance.maybe(&mut rule, "BYDAY", &["MO", "SA,SU", "1MO", "-1FR", "2TU,-2TH", "5SU", "MO,TU,WE,TH,FR"]);
        }
        _ if fine => {}
        _ => chance.maybe(&mut rule, "BYDAY", &["MO", "SA,SU", "TU,TH", "WE", "MO,TU,WE,TH,FR"]),
    }
    chance.maybe(&mut rule, "BYHOUR", &["2", "0,23", "1,2,3"]);
    chance.maybe(&mut rule, "BYMINUTE", &["0", "30", "15,45"]);
    if freq == "SECONDLY" {
        chance.maybe(&mut rule, "BYSECOND", &["0", "30", "0,59"]);
    }
    if ["YEARLY", "MONTHLY", "DAILY"].contains(&freq) && rule.contains(";BY") {
        chance.maybe(&mut rule, "BYSETPOS", &["1", "-1", "2", "1,-1", "-2,3"]);
    }
    chance.maybe(&mut rule, "WKST", &["MO", "SU", "WE"]);
    match chance.below(4) {
        0 => rule.push_str(&format!(";COUNT={}", chance.below(30) + 1)),
        1 => rule.push_str(&format!(
            ";UNTIL=20{}0{}{}T120000",
            chance.below(9) + 26,
            chance.below(9) + 1,
            chance.below(18) + 10
        )),
        _ => {}
    }
    let first = format!(
        "20{}-{:02}-{:02}T{:02}:{:02}:{:02}",
        chance.below(8) + 24,
        chance.below(12) + 1,
        chance.below(28) + 1,
        chance.below(24),
        chance.below(4) * 15,
        chance.below(2) * 30,
    );
    // How far the two look, so that a rule that never begins ends: what recurs within a day has begun by then, or never.
    let days = match freq {
        "SECONDLY" => 2,
        "MINUTELY" => 40,
        "HOURLY" => 800,
        _ => 366 * 40,
    };
    let until = parse_local(&first).unwrap().checked_add(jiff::Span::new().days(days)).unwrap();
    json!({ "rule": rule, "first": first, "until": until.strftime("%Y-%m-%dT%H:%M:%S").to_string() })
}

/// What dateutil says to all of them.
fn asked(cases: &[Value]) -> Vec<Vec<String>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python =
        std::env::var_os("SUTURE_ORACLE_PYTHON").map_or(here.join("../target/oracle/bin/python"), PathBuf::from);
    assert!(python.exists(), "{} is missing: run tests/oracle/setup.sh", python.display());
    let mut child = Command::new(python)
        .arg(here.join("../tests/oracle/recurrence.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It reads all of them before it says a word.
    serde_json::to_writer(child.stdin.take().unwrap(), cases).unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What we say: the openings of one second each, on a clock that never jumps. Those that touch are one, and are told apart
/// again here.
fn ours(case: &Value) -> Option<Vec<String>> {
    let rule = Box::new(case["rule"].as_str().unwrap().parse::<Rule>().unwrap());
    let window = Window {
        begins: Recurrence::Rule {
            start: parse_local(case["first"].as_str().unwrap()).unwrap(),
            rule,
            except: BTreeSet::new(),
        },
        duration_secs: 1,
    };
    let calendar = Calendar {
        windows: vec![window],
        ..Calendar::empty("riverside".parse().unwrap(), Scope::Hospital, "UTC".to_owned())
    };
    let until = format!("{}Z", case["until"].as_str().unwrap()).parse().unwrap();
    let from = "2024-01-01T00:00:00Z".parse().unwrap();
    let mut starts = Vec::new();
    for opening in Openings::new(&[&calendar], from, until).unwrap() {
        // A rule that takes too many steps is refused; that it is, is another test's to show.
        let opening = opening.ok()?;
        let mut at = opening.start;
        while at < opening.end && starts.len() < STARTS {
            starts.push(at.strftime("%Y-%m-%dT%H:%M:%S").to_string());
            at += jiff::SignedDuration::from_secs(1);
        }
        if starts.len() == STARTS {
            break;
        }
    }
    Some(starts)
}

#[test]
fn every_rule_begins_when_dateutil_says() {
    let count = std::env::var("SUTURE_RECURRENCE").map_or(3_000, |n| n.parse().unwrap());
    let cases: Vec<Value> = (0..count).map(case).collect();
    let theirs = asked(&cases);
    let (mut compared, mut some) = (0, 0);
    for (case, theirs) in cases.iter().zip(theirs) {
        let Some(ours) = ours(case) else { continue };
        assert_eq!(ours, theirs, "{case}");
        compared += 1;
        some += usize::from(!theirs.is_empty());
    }
    assert!(compared * 100 >= cases.len() * 95 && some * 2 > compared, "{compared} compared, {some} with starts");
}
