//! Every command that a runbook quotes is understood by the program as it is built now.

use std::process::Command;

use suture_core::sign::{LocalKey, Signer as _};
use suture_tests::world::program::binary;

use super::page::{Page, directory, is_ours, words};

/// What the words in capitals may stand for.
const PLACEHOLDERS: [(&str, &str); 21] = [
    ("CATALOG_ROOT", DIGEST),
    ("APPROVALS_ROOT", DIGEST),
    ("LOST_KEY", DIGEST),
    ("STOLEN_KEY", DIGEST),
    ("NAME", "kim"),
    ("GUEST", "eve"),
    ("ROLE", "pumps"),
    ("PATTERN", "bundles/pump/*/manifest.json"),
    ("DEVICE", "pump-1"),
    ("PRODUCT", "pump"),
    ("RELEASE", "2"),
    ("HOSPITAL", "riverside"),
    ("FINGERPRINT", "3f0a91c2"),
    ("DIGEST", DIGEST),
    ("SHA256", DIGEST),
    ("KEYID", DIGEST),
    ("ROLLOUT", "r-1"),
    ("LABEL", "safe"),
    ("TEXT", "words"),
    ("FILE", "/tmp/file"),
    ("DIRECTORY", "/tmp/stick"),
];
const DIGEST: &str = "abababababababababababababababababababababababababababababababab";

fn pages() -> Vec<String> {
    let entries = std::fs::read_dir(directory()).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A command with an example for each placeholder.
fn example(command: &str) -> Vec<String> {
    let public_key = LocalKey::from_seed(&zeroize::Zeroizing::new([7; 32])).public().to_string();
    let mut words = words(command);
    for word in &mut words {
        for (placeholder, value) in [("PUBLIC_KEY", &*public_key)].into_iter().chain(PLACEHOLDERS) {
            *word = word.replace(placeholder, value);
        }
        let rest = word.chars().filter(char::is_ascii_uppercase).count();
        assert!(rest < 2 || word.contains(' '), "{word} in {command} is no placeholder of the test's");
    }
    words
}

/// The programs that are not libraries' are asked for help: the subcommand must be there, and each flag be named.
pub(crate) fn helped(words: &[String]) -> Result<(), String> {
    let subcommands: Vec<_> = words[1..].iter().take_while(|w| !w.starts_with('-')).collect();
    let help = Command::new(binary(&words[0])).args(&subcommands).arg("--help").output().unwrap();
    let text = String::from_utf8_lossy(&help.stdout);
    if !help.status.success() {
        return Err(String::from_utf8_lossy(&help.stderr).into_owned());
    }
    match words.iter().find(|w| w.starts_with("--") && !text.contains(&**w)) {
        Some(flag) => Err(format!("no flag {flag}:\n{text}")),
        None => Ok(()),
    }
}

#[test]
fn every_command_of_every_page_is_understood() {
    let mut seen = 0;
    for name in pages() {
        let page = Page::open(&name);
        let commands = [page.fenced(), page.inline()].concat();
        for command in commands.iter().filter(|c| c.split(' ').next().is_some_and(is_ours)) {
            let words = example(command);
            let understood = match words[0].as_str() {
                "suturectl" => suture_ctl::understand(&words).map_err(|e| e.to_string()),
                _ => helped(&words),
            };
            understood.unwrap_or_else(|e| panic!("{name} quotes `{command}`: {e}"));
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} commands were found");
}

#[test]
fn the_index_names_every_page_and_every_page_says_how_one_notices_and_when_one_is_done() {
    let index = Page::open("README.md");
    for name in pages().iter().filter(|n| *n != "README.md") {
        assert!(index.text().contains(&format!("({name})")), "{name} is not in the index");
        let page = Page::open(name);
        assert!(page.text().contains("Done when: "), "{name} does not say when one is done");
        assert!(page.text().contains("at worst") || page.text().contains("the worst"), "{name} names no worst case");
    }
}

/// What is no command must not pass as one.
#[test]
fn a_command_that_has_rotted_is_found() {
    for rotten in ["suturectl catalog renovate", "suturectl key check", "suturectl catalog renew --kee x"] {
        assert!(suture_ctl::understand(example(rotten)).is_err(), "{rotten}");
    }
    for rotten in ["suture-server keys turn", "suture-agent enroll --tokn x", "suture-server keys rotate --agin"] {
        assert!(helped(&example(rotten)).is_err(), "{rotten}");
    }
}
