use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use suture_core::clock::Clock;
use suture_core::digest::Digest;
use suture_core::limits::{MAX_FACE_CONNECTIONS, MAX_FACE_LINE_BYTES};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::report::Running;
use suture_core::retry::Policy;
use suture_core::version::Release;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::*;
use crate::agent::journal_path;
use crate::config::Settings;
use crate::hold::Hold;
use crate::journal::Journal;
use crate::machine::{Attempt, Bundle, Event, Window};
use crate::runs::Runs;
use crate::unwritten::Unwritten;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }
}

struct Stage {
    dir: tempfile::TempDir,
    settings: Settings,
    server: JoinHandle<()>,
    errands: Errands,
    unwritten: Arc<Unwritten>,
    runs: Arc<Runs>,
}

impl Stage {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let toml = format!(
            "state_dir = \"{at}/state\"\nslots_dir = \"{at}/slots\"\nproduct = \"pump\"\nhardware = \"rev-a\"\n\
             [restart]\ncommand = [\"true\"]\n[health]\ncommand = [\"true\"]\n[face]\nsocket = \"{at}/agent.sock\"\n"
        );
        let settings = Settings::validate(toml::from_str(&toml).unwrap()).unwrap();
        std::fs::create_dir(&settings.state_dir).unwrap();
        let errands = Errands::new();
        let listening = listen(&settings.face.socket).unwrap();
        let unwritten = Arc::new(Unwritten::default());
        let runs = Arc::new(Runs::default());
        let hands = Hands::Loop(errands.sender(), unwritten.clone(), runs.clone());
        let server = tokio::spawn(serve(listening, settings.clone(), hands, Arc::new(Noon)));
        Self { dir, settings, server, errands, unwritten, runs }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    async fn connect(&self) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(self.socket()).await.unwrap())
    }

    async fn asked(&self, ask: Ask) -> Result<Done, Refused> {
        match ask_it(&self.settings, ask).await {
            Asked::Answered(outcome) => outcome,
            Asked::Nobody(why) => panic!("{why}"),
        }
    }
}

async fn ask_it(settings: &Settings, asked: Ask) -> Asked {
    ask(settings, asked, Some("Kim".to_owned()), None).await
}

/// Says a line as it is; the answer, or null where the connection was closed.
async fn line(stream: &mut BufReader<UnixStream>, line: &str) -> Value {
    // A connection that was refused may be closed by now.
    let _ = stream.get_mut().write_all(line.as_bytes()).await;
    let mut answer = String::new();
    let _ = stream.read_line(&mut answer).await;
    serde_json::from_str(&answer).unwrap_or(Value::Null)
}

fn hold(reason: &str) -> Ask {
    Ask::Hold { reason: reason.to_owned() }
}

fn release(checked: bool) -> Ask {
    Ask::Release { reason: "the ward is free".to_owned(), checked }
}

fn code(outcome: Result<Done, Refused>) -> RefusedCode {
    outcome.unwrap_err().code
}

#[tokio::test]
async fn a_hold_is_said_recorded_shown_and_ended_by_whom_the_kernel_names() {
    let stage = Stage::open();
    let mode = std::fs::metadata(stage.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666, "whoever may not is told so");
    if !Who::here().may_change(None) {
        assert_eq!(code(stage.asked(hold("x")).await), RefusedCode::NotAllowed);
        return;
    }
    assert_eq!(code(stage.asked(release(false)).await), RefusedCode::NotNow);
    for empty in ["", "  ", "\u{1b}[2J", "two\nlines", &"x".repeat(1_001)] {
        assert_eq!(code(stage.asked(hold(empty)).await), RefusedCode::NotUnderstood, "{empty:?}");
    }
    assert_eq!(stage.asked(hold("the ward is full")).await.unwrap().data, json!({ "held": true, "news": true }));
    let again = stage.asked(hold("another reason")).await.unwrap();
    assert!(again.text.contains("the ward is full; that stays") && again.data["news"] == json!(false), "{again:?}");
    let by = Hold::read(&stage.settings.state_dir).unwrap().unwrap().by;
    assert!(by.starts_with("Kim, by ") && by.contains("uid "), "{by}");
    let why = stage.asked(Ask::Why).await.unwrap();
    assert_eq!(why.data["waits"][0]["code"], json!(Code::HeldHere.as_str()));
    assert!(why.text.contains("the ward is full") && why.text.contains("suture-agent release"), "{}", why.text);
    assert!(stage.asked(Ask::Status).await.unwrap().data["hold"]["text"].as_str().unwrap().contains("Kim"));
    stage.asked(release(false)).await.unwrap();
    assert_eq!(Hold::read(&stage.settings.state_dir).unwrap(), None);
    let log = stage.asked(Ask::Log).await.unwrap();
    let what: Vec<_> = log.data.as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap().to_owned()).collect();
    assert_eq!(what, ["hold", "release"]);
    assert!(log.text.contains("hold        by Kim, by"), "{}", log.text);
}

#[tokio::test]
async fn the_loop_has_the_last_word_on_a_check_and_a_loop_that_does_not_come_has_done_nothing() {
    if !Who::here().may_change(None) {
        return;
    }
    let mut stage = Stage::open();
    let (settings, socket) = (stage.settings.clone(), stage.socket());
    let asked = tokio::spawn(async move { ask_it(&settings, release(true)).await });
    stage.errands.come().await;
    let (errand, reply) = stage.errands.take().unwrap();
    let Errand::Checked(reason) = errand else { panic!("{errand:?}") };
    assert!(reason.text.contains("Kim") && reason.text.ends_with("the ward is free"), "{reason}");
    reply.unwrap().send(Err("no check is waited for".to_owned()));
    let Asked::Answered(outcome) = asked.await.unwrap() else { panic!() };
    assert_eq!(code(outcome), RefusedCode::NotNow);
    // One whose sender has given up is passed over.
    let (settings, sender) = (stage.settings.clone(), stage.errands.sender());
    let asked = tokio::spawn(async move { ask_it(&settings, release(true)).await });
    stage.errands.come().await;
    stage.server.abort();
    let _ = (&mut stage.server).await;
    asked.abort();
    sender.send((Errand::Look, None)).await.unwrap();
    let _ = std::fs::remove_file(socket);
    while let Some((errand, _)) = stage.errands.take() {
        if matches!(errand, Errand::Look) {
            break;
        }
    }
    assert!(stage.errands.take().is_none());
}

/// Whoever looks starts no program of the installer's beside the step that it is at.
#[tokio::test]
async fn what_runs_is_told_as_the_loop_found_it() {
    let stage = Stage::open();
    let version = async || stage.asked(Ask::Status).await.unwrap().data["version"].clone();
    assert_eq!(version().await, Value::Null);
    let found = Running { version: "1.2.0".parse().unwrap(), release: Release(2), manifest: Digest::of(b"two") };
    stage.runs.note(&Ok(Some(found)));
    assert_eq!(version().await, "1.2.0");
    stage.runs.note(&Err(Reason::new(Code::InstallFailed, "the installer is asleep")));
    let shown = stage.asked(Ask::Status).await.unwrap();
    assert!(shown.data["version"].is_null() && shown.text.contains("the installer is asleep"), "{shown:?}");
}

#[tokio::test]
async fn what_a_person_says_on_the_spot_takes_a_person_there_where_the_device_can_tell() {
    let stage = Stage::open();
    let argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), "test -e \"$0\"".to_owned()];
    let key = stage.dir.path().join("service-key");
    let argv = [argv, vec![key.display().to_string()]].concat();
    let presence = Some(crate::config::Command { argv, timeout: std::time::Duration::from_secs(10) });
    let settings = Settings { presence, state_dir: stage.dir.path().join("other"), ..stage.settings.clone() };
    std::fs::create_dir(&settings.state_dir).unwrap();
    let say = async |ask: Ask| code(said(&Hands::Own, &settings, (ask, None), &Who::here(), Noon.now()).await);
    let on_the_spot = || [Ask::Confirm, Ask::Recover { reason: "x".to_owned() }, release(true)];
    for ask in on_the_spot() {
        assert_eq!(say(ask.clone()).await, RefusedCode::NotAllowed, "{ask:?}");
    }
    assert_eq!(say(release(false)).await, RefusedCode::NotNow, "a hold is ended by whoever may");
    std::fs::write(&key, "").unwrap();
    for ask in on_the_spot() {
        assert_eq!(say(ask.clone()).await, RefusedCode::NotNow, "{ask:?}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_whole_and_the_connection_goes_on() {
    let stage = Stage::open();
    let mut stream = stage.connect().await;
    for wrong in [
        "",
        "status",
        "{}",
        r#"{"v":1}"#,
        r#"{"v":2,"ask":"status"}"#,
        r#"{"v":1,"ask":"stat"}"#,
        r#"{"v":1,"ask":"status","more":1}"#,
        r#"{"v":1,"ask":{"hold":{}}}"#,
        r#"{"v":1,"ask":{"hold":{"reason":"x","until":"y"}}}"#,
        r#"{"v":1,"ask":"status","by":""}"#,
        r#"{"v":1,"ask":"status","by":"a\nb"}"#,
        r#"{"v":1,"ask":{"import":{"place":"/etc"}}}"#,
    ] {
        let answer = line(&mut stream, &format!("{wrong}\n")).await;
        let refused = answer["refused"]["code"].as_str();
        assert!(matches!(refused, Some("not-understood" | "not-allowed")), "{wrong}: {answer}");
    }
    let other = line(&mut stream, "{\"v\":1,\"ask\":\"why\",\"state_dir\":\"/elsewhere\"}\n").await;
    assert_eq!(other["refused"]["code"], json!("other-agent"));
    // Two in one piece, one in two.
    let why = "{\"v\":1,\"ask\":\"why\"}\n";
    assert!(line(&mut stream, &format!("{why}{{\"v\":1,")).await["done"]["text"].is_string());
    assert!(line(&mut stream, "\"ask\":\"log\"}\n").await["done"]["data"].is_array());
    // A line without end ends the connection.
    let refused = line(&mut stream, &"x".repeat(MAX_FACE_LINE_BYTES + 8_192)).await;
    assert_eq!(refused["refused"]["code"], json!("not-understood"));
    assert_eq!(line(&mut stream, why).await, Value::Null);
}

#[tokio::test]
async fn connections_are_bounded_and_a_second_agent_stays_away() {
    let stage = Stage::open();
    let mut kept = Vec::new();
    for _ in 0..MAX_FACE_CONNECTIONS {
        let mut stream = stage.connect().await;
        line(&mut stream, "{\"v\":1,\"ask\":\"log\"}\n").await;
        kept.push(stream);
    }
    let mut one_more = stage.connect().await;
    let mut answer = String::new();
    one_more.read_line(&mut answer).await.unwrap();
    assert!(answer.contains("busy"), "{answer}");
    kept.clear();
    // The places come back with the connections' ends.
    while line(&mut stage.connect().await, "{\"v\":1,\"ask\":\"log\"}\n").await["done"].is_null() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(listen(&stage.socket()), Err(FaceError::Taken(_))));
    assert!(matches!(listen(&stage.dir.path().join("no/agent.sock")), Err(FaceError::NoDirectory(_))));
    let file = stage.dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(listen(&file), Err(FaceError::Foreign(_))));
    // What a killed agent left is in nobody's way, and nobody answers there meanwhile.
    stage.server.abort();
    while !matches!(ask_it(&stage.settings, Ask::Log).await, Asked::Nobody(_)) {
        tokio::task::yield_now().await;
    }
    assert!(stage.socket().exists());
    listen(&stage.socket()).unwrap();
}

#[tokio::test]
async fn that_nothing_can_be_written_is_said_though_no_file_says_it() {
    let stage = Stage::open();
    stage.unwritten.found(Reason::new(Code::DiskFull, "no room for journal.json"));
    let status = stage.asked(Ask::Status).await.unwrap();
    assert!(status.text.contains("disk-full: no room for journal.json"), "{}", status.text);
    assert_eq!(status.data["unwritten"]["code"], json!("disk-full"));
    let why = stage.asked(Ask::Why).await.unwrap();
    assert_eq!(why.data["waits"][0]["code"], json!("disk-full"));
    stage.unwritten.over();
    assert_eq!(stage.asked(Ask::Status).await.unwrap().data["unwritten"], Value::Null);
}

#[tokio::test]
async fn without_an_agent_it_is_done_by_the_files_and_said() {
    let stage = Stage::open();
    let elsewhere = Settings { state_dir: stage.dir.path().join("other"), ..stage.settings.clone() };
    std::fs::create_dir(&elsewhere.state_dir).unwrap();
    let (outcome, nobody) = ask_or_do(&elsewhere, hold("the ward is full"), None, None, Noon.now()).await;
    outcome.unwrap();
    assert!(nobody.unwrap().contains("works on"), "another agent answers there");
    assert_eq!(Hold::standing(&elsewhere.state_dir).unwrap().code, Code::HeldHere);
    assert_eq!(Hold::standing(&stage.settings.state_dir), None);
    for ask in [release(true), Ask::Recover { reason: "x".to_owned() }, Ask::Confirm] {
        let (outcome, _) = ask_or_do(&elsewhere, ask.clone(), None, None, Noon.now()).await;
        assert_eq!(code(outcome), RefusedCode::NotNow, "{ask:?}");
    }
}

#[tokio::test]
async fn a_person_without_an_agent_takes_nothing_away_that_the_agent_had_still_to_tell() {
    let stage = Stage::open();
    let settings = &Settings { state_dir: stage.dir.path().join("other"), ..stage.settings.clone() };
    std::fs::create_dir(&settings.state_dir).unwrap();
    let bundle = Bundle { path: String::new(), manifest: Digest::of(b"2"), release: Release(2) };
    let policy = Policy { max_attempts: 1, wait_secs: 0 };
    let approval = "a1".parse().unwrap();
    let attempt = Attempt { approval, bundle, number: 1, floor: Release(0), policy, order: 0, jitter: 0 };
    let window = Window { start: Noon.now(), latest: Noon.now() };
    let way = [
        Event::Chosen(attempt),
        Event::Fetched,
        Event::Staged,
        Event::Open(window),
        Event::Claimed,
        Event::Switched,
        Event::Restarted,
        Event::Unchecked,
    ];
    let mut journal = Journal::open(&journal_path(settings), 0).unwrap();
    for event in way {
        journal.apply(event, Noon.now()).unwrap();
    }
    let told = |journal: &Journal| journal.told().1.iter().map(|told| told.phase).collect::<Vec<_>>();
    // Here the agent was ended, before its outbox had any of it.
    assert_eq!(told(&journal), [Phase::Confirmed, Phase::Held]);
    let number = journal.told().0;
    ask_or_do(settings, release(true), None, None, Noon.now()).await.0.unwrap();
    let journal = Journal::open(&journal_path(settings), 0).unwrap();
    assert_eq!(told(&journal), [Phase::Confirmed, Phase::Held, Phase::Confirmed]);
    assert_eq!((journal.told().0, journal.state().name()), (number, "releasing"));
}
