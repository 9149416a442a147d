//! The ways to the server: what enrolment said, until the hospital signs something else.
//!
//! Attack: a server, or whoever took its place, that leads devices away. Only `service.json` of the verified approvals
//! changes where this device connects. Mistake: an address that nobody answers at, or an authority that certified nothing;
//! so the ways that worked last are kept beside the new ones until one of the new ones has worked. TLS is no authority over
//! what is installed, so keeping an old way for a while gives its holder nothing but what a cut line gives.
//!
//! Attack: a thief of the approvals' keys who signs a server of his own. He answers there, and keeps back the root that takes
//! the keys from him. But he has not the online keys, so what he shows runs out within a week; from then on the device looks
//! along all the ways that it has gone since its enrolment for one whose approvals have not expired.

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
    /// What worked before that, the oldest first. The first [`MAX_EARLIER`] stay: a thief signs his after them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Service>,
}

/// How many services of before are kept beside that of enrolment. A hospital's server moves a few times in a device's life.
const MAX_EARLIER: usize = 8;

/// All ways, and which one is taken now.
#[derive(Debug)]
pub struct Ways {
    path: PathBuf,
    record: Record,
    enrolled: Service,
    at: usize,
    /// How many are left in this round, the present one included.
    left: usize,
    /// Whether what the server shows has run out.
    is_stale: bool,
    /// Whether all ways since the enrolment are tried, one after another.
    is_wide: bool,
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
        let sound =
            |r: &Record| [Some(&r.current), r.proven.as_ref()].into_iter().flatten().chain(&r.earlier).all(is_sound);
        let fresh = || Record { current: enrolled.clone(), proven: None, earlier: Vec::new() };
        let record = match durable::read_either(&path, |bytes| json::from_slice::<Record>(bytes).ok().filter(sound)) {
            Ok(Some(record)) => record,
            Ok(None) => fresh(),
            Err(DurableError::Torn { .. }) => {
                tracing::warn!("the signed ways to the server cannot be read; those of enrolment are taken");
                fresh()
            }
            Err(e) => return Err(e),
        };
        let mut ways = Self { path, record, enrolled, at: 0, left: 0, is_stale: false, is_wide: false };
        ways.left = ways.all().len();
        Ok(ways)
    }

    /// The way to take now.
    pub fn way(&self) -> Option<Way> {
        self.all().into_iter().nth(self.at)
    }

    /// All of them, in the order in which they are tried.
    pub fn all(&self) -> Vec<Way> {
        let Record { current, proven, earlier } = &self.record;
        let before = earlier.iter().rev().chain([&self.enrolled]).filter(|_| self.is_wide);
        let mut ways: Vec<Way> = Vec::new();
        for way in [current].into_iter().chain(proven).chain(before).flat_map(of) {
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        ways
    }

    /// Goes over to the next way. Says whether it was not tried yet since the round began.
    pub fn turn(&mut self) -> bool {
        self.at = (self.at + 1) % self.all().len().max(1);
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    /// Hears whether the approvals that the server shows, or that are kept, have expired.
    pub fn stale(&mut self, is_stale: bool) {
        self.is_stale = is_stale;
    }

    /// Begins a round. With the first way again, unless the present one is of those that count; but where what the last one
    /// led to had expired, with the one after it. Says whether the way is another now.
    pub fn begin(&mut self) -> bool {
        let before = self.way();
        self.is_wide = self.is_stale;
        if self.is_wide {
            self.turn();
        } else if self.at >= self.record.current.addresses.len() {
            self.at = 0;
        }
        self.left = self.all().len();
        self.way() != before
    }

    /// The present way led to the server.
    pub fn worked(&mut self) -> Result<(), DurableError> {
        if self.at >= self.record.current.addresses.len() {
            return Ok(());
        }
        let Record { current, proven: Some(proven), mut earlier } = self.record.clone() else { return Ok(()) };
        if earlier.len() < MAX_EARLIER && proven != self.enrolled && !earlier.contains(&proven) {
            earlier.push(proven);
        }
        self.keep(Record { current, proven: None, earlier })
    }

    /// Takes what the hospital signed. The document must come from its verified approvals. Says whether it is news.
    pub fn heed(&mut self, signed: Service) -> Result<bool, DurableError> {
        if self.record.current == signed {
            return Ok(false);
        }
        let Record { current, proven, earlier } = self.record.clone();
        self.keep(Record { current: signed, proven: proven.or(Some(current)), earlier })?;
        (self.at, self.is_wide) = (0, false);
        self.left = self.all().len();
        Ok(true)
    }

    fn keep(&mut self, record: Record) -> Result<(), DurableError> {
        let damaged = |source| DurableError::Damaged { path: self.path.clone(), source };
        durable::write_twice(&self.path, &json::to_canonical(&record).map_err(damaged)?, durable::OPEN)?;
        self.record = record;
        Ok(())
    }
}

fn is_sound(service: &Service) -> bool {
    service.check().is_ok()
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
        ways.all().iter().map(|w| w.address.trim_start_matches("https://").to_owned()).collect()
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
        assert!(ways.begin());
        assert!(!ways.begin());
        ways.worked().unwrap();
        assert_eq!(addresses(&ways), ["worse"]);
        assert_eq!(addresses(&open()), ["worse"]);
    }

    fn present(ways: &Ways) -> String {
        ways.way().unwrap().address.trim_start_matches("https://").to_owned()
    }

    #[test]
    fn a_server_whose_approvals_run_out_is_left_for_those_of_before() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Ways::open(dir.path(), service(0, &["enrolled"])).unwrap();
        let mut ways = open();
        for (since, address) in [(5, "moved"), (6, "thief"), (7, "thief-2")] {
            ways.heed(service(since, &[address])).unwrap();
            ways.begin();
            ways.worked().unwrap();
        }
        assert_eq!(addresses(&ways), ["thief-2"], "while it shows what has not expired");
        let mut ways = open();
        ways.stale(true);
        let round: Vec<_> = (0..5).map(|_| (ways.begin(), present(&ways)).1).collect();
        assert_eq!(round, ["thief", "moved", "enrolled", "thief-2", "thief"]);
        assert!(ways.begin());
        // The hospital's own server shows what is new: the way back to the signed one is taken once, and what it signs counts.
        ways.worked().unwrap();
        ways.stale(false);
        assert_eq!(present(&ways), "moved");
        ways.heed(service(9, &["moved"])).unwrap();
        assert!(!ways.begin());
        ways.worked().unwrap();
        assert_eq!(addresses(&open()), ["moved"]);
    }

    #[test]
    fn each_round_goes_along_all_ways_until_one_answers() {
        let dir = tempfile::tempdir().unwrap();
        let mut ways = Ways::open(dir.path(), service(0, &["gone"])).unwrap();
        ways.heed(service(5, &["right"])).unwrap();
        ways.worked().unwrap();
        // The hospital has let its own approvals expire: an older way that nobody answers at keeps nobody from the right one.
        ways.stale(true);
        for _ in 0..3 {
            ways.begin();
            assert_eq!(present(&ways), "gone");
            assert!(ways.turn());
            assert_eq!(present(&ways), "right");
        }
        ways.begin();
        assert!(ways.turn());
        assert!(!ways.turn(), "neither answers");
    }

    #[test]
    fn whoever_signs_many_services_pushes_out_none_of_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut ways = Ways::open(dir.path(), service(0, &["enrolled"])).unwrap();
        for since in 1..40 {
            let address = if since == 1 { "moved".to_owned() } else { format!("thief-{since}") };
            ways.heed(service(since, &[&address])).unwrap();
            ways.begin();
            ways.worked().unwrap();
        }
        let mut ways = Ways::open(dir.path(), service(0, &["enrolled"])).unwrap();
        ways.stale(true);
        ways.begin();
        let all = addresses(&ways);
        assert_eq!(all.len(), MAX_EARLIER + 2);
        assert_eq!(
            (all[0].as_str(), &all[all.len() - 2..]),
            ("thief-39", &["moved".to_owned(), "enrolled".to_owned()][..])
        );
    }

    #[test]
    fn a_device_that_knows_one_way_stays_on_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut ways = Ways::open(dir.path(), service(0, &["enrolled"])).unwrap();
        ways.stale(true);
        assert!(!ways.begin());
        assert_eq!(present(&ways), "enrolled");
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
