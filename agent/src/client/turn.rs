//! Standing in line: what the server says where too many devices of the hospital fetch at once.

use std::sync::{Arc, Mutex, PoisonError};

use suture_core::phase::{Code, Reason};

use super::ClientError;
use crate::backoff::Random;
use crate::ticks::Ticks;

/// Waits for this device's turn, and knows why.
pub(super) struct Line {
    random: Random,
    ticks: Arc<dyn Ticks>,
    reason: Mutex<Option<Reason>>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Line").field(&self.reason()).finish()
    }
}

impl Line {
    /// Nobody waits yet; `random` sees to it that those who wait do not all ask at once.
    pub(super) fn new(random: Random, ticks: Arc<dyn Ticks>) -> Self {
        Self { random, ticks, reason: Mutex::default() }
    }

    /// What is waited for at this moment.
    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits as long as the server has said, and up to a quarter longer, where the answer is that this device stands in
    /// line. Any other answer is given back.
    pub(super) async fn wait(&self, answer: ClientError) -> Result<(), ClientError> {
        let after = match &answer {
            ClientError::Deferred { deferral, .. } if deferral.code == Code::InLine => deferral.after,
            _ => return Err(answer),
        };
        let _standing = self.stand(Reason::new(Code::InLine, answer.to_string()));
        let share = f64::from((self.random)()) / f64::from(u32::MAX) / 4.0;
        self.ticks.sleep(after.saturating_add(after.mul_f64(share))).await;
        Ok(())
    }

    /// Known as the reason as long as the answer lives, however the wait ends.
    fn stand(&self, reason: Reason) -> Standing<'_> {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        Standing(self)
    }
}

struct Standing<'a>(&'a Line);

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        *self.0.reason.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use suture_proto::deferral::Deferral;

    use super::*;
    use crate::ticks::Hand;

    fn deferred(code: Code) -> ClientError {
        let deferral = Deferral { code, after: Duration::from_secs(8), until: None };
        ClientError::Deferred { text: "8 devices fetch; you are number 3".to_owned(), deferral }
    }

    #[tokio::test]
    async fn it_waits_as_it_was_told_and_says_why() {
        for (random, secs) in [(0, 8), (u32::MAX, 10)] {
            let hand = Hand::default();
            let line = Line::new(Arc::new(move || random), Arc::new(hand.clone()));
            let mut waiting = Box::pin(line.wait(deferred(Code::InLine)));
            assert!(futures::poll!(&mut waiting).is_pending());
            let reason = line.reason().unwrap();
            assert_eq!((reason.code, reason.text.as_str()), (Code::InLine, "8 devices fetch; you are number 3"));
            waiting.await.unwrap();
            assert_eq!((hand.now().as_secs(), line.reason()), (secs, None));
        }
    }

    #[tokio::test]
    async fn what_is_no_place_in_line_is_given_back_and_a_wait_that_is_left_leaves_no_reason() {
        let line = Line::new(Arc::new(|| 0), Arc::new(Hand::default()));
        assert!(matches!(line.wait(deferred(Code::QuietHours)).await, Err(ClientError::Deferred { .. })));
        let cut = line.wait(ClientError::Timeout { call: "the transfer" }).await;
        assert!(matches!(cut, Err(ClientError::Timeout { .. })));
        let mut waiting = Box::pin(line.wait(deferred(Code::InLine)));
        assert!(futures::poll!(&mut waiting).is_pending() && line.reason().is_some());
        drop(waiting);
        assert!(line.reason().is_none());
    }
}
