//! `agent.toml`, as a person wrote it; nothing in it is believed yet.

use std::path::PathBuf;

use serde::Deserialize;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    pub(super) state_dir: Option<PathBuf>,
    pub(super) slots_dir: Option<PathBuf>,
    pub(super) product: Option<String>,
    pub(super) hardware: Option<String>,
    #[serde(default)]
    pub(super) installer: Installer,
    pub(super) restart: Option<Restart>,
    pub(super) health: Option<Health>,
    pub(super) interlock: Option<Interlock>,
    pub(super) power: Option<Power>,
    pub(super) presence: Option<Program>,
    pub(super) data: Option<Program>,
    pub(super) itself: Option<Itself>,
    #[serde(default)]
    pub(super) trial: Trial,
    #[serde(default)]
    pub(super) integrity: Integrity,
    #[serde(default)]
    pub(super) poll: Poll,
    #[serde(default)]
    pub(super) fetch: Fetch,
    #[serde(default)]
    pub(super) face: Face,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Installer {
    pub(super) kind: Option<String>,
    pub(super) prepare_timeout_secs: Option<u64>,
    pub(super) step_timeout_secs: Option<u64>,
    pub(super) command: Option<Vec<String>>,
    pub(super) place: Option<Vec<Place>>,
    pub(super) booted: Option<PathBuf>,
    pub(super) boot_id: Option<PathBuf>,
    pub(super) argument: Option<String>,
    pub(super) uboot: Option<UBoot>,
    pub(super) systemd_boot: Option<SystemdBoot>,
    pub(super) system_conf: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub(super) payload: Option<String>,
    pub(super) a: Option<PathBuf>,
    pub(super) b: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UBoot {
    pub(super) environment: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SystemdBoot {
    pub(super) entries: Option<PathBuf>,
    pub(super) name: Option<String>,
    pub(super) a: Option<PathBuf>,
    pub(super) b: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Restart {
    pub(super) command: Vec<String>,
    pub(super) timeout_secs: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    pub(super) command: Option<Vec<String>>,
    #[serde(default)]
    pub(super) tcp: Vec<String>,
    #[serde(default)]
    pub(super) http: Vec<String>,
    #[serde(default)]
    pub(super) unit: Vec<String>,
    #[serde(default)]
    pub(super) server: bool,
    pub(super) start_grace_secs: Option<u64>,
    pub(super) successes: Option<u32>,
    pub(super) interval_ms: Option<u64>,
    pub(super) deadline_secs: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Interlock {
    pub(super) command: Option<Vec<String>>,
    pub(super) socket: Option<PathBuf>,
    pub(super) lock_file: Option<PathBuf>,
    pub(super) timeout_secs: Option<u64>,
    pub(super) notify_after: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Program {
    pub(super) command: Vec<String>,
    pub(super) timeout_secs: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Power {
    #[serde(default)]
    pub(super) mains: bool,
    pub(super) battery_percent: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Itself {
    pub(super) dir: PathBuf,
    pub(super) payload: String,
    pub(super) deadline_secs: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    pub(super) starts: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Integrity {
    pub(super) interval_hours: Option<u64>,
    pub(super) max_mib_per_sec: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Face {
    pub(super) socket: Option<PathBuf>,
    pub(super) read_group: Option<String>,
    pub(super) control_group: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Poll {
    pub(super) interval_secs: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch {
    pub(super) max_rate: Option<String>,
    pub(super) reserve_mib: Option<u64>,
}
