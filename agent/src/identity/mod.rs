//! Who the device is: its keys, made here and never leaving it, and the certificate over one of them.
//!
//! `identity/` in the state directory holds `tls.pem` (key and chain, one file, so that they always fit together), `ca.pem`,
//! `report.pem` (a separate Ed25519 key, so that a terminator of TLS cannot forge reports) and, written last, `device.json`;
//! later `ways.json`, where the hospital has signed other ways to the server, and `earlier.pem`, what was renewed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use suture_core::approval::{Service, SignedDocument as _};
use suture_core::clock::{Clock, format_utc};
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, HdoId, TrustDomain};
use suture_core::principal::Principal;
use suture_core::report;
use suture_core::sign::{LocalKey, SignError, Signer};
use suture_core::token::{Grant, Token, TokenError};
use suture_proto::connect::{self, ProxyRules, Trust};
use zeroize::Zeroizing;

use crate::client::{Client, ClientError, Enrolment};
use crate::config::Settings;
use crate::durable::{self, DurableError};
use crate::earlier::Earlier;
use crate::ways::{Way, Ways};

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
    #[error("this device has not enrolled; run `suture-agent enroll --token ...`")]
    NotEnrolled,
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
        let device: Device = durable::read_json(&dir.join("device.json"))?.ok_or(IdentityError::NotEnrolled)?;
        let file = |name: &str| -> Result<(PathBuf, Zeroizing<Vec<u8>>), IdentityError> {
            let path = dir.join(name);
            match durable::read(&path, durable::MAX_STATE_BYTES)? {
                Some(bytes) => Ok((path, Zeroizing::new(bytes))),
                None => Err(IdentityError::Damaged(path)),
            }
        };
        let (tls_path, tls) = file("tls.pem")?;
        let (ca_path, ca) = file("ca.pem")?;
        let (report_path, report) = file("report.pem")?;
        let damaged = |path: &Path| IdentityError::Damaged(path.to_owned());
        let tls_text = std::str::from_utf8(&tls).map_err(|_| damaged(&tls_path))?;
        let report_text = std::str::from_utf8(&report).map_err(|_| damaged(&report_path))?;
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(&tls).collect::<Result<_, _>>().map_err(|_| damaged(&tls_path))?;
        let life = chain.first().and_then(|c| life(c)).ok_or_else(|| damaged(&tls_path))?;
        Ok(Self {
            device,
            key: KeyPair::from_pem(tls_text).map_err(|_| damaged(&tls_path))?,
            ca: CertificateDer::from_pem_slice(&ca).map_err(|_| damaged(&ca_path))?,
            report: LocalKey::from_pem(report_text, None).map_err(|_| damaged(&report_path))?,
            earlier: Earlier::open(&dir),
            dir,
            chain,
            life,
        })
    }

    /// Spends a token: makes the keys here, has the TLS key certified, and keeps all of it. Until a person of the hospital
    /// has compared [`Identity::fingerprint`] the device stays pending.
    pub async fn enroll(
        settings: &Settings,
        token: &str,
        id: Option<DeviceId>,
        (clock, proxy, seed): (Arc<dyn Clock>, ProxyRules, Seed),
    ) -> Result<Self, IdentityError> {
        let dir = settings.state_dir.join("identity");
        if let Some(device) = durable::read_json::<Device>(&dir.join("device.json"))? {
            return Err(IdentityError::Enrolled { device: device.device, dir });
        }
        let token = Token::decode(token)?;
        let device = device_of(&token, id, clock.now())?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let report = LocalKey::from_seed(&seed);
        let trust = Trust::CaSha256(token.ca_sha256);
        let connection = connect::Settings { address: token.server.clone(), trust, identity: None, proxy, clock };
        let chain = Client::new(&connection)?
            .enroll(Enrolment {
                secret: token.secret.as_bytes(),
                csr: &csr(&key)?,
                report_key: report.public().as_bytes(),
                device: device.device.as_str(),
                product: settings.product.as_str(),
                hardware: settings.hardware.as_str(),
            })
            .await?;
        let chain = accept(chain, &device, &key)?;
        let ca = chain.last().filter(|ca| Digest::of(ca) == token.ca_sha256);
        let ca = ca.ok_or(IdentityError::Chain("it does not end in the CA that the token names"))?.clone();
        durable::make_dir(&dir)?;
        durable::write(&dir.join("report.pem"), report.to_pem(None)?.as_bytes(), durable::SECRET)?;
        durable::write(&dir.join("ca.pem"), pem(&[&ca]).as_bytes(), durable::OPEN)?;
        write_tls(&dir, &key, &chain)?;
        // Last: without it the device counts as not enrolled.
        durable::write_json(&dir.join("device.json"), &device, durable::OPEN)?;
        Self::open(&settings.state_dir)
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

    /// Has the same key certified anew. A certificate that is over at `now` is refused: the one that is there is better.
    pub async fn renew(&mut self, client: &mut Client, now: Timestamp) -> Result<(), IdentityError> {
        let chain = client.renew(&csr(&self.key)?).await?;
        let chain = accept(chain, &self.device, &self.key)?;
        let life = chain.first().and_then(|c| life(c)).ok_or(IdentityError::Chain("it cannot be read"))?;
        if life.1 <= now {
            return Err(IdentityError::Chain("it has expired, or this device's clock is ahead"));
        }
        if let Some(replaced) = self.chain.first() {
            self.earlier.keep(replaced, now)?;
        }
        write_tls(&self.dir, &self.key, &chain)?;
        (self.chain, self.life) = (chain, life);
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

fn device_of(token: &Token, id: Option<DeviceId>, now: Timestamp) -> Result<Device, IdentityError> {
    let wrong = |text: &str| IdentityError::WrongToken(text.to_owned());
    let Grant::Device(hdo, bound) = &token.grant else {
        return Err(wrong("this token is not for a device; ask the hospital for one from `suturectl device token`"));
    };
    if token.expires <= now {
        return Err(IdentityError::WrongToken(format!(
            "the token expired at {}; ask for a new one (or set the clock, if it is wrong)",
            format_utc(token.expires)
        )));
    }
    let device = match (bound, id) {
        (Some(bound), Some(id)) if *bound != id => {
            return Err(IdentityError::WrongToken(format!("the token is for device {bound}, not for {id}")));
        }
        (Some(bound), _) => bound.clone(),
        (None, Some(id)) => id,
        (None, None) => return Err(wrong("the token is for any device of the hospital: say which with --id")),
    };
    let (Some(catalog_root_sha256), Some(approvals_root_sha256)) =
        (token.catalog_root_sha256, token.approvals_root_sha256)
    else {
        return Err(wrong("the token does not name both roots of trust; ask for one made after both sides have them"));
    };
    Ok(Device {
        server: token.server.clone(),
        trust_domain: token.trust_domain.clone(),
        hdo: hdo.clone(),
        device,
        catalog_root_sha256,
        approvals_root_sha256,
    })
}

fn csr(key: &KeyPair) -> Result<Vec<u8>, IdentityError> {
    Ok(CertificateParams::default().serialize_request(key)?.der().to_vec())
}

/// The chain, if it certifies this key as this device.
fn accept(chain: Vec<Vec<u8>>, device: &Device, key: &KeyPair) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let first = chain.first().ok_or(IdentityError::Chain("it is empty"))?;
    let (_, parsed) =
        x509_parser::parse_x509_certificate(first).map_err(|_| IdentityError::Chain("it cannot be read"))?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(IdentityError::Chain("it is over another key"));
    }
    let uri = Principal::Device(device.hdo.clone(), device.device.clone()).uri(&device.trust_domain);
    let names = parsed.subject_alternative_name().ok().flatten();
    let named = names.is_some_and(|n| {
        n.value.general_names.iter().any(|g| matches!(g, x509_parser::extensions::GeneralName::URI(u) if *u == uri))
    });
    if named {
        Ok(chain.into_iter().map(CertificateDer::from).collect())
    } else {
        Err(IdentityError::Chain("it names another identity"))
    }
}

pub(crate) fn life(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let at = |t: x509_parser::time::ASN1Time| Timestamp::from_second(t.timestamp()).ok();
    Some((at(parsed.validity().not_before)?, at(parsed.validity().not_after)?))
}

fn write_tls(dir: &Path, key: &KeyPair, chain: &[CertificateDer<'_>]) -> Result<(), DurableError> {
    let mut text = Zeroizing::new(key.serialize_pem());
    text.push_str(&pem(&chain.iter().collect::<Vec<_>>()));
    durable::write(&dir.join("tls.pem"), text.as_bytes(), durable::SECRET)
}

pub(crate) fn pem(certificates: &[&CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let body = base64::engine::general_purpose::STANDARD.encode(certificate);
        for line in body.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::token::Secret;

    fn token() -> Token {
        Token {
            server: "https://localhost:7443".into(),
            ca_sha256: Digest::of(b"ca"),
            trust_domain: "acme.example".parse().unwrap(),
            grant: Grant::Device("riverside".parse().unwrap(), Some("pump-1".parse().unwrap())),
            catalog_root_sha256: Some(Digest::of(b"c")),
            approvals_root_sha256: Some(Digest::of(b"a")),
            catalog_edition: None,
            approvals_edition: None,
            expires: "2026-11-25T12:00:00Z".parse().unwrap(),
            secret: Secret::new([1; 32]),
        }
    }

    #[test]
    fn a_token_enrols_the_device_that_it_names_and_in_time() {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        assert_eq!(device_of(&token(), None, now).unwrap().device.as_str(), "pump-1");
        assert!(device_of(&token(), Some("pump-2".parse().unwrap()), now).is_err());
        assert!(device_of(&token(), None, token().expires).is_err());
        assert!(device_of(&Token { approvals_root_sha256: None, ..token() }, None, now).is_err());
        assert!(device_of(&Token { grant: Grant::Hdo("h".parse().unwrap()), ..token() }, None, now).is_err());
        let any = Token { grant: Grant::Device("riverside".parse().unwrap(), None), ..token() };
        assert!(device_of(&any, None, now).is_err());
        assert!(device_of(&any, Some("pump-2".parse().unwrap()), now).is_ok());
    }

    #[test]
    fn a_chain_over_another_key_or_name_is_refused() {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        let device = device_of(&token(), None, now).unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = |uri: &str| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
            params.self_signed(&key).unwrap().der().to_vec()
        };
        let good = certificate("spiffe://acme.example/hdo/riverside/device/pump-1");
        let chain = accept(vec![good.clone()], &device, &key).unwrap();
        let read = CertificateDer::from_pem_slice(pem(&[&chain[0]]).as_bytes()).unwrap();
        assert_eq!(read, chain[0]);
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        assert!(accept(vec![good], &device, &other).is_err());
        assert!(accept(vec![certificate("spiffe://acme.example/hdo/riverside/device/pump-2")], &device, &key).is_err());
        assert!(accept(vec![], &device, &key).is_err());
    }
}
