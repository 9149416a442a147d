//! Every command of the three programs shows an example of itself below its help, and every example is a command line that
//! its program understands: what is shown cannot rot.

use clap::CommandFactory as _;
use suture_core::audit::LogKey;
use suture_core::digest::Digest;
use suture_core::sign::{LocalKey, Signer as _};
use zeroize::Zeroizing;

use crate::agent_cli::Cli as Agent;

/// The commands that do something, each by the words that call it.
pub(crate) fn leaves(command: &clap::Command, above: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let path = [above, &[command.get_name().to_owned()]].concat();
    let below: Vec<_> = command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help").collect();
    for command in &below {
        leaves(command, &path, found);
    }
    if below.is_empty() {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        found.push((path, text));
    }
}

/// The lines below a help that call the program, those that end in a backslash joined with the next.
pub(crate) fn examples(program: &str, text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(|l| l.trim_start_matches("Examples:").trim_start_matches("Example:").trim());
    lines.filter(|l| l.split(' ').next() == Some(program)).map(str::to_owned).collect()
}

/// A line's words as a shell parts them: quotes of either kind hold words together, `#` begins a comment, and what is said of
/// where the result goes is the shell's.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '#' | '>' | '|') if word.is_none() => return words,
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "a quote is not closed: {line}");
    words.extend(word);
    words
}

/// What the words in capitals stand for.
pub(crate) fn filled(word: &str) -> String {
    let key = LocalKey::from_seed(&Zeroizing::new([7; 32])).public();
    let record = LogKey { origin: "acme.example".parse().unwrap(), key };
    let word = word.replace("NAME+HASH+KEY", &record.to_string());
    word.replace("HEX", &key.to_string()).replace("SHA256", &Digest::of(b"an example").to_string())
}

fn understood(program: &clap::Command, line: &str) -> Result<(), String> {
    let words = words(line).into_iter().map(|w| filled(&w));
    program.clone().try_get_matches_from(words).map(|_| ()).map_err(|e| e.to_string())
}

#[test]
fn every_command_shows_an_example_of_itself_that_its_program_understands() {
    let mut faults = Vec::new();
    for (program, least) in [(suture_ctl::command(), 130), (suture_server::cli::command(), 12), (Agent::command(), 15)]
    {
        let mut found = Vec::new();
        leaves(&program, &[], &mut found);
        assert!(found.len() >= least, "only {} commands of {}", found.len(), program.get_name());
        for (path, text) in found {
            let path = path.join(" ");
            let lines = examples(program.get_name(), &text);
            if !lines.iter().any(|line| line == &path || line.starts_with(&format!("{path} "))) {
                faults.push(format!("{path}: no example of itself in {text:?}"));
            }
            let wrong = lines.iter().filter_map(|line| Some(format!("{line}\n{}", understood(&program, line).err()?)));
            faults.extend(wrong);
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// What is no command line must not pass as one.
#[test]
fn an_example_that_has_rotted_is_found() {
    let program = suture_ctl::command();
    for rotten in ["suturectl bundle bild x", "suturectl bundle build pump.toml", "suturectl key new targets --tokn x"]
    {
        assert!(understood(&program, rotten).is_err(), "{rotten}");
    }
    assert_eq!(words("a 'b c' \"d\"e --f=\"\" # g"), ["a", "b c", "de", "--f="]);
    assert_eq!(words("a b >> c"), ["a", "b"]);
    assert_eq!(examples("a", "Examples: a b \\\n  c\n  a d\nA note"), ["a b    c", "a d"]);
}
