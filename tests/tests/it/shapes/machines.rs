//! The programs of machines: the server's commands at a server of their own, the agent's at devices of the hospital.

use std::fs;
use std::path::Path;

use clap::Command;
use serde_json::json;
use suture_tests::world::{Device, text};

use super::{Shapes, string};
use crate::hospital::Hospital;

fn agent() -> Command {
    <crate::agent_cli::Cli as clap::CommandFactory>::command()
}

/// A server that nobody runs: what its owner does at its machine.
pub(super) fn servers(h: &Hospital, s: &mut Shapes) {
    let (program, dir) = (suture_server::cli::command(), h.world.path("another-server"));
    let place = ["--data-dir", text(&dir), "--address", "https://localhost:1", "--listen", "127.0.0.1:0"];
    s.run(&program, &[&place[..], &["--trust-domain", "other.example"]].concat(), &["init", "--operator", "ada"]);
    let config = dir.join("server.toml");
    for words in [
        &["ca", "show"][..],
        &["ca", "prepare"],
        &["ca", "switch"],
        &["ca", "retire"],
        &["audit", "key"],
        &["audit", "rotate-key"],
        &["audit", "prune", "--before", "2020-01-01"],
        &["operator", "invite", "ada"],
    ] {
        s.run(&program, &["--config", text(&config)], words);
    }
    // Repositories begin with their owners, so these are of the server that has some.
    let config = h.world.data_dir().join("server.toml");
    for words in [&["keys", "list"][..], &["keys", "rotate", "--repository", "catalog"], &["keys", "list"]] {
        s.run(&program, &["--config", text(&config)], words);
    }
}

/// A device comes and goes, each step at its machine; its clock is the real one.
pub(super) async fn devices(h: &Hospital, s: &mut Shapes) {
    let (kim, world) = (&h.kim, &h.world);
    let csv = world.path("more.csv");
    fs::write(&csv, "id,product,hardware,ward\npump-3,pump,rev-a,icu\npump-4,pump,rev-a,icu\n").unwrap();
    s.play(kim, &["device", "import", "--csv", text(&csv)]).await;
    let pump = Device::new(world, "pump-3", "rev-a");
    let present = fs::read_to_string(pump.config()).unwrap() + "[presence]\ncommand = [\"true\"]\n";
    fs::write(pump.config(), present).unwrap();
    let config = pump.config();
    let at = ["--config", text(&config)];
    let (manifest, payload) = (h.first.dir.join("manifest.json"), format!("app={}", h.first.tree.display()));
    s.run(&agent(), &at, &["provision", "--manifest", text(&manifest), "--payload", &payload]);
    let token = string(&s.play(kim, &["device", "token", "pump-3"]).await["token"]);
    let shown = string(&s.run(&agent(), &at, &["enroll", "--token", &token])["fingerprint"]);
    s.play(kim, &["device", "list"]).await;
    s.play(kim, &["device", "confirm", "pump-3", "--fingerprint", &shown, "--yes"]).await;
    for words in [
        &["status"][..],
        &["why"],
        &["doctor"],
        &["hold", "--reason", "the ward is full", "--by", "Kim"],
        &["status"],
        &["release", "--reason", "the ward has room"],
        &["leave", "--device", "pump-3"],
    ] {
        s.run(&agent(), &at, words);
    }
    s.play(kim, &["device", "decommission", "pump-3", "--reason", "sold; disk wiped"]).await;
    s.play(kim, &["device", "list", "--state", "decommissioned"]).await;

    // Another is confirmed by a list, and then corrected by one.
    let pump = Device::new(world, "pump-4", "rev-a");
    pump.provision(&h.first);
    let token = string(&s.play(kim, &["device", "token", "pump-4"]).await["token"]);
    let seen = format!("id,fingerprint\npump-4,{}\n", pump.enroll(&token).await.unwrap());
    fs::write(&csv, seen).unwrap();
    s.play(kim, &["roster", "sign", "--csv", text(&csv), "--yes"]).await;
    fs::write(&csv, "id,product,hardware,ward\npump-4,pump,rev-a,lab\n").unwrap();
    s.play(kim, &["roster", "update", "--csv", text(&csv)]).await;

    // A person is asked for its slot; then its disk tears what it is at.
    let (config, state) = (pump.config(), pump.dir.join("state"));
    let at = ["--config", text(&config)];
    let question = json!({ "approval": "a1", "slot_start": "2026-01-01T00:00:00Z", "latest": "2999-01-01T00:00:00Z" });
    fs::write(state.join("question.json"), question.to_string()).unwrap();
    s.run(&agent(), &at, &["confirm", "--by", "Kim"]);
    ["journal.json", "journal.second.json"].iter().for_each(|name| fs::write(state.join(name), "torn").unwrap());
    s.run(&agent(), &at, &["recover", "--reason", "it runs as it should", "--by", "Kim"]);
}

/// What is handed over at a device, and what it has written down.
pub(super) fn handed(s: &mut Shapes, pump: &Device, stop: &Path, stick: &Path) {
    let config = pump.config();
    for words in [
        &["stop", text(stop)][..],
        &["import", text(stick)],
        &["status"],
        &["why"],
        &["log"],
        &["log", "--verify"],
        &["record"],
    ] {
        s.run(&agent(), &["--config", text(&config)], words);
    }
}
