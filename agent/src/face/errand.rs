//! What the face has the agent's loop do: the loop alone moves the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Whom to tell what came of one that somebody waits for: the loop's end.
#[derive(Debug)]
pub struct Reply {
    to: oneshot::Sender<Result<(), String>>,
    taken: Arc<AtomicBool>,
}

/// Whoever waits.
#[derive(Debug)]
pub struct Waiting {
    from: oneshot::Receiver<Result<(), String>>,
    taken: Arc<AtomicBool>,
}

impl Reply {
    /// Both ends.
    pub fn new() -> (Self, Waiting) {
        let (to, from) = oneshot::channel();
        let taken = Arc::new(AtomicBool::new(false));
        (Self { to, taken: taken.clone() }, Waiting { from, taken })
    }

    /// Done, or why the machine does not take it. Whoever asked may have gone; what the machine did stands in the log.
    pub fn send(self, done: Result<(), String>) {
        let _ = self.to.send(done);
    }

    /// Whether somebody still waits, who from now on is told no more that nothing was done.
    fn take(&self) -> bool {
        self.taken.store(true, Ordering::SeqCst);
        !self.to.is_closed()
    }
}

impl Waiting {
    /// What came of it; none where the loop has ended.
    pub async fn answer(&mut self) -> Option<Result<(), String>> {
        (&mut self.from).await.ok()
    }

    /// Gives up. Whether the loop may have begun with it: it says so before it looks whether somebody waits.
    pub fn leave(mut self) -> bool {
        self.from.close();
        self.taken.load(Ordering::SeqCst)
    }
}

/// The loop's end, and what others send by.
#[derive(Debug)]
pub struct Errands {
    sender: mpsc::Sender<(Errand, Option<Reply>)>,
    receiver: mpsc::Receiver<(Errand, Option<Reply>)>,
    next: Option<(Errand, Option<Reply>)>,
}

impl Errands {
    /// None wait.
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel(MAX_ERRANDS);
        Self { sender, receiver, next: None }
    }

    /// For the face.
    pub fn sender(&self) -> mpsc::Sender<(Errand, Option<Reply>)> {
        self.sender.clone()
    }

    /// Waits for one; cancelling it loses none.
    pub async fn come(&mut self) {
        if self.next.is_none() {
            self.next = self.receiver.recv().await;
        }
    }

    /// The next that waits. One whose sender has gone is none: it was told that nothing was done.
    pub fn take(&mut self) -> Option<(Errand, Option<Reply>)> {
        loop {
            let next = self.next.take().or_else(|| self.receiver.try_recv().ok())?;
            if next.1.as_ref().is_none_or(Reply::take) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn unfit() -> Errand {
        Errand::Unfit(Reason::new(suture_core::phase::Code::Unfit, "the display stays dark"))
    }

    /// An old version that is looked at for longer than anybody waits comes back all the same.
    #[tokio::test]
    async fn of_what_the_loop_has_come_to_nobody_is_told_that_it_was_not_done() {
        let mut errands = Errands::new();
        for is_taken in [false, true] {
            let (reply, waiting) = Reply::new();
            errands.sender().send((unfit(), Some(reply))).await.unwrap();
            if is_taken {
                errands.come().await;
                let (_, reply) = errands.take().unwrap();
                assert!(waiting.leave());
                reply.unwrap().send(Ok(()));
            } else {
                assert!(!waiting.leave());
            }
            assert!(errands.take().is_none());
        }
        let (reply, mut waiting) = Reply::new();
        errands.sender().send((unfit(), Some(reply))).await.unwrap();
        errands.take().unwrap().1.unwrap().send(Err("no check is waited for".to_owned()));
        assert_eq!(waiting.answer().await, Some(Err("no check is waited for".to_owned())));
    }
}
