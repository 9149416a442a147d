//! The hostile server's end of the line: the devices' calls over real TLS, under a certificate of the captured authority.

use std::net::SocketAddr;
use std::sync::Arc;

use suture_core::clock::Clock;
use suture_core::digest::Digest;
use suture_core::limits::MAX_MESSAGE_BYTES;
use suture_core::report::Signed;
use suture_proto::v1;
use suture_proto::v1::device_service_server::{DeviceService, DeviceServiceServer};
use suture_server::connections::Connections;
use suture_server::identity::{Authority, Csr};
use suture_server::tls::Tls;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::{Request, Response, Status};
use tower::util::MapResponseLayer;

use super::act::{self, Act, Answers, Said, Sends};
use super::{Loot, more};

/// The server.
pub struct Hostile {
    address: SocketAddr,
    stage: Stage,
    _tasks: JoinSet<()>,
}

/// What is played, for whoever waits for it to go on.
#[derive(Clone)]
struct Stage(watch::Sender<Played>);

struct Played {
    act: Act,
    calls: u64,
    said: Vec<Said>,
    reports: Vec<Signed>,
}

impl Hostile {
    /// Serves `localhost` with the captured authority's certificates.
    pub async fn serve(loot: &Loot, clock: Arc<dyn Clock>) -> Self {
        let tls = Arc::new(Tls::new(loot.authority.clone(), vec!["localhost".to_owned()], clock).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let played = Played { act: Act::honest(loot), calls: 0, said: Vec::new(), reports: Vec::new() };
        let stage = Stage(watch::Sender::new(played));
        let (accepted, connections) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let places = Arc::new(Semaphore::new(1_000));
            let held = Connections::new();
            let mut handshakes = JoinSet::new();
            while let Ok((tcp, from)) = listener.accept().await {
                let permit = places.clone().acquire_owned().await.unwrap();
                let _ = tcp.set_nodelay(true);
                let (tls, accepted, held) = (tls.clone(), accepted.clone(), held.clone());
                handshakes.spawn(async move {
                    if let Ok(connection) = tls.accept((tcp, from.ip()), &held, permit).await {
                        let _ = accepted.send(Ok::<_, std::io::Error>(connection)).await;
                    }
                });
            }
        });
        // It says as much at once as it likes.
        let device = DeviceServiceServer::new(stage.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(4 * MAX_MESSAGE_BYTES);
        let incoming = futures::stream::unfold(connections, async |mut connections: mpsc::Receiver<_>| {
            connections.recv().await.map(|connection| (connection, connections))
        });
        let playing = stage.clone();
        let later = MapResponseLayer::new(move |answer: http::Response<Body>| match playing.act().says_more {
            Some(count) => answer.map(|body| more::said(body, count)),
            None => answer,
        });
        tasks.spawn(async move {
            let server = tonic::transport::Server::builder().layer(later).add_service(device);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, stage, _tasks: tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Plays another part from now on, and forgets what was said to the last one.
    pub fn play(&self, act: Act) {
        self.stage.0.send_replace(Played { act, calls: 0, said: Vec::new(), reports: Vec::new() });
    }

    /// What devices have said at check-ins since the part began.
    pub fn said(&self) -> Vec<Said> {
        self.stage.0.borrow().said.clone()
    }

    /// How often it was called since the part began.
    pub fn calls(&self) -> u64 {
        self.stage.0.borrow().calls
    }

    /// The reports that have come since the part began.
    pub fn reports(&self) -> Vec<Signed> {
        self.stage.0.borrow().reports.clone()
    }

    /// Waits until a device's `count`th check-in from now has come.
    pub async fn check_ins(&self, count: usize) {
        let before = self.said().len();
        self.stage.0.subscribe().wait_for(|played| played.said.len() >= before + count).await.unwrap();
    }
}

impl Stage {
    fn act(&self) -> Act {
        self.0.borrow().act.clone()
    }

    /// The part, for a call that begins; or what the part says to every call.
    fn called(&self) -> Result<Act, Status> {
        self.0.send_modify(|played| played.calls += 1);
        let act = self.act();
        match act.refusal {
            Some(status) => Err(status),
            None => Ok(act),
        }
    }

    fn certify(&self, csr: &[u8], device: &str) -> Vec<bytes::Bytes> {
        let act = self.act();
        let chain = match &act.certify {
            Some(certify) => certify(&act.loot.authority, csr),
            None => certificate(&act.loot.authority, csr, device, act.loot.now),
        };
        chain.into_iter().map(Into::into).collect()
    }
}

/// The audit record of this server, which has one entry and stays as it is.
fn record() -> v1::AuditNews {
    use suture_core::audit::{Checkpoint, Frontier, LogKey};
    use suture_core::digest::Digest;
    use suture_core::sign::{LocalKey, Signer as _};
    let signer = LocalKey::from_seed(&zeroize::Zeroizing::new([77; 32]));
    let key = LogKey { origin: "acme.example".parse().unwrap(), key: signer.public() };
    let mut frontier = Frontier::EMPTY;
    frontier.push(&Digest::of(b"entry"));
    let checkpoint = Checkpoint::sign(frontier.head(), &key.origin, &signer).unwrap().note().to_owned();
    v1::AuditNews { checkpoint, key: key.to_string(), ..Default::default() }
}

/// What the captured authority certifies a request's key as: any device of the hospital.
fn certificate(authority: &Authority, csr: &[u8], device: &str, now: jiff::Timestamp) -> Vec<Vec<u8>> {
    use suture_core::principal::Principal;
    let device = Principal::Device(crate::world::HDO.parse().unwrap(), device.parse().unwrap());
    authority.issue(&Csr::read(csr).unwrap(), &device, now).unwrap().chain
}

#[tonic::async_trait]
impl DeviceService for Stage {
    async fn enroll(&self, request: Request<v1::EnrollRequest>) -> Result<Response<v1::EnrollResponse>, Status> {
        self.called()?;
        let v1::EnrollRequest { csr, device_id, .. } = request.into_inner();
        Ok(Response::new(v1::EnrollResponse { chain: self.certify(&csr, &device_id) }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        self.called()?;
        let v1::RenewRequest { csr } = request.into_inner();
        Ok(Response::new(v1::RenewResponse { chain: self.certify(&csr, "pump-1") }))
    }

    async fn check_in(&self, request: Request<v1::CheckInRequest>) -> Result<Response<v1::CheckInResponse>, Status> {
        let act = self.called()?;
        let request = request.into_inner();
        let code = request.reason.as_ref().map(|r| r.code.clone()).unwrap_or_default();
        self.0.send_modify(|played| played.said.push(Said { phase: request.phase(), code }));
        let mut answer = v1::CheckInResponse {
            confirmed: true,
            server_time_ms: act.loot.now.as_millisecond(),
            next_check_in_ms: 1_000,
            words: act.words(),
            reports_stored_through: 0,
            news: (act.sends == Sends::WithCheckIn).then(|| act.news()),
            audit: Some(record()),
            events_stored_through: 0,
        };
        (act.check_in)(&mut answer);
        Ok(Response::new(answer))
    }

    async fn refresh(&self, _: Request<v1::RefreshRequest>) -> Result<Response<v1::RefreshResponse>, Status> {
        let act = self.called()?;
        Ok(Response::new(if act.sends == Sends::Singly { v1::RefreshResponse::default() } else { act.news() }))
    }

    async fn get_metadata(
        &self,
        request: Request<v1::GetMetadataRequest>,
    ) -> Result<Response<v1::GetMetadataResponse>, Status> {
        let v1::GetMetadataRequest { repository, name } = request.into_inner();
        let act = self.called()?;
        let (of, repo) = act.repo(repository.as_ref());
        let bent = act.metadata.as_ref().and_then(|bend| bend((of, name.clone())));
        let content = match bent {
            Some(answer) => answer?,
            None => repo.metadata.get(&name).cloned().ok_or_else(|| Status::not_found("no such file"))?,
        };
        Ok(Response::new(v1::GetMetadataResponse { content: content.into() }))
    }

    type GetTargetStream = Answers<v1::GetTargetResponse>;

    async fn get_target(
        &self,
        request: Request<v1::GetTargetRequest>,
    ) -> Result<Response<Self::GetTargetStream>, Status> {
        let v1::GetTargetRequest { repository, name } = request.into_inner();
        let act = self.called()?;
        let (of, repo) = act.repo(repository.as_ref());
        if let Some(answers) = act.target.as_ref().and_then(|bend| bend((of, name.clone()))) {
            return Ok(Response::new(answers));
        }
        let content = repo.targets.get(&name).cloned().ok_or_else(|| Status::not_found("no such target"))?;
        Ok(Response::new(act::pieces(content)))
    }

    type FetchChunksStream = Answers<v1::FetchChunksResponse>;

    async fn fetch_chunks(
        &self,
        request: Request<v1::FetchChunksRequest>,
    ) -> Result<Response<Self::FetchChunksStream>, Status> {
        // As from a server that knows of no chunk that was cut: what is held is sent again.
        let v1::FetchChunksRequest { index_sha256, ranges, held_bytes: _ } = request.into_inner();
        let act = self.called()?;
        let index: Digest = suture_proto::parse_digest("index_sha256", &index_sha256).unwrap();
        let all = act.loot.payloads.get(&index).ok_or_else(|| Status::not_found("no such index"))?;
        let places = ranges.iter().flat_map(|r| r.first..r.first + r.count);
        let chunks: Vec<_> = places.map(|place| (place, all[place as usize].clone())).collect();
        if let Some(answers) = act.chunks.as_ref().and_then(|bend| bend(chunks.clone())) {
            return Ok(Response::new(answers));
        }
        Ok(Response::new(act::frames(chunks)))
    }

    type GetIndexStream = Answers<v1::GetTargetResponse>;

    async fn get_index(&self, request: Request<v1::GetIndexRequest>) -> Result<Response<Self::GetIndexStream>, Status> {
        let name = format!("runs/{}", hex::encode(&request.into_inner().index_sha256));
        let bent = self.called()?.target.and_then(|bend| bend(("catalog", name)));
        bent.map(Response::new).ok_or_else(|| Status::not_found("by none of these"))
    }

    async fn get_delta(&self, request: Request<v1::GetDeltaRequest>) -> Result<Response<v1::GetDeltaResponse>, Status> {
        let v1::GetDeltaRequest { new_sha256, old_sha256 } = request.into_inner();
        let digest = |bytes: &[u8]| suture_proto::parse_digest("sha256", bytes).unwrap();
        let asked = (digest(&new_sha256), old_sha256.iter().map(|old| digest(old)).collect());
        let bent = self.called()?.delta.and_then(|bend| bend(asked));
        Ok(Response::new(bent.unwrap_or_default()))
    }

    type FetchDeltaStream = Answers<v1::FetchDeltaResponse>;

    async fn fetch_delta(
        &self,
        request: Request<v1::FetchDeltaRequest>,
    ) -> Result<Response<Self::FetchDeltaStream>, Status> {
        let asked = request.into_inner().ranges.iter().map(|range| range.count).sum();
        let bent = self.called()?.delta_parts.and_then(|bend| bend(asked));
        bent.map(Response::new).ok_or_else(|| Status::failed_precondition("no such delta"))
    }

    async fn take_lease(&self, _: Request<v1::TakeLeaseRequest>) -> Result<Response<v1::TakeLeaseResponse>, Status> {
        (self.called()?.lease)().map(Response::new)
    }

    async fn return_lease(
        &self,
        _: Request<v1::ReturnLeaseRequest>,
    ) -> Result<Response<v1::ReturnLeaseResponse>, Status> {
        self.called()?;
        Ok(Response::new(v1::ReturnLeaseResponse {}))
    }

    async fn submit_reports(
        &self,
        request: Request<v1::SubmitReportsRequest>,
    ) -> Result<Response<v1::SubmitReportsResponse>, Status> {
        let act = self.called()?;
        let v1::SubmitReportsRequest { reports } = request.into_inner();
        let reports: Vec<Signed> = reports.iter().map(|r| Signed::try_from(r).unwrap()).collect();
        let number = |r: &Signed| serde_json::from_slice::<serde_json::Value>(&r.payload).unwrap()["number"].as_u64();
        let last = reports.last().and_then(number).unwrap_or(0);
        self.0.send_modify(|played| played.reports.extend(reports));
        Ok(Response::new(v1::SubmitReportsResponse { stored_through: (act.stored)(last) }))
    }
}
