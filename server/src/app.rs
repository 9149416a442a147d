//! The server as one value: what it holds, and how it serves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use suture_core::clock::Clock;
use suture_core::event::Kind;
use suture_core::limits::MAX_MESSAGE_BYTES;
use suture_proto::v1::device_service_server::DeviceServiceServer;
use suture_proto::v1::operator_service_server::OperatorServiceServer;
use tokio::net::TcpListener;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use zeroize::Zeroizing;

use crate::audit::key::{self as audit_key, KeyError};
use crate::audit::log::Log;
use crate::audit::retention;
use crate::authorities::{self, AuthoritiesError};
use crate::blobs::{BlobError, Blobs};
use crate::config::Settings;
use crate::connections::Connections;
use crate::delta::{self, Deltas};
use crate::events::out::Way;
use crate::events::{self, Events, Turn};
use crate::export::syslog::SyslogError;
use crate::exposure;
use crate::grpc::{Api, Bulk};
use crate::identity::Authority;
use crate::init::{SEAL_BYTES, SEAL_FILE};
use crate::notice::courier::{self, Courier};
use crate::notice::sender::Sender;
use crate::publish::turns::Turns;
use crate::rights::Rights;
use crate::rollout::leader::{self, Leader};
use crate::rollout::news::News;
use crate::store::{Store, StoreError};
use crate::tls::{Connection, Tls, TlsError};
use crate::transfer::Transfer;
use crate::transfer::pace::Pace;

/// What a peer may send in one HTTP/2 frame. Larger frames make bulk transfer faster (16 KiB: half the speed).
const MAX_FRAME_BYTES: u32 = 256 << 10;
/// Calls at a time on one connection: each may hold a message in memory.
const MAX_STREAMS: u32 = 16;
/// Headers of one request.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// A connection on which nothing is heard is asked whether it lives, …
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// … and dropped if it does not say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// After a failed accept, as when file descriptors have run out, the next is tried after that long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Where every place is taken, and by connections that are busy, it is looked for one again after that long.
const ROOM_PAUSE: Duration = Duration::from_millis(500);
/// How often the server's own certificate is looked at.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(3_600);

/// How long background work that holds a claim may take to give it back.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Why the server cannot start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A file that `suture-server init` makes is missing or cannot be read.
    #[error("cannot read {path}; `suture-server init` makes it for a new server, for this one restore the backup's")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The authority's files are missing, damaged or do not fit.
    #[error("the certificate authority cannot be used")]
    Authority(#[from] AuthoritiesError),
    /// The seal key is damaged.
    #[error("{0} does not hold 64 hexadecimal digits; restore the backup's, for no other opens the online keys")]
    Seal(PathBuf),
    /// The database.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    /// The object store.
    #[error("the object store cannot be used")]
    Blobs(#[from] BlobError),
    /// The audit record's key.
    #[error("the audit record cannot be used")]
    Record(#[from] KeyError),
    /// TLS.
    #[error("TLS cannot be offered")]
    Tls(#[from] TlsError),
    /// The reflection service.
    #[error("the service's description cannot be offered")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The receiver of security events.
    #[error("security events cannot be sent")]
    Events(#[from] SyslogError),
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
    /// The transport.
    #[error("the server's transport failed")]
    Transport(#[from] tonic::transport::Error),
}

/// A server. What is here is shared by all its calls; nothing that matters is only in memory.
pub struct App {
    settings: Settings,
    clock: Arc<dyn Clock>,
    store: Store,
    blobs: Blobs,
    authority: Arc<Authority>,
    rights: Rights,
    events: Events,
    seal: Zeroizing<String>,
    log: Log,
    tls: Tls,
    transfer: Transfer,
    pace: Pace,
    deltas: Deltas,
    news: News,
    turns: Turns,
}

impl App {
    /// Opens everything that the settings name, and binds nothing.
    pub async fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, AppError> {
        let dir = &settings.data_dir;
        let authority = Arc::new(authorities::load(dir, &settings.trust_domain)?);
        let seal = read_seal(&dir.join(SEAL_FILE))?;
        let mut hosts = vec![settings.address.host.clone()];
        hosts.extend(settings.host_names.iter().cloned());
        let tls = Tls::new(authority.clone(), hosts, clock.clone())?;
        let blobs = match &settings.s3 {
            Some((place, way)) => {
                if dir.join("objects/packs").exists() {
                    tracing::warn!(directory = %dir.join("objects").display(), %place, "objects are in the bucket; the directory's are not read");
                }
                Blobs::open_s3(place, way, clock.clone()).await?
            }
            None => Blobs::open(&dir.join("objects"), clock.now()).await?,
        };
        let store = Store::open(settings.database.url()).await?;
        let mut tx = store.begin().await?;
        audit_key::ensure(&mut tx, &settings.trust_domain, &seal, clock.now()).await?;
        tx.commit().await?;
        let log = Log::new(store.clone(), settings.trust_domain.clone());
        let events = Events::default();
        let rights = Rights::new(store.clone(), clock.clone(), events.clone());
        let transfer = Transfer::new(store.clone(), blobs.clone(), clock.clone());
        let pace = Pace::new(store.clone(), clock.clone());
        let deltas = Deltas::new(store.clone(), blobs.clone(), &settings);
        let news = News::new();
        Ok(Arc::new(Self {
            settings,
            clock,
            store,
            blobs,
            authority,
            rights,
            events,
            seal,
            log,
            tls,
            transfer,
            pace,
            deltas,
            news,
            turns: Turns::default(),
        }))
    }

    /// What it runs by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whose turn it is to publish.
    pub(crate) const fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The objects.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Who is who.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Who may do what.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// What the online keys in the database are sealed under.
    pub fn seal(&self) -> &str {
        &self.seal
    }

    /// The audit record, as others see it.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Security events on their way into the database.
    pub(crate) const fn events(&self) -> &Events {
        &self.events
    }

    /// Chunks in and out.
    pub(crate) fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// Who may fetch, and how fast.
    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Payloads by way of others.
    pub(crate) fn deltas(&self) -> &Deltas {
        &self.deltas
    }

    /// Word for those who watch rollouts.
    pub(crate) fn news(&self) -> &News {
        &self.news
    }

    /// Serves until `shutdown`; then takes no more calls, lets those under way end within the drain time, and closes the
    /// database.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) -> Result<(), AppError> {
        let routes = self.routes().await?;
        let ways = Way::all(&self.settings.events)?;
        events::run::begin(&self.events, &self.settings, self.now());
        crate::publish::look(&self).await;
        let mut tasks = JoinSet::new();
        let (accepted, connections) = mpsc::channel(64);
        tasks.spawn(self.clone().accept(listener, accepted, shutdown.clone()));
        tasks.spawn(self.clone().keep_certificate(shutdown.clone()));
        tasks.spawn(crate::publish::keep_fresh(self.clone(), shutdown.clone()));
        let leader = Leader::new(self.store.clone())?;
        tasks.spawn(self.clone().keep_rollouts(leader.clone(), shutdown.clone()));
        tasks.spawn(self.clone().keep_letters(self.courier()?, shutdown.clone()));
        tasks.spawn(self.pace.clone().keep(shutdown.clone()));
        tasks.spawn(self.news.clone().fall_silent_after(shutdown.clone()));
        tasks.spawn(exposure::index::begin(self.clone(), shutdown.clone()));
        tasks.spawn(events::keep::keep(self.clone(), shutdown.clone()));
        let turn = Turn::new(self.store.clone(), "lost-devices")?;
        tasks.spawn(events::lost::keep(self.clone(), turn, shutdown.clone()));
        let turn = Turn::new(self.store.clone(), "overdue-assessments")?;
        tasks.spawn(events::overdue::keep(self.clone(), turn, shutdown.clone()));
        let turn = Turn::new(self.store.clone(), "audit-retention")?.every(retention::LOOK);
        tasks.spawn(retention::keep(self.clone(), turn, shutdown.clone()));
        for way in ways {
            let turn = Turn::new(self.store.clone(), way.job())?;
            tasks.spawn(events::out::keep(self.clone(), way, turn, shutdown.clone()));
        }
        let deltas = tokio::spawn(delta::keep(self.clone(), shutdown.clone()));
        let serving = Server::builder()
            .max_frame_size(MAX_FRAME_BYTES)
            .max_concurrent_streams(MAX_STREAMS)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .layer(self.rights.clone())
            .add_routes(routes)
            .serve_with_incoming_shutdown(ReceiverStream::new(connections), shutdown.clone().cancelled_owned());
        let drained = {
            let (shutdown, drain) = (shutdown.clone(), self.settings.drain);
            async move {
                shutdown.cancelled().await;
                tokio::time::sleep(drain).await;
            }
        };
        let ended = tokio::select! {
            ended = serving => ended,
            () = drained => {
                tracing::warn!(drain_secs = self.settings.drain.as_secs(), "calls were still under way and are cut");
                Ok(())
            }
        };
        shutdown.cancel();
        tasks.shutdown().await;
        // What this server had claimed is given back, so that another need not wait for that to run out.
        if tokio::time::timeout(LAST_WORD, deltas).await.is_err() {
            tracing::warn!("the making of deltas did not stop in time");
        }
        if tokio::time::timeout(LAST_WORD, leader.resign()).await.is_err() {
            tracing::warn!("the claim on rollouts was not given back in time");
        }
        // After what was being written when its task was ended above.
        if tokio::time::timeout(LAST_WORD, events::keep::flush(&self.events, &self.store, self.now())).await.is_err() {
            tracing::warn!("the last security events were not written in time");
        }
        events::run::end(&self.settings);
        self.store.close().await;
        Ok(ended?)
    }

    /// Every service. Each is reached through the table of rights only.
    async fn routes(self: &Arc<Self>) -> Result<Routes, AppError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_service_status("", tonic_health::ServingStatus::Serving).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(suture_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let api = Api::new(self.clone());
        let device = DeviceServiceServer::new(api.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let operator = OperatorServiceServer::new(api)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Routes::new(health_service)
            .add_service(reflection)
            .add_service(Bulk::new(device, self.transfer.clone(), self.pace.clone()))
            .add_service(Bulk::new(operator, self.transfer.clone(), self.pace.clone())))
    }

    /// Accepts within the bound on connections and shakes hands beside one another, so that a slow client delays nobody.
    async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        accepted: mpsc::Sender<Result<Connection, std::io::Error>>,
        shutdown: CancellationToken,
    ) {
        let places = Arc::new(Semaphore::new(self.settings.max_connections));
        let connections = Connections::new();
        let mut keeping = JoinSet::new();
        keeping.spawn(connections.clone().keep(shutdown.clone()));
        let mut handshakes = JoinSet::new();
        loop {
            let next = async {
                let place = place(&places, &connections).await;
                (place, listener.accept().await)
            };
            let (place, tcp) = tokio::select! {
                () = shutdown.cancelled() => return,
                Some(_) = handshakes.join_next() => continue,
                next = next => next,
            };
            let (tcp, from) = match tcp {
                Ok(tcp) => tcp,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = place else { return };
            let (app, accepted, connections) = (self.clone(), accepted.clone(), connections.clone());
            handshakes.spawn(async move {
                if let Err(error) = tcp.set_nodelay(true) {
                    tracing::debug!(%from, %error, "nodelay could not be set");
                }
                match app.tls.accept((tcp, from.ip()), &connections, place).await {
                    // Nobody receives any more once the server is shutting down.
                    Ok(connection) => drop(accepted.send(Ok(connection)).await),
                    Err(error) => {
                        let why = error.to_string();
                        app.events.tell(Kind::HandshakeRefused, None, &from.ip().to_string(), &why, app.now());
                        tracing::info!(%from, error = &error as &dyn std::error::Error, "a connection was refused");
                    }
                }
            });
        }
    }

    /// Carries out what time alone makes due in rollouts, if this server leads.
    async fn keep_rollouts(self: Arc<Self>, leader: Leader, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(leader::LOOK)).await.is_some() {
            match leader.look(self.clock.now()).await {
                Ok(true) => self.news.tell(),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the rollouts could not be advanced");
                }
            }
        }
    }

    /// What delivers letters, as this server is configured.
    fn courier(&self) -> Result<Courier, AppError> {
        let Settings { webhook_authorities, webhook_networks, webhook_proxy, .. } = &self.settings;
        let rules = (webhook_authorities.clone(), webhook_networks.clone(), webhook_proxy.clone());
        let sender = Sender::new(rules, self.settings.address.host.clone(), self.clock.clone());
        Ok(Courier::new(self.store.clone(), sender, self.seal.clone())?)
    }

    /// Repeats and delivers letters, if this server has the job.
    async fn keep_letters(self: Arc<Self>, courier: Courier, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(courier::LOOK)).await.is_some() {
            if let Err(error) = courier.look(self.clock.now()).await {
                tracing::error!(error = &error as &dyn std::error::Error, "letters could not be delivered");
            }
        }
    }

    async fn keep_certificate(self: Arc<Self>, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(CERTIFICATE_CHECK)).await.is_some() {
            match self.tls.renew(self.clock.now()) {
                Ok(true) => tracing::info!("made a new server certificate"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the server certificate was not renewed");
                }
            }
        }
    }
}

/// A place for one more connection. Where there is none, one is made.
async fn place(places: &Arc<Semaphore>, connections: &Connections) -> Result<OwnedSemaphorePermit, AcquireError> {
    while places.available_permits() == 0 && !places.is_closed() {
        connections.make_room();
        if let Ok(place) = tokio::time::timeout(ROOM_PAUSE, places.clone().acquire_owned()).await {
            return place;
        }
    }
    places.clone().acquire_owned().await
}

fn read(path: &Path) -> Result<Zeroizing<String>, AppError> {
    let text = std::fs::read_to_string(path).map_err(|source| AppError::File { path: path.to_owned(), source })?;
    Ok(Zeroizing::new(text))
}

/// The seal key as `init` writes it. One that was cut or altered would come to light only at the next publication.
pub(crate) fn read_seal(path: &Path) -> Result<Zeroizing<String>, AppError> {
    let seal = Zeroizing::new(read(path)?.trim().to_owned());
    let mut bytes = Zeroizing::new([0; SEAL_BYTES]);
    match hex::decode_to_slice(seal.as_bytes(), bytes.as_mut_slice()) {
        Ok(()) => Ok(seal),
        Err(_) => Err(AppError::Seal(path.to_owned())),
    }
}

#[cfg(test)]
mod tests;
