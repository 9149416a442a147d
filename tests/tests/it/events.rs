//! A device meets a signature that does not hold: its hospital reads of it, and so does monitoring, from a file and by syslog
//! over TLS, in OCSF and with how often it happened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use suture_tests::world::{HDO, Kind, Operator, Spec, World, text};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// A receiver of syslog over TLS (RFC 5425).
struct Siem {
    url: String,
    /// PEM: who certified it.
    authority: PathBuf,
    heard: mpsc::UnboundedReceiver<String>,
}

impl Siem {
    async fn open(dir: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)
                .unwrap();
        let path = dir.join("siem-ca.pem");
        std::fs::write(&path, authority.pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tls://localhost:{}", listener.local_addr().unwrap().port());
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
                while let Some(message) = message(&mut stream).await {
                    tell.send(message).unwrap();
                }
            }
        });
        Self { url, authority: path, heard }
    }

    /// The first event that is as it is waited for, with the head of its message.
    async fn hears(&mut self, what: impl Fn(&Value) -> bool) -> (String, Value) {
        loop {
            let message = self.heard.recv().await.unwrap();
            let (head, event) = message.split_once('\u{feff}').unwrap();
            let event = serde_json::from_str(event).unwrap();
            if what(&event) {
                return (head.to_owned(), event);
            }
        }
    }
}

/// The next message by its length; none at the end.
async fn message<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut length = String::new();
    loop {
        match stream.read_u8().await.ok()? {
            b' ' => break,
            digit => length.push(char::from(digit)),
        }
    }
    let mut bytes = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(String::from_utf8(bytes).unwrap())
}

/// What the hospital's people read of refused signatures.
async fn refused(kim: &Operator) -> Option<Value> {
    let listed = kim.json(&["events", "list", "--severity", "high"]).await.unwrap();
    listed["events"].as_array().unwrap().iter().find(|event| event["kind"] == "signature-refused").cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_that_a_device_refuses_reaches_its_hospital_and_monitoring_with_its_count() {
    let dir = tempfile::tempdir().unwrap();
    let mut siem = Siem::open(dir.path()).await;
    let file = dir.path().join("events.jsonl");
    let settings = [
        ("delta_sources", "0"),
        ("events_scope", "all"),
        ("events_file", text(&file)),
        ("events_syslog", siem.url.as_str()),
        ("events_syslog_ca", text(&siem.authority)),
    ];
    let world = World::start_with(Kind::Sqlite, &settings).await.unwrap();
    let ada = world.manufacturer().await;
    let bundle = world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    let kim = world.hospital(&ada).await;
    let mut pump = world.devices(&kim, &["pump-1"], &bundle).await.remove(0);

    // Whoever holds the database shows the hospital's timestamp as the catalog's: somebody else has signed that.
    let mut database = SqliteConnection::connect(world.database().strip_prefix("sqlite:").unwrap()).await.unwrap();
    let changed = sqlx::query(
        "UPDATE repo_file SET (content, sha256) = \
         (SELECT content, sha256 FROM repo_file WHERE repository = 'approvals/riverside' AND name = 'timestamp.json') \
         WHERE repository = 'catalog' AND name = 'timestamp.json'",
    );
    assert_eq!(changed.execute(&mut database).await.unwrap().rows_affected(), 1);
    database.close().await.unwrap();

    let mut found = None;
    for _ in 0..100 {
        pump.cycle().await;
        world.pass(60);
        found = refused(&kim).await.filter(|event| event["count"].as_u64().unwrap() >= 3);
        if found.is_some() {
            break;
        }
    }
    let found = found.expect("the device tells of it, of the same in one row");
    let device = format!("hdo/{HDO}/device/pump-1");
    assert_eq!((&found["observer"], &found["subject"]), (&json!("device"), &json!(device)));
    assert_eq!(pump.runs(), "1.0.0");
    let uid = found["number"].to_string();
    let is_it = |event: &Value| event["metadata"]["uid"] == uid.as_str() && event["count"] == found["count"];

    // The same event on every way: to whoever asks, by syslog, and in the file.
    let exported = kim.run(&["events", "export", "--format", "ocsf"]).await.unwrap();
    let exported: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let event = exported.iter().find(|event| is_it(event)).unwrap();
    let facts = ["class_uid", "severity", "message"].map(|name| event[name].clone());
    assert_eq!(facts[..2], [json!(2004), json!("high")]);
    assert!(facts[2].as_str().unwrap().contains(&device), "{event}");
    assert_eq!(event["metadata"]["tenant_uid"], json!(HDO));
    let (head, told) = siem.hears(is_it).await;
    assert!(head.starts_with("<83>1 ") && head.ends_with(" localhost suture-server - signature-refused - "), "{head}");
    assert_eq!(&told, event);
    for _ in 0..1_000 {
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        // The last line may be half written.
        let mut lines = written.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(written) = lines.find(is_it) {
            return assert_eq!(&written, event);
        }
        refused(&kim).await;
    }
    panic!("it is not in the file");
}
