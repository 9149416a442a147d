//! Evidence of what was played: made by each side, verified without a server, and no longer evidence once a byte is another.

use serde_json::Value;
use suture_tests::world::{Operator, World, text};

fn read(dir: &std::path::Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// What became of each device of a rollout, by the folder.
fn outcomes(dir: &std::path::Path) -> Vec<(String, String)> {
    let rows: Value = serde_json::from_str(&read(dir, "facts/outcome.json")).unwrap();
    let word = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    rows.as_array().unwrap().iter().map(|row| (word(row, "device"), word(row, "proven"))).collect()
}

/// A rollout that went well and has ended since, one whose first device fell back, a device that was in both.
pub(crate) async fn of_both_sides(world: &World, ada: &Operator, kim: &Operator, good: &str, bad: &str) {
    let place = |name: &str| world.path(format!("evidence-{name}"));
    let make = |name: &str, what: &[&str]| {
        let dir = place(name);
        let args: Vec<String> =
            what.iter().map(|s| (*s).to_owned()).chain(["-o".to_owned(), text(&dir).to_owned()]).collect();
        (dir, [vec!["evidence".to_owned()], args].concat())
    };
    let outsider = world.operator("auditor");

    let (dir, args) = make("good", &["rollout", good]);
    let made = kim.json(&args.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    assert_eq!((&made["devices"], &made["about"]["hdo"]), (&Value::from(3), &Value::from("riverside")));
    let confirmed = ["pump-1", "pump-2", "pump-3"].map(|id| (id.to_owned(), "confirmed".to_owned()));
    assert_eq!(outcomes(&dir), confirmed);
    // Somebody who has never heard of either side reads and verifies it.
    let verified = outsider.json(&["evidence", "verify", text(&dir)]).await.unwrap();
    assert_eq!((&verified["roots_are_known"], &verified["facts_drawn_again"]), (&Value::Null, &Value::from(true)));
    assert_eq!(verified["catalog_root"], made["catalog_root"]);
    assert!(verified["record_key"].is_string() && verified["record_key_compared_with"].is_null(), "{verified}");
    let verified = kim.json(&["evidence", "verify", text(&dir)]).await.unwrap();
    assert_eq!((&verified["roots_are_known"], &verified["record_key_compared_with"]), (&true.into(), &"home".into()));
    let timing: Value = serde_json::from_str(&read(&dir, "facts/timings.json")).unwrap();
    assert_eq!((&timing[0]["confirmed"], &timing[0]["devices"]), (&Value::from(3), &Value::from(3)));
    assert!(timing[0]["published"].is_string() && timing[0]["last_confirmed"].is_string(), "{timing}");
    let page = read(&dir, "index.html");
    assert!(page.contains("tested on the bench") && page.contains("rollout.complete"), "{page}");

    // Cut off between the folder's name and the end: the same command again ends it. Once more it says what lies there.
    let partial = world.path(".evidence-good.partial");
    std::fs::create_dir(&partial).unwrap();
    std::fs::write(partial.join("fetched"), "a chunk").unwrap();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let other = kim.run(&["evidence", "rollout", bad, "-o", text(&dir)]).await.unwrap_err();
    assert!(other.said.contains("is not empty: it holds evidence of rollout") && partial.exists(), "{}", other.said);
    assert_eq!(kim.json(&args).await.unwrap(), made);
    assert!(!partial.exists());
    let again = kim.run(&args).await.unwrap_err();
    assert!(again.said.contains("is not empty") && again.said.contains("evidence verify"), "{}", again.said);

    let (dir, args) = make("bad", &["rollout", bad]);
    kim.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(outcomes(&dir)[0], ("pump-1".to_owned(), "fell_back".to_owned()));
    let deviations = read(&dir, "facts/deviations.csv");
    assert!(deviations.contains("fell back") && deviations.contains("stop order"), "{deviations}");

    let (dir, args) = make("device", &["device", "pump-1"]);
    kim.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    let told = outcomes(&dir);
    assert!(told.iter().all(|(device, _)| device == "pump-1") && told.len() >= 3, "{told:?}");
    kim.run(&["evidence", "verify", text(&dir)]).await.unwrap();

    // A manufacturer has its own part: bundles, signatures, counts, and no device.
    let refused = ada.run(&["evidence", "device", "pump-1", "-o", text(&place("none"))]).await.unwrap_err();
    assert!(refused.exit == 1 && refused.said.contains("hospital's evidence"), "{}", refused.said);
    assert!(!place("none").exists());
    let (dir, args) = make("product", &["product", "pump"]);
    ada.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    ada.run(&["evidence", "verify", text(&dir)]).await.unwrap();
    assert!(!dir.join("approvals").exists() && !read(&dir, "index.html").contains("pump-1"));
    assert!(read(&dir, "served/adoption.json").contains("riverside"));

    // One byte of a report: it is named, and nothing passes for evidence.
    let dir = place("bad");
    let mut bytes = std::fs::read(dir.join("reports.jsonl")).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(dir.join("reports.jsonl"), bytes).unwrap();
    let refused = kim.run(&["evidence", "verify", text(&dir)]).await.unwrap_err();
    assert_eq!(refused.exit, 5);
    assert!(refused.said.contains("reports.jsonl: its SHA-256 is another"), "{}", refused.said);
    // What is there is never written over.
    let again = kim.run(&["evidence", "rollout", good, "-o", text(&dir)]).await.unwrap_err();
    assert!(again.said.contains("is not empty"), "{}", again.said);
}
