//! A hospital's story with every document that anybody signs in it, as this release's programs write them.
//!
//! `core/tests/field.rs` reads what is written here, in this release and in each later one. So it is run once, when a release is
//! made, and what it has written for a release is not written again:
//!
//! ```text
//! cargo nextest run --workspace --test it --run-ignored only -E 'test(/field::written/)'
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};
use suture_core::clock::{Clock as _, day_of, format_utc};
use suture_core::token::Token;
use suture_tests::world::{HDO, Kind, Spec, World, text};

use crate::ward::Ward;

const ADVISORY: &str = r#"
kind = "advisory"
product = "pump"
releases = ["1"]
severity = "high"
cves = ["CVE-2026-12345"]
subject = "the alarm can be silenced over the network"
text = "Whoever is on the pump's network can silence its alarm."
actions = "Install release 2."
compensating = "Keep the pumps on a network of their own."
"#;

const RISK: &str = "\n[[risk]]\nfrom = \"7\"\nhardware = [\"rev-b\"]\ntext = \"the alarm is silent\"\n";

#[ignore = "it writes what this release writes, for those to come"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documents_of_this_release() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ward = Ward::open(world, Spec { checked: true, more: RISK, ..Spec::default() }, &["pump-1", "pump-2"]).await;
    let token = said_besides(&ward).await;
    let rollout = installed_and_checked(ward).await;
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/field").join(env!("CARGO_PKG_VERSION"));
    let _ = fs::remove_dir_all(&place);
    taken(&rollout, &token, &place).await;
}

/// All that is signed beside rollouts. A token for a device.
async fn said_besides(ward: &Ward) -> String {
    let Ward { world, ada, kim, .. } = ward;
    let day = day_of(world.clock.now());
    let (born, ends) = (day.to_string(), day.checked_add(jiff::Span::new().years(6)).unwrap().to_string());
    let life = ["life", "set", "pump", "--general-availability", &born, "--eos", &ends, "--reason", "as sold"];
    ada.run(&life).await.unwrap();
    let advisory = world.path("advisory.toml");
    fs::write(&advisory, ADVISORY).unwrap();
    ada.run(&["notice", "publish", text(&advisory)]).await.unwrap();
    kim.run(&["notice", "acknowledge", "1", "--text", "both are patched on Friday"]).await.unwrap();
    let seen = world.path("seen.txt");
    fs::write(&seen, "ipv4 203.0.113.7\n").unwrap();
    let report = ["report", "suspicion", "--product", "pump", "--device", "pump-1", "--severity", "high"];
    kim.run(&[&report[..], &["--text", "it called a stranger", "--ioc", text(&seen)]].concat()).await.unwrap();
    let cell = "apply-patches@support=shared-manufacturer: contract 4711";
    let propose = ["responsibilities", "propose", "pump", "--hdo", HDO, "--cell", cell, "--reason", "on site"];
    ada.run(&propose).await.unwrap();
    kim.run(&["responsibilities", "sign", "pump", "1"]).await.unwrap();
    let risk = ["risk", "assess", "--product", "pump", "--ward", "icu", "--hazard", "a wrong dose over the network"];
    let grades = ["--likelihood", "remote", "--severity", "critical", "--exploitability", "medium", "--treatment"];
    let words = ["acceptance", "--reason", "no other pump", "--compensating", "a network of their own"];
    kim.run(&[&risk[..], &grades, &words, &["--reviewer", "Dr. Lee"]].concat()).await.unwrap();
    let suggestion = ["rollout", "propose", "pump@2", "--all", "--wave", "1", "--wave", "rest", "--soak", "24h"];
    ada.run(&[&suggestion[..], &["--note", "a louder alarm"]].concat()).await.unwrap();
    let defer = ["rollout", "approve", "pump@2", "--defer", "--reason", "the ward is rebuilt"];
    let until = day.checked_add(jiff::Span::new().days(30)).unwrap().to_string();
    kim.run(&[&defer[..], &["--compensating", "a network of their own", "--review", &until]].concat()).await.unwrap();
    let hospital = ["calendar", "set", "--hospital", "--zone", "Europe/Berlin", "--freeze-yearly", "06-24..06-26"];
    kim.run(&hospital).await.unwrap();
    let (address, ca) = (format!("https://localhost:{}", world.line.port()), world.data_dir().join("ca.pem"));
    kim.run(&["service", "set", "--address", &address, "--authority", text(&ca)]).await.unwrap();
    kim.json(&["device", "token", "pump-1"]).await.unwrap()["token"].as_str().unwrap().to_owned()
}

/// A rollout in two waves, of which the second is opened by signature; a check at the device, said from afar; and a stop.
async fn installed_and_checked(mut ward: Ward) -> Ward {
    let file = ward.world.path("plan.json");
    let plan = ["rollout", "plan", "--bundle", "pump@2", "--ward", "icu", "--wave", "1", "--wave", "rest:signed"];
    let more = ["--cap", "1", "--slots", "1", "--slack", "60s", "--leases", "--ticket", "CHG-4711", "-o", text(&file)];
    let plan = ward.kim.json(&[&plan[..], &more].concat()).await.unwrap();
    let approve = ["rollout", "approve", text(&file), "--reason", "tested on the bench", "--role", "IT security"];
    let rollout = ward.kim.json(&approve).await.unwrap()["rollout"].as_str().unwrap().to_owned();
    let open = ["rollout", "open", &rollout, "--wave", "2", "--reason", "a quiet night"];
    ward.kim.run(&open).await.unwrap();
    let devices = plan["plan"]["devices"].as_array().unwrap();
    let first = devices.iter().find(|device| device["wave"] == 0).unwrap();
    let start: Timestamp = first["slots"][0]["start"].as_str().unwrap().parse().unwrap();
    let pump = ward.pumps.iter_mut().find(|pump| first["id"] == pump.id.as_str()).unwrap();
    ward.world.clock.set(start);
    for state in ["checking(return-to-service)", "checking(return-to-service)"] {
        assert_eq!(pump.cycle().await, state);
    }
    ward.kim.run(&["device", "release", &pump.id, "--reason", "flow measured at three points"]).await.unwrap();
    assert_eq!(pump.cycle().await, "idle(up-to-date)");
    ward.kim.run(&["rollout", "stop", &rollout]).await.unwrap();
    ward.kim.run(&["audit", "export", "-o", text(&ward.world.path("audit.jsonl"))]).await.unwrap();
    ward
}

/// Takes everything from the server, as `core/tests/field.rs` reads it.
async fn taken(ward: &Ward, token: &str, place: &Path) {
    let mut database = SqliteConnection::connect(ward.world.database()).await.unwrap();
    let put = |path: PathBuf, bytes: &[u8]| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    for (repository, dir) in [("catalog", "catalog"), (&format!("approvals/{HDO}"), "approvals")] {
        for table in ["repo_file", "target_file"] {
            let query = format!("SELECT name, content FROM {table} WHERE repository = $1");
            let query = sqlx::query(sqlx::AssertSqlSafe(query)).bind(repository);
            for row in query.fetch_all(&mut database).await.unwrap() {
                put(place.join(dir).join(row.get::<String, _>(0)), &row.get::<Vec<u8>, _>(1));
            }
        }
    }
    // Stated, sent and ordered: signed apart from the repositories.
    for (table, column) in [
        ("plan", "content"),
        ("statement", "content"),
        ("stop_order", "content"),
        ("clearance", "content"),
        ("decision", "signed"),
        ("proposal", "suggestion"),
        ("agreement", "document"),
        ("agreement", "consent"),
        ("risk", "document"),
        ("letter", "content"),
    ] {
        let query = format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL");
        let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&mut database).await.unwrap();
        assert!(!rows.is_empty(), "the story has no {column} of a {table}");
        for (i, row) in rows.iter().enumerate() {
            put(place.join(format!("words/{table}-{column}-{}.json", i + 1)), &row.get::<Vec<u8>, _>(0));
        }
    }
    let query = sqlx::query("SELECT device, number, report_key, payload, signature FROM report");
    let rows = query.fetch_all(&mut database).await.unwrap();
    assert!(rows.len() > 3);
    for row in rows {
        let name = format!("{}-{}", row.get::<String, _>(0), row.get::<i64, _>(1));
        put(place.join(format!("reports/{name}.json")), &row.get::<Vec<u8>, _>(3));
        put(place.join(format!("reports/{name}.signature")), hex::encode(row.get::<Vec<u8>, _>(4)).as_bytes());
        put(place.join(format!("reports/{name}.key")), hex::encode(row.get::<Vec<u8>, _>(2)).as_bytes());
    }
    database.close().await.unwrap();
    put(place.join("audit.jsonl"), &fs::read(ward.world.path("audit.jsonl")).unwrap());
    put(place.join("token"), token.as_bytes());
    let log = Token::decode(token).unwrap().audit_key.unwrap();
    let about = serde_json::json!({ "at": format_utc(ward.world.clock.now()), "hdo": HDO, "log": Value::from(log.to_string()) });
    put(place.join("about.json"), about.to_string().as_bytes());
}
