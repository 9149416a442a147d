//! A hospital's rollout as the tests move it: by reports, orders and the time.

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{
    Approval, DeviceSlots, OperatorDocument, Pinned, Slot, Step, StopOrder, Terms, VerifiedStop, Wave,
};
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::principal::Principal;
use suture_core::report::{Report, Running, Took};
use suture_core::rollout::{Standing, Tally};
use suture_core::version::Release;

use super::super::RolloutError;
use super::super::begin::begin;
use super::super::order::{self, Order};
use super::super::run;
use crate::offer;
use crate::store::bundles::Bundle;
use crate::store::members::Member;
use crate::store::rollouts::Rollout;
use crate::store::suite::STRICT;
use crate::store::{Driver, Store};

/// When every device's last slot ends, in seconds.
pub(super) const SLOTS_END: i64 = 10_000;
/// How long a device that has begun may say nothing, in seconds.
const TIMEOUT: u32 = 600;
/// When the approval ends, in seconds.
const EXPIRES: i64 = 20_000;

pub(super) fn at(secs: i64) -> Timestamp {
    "2026-11-24T15:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(secs)
}

pub(super) fn pump(n: u32) -> DeviceId {
    format!("pump-{n}").parse().unwrap()
}

fn manifest(release: u64) -> Digest {
    Digest::of(&release.to_be_bytes())
}

pub(super) fn bundle(release: u64) -> Bundle {
    Bundle {
        product: "pump".parse().unwrap(),
        release: Release(release),
        version: "1.0.0".parse().unwrap(),
        path: format!("bundles/pump/{release}/manifest.json"),
        manifest_sha256: manifest(release),
        status: "current".to_owned(),
        payload_length: 1,
        published: at(0),
    }
}

/// One rollout, of a hospital of its own, over releases 1 and 2.
pub(super) struct Ward {
    store: Store,
    hdo: HdoId,
    id: ApprovalId,
    /// The counter of the newest order.
    ordered: Option<u64>,
}

impl Ward {
    /// Begins with so many devices in each wave, `pump-0` first, by gates that ask for all and let none fail.
    pub(super) async fn begin(store: &Store, id: &str, waves: &[u32]) -> Self {
        Self::begin_by(store, id, &waves.iter().map(|n| (STRICT, *n)).collect::<Vec<_>>()).await
    }

    /// The same by these gates.
    pub(super) async fn begin_by(store: &Store, id: &str, waves: &[(Wave, u32)]) -> Self {
        let hdo: HdoId = format!("hospital-{id}").parse().unwrap();
        let mut tx = store.begin().await.unwrap();
        assert!(tx.insert_hdo(&hdo, "A hospital", at(0)).await.unwrap());
        tx.commit().await.unwrap();
        Self::approved(store, hdo, (id, &[]), waves, 0).await
    }

    /// The same hospital approves another in its place, for all of its devices at once.
    pub(super) async fn replaced_by(&self, id: &str, secs: i64) -> Self {
        let all = u32::try_from(self.members().await.len()).unwrap();
        let supersedes = std::slice::from_ref(&self.id);
        Self::approved(&self.store, self.hdo.clone(), (id, supersedes), &[(STRICT, all)], secs).await
    }

    async fn approved(
        store: &Store,
        hdo: HdoId,
        (id, supersedes): (&str, &[ApprovalId]),
        waves: &[(Wave, u32)],
        secs: i64,
    ) -> Self {
        let id: ApprovalId = id.parse().unwrap();
        let step = |release| Step {
            path: bundle(release).path,
            length: 1,
            sha256: manifest(release),
            product: "pump".parse().unwrap(),
            release: Release(release),
            hardware: Vec::new(),
        };
        let terms = Terms {
            id: id.clone(),
            hdo: hdo.clone(),
            created: at(secs),
            expires: at(EXPIRES),
            steps: vec![step(1), step(2)],
            supersedes: supersedes.to_vec(),
            waves: waves.iter().map(|(gate, _)| gate.clone()).collect(),
            max_attempts: 2,
            retry_wait_secs: 60,
            attempt_timeout_secs: TIMEOUT,
            needs_lease: false,
            ward_cap: 1,
            permit_downgrade: false,
            operator_document: Pinned::of("operator.json".to_owned(), b"{}"),
        };
        let slots = vec![Slot { start: at(0), end: at(SLOTS_END) }];
        let placed = (0..).zip(waves).flat_map(|(wave, (_, n))| std::iter::repeat_n(wave, *n as usize));
        let devices = (0..).zip(placed).map(|(n, wave)| DeviceSlots {
            id: pump(n),
            wave,
            steps: Vec::new(),
            slots: slots.clone(),
        });
        let approval = Approval { terms, devices: devices.collect() };
        let notes = OperatorDocument {
            kind: String::new(),
            format: 1,
            approval: id.clone(),
            approver: "kim".to_owned(),
            meaning: "approved".to_owned(),
            reason: "tested".to_owned(),
            ticket: String::new(),
            rosters: Vec::new(),
            plan_sha256: Digest::of(b"plan"),
        };
        let mut tx = store.begin().await.unwrap();
        let version = "2.0.0".parse().unwrap();
        begin(&mut tx, &approval, Digest::of(b"head"), &notes, version, &Principal::Server, at(secs)).await.unwrap();
        tx.commit().await.unwrap();
        let ward = Self { store: store.clone(), hdo, id, ordered: None };
        ward.check().await;
        ward
    }

    pub(super) async fn rollout(&self) -> Rollout {
        self.store.read().await.unwrap().rollout(&self.hdo, &self.id).await.unwrap().unwrap()
    }

    pub(super) async fn member(&self, device: &DeviceId) -> Member {
        self.store.read().await.unwrap().member(&self.hdo, &self.id, device).await.unwrap().unwrap()
    }

    pub(super) async fn members(&self) -> Vec<Member> {
        self.store.read().await.unwrap().members(&self.hdo, &self.id).await.unwrap()
    }

    pub(super) fn timeout(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(TIMEOUT))
    }

    /// A device says in a signed report how far it got with the last step.
    pub(super) async fn said(&self, device: &DeviceId, phase: Phase, secs: i64) {
        self.said_of(device, phase, 2, secs).await;
    }

    /// The same of the step that leads to a release.
    pub(super) async fn said_of(&self, device: &DeviceId, phase: Phase, release: u64, secs: i64) {
        let report = self.report(device, phase, release, 1, secs);
        self.heard(&report, secs).await;
    }

    /// The same for a reason.
    pub(super) async fn said_why(&self, device: &DeviceId, phase: Phase, code: Code, secs: i64) {
        let report = Report { reason: Some(Reason::new(code, "why")), ..self.report(device, phase, 2, 1, secs) };
        self.heard(&report, secs).await;
    }

    /// What a device says, unsigned.
    pub(super) fn report(&self, device: &DeviceId, phase: Phase, release: u64, number: u64, secs: i64) -> Report {
        Report {
            kind: Report::TYPE.to_owned(),
            hdo: self.hdo.clone(),
            device: device.clone(),
            number,
            at: at(secs),
            product: "pump".parse().unwrap(),
            running: Running {
                version: "1.0.0".parse().unwrap(),
                release: Release(release),
                manifest: manifest(release),
            },
            approval: Some(self.id.clone()),
            manifest: Some(manifest(release)),
            phase,
            reason: None,
            stop: self.ordered.filter(|_| phase == Phase::Stopped),
            permanent: false,
            integrity: None,
            sources: None,
            took: Took::default(),
            catalog: None,
            approvals: None,
            record: None,
            log: None,
        }
    }

    async fn heard(&self, report: &Report, secs: i64) {
        let mut tx = self.store.begin().await.unwrap();
        run::progressed(&mut tx, &self.hdo, &self.id, report, at(secs)).await.unwrap();
        tx.commit().await.unwrap();
        self.check().await;
    }

    /// What the server tells a device of it.
    pub(super) async fn word(&self, device: &DeviceId, secs: i64) -> Result<(), Code> {
        let mut tx = self.store.read().await.unwrap();
        let words = offer::words(&mut tx, &self.hdo, device, at(secs)).await.unwrap();
        let ours = words.into_iter().find(|w| w.approval == self.id).unwrap();
        ours.verdict.map_err(|reason| reason.code)
    }

    pub(super) fn id(&self) -> &ApprovalId {
        &self.id
    }

    pub(super) fn hdo(&self) -> &HdoId {
        &self.hdo
    }

    /// Time passes until then, and the leader looks.
    pub(super) async fn at(&self, secs: i64) {
        run::advance_all(&self.store, at(secs)).await.unwrap();
        self.check().await;
    }

    pub(super) async fn order(&self, order: Order, secs: i64) -> Result<(), RolloutError> {
        let mut tx = self.store.begin().await.unwrap();
        order::order(&mut tx, &self.hdo, &self.id, order, &Principal::Server, "said", at(secs)).await?;
        tx.commit().await.unwrap();
        self.check().await;
        Ok(())
    }

    /// A signed stop order, or a lift.
    pub(super) async fn stop(&mut self, stopped: bool, secs: i64) {
        let order = StopOrder::next(self.hdo.clone(), self.id.clone(), self.ordered, stopped, at(secs)).unwrap();
        self.ordered = Some(order.counter);
        let order = VerifiedStop::kept(&order.sign(&[]).unwrap()).unwrap();
        let mut tx = self.store.begin().await.unwrap();
        order::stop(&mut tx, &self.hdo, &order, &Principal::Server, at(secs)).await.unwrap();
        tx.commit().await.unwrap();
        self.check().await;
    }

    /// How long every wave is watched.
    pub(super) async fn soak(&self, secs: i64) {
        self.set(&format!("soak_secs = {secs}")).await;
    }

    /// Makes its rows such that they cannot be read.
    pub(super) async fn damage(&self) {
        self.set("devices = -1").await;
    }

    async fn set(&self, what: &str) {
        let text = format!("UPDATE rollout_wave SET {what} WHERE rollout = '{}'", self.id);
        let mut tx = self.store.begin().await.unwrap();
        match tx.driver() {
            Driver::Sqlite(c) => drop(sqlx::query(sqlx::AssertSqlSafe(text)).execute(c).await.unwrap()),
            Driver::Postgres(c) => drop(sqlx::query(sqlx::AssertSqlSafe(text)).execute(c).await.unwrap()),
        }
        tx.commit().await.unwrap();
    }

    /// What was recorded of it, in order.
    pub(super) async fn actions(&self) -> Vec<String> {
        let rows = self.store.read().await.unwrap().audit_after(0, 10_000).await.unwrap();
        let entries =
            rows.iter().map(|row| serde_json::from_slice::<serde_json::Value>(row.payload.as_ref().unwrap()).unwrap());
        let ours = entries.filter(|e| e["subject"] == self.id.as_str());
        ours.map(|e| e["action"].as_str().unwrap().to_owned()).collect()
    }

    /// The tallies that are kept are those that counting yields, and each device is kept as what it counts as.
    pub(super) async fn check(&self) {
        let mut tx = self.store.read().await.unwrap();
        let members = tx.members(&self.hdo, &self.id).await.unwrap();
        for (number, stage) in (0..).zip(tx.stages(&self.hdo, &self.id).await.unwrap()) {
            let mut counted = Tally::default();
            for member in members.iter().filter(|m| m.progress.wave == number) {
                counted.devices += 1;
                if let Some(count) = counted.count(member.standing, member.progress.forgiven) {
                    *count += 1;
                }
                if member.standing == Standing::Confirmed {
                    counted.last_confirmed = counted.last_confirmed.max(Some(member.progress.since));
                }
            }
            assert_eq!(stage.tally, counted, "wave {number} of {}", self.id);
        }
    }

    /// The same, and that this is what the pure rule makes of every device at that instant; only once the rollout is over nobody
    /// misses a slot any more.
    pub(super) async fn check_at(&self, secs: i64) {
        self.check().await;
        let is_over = self.rollout().await.state.is_over();
        for member in self.members().await.into_iter().filter(|m| !is_over || m.standing != Standing::Awaited) {
            assert_eq!(member.standing, member.progress.standing(self.timeout(), at(secs)), "{}", member.device);
        }
    }
}
