//! A server that cannot start says everything that is wrong, with its exit code, and binds no port.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use suture_tests::world::program::binary;
use suture_tests::world::{Disk, Kind, Program, World, text};

/// Failed: a file, the database, the port.
const FAILED: i32 = 1;
/// The command line or the configuration is wrong.
const CONFIGURATION: i32 = 64;

/// A server's command line; its exit code, and what it said.
fn server(args: &[&str]) -> (i32, String) {
    let done = Command::new(binary("suture-server")).args(args).env_clear().output().unwrap();
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (done.status.code().unwrap(), said.concat())
}

/// Each part is said, however the lines are broken.
fn says(said: &str, parts: &[&str]) {
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not said: {said}");
    }
}

/// A port that is taken: a server that tries to bind it says so, and so is caught.
fn taken() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn every_fault_of_a_configuration_is_named_at_once_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (config, data) = (dir.path().join("server.toml"), dir.path().join("data"));
    let (_held, listen) = taken();
    let wrong = format!(
        "data_dir = {data:?}\nlisten = {listen:?}\naddress = \"http://suture.acme.example\"\ncheck_in_secs = 0\n\
         max_conections = 5\ndatabase = \"mysql://suture:hunter2@db/suture\"\nlog = \"suture=loud\"\n"
    );
    fs::write(&config, wrong).unwrap();
    let (exit, said) = server(&["run", "--config", text(&config), "--drain-secs", "soon"]);
    assert_eq!(exit, CONFIGURATION, "{said}");
    says(
        &said,
        &[
            "7 fault(s)",
            "address = \"http://suture.acme.example\"",
            "check_in_secs = \"0\"",
            "from 1 to 86400",
            "max_conections",
            "database",
            "sqlite:<path> or postgres://",
            "log = \"suture=loud\"",
            "trust_domain is missing",
            "drain_secs = \"soon\" (command line)",
            "server.toml",
        ],
    );
    assert!(!said.contains("hunter2") && !said.contains("cannot listen"), "{said}");
    assert!(!data.exists(), "a server with faults has begun to work");
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("server.toml");
    let run = || server(&["run", "--config", text(&config)]);
    let case = |said_parts: &[&str]| {
        let (exit, said) = run();
        assert_eq!(exit, CONFIGURATION, "{said}");
        says(&said, said_parts);
    };
    case(&[text(&config), "No such file"]);
    fs::write(&config, "data_dir = \"/srv\"\nlisten = [\n").unwrap();
    case(&["server.toml", "line 2"]);
    fs::write(&config, b"data_dir = \"\xff\xfe\"\n").unwrap();
    case(&[text(&config), "UTF-8"]);
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    case(&[text(&config), "directory"]);
}

#[test]
fn a_command_line_that_is_wrong_has_the_same_exit_code_and_the_help_names_it() {
    for wrong in [&["run"][..], &["run", "--config", "x", "--prot", "1"], &["fly"], &[]] {
        let (exit, said) = server(wrong);
        assert_eq!(exit, CONFIGURATION, "{wrong:?}: {said}");
        says(&said, &["Usage"]);
    }
    let (exit, said) = server(&["--help"]);
    assert_eq!(exit, 0, "{said}");
    says(&said, &["64 the command line or the configuration", "1 failed"]);
}

/// A file, what it holds instead (none: it is gone), and what must be said.
type Damage<'a> = (&'a str, Option<Vec<u8>>, &'a [&'a str]);

/// The server's files, one damaged at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_of_the_server_is_named_and_no_port_is_bound() {
    let mut world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    world.stop_server().await;
    let other = World::start(Kind::Sqlite).await.unwrap();
    let dir = world.data_dir().to_owned();
    let (held, listen) = taken();
    let config = dir.join("server.toml");
    let run = || server(&["run", "--config", text(&config), "--listen", &listen]);

    let theirs = fs::read(other.data_dir().join("ca.key")).unwrap();
    let cut = |name: &str| {
        let whole = fs::read(dir.join(name)).unwrap();
        whole[..whole.len() / 2].to_vec()
    };
    let authority = ["certificate authority", text(&dir), "restore the backup's"];
    let seal = ["seal.key", "64 hexadecimal digits", "restore the backup's"];
    let cases: [Damage<'_>; 9] = [
        ("ca.key", Some(cut("ca.key")), &[&authority[..], &["key cannot be read"]].concat()),
        ("ca.key", Some(theirs), &[&authority[..], &["it is not the certificate's"]].concat()),
        ("ca.key", None, &["ca.key", "cannot read", "restore the backup's"]),
        ("ca.pem", Some(cut("ca.pem")), &[&authority[..], &["certificate cannot be read"]].concat()),
        ("ca.pem", Some(Vec::new()), &authority),
        ("seal.key", None, &["seal.key", "cannot read", "restore the backup's"]),
        ("seal.key", Some(cut("seal.key")), &seal),
        ("seal.key", Some(b"\xff".to_vec()), &["seal.key", "cannot read"]),
        ("suture.db", Some(b"this is no database, whatever it may have been before".repeat(200)), &["database"]),
    ];
    for (name, damage, parts) in cases {
        let path = dir.join(name);
        let whole = fs::read(&path).unwrap();
        match damage {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let (exit, said) = run();
        assert_eq!(exit, FAILED, "{name}: {said}");
        says(&said, parts);
        assert!(!said.contains("cannot listen") && !said.contains("PRIVATE KEY"), "{name}: {said}");
        fs::write(&path, whole).unwrap();
    }

    // With everything in its place only the port is in the way, and is named.
    let (exit, said) = run();
    assert_eq!(exit, FAILED, "{said}");
    says(&said, &["cannot listen on", &listen]);
    drop(held);
    let program = Program::serve(&world, Disk::Shared).unwrap();
    ada.run(&["whoami"]).await.unwrap();
    assert!(program.stop().success());
}

#[test]
fn a_directory_that_holds_a_server_gets_no_second_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let init = |data: &Path| {
        let address = ["--address", "https://localhost:7443", "--trust-domain", "acme.example"];
        server(&[&["init", "--operator", "ada", "--data-dir", text(data)][..], &address].concat())
    };
    let (exit, said) = init(&data);
    assert_eq!(exit, 0, "{said}");
    let key = fs::read(data.join("ca.key")).unwrap();
    let (exit, said) = init(&data);
    assert_eq!(exit, FAILED, "{said}");
    says(&said, &["server.toml is there already", "choose another"]);
    assert_eq!(fs::read(data.join("ca.key")).unwrap(), key, "the authority was replaced");
}
