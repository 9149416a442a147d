//! Two real servers on one PostgreSQL, one killed in the middle of a step, again and again: no step is lost, none is done
//! twice.
//!
//! A step writes its rows and then waits for the head of the audit record, in one transaction. The killer holds that head:
//! whoever waits for it stands in the middle of a step, with its rows written and nothing committed, and is killed there.
//! PostgreSQL says which server waits, because each has a role of its own. When a step was killed often enough it passes,
//! and the other server is killed meanwhile, over whatever it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use sqlx::{Connection as _, Executor as _, PgConnection};
use suture_core::approval::Slot;
use suture_core::clock::Clock as _;
use suture_core::phase::Phase;
use suture_core::report::{Report, Running, Took};
use suture_core::rollout::{Standing, Tally};
use suture_core::sign::LocalKey;
use suture_core::version::Release;
use suture_proto::connect::Identity;
use suture_proto::v1;
use suture_proto::v1::device_service_client::DeviceServiceClient;
use suture_tests::world::program::Replica;
use suture_tests::world::{HDO, Kind, Spec, World, text, wire};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Devices and waves.
const DEVICES: usize = 16;
const PER_WAVE: usize = 2;
const WAVES: usize = DEVICES / PER_WAVE;
/// How often a server is killed in the middle of each step; then the step passes, and the other server is killed over it.
const PER_STEP: u32 = 3;
/// Far more than any of it takes.
const PATIENCE: Duration = Duration::from_secs(180);
/// PostgreSQL's name for the head of the audit record: "SUTR", and the third of its locks.
const CHAIN: (i32, i32) = (0x5355_5452, 3);
/// What a device says, in order.
const STORY: [Phase; 7] = [
    Phase::Offered,
    Phase::Fetching,
    Phase::Staged,
    Phase::Installing,
    Phase::Restarting,
    Phase::Confirming,
    Phase::Confirmed,
];

/// Numbers that a seed yields, the same ever again (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What the devices know of the servers.
struct Servers {
    world: World,
    ports: [AtomicU16; 2],
}

/// A device past its agent: its certificate, and the reports that it keeps until they are acknowledged.
struct Device {
    identity: Identity,
    reports: Vec<v1::SignedReport>,
}

impl Device {
    /// Sends reports from the one after `acknowledged` up to the `through`th, to either server, until they are stored.
    async fn send(&self, servers: &Servers, dice: &mut Dice, acknowledged: &mut u64, through: usize) {
        while *acknowledged < through as u64 {
            let port = servers.ports[dice.below(2) as usize].load(Ordering::SeqCst);
            let Ok(channel) = servers.world.connect_to(port, Some(self.identity.clone())).await else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let reports = self.reports[*acknowledged as usize..through].to_vec();
            let submit = v1::SubmitReportsRequest { reports };
            if let Ok(answer) = DeviceServiceClient::new(channel).submit_reports(submit).await {
                *acknowledged = answer.into_inner().stored_through;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_is_lost_and_none_is_done_twice_however_often_a_server_is_killed_in_it() {
    let Some(mut world) = World::start(Kind::Postgres).await else { return };
    let (rollout, devices) = fleet(&world).await;
    world.stop_server().await;
    let url = world.database().to_owned();
    let roles = [0, 1].map(|n| format!("{}_{n}", database_name(&url)));
    let mut admin = PgConnection::connect(&url).await.unwrap();
    for role in &roles {
        admin.execute(sqlx::AssertSqlSafe(format!("CREATE ROLE {role} SUPERUSER LOGIN"))).await.unwrap();
    }
    let start = |n: usize, world: &World| Replica::serve(world, &format!("replica-{n}"), &as_role(&url, &roles[n]));
    let mut replicas = [0, 1].map(|n| start(n, &world));
    let ports = [0, 1].map(|n| AtomicU16::new(replicas[n].port()));
    let servers = Arc::new(Servers { world, ports });

    let (told, confirmed) = watch::channel([0_usize; WAVES]);
    let over = CancellationToken::new();
    let mut talks = tokio::task::JoinSet::new();
    for (n, device) in devices.into_iter().enumerate() {
        let (servers, told, mut confirmed) = (servers.clone(), told.clone(), confirmed.clone());
        talks.spawn(async move {
            let (wave, mut dice, mut acknowledged) = (n / PER_WAVE, Dice(n as u64), 0);
            device.send(&servers, &mut dice, &mut acknowledged, 3).await;
            if wave > 0 {
                confirmed.wait_for(|done| done[wave - 1] == PER_WAVE).await.unwrap();
            }
            for through in 4..=STORY.len() {
                device.send(&servers, &mut dice, &mut acknowledged, through).await;
            }
            told.send_modify(|done| done[wave] += 1);
        });
    }

    // In the middle of a step, and at other moments.
    let kills = [0, 0].map(AtomicU32::new);
    let killer = async {
        let mut dice = Dice(5);
        let mut admin = PgConnection::connect(&url).await.unwrap();
        let mut of_this_step = 0;
        hold(&mut admin, true).await;
        while !over.is_cancelled() {
            let waits = tokio::select! {
                waits = whoever_waits(&url, &roles) => waits,
                () = over.cancelled() => break,
            };
            let passes = of_this_step == PER_STEP;
            of_this_step = if passes { 0 } else { of_this_step + 1 };
            let victim = if passes { 1 - waits } else { waits };
            replicas[victim].kill();
            kills[usize::from(passes)].fetch_add(1, Ordering::SeqCst);
            // Whoever waits has it next, and ends: dead, or with its step done. Nobody comes between.
            hold(&mut admin, false).await;
            hold(&mut admin, true).await;
            tokio::time::sleep(Duration::from_millis(dice.below(50))).await;
            replicas[victim] = start(victim, &servers.world);
            servers.ports[victim].store(replicas[victim].port(), Ordering::SeqCst);
        }
    };
    let devices_done = async {
        while let Some(talk) = talks.join_next().await {
            talk.unwrap();
        }
        // The last step of all is the end of the rollout.
        let mut database = PgConnection::connect(&url).await.unwrap();
        let state = "SELECT state FROM rollout WHERE id = $1";
        while sqlx::query_scalar::<_, String>(state).bind(&rollout).fetch_one(&mut database).await.unwrap()
            != "complete"
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        over.cancel();
    };
    let both = async { tokio::join!(killer, devices_done) };
    assert!(tokio::time::timeout(PATIENCE, both).await.is_ok(), "the rollout came to no end");
    let [in_a_step, elsewhere] = kills.map(AtomicU32::into_inner);
    println!("killed {in_a_step} times in the middle of a step, {elsewhere} times at other moments");
    // On a machine that does much else both servers may wait at once, and the step of the one that is not killed passes: not each step of
    // all is cut as often then.
    let all = (PER_STEP * WAVES as u32, WAVES as u32);
    assert!(in_a_step <= all.0 && elsewhere <= all.1 && in_a_step >= all.0 / 2 && elsewhere >= all.1 / 2);

    told_once(&url, &rollout).await;
    counted(&url, &rollout).await;
    drop(replicas);
    admin.close().await.unwrap();
}

/// Every wave was opened once, in order, and then all was complete; every report is stored once.
async fn told_once(url: &str, rollout: &str) {
    let mut database = PgConnection::connect(url).await.unwrap();
    let payloads: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT payload FROM audit ORDER BY seq").fetch_all(&mut database).await.unwrap();
    let entries = payloads.iter().map(|p| serde_json::from_slice::<Value>(p).unwrap());
    // Who signed it is recorded besides, and is no step.
    let ours = entries.filter(|e| e["subject"] == rollout && e["action"] != "rollout.signed");
    let story: Vec<_> = ours.map(|e| (e["action"].as_str().unwrap().to_owned(), e["detail"]["wave"].clone())).collect();
    let mut expected = vec![("rollout.approved".to_owned(), Value::from(0))];
    expected.extend((1..WAVES).map(|wave| ("rollout.wave-opened".to_owned(), Value::from(wave))));
    expected.push(("rollout.completed".to_owned(), Value::from(WAVES - 1)));
    assert_eq!(story, expected);
    let stored: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT device, COUNT(*), MAX(number) FROM report WHERE hdo = $1 GROUP BY device ORDER BY device",
    )
    .bind(HDO)
    .fetch_all(&mut database)
    .await
    .unwrap();
    assert_eq!(stored.len(), DEVICES);
    assert!(stored.iter().all(|(_, count, last)| (*count, *last) == (STORY.len() as i64, STORY.len() as i64)));
}

/// The state and the tallies are what the devices' rows yield.
async fn counted(url: &str, rollout: &str) {
    let mut database = PgConnection::connect(url).await.unwrap();
    let (state, wave): (String, i64) = sqlx::query_as("SELECT state, wave FROM rollout WHERE id = $1")
        .bind(rollout)
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!((state.as_str(), wave), ("complete", WAVES as i64 - 1));
    let kept: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT devices, confirmed, begun + failed + retrying + timed_out + missed + ended + forgiven + again, last_confirmed_ms \
         FROM rollout_wave WHERE rollout = $1 ORDER BY wave",
    )
    .bind(rollout)
    .fetch_all(&mut database)
    .await
    .unwrap();
    assert_eq!(kept.len(), WAVES);
    for (wave, kept) in (0_i64..).zip(kept) {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT standing, changed_ms FROM rollout_device WHERE rollout = $1 AND wave = $2")
                .bind(rollout)
                .bind(wave)
                .fetch_all(&mut database)
                .await
                .unwrap();
        let mut tally = Tally::default();
        for (standing, _) in &rows {
            *tally.count(Standing::from_name(standing).unwrap(), false).unwrap() += 1;
        }
        let last = rows.iter().map(|(_, at)| *at).max().unwrap();
        assert_eq!(kept, (rows.len() as i64, i64::from(tally.confirmed), 0, last), "wave {wave}");
        assert_eq!(tally.confirmed as usize, PER_WAVE);
    }
}

/// Takes the head of the audit record, or lets it go.
async fn hold(admin: &mut PgConnection, held: bool) {
    let what = if held { "SELECT pg_advisory_lock($1, $2)" } else { "SELECT pg_advisory_unlock($1, $2)" };
    sqlx::query(what).bind(CHAIN.0).bind(CHAIN.1).execute(admin).await.unwrap();
}

/// Which server waits for the head of the audit record, once one does.
async fn whoever_waits(url: &str, roles: &[String; 2]) -> usize {
    let mut database = PgConnection::connect(url).await.unwrap();
    loop {
        let waits: Option<String> = sqlx::query_scalar(
            "SELECT a.usename::text FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
             WHERE l.locktype = 'advisory' AND NOT l.granted AND l.classid = $1::bigint::oid \
             AND l.objid = $2::bigint::oid AND a.datname = current_database() LIMIT 1",
        )
        .bind(i64::from(CHAIN.0))
        .bind(i64::from(CHAIN.1))
        .fetch_optional(&mut database)
        .await
        .unwrap();
        if let Some(which) = waits.and_then(|role| roles.iter().position(|known| *known == role)) {
            return which;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn database_name(url: &str) -> &str {
    let base = url.split_once('?').map_or(url, |(base, _)| base);
    base.rsplit_once('/').unwrap().1
}

/// The same database for another role.
fn as_role(url: &str, role: &str) -> String {
    let (before, after) = url.split_once("@").unwrap();
    let scheme = before.split_once("//").unwrap().0;
    format!("{scheme}//{role}@{after}")
}

/// A rollout of as many waves, approved, and its devices, none of which has said anything.
async fn fleet(world: &World) -> (String, Vec<Device>) {
    let ada = world.manufacturer().await;
    let first = world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    let second = world.publish(&ada, Spec { release: 2, ..Spec::default() }).await;
    let kim = world.hospital(&ada).await;
    let always = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
    kim.run(&["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", always]).await.unwrap();
    let ids: Vec<_> = (0..DEVICES).map(|n| format!("pump-{n:02}")).collect();
    let csv: String = ids.iter().map(|id| format!("{id},pump,rev-a,icu,SN,UDI\n")).collect();
    let file = world.path("devices.csv");
    std::fs::write(&file, format!("id,product,hardware,ward,serial,udi\n{csv}")).unwrap();
    kim.run(&["device", "import", "--csv", text(&file)]).await.unwrap();
    let mut seen = "id,fingerprint\n".to_owned();
    let mut identities = Vec::new();
    for id in &ids {
        let token = kim.json(&["device", "token", id]).await.unwrap();
        let (identity, fingerprint) = world.enroll_seen(token["token"].as_str().unwrap(), id).await.unwrap();
        seen.push_str(&format!("{id},{fingerprint}\n"));
        identities.push(identity);
    }
    let file = world.path("seen.csv");
    std::fs::write(&file, seen).unwrap();
    kim.run(&["roster", "sign", "--csv", text(&file), "--yes"]).await.unwrap();

    let cap = DEVICES.to_string();
    let mut args = vec!["--bundle", "pump@2", "--ward", "icu", "--slots", "1", "--slack", "60s", "--cap", &cap];
    args.extend(["--wave", "2"].repeat(WAVES - 1));
    args.extend(["--wave", "rest"]);
    let (mut approval, document) = world.draft(&kim, &args).await;
    let now = world.clock.now();
    let slots = vec![Slot { start: now, end: now + SignedDuration::from_hours(6) }];
    approval.terms.expires = slots[0].end;
    for device in &mut approval.devices {
        device.slots.clone_from(&slots);
    }
    let mut placed: Vec<_> = approval.devices.iter().map(|d| (d.wave, d.id.to_string())).collect();
    placed.sort();
    kim.sign(&(approval.clone(), document)).await;

    let key: LocalKey = wire::report_key();
    let report = |id: &str, (number, phase): (u64, Phase)| {
        let report = Report {
            kind: Report::TYPE.to_owned(),
            hdo: HDO.parse().unwrap(),
            device: id.parse().unwrap(),
            number,
            at: now,
            product: "pump".parse().unwrap(),
            running: Running { version: "1.0.0".parse().unwrap(), release: Release(1), manifest: first.step().sha256 },
            approval: Some(approval.terms.id.clone()),
            manifest: Some(second.step().sha256),
            phase,
            reason: None,
            stop: None,
            permanent: false,
            integrity: None,
            sources: None,
            took: Took::default(),
            catalog: None,
            approvals: None,
            record: None,
            log: None,
        };
        v1::SignedReport::from(&report.sign(&key).unwrap())
    };
    let device = |(_, id): (u32, String)| Device {
        reports: (1..).zip(STORY).map(|said| report(&id, said)).collect(),
        identity: identities[ids.iter().position(|known| *known == id).unwrap()].clone(),
    };
    (approval.terms.id.to_string(), placed.into_iter().map(device).collect())
}
