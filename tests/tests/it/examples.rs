//! The example configurations in `deploy/` are what the programs understand, and name everything that can be set.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use suture_core::clock::Clock;
use suture_core::sign::{LocalKey, Signer as _};
use suture_server::config::{KEYS, Settings as ServerSettings, Written};
use suture_tests::world::TestClock;
use zeroize::Zeroizing;

use crate::runbooks::{helped, is_ours};
use crate::tours::page::{PAGES, Page};

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

fn server(text: &str) -> ServerSettings {
    let mut written = Written::default();
    written.file(Path::new("server.toml"), text);
    ServerSettings::of(written).unwrap()
}

#[test]
fn the_servers_example_is_valid_and_names_every_setting() {
    let text = std::fs::read_to_string(deploy("server.toml")).unwrap();
    let settings = server(&text);
    assert_eq!(settings.trust_domain.to_string(), "acme.example");
    for (key, _) in KEYS {
        let set = text.lines().any(|line| line.split_once(" = ").is_some_and(|(name, _)| name == *key));
        assert!(set, "deploy/server.toml says nothing of {key}");
    }
}

#[test]
fn the_servers_example_shows_the_defaults() {
    let example = server(&std::fs::read_to_string(deploy("server.toml")).unwrap());
    let least = server(
        "data_dir = \"/var/lib/suture-server\"\naddress = \"https://suture.acme.example:7443\"\n\
         trust_domain = \"acme.example\"\nlisten = \"0.0.0.0:7443\"\n",
    );
    assert_eq!(example.database.url(), least.database.url());
    assert_eq!(format!("{example:?}"), format!("{least:?}"));
}

#[test]
fn the_agents_example_is_valid() {
    let settings = suture_agent::config::Settings::load(&deploy("agent.toml")).unwrap();
    assert_eq!(settings.slots_dir, Path::new("/opt/device"));
    assert!(settings.interlock.is_some());
}

/// The other installers stand in it as comments: each, put in its place, is valid too.
#[test]
fn each_installer_that_the_agents_example_shows_is_valid() {
    use suture_agent::config::{Settings, Way};
    use suture_agent::install::{BOOT_ID, Loader};

    let text = std::fs::read_to_string(deploy("agent.toml")).unwrap();
    let is_toml = |line: &&str| {
        let name = line.split_once(" = ").map_or("", |(name, _)| name);
        line.starts_with('[') || (!name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    let unit = std::fs::read_to_string(deploy("suture-agent.image.conf")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut ways = Vec::new();
    for shown in text.split("# [installer]\n").skip(1) {
        let lines = shown.lines().map_while(|line| line.strip_prefix("# ")).filter(is_toml);
        let (mut table, mut loaders) = ("[installer]\n".to_owned(), Vec::new());
        for line in lines {
            if line.starts_with("[installer.") {
                loaders.push(String::new());
            }
            let to = loaders.last_mut().unwrap_or(&mut table);
            to.push_str(&format!("{line}\n"));
        }
        for loader in loaders.iter().map(String::as_str).chain(loaders.is_empty().then_some("")) {
            let file = dir.path().join("agent.toml");
            std::fs::write(&file, format!("{text}\n{table}{loader}")).unwrap();
            let installer = Settings::load(&file).unwrap().installer;
            // The drop-in that goes with it puts the kernel's words there.
            let boot_id = format!("cat {BOOT_ID} >{}'\n", installer.boot_id.display());
            ways.push(match installer.way {
                Way::Slots => "slots",
                Way::Image(image) => {
                    assert!(unit.contains(&format!("cat /proc/cmdline >{}'\n", image.booted.display())), "{unit}");
                    assert!(unit.contains(&boot_id), "{unit}");
                    match image.loader {
                        Loader::UBoot(_) => "U-Boot",
                        Loader::SystemdBoot(_) => "systemd-boot",
                    }
                }
                Way::Rauc { .. } => {
                    assert!(unit.contains(&boot_id), "{unit}");
                    "rauc"
                }
                Way::Command(_) => {
                    assert!(unit.contains(&boot_id), "{unit}");
                    "command"
                }
            });
        }
    }
    assert_eq!(ways, ["slots", "U-Boot", "systemd-boot", "rauc", "command"]);
}

/// A unit that starts a program with what it does not understand is found on the first machine that it is installed on.
#[test]
fn the_units_grant_what_the_examples_name() {
    let agent = suture_agent::config::Settings::load(&deploy("agent.toml")).unwrap();
    let unit = std::fs::read_to_string(deploy("suture-agent.service")).unwrap();
    assert!(unit.contains(&format!("ReadWritePaths={}\n", agent.slots_dir.display())), "{unit}");
    assert!(unit.contains(&format!("StateDirectory={}\n", agent.state_dir.file_name().unwrap().to_string_lossy())));
    let server = server(&std::fs::read_to_string(deploy("server.toml")).unwrap());
    let unit = std::fs::read_to_string(deploy("suture-server.service")).unwrap();
    assert!(unit.contains(&format!("run --config {}/server.toml\n", server.data_dir.display())), "{unit}");
    assert!(unit.contains("RestartPreventExitStatus=64\n"));
}

/// What the tours' tests do not play is understood at least: the README's commands, and the tours' `sh parsed`. In an empty home
/// `suturectl` fails for want of a server, a file or a token, and never for its words (exit code 2); the other programs know
/// subcommand and flags. What was read alone is listed.
#[tokio::test]
async fn commands_that_nothing_plays_are_understood() {
    let mut texts = vec![("README.md", std::fs::read_to_string(deploy("../README.md")).unwrap())];
    for page in PAGES {
        texts.extend(Page::open(page).parsed().into_iter().map(|block| (page, block)));
    }
    let home = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(TestClock::start());
    let mut seen = 0;
    for (page, text) in texts {
        let text = text.replace("\\\n", " ");
        for line in text.lines().filter(|line| line.split(' ').next().is_some_and(is_ours)) {
            let words = words(line);
            if words[0] == "suturectl" {
                let (mut out, mut err) = (Vec::new(), Vec::new());
                let words = [words, vec!["--home".to_owned(), home.path().display().to_string()]].concat();
                let exit = suture_ctl::run(words, &mut out, &mut err, clock.clone()).await;
                assert_ne!(exit, 2, "{page}: {line}\n{}", String::from_utf8_lossy(&err));
            } else {
                helped(&words).unwrap_or_else(|e| panic!("{page}: {line}\n{e}"));
            }
            println!("read, not played: {page}: {line}");
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
}

/// A line's words, as a shell would part them: double quotes hold words together, `#` begins a comment. A word in capitals
/// stands for an id, and HEX for a public key.
fn words(line: &str) -> Vec<String> {
    let key = LocalKey::from_seed(&Zeroizing::new([7; 32])).public().to_string();
    let word = |w: &str| match w {
        "HEX" => key.clone(),
        w if w.chars().all(|c| c.is_ascii_uppercase()) => w.to_lowercase(),
        w => w.to_owned(),
    };
    let mut words = Vec::new();
    for (i, part) in line.split('"').enumerate() {
        if i % 2 == 1 {
            words.push(part.to_owned());
        } else if let Some((before, _)) = part.split_once('#') {
            words.extend(before.split_whitespace().map(word));
            break;
        } else {
            words.extend(part.split_whitespace().map(word));
        }
    }
    words
}
