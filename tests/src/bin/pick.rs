//! Reads JSON from standard input and prints what stands at a path, one value a line: strings bare, the rest as JSON.
//!
//! A path is `/`-separated: a name, a place counted from 0, `*` for all, or `name=value` for the elements of an array whose
//! `name` is `value`. Exit 1 where nothing stands there. For the shell scripts of this repository, so that they ask for
//! nothing that a fresh machine lacks.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use serde_json::Value;

/// Far more than any answer.
const MAX_BYTES: u64 = 64 << 20;

/// Prints what stands at a path in the JSON on standard input.
#[derive(Parser)]
struct Args {
    /// Such as `/devices/id=pump-1/state`.
    path: String,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let mut text = String::new();
    std::io::stdin().take(MAX_BYTES).read_to_string(&mut text).context("reading standard input")?;
    let value: Value = serde_json::from_str(&text).context("standard input is not JSON")?;
    let found = pick(&value, &args.path);
    let mut out = std::io::stdout().lock();
    for value in &found {
        match value {
            Value::String(s) => writeln!(out, "{s}"),
            other => writeln!(out, "{other}"),
        }
        .context("writing")?;
    }
    Ok(if found.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn pick<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .fold(vec![value], |found, part| found.into_iter().flat_map(|value| step(value, part)).collect())
}

fn step<'v>(value: &'v Value, part: &str) -> Vec<&'v Value> {
    match (value, part.split_once('=')) {
        (Value::Array(items), Some((name, wanted))) => {
            items.iter().filter(|item| item.get(name).and_then(Value::as_str) == Some(wanted)).collect()
        }
        (Value::Array(items), None) if part == "*" => items.iter().collect(),
        (Value::Object(fields), _) if part == "*" => fields.values().collect(),
        (Value::Array(items), None) => part.parse().ok().and_then(|i: usize| items.get(i)).into_iter().collect(),
        (Value::Object(fields), _) => fields.get(part).into_iter().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_reach_what_they_name() {
        let value = serde_json::json!({"devices": [{"id": "a", "n": 1}, {"id": "b", "n": 2}], "more": false});
        let text = |path| pick(&value, path).into_iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text("/devices/id=b/n"), ["2"]);
        assert_eq!(text("/devices/*/id"), ["\"a\"", "\"b\""]);
        assert_eq!(text("/devices/0/n"), ["1"]);
        assert_eq!(text("/more"), ["false"]);
        assert!(text("/devices/id=c/n").is_empty() && text("/nothing/at/all").is_empty());
    }
}
