//! Devices and hospitals, as the server tells of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::exposure::why::Why;
use suture_proto::v1;

use super::answer::{Answer, Row};
use crate::print::count;

/// A device.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Device {
    pub(super) id: String,
    pub(super) ward: String,
    pub(super) product: String,
    pub(super) release: u64,
    pub(super) version: String,
    pub(super) verdict: String,
    /// Whether that it runs this is by its signed report, by the server's word.
    pub(super) proven: bool,
    pub(super) why: String,
    /// The same for people, with all that is known of it.
    pub(super) reason: String,
    pub(super) rollout: Option<String>,
    pub(super) last_seen: Option<String>,
    /// For how many days it was not seen, where that is long.
    pub(super) silent_for_days: Option<i64>,
}

/// A hospital's devices that run one exposed bundle.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Hospital {
    pub(super) hdo: String,
    pub(super) name: String,
    pub(super) product: String,
    pub(super) release: u64,
    pub(super) version: String,
    pub(super) verdict: String,
    pub(super) proven_devices: u64,
    pub(super) believed_devices: u64,
    pub(super) whys: BTreeMap<String, u64>,
}

/// Counts by their names; one that this program does not know counts as itself.
pub(super) fn counts(whys: Vec<v1::WhyCount>) -> BTreeMap<String, u64> {
    whys.into_iter().map(|v1::WhyCount { why, devices }| (why, devices)).collect()
}

pub(super) fn instant(ms: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(ms).ok().filter(|_| ms > 0)
}

impl Device {
    /// What is told of one, beside what is known of the bundle that it runs.
    pub(super) fn of(told: v1::ExposedDevice, answer: &Answer, now: Timestamp) -> Self {
        let last_seen = instant(told.last_seen_ms);
        let days = last_seen.map_or(i64::MAX, |at| now.duration_since(at).as_hours() / 24);
        let silent = days >= i64::from(answer.silent_days);
        let some = |text: String| Some(text).filter(|t| !t.is_empty());
        let mut reason = Why::from_name(&told.why).map_or_else(|| told.why.clone(), |why| why.text().to_owned());
        if let Some(phase) = some(told.phase) {
            reason.push_str(&format!(": {phase}"));
        }
        if let Some(v1::Reason { code, text }) = told.reason {
            reason.push_str(&format!(" ({code}: {text})"));
        }
        if told.decision > 0 {
            reason
                .push_str(&format!(": {} (decision {}, review {})", told.decision_reason, told.decision, told.review));
        }
        match last_seen.filter(|_| silent) {
            Some(_) => reason.push_str(&format!("; not seen for {}", count(days, "day"))),
            None if silent => reason.push_str("; never seen"),
            None => {}
        }
        let ended = |row: &Row| row.product == told.product && row.release == told.release && row.past_end_of_support;
        if answer.bundles.iter().any(ended) {
            reason.push_str("; past its end of support");
        }
        Self {
            id: told.id,
            ward: told.ward,
            product: told.product,
            release: told.release,
            version: told.version,
            verdict: told.verdict,
            proven: told.proven,
            why: told.why,
            reason,
            rollout: some(told.rollout),
            last_seen: last_seen.map(format_utc),
            silent_for_days: last_seen.filter(|_| silent).map(|_| days),
        }
    }
}

impl From<v1::ExposedHospital> for Hospital {
    fn from(h: v1::ExposedHospital) -> Self {
        Self {
            hdo: h.hdo,
            name: h.name,
            product: h.product,
            release: h.release,
            version: h.version,
            verdict: h.verdict,
            proven_devices: h.proven_devices,
            believed_devices: h.believed_devices,
            whys: counts(h.whys),
        }
    }
}
