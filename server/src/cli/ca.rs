//! `suture-server ca`: how one certificate authority takes another's place.

use std::path::Path;

use crate::authorities::{self, AuthoritiesError, Listed};
use anyhow::Context as _;
use jiff::Timestamp;
use suture_core::clock::Clock as _;
use suture_core::id::TrustDomain;

use super::SystemClock;
use super::{Configured, Output};

/// The subcommands.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Which authorities there are.
    #[command(after_help = "Example: suture-server ca show --config server.toml")]
    Show(Configured),
    /// Make another one, which is believed and not used yet.
    #[command(after_help = "Example: suture-server ca prepare --config server.toml")]
    Prepare(Configured),
    /// Let the prepared one certify; the key of the one before is destroyed.
    #[command(after_help = "Example: suture-server ca switch --config server.toml")]
    Switch(Configured),
    /// Believe the former ones no longer: whoever still has a certificate of theirs has to enrol again.
    #[command(after_help = "Example: suture-server ca retire --config server.toml")]
    Retire(Configured),
}

/// Runs one.
pub(super) async fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Show(configured) => {
            let settings = configured.settings()?;
            output.print(&authorities::list(&settings.data_dir, &settings.trust_domain)?, Listed::text)
        }
        Command::Prepare(configured) => change(configured, "ca.prepare", output, authorities::prepare).await,
        Command::Switch(configured) => {
            change(configured, "ca.switch", output, |dir, domain, _| authorities::switch(dir, domain)).await
        }
        Command::Retire(configured) => {
            change(configured, "ca.retire", output, |dir, domain, _| authorities::retire(dir, domain)).await
        }
    }
}

async fn change(
    configured: Configured,
    action: &str,
    output: Output,
    step: impl FnOnce(&Path, &TrustDomain, Timestamp) -> Result<Listed, AuthoritiesError>,
) -> anyhow::Result<()> {
    let (settings, now) = (configured.settings()?, SystemClock.now());
    let listed = step(&settings.data_dir, &settings.trust_domain, now)?;
    authorities::record(&settings, action, &listed, now).await.context("done, but not noted in the audit trail")?;
    output.print(&listed, Listed::text)
}
