//! "Not now": how a server that has no place for a transfer says when to ask again.
//!
//! It is the status RESOURCE_EXHAUSTED with a sentence, and beside it `grpc-retry-pushback-ms`, as gRPC's retry design has
//! it, the code of the reason and, where it is known, the instant from which the answer will be another.

use std::time::Duration;

use jiff::Timestamp;
use suture_core::limits::MAX_QUIET;
use suture_core::phase::Code;
use tonic::Status;
use tonic::metadata::{MetadataMap, MetadataValue};

const AFTER: &str = "grpc-retry-pushback-ms";
const CODE: &str = "suture-reason";
const UNTIL: &str = "suture-until-ms";

/// When to ask again, and why not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deferral {
    /// [`Code::InLine`] or [`Code::QuietHours`].
    pub code: Code,
    /// After how long.
    pub after: Duration,
    /// When the reason will be gone, where that is known.
    pub until: Option<Timestamp>,
}

impl Deferral {
    /// The status that says so.
    pub fn to_status(self, text: String) -> Status {
        let mut metadata = MetadataMap::new();
        metadata.insert(AFTER, MetadataValue::from(u64::try_from(self.after.as_millis()).unwrap_or(u64::MAX)));
        metadata.insert(CODE, MetadataValue::from_static(self.code.as_str()));
        if let Some(until) = self.until {
            metadata.insert(UNTIL, MetadataValue::from(until.as_millisecond()));
        }
        Status::with_metadata(tonic::Code::ResourceExhausted, text, metadata)
    }

    /// What a status says of it. A server can hold a device off no longer than [`MAX_QUIET`] at a time.
    pub fn of(status: &Status) -> Option<Self> {
        let text = |key: &str| status.metadata().get(key)?.to_str().ok();
        let millis = |key: &str| text(key)?.parse::<i64>().ok();
        let code = Code::from_name(text(CODE)?);
        if status.code() != tonic::Code::ResourceExhausted || !matches!(code, Code::InLine | Code::QuietHours) {
            return None;
        }
        let most = MAX_QUIET.unsigned_abs();
        let after = Duration::from_millis(u64::try_from(millis(AFTER)?).ok()?).clamp(Duration::from_secs(1), most);
        Some(Self { code, after, until: millis(UNTIL).and_then(|ms| Timestamp::from_millisecond(ms).ok()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_heard_as_it_was_said_and_never_holds_off_for_long() {
        let until = Timestamp::from_millisecond(1_764_000_000_000).ok();
        for (code, secs, until) in [(Code::InLine, 7, None), (Code::QuietHours, 900, until)] {
            let said = Deferral { code, after: Duration::from_secs(secs), until };
            assert_eq!(Deferral::of(&said.to_status("not now".to_owned())), Some(said));
        }
        let long = Deferral { code: Code::QuietHours, after: Duration::from_secs(1 << 40), until: None };
        assert_eq!(Deferral::of(&long.to_status(String::new())).unwrap().after, Duration::from_secs(900));
        let none = Deferral { code: Code::InLine, after: Duration::ZERO, until: None };
        assert_eq!(Deferral::of(&none.to_status(String::new())).unwrap().after, Duration::from_secs(1));
        assert_eq!(Deferral::of(&Status::resource_exhausted("the disk is full")), None);
        let other = Deferral { code: Code::Paused, after: Duration::from_secs(7), until: None };
        assert_eq!(Deferral::of(&other.to_status(String::new())), None);
    }
}
