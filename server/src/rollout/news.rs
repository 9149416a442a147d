//! Word that something changed, so that those who watch look again.
//!
//! What this replica changed is told at once. What another replica changed is found by looking every [`LOOK`].

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often a watcher looks although nothing was told.
const LOOK: Duration = Duration::from_secs(2);

/// The teller.
#[derive(Debug, Clone)]
pub(crate) struct News {
    changes: watch::Sender<Heard>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    changes: u64,
    draining: bool,
}

/// A listener.
#[derive(Debug)]
pub(crate) struct Listener {
    changes: watch::Receiver<Heard>,
}

impl News {
    /// A teller whom nobody listens to yet.
    pub(crate) fn new() -> Self {
        Self { changes: watch::Sender::new(Heard::default()) }
    }

    /// Something changed.
    pub(crate) fn tell(&self) {
        self.changes.send_modify(|heard| heard.changes = heard.changes.wrapping_add(1));
    }

    /// Sends every listener away once the server drains.
    pub(crate) async fn fall_silent_after(self, shutdown: CancellationToken) {
        shutdown.cancelled().await;
        self.changes.send_modify(|heard| heard.draining = true);
    }

    /// Listens from now on.
    pub(crate) fn listen(&self) -> Listener {
        Listener { changes: self.changes.subscribe() }
    }
}

impl Listener {
    /// Waits for a change, or for the time to look anyway; false once the server drains.
    pub(crate) async fn wait(&mut self) -> bool {
        tokio::select! {
            told = self.changes.changed() => told.is_ok() && !self.changes.borrow().draining,
            () = tokio::time::sleep(LOOK) => true,
        }
    }
}
