//! A stolen device that looks around with its own certificate: no names, no rosters, no other part of an approval.

use sqlx::Connection as _;
use suture_core::approval::path::Listed;
use suture_core::approval::{DeviceSlots, Part};
use suture_core::id::DeviceId;
use suture_proto::connect::{self, ProxyRules};
use suture_proto::v1;
use tonic::Code;

use crate::hospital::Hospital;

fn repository() -> Option<v1::Repository> {
    Some(v1::Repository { which: Some(v1::repository::Which::Approvals(String::new())) })
}

/// What is asked for: a file by the name that it is served under.
fn target(name: &str) -> v1::GetTargetRequest {
    v1::GetTargetRequest { repository: repository(), name: name.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_device_reads_what_is_its_own_and_nothing_else() {
    let mut hospital = Hospital::open().await;
    let (mut approval, document) = hospital.draft().await;
    // 63 more, so that there are several shards; they need not exist.
    let slots = approval.devices[0].slots.clone();
    let more = (10..73).map(|n| DeviceSlots {
        id: format!("pump-{n}").parse().unwrap(),
        wave: 0,
        steps: Vec::new(),
        slots: slots.clone(),
    });
    approval.devices.extend(more);
    approval.devices.sort_by(|a, b| a.id.cmp(&b.id));
    let sealed = approval.seal().unwrap();
    assert!(sealed.shards.len() >= 4);
    hospital.kim.sign(&(approval, document)).await;

    let files: Vec<String> = {
        let mut database = sqlx::SqliteConnection::connect(hospital.world.database()).await.unwrap();
        let query = "SELECT name FROM target_file WHERE repository = 'approvals/riverside'";
        sqlx::query_scalar(query).fetch_all(&mut database).await.unwrap()
    };
    for directory in ["approvals/", "slots/", "rosters/", "calendars/", "operator/"] {
        assert!(files.iter().any(|name| name.starts_with(directory)), "{directory}: {files:?}");
    }

    let thief: DeviceId = "pump-1".parse().unwrap();
    let own = sealed.shards[Part::of(&thief, u32::try_from(sealed.shards.len()).unwrap()).number()].0.file_name();
    let clock = hospital.world.clock.clone();
    let identity = hospital.pumps[0].agent().identity();
    let way = identity.ways().unwrap().way().unwrap();
    let channel = connect::connect(&identity.connection(way, clock, ProxyRules::none()).unwrap()).await.unwrap();
    let mut device = connect::device_client(channel);
    let mut operator = hospital.world.operator_calls(Some(hospital.kim.identity())).await;
    for name in &files {
        let (dir, file) = name.rsplit_once('/').map_or(("", name.as_str()), |(dir, file)| (dir, file));
        let path = format!("{dir}{}{}", if dir.is_empty() { "" } else { "/" }, file.split_once('.').unwrap().1);
        let theirs = *name == own || Listed::of(&path).is_some_and(|listed| listed.is_for_devices());
        match device.get_target(target(name)).await {
            Ok(_) => assert!(theirs, "a device was given {name}"),
            Err(status) => {
                assert!(!theirs, "{name}: {status}");
                assert_eq!(status.code(), Code::NotFound, "{name}");
                assert!(
                    status.message().contains("has no target"),
                    "it tells no more than of a name that is not there"
                );
            }
        }
        operator.get_target(target(name)).await.unwrap();
    }
}
