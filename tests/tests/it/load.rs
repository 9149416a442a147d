//! The load tests' scripts are played, in small: they read what the programs print, and nobody runs them between two releases.
//! What they measure here says nothing.

use std::path::Path;
use std::process::Command;

use suture_tests::world::binary;

/// Plays it on the programs that are built, and gives what it has measured: what is asked of it, and the value.
fn played(script: &str, arguments: &[&str]) -> Vec<(String, f64)> {
    let programs = binary("bulk-client").parent().unwrap().to_owned();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("load").join(script);
    let output = Command::new(&script).arg("--bin").arg(&programs).args(arguments).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    // 1 says that something asked for is missed: as it may be by programs that are not optimised, beside other tests.
    let whole = matches!(output.status.code(), Some(0 | 1));
    assert!(whole, "{}: {}\n{printed}\n{}", script.display(), output.status, String::from_utf8_lossy(&output.stderr));
    let verdicts = printed.lines().filter(|line| line.ends_with(": met") || line.ends_with(": missed"));
    verdicts
        .map(|line| {
            let (what, value) = line.split(", at ").next().unwrap().rsplit_once(' ').unwrap();
            (what.trim().to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

#[test]
fn a_crowd_under_a_limit_is_measured() {
    let measured = played("crowd.sh", &["--clients", "3", "--mib", "1", "--runs", "1", "--cap", "100Mbit"]);
    assert_eq!(measured.len(), 5, "{measured:?}");
    assert!(measured.iter().all(|(_, value)| value.is_finite()), "{measured:?}");
    let of_the_limit = measured.iter().find(|(what, _)| what.starts_with("eight clients under the limit")).unwrap().1;
    assert!(of_the_limit > 0.0, "{measured:?}");
}

#[test]
fn a_thin_line_is_measured() {
    let line = ["--mib", "1", "--kbit", "20000", "--round-trip", "5", "--cut-every", "60000", "--runs", "1"];
    let measured = played("link.sh", &line);
    assert_eq!(measured.len(), 2, "{measured:?}");
    assert!(measured.iter().all(|(_, value)| value.is_finite() && *value > 0.0), "{measured:?}");
}
