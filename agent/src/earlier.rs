//! The device's earlier certificates, for the case that the server does not know the latest.
//!
//! Accident: the server's database is restored from a copy, and knows nothing of what it has issued since. Attack: whoever
//! held the server has issued certificates that its owners' database never saw. Either would send a person to every device
//! that renewed meanwhile. An earlier certificate is over the same key, and an expired one may be renewed for two years; so
//! the device keeps one for every half month, and has the latest that the server knows renewed.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use suture_core::limits::{CERTIFICATE_SECS, RENEWAL_GRACE_SECS};

use crate::durable::{self, DurableError};
use crate::identity::{life, pem};

/// Between two that are kept: half of a life. So whoever holds the server for a while cannot push the others out.
const SPACING: SignedDuration = SignedDuration::from_secs(CERTIFICATE_SECS / 2);
/// Older ones could not be renewed any more.
#[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a small positive constant")]
const MOST: usize = (RENEWAL_GRACE_SECS / SPACING.as_secs() + 2) as usize;

/// Earlier certificates, oldest first.
#[derive(Debug)]
pub(crate) struct Earlier {
    path: PathBuf,
    kept: Vec<CertificateDer<'static>>,
    /// Whether the file lacks one of them.
    unwritten: bool,
}

impl Earlier {
    /// Those that an identity's directory holds. A file that cannot be read holds none.
    pub(crate) fn open(identity_dir: &Path) -> Self {
        let path = identity_dir.join("earlier.pem");
        let bytes = durable::read(&path, durable::MAX_STATE_BYTES).ok().flatten().unwrap_or_default();
        let kept = CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().unwrap_or_default();
        Self { path, kept, unwritten: false }
    }

    /// Newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.kept.iter().rev()
    }

    /// Keeps one that is about to be replaced, where it is far enough from the last one kept, and not from the future; until
    /// [`Earlier::write`] in memory alone.
    pub(crate) fn keep(&mut self, certificate: &CertificateDer<'static>, now: Timestamp) {
        let issued = |c: &CertificateDer<'_>| life(c).map(|(from, _)| from);
        let Some(from) = issued(certificate).filter(|from| *from <= now) else { return };
        let last = self.kept.last().and_then(issued);
        if last.and_then(|last| last.checked_add(SPACING).ok()).is_some_and(|next| from < next) {
            return;
        }
        self.kept.push(certificate.clone());
        let surplus = self.kept.len().saturating_sub(MOST);
        self.kept.drain(..surplus);
        self.unwritten = true;
    }

    /// Has the file hold what is kept.
    pub(crate) fn write(&mut self) -> Result<(), DurableError> {
        if self.unwritten {
            durable::write(&self.path, pem(&self.kept.iter().collect::<Vec<_>>()).as_bytes(), durable::OPEN)?;
            self.unwritten = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(day: u32) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1) + std::time::Duration::from_secs(u64::from(day) * 86_400);
        params.not_after = params.not_before + std::time::Duration::from_secs(30 * 86_400);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn at(day: i64) -> Timestamp {
        "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * day)
    }

    #[test]
    fn one_is_kept_for_every_half_month_and_none_from_the_future() {
        let dir = tempfile::tempdir().unwrap();
        let mut earlier = Earlier::open(dir.path());
        let days = [0, 1, 14, 15, 21, 29, 30].map(certificate);
        for certificate in &days {
            earlier.keep(certificate, at(40));
            earlier.write().unwrap();
        }
        earlier.keep(&certificate(60), at(40));
        let wanted: Vec<_> = [6, 3, 0].map(|i: usize| days[i].clone()).into();
        assert_eq!(Earlier::open(dir.path()).newest_first().cloned().collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn as_many_are_kept_as_may_be_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let mut earlier = Earlier::open(dir.path());
        for day in (0..2_000).step_by(15) {
            earlier.keep(&certificate(day), at(2_000));
        }
        earlier.write().unwrap();
        assert_eq!(earlier.kept.len(), MOST);
        assert!(Earlier::open(dir.path()).kept.len() == MOST);
    }
}
