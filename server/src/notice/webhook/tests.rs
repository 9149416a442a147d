//! Deliveries to a real HTTPS receiver that behaves in every way that one may.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use suture_core::clock::Clock;
use suture_proto::connect::ProxyRules;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::notice::address::{Network, Target};
use crate::notice::secret::Secret;
use crate::notice::tests::{Now, at};

/// How a receiver answers.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// With this status and these headers.
    Answers(&'static str),
    /// Not at all, while the connection stays.
    Silent,
    /// With headers that do not end.
    EndlessHeaders,
    /// With 200 and a body that does not end.
    EndlessBody,
    /// By hanging up.
    HangsUp,
}

/// An HTTPS server on this machine for `localhost`.
pub(crate) struct Receiver {
    pub(crate) url: String,
    /// PEM of its own certificate, which is its authority.
    pub(crate) authority: Vec<u8>,
    got: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    /// Answers one request after another by one of these, the last one ever after.
    pub(crate) async fn start(acts: &[Act]) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/hook?a=1", listener.local_addr().unwrap().port());
        let got = Arc::new(Mutex::new(Vec::new()));
        let (kept, mut acts) = (got.clone(), VecDeque::from(acts.to_vec()));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let act = if acts.len() > 1 { acts.pop_front() } else { acts.front().cloned() };
                let (acceptor, kept, act) = (acceptor.clone(), kept.clone(), act.unwrap());
                tokio::spawn(async move {
                    // A client that does not trust it is gone already.
                    let Ok(mut stream) = acceptor.accept(tcp).await else { return };
                    let Some(request) = read_request(&mut stream).await else { return };
                    kept.lock().unwrap().push(request);
                    answer(&mut stream, &act).await;
                });
            }
        });
        Self { url, authority: certified.cert.pem().into_bytes(), got }
    }

    /// The requests that came, headers and body.
    pub(crate) fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }

    /// A sender that trusts it and may call this machine.
    pub(crate) fn sender(&self, dir: &std::path::Path, clock: Arc<dyn Clock>) -> Sender {
        Sender::local(dir, &self.authority, clock)
    }
}

async fn read_request<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.unwrap().parse().unwrap() {
                return Some(text);
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&piece[..n]),
            _ => return None,
        }
    }
}

/// The client may hang up at any place.
async fn answer<S: tokio::io::AsyncWrite + Unpin>(stream: &mut S, act: &Act) {
    match act {
        Act::Answers(head) => {
            let _ = stream.write_all(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Act::Silent => std::future::pending().await,
        Act::EndlessHeaders => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            while stream
                .write_all(b"x-more: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
                .await
                .is_ok()
            {}
        }
        Act::EndlessBody => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            while stream.write_all(b"4\r\naaaa\r\n").await.is_ok() {}
        }
        Act::HangsUp => {}
    }
}

fn post(url: &str) -> Post {
    let (hdo, contact) = ("riverside".parse().unwrap(), "siem".parse().unwrap());
    let body = b"{\"type\":\"notice.published\"}".to_vec();
    let signature = Secret::of("seal", &hdo, &contact, b"salt").sign("riverside.3.0", at(), &body);
    let Ok(Target::Webhook(to)) = Target::parse(url) else { panic!("{url} is no webhook") };
    Post { to, id: "riverside.3.0".to_owned(), at: at(), signature, body }
}

#[tokio::test]
async fn what_is_accepted_came_signed_and_with_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&[Act::Answers("500 No"), Act::Answers("204 No Content")]).await;
    let sender = receiver.sender(dir.path(), Arc::new(Now));
    let post = post(&receiver.url);
    assert!(matches!(sender.post(&post).await, Err(SendError::Refused(status)) if status == 500));
    assert_eq!(sender.post(&post).await.unwrap(), 204);
    let got = receiver.got();
    assert_eq!((got.len(), &got[0]), (2, &got[1]), "a second try is the same request");
    let (head, body) = got[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook?a=1 HTTP/1.1\r\n"), "{head}");
    for header in [
        "webhook-id: riverside.3.0".to_owned(),
        format!("webhook-timestamp: {}", at().as_second()),
        format!("webhook-signature: {}", post.signature),
        "content-type: application/json".to_owned(),
        format!("host: {}", receiver.url.trim_start_matches("https://").split('/').next().unwrap()),
    ] {
        assert!(head.lines().any(|line| line == header), "{header}: {head}");
    }
    assert_eq!(body.as_bytes(), post.body);
}

#[tokio::test]
async fn a_receiver_that_misbehaves_costs_one_try_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let redirect = Act::Answers("302 Found\r\nlocation: https://localhost:1/");
    let receiver = Receiver::start(&[redirect, Act::EndlessHeaders, Act::HangsUp, Act::EndlessBody, Act::Silent]).await;
    let mut sender = receiver.sender(dir.path(), Arc::new(Now));
    let post = post(&receiver.url);
    assert!(matches!(sender.post(&post).await, Err(SendError::Redirect(_))));
    assert!(matches!(sender.post(&post).await, Err(SendError::Http(_))), "endless headers");
    assert!(matches!(sender.post(&post).await, Err(SendError::Http(_))), "it hung up");
    assert_eq!(sender.post(&post).await.unwrap(), 200, "its body is nobody's business");
    sender.patience = SignedDuration::from_millis(200);
    assert!(matches!(sender.post(&post).await, Err(SendError::Late(_))));
    assert_eq!(receiver.got().len(), 5, "no redirect was followed");
}

#[tokio::test]
async fn only_whom_the_authorities_know_and_only_where_one_may_is_called() {
    let dir = tempfile::tempdir().unwrap();
    let (receiver, stranger) =
        (Receiver::start(&[Act::Answers("200 OK")]).await, Receiver::start(&[Act::Answers("200 OK")]).await);
    let mut sender = receiver.sender(dir.path(), Arc::new(Now));
    assert!(matches!(sender.post(&post(&stranger.url)).await, Err(SendError::Tls(..))), "another's certificate");
    let by_address = receiver.url.replace("localhost", "127.0.0.1");
    assert!(
        matches!(sender.post(&post(&by_address)).await, Err(SendError::Tls(..))),
        "a name that it does not certify"
    );
    sender.networks.clear();
    for url in [&receiver.url, &by_address] {
        assert!(matches!(sender.post(&post(url)).await, Err(SendError::Private(_))), "{url}");
    }
    assert_eq!((receiver.got().len(), stranger.got().len()), (0, 0));
    let nowhere = post("https://nowhere.invalid/");
    assert!(matches!(sender.post(&nowhere).await, Err(SendError::Resolve(_))));
    sender.networks.push(Network::parse("127.0.0.0/8").unwrap());
    sender.authorities = dir.path().join("none.pem");
    assert!(matches!(sender.post(&post(&receiver.url)).await, Err(SendError::Authorities(_))));
    std::fs::write(&sender.authorities, "nothing").unwrap();
    assert!(matches!(sender.post(&post(&receiver.url)).await, Err(SendError::Setup(_))));
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_very_address_that_was_checked() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&[Act::Answers("200 OK")]).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = format!("http://127.0.0.1:{}", proxy.local_addr().unwrap().port());
    let asked = tokio::spawn(async move {
        let (mut from, _) = proxy.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(from.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let place = head.split(' ').nth(1).unwrap().to_owned();
        let mut to = TcpStream::connect(&place).await.unwrap();
        from.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
        // Either may end it.
        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        place
    });
    let mut sender = receiver.sender(dir.path(), Arc::new(Now));
    sender.proxy = ProxyRules::from_env(|name| (name == "HTTPS_PROXY").then(|| way.clone()));
    assert_eq!(sender.post(&post(&receiver.url)).await.unwrap(), 200);
    let port = receiver.url.rsplit_once(':').unwrap().1.split('/').next().unwrap();
    assert_eq!(asked.await.unwrap(), format!("127.0.0.1:{port}"));
}
