//! As much of HTTP/1.1 as a request line, a status and a short body need. One connection at a time, each bounded in bytes
//! and in time.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

/// What one side waits for the other.
const PATIENCE: Duration = Duration::from_secs(2);
/// A request, or an answer.
const MAX_BYTES: u64 = 16 << 10;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into() }
    }
}

/// Writes the port so that a reader finds all of it or nothing.
pub(crate) fn write_port(file: &Path, port: u16) -> anyhow::Result<()> {
    let draft = file.with_extension("new");
    fs::write(&draft, format!("{port}\n")).with_context(|| format!("writing {}", draft.display()))?;
    fs::rename(&draft, file).with_context(|| format!("renaming to {}", file.display()))
}

/// Reads what [`write_port`] wrote.
pub(crate) fn read_port(file: &Path) -> anyhow::Result<u16> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    text.trim().parse().with_context(|| format!("{} holds no port", file.display()))
}

/// Answers for ever. A connection that fails is its caller's loss only.
pub(crate) fn serve(listener: &TcpListener, answer: &dyn Fn(&str, &str) -> Answer) {
    for stream in listener.incoming().flatten() {
        let _ = serve_one(&stream, answer);
    }
}

fn serve_one(stream: &TcpStream, answer: &dyn Fn(&str, &str) -> Answer) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.take(MAX_BYTES));
    let mut request = String::new();
    lines.read_line(&mut request)?;
    // All of the head, so that closing with bytes unread does not reset the connection under the answer.
    let mut header = String::new();
    while lines.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = request.split_ascii_whitespace();
    let said = match (words.next(), words.next()) {
        (Some(method), Some(path)) => answer(method, path),
        _ => Answer::new(400, "no request"),
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}\n",
        said.status,
        reason(said.status),
        said.body.len() + 1,
        said.body
    )
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        423 => "Locked",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

/// One request to the pump on this machine.
pub(crate) fn ask(port: u16, method: &str, path: &str) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).with_context(|| format!("connecting to port {port}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").context("asking")?;
    let mut text = String::new();
    stream.take(MAX_BYTES).read_to_string(&mut text).context("reading the answer")?;
    let (head, body) = text.split_once("\r\n\r\n").context("the answer has no body")?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("the answer has no status")?;
    Ok(Answer::new(status, body.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_reaches_the_answerer_and_nonsense_stops_nothing() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || serve(&listener, &|method, path| Answer::new(423, format!("{method} {path}"))));
        for nonsense in ["", "\r\n\r\n", "GET\r\n\r\n"] {
            TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(nonsense.as_bytes()).unwrap();
        }
        assert_eq!(ask(port, "POST", "/infuse").unwrap(), Answer::new(423, "POST /infuse"));
    }
}
