//! The server's record in the hands of whoever has the server, its database and the record's own key: entries are dropped,
//! reordered and edited so that everything fits together afterwards, and the record is forked. Every `suturectl` and every
//! device finds it, and the device is patched nevertheless.

use std::fs;
use std::path::Path;
use std::process::Command;

use sqlx::{Connection as _, SqliteConnection};
use suture_core::audit::{Checkpoint, Frontier, Head};
use suture_core::digest::Digest;
use suture_tests::world::Device;

use super::hospital::Hospital;

const UNTRUSTED: u8 = 5;

/// What becomes of the digests of all entries.
type Edit = fn(&mut Vec<Vec<u8>>);

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Rewrites the record in a stopped server's database: rows, roots and tree are those of the edited entries.
async fn rewrite(data: &Path, edit: Edit) {
    let mut c = SqliteConnection::connect(&format!("sqlite://{}", data.join("suture.db").display())).await.unwrap();
    let mut digests: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT payload_sha256 FROM audit ORDER BY seq").fetch_all(&mut c).await.unwrap();
    let length = digests.len();
    edit(&mut digests);
    // As many entries as before: their number gives nothing away.
    digests.resize_with(length, || Digest::of(b"one more").as_bytes().to_vec());
    sqlx::query("DELETE FROM audit_node").execute(&mut c).await.unwrap();
    let mut frontier = Frontier::EMPTY;
    for (seq, digest) in (1_i64..).zip(&digests) {
        for (place, sha256) in frontier.push(&Digest::try_from(digest.as_slice()).unwrap()) {
            let insert = sqlx::query("INSERT INTO audit_node (number, sha256) VALUES ($1, $2)");
            let number = i64::try_from(place.number()).unwrap();
            insert.bind(number).bind(sha256.as_bytes().as_slice()).execute(&mut c).await.unwrap();
        }
        let Head { root, .. } = frontier.head();
        let update = "UPDATE audit SET payload_sha256 = $2, root = $3,
            payload = CASE WHEN payload_sha256 = $2 THEN payload ELSE NULL END WHERE seq = $1";
        let update = sqlx::query(update).bind(seq).bind(digest.as_slice()).bind(root.as_bytes().as_slice());
        update.execute(&mut c).await.unwrap();
    }
    c.close().await.unwrap();
}

fn kept(pump: &Device) -> suture_agent::record::Kept {
    suture_agent::record::kept(&pump.dir.join("state")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_drops_reorders_or_edits_its_record_is_caught_by_a_ctl_and_by_a_device() {
    let mut h = Hospital::open().await;
    let before = h.pumps[0].cycle().await;
    h.kim.run(&["audit", "verify"]).await.unwrap();
    let seen = kept(&h.pumps[0]).witness;
    assert!(seen.size() > 4);
    let (data, honest) = (h.world.data_dir().to_owned(), h.world.path("honest"));
    h.world.stop_server().await;
    copy(&data, &honest);
    let edits: [(&str, Edit); 3] = [
        ("dropped", |d| drop(d.remove(3))),
        ("reordered", |d| d.swap(2, 4)),
        ("edited", |d| d[1] = Digest::of(b"another").as_bytes().to_vec()),
    ];
    for (name, edit) in edits {
        rewrite(&data, edit).await;
        h.world.start_server().await;
        for command in [&["audit", "verify"][..], &["device", "list"], &["audit", "export", "-o", "/dev/null"]] {
            let failed = h.kim.run(command).await.unwrap_err();
            assert_eq!(failed.exit, UNTRUSTED, "{name}: {}", failed.said);
            for part in ["was rewritten", "audit.doubt.json", "audit restart"] {
                assert!(failed.said.contains(part), "{name}: {part}: {}", failed.said);
            }
        }
        // Two checkpoints, both signed by the record's key: that convicts the server before anybody.
        let doubt: serde_json::Value =
            serde_json::from_slice(&fs::read(h.kim.home().join("audit.doubt.json")).unwrap()).unwrap();
        for note in ["seen", "offered"] {
            Checkpoint::verify(doubt[note].as_str().unwrap(), &seen.key).unwrap();
        }
        assert_eq!(h.pumps[0].cycle().await, before, "{name}: the record is no authority over a device");
        let told = kept(&h.pumps[0]);
        assert_eq!(told.witness, seen, "{name}");
        Checkpoint::verify(told.doubt.unwrap().offered.as_deref().unwrap(), &seen.key).unwrap();
        let why = suture_agent::status::Status::read(&h.pumps[0].settings(), None).why();
        assert!(why.waits.iter().any(|why| why.code == "record-rewritten"), "{name}: {why:?}");
        h.world.stop_server().await;
        copy(&honest, &data);
    }
    // Back on the record that was seen, as if nothing had been; the evidence stays.
    h.world.start_server().await;
    h.kim.run(&["audit", "verify"]).await.unwrap();
    h.pumps[0].cycle().await;
    assert!(kept(&h.pumps[0]).doubt.is_none() && kept(&h.pumps[0]).first_doubt.is_some());
    assert!(h.kim.home().join("audit.doubt.json").exists());
}

/// Found: a home remembered the record from before its own last command, so that just the entry of that could be dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_entry_of_a_homes_last_command_is_missed_by_that_home() {
    let mut h = Hospital::open().await;
    h.kim.run(&["operator", "invite", "lee"]).await.unwrap();
    let data = h.world.data_dir().to_owned();
    h.world.stop_server().await;
    rewrite(&data, |d| drop(d.pop())).await;
    h.world.start_server().await;
    let failed = h.kim.run(&["device", "list"]).await.unwrap_err();
    assert_eq!(failed.exit, UNTRUSTED, "{}", failed.said);
    assert!(failed.said.contains("was rewritten"), "{}", failed.said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_forked_is_found_by_what_devices_have_signed() {
    let mut h = Hospital::open().await;
    for pump in &mut h.pumps {
        pump.cycle().await;
    }
    let (data, honest) = (h.world.data_dir().to_owned(), h.world.path("honest"));
    h.world.stop_server().await;
    copy(&data, &honest);
    // One device is shown another record, in which something else has happened.
    h.world.start_server().await;
    h.ada.run(&["operator", "invite", "mallory"]).await.unwrap();
    h.pumps[1].cycle().await;
    assert!(kept(&h.pumps[1]).doubt.is_none(), "it cannot tell");
    h.world.stop_server().await;
    copy(&honest, &data);
    h.world.start_server().await;
    h.kim.run(&["operator", "invite", "lee"]).await.unwrap();
    h.kim.run(&["operator", "invite", "sam"]).await.unwrap();
    h.pumps[0].cycle().await;
    h.kim.run(&["audit", "verify"]).await.unwrap();
    // Its next check-in says by its signature what it was shown, and it has its own doubts by now.
    for _ in 0..2 {
        h.pumps[1].cycle().await;
    }
    let failed = h.kim.run(&["audit", "verify"]).await.unwrap_err();
    assert_eq!(failed.exit, UNTRUSTED, "{}", failed.said);
    assert!(failed.said.contains("device pump-2 has signed that it saw"), "{}", failed.said);
    assert!(failed.said.contains("device pump-2 says") && !failed.said.contains("pump-1"), "{}", failed.said);
    let shown = h.kim.run(&["device", "show", "pump-2"]).await.unwrap();
    assert!(shown.contains("record     ALARM: the audit record was rewritten"), "{shown}");
    let record = h.kim.run(&["audit", "list", "--limit", "1000"]).await.unwrap();
    assert_eq!(record.matches("device.record-doubt").count(), 1, "{record}");
    // Its own log says what it has seen, and has not been edited since it was signed.
    let head = shown.lines().find_map(|line| line.trim().strip_prefix("log        ")).unwrap();
    let signed = suture_agent::history::parse_head(head.split(' ').next().unwrap()).unwrap();
    let state = h.pumps[1].dir.join("state");
    suture_agent::history::verify(&state, Some(signed)).unwrap();
    let log = fs::read_to_string(state.join("log.jsonl")).unwrap();
    fs::write(state.join("log.jsonl"), log.replacen("record-rewritten", "nothing-approved", 1)).unwrap();
    assert!(suture_agent::history::verify(&state, Some(signed)).is_err());
}
