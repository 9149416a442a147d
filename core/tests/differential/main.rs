//! Our client beside two others that share no line with it: Python's `tuf`, which also writes and signs the repositories,
//! and sigstore's. Nothing that one of them refuses is accepted by ours, and what ours accepts means the same to them.
//!
//! The mutants are made by a seeded chance: a case is known by its number. Two thousand are tried in every run of the tests;
//! `SUTURE_DIFFERENTIAL` asks for more, `SUTURE_DIFFERENTIAL_FROM` for others:
//!
//! ```text
//! SUTURE_DIFFERENTIAL=100000 cargo test -p suture-core --test differential -- --nocapture
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests; a failure ought to stop them where it happens"
)]

mod base;
mod case;
mod clients;
mod envelope;
mod interop;
mod keys;
mod listed;
mod mutate;
mod oracle;
mod publish;
mod random;
mod signed;
mod table;
mod text;

use self::base::bases;
use self::case::{Case, Step};
use self::clients::{Targets, Verdict, View, ours, sigstore};
use self::oracle::Python;
use self::table::Table;

/// What another writer signs, all three accept and understand alike, generation after generation.
#[test]
fn repositories_of_another_writer_are_accepted_and_mean_the_same() {
    let mut python = Python::start();
    for (number, base) in bases(&mut python).iter().enumerate() {
        let id = python.learn(base);
        let steps = (0..base.generations.len()).map(|g| Step::honest(g, base.now)).collect();
        let case = Case { steps, paths: base.paths.clone(), download: false, edits: Vec::new() };
        python.ask(id, &case);
        let ours = ours(base, &case);
        assert!(accepted_all(&ours, &case), "base {number}: {ours:?}");
        for theirs in [python.verdicts(), sigstore(base, &case)] {
            assert!(accepted_all(&theirs, &case), "base {number}: {theirs:?}");
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!(meaning(ours), meaning(theirs), "base {number}");
            }
        }
    }
}

fn meaning(verdict: &Verdict) -> Option<(&[u64; 4], &Targets)> {
    match verdict {
        Verdict::Accepted(view) => Some((&view.versions, &view.targets)),
        Verdict::Refused { .. } => None,
    }
}

#[test]
fn no_mutant_that_another_client_refuses_is_accepted() {
    let number = |name| std::env::var(name).ok().map(|n: String| n.parse::<u64>().unwrap());
    let count = number("SUTURE_DIFFERENTIAL").unwrap_or(2_000);
    let from = number("SUTURE_DIFFERENTIAL_FROM").unwrap_or(0);
    let mut python = Python::start();
    let bases = bases(&mut python);
    let ids: Vec<usize> = bases.iter().map(|base| python.learn(base)).collect();
    let mut table = Table::default();
    let mut faults = Vec::new();
    for number in from..from + count {
        let place = usize::try_from(number).unwrap() % bases.len();
        let base = &bases[place];
        let case = mutate::mutant(base, number);
        python.ask(ids[place], &case);
        let ours = ours(base, &case);
        let others = [("sigstore", sigstore(base, &case)), ("python", python.verdicts())];
        let [(_, sigstore), (_, python)] = &others;
        if count == 1 {
            show(&case, &ours, &others);
        }
        table.count(&case.edits, [&ours, python, sigstore].map(|v| accepted_all(v, &case)));
        for (name, theirs) in &others {
            if let Some(fault) = laxer(name, &ours, theirs) {
                faults.push(format!("case {number} {:?}, {name}: {fault}", case.edits));
            }
        }
        if let Some(reason) = stricter(&ours, &[sigstore, python]) {
            table.count_stricter(number, reason);
        }
    }
    eprintln!("{table}");
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.iter().take(40).cloned().collect::<Vec<_>>().join("\n")
    );
}

/// A case that is asked for alone, in full.
fn show(case: &Case, ours: &[Verdict], others: &[(&str, Vec<Verdict>)]) {
    eprintln!("{:?}", case.edits);
    for step in &case.steps {
        eprintln!("at {}, generation {}, without {:?}", step.now, step.generation, step.remove);
        for (name, bytes) in &step.put {
            eprintln!("{name}: {}", String::from_utf8_lossy(bytes));
        }
    }
    eprintln!("ours: {ours:?}\n{others:?}");
}

fn accepted_all(verdicts: &[Verdict], case: &Case) -> bool {
    verdicts.len() == case.steps.len() && verdicts.iter().all(|v| matches!(v, Verdict::Accepted(_)))
}

/// What others refuse without harm that we accept: by the words in their reason, and why.
const HARMLESS: [(&str, &str); 5] = [
    // TUF knows a fifth role, mirrors, which no client has to act upon.
    ("python", "Role names must be the top-level metadata roles"),
    ("python", "'threshold'"),
    ("sigstore", "missing field `threshold`"),
    // A key that cannot be used counts for nothing here; there it stops the whole file, so no new kind can ever be
    // introduced.
    ("python", "Unsupported public key"),
    // A hash by an algorithm that is not known, beside one that is known and was checked.
    ("python", "Unsupported algorithm"),
];

/// What we accept and another refuses, or takes for something else.
fn laxer(name: &str, ours: &[Verdict], theirs: &[Verdict]) -> Option<String> {
    let mut before: Option<&View> = None;
    for (step, ours) in ours.iter().enumerate() {
        let Verdict::Accepted(ours) = ours else { return None };
        match theirs.get(step) {
            Some(Verdict::Accepted(theirs)) => {
                if let Some(fault) = differs(name, ours, theirs) {
                    return Some(format!("step {step}: {fault}"));
                }
                before = Some(ours);
            }
            Some(Verdict::Refused { reason, fetched }) => {
                // It fetched what we had in our store, and so accepted nothing of.
                let unread = !fetched.is_empty() && !ours.fetched.contains(fetched);
                // A timestamp of the version that we have is passed over, whatever it says.
                let kept =
                    fetched == "timestamp.json" && before.is_some_and(|view| view.versions[1] == ours.versions[1]);
                return (!unread && !kept && !harmless(name, reason))
                    .then(|| format!("step {step}: {fetched} refused: {reason}"));
            }
            None => return None,
        }
    }
    None
}

fn harmless(name: &str, reason: &str) -> bool {
    HARMLESS.iter().any(|(who, words)| *who == name && reason.contains(words))
}

/// What we found must be found by the others, and be the same; what we did not find they may have.
fn differs(name: &str, ours: &View, theirs: &View) -> Option<String> {
    // A client that holds a file of the version that is pinned may keep it whatever has become of it since, as the
    // specification allows, and then speaks of another file than one that fetched it. Only what both have fetched, or
    // neither, is the same.
    let metadata = |name: &&String| **name != "timestamp.json" && !name.ends_with("root.json");
    if ours.fetched.symmetric_difference(&theirs.fetched).any(|name| metadata(&name)) {
        return None;
    }
    if ours.versions != theirs.versions {
        return Some(format!("versions {:?} and {:?}", ours.versions, theirs.versions));
    }
    ours.targets.iter().find_map(|(path, found)| {
        let other = theirs.targets.get(path)?;
        let differs = matches!(found, Ok(Some(_))) && other != found;
        let harmless = other.as_ref().is_err_and(|reason| harmless(name, reason));
        (differs && !harmless).then(|| format!("{path}: {found:?} and {other:?}"))
    })
}

/// Our verdict at the first step that both others accept and we do not.
fn stricter<'a>(ours: &'a [Verdict], others: &[&Vec<Verdict>]) -> Option<&'a str> {
    ours.iter().enumerate().find_map(|(step, verdict)| {
        let all = others.iter().all(|theirs| matches!(theirs.get(step), Some(Verdict::Accepted(_))));
        match verdict {
            Verdict::Refused { reason, .. } if all => Some(reason.as_str()),
            _ => None,
        }
    })
}
