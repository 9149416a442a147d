//! The device's own rate, from its configuration: it reads no faster, and the server then sends no faster.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt as _};
use suture_core::pace::{Bucket, Rate};

use super::ClientError;
use crate::ticks::Ticks;

/// All that the device receives in bulk, over all connections.
#[derive(Debug)]
pub(super) struct Throttle {
    bucket: Mutex<Bucket>,
    ticks: Arc<dyn Ticks>,
}

impl Throttle {
    /// No faster than `rate`.
    pub(super) fn new(rate: Rate, ticks: Arc<dyn Ticks>) -> Self {
        Self { bucket: Mutex::new(Bucket::new(rate, ticks.now())), ticks }
    }

    /// The rate.
    pub(super) fn rate(&self) -> Rate {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).rate()
    }

    /// Waits until so many bytes, which have come, may have come.
    async fn take(&self, bytes: usize) {
        loop {
            let taken = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(self.ticks.now(), bytes);
            match taken {
                Ok(()) => return,
                Err(wait) => self.ticks.sleep(wait).await,
            }
        }
    }
}

/// `items` as they come, and no faster than the throttle lets them.
pub(super) fn slowly<T: Send + 'static>(
    items: Pin<Box<dyn Stream<Item = Result<T, ClientError>> + Send>>,
    throttle: Option<Arc<Throttle>>,
    bytes: impl Fn(&T) -> usize + Send + Sync + 'static,
) -> Pin<Box<dyn Stream<Item = Result<T, ClientError>> + Send>> {
    let Some(throttle) = throttle else { return items };
    Box::pin(items.then(move |item| {
        let throttle = throttle.clone();
        let bytes = item.as_ref().map_or(0, &bytes);
        async move {
            throttle.take(bytes).await;
            item
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticks::Hand;

    #[tokio::test]
    async fn the_rate_holds_over_all_streams_and_is_reached() {
        let hand = Hand::default();
        let throttle = Arc::new(Throttle::new("2Mbit".parse().unwrap(), Arc::new(hand.clone())));
        let mut got = 0;
        for _ in 0..4 {
            let items = futures::stream::iter((0..5).map(|_| Ok(vec![0_u8; 100_000])));
            let mut items = slowly(Box::pin(items), Some(throttle.clone()), Vec::len);
            while let Some(item) = items.next().await {
                got += item.unwrap().len();
                let most = 250_000.0 * (hand.now().as_secs_f64() + 0.1) + 100_000.0;
                assert!(got as f64 <= most, "{got} of {most}");
            }
        }
        assert_eq!((got, hand.now().as_secs()), (2_000_000, 7));
    }

    #[tokio::test]
    async fn without_a_rate_nothing_waits() {
        let items = futures::stream::iter((0..1_000).map(|_| Ok(vec![0_u8; 1_000_000])));
        let got = slowly(Box::pin(items), None, Vec::len).count().await;
        assert_eq!(got, 1_000);
    }
}
