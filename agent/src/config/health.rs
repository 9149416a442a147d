//! `[health]`: how the new version proves its health.

use std::time::Duration;

use super::faults::Faults;
use super::{Command, written};

/// Probes of the device's health; more than any device needs.
const MAX_PROBES: usize = 16;

/// How the new version proves its health.
#[derive(Debug, Clone)]
pub struct Health {
    /// All of them must succeed; at least one.
    pub probes: Vec<Probe>,
    /// Whether the server must be reachable besides.
    pub server: bool,
    /// From the restart to the first probe.
    pub start_grace: Duration,
    /// That many rounds in a row in which all succeed are a proof.
    pub successes: u32,
    /// Between two rounds.
    pub interval: Duration,
    /// From the restart to the proof, at most.
    pub deadline: Duration,
}

/// One question to the new version.
#[derive(Debug, Clone)]
pub enum Probe {
    /// A program: exit code 0 means healthy.
    Command(Command),
    /// A place, `host:port`: it takes a connection.
    Tcp(String),
    /// An address, `http://host:port/path`: it answers with a status of 200 to 299.
    Http(HttpAddress),
    /// A unit of systemd: it is active.
    Unit(String),
}

/// Where a device's own software answers by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAddress {
    /// `host:port`.
    pub place: String,
    /// Path and query.
    pub path: String,
}

impl Health {
    pub(super) fn validate(faults: &mut Faults, h: written::Health) -> Option<Self> {
        let deadline = faults.secs("health.deadline_secs", h.deadline_secs, 60, 86_400);
        let start_grace =
            Duration::from_secs(faults.within("health.start_grace_secs", h.start_grace_secs, 0, 0, 86_400));
        let successes = faults.within("health.successes", h.successes.map(u64::from), 3, 1, 100);
        let interval_ms = faults.within("health.interval_ms", h.interval_ms, 1_000, 10, 600_000);
        let before = faults.0.len();
        let mut probes = Vec::new();
        // A program may take as long as the whole proof may; the deadline cuts it short.
        probes.extend(h.command.and_then(|argv| faults.command("health", argv, deadline)).map(Probe::Command));
        for place in h.tcp {
            probes.extend(tcp_place(&place).map(Probe::Tcp).map_err(|e| faults.add(format!("health.tcp: {e}"))).ok());
        }
        for address in h.http {
            let address = http_address(&address).map(Probe::Http);
            probes.extend(address.map_err(|e| faults.add(format!("health.http: {e}"))).ok());
        }
        for unit in h.unit {
            probes.extend(unit_name(unit).map(Probe::Unit).map_err(|e| faults.add(format!("health.unit: {e}"))).ok());
        }
        if probes.is_empty() && faults.0.len() == before {
            faults.add("[health] asks nothing of the new version; write command, tcp, http or unit");
        }
        if probes.len() > MAX_PROBES {
            faults.add(format!("[health] has {} probes, more than {MAX_PROBES}", probes.len()));
        }
        let interval = Duration::from_millis(interval_ms);
        let successes = u32::try_from(successes).unwrap_or(1);
        if start_grace.saturating_add(interval.saturating_mul(successes.saturating_sub(1))) >= deadline {
            faults.add("health.deadline_secs is shorter than its start grace and its successes at its interval take");
        }
        Some(Self { probes, server: h.server, start_grace, successes, interval, deadline })
    }
}

fn tcp_place(place: &str) -> Result<String, String> {
    let wrong = || format!("{place:?} is not a place like 127.0.0.1:8080");
    let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
    let plain = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    let port = port.parse::<u16>().ok().filter(|port| *port > 0);
    if plain && port.is_some() { Ok(place.to_owned()) } else { Err(wrong()) }
}

fn http_address(address: &str) -> Result<HttpAddress, String> {
    let wrong = |why: &str| format!("{address:?} is not an address like http://127.0.0.1:8080/health: {why}");
    let rest = address.strip_prefix("http://").ok_or_else(|| wrong("it does not begin with http://"))?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let place = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let place = tcp_place(&place).map_err(|e| wrong(&e))?;
    path.parse::<http::uri::PathAndQuery>().map_err(|e| wrong(&e.to_string()))?;
    Ok(HttpAddress { place, path: path.to_owned() })
}

fn unit_name(unit: String) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | ':' | '\\');
    let good = !unit.is_empty() && unit.len() <= 255 && !unit.starts_with('-') && unit.chars().all(plain);
    if good { Ok(unit) } else { Err(format!("{unit:?} is not a unit's name like pump.service")) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::with;
    use super::*;

    #[test]
    fn health_is_asked_after_in_every_way_that_is_written() {
        let health = with(
            r#"
            [health]
            command = ["x"]
            tcp = ["127.0.0.1:80", "[::1]:8080"]
            http = ["http://localhost/", "http://pump:8080/health?deep=1", "http://[::1]"]
            unit = ["pump.service"]
            server = true
            start_grace_secs = 5
            "#,
        )
        .unwrap()
        .health;
        assert_eq!((health.probes.len(), health.server, health.start_grace), (7, true, Duration::from_secs(5)));
        let http = |n: usize| match &health.probes[n] {
            Probe::Http(address) => (address.place.as_str(), address.path.as_str()),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [http(3), http(4), http(5)],
            [("localhost:80", "/"), ("pump:8080", "/health?deep=1"), ("[::1]:80", "/")]
        );
        for (bad, says) in [
            ("tcp = [\"80\"]", "health.tcp"),
            ("tcp = [\"127.0.0.1:0\"]", "health.tcp"),
            ("http = [\"https://localhost/\"]", "health.http"),
            ("http = [\"http://local host/\"]", "health.http"),
            ("unit = [\"--now\"]", "health.unit"),
            ("server = true", "asks nothing"),
            ("command = [\"x\"]\nstart_grace_secs = 60", "start grace"),
        ] {
            let faults = with(&format!("[health]\n{bad}\n")).unwrap_err();
            assert!(faults.contains(says), "{bad}: {faults}");
        }
    }
}
