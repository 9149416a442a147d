//! `agent.toml`: [`Written`] is what a person wrote, [`Settings`] what the agent works with. Every fault is named at once.

mod face;
mod faults;
mod health;
mod installer;
mod interlock;
mod written;

use std::path::{Path, PathBuf};
use std::time::Duration;

use suture_core::id::{HardwareId, PayloadName, ProductId};
use suture_core::pace::Rate;

pub use self::face::Face;
use self::faults::Faults;
pub use self::health::{Health, HttpAddress, Probe};
pub use self::installer::{Installing, Way};
pub use self::interlock::Signal;
pub use self::written::Written;
use crate::install::TRIAL_STARTS;

/// What is left free unless the configuration says otherwise: 64 MiB, for the journal, the reports and everybody else on the
/// disk.
const RESERVE_MIB: u64 = 64;
/// How often an interlock puts an attempt off before people are told, unless the configuration says otherwise.
const NOTIFY_AFTER: u64 = 3;
/// How often what runs is compared with what was signed, unless the configuration says otherwise: once a day.
const INTEGRITY_HOURS: u64 = 24;
/// How fast it is read for that: 16 MiB/s, which leaves a slow disk to others.
const INTEGRITY_MIB_PER_SEC: u64 = 16;
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
    /// What installs.
    pub installer: Installing,
    /// How the device's software is restarted.
    pub restart: Command,
    /// How it proves its health.
    pub health: Health,
    /// How clinical use is asked after; without it a person confirms each slot.
    pub interlock: Option<Signal>,
    /// How often the interlock puts an attempt off before people are told.
    pub notify_after: u32,
    /// What power an install needs.
    pub power: Power,
    /// Where the agent's own program lies, where it is updated.
    pub itself: Option<OwnProgram>,
    /// How often a version that is not confirmed may be started before `suture-boot` puts the old one back.
    pub trial_starts: u32,
    /// The program that knows whether a person is at the device; without it a console does.
    pub presence: Option<Command>,
    /// The program that keeps the device's data over an update that converts them.
    pub data: Option<Command>,
    /// How often, and how fast, what runs is compared with what was signed.
    pub integrity: Integrity,
    /// How often the server is asked.
    pub poll: Duration,
    /// What fetching may take.
    pub fetch: Fetching,
    /// Where people at the device ask, and who may.
    pub face: Face,
}

/// How often, and how fast, what runs is compared with what was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integrity {
    /// Between two looks.
    pub interval: Duration,
    /// What is read of the disk a second, at most.
    pub bytes_per_sec: u64,
}

impl Default for Integrity {
    fn default() -> Self {
        Self { interval: Duration::from_secs(INTEGRITY_HOURS * 3_600), bytes_per_sec: INTEGRITY_MIB_PER_SEC << 20 }
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

/// The agent's own program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnProgram {
    /// Its two slots and `current`.
    pub dir: PathBuf,
    /// Which payload of the product's bundle it is.
    pub payload: PayloadName,
    /// A new one that has not reported by then ends, and is started again or gives way.
    pub deadline: Duration,
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
        let installer = Installing::validate(&mut faults, written.installer);
        let restart = faults.table("restart", written.restart);
        let restart = restart.and_then(|r| {
            let timeout = faults.secs("restart.timeout_secs", r.timeout_secs, 60, 86_400);
            faults.command("restart", r.command, timeout)
        });
        let health = faults.table("health", written.health).and_then(|h| Health::validate(&mut faults, h));
        let notify_after = written.interlock.as_ref().and_then(|i| i.notify_after);
        let notify_after = faults.within("interlock.notify_after", notify_after, NOTIFY_AFTER, 1, 1_000);
        let interlock = written.interlock.and_then(|i| Signal::validate(&mut faults, i));
        let power = written.power.map_or_else(Power::default, |p| {
            let percent = faults.within("power.battery_percent", p.battery_percent, 0, 0, 100);
            if !p.mains && percent == 0 {
                faults.add("[power] asks for nothing; write mains = true or battery_percent in it, or leave it out");
            }
            Power { mains: p.mains, battery_percent: u8::try_from(percent).unwrap_or(100) }
        });
        let itself = written.itself.and_then(|i| {
            let deadline = faults.secs("itself.deadline_secs", i.deadline_secs, 900, 86_400);
            let dir = faults.directory("itself.dir", Some(i.dir));
            if dir.is_some() && (dir == slots_dir || dir == state_dir) {
                faults.add(
                    "itself.dir is state_dir or slots_dir; the agent's own program lies in a directory of its own",
                );
            }
            let payload = faults.id("itself.payload", Some(i.payload));
            Some(OwnProgram { dir: dir?, payload: payload?, deadline })
        });
        let trial_starts = faults.within("trial.starts", written.trial.starts, u64::from(TRIAL_STARTS), 1, 100);
        let trial_starts = u32::try_from(trial_starts).unwrap_or(1);
        let presence = written.presence.and_then(|p| {
            let timeout = faults.secs("presence.timeout_secs", p.timeout_secs, 60, 3_600);
            faults.command("presence", p.command, timeout)
        });
        let data = written.data.and_then(|d| {
            let timeout = faults.secs("data.timeout_secs", d.timeout_secs, 600, 86_400);
            faults.command("data", d.command, timeout)
        });
        let written::Integrity { interval_hours, max_mib_per_sec } = written.integrity;
        let hours = faults.within("integrity.interval_hours", interval_hours, INTEGRITY_HOURS, 1, 8_760);
        let mib = faults.within("integrity.max_mib_per_sec", max_mib_per_sec, INTEGRITY_MIB_PER_SEC, 1, 1 << 20);
        let integrity = Integrity { interval: Duration::from_secs(hours * 3_600), bytes_per_sec: mib << 20 };
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
        let face = face::face(&mut faults, written.face);
        match (state_dir, slots_dir, product, hardware, restart, health, faults.0.is_empty()) {
            (Some(state_dir), Some(slots_dir), Some(product), Some(hardware), Some(restart), Some(health), true) => {
                Ok(Self {
                    state_dir,
                    slots_dir,
                    product,
                    hardware,
                    installer,
                    restart,
                    health,
                    interlock,
                    notify_after: u32::try_from(notify_after).unwrap_or(1),
                    power,
                    itself,
                    trial_starts,
                    presence,
                    data,
                    integrity,
                    poll,
                    fetch,
                    face,
                })
            }
            _ => Err(faults.0),
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
        assert!(matches!(settings.interlock, Some(Signal::Program(c)) if c.timeout == Duration::from_secs(10)));
        assert_eq!((settings.power, settings.trial_starts, settings.itself), (Power::default(), 3, None));
        assert_eq!(settings.integrity, Integrity { interval: Duration::from_secs(86_400), bytes_per_sec: 16 << 20 });
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
    pub(super) fn with(tables: &str) -> Result<Settings, String> {
        let (before, _) = GOOD.split_once("[health]").unwrap();
        Settings::validate(toml::from_str(&format!("{before}{tables}")).unwrap()).map_err(|faults| faults.join("\n"))
    }

    #[test]
    fn power_is_asked_after_where_it_is_written() {
        let good = "[health]\ncommand = [\"x\"]\n[power]\nmains = true\nbattery_percent = 40\n";
        assert_eq!(with(good).unwrap().power, Power { mains: true, battery_percent: 40 });
        for bad in ["[power]", "[power]\nbattery_percent = 101"] {
            assert!(with(&format!("[health]\ncommand = [\"x\"]\n{bad}\n")).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_name_is_a_fault_not_a_default() {
        assert!(toml::from_str::<Written>(&GOOD.replace("hardware =", "hardwear =")).is_err());
    }
}
