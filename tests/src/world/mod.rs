//! The stage. See the crate's documentation.

mod agent;
pub mod ceremony;
pub mod clock;
pub mod database;
mod device;
pub mod hsm;
mod line;
mod operators;
pub mod program;
mod roots;
mod signing;
pub mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;
use suture_core::clock::Clock as _;
use suture_server::config::Written;
use suture_server::{App, Settings};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use agent::{AgentProgram, Gate};
pub use clock::TestClock;
pub use database::Kind;
pub use device::{Bundle, Device, Spec, text};
pub use hsm::Hsm;
pub use line::Line;
pub use operators::{Failed, Operator};
pub use program::{Disk, Program, binary};
pub use signing::Intruder;

/// Says that a test, or the rest of it, is not run on this machine, and why; which CI does not forgive.
pub fn not_run(why: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this: {why}");
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("not run: {why}\n"));
}

/// The hospital of most tests.
pub const HDO: &str = "riverside";

/// One manufacturer's server and its line, and the directory of everything.
pub struct World {
    /// Everybody's clock.
    pub clock: Arc<TestClock>,
    /// The line between everybody and the server.
    pub line: Line,
    settings: Settings,
    server: Option<Running>,
    dir: TempDir,
}

struct Running {
    shutdown: CancellationToken,
    ended: JoinHandle<()>,
}

impl World {
    /// A new server on a database of that kind, running; none where that kind cannot be had. It makes no deltas: most tests
    /// count chunks.
    pub async fn start(kind: Kind) -> Option<Self> {
        Self::start_with(kind, &[("delta_sources", "0")]).await
    }

    /// The same with these settings besides.
    pub async fn start_with(kind: Kind, settings: &[(&'static str, &str)]) -> Option<Self> {
        let database = database::create(kind).await?;
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::start());
        let line = Line::open().await;
        let mut written = Written::default();
        written.flag("data_dir", dir.path().join("server").to_str().unwrap());
        written.flag("address", &format!("https://localhost:{}", line.port()));
        written.flag("listen", "127.0.0.1:0");
        written.flag("trust_domain", "acme.example");
        if !database.is_empty() {
            written.flag("database", &database);
        }
        for (key, value) in settings {
            written.flag(key, value);
        }
        let settings = Settings::of(written).unwrap();
        suture_server::init::init(&settings, &"ada".parse().unwrap(), clock.now()).await.unwrap();
        let mut world = Self { clock, line, settings, server: None, dir };
        world.start_server().await;
        Some(world)
    }

    /// Starts the server, which must be down.
    pub async fn start_server(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        let app = App::open(self.settings.clone(), self.clock.clone()).await.unwrap();
        let listener = TcpListener::bind(self.settings.listen).await.unwrap();
        self.line.lead_to(listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let serving = app.serve(listener, shutdown.clone());
        let ended = tokio::spawn(async move { serving.await.unwrap() });
        self.server = Some(Running { shutdown, ended });
    }

    /// Stops the server as SIGTERM does.
    pub async fn stop_server(&mut self) {
        let running = self.server.take().expect("the server is down already");
        running.shutdown.cancel();
        running.ended.await.unwrap();
    }

    /// A path in the world's directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The server's data directory.
    pub fn data_dir(&self) -> &Path {
        &self.settings.data_dir
    }

    /// The URL of the server's database.
    pub fn database(&self) -> &str {
        self.settings.database.url()
    }

    /// Lets time pass.
    pub fn pass(&self, secs: i64) {
        self.clock.advance(SignedDuration::from_secs(secs));
    }

    /// Lets days pass in which nobody does anything, the server being looked after by itself: it signs anew what it signs.
    pub async fn idle(&mut self, days: i64) {
        self.stop_server().await;
        self.clock.advance(SignedDuration::from_hours(24 * days));
        let app = App::open(self.settings.clone(), self.clock.clone()).await.unwrap();
        suture_server::publish::resign(app.store(), app.seal(), app.now()).await.unwrap();
        drop(app);
        self.start_server().await;
    }

    /// An operator with a home of that name, who has joined nothing yet.
    pub fn operator(&self, name: &str) -> Operator {
        Operator::new(self.path(format!("home-{name}")), self.clock.clone())
    }

    /// The manufacturer's first operator, joined, with a catalog.
    pub async fn manufacturer(&self) -> Operator {
        let ada = self.operator("ada");
        let token = std::fs::read_to_string(self.data_dir().join("operator.token")).unwrap();
        ada.run(&["join", token.trim()]).await.unwrap();
        ada.run(&["catalog", "init", "--no-passphrase"]).await.unwrap();
        ada
    }

    /// The hospital's first operator, joined, with an approvals repository.
    pub async fn hospital(&self, ada: &Operator) -> Operator {
        let invitation = ada.json(&["hdo", "invite", HDO, "--name", "Riverside Hospital"]).await.unwrap();
        let kim = self.operator("kim");
        let token = invitation["token"].as_str().unwrap();
        kim.run(&["hdo", "join", token, "--name", "kim", "--no-passphrase"]).await.unwrap();
        kim
    }
}
