//! A server that does not know what was issued under its name.

use std::fs;
use std::path::PathBuf;

use crate::hospital::{Hospital, PLAN};

/// Two devices renewed after the copy was made that the database is now restored from. The server knows neither the
/// certificates nor the reports that it had acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_restored_from_a_copy() {
    let mut hospital = Hospital::open().await;
    for pump in &mut hospital.pumps {
        assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    }
    hospital.world.idle(22).await;
    hospital.ada.run(&["whoami"]).await.unwrap();
    hospital.kim.run(&["approvals", "renew"]).await.unwrap();
    let database = PathBuf::from(hospital.world.database().trim_start_matches("sqlite:"));
    hospital.world.stop_server().await;
    let copy = fs::read(&database).unwrap();
    hospital.world.start_server().await;
    let tls = hospital.pumps[0].dir.join("state/identity/tls.pem");
    let before = fs::read(&tls).unwrap();
    hospital.world.idle(1).await;
    // One installs something meanwhile, and says so.
    let draft = hospital.world.draft(&hospital.kim, &PLAN).await;
    let (rollout, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    hospital.confirms(&rollout).await;
    assert_eq!(hospital.pumps[1].cycle().await, "idle(not-for-this-device)");
    let renewed = fs::read(&tls).unwrap();
    assert_ne!(renewed, before);

    hospital.world.stop_server().await;
    for extra in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{extra}", database.display()));
    }
    fs::write(&database, copy).unwrap();
    hospital.world.start_server().await;
    for pump in &mut hospital.pumps {
        let pass = pump.agent().cycle().await.unwrap();
        assert!(pass.confirmed, "the certificate before is known, and is renewed");
        assert!(pump.state().contains("rollback"), "the server's metadata are older: {}", pump.state());
    }
    assert_ne!(fs::read(&tls).unwrap(), renewed);
}
