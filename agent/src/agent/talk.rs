//! What the agent says to the server and hears from it. None of it is authority.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use suture_core::clock::{Clock as _, whole_second};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::progress::Progress;
use suture_core::report::{Sighting, Signed};
use suture_core::sign::Signature;
use tokio::time::Instant;

use super::{Agent, AgentError, REVERT_INTERVAL, chain};
use crate::client::{ClientError, Heard, Said};
use crate::durable::DurableError;
use crate::hold::Hold;
use crate::install::InstallError;
use crate::machine::Told;
use crate::report::Scribe;
use crate::status::Live;

/// How long the server's answer is waited for with the device out of service.
const LAST_WORD: Duration = Duration::from_secs(10);

impl Agent {
    /// Puts into the outbox what the last transition tells. Once for each, however often it is asked.
    pub(super) fn tell(&mut self) -> Result<(), AgentError> {
        let now = self.now();
        self.write_history();
        let Some(running) = self.running() else {
            if !self.journal.told().1.is_empty() {
                // A report says what runs: it is written once that is known, with whatever is told meanwhile.
                match &self.running {
                    Err(reason) => tracing::warn!(%reason, "what is to be told waits until it is known what runs"),
                    Ok(_) => tracing::warn!("no report: this device was never provisioned with a version"),
                }
                self.journal.owes(true);
            }
            return Ok(());
        };
        let (transition, told) = self.journal.told();
        for (place, told) in (0_u32..).zip(told) {
            let scribe = Scribe { identity: &self.identity, settings: &self.settings, seen: &self.seen, now };
            let is_outcome = told.phase.is_outcome();
            let sign = |number| scribe.sign::<AgentError>(number, told.clone(), running.clone());
            self.outbox.put(transition, place, is_outcome, sign)?;
        }
        self.journal.owes(false);
        Ok(())
    }

    /// Hands over all reports that wait, as far as the server takes them.
    pub(super) async fn submit(&mut self) -> Result<(), AgentError> {
        while !self.outbox.is_empty() && self.heard.as_ref().is_some_and(|h| h.confirmed) {
            let now = self.now();
            let scribe = Scribe { identity: &self.identity, settings: &self.settings, seen: &self.seen, now };
            let reports = self.outbox.oldest(|number| -> Result<Signed, AgentError> {
                let reason = Reason::new(Code::StateDamaged, "the report of this number was damaged on disk");
                let told =
                    Told { subject: None, phase: Phase::Idle, reason: Some(reason), stop: None, permanent: false };
                let running = self.running.clone().ok().flatten().ok_or(InstallError::Unknown)?;
                scribe.sign(number, told, running)
            })?;
            if reports.is_empty() {
                // Of the oldest the disk has to say once more that it does not give it.
                break;
            }
            let before = self.outbox.len();
            match self.client.submit(&reports).await {
                Ok(through) => self.outbox.stored_through(through)?,
                Err(e) => {
                    self.unheard(&e);
                    break;
                }
            }
            self.put_off = self.outbox.len() == before;
            if self.put_off {
                tracing::warn!("the server took none of the reports; they are sent again later");
                break;
            }
        }
        Ok(())
    }

    /// Renews the certificate where its time has come. A failure is tried again with the next cycle: 30 % of a life is long.
    ///
    /// Accident: a disk that takes nothing for weeks. The device is to say so all that time, so a new certificate is used before
    /// it can be written down, and written down once it can be.
    pub(super) async fn renew(&mut self) {
        if self.identity.is_due(self.tls_clock.now()) {
            self.certify_anew().await;
        } else if !self.identity.is_kept() {
            match self.identity.keep() {
                Ok(()) => tracing::info!("the certificate in use is written down now"),
                Err(e) => tracing::warn!(error = %chain(&e), "the certificate in use cannot be written down yet"),
            }
        }
    }

    /// Whether there is a new certificate.
    async fn certify_anew(&mut self) -> bool {
        let renewed = match self.identity.renew(&mut self.client, self.tls_clock.now()).await {
            Ok(()) => {
                if let Err(e) = self.identity.keep() {
                    tracing::warn!(error = %chain(&e), "the new certificate is used, and is written down once it can be");
                }
                self.connect()
            }
            Err(e) => Err(e.into()),
        };
        match renewed {
            Ok(()) => tracing::info!(until = %self.identity.expires(), "the certificate was renewed"),
            Err(e) => {
                tracing::warn!(error = %chain(&e), "the certificate could not be renewed and is tried again");
                return false;
            }
        }
        true
    }

    /// Recovery: the server does not know the latest certificate, but perhaps an earlier one, which it then renews. Whether
    /// there is a new certificate.
    async fn certify_by_an_earlier_one(&mut self) -> bool {
        if self.reverted.is_some_and(|at| at.elapsed() < REVERT_INTERVAL) {
            return false;
        }
        self.reverted = Some(Instant::now());
        let chains = self.identity.chains();
        for earlier in chains.iter().skip(1) {
            self.identity.show(earlier.clone());
            if self.connect().is_ok() && self.certify_anew().await {
                tracing::warn!("the server did not know the latest certificate; an earlier one was renewed");
                return true;
            }
        }
        if let Some(latest) = chains.into_iter().next() {
            self.identity.show(latest);
        }
        if let Err(e) = self.connect() {
            tracing::error!(error = %chain(&e), "the server cannot be connected to");
        }
        false
    }

    /// Checks in. Not being heard is no failure: the device goes by what it has.
    pub(super) async fn check_in(&mut self) {
        self.begin_round();
        self.outbox.begin_round();
        // What an earlier answer brought is out of date by now.
        self.tidings = None;
        let said = Said { held: Some(self.holdings()), events: self.sightings.batch(&self.identity), ..self.said() };
        let mut refused = false;
        loop {
            match self.client.check_in(said.clone()).await {
                Ok(heard) => return self.hears(heard),
                // The device's clock may be behind, and the certificate over, without its knowing.
                Err(e @ ClientError::Refused { .. }) if !refused => {
                    refused = true;
                    self.unheard(&e);
                    if !self.certify_anew().await {
                        return;
                    }
                }
                Err(e @ ClientError::Stranger { .. }) if !refused => {
                    refused = true;
                    self.unheard(&e);
                    if !self.certify_by_an_earlier_one().await {
                        return;
                    }
                }
                Err(e) => {
                    self.unheard(&e);
                    if !e.is_of_the_way() || !self.next_way() {
                        return;
                    }
                }
            }
        }
    }

    /// The last look before the switch: a stop, or a word to wait, that came while the version was hashed, the device claimed and its
    /// data copied. The device is out of service by now, so whoever does not answer soon is not waited for.
    pub(super) async fn hear_once_more(&mut self) {
        let said = Said { held: Some(self.holdings()), ..self.said() };
        match tokio::time::timeout(LAST_WORD, self.client.check_in(said)).await {
            Ok(Ok(heard)) => self.hears(heard),
            Ok(Err(e)) => self.unheard(&e),
            Err(_) => tracing::warn!("the server does not answer; it goes on by what was heard before"),
        }
    }

    fn hears(&mut self, mut heard: Heard) {
        self.tidings = heard.news.take();
        self.shown = heard.audit.take();
        self.heard_stops = self.tidings.as_ref().map(|t| t.stops.clone()).unwrap_or_default();
        self.heed_heard(None);
        if let Err(e) = self.outbox.stored_through(heard.stored_through) {
            self.found(&e.into());
        }
        self.sightings.stored_through(heard.events_through);
        self.way_worked();
        (self.heard, self.unheard, self.is_stranger) = (Some(heard), None, false);
    }

    fn unheard(&mut self, error: &ClientError) {
        let text = chain(error);
        if self.unheard.as_ref() != Some(&text) {
            tracing::warn!(error = text, "the server cannot be asked");
        }
        (self.heard, self.unheard) = (None, Some(text));
        self.is_stranger = matches!(error, ClientError::Stranger { .. });
    }

    /// How the device is, for a check-in.
    pub(super) fn said(&self) -> Said {
        let state = self.journal.state();
        let held = Hold::standing(&self.settings.state_dir).filter(|_| !state.is_committed());
        let trouble = || state.trouble_at(self.now()).map(|(reason, _)| reason.clone());
        Said {
            product: self.settings.product.to_string(),
            hardware: self.settings.hardware.to_string(),
            running: self.running(),
            installs: self.installs,
            catalog: self.seen.0.clone(),
            approvals: self.seen.1.clone(),
            phase: state.phase(),
            reason: self.unwritten.reason().or(held).or_else(|| self.client.in_line()).or_else(trouble),
            approval: state.attempt().map(|a| a.approval.clone()),
            progress: self.progress(),
            seen_signature: self.sign_sighting(),
            witness: self.record.witness(),
            doubts: self.record.doubts(),
            held: None,
            events: None,
        }
    }

    /// Signs what was seen, where anything was. A key that cannot sign is told by the reports.
    fn sign_sighting(&self) -> Option<Signature> {
        let (catalog, approvals) = self.seen.clone();
        catalog.as_ref().or(approvals.as_ref())?;
        let device = self.identity.device();
        let sighting = Sighting::new(device.hdo.clone(), device.device.clone(), catalog, approvals);
        let sighting = sighting.with_audit(self.record.head());
        let signature = sighting.sign(self.identity.report_key());
        signature.inspect_err(|e| tracing::error!(error = %chain(e), "what was seen cannot be signed")).ok()
    }

    /// Of the bundle that is attempted; all zeros where none is.
    fn progress(&self) -> Progress {
        if self.journal.state().attempt().is_none() {
            return Progress::default();
        }
        Progress { in_line: self.client.in_line().is_some(), ..self.counters.progress() }
    }

    /// Leaves for `status` what is in no other file. Not needed to go on; but whoever cannot write it can write nothing else.
    pub(super) fn write_live(&self) -> Result<(), DurableError> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let live = Live {
            at: whole_second(self.now()),
            confirmed: self.heard.as_ref().map(|h| h.confirmed),
            server_trouble: self.unheard.clone(),
            fetched_bytes: self.progress().present_bytes,
            total_bytes: self.progress().total_bytes,
            in_line: self.client.in_line(),
            progress: self.progress(),
            delta_refused: self.counters.refused(),
            chunks_from_server: count(&self.counters.fetched_chunks),
            bytes_from_server: count(&self.counters.fetched_bytes).saturating_add(count(&self.counters.delta_bytes)),
            chunks_from_slots: count(&self.counters.seeded_chunks),
            waiting_reports: self.outbox.len() as u64,
        };
        live.write(&self.settings.state_dir)
    }
}
