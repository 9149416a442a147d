//! Whole command lines, as far as they need no server.

use std::path::Path;
use std::sync::Arc;

use clap::CommandFactory as _;
use jiff::Timestamp;
use serde_json::Value;
use suture_core::clock::Clock;
use suture_core::digest::Digest;
use suture_core::token::{Grant, Secret, Token};

use super::{Cli, run};

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// Exit code, standard output, standard error.
pub(crate) async fn ctl(home: &Path, args: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let home = home.to_str().unwrap();
    let line = [&["suturectl", "--home", home], args].concat();
    let clock = Arc::new(At("2026-11-24T15:00:00Z".parse().unwrap()));
    let code = run(line, &mut out, &mut err, clock).await;
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn token(grant: Grant, expires: &str, server: &str) -> String {
    let token = Token {
        server: server.to_owned(),
        ca_sha256: Digest::of(b"ca"),
        trust_domain: "acme.example".parse().unwrap(),
        grant,
        catalog_root_sha256: None,
        approvals_root_sha256: None,
        catalog_edition: None,
        approvals_edition: None,
        audit_key: None,
        expires: expires.parse().unwrap(),
        secret: Secret::new([9; 32]),
    };
    token.encode().unwrap()
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[tokio::test]
async fn keys_are_made_listed_and_exported_without_ever_being_printed() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let passphrase = dir.path().join("pass");
    std::fs::write(&passphrase, "correct horse\n").unwrap();
    let pass = ["--passphrase-file", passphrase.to_str().unwrap()];
    let (code, out, err) = ctl(&home, &[&["key", "new", "release"], &pass[..]].concat()).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let public = out.trim().strip_prefix("release  ").unwrap().to_owned();
    let (code, out, _) = ctl(&home, &["key", "export-public", "release"]).await;
    assert_eq!((code, out.trim()), (0, public.as_str()));
    let (_, out, _) = ctl(&home, &["key", "list", "--output", "json"]).await;
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(listed[0]["public_key"], Value::from(public));
    assert_eq!((&listed[0]["place"], &listed[0]["encrypted"]), (&Value::from("file"), &Value::from(true)));
    let (code, out, err) = ctl(&home, &[&["key", "check", "release"], &pass[..]].concat()).await;
    assert!(code == 0 && out.contains(&format!("signs, as {}", listed[0]["public_key"].as_str().unwrap())), "{err}");

    let (code, _, err) = ctl(&home, &[&["key", "new", "release"], &pass[..]].concat()).await;
    assert_eq!(code, 1);
    assert!(err.contains("already") && err.contains("try:"), "{err}");
    std::fs::write(dir.path().join("new"), "battery staple\n").unwrap();
    let new = dir.path().join("new");
    let change = ["key", "change-passphrase", "release", "--new-passphrase-file", new.to_str().unwrap()];
    assert_eq!(ctl(&home, &[&change[..], &pass[..]].concat()).await.0, 0);
    let (code, _, err) = ctl(&home, &[&change[..], &pass[..]].concat()).await;
    assert_eq!(code, 1, "the old passphrase opens nothing any more");
    assert!(!err.contains("horse") && !err.contains("staple"), "{err}");

    // Files of two keys that were mixed up.
    assert_eq!(ctl(&home, &["key", "new", "other", "--no-passphrase"]).await.0, 0);
    std::fs::copy(home.join("keys/release.pub"), home.join("keys/other.pub")).unwrap();
    let (code, out, err) = ctl(&home, &["key", "check", "other"]).await;
    assert!((code, out.as_str()) == (5, "") && err.contains("does not belong to its public half"), "{err}");
}

#[tokio::test]
async fn a_bundle_is_built_and_inspected_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let spec = crate::bundle::tests::sources(dir.path(), false);
    let out_dir = dir.path().join("out");
    let (spec, out_dir) = (spec.to_str().unwrap(), out_dir.to_str().unwrap());
    let home = dir.path().join("home");
    let (code, out, err) =
        ctl(&home, &["bundle", "build", spec, "-o", out_dir, "--level", "1", "--output", "json"]).await;
    assert_eq!(code, 0, "{err}");
    let built: Value = serde_json::from_str(&out).unwrap();
    let (code, out, _) = ctl(&home, &["bundle", "inspect", out_dir]).await;
    assert_eq!(code, 0);
    assert!(out.contains("pump 1.1.0 (release 2") && out.contains("every byte verified"), "{out}");
    assert!(out.contains(built["manifest_sha256"].as_str().unwrap()));
    let pack = Path::new(out_dir).join("packs/00000.pack");
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let (code, out, err) = ctl(&home, &["bundle", "inspect", out_dir]).await;
    assert_eq!((code, out.as_str()), (5, ""), "{err}");
}

#[tokio::test]
async fn what_needs_a_server_says_how_to_get_one() {
    let home = tempfile::tempdir().unwrap();
    for args in [&["whoami"][..], &["doctor"], &["hdo", "list"], &["audit", "verify"], &["catalog", "status"]] {
        let (code, out, err) = ctl(home.path(), args).await;
        assert!(code == 1 && out.is_empty(), "{args:?} {err}");
    }
    let (_, _, err) = ctl(home.path(), &["whoami"]).await;
    assert!(err.contains("suturectl join -"), "{err}");
    let (code, _, err) = ctl(home.path(), &["whoami", "--output", "json"]).await;
    let told: Value = serde_json::from_str(&err).unwrap();
    assert_eq!((told["exit"].as_u64(), code), (Some(1), 1));
}

#[tokio::test]
async fn a_token_is_judged_before_anything_is_asked_or_written() {
    let home = tempfile::tempdir().unwrap();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port())
    };
    let mdm = |expires| token(Grant::Mdm("ada".parse().unwrap()), expires, &closed);
    let cut: String = mdm("2026-12-01T00:00:00Z").chars().take(80).collect();
    for (token, code, want) in [
        (cut, 1, "cut in copying"),
        (mdm("2026-11-24T14:59:59Z"), 1, "expired"),
        (token(Grant::Device("riverside".parse().unwrap(), None), "2026-12-01T00:00:00Z", &closed), 1, "suture-agent"),
        (mdm("2026-12-01T00:00:00Z"), 4, "127.0.0.1"),
    ] {
        let (got, out, err) = ctl(home.path(), &["join", &token]).await;
        assert_eq!((got, out.as_str()), (code, ""), "{err}");
        assert!(err.contains(want) && !err.contains("0909"), "{err}");
        assert!(!home.path().join("server.json").exists());
    }
}

#[tokio::test]
async fn usage_is_an_exit_code_of_its_own_and_help_is_a_result() {
    let home = tempfile::tempdir().unwrap();
    let (code, out, err) = ctl(home.path(), &["key", "new", "../x"]).await;
    assert!(code == 2 && out.is_empty() && err.contains("not a key name"), "{err}");
    let (code, out, err) = ctl(home.path(), &["--help"]).await;
    assert!(code == 0 && err.is_empty() && out.contains("Exit codes"), "{out}");
}
