//! The ways to the server: what enrolment said, until the hospital signs something else.
//!
//! Attack: a server, or whoever took its place, that leads devices away. Only `service.json` of the verified approvals
//! changes where this device connects. Mistake: an address that nobody answers at, or an authority that certified nothing;
//! so the ways that worked last are kept beside the new ones until one of the new ones has worked. TLS is no authority over
//! what is installed, so keeping an old way for a while gives its holder nothing but what a cut line gives.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use suture_core::approval::{Service, SignedDocument as _};
use suture_core::json;

use crate::durable::{self, DurableError};

/// One way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// `https://host:port`.
    pub address: String,
    /// By whom the server has to be certified: one of these.
    pub authorities: Vec<CertificateDer<'static>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// What counts.
    current: Service,
    /// What worked last, while nothing of `current` has.
    proven: Option<Service>,
}

/// All ways, and which one is taken now.
#[derive(Debug)]
pub struct Ways {
    path: PathBuf,
    record: Record,
    at: usize,
}

/// The ways that a document names, in the order in which they are tried.
pub fn of(service: &Service) -> impl Iterator<Item = Way> {
    let authorities: Vec<_> =
        service.certificates().unwrap_or_default().into_iter().map(CertificateDer::from).collect();
    let way = move |address: &String| Way { address: address.clone(), authorities: authorities.clone() };
    service.addresses.iter().map(way)
}

impl Ways {
    /// Reads what was kept; `enrolled` is what counts where nothing was, or where it cannot be read.
    pub fn open(identity_dir: &Path, enrolled: Service) -> Result<Self, DurableError> {
        let path = identity_dir.join("ways.json");
        let sound = |r: &Record| r.current.check().is_ok() && r.proven.iter().all(|p| p.check().is_ok());
        let record = match durable::read_either(&path, |bytes| json::from_slice::<Record>(bytes).ok().filter(sound)) {
            Ok(Some(record)) => record,
            Ok(None) => Record { current: enrolled, proven: None },
            Err(DurableError::Torn { .. }) => {
                tracing::warn!("the signed ways to the server cannot be read; those of enrolment are taken");
                Record { current: enrolled, proven: None }
            }
            Err(e) => return Err(e),
        };
        Ok(Self { path, record, at: 0 })
    }

    /// The way to take now.
    pub fn way(&self) -> Option<Way> {
        self.all().nth(self.at)
    }

    /// All of them, in the order in which they are tried.
    pub fn all(&self) -> impl Iterator<Item = Way> {
        let Record { current, proven } = &self.record;
        [Some(current), proven.as_ref()].into_iter().flatten().flat_map(of)
    }

    /// Goes over to the next way. Says whether there is one that was not tried since the last [`Ways::restart`].
    pub fn turn(&mut self) -> bool {
        self.at += 1;
        let more = self.at < self.all().count();
        if !more {
            self.at = 0;
        }
        more
    }

    /// Begins with the first again, unless the present one is of those that count. Says whether the way is another now.
    pub fn restart(&mut self) -> bool {
        let strays = self.at >= self.record.current.addresses.len();
        if strays {
            self.at = 0;
        }
        strays
    }

    /// The present way led to the server.
    pub fn worked(&mut self) -> Result<(), DurableError> {
        if self.record.proven.is_some() && self.at < self.record.current.addresses.len() {
            self.keep(Record { proven: None, ..self.record.clone() })?;
        }
        Ok(())
    }

    /// Takes what the hospital signed. The document must come from its verified approvals. Says whether it is news.
    pub fn heed(&mut self, signed: Service) -> Result<bool, DurableError> {
        if self.record.current == signed {
            return Ok(false);
        }
        let proven = self.record.proven.clone().unwrap_or_else(|| self.record.current.clone());
        self.keep(Record { current: signed, proven: Some(proven) })?;
        self.at = 0;
        Ok(true)
    }

    fn keep(&mut self, record: Record) -> Result<(), DurableError> {
        let damaged = |source| DurableError::Damaged { path: self.path.clone(), source };
        durable::write_twice(&self.path, &json::to_canonical(&record).map_err(damaged)?, durable::OPEN)?;
        self.record = record;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(since: u64, addresses: &[&str]) -> Service {
        Service {
            kind: Service::TYPE.to_owned(),
            format: 1,
            hdo: "riverside".parse().unwrap(),
            since,
            addresses: addresses.iter().map(|a| format!("https://{a}")).collect(),
            authorities: vec![Service::authority(format!("ca {since}").as_bytes())],
        }
    }

    fn addresses(ways: &Ways) -> Vec<String> {
        ways.all().map(|w| w.address.trim_start_matches("https://").to_owned()).collect()
    }

    #[test]
    fn the_way_that_worked_is_kept_until_a_new_one_has() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Ways::open(dir.path(), service(0, &["old"])).unwrap();
        let mut ways = open();
        assert_eq!(addresses(&ways), ["old"]);
        assert!(!ways.turn());
        assert!(ways.heed(service(5, &["wrong", "also"])).unwrap());
        assert!(!ways.heed(service(5, &["wrong", "also"])).unwrap());
        // A second mistake does not push out what worked.
        assert!(ways.heed(service(6, &["worse"])).unwrap());
        let mut ways = open();
        assert_eq!(addresses(&ways), ["worse", "old"]);
        assert!(ways.turn());
        ways.worked().unwrap();
        assert_eq!(ways.way().unwrap().authorities, [CertificateDer::from(b"ca 0".to_vec())]);
        assert!(ways.restart());
        assert!(!ways.restart());
        ways.worked().unwrap();
        assert_eq!(addresses(&ways), ["worse"]);
        assert_eq!(addresses(&open()), ["worse"]);
    }

    #[test]
    fn a_damaged_file_costs_the_signed_ways_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut ways = Ways::open(dir.path(), service(0, &["old"])).unwrap();
        ways.heed(service(5, &["new"])).unwrap();
        std::fs::write(dir.path().join("ways.json"), b"\0\0").unwrap();
        let ways = Ways::open(dir.path(), service(0, &["old"])).unwrap();
        assert_eq!(addresses(&ways), ["new", "old"], "there are two of it");
        std::fs::write(dir.path().join("ways.json.copy"), b"\0\0").unwrap();
        let ways = Ways::open(dir.path(), service(0, &["old"])).unwrap();
        assert_eq!(addresses(&ways), ["old"]);
    }
}
