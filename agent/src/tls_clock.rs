//! The time by which certificates are judged: the device's clock, and never earlier than what is proven otherwise.
//!
//! A device whose clock battery died wakes in 1970, where no certificate is valid yet: it could not even say so. So for
//! certificates, and for nothing else, it is at least as late as the hospital's and the manufacturer's signatures prove, and
//! as the device's own certificate was issued; and while the clock is known to be late by that, a certificate of the server
//! that was issued later still counts. That opens no slot and installs nothing: slots go by the clock itself, and TLS is no
//! authority over what is installed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use suture_core::clock::Clock;

/// See the module.
pub struct TlsClock {
    clock: Arc<dyn Clock>,
    /// Unix seconds.
    floor: AtomicI64,
}

impl TlsClock {
    /// Over the device's clock, never earlier than `floor`.
    pub fn new(clock: Arc<dyn Clock>, floor: Timestamp) -> Arc<Self> {
        Arc::new(Self { clock, floor: AtomicI64::new(floor.as_second()) })
    }

    /// It is that late at least.
    pub fn raise(&self, floor: Timestamp) {
        self.floor.fetch_max(floor.as_second(), Ordering::SeqCst);
    }
}

impl Clock for TlsClock {
    fn now(&self) -> Timestamp {
        let floor = Timestamp::from_second(self.floor.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH);
        self.clock.now().max(floor)
    }

    fn is_known_to_be_late(&self) -> bool {
        self.clock.now().as_second() < self.floor.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stands(Timestamp);

    impl Clock for Stands {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    #[test]
    fn it_is_never_earlier_than_what_is_proven_and_goes_on_by_the_clock_from_there() {
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let dead = TlsClock::new(Arc::new(Stands(at(0))), at(100));
        assert_eq!(dead.now(), at(100));
        dead.raise(at(200));
        dead.raise(at(150));
        assert_eq!(dead.now(), at(200));
        assert!(dead.is_known_to_be_late());
        let right = TlsClock::new(Arc::new(Stands(at(300))), at(200));
        assert_eq!(right.now(), at(300));
        assert!(!right.is_known_to_be_late());
    }
}
