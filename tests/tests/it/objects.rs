//! Objects in a bucket of an S3 service: the whole way of a patch, deltas too, and a second server that shares no disk.

mod bucket;

use std::time::{Duration, Instant};

use suture_tests::world::program::Replica;
use suture_tests::world::{Kind, Spec, World};

use crate::ward::Ward;
use bucket::Bucket;

/// Far more than making a delta takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A ward whose server keeps its objects in a bucket; both releases are alike.
async fn open(kind: Kind, bucket: &Bucket) -> Option<Ward> {
    let world = World::start_with(kind, &bucket.settings()).await?;
    let spec = Spec { similar: true, ..Spec::default() };
    let ward = Ward::open(world, spec, &["pump-1", "pump-2"]).await;
    ward.approve().await;
    Some(ward)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patch_goes_from_publication_to_device_by_way_of_a_bucket() {
    let bucket = Bucket::serve().await;
    let mut ward = open(Kind::Sqlite, &bucket).await.unwrap();
    let began = Instant::now();
    while bucket.objects("deltas") < 2 {
        assert!(began.elapsed() < PATIENCE, "no delta is made");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for pump in &mut ward.pumps {
        assert_eq!(pump.cycle().await, "idle(up-to-date)");
        assert_eq!(pump.runs(), "1.1.0");
    }
    assert!(bucket.objects("packs") > 0 && bucket.objects("documents") > 0);
    assert_eq!(bucket.objects("checks"), 0, "what is tried at a start is taken away again");
    assert!(!ward.world.data_dir().join("objects").exists(), "nothing is in the data directory");
    ward.world.stop_server().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_database_and_one_bucket_share_no_disk() {
    let bucket = Bucket::serve().await;
    let Some(mut ward) = open(Kind::Postgres, &bucket).await else { return };
    let config = std::fs::read_to_string(ward.world.data_dir().join("server.toml")).unwrap();
    assert!(config.contains("s3_bucket") && config.contains("s3_secret_key_file"), "{config}");
    // From here on another answers, that has the keys and the configuration alone.
    let url = ward.world.database().to_owned();
    let other = Replica::serve(&ward.world, "other", &url);
    ward.world.stop_server().await;
    ward.world.line.lead_to(([127, 0, 0, 1], other.port()).into());
    assert_eq!(ward.pumps[0].cycle().await, "idle(up-to-date)");
    assert_eq!(ward.pumps[0].runs(), "1.1.0");
}
