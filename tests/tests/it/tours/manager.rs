//! Stands for the service manager: `systemctl` in the tours' PATH asks it, and it starts what the units say.
//!
//! Of a unit it obeys Type, ExecStartPre, ExecStart, RuntimeDirectory and StateDirectory. What hardens a unit is judged by
//! systemd itself, in `service_manager.rs`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use suture_tests::world::{Line, binary};

use super::place::Place;

/// It serves until it is dropped, and what it has started ends with it.
pub(super) struct Manager {
    questions: File,
    serving: Option<JoinHandle<()>>,
}

/// What it knows.
struct Units {
    place: Place,
    line: Arc<Line>,
    path: String,
    running: HashMap<String, Child>,
}

impl Manager {
    /// Puts `systemctl` into the stage's `bin` and answers it. What it starts has this PATH.
    pub(super) fn start(place: Place, line: Arc<Line>, path: &str) -> Self {
        let asked = place.at("/run/asked");
        assert!(Command::new("mkfifo").arg(&asked).status().unwrap().success());
        // Each that asks has a pipe of its own for the answer: the agent asks too.
        let script = format!(
            "#!/bin/sh\nmkfifo '{0}'.$$ && echo \"$$ $*\" >'{0}' && read -r code <'{0}'.$$\n\
             rm '{0}'.$$\n[ \"$code\" != 1 ] || cat '{1}'\nexit \"$code\"\n",
            asked.display(),
            place.at("/run/failed").display()
        );
        let program = place.at("/bin/systemctl");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        // Opened for both, so that it never ends.
        let questions = File::options().read(true).write(true).open(&asked).unwrap();
        let mut units = Units { place, line, path: path.to_owned(), running: HashMap::new() };
        let pipe = asked.clone();
        let read = questions.try_clone().unwrap();
        let serving = std::thread::spawn(move || {
            for question in BufReader::new(read).lines().map(Result::unwrap).take_while(|q| !q.is_empty()) {
                let (pid, words) = question.split_once(' ').unwrap();
                let code = units.obey(&words.split_whitespace().collect::<Vec<_>>());
                let answer = format!("{}.{pid}", pipe.display());
                writeln!(File::options().write(true).open(answer).unwrap(), "{code}").unwrap();
            }
        });
        Self { questions, serving: Some(serving) }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // An empty question ends it.
        if self.questions.write_all(b"\n").is_ok() {
            let _ = self.serving.take().map(JoinHandle::join);
        }
    }
}

impl Units {
    fn obey(&mut self, words: &[&str]) -> i32 {
        let unit = words.last().unwrap().trim_end_matches(".service");
        let done = match words {
            ["daemon-reload"] | ["enable", _] => Ok(()),
            ["start", _] | ["enable", "--now", _] => self.start(unit),
            ["stop", _] => self.stop(unit),
            ["restart", _] => self.stop(unit).and_then(|()| self.start(unit)),
            ["is-active", "--quiet", _] => {
                let runs = self.running.get_mut(unit).is_some_and(|child| child.try_wait().unwrap().is_none());
                return if runs { 0 } else { 3 };
            }
            _ => Err(format!("the stage's systemctl does not know {words:?}")),
        };
        let Err(why) = done else { return 0 };
        // `systemctl` prints it, so it stands where whoever reads the failed test looks.
        fs::write(self.place.at("/run/failed"), why).unwrap();
        1
    }

    fn start(&mut self, unit: &str) -> Result<(), String> {
        let name = format!("{unit}.service");
        let installed = self.place.at("/etc/systemd/system").join(&name);
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(&name);
        let text = fs::read_to_string(installed).or_else(|_| fs::read_to_string(shipped));
        let text = self.place.here(&text.map_err(|e| format!("{name}: {e}"))?);
        let all = |key: &str| -> Vec<String> {
            let values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            values.map(ToOwned::to_owned).collect()
        };
        for (key, parent) in [("RuntimeDirectory", "/run"), ("StateDirectory", "/var/lib")] {
            for directory in all(key) {
                fs::create_dir_all(self.place.at(parent).join(directory)).unwrap();
            }
        }
        let log = self.place.at("/run").join(format!("{unit}.log"));
        for before in all("ExecStartPre") {
            let words = before.trim_start_matches(['-', '+']);
            let done = self.command(words, &log).status().map_err(|e| format!("{words}: {e}"))?;
            if !done.success() && !before.starts_with('-') {
                return Err(format!("{words}: {done}"));
            }
        }
        let mut command = self.command(&all("ExecStart").concat(), &log);
        let ready = all("Type").iter().any(|kind| kind == "notify").then(|| {
            let socket = self.place.at("/run").join(format!("{unit}.notify"));
            let _ = fs::remove_file(&socket);
            command.env("NOTIFY_SOCKET", &socket);
            UnixDatagram::bind(socket).unwrap()
        });
        let mut child = command.spawn().map_err(|e| format!("{name}: {e}"))?;
        if let Some(ready) = ready {
            ready.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let mut word = [0; 256];
            while !ready.recv(&mut word).is_ok_and(|n| word[..n].starts_with(b"READY=1")) {
                if let Some(ended) = child.try_wait().unwrap() {
                    return Err(format!("{name} ended with {ended}: {}", fs::read_to_string(log).unwrap()));
                }
            }
        }
        self.running.insert(unit.to_owned(), child);
        self.lead(&fs::read_to_string(log).unwrap());
        Ok(())
    }

    /// Leads the line to where the server says that it serves.
    fn lead(&self, log: &str) {
        if let Some((_, port)) = log.rsplit_once("serving listen=127.0.0.1:") {
            let port: u16 = port.lines().next().unwrap().trim().parse().unwrap();
            self.line.lead_to(([127, 0, 0, 1], port).into());
        }
    }

    fn command(&self, words: &str, log: &Path) -> Command {
        let mut words = words.split_whitespace();
        let program = words.next().unwrap();
        let program = program.strip_prefix("/usr/bin/").map_or_else(|| PathBuf::from(program), binary);
        let mut command = Command::new(program);
        let log = File::options().create(true).append(true).open(log).unwrap();
        command.args(words).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.env_clear().env("PATH", &self.path);
        command
    }

    fn stop(&mut self, unit: &str) -> Result<(), String> {
        let Some(mut child) = self.running.remove(unit) else { return Ok(()) };
        // It may have ended by itself.
        let _ = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &child.id().to_string()])
            .stderr(Stdio::null())
            .status();
        child.wait().map(|_| ()).map_err(|e| e.to_string())
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
