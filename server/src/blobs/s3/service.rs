//! An S3 service in this process, of another's making: it reads S3's calls, verifies their signatures and digests, and keeps
//! objects in files.

use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rusty_s3::Credentials;
use suture_core::clock::Clock;
use suture_proto::connect::ProxyRules;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::place::{Endpoint, Keys};
use super::{S3Place, S3Way};

pub(crate) const BUCKET: &str = "suture-objects";
pub(crate) const SECRET: &str = "a-secret-that-is-shown-nowhere";

/// By the system's clock, as the service's own.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the service verifies by the system's clock, and takes no other")]
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// For an endpoint that is spoken to in the open.
pub(crate) fn way() -> S3Way {
    S3Way { authorities: "/nowhere".into(), proxy: ProxyRules::none() }
}

/// TLS for `localhost`, and the PEM of its certificate, which is its authority.
pub(crate) fn tls() -> (TlsAcceptor, String) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), certified.cert.pem())
}

/// A bucket at an endpoint, with that secret key and prefix.
pub(crate) fn place(url: &str, secret: &str, prefix: &str) -> S3Place {
    let endpoint = Endpoint::parse(url).unwrap();
    let names = ("eu-central-1".to_owned(), BUCKET.to_owned());
    S3Place::new(&endpoint, names, true, prefix.to_owned(), Keys::Given(Credentials::new("AKIA", secret))).unwrap()
}

/// Serves a directory's buckets, of which there is one, until the test ends. Gives the endpoint.
pub(crate) async fn serve(root: &Path) -> String {
    format!("http://127.0.0.1:{}", listen(root, None).await)
}

/// The same by TLS.
pub(crate) async fn serve_by(root: &Path, tls: TlsAcceptor) -> String {
    format!("https://localhost:{}", listen(root, Some(tls)).await)
}

async fn listen(root: &Path, tls: Option<TlsAcceptor>) -> u16 {
    std::fs::create_dir_all(root.join(BUCKET)).unwrap();
    let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    builder.set_auth(s3s::auth::SimpleAuth::from_single("AKIA", SECRET));
    let service = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (service, tls) = (service.clone(), tls.clone());
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                // A client that goes away is no fault.
                let _ = match tls {
                    None => http.serve_connection(TokioIo::new(stream), service).await,
                    Some(tls) => {
                        let Ok(stream) = tls.accept(stream).await else { return };
                        http.serve_connection(TokioIo::new(stream), service).await
                    }
                };
            });
        }
    });
    port
}
