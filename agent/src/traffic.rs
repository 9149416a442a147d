//! How much is said to the server and heard from it: calls, and the bytes of their messages before encryption.

use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;

/// Counts since the agent started.
#[derive(Debug, Default)]
pub struct Traffic {
    calls: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

impl Traffic {
    /// Counts a call, and gives its message back.
    pub(crate) fn asks<M: Message>(&self, request: M) -> M {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(request.encoded_len() as u64, Ordering::Relaxed);
        request
    }

    /// Counts an answer, or a part of one, and gives it back.
    pub(crate) fn hears<M: Message>(&self, answer: M) -> M {
        self.received_bytes.fetch_add(answer.encoded_len() as u64, Ordering::Relaxed);
        answer
    }

    /// Calls, bytes sent, bytes received.
    pub fn counts(&self) -> (u64, u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.calls), count(&self.sent_bytes), count(&self.received_bytes))
    }
}
