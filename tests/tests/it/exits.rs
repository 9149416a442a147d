//! Exit codes: `suturectl` and `suture-boot` end with each that they document, and every place that documents them, the
//! help texts, the README and `deploy/reasons.md`, names the same ones. What provokes those of `suture-server` is in `faults`,
//! of `suture-agent` in `at_the_device`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory as _;
use suture_core::digest::Digest;
use suture_core::token::{Grant, Secret, Token};
use suture_tests::world::{Kind, World, binary, text};

/// The program, without an environment; its exit code.
fn ends(program: &str, words: &[&str]) -> u8 {
    let done = Command::new(binary(program)).args(words).env_clear().output().unwrap();
    u8::try_from(done.status.code().unwrap()).unwrap()
}

/// A token for a server at a port where nobody listens.
fn to_nowhere() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let token = Token {
        server: format!("https://127.0.0.1:{free}"),
        ca_sha256: Digest::of(b"ca"),
        trust_domain: "acme.example".parse().unwrap(),
        grant: Grant::Mdm("ada".parse().unwrap()),
        catalog_root_sha256: None,
        approvals_root_sha256: None,
        catalog_edition: None,
        approvals_edition: None,
        audit_key: None,
        expires: "2100-01-01T00:00:00Z".parse().unwrap(),
        secret: Secret::new([9; 32]),
    };
    token.encode().unwrap()
}

/// What a program says on standard error where it is asked for JSON: one object, whose `exit` is the code that it ends with.
fn says(program: &str, words: &[&str]) -> serde_json::Value {
    let done = Command::new(binary(program)).args(words).args(["--output", "json"]).env_clear().output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(said["exit"].as_i64(), done.status.code().map(i64::from), "{said}");
    let fields: Vec<_> = said.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["causes", "error", "exit", "next", "notes"], "{said}");
    said
}

#[test]
fn suture_server_says_its_failures_as_one_object_where_json_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("server.toml");
    let missing = says("suture-server", &["ca", "show", "--config", text(&config)]);
    assert!(missing.to_string().contains("server.toml"), "{missing}");
    std::fs::write(&config, "data_dir = \"/nowhere\"\ncheck_in_secs = 0\n").unwrap();
    let wrong = says("suture-server", &["ca", "show", "--config", text(&config)]);
    assert_eq!(wrong["exit"], 64);
    let causes = wrong["causes"].as_array().unwrap();
    assert!(causes.len() > 1 && causes.iter().any(|c| c.as_str().unwrap().contains("check_in_secs")), "{wrong}");
    assert!(wrong["next"].as_str().unwrap().starts_with("correct each"), "{wrong}");
    let nowhere =
        "data_dir = \"/proc/nowhere\"\naddress = \"https://localhost:7443\"\ntrust_domain = \"acme.example\"\n";
    std::fs::write(&config, nowhere).unwrap();
    let failed = says("suture-server", &["ca", "show", "--config", text(&config)]);
    assert_eq!(failed["exit"], 1);
    assert!(!failed["causes"].as_array().unwrap().is_empty(), "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suturectl_and_suture_boot_end_with_the_codes_that_they_document() {
    let dir = tempfile::tempdir().unwrap();
    let (home, empty) = (dir.path().join("home"), dir.path().join("evidence"));
    std::fs::create_dir(&empty).unwrap();
    std::fs::write(empty.join("README.md"), "all is well").unwrap();
    let ctl = |words: &[&str]| ends("suturectl", &[&["--home", text(&home)][..], words].concat());
    assert_eq!(ctl(&["reasons", "disk-full"]), 0);
    assert_eq!(ctl(&["--help"]), 0);
    assert_eq!(ctl(&["key", "check", "targets"]), 1);
    assert_eq!(ctl(&["reasons", "warp-core"]), 1);
    assert_eq!(ctl(&["bundle", "bild"]), 2);
    assert_eq!(ctl(&["join", &to_nowhere()]), 4);
    assert_eq!(ctl(&["evidence", "verify", text(&empty)]), 5);
    // Who refuses is a server.
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    assert_eq!(ada.run(&["operator", "revoke", "nobody"]).await.unwrap_err().exit, 3);

    assert_eq!(ends("suture-boot", &[]), 64);
    assert_eq!(ends("suture-boot", &["a", "b"]), 64);
    assert_eq!(ends("suture-boot", &[text(&dir.path().join("none"))]), 0);
}

fn page(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// Numbers that stand at the beginning of a line or behind a comma, a semicolon or a colon.
fn numbers(text: &str) -> BTreeSet<u8> {
    let parts = text.split(['\n', ',', ';', ':']).filter_map(|part| part.split_whitespace().next());
    parts.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn exit_codes_are_documented_alike_everywhere() {
    let (readme, reasons) = (page("README.md"), page("deploy/reasons.md"));
    let helps = [suture_ctl::command(), suture_server::cli::command(), crate::agent_cli::Cli::command()];
    let helps = helps.map(|program| (program.get_name().to_owned(), program.get_after_help().unwrap().to_string()));
    for (program, help) in helps {
        let said = numbers(&help);
        assert!(said.len() > 2, "{program}: {help}");
        let row = readme.lines().find_map(|l| l.strip_prefix(&format!("| `{program}` | "))).unwrap();
        assert_eq!(numbers(row), said, "{program} in the README");
        let rows = reasons.lines().filter_map(|l| l.strip_prefix(&format!("| `{program}` | ")));
        let told: BTreeSet<u8> = rows.map(|l| l.split(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(told, said, "{program} in deploy/reasons.md");
    }
}
