//! `agent.toml`: [`Written`] is what a person wrote, [`Settings`] what the agent works with. Every fault is named at once.

mod faults;
mod written;

use std::path::{Path, PathBuf};
use std::time::Duration;

use suture_core::id::{HardwareId, ProductId};
use suture_core::pace::Rate;

use self::faults::Faults;
pub use self::written::Written;

/// What is left free unless the configuration says otherwise: 64 MiB, for the journal, the reports and everybody else on the
/// disk.
const RESERVE_MIB: u64 = 64;
/// How often what runs is compared with what was signed, unless the configuration says otherwise: once a day.
const AUDIT_HOURS: u64 = 24;
/// How fast it is read for that: 16 MiB/s, which leaves a slow disk to others.
const AUDIT_MIB_PER_SEC: u64 = 16;
/// Probes of the device's health; more than any device needs.
const MAX_PROBES: usize = 16;
/// More than any configuration needs.
const MAX_CONFIG_BYTES: u64 = 64 << 10;

/// What the agent works with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Keys, trust, journal, outbox and what is being fetched.
    pub state_dir: PathBuf,
    /// Where the two slots and `current` are.
    pub slots_dir: PathBuf,
    /// What this device is.
    pub product: ProductId,
    /// Its hardware revision.
    pub hardware: HardwareId,
    /// How the device's software is restarted.
    pub restart: Command,
    /// How it proves its health.
    pub health: Health,
    /// How clinical use is asked after; without it a person confirms each slot.
    pub interlock: Option<Signal>,
    /// What power an install needs.
    pub power: Power,
    /// How often, and how fast, what runs is compared with what was signed.
    pub audit: Audit,
    /// How often the server is asked.
    pub poll: Duration,
    /// What fetching may take.
    pub fetch: Fetching,
}

/// How often, and how fast, what runs is compared with what was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// Between two looks.
    pub interval: Duration,
    /// What is read of the disk a second, at most.
    pub bytes_per_sec: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self { interval: Duration::from_secs(AUDIT_HOURS * 3_600), bytes_per_sec: AUDIT_MIB_PER_SEC << 20 }
    }
}

/// What fetching may take of network and disk.
#[derive(Debug, Clone)]
pub struct Fetching {
    /// Of the network, where it is not to be all that the server sends.
    pub max_rate: Option<Rate>,
    /// What is left of each disk that is written to.
    pub reserve_bytes: u64,
}

impl Default for Fetching {
    fn default() -> Self {
        Self { max_rate: None, reserve_bytes: RESERVE_MIB << 20 }
    }
}

/// A program to run, with its arguments and how long it may take.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program, then its arguments; never empty.
    pub argv: Vec<String>,
    /// Killed after that.
    pub timeout: Duration,
}

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

/// How the device's own software is asked whether it is in clinical use.
#[derive(Debug, Clone)]
pub enum Signal {
    /// By a program, called with `claim` or `release`.
    Program(Command),
    /// Over its Unix socket.
    Socket {
        /// Where.
        path: PathBuf,
        /// How long an answer may take.
        timeout: Duration,
    },
    /// By a file that whoever holds the device has made.
    LockFile(PathBuf),
}

/// What power an install needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Power {
    /// Whether the mains must be plugged in.
    pub mains: bool,
    /// The least charge of every battery, in percent; 0 where none is asked for.
    pub battery_percent: u8,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read at all.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: crate::durable::DurableError,
    },
    /// There is no such file.
    #[error("there is no configuration {}; name one with --config", .0.display())]
    Missing(PathBuf),
    /// Not TOML of the expected shape.
    #[error("the configuration {} is not valid TOML: {text}", path.display())]
    Toml {
        /// Which file.
        path: PathBuf,
        /// What and where.
        text: String,
    },
    /// Readable, with these faults.
    #[error("the configuration {} has {} fault(s):\n  {}", path.display(), faults.len(), faults.join("\n  "))]
    Faults {
        /// Which file.
        path: PathBuf,
        /// All of them.
        faults: Vec<String>,
    },
}

impl Settings {
    /// Reads and validates a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = crate::durable::read(path, MAX_CONFIG_BYTES)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?
            .ok_or_else(|| ConfigError::Missing(path.to_owned()))?;
        let toml = |text: String| ConfigError::Toml { path: path.to_owned(), text };
        let text = String::from_utf8(bytes).map_err(|_| toml("it is not UTF-8".to_owned()))?;
        let written: Written = toml::from_str(&text).map_err(|e| toml(e.to_string()))?;
        Self::validate(written).map_err(|faults| ConfigError::Faults { path: path.to_owned(), faults })
    }

    /// All faults, or the settings.
    pub fn validate(written: Written) -> Result<Self, Vec<String>> {
        let mut faults = Faults::default();
        let state_dir = faults.directory("state_dir", written.state_dir);
        let slots_dir = faults.directory("slots_dir", written.slots_dir);
        if state_dir.is_some() && state_dir == slots_dir {
            faults.add("state_dir and slots_dir are the same directory");
        }
        let product = faults.id("product", written.product);
        let hardware = faults.id("hardware", written.hardware);
        let restart = faults.table("restart", written.restart);
        let restart = restart.and_then(|r| {
            let timeout = faults.secs("restart.timeout_secs", r.timeout_secs, 60, 86_400);
            faults.command("restart", r.command, timeout)
        });
        let health = faults.table("health", written.health).and_then(|h| health(&mut faults, h));
        let interlock = written.interlock.map(|i| interlock(&mut faults, i));
        let power = written.power.map_or_else(Power::default, |p| {
            let percent = faults.within("power.battery_percent", p.battery_percent, 0, 0, 100);
            if !p.mains && percent == 0 {
                faults.add("[power] asks for nothing; write mains = true or battery_percent in it, or leave it out");
            }
            Power { mains: p.mains, battery_percent: u8::try_from(percent).unwrap_or(100) }
        });
        let written::Integrity { interval_hours, max_mib_per_sec } = written.integrity;
        let hours = faults.within("integrity.interval_hours", interval_hours, AUDIT_HOURS, 1, 8_760);
        let mib = faults.within("integrity.max_mib_per_sec", max_mib_per_sec, AUDIT_MIB_PER_SEC, 1, 1 << 20);
        let audit = Audit { interval: Duration::from_secs(hours * 3_600), bytes_per_sec: mib << 20 };
        let poll = faults.secs("poll.interval_secs", written.poll.interval_secs, 300, 86_400);
        let max_rate = written.fetch.max_rate.and_then(|text| match text.parse::<Rate>() {
            Ok(rate) if rate.is_nothing() => {
                faults.add("fetch.max_rate is 0; a device that must fetch nothing is revoked, or has no approval");
                None
            }
            Ok(rate) => Some(rate),
            Err(e) => {
                faults.add(format!("fetch.max_rate: {e}"));
                None
            }
        });
        let reserve_mib = faults.within("fetch.reserve_mib", written.fetch.reserve_mib, RESERVE_MIB, 16, 1 << 20);
        let fetch = Fetching { max_rate, reserve_bytes: reserve_mib << 20 };
        match (state_dir, slots_dir, product, hardware, restart, health, faults.0.is_empty()) {
            (Some(state_dir), Some(slots_dir), Some(product), Some(hardware), Some(restart), Some(health), true) => {
                let interlock = interlock.flatten();
                Ok(Self {
                    state_dir,
                    slots_dir,
                    product,
                    hardware,
                    restart,
                    health,
                    interlock,
                    power,
                    audit,
                    poll,
                    fetch,
                })
            }
            _ => Err(faults.0),
        }
    }
}

fn health(faults: &mut Faults, h: written::Health) -> Option<Health> {
    let deadline = faults.secs("health.deadline_secs", h.deadline_secs, 60, 86_400);
    let start_grace = Duration::from_secs(faults.within("health.start_grace_secs", h.start_grace_secs, 0, 0, 86_400));
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
    Some(Health { probes, server: h.server, start_grace, successes, interval, deadline })
}

fn interlock(faults: &mut Faults, i: written::Interlock) -> Option<Signal> {
    let timeout = faults.secs("interlock.timeout_secs", i.timeout_secs, 10, 86_400);
    match (i.command, i.socket, i.lock_file) {
        (Some(argv), None, None) => faults.command("interlock", argv, timeout).map(Signal::Program),
        (None, Some(path), None) => {
            faults.absolute("interlock.socket", path).map(|path| Signal::Socket { path, timeout })
        }
        (None, None, Some(path)) => faults.absolute("interlock.lock_file", path).map(Signal::LockFile),
        _ => {
            faults
                .add("[interlock] must name one of command, socket and lock_file; without the table a person confirms");
            None
        }
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
    use super::*;

    const GOOD: &str = r#"
        state_dir = "/var/lib/suture-agent"
        slots_dir = "/opt/device"
        product = "pump"
        hardware = "rev-a"
        [restart]
        command = ["systemctl", "restart", "pump"]
        [health]
        command = ["/opt/device/current/app/bin/pump-health"]
        [interlock]
        command = ["/usr/lib/pump/interlock"]
    "#;

    #[test]
    fn the_example_is_valid_and_defaults_are_the_documented_ones() {
        let settings = Settings::validate(toml::from_str(GOOD).unwrap()).unwrap();
        assert_eq!(settings.poll, Duration::from_secs(300));
        assert_eq!((settings.health.successes, settings.health.deadline), (3, Duration::from_secs(60)));
        assert!(matches!(settings.interlock, Some(Signal::Program(c)) if c.timeout == Duration::from_secs(10)));
        assert_eq!(settings.power, Power::default());
        assert_eq!(settings.audit, Audit { interval: Duration::from_secs(86_400), bytes_per_sec: 16 << 20 });
        assert_eq!((settings.fetch.max_rate, settings.fetch.reserve_bytes), (None, 64 << 20));
        let capped = format!("{GOOD}\n[fetch]\nmax_rate = \"2Mbit\"\nreserve_mib = 200\n");
        let fetch = Settings::validate(toml::from_str(&capped).unwrap()).unwrap().fetch;
        assert_eq!((fetch.max_rate, fetch.reserve_bytes), ("2Mbit".parse().ok(), 200 << 20));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let bad = r#"
            state_dir = "relative"
            product = "Pump"
            hardware = "rev-a"
            [restart]
            command = []
            [health]
            command = ["x"]
            successes = 0
            deadline_secs = 0
            [poll]
            interval_secs = 0
            [fetch]
            max_rate = "fast"
            reserve_mib = 1
        "#;
        let faults = Settings::validate(toml::from_str(bad).unwrap()).unwrap_err().join("\n");
        for name in [
            "state_dir",
            "slots_dir",
            "product",
            "restart.command",
            "successes",
            "deadline_secs",
            "poll",
            "max_rate",
            "reserve_mib",
        ] {
            assert!(faults.contains(name), "{name} is missing from:\n{faults}");
        }
    }

    /// The good one with another health and interlock table.
    fn with(tables: &str) -> Result<Settings, String> {
        let (before, _) = GOOD.split_once("[health]").unwrap();
        Settings::validate(toml::from_str(&format!("{before}{tables}")).unwrap()).map_err(|faults| faults.join("\n"))
    }

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

    #[test]
    fn an_interlock_is_one_of_three_and_power_is_something() {
        let health = "[health]\ncommand = [\"x\"]\n";
        let good = |tables: &str| with(&format!("{health}{tables}")).unwrap();
        assert!(matches!(good("[interlock]\nsocket = \"/run/s\"").interlock, Some(Signal::Socket { .. })));
        assert!(matches!(good("[interlock]\nlock_file = \"/var/l\"").interlock, Some(Signal::LockFile(_))));
        assert!(good("").interlock.is_none());
        let power = good("[power]\nmains = true\nbattery_percent = 40\n").power;
        assert_eq!(power, Power { mains: true, battery_percent: 40 });
        for bad in [
            "[interlock]",
            "[interlock]\nsocket = \"/run/s\"\nlock_file = \"/var/l\"",
            "[interlock]\nsocket = \"run/s\"",
            "[power]",
            "[power]\nbattery_percent = 101",
        ] {
            assert!(with(&format!("{health}{bad}\n")).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_name_is_a_fault_not_a_default() {
        assert!(toml::from_str::<Written>(&GOOD.replace("hardware =", "hardwear =")).is_err());
    }
}
