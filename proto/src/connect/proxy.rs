//! HTTP CONNECT: how a hospital's machines reach anything outside.
//!
//! `HTTPS_PROXY`, `https_proxy`, `ALL_PROXY` and `all_proxy` name the proxy (`http://[user:password@]host[:port]`), the first
//! that is set counts; `NO_PROXY` or `no_proxy` lists what is reached without: names with all below them, addresses,
//! networks (`10.0.0.0/8`), each with a port if need be, or `*` for everything. Nothing is exempt that is not listed.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::error::ConnectError;
use super::{Authority, STEP_TIMEOUT};

/// More of an answer than any proxy needs before its tunnel begins.
const MAX_ANSWER_BYTES: usize = 16 << 10;
/// What of a stranger's answer is shown.
const MAX_SHOWN_CHARS: usize = 120;

/// What the environment says about proxies.
#[derive(Clone, Default)]
pub struct ProxyRules {
    /// The variable and its value.
    proxy: Option<(String, String)>,
    exempt: Vec<Exemption>,
}

/// A proxy that a connection goes through.
#[derive(Clone)]
pub struct Proxy {
    /// Where it listens.
    pub authority: Authority,
    /// The variable that names it.
    pub variable: String,
    /// `user:password` in base64. Never printed.
    credentials: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({} from {})", self.authority.host_port(), self.variable)
    }
}

impl fmt::Debug for ProxyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variable = self.proxy.as_ref().map(|(variable, _)| variable);
        f.debug_struct("ProxyRules").field("variable", &variable).field("exempt", &self.exempt).finish()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exemption {
    Everything,
    /// A name and all below it.
    Name(String, Option<u16>),
    Network(IpAddr, u32, Option<u16>),
}

impl ProxyRules {
    /// Everything directly.
    pub fn none() -> Self {
        Self::default()
    }

    /// What these variables say, `std::env::var(name).ok()` in a program.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&str| variable(name).filter(|v| !v.trim().is_empty()).map(|v| ((*name).to_owned(), v));
        let proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].iter().find_map(set);
        let exempt = ["NO_PROXY", "no_proxy"].iter().find_map(set);
        let exempt = exempt.map(|(_, list)| list.split([',', ' ']).filter_map(Exemption::parse).collect());
        Self { proxy, exempt: exempt.unwrap_or_default() }
    }

    /// The proxy for a server, if there is to be one.
    pub fn for_server(&self, server: &Authority) -> Result<Option<Proxy>, ConnectError> {
        match &self.proxy {
            Some((variable, url)) if !self.exempt.iter().any(|e| e.covers(server)) => {
                Proxy::parse(variable, url).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl Exemption {
    fn parse(item: &str) -> Option<Self> {
        let item = item.trim().to_ascii_lowercase();
        if item == "*" {
            return Some(Self::Everything);
        }
        let (host, port) = split_port(&item);
        let host = host.trim_start_matches("*.").trim_start_matches('.');
        if host.is_empty() {
            return None;
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Network(address, if address.is_ipv4() { 32 } else { 128 }, port));
        }
        if let Some((network, bits)) = host.split_once('/') {
            return Some(Self::Network(network.parse().ok()?, bits.parse().ok()?, port));
        }
        Some(Self::Name(host.to_owned(), port))
    }

    fn covers(&self, server: &Authority) -> bool {
        let fits = |port: &Option<u16>| port.is_none_or(|p| p == server.port);
        match self {
            Self::Everything => true,
            Self::Name(name, port) => {
                let host = server.host.to_ascii_lowercase();
                let below =
                    host.strip_suffix(name.as_str()).is_some_and(|above| above.is_empty() || above.ends_with('.'));
                below && fits(port)
            }
            Self::Network(network, bits, port) => {
                let inside = match (network, server.host.parse::<IpAddr>()) {
                    (IpAddr::V4(n), Ok(IpAddr::V4(a))) => {
                        *bits <= 32 && n.to_bits().checked_shr(32 - bits) == a.to_bits().checked_shr(32 - bits)
                    }
                    (IpAddr::V6(n), Ok(IpAddr::V6(a))) => {
                        *bits <= 128 && n.to_bits().checked_shr(128 - bits) == a.to_bits().checked_shr(128 - bits)
                    }
                    _ => false,
                };
                inside && fits(port)
            }
        }
    }
}

/// Host and port; an IPv6 address has a port only behind brackets.
fn split_port(text: &str) -> (&str, Option<u16>) {
    if let Some(rest) = text.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, port)) => (host, port.strip_prefix(':').and_then(|p| p.parse().ok())),
            None => (text, None),
        };
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

impl Proxy {
    fn parse(variable: &str, url: &str) -> Result<Self, ConnectError> {
        let bad = |why| ConnectError::ProxyAddress { variable: variable.to_owned(), why };
        let rest = match url.trim().split_once("://") {
            None => url.trim(),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(bad("only http:// proxies are spoken to; the tunnel through it is TLS anyway")),
        };
        let rest = rest.split(['/', '?']).next().unwrap_or_default();
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        let credentials = match credentials {
            None => None,
            Some(text) => {
                let decoded = percent_decode(text).ok_or_else(|| bad("its user or password is not percent-encoded"))?;
                Some(BASE64.encode(decoded))
            }
        };
        let (host, port) = split_port(place);
        let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%'));
        if host.is_empty() || !plain {
            return Err(bad("it names no host; write http://host:port"));
        }
        let authority = Authority { host: host.to_owned(), port: port.unwrap_or(80) };
        Ok(Self { authority, variable: variable.to_owned(), credentials })
    }

    /// Asks for a tunnel to `server` and leaves the stream at its beginning.
    pub async fn tunnel<S>(&self, stream: &mut S, server: &Authority) -> Result<(), ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let proxy = self.authority.host_port();
        let broken = |source| ConnectError::ProxyBroken { proxy: proxy.clone(), source: Arc::new(source) };
        let answer = match tokio::time::timeout(STEP_TIMEOUT, self.ask(stream, server)).await {
            Ok(answer) => answer.map_err(broken)?,
            Err(_) => return Err(broken(io::ErrorKind::TimedOut.into())),
        };
        let refused = |answer| ConnectError::ProxyRefused { proxy: proxy.clone(), server: server.host_port(), answer };
        let line = answer.split("\r\n").next().unwrap_or_default();
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next()) {
            (Some("HTTP/1.1" | "HTTP/1.0"), Some(code)) if code.len() == 3 && code.starts_with('2') => Ok(()),
            (Some("HTTP/1.1" | "HTTP/1.0"), Some("407")) => Err(refused(format!(
                "it asks for a user and password that {} does not hold, or holds wrongly; write http://user:password@host:port",
                self.variable
            ))),
            (Some(version), Some(_)) if version.starts_with("HTTP/") => Err(refused(format!(
                "{}; ask for {} to be let through, or list the host in NO_PROXY",
                shown(line),
                server.host_port()
            ))),
            _ => Err(broken(io::Error::new(io::ErrorKind::InvalidData, format!("it answered {}", shown(line))))),
        }
    }

    async fn ask<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S, server: &Authority) -> io::Result<String> {
        let target = server.host_port();
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(credentials) = &self.credentials {
            request.push_str("Proxy-Authorization: Basic ");
            request.push_str(credentials);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        // Byte by byte, out of the reader's buffer: what follows the empty line is the tunnel's.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= MAX_ANSWER_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer has no end"));
            }
            answer.push(stream.read_u8().await?);
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn shown(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '?' } else { c }).take(MAX_SHOWN_CHARS).collect()
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok()?;
            out.extend_from_slice(&byte);
        } else {
            out.push(b);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(pairs: &[(&str, &str)]) -> ProxyRules {
        ProxyRules::from_env(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    fn goes(pairs: &[(&str, &str)], address: &str) -> Option<String> {
        let server = Authority::parse(address).unwrap();
        rules(pairs).for_server(&server).unwrap().map(|p| p.authority.host_port())
    }

    #[test]
    fn the_first_variable_that_is_set_names_the_proxy() {
        let p = |name| [(name, "http://proxy.example:3128")];
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            assert_eq!(goes(&p(name), "https://a.example").as_deref(), Some("proxy.example:3128"));
        }
        assert_eq!(goes(&p("HTTP_PROXY"), "https://a.example"), None);
        assert_eq!(goes(&[("HTTPS_PROXY", ""), ("ALL_PROXY", "p:1")], "https://a").as_deref(), Some("p:1"));
        assert_eq!(goes(&[("HTTPS_PROXY", "http://p")], "https://a").as_deref(), Some("p:80"));
        assert_eq!(goes(&[("HTTPS_PROXY", "http://[::1]:8")], "https://a").as_deref(), Some("[::1]:8"));
    }

    #[test]
    fn what_is_listed_is_reached_directly_and_nothing_else() {
        let direct =
            |list: &str, address: &str| goes(&[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", list)], address).is_none();
        for (list, address) in [
            ("*", "https://a.example"),
            ("a.example", "https://a.example"),
            ("x, A.example", "https://a.EXAMPLE"),
            (".a.example", "https://b.a.example"),
            ("*.a.example", "https://b.a.example"),
            ("a.example:7443", "https://a.example:7443"),
            ("10.0.0.0/8", "https://10.1.2.3"),
            ("0.0.0.0/0", "https://10.1.2.3"),
            ("127.0.0.1", "https://127.0.0.1:5"),
            ("[::1]:5", "https://[::1]:5"),
            ("fd00::/8", "https://[fd12::1]"),
        ] {
            assert!(direct(list, address), "{list} {address}");
        }
        for (list, address) in [
            ("", "https://127.0.0.1"),
            ("a.example", "https://nota.example"),
            ("a.example:443", "https://a.example:7443"),
            ("10.0.0.0/8", "https://11.0.0.1"),
            ("10.0.0.0/33", "https://10.0.0.1"),
            ("10.0.0.0/8", "https://10.example"),
            ("fd00::/8", "https://[fe00::1]"),
        ] {
            assert!(!direct(list, address), "{list} {address}");
        }
    }

    #[test]
    fn a_password_is_sent_and_never_shown() {
        let rules = rules(&[("HTTPS_PROXY", "http://kim:p%40ss@proxy:3128")]);
        let proxy = rules.for_server(&Authority::parse("https://a").unwrap()).unwrap().unwrap();
        assert_eq!(proxy.credentials.as_deref(), Some(BASE64.encode("kim:p@ss").as_str()));
        let shown = format!("{rules:?} {proxy:?}");
        assert!(!shown.contains("kim") && !shown.contains("ss@") && !shown.contains(&BASE64.encode("kim:p@ss")));
        for bad in ["socks5://p:1", "https://p:1", "http://kim:se%zzcret@p:1", "http://", "http://a b:1"] {
            let e = rules_error(bad);
            assert!(!e.contains("kim") && !e.contains("cret"), "{e}");
        }
    }

    fn rules_error(url: &str) -> String {
        rules(&[("HTTPS_PROXY", url)]).for_server(&Authority::parse("https://a").unwrap()).unwrap_err().to_string()
    }

    async fn answer_to(reply: &[u8]) -> (Result<(), ConnectError>, String, Vec<u8>) {
        let (mut near, mut far) = tokio::io::duplex(64 << 10);
        let proxy = Proxy::parse("HTTPS_PROXY", "http://kim:secret@proxy:3128").unwrap();
        let server = Authority::parse("https://suture.example:7443").unwrap();
        far.write_all(reply).await.unwrap();
        let result = proxy.tunnel(&mut near, &server).await;
        let mut asked = vec![0; 4096];
        let n = far.read(&mut asked).await.unwrap();
        asked.truncate(n);
        drop(far);
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        (result, String::from_utf8(asked).unwrap(), rest)
    }

    #[tokio::test]
    async fn a_tunnel_begins_exactly_behind_the_answer() {
        let (result, asked, rest) = answer_to(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n\x16\x03").await;
        result.unwrap();
        assert!(asked.starts_with("CONNECT suture.example:7443 HTTP/1.1\r\nHost: suture.example:7443\r\n"), "{asked}");
        assert!(asked.contains(&format!("Proxy-Authorization: Basic {}\r\n", BASE64.encode("kim:secret"))));
        assert_eq!(rest, b"\x16\x03");
    }

    #[tokio::test]
    async fn every_other_answer_is_an_error_that_says_what_to_do() {
        for (reply, want) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], "user and password"),
            (b"HTTP/1.1 403 Forbidden by \x1b[31mpolicy\r\n\r\n", "NO_PROXY"),
            (b"HTTP/1.1 302 Found\r\nLocation: https://portal\r\n\r\n", "302"),
        ] {
            let error = answer_to(reply).await.0.unwrap_err();
            let text = error.to_string();
            assert!(text.contains(want) && !text.contains('\x1b') && !text.contains("secret"), "{text}");
            assert_eq!(error.step(), "proxy");
        }
        let endless = b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat_n(&b'a', 20_000)).copied();
        for reply in [b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), b"HTTP/1.1 20\r\n\r\n".to_vec(), endless.collect()] {
            assert!(answer_to(&reply).await.0.is_err());
        }
    }
}
