//! One question to the new version, with a time limit.

use std::time::Duration;

use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::{Command, HttpAddress, Probe};
use crate::process;

/// A place that has not taken a connection, or not answered, by then does not.
const NETWORK: Duration = Duration::from_secs(10);
/// An answer's head; a device's own software needs no more.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Asks, for at most `left`. What is wrong, where something is.
pub(super) async fn ask(probe: &Probe, left: Duration) -> Result<(), String> {
    match probe {
        Probe::Command(command) => ended(process::run(command, &[], Some(left)).await, "the health check"),
        Probe::Unit(unit) => {
            let argv = ["systemctl", "is-active", "--quiet", "--", unit].map(str::to_owned).to_vec();
            let command = Command { argv, timeout: NETWORK };
            ended(process::run(&command, &[], Some(left)).await, &format!("`systemctl is-active {unit}`"))
        }
        Probe::Tcp(place) => within(left, place, async { connect(place).await.map(drop) }).await,
        Probe::Http(address) => within(left, &address.place, get(address)).await,
    }
}

fn ended(ending: process::Ending, what: &str) -> Result<(), String> {
    if ending.is_success() { Ok(()) } else { Err(format!("{what} {ending}")) }
}

async fn within(left: Duration, place: &str, answer: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let limit = left.min(NETWORK);
    let late = || format!("{place} did not answer within {} s", limit.as_secs_f64());
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| Err(late()))
}

async fn connect(place: &str) -> Result<TcpStream, String> {
    TcpStream::connect(place).await.map_err(|e| format!("{place} takes no connection: {e}"))
}

/// The status alone counts; of the body nothing is read.
async fn get(HttpAddress { place, path }: &HttpAddress) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("http://{place}{path} gives no answer: {e}");
    let io = TokioIo::new(connect(place).await?);
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(io).await.map_err(|e| failed(&e))?;
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, place)
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|e| failed(&e))?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // What it has heard before it ended is not lost.
        _ = &mut connection => answer.await,
    };
    let status = answer.map_err(|e| failed(&e))?.status();
    if status.is_success() { Ok(()) } else { Err(format!("http://{place}{path} answers with status {status}")) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// A place that gives this answer to one caller.
    async fn answering(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1_024];
            let n = stream.read(&mut asked).await.unwrap();
            assert!(asked[..n].starts_with(b"GET /health?deep=1 HTTP/1.1\r\n"));
            if !answer.is_empty() {
                let _ = stream.write_all(answer).await;
                // Until the caller has heard it.
                let _ = stream.read(&mut asked).await;
            }
        });
        place
    }

    async fn http(answer: &'static [u8]) -> Result<(), String> {
        let address = HttpAddress { place: answering(answer).await, path: "/health?deep=1".to_owned() };
        ask(&Probe::Http(address), SOON).await
    }

    #[tokio::test]
    async fn only_a_status_of_success_is_healthy() {
        http(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        http(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        http(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\nbeginning of a body").await.unwrap();
        for bad in [
            &b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 302 Found\r\nlocation: /login\r\n\r\n",
            b"220 mail ready\r\n",
            b"",
        ] {
            http(bad).await.unwrap_err();
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = HttpAddress { place: listener.local_addr().unwrap().to_string(), path: "/".to_owned() };
        let flood = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
            let mut sent = 0_u64;
            while stream.write_all(b"x-more: and more\r\n").await.is_ok() {
                sent += 18;
            }
            sent
        });
        ask(&Probe::Http(address), SOON).await.unwrap_err();
        assert!(flood.await.unwrap() < 64 << 20);
    }

    #[tokio::test]
    async fn a_place_must_take_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        ask(&Probe::Tcp(place.clone()), SOON).await.unwrap();
        drop(listener);
        let wrong = ask(&Probe::Tcp(place.clone()), SOON).await.unwrap_err();
        assert!(wrong.contains(&place), "{wrong}");
    }

    #[tokio::test]
    async fn silence_ends_with_the_time_that_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = HttpAddress { place: listener.local_addr().unwrap().to_string(), path: "/".to_owned() };
        let wrong = ask(&Probe::Http(address), Duration::from_millis(50)).await.unwrap_err();
        assert!(wrong.contains("did not answer within 0.05 s"), "{wrong}");
    }
}
