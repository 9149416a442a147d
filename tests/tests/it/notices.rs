//! The manufacturer tells its hospitals, they answer, one of them reports something back; and a server that holds letters
//! back, forges or swaps them.

use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use suture_core::clock::{Clock as _, day_of};
use suture_core::limits::MAX_LETTERS_PER_CALL;
use suture_tests::world::{Failed, HDO, Operator, text};

use crate::hospital::Hospital;

fn refused(outcome: Result<impl std::fmt::Debug, Failed>, exit: u8, told: &[&str]) {
    let failed = outcome.unwrap_err();
    assert_eq!(failed.exit, exit, "{}", failed.said);
    for words in told {
        assert!(failed.said.contains(words), "{words:?} is not in: {}", failed.said);
    }
}

/// What a command says beside its result.
async fn notes(h: &Hospital, who: &Operator, args: &[&str]) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let home = who.home().to_str().unwrap();
    let line = [&["suturectl", "--home", home], args].concat();
    assert_eq!(suture_ctl::run(line, &mut out, &mut err, h.world.clock.clone()).await, 0);
    String::from_utf8(err).unwrap()
}

/// One statement against the server's database, as whoever holds it may make.
async fn tamper(h: &Hospital, statement: &str) {
    let path = h.world.database().strip_prefix("sqlite:").unwrap().to_owned();
    let mut database = SqliteConnection::connect(&path).await.unwrap();
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    sqlx::query(statement).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
}

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
[[attachment]]
path = "fsn.pdf"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_is_delivered_read_and_answered_and_a_report_goes_back() {
    let mut h = Hospital::open().await;
    let lee = h.neighbour().await;
    let (spec, document) = (h.world.path("advisory.toml"), h.world.path("fsn.pdf"));
    std::fs::write(&document, "%PDF field safety notice").unwrap();
    std::fs::write(&spec, ADVISORY.replace("compensating = ", "# ")).unwrap();
    let publish = ["notice", "publish", text(&spec)];
    refused(h.kim.run(&publish).await, 1, &["manufacturer"]);
    refused(h.ada.run(&publish).await, 1, &["must say more", "compensating"]);
    std::fs::write(&spec, ADVISORY).unwrap();
    let unknown = [&publish[..], &["--hdo", "nowhere"]].concat();
    refused(h.ada.run(&unknown).await, 1, &["no hospital nowhere"]);

    // To whoever has such devices: riverside has, hilltop has not.
    let sent = h.ada.json(&publish).await.unwrap();
    assert_eq!(sent["letters"], json!([{ "hdo": HDO, "number": 1 }]));
    let id = &sent["id"].as_str().unwrap()[..12];
    let told = notes(&h, &h.kim, &["device", "list"]).await;
    assert!(told.contains("1 notice of the manufacturer's waits"), "{told}");
    assert_eq!(notes(&h, &lee, &["device", "list"]).await, "");
    let status = h.ada.json(&["notice", "status", id]).await.unwrap();
    assert_eq!(status["hospitals"][0]["delivered"], Value::Null, "nobody there has looked");

    let listed = h.kim.json(&["notice", "list"]).await.unwrap();
    assert_eq!((&listed[0]["number"], &listed[0]["standing"]), (&json!(1), &json!("listed")));
    let status = h.ada.json(&["notice", "status", id]).await.unwrap();
    let hospital = &status["hospitals"][0];
    assert_eq!((&hospital["delivered"]["by"], &hospital["read"]), (&json!("kim"), &Value::Null));
    let documents = h.world.path("documents");
    let shown = h.kim.run(&["notice", "show", "1", "--documents", text(&documents)]).await.unwrap();
    for part in ["CVE-2026-12345", "Keep the pumps", "Install release 2", "notice acknowledge 1"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(std::fs::read(documents.join("1-fsn.pdf")).unwrap(), std::fs::read(&document).unwrap());
    assert_eq!(notes(&h, &h.kim, &["device", "list"]).await, "", "it is read");

    // Nobody answers in time; then somebody does, and signs it.
    h.world.idle(8).await;
    let overdue = h.ada.json(&["notice", "list"]).await.unwrap();
    assert_eq!((&overdue[0]["overdue"], &overdue[0]["read"]), (&json!(1), &json!(1)));
    assert!(h.kim.run(&["notice", "list", "--open"]).await.unwrap().contains("OVERDUE"));
    let acknowledge = ["notice", "acknowledge", "1", "--text", "release 2 is planned for Friday"];
    h.kim.run(&acknowledge).await.unwrap();
    refused(h.kim.run(&acknowledge).await, 1, &["already"]);
    let told = notes(&h, &h.ada, &["notice", "status", id, "--verify"]).await;
    assert!(told.contains("hdo pin riverside --root"), "its root is seen for the first time: {told}");
    let status = h.ada.json(&["notice", "status", id, "--verify"]).await.unwrap();
    let hospital = &status["hospitals"][0];
    assert_eq!((&hospital["verified"], &hospital["acknowledged"]["by"]), (&json!(true), &json!("kim")));
    assert_eq!(h.kim.json(&["notice", "list", "--open"]).await.unwrap(), json!([]));

    // What is withdrawn is told with it; the clocks run from the day on which it was learned of.
    let withdraw = ["bundle", "withdraw", "pump@1", "--reason", "its alarm can be silenced", "--notice", "auto"];
    let withdrawn = h.ada.json(&withdraw).await.unwrap();
    assert_eq!(withdrawn["notice"]["letters"][0]["number"], json!(2));
    let today = day_of(h.world.clock.now());
    refused(h.ada.run(&["notice", "clocks", "pump@2"]).await, 1, &["--learned"]);
    let clocks = ["notice", "clocks", "pump@2", "--learned", &today.to_string(), "--notice", id];
    let clocks = h.ada.json(&clocks).await.unwrap();
    let hospital = &clocks["hospitals"][0];
    assert_eq!((&hospital["hdo"], &hospital["told_in_time"]), (&json!(HDO), &json!(true)));
    assert_eq!((&hospital["devices"], &hospital["confirmed_in_time"]), (&json!(2), &json!(0)));

    // The hospital has seen something, and takes it back later.
    let ioc = h.world.path("seen.txt");
    std::fs::write(&ioc, "ipv4 203.0.113.7\nipv4 300.0.0.1\n").unwrap();
    let report = ["report", "suspicion", "--product", "pump", "--device", "pump-1", "--severity", "high"];
    let report = [&report[..], &["--text", "it called a stranger", "--ioc", text(&ioc)]].concat();
    refused(h.kim.run(&report).await, 1, &["line 2"]);
    std::fs::write(&ioc, "ipv4 203.0.113.7\n").unwrap();
    let reported = h.kim.json(&report).await.unwrap();
    assert_eq!(reported["number"], json!(2), "behind the acknowledgement, in one series");
    assert!(notes(&h, &h.ada, &["hdo", "list"]).await.contains("1 report of a hospital's waits"));
    // Its root is the first that the server has shown, until people compare it.
    refused(h.ada.run(&["hdo", "pin", HDO, "--root", &"0".repeat(64)]).await, 5, &["in the hospital's place"]);
    let root = h.kim.json(&["approvals", "status"]).await.unwrap()["root_sha256"].as_str().unwrap().to_owned();
    let evidence = h.world.path("evidence");
    h.ada.run(&["evidence", "product", "pump", "-o", text(&evidence)]).await.unwrap();
    let verify = ["evidence", "verify", text(&evidence)];
    let verified = h.ada.json(&verify).await.unwrap();
    assert_eq!(verified["roots"][1], json!({ "of": HDO, "sha256": root, "is_known": null }), "{verified}");
    assert!(verified["roots_are_known"].is_null(), "{verified}");
    h.ada.run(&["hdo", "pin", HDO, "--root", &root]).await.unwrap();
    assert_eq!(h.ada.json(&verify).await.unwrap()["roots_are_known"], true);
    assert_eq!(h.ada.json(&["hdo", "list"]).await.unwrap()[1]["compared_sha256"], json!(root));
    let seen = h.ada.run(&["report", "show", "2", "--hdo", HDO]).await.unwrap();
    assert!(seen.contains("ipv4 203.0.113.7") && seen.contains("pump-1"), "{seen}");
    h.ada.run(&["report", "acknowledge", "2", "--hdo", HDO, "--text", "we look into it"]).await.unwrap();
    let shown = h.kim.json(&["report", "show", "2"]).await.unwrap();
    assert_eq!(shown["acknowledged"]["text"], json!("we look into it"));
    h.kim.run(&["report", "withdraw", "2", "--text", "it was our own scanner"]).await.unwrap();
    let all = h.ada.json(&["report", "list"]).await.unwrap();
    assert_eq!((&all[0]["number"], &all[1]["later"]), (&json!(3), &json!(3)));
    refused(lee.run(&["report", "list", "--hdo", HDO]).await, 1, &["hilltop"]);

    // Where it is delivered to besides; into the server's own network nothing goes, and the list says so.
    let add = ["notice", "contact", "add", "siem", "--webhook", "https://siem.riverside.example/suture"];
    assert!(h.kim.json(&add).await.unwrap()["secret"].as_str().unwrap().starts_with("whsec_"));
    refused(h.kim.run(&add).await, 3, &["contact siem"]);
    let plain = ["notice", "contact", "add", "plain", "--webhook", "http://siem.riverside.example/"];
    refused(h.kim.run(&plain).await, 3, &["https://"]);
    let line = ["notice", "contact", "add", "log", "--syslog", "siem.riverside.example"];
    assert_eq!(h.kim.json(&line).await.unwrap()["secret"], Value::Null);
    refused(h.kim.run(&["notice", "contact", "add", "bad", "--syslog", "siem/path"]).await, 3, &["HOST:PORT"]);
    let contacts = h.kim.json(&["notice", "contact", "list"]).await.unwrap();
    assert_eq!((&contacts[0]["url"], &contacts[1]["secret"]), (&json!("tls://siem.riverside.example"), &Value::Null));
    h.kim.run(&["notice", "contact", "remove", "log"]).await.unwrap();
    h.kim.run(&["notice", "contact", "remove", "siem"]).await.unwrap();

    for (who, actions) in [
        (&h.kim, ["notice.published", "notice.delivered", "notice.read", "notice.acknowledged", "report.acknowledged"]),
        (&h.ada, ["notice.published", "notice.read", "notice.acknowledged", "report.sent", "report.read"]),
    ] {
        let record = who.run(&["audit", "list", "--limit", "1000"]).await.unwrap();
        assert!(actions.iter().all(|action| record.contains(action)), "{record}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_holds_back_swaps_or_forges_letters_is_found_out() {
    let h = Hospital::open().await;
    let spec = h.world.path("advisory.toml");
    std::fs::write(h.world.path("fsn.pdf"), "pdf").unwrap();
    for n in 1..=3 {
        std::fs::write(&spec, ADVISORY.replace("silenced over", &format!("silenced {n} times over"))).unwrap();
        h.ada.run(&["notice", "publish", text(&spec)]).await.unwrap();
        h.world.pass(60);
    }
    let list = ["notice", "list"];
    // Between letters that it shows, it can leave out none: not to one who has seen none of them yet.
    tamper(&h, "UPDATE letter SET number = 9 WHERE number = 2").await;
    refused(h.kim.run(&list).await, 5, &["number 2", "is missing", "holds some back"]);
    tamper(&h, "UPDATE letter SET number = 2 WHERE number = 9").await;
    assert_eq!(h.kim.json(&list).await.unwrap().as_array().unwrap().len(), 3);
    // Nor can it hold back what somebody has seen.
    tamper(&h, "UPDATE letter SET sender = 'nobody' WHERE number = 3").await;
    refused(h.kim.run(&list).await, 5, &["number 3", "was seen here", "gone"]);
    refused(h.ada.run(&["notice", "publish", text(&spec)]).await, 5, &["number 3", "was seen here"]);
    tamper(&h, "UPDATE letter SET sender = 'manufacturer' WHERE sender = 'nobody'").await;
    // Another's letter under a number, or one with a word changed, is no letter.
    tamper(&h, "UPDATE letter SET content = (SELECT content FROM letter WHERE number = 1) WHERE number = 3").await;
    refused(h.kim.run(&list).await, 5, &[]);
    let swap = "UPDATE letter SET content = CAST(REPLACE(CAST(content AS TEXT), 'Install', 'Ignore!') AS BLOB) WHERE number = 2";
    tamper(&h, swap).await;
    refused(h.kim.run(&["notice", "show", "2"]).await, 5, &["does not verify"]);
}

/// Found: after a cut the same notice, published again as was advised, went once more to those who had it, with another id and day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_that_was_cut_between_two_calls_goes_on_to_the_others_alone_and_is_one_notice() {
    let h = Hospital::open().await;
    // One more than a call takes, with riverside.
    for n in 0..MAX_LETTERS_PER_CALL {
        h.ada.run(&["hdo", "invite", &format!("h{n:03}"), "--name", "A clinic"]).await.unwrap();
    }
    let spec = h.world.path("advisory.toml");
    std::fs::write(&spec, ADVISORY.replace("[[attachment]]\npath = \"fsn.pdf\"\n", "")).unwrap();
    let publish = ["notice", "publish", text(&spec), "--all"];
    tamper(
        &h,
        "CREATE TRIGGER cut BEFORE INSERT ON letter WHEN NEW.hdo = 'riverside' BEGIN SELECT RAISE(ABORT, 'cut'); END",
    )
    .await;
    refused(
        h.ada.run(&publish).await,
        1,
        &["100 of 101 were sent, to h000, h001", "and 80 more", "to the others alone"],
    );
    tamper(&h, "DROP TRIGGER cut").await;
    let home = h.ada.home();
    let kept = std::fs::read_dir(home.join("notices")).unwrap().next().unwrap().unwrap().path();
    let remembered = [home.join("letters.json"), kept.clone()].map(|path| (std::fs::read(&path).unwrap(), path));

    // An hour later it would have another day.
    h.world.pass(3_600);
    let sent = h.ada.json(&publish).await.unwrap();
    assert_eq!(sent["letters"].as_array().unwrap().len(), 101);
    assert!(sent["letters"].as_array().unwrap().iter().all(|letter| letter["number"] == 1), "{sent}");
    assert!(!kept.exists());
    let status = h.ada.json(&["notice", "status", sent["id"].as_str().unwrap()]).await.unwrap();
    assert_eq!(status["hospitals"].as_array().unwrap().len(), 101, "one notice, wherever it has gone");

    // The last call was done, and its answer was lost.
    for (bytes, path) in remembered {
        std::fs::write(path, bytes).unwrap();
    }
    assert_eq!(h.ada.json(&publish).await.unwrap(), sent);
    let all = h.ada.json(&["notice", "list"]).await.unwrap();
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
}
