//! `agent.toml`: [`Written`] is what a person wrote, [`Settings`] what the agent works with. Every fault is named at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use suture_core::id::{HardwareId, ProductId};
use suture_core::pace::Rate;

/// What is left free unless the configuration says otherwise: 64 MiB, for the journal, the reports and everybody else on the
/// disk.
const RESERVE_MIB: u64 = 64;
/// More than any configuration needs.
const MAX_CONFIG_BYTES: u64 = 64 << 10;

/// The file as it was written; nothing in it is believed yet.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    state_dir: Option<PathBuf>,
    slots_dir: Option<PathBuf>,
    product: Option<String>,
    hardware: Option<String>,
    restart: Option<WrittenRestart>,
    health: Option<WrittenHealth>,
    interlock: Option<WrittenInterlock>,
    #[serde(default)]
    poll: WrittenPoll,
    #[serde(default)]
    fetch: WrittenFetch,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRestart {
    command: Vec<String>,
    timeout_secs: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHealth {
    command: Vec<String>,
    successes: Option<u32>,
    interval_ms: Option<u64>,
    deadline_secs: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenInterlock {
    command: Vec<String>,
    timeout_secs: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPoll {
    interval_secs: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFetch {
    max_rate: Option<String>,
    reserve_mib: Option<u64>,
}

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
    pub interlock: Option<Command>,
    /// How often the server is asked.
    pub poll: Duration,
    /// What fetching may take.
    pub fetch: Fetching,
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
    /// Exit code 0 means healthy.
    pub command: Command,
    /// That many in a row are a proof.
    pub successes: u32,
    /// Between two probes.
    pub interval: Duration,
    /// From the restart to the proof, at most.
    pub deadline: Duration,
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
        let restart = restart.and_then(|r| faults.command("restart", r.command, r.timeout_secs, 60));
        let health = faults.table("health", written.health).and_then(|h| {
            let deadline = faults.secs("health.deadline_secs", h.deadline_secs, 60, 86_400);
            let successes = faults.within("health.successes", h.successes.map(u64::from), 3, 1, 100);
            let interval_ms = faults.within("health.interval_ms", h.interval_ms, 1_000, 10, 600_000);
            // A probe may take as long as the whole proof may; the deadline cuts it short.
            let command = faults.command("health", h.command, Some(deadline.as_secs()), 60)?;
            let interval = Duration::from_millis(interval_ms);
            let successes = u32::try_from(successes).unwrap_or(1);
            if interval.saturating_mul(successes.saturating_sub(1)) >= deadline {
                faults.add("health.deadline_secs is shorter than its successes at its interval take");
            }
            Some(Health { command, successes, interval, deadline })
        });
        let interlock = written.interlock.map(|i| faults.command("interlock", i.command, i.timeout_secs, 10));
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
                Ok(Self { state_dir, slots_dir, product, hardware, restart, health, interlock, poll, fetch })
            }
            _ => Err(faults.0),
        }
    }
}

#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: impl Into<String>) {
        self.0.push(fault.into());
    }

    fn table<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(format!("[{name}] is missing"));
        }
        value
    }

    fn directory(&mut self, name: &str, value: Option<PathBuf>) -> Option<PathBuf> {
        match value {
            None => self.add(format!("{name} is missing")),
            Some(path) if !path.is_absolute() => {
                self.add(format!("{name} is {:?}; it must be an absolute path", path.display().to_string()));
            }
            Some(path) => return Some(path),
        }
        None
    }

    fn id<T: std::str::FromStr<Err: std::fmt::Display>>(&mut self, name: &str, value: Option<String>) -> Option<T> {
        let Some(value) = value else {
            self.add(format!("{name} is missing"));
            return None;
        };
        value.parse().map_err(|e| self.add(format!("{name}: {e}"))).ok()
    }

    fn within(&mut self, name: &str, value: Option<u64>, default: u64, least: u64, most: u64) -> u64 {
        let value = value.unwrap_or(default);
        if !(least..=most).contains(&value) {
            self.add(format!("{name} is {value}; it must be {least} to {most}"));
        }
        value.clamp(least, most)
    }

    fn secs(&mut self, name: &str, value: Option<u64>, default: u64, most: u64) -> Duration {
        Duration::from_secs(self.within(name, value, default, 1, most))
    }

    fn command(&mut self, table: &str, argv: Vec<String>, timeout: Option<u64>, default: u64) -> Option<Command> {
        let timeout = self.secs(&format!("{table}.timeout_secs"), timeout, default, 86_400);
        match argv.first().map(String::as_str) {
            None | Some("") => {
                self.add(format!("{table}.command is empty; it names a program and its arguments"));
                None
            }
            Some(_) => Some(Command { argv, timeout }),
        }
    }
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
        assert_eq!(settings.interlock.unwrap().timeout, Duration::from_secs(10));
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

    #[test]
    fn an_unknown_name_is_a_fault_not_a_default() {
        assert!(toml::from_str::<Written>(&GOOD.replace("hardware =", "hardwear =")).is_err());
    }
}
