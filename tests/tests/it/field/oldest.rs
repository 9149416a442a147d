//! The agent of the first release goes the whole way of a patch at the present server, and so does one of a release to come.
//!
//! Both are played here from their messages ([`super::spoken`]), not by the present agent, which would say whatever it says today.
//! What is signed is written out likewise. The one to come says more in every message than the server knows.

use bytes::{Buf as _, BufMut as _};
use jiff::Timestamp;
use prost::Message;
use serde_json::{Value, json};
use suture_core::chunk::{self, Index};
use suture_core::clock::{Clock as _, format_utc};
use suture_core::digest::Digest;
use suture_core::manifest::Manifest;
use suture_core::sign::Signer as _;
use suture_core::token::Token;
use suture_tests::hostile::MORE;
use suture_tests::world::wire::{Newcomer, report_key};
use suture_tests::world::{HDO, Kind, Operator, Spec, World};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::spoken;
use crate::ward::Ward;

/// Of which release an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Oldest,
    ToCome,
}

/// What comes is read as it was; what goes is bytes already.
struct Plain<A>(std::marker::PhantomData<A>);

impl<A: Message + Default + Send + 'static> Codec for Plain<A> {
    type Encode = Vec<u8>;
    type Decode = A;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self(std::marker::PhantomData)
    }
    fn decoder(&mut self) -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<A: Send + 'static> Encoder for Plain<A> {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl<A: Message + Default + Send + 'static> Decoder for Plain<A> {
    type Item = A;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<A>, Status> {
        A::decode(buffer.copy_to_bytes(buffer.remaining())).map(Some).map_err(|e| Status::internal(e.to_string()))
    }
}

/// A device with such an agent.
struct Agent {
    age: Age,
    id: &'static str,
    calls: Channel,
    reports: u64,
}

impl Agent {
    /// Makes a call, and gives all that is answered.
    async fn asked<Q: Message, A: Message + Default + 'static>(
        &self,
        call: &str,
        request: &Q,
    ) -> Result<Vec<A>, Status> {
        let mut bytes = request.encode_to_vec();
        if self.age == Age::ToCome {
            bytes.extend_from_slice(MORE);
        }
        let path = format!("/suture.v1.DeviceService/{call}").parse().unwrap();
        let mut calls = tonic::client::Grpc::new(self.calls.clone());
        calls.ready().await.unwrap();
        let answer = calls.server_streaming(Request::new(bytes), path, Plain(std::marker::PhantomData)).await?;
        let (mut answers, mut stream) = (Vec::new(), answer.into_inner());
        while let Some(answer) = stream.message().await? {
            answers.push(answer);
        }
        Ok(answers)
    }

    /// The same of a call that has one answer.
    async fn ask<Q: Message, A: Message + Default + 'static>(&self, call: &str, request: &Q) -> Result<A, Status> {
        let mut answers = self.asked(call, request).await?;
        assert_eq!(answers.len(), 1, "{call}");
        Ok(answers.remove(0))
    }

    /// Spends a token, and is confirmed by what the device shows.
    async fn enrolled(world: &World, kim: &Operator, id: &'static str, age: Age) -> Self {
        let token = kim.json(&["device", "token", id]).await.unwrap()["token"].as_str().unwrap().to_owned();
        let newcomer = Newcomer::default();
        let mut agent = Self { age, id, calls: world.connect(None).await.unwrap(), reports: 0 };
        let enroll = spoken::Enroll {
            secret: Token::decode(&token).unwrap().secret.as_bytes().to_vec(),
            csr: newcomer.csr(),
            report_key: report_key().public().as_bytes().to_vec(),
            device: id.to_owned(),
            product: "pump".to_owned(),
            hardware: "rev-a".to_owned(),
        };
        let spoken::Certified { chain } = agent.ask("Enroll", &enroll).await.unwrap();
        agent.calls = world.connect(Some(newcomer.certified(&chain))).await.unwrap();
        assert!(!agent.checks_in(None, "").await.confirmed, "nobody has compared its fingerprint");
        let shown = newcomer.fingerprint().to_string();
        kim.run(&["device", "confirm", id, "--fingerprint", &shown, "--yes"]).await.unwrap();
        let again = spoken::Renew { csr: newcomer.csr() };
        let spoken::Certified { chain } = agent.ask("Renew", &again).await.unwrap();
        agent.calls = world.connect(Some(newcomer.certified(&chain))).await.unwrap();
        agent
    }

    /// With the manifest that runs, where it has been provisioned.
    async fn checks_in(&self, runs: Option<&Manifest>, approval: &str) -> spoken::CheckedIn {
        let held = || Some(spoken::Held { root: 0 });
        let said = spoken::CheckIn {
            product: "pump".to_owned(),
            hardware: "rev-a".to_owned(),
            version: runs.map(|m| m.version.to_string()).unwrap_or_default(),
            release: runs.map_or(0, |m| m.release.0),
            manifest: runs.map(|m| Digest::of(&m.to_bytes().unwrap()).as_bytes().to_vec()).unwrap_or_default(),
            // A phase and a reason that the server has never heard of.
            phase: if self.age == Age::Oldest { 4 } else { 4_000 },
            reason: (self.age == Age::ToCome)
                .then(|| spoken::Reason { code: "moon-phase".to_owned(), text: "not this month".to_owned() }),
            approval: approval.to_owned(),
            agent: if self.age == Age::Oldest { "0.1.0".to_owned() } else { "9.0.0".to_owned() },
            held: Some(spoken::Refresh { catalog: held(), approvals: held() }),
        };
        self.ask("CheckIn", &said).await.unwrap()
    }

    async fn target(&self, repository: spoken::Repository, name: &str) -> Vec<u8> {
        let named = spoken::Named { repository: Some(repository), name: name.to_owned() };
        let pieces: Vec<spoken::Content> = self.asked("GetTarget", &named).await.unwrap();
        pieces.into_iter().flat_map(|piece| piece.content).collect()
    }

    /// Signs and hands over one report.
    async fn reports(&mut self, at: Timestamp, told: Value) -> Result<u64, Status> {
        let mut report = json!({
            "_type": "suture-report", "hdo": HDO, "device": self.id, "number": self.reports + 1, "at": format_utc(at),
            "product": "pump", "integrity": null, "reason": null, "stop": null, "sources": null, "catalog": null,
            "approvals": null,
        });
        report.as_object_mut().unwrap().extend(told.as_object().unwrap().clone());
        let payload = serde_json::to_vec(&report).unwrap();
        let signature = report_key().sign(&payload).unwrap().0.to_vec();
        let report = spoken::Report { payload, signature };
        let spoken::Submitted { stored_through } =
            self.ask("SubmitReports", &spoken::Submit { reports: vec![report] }).await?;
        self.reports = stored_through;
        Ok(stored_through)
    }
}

const CATALOG: spoken::Repository = spoken::Repository { catalog: Some(true), approvals: None };

/// The name under which a target of that path is served, by the newest targets metadata that came.
fn served(news: &spoken::OfOne, path: &str) -> String {
    let newest =
        |file: &&spoken::File| file.name.strip_suffix(".targets.json").and_then(|version| version.parse::<u64>().ok());
    let targets = news.files.iter().filter(|file| newest(file).is_some()).max_by_key(newest).unwrap();
    let targets: Value = serde_json::from_slice(&targets.content).unwrap();
    let digest = targets["signed"]["targets"][path]["hashes"]["sha256"].as_str().unwrap();
    let (dir, file) = path.rsplit_once('/').unwrap();
    format!("{dir}/{digest}.{file}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_agent_and_one_to_come_bring_a_patch_home() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let mut ward = Ward::open(world, Spec::default(), &["pump-9"]).await;
    let file = ward.world.path("more.csv");
    let rows =
        "id,product,hardware,ward,serial,udi\npump-1,pump,rev-a,icu,SN-1,UDI-1\npump-2,pump,rev-a,icu,SN-2,UDI-2\n";
    std::fs::write(&file, rows).unwrap();
    ward.kim.run(&["device", "import", "--csv", file.to_str().unwrap()]).await.unwrap();
    for (id, age) in [("pump-1", Age::Oldest), ("pump-2", Age::ToCome)] {
        let mut agent = Agent::enrolled(&ward.world, &ward.kim, id, age).await;
        brings_home(&mut ward, &mut agent).await;
    }
}

async fn brings_home(ward: &mut Ward, agent: &mut Agent) {
    let plan = ward.world.path("plan.json");
    let plan = plan.to_str().unwrap();
    let args =
        ["rollout", "plan", "--bundle", "pump@2", "--device", agent.id, "--slots", "1", "--slack", "60s", "--leases"];
    ward.kim.run(&[&args[..], &["-o", plan]].concat()).await.unwrap();
    let approved = ward.kim.json(&["rollout", "approve", plan, "--reason", "tested"]).await.unwrap();
    let rollout = approved["rollout"].as_str().unwrap().to_owned();

    // What is approved, and what the manufacturer says of it.
    let heard = agent.checks_in(None, "").await;
    assert!(heard.confirmed && heard.next_ms > 0);
    assert_eq!(heard.words, [spoken::Word { approval: rollout.clone(), go: true }]);
    let news = heard.news.unwrap();
    let refreshed: spoken::News = agent
        .ask("Refresh", &spoken::Refresh { catalog: Some(spoken::Held { root: 0 }), approvals: None })
        .await
        .unwrap();
    assert_eq!(refreshed, spoken::News { approvals: None, ..news.clone() });
    let named = spoken::Named { repository: Some(CATALOG), name: "1.root.json".to_owned() };
    let root: spoken::Content = agent.ask("GetMetadata", &named).await.unwrap();
    assert!(!root.content.is_empty());
    let own = spoken::Repository { catalog: None, approvals: Some(String::new()) };
    let head = agent.target(own, &served(&news.approvals.unwrap(), &format!("approvals/{rollout}.json"))).await;
    let head: Value = serde_json::from_slice(&head).unwrap();
    let step = &head["terms"]["steps"][0];
    let bytes = agent.target(CATALOG, &served(&news.catalog.unwrap(), step["path"].as_str().unwrap())).await;
    assert_eq!(step["sha256"], json!(Digest::of(&bytes)));
    let manifest = Manifest::parse(&bytes).unwrap();

    // Every byte of it.
    let payload = &manifest.payloads[0];
    let index = agent.target(CATALOG, &format!("documents/{}", payload.index_sha256)).await;
    let index = Index::parse(&index).unwrap();
    let whole = spoken::Run { first: 0, count: u32::try_from(index.entries().len()).unwrap() };
    let wanted = spoken::FetchChunks { index: payload.index_sha256.as_bytes().to_vec(), ranges: vec![whole] };
    let came: Vec<spoken::Chunks> = agent.asked("FetchChunks", &wanted).await.unwrap();
    let mut raw = Vec::new();
    for spoken::Chunks { chunks, data } in came {
        let mut data = data.as_slice();
        for spoken::Chunk { ordinal, stored_length } in chunks {
            let (stored, rest) = data.split_at(stored_length as usize);
            raw.extend_from_slice(&chunk::decode(stored, &index.entries()[ordinal as usize]).unwrap());
            data = rest;
        }
    }
    assert_eq!((raw.len() as u64, Digest::of(&raw)), (payload.length, payload.sha256));

    // Down, and back. What the server does not know of a device's safety it refuses to the device's face.
    let lease = |stage| spoken::TakeLease { approval: rollout.clone(), stage };
    if agent.age == Age::ToCome {
        let refused = agent.ask::<_, spoken::Leased>("TakeLease", &lease(70)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    for stage in 1..=3 {
        let leased: spoken::Leased = agent.ask("TakeLease", &lease(stage)).await.unwrap();
        assert!(leased.lease.is_some(), "stage {stage}");
    }
    agent.ask::<_, spoken::Nothing>("ReturnLease", &spoken::Nothing {}).await.unwrap();

    // What it signs is counted; what says more than the server can read is not, nor lost.
    let runs = json!({ "version": "1.1.0", "release": 2, "manifest": Digest::of(&bytes) });
    let told =
        |phase: &str| json!({ "running": runs, "approval": rollout, "manifest": Digest::of(&bytes), "phase": phase });
    let now = ward.world.clock.now();
    assert_eq!(agent.reports(now, told("installing")).await.unwrap(), 1);
    if agent.age == Age::ToCome {
        let mut more = told("confirmed");
        more["moon"] = json!("full");
        let refused = agent.reports(now, more).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert_eq!(agent.checks_in(Some(&manifest), &rollout).await.stored_through, 1);
    }
    assert_eq!(agent.reports(now, told("confirmed")).await.unwrap(), 2);
    assert_eq!(agent.checks_in(Some(&manifest), "").await.stored_through, 2);
    let shown = ward.kim.json(&["device", "show", agent.id]).await.unwrap();
    assert_eq!(
        (&shown["version"], &shown["proven"], &shown["phase"]),
        (&json!("1.1.0"), &json!(true), &json!("confirmed")),
        "{shown}"
    );
}
