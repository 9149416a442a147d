//! What stands in the way of a person who would stop something, and does not: a certificate that cannot be renewed, files of the
//! home that cannot be written or read, a server that does half.

use std::fs;
use std::path::PathBuf;

use jiff::SignedDuration;
use serde_json::{Value, json};
use sqlx::Connection as _;
use suture_core::clock::Clock as _;
use suture_core::limits::{MAX_RENEWALS, RENEWALS_COUNT};
use suture_proto::v1;
use suture_tests::world::wire::Newcomer;
use suture_tests::world::{Operator, text};

use crate::hospital::{Hospital, PLAN};

/// Approves the second release for the first pump; the rollout's id.
async fn approved(h: &Hospital) -> String {
    let file = h.world.path("plan.json");
    let plan = [&["rollout", "plan"][..], &PLAN, &["-o", text(&file)]].concat();
    let plan = h.kim.json(&plan).await.unwrap();
    let approve = ["rollout", "approve", plan["sha256"].as_str().unwrap(), "--reason", "tested"];
    h.kim.json(&approve).await.unwrap()["rollout"].as_str().unwrap().to_owned()
}

async fn state(h: &Hospital, rollout: &str) -> String {
    let mut calls = h.world.operator_calls(Some(h.kim.identity())).await;
    let answer = calls
        .get_rollout(v1::GetRolloutRequest { id: rollout.to_owned(), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    answer.rollout.unwrap().state
}

/// The day's entries of everybody are spent.
async fn spend(h: &Hospital) {
    let url = h.world.database().replacen("sqlite:", "sqlite://", 1);
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let day = h.world.clock.now().as_second() / 86_400;
    for writer in ["hdo/riverside/operator/kim", "hdo/riverside", "manufacturer"] {
        let put = sqlx::query("INSERT OR REPLACE INTO audit_writer VALUES ($1, $2, 1000000)").bind(writer).bind(day);
        put.execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
}

fn chain(of: &Operator) -> PathBuf {
    of.home().join("identity/chain.pem")
}

/// A directory in the place where a file is written before it gets its name: as on a disk without room.
struct Full(PathBuf);

impl Full {
    fn before(file: &std::path::Path) -> Self {
        let name = file.file_name().unwrap().to_str().unwrap();
        let place = file.with_file_name(format!(".{name}.new"));
        fs::create_dir_all(place.join("full")).unwrap();
        Self(place)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Found: a thief of a certificate that was due spent what it could be renewed by, and every command of its holder's ended there,
/// those that stop something too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_renewed_keeps_nobody_from_stopping_anything_as_long_as_it_is_good() {
    let mut h = Hospital::open().await;
    let before = [&h.ada, &h.kim].map(|who| fs::read(chain(who)).unwrap());
    h.world.idle(22).await;
    h.ada.run(&["whoami"]).await.unwrap();
    h.kim.run(&["approvals", "renew"]).await.unwrap();
    let rollout = approved(&h).await;

    // Both have the certificate of 22 days ago yet, and somebody else has it too.
    for (who, chain_pem) in [&h.ada, &h.kim].into_iter().zip(before) {
        fs::write(chain(who), chain_pem).unwrap();
        let mut calls = h.world.operator_calls(Some(who.identity())).await;
        let renew = || v1::RenewRequest { csr: Newcomer::default().csr().into() };
        let mut renewed = 0;
        while calls.renew(renew()).await.is_ok() {
            renewed += 1;
        }
        assert_eq!(renewed, MAX_RENEWALS - 1, "one was who it belongs to");
    }
    spend(&h).await;
    h.kim.run(&["rollout", "pause", &rollout, "--reason", "a thief"]).await.unwrap();
    assert_eq!(state(&h, &rollout).await, "paused");
    let refused = h.kim.run(&["rollout", "resume", &rollout, "--reason", "x"]).await.unwrap_err();
    assert!(refused.exit == 3 && refused.said.contains("could not be renewed yet"), "{}", refused.said);
    h.kim.run(&["rollout", "stop", &rollout]).await.unwrap();
    h.ada.run(&["bundle", "withdraw", "pump@2", "--reason", "a wrong dose"]).await.unwrap();

    // The next day it can be renewed, though the entries are spent again; but not kept.
    h.world.clock.advance(RENEWALS_COUNT);
    spend(&h).await;
    let full = Full::before(&chain(&h.kim));
    let kept = fs::read(chain(&h.kim)).unwrap();
    h.kim.run(&["whoami"]).await.unwrap();
    // Nor is it in anybody's way once the one that is kept has ended.
    h.world.clock.advance(SignedDuration::from_hours(24 * 8));
    h.kim.run(&["whoami"]).await.unwrap();
    assert_eq!(fs::read(chain(&h.kim)).unwrap(), kept);
    drop(full);
    h.kim.run(&["whoami"]).await.unwrap();
    assert_ne!(fs::read(chain(&h.kim)).unwrap(), kept);
}

/// Exit code, what it printed as JSON, and what it said beside it.
async fn told(who: &Operator, args: &[&str]) -> (u8, Value, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let all = [&["suturectl", "--home", text(who.home()), "--output", "json"], args].concat();
    let exit = Box::pin(suture_ctl::run(all, &mut out, &mut err, who.clock())).await;
    let value = serde_json::from_slice(&out).unwrap_or_default();
    (exit, value, String::from_utf8(err).unwrap())
}

/// Found: whatever the server did, `abort` and a rollback that is one said that it was aborted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_did_not_abort_is_not_said_to_be_aborted() {
    let h = Hospital::open().await;
    let rollout = approved(&h).await;
    let url = h.world.database().replacen("sqlite:", "sqlite://", 1);
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let fails = "CREATE TRIGGER fails BEFORE UPDATE ON rollout WHEN NEW.state = 'aborted'
        BEGIN SELECT RAISE(ABORT, 'the disk is on fire'); END";
    sqlx::query(fails).execute(&mut database).await.unwrap();
    let abort = ["rollout", "abort", &rollout, "--reason", "the alarm is too quiet"];
    let rollback = ["rollout", "rollback", &rollout, "--reason", "the alarm is too quiet", "--yes"];
    for (args, listed) in [(&abort[..], true), (&rollback[..], true)] {
        let (exit, value, said) = told(&h.kim, args).await;
        assert_ne!(exit, 0, "{value}");
        assert_eq!((&value["aborted"], &value["stop_order"]), (&json!(false), &json!(true)), "{value}");
        assert_eq!((&value["published"], &value["listed"]), (&json!(true), &json!(listed)), "{value}");
        assert!(said.contains("stopped by a signed order; the server did not abort it"), "{said}");
        assert_eq!(state(&h, &rollout).await, "paused", "a colleague could lift the order and resume it");
    }
    sqlx::query("DROP TRIGGER fails").execute(&mut database).await.unwrap();
    let (exit, value, said) = told(&h.kim, &abort).await;
    assert_eq!((exit, &value["aborted"], &value["published"]), (0, &json!(true), &json!(true)), "{said}");
    assert_eq!(state(&h, &rollout).await, "aborted");
    // Once more is no failure.
    assert_eq!(told(&h.kim, &abort).await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_has_just_completed_is_not_said_to_be_aborted() {
    let mut h = Hospital::open().await;
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    h.world.clock.set(start);
    h.confirms(&rollout).await;
    assert_eq!(state(&h, &rollout).await, "complete");
    let (exit, value, said) = told(&h.kim, &["rollout", "abort", &rollout, "--reason", "too late"]).await;
    assert_eq!((exit, &value["aborted"], &value["stop_order"]), (3, &json!(false), &json!(true)), "{value} {said}");
    assert!(said.contains("it is over"), "{said}");
}

/// Found: a file of the home that was damaged, or could not be written, kept stops from being sent or written to a stick.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_trouble_with_the_homes_own_files_keeps_a_stop_from_being_sent() {
    let h = Hospital::open().await;
    let rollout = approved(&h).await;
    let home = h.kim.home();
    let pause = ["rollout", "pause", &rollout, "--reason", "let us look first"];
    let resume = ["rollout", "resume", &rollout, "--reason", "it is nothing"];

    // What it remembers of the record is damaged; or cannot be written; or the doubt cannot be read.
    let audit = fs::read(home.join("audit.json")).unwrap();
    fs::write(home.join("audit.json"), "x").unwrap();
    h.kim.run(&pause).await.unwrap();
    let failed = h.kim.run(&resume).await.unwrap_err();
    assert!(failed.exit == 1 && failed.said.contains("audit.json cannot be read"), "{}", failed.said);
    let (exit, _, said) = told(&h.kim, &pause).await;
    assert!(exit == 0 && said.contains("audit.json cannot be read"), "it is said: {said}");
    fs::write(home.join("audit.json"), &audit).unwrap();
    h.kim.run(&resume).await.unwrap();
    h.ada.run(&["operator", "invite", "lee"]).await.unwrap();
    let full = Full::before(&home.join("audit.json"));
    h.kim.run(&pause).await.unwrap();
    drop(full);
    fs::create_dir_all(home.join("audit.doubt.json/full")).unwrap();
    h.kim.run(&pause).await.unwrap();
    fs::remove_dir_all(home.join("audit.doubt.json")).unwrap();

    // The order itself cannot be kept, or is damaged where it was.
    let order = home.join(format!("stops/{rollout}.json"));
    let file = h.world.path("order.json");
    fs::create_dir_all(home.join("stops")).unwrap();
    let full = Full::before(&order);
    let offline = ["rollout", "stop", &rollout, "--offline", "--envelope", text(&file)];
    let (exit, _, said) = told(&h.kim, &offline).await;
    assert!(exit == 0 && said.contains("cannot write"), "{said}");
    assert!(fs::read_to_string(&file).unwrap().contains(&rollout));
    fs::write(home.join("audit.json"), "x").unwrap();
    let (exit, stopped, said) = told(&h.kim, &["rollout", "stop", &rollout]).await;
    assert_eq!((exit, &stopped["published"], &stopped["listed"]), (0, &json!(true), &json!(true)), "{said}");
    drop(full);
    fs::write(&order, "x").unwrap();
    h.kim.run(&["rollout", "abort", &rollout, "--reason", "a wrong dose"]).await.unwrap();
    assert_eq!(state(&h, &rollout).await, "aborted");
    fs::remove_file(&file).unwrap();
    h.kim.run(&offline).await.unwrap();
}

/// Found: an order was signed and published first, and then failed by the file that it was to be written to; where one signature
/// suffices, what lay there was written over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_there_is_found_before_an_order_is_signed() {
    let h = Hospital::open().await;
    let rollout = approved(&h).await;
    let file = h.world.path("order.json");
    fs::write(&file, "precious").unwrap();
    let kept = h.kim.home().join(format!("stops/{rollout}.json"));
    let stop = ["rollout", "stop", &rollout, "--envelope", text(&file)];
    let failed = h.kim.run(&stop).await.unwrap_err();
    assert!(failed.exit == 1 && failed.said.contains("is there already"), "{}", failed.said);
    assert!(!kept.exists() && state(&h, &rollout).await == "running");
    h.kim.run(&stop[..3]).await.unwrap();
    let failed = h.kim.run(&["rollout", "lift", &rollout, "--envelope", text(&file)]).await.unwrap_err();
    assert!(failed.exit == 1 && failed.said.contains("is there already"), "{}", failed.said);
    assert!(fs::read_to_string(&kept).unwrap().contains("\"stopped\":true"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    fs::remove_file(&file).unwrap();
    h.kim.run(&["rollout", "lift", &rollout, "--envelope", text(&file)]).await.unwrap();
    assert!(fs::read_to_string(&file).unwrap().contains("\"stopped\":false"));

    // Who names a rollout that there is not is told how to find the one that is meant.
    let failed = h.kim.run(&["rollout", "stop", "nothing"]).await.unwrap_err();
    assert!(failed.said.contains("`suturectl rollout list --all`"), "{}", failed.said);
}
