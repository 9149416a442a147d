//! `rollout watch`: it survives the server's restart, and draws on a terminal that it leaves as it was.

use std::io::{self, Write};
use std::process::Stdio;

use jiff::Timestamp;
use serde_json::Value;
use suture_ctl::print::Terminal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::hospital::Hospital;

/// Tells of each thing that is printed.
struct Told(UnboundedSender<String>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nobody may listen any more.
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until what is printed holds some words; gives all of it up to there.
async fn printed(out: &mut UnboundedReceiver<String>, words: &str) -> String {
    let mut all = String::new();
    while !all.contains(words) {
        all.push_str(&out.recv().await.unwrap_or_else(|| panic!("{words:?} was not printed: {all}")));
    }
    all
}

/// The second release for the first pump; the rollout, and when its slot begins.
async fn approved(h: &Hospital) -> (String, Timestamp) {
    let plan = h.kim.json(&[&["rollout", "plan"], &crate::hospital::PLAN[..]].concat()).await.unwrap();
    let approve = ["rollout", "approve", plan["sha256"].as_str().unwrap(), "--reason", "tested"];
    let approved: Value = h.kim.json(&approve).await.unwrap();
    let start = plan["plan"]["devices"][0]["slots"][0]["start"].as_str().unwrap().parse().unwrap();
    (approved["rollout"].as_str().unwrap().to_owned(), start)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_goes_on_after_the_server_was_started_again() {
    let mut h = Hospital::open().await;
    let (rollout, start) = approved(&h).await;
    let (tx, mut out) = unbounded_channel();
    let (mut told, mut err) = (Told(tx), Vec::new());
    let home = h.kim.home().to_str().unwrap().to_owned();
    let clock = h.world.clock.clone();
    let args = ["suturectl", "--home", &home, "--output", "json", "rollout", "watch", &rollout];
    let (world, pump) = (&mut h.world, &mut h.pumps[0]);
    let watching = async {
        let exit = suture_ctl::run(args, &mut told, &mut err, clock).await;
        drop(told);
        exit
    };
    let meanwhile = async {
        printed(&mut out, "\"running\"").await;
        world.stop_server().await;
        world.start_server().await;
        world.clock.set(start);
        assert_eq!(pump.cycle().await, "idle(up-to-date)");
        printed(&mut out, "\"complete\"").await
    };
    let (exit, last) = tokio::join!(watching, meanwhile);
    let said = String::from_utf8(err).unwrap();
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("the server is asked again until it answers"), "{said}");
    assert!(
        last.lines().filter(|l| !l.is_empty()).all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "a value a line: {last}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_drawn_on_in_place_and_left_as_it_was() {
    let mut h = Hospital::open().await;
    let (rollout, start) = approved(&h).await;
    let (tx, mut out) = unbounded_channel();
    let (mut told, mut err) = (Told(tx), Vec::new());
    let home = h.kim.home().to_str().unwrap().to_owned();
    let clock = h.world.clock.clone();
    let args = ["suturectl", "--home", &home, "rollout", "watch", &rollout];
    let (world, pump) = (&mut h.world, &mut h.pumps[0]);
    let watching = async {
        let terminal = Some(Terminal { size: || (100, 30) });
        let exit = suture_ctl::run_on(args, &mut told, &mut err, terminal, clock).await;
        drop(told);
        exit
    };
    let meanwhile = async {
        let first = printed(&mut out, "0 of 1 confirmed: 1 offered").await;
        assert!(first.starts_with("\x1b[?25l") && first.contains("if each of 1 uses its next slot"), "{first:?}");
        world.clock.set(start);
        assert_eq!(pump.cycle().await, "idle(up-to-date)");
        let mut rest = String::new();
        while let Some(more) = out.recv().await {
            rest.push_str(&more);
        }
        rest
    };
    let (exit, rest) = tokio::join!(watching, meanwhile);
    assert_eq!(exit, 0, "{}", String::from_utf8_lossy(&err));
    assert!(rest.contains("F\x1b[J") && rest.contains("1 of 1 confirmed: 1 confirmed"), "{rest:?}");
    assert!(rest.ends_with("\x1b[?25h"), "the cursor is back: {rest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_with_ctrl_c_is_told_that_it_goes_on_by_itself() {
    let h = Hospital::open().await;
    let (rollout, _) = approved(&h).await;
    let mut command = h.kim.command();
    command.args(["--output", "json", "rollout", "watch", &rollout]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let pid = child.id().unwrap().to_string();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(first["state"], "running", "it watches: {first}");
    assert!(Command::new("sh").args(["-c", "kill -INT \"$0\"", &pid]).status().await.unwrap().success());
    let left = child.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&left.stderr);
    assert_eq!(left.status.code(), Some(1), "{said}");
    assert!(said.contains("it goes on by itself") && said.contains(&format!("rollout show {rollout}")), "{said}");
    assert_eq!(h.kim.json(&["rollout", "show", &rollout]).await.unwrap()["state"], "running");
}
