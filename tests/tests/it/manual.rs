//! The manual and the completions: there is a page for every command, and a shell takes what it is given. What the packages
//! of the server and the agent carry lies ready-made in `deploy/manual`, since neither program writes it itself: it is what
//! the command lines say now. `SUTURE_SNAPSHOTS=write` writes it anew; then read it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;
use suture_ctl::cmd::itself::manual::{Page, Shell, completions, pages};

use crate::agent_cli::Cli as Agent;

/// Of what root runs on a machine (man-pages(7)).
const ADMINISTRATION: &str = "8";

/// Written by hand: it has one argument and no library that reads it.
const BY_HAND: &str = "suture-boot.8";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/manual")
}

/// How the completions of a program are called, where each shell looks for them.
fn scripts(program: &clap::Command) -> Vec<(String, Vec<u8>)> {
    let name = program.get_name();
    [(Shell::Bash, format!("{name}.bash")), (Shell::Zsh, format!("_{name}")), (Shell::Fish, format!("{name}.fish"))]
        .map(|(shell, file)| (file, completions(program.clone(), shell)))
        .into()
}

/// A shell reads a script without running it; whether it has a word to say. A shell that is not here says nothing.
fn takes(shell: &str, script: &Path) {
    match Command::new(shell).arg("-n").arg(script).output() {
        Ok(read) => {
            let said = String::from_utf8_lossy(&read.stderr).into_owned();
            assert!(read.status.success() && said.is_empty(), "{shell} -n {}: {said}", script.display());
        }
        Err(e) => assert!(shell != "bash" && e.kind() == std::io::ErrorKind::NotFound, "{shell}: {e}"),
    }
}

fn commands(program: &clap::Command) -> usize {
    1 + program.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help").map(commands).sum::<usize>()
}

fn is_a_page(page: &Page) {
    let text = String::from_utf8_lossy(&page.text);
    for part in [".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", ".SH OPTIONS\n", "Suture 0."] {
        assert!(text.contains(part), "{} has no {part}:\n{text}", page.file);
    }
}

#[test]
fn every_command_has_a_page_and_every_shell_takes_the_completions() {
    let dir = tempfile::tempdir().unwrap();
    for (program, section) in [
        (suture_ctl::command(), "1"),
        (suture_server::cli::command(), ADMINISTRATION),
        (Agent::command(), ADMINISTRATION),
    ] {
        let made = pages(program.clone(), section).unwrap();
        assert_eq!(made.len(), commands(&program), "{}", program.get_name());
        made.iter().for_each(is_a_page);
        for ((file, script), shell) in scripts(&program).into_iter().zip(["bash", "zsh", "fish"]) {
            let leaf = if program.get_name() == "suturectl" { "adoption" } else { "run" };
            assert!(String::from_utf8_lossy(&script).contains(leaf), "{file} does not know {leaf}");
            let path = dir.path().join(file);
            std::fs::write(&path, script).unwrap();
            takes(shell, &path);
        }
    }
}

#[test]
fn what_the_packages_carry_is_what_the_command_lines_say() {
    let mut wanted = BTreeMap::new();
    for program in [suture_server::cli::command(), Agent::command()] {
        wanted.extend(scripts(&program));
        wanted.extend(pages(program, ADMINISTRATION).unwrap().into_iter().map(|Page { file, text }| (file, text)));
    }
    let lies = || -> BTreeMap<String, Vec<u8>> {
        let files = std::fs::read_dir(directory()).unwrap().map(|e| e.unwrap().path());
        let named =
            files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()));
        named.filter(|(name, _)| name != BY_HAND).collect()
    };
    if std::env::var("SUTURE_SNAPSHOTS").is_ok_and(|how| how == "write") {
        lies().keys().for_each(|name| std::fs::remove_file(directory().join(name)).unwrap());
        wanted.iter().for_each(|(name, bytes)| std::fs::write(directory().join(name), bytes).unwrap());
    }
    let lies = lies();
    assert!(directory().join(BY_HAND).is_file());
    assert_eq!(lies.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "deploy/manual");
    for (name, bytes) in &wanted {
        let same = lies[name] == *bytes;
        assert!(same, "deploy/manual/{name} is not what the command line says; SUTURE_SNAPSHOTS=write writes it anew");
    }
}

/// Through the program, as a package's build calls it: without a home, and a second time over the first.
#[tokio::test]
async fn suturectl_writes_its_own_manual_and_needs_no_home_for_that() {
    use std::sync::Arc;
    use suture_tests::world::TestClock;

    let dir = tempfile::tempdir().unwrap();
    let (manual, none) = (dir.path().join("man1"), dir.path().join("no/home"));
    let words = |more: &[&str]| {
        let home = ["suturectl", "--home", none.to_str().unwrap(), "--output", "json"];
        [&home[..], more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let line = words(&["man", "-o", manual.to_str().unwrap()]);
        assert_eq!(suture_ctl::run(line, &mut out, &mut err, Arc::new(TestClock::start())).await, 0, "{err:?}");
        let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let there = std::fs::read_dir(&manual).unwrap().count();
        assert_eq!(told["pages"].as_array().unwrap().len(), there);
        assert!(there > 100, "{there}");
    }
    let page = std::fs::read_to_string(manual.join("suturectl-bundle-diff.1")).unwrap();
    assert!(page.contains(".SH EXAMPLES\n.nf\n") && page.contains("suturectl bundle diff pump@1 pump@2"), "{page}");
    let script = completions(suture_ctl::command(), Shell::Bash);
    for (more, json) in [(&["completions", "bash"][..], true), (&["completions", "bash", "--output", "text"], false)] {
        let line = if json { words(more) } else { ["suturectl"].iter().chain(more).map(ToString::to_string).collect() };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(suture_ctl::run(line, &mut out, &mut err, Arc::new(TestClock::start())).await, 0, "{err:?}");
        match json {
            true => assert_eq!(
                serde_json::from_slice::<serde_json::Value>(&out).unwrap()["script"],
                *String::from_utf8_lossy(&script)
            ),
            false => assert_eq!(out, script),
        }
    }
    assert!(!none.exists());
}
