//! The check-in: how the device is, and what the server holds back or has news of.

use std::time::Duration;

use suture_core::audit::{self, Witness};
use suture_core::event::SignedBatch;
use suture_core::id::ApprovalId;
use suture_core::phase::{Code, Phase, Reason};
use suture_core::plan::Installs;
use suture_core::progress::Progress;
use suture_core::report::{Running, Seen};
use suture_core::sign::Signature;
use suture_proto::{parse_reason, v1};

use super::{Client, ClientError, timely};
use crate::news::{Holdings, Tidings};

/// What the device says at a check-in.
#[derive(Debug, Clone)]
pub struct Said {
    /// What it is.
    pub product: String,
    /// Its hardware revision.
    pub hardware: String,
    /// What runs.
    pub running: Option<Running>,
    /// What installs on it, and the data that lie there; none where it is not known what runs.
    pub installs: Option<Installs>,
    /// The catalog that it verified last.
    pub catalog: Option<Seen>,
    /// The approvals that it verified last.
    pub approvals: Option<Seen>,
    /// What it does.
    pub phase: Phase,
    /// Why no further.
    pub reason: Option<Reason>,
    /// The attempt.
    pub approval: Option<ApprovalId>,
    /// Of the bundle that is attempted.
    pub progress: Progress,
    /// The device's signature over what it has seen of both; see [`suture_core::report::Sighting`].
    pub seen_signature: Option<Signature>,
    /// What it remembers of the server's audit record.
    pub witness: Option<Witness>,
    /// Whether it was shown another one since.
    pub doubts: bool,
    /// What it holds of both repositories, where it wants to hear what differs.
    pub held: Option<Holdings>,
    /// Security events that the server may not have yet.
    pub events: Option<SignedBatch>,
}

/// What the server says at a check-in.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Whether the hospital has confirmed the device.
    pub confirmed: bool,
    /// The server's clock, Unix milliseconds; for diagnosis only.
    pub server_ms: i64,
    /// When to ask again.
    pub next: Duration,
    /// What it says of each approval: `None` is go, else why not.
    pub words: Vec<(ApprovalId, Option<Reason>)>,
    /// Up to which number it has the reports.
    pub stored_through: u64,
    /// What differs from what the device holds, where it asked and is confirmed.
    pub news: Option<Tidings>,
    /// The newest of the audit record, and the key in force by the server's word, where it is confirmed.
    pub audit: Option<(audit::News, String)>,
    /// Up to which number it has the security events; 0 where it has taken none.
    pub events_through: u64,
}

impl Client {
    /// Says how the device is, and hears what the server holds back.
    pub async fn check_in(&mut self, said: Said) -> Result<Heard, ClientError> {
        const CALL: &str = "the check-in";
        let Said {
            product,
            hardware,
            running,
            installs,
            catalog,
            approvals,
            phase,
            reason,
            approval,
            progress,
            seen_signature,
            witness,
            doubts,
            held,
            events,
        } = said;
        let request = v1::CheckInRequest {
            product,
            hardware_id: hardware,
            running_version: running.as_ref().map(|r| r.version.to_string()).unwrap_or_default(),
            running_release: running.as_ref().map_or(0, |r| r.release.0),
            running_manifest_sha256: running.map(|r| r.manifest.as_bytes().to_vec().into()).unwrap_or_default(),
            catalog: catalog.as_ref().map(Into::into),
            approvals: approvals.as_ref().map(Into::into),
            phase: v1::Phase::from(phase).into(),
            reason: reason.as_ref().map(Into::into),
            approval_id: approval.map(String::from).unwrap_or_default(),
            fetched_bytes: progress.present_bytes,
            total_bytes: progress.total_bytes,
            transfer: (progress.total_bytes > 0).then(|| (&progress).into()),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            held: held.as_ref().map(Into::into),
            installs: installs.map(|Installs { by, data, keeps }| v1::Installs {
                by: by.to_string(),
                data_format: data,
                keeps_data: keeps,
            }),
            seen_signature: seen_signature.map(|s| s.0.to_vec().into()).unwrap_or_default(),
            audit: witness.as_ref().map(|witness| v1::AuditSeen { show: doubts, ..witness.into() }),
            events: events.map(|SignedBatch { payload, signature }| v1::SignedEvents {
                payload: payload.into(),
                signature: signature.0.to_vec().into(),
            }),
        };
        let v1::CheckInResponse {
            confirmed,
            server_time_ms,
            next_check_in_ms,
            words,
            reports_stored_through,
            news,
            audit,
            events_stored_through,
        } = self.traffic.hears(timely(CALL, self.inner.check_in(self.traffic.asks(request))).await?);
        // An approval id that cannot be read cannot be one that this device knows.
        let words = words.into_iter().filter_map(|word| {
            let v1::ServerWord { approval_id, go, reason } = word;
            let why = || parse_reason(reason.as_ref()).unwrap_or_else(|| Reason::new(Code::WaveClosed, "not yet"));
            Some((approval_id.parse().ok()?, (!go).then(why)))
        });
        Ok(Heard {
            confirmed,
            server_ms: server_time_ms,
            next: Duration::from_millis(next_check_in_ms.into()),
            words: words.collect(),
            stored_through: reports_stored_through,
            news: news.map(Into::into),
            // What cannot be read proves nothing, and is shown as a checkpoint that no key has signed.
            audit: audit.map(|news| {
                let key = news.key.clone();
                let nothing =
                    audit::News { checkpoint: String::new(), consistency: Vec::new(), succession: Vec::new() };
                (audit::News::try_from(news).unwrap_or(nothing), key)
            }),
            events_through: events_stored_through,
        })
    }
}
