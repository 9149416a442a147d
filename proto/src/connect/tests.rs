use super::*;
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivatePkcs8KeyDer;
use suture_core::digest::Digest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

struct At(Timestamp);
impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

fn authority(name: &str) -> TestCa {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    TestCa { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
}

impl TestCa {
    fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        params.extended_key_usages = vec![usage];
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.der().clone(), PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())))
    }
}

/// A TLS server on loopback that answers each client with one byte; gives its address.
async fn serve(ca: &TestCa, with_ca: bool, alpn: &[u8]) -> String {
    let (cert, key) = ca.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
    let chain = if with_ca { vec![cert, ca.der()] } else { vec![cert] };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.der()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(socket).await?;
                let known = u8::from(stream.get_ref().1.peer_certificates().is_some());
                stream.write_all(&[known]).await?;
                stream.shutdown().await
            });
        }
    });
    format!("https://localhost:{port}")
}

fn settings(address: String, trust: Trust) -> Settings {
    let clock = Arc::new(At("2026-06-01T00:00:00Z".parse().unwrap()));
    Settings { address, trust, identity: None, proxy: ProxyRules::none(), clock }
}

async fn open(settings: &Settings) -> Result<u8, ConnectError> {
    let mut stream = Connector::new(settings)?.open().await?;
    Ok(stream.read_u8().await.unwrap())
}

#[tokio::test]
async fn the_pinned_ca_is_enough_by_its_bytes_and_by_its_digest() {
    let ca = authority("Suture CA");
    let bare = serve(&ca, false, b"h2").await;
    let full = serve(&ca, true, b"h2").await;
    let digest = Trust::CaSha256(Digest::of(&ca.der()));
    assert_eq!(open(&settings(bare.clone(), Trust::Cas(vec![ca.der()]))).await.unwrap(), 0);
    assert_eq!(open(&settings(full.clone(), Trust::Cas(vec![ca.der()]))).await.unwrap(), 0);
    assert_eq!(open(&settings(full, digest.clone())).await.unwrap(), 0);
    // The digest alone verifies nothing where the CA is not shown.
    let error = open(&settings(bare, digest)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Intercepted { .. }), "{error}");
}

#[tokio::test]
async fn a_digest_pinned_ca_must_have_issued_what_is_shown() {
    // The right CA in the chain, but behind a certificate of another: an interceptor can copy the CA's certificate.
    let (ca, firewall) = (authority("Suture CA"), authority("Inspecting Firewall"));
    let (cert, key) = firewall.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert, ca.der()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await?;
        TlsAcceptor::from(Arc::new(config)).accept(socket).await.map(|_| ())
    });
    let error = open(&settings(address, Trust::CaSha256(Digest::of(&ca.der())))).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Intercepted { .. }), "{error}");
}

#[tokio::test]
async fn an_interceptor_is_named() {
    let firewall = authority("Inspecting Firewall");
    let address = serve(&firewall, true, b"h2").await;
    let ca = authority("Suture CA");
    for trust in [Trust::Cas(vec![ca.der()]), Trust::CaSha256(Digest::of(&ca.der()))] {
        let error = connect(&settings(address.clone(), trust.clone())).await.unwrap_err();
        assert_eq!(error.step(), "tls");
        let text = error.to_string();
        assert!(text.contains("issuer CN=Inspecting Firewall") && text.contains("CN=localhost"), "{text}");
        let findings = probe(&settings(address.clone(), trust)).await;
        let tests: Vec<_> = findings.iter().map(|f| (f.test, f.outcome)).collect();
        let good = |test| (test, Outcome::Good);
        assert_eq!(tests, [good("proxy"), good("name"), good("route"), ("tls", Outcome::Bad)]);
    }
}

#[tokio::test]
async fn a_wrong_clock_a_wrong_use_and_a_wrong_name_are_told_apart() {
    let ca = authority("Suture CA");
    let address = serve(&ca, true, b"h2").await;
    let at = |time: &str| Settings {
        clock: Arc::new(At(time.parse().unwrap())),
        ..settings(address.clone(), Trust::Cas(vec![ca.der()]))
    };
    for (time, want) in [("2027-06-01T00:00:00Z", "expired"), ("2025-06-01T00:00:00Z", "not valid yet")] {
        let error = open(&at(time)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Certificate { .. }));
        assert!(error.to_string().contains(want), "{error}");
    }
    let by_number = address.replace("localhost", "127.0.0.1");
    let error = open(&settings(by_number, Trust::Cas(vec![ca.der()]))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Certificate { .. }), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let ca = authority("Suture CA");
    let address = serve(&ca, true, b"h2").await;
    let (cert, key) = ca.issue("pump-1", ExtendedKeyUsagePurpose::ClientAuth);
    let with = Settings {
        identity: Some(identity(vec![cert.to_vec()], key)),
        ..settings(address, Trust::Cas(vec![ca.der()]))
    };
    assert_eq!(open(&with).await.unwrap(), 1);
}

#[tokio::test]
async fn each_step_that_fails_is_named() {
    let ca = authority("Suture CA");
    let step = async |settings: Settings| connect(&settings).await.map(|_| ()).unwrap_err().step();
    let trust = Trust::Cas(vec![ca.der()]);
    for bad in ["http://a", "a:1", "https://", "https://a/path", "https://u@a", "https://a b", ""] {
        assert_eq!(step(settings(bad.to_owned(), trust.clone())).await, "address", "{bad}");
    }
    let unknown = settings("https://no-such-host.invalid".to_owned(), trust.clone());
    assert_eq!(step(unknown).await, "name");
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("https://localhost:{}", listener.local_addr().unwrap().port())
    };
    assert_eq!(step(settings(closed, trust.clone())).await, "route");
    let http1 = serve(&ca, true, b"http/1.1").await;
    assert_eq!(step(settings(http1, trust.clone())).await, "tls");
}

#[tokio::test]
async fn a_proxy_carries_the_connection_and_is_named_when_it_refuses() {
    let ca = authority("Suture CA");
    let address = serve(&ca, true, b"h2").await;
    let target = Authority::parse(&address).unwrap().port;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        for refuse in [false, true] {
            let (mut socket, _) = listener.accept().await?;
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(socket.read_u8().await?);
            }
            if refuse {
                socket.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await?;
                continue;
            }
            let mut server = TcpStream::connect(("127.0.0.1", target)).await?;
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut socket, &mut server).await });
        }
        std::io::Result::Ok(())
    });
    let rules = ProxyRules::from_env(|name| (name == "HTTPS_PROXY").then(|| proxy.clone()));
    let through = Settings { proxy: rules, ..settings(address, Trust::Cas(vec![ca.der()])) };
    assert_eq!(open(&through).await.unwrap(), 0);
    let error = connect(&through).await.unwrap_err();
    assert!(matches!(&error, ConnectError::ProxyRefused { answer, .. } if answer.contains("403 Forbidden")), "{error}");
}

#[test]
fn an_address_is_a_host_that_a_certificate_can_name_and_a_port() {
    let read = |address: &str| Authority::parse(address).map(|a| a.host_port()).map_err(|e| e.to_string());
    let good = [
        ("https://updates.acme.example", "updates.acme.example:443"),
        ("https://updates.acme.example:7443/", "updates.acme.example:7443"),
        ("https://192.0.2.7:7443", "192.0.2.7:7443"),
        ("https://[2001:db8::1]", "[2001:db8::1]:443"),
        ("https://[2001:db8::1]:7443", "[2001:db8::1]:7443"),
    ];
    for (address, host_port) in good {
        assert_eq!(read(address).as_deref(), Ok(host_port), "{address}");
    }
    let bad = [
        ("updates.acme.example", "https://"),
        ("http://a", "https://"),
        ("https://a/path", "more than host and port"),
        ("https://a?query", "more than host and port"),
        ("https://user@a", "more than host and port"),
        ("https://a:", "port"),
        ("https://a:0", "port"),
        ("https://a:65536", "port"),
        ("https://-a-", "not a name"),
        ("https://a..example", "not a name"),
        ("https://*.acme.example", "not a name"),
        ("https://192.0.2.256", "not a name"),
    ];
    for (address, why) in bad {
        let said = read(address).unwrap_err();
        assert!(said.contains(why), "{address}: {said}");
    }
}
