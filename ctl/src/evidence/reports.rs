//! What devices have signed of themselves: `reports.jsonl`, one report a line.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::utc;
use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::limits::MAX_REPORT_BYTES;
use suture_core::report::{Report, Signed};
use suture_core::sign::{PublicKey, Signature};
use suture_proto::v1;

use super::approval::Rosters;
use super::folder::Reading;
use crate::failure::{Failure, Outcome};

/// Where they are.
pub const PATH: &str = "reports.jsonl";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The device.
    pub device: DeviceId,
    /// The report's number.
    pub number: u64,
    /// The key that it came under, by the server's word.
    pub key: String,
    /// When the server took it, by its clock and its word.
    #[serde(with = "utc")]
    pub received: Timestamp,
    /// The signed bytes.
    pub payload: String,
    /// The device's signature over them.
    pub signature: String,
}

impl Line {
    /// What the server has kept.
    ///
    /// # Errors
    ///
    /// A field is none.
    pub fn of(kept: v1::KeptReport) -> Outcome<Self> {
        let v1::KeptReport { device, report_key, number, received_ms, report } = kept;
        let report = report.unwrap_or_default();
        let bad = |field: &str| Failure::untrusted(format!("the server's report {number} of {device} has no {field}"));
        Ok(Self {
            number,
            key: hex::encode(&report_key),
            received: Timestamp::from_millisecond(received_ms)
                .map(suture_core::clock::whole_second)
                .map_err(|_| bad("time"))?,
            payload: String::from_utf8(report.payload.to_vec()).map_err(|_| bad("text"))?,
            signature: hex::encode(&report.signature),
            device: device.parse().map_err(|_| bad("device"))?,
        })
    }
}

/// The file of these lines; each device's in order, none twice.
///
/// # Errors
///
/// They cannot be written.
pub fn to_bytes(mut lines: Vec<Line>) -> Outcome<Vec<u8>> {
    lines.sort();
    lines.dedup();
    let mut bytes = Vec::new();
    for line in &lines {
        let line =
            suture_core::json::to_canonical(line).map_err(|e| Failure::new("cannot write a report").because(&e))?;
        bytes.extend_from_slice(&line);
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// A report that its device has signed.
#[derive(Debug, Clone)]
pub struct Proven {
    /// What it says.
    pub report: Report,
    /// When the server took it, by its word.
    pub received: Timestamp,
}

/// Reports of all devices.
#[derive(Debug, Default)]
pub struct Reports {
    /// Those that are signed by a key of a signed roster, of each device ascending by number.
    pub proven: BTreeMap<DeviceId, Vec<Proven>>,
    /// How many are not, for no roster in the folder has the key that they came under: of a device that was enrolled anew.
    pub unproven: BTreeMap<DeviceId, u64>,
}

impl Reports {
    /// Verifies each.
    ///
    /// # Errors
    ///
    /// One cannot be read, or is not signed by the key that it came under.
    pub fn read(files: &Reading<'_>, hdo: &HdoId, rosters: &Rosters) -> Outcome<Self> {
        let mut reports = Self::default();
        let Some(bytes) = files.get(PATH) else { return Ok(reports) };
        let mut rest = bytes.as_slice();
        let mut before: Option<Line> = None;
        for number in 1_u64.. {
            let Some(at) = rest.iter().position(|b| *b == b'\n') else { break };
            let (text, behind) = rest.split_at(at);
            rest = behind.get(1..).unwrap_or_default();
            let refused = |why: &str| Failure::untrusted(format!("{PATH}, line {number}: {why}"));
            let line: Line =
                suture_core::json::from_slice(text).map_err(|e| refused("it cannot be read").because(&e))?;
            if before.as_ref().is_some_and(|before| *before >= line) {
                return Err(refused("it is out of order"));
            }
            reports.take(hdo, rosters, &line).map_err(|why| refused(&why))?;
            before = Some(line);
        }
        if rest.is_empty() {
            Ok(reports)
        } else {
            Err(Failure::untrusted(format!("{PATH}: its last line is cut short")))
        }
    }

    fn take(&mut self, hdo: &HdoId, rosters: &Rosters, line: &Line) -> Result<(), String> {
        let Some(key) = rosters.keys(&line.device).find(|key| key.to_string() == line.key) else {
            *self.unproven.entry(line.device.clone()).or_default() += 1;
            return Ok(());
        };
        let report = verified(line, key)?;
        if (&report.hdo, &report.device, report.number) != (hdo, &line.device, line.number) {
            return Err("it is another device's, or another report".to_owned());
        }
        self.proven.entry(line.device.clone()).or_default().push(Proven { report, received: line.received });
        Ok(())
    }

    /// A device's reports, ascending by number.
    pub fn of(&self, device: &DeviceId) -> impl DoubleEndedIterator<Item = &Proven> {
        self.proven.get(device).into_iter().flatten()
    }

    /// The same, of one approval.
    pub fn on<'a>(&'a self, device: &DeviceId, id: &'a ApprovalId) -> impl DoubleEndedIterator<Item = &'a Proven> {
        self.of(device).filter(move |p| p.report.approval.as_ref() == Some(id))
    }

    /// How many are proven.
    pub fn count(&self) -> usize {
        self.proven.values().map(Vec::len).sum()
    }

    /// How many are not.
    pub fn count_unproven(&self) -> u64 {
        self.unproven.values().sum()
    }
}

fn verified(line: &Line, key: &PublicKey) -> Result<Report, String> {
    let mut signature = [0; 64];
    hex::decode_to_slice(&line.signature, &mut signature).map_err(|_| "its signature is none".to_owned())?;
    if line.payload.len() > MAX_REPORT_BYTES {
        return Err("it is longer than a report can be".to_owned());
    }
    let signed = Signed { payload: line.payload.clone().into_bytes(), signature: Signature(signature) };
    signed.verify(key).map_err(|e| match std::error::Error::source(&e) {
        Some(source) => format!("{e}: {source}"),
        None => e.to_string(),
    })
}
