//! Settings as the command line gives them.

use std::ffi::OsString;
use std::path::Path;

use crate::config::{Settings, Written};
use clap::Args;

/// Settings on the command line; each goes before SUTURE_SERVER_* in the environment and before the file.
#[derive(Args, Default)]
pub(super) struct Flags {
    /// Directory of keys and objects.
    #[arg(long)]
    data_dir: Option<String>,
    /// IP address and port to listen on.
    #[arg(long)]
    listen: Option<String>,
    /// https://host:port that devices and operators use.
    #[arg(long)]
    address: Option<String>,
    /// Further host names for the server's certificate, separated by commas.
    #[arg(long)]
    host_names: Option<String>,
    /// The domain of all identities.
    #[arg(long)]
    trust_domain: Option<String>,
    /// sqlite:<path> or postgres://user@host/name.
    #[arg(long)]
    database: Option<String>,
    /// When a device is asked to check in again.
    #[arg(long)]
    check_in_secs: Option<String>,
    /// Connections at a time.
    #[arg(long)]
    max_connections: Option<String>,
    /// From how many earlier releases deltas are prepared; 0: no deltas.
    #[arg(long)]
    delta_sources: Option<String>,
    /// What deltas may take of the object store, in GiB.
    #[arg(long)]
    delta_store_gib: Option<String>,
    /// How long calls may go on after a signal to stop.
    #[arg(long)]
    drain_secs: Option<String>,
    /// What is logged.
    #[arg(long)]
    log: Option<String>,
    /// text or json.
    #[arg(long)]
    log_format: Option<String>,
}

impl Flags {
    /// The settings that these, the environment and a file make.
    pub(super) fn into_settings(self, file: Option<&Path>) -> anyhow::Result<Settings> {
        let Self {
            data_dir,
            listen,
            address,
            host_names,
            trust_domain,
            database,
            check_in_secs,
            max_connections,
            delta_sources,
            delta_store_gib,
            drain_secs,
            log,
            log_format,
        } = self;
        let mut written = Written::default();
        if let Some(path) = file {
            match std::fs::read_to_string(path) {
                Ok(text) => written.file(path, &text),
                Err(error) => written.unreadable(path, &error),
            }
        }
        let text = |s: OsString| s.to_string_lossy().into_owned();
        written.environment(std::env::vars_os().map(|(name, value)| (text(name), text(value))));
        for (key, value) in [
            ("data_dir", data_dir),
            ("listen", listen),
            ("address", address),
            ("host_names", host_names),
            ("trust_domain", trust_domain),
            ("database", database),
            ("check_in_secs", check_in_secs),
            ("max_connections", max_connections),
            ("delta_sources", delta_sources),
            ("delta_store_gib", delta_store_gib),
            ("drain_secs", drain_secs),
            ("log", log),
            ("log_format", log_format),
        ] {
            if let Some(value) = value {
                written.flag(key, &value);
            }
        }
        Ok(Settings::of(written)?)
    }
}
