//! The real `suture-server`, as a process of its own: for what happens to processes only.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::World;

/// A program of ours. Cargo builds it for its own package's tests only.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().unwrap().parent().unwrap().join(name);
    assert!(binary.is_file(), "{} is missing; build the programs as tests/run.sh does", binary.display());
    binary
}

/// What the server keeps its data on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// The test's own, on which files can be limited.
    Shared,
    /// A file system of its own of so many MiB, which can really be full.
    Own(u32),
}

/// A server that runs. It is killed when dropped.
pub struct Program {
    child: Child,
    data_dir: PathBuf,
}

impl Program {
    /// Serves a world's data in the place of its server, which must be down; none where the system lets nobody have a file
    /// system of their own.
    pub fn serve(world: &World, disk: Disk) -> Option<Self> {
        let run = "exec \"$0\" run --config \"$1/server.toml\" --listen 127.0.0.1:0 --log info";
        let mut command = match disk {
            // A limit on files then fails the write, as a full disk does, and does not end the process.
            Disk::Shared => shell(&format!("trap '' XFSZ; {run}")),
            Disk::Own(mib) => {
                let mut may = Command::new("unshare");
                if !may.args(["--user", "--map-root-user", "--mount", "true"]).status().is_ok_and(|s| s.success()) {
                    return None;
                }
                let mut command = Command::new("unshare");
                let mount = format!(
                    "set -e; mount -t tmpfs -o size={mib}m none \"$2\"; cp -a \"$1/.\" \"$2\"; \
                     mount --bind \"$2\" \"$1\"; {run}"
                );
                command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]);
                command
            }
        };
        let own = world.path("own-disk");
        std::fs::create_dir_all(&own).unwrap();
        command.arg(binary("suture-server")).arg(world.data_dir()).arg(&own);
        let (child, port) = serving(command);
        world.line.lead_to(([127, 0, 0, 1], port).into());
        let data_dir = match disk {
            Disk::Shared => world.data_dir().to_owned(),
            Disk::Own(_) => {
                let root = PathBuf::from(format!("/proc/{}/root", child.id()));
                root.join(world.data_dir().strip_prefix("/").unwrap())
            }
        };
        Some(Self { child, data_dir })
    }

    /// Its data directory, as seen from here.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Lets no file grow beyond so many bytes; none lifts the limit.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |b| b.to_string());
        // The soft limit only: the hard one could not be raised again.
        let limit = format!("--fsize={limit}:");
        let done = Command::new("prlimit").args(["--pid", &self.child.id().to_string(), &limit]).status().unwrap();
        assert!(done.success());
    }

    /// Fills its disk to the last block and gives the file that takes the space.
    pub fn fill_disk(&self) -> PathBuf {
        let path = self.data_dir.join("somebody-else's.log");
        let mut file = File::create(&path).unwrap();
        let full = loop {
            if let Err(error) = file.write_all(&[b'x'; 4_096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        path
    }

    /// Stops it as a service manager does.
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

/// A server besides others on a world's database, with a copy of its keys, behind a port of its own. It is killed when
/// dropped.
pub struct Replica {
    child: Child,
    port: u16,
}

impl Replica {
    /// Serves the database at `url`, from a directory of that name, which is filled when it is not there.
    pub fn serve(world: &World, name: &str, url: &str) -> Self {
        let dir = world.path(name);
        if !dir.exists() {
            assert!(Command::new("cp").arg("-a").args([world.data_dir(), &dir]).status().unwrap().success());
        }
        let mut command = Command::new(binary("suture-server"));
        command.args(["run", "--config"]).arg(dir.join("server.toml")).arg("--data-dir").arg(&dir);
        command.args(["--database", url, "--listen", "127.0.0.1:0", "--log", "info"]);
        let (child, port) = serving(command);
        Self { child, port }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // Both fail where it has been killed, which is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server and gives the port that it serves on, once it does.
fn serving(mut command: Command) -> (Child, u16) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    let port = loop {
        let before = said.len();
        assert_ne!(log.read_line(&mut said).unwrap(), 0, "the server ended before it served:\n{said}");
        if let Some((_, address)) = said[before..].split_once("serving listen=127.0.0.1:") {
            break address.trim().parse::<u16>().unwrap();
        }
    };
    // Nobody must wait because nobody reads the log.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    (child, port)
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail where it has been stopped, which is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}
