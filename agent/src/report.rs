//! Reports: what the machine tells, with what the device is, signed.

use jiff::Timestamp;
use suture_core::clock::whole_second;
use suture_core::report::{Report, ReportError, Running, Seen, Signed};

use crate::config::Settings;
use crate::fetch::sources;
use crate::history;
use crate::identity::Identity;
use crate::integrity;
use crate::machine::Told;
use crate::record;
use crate::took;

/// Writes and signs reports.
#[derive(Debug)]
pub struct Scribe<'a> {
    /// Whose they are.
    pub identity: &'a Identity,
    /// What the device is, and where it keeps what its bundle was made of.
    pub settings: &'a Settings,
    /// The catalog and the approvals that were verified last.
    pub seen: &'a (Option<Seen>, Option<Seen>),
    /// When they are written.
    pub now: Timestamp,
}

impl Scribe<'_> {
    /// The report of that number.
    pub fn sign<E: From<ReportError>>(&self, number: u64, told: Told, running: Running) -> Result<Signed, E> {
        let device = self.identity.device();
        let Told { subject, phase, reason, stop, permanent } = told;
        let (catalog, approvals) = self.seen.clone();
        let manifest = subject.as_ref().and_then(|s| s.manifest);
        let integrity = integrity::kept(&self.settings.state_dir, &running.manifest);
        let report = Report {
            kind: Report::TYPE.to_owned(),
            hdo: device.hdo.clone(),
            device: device.device.clone(),
            number,
            at: whole_second(self.now),
            product: self.settings.product.clone(),
            running,
            integrity,
            sources: manifest.and_then(|manifest| sources::kept(&self.settings.state_dir, &manifest)),
            took: took::Memory::kept(&self.settings.state_dir),
            manifest,
            approval: subject.map(|s| s.approval),
            phase,
            reason,
            stop,
            permanent,
            catalog,
            approvals,
            record: record::seen(&self.settings.state_dir),
            log: history::head(&self.settings.state_dir),
        };
        Ok(report.sign(self.identity.report_key())?)
    }
}
