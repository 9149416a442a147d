//! Updates that come as deltas, over real lines, from a real server.

use std::time::{Duration, Instant};

use suture_tests::world::{Kind, Spec, World};

use crate::ward::Ward;

/// Far more than making a delta takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Both releases are alike.
fn spec(release: u64) -> Spec<'static> {
    Spec { release, similar: true, ..Spec::default() }
}

/// A ward of two pumps, for which 1.1.0 is approved, now.
async fn open(kind: Kind) -> Option<Ward> {
    let world = World::start_with(kind, &[]).await?;
    let ward = Ward::open(world, spec(1), &["pump-1", "pump-2"]).await;
    ward.approve().await;
    Some(ward)
}

impl Ward {
    /// Waits until the server has made the delta between the two releases, and nothing more is to be made.
    async fn made(&self) {
        let began = Instant::now();
        while self.objects() == 0 || self.waiting().await > 0 {
            assert!(began.elapsed() < PATIENCE, "no delta is made");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Deltas that are to be made.
    async fn waiting(&self) -> i64 {
        use sqlx::Connection as _;
        let wanted = "SELECT COUNT(*) FROM delta WHERE state = 'wanted'";
        let url = self.world.database();
        if url.starts_with("postgres") {
            let mut c = sqlx::postgres::PgConnection::connect(url).await.unwrap();
            return sqlx::query_scalar(wanted).fetch_one(&mut c).await.unwrap();
        }
        let mut c = sqlx::sqlite::SqliteConnection::connect(url).await.unwrap();
        sqlx::query_scalar(wanted).fetch_one(&mut c).await.unwrap()
    }

    /// Parts of deltas that the server keeps.
    fn objects(&self) -> usize {
        fn count(dir: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&self.world.data_dir().join("objects/deltas"))
    }
}

async fn comes_by_delta(kind: Kind) {
    let Some(mut ward) = open(kind).await else { return };
    ward.made().await;

    // Uncut: both ends of the payload have changed everywhere in them, and hardly a chunk is fetched.
    let before = ward.world.line.down();
    let pump = &mut ward.pumps[0];
    assert_eq!(pump.cycle().await, "idle(up-to-date)");
    assert_eq!(pump.runs(), "1.1.0");
    let whole = ward.world.line.down() - before;
    let (came, frames) = pump.deltas();
    assert!(frames == 2 && (40_000..120_000).contains(&came), "{came} bytes of deltas in {frames} frames");
    assert!(pump.chunk_bytes() < 10_000, "{} bytes of chunks", pump.chunk_bytes());
    // The device has signed what it came from.
    let shown = ward.kim.json(&["device", "show", "pump-1"]).await.unwrap();
    assert_eq!((&shown["fetched_proven"], &shown["fetched"]["delta_bytes"]), (&true.into(), &came.into()), "{shown}");

    // Cut in the middle of the delta: the agent goes on from the byte where it was.
    ward.world.line.cut_after(whole - came / 2);
    let pump = &mut ward.pumps[1];
    let (line, cut) = (&ward.world.line, ward.world.line.until_cut());
    let (_, state) = tokio::join!(
        async {
            cut.await;
            line.mend();
        },
        pump.cycle()
    );
    assert_eq!(state, "idle(up-to-date)");
    assert_eq!(pump.runs(), "1.1.0");
    assert_eq!(pump.deltas(), (came, frames), "a byte came twice, or one was missing");

    // Withdrawn, its deltas go; the one from nothing to the first release stays.
    ward.ada.run(&["catalog", "set-status", "pump", "2", "withdrawn"]).await.unwrap();
    let began = Instant::now();
    while ward.objects() > 1 {
        assert!(began.elapsed() < PATIENCE, "{} objects are left", ward.objects());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ward.world.stop_server().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_comes_by_delta_on_sqlite() {
    comes_by_delta(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_comes_by_delta_on_postgres() {
    comes_by_delta(Kind::Postgres).await;
}

/// A device whose agent dies goes on from the frames that it has applied, and a server that dies from what it has made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_of_both_sides_cost_nothing_that_was_verified() {
    let mut ward = open(Kind::Sqlite).await.unwrap();
    // Stopped while it may be making them, and started again.
    ward.world.stop_server().await;
    ward.world.start_server().await;
    ward.made().await;
    let before = ward.world.line.down();
    assert_eq!(ward.pumps[0].cycle().await, "idle(up-to-date)");
    let whole = ward.world.line.down() - before;
    let (came, frames) = ward.pumps[0].deltas();
    ward.world.line.cut_after(whole - came / 2);
    let stop = ward.pumps[1].agent().stopper();
    let cut = ward.world.line.until_cut();
    let (_, cycled) = tokio::join!(
        async {
            cut.await;
            stop.cancel();
        },
        ward.pumps[1].agent().cycle()
    );
    cycled.unwrap();
    let (_, applied) = ward.pumps[1].deltas();
    assert_eq!(ward.pumps[1].state(), "fetching");
    ward.pumps[1].crash();
    ward.world.stop_server().await;
    ward.world.start_server().await;
    ward.world.line.mend();
    assert_eq!(ward.pumps[1].cycle().await, "idle(up-to-date)");
    assert_eq!(ward.pumps[1].runs(), "1.1.0");
    assert_eq!(ward.pumps[1].deltas().1 + applied, frames, "a frame was applied twice");
    ward.world.stop_server().await;
}
