//! Who the device is: its keys, made here and never leaving it, and the certificate over one of them.
//!
//! `identity/` in the state directory holds `tls.pem` (key and chain, one file, so that they always fit together), `ca.pem`,
//! `report.pem` (a separate Ed25519 key, so that a terminator of TLS cannot forge reports) and, written last, `device.json`;
//! later `ways.json`, where the hospital has signed other ways to the server, and `earlier.pem`, what was renewed. All but
//! the last may lead to a person's walk where they are lost, so each lies there twice. While a device enrols `asked.pem` holds
//! its keys.

mod asked;
mod certificate;
mod enrolment;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use suture_core::approval::{Service, SignedDocument as _};
use suture_core::audit::LogKey;
use suture_core::clock::Clock;
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, HdoId, TrustDomain};
use suture_core::json;
use suture_core::report;
use suture_core::sign::{LocalKey, SignError, Signer};
use suture_core::token::TokenError;
use suture_proto::connect::{self, ProxyRules, Trust};
use zeroize::Zeroizing;

use crate::client::{Client, ClientError};
use crate::durable::{self, DurableError};
use crate::earlier::Earlier;
use crate::ways::{Way, Ways};

use certificate::{accept, csr, write_tls};
pub(crate) use certificate::{life, pem};

/// A certificate renews when that share of its life has passed, in percent.
const RENEW_PERCENT: i64 = 70;

/// What enrolment settled, once for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// `https://host:port`, until the hospital signs another; see [`Identity::ways`].
    pub server: String,
    /// The trust domain of all identities.
    pub trust_domain: TrustDomain,
    /// The hospital.
    pub hdo: HdoId,
    /// The device's id in it.
    pub device: DeviceId,
    /// SHA-256 of the root that the catalog is followed from.
    pub catalog_root_sha256: Digest,
    /// SHA-256 of the root that the approvals are followed from.
    pub approvals_root_sha256: Digest,
    /// The key by which the server's audit record is known, where the token names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_key: Option<LogKey>,
}

/// The device's identity, loaded.
pub struct Identity {
    dir: PathBuf,
    device: Device,
    key: KeyPair,
    chain: Vec<CertificateDer<'static>>,
    ca: CertificateDer<'static>,
    report: LocalKey,
    life: (Timestamp, Timestamp),
    earlier: Earlier,
    /// Whether the chain lies on the disk.
    kept: bool,
}

/// Why there is no identity that can be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file of it.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// A file of it makes no sense.
    #[error("{} is missing or damaged; enrol the device again with a new token", .0.display())]
    Damaged(PathBuf),
    /// The device has not enrolled.
    #[error("this device has not enrolled; run `suture-agent enroll --token-file -` and paste the token")]
    NotEnrolled,
    /// Enrolled, and not written down: the keys that were certified are kept (see [`Identity::enroll`]).
    #[error(
        "the server has certified this device, and that could not be kept here; mend the disk and run the same command \
             again: the token still works for this device"
    )]
    NotKept(#[source] DurableError),
    /// It has.
    #[error("this device is enrolled as {device} already; to enrol it anew, have it revoked and remove {}", dir.display())]
    Enrolled {
        /// As what.
        device: DeviceId,
        /// Where that is written.
        dir: PathBuf,
    },
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token cannot enrol this device.
    #[error("{0}")]
    WrongToken(String),
    /// The server.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server's answer.
    #[error("the server's certificate chain is refused: {0}")]
    Chain(&'static str),
    /// A key could not be made.
    #[error("cannot make the device's TLS key")]
    TlsKey(#[from] rcgen::Error),
    /// A key could not be made.
    #[error("cannot make the device's report key")]
    ReportKey(#[from] SignError),
}

/// Randomness for the report key, handed in by `main`.
pub type Seed = Zeroizing<[u8; 32]>;

impl Identity {
    /// Loads it.
    pub fn open(state_dir: &Path) -> Result<Self, IdentityError> {
        let dir = state_dir.join("identity");
        let device = device(&dir)?.ok_or(IdentityError::NotEnrolled)?;
        let (key, chain, life) = part(&dir.join("tls.pem"), tls)?;
        let ca = part(&dir.join("ca.pem"), authority)?;
        let report = part(&dir.join("report.pem"), report_key)?;
        Ok(Self { device, key, ca, report, earlier: Earlier::open(&dir), dir, chain, life, kept: true })
    }

    /// Writes anew what is damaged of a file that is kept twice, before the other goes too. For whoever holds the state
    /// directory; what cannot be written is mended at a later start.
    pub(crate) fn mend(&self) {
        let place = |name: &str| self.dir.join(name);
        let mended = [
            durable::mend_either(&place("device.json"), durable::OPEN, settled),
            durable::mend_either(&place("tls.pem"), durable::SECRET, tls),
            durable::mend_either(&place("ca.pem"), durable::OPEN, authority),
            durable::mend_either(&place("report.pem"), durable::SECRET, report_key),
        ];
        for error in mended.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "a damaged copy of the device's identity cannot be mended yet");
        }
    }

    /// What enrolment settled.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The key that reports are signed with.
    pub fn report_key(&self) -> &dyn Signer {
        &self.report
    }

    /// What a person compares before the device is confirmed.
    pub fn fingerprint(&self) -> Digest {
        report::fingerprint(&Digest::of(&self.key.subject_public_key_info()), &self.report.public())
    }

    /// When the certificate was issued, or a little before.
    pub fn issued(&self) -> Timestamp {
        self.life.0
    }

    /// The certificate's last second.
    pub fn expires(&self) -> Timestamp {
        self.life.1
    }

    /// Whether the certificate is to be renewed: 70 % of its life have passed.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let (from, to) = self.life;
        let life = to.duration_since(from).as_secs().max(0);
        let share = SignedDuration::from_secs(life.saturating_mul(RENEW_PERCENT) / 100);
        from.checked_add(share).is_ok_and(|due| due <= now)
    }

    /// Has the same key certified anew. A certificate that is over at `now` is refused: the one that is there is better. It is
    /// in memory alone until it is kept.
    pub async fn renew(&mut self, client: &mut Client, now: Timestamp) -> Result<(), IdentityError> {
        let chain = client.renew(&csr(&self.key)?).await?;
        let chain = accept(chain, &self.device, &self.key)?;
        let life = chain.first().and_then(|c| life(c)).ok_or(IdentityError::Chain("it cannot be read"))?;
        if life.1 <= now {
            return Err(IdentityError::Chain("it has expired, or this device's clock is ahead"));
        }
        if let Some(replaced) = self.chain.first() {
            self.earlier.keep(replaced, now);
        }
        (self.chain, self.life, self.kept) = (chain, life, false);
        Ok(())
    }

    /// Whether the latest certificate lies on the disk.
    pub(crate) const fn is_kept(&self) -> bool {
        self.kept
    }

    /// Writes down the latest certificate, where that was not done yet. Its key was read from the disk: what cannot be written
    /// is lost with the process, and the one before it is renewed again.
    pub(crate) fn keep(&mut self) -> Result<(), DurableError> {
        if !self.kept {
            self.earlier.write()?;
            write_tls(&self.dir, &self.key, &self.chain)?;
            self.kept = true;
        }
        Ok(())
    }

    /// Every chain that certifies this key, the latest first; see [`crate::earlier`].
    pub(crate) fn chains(&self) -> Vec<Vec<CertificateDer<'static>>> {
        let earlier = self.earlier.newest_first().map(|certificate| vec![certificate.clone()]);
        std::iter::once(self.chain.clone()).chain(earlier).collect()
    }

    /// Shows one of [`Identity::chains`] from the next connection on, until the next renewal or start.
    pub(crate) fn show(&mut self, chain: Vec<CertificateDer<'static>>) {
        self.chain = chain;
    }

    /// The ways to the server: as the hospital has signed them, or else as enrolment settled them.
    pub fn ways(&self) -> Result<Ways, DurableError> {
        let enrolled = Service {
            kind: Service::TYPE.to_owned(),
            format: 1,
            hdo: self.device.hdo.clone(),
            since: 0,
            addresses: vec![self.device.server.clone()],
            authorities: vec![Service::authority(&self.ca)],
        };
        Ways::open(&self.dir, enrolled)
    }

    /// How to connect as this device.
    pub fn connection(
        &self,
        way: Way,
        clock: Arc<dyn Clock>,
        proxy: ProxyRules,
    ) -> Result<connect::Settings, IdentityError> {
        let damaged = || IdentityError::Damaged(self.dir.join("tls.pem"));
        let key = PrivateKeyDer::try_from(self.key.serialized_der().to_vec()).map_err(|_| damaged())?;
        Ok(connect::Settings {
            address: way.address,
            trust: Trust::Cas(way.authorities),
            identity: Some(connect::Identity { chain: self.chain.clone(), key: Arc::new(key) }),
            proxy,
            clock,
        })
    }
}

/// What enrolment settled, where the device has enrolled.
fn device(dir: &Path) -> Result<Option<Device>, IdentityError> {
    let path = dir.join("device.json");
    match durable::read_either(&path, settled) {
        Err(DurableError::Torn { path }) => Err(IdentityError::Damaged(path)),
        read => Ok(read?),
    }
}

/// A file of it, which must be there.
fn part<T>(path: &Path, whole: impl Fn(&[u8]) -> Option<T>) -> Result<T, IdentityError> {
    match durable::read_either(path, whole) {
        Ok(Some(part)) => Ok(part),
        Ok(None) | Err(DurableError::Torn { .. }) => Err(IdentityError::Damaged(path.to_owned())),
        Err(e) => Err(e.into()),
    }
}

fn settled(bytes: &[u8]) -> Option<Device> {
    json::from_slice(bytes).ok()
}

fn authority(bytes: &[u8]) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(bytes).ok()
}

fn report_key(bytes: &[u8]) -> Option<LocalKey> {
    LocalKey::from_plain_pem(std::str::from_utf8(bytes).ok()?).ok()
}

type Tls = (KeyPair, Vec<CertificateDer<'static>>, (Timestamp, Timestamp));

/// Key and chain, and the first certificate's life.
fn tls(bytes: &[u8]) -> Option<Tls> {
    let key = KeyPair::from_pem(std::str::from_utf8(bytes).ok()?).ok()?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>().ok()?;
    let life = life(chain.first()?)?;
    Some((key, chain, life))
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("device", &self.device).finish_non_exhaustive()
    }
}

/// A fingerprint as people compare it: groups of four digits.
pub fn grouped(fingerprint: &Digest) -> String {
    let digits: Vec<char> = fingerprint.to_string().chars().collect();
    digits.chunks(4).map(String::from_iter).collect::<Vec<_>>().join(" ")
}
