//! Against a real receiver of TLS: one that reads, one that goes away at each message, one that stops reading, and one that
//! is somebody else.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::*;

/// What a receiver does with one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    /// Reads all, and closes when the sender has.
    Read,
    /// Goes away after so many messages.
    CutAfter(usize),
    /// Shakes hands and reads nothing.
    Still,
}

/// One connection: the messages that arrived.
pub(crate) type Heard = Vec<String>;

pub(crate) struct World {
    address: SocketAddr,
    roots: RootCertStore,
    /// PEM of its authority.
    pub(crate) authority: String,
    pub(crate) heard: mpsc::UnboundedReceiver<Heard>,
}

/// A receiver that meets its connections in these manners, one after the other.
pub(crate) async fn receiver(host: &str, manners: Vec<Manner>) -> World {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let mut still = Vec::new();
        for manner in manners {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            let mut messages = Vec::new();
            match manner {
                Manner::Still => still.push(stream),
                Manner::Read => {
                    while let Some(message) = next(&mut stream).await {
                        messages.push(message);
                    }
                }
                Manner::CutAfter(count) => {
                    while messages.len() < count
                        && let Some(message) = next(&mut stream).await
                    {
                        messages.push(message);
                    }
                }
            }
            let _ = tell.send(messages);
        }
        std::future::pending::<()>().await;
    });
    World { address, roots, authority: authority.pem(), heard }
}

/// The next message by its length; none at the end.
async fn next(stream: &mut tokio_rustls::server::TlsStream<TcpStream>) -> Option<String> {
    let mut length = String::new();
    loop {
        match stream.read_u8().await.ok()? {
            b' ' => break,
            digit => length.push(char::from(digit)),
        }
    }
    let mut text = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut text).await.ok()?;
    Some(String::from_utf8(text).unwrap())
}

impl World {
    /// As people write it.
    pub(crate) fn url(&self) -> String {
        self.receiver().address()
    }

    pub(crate) fn receiver(&self) -> Receiver {
        Receiver::of("localhost", self.address.port(), self.roots.clone()).unwrap()
    }
}

fn message(text: &str) -> Message<'_> {
    let at = "2026-11-24T15:00:00.25Z".parse().unwrap();
    Message { severity: 4, at, host: "suture.acme.example", kind: "call-forbidden", text }
}

async fn deliver(receiver: &Receiver, texts: &[String]) -> Result<(), SyslogError> {
    let mut syslog = Syslog::connect(receiver).await?;
    for text in texts {
        syslog.send(&message(text)).await?;
    }
    syslog.finish().await
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{{\"number\":{i},\"text\":\"ä b\"}}")).collect()
}

#[test]
fn a_message_is_as_the_rfc_writes_it() {
    let line = message("{\"a\":1}").line();
    assert_eq!(
        line,
        "<84>1 2026-11-24T15:00:00.250Z suture.acme.example suture-server - call-forbidden - \u{feff}{\"a\":1}"
    );
    let frame = message("{\"a\":1}").frame().unwrap();
    assert_eq!(frame, format!("{} {line}", line.len()));
    let odd = Message { host: "a b\nc", kind: "", ..message("x") }.line();
    assert!(odd.contains(" abc suture-server - - - "), "{odd}");
    assert!(matches!(message(&"x".repeat(MAX_MESSAGE_BYTES)).frame(), Err(SyslogError::TooLong(_))));
}

#[tokio::test]
async fn a_batch_is_delivered_whole_and_in_order() {
    let mut world = receiver("localhost", vec![Manner::Read]).await;
    let sent = texts(1_000);
    deliver(&world.receiver(), &sent).await.unwrap();
    let heard = world.heard.recv().await.unwrap();
    assert_eq!(heard.len(), 1_000);
    assert!(heard.iter().zip(&sent).all(|(heard, sent)| heard.ends_with(sent.as_str())));
}

#[tokio::test]
async fn a_receiver_that_goes_away_at_any_message_has_not_confirmed_the_batch() {
    let sent = texts(5);
    let mut manners: Vec<_> = (0..5).map(Manner::CutAfter).collect();
    manners.push(Manner::Read);
    let mut world = receiver("localhost", manners).await;
    for cut in 0..5 {
        let failed = deliver(&world.receiver(), &sent).await;
        assert!(matches!(failed, Err(SyslogError::Io { .. })), "cut after {cut}: {failed:?}");
        assert_eq!(world.heard.recv().await.unwrap().len(), cut);
    }
    deliver(&world.receiver(), &sent).await.unwrap();
    assert_eq!(world.heard.recv().await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_receiver_that_stops_reading_is_given_up_and_has_not_confirmed_the_batch() {
    let world = receiver("localhost", vec![Manner::Still, Manner::Still]).await;
    let receiver = world.receiver().patient(Duration::from_millis(200));
    // A few fit into the buffers between; many do not.
    for count in [3, 100_000] {
        let failed = deliver(&receiver, &texts(count)).await;
        assert!(matches!(failed, Err(SyslogError::Slow { .. })), "{count}: {failed:?}");
    }
}

#[tokio::test]
async fn nothing_is_said_to_a_receiver_that_shows_another_certificate() {
    let world = receiver("elsewhere.example", vec![Manner::Read]).await;
    let refused = deliver(&world.receiver(), &texts(1)).await;
    assert!(matches!(refused, Err(SyslogError::Io { step: "the handshake with", .. })), "{refused:?}");
    let (mut world, stranger) =
        (receiver("localhost", vec![Manner::Read]).await, receiver("localhost", Vec::new()).await);
    world.roots = stranger.roots;
    let refused = deliver(&world.receiver(), &texts(1)).await;
    assert!(matches!(refused, Err(SyslogError::Io { step: "the handshake with", .. })), "{refused:?}");
}

#[test]
fn authorities_are_read_from_a_file_and_a_file_without_any_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert;
    std::fs::write(&path, certificate.pem()).unwrap();
    assert_eq!(Receiver::new("localhost", PORT, &path).unwrap().address(), "tls://localhost:6514");
    std::fs::write(&path, "no certificate").unwrap();
    assert!(matches!(Receiver::new("localhost", PORT, &path), Err(SyslogError::Authorities { .. })));
    assert!(Receiver::new("localhost", PORT, &dir.path().join("missing")).is_err());
}

#[test]
fn an_address_is_a_host_by_tls_and_nothing_else() {
    assert_eq!(parse("tls://siem.example"), Some(("siem.example".to_owned(), 6514)));
    assert_eq!(parse("tls://[::1]:99"), Some(("::1".to_owned(), 99)));
    for bad in
        ["siem.example", "tcp://siem.example", "tls://", "tls://u@siem.example", "tls://siem.example:0", "tls://a/b"]
    {
        assert_eq!(parse(bad), None, "{bad}");
    }
}
