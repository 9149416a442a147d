//! Calls past the programs, as somebody would make them who has none of the programs' scruples.

use std::path::Path;

use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use suture_core::digest::Digest;
use suture_core::report::fingerprint;
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::token::Token;
use suture_proto::connect::{self, ConnectError, Identity, ProxyRules, Settings, Trust};
use suture_proto::v1;
use suture_proto::v1::device_service_client::DeviceServiceClient;
use suture_proto::v1::operator_service_client::OperatorServiceClient;
use tonic::Status;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::{Operator, World};

/// A key of one's own that nobody has certified yet.
pub struct Newcomer(KeyPair);

impl Default for Newcomer {
    fn default() -> Self {
        Self(KeyPair::generate().unwrap())
    }
}

/// The key that devices which enrol past their agents sign reports with.
pub fn report_key() -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([7; 32]))
}

impl Newcomer {
    /// What a person sees at the device.
    pub fn fingerprint(&self) -> Digest {
        fingerprint(&Digest::of(&self.0.subject_public_key_info()), &report_key().public())
    }

    /// A certificate request.
    pub fn csr(&self) -> Vec<u8> {
        CertificateParams::default().serialize_request(&self.0).unwrap().der().to_vec()
    }

    /// Who one is once the server has answered.
    pub fn certified(&self, chain: &[impl AsRef<[u8]>]) -> Identity {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.0.serialize_der()));
        connect::identity(chain.iter().map(|c| c.as_ref().to_vec()).collect(), key)
    }
}

/// What `Enroll` is asked with a token, for a pump of revision A.
pub fn enroll_request(token: &str, id: &str, newcomer: &Newcomer) -> v1::EnrollRequest {
    v1::EnrollRequest {
        secret: secret(token).into(),
        csr: newcomer.csr().into(),
        report_key: report_key().public().as_bytes().to_vec().into(),
        device_id: id.to_owned(),
        product: "pump".to_owned(),
        hardware_id: "rev-a".to_owned(),
    }
}

/// What `Join` is asked with a token.
pub fn join_request(token: &str, name: &str, newcomer: &Newcomer) -> v1::JoinRequest {
    v1::JoinRequest { secret: secret(token).into(), csr: newcomer.csr().into(), name: name.to_owned() }
}

fn secret(token: &str) -> Vec<u8> {
    Token::decode(token).unwrap().secret.as_bytes().to_vec()
}

impl Operator {
    /// This operator's certificate and key.
    pub fn identity(&self) -> Identity {
        suture_ctl::identity::load(&suture_ctl::home::Home::open(self.home()).unwrap()).unwrap()
    }
}

impl World {
    /// A connection as somebody, or as nobody.
    pub async fn connect(&self, identity: Option<Identity>) -> Result<Channel, ConnectError> {
        self.connect_to(self.line.port(), identity).await
    }

    /// The same to a server behind another port than the line's.
    pub async fn connect_to(&self, port: u16, identity: Option<Identity>) -> Result<Channel, ConnectError> {
        connect::connect(&Settings {
            address: format!("https://localhost:{port}"),
            trust: Trust::Cas(vec![ca(self.data_dir())]),
            identity,
            proxy: ProxyRules::none(),
            clock: self.clock.clone(),
        })
        .await
    }

    /// The operators' calls, as somebody or as nobody; without the client's own bounds.
    pub async fn operator_calls(&self, identity: Option<Identity>) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(self.connect(identity).await.unwrap())
    }

    /// The devices' calls, as somebody or as nobody; without the client's own bounds.
    pub async fn device_calls(&self, identity: Option<Identity>) -> DeviceServiceClient<Channel> {
        DeviceServiceClient::new(self.connect(identity).await.unwrap())
    }

    /// Joins past `suturectl`.
    pub async fn join(&self, token: &str, name: &str) -> Result<Identity, Status> {
        let newcomer = Newcomer::default();
        let answer = self.operator_calls(None).await.join(join_request(token, name, &newcomer)).await?;
        Ok(newcomer.certified(&answer.into_inner().chain))
    }

    /// Enrols past `suture-agent`.
    pub async fn enroll(&self, token: &str, id: &str) -> Result<Identity, Status> {
        self.enroll_seen(token, id).await.map(|(identity, _)| identity)
    }

    /// The same, with the fingerprint that the device shows.
    pub async fn enroll_seen(&self, token: &str, id: &str) -> Result<(Identity, Digest), Status> {
        let newcomer = Newcomer::default();
        let answer = self.device_calls(None).await.enroll(enroll_request(token, id, &newcomer)).await?;
        Ok((newcomer.certified(&answer.into_inner().chain), newcomer.fingerprint()))
    }
}

fn ca(data_dir: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(data_dir.join("ca.pem")).unwrap()
}
