//! `suture-server run`.

use std::io::IsTerminal as _;
use std::sync::Arc;

use crate::config::LogFormat;
use crate::{App, Settings};
use anyhow::Context as _;
use sd_notify::NotifyState;
use suture_core::legible::Logged;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::SystemClock;

/// Logs to standard error, as configured.
pub(super) fn start_log(settings: &Settings) -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&settings.log)?)
        .with_ansi(std::io::stderr().is_terminal());
    match settings.log_format {
        // Attack: a device's text that goes on in a line that looks like the server's own.
        LogFormat::Text => log.with_writer(|| Logged(std::io::stderr())).init(),
        LogFormat::Json => log.with_writer(std::io::stderr).json().init(),
    }
    Ok(())
}

/// Serves until a signal.
pub(super) async fn serve(settings: Settings) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let signalled = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("asked to stop");
        notify(NotifyState::Stopping);
        signalled.cancel();
    });
    let listen = settings.listen;
    let app = App::open(settings, Arc::new(SystemClock)).await?;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}; is another server running there? `listen` says where this one is to")
    })?;
    tracing::info!(listen = %listener.local_addr()?, "serving");
    notify(NotifyState::Ready);
    app.serve(listener, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Tells the service manager, where there is one that wants to be told.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
