//! What the face has the agent's loop do: the loop alone moves the machine.

use suture_core::phase::Reason;
use tokio::sync::{mpsc, oneshot};

/// Errands that wait; a person sends one and waits for its end.
const MAX_ERRANDS: usize = 4;

/// Something for the loop.
#[derive(Debug)]
pub enum Errand {
    /// Look around now: something was written that it reads.
    Look,
    /// A person has checked the device.
    Checked(Reason),
    /// A person has checked the device and found it unfit.
    Unfit(Reason),
    /// A person has put the device in order.
    Recovered(Reason),
}

/// Whom to tell what came of one, where somebody waits: done, or why the machine does not take it.
pub type Reply = Option<oneshot::Sender<Result<(), String>>>;

/// The loop's end, and what others send by.
#[derive(Debug)]
pub struct Errands {
    sender: mpsc::Sender<(Errand, Reply)>,
    receiver: mpsc::Receiver<(Errand, Reply)>,
    next: Option<(Errand, Reply)>,
}

impl Errands {
    /// None wait.
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel(MAX_ERRANDS);
        Self { sender, receiver, next: None }
    }

    /// For the face.
    pub fn sender(&self) -> mpsc::Sender<(Errand, Reply)> {
        self.sender.clone()
    }

    /// Waits for one; cancelling it loses none.
    pub async fn come(&mut self) {
        if self.next.is_none() {
            self.next = self.receiver.recv().await;
        }
    }

    /// The next that waits. One whose sender has gone is none: it was told that nothing was done.
    pub fn take(&mut self) -> Option<(Errand, Reply)> {
        loop {
            let next = self.next.take().or_else(|| self.receiver.try_recv().ok())?;
            if next.1.as_ref().is_none_or(|reply| !reply.is_closed()) {
                return Some(next);
            }
        }
    }
}

impl Default for Errands {
    fn default() -> Self {
        Self::new()
    }
}
