//! The way to the server, walked one step at a time, for the programs' `doctor`.

use jiff::Timestamp;

use super::error::Certificate;
use super::{ConnectError, Connector, Settings};

/// More than this between two clocks is worth a person's attention.
const CLOCK_TOLERANCE_SECS: i64 = 60;

/// What one test found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was tested: `address`, `proxy`, `name`, `route`, `tunnel`, `tls`, `clock`, and what a program adds.
    pub test: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What was seen, or what is wrong and what to do.
    pub text: String,
}

/// How a test went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Good,
    /// Works, but somebody should look.
    Doubtful,
    /// Does not work.
    Bad,
}

impl Finding {
    /// As it should be.
    pub fn good(test: &'static str, text: impl Into<String>) -> Self {
        Self { test, outcome: Outcome::Good, text: text.into() }
    }

    /// Works, but somebody should look.
    pub fn doubtful(test: &'static str, text: impl Into<String>) -> Self {
        Self { test, outcome: Outcome::Doubtful, text: text.into() }
    }

    /// Does not work.
    pub fn bad(test: &'static str, text: impl Into<String>) -> Self {
        Self { test, outcome: Outcome::Bad, text: text.into() }
    }

    fn failed(test: &'static str, error: &ConnectError) -> Self {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::bad(test, text)
    }
}

/// Tests name, route, proxy and TLS in turn, and ends with the first that does not work.
pub async fn probe(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err((test, error)) = walk(settings, &mut findings).await {
        findings.push(Finding::failed(test, &error));
    }
    findings
}

async fn walk(settings: &Settings, findings: &mut Vec<Finding>) -> Result<(), (&'static str, ConnectError)> {
    let connector = Connector::new(settings).map_err(|e| (e.step(), e))?;
    let server = connector.server.host_port();
    findings.push(match &connector.proxy {
        None => Finding::good("proxy", "none: the server is reached directly"),
        Some(p) => Finding::good("proxy", format!("{} from {}", p.authority.host_port(), p.variable)),
    });
    let addresses = connector.resolve().await.map_err(|e| ("name", e))?;
    let shown: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
    findings.push(Finding::good("name", format!("{} is {}", connector.peer().host, shown.join(", "))));
    let mut stream = connector.reach().await.map_err(|e| ("route", e))?;
    findings.push(Finding::good("route", format!("connected to {}", connector.peer().host_port())));
    if let Some(proxy) = &connector.proxy {
        proxy.tunnel(&mut stream, &connector.server).await.map_err(|e| ("tunnel", e))?;
        findings.push(Finding::good("tunnel", format!("the proxy lets through to {server}")));
    }
    let stream = connector.secure(stream).await.map_err(|e| ("tls", e))?;
    let session = stream.get_ref().1;
    let suite = session.negotiated_cipher_suite().map_or_else(String::new, |s| format!("{:?}", s.suite()));
    let shown = session.peer_certificates().and_then(|c| c.first()).map(|c| Certificate::read(c));
    let shown = shown.map_or_else(String::new, |c| format!(", {c}"));
    findings.push(Finding::good("tls", format!("TLS 1.3 with {server}, {suite}{shown}")));
    Ok(())
}

/// What the difference between the server's clock and this machine's means. `asked` and `answered` are this machine's
/// before and after the question that `server_ms` answers.
pub fn clock_finding(asked: Timestamp, server_ms: i64, answered: Timestamp) -> Finding {
    let middle = asked.as_millisecond().midpoint(answered.as_millisecond());
    let ahead_ms = middle.saturating_sub(server_ms);
    let secs = ahead_ms.abs() / 1_000;
    let side = if ahead_ms >= 0 { "ahead of" } else { "behind" };
    if secs <= CLOCK_TOLERANCE_SECS {
        return Finding::good("clock", format!("{} ms {side} the server's", ahead_ms.abs()));
    }
    let text = format!(
        "this machine's clock is {secs} s {side} the server's; one of them is wrong, and maintenance windows and certificates depend on it: set it (NTP)"
    );
    Finding::doubtful("clock", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_off_is_doubtful_on_either_side() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let find = |server| clock_finding(at(1_000_000), server, at(1_000_400));
        assert_eq!(find(1_000_100), Finding::good("clock", "100 ms ahead of the server's"));
        assert_eq!(find(1_060_000).outcome, Outcome::Good);
        assert_eq!(find(1_062_000).outcome, Outcome::Doubtful);
        assert!(find(1_062_000).text.contains("61 s behind"));
        assert!(find(0).text.contains("1000 s ahead of"));
        assert_eq!(find(i64::MIN).outcome, Outcome::Doubtful);
    }
}
