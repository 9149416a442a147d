//! What a tour's words stand for on the machine that the test runs on.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where on a machine the tours put something: in the test, below a directory of its own.
const ROOTED: [&str; 9] = [
    "/etc/suture-agent",
    "/etc/systemd/system",
    "/opt/device",
    "/run/pump",
    "/run/suture-agent",
    "/usr/lib/pump",
    "/var/backups",
    "/var/lib/pump",
    "/var/lib/suture-",
];
/// The checkout of this repository.
const CHECKOUT: &str = "~/suture/";
/// The server, and where it listens.
const ADDRESS: &str = "updates.acme.example:7443";
const LISTEN: &str = "0.0.0.0:7443";
/// Who may say something to the agent: whoever runs the test.
const TECHNICIANS: &str = "\"technicians\"";
/// How root runs what must belong to the server's user.
const AS_SERVER: &str = "runuser -u suture-server -- ";

/// What stands in their place.
#[derive(Debug, Clone)]
pub(super) struct Place {
    root: PathBuf,
    port: u16,
    group: String,
}

impl Place {
    /// Below that directory, with that port of this machine as the server's.
    pub(super) fn new(root: &Path, port: u16) -> Self {
        let group = Command::new("id").arg("-gn").output().unwrap().stdout;
        Self { root: root.to_owned(), port, group: String::from_utf8(group).unwrap().trim().to_owned() }
    }

    /// Where a path of the tours is.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What a tour says, as it is run here.
    pub(super) fn here(&self, text: &str) -> String {
        let checkout = format!("{}/../", env!("CARGO_MANIFEST_DIR"));
        let text = text.replace(AS_SERVER, "").replace(CHECKOUT, &checkout);
        let text = text.replace(TECHNICIANS, &format!("{:?}", self.group));
        let text = text.replace(ADDRESS, &self.address()).replace(LISTEN, "127.0.0.1:0");
        ROOTED.iter().fold(text, |text, path| text.replace(path, self.at(path).to_str().unwrap()))
    }

    /// What is printed here, as a tour has it.
    pub(super) fn there(&self, text: &str) -> String {
        text.replace(self.root.to_str().unwrap(), "").replace(&self.address(), ADDRESS)
    }

    fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }
}
