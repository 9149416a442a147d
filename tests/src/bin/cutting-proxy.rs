//! A hospital's HTTP CONNECT proxy on a bad day: it cuts every connection once so many bytes have come down through it, and
//! refuses new ones until somebody mends it. It cuts once. `GET /bytes` answers how many have come down so far.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;

/// A request's head.
const MAX_HEAD_BYTES: u64 = 16 << 10;
/// What a client may take to say where it wants to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// A CONNECT proxy on loopback that cuts the line once.
#[derive(Parser)]
struct Args {
    /// Where the port is written once the proxy listens.
    #[arg(long)]
    port_file: PathBuf,
    /// Bytes from server to client after which it cuts.
    #[arg(long)]
    cut_after: u64,
    /// Written when it has cut, with the bytes that had come down.
    #[arg(long)]
    cut_file: PathBuf,
    /// Once this exists, connections are accepted again.
    #[arg(long)]
    mend_file: PathBuf,
}

/// The line: how much it has carried, and whether it holds.
struct Line {
    args: Args,
    down_bytes: AtomicU64,
    /// Connections, while the cut is still to come; `None` after it.
    open: Mutex<Option<Vec<TcpStream>>>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("binding a port on loopback")?;
    write_whole(&args.port_file, listener.local_addr().context("reading the bound port")?.port())?;
    let line = Arc::new(Line { args, down_bytes: AtomicU64::new(0), open: Mutex::new(Some(Vec::new())) });
    for client in listener.incoming().flatten() {
        let line = Arc::clone(&line);
        // A connection that fails is its client's loss only, and shown to it.
        thread::spawn(move || line.carry(&client).or_else(|_| client.shutdown(Shutdown::Both)));
    }
    Ok(())
}

impl Line {
    fn carry(&self, mut client: &TcpStream) -> anyhow::Result<()> {
        let Some(to) = target(client)? else {
            let body = self.down_bytes.load(Ordering::Relaxed).to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            client.write_all((head + &body).as_bytes())?;
            return Ok(());
        };
        if self.is_cut() {
            client.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            bail!("the line is cut");
        }
        let server = TcpStream::connect(&to).with_context(|| format!("connecting to {to}"))?;
        if let Some(open) = self.open.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            open.push(client.try_clone()?);
            open.push(server.try_clone()?);
        }
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        thread::scope(|scope| {
            scope.spawn(|| copy(client, &server, |_| Ok(())));
            copy(&server, client, |bytes| self.count(bytes));
        });
        Ok(())
    }

    /// Whether connections are refused now.
    fn is_cut(&self) -> bool {
        let still_whole = self.open.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        !still_whole && !self.args.mend_file.exists()
    }

    /// Counts what came down, and cuts when it is due.
    fn count(&self, bytes: usize) -> anyhow::Result<()> {
        let down = self.down_bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if down < self.args.cut_after {
            return Ok(());
        }
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(open) = open {
            for stream in open {
                let _ = stream.shutdown(Shutdown::Both);
            }
            write_whole(&self.args.cut_file, down)?;
        }
        Ok(())
    }
}

/// Where the client wants to go, from `CONNECT host:port HTTP/1.1`; `None` if it only wants to know the count.
fn target(client: &TcpStream) -> anyhow::Result<Option<String>> {
    client.set_read_timeout(Some(PATIENCE))?;
    // A client sends nothing after the head until it is answered, so the buffer swallows nothing of the tunnel.
    let mut lines = BufReader::new(client.take(MAX_HEAD_BYTES));
    let mut request = String::new();
    lines.read_line(&mut request)?;
    let mut header = String::new();
    while lines.read_line(&mut header)? > 2 {
        header.clear();
    }
    client.set_read_timeout(None)?;
    match request.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
        ["CONNECT", to, _] => Ok(Some((*to).to_owned())),
        ["GET", "/bytes", _] => Ok(None),
        _ => bail!("not a CONNECT request: {request:?}"),
    }
}

/// Carries one direction until it ends, then says so to both.
fn copy(mut from: &TcpStream, mut to: &TcpStream, mut passed: impl FnMut(usize) -> anyhow::Result<()>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..n) else { break };
        if to.write_all(bytes).is_err() || passed(n).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

/// Writes a number so that a reader finds all of it or nothing.
fn write_whole(file: &Path, number: impl std::fmt::Display) -> anyhow::Result<()> {
    let draft = file.with_extension("new");
    fs::write(&draft, format!("{number}\n")).with_context(|| format!("writing {}", draft.display()))?;
    fs::rename(&draft, file).with_context(|| format!("renaming to {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(port: u16, to: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").unwrap();
        let mut answer = String::new();
        // Byte by byte: what comes behind the head is the caller's.
        while !answer.ends_with("\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0].into());
        }
        (stream, answer)
    }

    #[test]
    fn it_cuts_once_refuses_and_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let source = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let to = source.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for mut stream in source.incoming().flatten() {
                thread::spawn(move || stream.write_all(&vec![7; 1 << 20]));
            }
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let file = |name: &str| dir.path().join(name);
        let args = Args { port_file: file("port"), cut_after: 100_000, cut_file: file("cut"), mend_file: file("mend") };
        let line = Line { args, down_bytes: AtomicU64::new(0), open: Mutex::new(Some(Vec::new())) };
        let (mend, cut) = (file("mend"), file("cut"));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let _ = line.carry(&client);
                let _ = client.shutdown(Shutdown::Both);
            }
        });

        let (mut stream, answer) = open(port, &to);
        assert!(answer.contains(" 200 "), "{answer}");
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        assert!(got.len() < 1 << 20, "{} bytes came through a line that cuts at 100,000", got.len());
        let (_stream, answer) = open(port, &to);
        assert!(answer.contains(" 503 "), "{answer}");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"GET /bytes HTTP/1.1\r\n\r\n").unwrap();
        let mut count = String::new();
        stream.read_to_string(&mut count).unwrap();
        assert!(count.rsplit("\r\n").next().unwrap().parse::<u64>().unwrap() >= 100_000, "{count}");
        assert!(fs::read_to_string(cut).unwrap().trim().parse::<u64>().unwrap() >= 100_000);

        fs::write(mend, "").unwrap();
        let (mut stream, answer) = open(port, &to);
        assert!(answer.contains(" 200 "), "{answer}");
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), 1 << 20, "a mended line cuts no more");
    }
}
