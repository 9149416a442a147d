//! Tokens: used twice, too late, cut in copying, for somebody else.

use std::io::Write as _;
use std::process::{Command, Stdio};

use suture_tests::world::{Device, Kind, Operator, World, binary};
use tonic::Code;

use super::{failed, refused};

async fn token(by: &Operator, args: &[&str]) -> String {
    by.json(args).await.unwrap()["token"].as_str().unwrap().to_owned()
}

async fn imported(world: &World, kim: &Operator, ids: &[&str]) {
    let rows: String = ids.iter().map(|id| format!("{id},pump,rev-a,icu\n")).collect();
    let file = world.path("devices.csv");
    std::fs::write(&file, format!("id,product,hardware,ward\n{rows}")).unwrap();
    kim.run(&["device", "import", "--csv", file.to_str().unwrap()]).await.unwrap();
}

async fn state(kim: &Operator, id: &str) -> String {
    let devices = kim.json(&["device", "list"]).await.unwrap();
    let device = devices.as_array().unwrap().iter().find(|d| d["id"] == id).unwrap();
    device["state"].as_str().unwrap().to_owned()
}

/// Nothing in a home says that it has joined.
fn has_not_joined(who: &Operator) {
    for file in ["server.json", "identity/tls.key", "identity/chain.pem"] {
        assert!(!who.home().join(file).exists(), "{file} is there");
    }
}

async fn used_twice(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;

    // One after the other.
    let pasted = token(&kim, &["operator", "invite", "sam"]).await;
    world.operator("sam").run(&["join", &pasted]).await.unwrap();
    let thief = world.operator("thief");
    failed(thief.run(&["join", &pasted]).await, 3, &["used before", "if that was not you"]);
    has_not_joined(&thief);

    // Both at once: one is in, the other is told why not.
    let pasted = token(&kim, &["operator", "invite", "eva"]).await;
    let (one, two) = (world.operator("eva-1"), world.operator("eva-2"));
    let join = ["join", pasted.as_str()];
    let joins = tokio::join!(one.run(&join), two.run(&join));
    let (who, lost) = match joins {
        (Ok(_), lost @ Err(_)) => (two, lost),
        (lost @ Err(_), Ok(_)) => (one, lost),
        (one, two) => unreachable!("just one ought to be in: {one:?}, {two:?}"),
    };
    failed(lost, 3, &["used before"]);
    has_not_joined(&who);

    // A device's.
    imported(&world, &kim, &["pump-1", "pump-2"]).await;
    let pasted = token(&kim, &["device", "token"]).await;
    world.enroll(&pasted, "pump-1").await.unwrap();
    refused(world.enroll(&pasted, "pump-2").await, Code::Unauthenticated, &["used before"]);
    let pasted = token(&kim, &["device", "token", "pump-2"]).await;
    let pump = Device::new(&world, "pump-2", "rev-a");
    pump.enroll(&pasted).await.unwrap();
    let said = Device::new(&world, "stolen", "rev-a").enroll(&pasted).await.unwrap_err();
    assert!(said.contains("used before"), "{said}");
    assert_eq!(state(&kim, "pump-2").await, "pending");
    kim.run(&["audit", "verify"]).await.unwrap();
}
on_both!(a_token_used_twice_is_refused, super::used_twice);

async fn expired(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    imported(&world, &kim, &["pump-1"]).await;
    let operators = token(&kim, &["operator", "invite", "sam", "--valid-hours", "24"]).await;
    let devices = token(&kim, &["device", "token", "pump-1", "--valid-hours", "24"]).await;
    world.pass(24 * 3_600);

    // The programs say so without asking.
    let sam = world.operator("sam");
    failed(sam.run(&["join", &operators]).await, 1, &["the token expired at", "ask for a new one"]);
    has_not_joined(&sam);
    let pump = Device::new(&world, "pump-1", "rev-a");
    let said = pump.enroll(&devices).await.unwrap_err();
    assert!(said.contains("expired"), "{said}");

    // The server does not rely on that.
    refused(world.join(&operators, "sam").await, Code::Unauthenticated, &["token has expired", "ask for a new one"]);
    refused(world.enroll(&devices, "pump-1").await, Code::Unauthenticated, &["token has expired"]);
    assert_eq!(state(&kim, "pump-1").await, "imported");

    // A new one for the same names works.
    let operators = token(&kim, &["operator", "invite", "sam"]).await;
    sam.run(&["join", &operators]).await.unwrap();
    let devices = token(&kim, &["device", "token", "pump-1"]).await;
    pump.enroll(&devices).await.unwrap();
    assert_eq!(state(&kim, "pump-1").await, "pending");
}
on_both!(an_expired_token_is_refused_by_both_sides, super::expired);

/// A program that is given a token: its exit code, and what it told the person.
fn given(mut program: Command, stdin: &str) -> (Option<i32>, String) {
    program.env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = program.spawn().unwrap();
    running.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let done = running.wait_with_output().unwrap();
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

/// The list of processes is everybody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_taken_where_no_neighbour_sees_it_and_elsewhere_with_a_word_of_that() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    imported(&world, &kim, &["pump-1", "pump-2", "pump-3"]).await;
    let shown = "shown to others";
    for (name, how) in [("sam", ["-"].as_slice()), ("eva", &["--token-file", "-"])] {
        let pasted = token(&kim, &["operator", "invite", name]).await;
        let mut join = Command::new(binary("suturectl"));
        join.arg("--home").arg(world.operator(name).home()).arg("join").args(how);
        // What a person pastes ends with its line.
        let (code, said) = given(join, &format!("\n{pasted}\nand something else\n"));
        assert!(code == Some(0) && !said.contains(shown), "{how:?}: {said}");
    }
    let file = world.path("a.token");
    for (id, how) in [("pump-1", ["--token-file", "-"]), ("pump-2", ["--token-file", file.to_str().unwrap()])] {
        let pasted = token(&kim, &["device", "token", id]).await;
        std::fs::write(&file, &pasted).unwrap();
        let pump = Device::new(&world, id, "rev-a");
        let mut enroll = Command::new(binary("suture-agent"));
        enroll.arg("--config").arg(pump.config()).arg("enroll").args(how);
        let (code, said) = given(enroll, &format!("\n{pasted}\nand something else\n"));
        assert!(code == Some(0) && !said.contains(shown), "{how:?}: {said}");
    }
    let pasted = token(&kim, &["device", "token", "pump-3"]).await;
    let mut enroll = Command::new(binary("suture-agent"));
    enroll.arg("--config").arg(Device::new(&world, "pump-3", "rev-a").config()).args(["enroll", "--token", &pasted]);
    let (code, said) = given(enroll, "");
    assert!(code == Some(0) && said.contains(shown) && said.contains("--token-file"), "{said}");
    assert!(!said.contains(&pasted));
    let lee = token(&kim, &["operator", "invite", "lee"]).await;
    let mut join = Command::new(binary("suturectl"));
    join.arg("--home").arg(world.operator("lee").home()).args(["join", &lee]);
    let (code, said) = given(join, "");
    assert!(code == Some(0) && said.contains(shown) && said.contains("--token-file"), "{said}");
}

#[tokio::test]
async fn a_token_cut_in_copying_is_named_so_and_is_not_spent() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    imported(&world, &kim, &["pump-1"]).await;
    let operators = token(&kim, &["operator", "invite", "sam"]).await;
    let devices = token(&kim, &["device", "token", "pump-1"]).await;
    let (sam, pump) = (world.operator("sam"), Device::new(&world, "pump-1", "rev-a"));
    for keep in [0, 7, 8, operators.len() / 2, operators.len() - 1] {
        failed(sam.run(&["join", &operators[..keep]]).await, 1, &["cannot be read", "cut in copying"]);
        has_not_joined(&sam);
        let said = pump.enroll(&devices[..keep.min(devices.len() - 1)]).await.unwrap_err();
        assert!(said.contains("cut in copying"), "{said}");
    }
    sam.run(&["join", &operators]).await.unwrap();
    pump.enroll(&devices).await.unwrap();
}

#[tokio::test]
async fn a_token_of_the_other_kind_is_refused_by_both_sides_and_is_not_spent() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    imported(&world, &kim, &["pump-1"]).await;
    let operators = token(&kim, &["operator", "invite", "sam"]).await;
    let devices = token(&kim, &["device", "token", "pump-1"]).await;

    let (sam, pump) = (world.operator("sam"), Device::new(&world, "pump-1", "rev-a"));
    failed(sam.run(&["join", &devices]).await, 1, &["for a device", "suture-agent enroll"]);
    has_not_joined(&sam);
    let said = pump.enroll(&operators).await.unwrap_err();
    assert!(said.contains("not for a device"), "{said}");
    refused(world.join(&devices, "sam").await, Code::Unauthenticated, &["a device's", "suture-agent enroll"]);
    refused(world.enroll(&operators, "pump-1").await, Code::Unauthenticated, &["an operator's", "suturectl join"]);

    sam.run(&["join", &operators]).await.unwrap();
    pump.enroll(&devices).await.unwrap();
}

#[tokio::test]
async fn a_token_for_somebody_else_is_refused_and_is_not_spent() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    imported(&world, &kim, &["pump-1", "pump-2"]).await;
    let operators = token(&kim, &["operator", "invite", "sam"]).await;
    let devices = token(&kim, &["device", "token", "pump-1"]).await;
    refused(world.join(&operators, "kim").await, Code::InvalidArgument, &["for sam, not for kim"]);
    refused(world.enroll(&devices, "pump-2").await, Code::InvalidArgument, &["for pump-1, not for pump-2"]);
    assert_eq!(state(&kim, "pump-2").await, "imported");
    world.join(&operators, "sam").await.unwrap();
    world.enroll(&devices, "pump-1").await.unwrap();
}
