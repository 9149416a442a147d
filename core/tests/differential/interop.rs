//! A repository whose owners sign with ECDSA and RSA-PSS, as other implementations do. Tests may verify it, by the feature
//! `interop`; a program cannot:
//!
//! ```text
//! cargo test -p suture-core --features interop --test differential interop
//! ```

use suture_core::INTEROP;

use super::accepted_all;
use super::base::{mixed, now};
use super::case::{Case, Step};
use super::clients::{ours, sigstore};
use super::oracle::Python;

#[test]
fn other_kinds_of_keys_count_for_tests_that_ask_for_it_and_for_nobody_else() {
    let mut python = Python::start();
    let base = mixed(&mut python);
    let id = python.learn(&base);
    let mut judge = |step: Step| {
        let case = Case { steps: vec![step], paths: base.paths.clone(), download: false, edits: Vec::new() };
        python.ask(id, &case);
        [ours(&base, &case), sigstore(&base, &case), python.verdicts()].map(|v| (accepted_all(&v, &case), v))
    };
    let last = base.generations.len() - 1;
    let [(accepted, verdicts), others @ ..] = judge(Step::honest(last, now()));
    assert_eq!(accepted, INTEROP, "{verdicts:?}");
    for (accepted, verdicts) in others {
        assert!(accepted, "{verdicts:?}");
    }
    // One digit of one signature, in every file in turn.
    for (name, bytes) in &base.generations[last] {
        if name == "1.root.json" {
            continue;
        }
        let text = String::from_utf8(bytes.clone()).unwrap();
        // Behind the head of a DER signature, where its numbers stand.
        let place = text.find("\"sig\":\"").unwrap() + 7 + 40;
        let spoilt: String =
            text.char_indices().map(|(i, c)| if i == place { if c == '0' { '1' } else { '0' } } else { c }).collect();
        let mut step = Step::honest(last, now());
        step.put.insert(name.clone(), spoilt.into_bytes());
        let in_force = !name.starts_with("1.") || last == 0;
        for (accepted, verdicts) in judge(step) {
            assert!(!accepted || !in_force, "{name}: {verdicts:?}");
        }
    }
}
