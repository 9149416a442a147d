//! Time that only passes, as an argument: for what waits, and for how long something took.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

/// Where waiting comes from; a test hands in its own.
pub(crate) trait Ticks: Debug + Send + Sync {
    /// How long it has been since it was made.
    fn now(&self) -> Duration;
    /// Waits.
    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The system's.
#[derive(Debug)]
pub(crate) struct System(Instant);

impl System {
    /// From now on.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Ticks for System {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(wait))
    }
}

/// A clock that whoever waits moves on.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(crate) struct Hand(std::sync::Arc<std::sync::Mutex<Duration>>);

#[cfg(test)]
impl Ticks for Hand {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let hand = self.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            *hand.0.lock().unwrap() += wait;
        })
    }
}
