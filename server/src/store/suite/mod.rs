//! The store's tests: every one runs on SQLite, and on PostgreSQL where `SUTURE_TEST_POSTGRES` names a cluster.

mod concurrency;
pub(crate) mod deltas;
mod forks;
mod leases;
mod nouns;
mod pages;
mod people;
mod quotas;
mod schema;
pub(crate) mod stops;
mod words;

use jiff::Timestamp;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use suture_core::approval::Wave;
use suture_core::id::DeviceId;
use suture_core::label::Labels;
use suture_core::phase::Phase;
use suture_core::rollout::{Progress, Stage, Tally};

use super::devices::Record;
use super::members::Member;
use super::rollouts::Rollout;
use super::{Store, Tx};

/// A pump in intensive care, as a hospital imports it.
pub(crate) fn in_intensive_care(id: DeviceId) -> Record {
    Record {
        id,
        product: "pump".parse().unwrap(),
        hardware: "rev-a".parse().unwrap(),
        ward: "icu".parse().unwrap(),
        serial: String::new(),
        udi: String::new(),
        labels: Labels::default(),
    }
}

/// URL of a PostgreSQL database whose user may create databases.
const POSTGRES: &str = "SUTURE_TEST_POSTGRES";

/// A database of its own for one test, on PostgreSQL; none where there is no PostgreSQL to test on.
pub(crate) struct PostgresDatabase {
    admin: String,
    name: String,
}

impl PostgresDatabase {
    pub(crate) async fn create() -> Option<Self> {
        Self::that_sorts("LOCALE_PROVIDER libc LOCALE 'C'").await
    }

    /// One that sorts texts so.
    pub(crate) async fn that_sorts(locale: &str) -> Option<Self> {
        let Ok(admin) = std::env::var(POSTGRES) else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must test on PostgreSQL: set {POSTGRES}");
            return None;
        };
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let name = format!("suture_test_{}", hex::encode(random));
        let database = Self { admin, name };
        database.administer("CREATE DATABASE", &format!("TEMPLATE template0 ENCODING 'UTF8' {locale}")).await;
        Some(database)
    }

    pub(crate) fn url(&self) -> String {
        let (base, query) = self.admin.split_once('?').unwrap_or((&self.admin, ""));
        let server = base.rsplit_once('/').unwrap().0;
        format!("{server}/{}?{query}", self.name)
    }

    pub(crate) async fn drop(self) {
        self.administer("DROP DATABASE", "").await;
    }

    async fn administer(&self, what: &str, how: &str) {
        let mut admin = PgConnection::connect(&self.admin).await.unwrap();
        let statement = sqlx::AssertSqlSafe(format!("{what} {} {how}", self.name));
        sqlx::query(statement).execute(&mut admin).await.unwrap();
        admin.close().await.unwrap();
    }
}

/// Runs a test on an empty store of each kind.
pub(crate) async fn each(test: impl AsyncFn(Store)) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("sqlite:{}", dir.path().join("suture.db").display())).await.unwrap();
    test(store.clone()).await;
    store.close().await;
    if let Some(database) = PostgresDatabase::create().await {
        let store = Store::open(&database.url()).await.unwrap();
        test(store.clone()).await;
        store.close().await;
        database.drop().await;
    }
}

/// A gate that asks for all of its devices and lets none fail.
pub(crate) const STRICT: Wave = Wave {
    needs_server: true,
    needs_signature: false,
    min_confirmed_percent: 100,
    max_failures: 0,
    max_failed_percent: 100,
    soak_secs: 0,
};

/// A device that has only heard of the approval.
pub(crate) fn offered(wave: u32, now: Timestamp, slots_end: Timestamp) -> Progress {
    Progress { wave, phase: Phase::Offered, since: now, slots_end, barred: false, forgiven: false }
}

/// Puts a rollout's rows, with as many waves as its devices are in; their slots end with it.
pub(crate) async fn place(tx: &mut Tx, rollout: &Rollout, devices: &[(DeviceId, u32)], now: Timestamp) {
    let devices: Vec<_> = devices.iter().map(|(id, wave)| (id.clone(), offered(*wave, now, rollout.expires))).collect();
    let waves = devices.iter().map(|(_, p)| p.wave).max().map_or(0, |last| last + 1);
    let tally = |n| Tally::of(devices.iter().map(|(_, p)| p).filter(|p| p.wave == n), rollout.timeout(), now);
    let stages: Vec<_> = (0..waves).map(|n| Stage { gate: STRICT, tally: tally(n) }).collect();
    tx.put_rollout(rollout, now).await.unwrap();
    tx.put_stages(rollout, &stages).await.unwrap();
    tx.put_members(rollout, &devices, now).await.unwrap();
}

/// Moves a device as a report does, without its tally.
pub(crate) async fn told(tx: &mut Tx, rollout: &Rollout, device: &DeviceId, phase: Phase, now: Timestamp) {
    let member = tx.member(&rollout.hdo, &rollout.id, device).await.unwrap().unwrap();
    let progress = member.progress.told(phase, phase == Phase::FellBack, rollout.timeout(), now);
    tx.move_member(rollout, &Member { progress, ..member }, now).await.unwrap();
}
