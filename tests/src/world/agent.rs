//! The real `suture-agent` as a process that a test can kill, and gates that its programs stop at.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use suture_agent::config::Settings;
use suture_agent::status::Status;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};

use super::Device;
use super::program::binary;

/// A process that mounts for itself alone.
const ALONE: [&str; 3] = ["--user", "--map-root-user", "--mount"];

/// A running agent. Dropped, it is killed.
pub struct AgentProgram {
    child: Child,
}

/// A place in one of the device's programs at which it stops and says so, as long as the gate is shut.
pub struct Gate {
    shut: PathBuf,
    reached: Receiver,
    go: Sender,
}

impl Device {
    /// Starts the agent as a process of its own, under the real clock. What it logs goes to `agent.log`.
    pub fn spawn(&self) -> AgentProgram {
        self.spawn_with(&[])
    }

    /// The same, with these variables in its environment.
    pub fn spawn_with(&self, variables: &[(&str, &str)]) -> AgentProgram {
        self.started(variables, &["run"])
    }

    /// One cycle, and then it ends.
    pub fn spawn_once(&self) -> AgentProgram {
        self.started(&[], &["run", "--once"])
    }

    /// The same with its state on a file system of its own of so many MiB, which can really be full, or can only be read; and
    /// where that state is, as seen from here. None where the system lets nobody have a file system of their own.
    pub fn spawn_on(&self, mib: u32, read_only: bool) -> Option<(AgentProgram, PathBuf)> {
        if !Command::new("unshare").args(ALONE).arg("true").status().is_ok_and(|s| s.success()) {
            return None;
        }
        let (state, own) = (self.dir.join("state"), self.dir.join("own-disk"));
        fs::create_dir_all(&own).unwrap();
        let only = if read_only { "mount -o remount,bind,ro \"$1\"; " } else { "" };
        let script = format!(
            "set -e; mount -t tmpfs -o size={mib}m none \"$2\"; cp -a \"$1/.\" \"$2\"; mount --bind \"$2\" \"$1\"; {only}\
             exec \"$0\" --config \"$3\" run"
        );
        let log = File::options().create(true).append(true).open(self.dir.join("agent.log")).unwrap();
        let mut command = Command::new("unshare");
        command.args(ALONE).args(["sh", "-c", &script]).arg(binary("suture-agent"));
        command.arg(&state).arg(&own).arg(self.config());
        command.env_clear().env("PATH", std::env::var("PATH").unwrap()).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let there = PathBuf::from(format!("/proc/{}/root", child.id())).join(state.strip_prefix("/").unwrap());
        Some((AgentProgram { child }, there))
    }

    fn started(&self, variables: &[(&str, &str)], arguments: &[&str]) -> AgentProgram {
        let log = File::options().create(true).append(true).open(self.dir.join("agent.log")).unwrap();
        let mut command = Command::new(binary("suture-agent"));
        command.env_clear().env("PATH", std::env::var("PATH").unwrap()).stdin(Stdio::null());
        command.envs(variables.iter().copied());
        command.stdout(Stdio::null()).stderr(log).arg("--config").arg(self.config()).args(arguments);
        AgentProgram { child: command.spawn().unwrap() }
    }

    /// What `suture-agent status` says, beside a running agent or without one.
    pub fn status(&self) -> Status {
        Status::read(&Settings::load(&self.config()).unwrap(), None)
    }

    /// What the program `suture-agent status --output json` prints.
    pub fn told(&self) -> serde_json::Value {
        let mut command = Command::new(binary("suture-agent"));
        command.env_clear().arg("--config").arg(self.config()).args(["--output", "json", "status"]);
        let told = command.output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        serde_json::from_slice(&told.stdout).unwrap()
    }

    /// What the agents have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("agent.log")).unwrap_or_default()
    }

    /// Writes a program into the device's directory that records its first argument in `<name>.log`, stops at a gate if that
    /// argument is `at`, and then succeeds. The gate is shut.
    pub fn gated(&self, name: &str, at: &str) -> Gate {
        let path = |end: &str| self.dir.join(format!("{name}.{end}"));
        for pipe in ["reached", "go"] {
            assert!(Command::new("mkfifo").arg(path(pipe)).status().unwrap().success());
        }
        let script = format!(
            "#!/bin/sh\ncd \"$(dirname \"$0\")\" || exit 2\necho \"$1\" >> {name}.log\n\
             if [ \"$1\" = {at:?} ] && [ -e {name}.shut ]; then echo > {name}.reached; read -r _ < {name}.go; fi\n"
        );
        fs::write(path("sh"), script).unwrap();
        fs::set_permissions(path("sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(path("shut"), "").unwrap();
        // Both ends at once: so neither side waits for the other to open its end.
        let both = || OpenOptions::new().read_write(true).to_owned();
        let reached = both().open_receiver(path("reached")).unwrap();
        let go = both().open_sender(path("go")).unwrap();
        Gate { shut: path("shut"), reached, go }
    }
}

impl Gate {
    /// Waits until the program stands at the gate.
    pub async fn reached(&mut self) {
        let mut line = [0; 1];
        self.reached.read_exact(&mut line).await.unwrap();
    }

    /// Opens it for the program that stands there and for all that come later.
    pub async fn open(&mut self) {
        fs::remove_file(&self.shut).unwrap();
        self.go.write_all(b"\n").await.unwrap();
    }
}

impl AgentProgram {
    /// SIGKILL. What the agent had started goes on without it.
    pub fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the agent has ended by itself");
        self.end();
    }

    /// SIGTERM, as a service manager stops it.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid]).status().unwrap().success());
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has taken so far, in bytes, by the kernel's count of resident pages. None once it has ended.
    pub fn highest_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
    }

    /// Whether it runs still.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for AgentProgram {
    fn drop(&mut self) {
        self.end();
    }
}
