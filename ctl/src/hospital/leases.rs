//! Leases, as the server keeps them: which devices count as down, for people.

use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::lease::Lease;
use suture_proto::v1;

/// A device that counts as down, or as about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Down {
    /// Which.
    pub device: String,
    /// By which rollout.
    pub rollout: String,
    /// Since when it has the lease.
    pub taken: String,
    /// Since when it is out of service; none where it has not begun.
    pub begun: Option<String>,
    /// When it spoke of it last.
    pub heard: String,
    /// Until when it counts, unless it speaks again.
    pub until: String,
    /// All of that, as a sentence.
    pub text: String,
}

impl Down {
    /// What a message says; none where it makes no sense.
    pub fn of(lease: &v1::Lease) -> Option<Self> {
        let lease = Lease::try_from(lease).ok()?;
        Some(Self {
            device: lease.device.to_string(),
            rollout: lease.approval.to_string(),
            taken: format_utc(lease.taken),
            begun: lease.begun.map(format_utc),
            heard: format_utc(lease.heard),
            until: format_utc(lease.until()),
            text: format!("{}; it counts until {} unless it speaks again", lease.to_text(), format_utc(lease.until())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_who_since_when_and_until_when() {
        let lease = v1::Lease {
            device: "pump-1".to_owned(),
            approval_id: "pump-2".to_owned(),
            ward_cap: 1,
            silence_secs: 7_200,
            taken_ms: 1_800_000_000_000,
            begun_ms: 1_800_000_060_000,
            heard_ms: 1_800_000_120_000,
            returned_ms: 0,
        };
        let down = Down::of(&lease).unwrap();
        assert_eq!(
            (down.begun.as_deref(), down.until.as_str()),
            (Some("2027-01-15T08:01:00Z"), "2027-01-15T10:02:00Z")
        );
        assert!(down.text.starts_with("pump-1 is down since 2027-01-15T08:01:00Z"), "{}", down.text);
        assert_eq!(Down::of(&v1::Lease { device: "no id".to_owned(), ..lease }), None);
    }
}
