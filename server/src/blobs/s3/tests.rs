//! A service that behaves in every way that one may.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::{Blobs, Store};
use super::call::Patience;
use super::*;

/// How a call is answered. Each has a connection of its own.
#[derive(Debug, Clone)]
enum Act {
    /// With these bytes, and an end.
    Says(String),
    /// With these bytes, and nothing more, while the connection stays.
    Stops(String),
    /// With these bytes, and others without end.
    GoesOn(String),
}

/// A service that answers one call after another by one of its acts, the last one ever after.
struct Service {
    blobs: Blobs,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Service {
    async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let mut acts: VecDeque<Act> = acts.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let act = if acts.len() > 1 { acts.pop_front() } else { acts.front().cloned() };
                tokio::spawn(answer(stream, act.unwrap(), kept.clone()));
            }
        });
        let place = service::place(&url, service::SECRET, "");
        let s3 = S3::open(&place, &service::way(), service::clock()).await.unwrap();
        let patience = Patience { silence: Duration::from_millis(200), first_pause: Duration::from_millis(1) };
        let s3 = S3 { calls: s3.calls.patient(patience), place: s3.place };
        Self { blobs: Blobs { store: Store::S3(Arc::new(s3)) }, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// What a read of ten bytes comes to.
    async fn read(&self) -> Result<Bytes, BlobError> {
        self.blobs.get_range("packs/abc", 0, 10).await
    }
}

/// Reads a request to its end and answers it. Whoever asked may be gone.
async fn answer(mut stream: TcpStream, act: Act, asked: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    let whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        (body.len() >= length.map_or(0, |length| length.parse().unwrap())).then_some(text)
    };
    let text = loop {
        if let Some(text) = whole(&request) {
            break text;
        }
        if stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
            continue;
        }
        return;
    };
    asked.lock().unwrap().push(text);
    match act {
        Act::Says(text) => drop(stream.write_all(text.as_bytes()).await),
        Act::Stops(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            // Until the client goes.
            let _ = stream.read_u8().await;
        }
        Act::GoesOn(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            while stream.write_all(&[b'x'; 4_096]).await.is_ok() {}
        }
    }
}

fn head(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\n\r\n")
}

/// The bytes of an object of ten from `first` on, of which `sent` come.
fn part(first: usize, sent: &str) -> String {
    let headers = format!("content-range: bytes {first}-9/10\r\ncontent-length: {}\r\n", 10 - first);
    head("206 Partial Content", &headers) + sent
}

fn refused(status: &str, code: &str) -> Act {
    Act::Says(head(status, "") + &format!("<Error><Code>{code}</Code><Message>Because</Message></Error>"))
}

fn text(error: &BlobError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {cause}")
}

#[tokio::test]
async fn one_that_has_too_much_to_do_is_asked_again_and_not_for_ever() {
    let busy = || refused("503 Slow Down", "SlowDown");
    let service = Service::start([busy(), busy(), Act::Says(part(0, "0123456789"))]).await;
    assert_eq!(service.read().await.unwrap(), b"0123456789"[..]);
    assert_eq!(service.asked().len(), 3);
    let service = Service::start([busy()]).await;
    let error = service.read().await.unwrap_err();
    assert!(
        error.is_passing() && text(&error).contains("503") && text(&error).contains("SlowDown"),
        "{}",
        text(&error)
    );
    assert_eq!(service.asked().len(), 5);
}

#[tokio::test]
async fn a_read_that_breaks_off_goes_on_at_the_byte_where_it_broke() {
    let acts = [part(0, "0123"), head("500 Internal Server Error", ""), part(4, "45"), part(6, "6789")];
    let service = Service::start(acts.map(Act::Says)).await;
    assert_eq!(service.read().await.unwrap(), b"0123456789"[..]);
    let asked = service.asked();
    for (request, range) in asked.iter().zip(["0-9", "4-9", "4-9", "6-9"]) {
        assert!(request.contains(&format!("range: bytes={range}\r\n")), "{range}: {request}");
    }
    // Never less than was asked for.
    let service = Service::start([Act::Says(part(0, ""))]).await;
    assert!(service.read().await.unwrap_err().is_passing());
    let service = Service::start([Act::Says(part(0, "0123")), Act::Says(part(4, ""))]).await;
    assert!(service.read().await.is_err());
}

#[tokio::test]
async fn one_that_stands_still_is_given_up_and_asked_again() {
    let service =
        Service::start([Act::Stops(String::new()), Act::Stops(part(0, "012")), Act::Says(part(3, "3456789"))]);
    assert_eq!(service.await.read().await.unwrap(), b"0123456789"[..]);
    let service = Service::start([Act::Stops(String::new())]).await;
    let error = service.read().await.unwrap_err();
    assert!(error.is_passing() && text(&error).contains("nothing moved"), "{}", text(&error));
    assert_eq!(service.asked().len(), 5);
}

#[tokio::test]
async fn a_refusal_counts_at_once_and_says_where_what_and_what_to_do() {
    for (status, code, advice) in [
        ("403 Forbidden", "AccessDenied", "let the key put"),
        ("403 Forbidden", "SignatureDoesNotMatch", "secret key"),
        ("404 Not Found", "NoSuchBucket", "make the bucket"),
        ("301 Moved Permanently", "PermanentRedirect", "s3_region"),
    ] {
        let service = Service::start([refused(status, code)]).await;
        let error = service.read().await.unwrap_err();
        let text = text(&error);
        for part in ["packs/abc", "bucket suture-objects at http://127.0.0.1:", code, "Because", advice] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!error.is_passing() && service.asked().len() == 1);
    }
    let service = Service::start([refused("404 Not Found", "NoSuchKey")]).await;
    assert!(matches!(service.read().await, Err(BlobError::NotFound(_))));
}

#[tokio::test]
async fn nothing_that_it_says_shows_a_secret_or_a_signature() {
    let dir = tempfile::tempdir().unwrap();
    let url = service::serve(dir.path()).await;
    let place = service::place(&url, "not-the-secret-of-that-key", "");
    let error = Blobs::open_s3(&place, &service::way(), service::clock()).await.unwrap_err();
    let said = format!("{} {error:?}", text(&error));
    assert!(said.contains("403") && !said.contains("not-the-secret") && !said.contains("Signature="), "{said}");
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_kept() {
    let endless = |status: &str, headers: &str| Act::GoesOn(head(status, headers));
    let service = Service::start([endless("206 Partial Content", "content-range: bytes 0-9/10\r\n")]).await;
    assert_eq!(service.read().await.unwrap(), [b'x'; 10][..]);
    let service = Service::start([endless("403 Forbidden", "")]).await;
    assert!(text(&service.read().await.unwrap_err()).len() < 1_000);
    let service = Service::start([endless("200 OK", "")]).await;
    let error = service.blobs.list("packs", None, 10).await.unwrap_err();
    assert!(text(&error).contains("more than 4 MiB"), "{}", text(&error));
    let service = Service::start([Act::GoesOn("HTTP/1.1 200 OK\r\nx: ".to_owned())]).await;
    assert!(service.read().await.is_err());
}

#[tokio::test]
async fn other_bytes_than_were_asked_for_are_none() {
    for answer in [
        head("206 Partial Content", "content-range: bytes 1-10/11\r\n") + "0123456789",
        head("206 Partial Content", "content-range: bytes 0-99/100\r\n") + "0123456789",
        head("206 Partial Content", "") + "0123456789",
        head("206 Partial Content", "content-range: bytes 0-9/5\r\n") + "0123456789",
        head("204 No Content", ""),
    ] {
        let service = Service::start([Act::Says(answer.clone())]).await;
        let error = service.read().await.unwrap_err();
        assert!(text(&error).contains("not S3's"), "{answer}: {}", text(&error));
    }
    // The whole of an object, where a part from its middle was asked for.
    let whole = || Act::Says(head("200 OK", "content-length: 10\r\n") + "0123456789");
    let service = Service::start([whole()]).await;
    assert!(service.blobs.get_range("packs/abc", 2, 3).await.is_err());
    assert_eq!(service.blobs.get_range("packs/abc", 0, 3).await.unwrap(), b"012"[..]);
    assert_eq!(service.blobs.get_up_to("packs/abc", 0, 99, ()).await.unwrap(), b"0123456789"[..]);
}

#[tokio::test]
async fn what_was_put_counts_once_the_service_has_said_that_it_is_what_was_sent() {
    let there = |length: u64| Act::Says(head("200 OK", &format!("content-length: {length}\r\n")));
    let absent = || Act::Says(head("404 Not Found", ""));
    let stored = |headers: &str| Act::Says(head("200 OK", headers));
    let checksum = |text: &[u8]| format!("{CHECKSUM}: {}\r\n", BASE64.encode(Digest::of(text).as_bytes()));
    let put = async |acts: Vec<Act>| {
        let service = Service::start(acts).await;
        (service.blobs.put("packs/abc", Bytes::from_static(b"0123")).await, service.asked())
    };
    let (done, asked) = put(vec![absent(), stored(&checksum(b"0123"))]).await;
    done.unwrap();
    assert!(asked[1].starts_with("PUT /suture-objects/packs/ab/abc?") && asked[1].contains(&checksum(b"0123")));
    // What is there already is not sent.
    let (done, asked) = put(vec![there(4)]).await;
    assert!(done.is_ok() && asked.len() == 1);
    // A service that says no digest is asked for the length.
    assert!(put(vec![absent(), stored(""), there(4)]).await.0.is_ok());
    for acts in [vec![absent(), stored(""), there(3)], vec![absent(), stored(&checksum(b"0124"))]] {
        let error = put(acts).await.0.unwrap_err();
        assert!(text(&error).contains("other bytes"), "{}", text(&error));
    }
    let (full, _) = put(vec![absent(), refused("507 Insufficient Storage", "XMinioStorageFull")]).await;
    assert!(full.unwrap_err().is_disk_full());
}

#[tokio::test]
async fn a_list_that_is_out_of_order_or_leads_nowhere_ends() {
    let list = |keys: &[&str]| {
        let contents: String = keys.iter().map(|key| format!("<Contents><Key>{key}</Key></Contents>")).collect();
        let xmlns = "http://s3.amazonaws.com/doc/2006-03-01/";
        Act::Says(head("200 OK", "") + &format!("<ListBucketResult xmlns=\"{xmlns}\">{contents}</ListBucketResult>"))
    };
    let service = Service::start([list(&["packs/ab/abc"])]).await;
    let error = service.blobs.list("packs", None, 10).await.unwrap_err();
    assert!(text(&error).contains("not in order"), "{}", text(&error));
    let service = Service::start([list(&["packs/ab/abc", "packs/zz/abc", "packs/zz/zzz"]), list(&[])]).await;
    assert_eq!(service.blobs.list("packs", None, 10).await.unwrap(), ["packs/abc", "packs/zzz"]);
}

#[tokio::test]
async fn what_a_key_may_not_do_is_found_at_the_start() {
    let absent = || Act::Says(head("404 Not Found", ""));
    let stored = || Act::Says(head("200 OK", ""));
    for (acts, doing) in [
        (vec![refused("403 Forbidden", "AccessDenied")], "cannot look for"),
        (vec![absent(), absent(), refused("404 Not Found", "NoSuchBucket")], "cannot put"),
        (vec![absent(), absent(), stored(), refused("403 Forbidden", "AccessDenied")], "cannot look for"),
    ] {
        let service = Service::start(acts).await;
        let Store::S3(s3) = &service.blobs.store else { unreachable!() };
        let refused = text(&s3.try_all().await.unwrap_err());
        assert!(refused.contains(doing) && refused.contains("checks/"), "{refused}");
    }
}

#[tokio::test]
async fn packs_go_through_whole() {
    let dir = tempfile::tempdir().unwrap();
    let url = service::serve(dir.path()).await;
    let place = service::place(&url, service::SECRET, "");
    let blobs = Blobs::open_s3(&place, &service::way(), service::clock()).await.unwrap();
    let pack: Bytes = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    blobs.put("packs/abc", pack.clone()).await.unwrap();
    let blocks = (0..3).map(|n| blobs.get_up_to("packs/abc", n << 20, 1 << 20, ()));
    let blocks = futures::future::try_join_all(blocks).await.unwrap();
    assert_eq!(blocks.concat(), pack);
    assert_eq!(blobs.get_range("packs/abc", 1_500_000, 1_000_000).await.unwrap(), pack.slice(1_500_000..2_500_000));
}

#[tokio::test]
async fn the_endpoint_proves_by_tls_who_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, pem) = service::tls();
    let url = service::serve_by(dir.path(), tls).await;
    let place = service::place(&url, service::SECRET, "");
    let authorities = dir.path().join("authorities.pem");
    let way = S3Way { authorities: authorities.clone(), ..service::way() };
    let missing = Blobs::open_s3(&place, &way, service::clock()).await.unwrap_err();
    assert!(text(&missing).contains("authorities.pem"), "{}", text(&missing));
    std::fs::write(&authorities, pem).unwrap();
    let blobs = Blobs::open_s3(&place, &way, service::clock()).await.unwrap();
    blobs.put("packs/abc", Bytes::from_static(b"0123")).await.unwrap();
    assert_eq!(blobs.get_range("packs/abc", 1, 2).await.unwrap(), b"12"[..]);
    let (_, anothers) = service::tls();
    std::fs::write(&authorities, anothers).unwrap();
    let stranger = Blobs::open_s3(&place, &way, service::clock()).await.unwrap_err();
    assert!(text(&stranger).contains("s3_authorities") && !stranger.is_passing(), "{}", text(&stranger));
}
