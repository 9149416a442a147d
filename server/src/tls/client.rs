//! TLS as a client: to whoever a hospital has named, by the authorities that the machine or the configuration trusts.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use suture_core::clock::Clock;
use tokio_rustls::TlsConnector;

use super::{Time, TlsError};

/// Connects by TLS 1.3 to servers that one of the authorities in a PEM file has certified, to speak `protocol` (ALPN) with them
/// where one is named. Certificates in the file that cannot be read are passed over: a machine's holds those of the whole world.
pub(crate) fn connector(
    authorities: &[u8],
    protocol: Option<&[u8]>,
    clock: Arc<dyn Clock>,
) -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(authorities).filter_map(Result::ok));
    if roots.is_empty() {
        return Err(TlsError::Setup("the file of authorities holds no certificate".into()));
    }
    let setup = |e: rustls::Error| TlsError::Setup(e.into());
    let mut config = ClientConfig::builder_with_details(Arc::new(aws_lc_rs::default_provider()), Arc::new(Time(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocol.map(<[u8]>::to_vec).into_iter().collect();
    Ok(TlsConnector::from(Arc::new(config)))
}
